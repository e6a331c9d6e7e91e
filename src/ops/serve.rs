//! `tidegate serve`: a gateway with its operator's HTTP and its shows, from start to SIGTERM.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;

use crate::auth::token::TokenVerifier;
use crate::base::entropy::SystemEntropy;
use crate::base::hash::Placement;
use crate::base::ids::ShowId;
use crate::base::priority::give_way;
use crate::ledger::error::LedgerError;
use crate::ops::autopilot::{Autopilot, PacedShow};
use crate::ops::cli::{ExitStatus, ServeArguments};
use crate::ops::config::Config;
use crate::ops::console::{Console, ConsoleError, ConsoleSettings, WatchedAccounts};
use crate::ops::drain::lead::{Lead, Wishes};
use crate::ops::drain::{DrainHandle, DrainSettings, Wish};
use crate::ops::gateway_settings::{as_echo, gateway_settings, verifier_of};
use crate::ops::host::{self, HostError};
use crate::ops::http::{HttpError, OperatorHttp, OperatorView, Readiness, ReadyState};
use crate::ops::kernel::{KernelStatus, KernelWatch};
use crate::ops::key_watch::{KeyStatus, WatchedKeys};
use crate::ops::log::{self, LogHandle};
use crate::ops::operator_port::GatewayPort;
use crate::ops::payouts::Payouts;
use crate::ops::plans::{Plans, ResumeError};
use crate::ops::players::{PlayerCounts, PlayerHttp, PlayerSettings, PlayerView};
use crate::ops::problems::Problems;
use crate::ops::rehearsal::Rehearsals;
use crate::ops::reload::{ConfigStatus, Followers, WatchedConfig, pressure_limits};
use crate::ops::service::{self, Watchdog};
use crate::ops::settings::{Settings, SettingsSources};
use crate::ops::show_file::{ShowFile, rains};
use crate::ops::signals;
use crate::ops::watch::Watch;
use crate::ops::watch::files::{FileWatch, Watched};
use crate::ops::watch::pressure::PressureLimits;
use crate::ops::watch::tls_files::{TlsFiles, TlsFilesError, TlsStatus, WatchedTls};
use crate::ops::words::{WORDS, WatchedWords, WordsFile};
use crate::quiz::definition::ShowDefinition;
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::rain::RainCommand;
use crate::runtime::clock::Clock;
use crate::runtime::data::retention::{self, Keep, OldRun};
use crate::runtime::data::{DataError, DataFolder, RecoveryReport, TornTail};
use crate::runtime::fatal::end_process_on_panic;
use crate::runtime::feed::{FeedError, FeedStart, LedgerFeed, LedgerHandle};
use crate::runtime::gateway::{CallError, Gateway, StartError};
use crate::shard::operator::{OperatorAnswer, OperatorError, OperatorRequest, ShowStatus};

/// What those get who are still there when a drain is over.
const LAST_GOODBYE: Duration = Duration::from_secs(1);

