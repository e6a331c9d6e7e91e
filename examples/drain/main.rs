//! Drains a gateway with many clients in the middle of a countdown, and checks that nobody notices
//! more than a reconnect: `cargo build --release && cargo run --release --example drain -- --connections 10000`.
//!
//! Real WebSocket clients on 127.0.0.1 are in the room of a show. All of them answer a question; while its countdown
//! runs the gateway is told to drain, over a time and to a second gateway. Each client does what its close
//! frame says. Then the first process must have ended with 0, its folder must count every acknowledged answer,
//! and every client must be in the room of the second gateway within the time that it was promised.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for the command line, which measures by the wall clock"
)]

#[path = "../crash/child.rs"]
mod child;
mod client;

use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;
use tokio::task::JoinSet;

use child::{Place, TOKEN, beside, free_address};
use client::{Story, live};

pub(crate) const SECRET: &str = "a secret of thirty-two bytes or more";
const SHOW: &str = r#"
id = 7
title = "A drain"
prize_pool_cents = 100
timing = { countdown_ms = 5000, lead_ms = 50, display_slack_ms = 50 }
questions = [
    { text = "One?", options = ["a", "b"], correct = 0 },
    { text = "Two?", options = ["a", "b"], correct = 0 },
]
"#;
/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a client may need beyond the time that its close frame names: to connect, as all others do.
const RETURN_SLACK: Duration = Duration::from_secs(2);

/// What to do.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Clients in the room
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// The time over which they are asked to leave
    #[arg(long, default_value_t = 10_000)]
    spread_ms: u32,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(run(&Arguments::parse())));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A gateway's folder, with its settings.
fn place(show: &str, drain: &str) -> Result<(tempfile::TempDir, Place), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let place = Place {
        program: beside()?,
        folder: folder.path().to_path_buf(),
        clients: free_address()?,
        operator: free_address()?,
    };
    let config = format!(
        "[auth]\nhs256_secret = \"{SECRET}\"\n[operator]\nlisten = \"{}\"\ntoken = \"{TOKEN}\"\n{drain}",
        place.operator
    );
    for (name, text) in [("tidegate.toml", &*config), ("show.toml", show)] {
        std::fs::write(folder.path().join(name), text).map_err(|error| error.to_string())?;
    }
    Ok((folder, place))
}

fn order(place: &Place, method: &str, path: &str) -> Result<Value, String> {
    match place.ask(method, path)? {
        (200, answer) => Ok(answer),
        (status, answer) => Err(format!("{method} {path}: {status} {answer}")),
    }
}

async fn run(arguments: &Arguments) -> Result<(), String> {
    tidegate::net::probe::raise_file_limit().map_err(|error| error.to_string())?;
    let (_second_folder, second) = place(&SHOW.replace("id = 7", "id = 8"), "")?;
    let drain = format!(
        "[drain]\nspread_ms = {}\nto = \"ws://{}/\"\n",
        arguments.spread_ms, second.clients
    );
    let (_first_folder, first) = place(SHOW, &drain)?;
    let mut old = Running(first.start(2)?.0);
    let new = Running(second.start(2)?.0);
    order(&first, "POST", "/v1/shows/7/open-lobby")?;

    let (joined, mut all_joined) = tokio::sync::mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for user in 1..=u64::from(arguments.connections) {
        clients.spawn(live(user, first.clients, joined.clone()));
        if user % 100 == 0 {
            // So many wait at most.
            while u64::try_from(all_joined.len()).unwrap_or(0) + 500 < user {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
    for _ in 0..arguments.connections {
        let one = tokio::time::timeout(PATIENCE, all_joined.recv()).await;
        one.ok().flatten().ok_or("not all have joined")?;
    }
    order(&first, "POST", "/v1/shows/7/publish")?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let state = order(&first, "POST", "/v1/drain")?;
    println!("drain: {} while {} clients answer", state["state"], state["connections"]);
    let begun = Instant::now();
    let mut stories = Vec::new();
    while let Ok(Some(story)) = tokio::time::timeout(PATIENCE, clients.join_next()).await {
        stories.push(story.map_err(|error| error.to_string())??);
    }
    let ending = old.end(begun).await?;
    let again = Running(first.start(2)?.0);
    let show = order(&first, "GET", "/v1/shows/7")?;
    drop((again, new));
    judge(arguments, &stories, &ending, &show)
}

/// A gateway, which does not outlive this program.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a process ended, and how long after the drain began.
struct Ending {
    code: Option<i32>,
    after: Duration,
}

impl Running {
    async fn end(&mut self, begun: Instant) -> Result<Ending, String> {
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().map_err(|error| error.to_string())? {
                return Ok(Ending { code: status.code(), after: begun.elapsed() });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err("the gateway does not end".to_owned())
    }
}

/// Says what came of it; an error if it is not what was promised.
fn judge(
    arguments: &Arguments,
    stories: &[Story],
    ending: &Ending,
    show: &Value,
) -> Result<(), String> {
    let acknowledged = stories.iter().filter(|story| story.is_acknowledged).count();
    let counted = &show["questions"][0]["counts"]["answered"];
    let closes: Vec<Instant> = stories.iter().map(|story| story.closed_at).collect();
    let (Some(first), Some(last)) = (closes.iter().min(), closes.iter().max()) else {
        return Err("nobody was there".to_owned());
    };
    let spread = last.duration_since(*first);
    let mut returns: Vec<Duration> = stories.iter().map(Story::returned_after).collect();
    returns.sort();
    let late = stories.iter().filter(|it| it.returned_after() > it.within + RETURN_SLACK).count();
    let all_back = stories.iter().map(|story| story.back_at.duration_since(*first)).max();
    let all_back = all_back.unwrap_or_default();
    println!(
        "{acknowledged} answers acknowledged, {counted} counted; closed over {spread:.1?}; back after \
         {:.1?} in the middle, {:.1?} at most, all of them {all_back:.1?} after the first close; the \
         process ended with {:?} after {:.1?}",
        returns[returns.len() / 2],
        returns[returns.len() - 1],
        ending.code,
        ending.after,
    );
    let spread_max = Duration::from_millis(u64::from(arguments.spread_ms)) + RETURN_SLACK;
    let connections = usize::try_from(arguments.connections).unwrap_or(usize::MAX);
    for (is_kept, promise) in [
        (stories.len() == connections, "every client is back"),
        (acknowledged == connections, "every answer was acknowledged"),
        (counted.as_u64() == u64::try_from(acknowledged).ok(), "what was acknowledged counts"),
        (spread <= spread_max, "clients were asked within the spread"),
        (late == 0, "every client was back within the time that it was told"),
        (ending.code == Some(0), "the process ended with 0"),
    ] {
        if !is_kept {
            return Err(format!("broken: {promise} ({late} late)"));
        }
    }
    Ok(())
}
