//! A gateway in this process: its shards' threads, from start to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use core_affinity::CoreId;
use flume::{Receiver, RecvTimeoutError, Sender};
use thiserror::Error;

use crate::auth::keys::KeySet;
use crate::auth::ticket::TicketKey;
use crate::auth::token::{TokenPolicy, TokenVerifier};
use crate::base::entropy::{Entropy, SeededEntropy, SystemEntropy};
use crate::base::hash::{Placement, PlacementKey};
use crate::base::ids::ShardId;
use crate::base::limits::LANE_BYTES_MAX;
use crate::base::metrics::ShardSnapshot;
use crate::base::time::Time;
use crate::chat::settings::ChatSettings;
use crate::chat::words::WordList;
use crate::net::{
    BindError, ListenSettings, Listener, Plane, PlaneError, PlaneSettings, Waker, new_eventfd,
};
use crate::runtime::clock::Clock;
use crate::runtime::data::{Recovered, ShardStart};
use crate::runtime::disk_journal::{self, DiskJournal};
use crate::runtime::edge::gate::Gate;
use crate::runtime::edge::{Edge, EdgeSettings, GateSettings};
use crate::runtime::fatal;
use crate::runtime::images::Images;
use crate::runtime::journal::{Journal, MemoryJournal, StoredJournal};
use crate::runtime::mailbox::{Address, Posts, mailbox};
use crate::runtime::meter::Meter;
use crate::runtime::operator::Call;
pub use crate::runtime::operator::{CallError, Caller};
use crate::runtime::pump::{Order, Pump, Stop, run};
use crate::runtime::reactor::{Cycle, Park, make_executor};
use crate::shard::config::{Admission, Downlink, ShardConfig};
use crate::shard::drain::Drain;
use crate::shard::limits::ConnectionLimits;
use crate::shard::mail::Batch;
use crate::shard::operator::{OperatorAnswer, OperatorRequest};
use crate::shard::{Secrets, Shard};
use crate::store::writer::{Continuation, Writer};
use crate::tls::TlsConfig;
use crate::wire::message::{Decoder, Role};

/// Requests of operators that may wait for a shard.
const CALLS_MAX: usize = 256;
/// Orders that may wait for a shard: they come one by one, seconds apart.
const ORDERS_MAX: usize = 64;
/// How long a shard may take to end after its clients had their time to leave. One that takes
/// longer is stuck: it would never end.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How long clients have to leave when a gateway stops.
pub const GOODBYE_DEFAULT: Duration = Duration::from_secs(3);

/// What a gateway is told when it starts. The configuration has checked it.
#[derive(Clone)]
pub struct GatewaySettings {
    /// Number of shards; may be more than there are cores.
    pub shards: u16,
    /// Buckets of the deployment.
    pub buckets: u16,
    /// Where clients connect.
    pub listen: ListenSettings,
    /// The socket plane of each shard.
    pub plane: PlaneSettings,
    /// What access tokens are verified with, until other keys are set.
    pub token_keys: Arc<KeySet>,
    /// What is asked of access tokens beside their signature.
    pub token_policy: TokenPolicy,
    /// Where users, rooms and shows live.
    pub placement_key: PlacementKey,
    /// Signs retry tickets.
    pub ticket_key: [u8; 32],
    /// Where keys and delays come from.
    pub entropy: EntropySource,
    /// Bytes of one message from a client.
    pub message_bytes_max: usize,
    /// Bytes that a connection's own replies may pile up to.
    pub spill_bytes_max: usize,
    /// How long a client has for upgrade and token.
    pub handshake_timeout_ms: u32,
    /// How often a client is asked to send something.
    pub heartbeat_interval_ms: u32,
    /// How long a client may be silent.
    pub idle_timeout_ms: u32,
    /// What one connection may do.
    pub limits: ConnectionLimits,
    /// What stands before the shards: limits on connecting, the PROXY protocol, TLS.
    pub edge: EdgeSettings,
    /// Send every message back instead of understanding it.
    pub echo: bool,
    /// When answers are asked to come again.
    pub admission: Admission,
    /// How rooms' messages go out.
    pub downlink: Downlink,
    /// What may be said, and how often.
    pub chat: ChatSettings,
    /// Sensitive words, until others are set.
    pub words: Arc<WordList>,
}

/// Where keys and delays come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntropySource {
    /// The operating system: always, but for demonstrations and tests.
    System,
    /// A seed, so that a run can be repeated.
    Seed(u64),
}

