//! The server API in JSON, against a port that answers with what it was asked.

use super::*;

#[test]
fn moderation() {
    let server = server(None);
    for (line, body, expected) in [
        (
            "POST /v1/users/7/mute",
            r#"{"seconds":60}"#,
            expect![[
                r#"200 {"revoked":true,"token":"Mute(Mute { user: UserId(7), room: RoomId(0), lasting: 60s })"}"#
            ]],
        ),
        (
            "POST /v1/users/7/mute",
            r#"{"seconds":60,"room":5}"#,
            expect![[
                r#"200 {"revoked":true,"token":"Mute(Mute { user: UserId(7), room: RoomId(5), lasting: 60s })"}"#
            ]],
        ),
        (
            "POST /v1/users/7/mute",
            r#"{"seconds":0}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"seconds is 0: mute for 1 to 31622400"}}"#
            ]],
        ),
        (
            "POST /v1/users/7/mute",
            r#"{"seconds":60,"room":0}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"room 0 is no room; leave room out for everywhere"}}"#
            ]],
        ),
        (
            "POST /v1/users/7/mute",
            "",
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"seconds is 0: mute for 1 to 31622400"}}"#
            ]],
        ),
        (
            "POST /v1/users/7/unmute",
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Mute(Mute { user: UserId(7), room: RoomId(0), lasting: 0ns })"}"#
            ]],
        ),
        (
            "POST /v1/users/7/unmute",
            r#"{"room":5}"#,
            expect![[
                r#"200 {"revoked":true,"token":"Mute(Mute { user: UserId(7), room: RoomId(5), lasting: 0ns })"}"#
            ]],
        ),
        (
            "POST /v1/users/x/unmute",
            "",
            expect![[
                r#"400 {"error":{"code":"bad_user_id","message":"`x` is not the id of a user: a whole number from 1"}}"#
            ]],
        ),
    ] {
        server.check(line, body, &expected);
    }
    server.http.stop();
}

