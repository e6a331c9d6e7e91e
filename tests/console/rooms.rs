//! Rooms and words: shows that share a room, a room's settings, texts that are tried; over HTTP, and on the
//! pages.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::chat::words::{Action, WordList};
use tidegate::shard::operator::OperatorRequest;

use crate::editing::looks_right;
use crate::{Page, Stage, client, devtools, planned};

#[tokio::test]
async fn planned_shows_take_turns_in_a_room() {
    let stage = Stage::new();
    let [vera, otto] = ["vera", "otto"].map(|name| stage.log_in(name));
    let version = |show: u64| {
        stage.get(&otto, &format!("/console/api/shows/{show}/file")).json()["version"].clone()
    };
    for (id, title, starts_at) in [
        (8, "Early", "2030-01-31T18:00:00Z"),
        (9, "Late", "2030-01-31T20:00:00Z"),
        (10, "Tomorrow", "2030-02-01T20:00:00Z"),
    ] {
        let mut show = planned(title, 0);
        (show["room"], show["starts_at"]) = (json!(30), json!(starts_at));
        let path = format!("/console/api/shows/{id}");
        let made = stage.send(&otto, "PUT", &path, "", &show.to_string());
        assert_eq!(made.status, 200, "beside show 3 in the room, and the others: {}", made.body);
    }
    let shows = stage.get(&vera, "/console/api/shows").json();
    let listed = |name: &str| (0..4).map(|place| shows[place][name].clone()).collect::<Vec<_>>();
    assert_eq!(listed("id"), [3, 8, 9, 10]);
    assert_eq!(listed("room"), [30; 4]);
    let starts = [1_896_112_800_000_u64, 1_896_120_000_000, 1_896_206_400_000].map(|at| json!(at));
    assert_eq!(listed("starts_at_ms")[1..], starts);
    assert_eq!(listed("room_clashes"), [json!([]), json!([9]), json!([8]), json!([])]);
    let order = |show: u64, word: &str, event: Value| {
        let path = format!("/console/api/shows/{show}/commands/{word}");
        stage.post(&otto, &path, &json!({ "event": event }))
    };
    let refused = |show: u64, said: &str| {
        let answer = order(show, "open-lobby", version(show));
        assert_eq!(answer.code(), (409, "not_now".into()), "{}", answer.body);
        assert!(answer.body.contains(said), "{}", answer.body);
        let still = stage.get(&otto, &format!("/console/api/shows/{show}")).json();
        assert_eq!(still["show"]["is_planned"], true);
    };
    // Whoever is in the room stays in it, from one show to the next.
    let mut player = client::Client::in_room(&stage.gateway, 5, 30).await;
    refused(
        8,
        "room 30 has show 3 “A show” (announced): end that one first, or give show 8 another",
    );
    assert_eq!(stage.order(&otto, "cancel", stage.event(&otto)).status, 200);
    refused(8, "show 3 “A show” (cancelled)");
    client::until("it ends", || stage.order(&otto, "end", stage.event(&otto)).status == 200);
    client::until("the room is free", || order(8, "open-lobby", version(8)).status == 200);
    refused(9, "room 30 has show 8 “Early” (lobby): end that one first, or give show 9 another");
    let event = stage.get(&otto, "/console/api/shows/8").json()["show"]["event"].clone();
    assert_eq!(order(8, "publish", event).status, 200);
    player.until("question").await;
    let answer = json!({ "showId": "8", "question": 0, "option": 1 });
    player.request("a", json!({ "answer": answer })).await;
    player.until_response("a").await;
    client::until("the answer counts", || {
        stage.get(&otto, "/console/api/shows/8").json()["show"]["live"]["answered"] == 1
    });
    drop(player);
    stage.stop();
}

/// What would become of a text, with the words that are in force.
pub(crate) fn texts_are_tried(stage: &Stage, [vera, otto]: [&Page; 2]) {
    let path = "/console/api/words/check";
    let text = |text: &str| stage.post(otto, path, &json!({ "text": text })).json();
    assert_eq!(stage.post(vera, path, &json!({ "text": "a" })).status, 403);
    assert_eq!(text("傻 瓜")["outcome"], "passes", "there is no list");
    put_words_in_force(stage);
    let replaced = json!({
        "outcome": "replaced", "becomes": "你*** ok", "refusal": null,
        "found": [{ "text": "傻 瓜", "line": 2, "action": "replace", "whole": false }],
        "words": 2, "bytes_max": 130,
    });
    assert_eq!(text(" 你傻 瓜\tok"), replaced);
    let refused = text("傻瓜 B.O.M.B");
    assert_eq!((&refused["outcome"], &refused["becomes"]), (&json!("refused"), &Value::Null));
    assert_eq!(refused["refusal"]["code"], "word");
    let expected = json!({ "text": "B.O.M.B", "line": 3, "action": "refuse", "whole": true });
    assert_eq!(refused["found"][1], expected, "{refused}");
    assert_eq!(text("bombs")["outcome"], "passes");
    let long = "x".repeat(131);
    for (wrong, code) in [(" \u{200b}", "empty"), (long.as_str(), "too_long")] {
        assert_eq!(text(wrong)["refusal"]["code"], code);
    }
    assert_eq!(stage.post(otto, path, &json!({})).code(), (400, "bad_body".into()));
    // By the API for programs alike.
    let same =
        stage.ask("POST", "/v1/words/check", "", &json!({ "text": " 你傻 瓜\tok" }).to_string());
    assert_eq!((same.status, same.json()), (200, replaced));
}

