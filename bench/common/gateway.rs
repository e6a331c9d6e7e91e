//! The gateway as a server under test.
//!
//! The process is this binary again, with a hidden subcommand that calls what `tidegate serve`
//! calls, so nobody measures a stale binary; or another tidegate binary. It is set up through
//! `TIDEGATE_…` variables only, learns its ports from the kernel, and they are read from its log.

use std::io::{BufRead as _, BufReader};
use std::iter::Sum;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tidegate::auth::token::{NewToken, mint};
use tidegate::base::ids::UserId;
use tidegate::ops::cli::ServeArguments;
use tidegate::ops::serve::serve;
use tidegate::wire::codec::Encoding;
use tidegate::wire::upgrade::ClientRequest;

use crate::common::clock::unix_s;
use crate::common::counting::{Greeting, Request};
use crate::common::http::Operator;
use crate::common::options::Options;
use crate::common::pinned;
use crate::common::problem::{Doing as _, Problem};
use crate::common::server::Server;

/// The hidden subcommand.
pub(crate) const SUBCOMMAND: &str = "gateway-under-test";
/// The room of all clients; a show's room too.
pub(crate) const ROOM: u64 = 1;
/// What tokens are signed with: the gateway under test believes nobody else, and lives for minutes.
const SECRET: &str = "the bench's own secret, known to everybody";
/// Longer than any measurement.
const TOKEN_LIFETIME_S: u32 = 86_400;
/// Clients of the bench send nothing but answers: nobody is given up for being silent.
const PATIENCE_MS: u32 = 3_600_000;
/// How the gateway is started.
#[derive(Clone, Debug)]
pub(crate) struct GatewaySettings {
    /// Connections it must hold.
    pub(crate) connections: u32,
    /// A show to announce; clients are then in when their snapshot has come.
    pub(crate) show: Option<String>,
    /// Answers are taken whatever the load: nobody is told to come again.
    pub(crate) retries: bool,
}

/// A running gateway.
pub(crate) struct Gateway {
    child: Child,
    port: u16,
    operator: Operator,
    show_file: Option<PathBuf>,
    /// Base64 of the message's data.
    data: String,
}

/// What the hidden subcommand does: serve, until the bench that started it is gone.
pub(crate) fn serve_under_test(shows: Vec<PathBuf>) -> Result<(), Problem> {
    let orphaned = || {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    };
    std::thread::Builder::new().spawn(orphaned).doing("starting a thread")?;
    let arguments = ServeArguments { show: shows, ..ServeArguments::default() };
    serve(&arguments, std::env::vars_os().collect())
        .map_err(|error| Problem::new(error.to_string()))
}

impl Gateway {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(settings: &GatewaySettings, options: &Options) -> Result<Gateway, Problem> {
        Gateway::start_with(settings, options, &[])
    }

    /// The same with more variables, which precede those that measurements usually need.
    pub(crate) fn start_with(
        settings: &GatewaySettings,
        options: &Options,
        more: &[(&str, String)],
    ) -> Result<Gateway, Problem> {
        let mut command = match &options.gateway {
            Some(path) => {
                let mut command = Command::new(path);
                command.arg("serve");
                command
            }
            None => {
                let mut command =
                    Command::new(std::env::current_exe().doing("finding this program's own file")?);
                command.arg(SUBCOMMAND);
                command
            }
        };
        let show_file = settings.show.as_deref().map(write_show).transpose()?;
        if let Some(path) = &show_file {
            command.arg("--show").arg(path);
        }
        command.envs(environment(settings, options));
        command.envs(more.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = pinned::spawn(&mut command, &options.server_core, options.client_core)?;
        let Some(log) = child.stderr.take() else { unreachable!("it was asked for") };
        let mut log = BufReader::new(log);
        let began =
            ports(&mut log).and_then(|(port, operator)| Ok((port, Operator::connect(operator)?)));
        match began {
            Ok((port, operator)) => {
                // What else it logs must not fill the pipe.
                let drain = move || log.lines().map_while(Result::ok).for_each(drop);
                std::thread::Builder::new().spawn(drain).doing("starting a thread")?;
                Ok(Gateway { child, port, operator, show_file, data: String::new() })
            }
            Err(problem) => {
                let _ = child.kill();
                let _ = child.wait();
                remove(show_file.as_deref());
                Err(problem)
            }
        }
    }

    /// The operator's HTTP.
    pub(crate) fn operator(&mut self) -> &mut Operator {
        &mut self.operator
    }

    /// Asks its process to end, by SIGTERM.
    pub(crate) fn terminate(&self) -> Result<(), Problem> {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().doing("running kill")?;
        if status.success() {
            return Ok(());
        }
        Err(Problem::new(format!("kill -TERM {pid}: {status}; has the gateway ended?")))
    }

    /// Ends its process at once, by SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<(), Problem> {
        self.child.kill().doing("killing a gateway")
    }