#[test]
fn words_are_read_again_and_tried() {
    let server = server(None);
    for (line, body, expected) in [
        ("POST /v1/words/reload", "", expect![[r#"200 {"words":3}"#]]),
        ("POST /v1/words/check", r#"{"text":"你好"}"#, expect![[r#"200 {"tried":"你好"}"#]]),
        (
            "POST /v1/words/check",
            r#"{"txt":"a"}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"check expects {\"text\":\"…\"}: unknown field `txt`, expected `text` at line 1 column 6"}}"#
            ]],
        ),
        (
            "GET /v1/words/check",
            "",
            expect![[
                r#"405 {"error":{"code":"method_not_allowed","message":"GET is not for /v1/words/check; use POST"}}"#
            ]],
        ),
        (
            "GET /v1/words/reload",
            "",
            expect![[
                r#"405 {"error":{"code":"method_not_allowed","message":"GET is not for /v1/words/reload; use POST"}}"#
            ]],
        ),
    ] {
        server.check(line, body, &expected);
    }
    server.http.stop();
}

#[test]
fn tokens_are_revoked_by_user_and_by_name() {
    let server = server(None);
    for (line, body, expected) in [
        (
            "POST /v1/users/7/revoke",
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Revoke(User { user: UserId(7), issued_until_unix_s: None, refused_until_unix_s: None })"}"#
            ]],
        ),
        (
            "POST /v1/users/7/revoke",
            r#"{"issued_until":5,"until":9}"#,
            expect![[
                r#"200 {"revoked":true,"token":"Revoke(User { user: UserId(7), issued_until_unix_s: Some(5), refused_until_unix_s: Some(9) })"}"#
            ]],
        ),
        (
            "POST /v1/users/0/revoke",
            "",
            expect![[
                r#"400 {"error":{"code":"bad_user_id","message":"`0` is not the id of a user: a whole number from 1"}}"#
            ]],
        ),
        (
            "POST /v1/users/7/revoke",
            r#"{"untill":9}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"revoke expects nothing, or {\"issued_until\":1800000000,\"until\":1800000600} with either or both: unknown field `untill`, expected one of `user`, `issued_until`, `until` at line 1 column 9"}}"#
            ]],
        ),
        (
            "POST /v1/tokens/a%2Fb-1/revoke",
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Revoke(Token { id: \"a/b-1\", expires_unix_s: None })"}"#
            ]],
        ),
        (
            "POST /v1/tokens/x/revoke",
            r#"{"expires":9}"#,
            expect![[
                r#"200 {"revoked":true,"token":"Revoke(Token { id: \"x\", expires_unix_s: Some(9) })"}"#
            ]],
        ),
        (
            "POST /v1/tokens/x/revoke",
            r#"{"expires":"soon"}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"revoke expects nothing, or {\"expires\":1800000000}: invalid type: string \"soon\", expected i64 at line 1 column 17"}}"#
            ]],
        ),
        (
            "GET /v1/tokens/x/revoke",
            "",
            expect![[
                r#"405 {"error":{"code":"method_not_allowed","message":"GET is not for /v1/tokens/x/revoke; use POST"}}"#
            ]],
        ),
    ] {
        server.check(line, body, &expected);
    }
    let long = format!("POST /v1/tokens/{}/revoke", "x".repeat(257));
    server.check(&long, "", &expect![[r#"400 {"error":{"code":"bad_token_id","message":"a token's `jti` has 1 to 256 bytes"}}"#]]);
    server.http.stop();
}

#[test]
fn the_service_speaks_in_a_room() {
    let server = server(None);
    for (body, expected) in [
        (
            r#"{"lane":"high","messages":["aGk=","aG8="]}"#,
            expect![[r#"200 {"epoch":1,"first_version":2,"last_version":1,"room":7}"#]],
        ),
        (
            r#"{"lane":"top","messages":["aGk="]}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"publish expects {\"lane\":\"high\",\"messages\":[\"<base64>\"]}: unknown variant `top`, expected one of `high`, `mid`, `low` at line 1 column 13"}}"#
            ]],
        ),
        (
            r#"{"lane":"low","messages":[]}"#,
            expect![[r#"400 {"error":{"code":"bad_body","message":"0 messages: send 1 to 64"}}"#]],
        ),
        (
            r#"{"lane":"low","messages":["aGk=","?"]}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"publish expects {\"lane\":\"high\",\"messages\":[\"<base64>\"]}: message 1 (counted from 0) is not base64: Invalid symbol 63, offset 0. at line 1 column 38"}}"#
            ]],
        ),
    ] {
        server.check("POST /v1/rooms/7/publish", body, &expected);
    }
    let long = "QUFB".repeat(1_366);
    let body = format!(r#"{{"lane":"mid","messages":["{long}"]}}"#);
    server.check("POST /v1/rooms/7/publish", &body, &expect![[r#"400 {"error":{"code":"bad_body","message":"message 0 (counted from 0) has 4098 bytes; at most 4096 are possible"}}"#]]);
    server.check("POST /v1/rooms/7/close", "", &expect![[r#"200 {"closed":true,"room":7}"#]]);
    server.check("POST /v1/rooms/0/publish", "{}", &expect![[r#"400 {"error":{"code":"bad_room_id","message":"`0` is not the id of a room: a whole number from 1"}}"#]]);
    server.http.stop();
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn rooms_are_made_listed_and_read_back() {
    let server = server(None);
    let settings = r#"{"chat_per_second":50,"opaque_allowed":false,"low_per_second":20,"kept_kinds":[7],"slow_readers":{"low":"close"},"egress_bytes_per_second":1000000}"#;
    let page = "GET /v1/rooms/7/history?";
    for (line, body, expected) in [
        (
            "PUT /v1/rooms/7".to_owned(),
            settings,
            expect![[
                r#"200 {"revoked":true,"token":"Service(ConfigureRoom { room: RoomId(7), settings: RoomSettings { chat_per_second: Some(50), opaque_allowed: Some(false), low_per_second: Some(20), kept_kinds: Some([7]), slow: [None, None, Some(Close)], egress_bytes_per_s: Some(1000000) } })"}"#
            ]],
        ),
        (
            "PUT /v1/rooms/7".to_owned(),
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Service(ConfigureRoom { room: RoomId(7), settings: RoomSettings { chat_per_second: None, opaque_allowed: None, low_per_second: None, kept_kinds: None, slow: [None, None, None], egress_bytes_per_s: None } })"}"#
            ]],
        ),
        (
            "PUT /v1/rooms/7".to_owned(),
            r#"{"chat_per_secnd":5}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"a room expects no body or {\"chat_per_second\":50}, with any of its settings: unknown field `chat_per_secnd`, expected one of `chat_per_second`, `opaque_allowed`, `low_per_second`, `kept_kinds`, `slow_readers`, `egress_bytes_per_second` at line 1 column 17"}}"#
            ]],
        ),
        (
            "PUT /v1/rooms/7".to_owned(),
            r#"{"slow_readers":{"low":"drop"}}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"slow_readers.low is `drop`: give `gap` or `close`"}}"#
            ]],
        ),
        (
            "PUT /v1/rooms/7".to_owned(),
            r#"{"kept_kinds":[0]}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"kept_kinds has 0, which is the kind of what members say: leave it out"}}"#
            ]],
        ),
        (
            "POST /v1/rooms/7".to_owned(),
            "",
            expect![[
                r#"405 {"error":{"code":"method_not_allowed","message":"POST is not for /v1/rooms/7; use GET, HEAD, PUT"}}"#
            ]],
        ),
        (
            "GET /v1/rooms/7".to_owned(),
            "",
            expect![[r#"404 {"error":{"code":"unknown_room","message":"no room 7"}}"#]],
        ),
        (
            "GET /v1/rooms/7/online".to_owned(),
            "",
            expect![[r#"200 {"revoked":true,"token":"Online { room: RoomId(7) }"}"#]],
        ),
        (
            "POST /v1/rooms/7/online".to_owned(),
            "",
            expect![[
                r#"405 {"error":{"code":"method_not_allowed","message":"POST is not for /v1/rooms/7/online; use GET, HEAD"}}"#
            ]],
        ),
        (
            "GET /v1/rooms?after=9&limit=5".to_owned(),
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Service(Rooms(Page { after: RoomId(9), limit: 5 }))"}"#
            ]],
        ),
        (
            "GET /v1/rooms?limit=5000".to_owned(),
            "",
            expect![[
                r#"400 {"error":{"code":"bad_query","message":"`limit=5000`: give a whole number from 1 to 1000"}}"#
            ]],
        ),
        (
            "GET /v1/rooms?limt=5".to_owned(),
            "",
            expect![[
                r#"400 {"error":{"code":"bad_query","message":"the query has `limt`, which is not known; did you mean `limit`? (there are: after, limit)"}}"#
            ]],
        ),
        (
            "GET /v1/rooms?limit=5&limit=6".to_owned(),
            "",
            expect![[
                r#"400 {"error":{"code":"bad_query","message":"the query has `limit` twice: give it once"}}"#
            ]],
        ),
        (
            format!("{page}lane=high&from=3&limit=10"),
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Service(History { room: RoomId(7), lane: High, from: Some(3), versions_max: 10, bytes_max: 131072 })"}"#
            ]],
        ),
        (
            page.to_owned(),
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Service(History { room: RoomId(7), lane: Low, from: None, versions_max: 100, bytes_max: 131072 })"}"#
            ]],
        ),
        (
            format!("{page}lane=top"),
            "",
            expect![[
                r#"400 {"error":{"code":"bad_query","message":"`lane=top`: give `high`, `mid` or `low`"}}"#
            ]],
        ),
        (
            "POST /v1/rooms/7/close".to_owned(),
            r#"{"room":8}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"the path names room 7 and the body room 8: leave room out of the body"}}"#
            ]],
        ),
    ] {
        server.check(&line, body, &expected);
    }
    server.http.stop();
}

#[test]
fn users_are_sent_away_and_banned() {
    let server = server(None);
    for (line, body, expected) in [
        (
            "POST /v1/users/7/disconnect",
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Service(Disconnect { user: UserId(7), reconnect: false })"}"#
            ]],
        ),
        (
            "POST /v1/users/7/disconnect",
            r#"{"reconnect":true}"#,
            expect![[
                r#"200 {"revoked":true,"token":"Service(Disconnect { user: UserId(7), reconnect: true })"}"#
            ]],
        ),
        (
            "POST /v1/users/7/ban",
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Service(Ban { user: UserId(7), until_unix_s: Some(9223372036854775807) })"}"#
            ]],
        ),
        (
            "POST /v1/users/7/ban",
            r#"{"until":1800000600}"#,
            expect![[
                r#"200 {"revoked":true,"token":"Service(Ban { user: UserId(7), until_unix_s: Some(1800000600) })"}"#
            ]],
        ),
        (
            "POST /v1/users/7/ban",
            r#"{"until":"tomorrow"}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"ban expects no body or {\"until\":1800000600}: invalid type: string \"tomorrow\", expected i64 at line 1 column 19"}}"#
            ]],
        ),
        (
            "POST /v1/users/7/ban",
            r#"{"user":8}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"the path names user 7 and the body user 8: leave user out of the body"}}"#
            ]],
        ),
        (
            "POST /v1/users/7/unban",
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Service(Ban { user: UserId(7), until_unix_s: None })"}"#
            ]],
        ),
        (
            "GET /v1/bans?after=7",
            "",
            expect![[
                r#"200 {"revoked":true,"token":"Service(Bans(Page { after: UserId(7), limit: 100 }))"}"#
            ]],
        ),
        (
            "POST /v1/bans",
            "",
            expect![[
                r#"405 {"error":{"code":"method_not_allowed","message":"POST is not for /v1/bans; use GET, HEAD"}}"#
            ]],
        ),
    ] {
        server.check(line, body, &expected);
    }
    server.http.stop();
}

