//! Doing records again, and watching: what becomes of every player of one show.
//!
//! A verdict of silence stands on no record of its own, and neither does a card that a verdict used:
//! both follow from the records. So records are done again one by one ([`Replay`]), and whomever a
//! record can concern is looked at before and after. What a question brought is collected before the
//! next event makes it history. A show may span several runs of the process; each begins with a
//! state that holds what the run before came to.
//!
//! Invariant: nothing is changed here but the account.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::ids::{BucketId, QuestionIndex, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::event::ShowEvent;
use crate::quiz::local::LocalQuiz;
use crate::quiz::phase::Phase;
use crate::quiz::replica::{PlayerState, ShowReplica, WorkStep};
use crate::quiz::verdict::{Failing, Verdict};
use crate::shard::account::{
    CardCause, CardMove, Given, Judgement, Offer, Packet, Place, PlayerAccount, RunAccount,
    ShardReach, ShowAccount, Visit,
};
use crate::shard::record::{MoneyRecord, Record};
use crate::shard::recovery::{Histories, Replay, ReplayError};

/// Watches one show.
pub struct Witness {
    account: ShowAccount,
}

/// A player before a record is done again.
struct Seen {
    user: UserId,
    cards: u8,
    verdict: Option<Verdict>,
    has_answer: bool,
}

/// Whom a record can concern, as they were before.
#[derive(Default)]
struct Before {
    /// The show and question by which cards may go or come back.
    at: Option<(ShowId, QuestionIndex)>,
    players: Vec<Seen>,
    /// If these players are being judged: by which revision.
    revision: Option<u8>,
}

impl Witness {
    /// One who has seen nothing yet.
    #[must_use]
    pub fn new(show: ShowId, buckets: u16) -> Witness {
        let account = ShowAccount {
            show,
            buckets,
            history: Vec::new(),
            runs: Vec::new(),
            offers: Vec::new(),
            reaches: Vec::new(),
            players: BTreeMap::new(),
            hiding_elsewhere: BTreeSet::new(),
        };
        Witness { account }
    }

    /// A run begins; the one before it ended at `died_at`, and all sessions with it.
    pub fn begin_run(&mut self, run: RunAccount, died_at: Time) {
        self.account.runs.push(run);
        for visit in self.account.players.values_mut().filter_map(|it| it.visits.last_mut()) {
            visit.until.get_or_insert(died_at);
        }
    }

    /// Does a record again.
    ///
    /// # Errors
    /// If it cannot be done, or comes out otherwise.
    pub fn redo(
        &mut self,
        place: Place,
        replay: &mut Replay,
        record: &Record,
        histories: &Histories,
    ) -> Result<(), ReplayError> {
        let before = self.look(replay.local(), record, histories)?;
        replay.redo(record, histories)?;
        self.compare(place, replay.local(), &before);
        self.note(place, replay.local(), record);
        Ok(())
    }

    /// There is no more to see on this shard.
    pub fn collect(&mut self, local: &LocalQuiz) {
        if let Some(replica) = local.show(self.account.show) {
            self.harvest(local, replica, Time::ZERO);
        }
    }

    /// What was seen. `hiding_elsewhere` are the other shows that hide verdicts now.
    #[must_use]
    pub fn finish(
        mut self,
        histories: &Histories,
        hiding_elsewhere: BTreeSet<ShowId>,
    ) -> ShowAccount {
        self.account.history = histories.of(self.account.show).to_vec();
        self.account.hiding_elsewhere = hiding_elsewhere;
        self.account
    }

    /// Those whom a record can concern, as they are before it is done.
    fn look(
        &mut self,
        local: &LocalQuiz,
        record: &Record,
        histories: &Histories,
    ) -> Result<Before, ReplayError> {
        let show = self.account.show;
        Ok(match record {
            Record::Answer { show: of, user, input, .. } => Before {
                at: Some((*of, input.question)),
                players: vec![one(local, *user)],
                revision: None,
            },
            Record::CardGranted { user, .. } | Record::CardsExpired { user, .. } => {
                Before { players: vec![one(local, *user)], ..Before::default() }
            }
            Record::Money { user, what, .. } => match **what {
                MoneyRecord::InvitationAccepted { .. } | MoneyRecord::InvitationAnswered { .. } => {
                    Before { players: vec![one(local, *user)], ..Before::default() }
                }
                _ => Before::default(),
            },
            Record::Worked { show: of, step, .. } => {
                let Some(replica) = local.show(*of) else { return Ok(Before::default()) };
                before_work(local, replica, &[*step])
            }
            Record::Applied { show: of, number } => {
                let Some(replica) = local.show(*of) else { return Ok(Before::default()) };
                let event = histories.event(*of, *number)?;
                if *of == show && makes_history(&event.event) {
                    self.harvest(local, replica, event.decided_at);
                }
                match event.event {
                    ShowEvent::QuestionVoided { .. } | ShowEvent::Cancelled => {
                        before_undo(local, replica)
                    }
                    // What is left of the work is done before these.
                    ShowEvent::QuestionClosed { .. } | ShowEvent::Rejudged { .. } => {
                        before_work(local, replica, &all_steps(local, replica))
                    }
                    _ => Before::default(),
                }
            }
            _ => Before::default(),
        })
    }

