use std::ffi::OsString;

use expect_test::{Expect, expect};

use super::*;
use crate::base::entropy::SeededEntropy;
use crate::ops::config::keys::{Key, Kind, all};

fn read_file(path: &str) -> Result<String, String> {
    match path {
        "good" => Ok("0123456789abcdef0123456789abcdef\n".to_owned()),
        "short" => Ok("swordfish\n".to_owned()),
        "jwks" => Ok(include_str!("../../../tests/keys/jwks.json").to_owned()),
        "no keys" => Ok("{\"keys\":[]}".to_owned()),
        "accounts" => Ok("# nobody\n".to_owned()),
        "words" => Ok("good\n\n...\nfine = whole, censor\n".to_owned()),
        _ => Err("No such file or directory (os error 2)".to_owned()),
    }
}

fn sources(file: &str, environment: &[(&str, &str)]) -> Sources {
    Sources {
        file: Some(("config.toml".to_owned(), file.to_owned())),
        environment: environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect(),
        flags: vec![],
    }
}

fn load(file: &str, environment: &[(&str, &str)]) -> Config {
    match Config::load(&sources(file, environment), &read_file) {
        Ok(config) => config,
        Err(problems) => panic!("{problems}"),
    }
}

fn check_problems(file: &str, environment: &[(&str, &str)], expected: &Expect) {
    match Config::load(&sources(file, environment), &read_file) {
        Ok(config) => panic!("taken: {config:?}"),
        Err(problems) => expected.assert_eq(&problems.to_string()),
    }
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(load("", &[("PATH", "/bin")]), Config::default());
}

#[test]
fn the_example_has_every_key_and_is_the_default() {
    let example = example();
    assert_eq!(load(&example, &[]), Config::default());
    for key in all() {
        let commented = format!("\n# {} = ", key.name);
        let set = format!("\n{} = ", key.name);
        let section = match key.section {
            "" => &example[..],
            section => {
                let start = example.find(&format!("\n[{section}]\n")).expect("its table");
                &example[start..]
            }
        };
        assert!(section.contains(&commented) || section.contains(&set), "{}", key.path());
    }
    assert!(example.lines().all(|line| line.len() <= 100));
}

#[test]
fn the_example_file_of_the_repository_is_the_one_that_is_printed() {
    expect_test::expect_file!["../../../examples/tidegate.toml"].assert_eq(&example());
}

