//! Nobody is out for a question that was not offered.

use crate::base::ids::QuestionIndex;
use crate::base::time::Time;
use crate::sim::checkers::Promise;
use crate::sim::checkers::promises::Times;
use crate::sim::network::Asked;
use crate::sim::world::World;

impl World {
    /// Every shard had the question by its final `show_by`.
    pub(crate) fn check_offered_everywhere(&mut self, show: usize, question: QuestionIndex) {
        let Some(times) = self.times(show, question) else { return };
        let at = self.watch.opened_at.get(&(show, question.0)).cloned().unwrap_or_default();
        let late = at.iter().position(|at| at.is_none_or(|at| at > times.show_by));
        self.findings.check(late.is_none(), Promise::Offers, || {
            format!("question {question} closed, but host {late:?} had it too late: {at:?}")
        });
        let at = self.watch.queued_at.get(&(show, question.0)).cloned().unwrap_or_default();
        for player in 0..self.players.len() {
            let Some(link) = self.waiting_in_room(player, show, &times) else { continue };
            let queued = at.get(self.links[link].host).copied().flatten();
            let in_time = queued.is_some_and(|at| at <= times.show_by);
            self.findings.check(in_time, Promise::Offers, || {
                format!("question {question} closed, queued for link {link} at {queued:?} only")
            });
        }
    }

    /// The connection that was in the room from before the question to its end.
    fn waiting_in_room(&self, player: usize, show: usize, times: &Times) -> Option<usize> {
        let link = self.steady_link(player, times)?;
        let (in_show, since) = self.links[link].in_show?;
        // Whoever asked to leave may have left, although it has not heard so.
        let leaves = self.links[link]
            .asked
            .values()
            .any(|(asked, _)| matches!(asked, Asked::Leave | Asked::Join { .. }));
        (in_show == show && since <= times.opened_at && !leaves).then_some(link)
    }

    /// A home has settled its silent players: what it says of their sessions is true.
    pub(crate) fn check_offers(&mut self, host: usize, show: usize, question: QuestionIndex) {
        let Some(times) = self.times(show, question) else { return };
        let id = self.setup.shows[show].id;
        for player in 0..self.players.len() {
            let user = self.players[player].user;
            if self.home_of(user) != host {
                continue;
            }
            let record = self.hosts[host].shard.answer_record(id, user);
            let Some(record) = record.filter(|it| it.answer.is_none() && it.verdict.is_some())
            else {
                continue;
            };
            let offered = record.offered.is_some();
            if let Some(link) = self.surely_offered(player, show, question, &times) {
                self.findings.check(offered, Promise::Offers, || {
                    format!("user {user} had question {question} on link {link}: {record:?}")
                });
            }
            if self.surely_away(player, &times) {
                self.findings.check(!offered, Promise::Offers, || {
                    format!("user {user} was away during question {question}: {record:?}")
                });
            }
            // Offered means queued: a slow network or a host that stands still may keep the
            // question from a player who reads. What must not happen is that the host forgets it.
            if let Some(link) = self.reads_and_heard_nothing(player, show, question, &times) {
                let it = &self.links[link];
                let forgotten = it.conn.is_some_and(|conn| {
                    let shard = &self.hosts[it.host].shard;
                    shard.is_left_behind(conn)
                });
                self.findings.check(!forgotten, Promise::Offers, || {
                    format!("user {user} read on link {link}, question {question} was forgotten")
                });
                // Whoever cannot use the key gets the question whole before the shard says that it
                // offered it: it is on its way by now, or was never made.
                let keyed = self.watch.keyed.contains(&(show, question.0.into(), player, link));
                let it = &self.links[link];
                let shard = &self.hosts[it.host].shard;
                let idle = it.conn.is_some_and(|conn| shard.has_sent_replies(conn));
                self.findings.check(!(keyed && idle), Promise::Offers, || {
                    format!(
                        "user {user} has a key of question {question} and nothing that it opens"
                    )
                });
            }
        }
    }

    /// The one connection that the player had through the whole question.
    fn steady_link(&self, player: usize, times: &Times) -> Option<usize> {
        let mut during = self.players[player].links.iter().copied().filter(|link| {
            let it = &self.links[*link];
            it.opened_at <= times.answer_by && self.server_end(*link) >= times.opened_at
        });
        let only = during.next().filter(|_| during.next().is_none())?;
        let it = &self.links[only];
        let steady = it.ended_at > times.answer_by && it.server_open && it.client_open;
        steady.then_some(only)
    }

    fn server_end(&self, link: usize) -> Time {
        let it = &self.links[link];
        if it.server_open { Time::NEVER } else { it.server_closed_at }
    }

    /// The connection on which the player heard the question in time, and kept on to the end.
    fn surely_offered(
        &self,
        player: usize,
        show: usize,
        question: QuestionIndex,
        times: &Times,
    ) -> Option<usize> {
        let link = self.steady_link(player, times)?;
        let heard = self.watch.heard.get(&(show, question.0.into(), player))?;
        let at = heard.iter().find(|(on, _)| *on == link)?.1;
        let (in_show, since) = self.links[link].in_show?;
        (in_show == show && since <= at && at <= times.show_by).then_some(link)
    }

    /// No connection of the player existed while the question was to be offered.
    fn surely_away(&self, player: usize, times: &Times) -> bool {
        self.players[player].links.iter().all(|link| {
            let it = &self.links[*link];
            it.opened_at > times.show_by || self.server_end(*link) < times.opened_at
        })
    }

    /// The connection that was in the room and read all the time, and got nothing.
    fn reads_and_heard_nothing(
        &self,
        player: usize,
        show: usize,
        question: QuestionIndex,
        times: &Times,
    ) -> Option<usize> {
        let link = self.waiting_in_room(player, show, times)?;
        let reads = self.links[link].reads_well;
        let heard = self.watch.heard.get(&(show, question.0.into(), player));
        let nothing = heard.is_none_or(|heard| !heard.iter().any(|(on, _)| *on == link));
        (reads && nothing).then_some(link)
    }
}
