//! Attacks a gateway of its own, on 127.0.0.0/8 and nowhere else, and says what the gateway did and
//! what it cost: `cargo run --release --example attack -- NAME`, or `all`.
//!
//! The gateway is a child process, this program again. An honest client sends a heartbeat fifty
//! times a second meanwhile and says how long the slowest hundredth took: what others felt of it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for the command line")]

mod attacks;
mod chosen;
mod gateway;

use std::time::Duration;

use attacks::{ATTACKS, Attack};
use gateway::{Gateway, Readings};

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    if wanted == gateway::SUBCOMMAND {
        return gateway::serve();
    }
    tidegate::net::probe::raise_file_limit().unwrap();
    let chosen: Vec<&Attack> =
        ATTACKS.iter().filter(|attack| wanted == "all" || wanted == attack.name).collect();
    if chosen.is_empty() {
        let names: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
        println!("usage: attack NAME, one of all, {}", names.join(", "));
        std::process::exit(2);
    }
    println!("| attack | what came of it | user memory | socket memory | CPU | others, p99 |");
    println!("|---|---|---|---|---|---|");
    for attack in chosen {
        println!("{}", row(attack));
    }
}

fn row(attack: &Attack) -> String {
    let gateway = Gateway::start(attack.settings);
    let witness = gateway.witness();
    std::thread::scope(|scope| {
        let before = gateway.readings();
        let watcher = scope.spawn(|| gateway.watch());
        let outcome = (attack.run)(&gateway);
        gateway.stop_watching();
        let peak = watcher.join().unwrap();
        let after = gateway.readings();
        let p99 = witness.p99();
        let kib = |peak: u64, before: u64| format!("{} KiB", peak.saturating_sub(before) / 1_024);
        let Readings { user_bytes, socket_bytes, cpu, at } = before;
        format!(
            "| {} | {outcome} | {} | {} | {:.2} s in {:.1} s | {:.1} ms |",
            attack.name,
            kib(peak.user_bytes, user_bytes),
            kib(peak.socket_bytes, socket_bytes),
            (after.cpu - cpu).as_secs_f64(),
            after.at.duration_since(at).as_secs_f64(),
            p99.as_secs_f64() * 1_000.0,
        )
    })
}

/// Waits where the kernel gives no event.
#[expect(clippy::disallowed_methods, reason = "attackers wait, too")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
