//! Any bytes from a client that is in a room, in any pieces: the shard lives on.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tidegate::auth::ticket::TicketKey;
use tidegate::auth::token::{NewToken, TokenVerifier, mint};
use tidegate::base::entropy::SeededEntropy;
use tidegate::base::hash::{Placement, PlacementKey};
use tidegate::base::ids::{ConnId, ShardId, UserId};
use tidegate::base::time::{DisplayClock, Time};
use tidegate::chat::settings::ChatSettings;
use tidegate::shard::config::{Admission, Downlink, ShardConfig};
use tidegate::shard::input::{Input, SendResult};
use tidegate::shard::limits::ConnectionLimits;
use tidegate::shard::{Secrets, Shard};
use tidegate::wire::codec::Encoding;
use tidegate::wire::message::{Decoder, Role};
use tidegate::wire::upgrade::ClientRequest;

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";

fn shard() -> Shard {
    let key = PlacementKey([1; 16]);
    let config = ShardConfig {
        me: ShardId(0),
        placement: Placement::new(key, 8, 1),
        clock: DisplayClock { zero_unix_ms: 1_800_000_000_000 },
        decoder: Decoder { role: Role::Server, message_bytes_max: 4_096 },
        spill_bytes_max: 65_536,
        lane_bytes_max: 65_536,
        handshake_timeout_ms: 5_000,
        heartbeat_interval_ms: 10_000,
        idle_timeout_ms: 30_000,
        limits: ConnectionLimits::default(),
        echo: false,
        admission: Admission {
            mailbox_age_ms: 1_000,
            turn_ms: 1_000,
            force_retry_percent: 0,
            retry_after_max_ms: 500,
        },
        downlink: Downlink::default(),
        chat: ChatSettings::default(),
        words: Arc::default(),
    };
    let secrets = Secrets {
        ticket_key: TicketKey::new([2; 32], config.clock),
        verifier: TokenVerifier::new(SECRET),
        entropy: Box::new(SeededEntropy::new(1, 1)),
    };
    Shard::new(config, secrets)
}

/// Carries out effects and sends everything that is planned.
fn settle(shard: &mut Shard, now: Time) {
    let mut durable = None;
    for effect in shard.effects() {
        if let tidegate::shard::input::Effect::Journal { number, .. } = effect {
            durable = Some(number);
        }
    }
    if let Some(record) = durable {
        shard.step(now, Input::Durable { record });
    }
    while shard.plan_sends(64) > 0 {
        let results: Vec<_> =
            shard.plans().iter().map(|plan| SendResult::Sent(shard.bytes_of(plan).len())).collect();
        shard.sends_done(now, &results);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((shape, bytes)) = bytes.split_first() else {
        return;
    };
    let mut shard = shard();
    let conn = ConnId { place: 0, generation: 1 };
    let mut now = Time::from_millis(1);
    let peer = "127.0.0.1:1".parse().unwrap();
    shard.step(now, Input::Opened { conn, peer });
    let (user, issued_unix_s) = (UserId(5), 1_800_000_000);
    let token = mint(SECRET, NewToken { user, issued_unix_s, lifetime_s: 60, audience: None });
    let encoding = if shape & 1 == 0 { Encoding::Proto } else { Encoding::Json };
    let target = format!("/?token={token}&room=7");
    let nonce = [0; 16];
    let request = ClientRequest { host: "h", target: &target, encoding, nonce };
    let mut upgrade = request.to_bytes();
    shard.step(now, Input::Received { conn, bytes: &mut upgrade, arrived: now });
    settle(&mut shard, now);
    for piece in bytes.chunks(usize::from(shape >> 1).max(1)) {
        now = now + std::time::Duration::from_millis(1);
        let mut piece = piece.to_vec();
        shard.step(now, Input::Received { conn, bytes: &mut piece, arrived: now });
        settle(&mut shard, now);
    }
});