/// Why a gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The listen address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No core can be used.
    #[error("the cores of this host could not be listed; run on Linux with /proc and /sys mounted")]
    Cores,
    /// A shard's thread.
    #[error("starting the thread of shard {shard} failed: {error}; raise the limit on threads")]
    Thread {
        /// Which shard.
        shard: ShardId,
        /// Why.
        error: io::Error,
    },
    /// A shard's rings.
    #[error("shard {shard}: {error}")]
    Plane {
        /// Which shard.
        shard: ShardId,
        /// Why.
        error: PlaneError,
    },
    /// A shard's executor.
    #[error(
        "shard {shard}: glommio did not start: {error}; it needs 512 KiB of locked memory per \
         shard (ulimit -l, LimitMEMLOCK=)"
    )]
    Executor {
        /// Which shard.
        shard: ShardId,
        /// Why.
        error: String,
    },
    /// A shard's eventfd.
    #[error("shard {shard}: no eventfd: {error}; raise the limit on open files")]
    EventFd {
        /// Which shard.
        shard: ShardId,
        /// Why.
        error: io::Error,
    },
}

/// A running gateway.
pub struct Gateway {
    clock: Clock,
    listen: ListenSettings,
    caller: Caller,
    snapshots: Vec<Arc<ShardSnapshot>>,
    stop: Arc<Stop>,
    orders: Orders,
    gate: Arc<Gate>,
    threads: Vec<ShardThread>,
}

/// Tells the shards of a gateway what concerns all of them, from any thread.
#[derive(Clone)]
pub struct Orders(Arc<[Address<Order>]>);

impl Orders {
    /// Leaves clients in the backlog, or accepts them again.
    pub fn hold_accepting(&self, hold: bool) {
        self.give(|| Order::HoldAccepting(hold));
    }

    /// Connections that come from now on are served with these certificates; whoever is connected
    /// stays.
    pub fn renew_tls(&self, config: &TlsConfig) {
        self.give(|| Order::Renew(config.clone()));
    }

    /// Closes the listeners, once those who wait there are taken, and asks connections to leave.
    pub fn drain(&self, drain: &Drain) {
        self.give(|| Order::Drain(drain.clone()));
    }

    fn give(&self, mut order: impl FnMut() -> Order) {
        for shard in self.0.iter() {
            // A shard that takes no orders any more is about to end.
            let _ = shard.try_send(order());
        }
    }
}

/// Sets the limits on connecting, from any thread.
#[derive(Clone)]
pub struct GateHandle(Arc<Gate>);

impl GateHandle {
    /// Other numbers for those who come from now on. Whether anything is limited, whether addresses are
    /// counted, and what counts as one stays as it was at the start.
    pub fn set(&self, settings: &GateSettings) {
        self.0.set(settings);
    }
}

/// What a shard's thread needs to begin.
struct Beginning {
    me: ShardId,
    core: CoreId,
    settings: GatewaySettings,
    clock: Clock,
    listener: Listener,
    mailbox: Receiver<Batch>,
    calls: Receiver<Call>,
    orders: Receiver<Order>,
    gate: Arc<Gate>,
    snapshot: Arc<ShardSnapshot>,
    stop: Arc<Stop>,
    /// What outlived the process before, where there is a folder for it.
    start: Option<ShardStart>,
    /// The thread's waker, or why there is none.
    ready: Sender<Result<Waker, StartError>>,
    /// The addresses of all shards, once all have begun.
    addresses: Receiver<Vec<Option<Address<Batch>>>>,
}

impl Gateway {
    /// Binds the listen address on every shard, starts the shards, and returns when all accept.
    ///
    /// # Errors
    /// The first step that failed; whatever had begun is stopped.
    pub fn start(settings: &GatewaySettings, clock: Clock) -> Result<Gateway, StartError> {
        Gateway::start_with(settings, clock, Vec::new())
    }

    /// Like [`Gateway::start`], going on with what outlived the process before; from now on
    /// everything that is promised is durable.
    ///
    /// # Errors
    /// Like [`Gateway::start`].
    ///
    /// # Panics
    /// If it was recovered for another number of shards.
    pub fn start_recovered(
        settings: &GatewaySettings,
        recovered: Recovered,
    ) -> Result<Gateway, StartError> {
        let Recovered { clock, shards, .. } = recovered;
        assert_eq!(shards.len(), usize::from(settings.shards), "recovered for these shards");
        Gateway::start_with(settings, clock, shards)
    }

