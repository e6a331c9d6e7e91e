//! Red-packet rain between the director's home, the users' homes and the connections' shards.
//!
//! Taps pass a token bucket on the connection's shard, whose rate follows from the rain's packets
//! and the number of shards; the user's home answers them. A tap that wins is journaled before its
//! player hears of it; one that does not wins nothing on every shard and at any time, so it is
//! answered at once and leaves no trace.

use std::time::Duration;

use crate::base::ids::{ConnId, EventNumber, RainIndex, ShardId, ShowId, UserId};
use crate::base::time::Time;
use crate::chat::pace::Pace;
use crate::quiz::money::Cents;
use crate::quiz::rain::{Grab, GrabRefusal, RainCommand, RainEvent, RainSettings, RainSummary};
use crate::quiz::report::Report;
use crate::shard::Shard;
use crate::shard::mail::Mail;
use crate::shard::messages;
use crate::shard::money_mail::{MoneyAsk, MoneyMail, ReplyTo};
use crate::shard::operator::{OperatorAnswer, OperatorError};
use crate::shard::quiz_mail::QuizMail;
use crate::shard::record::{MoneyRecord, Record};
use crate::wire::proto;
use crate::wire::proto::notification::Payload as Notice;
use crate::wire::proto::response::Payload as Response;

/// When a tap that would win and finds no packet here, or comes too early, is to be repeated:
/// longer than packets take from the director.
const BUSY_RETRY_MS: u32 = 200;

impl Shard {
    /// An operator orders something about a show's rains.
    pub(super) fn rain_command(
        &mut self,
        show: ShowId,
        command: RainCommand,
    ) -> Result<OperatorAnswer, OperatorError> {
        let now = self.now;
        let directed = self.quiz.directors.get_mut(&show).ok_or(OperatorError::NoSuchShow(show))?;
        directed.director_mut().rain_command(now, command, &mut *self.entropy)?;
        self.post_decided(show);
        Ok(OperatorAnswer::Done)
    }

    /// A shard is about to run out of packets.
    pub(super) fn packets_wanted(&mut self, from: ShardId, show: ShowId, rain: RainIndex) {
        let now = self.now;
        if let Some(directed) = self.quiz.directors.get_mut(&show) {
            directed.director_mut().packets_wanted(now, from, rain);
            self.post_decided(show);
        }
    }

    /// A director's decision about a rain has been applied: a closed one is counted.
    pub(super) fn rain_applied(&mut self, show: ShowId, event: &RainEvent) {
        let RainEvent::Closing { rain } = event else { return };
        self.quiz.tap_gates.remove(&(show, *rain));
        if let Some(summary) = self.quiz.local.rain_summary(show, *rain) {
            self.report_rain(show, summary);
        }
    }

    pub(super) fn report_rain(&mut self, show: ShowId, summary: RainSummary) {
        let report = Box::new(Report::Rain(summary));
        let home = self.placement.show_home(show);
        let mail = QuizMail::Reported { show, report: report.clone() };
        self.journal(Record::Reported { show, report }, vec![(home, Mail::Quiz(mail))]);
    }

    /// A client taps.
    pub(crate) fn quiz_grab(&mut self, id: ConnId, sequence: String, grab: &proto::Grab) {
        self.counters.taps_received += 1;
        let show = ShowId(grab.show_id);
        let Ok(rain) = u16::try_from(grab.rain).map(RainIndex) else {
            return self.refuse(id, &sequence, grab_refused(GrabRefusal::NoSuchRain));
        };
        let Ok(slot) = u8::try_from(grab.slot) else {
            return self.refuse(id, &sequence, grab_refused(GrabRefusal::NoSuchSlot));
        };
        if let Err(failure) = self.admit_tap(show, rain) {
            self.counters.taps_thinned += 1;
            return self.refuse(id, &sequence, failure);
        }
        let applied = self.quiz.applied(show);
        self.ask_for_money(id, sequence, MoneyAsk::Grab { show, rain, slot, applied });
    }

    /// The server's own limit: what comes beyond it costs the users' homes nothing.
    fn admit_tap(&mut self, show: ShowId, rain: RainIndex) -> Result<(), proto::Failure> {
        let Some(settings) = self.quiz.local.falling_rain(show, rain) else { return Ok(()) };
        let pace = Pace::share(settings.grabs_per_s(), self.placement.shard_count());
        let full_at = self.quiz.tap_gates.entry((show, rain)).or_default();
        match pace.take(*full_at, self.now, 1) {
            Ok(then) => {
                *full_at = then;
                Ok(())
            }
            Err(wait) => Err(too_fast(wait)),
        }
    }