    /// Waits until its process is gone, with all that the kernel kept for it.
    pub(crate) fn wait(&mut self) -> Result<(), Problem> {
        self.child.wait().doing("waiting for the end of a gateway").map(drop)
    }

    /// What its process ended with, once it has; -1 by a signal.
    pub(crate) fn exit_status(&mut self) -> Result<Option<i32>, Problem> {
        let status = self.child.try_wait().doing("asking whether a gateway has ended")?;
        Ok(status.map(|status| status.code().unwrap_or(-1)))
    }

    /// One more connection to it.
    pub(crate) fn another_operator(&self) -> Result<Operator, Problem> {
        self.operator.another()
    }

    /// Makes the data of messages longer or shorter by as much as `frame_bytes` of them missed.
    pub(crate) fn adjust(&mut self, wanted: usize, was: usize) -> Result<(), Problem> {
        let length = self.data_bytes() + wanted;
        let Some(length) = length.checked_sub(was) else {
            return Err(Problem::new(format!(
                "--payload {wanted} is too short: the gateway's smallest message has {} bytes on the wire",
                was - self.data_bytes()
            )));
        };
        self.set_data(length);
        Ok(())
    }

    fn data_bytes(&self) -> usize {
        STANDARD.decode(&self.data).map_or(0, |data| data.len())
    }

    fn set_data(&mut self, length: usize) {
        self.data = STANDARD.encode(vec![b'x'; length]);
    }

    /// The sum of a metric over the shards, as it was published last.
    pub(crate) fn metric<T: FromStr + Sum>(&mut self, name: &str) -> Result<T, Problem> {
        let text = self.operator.ask_text("GET", "/metrics", "")?;
        let prefix = format!("{name}{{");
        let lines = text.lines().filter(|line| line.starts_with(&prefix));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<T>().ok()).sum())
    }

    /// A metric without labels.
    pub(crate) fn single_metric(&mut self, name: &str) -> Result<u64, Problem> {
        let text = self.operator.ask_text("GET", "/metrics", "")?;
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.ok_or_else(|| Problem::new(format!("the gateway has no metric {name}")))
    }

    /// A metric by shard, of one lane.
    pub(crate) fn lane_metric(&mut self, name: &str, lane: &str) -> Result<u64, Problem> {
        let text = self.operator.ask_text("GET", "/metrics", "")?;
        let (prefix, label) = (format!("{name}{{"), format!("lane=\"{lane}\""));
        let lines = text.lines().filter(|it| it.starts_with(&prefix) && it.contains(&label));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// Gives the show a command.
    pub(crate) fn command(&mut self, show: u64, word: &str) -> Result<Value, Problem> {
        self.operator.ask("POST", &format!("/v1/shows/{show}/{word}"), "")
    }
}

