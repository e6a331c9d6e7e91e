//! The life of a connection, as a table: connecting → upgraded → authenticated → in a room →
//! closing. What is not in the table does not happen; the caller answers it with an error.

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Accepted; the upgrade request has not come, or not wholly. Short connections stay here.
    #[default]
    Connecting,
    /// A WebSocket of nobody yet.
    Upgraded,
    /// The token is good; the user's home shard has not confirmed the session yet.
    Confirming,
    /// A user's one session; in no room.
    Authenticated,
    /// Waiting for the room's home to send the lanes.
    Joining,
    /// A member of a room.
    InRoom,
    /// A close frame was sent or is on its way; nothing that comes in counts any more.
    Closing,
}

/// What can happen to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The upgrade request was accepted.
    Upgrade,
    /// A token was verified.
    Authenticate,
    /// The user's home shard made this connection the user's session.
    Confirm,
    /// The client asks for a room.
    Join,
    /// The room's lanes are here.
    Enter,
    /// The client leaves its room.
    Leave,
    /// Either side closes.
    Close,
}

impl State {
    const ALL: [State; 7] = [
        State::Connecting,
        State::Upgraded,
        State::Confirming,
        State::Authenticated,
        State::Joining,
        State::InRoom,
        State::Closing,
    ];

    /// Where `event` leads from here; nothing if it is not allowed here.
    #[must_use]
    pub const fn next(self, event: Event) -> Option<State> {
        match (self, event) {
            (State::Connecting, Event::Upgrade) => Some(State::Upgraded),
            (State::Upgraded, Event::Authenticate) => Some(State::Confirming),
            (State::Confirming, Event::Confirm)
            | (State::Joining | State::InRoom, Event::Leave) => Some(State::Authenticated),
            (State::Authenticated | State::Joining | State::InRoom, Event::Join) => {
                Some(State::Joining)
            }
            (State::Joining, Event::Enter) => Some(State::InRoom),
            (State::Closing, _) => None,
            (_, Event::Close) => Some(State::Closing),
            (
                State::Connecting
                | State::Upgraded
                | State::Confirming
                | State::Authenticated
                | State::Joining
                | State::InRoom,
                _,
            ) => None,
        }
    }

    /// True once a token was accepted, and until the connection closes.
    #[must_use]
    pub const fn has_user(self) -> bool {
        matches!(self, State::Confirming | State::Authenticated | State::Joining | State::InRoom)
    }

    /// All states, in the order of a life.
    #[must_use]
    pub const fn all() -> [State; 7] {
        State::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::fmt::Write;

    #[test]
    fn every_pair() {
        let events = [
            Event::Upgrade,
            Event::Authenticate,
            Event::Confirm,
            Event::Join,
            Event::Enter,
            Event::Leave,
            Event::Close,
        ];
        let mut table = String::new();
        for state in State::all() {
            for event in events {
                let next = state.next(event).map_or("-".into(), |next| format!("{next:?}"));
                writeln!(table, "{state:?} + {event:?} = {next}").unwrap();
            }
        }
        expect![[r#"
            Connecting + Upgrade = Upgraded
            Connecting + Authenticate = -
            Connecting + Confirm = -
            Connecting + Join = -
            Connecting + Enter = -
            Connecting + Leave = -
            Connecting + Close = Closing
            Upgraded + Upgrade = -
            Upgraded + Authenticate = Confirming
            Upgraded + Confirm = -
            Upgraded + Join = -
            Upgraded + Enter = -
            Upgraded + Leave = -
            Upgraded + Close = Closing
            Confirming + Upgrade = -
            Confirming + Authenticate = -
            Confirming + Confirm = Authenticated
            Confirming + Join = -
            Confirming + Enter = -
            Confirming + Leave = -
            Confirming + Close = Closing
            Authenticated + Upgrade = -
            Authenticated + Authenticate = -
            Authenticated + Confirm = -
            Authenticated + Join = Joining
            Authenticated + Enter = -
            Authenticated + Leave = -
            Authenticated + Close = Closing
            Joining + Upgrade = -
            Joining + Authenticate = -
            Joining + Confirm = -
            Joining + Join = Joining
            Joining + Enter = InRoom
            Joining + Leave = Authenticated
            Joining + Close = Closing
            InRoom + Upgrade = -
            InRoom + Authenticate = -
            InRoom + Confirm = -
            InRoom + Join = Joining
            InRoom + Enter = -
            InRoom + Leave = Authenticated
            InRoom + Close = Closing
            Closing + Upgrade = -
            Closing + Authenticate = -
            Closing + Confirm = -
            Closing + Join = -
            Closing + Enter = -
            Closing + Leave = -
            Closing + Close = -
        "#]]
        .assert_eq(&table);
    }
}
