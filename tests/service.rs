//! What a service manager and a package are promised: notifications, units, the list of files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidegate::ops::cli::ExitStatus;
use tidegate::ops::config::Config;

const PATIENCE: Duration = Duration::from_secs(30);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A gateway under a service manager that this test plays.
struct Service {
    process: Child,
    socket: UnixDatagram,
    _folder: tempfile::TempDir,
}

impl Drop for Service {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    fn start(watchdog: Option<Duration>) -> Service {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .args(["serve", "--shards", "2", "--listen", "127.0.0.1:0"])
            .env_clear()
            .env("TIDEGATE_OPERATOR__LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_LIMITS__DRAIN_TIMEOUT_MS", "0");
        Service::start_by(command, tempfile::tempdir().unwrap(), watchdog)
    }

    /// A dispatcher of a gateway that there is not.
    fn dispatcher(watchdog: Option<Duration>) -> Service {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dispatch.toml");
        let text = "listen = \"127.0.0.1:0\"\noperator_listen = \"127.0.0.1:0\"\n[[gateways]]\n\
                    name = \"a\"\nurls = [\"wss://a.example/\"]\noperator = \"http://127.0.0.1:1\"\n";
        fs::write(&path, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["dispatch", "--config"]).arg(path).env_clear();
        Service::start_by(command, folder, watchdog)
    }

    fn start_by(
        mut command: Command,
        folder: tempfile::TempDir,
        watchdog: Option<Duration>,
    ) -> Service {
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        command.env("NOTIFY_SOCKET", &path).stderr(Stdio::piped());
        if let Some(timeout) = watchdog {
            command.env("WATCHDOG_USEC", timeout.as_micros().to_string());
        }
        let mut process = command.spawn().unwrap();
        let log = process.stderr.take().unwrap();
        std::thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).count());
        Service { process, socket, _folder: folder }
    }

    /// The lines of the next notification.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4_096];
        let length = self.socket.recv(&mut bytes).expect("a notification in time");
        String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect()
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

