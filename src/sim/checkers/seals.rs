//! Sealed results: the same bytes every time, one nonce for one plaintext, opened by the revealed
//! key, saying what the rules say.

use std::collections::BTreeMap;

use crate::base::ids::{OptionIndex, QuestionIndex, ShowId, UserId};
use crate::quiz::seal::{SealedResult, Sealer, SecretKey, VerdictRecord, commitment};
use crate::sim::checkers::{Findings, Promise};
use crate::wire::proto;

/// All results that players were given, by show and question.
#[derive(Debug, Default)]
pub(crate) struct Seals {
    /// By show, question and nonce: whose, and which bytes.
    given: BTreeMap<(u64, u16, [u8; 12]), (UserId, SealedResult)>,
    keys: BTreeMap<(u64, u16), [u8; 32]>,
}

/// A result that a player holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) user: UserId,
    /// How often the verdict was revised before.
    pub(crate) revision: u8,
    pub(crate) record: VerdictRecord,
}

/// A result as it came over the wire.
pub(crate) fn sealed(result: &proto::SealedResult) -> Option<SealedResult> {
    Some(SealedResult {
        nonce: (&*result.nonce).try_into().ok()?,
        ciphertext: (&*result.ciphertext).try_into().ok()?,
    })
}

impl Seals {
    /// A player was given a result.
    pub(crate) fn given(
        &mut self,
        user: UserId,
        result: &proto::SealedResult,
        findings: &mut Findings,
    ) {
        let question = u16::try_from(result.question).unwrap_or(u16::MAX);
        let Some(sealed) = sealed(result) else {
            return findings.broken(Promise::Seals, || format!("{result:?} has other sizes"));
        };
        let place = (result.show_id, question, sealed.nonce);
        let known = *self.given.entry(place).or_insert((user, sealed));
        findings.check(known == (user, sealed), Promise::Seals, || {
            format!(
                "one nonce, two plaintexts: users {} and {user} at question {question} of show {}",
                known.0, result.show_id
            )
        });
        if let Some(key) = self.keys.get(&(result.show_id, question)) {
            // Already revealed: it must open now.
            Self::open(result.show_id, question, key, user, &sealed, findings);
        }
    }

    /// The key of a question was revealed: everything that players hold is opened.
    pub(crate) fn revealed(
        &mut self,
        reveal: &proto::Reveal,
        committed: Option<&[u8]>,
        findings: &mut Findings,
    ) -> Vec<Opened> {
        let question = u16::try_from(reveal.question).unwrap_or(u16::MAX);
        let Ok(key) = <[u8; 32]>::try_from(&*reveal.result_key) else {
            findings.broken(Promise::Seals, || format!("{reveal:?} has no key of 32 bytes"));
            return Vec::new();
        };
        if let Some(committed) = committed {
            let correct = OptionIndex(u8::try_from(reveal.correct_option).unwrap_or(u8::MAX));
            let (show, secret) = (ShowId(reveal.show_id), SecretKey::from_bytes(key));
            let now = commitment(&secret, correct, show, QuestionIndex(question));
            findings.check(now == *committed, Promise::Seals, || {
                format!("{reveal:?} is not what was committed")
            });
        }
        if let Some(known) = self.keys.insert((reveal.show_id, question), key) {
            findings.check(known == key, Promise::Seals, || "two keys for one question".into());
            return Vec::new();
        }
        let from = (reveal.show_id, question, [0; 12]);
        let to = (reveal.show_id, question, [0xff; 12]);
        let held: Vec<_> = self.given.range(from..=to).map(|(_, held)| *held).collect();
        held.into_iter()
            .filter_map(|(user, sealed)| {
                Self::open(reveal.show_id, question, &key, user, &sealed, findings)
            })
            .collect()
    }

    /// What was given after the reveal, or was revised.
    pub(crate) fn open_late(
        &self,
        user: UserId,
        result: &proto::SealedResult,
        findings: &mut Findings,
    ) -> Option<Opened> {
        let question = u16::try_from(result.question).ok()?;
        let key = self.keys.get(&(result.show_id, question))?;
        Self::open(result.show_id, question, key, user, &sealed(result)?, findings)
    }

    fn open(
        show: u64,
        question: u16,
        key: &[u8; 32],
        user: UserId,
        sealed: &SealedResult,
        findings: &mut Findings,
    ) -> Option<Opened> {
        let key = SecretKey::from_bytes(*key);
        let sealer = Sealer::new(&key, ShowId(show), QuestionIndex(question));
        match sealer.open(user, sealed) {
            Ok(record) => Some(Opened { user, revision: sealed.nonce[11], record }),
            Err(error) => {
                findings.broken(Promise::Seals, || {
                    format!("the result of user {user} at question {question}: {error}")
                });
                None
            }
        }
    }
}