    fn start_with(
        settings: &GatewaySettings,
        clock: Clock,
        starts: Vec<ShardStart>,
    ) -> Result<Gateway, StartError> {
        let mut starts = starts.into_iter();
        let shards = usize::from(settings.shards);
        let cores = core_affinity::get_core_ids().filter(|cores| !cores.is_empty());
        let cores = cores.ok_or(StartError::Cores)?;
        let listeners = Listener::bind_all(&settings.listen, shards)?;
        // From now on other listeners of the port are our own, or a gateway's beside us.
        let address = listeners[0].address();
        let listen = ListenSettings { address, beside: true, ..settings.listen.clone() };
        let stop = Arc::new(Stop::default());
        let gate = Arc::new(Gate::new(settings.edge.gate));
        let now = clock.now();
        let snapshots: Vec<_> = (0..shards).map(|_| Arc::new(ShardSnapshot::new(now))).collect();
        let mut begun = Vec::with_capacity(shards);
        for (me, listener) in ShardId::all(settings.shards).zip(listeners) {
            let (mail_sender, mailbox) = mailbox();
            let (call_sender, calls) = flume::bounded(CALLS_MAX);
            let (order_sender, orders) = flume::bounded(ORDERS_MAX);
            let (address_sender, addresses) = flume::bounded(1);
            let (ready_sender, ready) = flume::bounded(1);
            let beginning = Beginning {
                me,
                core: cores[me.index() % cores.len()],
                settings: settings.clone(),
                clock,
                listener,
                mailbox,
                calls,
                orders,
                gate: gate.clone(),
                snapshot: snapshots[me.index()].clone(),
                stop: stop.clone(),
                start: starts.next(),
                ready: ready_sender,
                addresses,
            };
            let thread = ShardThread::spawn(me, move || begin(beginning))
                .map_err(|error| StartError::Thread { shard: me, error })?;
            begun.push(Begun {
                mail_sender,
                call_sender,
                order_sender,
                address_sender,
                ready,
                thread,
            });
        }
        let wakers = begun.iter().map(Begun::waker).collect::<Result<Vec<_>, _>>()?;
        let placement = placement(settings);
        let addresses = begun.iter().zip(&wakers);
        let addresses =
            addresses.map(|(begun, waker)| Address::new(begun.call_sender.clone(), waker.clone()));
        let caller = Caller::new(placement, addresses.collect());
        let orders = begun.iter().zip(&wakers);
        let orders =
            orders.map(|(begun, waker)| Address::new(begun.order_sender.clone(), waker.clone()));
        let orders = Orders(orders.collect());
        let threads = introduce(begun, &wakers);
        Ok(Gateway { clock, listen, caller, snapshots, stop, orders, gate, threads })
    }

    /// Where clients connect; the port that the kernel chose if the configured one was 0.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.listen.address
    }

    /// The clock that all shards read.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What the shards published of themselves last, in their order. A shard that sleeps publishes
    /// nothing: [`Gateway::wake_all`] makes it.
    #[must_use]
    pub fn snapshots(&self) -> &[Arc<ShardSnapshot>] {
        &self.snapshots
    }

    /// A handle with which other threads ask the shards, as long as they live.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// A handle with which other threads tell all shards what concerns them.
    #[must_use]
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// A handle with which other threads set the limits on connecting.
    #[must_use]
    pub fn gate(&self) -> GateHandle {
        GateHandle(Arc::clone(&self.gate))
    }

    /// Accepts clients again after [`Orders::drain`], and asks no more of them to leave.
    ///
    /// # Errors
    /// If the address cannot be listened on any more; the drain goes on.
    pub fn end_drain(&self) -> Result<(), BindError> {
        let listened_at = self.clock.now();
        let mut listeners = Listener::bind_all(&self.listen, self.threads.len())?.into_iter();
        for (shard, listener) in self.orders.0.iter().zip(&mut listeners) {
            let _ = shard.try_send(Order::EndDrain(listener, listened_at));
        }
        Ok(())
    }

    /// See [`Caller::wake_all`].
    pub fn wake_all(&self) {
        self.caller.wake_all();
    }

    /// See [`Caller::call`].
    ///
    /// # Errors
    /// The shard refused, or gave no answer in time.
    pub fn call(&self, request: OperatorRequest) -> Result<OperatorAnswer, CallError> {
        self.caller.call(request)
    }

    /// Takes no more clients, says goodbye to all, and ends the shards when all have left, after
    /// [`GOODBYE_DEFAULT`] at the latest.
    ///
    /// # Panics
    /// If a shard has panicked.
    pub fn stop(self) {
        self.stop_within(GOODBYE_DEFAULT);
    }

    /// Like [`Gateway::stop`], with `goodbye` for the clients to leave. A shard that has not ended
    /// ten seconds later ends the process.
    ///
    /// # Panics
    /// If a shard has panicked.
    pub fn stop_within(self, goodbye: Duration) {
        self.stop.ask(goodbye);
        self.wake_all();
        let until = self.clock.now() + goodbye + STOP_PATIENCE;
        for thread in self.threads {
            thread.join_until(until, self.clock);
        }
    }
}