/// Why serving did not begin.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Files, environment or flags.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// The log.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// This host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Listeners or shards.
    #[error(transparent)]
    Gateway(#[from] StartError),
    /// The operator's HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The deployment's folder.
    #[error("the deployment cannot go on: {0}")]
    Data(#[from] DataError),
    /// The book of money.
    #[error("the ledger cannot begin: {0}")]
    Ledger(#[from] FeedError),
    /// Payouts.
    #[error("payouts cannot begin: {0}")]
    Payouts(#[source] LedgerError),
    /// Money without a journal.
    #[error(
        "show {show} has a prize of {prize_pool} cents and nothing to keep it in: set data_dir, or \
         give --data DIR"
    )]
    PrizeWithoutData {
        /// Which show.
        show: ShowId,
        /// In cents.
        prize_pool: Cents,
    },
    /// A show was refused.
    #[error("show {show} cannot be announced: {error}")]
    Announce {
        /// Which show.
        show: ShowId,
        /// Why.
        error: CallError,
    },
    /// Shows that were planned.
    #[error("planned shows cannot go on: {0}")]
    Plans(#[from] ResumeError),
    /// The autopilot's thread.
    #[error("the thread that runs shows cannot be started: {0}; raise the limit on threads")]
    Autopilot(#[source] io::Error),
    /// Certificates.
    #[error("TLS cannot begin: {0}")]
    Tls(#[from] TlsFilesError),
    /// The pages for operators.
    #[error("the console cannot begin: {0}")]
    Console(#[from] ConsoleError),
    /// The watches.
    #[error("the watches over memory and files cannot be started: {0}; raise the limit on threads")]
    Watch(#[source] io::Error),
    /// Signals.
    #[error("SIGTERM and SIGINT cannot be watched: {0}; raise the limits on threads and files")]
    Signals(#[source] io::Error),
}

impl ServeError {
    /// What the process ends with.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            ServeError::Settings(_)
            | ServeError::Tls(_)
            | ServeError::PrizeWithoutData { .. }
            | ServeError::Console(ConsoleError::Accounts(_))
            | ServeError::Plans(ResumeError::Twice { .. })
            | ServeError::Data(DataError::Contradiction { .. }) => ExitStatus::Settings,
            // Threads and descriptors are limits of the host, too.
            ServeError::Host(_)
            | ServeError::Gateway(
                StartError::Cores
                | StartError::Thread { .. }
                | StartError::Executor { .. }
                | StartError::Plane { .. }
                | StartError::EventFd { .. },
            )
            | ServeError::Http(HttpError::Thread { .. })
            | ServeError::Autopilot(_)
            | ServeError::Watch(_)
            | ServeError::Signals(_) => ExitStatus::Host,
            ServeError::Log(_)
            | ServeError::Console(ConsoleError::Audit { .. })
            | ServeError::Data(_)
            | ServeError::Ledger(_)
            | ServeError::Plans(_)
            | ServeError::Payouts(_)
            | ServeError::Gateway(StartError::Bind(_))
            | ServeError::Http(HttpError::Bind { .. } | HttpError::Listener { .. })
            | ServeError::Announce { .. } => ExitStatus::Failed,
        }
    }
}

/// Serves until it is drained, by SIGTERM, SIGINT or the operator. Sets up the log and the
/// panic hook of the process: to be called once.
///
/// # Errors
/// Why it could not begin; whatever had begun is stopped.
pub fn serve(
    arguments: &ServeArguments,
    environment: Vec<(OsString, OsString)>,
) -> Result<(), ServeError> {
    let sources = SettingsSources {
        config: arguments.config.clone(),
        shows: arguments.show.clone(),
        environment,
        flags: arguments.flags(),
    };
    let Settings { mut config, shows } = Settings::load(&sources)?;
    let log = log::start(config.log.level, config.log.format, config.log.filter.as_deref())?;
    end_process_on_panic();
    let wishes = Wishes::new(DrainSettings::of(&config));
    let reloaded = Reloaded::new(&sources, &config, &wishes, log);
    let sender = wishes.sender();
    signals::watch(move |signal| sender.try_send(Wish::Signal(signal)).is_ok())
        .map_err(ServeError::Signals)?;
    if config.data_dir.is_none() {
        refuse_prizes(&shows)?;
    }
    let mut tls = if arguments.echo { None } else { TlsFiles::new(&config)? };
    let Started { gateway, book } = start_gateway(&mut config, arguments.echo, tls.as_mut())?;
    if let Some((folder, _)) = &book {
        prune_in_time(&config, folder, &gateway);
    }
    let caller = gateway.caller();
    let watchdog = Watchdog::start_if_asked(gateway.snapshots(), move || caller.wake_all());
    let watchdog = match watchdog {
        Ok(watchdog) => watchdog,
        Err(error) => {
            gateway.stop();
            stop_book(book);
            return Err(ServeError::Watch(error));
        }
    };
    let readiness = Arc::new(Readiness::new());
    let begun = Watches::start(&config, &gateway, tls, arguments.echo, reloaded);
    let begun = begun.and_then(|watches| {
        let ledger = book.as_ref().map(|(_, ledger)| ledger.handle());
        let (drain, readiness) = (wishes.handle(), Arc::clone(&readiness));
        let operate =
            || operate(&config, &gateway, &shows, &watches, ledger.as_ref(), drain, readiness);
        match (!arguments.echo).then(operate).transpose() {
            Ok(operations) => Ok((operations, watches)),
            Err(error) => {
                watches.stop();
                Err(error)
            }
        }
    });
    let (operations, watches) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            gateway.stop();
            stop_book(book);
            return Err(error);
        }
    };
    service::ready(&what_is_served(&gateway));
    let DrainSettings { timeout, .. } = Lead::new(&wishes, &gateway, &readiness).until_drained();
    service::stopping(service::CLIENTS_LEAVE);
    watches.stop();
    let http = operations.map(Operations::stop_commanding);
    gateway.stop_within(timeout.min(LAST_GOODBYE));
    stop_book(book);
    if let Some(watchdog) = watchdog {
        watchdog.stop();
    }
    if let Some(http) = http {
        http.stop();
    }
    tracing::info!("stopped");
    Ok(())
}

/// A gateway that began, and what keeps its money.
struct Started {
    gateway: Gateway,
    /// The folder, which stays locked until the shards have ended, and the book in it.
    book: Option<(DataFolder, LedgerFeed)>,
}

/// For people who ask the service manager.
fn what_is_served(gateway: &Gateway) -> String {
    let (shards, address) = (gateway.snapshots().len(), gateway.local_address());
    format!("serving clients on {address} with {shards} shards")
}

/// When the shards have ended: everything on their journals goes into the book.
fn stop_book(book: Option<(DataFolder, LedgerFeed)>) {
    if let Some((_folder, ledger)) = book {
        let handle = ledger.handle();
        let is_whole = ledger.stop();
        let booked = handle.status().booked;
        tracing::info!(booked, is_whole, "the ledger is closed");
    }
}

/// Runs that nobody needs go, on a thread of its own: their files may be many. That it could not be
/// done keeps nobody from serving.
fn prune_in_time(config: &Config, folder: &DataFolder, gateway: &Gateway) {
    let keep = Keep { runs: config.journal.keep_runs, days: config.journal.keep_days };
    let (root, clock) = (folder.root().to_path_buf(), gateway.clock());
    let now_unix_ms = clock.display().unix_ms(clock.now());
    let spawned = thread::Builder::new().name("retention".to_owned()).spawn(move || {
        give_way();
        match retention::prune(&root, keep, now_unix_ms) {
            Ok(removed) => {
                for OldRun { run, bytes, .. } in removed {
                    tracing::info!(run, bytes, "the journal of an old run was removed");
                }
            }
            Err(error) => tracing::warn!(%error, "old runs of the journal could not be removed"),
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "old runs of the journal are not looked at: no thread");
    }
}

/// What the configuration was read from, and who goes on by another one.
struct Reloaded<'a> {
    sources: &'a SettingsSources,
    /// As it was read.
    in_force: Config,
    drain: watch::Sender<DrainSettings>,
    log: LogHandle,
}

impl Reloaded<'_> {
    fn new<'a>(
        sources: &'a SettingsSources,
        in_force: &Config,
        wishes: &Wishes,
        log: LogHandle,
    ) -> Reloaded<'a> {
        Reloaded { sources, in_force: in_force.clone(), drain: wishes.defaults(), log }
    }

    /// Without a file nothing can have changed.
    fn watched(
        self,
        gateway: &Gateway,
        pressure: watch::Sender<PressureLimits>,
        status: Arc<ConfigStatus>,
    ) -> Option<WatchedConfig> {
        let Reloaded { sources, in_force, drain, log } = self;
        let followers =
            Followers { caller: gateway.caller(), gate: gateway.gate(), pressure, drain, log };
        let watched = WatchedConfig::new(sources, in_force, followers, status);
        sources.config.is_some().then_some(watched)
    }
}

