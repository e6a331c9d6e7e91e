//! The promises: every withdrawal arrives, once, with its amount, and those of a user in the order in which
//! they were asked for; and the book knows what the balance system knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidegate::ledger::outbox::queue::Queue;
use tidegate::ledger::standin::{Answered, Asked, Did, Taken};

use super::asked::Withdrawal;

/// Broken promises that are kept word for word; the others are counted.
const SAID_MAX: usize = 20;

/// Promises that were broken.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    said: Vec<String>,
    count: usize,
}

impl Broken {
    pub(crate) fn add(&mut self, what: String) {
        self.count += 1;
        if self.said.len() < SAID_MAX {
            self.said.push(what);
        }
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The first of them, as sentences.
    pub(crate) fn said(&self) -> &[String] {
        &self.said
    }
}

/// The lines of the balance system's file of what it took, or of what it was asked.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(text: &str, broken: &mut Broken) -> Vec<T> {
    let mut lines = Vec::new();
    // A line without its end was cut by a kill, and told to nobody.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (number, line) in (1..).zip(whole.lines()) {
        match serde_json::from_str(line) {
            Ok(line) => lines.push(line),
            Err(error) => broken.add(format!("line {number} of {line:?} is damaged: {error}")),
        }
    }
    lines
}

/// The balance system took all that was asked for, once, and nothing else, each user's in order.
pub(crate) fn check_store(asked: &[Withdrawal], taken: &[Taken], broken: &mut Broken) {
    let wanted: BTreeMap<String, &Withdrawal> =
        asked.iter().map(|it| (it.id.idempotency_key(), it)).collect();
    let found: BTreeSet<&String> = taken.iter().map(|it| &it.idempotency_key).collect();
    for key in wanted.keys().filter(|key| !found.contains(key)) {
        broken.add(format!("{key} was not taken"));
    }
    let mut references = BTreeSet::new();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for it in taken {
        let key = &it.idempotency_key;
        let Taken { user, amount_cents, reference, .. } = it;
        if !seen.insert(key) {
            broken.add(format!("{key} was taken twice"));
            continue;
        }
        if !references.insert(reference) {
            broken.add(format!("{key} has the reference {reference} of another payout"));
        }
        let Some(Withdrawal { id, cents }) = wanted.get(key) else {
            broken.add(format!("{key} was taken, and nobody asked for it"));
            continue;
        };
        let (whose, which) = (id.user.to_string(), id.number.to_string());
        if (&whose, &which, cents) != (user, &it.withdrawal, amount_cents) {
            broken.add(format!("{key} was taken as another: {it:?}, asked were {cents} cents"));
        }
        let before = last.insert(user, id.number).unwrap_or(0);
        if before + 1 != id.number {
            broken.add(format!("{key} was taken behind withdrawal {before} of its user"));
        }
    }
    let sum = |amounts: &mut dyn Iterator<Item = i64>| amounts.map(i128::from).sum::<i128>();
    let to_come = sum(&mut asked.iter().map(|it| it.cents));
    let has = sum(&mut taken.iter().map(|it| it.amount_cents));
    if to_come != has {
        broken.add(format!("{has} cents were taken, {to_come} were asked for"));
    }
}

/// The book has all that was asked for, in order, in one of `states`, under the balance system's references.
/// Says how often payouts were sent, as far as the book knows.
///
/// # Errors
/// The book cannot be read.
pub(crate) fn check_book(
    directory: &Path,
    asked: &[Withdrawal],
    states: &[&str],
    taken: &[Taken],
    broken: &mut Broken,
) -> Result<u64, String> {
    let references: BTreeMap<&str, &str> =
        taken.iter().map(|it| (&*it.idempotency_key, &*it.reference)).collect();
    let mut listed = Vec::new();
    let all = ["waiting", "acknowledged", "dead", "returned", "paid", "refused"];
    let read = Queue::open(directory).and_then(|queue| {
        queue.list(&all, &mut |it| {
            listed.push(it.clone());
            Ok(())
        })
    });
    read.map_err(|error| error.to_string())?;
    let mut tries = 0;
    for it in &listed {
        let key = it.payout.withdrawal.idempotency_key();
        tries += u64::from(it.payout.tries);
        if !states.contains(&it.state.as_str()) {
            let answer = it.answer.as_deref().unwrap_or("nothing");
            broken.add(format!("{key} is {} in the book; the last answer was: {answer}", it.state));
        }
        let theirs = references.get(&*key).copied();
        if it.reference.as_deref() != theirs {
            let ours = it.reference.as_deref();
            broken.add(format!("{key} is {ours:?} in the book, and {theirs:?} where it was taken"));
        }
    }
    let mut booked: Vec<_> =
        listed.iter().map(|it| (it.payout.withdrawal, it.payout.amount.0)).collect();
    let mut wanted: Vec<_> = asked.iter().map(|it| (it.id, it.cents)).collect();
    // Each user's are in order, which is that of their numbers; those of several users are in any.
    let is_in_order = booked.is_sorted_by(|one, other| one.0.user != other.0.user || one < other);
    booked.sort_unstable();
    wanted.sort_unstable();
    if booked != wanted || !is_in_order {
        let (has, count) = (booked.len(), wanted.len());
        broken.add(format!("{has} payouts of the book are not the {count} that were asked for"));
    }
    Ok(tries)
}