#[test]
fn a_service_manager_is_told_of_the_whole_life() {
    let mut service = Service::start(Some(Duration::from_secs(2)));
    let ready = service.next();
    assert_eq!(ready[0], "READY=1");
    assert!(ready[1].contains("with 2 shards"), "{ready:?}");
    // Nobody is connected, so shards sleep: they are alive all the same.
    for _ in 0..3 {
        assert_eq!(service.next(), ["WATCHDOG=1"]);
    }
    service.signal("-TERM");
    let stopping = std::iter::repeat_with(|| service.next()).find(|it| it[0] != "WATCHDOG=1");
    assert_eq!(stopping.unwrap()[0], "STOPPING=1");
    assert_eq!(service.process.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_watchdog_nothing_but_the_life_is_told() {
    let mut service = Service::start(None);
    assert_eq!(service.next()[0], "READY=1");
    let second = Some(Duration::from_secs(1));
    service.socket.set_read_timeout(second).unwrap();
    let silence = service.socket.recv(&mut [0; 64]).unwrap_err();
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock);
    // What `systemctl reload` sends, although there is no file to read again.
    service.signal("-HUP");
    service.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    service.signal("-TERM");
    assert_eq!(service.next()[0], "STOPPING=1");
    assert_eq!(service.process.wait().unwrap().code(), Some(0));
}

/// A process that is stopped turns no shard, so the service manager hears nothing and would act.
#[test]
fn a_gateway_that_stands_still_tells_nothing() {
    let service = Service::start(Some(Duration::from_secs(1)));
    assert_eq!(service.next()[0], "READY=1");
    assert_eq!(service.next(), ["WATCHDOG=1"]);
    service.signal("-STOP");
    service.socket.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
    let mut heard = 0;
    while service.socket.recv(&mut [0; 64]).is_ok() {
        heard += 1;
    }
    // What was on its way when the signal came.
    assert!(heard <= 1, "told {heard} times while it stood still");
    service.signal("-CONT");
    service.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(service.next(), ["WATCHDOG=1"]);
}

#[test]
fn a_service_manager_is_told_of_a_dispatchers_whole_life() {
    let mut service = Service::dispatcher(Some(Duration::from_secs(2)));
    let ready = service.next();
    assert_eq!(ready[0], "READY=1");
    assert!(ready[1].contains("handing out gateways on 127.0.0.1:"), "{ready:?}");
    for _ in 0..3 {
        assert_eq!(service.next(), ["WATCHDOG=1"]);
    }
    // What `systemctl reload` sends: it goes on.
    service.signal("-HUP");
    for _ in 0..3 {
        assert_eq!(service.next(), ["WATCHDOG=1"]);
    }
    service.signal("-STOP");
    service.socket.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
    let heard = std::iter::repeat_with(|| service.socket.recv(&mut [0; 64]))
        .take_while(Result::is_ok)
        .count();
    assert!(heard <= 1, "told {heard} times while it stood still");
    service.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    service.signal("-CONT");
    service.signal("-TERM");
    let stopping = std::iter::repeat_with(|| service.next()).find(|it| it[0] != "WATCHDOG=1");
    assert_eq!(stopping.unwrap()[0], "STOPPING=1");
    assert_eq!(service.process.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_watchdog_a_dispatcher_tells_of_its_life_only() {
    let mut service = Service::dispatcher(None);
    assert_eq!(service.next()[0], "READY=1");
    service.socket.set_read_timeout(Some(Duration::from_millis(1_200))).unwrap();
    let silence = service.socket.recv(&mut [0; 64]).unwrap_err();
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock);
    service.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    service.signal("-TERM");
    assert_eq!(service.next()[0], "STOPPING=1");
    assert_eq!(service.process.wait().unwrap().code(), Some(0));
}

/// The values of a key in a unit, in order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let start = format!("{key}=");
    unit.lines().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect()
}

#[test]
fn the_template_differs_in_names_only() {
    let expected = text("systemd/tidegate.service")
        .replace(
            "# tidegate: one gateway on this host. Several: tidegate@.service. What",
            "# tidegate: one of several gateways on this host, tidegate@NAME.service with \
             /etc/tidegate/NAME.toml. What",
        )
        .replace("systemctl edit tidegate.service", "systemctl edit tidegate@NAME.service")
        .replace("Description=tidegate:", "Description=tidegate %i:")
        .replace("/etc/tidegate/tidegate.toml", "/etc/tidegate/%i.toml")
        .replace("/var/lib/tidegate\n", "/var/lib/tidegate/%i\n")
        .replace("StateDirectory=tidegate\n", "StateDirectory=tidegate/%i\n")
        .replace("credentials/tidegate.service/", "credentials/tidegate@NAME.service/");
    assert_eq!(text("systemd/tidegate@.service"), expected);
}

#[test]
fn the_unit_fits_the_gateway() {
    let unit = text("systemd/tidegate.service");
    let one = |key: &str| {
        let [value] = values(&unit, key).try_into().unwrap_or_else(|all| panic!("{key}: {all:?}"));
        value
    };
    let never_again: Vec<String> =
        [ExitStatus::Host, ExitStatus::Settings].map(|it| it.code().to_string()).to_vec();
    assert_eq!(one("RestartPreventExitStatus"), never_again.join(" "));
    let Config { drain, limits, .. } = Config::default();
    let drain_ms = drain.countdown_wait_max_ms + drain.spread_ms + limits.drain_timeout_ms;
    let drain_s = drain_ms / 1_000;
    let stop_s: u64 = one("TimeoutStopSec").trim_end_matches('s').parse().unwrap();
    assert!(stop_s > drain_s + 10, "shards have ten seconds to end after {drain_s}");
    // The kernel's default of fs.nr_open is the most that works without a profile.
    assert_eq!(one("LimitNOFILE"), "1048576");
    assert_eq!((one("Type"), one("LimitMEMLOCK")), ("notify".to_owned(), "infinity".to_owned()));
    // systemd takes what follows a value for a part of it.
    for line in unit.lines().filter(|line| !line.starts_with('#')) {
        assert!(!line.contains(" #"), "a trailing comment: {line}");
    }
    let command = one("ExecStart");
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[0], "/usr/bin/tidegate");
    let parsed = <tidegate::ops::cli::Cli as clap::Parser>::try_parse_from(&words);
    assert!(parsed.is_ok(), "{command}: {parsed:?}");
    // It might not see the credentials (systemd#27275).
    assert_eq!(values(&unit, "ExecStartPre"), [""; 0]);
}

#[test]
fn the_unit_of_the_dispatcher_fits_it() {
    let unit = text("systemd/tidegate-dispatch.service");
    let one = |key: &str| {
        let [value] = values(&unit, key).try_into().unwrap_or_else(|all| panic!("{key}: {all:?}"));
        value
    };
    assert_eq!(
        (one("Type"), one("ExecReload")),
        ("notify".into(), "/bin/kill -HUP $MAINPID".into())
    );
    assert_eq!(one("RestartPreventExitStatus"), "71 78");
    let stop_s: u64 = one("TimeoutStopSec").trim_end_matches('s').parse().unwrap();
    assert!(stop_s > 30 + 2 * 3, "an ask has 30 s, both listeners three each");
    // Connections of clients and to gateways at most; threads while those of a reload end.
    let files: usize = one("LimitNOFILE").parse().unwrap();
    let gateways = tidegate::ops::dispatch::settings::GATEWAYS_MAX;
    assert!(files > 100_000 + 64 + 2 * gateways, "{files}");
    let tasks: usize = one("TasksMax").parse().unwrap();
    assert!(tasks > 2 * gateways + 16, "{tasks}");
    // io_uring is the gateway's; and the gateway's user, secrets and money are none of its business.
    assert!(values(&unit, "SystemCallFilter")[1].contains("@aio"));
    assert_eq!((one("DynamicUser"), values(&unit, "User")), ("yes".into(), vec![]));
    assert_eq!(one("LoadCredential"), "secrets:/etc/tidegate/dispatch-secrets");
    assert!(!unit.contains("/etc/tidegate/secrets") && !unit.contains("StateDirectory"));
    let command = one("ExecStart");
    let parsed =
        <tidegate::ops::cli::Cli as clap::Parser>::try_parse_from(command.split_whitespace());
    assert!(parsed.is_ok() && command.starts_with("/usr/bin/tidegate "), "{command}: {parsed:?}");
    // All that closes the gateway's sandbox closes this one.
    let gateways_unit = text("systemd/tidegate.service");
    let (_, sandbox) = gateways_unit.split_once("# The sandbox.\n").unwrap();
    let (sandbox, _) = sandbox.split_once("SystemCallFilter=").unwrap();
    assert!(sandbox.lines().count() > 20);
    for line in sandbox.lines() {
        assert!(unit.lines().any(|it| it == line), "{line} is not there");
    }
}

