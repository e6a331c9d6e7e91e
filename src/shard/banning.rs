//! Users who are sent away: disconnected once, or banned.
//!
//! A ban is decided at the user's home, which bounds the bans of those who live there, and copied to
//! every shard by mail, because the user may connect anywhere: so two orders about one user reach all
//! shards in the same order. A shard that hears of a ban asks the home whose session it is, behind
//! all that it posted before, as with revocations (`access.rs` says why that misses nobody).

use crate::auth::bans::UNTIL_LIFTED;
use crate::base::ids::{ConnId, ShardId, UserId};
use crate::base::limits::BANS_MAX;
use crate::shard::Shard;
use crate::shard::mail::Mail;
use crate::shard::operator::OperatorError;
use crate::shard::service::Page;
use crate::shard::standing::StandingRecord;
use crate::wire::close::CloseReason;

/// Why a user's session is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// Its token was revoked.
    Revoked,
    /// Its user is banned.
    Banned {
        /// Until then, Unix seconds.
        until_unix_s: i64,
    },
    /// The service wants it closed.
    Disconnected {
        /// The client is to come back.
        reconnect: bool,
    },
}

impl Shard {
    /// At the user's home: closes the user's connection; false if there is none.
    pub(crate) fn disconnect(&mut self, user: UserId, reconnect: bool) -> bool {
        let Some(session) = self.registry.get(user) else {
            return false;
        };
        let why = SessionEnd::Disconnected { reconnect };
        self.post(session.shard, Mail::SessionEnded { conn: session.conn, why });
        true
    }

    /// At the user's home: bans until then, or lifts the ban.
    pub(crate) fn ban(
        &mut self,
        user: UserId,
        until_unix_s: Option<i64>,
    ) -> Result<(), OperatorError> {
        let now_unix_s = self.now_unix_s();
        let bans = &mut self.access.own_bans;
        match until_unix_s {
            Some(until_unix_s) if until_unix_s <= now_unix_s => {
                return Err(OperatorError::BanOver { until_unix_s, now_unix_s });
            }
            Some(until_unix_s) => {
                let most = BANS_MAX / usize::from(self.placement.shard_count());
                if bans.count() >= most && !bans.contains(user) {
                    bans.forget_over(now_unix_s);
                    if bans.count() >= most {
                        return Err(OperatorError::TooManyBans);
                    }
                }
                bans.ban(user, until_unix_s);
            }
            None => bans.lift(user),
        }
        self.journal_standing(StandingRecord::Banned { user, until_unix_s });
        for shard in ShardId::all(self.placement.shard_count()) {
            self.post(shard, Mail::Ban { user, until_unix_s });
        }
        Ok(())
    }

    /// A user's home has banned the user, or has lifted the ban.
    pub(crate) fn banned(&mut self, user: UserId, until_unix_s: Option<i64>) {
        let now_unix_s = self.now_unix_s();
        let bans = &mut self.access.bans;
        let Some(until_unix_s) = until_unix_s else {
            return bans.lift(user);
        };
        // Copies are forgotten where they are made, once in a while.
        if bans.count() >= BANS_MAX {
            bans.forget_over(now_unix_s);
        }
        bans.ban(user, until_unix_s);
        if now_unix_s < until_unix_s {
            let home = self.placement.user_home(user);
            self.post(home, Mail::EndSession { user, why: SessionEnd::Banned { until_unix_s } });
        }
    }

    /// Banned users who live here, in the order of their ids.
    pub(crate) fn own_bans(&self, page: Page<UserId>) -> Vec<(UserId, i64)> {
        self.access.own_bans.list(page.after, self.now_unix_s()).take(page.limit + 1).collect()
    }

    /// At the user's home: a shard wants the session ended that one of its connections has.
    pub(crate) fn end_session_of(&mut self, from: ShardId, user: UserId, why: SessionEnd) {
        let session = self.registry.get(user).filter(|session| session.shard == from);
        if let Some(session) = session {
            self.post(from, Mail::SessionEnded { conn: session.conn, why });
        }
    }

    /// The user's home says that the connection's session is to end.
    pub(crate) fn session_ended(&mut self, id: ConnId, why: SessionEnd) {
        match why {
            SessionEnd::Revoked => self.session_revoked(id),
            SessionEnd::Banned { until_unix_s } => self.session_banned(id, until_unix_s),
            SessionEnd::Disconnected { reconnect: true } => self.close(id, CloseReason::Moved),
            SessionEnd::Disconnected { reconnect: false } => {
                self.close(id, CloseReason::Disconnected);
            }
        }
    }
}

/// The end of a ban as clients are told, Unix milliseconds; 0 if it has none.
pub(crate) fn told_until_ms(until_unix_s: i64) -> i64 {
    if until_unix_s == UNTIL_LIFTED { 0 } else { until_unix_s.saturating_mul(1_000) }
}
