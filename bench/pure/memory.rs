//! What a player costs in the shard's own tables, counted by the allocator: connection, session,
//! membership, user and player record.
//!
//! Everybody comes in through the shard as in the gateway, token and room in the upgrade request,
//! while the show is in its lobby. The socket plane adds 8 bytes per connection; what the
//! allocator itself adds is not seen here, but in the resident memory that `idle` reports.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate::auth::ticket::TicketKey;
use tidegate::auth::token::{NewToken, TokenVerifier, mint};
use tidegate::base::entropy::SeededEntropy;
use tidegate::base::hash::Placement;
use tidegate::base::ids::{ConnId, ShardId, UserId};
use tidegate::base::limits::{BUCKET_COUNT_DEFAULT, LANE_BYTES_MAX};
use tidegate::base::time::{DisplayClock, Time};
use tidegate::chat::settings::ChatSettings;
use tidegate::quiz::director::Command;
use tidegate::quiz::local::LocalQuiz;
use tidegate::shard::Secrets;
use tidegate::shard::Shard;
use tidegate::shard::config::{Admission, Downlink, ShardConfig};
use tidegate::shard::input::{Effect, Input, SendResult};
use tidegate::shard::limits::ConnectionLimits;
use tidegate::shard::operator::OperatorRequest;
use tidegate::wire::codec::Encoding;
use tidegate::wire::message::{Decoder, Role};
use tidegate::wire::upgrade::ClientRequest;

use crate::quiz::{self, KEY, SHOW};
use crate::{is_measuring, scale};

/// All that a player costs, in bytes; 8 of them in the socket plane.
const BYTES_MAX: f64 = 200.0 - 8.0;
/// The last chunk of each of the five pools that players have something in may be nearly empty, and
/// no memory of the operating system's then; among few players that is much.
const POOLS_BYTES: f64 = 5.0 * 1_048_576.0;
const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const CLOCK: DisplayClock = DisplayClock { zero_unix_ms: 1_800_000_000_000 };
/// As the pump sends.
const SEND_BATCH: usize = 128;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `System.alloc` with the same layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Prints what each player costs; true if it is no more than it may be.
pub(crate) fn report() -> bool {
    let player_count = scale(1_000_000, 20_000);
    // As many players in a bucket as a million players have in the default number of buckets.
    let bucket_count = u16::try_from(scale(BUCKET_COUNT_DEFAULT.into(), 20)).unwrap();
    let (records, record_peak) = counted(player_count, || records(player_count, bucket_count));
    let (all, peak) = counted(player_count, || everything(player_count, bucket_count));
    println!(
        "memory: {player_count} players, bytes each: {all:.1} in all (while they came {peak:.1}), \
         of these {records:.1} for user and player record (while they came {record_peak:.1})"
    );
    let slack = if is_measuring() { 0.0 } else { POOLS_BYTES / player_count as f64 };
    all <= BYTES_MAX + slack
}

/// The bytes per player that `make` leaves behind, and the most there were at any time.
fn counted<T>(player_count: usize, make: impl FnOnce() -> T) -> (f64, f64) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let made = make();
    let each = |bytes: usize| (bytes - before) as f64 / player_count as f64;
    let figures = (each(LIVE.load(Ordering::Relaxed)), each(PEAK.load(Ordering::Relaxed)));
    drop(made);
    figures
}

fn records(player_count: usize, bucket_count: u16) -> LocalQuiz {
    quiz::Stage::in_lobby(player_count, bucket_count).local
}

/// A shard whose clients have all joined the show.
fn everything(player_count: usize, bucket_count: u16) -> Shard {
    let mut host = Host { shard: shard(bucket_count), now: Time::from_millis(1) };
    let show = OperatorRequest::Announce(Arc::new(quiz::show()));
    host.step(Input::Operator { ticket: 1, request: show });
    let lobby = OperatorRequest::Command { show: SHOW, command: Command::OpenLobby };
    host.step(Input::Operator { ticket: 2, request: lobby });
    for place in 0..u32::try_from(player_count).unwrap() {
        host.enter(place);
    }
    let gauges = host.shard.gauges();
    assert_eq!(gauges.sessions, player_count as u64, "everybody is in");
    host.shard
}

struct Host {
    shard: Shard,
    now: Time,
}

impl Host {
    fn enter(&mut self, place: u32) {
        let conn = ConnId { place, generation: 1 };
        let peer = ([127, 0, 0, 1], 9).into();
        self.step(Input::Opened { conn, peer });
        let user = UserId(u64::from(place) + 1);
        let issued_unix_s = CLOCK.zero_unix_ms / 1_000;
        let token = NewToken { user, issued_unix_s, lifetime_s: 86_400, audience: None };
        let target = format!("/?token={}&room={}", mint(SECRET, token), quiz::ROOM);
        let (encoding, nonce) = (Encoding::Proto, [1; 16]);
        let request = ClientRequest { host: "quiz.example", target: &target, encoding, nonce };
        let mut bytes = request.to_bytes();
        self.step(Input::Received { conn, bytes: &mut bytes, arrived: self.now });
        self.send();
    }

    fn step(&mut self, input: Input<'_>) {
        self.shard.step(self.now, input);
        loop {
            let effects: Vec<Effect> = self.shard.effects().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Journal { number, .. } => {
                        self.shard.step(self.now, Input::Durable { record: number });
                    }
                    Effect::Answer { answer, .. } => drop(answer.unwrap()),
                    other => panic!("nobody else is there for {other:?}"),
                }
            }
        }
    }

    fn send(&mut self) {
        while self.shard.plan_sends(SEND_BATCH) > 0 {
            let sent = |plan| SendResult::Sent(self.shard.bytes_of(plan).len());
            let results: Vec<_> = self.shard.plans().iter().map(sent).collect();
            self.shard.sends_done(self.now, &results);
        }
    }
}

fn shard(bucket_count: u16) -> Shard {
    let config = ShardConfig {
        me: ShardId(0),
        placement: Placement::new(KEY, bucket_count, 1),
        clock: CLOCK,
        decoder: Decoder { role: Role::Server, message_bytes_max: 4_096 },
        spill_bytes_max: 64 * 1_024,
        lane_bytes_max: LANE_BYTES_MAX,
        handshake_timeout_ms: 10_000,
        heartbeat_interval_ms: 30_000,
        idle_timeout_ms: 90_000,
        limits: ConnectionLimits::default(),
        echo: false,
        admission: Admission {
            mailbox_age_ms: 1_000,
            turn_ms: 1_000,
            force_retry_percent: 0,
            retry_after_max_ms: 0,
        },
        downlink: Downlink::default(),
        chat: ChatSettings::default(),
        words: Arc::default(),
    };
    let secrets = Secrets {
        ticket_key: TicketKey::new([9; 32], CLOCK),
        verifier: TokenVerifier::new(SECRET),
        entropy: Box::new(SeededEntropy::new(1, 1)),
    };
    Shard::new(config, secrets)
}
