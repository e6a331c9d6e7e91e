//! A served gateway with a data folder, ended and started again: what was acknowledged of shows is there.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{Answer, ask, planned};

/// `tidegate serve`; killed when it is dropped.
struct Served {
    process: Child,
    operator: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The address in a line of the log.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?)))
}

fn command(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .args(["serve", "--shards", "1", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder)
        .args(more)
        .env_clear()
        .env("TIDEGATE_OPERATOR__LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_LIMITS__DRAIN_TIMEOUT_MS", "0")
        .stderr(Stdio::piped());
    command
}

impl Served {
    fn start(folder: &Path) -> Served {
        let mut process = command(folder, &[]).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let operator = loop {
            let line = lines.next().expect("it serves").unwrap();
            if line.contains("operator HTTP is listening") {
                break address_in(&line).expect("an address");
            }
        };
        std::thread::spawn(move || lines.map_while(Result::ok).count());
        Served { process, operator }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        ask(self.operator, method, path, "", &body)
    }

    fn get(&self, path: &str) -> Value {
        self.ask("GET", path, &Value::Null).json()
    }
}

#[test]
fn a_planned_show_is_kept_and_one_that_began_is_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let served = Served::start(&data);
    let made = served.ask("PUT", "/v1/shows/8", &planned("A", 1_000));
    assert_eq!(made.status, 200, "{}", made.body);
    let version = made.json()["version"].clone();
    let path = format!("/v1/shows/8?version={version}");
    let changed = served.ask("PUT", &path, &planned("B", 2_000)).json();
    assert_eq!(served.ask("PUT", "/v1/shows/9", &planned("C", 0)).status, 200);
    let mut same_room = planned("G", 0);
    same_room["room"] = json!(8);
    assert_eq!(served.ask("PUT", "/v1/shows/11", &same_room).status, 200);
    let withdrawn = served.ask("PUT", "/v1/shows/10", &planned("D", 0)).json();
    let path = format!("/v1/shows/10?version={}", withdrawn["version"]);
    assert_eq!(served.ask("DELETE", &path, &Value::Null).status, 200);
    drop(served);

    let served = Served::start(&data);
    let kept = served.get("/v1/shows/8/file");
    assert_eq!(kept, changed);
    assert_eq!(served.ask("GET", "/v1/shows/10", &Value::Null).status, 404);
    let begun = served.ask("POST", "/v1/shows/8/open-lobby", &Value::Null);
    assert_eq!(begun.json()["phase"], "lobby", "{}", begun.body);
    let path = format!("/v1/shows/8?version={}", kept["version"]);
    assert_eq!(served.ask("PUT", &path, &planned("E", 9_000)).code(), (409, "not_now".into()));
    drop(served);

    // What a crash leaves if it comes between the mark and the journal; of one whose room is busy, too.
    for name in ["shows/9.json", "shows/11.json"] {
        let file = data.join(name);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("\"planned\"", "\"beginning\"")).unwrap();
    }
    let served = Served::start(&data);
    let show = served.get("/v1/shows/8");
    assert_eq!(
        (&show["phase"], &show["title"], &show["prize_pool_cents"], &show["is_planned"]),
        (&json!("lobby"), &json!("B"), &json!(2_000), &json!(false))
    );
    assert_eq!(show["rains"].as_array().unwrap().len(), 1);
    let gone_on = served.get("/v1/shows/9");
    assert_eq!((&gone_on["phase"], &gone_on["is_planned"]), (&json!("announced"), &json!(false)));
    assert_eq!(gone_on["rains"].as_array().unwrap().len(), 1);
    let waits = served.get("/v1/shows/11");
    assert_eq!((&waits["title"], &waits["is_planned"]), (&json!("G"), &json!(true)));
    let refused = served.ask("POST", "/v1/shows/11/open-lobby", &Value::Null);
    assert_eq!(refused.code(), (409, "not_now".into()));
    assert!(refused.body.contains("room 8 has show 8 “B” (lobby)"), "{}", refused.body);
    drop(served);

    let copied = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["backup", "--data", data.to_str().unwrap(), "--to"])
        .arg(folder.path().join("copy"))
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let kept = |name: &str| std::fs::read(folder.path().join(name).join("shows/8.json")).unwrap();
    assert_eq!(kept("copy"), kept("data"), "plans are in copies");

    // A show file with the id of a plan, and a plan that is no plan, stop the start.
    let show = folder.path().join("show.toml");
    let text = "id = 8\ntitle = \"F\"\nprize_pool_cents = 0\n[[questions]]\ntext = \"a\"\n\
                options = [\"x\", \"y\"]\ncorrect = 0\n";
    std::fs::write(&show, text).unwrap();
    let ended = command(&data, &["--show", show.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(said.contains("shows/8.json already"), "{said}");
    std::fs::write(data.join("shows/7.json"), "{}").unwrap();
    let ended = command(&data, &[]).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("shows/7.json"), "{said}");
}
