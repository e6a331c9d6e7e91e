//! Connections that are not let in yet, each with its deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::base::ids::ConnId;
use crate::base::time::Time;
use crate::wire::upgrade::UpgradeError;

/// What is awaited of a connection.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A PROXY header.
    Header {
        /// Who the kernel says it is.
        peer: SocketAddr,
        /// What of the header has come.
        bytes: Vec<u8>,
    },
    /// The end of a TLS handshake.
    Handshake {
        /// Who it is.
        peer: SocketAddr,
        /// Its first bytes have come.
        has_begun: bool,
    },
    /// Its request, to be answered with this.
    Refused(UpgradeError),
}

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: BTreeMap<ConnId, (Waiting, Time)>,
    deadlines: BTreeSet<(Time, ConnId)>,
    refused: usize,
}

impl Room {
    pub(super) fn put(&mut self, conn: ConnId, waiting: Waiting, until: Time) {
        self.refused += usize::from(matches!(waiting, Waiting::Refused(_)));
        self.deadlines.insert((until, conn));
        let before = self.waiting.insert(conn, (waiting, until));
        assert!(before.is_none(), "{conn} waits for one thing at a time");
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Waiting> {
        self.waiting.get_mut(&conn).map(|(waiting, _)| waiting)
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Waiting> {
        let (waiting, until) = self.waiting.remove(&conn)?;
        self.deadlines.remove(&(until, conn));
        self.refused -= usize::from(matches!(waiting, Waiting::Refused(_)));
        Some(waiting)
    }

    /// Takes one whose time is over.
    pub(super) fn expire(&mut self, now: Time) -> Option<(ConnId, Waiting)> {
        let (until, conn) = *self.deadlines.first()?;
        if until > now {
            return None;
        }
        self.remove(conn).map(|waiting| (conn, waiting))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn refused(&self) -> usize {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_too_long_comes_out_in_order_and_nobody_is_left() {
        let mut room = Room::default();
        let conn = |place| ConnId { place, generation: 1 };
        let refused = || Waiting::Refused(UpgradeError::Crowded);
        room.put(conn(1), refused(), Time::from_millis(30));
        room.put(conn(2), refused(), Time::from_millis(10));
        room.put(conn(3), refused(), Time::from_millis(20));
        assert!(room.remove(conn(3)).is_some() && room.remove(conn(3)).is_none());
        assert_eq!((room.count(), room.refused()), (2, 2));
        assert_eq!(room.deadline(), Some(Time::from_millis(10)));
        assert!(room.expire(Time::from_millis(9)).is_none());
        assert_eq!(room.expire(Time::from_millis(40)).map(|(conn, _)| conn.place), Some(2));
        assert_eq!(room.expire(Time::from_millis(40)).map(|(conn, _)| conn.place), Some(1));
        assert_eq!((room.count(), room.refused(), room.deadline()), (0, 0, None));
    }
}
