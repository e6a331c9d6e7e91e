//! What a shard lets others see of itself: its own counts, its plane's and its pump's, brought
//! together as [`Metric`]s and published now and then.
//!
//! Layers below count in plain structs of their own and know nothing of metrics; this is the one
//! place where each count gets its name.

use std::sync::Arc;
use std::time::Duration;

use crate::base::metrics::{Counters, Metric, ShardSnapshot};
use crate::base::time::Time;
use crate::net::PlaneCounters;
use crate::room::tally::Tally;
use crate::runtime::clock::STEP_NOTICED;
use crate::runtime::edge::EdgeCounters;
use crate::shard::Shard;
use crate::shard::counters::{ChatRefusal, Counters as ShardCounters};
use crate::wire::close::CloseReason;

/// A longest time is remembered for one to two of these.
const WINDOW: Duration = Duration::from_secs(10);

/// The numbers of one shard on their way to its snapshot.
pub(crate) struct Meter {
    counters: Counters,
    snapshot: Arc<ShardSnapshot>,
    turn: Longest,
    mail_age: Longest,
    /// By how much the wall clock was off at the last look, milliseconds.
    wall_clock_step_ms: i64,
}

impl Meter {
    pub(crate) fn new(snapshot: Arc<ShardSnapshot>) -> Meter {
        Meter {
            counters: Counters::new(),
            snapshot,
            turn: Longest::default(),
            mail_age: Longest::default(),
            wall_clock_step_ms: 0,
        }
    }

    /// A turn did something and took so long.
    pub(crate) fn note_turn(&mut self, now: Time, took: Duration) {
        self.turn.note(now, took);
        self.counters.increment(Metric::Turns);
        self.counters.add(Metric::TurnTime, nanos(took));
    }

    /// Mail was so old on arrival.
    pub(crate) fn note_mail_age(&mut self, now: Time, age: Duration) {
        self.mail_age.note(now, age);
    }

    /// Only the guard's timer brought a wake.
    pub(crate) fn note_wake_late(&mut self) {
        self.counters.increment(Metric::WakesLate);
    }

    /// The wall clock is off by `step_ms` against the monotonic one; says by how much it was stepped
    /// since the last look, milliseconds, if that is worth saying.
    pub(crate) fn note_wall_clock(&mut self, step_ms: i64) -> Option<i64> {
        let moved_ms = step_ms - self.wall_clock_step_ms;
        if u128::from(moved_ms.unsigned_abs()) <= STEP_NOTICED.as_millis() {
            return None;
        }
        self.wall_clock_step_ms = step_ms;
        self.counters.increment(Metric::ClockSteps);
        Some(moved_ms)
    }

    /// Publishes all numbers; also the shard's sign of life.
    pub(crate) fn publish(
        &mut self,
        now: Time,
        shard: &Shard,
        plane: &PlaneCounters,
        mailbox_depth: usize,
    ) {
        self.take_shard(shard);
        self.counters.set(Metric::JournalStands, nanos(shard.journal_stands_for(now)));
        self.take_plane(plane);
        self.counters.set(Metric::MailboxDepth, mailbox_depth as u64);
        self.counters.set(Metric::TurnLongest, nanos(self.turn.get(now)));
        self.counters.set(Metric::MailAgeLongest, nanos(self.mail_age.get(now)));
        self.snapshot.publish(&self.counters, now);
    }

    /// So many steps of the journal have failed.
    pub(crate) fn take_journal_failures(&mut self, failures: u64) {
        self.counters.set(Metric::JournalFailures, failures);
    }

    /// Takes the numbers of the edge.
    pub(crate) fn take_edge(&mut self, edge: &EdgeCounters) {
        let [full, often, crowded] = edge.refused;
        let [dry_full, dry_often, dry_crowded] = edge.refused_in_dry_run;
        for (metric, value) in [
            (Metric::RefusedAddressFull, full),
            (Metric::RefusedAddressRate, often),
            (Metric::RefusedRate, crowded),
            (Metric::DryRunAddressFull, dry_full),
            (Metric::DryRunAddressRate, dry_often),
            (Metric::DryRunRate, dry_crowded),
            (Metric::ProxyHeaders, edge.proxy_headers),
            (Metric::ProxyErrors, edge.proxy_errors),
            (Metric::TlsHandshakes, edge.tls_handshakes),
            (Metric::TlsErrors, edge.tls_errors),
            (Metric::EdgeTimeouts, edge.timeouts),
            (Metric::EdgeWaiting, edge.waiting),
        ] {
            self.counters.set(metric, value);
        }
    }

