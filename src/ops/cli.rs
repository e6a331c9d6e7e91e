//! The command line: what can be asked for. What is done about it stands in
//! [`crate::ops::commands`] and in the binary.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::base::limits::TOKEN_ID_BYTES_MAX;
use crate::ops::account_command::AccountArguments;
use crate::ops::backup_command::{BackupArguments, RestoreArguments};
use crate::ops::dispatch::DispatchArguments;
use crate::ops::journal_command::JournalArguments;
use crate::ops::ledger_command::LedgerArguments;
use crate::ops::ledger_standin::StandInArguments;
use crate::ops::show_command::ShowArguments;
use crate::ops::tune::TuneArguments;

/// The whole command line.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "tidegate", version, about = "Runs live quiz shows over WebSockets", long_about = None)]
#[command(
    after_help = "Exit status: 0 all is well, 1 it failed, 2 wrong usage, 70 a fault of tidegate's own, \
                  71 this host cannot run it, 78 wrong settings."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `tidegate` can do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGTERM
    Serve(ServeArguments),
    /// Tell clients which of several gateways to try, by what each carries, until SIGTERM
    Dispatch(DispatchArguments),
    /// Play a whole show with real WebSocket players on this machine and check every promise
    Demo(DemoArguments),
    /// Check a configuration and shows, say everything that is wrong, and exit
    CheckConfig(CheckConfigArguments),
    /// Accounts of the operations console: add, list, remove
    Account(AccountArguments),
    /// Print an access token for a user
    Token(TokenArguments),
    /// Be a client at the terminal: print what comes, say what is typed
    Connect(ConnectArguments),
    /// The book of money: prove it, export it, compare it, and what waits to be paid out
    Ledger(LedgerArguments),
    /// Look into the journals of a deployment, check them, and mend them as a last resort
    Journal(JournalArguments),
    /// What became of a show: all that proves it, or the answer to a complaint
    Show(ShowArguments),
    /// Copy the folder of a deployment, also while a gateway runs in it
    Backup(BackupArguments),
    /// Make the folder of a deployment from a copy
    Restore(RestoreArguments),
    /// Be a stand-in for the operator's balance system, which fails as it is told to
    BalanceStandin(StandInArguments),
    /// Check whether this host is set up for its audience, and plan hosts for one
    Tune(TuneArguments),
    /// Print a script that completes tidegate's commands in a shell
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write man pages, one for each command
    Man {
        /// Folder, made if there is none
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// `tidegate serve`
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ServeArguments {
    /// Configuration file (TOML); every key has a default
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Show file (TOML), one show each; may be repeated. Without one, a plain room server
    #[arg(long, value_name = "FILE")]
    pub show: Vec<PathBuf>,
    /// Where clients connect, in place of the key `listen`
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Shards, in place of the key `shards`; 0 means one per core
    #[arg(long, value_name = "N")]
    pub shards: Option<String>,
    /// Folder of the deployment, in place of the key `data_dir`: what is acknowledged is kept there
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Send every data message back and nothing else: for WebSocket conformance suites
    #[arg(long, hide = true)]
    pub echo: bool,
}

/// `tidegate demo`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DemoArguments {
    /// Players that connect
    #[arg(long, value_name = "N", default_value_t = 2_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub players: u32,
    /// Questions that are played, at most as many as the show has
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=100))]
    pub questions: u16,
    /// Countdown of a question, in place of the show's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=600_000))]
    pub countdown_ms: Option<u64>,
    /// Shards of the gateway; one per core by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
    /// What the players do is drawn from this; the same seed plays the same game
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Tell this many percent of the answers to retry
    #[arg(long, value_name = "PERCENT", default_value_t = 0,
        value_parser = clap::value_parser!(u8).range(0..=100))]
    pub force_retry: u8,
    /// Show file (TOML) to play in place of the bundled one
    #[arg(long, value_name = "FILE")]
    pub show: Option<PathBuf>,
    /// Folder in which the show is kept, made if there is none; it must not have been used before
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print one JSON object as the last line, and no progress
    #[arg(long)]
    pub json: bool,
    /// Play shows for people, one after the other, until SIGINT or SIGTERM: the addresses of the
    /// player page are printed first, and the lobby waits 15 s. A show file is played as it is
    #[arg(long, conflicts_with_all = ["json", "data"])]
    pub keep: bool,
    /// With --keep: where players connect; 0.0.0.0:8090 lets phones in [default: 127.0.0.1:8090]
    #[arg(long, value_name = "ADDRESS", requires = "keep")]
    pub listen: Option<SocketAddr>,
    /// With --keep: how many people may play, each with an address of their own [default: 1]
    #[arg(long, value_name = "N", requires = "keep",
        value_parser = clap::value_parser!(u16).range(1..=100))]
    pub guests: Option<u16>,
}

