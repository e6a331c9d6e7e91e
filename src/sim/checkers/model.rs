//! The rules once more, as plainly as they can be written, fed with the records of the journals.
//!
//! What is taken for a fact: the order in which a user's home recorded joins, answers with their
//! stamps, and cards, and the events that it had applied by then. What is compared: every verdict,
//! every count, cards, winners, payouts and the hash of the game. That the facts themselves are
//! those of the players is the other checkers' business.

mod again;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use again::HomeThen;

use crate::base::hash::Placement;
use crate::base::ids::{BucketId, OptionIndex, QuestionIndex, UserId};
use crate::base::limits::OPTIONS_MAX;
use crate::base::time::Time;
use crate::quiz::definition::{ReviveCoverage, ShowDefinition};
use crate::quiz::event::{NumberedEvent, Settlement, ShowEvent};
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::replica::{AnswerInput, AnswerRecord};
use crate::quiz::report::{BucketDigest, ClosedSummary, QuestionCounts, game_hash};
use crate::quiz::verdict::{Failing, Verdict};
use crate::sim::checkers::{Findings, Promise};
use crate::sim::races::Races;

/// What a sealed result must say: the verdict, the answer that counts, questions passed by then.
pub(crate) type Said = (Verdict, Option<OptionIndex>, u8);

/// A user's cards, in all shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wallet {
    pub(crate) cards: u8,
    pub(crate) balance: i64,
    /// How many cards the user was ever given by an operator.
    pub(crate) granted: u64,
    /// How often some of the user's cards expired.
    pub(crate) expiries: u64,
}

/// What a player brought at the current question.
#[derive(Clone, Debug, Default)]
struct Here {
    /// Option, stamp, and whether it is a ticket's.
    answer: Option<(OptionIndex, Time, bool)>,
    verdict: Option<Verdict>,
    held: bool,
    revision: u8,
}

/// A player in one show.
#[derive(Clone, Debug, Default)]
struct Player {
    /// Questions that had been asked when the player joined, and when that was.
    asked_before: usize,
    joined_at: Time,
    is_out: bool,
    used_card: bool,
    passed: u8,
    here: Here,
}

/// The question as one home sees it.
#[derive(Clone, Copy, Debug)]
struct Current {
    question: QuestionIndex,
    answer_by: Time,
    correct: OptionIndex,
    is_last: bool,
}

/// A show at one home.
#[derive(Clone, Debug)]
struct Home {
    phase: Phase,
    voided: Vec<bool>,
    /// The last moment of each question, as far as it is known here.
    answer_by: Vec<Time>,
    current: Option<Current>,
    players: BTreeMap<UserId, Player>,
}

/// A show in all homes.
struct Show {
    definition: Arc<ShowDefinition>,
    homes: Vec<Home>,
    reports: BTreeMap<(u16, u8), Vec<ClosedSummary>>,
    paid: Vec<Option<Cents>>,
}

/// All users and shows, by the rules.
pub(crate) struct Model {
    placement: Placement,
    shows: Vec<Show>,
    pub(crate) wallets: BTreeMap<UserId, Wallet>,
    /// Final verdicts by show, question, user and revision.
    pub(crate) verdicts: BTreeMap<(usize, u16, UserId, u8), Said>,
}

impl Model {
    pub(crate) fn new(placement: Placement, shows: &[Arc<ShowDefinition>]) -> Model {
        let home = || Home {
            phase: Phase::Announced,
            voided: Vec::new(),
            answer_by: Vec::new(),
            current: None,
            players: BTreeMap::new(),
        };
        let homes = || (0..placement.shard_count()).map(|_| home()).collect();
        let show = |definition: &Arc<ShowDefinition>| Show {
            definition: definition.clone(),
            homes: homes(),
            reports: BTreeMap::new(),
            paid: vec![None; usize::from(placement.shard_count())],
        };
        Model {
            placement,
            shows: shows.iter().map(show).collect(),
            wallets: BTreeMap::new(),
            verdicts: BTreeMap::new(),
        }
    }

