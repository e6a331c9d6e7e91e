//! The demo's gateway, its audience, and the operator who runs the show by its clock.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::keys::KeySet;
use crate::auth::token::{NewToken, TokenPolicy, mint};
use crate::base::entropy::{Entropy, SeededEntropy};
use crate::base::hash::{Placement, PlacementKey};
use crate::base::ids::{QuestionIndex, RainIndex, ShowId, UserId};
use crate::base::limits::{
    BUCKET_COUNT_DEFAULT, CLIENT_MESSAGE_BYTES_DEFAULT, SPILL_BYTES_DEFAULT,
};
use crate::chat::settings::ChatSettings;
use crate::net::probe::raise_file_limit;
use crate::net::{ListenSettings, PlaneSettings};
use crate::ops::cli::DemoArguments;
use crate::ops::demo::outcome::{DemoOutcome, Played, judge};
use crate::ops::demo::progress::Progress;
use crate::ops::demo::{DemoError, as_played, books};
use crate::ops::show_file::rains::FiledRain;
use crate::ops::show_file::{Pace, ShowFile, rains};
use crate::player::script::Script;
use crate::player::swarm::{Swarm, SwarmSettings};
use crate::quiz::definition::ShowDefinition;
use crate::quiz::director::{Command, Notice};
use crate::quiz::rain::{RainCommand, RainPhase};
use crate::runtime::clock::Clock;
use crate::runtime::data::{DataFolder, Deployment};
use crate::runtime::edge::EdgeSettings;
use crate::runtime::feed::{FeedStart, LedgerFeed};
use crate::runtime::gateway::{CallError, EntropySource, Gateway, GatewaySettings};
use crate::shard::config::{Admission, Downlink};
use crate::shard::limits::ConnectionLimits;
use crate::shard::operator::{OperatorAnswer, OperatorRequest, ShowStatus};

/// The stream of the demo's own secrets; those of shards have the shards' numbers.
const SECRETS_STREAM: u64 = 1 << 32;
/// How often the operator looks.
const LOOK: Duration = Duration::from_millis(25);
/// How long anything may take beyond what it has to.
const PATIENCE: Duration = Duration::from_secs(30);
/// Players that enter in a second at least, on a slow host.
const JOINS_PER_SECOND: u64 = 200;
/// Connects in flight at a time.
const CONNECTS_IN_FLIGHT: u32 = 256;
/// Slots of a ring: fewer if the process may have fewer files.
const SLOTS_PER_RING: u32 = 16_384;
/// A token lives longer than any demo.
const TOKEN_LIFETIME_S: u32 = 7 * 86_400;