    /// At the user's home: a tap has come.
    pub(super) fn judge_tap(
        &mut self,
        user: UserId,
        (show, rain, slot): (ShowId, RainIndex, u8),
        applied: EventNumber,
        reply_to: ReplyTo,
    ) {
        if self.quiz.local.is_behind(show, applied) {
            let wait = Duration::from_millis(BUSY_RETRY_MS.into());
            return self.reply_money(reply_to, Err(too_fast(wait)));
        }
        let cents = match self.quiz.local.grab(show, user, rain, slot) {
            Grab::Won { number, cents } => {
                self.counters.packets_grabbed += 1;
                let what = MoneyRecord::Grabbed { show, rain, slot, number, cents };
                self.journal_money(user, what);
                Ok(cents)
            }
            Grab::Repeated { cents, .. } => Ok(cents),
            Grab::Nothing => Ok(Cents::ZERO),
            Grab::Busy => Err(too_fast(Duration::from_millis(BUSY_RETRY_MS.into()))),
            Grab::Refused(refusal) => Err(grab_refused(refusal)),
        };
        let said = cents.map(|cents| {
            Response::Grabbed(proto::Grabbed {
                show_id: show.0,
                rain: rain.0.into(),
                slot: slot.into(),
                cents: cents.0,
            })
        });
        self.reply_money(reply_to, said);
        if self.quiz.local.must_ask_for_packets(show, rain) {
            let home = self.placement.show_home(show);
            self.post(home, Mail::Money(MoneyMail::PacketsWanted { show, rain }));
        }
    }

    /// What the room is told of a decision about a rain, if anything.
    pub(super) fn rain_notice(&self, show: ShowId, event: &RainEvent) -> Option<Notice> {
        let (rain, phase) = match event {
            RainEvent::Planned { rain, .. } => (*rain, proto::RainPhase::Announced),
            RainEvent::Started { rain, .. } => (*rain, proto::RainPhase::Falling),
            RainEvent::Closing { rain } => (*rain, proto::RainPhase::Closing),
            RainEvent::Ended { rain, .. } => (*rain, proto::RainPhase::Ended),
            RainEvent::Granted { .. } | RainEvent::Funded { .. } | RainEvent::FundClosed { .. } => {
                return None;
            }
        };
        let replica = self.quiz.local.show(show)?;
        let settings = self.quiz.local.rain_settings(show, rain)?;
        let mut told = rain_told(show, rain, settings);
        told.phase = phase.into();
        match event {
            RainEvent::Started { ends_at, .. } => {
                let online = self.room_online(replica.definition().room);
                told.send_per_million = settings.send_per_million(online);
                told.ends_at_ms = self.clock.unix_ms(*ends_at);
            }
            RainEvent::Ended { grabbed, paid, .. } => {
                (told.grabbed, told.paid_cents) = (*grabbed, paid.0);
            }
            RainEvent::Planned { .. }
            | RainEvent::Closing { .. }
            | RainEvent::Granted { .. }
            | RainEvent::Funded { .. }
            | RainEvent::FundClosed { .. } => {}
        }
        Some(Notice::Rain(told))
    }

    /// Whoever enters a show's room while a rain falls learns of it at once.
    pub(super) fn tell_falling_rains(&mut self, id: ConnId, show: ShowId) {
        let Some(replica) = self.quiz.local.show(show) else { return };
        // Nobody but the room's home knows how many watch; users are spread evenly.
        let shards = u64::from(self.placement.shard_count());
        let online = u64::from(self.conns.open_count()) * shards;
        let told: Vec<proto::Rain> = replica
            .falling_rains()
            .map(|(rain, settings, ends_at): (RainIndex, &RainSettings, Time)| proto::Rain {
                phase: proto::RainPhase::Falling.into(),
                send_per_million: settings.send_per_million(online),
                ends_at_ms: self.clock.unix_ms(ends_at),
                ..rain_told(show, rain, settings)
            })
            .collect();
        for rain in told {
            self.notify(id, Notice::Rain(rain));
        }
    }
}

fn rain_told(show: ShowId, rain: RainIndex, settings: &RainSettings) -> proto::Rain {
    proto::Rain {
        show_id: show.0,
        rain: rain.0.into(),
        packets: settings.packets,
        pool_cents: settings.pool.0,
        taps_max: settings.taps_max.into(),
        ..proto::Rain::default()
    }
}

pub(super) fn too_fast(wait: Duration) -> proto::Failure {
    let retry_after_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
    let text = "come again a little later";
    proto::Failure { retry_after_ms, ..messages::failure(proto::Reason::RateLimited, text) }
}

fn grab_refused(refusal: GrabRefusal) -> proto::Failure {
    let reason = match refusal {
        GrabRefusal::NoSuchRain => proto::Reason::NoSuchRain,
        GrabRefusal::NotStarted => proto::Reason::RainNotStarted,
        GrabRefusal::NoSuchSlot => proto::Reason::NoSuchSlot,
        GrabRefusal::NotJoined => proto::Reason::NotInRoom,
    };
    messages::failure(reason, &refusal.to_string())
}
