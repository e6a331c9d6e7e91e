//! Round 3: each gateway gets its part of the clients; then, while a countdown runs, one is stopped
//! by SIGTERM and one is killed, and everybody is back on those that are left.

use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::LocalSet;

use crate::common::clock::now_ns;
use crate::common::gateway::GatewaySettings;
use crate::common::options::Options;
use crate::common::problem::{Doing as _, Problem};
use crate::common::show::{SHOW, show_file};
use crate::common::stats::{Coverage, as_f64_ns};

use super::Several;
use super::site::{INTERVAL_MS, Site, nanos};
use super::wanderer::{World, wander};

/// Long enough to stop and to kill within it.
const COUNTDOWN_MS: u32 = 5_000;
/// The drain spreads its clients over this; they are then asked to come back within two seconds, which
/// together is the usual time of close code 1001.
const SPREAD_MS: u32 = 8_000;
/// So many clients come a second.
const COMES_PER_S: u32 = 500;
/// How long anything may take beyond what it has to.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// What became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Exodus {
    pub(crate) round: u8,
    pub(crate) title: &'static str,
    pub(crate) several: Several,
    pub(crate) interval_ms: u32,
    pub(crate) countdown_ms: u32,
    pub(crate) spread_ms: u32,
    /// Clients on each gateway when all had come; the last is killed, the one before it drained.
    pub(crate) parts: Vec<usize>,
    /// Clients on each at the end.
    pub(crate) parts_at_end: Vec<usize>,
    pub(crate) killed: Left,
    pub(crate) drained: Left,
    /// What the drained gateway ended with.
    pub(crate) drained_exit_status: Option<i32>,
    /// Answers on gateways that were not killed, and how many of them were acknowledged.
    pub(crate) answers: usize,
    pub(crate) acknowledged: usize,
    /// Connects to a gateway on a list that did not take them.
    pub(crate) connects_in_vain: u32,
    pub(crate) held: bool,
    /// What did not hold.
    pub(crate) failures: Vec<String>,
    pub(crate) took_s: f64,
}

/// The clients of a gateway that went.
#[derive(Debug, Serialize)]
pub(crate) struct Left {
    /// Before anybody moved.
    pub(crate) clients: usize,
    /// Came from it to another one: on the drained one, those too whom the killed one had lost to it.
    pub(crate) back: usize,
    /// From the end of the old connection until in the room of another gateway.
    pub(crate) away_ms: Coverage,
    /// Until it was on no list any more.
    pub(crate) unlisted_ms: f64,
}