    fn take_shard(&mut self, shard: &Shard) {
        let gauges = shard.gauges();
        let counts = shard.counters();
        for (metric, value) in [
            (Metric::Connections, gauges.connections),
            (Metric::Sessions, gauges.sessions),
            (Metric::Rooms, gauges.rooms),
            (Metric::ChatWords, gauges.words),
            (Metric::ConnectionsAccepted, counts.connections_opened),
            (Metric::ConnectionsClosed, counts.connections_closed),
            (Metric::Timeouts, counts.timeouts),
            (Metric::Upgrades, counts.upgrades),
            (Metric::UpgradesRefused, counts.upgrades_refused),
            (Metric::ShortRequests, counts.short_requests),
            (Metric::ShortRefusals, counts.short_refusals),
            (Metric::OriginsRefused, counts.origins_refused),
            (Metric::Authentications, counts.tokens_accepted),
            (Metric::AuthenticationsRefused, counts.tokens_refused),
            (Metric::AuthenticationsRefreshed, counts.tokens_refreshed),
            (Metric::Revocations, gauges.revocations),
            (Metric::Bans, gauges.bans),
            (Metric::RevocationsRefused, counts.revocations_refused),
            (Metric::SessionsReplaced, counts.sessions_replaced),
            (Metric::MessagesReceived, counts.messages_received),
            (Metric::MessagesMalformed, counts.messages_malformed),
            (Metric::ProtocolErrors, counts.protocol_errors),
            (Metric::Replies, counts.replies),
            (Metric::SpilledBytes, counts.spilled_bytes),
            (Metric::RoomMessages, counts.room_messages),
            (Metric::RoomThinned, counts.room_versions_thinned),
            (Metric::RoomSends, counts.room_sends),
            (Metric::GapVersions, counts.gap_versions),
            (Metric::ChatAccepted, counts.chat_accepted),
            (Metric::ChatReplaced, counts.chat_replaced),
            (Metric::OpaqueAccepted, counts.opaque_accepted),
            (Metric::Likes, counts.likes),
            (Metric::WordsBroken, counts.words_broken),
            (Metric::AnswersReceived, counts.answers_received),
            (Metric::AnswersAcknowledged, counts.answers_acknowledged),
            (Metric::AnswersRefused, counts.answers_refused),
            (Metric::TapsReceived, counts.taps_received),
            (Metric::TapsThinned, counts.taps_thinned),
            (Metric::PacketsGrabbed, counts.packets_grabbed),
            (Metric::GiftsShown, counts.gifts_shown),
            (Metric::AnswersDeferred, counts.answers_deferred),
            (Metric::TicketsRedeemed, counts.tickets_redeemed),
            (Metric::ShowEvents, counts.show_events),
            (Metric::Records, counts.records),
            (Metric::JournalWaiting, gauges.journal_waiting),
            (Metric::MailBatches, counts.mail_batches),
            (Metric::Mail, counts.mail),
            (Metric::MailWaited, counts.mail_waited),
        ] {
            self.counters.set(metric, value);
        }
        self.take_wire(shard);
        self.take_tallies(&shard.tallies());
        self.take_chat_refusals(counts);
        self.take_answer_times(counts);
        self.counters.set(Metric::ClosedOtherwise, 0);
        for reason in CloseReason::ALL {
            // Several reasons may share a series.
            let metric = close_metric(reason);
            let others =
                if metric == Metric::ClosedOtherwise { self.counters.get(metric) } else { 0 };
            self.counters.set(metric, others + counts.closes[reason as usize]);
        }
    }