fn environment(settings: &GatewaySettings, options: &Options) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("TIDEGATE_LISTEN", format!("0.0.0.0:{}", options.port)),
        ("TIDEGATE_SHARDS", options.server_core.len().to_string()),
        ("TIDEGATE_OPERATOR__LISTEN", "127.0.0.1:0".to_owned()),
        ("TIDEGATE_AUTH__HS256_SECRET", SECRET.to_owned()),
        ("TIDEGATE_PLACEMENT_KEY", "07".repeat(16)),
        ("TIDEGATE_TICKET_KEY", "09".repeat(32)),
        ("TIDEGATE_LIMITS__CONNECTIONS_MAX", (settings.connections + 1_024).to_string()),
        ("TIDEGATE_LIMITS__HEARTBEAT_INTERVAL_MS", (PATIENCE_MS / 2).to_string()),
        ("TIDEGATE_LIMITS__IDLE_TIMEOUT_MS", PATIENCE_MS.to_string()),
        ("TIDEGATE_LIMITS__DRAIN_TIMEOUT_MS", "0".to_owned()),
        // A delivery that nobody asked for would be counted as one of the broadcast.
        ("TIDEGATE_ROOMS__INFO_INTERVAL_MS", "0".to_owned()),
        ("TIDEGATE_ROOMS__LOW_RATE_MAX", "0".to_owned()),
        ("TIDEGATE_LOG__FORMAT", "json".to_owned()),
        ("TIDEGATE_LOG__LEVEL", "info".to_owned()),
    ];
    if !settings.retries {
        environment.push(("TIDEGATE_QUIZ__RETRY_MAILBOX_AGE_MS", "60000".to_owned()));
        environment.push(("TIDEGATE_QUIZ__RETRY_TURN_MS", "60000".to_owned()));
    }
    // Another build may be from before these keys, and refuses what it does not know.
    if options.gateway.is_none() {
        // What lies behind the limits on what a client sends is to be measured.
        environment.push(("TIDEGATE_CHAT__USER_INTERVAL_MS", "0".to_owned()));
        environment.push(("TIDEGATE_CHAT__ROOM_PER_SECOND", "0".to_owned()));
        environment.push(("TIDEGATE_LIMITS__MESSAGES_PER_SECOND_MAX", "0".to_owned()));
    }
    environment
}

/// Where it listens, from its log: for clients, and for operators.
fn ports(log: &mut BufReader<ChildStderr>) -> Result<(u16, u16), Problem> {
    let (mut clients, mut said) = (None, String::new());
    loop {
        let mut line = String::new();
        if log.read_line(&mut line).doing("reading the gateway's log")? == 0 {
            return Err(Problem::new(format!("the gateway did not start: {}", said.trim())));
        }
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        let port = || entry["address"].as_str()?.rsplit(':').next()?.parse().ok();
        match entry["message"].as_str() {
            Some("listening for clients") => clients = port(),
            Some("operator HTTP is listening") => {
                if let (Some(clients), Some(operator)) = (clients, port()) {
                    return Ok((clients, operator));
                }
            }
            Some(_) => {}
            None => said.push_str(&line),
        }
    }
}

fn write_show(text: &str) -> Result<PathBuf, Problem> {
    let path = std::env::temp_dir().join(format!("tidegate-bench-{}.toml", std::process::id()));
    std::fs::write(&path, text).doing(format!("writing {}", path.display()))?;
    Ok(path)
}

fn remove(path: Option<&Path>) {
    if let Some(path) = path {
        // A file too many in the folder for such files is no reason to fail.
        let _ = std::fs::remove_file(path);
    }
}

/// The access token of a client; users are numbered from 1.
pub(crate) fn token(index: u32) -> String {
    let user = UserId(u64::from(index) + 1);
    let (issued_unix_s, lifetime_s) = (unix_s(), TOKEN_LIFETIME_S);
    mint(SECRET.as_bytes(), NewToken { user, issued_unix_s, lifetime_s, audience: None })
}

/// The upgrade request with token and room in it: joined after one round trip.
pub(crate) fn request_with_room() -> Request {
    entering(|request| request.to_bytes())
}

/// The same, offering to take compressed messages.
pub(crate) fn request_offering_deflate() -> Request {
    entering(|request| request.to_bytes_offering_deflate())
}

fn entering(to_bytes: fn(&ClientRequest<'_>) -> Vec<u8>) -> Request {
    Box::new(move |index, request| {
        let target = format!("/?token={}&room={ROOM}", token(index));
        let encoding = Encoding::Proto;
        let wish = ClientRequest { host: "bench", target: &target, encoding, nonce: [7; 16] };
        request.extend_from_slice(&to_bytes(&wish));
    })
}

impl Server for Gateway {
    fn process_id(&self) -> u32 {
        self.child.id()
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn request(&self) -> Request {
        request_with_room()
    }

    fn greeting(&self) -> Greeting {
        if self.show_file.is_some() { Greeting::Snapshot } else { Greeting::Joined }
    }

    fn broadcast(&mut self, messages: u32) -> Result<(), Problem> {
        let message = format!("\"{}\"", self.data);
        let messages = vec![message; messages as usize].join(",");
        let body = format!("{{\"lane\":\"high\",\"messages\":[{messages}]}}");
        self.operator.send("POST", &format!("/v1/rooms/{ROOM}/publish"), &body)
    }

    fn await_word(&mut self) -> Result<(), Problem> {
        self.operator.answer().map(drop)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
        remove(self.show_file.as_deref());
    }
}
