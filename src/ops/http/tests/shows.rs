//! Shows over HTTP, against a port that answers with what it was asked.

use super::*;
use crate::quiz::director::CommandKind;

#[test]
fn cards() {
    let server = server(None);
    for (line, body, expected) in [
        ("POST /v1/users/7/cards", "", expect![[r#"200 {"cards":1,"user":7}"#]]),
        (
            "POST /v1/users/0/cards",
            "",
            expect![[
                r#"400 {"error":{"code":"bad_user_id","message":"`0` is not the id of a user: a whole number from 1"}}"#
            ]],
        ),
        (
            "GET /v1/users/7/cards",
            "",
            expect![[
                r#"405 {"error":{"code":"method_not_allowed","message":"GET is not for /v1/users/7/cards; use POST"}}"#
            ]],
        ),
    ] {
        server.check(line, body, &expected);
    }
    server.http.stop();
}

#[test]
fn shows_and_commands() {
    let server = server(None);
    for (line, body, expected) in [
        ("GET /v1/shows", "", expect![[r#"200 [{"id":1}]"#]]),
        ("GET /v1/shows/1", "", expect![[r#"200 {"id":1,"phase":"lobby"}"#]]),
        (
            "GET /v1/shows/2",
            "",
            expect![[r#"404 {"error":{"code":"unknown_show","message":"there is no show 2"}}"#]],
        ),
        (
            "GET /v1/shows/0",
            "",
            expect![[
                r#"400 {"error":{"code":"bad_show_id","message":"`0` is not the id of a show: a whole number from 1"}}"#
            ]],
        ),
        (
            "GET /v1/shows/x",
            "",
            expect![[
                r#"400 {"error":{"code":"bad_show_id","message":"`x` is not the id of a show: a whole number from 1"}}"#
            ]],
        ),
        ("POST /v1/shows/1/open-lobby", "", expect![[r#"200 {"command":"OpenLobby"}"#]]),
        ("POST /v1/shows/1/publish", "{}", expect![[r#"200 {"command":"Publish"}"#]]),
        (
            "POST /v1/shows/1/publish",
            "{\"question\":3}",
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"publish has no fields: send no body, or an empty object"}}"#
            ]],
        ),
        (
            "POST /v1/shows/1/settle",
            "",
            expect![[
                r#"409 {"error":{"code":"not_now","message":"not now: the show is in its lobby"}}"#
            ]],
        ),
        (
            "POST /v1/shows/1/pause",
            "",
            expect![[
                r#"503 {"error":{"code":"unavailable","message":"try again later: starting"}}"#
            ]],
        ),
        (
            "POST /v1/shows/1/end",
            "",
            expect![[
                r#"503 {"error":{"code":"unavailable","message":"the gateway is stopping and gave no answer"}}"#
            ]],
        ),
        (
            "POST /v1/shows/2/publish",
            "",
            expect![[r#"404 {"error":{"code":"unknown_show","message":"there is no show 2"}}"#]],
        ),
        (
            "POST /v1/shows/1/pubish",
            "",
            expect![[
                r#"404 {"error":{"code":"unknown_command","message":"there is no command `pubish`; did you mean `publish`?"}}"#
            ]],
        ),
    ] {
        server.check(line, body, &expected);
    }
    server.http.stop();
}

#[test]
fn rejudging() {
    let server = server(None);
    for (line, body, expected) in [
        (
            "POST /v1/shows/1/rejudge",
            "{\"question\":0,\"correct\":1}",
            expect![[
                r#"200 {"command":"Rejudge { question: QuestionIndex(0), correct: OptionIndex(1), confirm: false }"}"#
            ]],
        ),
        (
            "POST /v1/shows/1/rejudge",
            "{\"question\":1,\"correct\":1,\"confirm\":true}",
            expect![[
                r#"422 {"error":{"code":"invalid","message":"not possible: question 0 is the last"}}"#
            ]],
        ),
        (
            "POST /v1/shows/1/rejudge",
            "",
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"rejudge expects {\"question\":0,\"correct\":1,\"confirm\":false}: EOF while parsing a value at line 1 column 0"}}"#
            ]],
        ),
        (
            "POST /v1/shows/1/rejudge",
            "{\"question\":-1,\"correct\":1}",
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"rejudge expects {\"question\":0,\"correct\":1,\"confirm\":false}: invalid value: integer `-1`, expected u16 at line 1 column 14"}}"#
            ]],
        ),
        (
            "POST /v1/shows/1/rejudge",
            "{\"question\":0,\"corect\":1}",
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"rejudge expects {\"question\":0,\"correct\":1,\"confirm\":false}: unknown field `corect`, expected one of `question`, `correct`, `confirm` at line 1 column 22"}}"#
            ]],
        ),
    ] {
        server.check(line, body, &expected);
    }
    server.http.stop();
}

#[test]
fn every_word_is_a_command() {
    let server = server(None);
    for word in CommandKind::ALL.map(CommandKind::word) {
        let body = if word == "rejudge" { r#"{"question":0,"correct":0}"# } else { "" };
        let answer = server.ask(&format!("POST /v1/shows/1/{word}"), body);
        let status = answer.split(' ').next().expect("a status");
        assert!(["200", "409", "503"].contains(&status), "{word}: {answer}");
    }
    server.http.stop();
}
