//! The answer to a complaint: what became of a user in a show, and why, in sentences.
//!
//! Every sentence says what is on record; nothing is said that is not revealed.

use serde_json::{Value, json};

use super::lines::{self, View};
use super::moment::{seconds, utc};
use crate::base::ids::{OptionIndex, QuestionIndex, UserId};
use crate::base::time::Time;
use crate::quiz::verdict::{Failing, Verdict};
use crate::shard::account::{
    AnswerAccount, CardCause, Given, Judgement, Outcome, PlayerAccount, QuestionFacts, ShowAccount,
};

/// What is said.
pub(super) struct Explained {
    user: UserId,
    /// One a line.
    pub(super) sentences: Vec<String>,
}

/// What became of a user; nothing if it never joined.
pub(super) fn explain(account: &ShowAccount, user: UserId) -> Option<Explained> {
    let player = account.players.get(&user)?;
    let teller = Teller { view: View::new(account), user, player };
    let mut sentences = teller.beginning();
    for facts in &teller.view.questions {
        if !teller.is_playing_at(facts) {
            break;
        }
        sentences.push(teller.question(facts));
    }
    sentences.extend(teller.end());
    Some(Explained { user, sentences })
}

impl Explained {
    /// As one JSON object, with the lines of the export that are about the user.
    pub(super) fn json(&self, account: &ShowAccount) -> Value {
        let view = View::new(account);
        let player = &account.players[&self.user];
        let answers = player.answers.iter().filter_map(|it| lines::answer(&view, self.user, it));
        json!({
            "show": account.show.0,
            "user": self.user.0,
            "is_over": view.is_over(),
            "sentences": self.sentences,
            "player": lines::player(&view, self.user, player),
            "answers": answers.collect::<Vec<_>>(),
        })
    }
}

struct Teller<'a> {
    view: View<'a>,
    user: UserId,
    player: &'a PlayerAccount,
}

