//! Shows made, changed and withdrawn, questions checked, rehearsals, rains, rooms and words: over HTTP,
//! and by clicks in Chromium.

use std::time::Duration;

use serde_json::{Value, json};

use crate::devtools::in_phase;
use crate::rooms::{room_set_up, rooms_of_planned_shows, texts_are_tried, words_tried};
use crate::{PASSWORD, Page, Stage, client, devtools, planned};

#[test]
fn a_show_is_made_changed_begun_and_then_it_is_what_it_is() {
    let stage = Stage::new();
    let [vera, otto, olga, anna] = ["vera", "otto", "olga", "anna"].map(|name| stage.log_in(name));
    let put = |page: &Page, path: &str, body: &Value| {
        stage.send(page, "PUT", &format!("/console/api/shows/{path}"), "", &body.to_string())
    };
    assert_eq!(put(&vera, "8", &planned("A", 0)).code(), (403, "not_allowed".into()));
    let made = put(&otto, "8", &planned("A", 1_000));
    assert_eq!(made.status, 200, "{}", made.body);
    let first = made.json()["version"].as_u64().unwrap();
    assert_eq!(made.json()["show"]["room"], 8, "its own, where none is said");
    let twice = put(&olga, "8", &planned("B", 0));
    assert_eq!(twice.code(), (409, "moved_on".into()));
    assert!(twice.body.contains("by otto"), "{}", twice.body);
    let changed = put(&olga, &format!("8?version={first}"), &planned("B", 2_000));
    assert_eq!(changed.status, 200, "{}", changed.body);
    let second = changed.json()["version"].as_u64().unwrap();
    assert!(second > first);
    let late = put(&otto, &format!("8?version={first}"), &planned("C", 0));
    assert_eq!(late.code(), (409, "moved_on".into()));
    assert!(late.body.contains("olga changed show 8"), "{}", late.body);
    // Everybody sees it as one that is announced.
    let shows = stage.get(&vera, "/console/api/shows").json();
    assert_eq!(shows[1]["title"], "B");
    assert_eq!(shows[1]["phase"], "announced");
    assert_eq!(stage.get(&vera, "/console/api/shows/8/file").status, 403);
    let live = stage.get(&otto, "/console/api/shows/8").json();
    assert_eq!(live["show"]["allowed"], json!(["open-lobby"]));
    assert_eq!(live["show"]["event"], second);
    assert_eq!(live["last"]["account"], "olga");
    let order = |word: &str, event: u64| {
        let path = format!("/console/api/shows/8/commands/{word}");
        stage.post(&otto, &path, &json!({ "event": event }))
    };
    assert_eq!(order("cancel", second).code(), (409, "not_now".into()));
    let unseen = order("open-lobby", first);
    assert_eq!(unseen.code(), (409, "moved_on".into()));
    assert!(unseen.body.contains("olga ordered `edit`"), "{}", unseen.body);
    let begun = order("open-lobby", second);
    assert_eq!((begun.status, &begun.json()["phase"]), (200, &json!("lobby")), "{}", begun.body);
    assert_eq!(begun.json()["rains"][0]["pool_cents"], 500);
    assert!([409].contains(&order("open-lobby", second).status), "a second click");
    let too_late = put(&olga, &format!("8?version={second}"), &planned("D", 0));
    assert_eq!(too_late.code(), (409, "not_now".into()));
    assert!(too_late.body.contains("has begun (lobby)"), "{}", too_late.body);
    assert!(too_late.body.contains("possible now: publish"), "{}", too_late.body);
    let path = format!("/console/api/shows/8?version={second}");
    assert_eq!(stage.send(&otto, "DELETE", &path, "", "").code().1, "not_now");
    let filed = stage.get(&otto, "/console/api/shows/8/file").json();
    assert_eq!((&filed["has_begun"], &filed["show"]["title"]), (&json!(true), &json!("B")));
    // Of a show that was announced from elsewhere, what the shards know of it.
    let other = stage.get(&otto, "/console/api/shows/3/file").json();
    assert_eq!((&other["version"], &other["show"]["title"]), (&Value::Null, &json!("A show")));
    assert_eq!(put(&otto, "3", &planned("E", 0)).code(), (409, "not_now".into()));
    let audit = stage.get(&anna, "/console/api/audit").json()["entries"].to_string();
    for action in ["create", "edit", "open-lobby", "withdraw the show"] {
        assert!(audit.contains(&format!("\"action\":\"{action}\"")), "{action}: {audit}");
    }
    stage.stop();
}