/// `tidegate check-config`
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct CheckConfigArguments {
    /// Configuration file (TOML); without one, only the environment is checked
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Show file (TOML); may be repeated
    #[arg(long, value_name = "FILE")]
    pub show: Vec<PathBuf>,
    /// Print a documented configuration with every key at its default, and check nothing
    #[arg(long, conflicts_with_all = ["config", "show"])]
    pub print_default: bool,
}

/// `tidegate token`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct TokenArguments {
    /// The user, a whole number from 1
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    pub user: u64,
    /// Configuration file whose secret signs the token; the environment counts too
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    pub config: Option<PathBuf>,
    /// The secret itself; other users of this machine can see it in the list of processes
    #[arg(long, value_name = "TEXT")]
    pub secret: Option<String>,
    /// How long the token is valid
    #[arg(long, value_name = "SECONDS", visible_alias = "ttl", default_value_t = 3_600,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub lifetime_s: u32,
    /// The only rooms that the token opens, parted by commas; every room by default
    #[arg(long, value_name = "ID,…", value_delimiter = ',',
        value_parser = clap::value_parser!(u64).range(1..))]
    pub rooms: Vec<u64>,
    /// The token allows no publishing: its holder only listens
    #[arg(long)]
    pub no_publish: bool,
    /// A name for the token (`jti`), so that it can be revoked by itself
    #[arg(long, value_name = "NAME", value_parser = token_name)]
    pub token_id: Option<String>,
}

fn token_name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("is empty".to_owned()),
        1..=TOKEN_ID_BYTES_MAX => Ok(text.to_owned()),
        bytes => Err(format!("has {bytes} bytes, more than {TOKEN_ID_BYTES_MAX}")),
    }
}

/// `tidegate connect`
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(
    after_help = "Lines of the standard input: say TEXT, like, answer N, join ROOM, leave, help, quit. \
                  Options and questions are counted from 0. At the end of the input the client \
                  waits for its replies and ends, unless --stay is given."
)]
pub struct ConnectArguments {
    /// The gateway: ws://HOST:PORT; with --dispatch it is tried while there is no list
    #[arg(value_name = "URL", required_unless_present = "dispatch")]
    pub url: Option<String>,
    /// Ask a dispatcher which gateways to try, in order: http://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub dispatch: Option<String>,
    /// The access token; other users of this machine can see it in the list of processes
    #[arg(long, value_name = "TOKEN", conflicts_with = "user")]
    pub token: Option<String>,
    /// Sign a token for this user, with --secret, --config or the environment
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    pub user: Option<u64>,
    /// Configuration file whose secret signs the token; the environment counts too
    #[arg(long, value_name = "FILE", conflicts_with = "secret", requires = "user")]
    pub config: Option<PathBuf>,
    /// The secret itself; other users of this machine can see it in the list of processes
    #[arg(long, value_name = "TEXT", requires = "user")]
    pub secret: Option<String>,
    /// The room to enter
    #[arg(long, value_name = "ROOM", value_parser = clap::value_parser!(u64).range(1..))]
    pub room: Option<u64>,
    /// Print each message as a line of JSON, as the protocol has it
    #[arg(long)]
    pub json: bool,
    /// Stay when the standard input ends
    #[arg(long)]
    pub stay: bool,
}

impl ConnectArguments {
    /// How its token is signed, if it is not given.
    #[must_use]
    pub fn signing(&self) -> Option<TokenArguments> {
        let (config, secret) = (self.config.clone(), self.secret.clone());
        self.user.map(|user| TokenArguments {
            user,
            config,
            secret,
            lifetime_s: 3_600,
            rooms: Vec::new(),
            no_publish: false,
            token_id: None,
        })
    }
}

impl ServeArguments {
    /// Its flags as settings of keys: (flag, key, value).
    #[must_use]
    pub fn flags(&self) -> Vec<(&'static str, &'static str, String)> {
        [
            ("--listen", "listen", &self.listen),
            ("--shards", "shards", &self.shards),
            ("--data", "data_dir", &self.data),
        ]
        .into_iter()
        .filter_map(|(flag, key, value)| Some((flag, key, value.clone()?)))
        .collect()
    }
}

/// How the process ends. A service manager may tell a fault from settings that a restart will not
/// mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// All is well.
    Success,
    /// It failed.
    Failed,
    /// What was asked cannot be told here (`tune check`).
    CannotTell,
    /// Kernel, container or limits cannot run the gateway (`EX_OSERR` of `sysexits.h`).
    Host,
    /// The settings are wrong (`EX_CONFIG`).
    Settings,
}

