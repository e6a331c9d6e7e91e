//! What `tidegate-bench peers` refuses, and says, before it starts anything.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

fn refusal(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-bench"));
    let output = command.arg("peers").args(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?} is refused");
    assert!(output.stdout.is_empty(), "{arguments:?} measured something");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_peer_that_is_not_installed_is_said_with_the_remedy() {
    let nothing = tempfile::tempdir().unwrap();
    let folder = nothing.path().to_str().unwrap();
    let said = refusal(&["--installed", folder, "--only", "bun,nats"]);
    assert!(
        said.contains("bun nats") && said.contains("bench/peers/install.sh bun nats"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_measured_is_said_at_once() {
    let installed = tempfile::tempdir().unwrap();
    std::fs::create_dir(installed.path().join("bun")).unwrap();
    std::fs::write(installed.path().join("bun/stamp"), "1.0\n").unwrap();
    let folder = installed.path().to_str().unwrap();
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/peers");
    let base = ["--installed", folder, "--sources", sources, "--only", "bun"];
    let cases: &[(&[&str], &str)] = &[
        (&["--port", "4000"], "leave --port out"),
        (&["--plot", "/nowhere/plot.svg"], "--plot: writing /nowhere/plot.svg failed"),
        (&["--sources", "/nowhere"], "run this in the repository"),
        (&["--client-core", "4000"], "there is no such core"),
        (&["--only", "unheard-of"], "possible values"),
    ];
    for (more, expected) in cases {
        let replaced = base.iter().position(|argument| *argument == more[0]);
        let mut arguments = base.to_vec();
        match replaced {
            Some(place) => arguments[place + 1] = more[1],
            None => arguments.extend_from_slice(more),
        }
        let said = refusal(&arguments);
        assert!(said.contains(expected), "{more:?}: {said}");
    }
}