    fn take_wire(&mut self, shard: &Shard) {
        let deflated = shard.deflated();
        self.counters.set(Metric::DeflatedFrames, deflated.frames);
        self.counters.set(Metric::DeflatedBefore, deflated.bytes_before);
        self.counters.set(Metric::DeflatedAfter, deflated.bytes_after);
        let wire = shard.wire_bytes();
        let [high, mid, low] = wire.lanes;
        for (metric, value) in [
            (Metric::WireReplies, wire.replies),
            (Metric::WireHigh, high),
            (Metric::WireMid, mid),
            (Metric::WireLow, low),
            (Metric::WireBudget, wire.budget_per_second),
            (Metric::WireWaits, wire.waits),
        ] {
            self.counters.set(metric, value);
        }
    }

    fn take_tallies(&mut self, tallies: &[Tally; 3]) {
        let [high, mid, low] = tallies;
        for (metric, value) in [
            (Metric::HighOffered, high.offered),
            (Metric::MidOffered, mid.offered),
            (Metric::LowOffered, low.offered),
            (Metric::HighResumed, high.resumed),
            (Metric::MidResumed, mid.resumed),
            (Metric::LowResumed, low.resumed),
            (Metric::HighDelivered, high.delivered),
            (Metric::MidDelivered, mid.delivered),
            (Metric::LowDelivered, low.delivered),
            (Metric::HighThinned, high.thinned),
            (Metric::MidThinned, mid.thinned),
            (Metric::LowThinned, low.thinned),
            (Metric::HighSkipped, high.skipped),
            (Metric::MidSkipped, mid.skipped),
            (Metric::LowSkipped, low.skipped),
            (Metric::HighDeparted, high.departed),
            (Metric::MidDeparted, mid.departed),
            (Metric::LowDeparted, low.departed),
        ] {
            self.counters.set(metric, value);
        }
    }

    fn take_chat_refusals(&mut self, counts: &ShardCounters) {
        for (metric, refusal) in [
            (Metric::ChatRefusedEmpty, ChatRefusal::Empty),
            (Metric::ChatRefusedTooLong, ChatRefusal::TooLong),
            (Metric::ChatRefusedMuted, ChatRefusal::Muted),
            (Metric::ChatRefusedTooFast, ChatRefusal::TooFast),
            (Metric::ChatRefusedDuplicate, ChatRefusal::Duplicate),
            (Metric::ChatRefusedFlood, ChatRefusal::Flood),
            (Metric::ChatRefusedWord, ChatRefusal::Word),
            (Metric::ChatRefusedOpaque, ChatRefusal::Opaque),
            (Metric::ChatDiscarded, ChatRefusal::Overloaded),
        ] {
            self.counters.set(metric, counts.chat_refused[refusal as usize]);
        }
    }

    /// Buckets of a histogram count all that was not longer.
    fn take_answer_times(&mut self, counts: &ShardCounters) {
        for (metric, place) in [
            (Metric::AnswersWithin50us, 0),
            (Metric::AnswersWithin100us, 1),
            (Metric::AnswersWithin250us, 2),
            (Metric::AnswersWithin500us, 3),
            (Metric::AnswersWithin1ms, 4),
            (Metric::AnswersWithin2ms, 5),
            (Metric::AnswersWithin3ms, 6),
            (Metric::AnswersWithin5ms, 7),
            (Metric::AnswersWithin10ms, 8),
            (Metric::AnswersWithin50ms, 9),
            (Metric::AnswersWhenever, 10),
        ] {
            self.counters.set(metric, counts.answer_times[..=place].iter().sum());
        }
    }

    fn take_plane(&mut self, plane: &PlaneCounters) {
        for (metric, value) in [
            (Metric::AcceptErrors, plane.accept_errors),
            (Metric::AcceptPauses, plane.accept_pauses),
            (Metric::AcceptHolds, plane.accept_holds),
            (Metric::AcceptHeld, plane.accept_held),
            (Metric::Listening, plane.listening),
            (Metric::Sockets, plane.slots_used),
            (Metric::Rings, plane.rings),
            (Metric::RingErrors, plane.ring_errors),
            (Metric::RingEnters, plane.enters),
            (Metric::Receives, plane.recv_calls),
            (Metric::ReceivesEmpty, plane.recv_again),
            (Metric::ReceivesNoMemory, plane.recv_no_memory),
            (Metric::ReceivedBytes, plane.recv_bytes),
            (Metric::Sends, plane.sends),
            (Metric::SendsShort, plane.short_sends),
            (Metric::SendsBlocked, plane.blocked_sends),
            (Metric::SendsNoMemory, plane.no_memory_sends),
            (Metric::SendsLost, plane.lost_sends),
            (Metric::SentBytes, plane.send_bytes),
            (Metric::Resets, plane.aborts),
            (Metric::CloseRetries, plane.close_retries),
            (Metric::CompletionsStale, plane.stale_completions),
            (Metric::CompletionOverflows, plane.cq_overflows),
            (Metric::CompletionsLost, plane.lost_completions),
            (Metric::PollsRearmed, plane.polls_rearmed),
        ] {
            self.counters.set(metric, value);
        }
    }
}