#[test]
fn what_is_wrong_with_a_show_is_said_all_at_once() {
    let stage = Stage::new();
    let otto = stage.log_in("otto");
    let put = |path: &str, body: &str| {
        stage.send(&otto, "PUT", &format!("/console/api/shows/{path}"), "", body)
    };
    let wrong = "{\"title\": \"\",\n\"prize_pool_cents\": -1,\n\"questions\": \
                 [{\"text\": \"a\", \"options\": [\"x\"], \"correct\": 0}]}";
    let answer = put("8", wrong);
    assert_eq!(answer.code(), (422, "bad_show".into()));
    let problems = answer.json()["error"]["problems"].clone();
    let at = |index: usize| (problems[index]["line"].clone(), problems[index]["key"].clone());
    assert_eq!(at(0), (json!(1), json!("title")));
    assert_eq!(at(1), (json!(2), json!("prize_pool_cents")));
    assert_eq!(at(2), (json!(3), json!("questions[0].options")));
    for (path, body, status, code) in [
        ("0", "{}", 400, "bad_show_id"),
        ("8?version=0", "{}", 400, "bad_query"),
        ("8?version=7", &planned("A", 0).to_string(), 404, "unknown_show"),
        ("8", "{", 422, "bad_show"),
    ] {
        assert_eq!(put(path, body).code(), (status, code.to_owned()), "{path} {body}");
    }
    let other = json!({ "id": 9 });
    assert!(put("8", &other.to_string()).body.contains("is 9, and the show is 8"));
    assert_eq!(stage.get(&otto, "/console/api/shows/8").status, 404, "nothing was made");
    assert_eq!(put("8", &planned("A", 0).to_string()).status, 200);
    let delete =
        |query: &str| stage.send(&otto, "DELETE", &format!("/console/api/shows/8{query}"), "", "");
    assert_eq!(delete("").code(), (400, "bad_query".into()));
    assert_eq!(delete("?version=1").code(), (409, "moved_on".into()));
    let version = stage.get(&otto, "/console/api/shows/8/file").json()["version"].clone();
    assert_eq!(delete(&format!("?version={version}")).status, 200);
    assert_eq!(delete(&format!("?version={version}")).code(), (404, "unknown_show".into()));
    stage.stop();
}

#[test]
fn questions_are_checked_in_both_forms() {
    let stage = Stage::new();
    let [vera, otto] = ["vera", "otto"].map(|name| stage.log_in(name));
    let check = |page: &Page, media_type: &str, body: &str| {
        let headers = format!("content-type: {media_type}\r\n");
        stage.send(page, "POST", "/console/api/questions/check", &headers, body)
    };
    let csv = "\u{feff}text,option_1,option_2,correct\r\nWhich?,a,b,2\r\n";
    assert_eq!(check(&vera, "text/csv", csv).status, 403);
    let expected =
        json!({ "questions": [{ "text": "Which?", "options": ["a", "b"], "correct": 1 }] });
    assert_eq!(check(&otto, "text/csv; charset=utf-8", csv).json(), expected);
    let json = expected["questions"].to_string();
    assert_eq!(check(&otto, "application/json", &json).json(), expected);
    let wrong = check(&otto, "text/csv", "text,option_1,option_2,correct\nWhich?,a,a,3\n,a,b,1\n");
    assert_eq!(wrong.code(), (422, "bad_questions".into()));
    let problems = wrong.json()["error"]["problems"].clone();
    let places: Vec<_> =
        problems.as_array().unwrap().iter().map(|it| (&it["line"], &it["key"])).collect();
    let (two, three) = (json!(2), json!(3));
    let [correct, option, text] = ["correct", "option_2", "text"].map(|it| json!(it));
    assert_eq!(places, [(&two, &correct), (&two, &option), (&three, &text)]);
    stage.stop();
}

