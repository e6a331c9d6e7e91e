//! The console of an installed service, as an operator meets it: `systemd/fresh-root.sh` installs the package
//! in a fresh root, starts the unit, and calls this in that root's network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
#[path = "browser/devtools.rs"]
mod devtools;

use std::net::SocketAddr;

use serde_json::json;
use tidegate::base::ids::UserId;

use client::Client;
use devtools::{Browser, in_phase};

const QUESTIONS: &str = "text,option_1,option_2,option_3,correct\n\
    Which river is the longest?,Nile,Rhine,Po,1\nWhich is no colour?,red,seven,blue,2\n";

fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by systemd/fresh-root.sh"))
}

/// Players in the show's room, with tokens by the secret that the service was given.
async fn players(count: u64) -> Vec<Client> {
    let address: SocketAddr = given("TIDEGATE_INSTALLED_CLIENTS").parse().unwrap();
    let secret = given("TIDEGATE_INSTALLED_SECRET");
    let mut players = Vec::new();
    for user in 1..=count {
        let token = client::token_by(secret.as_bytes(), UserId(user), None);
        let target = format!("/?token={token}&room=77");
        let mut player = Client::connect_to(address, &target).await;
        player.until_payload("joined").await;
        players.push(player);
    }
    players
}

async fn all_answer(players: &mut [Client], question: u32, options: &[u32]) {
    for (player, option) in players.iter_mut().zip(options) {
        player.until("question").await;
        let answer = json!({ "showId": "77", "question": question, "option": option });
        let sequence = question.to_string();
        player.request(&sequence, json!({ "answer": answer })).await;
        let response = player.until_response(&sequence).await;
        assert!(!response["answerReceived"].is_null(), "{response}");
    }
}

#[tokio::test]
#[ignore = "needs the installed service: systemd/fresh-root.sh"]
async fn an_operator_runs_a_show_on_the_installed_service() {
    let url = format!("http://{}/", given("TIDEGATE_INSTALLED_OPERATOR"));
    let mut page = Browser::open(&url, 1_180, 900).await;
    page.fill("input[name=name]", "anna").await;
    page.fill("input[name=password]", &given("TIDEGATE_INSTALLED_PASSWORD")).await;
    page.click("form button").await;

    page.until("document.querySelector('[data-do=new]')").await;
    page.value("document.querySelector('[data-do=new]').click()").await;
    page.type_into("input[name=title]", "Opening night").await;
    page.type_into("input[name=pool]", "1000,50").await;
    page.type_into("input[name=id]", "77").await;
    page.value("document.querySelector('.import').open = true").await;
    page.type_into("textarea[name=questions-pasted]", QUESTIONS).await;
    page.click("[data-do=check]").await;
    page.click("[data-do=replace]").await;
    page.until("document.querySelectorAll('fieldset.question').length === 2").await;
    page.click("[data-do=save]").await;
    page.until(&in_phase("announced")).await;
    page.click("[data-order=open-lobby]").await;
    page.until(&in_phase("lobby")).await;

    let mut players = players(8).await;
    page.click("[data-order=publish]").await;
    all_answer(&mut players, 0, &[0, 0, 0, 0, 0, 0, 1, 2]).await;
    page.until("document.querySelectorAll('.option .number')[0]?.textContent.startsWith('6')")
        .await;
    page.picture("installed-open").await;
    page.until(&in_phase("closed")).await;
    page.click("[data-order=reveal]").await;
    page.until(&in_phase("revealed")).await;
    page.click("[data-order=publish]").await;
    all_answer(&mut players[..6], 1, &[1, 1, 1, 0, 1, 1]).await;
    page.until(&in_phase("closed")).await;
    page.click("[data-order=reveal]").await;
    page.until(&in_phase("revealed")).await;
    page.click("[data-order=settle]").await;
    page.click("dialog [data-yes]").await;
    page.until(&in_phase("settled")).await;
    // Five of them share 1,000.50.
    page.until("document.body.innerText.includes('200.10')").await;
    page.picture("installed-settled").await;
    page.click("[data-order=end]").await;
    page.click("dialog [data-yes]").await;
    page.until(&in_phase("ended")).await;
    assert!(page.faults().await.is_empty(), "{:?}", page.faults().await);
}