    /// A home has applied an event.
    pub(crate) fn applied(&mut self, home: usize, show: usize, event: &NumberedEvent) {
        let definition = self.shows[show].definition.clone();
        let at = &mut self.shows[show].homes[home];
        let before = at.phase;
        let hid = before.hides_verdicts();
        if let Some(next) = event.event.step().and_then(|step| at.phase.after(step)) {
            at.phase = next;
        }
        match &event.event {
            ShowEvent::QuestionOpened(opening) => {
                at.fold();
                let place = opening.question.index();
                at.voided.push(false);
                at.answer_by.push(opening.answer_by);
                at.current = Some(Current {
                    question: opening.question,
                    answer_by: opening.answer_by,
                    correct: definition.questions[place].correct,
                    is_last: place + 1 == definition.questions.len(),
                });
            }
            ShowEvent::QuestionExtended { answer_by, .. }
            | ShowEvent::QuestionClosing { answer_by, .. } => {
                if let Some(current) = &mut at.current {
                    current.answer_by = *answer_by;
                }
                if let Some(last) = at.answer_by.last_mut() {
                    *last = *answer_by;
                }
            }
            ShowEvent::Rejudging { correct, .. } => {
                if let Some(current) = &mut at.current {
                    current.correct = *correct;
                }
            }
            ShowEvent::QuestionVoided { .. } => at.undo(&mut self.wallets),
            ShowEvent::Cancelled if hid => at.undo(&mut self.wallets),
            ShowEvent::Cancelled if before == Phase::Rejudging => {
                at.rejudge_all(definition.revive, &mut self.wallets);
            }
            ShowEvent::Settling => at.fold(),
            ShowEvent::Settled(settlement) => {
                for user in at.winners() {
                    self.wallets.entry(user).or_default().balance += settlement.per_head.0;
                }
            }
            _ => {}
        }
    }

    /// A user joined a show, at its home.
    pub(crate) fn joined(
        &mut self,
        home: usize,
        show: usize,
        user: UserId,
        since: Time,
        races: &mut Races,
    ) {
        let at = &mut self.shows[show].homes[home];
        if at.players.contains_key(&user) {
            return;
        }
        races.joins_while_open += u64::from(at.phase == Phase::Open);
        races.joins_while_closing += u64::from(at.phase == Phase::Closing);
        let asked_before = at.voided.len();
        at.players.insert(user, Player { asked_before, joined_at: since, ..Player::default() });
        let is_spectator = at.is_spectator(&at.players[&user]);
        races.spectators += u64::from(is_spectator);
    }

    /// A user got a card.
    pub(crate) fn granted(&mut self, user: UserId) {
        let wallet = self.wallets.entry(user).or_default();
        wallet.cards += 1;
        wallet.granted += 1;
    }

    /// Cards of a user expired, at its home: in a show of its that is played it may need them.
    pub(crate) fn expired(
        &mut self,
        home: usize,
        user: UserId,
        cards: u8,
        findings: &mut Findings,
    ) {
        for show in &self.shows {
            let at = &show.homes[home];
            let is_over = matches!(
                at.phase,
                Phase::Settling | Phase::Settled | Phase::Cancelled | Phase::Ended
            );
            let plays = !at.voided.is_empty() && !is_over;
            findings.check(!plays || !at.players.contains_key(&user), Promise::Cards, || {
                format!("user {user} lost {cards} cards in a show that is {}", at.phase)
            });
        }
        let wallet = self.wallets.entry(user).or_default();
        wallet.expiries += 1;
        findings.check(cards > 0 && cards <= wallet.cards, Promise::Cards, || {
            format!("user {user} lost {cards} cards of {}", wallet.cards)
        });
        wallet.cards = wallet.cards.saturating_sub(cards);
    }

