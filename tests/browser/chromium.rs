//! A browser, and its DevTools: what a page shows, says and stumbles over.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long a page may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// A browser that ends with the test.
pub(crate) struct Browser {
    process: Child,
    profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) fn open(url: &str) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let process = Process::new(chromium())
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-extensions"])
            .args(["--remote-debugging-port=0", "--lang=en-US", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Chromium starts");
        Browser { process, profile }
    }

    /// The DevTools of its one page.
    pub(crate) async fn tools(&self) -> Tools {
        let file = self.profile.path().join("DevToolsActivePort");
        let mut tries = PATIENCE.as_millis() / LOOK.as_millis();
        let (port, path) = loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            if let Some((port, path)) = text.split_once('\n') {
                break (port.to_owned(), path.trim().to_owned());
            }
            tries -= 1;
            assert!(tries > 0, "the browser never said where its DevTools are");
            tokio::time::sleep(LOOK).await;
        };
        let url = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let mut tools = Tools { socket, number: 0, session: None, faults: Vec::new() };
        let target = loop {
            let targets = tools.ask("Target.getTargets", json!({})).await;
            let mut infos = targets["targetInfos"].as_array().unwrap().iter();
            if let Some(page) = infos.find(|info| info["type"] == "page") {
                break page["targetId"].clone();
            }
            tokio::time::sleep(LOOK).await;
        };
        let attach = json!({"targetId": target, "flatten": true});
        let attached = tools.ask("Target.attachToTarget", attach).await;
        tools.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Runtime", "Log", "Page", "Accessibility"] {
            tools.ask(&format!("{domain}.enable"), json!({})).await;
        }
        tools
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn chromium() -> PathBuf {
    if let Some(path) = std::env::var_os("TIDEGATE_CHROMIUM") {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-headless-shell"];
    let places =
        std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    places.into_iter().find(|place| place.exists()).expect(
        "there is no Chromium: run tests/browser/install.sh, or set TIDEGATE_CHROMIUM to its path",
    )
}

/// The Chrome DevTools Protocol, as far as the tests need it.
pub(crate) struct Tools {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    number: u64,
    session: Option<String>,
    /// Exceptions, and what the console calls errors or warnings.
    pub(crate) faults: Vec<String>,
}

impl Tools {
    /// The result of a command; what the page says meanwhile is noted.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut command = json!({"id": self.number, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(command.to_string())).await.unwrap();
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            let message = next.unwrap_or_else(|_| panic!("no reply to {method}")).unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let mut message: Value = serde_json::from_str(text.as_str()).unwrap();
            if message["id"] == self.number {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let params = &message["params"];
        let fault = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Log.entryAdded") => params["entry"]["level"] == "error",
            Some("Runtime.consoleAPICalled") => params["type"] == "error",
            _ => false,
        };
        if fault {
            self.faults.push(params.to_string());
        }
    }

    /// What an expression comes to in the page.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.ask("Runtime.evaluate", params).await;
        let thrown = &result["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        result["result"]["value"].take()
    }

    /// Waits until an expression is true in the page.
    pub(crate) async fn until(&mut self, expression: &str) {
        self.until_within(PATIENCE, expression).await;
    }

    pub(crate) async fn until_within(&mut self, time: Duration, expression: &str) {
        for _ in 0..time.as_millis() / LOOK.as_millis() {
            if self.evaluate(expression).await == true {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        let text = self.evaluate("document.body.innerText").await;
        panic!("in vain: {expression}; faults {:?}; the page says:\n{text}", self.faults);
    }

    /// What is on the screen, as a PNG.
    pub(crate) async fn screenshot(&mut self) -> Vec<u8> {
        let shot = self.ask("Page.captureScreenshot", json!({"format": "png"})).await;
        STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    /// Role and name of everything on the screen that can be worked with.
    pub(crate) async fn controls(&mut self) -> Vec<(String, String)> {
        let tree = self.ask("Accessibility.getFullAXTree", json!({})).await;
        let text = |node: &Value, part: &str| {
            node[part]["value"].as_str().unwrap_or_default().trim().to_owned()
        };
        let nodes = tree["nodes"].as_array().unwrap().iter();
        let shown = nodes.filter(|node| node["ignored"] == false);
        let controls = shown.map(|node| (text(node, "role"), text(node, "name")));
        let roles = ["button", "textbox", "link", "checkbox", "timer", "searchbox"];
        controls.filter(|(role, _)| roles.contains(&role.as_str())).collect()
    }
}