/// Plays it.
pub(super) fn play(several: Several, options: &Options) -> Result<Exodus, Problem> {
    let settings = GatewaySettings {
        connections: several.clients,
        show: Some(show_file(COUNTDOWN_MS)),
        retries: false,
    };
    let mut site = Site::start(several.gateways, &settings, options, |_| {
        vec![
            ("TIDEGATE_DRAIN__SPREAD_MS", SPREAD_MS.to_string()),
            ("TIDEGATE_LIMITS__DRAIN_TIMEOUT_MS", "5000".to_owned()),
        ]
    })?;
    for gateway in &mut site.gateways {
        gateway.command(SHOW, "open-lobby")?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing("starting the clients' runtime")?;
    let world = Rc::new(World::new(site.dispatcher.port(), several.clients));
    let local = LocalSet::new();
    for index in 0..several.clients {
        let comes_after = Duration::from_secs(1) * index / COMES_PER_S;
        local.spawn_local(wander(index, comes_after, Rc::clone(&world)));
    }
    runtime.block_on(local.run_until(Round { several, site, world }.play()))
}

struct Round {
    several: Several,
    site: Site,
    world: Rc<World>,
}

impl Round {
    async fn play(mut self) -> Result<Exodus, Problem> {
        let begun_ns = now_ns();
        let clients = self.several.clients;
        let ports = self.site.ports();
        let (killed, drained) = (ports[ports.len() - 1], ports[ports.len() - 2]);
        let all = |world: &World| world.inside() == clients as usize;
        self.until("all clients are in", all).await?;
        let parts: Vec<usize> = ports.iter().map(|port| self.world.on(*port)).collect();
        for gateway in &mut self.site.gateways {
            gateway.command(SHOW, "publish")?;
        }
        let has_answered = |world: &World| world.answered.borrow().iter().all(Option::is_some);
        self.until("all clients have answered", has_answered).await?;

        let kill_ns = now_ns();
        let last = self.site.gateways.len() - 1;
        self.site.gateways[last].kill()?;
        self.site.gateways[last - 1].terminate()?;
        let killed_unlisted_ns = self.until_unlisted(killed, kill_ns).await?;
        // It waits for its countdown first.
        let drained_unlisted_ns = self.until_unlisted(drained, kill_ns).await?;
        let is_over = |world: &World| world.on(killed) + world.on(drained) == 0 && all(world);
        self.until("everybody is back", is_over).await?;
        let mut status = None;
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            status = self.site.gateways[last - 1].exit_status()?;
            if status.is_some() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        // The killed one may have acknowledged its answers or not: nothing of it is kept.
        let (answers, acknowledged) = self.answers_but_of(killed);
        let left = |port, was, ns| self.left(port, was, ns);
        let mut exodus = Exodus {
            round: 3,
            title: "several gateways behind dispatch",
            several: self.several,
            interval_ms: INTERVAL_MS,
            countdown_ms: COUNTDOWN_MS,
            spread_ms: SPREAD_MS,
            killed: left(killed, parts[last], killed_unlisted_ns),
            drained: left(drained, parts[last - 1], drained_unlisted_ns),
            drained_exit_status: status,
            answers,
            acknowledged,
            connects_in_vain: self.world.in_vain.get(),
            parts_at_end: ports.iter().map(|port| self.world.on(*port)).collect(),
            parts,
            held: false,
            failures: Vec::new(),
            took_s: as_f64_ns(now_ns() - begun_ns) / 1e9,
        };
        exodus.judge();
        Ok(exodus)
    }

    async fn until(&self, what: &str, holds: impl Fn(&World) -> bool) -> Result<(), Problem> {
        let end_ns = now_ns() + nanos(PATIENCE);
        while !holds(&self.world) {
            if now_ns() > end_ns {
                let (seconds, inside) = (PATIENCE.as_secs(), self.world.inside());
                let clients = self.several.clients;
                return Err(Problem::new(format!(
                    "it did not come to pass within {seconds} s that {what}: {inside} of {clients} \
                     are in; try fewer --clients"
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Nanoseconds from `since_ns` until no list has the gateway any more.
    async fn until_unlisted(&mut self, port: u16, since_ns: u64) -> Result<u64, Problem> {
        let end_ns = now_ns() + nanos(PATIENCE);
        while self.site.dispatcher.listed()?.contains(&port) {
            if now_ns() > end_ns {
                return Err(Problem::new("a gateway that went stays on the dispatcher's list"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(now_ns() - since_ns)
    }

    /// Answers on other gateways than this, and how many of them were acknowledged.
    fn answers_but_of(&self, port: u16) -> (usize, usize) {
        let (answered, acknowledged) =
            (self.world.answered.borrow(), self.world.acknowledged.borrow());
        let elsewhere = answered.iter().zip(acknowledged.iter());
        let elsewhere = elsewhere.filter(|(home, _)| **home != Some(port));
        let answers = elsewhere.clone().count();
        (answers, elsewhere.filter(|(_, is_acknowledged)| **is_acknowledged).count())
    }

    fn left(&self, port: u16, clients: usize, unlisted_ns: u64) -> Left {
        let moves = self.world.moves.borrow();
        let mut away_ns: Vec<u64> =
            moves.iter().filter(|it| it.from == port).map(|it| it.away_ns).collect();
        Left {
            clients,
            back: away_ns.len(),
            away_ms: Coverage::of(&mut away_ns),
            unlisted_ms: as_f64_ns(unlisted_ns) / 1e6,
        }
    }
}

impl Exodus {
    fn judge(&mut self) {
        let Several { gateways, clients, part_min_percent, back_limit_ms } = self.several;
        let mut failures = Vec::new();
        let mut check = |holds: bool, text: String| {
            if !holds {
                failures.push(text);
            }
        };
        let least = f64::from(clients) / f64::from(gateways) * f64::from(part_min_percent) / 100.0;
        for (index, part) in self.parts.iter().enumerate() {
            let enough = as_f64_ns(*part as u64) >= least;
            check(enough, format!("gateway {index} got {part} clients, less than {least:.0}"));
        }
        let both = [("killed", &self.killed), ("drained", &self.drained)];
        for (what, left) in both {
            let Left { clients, back, away_ms, .. } = left;
            check(
                back >= clients,
                format!("{back} of {clients} clients of the {what} one are back"),
            );
            check(
                away_ms.p100 <= f64::from(back_limit_ms),
                format!("a client of the {what} one was away for {:.0} ms", away_ms.p100),
            );
        }
        let at_end: usize = self.parts_at_end.iter().sum();
        check(at_end == clients as usize, format!("{at_end} clients are in at the end"));
        let status = self.drained_exit_status;
        check(status == Some(0), format!("the drained gateway ended with {status:?}"));
        let (answers, acknowledged) = (self.answers, self.acknowledged);
        check(
            answers == acknowledged,
            format!("{acknowledged} of {answers} answers were acknowledged"),
        );
        self.held = failures.is_empty();
        self.failures = failures;
    }

    /// For people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Exodus { round, title, parts, parts_at_end, answers, acknowledged, .. } = self;
        let mut lines = vec![
            format!("  round {round}: {title}"),
            format!("    clients by gateway: {parts:?}, at the end {parts_at_end:?}"),
        ];
        for (what, left) in [("killed", &self.killed), ("drained", &self.drained)] {
            let Left { clients, back, away_ms, unlisted_ms } = left;
            let Coverage { p50, p99, p100, .. } = away_ms;
            lines.push(format!(
                "    {what}: had {clients} clients, {back} came back from it; away: 50 % {p50:.0} ms, 99 % {p99:.0}, \
                 all {p100:.0}; on no list after {unlisted_ms:.0} ms"
            ));
        }
        lines.push(format!(
            "    {acknowledged} of {answers} answers acknowledged; {} connects in vain; the drained one \
             ended with {:?}",
            self.connects_in_vain, self.drained_exit_status
        ));
        lines.push(verdict(self.held, &self.failures));
        lines
    }
}

/// Whether a round held, in a line.
pub(super) fn verdict(held: bool, failures: &[String]) -> String {
    if held { "    held".to_owned() } else { format!("    FAILED: {}", failures.join("; ")) }
}