#[test]
fn the_same_is_said_in_many_rooms() {
    let server = server(None);
    let many: Vec<String> = (1..=1_001).map(|room| room.to_string()).collect();
    let many = format!(r#"{{"rooms":[{}],"lane":"low","messages":["aGk="]}}"#, many.join(","));
    let long = format!(
        r#"{{"rooms":[{}],"lane":"low","messages":["","","","","",""]}}"#,
        (1..=800).map(|room| room.to_string()).collect::<Vec<_>>().join(",")
    );
    for (body, expected) in [
        (
            r#"{"rooms":[7,8],"lane":"low","messages":["aGk="]}"#,
            expect![[
                r#"200 {"results":[{"published":{"epoch":0,"first_version":0,"last_version":0,"room":0},"room":7},{"published":{"epoch":0,"first_version":0,"last_version":0,"room":0},"room":8}]}"#
            ]],
        ),
        (
            r#"{"rooms":[],"lane":"low","messages":["aGk="]}"#,
            expect![[r#"400 {"error":{"code":"bad_body","message":"0 rooms: name 1 to 1000"}}"#]],
        ),
        (
            r#"{"rooms":[7,8,7],"lane":"low","messages":["aGk="]}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"room 7 is named twice: name each once"}}"#
            ]],
        ),
        (
            r#"{"rooms":[0],"lane":"low","messages":["aGk="]}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"room is missing or 0: give the id of a room, a whole number from 1"}}"#
            ]],
        ),
        (
            &many,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"1001 rooms: name 1 to 1000"}}"#
            ]],
        ),
        (
            &long,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"6 messages for 800 rooms are 4800: at most 4000 at once; send several requests"}}"#
            ]],
        ),
    ] {
        server.check("POST /v1/broadcast", body, &expected);
    }
    server.http.stop();
}