/// What looks after memory and files, and what it tells.
struct Watches {
    pressure: Watch,
    files: FileWatch,
    has_words: bool,
    /// Verifies tokens off the shards, with the keys that they have.
    verifier: watch::Receiver<Arc<TokenVerifier>>,
    keys: Arc<KeyStatus>,
    config: Arc<ConfigStatus>,
    certificates: Arc<TlsStatus>,
    console: Option<Arc<Console>>,
    kernel: KernelWatch,
    kernel_status: Arc<KernelStatus>,
}

impl Watches {
    fn start(
        config: &Config,
        gateway: &Gateway,
        tls: Option<TlsFiles>,
        is_echo: bool,
        reloaded: Reloaded<'_>,
    ) -> Result<Watches, ServeError> {
        let (keys, certificates) = <(Arc<KeyStatus>, Arc<TlsStatus>)>::default();
        let limits = watch::Sender::new(pressure_limits(config));
        let pressure =
            Watch::start(gateway.orders(), limits.subscribe()).map_err(ServeError::Watch)?;
        let config_status = Arc::<ConfigStatus>::default();
        let mut watched: Vec<Box<dyn Watched>> = Vec::new();
        let file = reloaded.watched(gateway, limits, Arc::clone(&config_status));
        if let Some(file) = file.filter(|_| !is_echo) {
            watched.push(Box::new(file));
        }
        if let Some(files) = tls {
            let status = Arc::clone(&certificates);
            watched.push(Box::new(WatchedTls::new(files, gateway.orders(), status)));
        }
        let words = WordsFile::of(&config.chat).filter(|_| !is_echo);
        let has_words = words.is_some();
        if let Some(file) = words {
            watched.push(Box::new(WatchedWords::new(file, gateway.caller())));
        }
        let (tell_verifier, verifier) = watch::channel(Arc::new(verifier_of(config)));
        let status = Arc::clone(&keys);
        if let Some(file) = WatchedKeys::of(config, gateway.caller(), status, tell_verifier)
            && !is_echo
        {
            watched.push(Box::new(file));
        }
        let console = start_console(config, is_echo)?;
        if let Some(console) = &console {
            watched.push(Box::new(WatchedAccounts::new(Arc::clone(console))));
        }
        let kernel_status = Arc::<KernelStatus>::default();
        let port = gateway.local_address().port();
        // A watch that is dropped, because the next one cannot begin, ends by itself.
        let kernel = KernelWatch::start(port, gateway.clock(), Arc::clone(&kernel_status))
            .map_err(ServeError::Watch)?;
        let files = FileWatch::start(watched).map_err(ServeError::Watch)?;
        Ok(Watches {
            pressure,
            files,
            has_words,
            verifier,
            keys,
            config: config_status,
            certificates,
            console,
            kernel,
            kernel_status,
        })
    }

