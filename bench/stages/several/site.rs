//! The gateways, and the dispatcher before them: processes of their own on the servers' cores.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tidegate::ops::dispatch::{DispatchArguments, dispatch};

use crate::common::clock::{now_ns, pause};
use crate::common::gateway::{Gateway, GatewaySettings};
use crate::common::http::Operator;
use crate::common::options::Options;
use crate::common::pinned;
use crate::common::problem::{Doing as _, Problem};
use crate::common::server::Server as _;

/// The hidden subcommand.
pub(crate) const SUBCOMMAND: &str = "dispatcher-under-test";
/// Between two looks of the dispatcher at a gateway.
pub(super) const INTERVAL_MS: u32 = 500;
/// How long anything may take beyond what it has to.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// What the hidden subcommand does: dispatch, until the bench that started it is gone.
pub(crate) fn dispatch_under_test(config: PathBuf) -> Result<(), Problem> {
    let orphaned = || {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    };
    std::thread::Builder::new().spawn(orphaned).doing("starting a thread")?;
    dispatch(&DispatchArguments { config, check: false }, &[], &mut std::io::sink())
        .map_err(|error| Problem::new(error.to_string()))
}

/// All of it.
pub(super) struct Site {
    pub(super) gateways: Vec<Gateway>,
    pub(super) dispatcher: Dispatcher,
}

/// A running dispatcher.
pub(super) struct Dispatcher {
    child: Child,
    file: PathBuf,
    asked: Operator,
    port: u16,
}

/// What a client is told.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    gateways: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    urls: Vec<String>,
}

impl List {
    /// The ports of the gateways, in the order to try.
    pub(super) fn ports(&self) -> Vec<u16> {
        let first = self.gateways.iter().filter_map(|gateway| gateway.urls.first());
        first.filter_map(|url| url.trim_end_matches('/').rsplit(':').next()?.parse().ok()).collect()
    }
}

impl Site {
    /// Starts so many gateways with the same show, each with variables of its own, and the dispatcher,
    /// and waits until it lists all of them.
    pub(super) fn start(
        count: u16,
        settings: &GatewaySettings,
        options: &Options,
        more: impl Fn(u16) -> Vec<(&'static str, String)>,
    ) -> Result<Site, Problem> {
        let start = |index| Gateway::start_with(settings, options, &more(index));
        let mut gateways = (0..count).map(start).collect::<Result<Vec<Gateway>, Problem>>()?;
        let dispatcher = Dispatcher::start(&mut gateways, settings.connections, options)?;
        let mut site = Site { gateways, dispatcher };
        site.until("the dispatcher lists every gateway", |site| {
            Ok(site.dispatcher.listed()?.len() == site.gateways.len())
        })?;
        Ok(site)
    }

    /// Waits until something has come to pass; how long that took.
    pub(super) fn until(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&mut Site) -> Result<bool, Problem>,
    ) -> Result<u64, Problem> {
        let begun_ns = now_ns();
        let end_ns = begun_ns + nanos(PATIENCE);
        while !holds(self)? {
            if now_ns() > end_ns {
                let seconds = PATIENCE.as_secs();
                return Err(Problem::new(format!(
                    "it did not come to pass within {seconds} s that {what}; is this host busy?"
                )));
            }
            pause(LOOK);
        }
        Ok(now_ns() - begun_ns)
    }

    /// The ports of all gateways, in their order.
    pub(super) fn ports(&self) -> Vec<u16> {
        self.gateways.iter().map(Gateway::port).collect()
    }
}

/// As a number of nanoseconds.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Dispatcher {
    fn start(
        gateways: &mut [Gateway],
        connections: u32,
        options: &Options,
    ) -> Result<Dispatcher, Problem> {
        let file = std::env::temp_dir()
            .join(format!("tidegate-bench-dispatch-{}.toml", std::process::id()));
        std::fs::write(&file, config(gateways, connections))
            .doing(format!("writing {}", file.display()))?;
        let own = std::env::current_exe().doing("finding this program's own file")?;
        let mut command = Command::new(own);
        command.args([SUBCOMMAND, "--config"]).arg(&file);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = pinned::spawn(&mut command, &options.server_core, options.client_core)?;
        let Some(log) = child.stderr.take() else { unreachable!("it was asked for") };
        match began(log) {
            Ok((port, asked)) => Ok(Dispatcher { child, file, asked, port }),
            Err(problem) => {
                let _ = child.kill();
                let _ = child.wait();
                remove(&file);
                Err(problem)
            }
        }
    }

    /// Where clients ask.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The ports of the gateways in the next list; none where no gateway takes anybody.
    pub(super) fn listed(&mut self) -> Result<Vec<u16>, Problem> {
        // It closes the connection behind each answer.
        self.asked = self.asked.another()?;
        match self.asked.ask("GET", "/v1/gateways", "") {
            Ok(list) => {
                let list: List =
                    serde_json::from_value(list).doing("reading a dispatcher's list")?;
                Ok(list.ports())
            }
            Err(problem) if problem.to_string().contains(" 503 ") => Ok(Vec::new()),
            Err(problem) => Err(problem),
        }
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
        remove(&self.file);
    }
}

fn remove(file: &Path) {
    // A file too many in the folder for such files is no reason to fail.
    let _ = std::fs::remove_file(file);
}

/// Each gateway is good for twice all clients: whoever is left can take everybody.
fn config(gateways: &mut [Gateway], connections: u32) -> String {
    let mut text = format!(
        "listen = \"127.0.0.1:0\"\noperator_listen = \"127.0.0.1:0\"\nlog_format = \"json\"\n\
         interval_ms = {INTERVAL_MS}\ntimeout_ms = {INTERVAL_MS}\nttl_s = 1\nlist_max = 16\n"
    );
    for (index, gateway) in gateways.iter_mut().enumerate() {
        let (port, operator) = (gateway.port(), gateway.operator().address());
        let _ = write!(
            text,
            "[[gateways]]\nname = \"gateway {index}\"\nurls = [\"ws://127.0.0.1:{port}/\"]\n\
             operator = \"http://{operator}\"\nconnections = {}\n",
            u64::from(connections) * 2
        );
    }
    text
}

/// Where clients ask, from its log, and a connection to there.
fn began(log: ChildStderr) -> Result<(u16, Operator), Problem> {
    let (mut log, mut said) = (BufReader::new(log), String::new());
    loop {
        let mut line = String::new();
        if log.read_line(&mut line).doing("reading the dispatcher's log")? == 0 {
            return Err(Problem::new(format!("the dispatcher did not start: {}", said.trim())));
        }
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        if entry["message"] == "listening for clients that ask for a gateway" {
            let port = || entry["address"].as_str()?.rsplit(':').next()?.parse().ok();
            let Some(port) = port() else { return Err(Problem::new(line)) };
            // What else it logs must not fill the pipe.
            let drain = move || log.lines().map_while(Result::ok).for_each(drop);
            std::thread::Builder::new().spawn(drain).doing("starting a thread")?;
            return Ok((port, Operator::connect(port)?));
        }
        said.push_str(&line);
    }
}
