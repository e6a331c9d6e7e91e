//! What players say in rooms beside the quiz: chats, opaque data, likes.

use bytes::Bytes;

use crate::sim::network::Asked;
use crate::sim::world::World;
use crate::wire::proto;

impl World {
    /// A chat as a rule; now and then opaque data or likes.
    pub(crate) fn say_chat(&mut self, link: usize) {
        let Some((room, ..)) = self.links[link].lanes.position() else { return };
        let dice = &mut self.players[self.links[link].player].dice;
        let (kind, size) = (dice.below(6), dice.index(60));
        let text = dice.pick(&[
            "hello",
            "hello\u{202E} again",
            "damn",
            "what a d.a.m.n question",
            "this is forbidden",
            "答案是二",
            " ",
        ]);
        let number = dice.below(4);
        match kind {
            0 => {
                let data = Bytes::from(vec![b'x'; size]);
                let publish = proto::Publish { lane: proto::Lane::Low.into(), data };
                let payload = proto::request::Payload::Publish(publish);
                self.ask_to_say(link, Asked::Publish, payload);
            }
            // On the way into another room it would be liked there.
            1 if self.links[link]
                .asked
                .values()
                .any(|(asked, _)| matches!(asked, Asked::Join { .. } | Asked::Leave)) => {}
            1 => {
                let count = u32::try_from(size).unwrap_or(0);
                self.chats.asked_likes(room, count.max(1));
                // A switch may be on its way: then the gateway counts for the room that is wanted.
                let wanted = self.players[self.links[link].player].room.0;
                if wanted != room {
                    self.chats.asked_likes(wanted, count.max(1));
                }
                let payload = proto::request::Payload::Like(proto::Like { count });
                self.ask_to_say(link, Asked::Like, payload);
            }
            _ => {
                // Longer than possible, sometimes.
                let tail = "!".repeat(if size == 0 { 200 } else { 0 });
                let text =
                    if number == 0 { text.to_owned() } else { format!("{text} {number}{tail}") };
                let chat = proto::Chat { text: text.clone() };
                let payload = proto::request::Payload::Chat(chat);
                self.ask_to_say(link, Asked::Chat { text }, payload);
            }
        }
    }

    /// A chat was acknowledged.
    pub(crate) fn chat_acknowledged(
        &mut self,
        link: usize,
        asked: Option<Asked>,
        stamp: Option<proto::RoomStamp>,
    ) {
        let (Some(Asked::Chat { text }), Some(stamp)) = (asked, stamp) else { return };
        self.races.chats_acknowledged += 1;
        let user = self.players[self.links[link].player].user.0;
        let text = as_published(&text);
        self.races.chats_replaced += u64::from(text.contains('*'));
        self.chats.acknowledged(user, text, &stamp, &mut self.findings);
    }

    /// A chat was refused.
    pub(crate) fn note_chat_refused(&mut self, reason: proto::Reason) {
        self.races.chats_refused += 1;
        self.races.chats_discarded += u64::from(reason == proto::Reason::RoomOverloaded);
    }

    /// Something came through a low lane.
    pub(crate) fn hear_low(
        &mut self,
        stamp: &proto::RoomStamp,
        payload: Option<&proto::notification::Payload>,
    ) {
        match payload {
            Some(proto::notification::Payload::RoomMessage(message)) => {
                self.hear_message(message, stamp);
            }
            Some(proto::notification::Payload::RoomBatch(batch)) => {
                let mut messages = batch.messages.iter();
                let thinned: u32 = batch.thinned.iter().map(|byte| byte.count_ones()).sum();
                for offset in 0..thinned as usize + batch.messages.len() {
                    let byte = batch.thinned.get(offset / 8).copied().unwrap_or(0);
                    if byte & 1 << (offset % 8) != 0 {
                        continue;
                    }
                    if let Some(message) = messages.next() {
                        let version = stamp.version + offset as u64;
                        self.hear_message(message, &proto::RoomStamp { version, ..*stamp });
                    }
                }
            }
            _ => {}
        }
    }

    fn hear_message(&mut self, message: &proto::RoomMessage, stamp: &proto::RoomStamp) {
        // Opaque data is told apart by nobody and no text.
        let user = if message.text.is_empty() { 0 } else { message.user_id };
        self.chats.heard(user, &message.text, stamp, &mut self.findings);
        if let Some(likes) = message.likes {
            self.chats.heard_likes(likes, stamp, &mut self.findings);
        }
    }
}

/// How the words above go out, worked out by hand.
fn as_published(text: &str) -> String {
    let text = text.replace('\u{202E}', "");
    text.replace("d.a.m.n", "*******").replace("damn", "****").trim().to_owned()
}
