//! The lines of an export, one function a kind: the field names are a contract, described in
//! `docs/fairness.md`.
//!
//! Times are nanoseconds on the deployment's time axis, money is integer cents, questions, options,
//! rains and taps are counted from 0. Here it is decided what may be told ([`View`]): of a question
//! that is not revealed neither key nor option nor verdict, and, while its show goes on, no answer;
//! of a rain that has not ended no seed; and no number of cards while another show hides verdicts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::base::hex;
use crate::base::ids::{QuestionIndex, RainIndex, UserId};
use crate::ops::show_json::phase_word;
use crate::quiz::event::{Settlement, ShowEvent};
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::rain::RainEvent;
use crate::quiz::report::QuestionCounts;
use crate::quiz::verdict::{Failing, Verdict};
use crate::shard::account::{
    AnswerAccount, CardCause, CardMove, Judgement, Outcome, PlayerAccount, QuestionFacts,
    RunAccount, ShowAccount, questions,
};
use crate::shard::coverage::Reach;

/// The version of the format.
const FORMAT: &str = "tidegate-show/1";

/// A show, and what may be told of it.
pub(super) struct View<'a> {
    pub(super) account: &'a ShowAccount,
    pub(super) questions: Vec<QuestionFacts>,
    pub(super) phase: Phase,
    pub(super) settlement: Option<&'a Settlement>,
}

impl<'a> View<'a> {
    pub(super) fn new(account: &'a ShowAccount) -> View<'a> {
        let questions = questions(&account.history);
        let (phase, settlement) = (account.phase(), account.settlement());
        View { account, questions, phase, settlement }
    }

    /// Nothing will be decided any more.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Ended
    }

    pub(super) fn facts(&self, question: QuestionIndex) -> Option<&QuestionFacts> {
        self.questions.get(question.index())
    }

    /// How many cards anybody holds may tell what another show hides.
    pub(super) fn hides_cards(&self) -> bool {
        !self.account.hiding_elsewhere.is_empty()
    }

    pub(super) fn outcome(&self, player: &PlayerAccount) -> Outcome {
        player.outcome(&self.questions, self.settlement.is_some())
    }

    /// What a player won of the prize, once it is split.
    pub(super) fn prize(&self, player: &PlayerAccount) -> Option<Cents> {
        let won = self.outcome(player) == Outcome::Winner;
        self.settlement.map(|split| if won { split.per_head } else { Cents::ZERO })
    }

    /// Moves of cards that may be told: what an undone question used came back.
    pub(super) fn card_moves<'p>(
        &'p self,
        player: &'p PlayerAccount,
    ) -> impl Iterator<Item = &'p CardMove> {
        player.cards.iter().filter(|moved| match moved.cause {
            CardCause::Question(show, question) if show == self.account.show => {
                self.facts(question).is_some_and(QuestionFacts::counts)
            }
            _ => true,
        })
    }
}

pub(super) fn show(view: &View<'_>) -> Value {
    let definition = view.account.definition();
    let timing = &definition.timing;
    json!({
        "kind": "show",
        "format": FORMAT,
        "show": definition.id.0,
        "room": definition.room.0,
        "title": definition.title,
        "phase": phase_word(view.phase),
        "is_over": view.is_over(),
        "buckets": view.account.buckets,
        "question_count": definition.questions.len(),
        "prize_pool_cents": definition.prize_pool.0,
        "remainder_account": definition.remainder_account,
        "card_covers": {
            "wrong": definition.revive.wrong,
            "late": definition.revive.late,
            "unreachable": definition.revive.unreachable,
        },
        "cards_withheld": view.hides_cards(),
        "ticket_life_ns": nanos(timing.ticket_life),
        "stream_delay_ns": nanos(timing.stream_delay),
        "players": view.account.players.len(),
    })
}

pub(super) fn run(about: &RunAccount) -> Value {
    json!({
        "kind": "run",
        "run": about.run,
        "shards": about.shards,
        "began_at_ns": about.began_at.0,
        "zero_unix_ms": about.zero_unix_ms,
    })
}