    fn stop(self) {
        self.pressure.stop();
        self.files.stop();
        self.kernel.stop();
    }
}

fn start_gateway(
    config: &mut Config,
    echo: bool,
    tls: Option<&mut TlsFiles>,
) -> Result<Started, ServeError> {
    let files = host::raise_file_limit()?;
    let folder = config.data_dir.as_ref().filter(|_| !echo);
    let folder = folder.map(|path| DataFolder::open(Path::new(path))).transpose()?;
    if let Some(folder) = &folder {
        adopt_deployment(config, folder)?;
    }
    // An echo needs no secrets, so nobody has to know that they are missing.
    for note in config.make_missing_secrets(&mut SystemEntropy).iter().filter(|_| !echo) {
        tracing::warn!("{note}");
    }
    let mut settings = gateway_settings(config, files);
    if let Some(file) = WordsFile::of(&config.chat) {
        settings.words = Arc::new(file.read()?);
    }
    let mut settings = if echo { as_echo(settings) } else { settings };
    settings.edge.tls = tls.map(TlsFiles::load).transpose()?;
    for warning in host::inspect(settings.shards, &settings.plane, config.limits.connections_max)? {
        tracing::warn!("{warning}");
    }
    let (gateway, book) = match folder {
        None => (Gateway::start(&settings, Clock::start())?, None),
        Some(folder) => {
            let placement =
                Placement::new(settings.placement_key, settings.buckets, settings.shards);
            let recovered = folder.begin_run(placement)?;
            log_recovery(&recovered.report);
            let ledger = LedgerFeed::start(FeedStart::new(folder.root(), &recovered))?;
            (Gateway::start_recovered(&settings, recovered)?, Some((folder, ledger)))
        }
    };
    tracing::info!(
        address = %gateway.local_address(),
        shards = settings.shards,
        rings_max = settings.plane.rings_max,
        slots_per_ring = settings.plane.slots_per_ring,
        files_max = files.soft,
        tls = settings.edge.tls.is_some(),
        echo,
        "listening for clients"
    );
    Ok(Started { gateway, book })
}