/// What the balance system was asked, and how often each way of answering came.
pub(crate) type Requests = BTreeMap<(Did, Answered), u64>;

/// Nothing was taken twice, and a user's next withdrawal was not sent before the one before was acknowledged.
pub(crate) fn check_asking(requests: &[Asked], broken: &mut Broken) -> Requests {
    let (mut counts, mut took, mut told) = (Requests::new(), BTreeSet::new(), BTreeSet::new());
    for Asked { idempotency_key: key, did, answered } in requests {
        *counts.entry((*did, *answered)).or_default() += 1;
        if *did == Did::Took && !took.insert(key) {
            broken.add(format!("{key} was taken again after it had been taken"));
        }
        if matches!(did, Did::Took | Did::Had) && *answered == Answered::Told {
            told.insert(key.clone());
        }
        let before = key.rsplit_once(':').and_then(|(user, number)| {
            let before = number.parse::<u64>().ok()?.checked_sub(1).filter(|before| *before > 0)?;
            Some(format!("{user}:{before}"))
        });
        if let Some(before) = before.filter(|before| !told.contains(before)) {
            broken.add(format!("{key} was sent before {before} was acknowledged"));
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use tidegate::base::ids::UserId;
    use tidegate::ledger::cause::WithdrawalId;

    use super::*;

    fn withdrawal(user: u64, number: u64, cents: i64) -> Withdrawal {
        Withdrawal { id: WithdrawalId { user: UserId(user), number }, cents }
    }

    fn taken(line: &str) -> Taken {
        let words: Vec<&str> = line.split(' ').collect();
        Taken {
            idempotency_key: format!("withdrawal:{}:{}", words[0], words[1]),
            user: words[0].to_owned(),
            withdrawal: words[1].to_owned(),
            amount_cents: words[2].parse().expect("a number"),
            reference: words[3].to_owned(),
        }
    }

    #[test]
    fn every_wrong_store_is_told_apart() {
        let asked = [withdrawal(1, 1, 5), withdrawal(2, 1, 6), withdrawal(1, 2, 7)];
        for (lines, says) in [
            ("1 1 5 A;2 1 6 B;1 2 7 C", ""),
            ("1 1 5 A;1 2 7 B;2 1 6 C", ""),
            ("1 1 5 A;2 1 6 B;1 2 7 C;2 1 6 D", "withdrawal:2:1 was taken twice"),
            ("1 1 5 A;1 2 7 B", "withdrawal:2:1 was not taken"),
            ("1 2 7 A;1 1 5 B;2 1 6 C", "withdrawal:1:2 was taken behind withdrawal 0"),
            ("1 1 5 A;2 1 9 B;1 2 7 C", "withdrawal:2:1 was taken as another"),
            ("1 1 5 A;2 1 6 A;1 2 7 C", "has the reference A of another"),
            ("1 1 5 A;2 1 6 B;1 2 7 C;3 1 1 D", "withdrawal:3:1 was taken, and nobody asked"),
        ] {
            let mut broken = Broken::default();
            let taken: Vec<Taken> = lines.split(';').map(taken).collect();
            check_store(&asked, &taken, &mut broken);
            let said = broken.said().join("; ");
            assert!(said.contains(says) && said.is_empty() == says.is_empty(), "{lines}: {said}");
        }
    }

    #[test]
    fn every_wrong_way_of_asking_is_told_apart() {
        let asked = |line: &str| {
            let (key, rest) = line.split_once(' ').expect("a key");
            let (did, answered) = match rest {
                "took" => (Did::Took, Answered::Told),
                "took-lost" => (Did::Took, Answered::Lost),
                "had" => (Did::Had, Answered::Told),
                _ => (Did::Failed, Answered::Told),
            };
            Asked { idempotency_key: format!("withdrawal:{key}"), did, answered }
        };
        for (lines, says) in [
            ("1:1 took;1:2 took;2:1 took", ""),
            ("1:1 failed;1:1 took-lost;1:1 had;1:2 failed;1:2 took", ""),
            ("1:1 took;1:1 had;1:1 took", "withdrawal:1:1 was taken again"),
            ("1:1 took-lost;1:2 took", "withdrawal:1:2 was sent before withdrawal:1:1"),
            ("1:1 failed;1:2 failed", "withdrawal:1:2 was sent before withdrawal:1:1"),
        ] {
            let mut broken = Broken::default();
            let requests: Vec<Asked> = lines.split(';').map(asked).collect();
            check_asking(&requests, &mut broken);
            let said = broken.said().join("; ");
            assert!(said.contains(says) && said.is_empty() == says.is_empty(), "{lines}: {said}");
        }
    }
}
