//! The demo's gateway, and a show on it from beginning to end.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::keys::KeySet;
use crate::auth::token::TokenPolicy;
use crate::base::entropy::{Entropy, SeededEntropy};
use crate::base::hash::{Placement, PlacementKey};
use crate::base::limits::{
    BUCKET_COUNT_DEFAULT, CLIENT_MESSAGE_BYTES_DEFAULT, SPILL_BYTES_DEFAULT,
};
use crate::chat::settings::ChatSettings;
use crate::net::probe::raise_file_limit;
use crate::net::{ListenSettings, PlaneSettings};
use crate::ops::cli::DemoArguments;
use crate::ops::demo::operator::Operator;
use crate::ops::demo::outcome::{DemoOutcome, Played, judge};
use crate::ops::demo::progress::Progress;
use crate::ops::demo::{DemoError, as_played, books};
use crate::ops::show_file::ShowFile;
use crate::runtime::clock::Clock;
use crate::runtime::data::{DataFolder, Deployment};
use crate::runtime::edge::EdgeSettings;
use crate::runtime::feed::{FeedStart, LedgerFeed};
use crate::runtime::gateway::{EntropySource, Gateway, GatewaySettings};
use crate::shard::config::{Admission, Downlink};
use crate::shard::limits::ConnectionLimits;

/// The stream of the demo's own secrets; those of shards have the shards' numbers.
const SECRETS_STREAM: u64 = 1 << 32;
/// Slots of a ring: fewer if the process may have fewer files.
const SLOTS_PER_RING: u32 = 16_384;

/// Plays a show from beginning to end.
pub(super) fn play(
    arguments: &DemoArguments,
    show: ShowFile,
    progress: &mut Progress,
) -> Result<DemoOutcome, DemoError> {
    let (definition, pace) = as_played(arguments, &show);
    let secret = token_secret(arguments.seed);
    let settings = gateway_settings(arguments, &secret, ([127, 0, 0, 1], 0).into());
    let Started { gateway, book } = start(arguments, &settings)?;
    let operator = Operator {
        gateway: &gateway,
        definition: &definition,
        pace,
        rains: &show.rains,
        secret,
        company: None,
    };
    let mut outcome = play_one(&operator, arguments, &settings, progress);
    gateway.stop();
    if let (Ok(outcome), Some((folder, ledger))) = (&mut outcome, book) {
        books::prove(&folder, ledger, definition.id, outcome);
    }
    outcome
}

/// Plays one show from beginning to end on a gateway that runs.
pub(super) fn play_one(
    operator: &Operator<'_>,
    arguments: &DemoArguments,
    settings: &GatewaySettings,
    progress: &mut Progress,
) -> Result<DemoOutcome, DemoError> {
    let clock = operator.gateway.clock();
    let began = clock.now();
    let (status, swarm) = operator.run(arguments, settings, progress)?;
    let report = swarm.finish();
    let placement = Placement::new(settings.placement_key, settings.buckets, 1);
    let seconds = clock.now().since(began).as_secs_f64();
    Ok(judge(Played {
        arguments,
        shards: settings.shards,
        definition: operator.definition,
        status,
        report,
        placement,
        seconds,
        guests: operator.guest_count(),
    }))
}

struct Started {
    gateway: Gateway,
    /// The folder, which stays locked, and the book in it.
    book: Option<(DataFolder, LedgerFeed)>,
}

/// The gateway, in memory or in a folder.
fn start(arguments: &DemoArguments, settings: &GatewaySettings) -> Result<Started, DemoError> {
    let Some(path) = &arguments.data else {
        return Ok(Started { gateway: Gateway::start(settings, Clock::start())?, book: None });
    };
    let folder = DataFolder::open(path)?;
    if folder.deployment()?.is_some() {
        return Err(DemoError::UsedBefore(path.clone()));
    }
    let GatewaySettings { buckets, placement_key, ticket_key, .. } = settings;
    folder.begin_deployment(&Deployment::new(*buckets, &placement_key.0, ticket_key))?;
    let placement = Placement::new(settings.placement_key, settings.buckets, settings.shards);
    let recovered = folder.begin_run(placement)?;
    let ledger = LedgerFeed::start(FeedStart::new(folder.root(), &recovered))?;
    let gateway = Gateway::start_recovered(settings, recovered)?;
    Ok(Started { gateway, book: Some((folder, ledger)) })
}

/// Settings of the demo's gateway: the secrets of its deployment come from the seed, so that one
/// seed plays one game.
pub(in crate::ops) fn gateway_settings(
    arguments: &DemoArguments,
    secret: &[u8],
    listen: SocketAddr,
) -> GatewaySettings {
    let mut entropy = SeededEntropy::new(arguments.seed, SECRETS_STREAM);
    let (mut placement_key, mut ticket_key) = ([0; 16], [0; 32]);
    entropy.fill(&mut placement_key);
    entropy.fill(&mut ticket_key);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shards = arguments.shards.unwrap_or(u16::try_from(cores).unwrap_or(1));
    GatewaySettings {
        shards,
        buckets: BUCKET_COUNT_DEFAULT,
        listen: ListenSettings::new(listen),
        plane: plane_settings(),
        token_keys: Arc::new(KeySet::of_secret(secret)),
        token_policy: TokenPolicy::default(),
        placement_key: PlacementKey(placement_key),
        ticket_key,
        entropy: EntropySource::Seed(arguments.seed),
        message_bytes_max: CLIENT_MESSAGE_BYTES_DEFAULT,
        spill_bytes_max: SPILL_BYTES_DEFAULT,
        handshake_timeout_ms: 10_000,
        heartbeat_interval_ms: 10_000,
        idle_timeout_ms: 30_000,
        limits: ConnectionLimits::default(),
        edge: EdgeSettings::default(),
        echo: false,
        admission: Admission {
            // Players and gateway share the cores: what would be overload elsewhere is not here.
            mailbox_age_ms: 1_000,
            turn_ms: 1_000,
            force_retry_percent: arguments.force_retry,
            retry_after_max_ms: 400,
        },
        downlink: Downlink::default(),
        chat: ChatSettings::default(),
        words: Arc::default(),
    }
}

/// What the audience's tokens are signed with.
fn token_secret(seed: u64) -> [u8; 32] {
    let mut secret = [0; 32];
    SeededEntropy::new(seed, SECRETS_STREAM + 1).fill(&mut secret);
    secret
}

fn plane_settings() -> PlaneSettings {
    // A table of direct descriptors may be as large as the process may have files.
    let files = raise_file_limit().map_or(1_024, |limit| limit.soft);
    let files = u32::try_from(files).unwrap_or(u32::MAX);
    PlaneSettings { slots_per_ring: SLOTS_PER_RING.min(files), ..PlaneSettings::default() }
}