    /// A home put an answer on record.
    pub(crate) fn answered(
        &mut self,
        home: usize,
        show: usize,
        user: UserId,
        input: &AnswerInput,
        findings: &mut Findings,
    ) {
        let revive = self.shows[show].definition.revive;
        let at = &mut self.shows[show].homes[home];
        let Some(current) = at.current.filter(|current| current.question == input.question) else {
            return findings.broken(Promise::Verdicts, || {
                format!("user {user} is on record at {input:?}, which is not current")
            });
        };
        let may = at.players.get(&user).is_some_and(|player| at.may_play(player));
        let Some(player) = at.players.get_mut(&user).filter(|_| may) else {
            return findings.broken(Promise::Verdicts, || {
                format!("user {user} is not in play and on record: {input:?}")
            });
        };
        let stamp = input.ticket.map_or(input.arrived, |ticket| ticket.arrived);
        // What is known to be late gives way to the same answer that arrived earlier.
        let gives_way = player
            .here
            .answer
            .is_some_and(|(option, late, _)| option == input.option && stamp < late);
        if player.here.verdict.is_some() || player.here.answer.is_some() && !gives_way {
            return findings.broken(Promise::Counting, || {
                format!("user {user} is on record twice: {:?} and {input:?}", player.here)
            });
        }
        player.here.answer = Some((input.option, stamp, input.ticket.is_some()));
        if stamp <= current.answer_by {
            judge(player, &current, revive, self.wallets.entry(user).or_default());
        }
    }

    /// Who is in play at the current question of a home, without an answer on record.
    pub(crate) fn owes_answer(&self, home: usize, show: usize, user: UserId) -> bool {
        let at = &self.shows[show].homes[home];
        at.players.get(&user).is_some_and(|it| at.may_play(it) && it.here.answer.is_none())
    }

    /// Whether a user has joined a show.
    pub(crate) fn is_player(&self, home: usize, show: usize, user: UserId) -> bool {
        self.shows[show].homes[home].players.contains_key(&user)
    }

    /// The answer on record at the current question: option and stamp.
    pub(crate) fn answer(
        &self,
        home: usize,
        show: usize,
        user: UserId,
    ) -> Option<(OptionIndex, Time, bool)> {
        self.shows[show].homes[home].players.get(&user)?.here.answer
    }

    /// A home has settled a question, or judged it again: `actual` is what it has on record.
    pub(crate) fn closed(
        &mut self,
        home: usize,
        show: usize,
        summary: &ClosedSummary,
        actual: impl Fn(UserId) -> Option<AnswerRecord>,
        races: &mut Races,
        findings: &mut Findings,
    ) {
        let revive = self.shows[show].definition.revive;
        let at = &mut self.shows[show].homes[home];
        let Some(current) = at.current else { return };
        let users: Vec<UserId> = at.players.keys().copied().collect();
        for user in users {
            let record = actual(user);
            let may = at.may_play(&at.players[&user]);
            let player = at.players.get_mut(&user).expect("the key was just read");
            let wallet = self.wallets.entry(user).or_default();
            if !may {
                findings.check(
                    record.is_none_or(|it| it.verdict.is_none()),
                    Promise::Verdicts,
                    || format!("user {user} is not in play and was judged: {record:?}"),
                );
                continue;
            }
            if summary.revision > 0 {
                rejudge(player, &current, revive, wallet);
            } else if player.here.verdict.is_none() {
                if player.here.answer.is_some() {
                    judge(player, &current, revive, wallet);
                } else {
                    // Whether it was offered is the offers' checker's business.
                    let offered = record.is_some_and(|it| it.offered.is_some());
                    races.silent += u64::from(offered);
                    races.unreachable += u64::from(!offered);
                    let failing = if offered { Failing::Silent } else { Failing::Unreachable };
                    player.here.held = wallet.cards > 0;
                    settle(player, &current, revive, wallet, failing);
                }
            }
            races.revived += u64::from(player.here.verdict.is_some_and(Verdict::uses_card));
            compare(user, player, record, findings);
            if let Some(verdict) = player.here.verdict {
                let option = player.here.answer.map(|answer| answer.0);
                let passed = player.passed + u8::from(verdict.passes());
                let place = (show, current.question.0, user, player.here.revision);
                self.verdicts.insert(place, (verdict, option, passed));
            }
        }
        let counts = at.counts(&current);
        let same = counts.is_like(&summary.counts);
        findings.check(same, Promise::Counting, || {
            format!("question {}: counted {counts:?}, reported {summary:?}", current.question)
        });
        let in_play = at.in_play();
        findings.check(in_play == summary.in_play, Promise::Counting, || {
            format!("{in_play} in play after question {}, reported {summary:?}", current.question)
        });
        let key = (summary.question.0, summary.revision);
        self.shows[show].reports.entry(key).or_default().push(*summary);
    }

