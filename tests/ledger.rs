//! Payouts between processes that are killed, the sender and the balance system, each at random
//! moments: every withdrawal arrives once and in order. `examples/payouts` is the full size.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and kills at moments of the wall clock"
)]

#[path = "../examples/payouts/course/mod.rs"]
mod course;

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tidegate::base::entropy::{Entropy as _, SeededEntropy, SystemEntropy};
use tidegate::ledger::outbox::queue::Queue;

use course::asked::{draw, fill};
use course::processes::{Place, Running};
use course::{Payer, Planted, Report, Settings, judge, run};

const PATIENCE: Duration = Duration::from_secs(60);

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_tidegate").into()
}

#[test]
fn sender_and_balance_system_are_killed_at_random_and_every_payout_arrives_once_and_in_order() {
    let seed = SystemEntropy.below(1 << 32);
    let settings = Settings {
        program: program(),
        payouts: 500,
        kills: 20,
        seed,
        planted: None,
        payer: Payer::Sender,
    };
    let report = run(&settings).unwrap();
    println!("seed {seed}: {report}");
    assert_eq!(report.broken.said(), [""; 0], "seed {seed}");
    assert!(report.kills_of_service + report.kills_of_payer == 20 && report.cents > 500);
}

#[test]
fn a_balance_system_that_forgets_or_loses_what_it_took_is_found() {
    for (planted, says) in
        [(Planted::Forgets, "was taken twice"), (Planted::Loses, "was not taken")]
    {
        let planted = Some(planted);
        let settings = Settings {
            program: program(),
            payouts: 200,
            kills: 8,
            seed: 3,
            planted,
            payer: Payer::Sender,
        };
        let report = run(&settings).unwrap();
        std::fs::remove_dir_all(report.left_in.as_ref().unwrap()).unwrap();
        assert!(report.broken.said().iter().any(|it| it.contains(says)), "{says}: {report}");
        assert!(report.reconciled.starts_with("NOT clean"), "{report}");
    }
}

/// A process in whose files there is no room behind the first four blocks.
fn without_room(command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -S -f 4; exec \"$0\" \"$@\""]);
    shell.arg(command.get_program()).args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

/// How many payouts had no room when they were sent last.
fn refused_for_room(place: &Place) -> usize {
    let mut count = 0;
    let queue = Queue::open(&place.data()).unwrap();
    let listed = queue.list(&["waiting"], &mut |it| {
        count += usize::from(it.answer.as_ref().is_some_and(|it| it.contains("status 507")));
        Ok(())
    });
    listed.unwrap();
    count
}

#[test]
fn a_balance_system_whose_disk_is_full_in_the_middle_of_a_line_goes_on_when_there_is_room() {
    let place = Place::new(program(), 7).unwrap();
    let asked = draw(100, &mut SeededEntropy::new(7, 0));
    fill(&place.data(), &asked).unwrap();
    let mut limited = without_room(&place.service(7));
    let service = Running::start(&mut limited, place.path("standin.log")).unwrap();
    let mut sender = place.start_sender().unwrap();
    let begun = Instant::now();
    // All that may be under way, so that it stands still.
    while refused_for_room(&place) < 8 {
        assert!(begun.elapsed() < PATIENCE, "{}", sender.said("no room was missing"));
        sleep(Duration::from_millis(5));
    }
    let mut room = Command::new("prlimit");
    room.args(["--fsize=unlimited:", "--pid", &service.child.id().to_string()]);
    assert!(room.status().unwrap().success(), "prlimit (util-linux) makes room");
    while sender.ended().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "{}", sender.said("it does not go on"));
        sleep(Duration::from_millis(5));
    }
    drop(service);
    let mut report = Report::default();
    judge(&place, &asked, &mut report).unwrap();
    assert_eq!(report.broken.said(), [""; 0]);
}