/// A shard's thread, and how to wait for its end with a limit.
struct ShardThread {
    shard: ShardId,
    thread: JoinHandle<()>,
    /// Its other half lives as long as the thread, and never sends.
    ended: Receiver<()>,
}

impl ShardThread {
    fn spawn(shard: ShardId, life: impl FnOnce() + Send + 'static) -> io::Result<ShardThread> {
        let (alive, ended) = flume::bounded(0);
        let builder = std::thread::Builder::new().name(format!("shard-{shard}"));
        let thread = builder.spawn(move || {
            let _alive: Sender<()> = alive;
            life();
        })?;
        Ok(ShardThread { shard, thread, ended })
    }

    /// # Panics
    /// If the shard has panicked.
    fn join_until(self, until: Time, clock: Clock) {
        let shard = self.shard;
        if self.ended.recv_timeout(until.since(clock.now())) == Err(RecvTimeoutError::Timeout) {
            fatal::end_process(&format!(
                "shard {shard} was asked to stop and did not: it is stuck"
            ));
        }
        assert!(self.thread.join().is_ok(), "shard {shard} panicked");
    }
}

/// Gives every shard the addresses of all others; then they run.
fn introduce(begun: Vec<Begun>, wakers: &[Waker]) -> Vec<ShardThread> {
    let mailboxes: Vec<_> = begun
        .iter()
        .zip(wakers)
        .map(|(begun, waker)| Address::new(begun.mail_sender.clone(), waker.clone()))
        .collect();
    let mut threads = Vec::with_capacity(begun.len());
    for (me, begun) in begun.into_iter().enumerate() {
        let others = mailboxes.iter().enumerate();
        let others = others.map(|(shard, it)| (shard != me).then(|| it.clone())).collect();
        let sent = begun.address_sender.send(others);
        assert!(sent.is_ok(), "shard {me} waits for its addresses");
        threads.push(begun.thread);
    }
    threads
}

/// What is kept of a shard's thread until it is introduced.
struct Begun {
    mail_sender: Sender<Batch>,
    call_sender: Sender<Call>,
    order_sender: Sender<Order>,
    address_sender: Sender<Vec<Option<Address<Batch>>>>,
    ready: Receiver<Result<Waker, StartError>>,
    thread: ShardThread,
}

impl Begun {
    /// # Panics
    /// If the thread ended without a word.
    fn waker(&self) -> Result<Waker, StartError> {
        self.ready.recv().expect("a shard says whether it is ready")
    }
}

/// The life of a shard's thread.
fn begin(beginning: Beginning) {
    core_affinity::set_for_current(beginning.core);
    let (me, ready) = (beginning.me, beginning.ready.clone());
    let executor = match make_executor(&format!("shard-{me}")) {
        Ok(executor) => executor,
        Err(error) => {
            let error = StartError::Executor { shard: me, error: error.to_string() };
            // Whoever started us may have given up already.
            let _ = ready.send(Err(error));
            return;
        }
    };
    executor.run(live(beginning));
}