#[test]
fn robots_rehearse_a_show_and_nobody_is_paid() {
    let stage = Stage::new();
    let [vera, otto, olga] = ["vera", "otto", "olga"].map(|name| stage.log_in(name));
    let mut show = planned("A", 1_000);
    show["pace"] = json!({ "lobby_ms": 500, "reveal_pause_ms": 100, "next_pause_ms": 100,
        "end_pause_ms": 300 });
    let path = "/console/api/shows/8";
    let made = stage.send(&otto, "PUT", path, "", &show.to_string());
    assert_eq!(made.status, 200, "{}", made.body);
    let begin = |page: &Page, robots: u32, by_hand: bool| {
        let body = json!({ "show": 8, "robots": robots, "by_hand": by_hand });
        stage.post(page, "/console/api/rehearsal", &body)
    };
    assert_eq!(begin(&vera, 20, false).code(), (403, "not_allowed".into()));
    assert_eq!(stage.get(&vera, "/console/api/rehearsal").status, 403, "it tells the answers");
    for robots in [0, 501] {
        assert_eq!(begin(&otto, robots, false).code(), (422, "invalid".into()));
    }
    assert_eq!(stage.get(&otto, "/console/api/rehearsal/show").code(), (409, "not_now".into()));
    let begun = begin(&otto, 20, false);
    assert_eq!((begun.status, &begun.json()["state"]), (200, &json!("runs")), "{}", begun.body);
    let twice = begin(&olga, 20, false);
    assert_eq!(twice.code(), (409, "not_now".into()));
    assert!(twice.body.contains("otto rehearses show 8"), "{}", twice.body);
    let look = || stage.get(&otto, "/console/api/rehearsal").json();
    client::until("the live page moves", || {
        let live = stage.get(&otto, "/console/api/rehearsal/show").json();
        live["show"]["joined"] == 20 && live["show"]["live"]["answered"].as_u64() > Some(0)
    });
    let script = stage.get(&otto, "/console/api/rehearsal/show/script").json();
    assert_eq!(script[0]["text"], "Which?");
    assert_eq!(stage.get(&vera, "/console/api/rehearsal/show").status, 403);
    client::until("the rehearsal is over", || look()["state"] == "over");
    let ended = look();
    assert_eq!(ended["reason"], "the show is over", "{ended}");
    let last = &ended["last"];
    assert_eq!((&last["phase"], &last["joined"]), (&json!("ended"), &json!(20)));
    assert!(last["settlement"]["winners"].as_u64() > Some(0), "{last}");
    assert_eq!(last["questions"][1]["counts"]["answered"].as_u64().map(|it| it > 0), Some(true));
    // The show itself knows nothing of it: it can still be changed.
    let live = stage.get(&otto, path).json();
    assert_eq!((&live["show"]["is_planned"], &live["show"]["joined"]), (&json!(true), &json!(0)));
    // By hand, and ended by hand.
    assert_eq!(begin(&otto, 5, true).status, 200);
    client::until("everybody is in", || {
        stage.get(&otto, "/console/api/rehearsal/show").json()["show"]["joined"] == 5
    });
    let event = stage.get(&otto, "/console/api/rehearsal/show").json()["show"]["event"].clone();
    let command = |word: &str, event: &Value| {
        let path = format!("/console/api/rehearsal/show/commands/{word}");
        stage.post(&otto, &path, &json!({ "event": event }))
    };
    let published = command("publish", &event);
    assert_eq!(published.json()["phase"], "open", "{}", published.body);
    assert_eq!(command("cancel", &event).code(), (409, "moved_on".into()));
    // A show begins: it comes first.
    let real = stage.event(&otto);
    assert_eq!(stage.order(&otto, "open-lobby", real).status, 200);
    client::until("it gives way", || look()["state"] == "over");
    assert_eq!(look()["reason"], "a show began");
    assert_eq!(begin(&otto, 5, true).code(), (409, "not_now".into()));
    assert_eq!(stage.send(&otto, "DELETE", "/console/api/rehearsal", "", "").status, 409);
    stage.stop();
}