fn put_words_in_force(stage: &Stage) {
    let words = "# insults\n傻瓜\nbomb = refuse, whole\n";
    let words = WordList::parse(words, Action::Replace).unwrap();
    stage.gateway.call(OperatorRequest::SetWords(Arc::new(words))).unwrap();
}

/// A room's kept kinds and slow readers: what is wrong is said at its field, what is right is in force.
pub(crate) async fn room_set_up(stage: &Stage, page: &mut devtools::Browser) {
    page.value("location.hash = '#/rooms/77'").await;
    page.until("document.querySelector('select[name=kept_rule]')").await;
    page.until("document.querySelector('input[name=kept_kinds]').closest('label').hidden").await;
    page.type_into("select[name=kept_rule]", "these").await;
    page.until("!document.querySelector('input[name=kept_kinds]').closest('label').hidden").await;
    let many = (1..=65).map(|kind| format!("{kind} ")).collect::<String>();
    for (kinds, said) in
        [("", "at least one"), ("1, gift", "gift"), ("0", "0 is"), (many.as_str(), "65 kinds")]
    {
        page.type_into("input[name=kept_kinds]", kinds).await;
        page.click("[data-do=save-room]").await;
        let at_field = format!(
            "document.querySelector('input[name=kept_kinds][aria-invalid]')?.closest('label')\
             .textContent.includes('{said}')"
        );
        page.until(&at_field).await;
        assert_eq!(page.value("document.activeElement.name").await, "kept_kinds");
    }
    looks_right(page, "console-room-wrong").await;
    page.type_into("input[name=kept_kinds]", "1, 7").await;
    page.type_into("select[name=slow_low]", "close").await;
    page.click("[data-do=save-room]").await;
    page.until("document.getElementById('told').textContent.includes('Done')").await;
    let otto = stage.log_in("otto");
    let settings = || stage.get(&otto, "/console/api/rooms/77").json()["settings"].clone();
    let set = json!({ "kept_kinds": [1, 7], "slow_readers": { "low": "close" } });
    assert_eq!(settings(), set);
    // As it was set, and then none in place of the gateway's.
    page.until("document.querySelector('input[name=kept_kinds]')?.value === '1, 7'").await;
    page.until("document.querySelector('select[name=slow_low]').value === 'close'").await;
    looks_right(page, "console-room-set").await;
    page.type_into("select[name=kept_rule]", "none").await;
    page.click("[data-do=save-room]").await;
    client::until("none is kept", || settings()["kept_kinds"] == json!([]));
    page.until("document.querySelector('select[name=kept_rule]').value === 'none'").await;
}

/// A text is typed, and what would become of it is read, on the page of the words.
pub(crate) async fn words_tried(stage: &Stage, page: &mut devtools::Browser) {
    put_words_in_force(stage);
    for (text, outcome, shown) in [
        ("good evening", "passes", "good evening"),
        ("你傻 瓜", "replaced", "你***"),
        ("no b-o-m-b", "refused", "b-o-m-b"),
    ] {
        page.type_into("textarea[name=trial]", text).await;
        page.until("!document.querySelector('[data-outcome]')").await;
        page.click("[data-do=try-text]").await;
        page.until(&format!("document.querySelector('[data-outcome={outcome}]')")).await;
        let said = page.value("document.querySelector('.trial').innerText").await.to_string();
        assert!(said.contains(shown), "{said}");
    }
    looks_right(page, "console-words-tried").await;
}

/// The list warns of shows that are planned for one room at about the same time, and one whose room is busy
/// is refused with which show that is.
pub(crate) async fn rooms_of_planned_shows(stage: &Stage, page: &mut devtools::Browser) {
    let otto = stage.log_in("otto");
    for (id, hour) in [(78, 18), (79, 20)] {
        let mut show = planned(&format!("Show {id}"), 0);
        (show["room"], show["starts_at"]) = (json!(77), json!(format!("2030-01-31T{hour}:00:00Z")));
        let path = format!("/console/api/shows/{id}");
        assert_eq!(stage.send(&otto, "PUT", &path, "", &show.to_string()).status, 200);
    }
    page.value("document.querySelector('#top button.plain').click()").await;
    page.value("location.hash = '#/'").await;
    for (clash, other) in [("78-79", "Show 79"), ("79-78", "Show 78")] {
        let warned = format!(
            "document.querySelector('[data-clash=\"{clash}\"]')?.textContent.includes('{other}')"
        );
        page.until(&warned).await;
    }
    assert_eq!(page.value("document.querySelectorAll('.clash').length").await, 2);
    looks_right(page, "console-shows-clash").await;
    page.value("location.hash = '#/show/78'").await;
    page.click("[data-order=open-lobby]").await;
    page.until("document.getElementById('told').textContent.includes('room 77 has show 77')").await;
    page.picture("console-room-busy").await;
}