async fn live(beginning: Beginning) {
    let Beginning { me, settings, clock, listener, ready, addresses, .. } = beginning;
    let made = make_plane(me, settings.plane, listener);
    let (plane, park, cycle) = match made {
        Ok(parts) => parts,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let told = ready.send(Ok(plane.waker()));
    // Another shard failed to begin: then nobody introduces us.
    let (Ok(()), Ok(addresses)) = (told, addresses.recv()) else {
        return;
    };
    let mut shard = make_shard(me, &settings, clock);
    let placement = placement(&settings);
    let (mut journal, mut images, mut writing) =
        (Journal::Memory(MemoryJournal::default()), None, None);
    if let Some(start) = beginning.start {
        let ShardStart { beginning, folder, run, segment_bytes, sequences, durable } = start;
        shard.begin_with(beginning);
        let from = Continuation { sequences, ..Continuation::default() };
        let disk = DiskJournal::new(Writer::new(me.0, run, segment_bytes, from));
        let task = disk_journal::run(disk.clone(), folder.clone(), clock, plane.waker());
        writing = Some((disk.clone(), glommio::spawn_local(task)));
        journal = Journal::Disk(StoredJournal::new(disk, placement, me, durable));
        images = Some(Images::new(folder, placement, me));
    }
    let pump = Pump {
        me,
        shard,
        journal,
        images,
        plane,
        clock,
        mailbox: beginning.mailbox,
        calls: beginning.calls,
        orders: beginning.orders,
        edge: Edge::new(me, settings.edge.clone(), beginning.gate),
        posts: Posts::new(addresses),
        meter: Meter::new(beginning.snapshot),
        stop: beginning.stop,
    };
    // On the heap: a shard's whole state is in it.
    Box::pin(run(pump, park, cycle)).await;
    if let Some((disk, task)) = writing {
        disk.close();
        task.await;
    }
}

fn make_plane(
    me: ShardId,
    settings: PlaneSettings,
    listener: Listener,
) -> Result<(Plane, Park, Cycle), StartError> {
    let eventfd = |error| StartError::EventFd { shard: me, error };
    let plane = Plane::new(settings, Some(listener))
        .map_err(|error| StartError::Plane { shard: me, error })?;
    let park = plane.duplicate_eventfd().and_then(Park::new).map_err(eventfd)?;
    let cycle = new_eventfd().and_then(Cycle::new).map_err(eventfd)?;
    Ok((plane, park, cycle))
}

fn placement(settings: &GatewaySettings) -> Placement {
    Placement::new(settings.placement_key, settings.buckets, settings.shards)
}

fn make_shard(me: ShardId, settings: &GatewaySettings, clock: Clock) -> Shard {
    let placement = placement(settings);
    let entropy: Box<dyn Entropy> = match settings.entropy {
        EntropySource::System => Box::new(SystemEntropy),
        EntropySource::Seed(seed) => Box::new(SeededEntropy::new(seed, u64::from(me.0))),
    };
    let config = ShardConfig {
        me,
        placement,
        clock: clock.display(),
        decoder: Decoder { role: Role::Server, message_bytes_max: settings.message_bytes_max },
        spill_bytes_max: settings.spill_bytes_max,
        lane_bytes_max: LANE_BYTES_MAX,
        handshake_timeout_ms: settings.handshake_timeout_ms,
        heartbeat_interval_ms: settings.heartbeat_interval_ms,
        idle_timeout_ms: settings.idle_timeout_ms,
        limits: settings.limits.clone(),
        echo: settings.echo,
        admission: settings.admission,
        downlink: settings.downlink.clone(),
        chat: settings.chat,
        words: Arc::clone(&settings.words),
    };
    let keys = Arc::clone(&settings.token_keys);
    let secrets = Secrets {
        ticket_key: TicketKey::new(settings.ticket_key, clock.stamps()),
        verifier: TokenVerifier::with_keys(keys, settings.token_policy.clone()),
        entropy,
    };
    Shard::new(config, secrets)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::runtime::fatal::PANIC_EXIT_STATUS;

    const CHILD: &str = "TIDEGATE_TEST_STUCK";

    #[test]
    fn a_stuck_shard_does_not_keep_the_process_from_ending() {
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "runtime::gateway::tests::stuck_in_a_child", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(PANIC_EXIT_STATUS), "{text}");
        assert!(text.contains("shard 1 was asked to stop and did not: it is stuck"), "{text}");
    }

    /// The child of the test above; by itself it does nothing.
    #[test]
    fn stuck_in_a_child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        tracing_subscriber::fmt().init();
        let clock = Clock::start();
        let until = clock.now() + Duration::from_millis(100);
        ShardThread::spawn(ShardId(0), || ()).expect("a thread").join_until(until, clock);
        let (_nobody, never) = flume::bounded::<()>(0);
        let stuck = ShardThread::spawn(ShardId(1), move || {
            let _ = never.recv();
        });
        stuck.expect("a thread").join_until(until, clock);
        unreachable!("the process has ended");
    }
}
