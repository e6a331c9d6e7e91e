//! Questions that are pushed early: what clients make of them, and what must hold.
//!
//! The client's side is written a second time here, from the documentation.

use crate::base::ids::QuestionIndex;
use crate::quiz::director::{Command, CommandKind};
use crate::quiz::event::ShowEvent;
use crate::quiz::seal::{QuestionContent, SealedPlace, SecretKey};
use crate::shard::operator::ShowStatus;
use crate::sim::checkers::Promise;
use crate::sim::world::World;
use crate::wire::proto;

/// The padded question and the tag: nothing else has another length.
const SEALED_STEP_BYTES: usize = 256;
const TAG_BYTES: usize = 16;

impl World {
    /// The robot may push the next question early, or take it back. True if it did.
    pub(crate) fn operator_pushes(&mut self, show: usize, status: &ShowStatus) -> bool {
        if status.early_push_max.is_zero() {
            return false;
        }
        let can = |kind| status.allowed.contains(&kind);
        let command = if can(CommandKind::PushEarly) && self.dice.permille(250) {
            Command::PushEarly
        } else if can(CommandKind::Withdraw) && self.dice.permille(30) {
            Command::Withdraw
        } else {
            return false;
        };
        self.command(show, command);
        true
    }

    /// The next question came, sealed: nobody can read it, and it is the same for everybody.
    pub(crate) fn hear_sealed(&mut self, link: usize, sealed: proto::SealedQuestion) {
        self.races.sealed_heard += 1;
        let Some(show) = self.show_place(sealed.show_id) else { return };
        let Some(asked) = self.setup.shows[show].questions.get(sealed.question as usize) else {
            return self.findings.broken(Promise::Seals, || format!("{sealed:?}"));
        };
        let contains = |text: &str| {
            sealed.ciphertext.windows(text.len()).any(|window| window == text.as_bytes())
        };
        let readable = contains(&asked.text) || asked.options.iter().any(|it| contains(it));
        let length = sealed.ciphertext.len();
        let padded = length.saturating_sub(TAG_BYTES).is_multiple_of(SEALED_STEP_BYTES);
        self.findings.check(!readable && padded, Promise::Secrecy, || {
            format!("a sealed question tells: readable {readable}, {length} bytes")
        });
        let is_decided = self.events[show].iter().any(|event| {
            matches!(&event.event, ShowEvent::QuestionPushed(push)
                if u32::from(push.question.0) == sealed.question
                    && push.commitment[..] == sealed.commitment[..])
        });
        self.findings.check(is_decided, Promise::Seals, || {
            format!("a sealed question that nobody pushed: {sealed:?}")
        });
        let player = self.links[link].player;
        if self.players[player].opens_seals {
            self.players[player].shows[show].sealed = Some(sealed);
        }
    }

    /// A key came: never before the question is decided to be open, and it opens what is here.
    pub(crate) fn hear_key(&mut self, link: usize, key: &proto::QuestionKey) {
        self.races.keys_heard += 1;
        let Some(show) = self.show_place(key.show_id) else { return };
        let is_open = self.events[show].iter().any(|event| {
            matches!(&event.event, ShowEvent::QuestionOpened(opening)
                if u32::from(opening.question.0) == key.question
                    && opening.question_key.expose()[..] == key.key[..])
        });
        self.findings.check(is_open, Promise::Secrecy, || {
            format!("a key of question {} before it opened, or of one taken back", key.question)
        });
        let player = self.links[link].player;
        if !self.players[player].opens_seals {
            self.watch.keyed.insert((show, key.question, player, link));
            return;
        }
        let sealed = self.players[player].shows[show].sealed.take();
        let Some(sealed) = sealed.filter(|it| it.question == key.question) else {
            self.races.keys_without_seal += 1;
            self.watch.keyed.insert((show, key.question, player, link));
            return;
        };
        let Some(question) = opened(&sealed, key) else {
            // An older one, if this one was taken back in between: the question comes whole.
            self.races.keys_without_seal += 1;
            self.watch.keyed.insert((show, key.question, player, link));
            return;
        };
        self.races.opened_by_key += 1;
        let asked = &self.setup.shows[show].questions[key.question as usize];
        let same = asked.text == question.text && asked.options == question.options;
        self.findings.check(same, Promise::Seals, || format!("the key opened {question:?}"));
        self.hear_question(link, &question);
    }
}

fn opened(sealed: &proto::SealedQuestion, key: &proto::QuestionKey) -> Option<proto::Question> {
    let place = SealedPlace {
        show: crate::base::ids::ShowId(key.show_id),
        question: QuestionIndex(u16::try_from(key.question).ok()?),
        commitment: sealed.commitment[..].try_into().ok()?,
    };
    let secret = SecretKey::from_bytes(key.key[..].try_into().ok()?);
    let content = QuestionContent::open(&secret, &place, &sealed.ciphertext).ok()?;
    let show_by_ms = key.show_at_ms + i64::from(key.show_by_after_ms);
    Some(proto::Question {
        show_id: key.show_id,
        question: key.question,
        text: content.text,
        options: content.options,
        show_at_ms: key.show_at_ms,
        show_by_ms,
        answer_by_ms: show_by_ms + i64::from(key.answer_by_after_ms),
        commitment: sealed.commitment.clone(),
        last: content.last,
    })
}
