//! What can be looked up about a shard from outside, and changes nothing: for the simulator's
//! checkers, which compare it with what the rules say. It tells what is not revealed, so none of
//! it is for players.

use crate::base::ids::{ConnId, EventNumber, ShowId, UserId};
use crate::quiz::replica::AnswerRecord;
use crate::quiz::users::UserEntry;
use crate::shard::Shard;
use crate::shard::session::State;

impl Shard {
    /// Where a connection stands; nothing if there is none with this id.
    #[must_use]
    pub fn connection_state(&self, conn: ConnId) -> Option<State> {
        self.conns.get(conn).map(|conn| conn.state)
    }

    /// The last event of a show that this shard has applied; 0 before its announcement.
    #[must_use]
    pub fn applied_event(&self, show: ShowId) -> EventNumber {
        self.quiz.applied(show)
    }

    /// The last event of a show that is queued for those who are in its room here.
    #[must_use]
    pub fn queued_event(&self, show: ShowId) -> EventNumber {
        self.quiz.queued.get(&show).copied().unwrap_or_default()
    }

    /// What is on record of a player who lives here, at a show's current question.
    #[must_use]
    pub fn answer_record(&self, show: ShowId, user: UserId) -> Option<AnswerRecord> {
        self.quiz.local.show(show)?.record(user, self.quiz.local.users())
    }

    /// Cards and balance of a user who lives here and was seen before.
    #[must_use]
    pub fn user_entry(&self, user: UserId) -> Option<UserEntry> {
        let users = self.quiz.local.users();
        users.find(user).map(|place| *users.entry(place))
    }
}