pub(super) fn question(view: &View<'_>, facts: &QuestionFacts) -> Value {
    let QuestionFacts { opening, .. } = facts;
    let definition = view.account.definition();
    let asked = &definition.questions[opening.question.index()];
    let told = facts.is_told();
    let closed = facts.closed.as_ref().filter(|_| told);
    let again: Vec<Value> = facts
        .rejudgements
        .iter()
        .filter_map(|again| again.done.as_ref().map(|done| (again.begun_at, done)))
        .filter(|_| told)
        .map(|(begun_at, (at, result, in_play))| {
            json!({
                "begun_at_ns": begun_at.0,
                "at_ns": at.0,
                "counts": counts(result),
                "in_play": in_play,
            })
        })
        .collect();
    json!({
        "kind": "question",
        "question": opening.question.0,
        "text": asked.text,
        "options": asked.options,
        "is_last": opening.question.index() + 1 == definition.questions.len(),
        "opened_at_ns": facts.opened_at.0,
        "show_at_ns": opening.show_at.0,
        "show_by_ns": facts.show_by.0,
        "answer_by_ns": facts.answer_by.0,
        "extensions": facts.extensions.iter().map(|(at, show_by)| {
            json!({ "at_ns": at.0, "show_by_ns": show_by.0 })
        }).collect::<Vec<_>>(),
        "closing_at_ns": facts.closing.map(|(at, _, _)| at.0),
        "tickets_until_ns": facts.closing.map(|(_, until, _)| until.0),
        "is_offered_at_closing": facts.closing.map(|(_, _, is_offered)| is_offered),
        "closed_at_ns": facts.closed.as_ref().map(|(at, _, _)| at.0),
        "revealed_at_ns": facts.reveal.as_ref().map(|(at, _)| at.0),
        "voided_at_ns": facts.voided_at.map(|at| at.0),
        "is_told": told,
        "commitment": hex::encode(&opening.commitment),
        "result_key": told.then(|| hex::encode(opening.result_key.expose())),
        "question_key": told.then(|| hex::encode(opening.question_key.expose())),
        "correct": facts.correct().iter().map(|option| option.0).collect::<Vec<_>>(),
        "counts": closed.map(|(_, result, _)| counts(result)),
        "in_play": closed.map(|(_, _, in_play)| in_play),
        "rejudgements": again,
        "shards": offers(view, opening.question),
        "coverage": coverage(view, facts),
    })
}

fn counts(counts: &QuestionCounts) -> Value {
    json!({
        "answered": counts.answered,
        "options": counts.options,
        "correct": counts.correct,
        "late": counts.late,
        "silent": counts.silent,
        "unreachable": counts.unreachable,
        "revived": counts.revived,
        "eliminated": counts.eliminated,
        "by_ticket": counts.by_ticket,
    })
}

/// When each shard had queued a question for everybody in the room.
fn offers(view: &View<'_>, question: QuestionIndex) -> Vec<Value> {
    let of_it = view.account.offers.iter().filter(|offer| offer.question == question);
    of_it
        .map(|offer| {
            json!({
                "run": offer.place.run,
                "shard": offer.place.shard.0,
                "queued_at_ns": offer.at.0,
                "connections": offer.connections,
            })
        })
        .collect()
}

/// How a question came to connections, over all shards; null if no shard put it on record.
fn coverage(view: &View<'_>, facts: &QuestionFacts) -> Value {
    let question = facts.question();
    let of_it: Vec<&Reach> = view
        .account
        .reaches
        .iter()
        .filter(|one| one.question == question)
        .map(|one| &one.reach)
        .collect();
    if of_it.is_empty() {
        return Value::Null;
    }
    let connections: u64 = of_it.iter().map(|reach| reach.connections).sum();
    let served: u64 = of_it.iter().map(|reach| reach.served()).sum();
    let mut slots: BTreeMap<u64, u64> = BTreeMap::new();
    for (bound, count) in of_it.iter().flat_map(|reach| &reach.slots) {
        *slots.entry(*bound).or_default() += count;
    }
    let mut sum = 0;
    let curve: Vec<(u64, u64)> = slots
        .into_iter()
        .map(|(bound, count)| {
            sum += count;
            (bound, sum)
        })
        .collect();
    // Of those who got it: who left before had it never.
    let within = |permille: u64| {
        let wanted = (served * permille).div_ceil(1_000);
        curve.iter().find(|(_, sum)| *sum >= wanted).map(|(bound, _)| bound)
    };
    let first = of_it.iter().filter_map(|reach| reach.first).min();
    let last = of_it.iter().filter_map(|reach| reach.last).max();
    json!({
        "connections": connections,
        "served": served,
        "p50_us": within(500),
        "p99_us": within(990),
        "p999_us": within(999),
        "p100_us": within(1_000),
        "first_at_ns": first.map(|at| at.0),
        "last_at_ns": last.map(|at| at.0),
        "spread_ns": first.zip(last).map(|(first, last)| last.0.saturating_sub(first.0)),
        "curve": curve,
    })
}