/// A show with a prize needs a journal.
fn refuse_prizes(shows: &[ShowFile]) -> Result<(), ServeError> {
    let prize = |show: &&ShowFile| show.definition.prize_pool > Cents::ZERO;
    match shows.iter().find(prize) {
        None => Ok(()),
        Some(ShowFile { definition, .. }) => {
            let (show, prize_pool) = (definition.id, definition.prize_pool);
            Err(ServeError::PrizeWithoutData { show, prize_pool })
        }
    }
}

/// The secrets of the deployment, which may begin now.
fn adopt_deployment(config: &mut Config, folder: &DataFolder) -> Result<(), DataError> {
    if let Some(stored) = folder.deployment()? {
        return config.adopt(&stored, &folder.deployment_file());
    }
    config.make_missing_deployment_keys(&mut SystemEntropy);
    folder.begin_deployment(&config.deployment())
}

fn log_recovery(report: &RecoveryReport) {
    for TornTail { shard, segment, offset, until } in &report.torn {
        tracing::warn!(
            %shard, segment, offset, until,
            "the journal ends within a group: what was in it may have been acknowledged or not"
        );
    }
    let RecoveryReport {
        run, shards_before, ended_in_order, records, redone, shows, users, ..
    } = report;
    let outage_ms = u64::try_from(report.outage.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        run,
        shards_before,
        ended_in_order,
        records,
        redone,
        shows,
        users,
        outage_ms,
        "the deployment goes on from its journal"
    );
}

/// What runs beside the gateway, off its cores.
struct Operations {
    readiness: Arc<Readiness>,
    http: OperatorHttp,
    players: Option<PlayerHttp>,
    autopilot: Autopilot,
    payouts: Option<Payouts>,
}