impl ExitStatus {
    /// The number that the shell sees. 2 is the command line's own, too, for wrong usage; 70 is a panic's
    /// ([`PANIC_EXIT_STATUS`](crate::runtime::fatal::PANIC_EXIT_STATUS)).
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Success => 0,
            ExitStatus::Failed => 1,
            ExitStatus::CannotTell => 2,
            ExitStatus::Host => 71,
            ExitStatus::Settings => 78,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        ExitCode::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Command, String> {
        let words = std::iter::once("tidegate").chain(line.split_whitespace());
        Cli::try_parse_from(words)
            .map(|cli| cli.command)
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_of_the_demo() {
        let expected = DemoArguments {
            players: 2_000,
            questions: 3,
            countdown_ms: None,
            shards: None,
            seed: 1,
            force_retry: 0,
            show: None,
            data: None,
            json: false,
            keep: false,
            listen: None,
            guests: None,
        };
        assert_eq!(parse("demo"), Ok(Command::Demo(expected)));
    }

    #[test]
    fn everything_of_the_demo() {
        let expected = DemoArguments {
            players: 15_000,
            questions: 5,
            countdown_ms: Some(4_000),
            shards: Some(4),
            seed: 9,
            force_retry: 20,
            show: Some(PathBuf::from("x.toml")),
            data: None,
            json: true,
            keep: false,
            listen: None,
            guests: None,
        };
        let line = "demo --players 15000 --questions 5 --countdown-ms 4000 --shards 4 --seed 9 \
                    --force-retry 20 --show x.toml --json";
        assert_eq!(parse(line), Ok(Command::Demo(expected)));
    }

    #[test]
    fn a_demo_for_people() {
        let Ok(Command::Demo(demo)) = parse("demo --keep --listen [::]:9 --guests 3") else {
            panic!("not parsed");
        };
        assert!(demo.keep && demo.guests == Some(3));
        assert_eq!(demo.listen, Some(SocketAddr::from(([0_u16; 8], 9))));
    }

    #[test]
    fn flags_of_serve_become_keys() {
        let Ok(Command::Serve(serve)) =
            parse("serve --config c.toml --show a.toml --show b.toml --shards 2 --listen [::1]:1")
        else {
            panic!("not parsed");
        };
        assert_eq!(serve.show.len(), 2);
        assert_eq!(
            serve.flags(),
            [("--listen", "listen", "[::1]:1".to_owned()), ("--shards", "shards", "2".to_owned())]
        );
        assert!(matches!(parse("serve --echo"), Ok(Command::Serve(serve)) if serve.echo));
    }

    #[test]
    fn what_is_refused() {
        for line in [
            "",
            "sevre",
            "demo --players 0",
            "demo --force-retry 101",
            "demo --countdown-ms 999",
            "demo --questions 0",
            "demo --keep --json",
            "demo --keep --data x",
            "demo --keep --listen 8090",
            "demo --keep --guests 0",
            "demo --keep --guests 101",
            "demo --guests 1",
            "demo --listen 127.0.0.1:1",
            "token",
            "token --user 0",
            "token --user 1 --secret x --config y",
            "token --user 1 --lifetime-s 0",
            "token --user 1 --rooms 0",
            "token --user 1 --rooms",
            "token --user 1 --token-id=",
            "check-config --print-default --config x",
            "account",
            "account add anna",
            "account add Anna --role viewer",
            "account add anna --role boss",
            "account add anna --role viewer --password x",
            "account list --file x --config y",
            "connect",
            "connect ws://x --token a --user 1",
            "connect ws://x --secret x",
            "connect ws://x --room 0",
            "ledger",
            "ledger verify",
            "ledger export --data x --format xml",
            "ledger reconcile --data x",
            "ledger outbox --data x",
            "ledger outbox retry --data x",
            "ledger outbox retry --data x k --all",
            "ledger outbox send --data x",
            "ledger outbox send --data x --url y --concurrency 257",
            "backup --data x",
            "backup --to x",
            "restore --data x",
            "journal prune",
            "journal prune --data x --keep-runs 0",
            "balance-standin --listen x",
            "tune",
            "tune check --profile 2m",
            "tune check --nic-gbit 0",
            "tune plan",
            "tune plan --viewers 0",
            "tune plan --viewers 1 --costs x --chat-bytes 1",
            "completions",
            "completions cmd",
            "man",
            "show",
            "show export --data x",
            "show export 0 --data x",
            "show export 1",
            "show export 1 --data x --format csv",
            "show explain 1 --data x",
            "show explain 1 --user 0 --data x",
            "balance-standin --fail 101",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
