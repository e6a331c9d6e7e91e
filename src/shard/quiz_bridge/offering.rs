//! What goes on record of how a question was offered: for the fairness report. Nothing follows from
//! it.

use crate::base::ids::ShowId;
use crate::shard::Shard;
use crate::shard::coverage::Begun;
use crate::shard::record::Record;

impl Shard {
    /// The question of a show is queued for everybody who is in its room here; until now it was
    /// offered to nobody.
    pub(super) fn record_offer(&mut self, show: ShowId) {
        let Some(replica) = self.quiz.local.show(show) else { return };
        let Some(question) = replica.current_question().map(|open| open.question) else { return };
        let connections = self.members_in_room_of(show);
        let at = self.now;
        self.journal(Record::Offered { show, question, at, connections }, Vec::new());
    }

    /// The message of a show's question is in its room's lane, as this version.
    pub(super) fn begin_coverage(&mut self, show: ShowId, version: u64) {
        let Some(replica) = self.quiz.local.show(show) else { return };
        let Some((question, opened_at)) = replica.opened() else { return };
        let Some(room) = self.rooms.index_of(replica.definition().room) else { return };
        let connections = self.members_in_room_of(show);
        let begun = Begun { show, question, opened_at, room, version, connections };
        self.quiz.coverage.begin(begun);
    }

    /// The question of a show takes no answers any more.
    pub(super) fn record_coverage(&mut self, show: ShowId) {
        if let Some((question, reach)) = self.quiz.coverage.end(show) {
            let reach = Box::new(reach);
            self.journal(Record::Covered { show, question, reach }, Vec::new());
        }
    }

    fn members_in_room_of(&self, show: ShowId) -> u64 {
        let replica = self.quiz.local.show(show);
        let room = replica.and_then(|replica| self.rooms.index_of(replica.definition().room));
        room.map_or(0, |room| self.rooms.local(room).members().count().into())
    }
}