    /// The director has decided that a question is closed.
    pub(crate) fn question_closed(
        &self,
        show: usize,
        question: QuestionIndex,
        counts: &QuestionCounts,
        in_play: u64,
        findings: &mut Findings,
    ) {
        let reports = self.shows[show].reports.get(&(question.0, 0)).map_or(&[][..], Vec::as_slice);
        let mut sum = QuestionCounts::default();
        for report in reports {
            sum.add(&report.counts);
        }
        let all = reports.len() == self.shows[show].homes.len();
        let left: u64 = reports.iter().map(|report| report.in_play).sum();
        findings.check(all && sum == *counts && left == in_play, Promise::Counting, || {
            format!("question {question} is closed with {counts:?}, {in_play} in play: {reports:?}")
        });
    }

    /// The director has split the prize.
    pub(crate) fn settled(&self, show: usize, settlement: &Settlement, findings: &mut Findings) {
        let homes = &self.shows[show].homes;
        let winners: u64 = homes.iter().map(|home| home.winners().count() as u64).sum();
        findings.check(winners == settlement.winners, Promise::Money, || {
            format!("{winners} winners by the rules: {settlement:?}")
        });
        let pool = self.shows[show].definition.prize_pool.0;
        let heads = i64::try_from(settlement.winners).unwrap_or(i64::MAX);
        let total = settlement.per_head.0 * heads + settlement.remainder.0;
        let fair = heads == 0 || settlement.remainder.0 < heads;
        let exact = settlement.pool.0 == pool && total == pool && fair;
        findings.check(exact, Promise::Money, || format!("pool {pool}: {settlement:?}"));
        let hash = self.game_hash(show);
        findings.check(hash == settlement.game_hash, Promise::Money, || {
            "the hash of the game is not that of the rules' verdicts".into()
        });
    }

    fn game_hash(&self, show: usize) -> [u8; 32] {
        let mut digests: Vec<BucketDigest> =
            (0..self.placement.bucket_count()).map(|_| BucketDigest::new()).collect();
        let homes = &self.shows[show].homes;
        let mut rows: BTreeMap<(UserId, u16), (u8, Verdict)> = BTreeMap::new();
        for ((place, question, user, revision), (verdict, ..)) in &self.verdicts {
            let home = &homes[self.placement.user_home(*user).index()];
            if *place == show && !home.voided[usize::from(*question)] {
                rows.insert((*user, *question), (*revision, *verdict));
            }
        }
        for ((user, question), (_, verdict)) in rows {
            let home = &homes[self.placement.user_home(user).index()];
            // A void made somebody a player who was a spectator, or the other way round.
            if !home.players.get(&user).is_some_and(|player| home.is_spectator(player)) {
                let BucketId(bucket) = self.placement.bucket(user);
                digests[usize::from(bucket)].add(user, QuestionIndex(question), verdict);
            }
        }
        let digests: Vec<[u8; 32]> = digests.into_iter().map(BucketDigest::finish).collect();
        game_hash(digests.iter())
    }

