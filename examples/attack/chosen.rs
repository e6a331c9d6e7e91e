//! Attacks with bytes that were made for the purpose: bombs, tokens that were good once, ids that
//! collide.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use tidegate::base::hash::{Placement, PlacementKey};
use tidegate::base::ids::{BucketId, UserId};

use crate::gateway::Gateway;

/// What a bomb becomes: a thousand times as long as it is.
const BOMB_BYTES: usize = 3_900_000;
/// The longest message that a client may send by default.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// What connections said last, and how many said so.
fn count(seen: &BTreeMap<String, u32>) -> String {
    let seen: Vec<_> = seen.iter().map(|(what, count)| format!("{count} × {what}")).collect();
    seen.join(", ")
}

/// The code of the close frame that ends a connection, or how else it ends. The frame is not answered,
/// so the gateway has to end the connection by itself.
pub(crate) fn ending(stream: &mut TcpStream) -> String {
    let (mut all, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        // Behind what it had said before; after it a reset may come.
        let count = stream.read(&mut piece).unwrap_or(0);
        all.extend(&piece[..count]);
        let close = all.windows(4).rfind(|it| it[0] == 0x88 && matches!(it[2], 0x03 | 0x0F));
        match close {
            Some(it) => return u16::from_be_bytes([it[2], it[3]]).to_string(),
            None if count == 0 => return "reset".to_owned(),
            None => {}
        }
    }
}

/// Messages of 4 KB that would be 4 MB, one from each of many clients; every one asks for the way to
/// send compressed.
pub(crate) fn compression_bomb(gateway: &Gateway) -> String {
    let mut payload = Vec::with_capacity(MESSAGE_BYTES_MAX);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![0; BOMB_BYTES], &mut payload, FlushCompress::Sync).unwrap();
    assert!(payload.len() <= MESSAGE_BYTES_MAX && compress.total_in() == BOMB_BYTES as u64);
    // Final, compressed (RFC 7692 §6), binary; masked with zeros.
    let mut frame = vec![0xC2, 0x80 | 126];
    frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(&payload);
    let mut seen = BTreeMap::new();
    for user in 1..=5_000 {
        let header = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let mut stream = gateway.enter_with(1, user, header).unwrap();
        stream.write_all(&frame).unwrap();
        *seen.entry(ending(&mut stream)).or_insert(0) += 1;
    }
    format!("{} bytes that become {BOMB_BYTES}: {}", payload.len(), count(&seen))
}

/// A user's token is revoked while the user is connected; then it is shown again and again.
pub(crate) fn token_replay(gateway: &Gateway) -> String {
    let mut open = gateway.enter(1, 7).unwrap();
    gateway.operate("/v1/users/7/revoke", "{}");
    let first = ending(&mut open);
    let mut seen = BTreeMap::new();
    for _ in 0..10_000 {
        let mut stream = gateway.enter(1, 7).unwrap();
        *seen.entry(ending(&mut stream)).or_insert(0) += 1;
    }
    let other = gateway.enter(1, 8).is_some();
    let other = if other { "is let in" } else { "is refused" };
    format!("the open connection {first}, then {}; another user {other}", count(&seen))
}

/// Users whose ids were sought so that all of them would be in one bucket, if the key of placement were
/// all zeros, beside as many users with ordinary ids.
pub(crate) fn hash_collisions(gateway: &Gateway) -> String {
    const USERS: usize = 5_000;
    let known = Placement::new(PlacementKey([0; 16]), 1_024, 2);
    let colliding: Vec<u64> =
        (1..).filter(|id| known.bucket(UserId(*id)) == BucketId(0)).take(USERS).collect();
    let ordinary: Vec<u64> = (1..).take(USERS).collect();
    // The first connections pay for what is there only once.
    enter_all(gateway, &(20_000_000..20_005_000).collect::<Vec<u64>>());
    let (ordinary, _) = enter_all(gateway, &ordinary);
    let (chosen, sessions) = enter_all(gateway, &colliding);
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / 5_000.0;
    format!(
        "{USERS} ids of one bucket under a key of zeros: {} sessions on the two shards, {:.0} µs of \
         CPU a connect; ordinary ids {:.0} µs",
        sessions.join(" and "),
        each(chosen),
        each(ordinary),
    )
}

/// Connects users one after another, lets all of them stay until the last is in, and lets them go: CPU,
/// and on which shards their sessions were.
fn enter_all(gateway: &Gateway, users: &[u64]) -> (Duration, Vec<String>) {
    let before = gateway.readings().cpu;
    let streams: Vec<_> = users.iter().map(|user| gateway.enter(1, *user).unwrap()).collect();
    let spent = gateway.readings().cpu - before;
    // Metrics are published several times a second.
    crate::pause(Duration::from_secs(1));
    let sessions = gateway.metric("tidegate_sessions{");
    drop(streams);
    crate::pause(Duration::from_secs(1));
    (spent, sessions)
}
