//! What is measured of one server, whoever wrote it.
//!
//! Memory and connects need a fresh server, so each repetition starts one. The servers of the last
//! repetition stay alive, all at the same time, each with its own clients, and take turns at
//! broadcasts: those that are compared were measured within seconds of each other.

use std::time::Duration;

use crate::common::clock::pause;
use crate::common::contender::Contender;
use crate::common::memory::resident_bytes;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::server::Server;
use crate::common::stats::{Figures, as_f64_ns};

/// Messages of a burst.
pub(crate) const BURST: u16 = 16;
/// Broadcasts of a turn, one at a time, and bursts.
const BROADCASTS: usize = 5;
const BURSTS: usize = 2;
/// What servers still do for a connection after its client has its response: joining it to the
/// room, giving back what the handshake needed.
const SETTLING: Duration = Duration::from_millis(300);

/// What one server showed, a figure for each repetition. All of the same length, so that figures
/// with the same place belong to the same repetition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Showing {
    /// CPU per delivery, microseconds.
    pub(crate) one: Vec<f64>,
    pub(crate) burst: Vec<f64>,
    /// Until half of the clients had the message, and all, milliseconds.
    pub(crate) half_ms: Vec<f64>,
    pub(crate) all_ms: Vec<f64>,
    /// CPU per connect, microseconds.
    pub(crate) connect: Vec<f64>,
    /// Resident memory over the empty server's.
    pub(crate) bytes_per_connection: Vec<f64>,
    /// CPU of the clients per delivery, microseconds.
    pub(crate) client: Vec<f64>,
    /// Broadcasts one at a time, and those in which the server waited for the clients.
    pub(crate) broadcasts: u32,
    pub(crate) limited: u32,
    /// Packets that this machine dropped during all broadcasts.
    pub(crate) packets_dropped: u64,
}

/// Everybody connects to a fresh server, which had so many resident bytes while it was empty.
pub(crate) fn connect<S: Server>(
    contender: &mut Contender<S>,
    empty_bytes: u64,
    connections: u32,
    showing: &mut Showing,
    progress: &Progress,
) -> Result<(), Problem> {
    let connects = connections - contender.counting.joined();
    let from_ns = contender.cpu_ns()?;
    contender.fill(connections, progress)?;
    pause(SETTLING);
    let cpu_ns = contender.cpu_ns()? - from_ns;
    let grown = resident_bytes(contender.server.process_id())?.saturating_sub(empty_bytes);
    showing.connect.push(as_f64_ns(cpu_ns) / 1e3 / f64::from(connects.max(1)));
    showing.bytes_per_connection.push(as_f64_ns(grown) / f64::from(connections));
    Ok(())
}

/// One server's turn at broadcasts. The first is not counted: it finds the caches as another server
/// left them.
pub(crate) fn turn<S: Server>(
    contender: &mut Contender<S>,
    showing: &mut Showing,
) -> Result<(), Problem> {
    contender.broadcast(1)?;
    let [mut one, mut burst, mut half_ms, mut all_ms, mut client]: [Figures; 5] =
        Default::default();
    for _ in 0..BROADCASTS {
        let broadcast = contender.broadcast(1)?;
        one.push(broadcast.server_us);
        client.push(broadcast.client_us);
        half_ms.push(broadcast.coverage.p50);
        all_ms.push(broadcast.coverage.p100);
        showing.broadcasts += 1;
        showing.limited += u32::from(broadcast.client_limited);
        showing.packets_dropped += broadcast.packets_dropped;
    }
    for _ in 0..BURSTS {
        let broadcast = contender.broadcast(BURST)?;
        burst.push(broadcast.server_us);
        showing.packets_dropped += broadcast.packets_dropped;
    }
    let showings = [
        (&mut showing.one, one),
        (&mut showing.burst, burst),
        (&mut showing.half_ms, half_ms),
        (&mut showing.all_ms, all_ms),
        (&mut showing.client, client),
    ];
    for (figures, of_this_turn) in showings {
        figures.push(of_this_turn.median());
    }
    Ok(())
}
