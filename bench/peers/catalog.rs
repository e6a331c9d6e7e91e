//! Which peers there are, what each is started with, and whether it is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::common::problem::Problem;

/// How people install what is missing.
const INSTALL: &str = "bench/peers/install.sh";

/// A server that others wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Bun: µWebSockets under JavaScript
    Bun,
    /// socketify: µWebSockets under Python
    Socketify,
    /// fastwebsockets on tokio
    Fastwebsockets,
    /// tokio-tungstenite
    Tungstenite,
    /// gorilla/websocket, Go
    Gorilla,
    /// nats-server through its WebSocket listener
    Nats,
    /// Nchan in nginx
    Nchan,
}

/// How a peer is told to broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// In lines on its standard input, like a floor: our own few lines around the library.
    InLines,
    /// By a publisher of its own protocol, beside a configuration file.
    ByPublisher,
}

impl Peer {
    /// All of them, in the order of the table.
    pub(crate) const ALL: &'static [Peer] = &[
        Peer::Bun,
        Peer::Socketify,
        Peer::Fastwebsockets,
        Peer::Tungstenite,
        Peer::Gorilla,
        Peer::Nats,
        Peer::Nchan,
    ];

    /// The name of its folder, and in `--only`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Bun => "bun",
            Peer::Socketify => "socketify",
            Peer::Fastwebsockets => "fastwebsockets",
            Peer::Tungstenite => "tungstenite",
            Peer::Gorilla => "gorilla",
            Peer::Nats => "nats",
            Peer::Nchan => "nchan",
        }
    }

    /// As people know it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Peer::Bun => "Bun",
            Peer::Socketify => "socketify",
            Peer::Fastwebsockets => "fastwebsockets",
            Peer::Tungstenite => "tokio-tungstenite",
            Peer::Gorilla => "gorilla/websocket",
            Peer::Nats => "nats-server",
            Peer::Nchan => "Nchan",
        }
    }

    pub(crate) fn told(self) -> Told {
        match self {
            Peer::Bun
            | Peer::Socketify
            | Peer::Fastwebsockets
            | Peer::Tungstenite
            | Peer::Gorilla => Told::InLines,
            Peer::Nats | Peer::Nchan => Told::ByPublisher,
        }
    }
}

/// A peer that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) peer: Peer,
    pub(crate) version: String,
    /// Where `install.sh` put it.
    pub(crate) folder: PathBuf,
    /// Where its sources and its configuration are.
    pub(crate) sources: PathBuf,
}

impl Installed {
    /// The process of a peer that is told in lines: `PORT BODY_BYTES` come last.
    pub(crate) fn command(&self, port: u16, body_bytes: usize) -> Command {
        let mut command = match self.peer {
            Peer::Bun => {
                let mut bun = Command::new(self.folder.join("bun"));
                bun.arg(self.sources.join("server.js"));
                bun
            }
            Peer::Socketify => {
                let mut python = Command::new("python3");
                python.arg(self.sources.join("server.py"));
                python.env("PYTHONPATH", self.folder.join("python"));
                python.env("LD_LIBRARY_PATH", self.folder.join("lib"));
                python
            }
            Peer::Fastwebsockets | Peer::Tungstenite | Peer::Gorilla | Peer::Nats | Peer::Nchan => {
                Command::new(self.folder.join("server"))
            }
        };
        // One thread where that is a choice: the others have no more either.
        command.env("GOMAXPROCS", "1").arg(port.to_string()).arg(body_bytes.to_string());
        command
    }
}

/// Those of `wanted` as they are installed in `folder`; an error names all that are missing, and
/// the remedy.
pub(crate) fn installed(
    wanted: &[Peer],
    folder: &Path,
    sources: &Path,
) -> Result<Vec<Installed>, Problem> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for peer in wanted.iter().copied() {
        let folder = folder.join(peer.name());
        match version(&folder) {
            Some(version) => {
                found.push(Installed { peer, version, folder, sources: sources.join(peer.name()) })
            }
            None => missing.push(peer.name()),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let others: Vec<&str> = found.iter().map(|it| it.peer.name()).collect();
    let without = match others.as_slice() {
        [] => String::new(),
        others => format!(", or measure without: --only {}", others.join(",")),
    };
    let (folder, missing) = (folder.display(), missing.join(" "));
    Err(Problem::new(format!(
        "not installed in {folder}: {missing}. In the repository, run `{INSTALL} {missing}`{without}"
    )))
}

/// `install.sh` writes the version last: a folder without it is half an installation.
fn version(folder: &Path) -> Option<String> {
    let stamp = std::fs::read_to_string(folder.join("stamp")).ok()?;
    stamp.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &[Peer], folder: &Path) -> Result<Vec<Installed>, String> {
        installed(wanted, folder, Path::new("sources")).map_err(|problem| problem.to_string())
    }

    #[test]
    fn what_is_not_installed_is_said_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let said = check(Peer::ALL, folder.path()).unwrap_err();
        assert!(
            said.contains("bun socketify fastwebsockets tungstenite gorilla nats nchan"),
            "{said}"
        );
        assert!(said.contains("`bench/peers/install.sh bun"), "{said}");

        let bun = folder.path().join("bun");
        std::fs::create_dir(&bun).unwrap();
        assert!(check(&[Peer::Bun], folder.path()).is_err(), "half an installation is none");
        std::fs::write(bun.join("stamp"), "1.4.4\nabc -\n").unwrap();
        let found = check(&[Peer::Bun], folder.path()).unwrap();
        assert_eq!((found.len(), found[0].version.as_str()), (1, "1.4.4"));
        let said = check(&[Peer::Bun, Peer::Nats], folder.path()).unwrap_err();
        assert!(said.contains("install.sh nats`") && said.ends_with("--only bun"), "{said}");
    }

    #[test]
    fn every_peer_has_its_sources_and_its_line_in_the_installation() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/peers");
        let script = std::fs::read_to_string(root.join("install.sh")).unwrap();
        for peer in Peer::ALL {
            assert!(root.join(peer.name()).is_dir(), "{peer:?}");
            let step = format!("install_{}() {{", peer.name());
            assert!(script.contains(&step), "install.sh does not install {peer:?}");
            let value = peer.to_possible_value().unwrap();
            assert_eq!(value.get_name(), peer.name());
        }
    }
}