#[test]
fn each_operation_of_a_batch_has_its_own_result() {
    let server = server(None);
    let good = r#"{"operations":[{"publish":{"room":7,"lane":"low","messages":["aGk="]}},{"mute":{"user":5,"seconds":0}},{"publish":{"room":503,"lane":"low","messages":["aGk="]}},{"close_room":{"room":7}},null]}"#;
    let many = format!(r#"{{"operations":[{}]}}"#, vec!["null"; 101].join(","));
    for (body, expected) in [
        (
            good,
            expect![[
                r#"200 {"results":[{"published":{"epoch":1,"first_version":1,"last_version":1,"room":7},"status":200},{"error":{"code":"bad_body","message":"seconds is 0: mute for 1 to 31622400"},"status":400},{"error":{"code":"unavailable","message":"try again later: the high lane is full"},"status":503},{"room_closed":{"closed":true,"room":7},"status":200},{"error":{"code":"bad_body","message":"the operation is empty or not known: name one of the schema's"},"status":400}]}"#
            ]],
        ),
        (
            r#"{"operations":[]}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"0 operations: send 1 to 100"}}"#
            ]],
        ),
        (
            r#"{"operations":[{"publsh":{}}]}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"batch expects {\"operations\":[{\"mute\":{\"user\":5,\"seconds\":600}}]}: unknown variant `publsh`, expected one of `publish`, `broadcast`, `close_room`, `configure_room`, `disconnect`, `mute`, `unmute`, `ban`, `unban`, `revoke_user`, `revoke_token` at line 1 column 24"}}"#
            ]],
        ),
        (
            &many,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"101 operations: send 1 to 100"}}"#
            ]],
        ),
    ] {
        server.check("POST /v1/batch", body, &expected);
    }
    server.http.stop();
}