fn close_metric(reason: CloseReason) -> Metric {
    match reason {
        CloseReason::GoingAway => Metric::ClosedGoingAway,
        CloseReason::ProtocolError => Metric::ClosedProtocolError,
        CloseReason::Unsupported => Metric::ClosedUnsupported,
        CloseReason::InvalidData => Metric::ClosedInvalidData,
        CloseReason::TooLarge => Metric::ClosedTooLarge,
        CloseReason::Replaced => Metric::ClosedReplaced,
        CloseReason::TokenRefused => Metric::ClosedTokenRefused,
        CloseReason::HeartbeatTimeout => Metric::ClosedHeartbeatTimeout,
        CloseReason::TooSlow => Metric::ClosedTooSlow,
        CloseReason::HandshakeTimeout => Metric::ClosedHandshakeTimeout,
        CloseReason::TokenRevoked => Metric::ClosedTokenRevoked,
        CloseReason::RateLimited => Metric::ClosedRateLimited,
        CloseReason::Aged => Metric::ClosedAged,
        CloseReason::Disconnected => Metric::ClosedDisconnected,
        CloseReason::Banned => Metric::ClosedBanned,
        CloseReason::Moved => Metric::ClosedMoved,
        CloseReason::Normal
        | CloseReason::PolicyViolation
        | CloseReason::InternalError
        | CloseReason::Overloaded => Metric::ClosedOtherwise,
    }
}

/// The longest of the times noted in the last one to two [`WINDOW`]s.
#[derive(Default)]
struct Longest {
    present: Duration,
    before: Duration,
    begun: Time,
}

impl Longest {
    fn note(&mut self, now: Time, time: Duration) {
        self.turn_over(now);
        self.present = self.present.max(time);
    }

    fn get(&mut self, now: Time) -> Duration {
        self.turn_over(now);
        self.present.max(self.before)
    }

    fn turn_over(&mut self, now: Time) {
        let passed = now.since(self.begun);
        if passed < WINDOW {
            return;
        }
        self.before = if passed < 2 * WINDOW { self.present } else { Duration::ZERO };
        self.present = Duration::ZERO;
        self.begun = now;
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_is_forgotten_after_one_to_two_windows() {
        let mut longest = Longest::default();
        let millis = Duration::from_millis;
        longest.note(Time::from_millis(1_000), millis(30));
        longest.note(Time::from_millis(2_000), millis(20));
        assert_eq!(longest.get(Time::from_millis(9_999)), millis(30));
        assert_eq!(longest.get(Time::from_millis(10_000)), millis(30), "it was in the last window");
        longest.note(Time::from_millis(15_000), millis(10));
        assert_eq!(longest.get(Time::from_millis(20_000)), millis(10), "two windows have passed");
        assert_eq!(longest.get(Time::from_millis(60_000)), Duration::ZERO);
    }

    #[test]
    fn a_step_of_the_wall_clock_is_noticed_once() {
        let mut meter = Meter::new(Arc::new(ShardSnapshot::new(Time::ZERO)));
        for (step_ms, expected) in
            [(50, None), (51, Some(51)), (51, None), (90, None), (-100, Some(-151)), (-60, None)]
        {
            assert_eq!(meter.note_wall_clock(step_ms), expected, "{step_ms}");
        }
        assert_eq!(meter.counters.get(Metric::ClockSteps), 2);
    }

    #[test]
    fn a_close_is_counted_under_the_name_of_its_code() {
        for reason in CloseReason::ALL {
            let (_, label) = close_metric(reason).description().label.expect("a reason");
            assert!(label == reason.name() || label == "other", "{reason:?} is {label}");
        }
    }
}
