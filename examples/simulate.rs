//! Plays seeds in the simulator and says which promises held and how often each race happened.
//!
//! `cargo run --profile sim --features sim-bugs --example simulate -- --seeds 10000`: the seeds 0 to
//! 9,999 and one drawn at random, on two threads. `--from N` begins elsewhere, `--random` takes all
//! seeds at random, `--threads N`, `--bug NAME` plants a bug (to see how it is caught). `--crashes`
//! plays each seed in the world in which the power fails and the journals' disks keep only what was
//! synced. Exit status 1 if a promise was broken, or if some fault or race never happened in 200
//! seeds or more.

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tidegate::base::entropy::{Entropy, SystemEntropy};
use tidegate::sim::{Outcome, Races, simulate, simulate_crashes};

/// With fewer seeds than this a race that never happened says nothing.
const SEEDS_TELLING: u64 = 200;
/// Violations that are printed, over all seeds.
const SHOWN_MAX: usize = 20;
/// Rarer than once in a thousand seeds: judging again takes a few milliseconds.
const RARE: [&str; 1] = ["crash_rejudging"];

thread_local! {
    /// What this thread plays now: a panic names it.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

struct Arguments {
    from: u64,
    seeds: u64,
    random: bool,
    threads: u64,
    bug: Option<String>,
    crashes: bool,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!(
                "{wrong}; known: --seeds N --from N --random --threads N --crashes --bug NAME"
            );
            return ExitCode::from(2);
        }
    };
    let crashes = arguments.crashes;
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let seed = SEED.get();
        eprintln!("seed {seed} panicked; repeat it with {}", repeat(seed, crashes));
        default_hook(panic);
    }));
    let mut random = SystemEntropy;
    // Seeds stay readable, and one in four has its twin.
    let drawn = random.below(1 << 48);
    let base = if arguments.random { drawn } else { arguments.from };
    eprintln!("seeds {base} to {}, and {drawn}", base + arguments.seeds - 1);
    let begun = now();
    let next = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let seed_at = |place| if place < arguments.seeds { base + place } else { drawn };
    let mut all = Vec::new();
    let mut has_panicked = false;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.threads)
            .map(|_| scope.spawn(|| work(&arguments, &next, &over, &seed_at)))
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(outcomes) => all.push(outcomes),
                Err(_) => has_panicked = true,
            }
        }
    });
    let outcome = report(&all, &arguments, begun);
    if has_panicked { ExitCode::FAILURE } else { outcome }
}

/// What a thread has played.
struct Played {
    seeds: u64,
    races: Races,
    virtual_ms: u64,
    broken: Vec<Outcome>,
}

fn work(
    arguments: &Arguments,
    next: &AtomicU64,
    over: &AtomicBool,
    seed_at: &dyn Fn(u64) -> u64,
) -> Played {
    plant(arguments.bug.as_deref());
    let mut played =
        Played { seeds: 0, races: Races::default(), virtual_ms: 0, broken: Vec::new() };
    let begun = now();
    while !over.load(Ordering::Relaxed) {
        let place = next.fetch_add(1, Ordering::Relaxed);
        if place > arguments.seeds {
            break;
        }
        let seed = seed_at(place);
        SEED.set(seed);
        let outcome = if arguments.crashes { simulate_crashes(seed) } else { simulate(seed) };
        played.seeds += 1;
        played.races.add(&outcome.races);
        played.virtual_ms += outcome.lasted.as_millis();
        if !outcome.violations.is_empty() {
            eprintln!("seed {seed}: {}", outcome.violations[0]);
            played.broken.push(outcome);
            if played.broken.len() >= SHOWN_MAX {
                over.store(true, Ordering::Relaxed);
            }
        }
        if place > 0 && place.is_multiple_of(500) {
            let rate = place as f64 / begun.elapsed().as_secs_f64();
            eprintln!("{place} of {} seeds, {rate:.0} a second", arguments.seeds);
        }
    }
    played
}

#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn report(all: &[Played], arguments: &Arguments, begun: Instant) -> ExitCode {
    let mut races = Races::default();
    let (mut seeds, mut virtual_ms) = (0, 0);
    for played in all {
        races.add(&played.races);
        seeds += played.seeds;
        virtual_ms += played.virtual_ms;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let mut missing = Vec::new();
    for (name, meaning, count) in races.rows() {
        println!("{count:>12}  {name:<26} {meaning}");
        if count == 0 && must_happen(name, arguments.crashes) {
            missing.push(name);
        }
    }
    let rate = seeds as f64 / elapsed;
    let virtual_hours = virtual_ms as f64 / 3_600_000.0;
    println!(
        "{seeds} seeds in {elapsed:.1} s ({rate:.1} a second), {virtual_hours:.1} virtual hours"
    );
    let mut broken: Vec<&Outcome> = all.iter().flat_map(|played| &played.broken).collect();
    broken.sort_by_key(|outcome| outcome.seed);
    for outcome in broken.iter().take(SHOWN_MAX) {
        println!(
            "seed {}: repeat it with {}",
            outcome.seed,
            repeat(outcome.seed, arguments.crashes)
        );
        for violation in outcome.violations.iter().take(3) {
            println!("    {violation}");
        }
    }
    let untested = !missing.is_empty() && arguments.seeds >= SEEDS_TELLING;
    if untested {
        println!("never happened, so nothing was checked against it: {}", missing.join(", "));
    }
    if broken.is_empty() && !untested { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What each of the two kinds of worlds is there for.
fn must_happen(race: &str, crashes: bool) -> bool {
    let of_crashes = race.starts_with("crash");
    let of_both = ["packets", "withdrawn", "gifts", "settled", "extensions", "voided", "rejudged"];
    !RARE.contains(&race) && (of_crashes == crashes || of_both.contains(&race))
}

fn repeat(seed: u64, crashes: bool) -> String {
    let crashes = if crashes { "--crashes " } else { "" };
    format!(
        "cargo run --profile sim --features sim-bugs --example simulate -- {crashes}--from {seed} --seeds 1"
    )
}

#[cfg(feature = "sim-bugs")]
fn plant(name: Option<&str>) {
    use tidegate::base::bugs::{Bug, plant};
    let named = |bug: &&Bug| name.is_some_and(|name| format!("{bug:?}") == name);
    plant(Bug::ALL.iter().find(named).copied());
}

#[cfg(not(feature = "sim-bugs"))]
fn plant(_name: Option<&str>) {}

#[expect(clippy::disallowed_methods, reason = "a command may look at the clock")]
fn now() -> Instant {
    Instant::now()
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments =
        Arguments { from: 0, seeds: 200, random: false, threads: 2, bug: None, crashes: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            text.parse::<u64>().map_err(|_| format!("{word} needs a number, not {text}"))
        };
        match word.as_str() {
            "--from" => arguments.from = number()?,
            "--seeds" => arguments.seeds = number()?.max(1),
            "--threads" => arguments.threads = number()?.clamp(1, 64),
            "--random" => arguments.random = true,
            "--crashes" => arguments.crashes = true,
            "--bug" if cfg!(feature = "sim-bugs") => arguments.bug = words.next(),
            "--bug" => return Err("--bug needs the feature sim-bugs".into()),
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(arguments)
}
