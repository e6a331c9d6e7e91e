//! What a text may be made of, whatever it says.
//!
//! Nothing is refused for a stray character: what would disturb others is left out. Line breaks and
//! tabs become spaces; other control characters go, and so do those that turn the direction of what
//! surrounds them (Unicode bidirectional embeddings, overrides and isolates, the means of "Trojan
//! Source", CVE-2021-42574), invisible fillers, and combining marks that pile up. What writing
//! needs stays: joiners of Persian, Indic scripts and emoji, and marks of direction without effect
//! on others.

use unicode_normalization::char::is_combining_mark;

/// Combining marks in a row that writing systems need; more are a tower over other lines.
const MARKS_MAX: usize = 4;

/// Leaves out of `text` what a text may not have, into `clean`; false if nothing visible is left.
pub fn clean(text: &str, clean: &mut String) -> bool {
    clean.clear();
    let mut marks = 0;
    for letter in text.trim().chars() {
        marks = if is_combining_mark(letter) { marks + 1 } else { 0 };
        if marks > MARKS_MAX || is_disturbing(letter) {
            continue;
        }
        let is_break = letter.is_whitespace() && letter != '\u{3000}';
        clean.push(if is_break { ' ' } else { letter });
    }
    // What was left out may have hidden spaces at the ends.
    clean.truncate(clean.trim_end().len());
    let spaces = clean.len() - clean.trim_start().len();
    clean.drain(..spaces);
    clean.chars().any(is_visible)
}

fn is_disturbing(letter: char) -> bool {
    match letter {
        // Spaces of a kind; LINE SEPARATOR and PARAGRAPH SEPARATOR too.
        _ if letter.is_whitespace() => false,
        // Embeddings and overrides, isolates; digit shapes and the like, deprecated.
        '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' => true,
        // SOFT HYPHEN, ZERO WIDTH SPACE, BYTE ORDER MARK, interlinear annotations.
        '\u{AD}' | '\u{200B}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' => true,
        _ => letter.is_control(),
    }
}

fn is_visible(letter: char) -> bool {
    let is_filler = matches!(
        letter,
        '\u{200C}'..='\u{200F}' | '\u{61C}' | '\u{FE00}'..='\u{FE0F}' | '\u{115F}' | '\u{1160}'
            | '\u{3164}' | '\u{FFA0}' | '\u{2800}' | '\u{E0000}'..='\u{E0FFF}'
    );
    !letter.is_whitespace() && !is_filler && !is_combining_mark(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disturbing_characters_are_left_out_and_writing_stays() {
        for (text, expected) in [
            ("hello", Some("hello")),
            ("  hello  world ", Some("hello  world")),
            ("two\r\nlines\tand a tab", Some("two  lines and a tab")),
            ("bell\u{7} escape\u{1b}[31m", Some("bell escape[31m")),
            ("right\u{202E}tfel\u{202C}", Some("righttfel")),
            ("iso\u{2066}late\u{2069}", Some("isolate")),
            ("zero\u{200B}width\u{FEFF}", Some("zerowidth")),
            ("\u{202E} \u{200B}", None),
            ("", None),
            (" \u{3000} ", None),
            ("\u{200D}\u{FE0F}", None),
            ("👨\u{200D}👩\u{200D}👧", Some("👨\u{200D}👩\u{200D}👧")),
            ("می\u{200C}خواهم", Some("می\u{200C}خواهم")),
            ("你好，世界！", Some("你好，世界！")),
            ("\u{202A} 你好\u{3000}世界 \u{7}", Some("你好\u{3000}世界")),
            (
                "Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}!",
                Some("Z\u{300}\u{301}\u{302}\u{303}!"),
            ),
        ] {
            let mut cleaned = String::from("left from before");
            let is_visible = clean(text, &mut cleaned);
            assert_eq!(is_visible.then_some(cleaned.as_str()), expected, "{text:?}");
            assert!(cleaned.len() <= text.len());
        }
    }
}