/// Plays a show from beginning to end.
pub(super) fn play(
    arguments: &DemoArguments,
    show: ShowFile,
    progress: &mut Progress,
) -> Result<DemoOutcome, DemoError> {
    let (definition, pace) = as_played(arguments, &show);
    let settings = gateway_settings(arguments);
    let Started { gateway, book } = start(arguments, &settings)?;
    let (clock, began) = (gateway.clock(), gateway.clock().now());
    let rains = &show.rains;
    let operator = Operator { gateway: &gateway, definition: &definition, pace, rains };
    let played = operator.run(arguments, &settings, progress);
    // Players first: what they found is there even if the operator failed.
    let mut outcome = played.map(|(status, swarm)| {
        let report = swarm.finish();
        let placement = Placement::new(settings.placement_key, settings.buckets, 1);
        let seconds = clock.now().since(began).as_secs_f64();
        let shards = settings.shards;
        judge(Played {
            arguments,
            shards,
            definition: &definition,
            status,
            report,
            placement,
            seconds,
        })
    });
    gateway.stop();
    if let (Ok(outcome), Some((folder, ledger))) = (&mut outcome, book) {
        books::prove(&folder, ledger, definition.id, outcome);
    }
    outcome
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

fn gateway_settings(arguments: &DemoArguments) -> GatewaySettings {
    let mut entropy = SeededEntropy::new(arguments.seed, SECRETS_STREAM);
    let (mut placement_key, mut ticket_key) = ([0; 16], [0; 32]);
    entropy.fill(&mut placement_key);
    entropy.fill(&mut ticket_key);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shards = arguments.shards.unwrap_or(u16::try_from(cores).unwrap_or(1));
    GatewaySettings {
        shards,
        buckets: BUCKET_COUNT_DEFAULT,
        listen: ListenSettings::new(([127, 0, 0, 1], 0).into()),
        plane: plane_settings(),
        token_keys: Arc::new(KeySet::of_secret(&token_secret(arguments.seed))),
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

/// Runs the show.
struct Operator<'a> {
    gateway: &'a Gateway,
    definition: &'a Arc<ShowDefinition>,
    pace: Pace,
    rains: &'a [FiledRain],
}

impl Operator<'_> {
    fn run(
        &self,
        arguments: &DemoArguments,
        settings: &GatewaySettings,
        progress: &mut Progress,
    ) -> Result<(ShowStatus, Swarm), DemoError> {
        self.order("announcing the show", OperatorRequest::Announce(self.definition.clone()))?;
        for command in rains::orders(self.rains) {
            let show = self.show();
            self.order("planning red-packet rain", OperatorRequest::Rain { show, command })?;
        }
        self.command("opening the lobby", Command::OpenLobby)?;
        self.grant_cards(arguments)?;
        let swarm = self.audience(arguments, settings)?;
        self.lobby(arguments, &swarm, progress)?;
        for question in 0..self.definition.questions.len() {
            self.question(question, &swarm, progress)?;
            self.rains_after(question, arguments, &swarm)?;
        }
        self.command("settling", Command::Settle)?;
        progress.settling();
        let within = PATIENCE;
        self.until("the payout", within, &swarm, |status| status.is_paid_out)?;
        self.until("the news of the settlement", within, &swarm, |_| swarm.knows_settlement())?;
        self.pause(self.pace.next_pause, &swarm)?;
        let status = self.status()?;
        self.command("ending the show", Command::End)?;
        self.pause(LOOK * 8, &swarm)?;
        Ok((status, swarm))
    }

    fn grant_cards(&self, arguments: &DemoArguments) -> Result<(), DemoError> {
        let script = Script::new(arguments.seed, self.definition);
        for user in (1..=u64::from(arguments.players)).map(UserId) {
            if script.holds_card(user) {
                self.order("granting a card", OperatorRequest::GrantCard { user })?;
            }
        }
        Ok(())
    }

    fn audience(
        &self,
        arguments: &DemoArguments,
        settings: &GatewaySettings,
    ) -> Result<Swarm, DemoError> {
        let clock = self.gateway.clock();
        let secret = token_secret(arguments.seed);
        let issued_unix_s = clock.display().zero_unix_ms / 1_000;
        let token = move |user| {
            let lifetime_s = TOKEN_LIFETIME_S;
            mint(&secret, NewToken { user, issued_unix_s, lifetime_s, audience: None })
        };
        Ok(Swarm::start(SwarmSettings {
            gateway: self.gateway.local_address(),
            players: arguments.players,
            seed: arguments.seed,
            definition: self.definition.clone(),
            connects_in_flight: CONNECTS_IN_FLIGHT,
            plane: settings.plane,
            clock,
            gateway_may_die: false,
            token: Arc::new(token),
        })?)
    }

    /// Waits until everybody is in, by the players' own word and by the director's.
    fn lobby(
        &self,
        arguments: &DemoArguments,
        swarm: &Swarm,
        progress: &mut Progress,
    ) -> Result<(), DemoError> {
        let players = u64::from(arguments.players);
        progress.lobby(players);
        let within = PATIENCE + Duration::from_secs(players / JOINS_PER_SECOND);
        self.until("everybody's joining", within, swarm, |status| {
            progress.joined(swarm.joined());
            swarm.joined() == players && status.live.joined == players
        })?;
        self.pause(self.pace.lobby, swarm)
    }

    fn question(
        &self,
        number: usize,
        swarm: &Swarm,
        progress: &mut Progress,
    ) -> Result<(), DemoError> {
        let timing = self.definition.timing;
        // Every second question goes out ahead of its time, sealed.
        if number % 2 == 1 && !timing.early_push_max.is_zero() {
            self.command("pushing a question early", Command::PushEarly)?;
            self.pause(timing.early_push_max / 2, swarm)?;
        }
        self.command("publishing a question", Command::Publish)?;
        let asked = &self.definition.questions[number];
        progress.question(number, self.definition.questions.len(), &asked.text);
        let within = timing.lead
            + timing.display_slack
            + timing.countdown
            + timing.ticket_life
            + timing.stream_delay
            + timing.extension_max
            + PATIENCE;
        let what = format!("the close of question {number}");
        let clock = self.gateway.clock();
        self.until(&what, within, swarm, |status| {
            let Some(opened) = status.questions.get(number) else {
                return false;
            };
            let left = opened.answer_by.since(clock.now());
            progress.answers(left, swarm.shown(), status.live.answered, status.live.in_play);
            opened.counts.is_some()
        })?;
        self.pause(self.pace.reveal_pause, swarm)?;
        self.command("revealing", Command::Reveal)?;
        let status = self.status()?;
        let in_play = status.questions.get(number).map_or(0, |opened| opened.in_play);
        progress.revealed(in_play);
        self.pause(self.pace.next_pause, swarm)
    }

    /// Lets the rains fall that are planned behind this question, one by one, until every player
    /// has asked once more for the outcome of each of its taps.
    fn rains_after(
        &self,
        question: usize,
        arguments: &DemoArguments,
        swarm: &Swarm,
    ) -> Result<(), DemoError> {
        let after = rains::after_questions(self.rains, self.definition.questions.len() - 1);
        let mut taps = swarm.taps();
        for (number, (filed, after)) in (0..).zip(self.rains.iter().zip(after)) {
            if usize::from(after) != question {
                continue;
            }
            let (show, rain) = (self.show(), RainIndex(number));
            let command = RainCommand::Start(rain);
            self.order("starting red-packet rain", OperatorRequest::Rain { show, command })?;
            taps += u64::from(arguments.players) * u64::from(filed.settings.taps_max);
            let within = filed.settings.duration + PATIENCE;
            let what = format!("the end of red-packet rain {rain}");
            self.until(&what, within, swarm, |status| {
                let ended = status.rains.get(usize::from(rain.0));
                ended.is_some_and(|it| it.phase == RainPhase::Ended) && swarm.taps() == taps
            })?;
        }
        Ok(())
    }

    fn until(
        &self,
        what: &str,
        within: Duration,
        swarm: &Swarm,
        mut happened: impl FnMut(&ShowStatus) -> bool,
    ) -> Result<(), DemoError> {
        let clock = self.gateway.clock();
        let deadline = clock.now() + within;
        loop {
            let status = self.status()?;
            if happened(&status) {
                return Ok(());
            }
            void_needed(&status)?;
            if clock.now() > deadline {
                let (what, seconds) = (what.to_owned(), within.as_secs());
                return Err(DemoError::TooSlow { what, seconds });
            }
            self.pause(LOOK, swarm)?;
        }
    }

    fn pause(&self, duration: Duration, swarm: &Swarm) -> Result<(), DemoError> {
        if swarm.wait(duration) { Ok(()) } else { Err(DemoError::SwarmEnded) }
    }

    fn show(&self) -> ShowId {
        self.definition.id
    }

    fn command(&self, order: &'static str, command: Command) -> Result<(), DemoError> {
        self.order(order, OperatorRequest::Command { show: self.show(), command })?;
        Ok(())
    }

    fn status(&self) -> Result<ShowStatus, DemoError> {
        match self.order("looking", OperatorRequest::Status { show: self.show() })? {
            OperatorAnswer::Show(status) => Ok(*status),
            other => panic!("the answer to a look at a show is the show, not {other:?}"),
        }
    }

    /// An order that gets no answer in time is given once more: a busy host is no reason to end.
    fn order(
        &self,
        order: &'static str,
        request: OperatorRequest,
    ) -> Result<OperatorAnswer, DemoError> {
        let is_look = matches!(request, OperatorRequest::Status { .. });
        match self.gateway.call(request.clone()) {
            Err(CallError::NoAnswer(_)) if is_look => self.gateway.call(request),
            answer => answer,
        }
        .map_err(|error| DemoError::Order { order, error })
    }
}

fn void_needed(status: &ShowStatus) -> Result<(), DemoError> {
    let mut needed = None;
    for notice in &status.notices {
        match notice {
            Notice::VoidNeeded { question, .. } => needed = Some(*question),
            Notice::OfferedAfterAll { .. } => needed = None,
            Notice::QuestionExtended { .. }
            | Notice::PushExpired { .. }
            | Notice::JournalsStand { .. }
            | Notice::JournalsGoOn { .. }
            | Notice::ResumedAfterRestart { .. }
            | Notice::PaidOut { .. } => {}
        }
    }
    needed.map_or(Ok(()), |QuestionIndex(question)| Err(DemoError::VoidNeeded(question)))
}