    /// A home has paid.
    pub(crate) fn paid(&mut self, home: usize, show: usize, paid: Cents, findings: &mut Findings) {
        let known = self.shows[show].paid[home].replace(paid);
        findings.check(known.is_none(), Promise::Money, || format!("home {home} paid twice"));
    }

    /// At the end: what was paid and what remains is the pool.
    pub(crate) fn check_paid(&self, show: usize, settlement: &Settlement, findings: &mut Findings) {
        let paid = &self.shows[show].paid;
        let sum: i64 = paid.iter().flatten().map(|paid| paid.0).sum();
        let all = paid.iter().all(Option::is_some);
        let exact = all && sum + settlement.remainder.0 == settlement.pool.0;
        findings.check(exact, Promise::Money, || format!("paid {paid:?}: {settlement:?}"));
    }

    /// How many play in more than one show.
    pub(crate) fn in_both_shows(&self) -> u64 {
        if self.shows.len() < 2 {
            return 0;
        }
        let players = |show: usize| self.shows[show].homes.iter().flat_map(|it| it.players.keys());
        let first: std::collections::BTreeSet<_> = players(0).collect();
        players(1).filter(|user| first.contains(user)).count() as u64
    }
}

impl Home {
    fn is_spectator(&self, player: &Player) -> bool {
        let first = self.voided.iter().position(|voided| !voided);
        first.is_some_and(|first| {
            let came_in_time =
                first + 1 == player.asked_before && player.joined_at <= self.answer_by[first];
            first < player.asked_before && !came_in_time
        })
    }

    fn may_play(&self, player: &Player) -> bool {
        !player.is_out && !self.is_spectator(player)
    }

    /// The current question becomes history.
    fn fold(&mut self) {
        for player in self.players.values_mut() {
            let here = std::mem::take(&mut player.here);
            if let Some(verdict) = here.verdict {
                player.is_out |= !verdict.passes();
                player.used_card |= verdict.uses_card();
                player.passed += u8::from(verdict.passes());
            }
        }
    }

    /// The current question never was.
    fn undo(&mut self, wallets: &mut BTreeMap<UserId, Wallet>) {
        if let Some(last) = self.voided.last_mut() {
            *last = true;
        }
        self.current = None;
        for (user, player) in &mut self.players {
            let here = std::mem::take(&mut player.here);
            if here.verdict.is_some_and(Verdict::uses_card) {
                wallets.entry(*user).or_default().cards += 1;
            }
        }
    }

    /// Everybody in play is judged by the corrected key; who was already stays as it is.
    fn rejudge_all(&mut self, revive: ReviveCoverage, wallets: &mut BTreeMap<UserId, Wallet>) {
        let Some(current) = self.current else { return };
        let mut users: Vec<UserId> = self.players.keys().copied().collect();
        users.retain(|user| self.may_play(&self.players[user]));
        for user in users {
            let player = self.players.get_mut(&user).expect("the key was just read");
            rejudge(player, &current, revive, wallets.entry(user).or_default());
        }
    }

    fn winners(&self) -> impl Iterator<Item = UserId> {
        let wins = |player: &Player| self.may_play(player) && player.passed > 0;
        self.players.iter().filter(move |(_, player)| wins(player)).map(|(user, _)| *user)
    }

    fn in_play(&self) -> u64 {
        let stays = |player: &&Player| {
            self.may_play(player) && player.here.verdict.is_none_or(Verdict::passes)
        };
        self.players.values().filter(stays).count() as u64
    }

    fn counts(&self, current: &Current) -> Counts {
        let mut counts = Counts::default();
        for player in self.players.values() {
            let Some(verdict) = player.here.verdict else { continue };
            if let Some((option, stamp, by_ticket)) = player.here.answer {
                counts.answered += 1;
                counts.by_ticket += u64::from(by_ticket);
                if stamp <= current.answer_by {
                    counts.options[option.index()] += 1;
                }
            }
            counts.correct += u64::from(verdict == Verdict::Passed);
            counts.revived += u64::from(verdict.uses_card());
            counts.eliminated += u64::from(!verdict.passes());
            counts.late += u64::from(verdict.failing() == Some(Failing::Late));
            counts.silent += u64::from(verdict.failing() == Some(Failing::Silent));
            counts.unreachable += u64::from(verdict.failing() == Some(Failing::Unreachable));
        }
        counts
    }
}

