//! A player's record in the bytes in which it outlives the process.

use bytes::{Buf, BufMut};

use super::{At, Mark, Player};
use crate::base::time::Time;
use crate::quiz::users::Slot;

/// Bytes of a player.
pub(crate) const PLAYER_BYTES: usize = 45;

impl Player {
    /// Appends all that there is, little-endian.
    pub(crate) fn store(&self, out: &mut Vec<u8>) {
        let before = out.len();
        out.put_u64_le(self.arrived.0);
        out.put_slice(&[
            self.current.0,
            self.verdict_code,
            self.option,
            self.bound,
            self.revision,
            self.flags,
            self.joined_after,
            self.last_passed.0,
            self.out.question.0,
            self.out.code,
            self.card.question.0,
            self.card.code,
            self.passed,
        ]);
        out.put_u32_le(self.slot.0);
        out.put_u16_le(self.session_shard);
        out.put_u16_le(self.offered_shard);
        out.put_u64_le(self.session_since.0);
        out.put_u64_le(self.offered_at.0);
        assert_eq!(out.len() - before, PLAYER_BYTES, "a stored player has one size");
    }

    /// Reads what [`Player::store`] wrote; nothing if there is too little.
    pub(crate) fn load(input: &mut &[u8]) -> Option<Player> {
        if input.len() < PLAYER_BYTES {
            return None;
        }
        let arrived = Time(input.get_u64_le());
        let mut bytes = [0; 13];
        input.copy_to_slice(&mut bytes);
        let [current, verdict_code, option, bound, revision, flags, joined_after, rest @ ..] =
            bytes;
        let [last_passed, out_question, out_code, card_question, card_code, passed] = rest;
        Some(Player {
            arrived,
            current: Mark(current),
            verdict_code,
            option,
            bound,
            revision,
            flags,
            joined_after,
            last_passed: Mark(last_passed),
            out: At { question: Mark(out_question), code: out_code },
            card: At { question: Mark(card_question), code: card_code },
            passed,
            slot: Slot(input.get_u32_le()),
            session_shard: input.get_u16_le(),
            offered_shard: input.get_u16_le(),
            session_since: Time(input.get_u64_le()),
            offered_at: Time(input.get_u64_le()),
        })
    }
}