/// Announces the shows, starts the operator's HTTP, and lets those shows go that run by themselves.
fn operate(
    config: &Config,
    gateway: &Gateway,
    shows: &[ShowFile],
    watches: &Watches,
    ledger: Option<&LedgerHandle>,
    drain: DrainHandle,
    readiness: Arc<Readiness>,
) -> Result<Operations, ServeError> {
    let autopilot =
        Autopilot::start(gateway.caller(), gateway.clock()).map_err(ServeError::Autopilot)?;
    let data = config.data_dir.as_deref().map(Path::new);
    let plans = Plans::new(data, gateway.caller(), gateway.clock(), autopilot.handle());
    let begun = plans
        .resume(shows)
        .map_err(ServeError::from)
        .and_then(|()| announce(config, gateway, shows))
        .and_then(|()| start_http(config, gateway, watches, ledger, drain, &readiness, plans));
    let (http, players) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            autopilot.stop();
            return Err(error);
        }
    };
    for paced in shows.iter().filter_map(PacedShow::of) {
        autopilot.handle().fly(paced);
    }
    let operations = Operations { readiness, http, players, autopilot, payouts: None };
    let (caller, clock) = (gateway.caller(), gateway.clock());
    let payouts = ledger.map(|ledger| Payouts::start(&config.payouts, ledger, caller, clock));
    let payouts = match payouts.transpose() {
        Ok(payouts) => payouts,
        Err(error) => {
            operations.stop_commanding().stop();
            return Err(ServeError::Payouts(error));
        }
    };
    if payouts.is_none() && config.payouts.url.is_some() {
        tracing::warn!("payouts.url is set, but without data_dir there are no payouts");
    }
    operations.readiness.set(ReadyState::Accepting);
    Ok(Operations { payouts, ..operations })
}

/// The operator's HTTP, and the REST for players.
fn start_http(
    config: &Config,
    gateway: &Gateway,
    watches: &Watches,
    ledger: Option<&LedgerHandle>,
    drain: DrainHandle,
    readiness: &Arc<Readiness>,
    plans: Plans,
) -> Result<(OperatorHttp, Option<PlayerHttp>), ServeError> {
    let words = watches.has_words.then(|| watches.files.handle(WORDS));
    let player_counts = Arc::new(PlayerCounts::default());
    let port = GatewayPort::new(gateway.caller(), gateway.clock().display())
        .with_words(words)
        .with_plans(plans.clone());
    let view = OperatorView {
        token: config.operator.token.clone(),
        health_stale: Duration::from_millis(config.operator.health_stale_ms),
        connections_max: u64::from(config.limits.connections_max),
        readiness: Arc::clone(readiness),
        keys: Arc::clone(&watches.keys),
        config: Arc::clone(&watches.config),
        certificates: Arc::clone(&watches.certificates),
        kernel: Arc::clone(&watches.kernel_status),
        players: Arc::clone(&player_counts),
        ledger: ledger.cloned(),
        drain: Some(drain),
        rehearsals: Some(Rehearsals::new(gateway.caller())),
        port: Arc::new(port),
        console: watches.console.clone(),
        ..OperatorView::of(gateway)
    };
    let http = OperatorHttp::start(config.operator.listen, view)?;
    match start_players(config, gateway, watches, player_counts, plans) {
        Ok(players) => Ok((http, players)),
        Err(error) => {
            http.stop();
            Err(error.into())
        }
    }
}

/// Announces the shows of the files, and plans their rains; those that went on are left alone.
fn announce(config: &Config, gateway: &Gateway, shows: &[ShowFile]) -> Result<(), ServeError> {
    for ShowFile { definition, pace, rains } in shows {
        let show = definition.id;
        match gateway.call(OperatorRequest::Announce(Arc::new(definition.clone()))) {
            Ok(_) => {}
            Err(CallError::Refused(OperatorError::ShowExists(_))) if config.data_dir.is_some() => {
                tracing::info!(%show, "the show goes on as it was announced before");
                say_if_other(gateway, definition);
                plan_rains(gateway, show, |status| match status.live.phase {
                    // Nobody has commanded it: what is missing of its file a crash left out.
                    Phase::Announced => rains::missing(rains, status.rains.len(), status.rain_fund),
                    _ => Vec::new(),
                })?;
                continue;
            }
            Err(error) => return Err(ServeError::Announce { show, error }),
        }
        plan_rains(gateway, show, |_| rains::orders(rains))?;
        let questions = definition.questions.len();
        tracing::info!(%show, questions, runs_by_itself = pace.is_some(), "show announced");
    }
    Ok(())
}

