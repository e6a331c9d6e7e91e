//! Which known name did somebody mean?

/// How to say that `given` is not one of `known`: the nearest one, or nothing if none is known.
///
/// A near one is offered as a question, a far one as a statement: one name is always given.
#[must_use]
pub fn suggestion(given: &str, known: &[&str]) -> String {
    match nearest(given, known) {
        Some((name, distance)) if distance <= close_enough(given) => {
            format!("; did you mean `{name}`?")
        }
        Some((name, _)) => format!("; the nearest valid one is `{name}`"),
        None => String::new(),
    }
}

/// The known name with the least edit distance from `given`, the first of several.
#[must_use]
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<(&'a str, usize)> {
    known
        .iter()
        .map(|name| (*name, edit_distance(given, name)))
        .min_by_key(|(_, distance)| *distance)
}

/// A third of the letters may be wrong before a suggestion is no longer a guess at a typing error.
fn close_enough(given: &str) -> usize {
    (given.chars().count() / 3).max(1)
}

/// How many letters must be inserted, removed, replaced, or swapped with their neighbour to turn
/// one text into the other (optimal string alignment), ignoring case.
///
/// Quadratic in the lengths: texts are cut at 100 letters, far longer than any key.
fn edit_distance(left: &str, right: &str) -> usize {
    let letters =
        |text: &str| -> Vec<char> { text.chars().take(100).flat_map(char::to_lowercase).collect() };
    let (left, right) = (letters(left), letters(right));
    // The last two rows of the table and the one being filled.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = last[j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("listen", "listen", 0),
            ("Listen", "listen", 0),
            ("lisetn", "listen", 1),
            ("conections_max", "connections_max", 1),
            ("conections_mx", "connections_max", 2),
            ("größe", "grösse", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edit_distance(left, right), expected, "{left} {right}");
            assert_eq!(edit_distance(right, left), expected, "{right} {left}");
        }
    }

    #[test]
    fn suggestions() {
        let known = ["listen", "shards", "log"];
        for (given, expected) in [
            ("lissten", "; did you mean `listen`?"),
            ("logs", "; did you mean `log`?"),
            ("shard", "; did you mean `shards`?"),
            ("completely_else", "; the nearest valid one is `listen`"),
        ] {
            assert_eq!(suggestion(given, &known), expected, "{given}");
        }
        assert_eq!(suggestion("x", &[]), "");
    }
}