    /// What a record made of those whom it could concern.
    fn compare(&mut self, place: Place, local: &LocalQuiz, before: &Before) {
        let show = self.account.show;
        for seen in &before.players {
            let Some(player) = self.account.players.get_mut(&seen.user) else { continue };
            let change = i16::from(cards_of(local, seen.user)) - i16::from(seen.cards);
            if change != 0 {
                let cause = match before.at {
                    Some((show, question)) => CardCause::Question(show, question),
                    None if change < 0 => CardCause::Expired,
                    None => CardCause::Granted,
                };
                player.cards.push(CardMove { place, change, cause });
            }
            let (Some(revision), Some((_, question))) =
                (before.revision, before.at.filter(|(of, _)| *of == show))
            else {
                continue;
            };
            let judged = local.show(show).and_then(|it| it.record(seen.user, local.users()));
            let verdict = judged.and_then(|record| record.verdict);
            let is_judged = if revision == 0 {
                seen.verdict.is_none()
            } else {
                let in_time =
                    matches!(seen.verdict.map(Verdict::failing), Some(None | Some(Failing::Wrong)));
                seen.has_answer && in_time
            };
            if let Some(verdict) = verdict.filter(|_| is_judged) {
                let cards = seen.cards;
                let judgement = Judgement { place, revision, cards, verdict };
                player.at_mut(question).judgements.push(judgement);
            }
        }
    }

    /// What a record says itself.
    fn note(&mut self, place: Place, local: &LocalQuiz, record: &Record) {
        let show = self.account.show;
        match record {
            Record::Joined { show: of, user, shard, since, until, .. }
                if *of == show && local.show(show).is_some() =>
            {
                let visit = Visit { run: place.run, shard: *shard, since: *since, until: *until };
                self.joined(local, *user, visit);
            }
            Record::Absent { show: of, user, at, .. } if *of == show => {
                if let Some(visit) = self.open_visit(*user) {
                    visit.until = Some(*at);
                }
            }
            Record::Answer { show: of, user, input, verdict, .. } if *of == show => {
                let used = verdict.is_some_and(Verdict::uses_card);
                let cards = cards_of(local, *user) + u8::from(used);
                let Some(player) = self.account.players.get_mut(user) else { return };
                let answer = player.at_mut(input.question);
                let (option, arrived, ticket) = (input.option, input.arrived, input.ticket);
                answer.given = Some(Given { place, option, arrived, ticket });
                if let Some(verdict) = *verdict {
                    answer.judgements.push(Judgement { place, revision: 0, cards, verdict });
                }
            }
            Record::TicketIssued { show: of, user, question, ticket, .. } if *of == show => {
                let Some(player) = self.account.players.get_mut(user) else { return };
                let known = &mut player.at_mut(*question).ticket;
                if known.is_none_or(|known| ticket.arrived < known.arrived) {
                    *known = Some(*ticket);
                }
            }
            Record::Money { user, what, .. } => self.note_money(place, *user, what),
            Record::Offered { show: of, question, at, connections } if *of == show => {
                let (question, at, connections) = (*question, *at, *connections);
                self.account.offers.push(Offer { place, question, at, connections });
            }
            Record::Covered { show: of, question, reach } if *of == show => {
                let (question, reach) = (*question, (**reach).clone());
                self.account.reaches.push(ShardReach { place, question, reach });
            }
            _ => {}
        }
    }

