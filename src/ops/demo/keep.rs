//! `tidegate demo --keep`: shows for people, one after the other, until a signal comes.
//!
//! People play in the very shows that are checked, beside the players of the demo; the checks allow
//! for as many guests as were invited, and no more. What they play with is the page that every
//! gateway serves, and a token in its address, signed with a secret that is made for this run: the
//! address may be reached from outside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use flume::Receiver;

use crate::auth::token::{NewToken, mint};
use crate::base::entropy::{Entropy, SystemEntropy};
use crate::base::hex;
use crate::base::ids::{ShowId, UserId};
use crate::ops::cli::{DemoArguments, ExitStatus};
use crate::ops::commands::Surroundings;
use crate::ops::config::Config;
use crate::ops::console::accounts::{Account, Accounts, HashedPassword, Role};
use crate::ops::console::{Console, ConsoleSettings};
use crate::ops::demo::operator::{Company, Operator, TOKEN_LIFETIME_S};
use crate::ops::demo::outcome::DemoOutcome;
use crate::ops::demo::progress::Progress;
use crate::ops::demo::stage::{gateway_settings, play_one};
use crate::ops::demo::{DemoError, as_played};
use crate::ops::http::{OperatorHttp, OperatorView, ReadyState};
use crate::ops::show_file::rains::FiledRain;
use crate::ops::show_file::{Pace, ShowFile};
use crate::ops::signals;
use crate::quiz::definition::ShowDefinition;
use crate::quiz::money::Cents;
use crate::quiz::rain::RainSettings;
use crate::runtime::clock::Clock;
use crate::runtime::gateway::{EntropySource, Gateway, GatewaySettings};

/// So many shows are played; then the gateway stays up without one. Half a day at least.
const SHOWS_MAX: u64 = 1_000;
/// Guests have ids from here on, beyond those of all players that a demo can have.
const FIRST_GUEST: u64 = 1_000_001;
/// Where players connect, if nothing else is said: as a gateway without settings.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8090);
/// The operator's HTTP is for this host only, on a port that is free.
const OPERATOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// What a dispatcher is told that a demo takes.
const CONNECTIONS_MAX: u64 = 100_000;

/// The console's account, and the bytes of its password, which is made for this run.
const ACCOUNT: &str = "demo";
const PASSWORD_BYTES: usize = 8;

/// How the bundled show is paced for people.
const PACE: Pace = Pace {
    lobby: Duration::from_secs(15),
    reveal_pause: Duration::from_secs(2),
    next_pause: Duration::from_secs(5),
    end_pause: Duration::from_secs(15),
};
const COUNTDOWN: Duration = Duration::from_secs(10);
/// How long its rains fall at least.
const RAIN: Duration = Duration::from_secs(8);
/// What the start in the lobby allows for the joining of the players.
const JOINING: Duration = Duration::from_secs(2);

/// Plays until a signal comes; success if every check of every show held that was played to its end.
pub(super) fn run(
    arguments: &DemoArguments,
    show: ShowFile,
    progress: &mut Progress,
    surroundings: &mut Surroundings<'_>,
) -> Result<ExitStatus, DemoError> {
    let (sender, stop) = flume::bounded(1);
    signals::watch(move |signal| sender.try_send(signal).is_ok()).map_err(DemoError::Signals)?;
    let mut secret = [0; 32];
    SystemEntropy.fill(&mut secret);
    let listen = arguments.listen.unwrap_or(LISTEN);
    let settings = GatewaySettings {
        entropy: EntropySource::System,
        ..gateway_settings(arguments, &secret, listen)
    };
    let gateway = Gateway::start(&settings, Clock::start())?;
    let password = made_up_password();
    let http = match operator_http(&gateway, &password) {
        Ok(http) => http,
        Err(error) => {
            gateway.stop();
            return Err(error);
        }
    };
    let guest_count = arguments.guests.unwrap_or(1);
    let guests: Vec<UserId> = (FIRST_GUEST..).take(usize::from(guest_count)).map(UserId).collect();
    let show = if arguments.show.is_none() { for_people(show, arguments) } else { show };
    let evening = Evening {
        arguments,
        settings: &settings,
        gateway: &gateway,
        operator: http.local_address(),
        password: &password,
        show: &show,
        secret,
        guests: &guests,
        stop: &stop,
    };
    let status = evening.play(progress, surroundings);
    http.stop();
    gateway.stop();
    status
}

/// The operator's HTTP of a demo: it watches and commands what a served gateway's does, and has the
/// console with one account.
fn operator_http(gateway: &Gateway, password: &str) -> Result<OperatorHttp, DemoError> {
    let view = OperatorView {
        connections_max: CONNECTIONS_MAX,
        console: Some(Arc::new(console(password))),
        ..OperatorView::of(gateway)
    };
    view.readiness.set(ReadyState::Accepting);
    Ok(OperatorHttp::start(OPERATOR, view)?)
}

fn made_up_password() -> String {
    let mut random = [0; PASSWORD_BYTES];
    SystemEntropy.fill(&mut random);
    hex::encode(&random)
}

fn console(password: &str) -> Console {
    let password = HashedPassword::new(password.as_bytes(), &mut SystemEntropy);
    let password = password.unwrap_or_else(|error| panic!("one that was made here: {error}"));
    let mut accounts = Accounts::default();
    let account = Account { role: Role::ShowOperator, password };
    if let Err(error) = accounts.add(ACCOUNT, account, false) {
        panic!("the first one has room: {error}");
    }
    let settings = ConsoleSettings::lifetimes_of(&Config::default().operator);
    Console::in_memory(accounts, settings)
}