#[test]
fn the_list_of_words_must_be_readable() {
    load("[chat]\nwords_file = \"good\"", &[]);
    check_problems(
        "[chat]\nwords_file = \"words\"",
        &[],
        &expect![[r#"
            words:3: `...` has no letter and no digit, and nothing else is looked at
            words:4: `censor` is none of replace, refuse and whole"#]],
    );
    check_problems(
        "[chat]\nwords_file = \"nowhere\"",
        &[],
        &expect!["config.toml:2: chat.words_file: nowhere: No such file or directory (os error 2)"],
    );
}

#[test]
fn every_integer_takes_both_ends_of_its_range() {
    for key in all() {
        let Kind::Integer { least, most, set, get, .. } = key.kind else { continue };
        for number in [least, most] {
            let mut config = Config::default();
            set(&mut config, number);
            assert_eq!(get(&config), number, "{}", key.path());
        }
        let default = get(&Config::default());
        assert!((least..=most).contains(&default), "{} {default}", key.path());
    }
}

/// A value that is not the default, as the environment would have it.
fn another_value(key: &Key) -> String {
    match &key.kind {
        Kind::Address(_) => "[::1]:1".to_owned(),
        Kind::Integer { get, power_of_two: true, .. } => (get(&Config::default()) * 2).to_string(),
        // What always goes out must fit into the line.
        Kind::Integer { most, .. } if key.name == "line_rate_mbit" => most.to_string(),
        Kind::Integer { get, most, .. } => match get(&Config::default()) {
            number if number < *most => (number + 1).to_string(),
            number => (number - 1).to_string(),
        },
        Kind::Boolean(place) => (!*place(&mut Config::default())).to_string(),
        Kind::Choice { words, .. } => words[1].to_owned(),
        Kind::Text { .. } if key.name == "kept_kinds" => "1, 7".to_owned(),
        Kind::Text { .. } if key.name == "jwks_file" => "jwks".to_owned(),
        Kind::Text { .. } if key.name == "accounts_file" => "accounts".to_owned(),
        Kind::Text { .. } if key.name == "origins" => "https://quiz.example".to_owned(),
        Kind::Text { .. } if key.section == "payouts" && key.name == "url" => {
            "https://balance.example/payouts".to_owned()
        }
        Kind::Text { .. } if key.section == "drain" => "wss://b.example/".to_owned(),
        Kind::Text { .. } if key.name == "listen" => "[::1]:2".to_owned(),
        Kind::Text { .. } if key.name == "proxies" => "10.0.0.0/8, ::1".to_owned(),
        Kind::Text { .. } if key.name == "sources" => "10.0.0.0/8, ::1".to_owned(),
        Kind::Text { .. } => "good".to_owned(),
        Kind::Secret { .. } if key.name == "placement_key" => "0f".repeat(16),
        Kind::Secret { .. } => "0f".repeat(32),
    }
}

#[test]
fn every_key_has_a_place_of_its_own_by_file_and_by_environment() {
    let mut seen = vec![Config::default()];
    for key in all() {
        let text = another_value(key);
        let toml = match key.kind {
            Kind::Integer { .. } | Kind::Boolean(_) => text.clone(),
            _ => format!("\"{text}\""),
        };
        // Certificates and keys go together.
        let (file, other) = match key.name {
            "certificate_files" => {
                ("tls.key_files = \"good\"\n", ("TIDEGATE_TLS__KEY_FILES", "good"))
            }
            "key_files" => {
                ("tls.certificate_files = \"new\"\n", ("TIDEGATE_TLS__CERTIFICATE_FILES", "new"))
            }
            "url" => (
                "payouts.secret = \"0123456789abcdef0123456789abcdef\"\n",
                ("TIDEGATE_PAYOUTS__SECRET", "0123456789abcdef0123456789abcdef"),
            ),
            _ => ("", ("PATH", "/")),
        };
        let changed = load(&format!("{file}{} = {toml}", key.path()), &[]);
        let variable = format!("TIDEGATE_{}", key.path().replace('.', "__").to_uppercase());
        assert_eq!(
            load("", &[(variable.as_str(), text.as_str()), other]),
            changed,
            "{variable}={text}"
        );
        assert!(!seen.contains(&changed), "{} changed nothing of its own", key.path());
        seen.push(changed);
    }
}

#[test]
fn later_sources_win() {
    let mut sources = sources(
        "listen = \"127.0.0.1:1\"\nshards = 1\nlimits.connections_max = 10",
        &[("TIDEGATE_SHARDS", "2"), ("TIDEGATE_LISTEN", "[::1]:2")],
    );
    sources.flags = vec![("--shards", "shards", "3".to_owned())];
    let config = Config::load(&sources, &read_file).expect("a configuration");
    assert_eq!(config.shards, 3);
    assert_eq!(config.listen, "[::1]:2".parse().expect("an address"));
    assert_eq!(config.limits.connections_max, 10);
}

#[test]
fn a_secret_can_come_from_a_file() {
    let config = load("[auth]\nhs256_secret_file = \"good\"", &[]);
    let secret = config.auth.hs256_secret.expect("a secret");
    assert_eq!(secret.bytes(), b"0123456789abcdef0123456789abcdef");
}

#[test]
fn keys_of_others_make_a_secret_of_ours_needless() {
    let mut config = load("[auth]\njwks_file = \"jwks\"", &[]);
    let notes = config.make_missing_secrets(&mut SeededEntropy::new(1, 0));
    assert_eq!((notes.len(), config.auth.hs256_secret.is_some()), (2, false), "{notes:?}");
    let keys = config.token_keys(config.auth.jwks.as_deref()).expect("keys").keys;
    assert_eq!(keys.public_count(), 4);
}

#[test]
fn a_bad_key_set_is_said_with_its_file() {
    for (name, expected) in [
        (
            "nowhere",
            expect![
                "config.toml:1: auth.jwks_file: nowhere: No such file or directory (os error 2)"
            ],
        ),
        (
            "no keys",
            expect![
                "config.toml:1: auth.jwks_file: no keys: has no key for RS256, ES256 or EdDSA; add the issuer's public signature key"
            ],
        ),
    ] {
        check_problems(&format!("auth.jwks_file = \"{name}\""), &[], &expected);
    }
}

#[test]
fn missing_secrets_are_made_and_said() {
    let mut config = load("[auth]\nhs256_secret_file = \"good\"", &[]);
    let notes = config.make_missing_secrets(&mut SeededEntropy::new(1, 0));
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_ne!(config.ticket_key(), [0; 32]);
    assert_ne!(config.placement_key().0, [0; 16]);
    assert_eq!(config.make_missing_secrets(&mut SeededEntropy::new(2, 0)), Vec::<&str>::new());
    assert!(!format!("{config:?}").contains("01234567"), "a secret shows itself");
}

#[test]
fn everything_wrong_is_said_at_once_with_its_line() {
    check_problems(
        r#"
listne = "127.0.0.1:1"
listen = "localhost:8090"
shards = "four"
connections_max = 7
placement_key = "xyz"

[auth]
hs256_secret = "short"

[limits]
conections_max = 1
message_bytes_max = 99_999_999_999_999_999_999
spill_bytes = 1.5
idle_timeout_ms = -1

[net]
completion_entries = 100
steer_by_cpu = "yes"

[lgo]
level = "info"

[log]
level = "inof"
format = "xml"
filter = "tidegate=loudly"
"#,
        &[
            ("TIDEGATE_LIMITS__CONECTIONS_MAX", "1"),
            ("TIDEGATE_SHARDS", "many"),
            ("TIDEGATE_NET__STEER_BY_CPU", "ture"),
            ("TIDEGATE_LISTEN", "8090"),
        ],
        &expect![[r#"
            config.toml:2: listne: unknown key; did you mean `listen`?
            config.toml:3: listen: `localhost:8090` is not an IP address with a port, such as `127.0.0.1:8090` or `[::]:8090`
            config.toml:4: shards: expects a whole number, got a string
            config.toml:5: connections_max: unknown key; did you mean `limits.connections_max`?
            config.toml:6: placement_key: expects 32 hexadecimal digits, got other characters
            config.toml:9: auth.hs256_secret: has 5 bytes, HS256 needs at least 32; `openssl rand -hex 32` makes one
            config.toml:12: limits.conections_max: unknown key; did you mean `connections_max`?
            config.toml:13: limits.message_bytes_max: 99999999999999999999 is out of range: expects 1024 to 17825792; the nearest valid one is 17825792
            config.toml:14: limits.spill_bytes: expects a whole number, got a number with a fraction
            config.toml:15: limits.idle_timeout_ms: -1 is negative: expects 200 to 3600000; the nearest valid one is 200
            config.toml:18: net.completion_entries: 100 is no power of two; the next one is 128
            config.toml:19: net.steer_by_cpu: expects true or false, got a string
            config.toml:21: lgo: unknown key; did you mean `log`?
            config.toml:25: log.level: `inof` is not one of error, warn, info, debug, trace; did you mean `info`?
            config.toml:26: log.format: `xml` is not one of text, json; the nearest valid one is `text`
            config.toml:27: log.filter: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5; write levels by module, such as `info,tidegate::net=debug`
            environment TIDEGATE_LIMITS__CONECTIONS_MAX: unknown variable; did you mean `TIDEGATE_LIMITS__CONNECTIONS_MAX`?
            environment TIDEGATE_LISTEN: listen: `8090` is not an IP address with a port, such as `127.0.0.1:8090`
            environment TIDEGATE_NET__STEER_BY_CPU: net.steer_by_cpu: expects true or false, got `ture`; did you mean `true`?
            environment TIDEGATE_SHARDS: shards: expects a whole number, got `many`"#]],
    );
}

#[test]
fn kinds_of_values() {
    for (file, expected) in [
        (
            "listen = 8090",
            expect![
                "config.toml:1: listen: expects a string, got a whole number; write one `IP:PORT`"
            ],
        ),
        (
            "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]",
            expect!["config.toml:1: listen: expects a string, got an array; write one `IP:PORT`"],
        ),
        (
            "limits = 3",
            expect!["config.toml:1: limits: expects a table, `[limits]`, got a whole number"],
        ),
        (
            "[[limits]]\nconnections_max = 1",
            expect!["config.toml:1: limits: expects a table, `[limits]`, got an array"],
        ),
        (
            "[listen]\nport = 1",
            expect!["config.toml:1: listen: expects a string, got a table; write one `IP:PORT`"],
        ),
        (
            "[limits.connections_max]\nx = 1",
            expect!["config.toml:1: limits.connections_max: expects a whole number, got a table"],
        ),
        (
            "log.level = 2020-01-01",
            expect!["config.toml:1: log.level: expects a string, got a date or time"],
        ),
        (
            "[quiz]\nforce_retry_percent = 101",
            expect![
                "config.toml:2: quiz.force_retry_percent: 101 is out of range: expects 0 to 100; the nearest valid one is 100"
            ],
        ),
        (
            "operator.token = \"sixteen bytes or so\"",
            expect!["config.toml:1: operator.token: may have visible ASCII characters only"],
        ),
        ("auth.audience = \" \"", expect!["config.toml:1: auth.audience: is empty"]),
        (
            "auth.audience = \"a\\u0007b\"",
            expect![[r#"config.toml:1: auth.audience: has the control character '\u{7}'"#]],
        ),
    ] {
        check_problems(file, &[], &expected);
    }
}

#[test]
fn relations_between_keys() {
    for (file, expected) in [
        (
            "[limits]\nheartbeat_interval_ms = 30_000",
            expect![
                "config.toml:2: limits.heartbeat_interval_ms: an idle timeout of 50000 ms is less than two heartbeats of 30000 ms"
            ],
        ),
        (
            "[limits]\n\nidle_timeout_ms = 1000",
            expect![
                "config.toml:3: limits.idle_timeout_ms: an idle timeout of 1000 ms is less than two heartbeats of 20000 ms"
            ],
        ),
        (
            "[net]\nrings_max = 1024\nslots_per_ring = 1_048_576",
            expect![
                "config.toml:2: net.rings_max: 1024 rings of 1048576 slots are more than the 16777216 connections of a shard"
            ],
        ),
        (
            "operator.listen = \"127.0.0.1:8090\"",
            expect![
                "config.toml:1: operator.listen: 127.0.0.1:8090 is where clients connect; operators need another"
            ],
        ),
        (
            "[auth]\nhs256_secret_file = \"nowhere\"",
            expect![
                "config.toml:2: auth.hs256_secret_file: nowhere: No such file or directory (os error 2)"
            ],
        ),
        (
            "[auth]\nhs256_secret_file = \"short\"",
            expect![
                "config.toml:2: auth.hs256_secret_file: short: has 9 bytes, HS256 needs at least 32; `openssl rand -hex 32` makes one"
            ],
        ),
        (
            "[auth]\nhs256_secret_file = \"good\"\nhs256_secret = \"0123456789abcdef0123456789abcdef\"",
            expect![
                "config.toml:2: auth.hs256_secret_file: auth.hs256_secret is set too (config.toml:3); keep one"
            ],
        ),
    ] {
        check_problems(file, &[], &expected);
    }
}

#[test]
fn what_is_not_toml() {
    for (file, expected) in [
        (
            "shards = 1\nshards = 2\n[limits]\nconections_max = 3",
            expect![[r#"
            config.toml:2: not TOML: duplicate key
            config.toml:4: limits.conections_max: unknown key; did you mean `connections_max`?"#]],
        ),
        (
            "shards = \nlog = [\"x\"\n",
            expect![[r#"
            config.toml:1: not TOML: string values must be quoted, expected literal string
            config.toml:2: not TOML: unclosed array, expected `]`"#]],
        ),
        (
            "shards = ",
            expect![
                "config.toml:1: not TOML: string values must be quoted, expected literal string"
            ],
        ),
        (
            "shards = 1\nshards = 2\nlisten = [1\n",
            expect![[r#"
            config.toml:2: not TOML: duplicate key
            config.toml:3: not TOML: unclosed array, expected `]`"#]],
        ),
        (
            "[net\nrings_max = 1\n[log]\nlevel == 3",
            expect![[r#"
            config.toml:1: not TOML: unclosed table, expected `]`
            config.toml:4: not TOML: extra `=`, expected nothing
            config.toml:4: not TOML: unexpected key or value, expected newline, `#`"#]],
        ),
        (
            "shards = 01",
            expect!["config.toml:1: not TOML: unexpected leading zero, expected nothing"],
        ),
    ] {
        check_problems(file, &[], &expected);
    }
}

#[test]
fn a_file_that_is_too_long_is_not_parsed() {
    let file = "#".repeat(1024 * 1024 + 1);
    check_problems(&file, &[], &expect!["config.toml: has 1048577 bytes, more than 1048576"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(file in "(\\PC|\n|[=\\[\\]\".]){0,200}") {
        let _ = Config::load(&sources(&file, &[]), &read_file);
    }
}