    fn note_money(&mut self, place: Place, user: UserId, what: &MoneyRecord) {
        let Some(player) = self.account.players.get_mut(&user) else { return };
        match *what {
            MoneyRecord::Grabbed { show, rain, slot, number, cents }
                if show == self.account.show =>
            {
                player.packets.push(Packet { place, rain, slot, number, cents });
            }
            MoneyRecord::InvitationAccepted { .. } | MoneyRecord::InvitationAnswered { .. } => {
                if let Some(last) = player.cards.last_mut().filter(|last| last.place == place) {
                    last.cause = CardCause::Invitation;
                }
            }
            _ => {}
        }
    }

    fn joined(&mut self, local: &LocalQuiz, user: UserId, visit: Visit) {
        if visit.until.is_none()
            && let Some(before) = self.open_visit(user)
        {
            before.until = Some(visit.since);
        }
        let player = self.account.players.entry(user).or_insert_with(|| PlayerAccount {
            bucket: local.users().placement().bucket(user),
            joined_at: visit.since,
            cards_at_join: cards_of(local, user),
            ..PlayerAccount::default()
        });
        player.visits.push(visit);
    }

    /// The one session that counts and has not ended: ended ones may be noted behind it.
    fn open_visit(&mut self, user: UserId) -> Option<&mut Visit> {
        let visits = &mut self.account.players.get_mut(&user)?.visits;
        visits.iter_mut().rev().find(|visit| visit.until.is_none())
    }

    /// What the current question brought; what sessions are offered until `until` counts.
    fn harvest(&mut self, local: &LocalQuiz, replica: &ShowReplica, until: Time) {
        let users = local.users();
        for bucket in 0..users.buckets().len() {
            for PlayerState { user, is_paid, record, .. } in replica.states(bucket, users, until) {
                let Some(player) = self.account.players.get_mut(&user) else { continue };
                player.is_paid |= is_paid;
                if let Some(record) = record {
                    player.at_mut(record.question).offered = record.offered;
                }
            }
        }
    }
}

/// Whether an event makes the current question history, or ends the show.
fn makes_history(event: &ShowEvent) -> bool {
    matches!(
        event,
        ShowEvent::QuestionOpened(_)
            | ShowEvent::QuestionVoided { .. }
            | ShowEvent::Settling
            | ShowEvent::Cancelled
            | ShowEvent::Ended
    )
}

fn one(local: &LocalQuiz, user: UserId) -> Seen {
    Seen { user, cards: cards_of(local, user), verdict: None, has_answer: false }
}

fn cards_of(local: &LocalQuiz, user: UserId) -> u8 {
    let users = local.users();
    users.find(user).map_or(0, |place| users.entry(place).cards)
}

/// All that is left of the work under way.
fn all_steps(local: &LocalQuiz, replica: &ShowReplica) -> Vec<WorkStep> {
    let step = |(place, bucket): (usize, &BucketId)| {
        let until = u32::try_from(replica.players_of(place).count()).unwrap_or(u32::MAX);
        WorkStep { bucket: *bucket, until }
    };
    local.users().buckets().iter().enumerate().map(step).collect()
}

/// The players who are judged by these steps.
fn before_work(local: &LocalQuiz, replica: &ShowReplica, steps: &[WorkStep]) -> Before {
    let revision = match replica.phase() {
        Phase::Closing => 0,
        Phase::Rejudging => replica.revision(),
        // Freezing and paying take no cards and give no verdicts.
        _ => return Before::default(),
    };
    let users = local.users();
    let mut players = Vec::new();
    for step in steps {
        let Some(bucket) = users.place_of(step.bucket) else { continue };
        let (from, until) = (replica.done_in(bucket), step.until as usize);
        let some = replica.states(bucket, users, Time::ZERO).take(until).skip(from);
        players.extend(some.map(seen));
    }
    let question = replica.current_question().map(|open| open.question);
    let at = question.map(|question| (replica.definition().id, question));
    Before { at, players, revision: Some(revision) }
}

/// Everybody whose card comes back if the current question is undone.
fn before_undo(local: &LocalQuiz, replica: &ShowReplica) -> Before {
    let Some(open) = replica.current_question() else { return Before::default() };
    let users = local.users();
    let buckets = 0..users.buckets().len();
    let states = buckets.flat_map(|bucket| replica.states(bucket, users, Time::ZERO));
    let players = states.map(seen).collect();
    Before { at: Some((replica.definition().id, open.question)), players, revision: None }
}

fn seen(state: PlayerState) -> Seen {
    Seen {
        user: state.user,
        cards: state.cards,
        verdict: state.record.and_then(|record| record.verdict),
        has_answer: state.record.is_some_and(|record| record.answer.is_some()),
    }
}
