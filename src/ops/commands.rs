//! The short commands: they write and end. The long ones (`serve`, `demo`) are the binary's.

use std::ffi::OsString;
use std::io::{self, Write};

use crate::auth::token::{MoreClaims, NewToken, mint_with};
use crate::base::ids::UserId;
use crate::base::limits::TOKEN_ROOMS_MAX;
use crate::ops::cli::{CheckConfigArguments, ExitStatus, TokenArguments};
use crate::ops::config::{self, Config};
use crate::ops::problems::Problems;
use crate::ops::settings::{Settings, SettingsSources};

/// What a short command may use of the world.
pub struct Surroundings<'w> {
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Now, Unix seconds.
    pub now_unix_s: i64,
    /// Where results go.
    pub output: &'w mut dyn Write,
    /// Where complaints go.
    pub complaints: &'w mut dyn Write,
}

/// `tidegate check-config`: says everything that is wrong with the settings, or that they are well.
pub fn check_config(
    arguments: &CheckConfigArguments,
    surroundings: &mut Surroundings<'_>,
) -> ExitStatus {
    if arguments.print_default {
        return written(write!(surroundings.output, "{}", config::example()));
    }
    let sources = SettingsSources {
        config: arguments.config.clone(),
        shows: arguments.show.clone(),
        environment: surroundings.environment.clone(),
        flags: vec![],
    };
    match Settings::load(&sources) {
        Ok(settings) => written(describe(arguments, &settings, surroundings.output)),
        Err(problems) => complain(&problems, surroundings.complaints),
    }
}

/// `tidegate token`: an access token on a line of its own.
pub fn token(arguments: &TokenArguments, surroundings: &mut Surroundings<'_>) -> ExitStatus {
    let secret =
        arguments.secret.iter().map(|text| ("--secret", "auth.hs256_secret", text.clone()));
    let sources = SettingsSources {
        config: arguments.config.clone(),
        shows: vec![],
        environment: surroundings.environment.clone(),
        flags: secret.collect(),
    };
    let config = match Settings::load(&sources) {
        Ok(settings) => settings.config,
        Err(problems) => return complain(&problems, surroundings.complaints),
    };
    let Some(secret) = &config.auth.hs256_secret else {
        let reason = "there is no secret to sign with: set auth.hs256_secret or \
                      auth.hs256_secret_file in the configuration, or give --secret";
        let _ = writeln!(surroundings.complaints, "{reason}");
        return ExitStatus::Settings;
    };
    let new = NewToken {
        user: UserId(arguments.user),
        issued_unix_s: surroundings.now_unix_s,
        lifetime_s: arguments.lifetime_s,
        audience: config.auth.audience.as_deref(),
    };
    if arguments.rooms.len() > TOKEN_ROOMS_MAX {
        let count = arguments.rooms.len();
        let _ = writeln!(
            surroundings.complaints,
            "--rooms has {count} rooms; a token can name {TOKEN_ROOMS_MAX}"
        );
        return ExitStatus::Failed;
    }
    let more = MoreClaims {
        issuer: config.auth.issuer.as_deref(),
        token_id: arguments.token_id.as_deref(),
        rooms: (!arguments.rooms.is_empty()).then_some(&arguments.rooms),
        publish: arguments.no_publish.then_some(false),
    };
    written(writeln!(surroundings.output, "{}", mint_with(secret.bytes(), new, &more)))
}

fn describe(
    arguments: &CheckConfigArguments,
    settings: &Settings,
    output: &mut dyn Write,
) -> io::Result<()> {
    let Settings { config, shows } = settings;
    let name = match &arguments.config {
        Some(path) => path.display().to_string(),
        None => "defaults and environment".to_owned(),
    };
    writeln!(output, "{name}: valid; listens on {}", config.listen)?;
    if let (Some(path), Ok(jwks)) =
        (&config.auth.jwks_file, config.token_keys(config.auth.jwks.as_deref()))
    {
        writeln!(output, "{path}: valid; {} public keys for tokens", jwks.keys.public_count())?;
        for note in &jwks.left_out {
            writeln!(output, "{path}: note: {note}")?;
        }
    }
    for note in missing_secrets(config) {
        writeln!(output, "{name}: note: {note}")?;
    }
    for (path, show) in arguments.show.iter().zip(shows) {
        let show = &show.definition;
        let count = show.questions.len();
        let path = path.display();
        writeln!(output, "{path}: valid; show {}, {count} questions: {}", show.id, show.title)?;
    }
    Ok(())
}