/// The bundled show, slow enough to be read, with packets enough for everybody's taps.
fn for_people(mut show: ShowFile, arguments: &DemoArguments) -> ShowFile {
    show.pace = Some(PACE);
    let timing = &mut show.definition.timing;
    timing.countdown = timing.countdown.max(COUNTDOWN);
    let heads = arguments.players.saturating_add(arguments.guests.unwrap_or(1).into());
    for FiledRain { settings, .. } in &mut show.rains {
        let packets = heads.saturating_mul(settings.taps_max.into()).max(settings.packets);
        let each = settings.pool.0 / i64::from(settings.packets);
        let pool = Cents(each.saturating_mul(packets.into()));
        let larger =
            RainSettings { packets, pool, duration: settings.duration.max(RAIN), ..*settings };
        if larger.check().is_ok() {
            *settings = larger;
        }
    }
    show
}

/// All shows of a run.
struct Evening<'a> {
    arguments: &'a DemoArguments,
    settings: &'a GatewaySettings,
    gateway: &'a Gateway,
    operator: SocketAddr,
    /// Of the console's account.
    password: &'a str,
    show: &'a ShowFile,
    secret: [u8; 32],
    guests: &'a [UserId],
    stop: &'a Receiver<&'static str>,
}

impl Evening<'_> {
    fn play(
        &self,
        progress: &mut Progress,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<ExitStatus, DemoError> {
        let mut status = ExitStatus::Success;
        self.say(&self.addresses(), surroundings)?;
        for number in 0..SHOWS_MAX {
            let outcome = match self.play_show(number, progress) {
                Ok(outcome) => outcome,
                Err(DemoError::Stopped) => return Ok(status),
                Err(error) => return Err(error),
            };
            progress.end();
            if outcome.violations.count() > 0 {
                status = ExitStatus::Failed;
            }
            self.say(&format!("\n{}\n{}", outcome.summary(), self.addresses()), surroundings)?;
        }
        let played = format!("{SHOWS_MAX} shows were played; the gateway stays up without one\n");
        self.say(&played, surroundings)?;
        // The watcher of the signals lives as long as the process.
        let _ = self.stop.recv();
        Ok(status)
    }

    /// The next show of the room: the same one under the next id.
    fn play_show(&self, number: u64, progress: &mut Progress) -> Result<DemoOutcome, DemoError> {
        let clock = self.gateway.clock();
        let (definition, pace) = as_played(self.arguments, self.show);
        let first_question = clock.now() + pace.lobby + JOINING;
        let definition = Arc::new(ShowDefinition {
            // From the last id the next one is the first again: 0 is none.
            id: ShowId(definition.id.0.checked_add(number).unwrap_or(number)),
            starts_at_unix_ms: clock.display().unix_ms(first_question),
            ..(*definition).clone()
        });
        let company = Company { guests: self.guests, stop: self.stop, is_first: number == 0 };
        let operator = Operator {
            gateway: self.gateway,
            definition: &definition,
            pace,
            rains: &self.show.rains,
            secret: self.secret,
            company: Some(company),
        };
        play_one(&operator, self.arguments, self.settings, progress)
    }

    /// Where to play, and where to command.
    fn addresses(&self) -> String {
        let address = self.gateway.local_address();
        let room = self.show.definition.room;
        let issued_unix_s = self.gateway.clock().display().zero_unix_ms / 1_000;
        let mut text = String::new();
        for user in self.guests {
            let (user, lifetime_s) = (*user, TOKEN_LIFETIME_S);
            let token =
                mint(&self.secret, NewToken { user, issued_unix_s, lifetime_s, audience: None });
            let at = reachable(address);
            text.push_str(&format!("play at      http://{at}/play#room={room}&token={token}\n"));
        }
        if address.ip().is_unspecified() {
            text.push_str("             from other devices with this host's address in place of ");
            text.push_str(&format!("{}\n", reachable(address).ip()));
        }
        let operator = self.operator;
        let password = self.password;
        text.push_str(&format!("console at   http://{operator}/console/\n"));
        text.push_str(&format!("             name {ACCOUNT}, password {password}\n"));
        text.push_str(&format!("operator at  http://{operator}/v1/shows, /metrics, /healthz\n"));
        text.push_str("show follows show; Ctrl-C or SIGTERM ends\n");
        text
    }

    fn say(&self, text: &str, surroundings: &mut Surroundings<'_>) -> Result<(), DemoError> {
        let output = &mut surroundings.output;
        output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(DemoError::Output)
    }
}

/// An address at which this host is reached from itself.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::show_file;

    #[test]
    fn the_bundled_show_is_slow_enough_and_its_rain_has_a_packet_for_every_tap() {
        let arguments = |players| DemoArguments {
            players,
            questions: 2,
            countdown_ms: None,
            shards: None,
            seed: 1,
            force_retry: 0,
            show: None,
            data: None,
            json: false,
            keep: true,
            listen: None,
            guests: Some(2),
        };
        let show = for_people(show_file::bundled(), &arguments(1_000));
        assert_eq!(show.pace, Some(PACE));
        assert_eq!(show.definition.timing.countdown, COUNTDOWN);
        let RainSettings { packets, pool, taps_max, duration, .. } = show.rains[0].settings;
        assert_eq!(packets, 1_002 * u32::from(taps_max));
        assert_eq!((pool.0, duration), (i64::from(packets) * 50, RAIN));
        // More than a rain can have: it stays as it was.
        let small = for_people(show_file::bundled(), &arguments(1_000_000));
        assert_eq!(small.rains, show_file::bundled().rains);
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            let address = listens.parse().unwrap();
            assert_eq!(reachable(address).to_string(), reached);
        }
    }
}