/// What was announced stands, whatever its file says by now: people know it, and may have answered.
fn say_if_other(gateway: &Gateway, file: &ShowDefinition) {
    let request = OperatorRequest::Definition { show: file.id };
    if let Ok(OperatorAnswer::Definition(announced)) = gateway.call(request)
        && *announced != *file
    {
        tracing::warn!(
            show = %file.id,
            "the show's file says something else than what was announced, which stands: give a \
             changed show another id"
        );
    }
}

/// Gives a show the orders about its rains that its status calls for.
fn plan_rains(
    gateway: &Gateway,
    show: ShowId,
    orders: impl FnOnce(&ShowStatus) -> Vec<RainCommand>,
) -> Result<(), ServeError> {
    let failed = |error| ServeError::Announce { show, error };
    let status = match gateway.call(OperatorRequest::Status { show }).map_err(failed)? {
        OperatorAnswer::Show(status) => status,
        other => panic!("a shard was asked for a show's status and answered {other:?}"),
    };
    for command in orders(&status) {
        gateway.call(OperatorRequest::Rain { show, command }).map_err(failed)?;
    }
    Ok(())
}

/// The pages for operators, where the configuration wants them.
fn start_console(config: &Config, is_echo: bool) -> Result<Option<Arc<Console>>, ConsoleError> {
    let Some(settings) = ConsoleSettings::of(&config.operator).filter(|_| !is_echo) else {
        return Ok(None);
    };
    if !config.operator.listen.ip().is_loopback() && !settings.cookie_secure {
        tracing::warn!(
            "the console is reachable from other hosts: passwords travel in the clear without TLS in \
             front of it"
        );
    }
    let data = config.data_dir.as_deref().map(Path::new);
    Console::start(settings, data).map(|console| Some(Arc::new(console)))
}

/// The REST for players, where the configuration wants it.
fn start_players(
    config: &Config,
    gateway: &Gateway,
    watches: &Watches,
    counts: Arc<PlayerCounts>,
    plans: Plans,
) -> Result<Option<PlayerHttp>, HttpError> {
    let Some((address, settings)) = PlayerSettings::of(config) else {
        return Ok(None);
    };
    let view = PlayerView {
        settings,
        caller: gateway.caller(),
        plans: Some(plans),
        clock: gateway.clock(),
        verifier: watches.verifier.clone(),
        book: PlayerView::book_of(config.data_dir.as_deref().map(Path::new)),
        counts,
    };
    PlayerHttp::start(address, view).map(Some)
}

impl Operations {
    /// Nobody is sent here any more, and no show goes on by itself; metrics are still answered.
    fn stop_commanding(self) -> OperatorHttp {
        self.readiness.set(ReadyState::Draining);
        self.autopilot.stop();
        if let Some(payouts) = self.payouts {
            payouts.stop();
        }
        if let Some(players) = self.players {
            players.stop();
        }
        self.http
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ShardId;

    #[test]
    fn limits_of_the_host_end_with_the_status_of_the_host() {
        let error = || io::Error::from_raw_os_error(libc::EMFILE);
        let shard = ShardId(0);
        for error in [
            ServeError::Gateway(StartError::EventFd { shard, error: error() }),
            ServeError::Gateway(StartError::Thread { shard, error: error() }),
            ServeError::Gateway(StartError::Cores),
            ServeError::Http(HttpError::Thread { key: "operator.listen", source: error() }),
            ServeError::Signals(error()),
        ] {
            assert_eq!(error.exit_status().code(), ExitStatus::Host.code(), "{error}");
        }
        let address = ([127, 0, 0, 1], 1).into();
        let in_use = ServeError::Http(HttpError::Bind {
            key: "operator.listen",
            address,
            source: error(),
            remedy: String::new(),
        });
        assert_eq!(in_use.exit_status().code(), ExitStatus::Failed.code());
    }
}