#[test]
fn rains_rooms_and_words_are_seen_to_on_the_pages() {
    let stage = Stage::new();
    let [vera, otto, anna] = ["vera", "otto", "anna"].map(|name| stage.log_in(name));
    let event = stage.event(&otto);
    let fund = json!({ "event": event, "cents": 1_000 });
    let rain = json!({ "pool_cents": 600, "packets": 6, "duration_ms": 1_000 });
    let path = "/console/api/shows/3";
    for (end, body) in [("rain-fund", &fund), ("rains", &json!({}))] {
        assert_eq!(stage.post(&vera, &format!("{path}/{end}"), body).status, 403, "{end}");
    }
    let funded = stage.post(&otto, &format!("{path}/rain-fund"), &fund).json();
    assert_eq!(funded["rain_fund_cents"], 1_000);
    let late = json!({ "event": event, "rain": rain });
    assert_eq!(stage.post(&otto, &format!("{path}/rains"), &late).code().1, "moved_on");
    let plan = json!({ "event": funded["event"], "rain": rain });
    let planned = stage.post(&otto, &format!("{path}/rains"), &plan).json();
    assert_eq!(planned["rains"][0]["pool_cents"], 600, "{planned}");
    let too_much = json!({ "event": planned["event"], "rain": rain });
    assert_eq!(stage.post(&otto, &format!("{path}/rains"), &too_much).status, 422);

    let room = "/console/api/rooms/77";
    let nothing = stage.get(&otto, room);
    assert_eq!((nothing.status, nothing.json()), (200, Value::Null));
    let put = |page: &Page, body: &Value| stage.send(page, "PUT", room, "", &body.to_string());
    assert_eq!(put(&vera, &json!({})).status, 403);
    assert_eq!(put(&otto, &json!({ "chat_per_second": 5 })).status, 200);
    assert_eq!(put(&otto, &json!({ "chat": 5 })).code(), (400, "bad_body".into()));
    assert_eq!(stage.get(&otto, room).json()["settings"]["chat_per_second"], 5);
    let settings = json!({ "kept_kinds": [1, 7], "slow_readers": { "low": "close" } });
    assert_eq!(put(&otto, &settings).status, 200);
    let set = stage.get(&otto, room).json();
    assert_eq!(set["settings"], settings);
    assert_eq!(set["effective"]["kept_kinds"], json!([1, 7]));
    assert_eq!(set["effective"]["slow_readers"]["low"], "close");
    // What the page shows at the field that the message names first.
    for (wrong, said) in [
        (json!({ "kept_kinds": [0] }), "kept_kinds has 0"),
        (json!({ "kept_kinds": (1..=65).collect::<Vec<_>>() }), "kept_kinds has 65: at most 64"),
        (json!({ "slow_readers": { "mid": "drop" } }), "slow_readers.mid is `drop`"),
    ] {
        let answer = put(&otto, &wrong);
        assert_eq!(answer.code(), (400, "bad_body".into()), "{wrong}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(said), "{message}");
    }
    let rooms = stage.get(&otto, "/console/api/rooms?after=0&limit=10").json();
    assert!(rooms["rooms"].as_array().unwrap().iter().any(|it| it["room"] == 77), "{rooms}");
    assert_eq!(stage.post(&otto, &format!("{room}/close"), &json!({})).status, 200);
    assert_eq!(stage.get(&otto, room).json(), Value::Null);

    assert_eq!(stage.get(&otto, "/console/api/words").json(), json!({ "words": 0 }));
    assert_eq!(stage.get(&vera, "/console/api/words").status, 403);
    let none = stage.post(&otto, "/console/api/words/reload", &json!({}));
    assert_eq!(none.code(), (422, "invalid".into()), "there is no list");
    texts_are_tried(&stage, [&vera, &otto]);
    let audit = stage.get(&anna, "/console/api/audit").body;
    for action in
        ["fund rains with 1000 cents", "plan a rain of 600 cents", "configure", "close", "reload"]
    {
        assert!(audit.contains(&format!("\"{action}\"")), "{action}: {audit}");
    }
    stage.stop();
}

/// What was not caught on the page since it was loaded.
const WATCH: &str = "window.wrong = []; addEventListener('error', (it) => window.wrong.push(it.message)); \
                     addEventListener('unhandledrejection', (it) => window.wrong.push(String(it.reason)));";

/// Nothing sticks out of the page, and every control has a name.
pub(crate) async fn looks_right(page: &mut devtools::Browser, name: &str) {
    for (width, height) in [(360, 740), (820, 1_180)] {
        page.size(width, height).await;
        let over = page.value("document.documentElement.scrollWidth - innerWidth").await;
        assert!(over.as_i64() <= Some(0), "{name} is {over} too wide at {width}");
        page.picture(&format!("{name}-{width}")).await;
    }
    let nameless = "[...document.querySelectorAll('input, select, textarea, button')].filter((it) => \
        !it.labels?.length && !it.getAttribute('aria-label') && !it.textContent.trim()).map((it) => it.outerHTML)";
    let nameless = page.value(nameless).await;
    assert_eq!(nameless, json!([]), "{name}");
    page.size(1_180, 900).await;
}

/// The browser's console has what was refused on purpose, and no other error.
async fn only_refusals(page: &mut devtools::Browser) {
    let is_refusal = |fault: &&String| fault.starts_with("409 /") || fault.starts_with("422 /");
    let faults: Vec<_> = page.faults().await.iter().filter(|it| !is_refusal(it)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

async fn the_other_pages_look_right(page: &mut devtools::Browser) {
    for (hash, name) in [
        ("rooms", "console-rooms"),
        ("rooms/77", "console-room"),
        // There is no such room yet, and the browser has nothing to complain of.
        ("rooms/4040", "console-room-new"),
        ("words", "console-words"),
    ] {
        page.value(&format!("location.hash = '#/{hash}'")).await;
        page.until("document.querySelector('h1')").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        looks_right(page, name).await;
    }
}

#[tokio::test]
#[ignore = "needs Chromium: tests/browser/install.sh"]
async fn a_show_is_made_from_a_table_rehearsed_and_run_by_clicks() {
    let stage = Stage::new();
    let address = stage.http.local_address();
    let mut page = devtools::Browser::open(&format!("http://{address}/"), 1_180, 900).await;
    page.fill("input[name=name]", "anna").await;
    page.fill("input[name=password]", PASSWORD).await;
    page.click("form button").await;
    page.until("document.querySelector('[data-do=new]')").await;
    page.value(WATCH).await;
    page.picture("console-shows").await;
    page.value("document.querySelector('[data-do=new]').click()").await;
    page.type_into("input[name=title]", "Quiz night").await;
    page.type_into("input[name=pool]", "1000,50").await;
    page.type_into("input[name=id]", "77").await;
    page.value("document.querySelector('.import').open = true").await;
    let wrong = "text,option_1,option_2,correct\nWhich?,a,a,1\nWho?,x,y,3\n";
    page.type_into("textarea[name=questions-pasted]", wrong).await;
    page.click("[data-do=check]").await;
    page.until("document.querySelectorAll('.outcome tbody tr').length === 2").await;
    let said = page.value("document.querySelector('.outcome tbody').innerText").await.to_string();
    assert!(said.contains("option_2") && said.contains("duplicate option"), "{said}");
    looks_right(&mut page, "console-import-wrong").await;
    let good = "text,option_1,option_2,option_3,correct\nWhich river is the longest?,Nile,Rhine,Po,1\n\
                \"Red, or blue?\",red,blue,,B\n";
    page.type_into("textarea[name=questions-pasted]", good).await;
    page.click("[data-do=check]").await;
    page.click("[data-do=replace]").await;
    page.until("document.querySelectorAll('fieldset.question').length === 2").await;
    // Two texts that are alike: the server says where.
    page.click("[data-do=add-question]").await;
    for (key, text) in [("text", "Red, or blue?"), ("options[0]", "a"), ("options[1]", "b")] {
        page.type_into(&format!("[data-key=\"questions[2].{key}\"]"), text).await;
    }
    page.value("document.querySelector('[data-key=\"questions[2].correct\"]').click()").await;
    page.click("[data-do=save]").await;
    page.until(
        "document.querySelector('.problems li')?.textContent.includes('duplicate question')",
    )
    .await;
    page.until("document.querySelector('[data-key=\"questions[2].text\"][aria-invalid]')").await;
    looks_right(&mut page, "console-editor").await;
    page.value("document.querySelectorAll('fieldset.question')[2].querySelector('.row button:last-child').click()").await;
    page.click("[data-do=save]").await;
    page.until(&in_phase("announced")).await;
    edited_and_rehearsed(&stage, &mut page).await;
    page.value("location.hash = '#/show/77'").await;
    page.click("[data-order=open-lobby]").await;
    page.until(&in_phase("lobby")).await;
    page.until("!document.querySelector('[data-do=edit]')").await;
    page.click("[data-order=publish]").await;
    page.until(&in_phase("closed")).await;
    page.click("[data-order=reveal]").await;
    page.until(&in_phase("revealed")).await;
    rejudged_and_rained(&mut page).await;
    the_other_pages_look_right(&mut page).await;
    words_tried(&stage, &mut page).await;
    room_set_up(&stage, &mut page).await;
    page.value("location.hash = '#/words'").await;
    page.until("document.querySelector('[data-do=try-text]')").await;
    page.value("document.querySelector('#top button.plain').click()").await;
    page.until("document.querySelector('h1').textContent === '敏感词'").await;
    assert_eq!(page.value("window.wrong").await, json!([]), "errors on the page");
    rooms_of_planned_shows(&stage, &mut page).await;
    only_refusals(&mut page).await;
    stage.stop();
}

/// A colleague's change is in the way of an older one; then robots play the show.
async fn edited_and_rehearsed(stage: &Stage, page: &mut devtools::Browser) {
    page.value("document.querySelector('[data-do=edit]').click()").await;
    page.until("document.querySelector('input[name=title]')?.value === 'Quiz night'").await;
    let otto = stage.log_in("otto");
    let filed = stage.get(&otto, "/console/api/shows/77/file").json();
    assert_eq!(filed["show"]["prize_pool_cents"], 100_050);
    assert_eq!(filed["show"]["questions"][1]["correct"], 1);
    let mut show = filed["show"].clone();
    show["timing"] = json!({ "countdown_ms": 1_500, "lead_ms": 100, "display_slack_ms": 100 });
    let path = format!("/console/api/shows/77?version={}", filed["version"]);
    assert_eq!(stage.send(&otto, "PUT", &path, "", &show.to_string()).status, 200);
    page.type_into("input[name=title]", "Quiz evening").await;
    page.click("[data-do=save]").await;
    page.until("document.querySelector('.problems')?.textContent.includes('otto changed show 77')")
        .await;
    page.picture("console-conflict").await;
    page.value("document.querySelector('.problems button:last-child').click()").await;
    page.until(
        "document.querySelector('input[name=title]')?.value === 'Quiz night' && \
                document.querySelector('.problems').hidden",
    )
    .await;
    page.type_into("input[name=title]", "Quiz evening").await;
    page.click("[data-do=save]").await;
    page.until("document.querySelector('#title')?.textContent === 'Quiz evening'").await;
    page.picture("console-planned").await;
    page.value("document.querySelector('[data-do=rehearse]').click()").await;
    page.until("document.querySelector('select[name=show]')?.value === '77'").await;
    page.type_into("input[name=robots]", "40").await;
    looks_right(page, "console-rehearsal").await;
    page.click("[data-do=begin-rehearsal]").await;
    page.until("document.querySelectorAll('.option .number')[0]?.textContent.match(/^[1-9]/)")
        .await;
    page.picture("console-rehearsal-live").await;
    page.until(
        "document.querySelectorAll('.outcome tbody tr').length === 2 && \
                document.querySelector('.outcome').textContent.includes('winners')",
    )
    .await;
    page.picture("console-rehearsal-over").await;
}

/// Another option is correct after all, and a rain is planned.
async fn rejudged_and_rained(page: &mut devtools::Browser) {
    page.until("document.querySelector('select[name=correct]')").await;
    page.value("document.querySelector('select[name=correct]').value = '1'").await;
    page.click("[data-order=rejudge]").await;
    page.until("document.querySelector('dialog')?.textContent.includes('Prize per head')").await;
    page.picture("console-rejudge").await;
    page.click("dialog [data-yes]").await;
    page.until("document.getElementById('told').textContent.includes('Done')").await;
    page.value("document.querySelector('.rains details').open = true").await;
    page.type_into("input[name=rain-pool]", "12.00").await;
    page.click("[data-order=rain-plan]").await;
    page.until("document.querySelector('dialog')?.textContent.includes('12.00')").await;
    page.click("dialog [data-yes]").await;
    page.until("document.querySelector('#rains')?.textContent.includes('Rain 1')").await;
    page.value("scrollTo(0, document.body.scrollHeight)").await;
    page.picture("console-rains").await;
}
