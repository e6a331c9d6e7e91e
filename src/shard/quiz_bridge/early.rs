//! Questions that are pushed early: sealed in the lane mid, where they wait for the egress budget
//! like everything else there, and opened by a key in the lane high.
//!
//! When the key comes, every member of the room either was sent the sealed question and said that
//! it opens such, or gets the question whole, outside of the lanes. Only then does the shard
//! acknowledge the question. Whoever joins before gets the sealed question, whoever joins after
//! the whole one ([`super::telling`]).

use std::collections::BTreeMap;
use std::ops::Range;

use crate::base::bugs::{self, Bug};
use crate::base::ids::{ConnId, QuestionIndex, RoomId, ShowId};
use crate::quiz::event::QuestionOpening;
use crate::quiz::replica::Pushed;
use crate::room::lane::Lane;
use crate::shard::Shard;
use crate::wire::proto;
use crate::wire::proto::notification::Payload as Notice;

/// Members that one slice looks at, and questions that it hands out: below a turn's 250 µs.
const SLICE_VISITS: usize = 4_096;
const SLICE_QUESTIONS: usize = 128;
/// No slice while more replies than this wait to be sent.
const OUTBOX_WAITING_MAX: usize = 1_024;

/// What this shard knows of questions that were pushed early.
#[derive(Default)]
pub(super) struct Early {
    /// The version, in the lane mid, of what was pushed last.
    queued: BTreeMap<ShowId, u64>,
    /// Shows whose question was just opened by a key, and the next member to be looked at.
    handing_out: BTreeMap<ShowId, u32>,
}

impl Early {
    /// What was pushed counts no more.
    pub(super) fn forget(&mut self, show: ShowId) {
        self.queued.remove(&show);
        self.handing_out.remove(&show);
    }

    /// The sealed question is in the room's lane.
    pub(super) fn queued(&mut self, show: ShowId, version: u64) {
        self.queued.insert(show, version);
    }

    /// The key is in the room's lane.
    pub(super) fn begin_handing_out(&mut self, show: ShowId) {
        self.handing_out.entry(show).or_insert(0);
    }

    pub(super) fn has_work(&self) -> bool {
        !self.handing_out.is_empty()
    }
}

impl Shard {
    /// Whether the open question lay with the clients before.
    pub(super) fn opens_by_key(&self, show: ShowId) -> bool {
        let open = self.quiz.local.show(show).and_then(|replica| replica.open_question());
        open.is_some_and(|open| open.by_key)
    }

    /// Questions that were opened by a key go whole to those who cannot use it, in slices.
    pub(super) fn hand_out_slice(&mut self) {
        if self.outbox.waiting() > OUTBOX_WAITING_MAX {
            return;
        }
        let Some((show, from)) = self.quiz.early.handing_out.pop_first() else { return };
        if !self.opens_by_key(show) {
            return;
        }
        match self.hand_out_from(show, from) {
            Some(next) => {
                self.quiz.early.handing_out.insert(show, next);
            }
            None => self.quiz_offered(show),
        }
    }

    /// Goes on from a member's place; the next place, if there are more.
    fn hand_out_from(&mut self, show: ShowId, from: u32) -> Option<u32> {
        let room = self.quiz.local.show(show)?.definition().room;
        let index = self.rooms.index_of(room)?;
        let mut place = from;
        let mut handed_out = 0;
        for _ in 0..SLICE_VISITS {
            place = self.rooms.local(index).members().next_from(place)?;
            if let Some((id, _)) = self.conns.at(place)
                && !self.has_sealed_question(id, show)
                && !bugs::active(Bug::MissedSealForgotten)
            {
                self.tell_open_question(id, show);
                handed_out += 1;
            }
            place += 1;
            if handed_out == SLICE_QUESTIONS {
                break;
            }
        }
        Some(place)
    }

    /// Whether a member opens sealed questions, and was sent the one that was pushed last.
    fn has_sealed_question(&self, id: ConnId, show: ShowId) -> bool {
        let version = self.quiz.early.queued.get(&show);
        let conn = self.conns.get(id).filter(|conn| conn.form.opens_seals());
        conn.zip(version).is_some_and(|(conn, version)| {
            let log = self.rooms.local(conn.room).log(conn.form.index(), Lane::Mid);
            log.widen(conn.cursors[Lane::Mid.index()]) > *version
        })
    }

    /// A member will never get some versions of the lane mid: if what was pushed early was among
    /// them, it gets that by itself.
    pub(crate) fn quiz_skipped_mid(&mut self, id: ConnId, room: RoomId, versions: Range<u64>) {
        let Some(show) = self.quiz.by_room.get(&room).copied() else { return };
        if self.quiz.early.queued.get(&show).is_some_and(|version| versions.contains(version)) {
            self.tell_open_question(id, show);
            self.tell_pushed_question(id, show);
        }
    }

    /// A member gets the question that lies with the others, if there is one.
    pub(super) fn tell_pushed_question(&mut self, id: ConnId, show: ShowId) {
        let opens_seals = self.conns.get(id).is_some_and(|conn| conn.form.opens_seals());
        let pushed = self.quiz.local.show(show).and_then(|replica| replica.pushed());
        if let Some(pushed) = pushed.filter(|_| opens_seals) {
            let sealed = sealed_question(show, pushed);
            self.notify(id, Notice::SealedQuestion(sealed));
        }
    }

    /// What opens the question that lies with the clients.
    pub(super) fn question_key(
        &self,
        show: ShowId,
        opening: &QuestionOpening,
    ) -> proto::QuestionKey {
        let show_at_ms = self.clock.unix_ms(opening.show_at);
        let show_by_ms = self.clock.unix_ms(opening.show_by);
        let answer_by_ms = self.clock.unix_ms(opening.answer_by);
        let later = |by: i64| u32::try_from(by).unwrap_or(u32::MAX);
        proto::QuestionKey {
            key: opening.question_key.expose().to_vec().into(),
            show_id: show.0,
            question: opening.question.0.into(),
            show_at_ms,
            show_by_after_ms: later(show_by_ms - show_at_ms),
            answer_by_after_ms: later(answer_by_ms - show_by_ms),
        }
    }
}

pub(super) fn sealed_question(show: ShowId, pushed: &Pushed) -> proto::SealedQuestion {
    proto::SealedQuestion {
        show_id: show.0,
        question: pushed.question.0.into(),
        commitment: pushed.commitment.to_vec().into(),
        ciphertext: pushed.sealed.to_vec().into(),
    }
}

pub(super) fn question_withdrawn(
    show: ShowId,
    question: QuestionIndex,
) -> proto::QuestionWithdrawn {
    proto::QuestionWithdrawn { show_id: show.0, question: question.0.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    /// What the peak on the wire shrinks to: the message itself, whatever the show and its times,
    /// and the whole frame around it with the largest ids.
    #[test]
    fn a_key_has_at_most_64_bytes() {
        let key = proto::QuestionKey {
            key: vec![0xff; 32].into(),
            show_id: u64::MAX,
            question: 99,
            show_at_ms: 4_102_444_800_000,
            show_by_after_ms: 3_600_000 / 2,
            answer_by_after_ms: 3_600_000 / 2,
        };
        assert!(key.encoded_len() <= 64, "{}", key.encoded_len());
        let lane = Lane::High;
        let stamp = crate::shard::messages::stamp(RoomId(u64::MAX), 1 << 53, lane, u64::MAX);
        let payload = Notice::QuestionKey(key);
        let frame = crate::shard::messages::notification(4_102_444_800_000, Some(stamp), payload);
        assert!(frame.encoded_len() <= 125, "{}", frame.encoded_len());
    }
}