/// A line for each rain that was planned.
pub(super) fn rains(view: &View<'_>) -> Vec<Value> {
    let mut rains: BTreeMap<RainIndex, Value> = BTreeMap::new();
    let mut seeds: BTreeMap<RainIndex, String> = BTreeMap::new();
    for numbered in &view.account.history {
        let ShowEvent::Rain(event) = &numbered.event else { continue };
        let at = numbered.decided_at.0;
        match event {
            RainEvent::Planned { rain, settings, seed } => {
                seeds.insert(*rain, hex::encode(seed.expose()));
                rains.insert(
                    *rain,
                    json!({
                        "kind": "rain",
                        "rain": rain.0,
                        "planned_at_ns": at,
                        "pool_cents": settings.pool.0,
                        "packets": settings.packets,
                        "win_per_10000": settings.win_per_10000,
                        "taps_max": settings.taps_max,
                        "show_packets_max": settings.show_packets_max,
                        "duration_ns": nanos(settings.duration),
                        "starts_at_ns": null,
                        "ends_at_ns": null,
                        "closing_at_ns": null,
                        "grants": [],
                        "ended": null,
                        "seed": null,
                    }),
                );
            }
            RainEvent::Started { rain, starts_at, ends_at } => {
                let Some(line) = rains.get_mut(rain) else { continue };
                line["starts_at_ns"] = json!(starts_at.0);
                line["ends_at_ns"] = json!(ends_at.0);
            }
            RainEvent::Granted { rain, shard, first, count, .. } => {
                let grants = rains.get_mut(rain).and_then(|line| line["grants"].as_array_mut());
                let grant = json!({ "shard": shard.0, "first": first, "count": count });
                grants.into_iter().for_each(|grants| grants.push(grant.clone()));
            }
            RainEvent::Closing { rain } => {
                if let Some(line) = rains.get_mut(rain) {
                    line["closing_at_ns"] = json!(at);
                }
            }
            RainEvent::Ended { rain, grabbed, paid, returned } => {
                let Some(line) = rains.get_mut(rain) else { continue };
                line["ended"] = json!({
                    "at_ns": at,
                    "grabbed": grabbed,
                    "paid_cents": paid.0,
                    "returned_cents": returned.0,
                });
                line["seed"] = json!(seeds.get(rain));
            }
            RainEvent::Funded { .. } | RainEvent::FundClosed { .. } => {}
        }
    }
    rains.into_values().collect()
}

/// The fund from which rains are paid.
pub(super) fn fund(view: &View<'_>) -> Value {
    let (mut funded, mut closed) = (0_i64, None);
    for numbered in &view.account.history {
        match &numbered.event {
            ShowEvent::Rain(RainEvent::Funded { cents }) => funded = funded.saturating_add(cents.0),
            ShowEvent::Rain(RainEvent::FundClosed { cents }) => closed = Some(cents.0),
            _ => {}
        }
    }
    json!({
        "kind": "fund",
        "funded_cents": funded,
        "closed_cents": closed,
        "account": view.account.definition().remainder_account,
    })
}

/// How the prize was split, if it was.
pub(super) fn settlement(view: &View<'_>) -> Option<Value> {
    let settled = view.account.history.iter().find_map(|numbered| match &numbered.event {
        ShowEvent::Settled(settlement) => Some((numbered.decided_at, settlement)),
        _ => None,
    });
    settled.map(|(at, settlement)| {
        json!({
            "kind": "settlement",
            "at_ns": at.0,
            "winners": settlement.winners,
            "pool_cents": settlement.pool.0,
            "per_head_cents": settlement.per_head.0,
            "remainder_cents": settlement.remainder.0,
            "account": view.account.definition().remainder_account,
            "game_hash": hex::encode(&settlement.game_hash),
        })
    })
}

