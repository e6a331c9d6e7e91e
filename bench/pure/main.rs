//! What the parts without I/O cost, each alone: `cargo bench --bench pure`.
//!
//! `cargo test` runs each of them once, on small data, so that none of them rots.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "figures are for people at a terminal")]

mod chat;
mod cpu_time;
mod encoding;
mod frames;
mod lanes;
mod mailbox;
mod memory;
mod quiz;
mod tokens;

use criterion::Criterion;

/// Whether figures are asked for; otherwise everything runs once and small.
fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// `measured` when figures are asked for, else `tried`.
fn scale(measured: usize, tried: usize) -> usize {
    if is_measuring() { measured } else { tried }
}

fn main() {
    let mut computing =
        Criterion::default().with_measurement(cpu_time::CpuTime).configure_from_args();
    frames::bench(&mut computing);
    lanes::bench(&mut computing);
    encoding::bench(&mut computing);
    quiz::bench(&mut computing);
    tokens::bench(&mut computing);
    chat::bench(&mut computing);
    // Between two threads there is waiting, which CPU time would not show.
    mailbox::bench(&mut Criterion::default().configure_from_args());
    Criterion::default().configure_from_args().final_summary();
    assert!(memory::report(), "a player takes more memory than it may");
}
