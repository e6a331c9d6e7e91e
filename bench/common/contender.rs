//! One server with all its clients: connecting everybody, and broadcasts that are measured.

use std::time::Duration;

use crate::common::clients::{CONNECTS_IN_FLIGHT, Clients, ClientsSettings};
use crate::common::clock::{ProcessClock, now_ns, pause};
use crate::common::counting::Counting;
use crate::common::drops::Drops;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::server::Server;
use crate::common::stats::{Coverage, as_f64_ns};

/// Everybody is in, or everybody has it, within so many seconds and one more per so many clients.
const PATIENCE_S: u64 = 30;
const CLIENTS_PER_SECOND: u64 = 2_000;
/// What a server still does after the last client was served.
const AFTERMATH: Duration = Duration::from_millis(2);
/// Clients that need more than this part of the server's CPU were a limit, or nearly so.
const CLIENT_SHARE_MAX: f64 = 0.9;
/// A server that had a core for a smaller part of the time was disturbed by other work.
const BUSY_SHARE_MIN: f64 = 0.8;

/// What one broadcast was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broadcast {
    /// CPU of the server per message delivered, microseconds.
    pub(crate) server_us: f64,
    /// CPU of the clients per message delivered, microseconds.
    pub(crate) client_us: f64,
    /// CPU of the clients in all, until everybody had it, nanoseconds.
    pub(crate) client_busy_ns: u64,
    /// From the moment at which the server was told.
    pub(crate) coverage: Coverage,
    /// Messages delivered.
    pub(crate) deliveries: u64,
    /// Packets that this machine dropped meanwhile.
    pub(crate) packets_dropped: u64,
    /// The clients were as slow as the server: coverage is theirs too.
    pub(crate) client_limited: bool,
    /// The server was not at work all the time until the last client was served, and the clients
    /// were not the reason: something else had its core.
    pub(crate) disturbed: bool,
}

/// Broadcasts are looked at a thousand times a second: it is milliseconds that count in them.
const LOOK_INTERVAL_NS: u64 = 1_000_000;

/// A server and its clients.
pub(crate) struct Contender<S> {
    pub(crate) server: S,
    pub(crate) clients: Clients,
    pub(crate) counting: Counting,
    cpu: ProcessClock,
}

impl<S: Server> Contender<S> {
    /// For so many clients, none of which is connected yet.
    pub(crate) fn new(
        server: S,
        connections: u32,
        file_limit: u64,
    ) -> Result<Contender<S>, Problem> {
        let in_flight_max = CONNECTS_IN_FLIGHT;
        let settings = ClientsSettings {
            port: server.port(),
            connections,
            file_limit,
            in_flight_max,
            look_interval_ns: LOOK_INTERVAL_NS,
        };
        let clients = Clients::new(settings)?;
        let counting = Counting::new(connections, server.request(), server.greeting());
        Ok(Contender { cpu: server.cpu()?, server, clients, counting })
    }

    /// Connects clients until so many are in; returns how long that took, nanoseconds.
    pub(crate) fn fill(&mut self, connections: u32, progress: &Progress) -> Result<u64, Problem> {
        let from_ns = now_ns();
        self.clients.want(connections);
        let patience_s = patience_s(connections);
        let mut shown = 0;
        self.clients.until(
            &mut self.counting,
            patience_s,
            "everybody's connecting",
            |_, counting| {
                if counting.joined() >= shown + 1_000 {
                    shown = counting.joined();
                    progress.at(u64::from(shown));
                }
                counting.joined() >= connections
            },
        )?;
        Ok(now_ns() - from_ns)
    }

    /// CPU of the server so far, nanoseconds.
    pub(crate) fn cpu_ns(&self) -> Result<u64, Problem> {
        self.cpu.ns()
    }

    /// Sends `messages` to everybody at once, and waits until everybody has them.
    pub(crate) fn broadcast(&mut self, messages: u16) -> Result<Broadcast, Problem> {
        let connections = self.clients.connected();
        let drops = Drops::count()?;
        self.counting.begin(messages);
        self.clients.take_busy_ns();
        let cpu_from_ns = self.cpu.ns()?;
        let from_ns = now_ns();
        self.server.broadcast(u32::from(messages))?;
        let told = |_: &Clients, counting: &Counting| counting.served() >= connections as usize;
        let delivered = self.clients.until(
            &mut self.counting,
            patience_s(connections),
            "the delivery to everybody",
            told,
        );
        if let Err(problem) = delivered {
            let (served, dropped) = (self.counting.served(), drops.so_far()?);
            return Err(Problem::new(format!(
                "{problem}: {served} of {connections} have all {messages} messages; this machine dropped {dropped} \
                 packets meanwhile"
            )));
        }
        let wall_ns = now_ns() - from_ns;
        let busy_ns = self.cpu.ns()? - cpu_from_ns;
        let client_ns = self.clients.take_busy_ns();
        self.server.await_word()?;
        pause(AFTERMATH);
        let server_ns = self.cpu.ns()? - cpu_from_ns;
        let deliveries = self.counting.messages();
        let client_limited = as_f64_ns(client_ns) > CLIENT_SHARE_MAX * as_f64_ns(busy_ns);
        let each = |ns: u64| as_f64_ns(ns) / 1e3 / as_f64_ns(deliveries.max(1));
        Ok(Broadcast {
            server_us: each(server_ns),
            client_us: each(client_ns),
            client_busy_ns: client_ns,
            coverage: self.counting.coverage(from_ns),
            deliveries,
            packets_dropped: drops.so_far()?,
            client_limited,
            disturbed: !client_limited && as_f64_ns(busy_ns) < BUSY_SHARE_MIN * as_f64_ns(wall_ns),
        })
    }
}

/// How long anything that concerns so many clients may take.
pub(crate) fn patience_s(connections: u32) -> u64 {
    PATIENCE_S + u64::from(connections) / CLIENTS_PER_SECOND
}
