//! The page that every gateway serves, in a real browser: a whole show on a phone's screen, from a
//! link to the winner's share.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "browser/chromium.rs"]
mod chromium;
mod client;

use std::io::{BufRead as _, BufReader, Lines};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chromium::{Browser, Tools};
use serde_json::json;
use tidegate::base::ids::{OptionIndex, RainIndex, RoomId, ShowId, UserId};
use tidegate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use tidegate::quiz::director::Command;
use tidegate::quiz::money::Cents;
use tidegate::quiz::phase::Phase;
use tidegate::quiz::rain::{CERTAIN, RainCommand, RainSettings};
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::{OperatorAnswer, OperatorRequest};

const SHOW: ShowId = ShowId(3);
const ROOM: RoomId = RoomId(30);
/// A narrow phone.
const WIDTH: u32 = 360;

fn show(countdown: Duration) -> Arc<ShowDefinition> {
    let question = |text: &str, options: &[&str], correct| QuestionDefinition {
        text: text.into(),
        options: options.iter().map(|&option| option.into()).collect(),
        correct: OptionIndex(correct),
    };
    Arc::new(ShowDefinition {
        id: SHOW,
        room: ROOM,
        title: "The evening quiz".into(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(1_000_000),
        remainder_account: "house".into(),
        revive: ReviveCoverage::default(),
        timing: Timing {
            lead: Duration::from_millis(100),
            display_slack: Duration::from_millis(100),
            countdown,
            ticket_life: Duration::from_millis(300),
            stream_delay: Duration::ZERO,
            extension_max: Duration::from_secs(2),
            early_push_max: Duration::from_secs(30),
        },
        questions: vec![
            question("Which planet is closest to the Sun?", &["Venus", "Mercury", "Mars"], 1),
            question(
                "Who painted “Girl with a Pearl Earring”, which hangs in The Hague?",
                &["Rembrandt van Rijn", "Frans Hals", "Johannes Vermeer"],
                2,
            ),
            // Text of the wire is text, whatever it looks like.
            question("Which tag is bold: <b>this</b>?", &["<b>", "<i onclick=alert(1)>"], 0),
        ],
    })
}

/// A person at the page.
struct Phone {
    tools: Tools,
    _browser: Browser,
    shots: u32,
}

/// A gateway with a show, and somebody who plays it.
struct Stage {
    gateway: Gateway,
    phone: Phone,
}

impl Deref for Stage {
    type Target = Phone;

    fn deref(&self) -> &Phone {
        &self.phone
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Phone {
        &mut self.phone
    }
}

impl Stage {
    async fn new(countdown: Duration) -> Stage {
        let stage = Stage { gateway: client::gateway(2), phone: Phone::new().await };
        stage.ask(OperatorRequest::Announce(show(countdown)));
        let fund = RainCommand::Fund(Cents(900));
        let rain = RainSettings::new(Cents(900), 9, Duration::from_secs(20));
        let plan = RainCommand::Plan(RainSettings { win_per_10000: CERTAIN, ..rain });
        for command in [fund, plan] {
            stage.ask(OperatorRequest::Rain { show: SHOW, command });
        }
        stage
    }

    fn ask(&self, request: OperatorRequest) -> OperatorAnswer {
        self.gateway.call(request).expect("it is done")
    }

    fn command(&self, command: Command) {
        self.ask(OperatorRequest::Command { show: SHOW, command });
    }

    /// The director gets there by its own timers.
    async fn until_phase(&self, phase: Phase) {
        for _ in 0..2_000 {
            let status = self.ask(OperatorRequest::Status { show: SHOW });
            if matches!(&status, OperatorAnswer::Show(status) if status.live.phase == phase) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the show never came to {phase}");
    }

    async fn open(&mut self, user: u64) {
        let (address, token) = (self.gateway.local_address(), client::token(user));
        let url = format!("http://{address}/play#room={ROOM}&token={token}");
        self.tools.ask("Page.navigate", json!({ "url": url })).await;
    }

    /// Answers, sees that it is sealed, and lets the question close.
    async fn answer(&mut self, option: u32) {
        self.click(&format!("#options .option:nth-child({})", option + 1)).await;
        self.says("status", "sealed until the reveal").await;
        let letter = ["A", "B", "C"][option as usize];
        self.says("status", &format!("Answer {letter} is on record")).await;
    }

    async fn reveal(&mut self) {
        self.until_phase(Phase::Closed).await;
        self.command(Command::Reveal);
    }
}

impl Phone {
    async fn new() -> Phone {
        let browser = Browser::open("about:blank");
        let mut tools = browser.tools().await;
        let screen = json!({"width": WIDTH, "height": 780, "deviceScaleFactor": 1, "mobile": true});
        tools.ask("Emulation.setDeviceMetricsOverride", screen).await;
        Phone { tools, _browser: browser, shots: 0 }
    }

    async fn says(&mut self, id: &str, text: &str) {
        let (id, text) = (json!(id), json!(text));
        let includes = format!("document.getElementById({id})?.textContent.includes({text})");
        self.tools.until(&includes).await;
    }

    async fn click(&mut self, selector: &str) {
        self.tools.until(&format!("document.querySelector({}) !== null", json!(selector))).await;
        self.tools.evaluate(&format!("document.querySelector({}).click()", json!(selector))).await;
    }

    /// What holds for every screen; the screen itself goes where pictures are asked for.
    async fn look(&mut self, name: &str) {
        let width = self.tools.evaluate("document.documentElement.scrollWidth").await;
        assert!(
            width.as_u64().unwrap() <= WIDTH.into(),
            "{name}: {width} px are wider than a phone"
        );
        for (role, label) in self.tools.controls().await {
            assert!(!label.is_empty(), "{name}: a {role} has no name");
        }
        assert!(self.tools.faults.is_empty(), "{name}: {:#?}", self.tools.faults);
        if let Some(folder) = std::env::var_os("TIDEGATE_SCREENSHOTS") {
            self.shots += 1;
            let path = PathBuf::from(folder).join(format!("{:02}-{name}.png", self.shots));
            // What moves has come to rest.
            tokio::time::sleep(Duration::from_millis(600)).await;
            std::fs::write(path, self.tools.screenshot().await).unwrap();
        }
    }

    async fn dark(&mut self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.tools.ask("Emulation.setEmulatedMedia", features).await;
    }
}

#[tokio::test]
#[ignore = "needs Chromium: tests/browser/install.sh"]
async fn a_show_is_played_on_a_phone() {
    let mut stage = Stage::new(Duration::from_secs(5)).await;
    stage.ask(OperatorRequest::GrantCard { user: UserId(1) });
    let mut others = Vec::new();
    for user in 2..7 {
        others.push(client::Client::in_room(&stage.gateway, user, ROOM.0).await);
    }
    the_lobby(&mut stage).await;
    a_card_is_used(&mut stage, &mut others).await;
    an_early_question_is_passed(&mut stage).await;
    packets_are_grabbed(&mut stage).await;
    the_prize_is_won(&mut stage).await;
    another_language_and_the_end(&mut stage).await;
}

async fn the_lobby(stage: &mut Stage) {
    stage.open(1).await;
    stage.says("title", "The evening quiz").await;
    stage.command(Command::OpenLobby);
    stage.says("headline", "Get ready").await;
    stage.says("status", "about to start").await;
    stage.says("cards", "1 revive card").await;
    stage.says("standing", "In the game").await;
    let hash = stage.tools.evaluate("location.href").await;
    assert!(!hash.as_str().unwrap().contains("token"), "the token is not on the screen: {hash}");
    stage.look("lobby").await;
    // The chat: of the service as text, and one's own.
    let said = "document.getElementById('text').value = 'Hello, everybody!'";
    stage.tools.evaluate(said).await;
    stage.click("#send").await;
    stage.says("lines", "You Hello, everybody!").await;
}

async fn a_card_is_used(stage: &mut Stage, others: &mut [client::Client]) {
    stage.command(Command::Publish);
    stage.says("headline", "Which planet").await;
    stage.says("progress", "Question 1 of 3").await;
    stage.look("question").await;
    for (client, option) in others.iter_mut().zip([1, 1, 1, 0, 2]) {
        let answer = json!({"showId": SHOW.0.to_string(), "question": 0, "option": option});
        client.request("a", json!({ "answer": answer })).await;
        client.until_response("a").await;
    }
    stage.answer(2).await;
    let pressed = "document.querySelector('.option.chosen').getAttribute('aria-pressed')";
    assert_eq!(stage.tools.evaluate(pressed).await, "true");
    let correct = "document.querySelectorAll('.correct').length";
    assert_eq!(stage.tools.evaluate(correct).await, 0, "nothing tells before the reveal");
    stage.look("sealed").await;
    stage.reveal().await;
    stage.says("status", "your revive card saved you").await;
    stage.says("options", "correct").await;
    // Three of the others, and this one, are in the game: two of six were wrong without a card.
    stage.says("status", "4 go on.").await;
    let counts = "[...document.querySelectorAll('.count')].map((it) => it.textContent).join()";
    assert_eq!(stage.tools.evaluate(counts).await, "1 answer,3 answers,2 answers");
    assert_eq!(stage.tools.evaluate("document.getElementById('cards').hidden").await, true);
    stage.look("revived").await;
}

async fn an_early_question_is_passed(stage: &mut Stage) {
    stage.command(Command::PushEarly);
    stage.says("status", "The next question is here, sealed").await;
    stage.command(Command::Publish);
    stage.says("headline", "Who painted").await;
    stage.dark(true).await;
    // A reload plays on: the token is kept for this tab.
    stage.tools.ask("Page.reload", json!({})).await;
    stage.says("headline", "Who painted").await;
    stage.answer(2).await;
    stage.look("dark").await;
    stage.reveal().await;
    stage.says("status", "Correct").await;
    stage.look("dark-revealed").await;
    stage.dark(false).await;
}

async fn packets_are_grabbed(stage: &mut Stage) {
    let (rain, show) = (RainIndex(0), SHOW);
    stage.ask(OperatorRequest::Rain { show, command: RainCommand::Start(rain) });
    stage.says("rain-title", "Red packets!").await;
    for count in ["1 packet ", "2 packets ", "3 packets "] {
        stage.click("#tap").await;
        stage.says("rain-status", count).await;
    }
    stage.says("rain-status", "All your taps are used").await;
    stage.look("rain").await;
    stage.ask(OperatorRequest::Rain { show, command: RainCommand::End(rain) });
    stage.says("rain-status", "The rain is over: 3 packets").await;
}

async fn the_prize_is_won(stage: &mut Stage) {
    stage.command(Command::Publish);
    stage.says("headline", "Which tag is bold: <b>this</b>?").await;
    stage.says("status", "no revive card").await;
    stage.answer(0).await;
    stage.reveal().await;
    stage.says("status", "Correct").await;
    stage.command(Command::Settle);
    stage.says("headline", "You won!").await;
    stage.says("figure", "10,000.00").await;
    stage.says("status", "with 1 winner in all").await;
    stage.says("standing", "Winner").await;
    stage.look("won").await;
}

async fn another_language_and_the_end(stage: &mut Stage) {
    stage.click("#language").await;
    stage.says("headline", "你赢了").await;
    assert_eq!(stage.tools.evaluate("document.documentElement.lang").await, "zh-CN");
    stage.look("chinese").await;
    stage.command(Command::End);
    stage.says("status", "本场结束").await;
    stage.click("#leave").await;
    stage.says("entrance-title", "加入答题").await;
    stage.look("entrance").await;
    // A token that is none is told, not tried for ever.
    let typed = "document.getElementById('token').value = 'a.b.c';
        document.getElementById('room').value = '30'";
    stage.tools.evaluate(typed).await;
    stage.click("#enter").await;
    stage.says("entrance-note", "令牌无效").await;
}

#[tokio::test]
#[ignore = "needs Chromium: tests/browser/install.sh"]
async fn who_is_wrong_is_out_and_watches() {
    let mut stage = Stage::new(Duration::from_secs(2)).await;
    stage.command(Command::OpenLobby);
    stage.open(1).await;
    stage.says("standing", "In the game").await;
    stage.command(Command::Publish);
    stage.says("headline", "Which planet").await;
    stage.answer(0).await;
    stage.reveal().await;
    stage.says("status", "Wrong: you are out.").await;
    stage.says("standing", "Out").await;
    stage.look("out").await;
    stage.command(Command::Publish);
    stage.says("headline", "Who painted").await;
    stage.says("status", "You are watching").await;
    stage.click("#options .option:nth-child(3)").await;
    let pressed = "document.querySelectorAll('[aria-pressed=\"true\"]').length";
    assert_eq!(stage.tools.evaluate(pressed).await, 0, "it takes no answer");
    stage.reveal().await;
    stage.says("status", "The answer is C.").await;
    // Opened a second time elsewhere: this page says so and stays away.
    let _newer = client::Client::in_room(&stage.gateway, 1, ROOM.0).await;
    stage.says("entrance-note", "opened elsewhere").await;
    stage.look("replaced").await;
}

/// `tidegate demo --keep` as a process of its own.
struct Demo {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for Demo {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Demo {
    fn start(arguments: &str) -> Demo {
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(arguments.split(' '))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Demo { process, lines }
    }

    /// The next line that begins with these words: what stands behind them.
    fn says(&mut self, words: &str) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        let rest = lines.find_map(|line| line.strip_prefix(words).map(str::to_owned));
        rest.unwrap_or_else(|| panic!("it never says {words}")).trim().to_owned()
    }
}

/// What people are shown: the address that the command prints, opened on a phone, in a show of two thousand
/// robots, to its end; and its console.
#[tokio::test]
#[ignore = "needs Chromium: tests/browser/install.sh"]
async fn a_demo_is_played_beside_two_thousand_robots() {
    let arguments = "demo --keep --players 2000 --questions 2 --listen 127.0.0.1:0";
    let mut demo = tokio::task::spawn_blocking(|| Demo::start(arguments)).await.unwrap();
    let address = demo.says("play at ");
    let console = demo.says("console at ");
    let password = demo.says("             name demo, password ");
    let mut phone = Phone::new().await;
    phone.tools.ask("Page.navigate", json!({ "url": address })).await;
    phone.says("standing", "In the game").await;
    // A hasty player: the first of what can be pressed, again and again.
    let presses = "setInterval(() => document.querySelector(
        '#options .option:not([disabled]):not([aria-disabled=true]), #tap:not([disabled])')?.click(), 400)";
    phone.tools.evaluate(presses).await;
    // Which answer is the right one, it does not know.
    let revealed = "/Correct|Wrong|card|The answer is/";
    for (name, words) in [("asked", "/sealed until the reveal/"), ("revealed", revealed)] {
        let is_said = format!("{words}.test(document.getElementById('status')?.textContent)");
        phone.tools.until_within(Duration::from_secs(60), &is_said).await;
        phone.look(name).await;
    }
    let operator = Browser::open(&console);
    let mut pages = operator.tools().await;
    pages.until("document.querySelector('input[name=password]') !== null").await;
    let fill = format!(
        "for (const [name, value] of [['name', 'demo'], ['password', {}]]) {{
            const input = document.querySelector(`input[name=${{name}}]`);
            input.value = value; input.dispatchEvent(new Event('input', {{ bubbles: true }}));
        }} document.querySelector('form button').click()",
        json!(password)
    );
    pages.evaluate(&fill).await;
    pages.until("document.querySelector('td a') !== null").await;
    assert!(pages.faults.is_empty(), "{:#?}", pages.faults);
    // The show is checked with the guest in it.
    let played = tokio::task::spawn_blocking(move || {
        demo.says("every check held");
        demo
    });
    let mut demo = played.await.unwrap();
    phone.look("ended").await;
    let pid = demo.process.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(demo.process.wait().unwrap().code(), Some(0));
}