impl Teller<'_> {
    fn beginning(&self) -> Vec<String> {
        let Teller { view, user, player } = self;
        let definition = view.account.definition();
        let (show, title, phase) = (definition.id, &definition.title, view.phase);
        let mut said = vec![if view.is_over() {
            format!("Show {show}, “{title}”, is over.")
        } else {
            format!(
                "Show {show}, “{title}”, is still running ({phase}): what is not revealed is left out."
            )
        }];
        let at = self.utc(player.joined_at);
        let cards = if view.hides_cards() {
            "; how many revive cards it held cannot be told while another show hides verdicts"
                .to_owned()
        } else {
            format!(" and held {} then", many(player.cards_at_join.into(), "revive card"))
        };
        said.push(format!("User {user} joined at {at}{cards}."));
        if self.is_spectator() {
            said.push(
                "That was after the first question that counts had closed, so the user could only \
                 watch."
                    .to_owned(),
            );
        }
        said.extend(self.cards_elsewhere());
        said
    }

    /// Cards that came, or went elsewhere, while the user was in the show.
    fn cards_elsewhere(&self) -> Vec<String> {
        if self.view.hides_cards() {
            return Vec::new();
        }
        let show = self.view.account.show;
        let moves = self.view.card_moves(self.player).filter_map(|moved| {
            let cards = many(moved.change.unsigned_abs().into(), "revive card");
            Some(match moved.cause {
                CardCause::Granted => format!("Meanwhile it was granted {cards}."),
                CardCause::Expired => format!("Meanwhile {cards} expired."),
                CardCause::Invitation => format!("Meanwhile it got {cards} for an invitation."),
                CardCause::Question(of, _) if of == show => return None,
                CardCause::Question(of, question) if moved.change < 0 => {
                    format!("Meanwhile it used {cards} in show {of}, question {question}.")
                }
                CardCause::Question(of, question) => {
                    format!("Meanwhile it got {cards} back from show {of}, question {question}.")
                }
            })
        });
        moves.collect()
    }

    fn is_spectator(&self) -> bool {
        self.view.outcome(self.player) == Outcome::Spectator
    }

    /// Whether the user was in the game when a question was asked, by what is told.
    fn is_playing_at(&self, facts: &QuestionFacts) -> bool {
        match self.view.outcome(self.player) {
            Outcome::Spectator => false,
            Outcome::Out(at, _) => facts.question() <= at,
            Outcome::InPlay | Outcome::Winner => true,
        }
    }

    fn question(&self, facts: &QuestionFacts) -> String {
        let question = facts.question();
        let asked = &self.view.account.definition().questions[question.index()];
        let answer = self.player.at(question);
        let mut said = vec![
            format!("Question {question}, “{}”:", asked.text),
            self.offered(facts, answer),
            self.given(facts, answer),
        ];
        if let Some(at) = facts.voided_at {
            let at = self.utc(at);
            said.push(format!(
                "The question was voided at {at} and counts for nobody; a card that it had used came \
                 back."
            ));
            return said.join(" ");
        }
        if !facts.is_told() {
            said.push(
                if facts.reveal.is_none() {
                    "It is not revealed, so what it came to cannot be told."
                } else {
                    "It is being judged again, so what it comes to cannot be told."
                }
                .to_owned(),
            );
            return said.join(" ");
        }
        let judgements = answer.map_or(&[][..], |answer| &answer.judgements);
        for judged in judgements {
            said.push(self.judged(facts, answer, judged));
        }
        if judgements.is_empty() {
            said.push("No verdict is on record.".to_owned());
        }
        said.join(" ")
    }

    fn offered(&self, facts: &QuestionFacts, answer: Option<&AnswerAccount>) -> String {
        let opened = self.utc(facts.opened_at);
        let deadline = self.utc(facts.answer_by);
        let extended = match facts.extensions.len() {
            0 => String::new(),
            times => format!(", extended {}", many(times as u64, "time")),
        };
        let told = format!("it opened at {opened} and took answers until {deadline}{extended}.");
        match answer.and_then(|answer| answer.offered) {
            Some((at, shard)) => format!(
                "{told} It was offered to the user {} after it opened, on shard {shard}.",
                seconds(at.since(facts.opened_at).as_nanos().try_into().unwrap_or(u64::MAX))
            ),
            None if facts.closed.is_none() && facts.voided_at.is_none() => told,
            None => format!(
                "{told} The user had no open connection in the room by {}, the latest display.",
                self.utc(facts.show_by)
            ),
        }
    }

    fn given(&self, facts: &QuestionFacts, answer: Option<&AnswerAccount>) -> String {
        let may_tell = facts.is_told() || facts.voided_at.is_some() || self.view.is_over();
        let Some(given) = answer.and_then(|answer| answer.given.as_ref()) else {
            return match answer.and_then(|answer| answer.ticket) {
                Some(_) => "A retry ticket was issued, and no answer came with it.".to_owned(),
                None if facts.closed.is_none() => "No answer is on record so far.".to_owned(),
                None => "No answer came.".to_owned(),
            };
        };
        let what = if may_tell {
            format!("The answer was {}.", self.option(facts.question(), given.option))
        } else {
            "An answer is on record.".to_owned()
        };
        format!("{what} {}", self.arrival(facts, given))
    }

    fn arrival(&self, facts: &QuestionFacts, given: &Given) -> String {
        let stamp = given.stamp();
        let by = facts.answer_by;
        let (length, side) =
            if stamp <= by { (by.since(stamp), "before") } else { (stamp.since(by), "after") };
        let length = seconds(length.as_nanos().try_into().unwrap_or(u64::MAX));
        let at = self.utc(stamp);
        if given.ticket.is_some() {
            let came = self.utc(given.arrived);
            return format!(
                "It first reached the gateway at {at}, {length} {side} the deadline, got a retry \
                 ticket, and came again with it at {came}: the ticket's time counts."
            );
        }
        format!("It reached the gateway at {at}, {length} {side} the deadline.")
    }

    /// What a verdict was, and why.
    fn judged(
        &self,
        facts: &QuestionFacts,
        answer: Option<&AnswerAccount>,
        judged: &Judgement,
    ) -> String {
        let question = facts.question();
        let correct = facts.correct().get(usize::from(judged.revision)).copied();
        let key = correct.map_or_else(String::new, |it| self.option(question, it));
        let begin = match judged.revision {
            0 => String::new(),
            again => format!("Its key was corrected to {key}, and it was judged again ({again}): "),
        };
        let why = match judged.verdict.failing() {
            None => "that was correct and in time: the question is passed.".to_owned(),
            Some(Failing::Wrong) => format!("that was wrong, the correct option was {key}."),
            Some(Failing::Late) => "that was too late, whatever the option.".to_owned(),
            Some(Failing::Silent) => "no answer in time counts as a failure.".to_owned(),
            Some(Failing::Unreachable) => {
                "without a connection and an answer the question is not passed.".to_owned()
            }
        };
        let end = match judged.verdict {
            Verdict::Passed => String::new(),
            Verdict::Revived(_) => {
                " A revive card was used by itself: the user stays in the game.".to_owned()
            }
            Verdict::Out(failing) => {
                format!(" {} The user is out.", self.no_card(facts, answer, judged, failing))
            }
        };
        let why = if begin.is_empty() { capital(&why) } else { why };
        format!("{begin}{why}{end}")
    }

    /// Why no card helped.
    fn no_card(
        &self,
        facts: &QuestionFacts,
        answer: Option<&AnswerAccount>,
        judged: &Judgement,
        failing: Failing,
    ) -> String {
        let definition = self.view.account.definition();
        let covers = definition.revive;
        let covered = match failing {
            Failing::Wrong => covers.wrong,
            Failing::Late | Failing::Silent => covers.late,
            Failing::Unreachable => covers.unreachable,
        };
        let question = facts.question();
        if !covered {
            return "In this show a revive card does not cover that.".to_owned();
        }
        if question.index() + 1 == definition.questions.len() {
            return "No card helps at the last question, and none is used up.".to_owned();
        }
        let used = self.player.answers.iter().take_while(|it| it.question < question).find(|it| {
            let counts = self.view.facts(it.question).is_some_and(QuestionFacts::counts);
            counts && it.judgements.last().is_some_and(|judged| judged.verdict.uses_card())
        });
        if let Some(used) = used {
            return format!(
                "The one card that may be used in a show was used at question {} already.",
                used.question
            );
        }
        if self.view.hides_cards() {
            return "No card helped.".to_owned();
        }
        // Judged again, only a card counts that was held when the answer was judged first.
        let first = answer.and_then(|answer| answer.judgements.first());
        if judged.revision > 0 && first.is_some_and(|first| first.cards == 0) {
            return "No revive card was held when the answer was judged first.".to_owned();
        }
        "No revive card was held.".to_owned()
    }

    /// What it came to: standing, prize, packets.
    fn end(&self) -> Vec<String> {
        let Teller { view, user, player } = self;
        let mut said = Vec::new();
        match view.outcome(player) {
            Outcome::Out(question, _) => {
                said.push(format!("From question {question} on user {user} only watched."));
            }
            Outcome::InPlay if !view.is_over() => {
                said.push(format!("By what is revealed, user {user} is in the game."));
            }
            Outcome::InPlay | Outcome::Spectator | Outcome::Winner => {}
        }
        said.push(self.prize());
        if !player.packets.is_empty() {
            let sum: i64 = player.packets.iter().map(|packet| packet.cents.0).sum();
            let each = player.packets.iter().map(|packet| {
                let (rain, slot, number, cents) =
                    (packet.rain, packet.slot, packet.number, packet.cents);
                format!("{cents} cents (packet {number}) with tap {slot} of rain {rain}")
            });
            let each: Vec<String> = each.collect();
            said.push(format!(
                "In red-packet rains the user won {sum} cents in all: {}.",
                each.join(", ")
            ));
        }
        said
    }

    fn prize(&self) -> String {
        let Teller { view, user, player } = self;
        let Some(split) = view.settlement else {
            return if view.is_over() {
                "The show was cancelled before its prize was split: nobody won any of it."
                    .to_owned()
            } else {
                "The prize is not split yet.".to_owned()
            };
        };
        let account = &view.account.definition().remainder_account;
        let (pool, winners) = (split.pool, split.winners);
        let (each, remainder) = (split.per_head, split.remainder);
        let how = format!(
            "The pool of {pool} cents was shared by {}: {each} cents each, and {remainder} cents went \
             to the account “{account}”.",
            many(winners, "winner")
        );
        let won = match view.outcome(player) {
            Outcome::Winner if player.is_paid => {
                format!("User {user} passed every question that counts and got {each} cents.")
            }
            Outcome::Winner => format!(
                "User {user} passed every question that counts; its {each} cents are not on record \
                 as paid yet."
            ),
            _ => format!("User {user} is none of them and got nothing of it."),
        };
        format!("{how} {won}")
    }

    fn option(&self, question: QuestionIndex, option: OptionIndex) -> String {
        let asked = &self.view.account.definition().questions[question.index()];
        let text = asked.options.get(option.index()).map_or("", String::as_str);
        format!("option {option} (“{text}”)")
    }

    fn utc(&self, at: Time) -> String {
        utc(self.view.account.unix_ms(at))
    }
}

fn many(count: u64, what: &str) -> String {
    match count {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}
