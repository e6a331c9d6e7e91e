//! Chat: what was acknowledged stands in its lane under the acknowledged version, and everybody who
//! gets that version gets the same; likes add up.
//!
//! That no version is passed over in silence is the business of [`crate::sim::checkers::lanes`]: so
//! whoever was there got an acknowledged chat or was told of a gap.

use std::collections::BTreeMap;

use crate::sim::checkers::{Findings, Promise};
use crate::wire::proto;

/// A place in a room's low lane: room, epoch and version.
type Place = (u64, u64, u64);

/// What is known of all rooms.
#[derive(Debug, Default)]
pub(crate) struct Chats {
    /// What somebody heard, or was told to have said: user and text; nobody and no text for what is
    /// no chat.
    known: BTreeMap<Place, (u64, String)>,
    acknowledged: BTreeMap<Place, ()>,
    /// Count and total of likes, where somebody heard them.
    likes: BTreeMap<Place, (u64, u64)>,
    /// Likes that were asked for, by room.
    liked: BTreeMap<u64, u64>,
}

fn place(stamp: &proto::RoomStamp) -> Place {
    (stamp.room_id, stamp.epoch, stamp.version)
}

impl Chats {
    /// A chat was acknowledged to its sender, who expects it to go out as `text`.
    pub(crate) fn acknowledged(
        &mut self,
        user: u64,
        text: String,
        stamp: &proto::RoomStamp,
        findings: &mut Findings,
    ) {
        let is_low = stamp.lane() == proto::Lane::Low && stamp.version > 0;
        findings.check(is_low, Promise::Chat, || format!("a chat has its place at {stamp:?}"));
        let twice = self.acknowledged.insert(place(stamp), ()).is_some();
        findings.check(!twice, Promise::Chat, || format!("{stamp:?} was acknowledged twice"));
        self.is_known(user, text, stamp, findings);
    }

    /// Something came through a low lane: a chat, or with user 0 something else.
    pub(crate) fn heard(
        &mut self,
        user: u64,
        text: &str,
        stamp: &proto::RoomStamp,
        findings: &mut Findings,
    ) {
        let is_clean = !["damn", "forbidden", "\u{202E}"].iter().any(|word| text.contains(word));
        findings.check(is_clean, Promise::Chat, || format!("{text:?} went out"));
        self.is_known(user, text.to_owned(), stamp, findings);
    }

    fn is_known(
        &mut self,
        user: u64,
        text: String,
        stamp: &proto::RoomStamp,
        findings: &mut Findings,
    ) {
        let said = (user, text);
        let known = self.known.entry(place(stamp)).or_insert_with(|| said.clone());
        findings.check(*known == said, Promise::Chat, || {
            format!("{stamp:?} is {said:?} for one and {known:?} for another")
        });
    }

    /// A client asked for likes.
    pub(crate) fn asked_likes(&mut self, room: u64, count: u32) {
        *self.liked.entry(room).or_default() += u64::from(count);
    }

    /// Likes came through a low lane.
    pub(crate) fn heard_likes(
        &mut self,
        likes: proto::Likes,
        stamp: &proto::RoomStamp,
        findings: &mut Findings,
    ) {
        let at = place(stamp);
        let heard = (likes.count, likes.total);
        let known = *self.likes.entry(at).or_insert(heard);
        let before = self.likes.range(..at).next_back();
        let before = before.filter(|((room, epoch, _), _)| (*room, *epoch) == (at.0, at.1));
        let total_before = before.map_or(0, |(_, (_, total))| *total);
        let asked = self.liked.get(&at.0).copied().unwrap_or(0);
        let adds_up = known == heard && likes.count > 0 && likes.total <= asked;
        findings.check(adds_up && total_before + likes.count <= likes.total, Promise::Chat, || {
            format!("{likes:?} at {stamp:?} after {total_before}, {asked} were asked for")
        });
    }
}
