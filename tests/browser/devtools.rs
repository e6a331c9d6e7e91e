//! A Chromium that is told what to do: the page's own DevTools, by WebSocket.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// One page of a browser, which ends with the test.
pub(crate) struct Browser {
    process: Child,
    _profile: tempfile::TempDir,
    socket: WebSocketStream<TcpStream>,
    /// The page's, once it is attached.
    session: Option<String>,
    next_id: u64,
    /// What the browser's console calls an error, in order; of a refused request status and path.
    faults: Vec<String>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn chromium() -> PathBuf {
    std::env::var_os("TIDEGATE_CHROMIUM").map_or_else(|| "chromium".into(), PathBuf::from)
}

impl Browser {
    /// Opens a page of this size.
    pub(crate) async fn open(url: &str, width: u32, height: u32) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let process = Command::new(chromium())
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-extensions"])
            .args(["--remote-debugging-port=0", "--lang=en", "--remote-allow-origins=*"])
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Chromium starts: run tests/browser/install.sh, or set TIDEGATE_CHROMIUM");
        let place = profile.path().join("DevToolsActivePort");
        // The port, and the path of the browser's own DevTools.
        let (port, path) = loop_until(|| {
            let text = std::fs::read_to_string(&place).ok()?;
            let (port, path) = text.split_once('\n')?;
            Some((port.parse::<u16>().ok()?, path.trim().to_owned()))
        })
        .await;
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let url_of_tools = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) = tokio_tungstenite::client_async(url_of_tools, stream).await.unwrap();
        let (session, faults) = (None, Vec::new());
        let mut browser =
            Browser { process, _profile: profile, socket, session, next_id: 0, faults };
        let found = browser.call("Target.getTargets", json!({})).await;
        let targets = found["targetInfos"].as_array().unwrap();
        let page = targets.iter().find(|it| it["type"] == "page").expect("a page is open");
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser.size(width, height).await;
        browser.call("Page.navigate", json!({ "url": url })).await;
        browser
    }

    /// Gives the page another size.
    pub(crate) async fn size(&mut self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Dark or light, as the system would choose.
    pub(crate) async fn scheme(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// The value of an expression in the page.
    pub(crate) async fn value(&mut self, expression: &str) -> Value {
        let evaluate = json!({ "expression": expression, "returnByValue": true });
        let result = self.call("Runtime.evaluate", evaluate).await;
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression holds in the page.
    pub(crate) async fn until(&mut self, expression: &str) {
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if self.value(&format!("Boolean({expression})")).await == json!(true) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        let text = self.value("document.body.innerText").await;
        panic!("never came: {expression}; the page says:\n{text}");
    }

    /// Clicks what a selector finds, once it is there and can be clicked.
    pub(crate) async fn click(&mut self, selector: &str) {
        self.until(&format!("document.querySelector('{selector}')?.disabled === false")).await;
        self.value(&format!("document.querySelector('{selector}').click()")).await;
    }

    /// Types into a field.
    pub(crate) async fn fill(&mut self, selector: &str, text: &str) {
        self.until(&format!("document.querySelector('{selector}')")).await;
        self.value(&format!("document.querySelector('{selector}').value = {}", json!(text))).await;
    }

    /// Types into a field, as a person would: the page is told.
    pub(crate) async fn type_into(&mut self, selector: &str, text: &str) {
        self.fill(selector, text).await;
        let tell = format!(
            "document.querySelector('{selector}').dispatchEvent(new Event('input', {{bubbles: true}}))"
        );
        self.value(&tell).await;
    }

    /// Keeps a picture of the page where `TIDEGATE_SCREENSHOTS` names a folder.
    pub(crate) async fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("TIDEGATE_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), bytes).unwrap();
    }

    /// What the browser's console called an error so far: what stands there before the page has
    /// answered this is known by then.
    pub(crate) async fn faults(&mut self) -> &[String] {
        self.value("document.title").await;
        &self.faults
    }

    fn note(&mut self, event: &Value) {
        let said = &event["params"];
        let fault = match event["method"].as_str() {
            Some("Log.entryAdded") if said["entry"]["level"] == "error" => {
                let text = |name: &str| said["entry"][name].as_str().unwrap_or_default();
                let status = text("text").split_once("a status of ").map(|(_, rest)| rest);
                match status.and_then(|rest| rest.split(' ').next()) {
                    // Behind scheme and host.
                    Some(status) => {
                        let path = text("url").splitn(4, '/').nth(3).unwrap_or_default();
                        format!("{status} /{path}")
                    }
                    None => said["entry"].to_string(),
                }
            }
            Some("Runtime.exceptionThrown") => said.to_string(),
            Some("Runtime.consoleAPICalled") if said["type"] == "error" => said.to_string(),
            _ => return,
        };
        self.faults.push(fault);
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(message.to_string())).await.unwrap();
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            let message = message.expect("Chromium answers").expect("it is there").unwrap();
            let Ok(text) = message.to_text() else { continue };
            let answer: Value = serde_json::from_str(text).unwrap_or_default();
            // What is no answer is an event.
            if answer["id"] == json!(id) {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }
}

/// Holds on the console's page of a show that is in this phase.
pub(crate) fn in_phase(phase: &str) -> String {
    format!("document.querySelector('.phase')?.dataset.phase === '{phase}'")
}

async fn loop_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("Chromium did not begin");
}
