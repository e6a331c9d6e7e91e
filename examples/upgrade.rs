//! Replaces a gateway by another one beside it while clients storm in, and checks that nobody is refused:
//! `cargo build --release && cargo run --release --example upgrade -- --threads 64`.
//!
//! Two processes share a port on 127.0.0.1 (`net.share_port`). Threads connect as fast as they can, each
//! connection from another address of 127.0.0.0/8, up to the answer to the WebSocket upgrade: to the old gateway
//! alone, to both, while the old one is drained and ends, and to the new one alone. Every connect must get
//! its 101, and both processes must end with 0.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for the command line, which measures by the wall clock"
)]

#[path = "crash/child.rs"]
mod child;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use socket2::{Domain, Protocol, Socket, Type};

use child::{Place, TOKEN, beside, free_address};

const SHOW: &str = r#"
id = 7
title = "An upgrade"
prize_pool_cents = 0
questions = [{ text = "One?", options = ["a", "b"], correct = 0 }]
"#;
/// How long a connect may take, and a gateway to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Threads that connect, each as fast as it can
    #[arg(long, default_value_t = 64)]
    threads: u32,
    /// Seconds of each of the three parts: the old gateway alone, both, the new one alone
    #[arg(long, default_value_t = 3)]
    part_s: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn place(clients: SocketAddr) -> Result<(tempfile::TempDir, Place), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (program, operator) = (beside()?, free_address()?);
    let place = Place { program, folder: folder.path().to_path_buf(), clients, operator };
    let config = format!(
        "[auth]\nhs256_secret = \"a secret of thirty-two bytes or more\"\n[net]\nshare_port = true\n\
         [drain]\nspread_ms = 1000\n[operator]\nlisten = \"{operator}\"\ntoken = \"{TOKEN}\"\n"
    );
    for (name, text) in [("tidegate.toml", &*config), ("show.toml", SHOW)] {
        std::fs::write(folder.path().join(name), text).map_err(|error| error.to_string())?;
    }
    Ok((folder, place))
}

/// What the threads have done.
#[derive(Default)]
struct Storm {
    is_over: AtomicBool,
    connects: AtomicU64,
    slowest_us: AtomicU64,
}

impl Storm {
    /// Connects until it is over; says what did not go well.
    fn blow(&self, number: u32, address: SocketAddr) -> Vec<String> {
        let mut failures = Vec::new();
        let mut round = 0_u32;
        while !self.is_over.load(Ordering::Relaxed) && failures.len() < 10 {
            let [_, _, high, low] = round.to_be_bytes();
            let thread = u8::try_from(number % 200).unwrap_or(0);
            let source = Ipv4Addr::new(127, 1 + thread, high, low.max(1));
            let begun = Instant::now();
            if let Err(error) = upgrade(source, address) {
                failures.push(format!("connect {round} of thread {number}: {error}"));
            }
            let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.slowest_us.fetch_max(took_us, Ordering::Relaxed);
            self.connects.fetch_add(1, Ordering::Relaxed);
            round = round.wrapping_add(1);
        }
        failures
    }

    /// Lets it blow for a while, and says how hard it blew.
    fn watch(&self, what: &str, time: Duration) {
        let (begun, before) = (Instant::now(), self.connects.load(Ordering::Relaxed));
        std::thread::sleep(time);
        self.say(what, begun, before);
    }

    fn say(&self, what: &str, begun: Instant, before: u64) {
        let connects = self.connects.load(Ordering::Relaxed) - before;
        let seconds = begun.elapsed().as_secs_f64();
        let slowest_us = self.slowest_us.swap(0, Ordering::Relaxed);
        let slowest = Duration::from_micros(slowest_us);
        let rate = connects as f64 / seconds;
        println!(
            "{what}: {connects} connects in {seconds:.1} s, {rate:.0} a second, the slowest {slowest:.1?}"
        );
    }
}

/// Connects, asks for a WebSocket, and goes without a word once it has one.
fn upgrade(source: Ipv4Addr, address: SocketAddr) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).map_err(text)?;
    socket.bind(&SocketAddr::from((source, 0)).into()).map_err(text)?;
    // A reset leaves no port behind in TIME_WAIT.
    socket.set_linger(Some(Duration::ZERO)).map_err(text)?;
    socket.connect_timeout(&address.into(), PATIENCE).map_err(text)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request).map_err(text)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).map_err(text)?;
    if &head[9..] == b"101" { Ok(()) } else { Err(String::from_utf8_lossy(&head).into_owned()) }
}

/// Waits for a gateway's end, which is to be 0.
fn end(mut gateway: Child) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match gateway.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("a gateway ended: {status}")),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    let _ = gateway.kill();
    let _ = gateway.wait();
    Err("a gateway does not end".to_owned())
}

fn terminate(gateway: &Child) -> Result<(), String> {
    let killed = Command::new("kill").args(["-TERM", &gateway.id().to_string()]).status();
    killed.map(drop).map_err(|error| format!("kill: {error}"))
}

fn run(arguments: &Arguments) -> Result<(), String> {
    tidegate::net::probe::raise_file_limit().map_err(|error| error.to_string())?;
    let clients = free_address()?;
    let (_old_folder, old_place) = place(clients)?;
    let (_new_folder, new_place) = place(clients)?;
    let (old, _) = old_place.start(2)?;
    let storm = Arc::new(Storm::default());
    let threads: Vec<_> = (0..arguments.threads)
        .map(|number| {
            let storm = Arc::clone(&storm);
            std::thread::spawn(move || storm.blow(number, clients))
        })
        .collect();
    let outcome = replace(&storm, old, &new_place, Duration::from_secs(arguments.part_s));
    storm.is_over.store(true, Ordering::Relaxed);
    let mut failures = Vec::new();
    for thread in threads {
        failures.extend(thread.join().map_err(|_| "a thread panicked")?);
    }
    let new = outcome?;
    terminate(&new)?;
    end(new)?;
    let connects = storm.connects.load(Ordering::Relaxed);
    println!("{connects} connects in all, {} of them not let in", failures.len());
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// From the old gateway to the new one, which is running in the end.
fn replace(storm: &Storm, old: Child, new: &Place, part: Duration) -> Result<Child, String> {
    storm.watch("the old one alone", part);
    let (begun, before) = (Instant::now(), storm.connects.load(Ordering::Relaxed));
    let (new, _) = new.start(2)?;
    storm.say("the new one starts", begun, before);
    storm.watch("both", part);
    let (begun, before) = (Instant::now(), storm.connects.load(Ordering::Relaxed));
    terminate(&old)?;
    end(old)?;
    storm.say("the old one is drained and ends", begun, before);
    storm.watch("the new one alone", part);
    Ok(new)
}