pub(super) fn player(view: &View<'_>, user: UserId, player: &PlayerAccount) -> Value {
    let outcome = view.outcome(player);
    let hides = view.hides_cards();
    let moves: Vec<Value> = view.card_moves(player).filter(|_| !hides).map(card_move).collect();
    json!({
        "kind": "player",
        "user": user.0,
        "bucket": player.bucket.0,
        "joined_at_ns": player.joined_at.0,
        "outcome": match outcome {
            Outcome::Spectator => "spectator",
            Outcome::Out(..) => "out",
            Outcome::InPlay => "in_play",
            Outcome::Winner => "winner",
        },
        "out_at": match outcome {
            Outcome::Out(question, _) => Some(question.0),
            _ => None,
        },
        "visits": player.visits.iter().map(|visit| json!({
            "run": visit.run,
            "shard": visit.shard.0,
            "since_ns": visit.since.0,
            "until_ns": visit.until.map(|until| until.0),
        })).collect::<Vec<_>>(),
        "cards_at_join": (!hides).then_some(player.cards_at_join),
        "cards": moves,
        "packets": player.packets.iter().map(|packet| json!({
            "rain": packet.rain.0,
            "slot": packet.slot,
            "number": packet.number,
            "cents": packet.cents.0,
        })).collect::<Vec<_>>(),
        "prize_cents": view.prize(player).map(|prize| prize.0),
        "is_paid": player.is_paid,
    })
}

fn card_move(moved: &CardMove) -> Value {
    let (cause, at) = match moved.cause {
        CardCause::Granted => ("granted", None),
        CardCause::Expired => ("expired", None),
        CardCause::Invitation => ("invitation", None),
        CardCause::Question(show, question) => ("question", Some((show.0, question.0))),
    };
    json!({
        "run": moved.place.run,
        "record": moved.place.record,
        "change": moved.change,
        "cause": cause,
        "show": at.map(|at| at.0),
        "question": at.map(|at| at.1),
    })
}

/// A player at a question; nothing of one that is not told while the show goes on.
pub(super) fn answer(view: &View<'_>, user: UserId, answer: &AnswerAccount) -> Option<Value> {
    let facts = view.facts(answer.question)?;
    let may_tell = facts.is_told() || facts.voided_at.is_some() || view.is_over();
    let is_judged = facts.counts();
    // A ticket may be issued to somebody who is not in the game.
    if !may_tell || is_judged && answer.judgements.is_empty() {
        return None;
    }
    let judgements: &[Judgement] = if is_judged { &answer.judgements } else { &[] };
    let last = judgements.last().map(|judged| judged.verdict);
    let given = answer.given.as_ref();
    Some(json!({
        "kind": "answer",
        "user": user.0,
        "question": answer.question.0,
        "offered_at_ns": answer.offered.map(|(at, _)| at.0),
        "offered_on_shard": answer.offered.map(|(_, shard)| shard.0),
        "option": given.map(|given| given.option.0),
        "arrived_at_ns": given.map(|given| given.arrived.0),
        "by_ticket": given.is_some_and(|given| given.ticket.is_some()),
        "stamp_ns": given.map(|given| given.stamp().0),
        "run": given.map(|given| given.place.run),
        "record": given.map(|given| given.place.record),
        "ticket": answer.ticket.map(|ticket| json!({
            "option": ticket.option.0,
            "stamp_ns": ticket.arrived.0,
        })),
        "judgements": judgements.iter().map(|it| judgement(view, it)).collect::<Vec<_>>(),
        "verdict": last.map(word),
        "reason": last.and_then(Verdict::failing).map(reason),
        "card_used": last.is_some_and(Verdict::uses_card),
    }))
}

fn judgement(view: &View<'_>, judged: &Judgement) -> Value {
    json!({
        "revision": judged.revision,
        "run": judged.place.run,
        "record": judged.place.record,
        "cards_held": (!view.hides_cards()).then_some(judged.cards),
        "verdict": word(judged.verdict),
        "reason": judged.verdict.failing().map(reason),
    })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Revived(_) => "revived",
        Verdict::Out(_) => "out",
    }
}

fn reason(failing: Failing) -> &'static str {
    match failing {
        Failing::Wrong => "wrong",
        Failing::Late => "late",
        Failing::Silent => "silent",
        Failing::Unreachable => "unreachable",
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