struct Asset {
    source: String,
    target: String,
    mode: String,
}

/// The asset list of the Debian package.
fn assets() -> Vec<Asset> {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap().clone();
    let words = |asset: &toml::Value| -> Option<Asset> {
        let [source, target, mode] = asset.as_array()?.as_slice() else { return None };
        let [source, target, mode] = [source, target, mode].map(|it| it.as_str().unwrap().into());
        Some(Asset { source, target, mode })
    };
    assets.iter().map(|asset| words(asset).expect("source, target, mode")).collect()
}

/// The files that a source with at most one `*` in its name stands for.
fn matched(source: &str) -> Vec<PathBuf> {
    let path = root().join(source);
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let Some((start, end)) = name.split_once('*') else { return vec![path] };
    let entries = fs::read_dir(path.parent().unwrap()).unwrap_or_else(|_| panic!("{source}"));
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        })
        .collect()
}

#[test]
fn the_package_has_every_file_that_it_names_and_that_it_should() {
    let assets = assets();
    let mut packed = Vec::new();
    for Asset { source, target, mode } in &assets {
        assert!(["644", "755"].contains(&mode.as_str()), "{source}: mode {mode}");
        assert!(!target.starts_with('/'), "{source}: targets are relative to the root");
        if source.starts_with("target/") {
            continue;
        }
        let files = matched(source);
        assert!(!files.is_empty(), "{source}: nothing matches");
        for file in files {
            assert!(file.is_file(), "{} is no file", file.display());
            packed.push(file);
        }
    }
    for folder in
        ["docs", "tuning", "tuning/sysctl", "proto/tidegate/v1", "proto/tidegate/server/v1"]
    {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let is_picture = path.extension().is_some_and(|it| it == "svg");
            assert!(
                path.is_dir() || is_picture || packed.contains(&path),
                "{} is left out",
                path.display()
            );
        }
    }
    let to =
        |target: &str| assets.iter().find(|it| it.target == target).map(|it| it.source.as_str());
    assert_eq!(to("etc/tidegate/tidegate.toml"), Some("examples/tidegate.toml"));
    assert_eq!(to("usr/lib/sysusers.d/tidegate.conf"), Some("systemd/tidegate.sysusers"));
    assert_eq!(to("usr/lib/tmpfiles.d/tidegate.conf"), Some("systemd/tidegate.tmpfiles"));
    let units = assets.iter().filter(|it| it.target == "usr/lib/systemd/system/");
    assert_eq!(units.count(), 3);
    assert_eq!(to("usr/share/doc/tidegate/examples/"), Some("examples/dispatch.toml"));
    for script in ["postinst", "prerm", "postrm"] {
        let checked =
            Command::new("sh").arg("-n").arg(root().join("systemd/deb").join(script)).status();
        assert!(checked.unwrap().success(), "{script}");
    }
}

/// What the package names below `target/` is what cargo and the script make there.
#[test]
fn what_is_generated_for_the_package_is_what_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path();
    fs::create_dir_all(copy.join("systemd/deb")).unwrap();
    fs::copy(root().join("systemd/deb/build.sh"), copy.join("systemd/deb/build.sh")).unwrap();
    let made = Command::new("bash")
        .arg(copy.join("systemd/deb/build.sh"))
        .arg("--generate")
        .env("TIDEGATE_BINARY", env!("CARGO_BIN_EXE_tidegate"))
        .status();
    assert!(made.unwrap().success());
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let binaries = manifest["bin"].as_array().unwrap().clone();
    let binaries: Vec<String> = binaries
        .iter()
        .map(|it| format!("target/release/{}", it["name"].as_str().unwrap()))
        .collect();
    for Asset { source, .. } in assets().iter().filter(|it| it.source.starts_with("target/")) {
        let is_made = match source.split_once('*') {
            Some((folder, _)) => fs::read_dir(copy.join(folder)).is_ok_and(|it| it.count() > 10),
            None => fs::metadata(copy.join(source)).is_ok_and(|file| file.len() > 1_000),
        };
        assert!(is_made || binaries.contains(source), "nobody makes {source}");
    }
}