fn missing_secrets(config: &Config) -> Vec<&'static str> {
    struct Nothing;
    impl crate::base::entropy::Entropy for Nothing {
        fn fill(&mut self, _: &mut [u8]) {}
    }
    config.clone().make_missing_secrets(&mut Nothing)
}

/// Writes all problems, and how to go on.
pub fn complain(problems: &Problems, complaints: &mut dyn Write) -> ExitStatus {
    // If even complaining fails, the status still tells.
    let _ = writeln!(complaints, "{problems}");
    ExitStatus::Settings
}

fn written(outcome: io::Result<()>) -> ExitStatus {
    match outcome {
        Ok(()) => ExitStatus::Success,
        Err(_) => ExitStatus::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::KeySet;
    use crate::auth::token::{TokenPolicy, TokenVerifier};
    use crate::base::ids::RoomId;
    use expect_test::expect;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const NOW: i64 = 1_800_000_000;

    /// Status, results and complaints of a command, with the path of its files shortened.
    fn run(
        directory: &Path,
        environment: &[(&str, &str)],
        command: impl FnOnce(&mut Surroundings<'_>) -> ExitStatus,
    ) -> String {
        let (mut output, mut complaints) = (Vec::new(), Vec::new());
        let status = command(&mut Surroundings {
            environment: environment.iter().map(|(k, v)| (k.into(), v.into())).collect(),
            now_unix_s: NOW,
            output: &mut output,
            complaints: &mut complaints,
        });
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let shown = format!("{}\n{}{}", status.code(), text(output), text(complaints));
        shown.replace(&format!("{}/", directory.display()), "")
    }

    fn check(files: &[(&str, &str)], environment: &[(&str, &str)]) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let mut arguments = CheckConfigArguments::default();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            match *name {
                "config.toml" => arguments.config = Some(path),
                _ => arguments.show.push(path),
            }
        }
        run(directory.path(), environment, |surroundings| check_config(&arguments, surroundings))
    }

    #[test]
    fn good_settings_are_described() {
        let show = include_str!("bundled_show.toml");
        let config = format!("listen = \"[::1]:80\"\nauth.hs256_secret = \"{SECRET}\"");
        let shown = check(&[("config.toml", &config), ("show.toml", show)], &[]);
        expect![[r#"
            0
            config.toml: valid; listens on [::1]:80
            config.toml: note: placement_key is not set: each process makes its own; users change buckets at a restart
            config.toml: note: ticket_key is not set: each process makes its own; retry tickets end with it
            show.toml: valid; show 1, 16 questions: The tidegate quiz
        "#]].assert_eq(&shown);
        expect![[r#"
            0
            defaults and environment: valid; listens on 127.0.0.1:0
            defaults and environment: note: placement_key is not set: each process makes its own; users change buckets at a restart
            defaults and environment: note: ticket_key is not set: each process makes its own; retry tickets end with it
            defaults and environment: note: auth.hs256_secret and auth.jwks_file are not set: each process makes a secret of its own; no token from outside is valid
        "#]].assert_eq(&check(&[], &[("TIDEGATE_LISTEN", "127.0.0.1:0")]));
    }

    #[test]
    fn all_that_is_wrong_in_all_files_is_said() {
        let shown = check(
            &[
                ("config.toml", "shrads = 1"),
                ("a.toml", "id = 1\ntitle = \"A\"\nprize_pool_cents = -1\nquestions = []"),
                ("b.toml", "id = "),
            ],
            &[("TIDEGATE_LSITEN", "")],
        );
        expect![[r#"
            78
            config.toml:1: shrads: unknown key; did you mean `shards`?
            environment TIDEGATE_LSITEN: unknown variable; did you mean `TIDEGATE_LISTEN`?
            a.toml:3: prize_pool_cents: -1 is negative: expects 0 to 10000000000000; the nearest valid one is 0
            a.toml:4: questions: a show has at least one question
            b.toml:1: not TOML: string values must be quoted, expected literal string
        "#]].assert_eq(&shown);
    }

    #[test]
    fn files_that_cannot_be_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let binary = directory.path().join("binary.toml");
        std::fs::write(&binary, [0xff, 0xfe]).expect("written");
        let arguments = CheckConfigArguments {
            config: Some(directory.path().join("nowhere.toml")),
            show: vec![binary, PathBuf::from("/dev/zero")],
            print_default: false,
        };
        let shown = run(directory.path(), &[], |s| check_config(&arguments, s));
        expect![[r#"
            78
            nowhere.toml: cannot be opened: No such file or directory (os error 2)
            binary.toml: cannot be read: stream did not contain valid UTF-8
            /dev/zero: has 1048577 bytes, more than 1048576
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn the_default_is_printed() {
        let arguments = CheckConfigArguments { print_default: true, ..Default::default() };
        let shown = run(Path::new("x"), &[], |surroundings| check_config(&arguments, surroundings));
        assert_eq!(shown, format!("0\n{}", config::example()));
    }

    fn arguments(secret: Option<&str>) -> TokenArguments {
        TokenArguments {
            user: 7,
            config: None,
            secret: secret.map(str::to_owned),
            lifetime_s: 60,
            rooms: Vec::new(),
            no_publish: false,
            token_id: None,
        }
    }

    #[test]
    fn a_token_is_what_the_gateway_takes() {
        let from_flag = run(Path::new("x"), &[], |s| token(&arguments(Some(SECRET)), s));
        let from_environment = run(
            Path::new("x"),
            &[("TIDEGATE_AUTH__HS256_SECRET", SECRET), ("TIDEGATE_AUTH__AUDIENCE", "gate")],
            |s| token(&arguments(None), s),
        );
        let verifier = TokenVerifier::new(SECRET.as_bytes());
        let text = from_flag.strip_prefix("0\n").expect("success").trim_end();
        let claims = verifier.verify(text, NOW).expect("a token of ours");
        assert_eq!((claims.user, claims.expires_unix_s), (UserId(7), NOW + 60));
        let text = from_environment.strip_prefix("0\n").expect("success").trim_end();
        let policy = TokenPolicy { audience: Some("gate".to_owned()), ..TokenPolicy::default() };
        let keys = Arc::new(KeySet::of_secret(SECRET.as_bytes()));
        assert!(TokenVerifier::with_keys(keys, policy).verify(text, NOW).is_ok());
    }

    #[test]
    fn a_token_allows_what_was_asked_for() {
        let arguments = TokenArguments {
            rooms: vec![7, 9],
            no_publish: true,
            token_id: Some("one".to_owned()),
            ..arguments(Some(SECRET))
        };
        let issuer = [("TIDEGATE_AUTH__ISSUER", "us")];
        let printed = run(Path::new("x"), &issuer, |s| token(&arguments, s));
        let text = printed.strip_prefix("0\n").expect("success").trim_end();
        let policy = TokenPolicy { issuer: Some("us".to_owned()), ..TokenPolicy::default() };
        let keys = Arc::new(KeySet::of_secret(SECRET.as_bytes()));
        let claims = TokenVerifier::with_keys(keys, policy).verify(text, NOW).expect("ours");
        assert_eq!(claims.token_id.as_deref(), Some("one"));
        let rooms = [6, 7, 9].map(|room| claims.permission.may_join(RoomId(room)));
        assert_eq!((rooms, claims.permission.may_publish(2)), ([false, true, true], false));
    }

    #[test]
    fn a_token_needs_a_good_secret() {
        let none = run(Path::new("x"), &[], |s| token(&arguments(None), s));
        expect![[r#"
            78
            there is no secret to sign with: set auth.hs256_secret or auth.hs256_secret_file in the configuration, or give --secret
        "#]].assert_eq(&none);
        let short = run(Path::new("x"), &[], |s| token(&arguments(Some("short")), s));
        expect![[r#"
            78
            flag --secret: auth.hs256_secret: has 5 bytes, HS256 needs at least 32; `openssl rand -hex 32` makes one
        "#]].assert_eq(&short);
    }
}