/// What the rules count.
#[derive(Debug, Default)]
struct Counts {
    answered: u64,
    options: [u64; OPTIONS_MAX],
    correct: u64,
    late: u64,
    silent: u64,
    unreachable: u64,
    revived: u64,
    eliminated: u64,
    by_ticket: u64,
}

impl Counts {
    fn is_like(&self, counts: &QuestionCounts) -> bool {
        self.answered == counts.answered
            && self.options == counts.options
            && self.correct == counts.correct
            && self.late == counts.late
            && self.silent == counts.silent
            && self.unreachable == counts.unreachable
            && self.revived == counts.revived
            && self.eliminated == counts.eliminated
            && self.by_ticket == counts.by_ticket
    }
}

fn judge(player: &mut Player, current: &Current, revive: ReviveCoverage, wallet: &mut Wallet) {
    let Some((option, stamp, _)) = player.here.answer else { return };
    player.here.held = wallet.cards > 0;
    if stamp > current.answer_by {
        settle(player, current, revive, wallet, Failing::Late);
    } else if option == current.correct {
        player.here.verdict = Some(Verdict::Passed);
    } else {
        settle(player, current, revive, wallet, Failing::Wrong);
    }
}

/// A failure, made good by a card if the rules allow it.
fn settle(
    player: &mut Player,
    current: &Current,
    revive: ReviveCoverage,
    wallet: &mut Wallet,
    failing: Failing,
) {
    let covered = match failing {
        Failing::Wrong => revive.wrong,
        Failing::Late | Failing::Silent => revive.late,
        Failing::Unreachable => revive.unreachable,
    };
    let card = player.here.held && wallet.cards > 0;
    if covered && card && !player.used_card && !current.is_last {
        wallet.cards -= 1;
        player.here.verdict = Some(Verdict::Revived(failing));
    } else {
        player.here.verdict = Some(Verdict::Out(failing));
    }
}

/// Whoever answered in time is judged by the corrected key, with the card it held then.
fn rejudge(player: &mut Player, current: &Current, revive: ReviveCoverage, wallet: &mut Wallet) {
    let (Some(before), Some((option, ..))) = (player.here.verdict, player.here.answer) else {
        return;
    };
    if !matches!(before.failing(), None | Some(Failing::Wrong)) {
        return;
    }
    let mut trial = (player.clone(), *wallet);
    trial.1.cards += u8::from(before.uses_card());
    if option == current.correct {
        trial.0.here.verdict = Some(Verdict::Passed);
    } else {
        settle(&mut trial.0, current, revive, &mut trial.1, Failing::Wrong);
    }
    if trial.0.here.verdict != Some(before) {
        (*player, *wallet) = trial;
        player.here.revision += 1;
    }
}

fn compare(user: UserId, player: &Player, record: Option<AnswerRecord>, findings: &mut Findings) {
    let Some(record) = record else {
        return findings.broken(Promise::Verdicts, || format!("user {user} was not judged"));
    };
    let here = &player.here;
    if record.verdict.is_some_and(Verdict::uses_card) && player.used_card {
        return findings.broken(Promise::Cards, || {
            format!("user {user} used a second card in one show: {record:?}")
        });
    }
    let answer = here.answer.map(|(option, stamp, _)| (option, stamp));
    let same = record.verdict == here.verdict
        && record.answer == answer
        && record.revision == here.revision;
    findings.check(same, Promise::Verdicts, || {
        format!("user {user} by the rules: {player:?}; on record: {record:?}")
    });
}
