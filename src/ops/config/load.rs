//! From file, environment and flags to a [`Config`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;

use toml::de::DeValue;

use crate::auth::keys::KeySet;
use crate::base::limits;
use crate::chat::words::WordList;
use crate::ops::config::Config;
use crate::ops::config::checks::{comma_separated, payout_secret, token_secret};
use crate::ops::config::keys::{self, Key, Kind, sections};
use crate::ops::console::accounts::Accounts;
use crate::ops::nearest::suggestion;
use crate::ops::problems::{Origin, Problems};
use crate::ops::secret::Secret;
use crate::ops::toml_table::{
    Document, Table, boolean_of, checked_integer, checked_text, integer_of, text_of,
};

/// What every variable of ours begins with; two underscores part table and key.
pub const ENVIRONMENT_PREFIX: &str = "TIDEGATE_";

/// Bytes of a text value that is not a secret.
const TEXT_BYTES_MAX: usize = 4_096;

/// Where a configuration comes from; later ones win over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Name and contents of the file.
    pub file: Option<(String, String)>,
    /// The whole environment; what does not begin with [`ENVIRONMENT_PREFIX`] is ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags as (flag, key, value): `("--listen", "listen", "0.0.0.0:80")`.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// A value before its kind is known.
enum Raw<'v, 'i> {
    Toml(&'v DeValue<'i>),
    /// From the environment or a flag: every kind is written as text.
    Text(&'v str),
}

/// Where each key that was set was set last.
type Origins = BTreeMap<String, Origin>;

impl Config {
    /// Reads `sources`. `read_file` reads the files that keys name.
    ///
    /// # Errors
    /// Everything that is wrong in any of them.
    pub fn load(
        sources: &Sources,
        read_file: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Config, Problems> {
        let mut config = Config::default();
        let mut problems = Problems::new();
        let mut origins = Origins::new();
        if let Some((name, text)) = &sources.file {
            let document = Document::parse(name, text, &mut problems);
            apply_file(&mut config, &document, &mut origins, &mut problems);
        }
        apply_environment(&mut config, &sources.environment, &mut origins, &mut problems);
        for (flag, path, value) in &sources.flags {
            let Some(key) = keys::all().find(|key| key.path() == *path) else {
                panic!("the flag {flag} sets {path}, which is no key");
            };
            let origin = Origin::Flag { name: (*flag).to_owned() };
            apply(&mut config, key, &Raw::Text(value), origin, &mut origins, &mut problems);
        }
        read_secret_files(&mut config, &origins, &mut problems, read_file);
        read_jwks_file(&mut config, &origins, &mut problems, read_file);
        check_words_file(&config, &origins, &mut problems, read_file);
        check_accounts_file(&config, &origins, &mut problems, read_file);
        check_relations(&config, &origins, &mut problems);
        problems.none_or(config)
    }
}

fn apply_file(
    config: &mut Config,
    document: &Document<'_>,
    origins: &mut Origins,
    problems: &mut Problems,
) {
    let mut root = document.root();
    apply_table(config, "", &mut root, origins, problems);
    for section in sections() {
        let mut table = root.table(section, problems);
        apply_table(config, section, &mut table, origins, problems);
        table.finish(|name| elsewhere(section, name), problems);
    }
    root.finish(|name| elsewhere("", name), problems);
}

fn apply_table(
    config: &mut Config,
    section: &str,
    table: &mut Table<'_, '_>,
    origins: &mut Origins,
    problems: &mut Problems,
) {
    for key in keys::all().filter(|key| key.section == section) {
        if let Some(placed) = table.value(key.name) {
            apply(config, key, &Raw::Toml(placed.value), placed.origin, origins, problems);
        }
    }
}

/// A key of the same name in another table, for one that was put into the wrong one.
fn elsewhere(section: &str, name: &str) -> Option<String> {
    keys::all().find(|key| key.section != section && key.name == name).map(Key::path)
}

fn variable(key: &Key) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.path().replace('.', "__").to_uppercase())
}

fn apply_environment(
    config: &mut Config,
    environment: &[(OsString, OsString)],
    origins: &mut Origins,
    problems: &mut Problems,
) {
    let known: Vec<String> = keys::all().map(variable).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for (name, value) in environment {
        let name = name.to_string_lossy();
        if !name.starts_with(ENVIRONMENT_PREFIX) {
            continue;
        }
        let origin = Origin::Environment { name: name.clone().into_owned() };
        let Some(place) = known.iter().position(|known| *known == name) else {
            problems.push(origin, "", format!("unknown variable{}", suggestion(&name, &known)));
            continue;
        };
        let Some(key) = keys::all().nth(place) else { continue };
        match value.to_str() {
            Some(text) => apply(config, key, &Raw::Text(text), origin, origins, problems),
            None => problems.push(origin, key.path(), "is not UTF-8"),
        }
    }
}

fn apply(
    config: &mut Config,
    key: &Key,
    raw: &Raw<'_, '_>,
    origin: Origin,
    origins: &mut Origins,
    problems: &mut Problems,
) {
    match keep(config, &key.kind, raw) {
        Ok(()) => {
            origins.insert(key.path(), origin);
        }
        Err(reason) => problems.push(origin, key.path(), reason),
    }
}

/// Puts a value where it belongs, or says what is wrong with it.
fn keep(config: &mut Config, kind: &Kind, raw: &Raw<'_, '_>) -> Result<(), String> {
    match kind {
        Kind::Address(place) => {
            let text = raw.text().map_err(|reason| format!("{reason}; write one `IP:PORT`"))?;
            *place(config) = address(text)?;
        }
        Kind::Integer { least, most, power_of_two, set, .. } => {
            let number = checked_integer(raw.integer()?, *least..=*most)?;
            let number = u64::try_from(number).map_err(|_| "does not fit 64 bits".to_owned())?;
            if *power_of_two && !number.is_power_of_two() {
                let nearest = number.next_power_of_two();
                return Err(format!("{number} is no power of two; the next one is {nearest}"));
            }
            set(config, number);
        }
        Kind::Boolean(place) => *place(config) = raw.boolean()?,
        Kind::Choice { words, set, .. } => {
            let word = raw.text()?;
            let Some(index) = words.iter().position(|known| *known == word) else {
                let hint = suggestion(word, words);
                return Err(format!("`{word}` is not one of {}{hint}", words.join(", ")));
            };
            set(config, index);
        }
        Kind::Text { check, place } => {
            let text = checked_text(raw.text()?, TEXT_BYTES_MAX)?;
            check(text)?;
            *place(config) = Some(text.to_owned());
        }
        Kind::Secret { read, place, .. } => *place(config) = Some(read(raw.text()?)?),
    }
    Ok(())
}

impl<'v> Raw<'v, '_> {
    fn text(&self) -> Result<&'v str, String> {
        match self {
            Raw::Toml(value) => text_of(value),
            Raw::Text(text) => Ok(text),
        }
    }

    fn integer(&self) -> Result<i128, String> {
        match self {
            Raw::Toml(value) => integer_of(value),
            Raw::Text(text) => {
                let digits = text.trim().replace('_', "");
                digits.parse().map_err(|_| format!("expects a whole number, got `{text}`"))
            }
        }
    }

    fn boolean(&self) -> Result<bool, String> {
        match self {
            Raw::Toml(value) => boolean_of(value),
            Raw::Text("true" | "1") => Ok(true),
            Raw::Text("false" | "0") => Ok(false),
            Raw::Text(text) => {
                let hint = suggestion(text, &["true", "false"]);
                Err(format!("expects true or false, got `{text}`{hint}"))
            }
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    text.parse().map_err(|_| {
        let example = match text.parse::<u16>() {
            Ok(port) => format!("127.0.0.1:{port}"),
            Err(_) => "127.0.0.1:8090` or `[::]:8090".to_owned(),
        };
        format!("`{text}` is not an IP address with a port, such as `{example}`")
    })
}

fn read_secret_files(
    config: &mut Config,
    origins: &Origins,
    problems: &mut Problems,
    read_file: &dyn Fn(&str) -> Result<String, String>,
) {
    let mut read = |keys: SecretKeys, path: &Option<String>, place: &mut Option<Secret>| {
        if let Some(path) = path {
            read_secret_file((keys, path), place, (origins, &mut *problems, read_file));
        }
    };
    let (auth, payouts) = (&mut config.auth, &mut config.payouts);
    let keys = SecretKeys {
        file: "auth.hs256_secret_file",
        secret: "auth.hs256_secret",
        read: token_secret,
    };
    read(keys, &auth.hs256_secret_file, &mut auth.hs256_secret);
    let keys =
        SecretKeys { file: "payouts.secret_file", secret: "payouts.secret", read: payout_secret };
    read(keys, &payouts.secret_file, &mut payouts.secret);
}

/// The two keys of a secret that may be in a file, and what makes one of its text.
struct SecretKeys {
    file: &'static str,
    secret: &'static str,
    read: fn(&str) -> Result<Secret, String>,
}

type Reading<'a> = (&'a Origins, &'a mut Problems, &'a dyn Fn(&str) -> Result<String, String>);

fn read_secret_file(
    (keys, path): (SecretKeys, &str),
    place: &mut Option<Secret>,
    (origins, problems, read_file): Reading<'_>,
) {
    let SecretKeys { file: file_key, secret: secret_key, read: as_secret } = keys;
    let origin = origin_of(origins, file_key);
    if place.is_some() {
        let other = origin_of(origins, secret_key);
        problems.push(origin, file_key, format!("{secret_key} is set too ({other}); keep one"));
        return;
    }
    let secret = read_file(path).and_then(|text| {
        as_secret(text.strip_suffix('\n').map_or(&*text, |line| line.trim_end_matches('\r')))
    });
    match secret {
        Ok(secret) => *place = Some(secret),
        Err(reason) => problems.push(origin, file_key, format!("{path}: {reason}")),
    }
}

fn read_jwks_file(
    config: &mut Config,
    origins: &Origins,
    problems: &mut Problems,
    read_file: &dyn Fn(&str) -> Result<String, String>,
) {
    let Some(path) = config.auth.jwks_file.clone() else { return };
    let mut complain = |reason: String| {
        let key = "auth.jwks_file";
        problems.push(origin_of(origins, key), key, format!("{path}: {reason}"));
    };
    match read_file(&path) {
        Ok(text) => match KeySet::from_jwks(&text) {
            Ok(_) => config.auth.jwks = Some(text),
            Err(errors) => errors.iter().for_each(|error| complain(error.to_string())),
        },
        Err(reason) => complain(reason),
    }
}

/// The console's accounts must be readable; they are read again when they are used.
fn check_accounts_file(
    config: &Config,
    origins: &Origins,
    problems: &mut Problems,
    read_file: &dyn Fn(&str) -> Result<String, String>,
) {
    let key = "operator.accounts_file";
    let Some(path) = &config.operator.accounts_file else { return };
    match read_file(path).map(|text| Accounts::parse(&text)) {
        Ok(Ok(_)) => {}
        Ok(Err((line, reason))) => {
            let origin = Origin::File { name: path.clone(), line: Some(line) };
            problems.push(origin, "", reason);
        }
        Err(reason) => {
            let reason = format!("{path}: {reason}; `tidegate account add --file` makes one");
            problems.push(origin_of(origins, key), key, reason);
        }
    }
}

/// The list of words must be readable; it is read again when it is used.
fn check_words_file(
    config: &Config,
    origins: &Origins,
    problems: &mut Problems,
    read_file: &dyn Fn(&str) -> Result<String, String>,
) {
    let (key, chat) = ("chat.words_file", &config.chat);
    let Some(path) = &chat.words_file else { return };
    match read_file(path).map(|text| WordList::parse(&text, chat.words_action)) {
        Ok(Ok(_)) => {}
        Ok(Err(errors)) => {
            for error in errors {
                let origin = Origin::File { name: path.clone(), line: error.line };
                problems.push(origin, "", error.reason);
            }
        }
        Err(reason) => problems.push(origin_of(origins, key), key, format!("{path}: {reason}")),
    }
}

/// A question may keep the line busy for so long.
const QUESTION_MS_MAX: u64 = 2_000;

/// What must hold between keys that are each right by themselves.
fn check_relations(config: &Config, origins: &Origins, problems: &mut Problems) {
    let mut check = |holds: bool, keys: [&str; 2], reason: String| {
        if !holds {
            // The key that was set is to blame; of two, the first.
            let key = keys.into_iter().find(|key| origins.contains_key(*key)).unwrap_or(keys[0]);
            problems.push(origin_of(origins, key), key, reason);
        }
    };
    let limits = &config.limits;
    check(
        limits.idle_timeout_ms >= 2 * limits.heartbeat_interval_ms,
        ["limits.idle_timeout_ms", "limits.heartbeat_interval_ms"],
        format!(
            "an idle timeout of {} ms is less than two heartbeats of {} ms",
            limits.idle_timeout_ms, limits.heartbeat_interval_ms
        ),
    );
    let slots = u64::from(config.net.slots_per_ring).next_power_of_two();
    let places = u64::from(config.net.rings_max) * slots;
    check(
        places <= u64::from(limits::SHARD_CONNECTIONS_MAX),
        ["net.rings_max", "net.slots_per_ring"],
        format!(
            "{} rings of {} slots are more than the {} connections of a shard",
            config.net.rings_max,
            config.net.slots_per_ring,
            limits::SHARD_CONNECTIONS_MAX
        ),
    );
    let count =
        |list: &Option<String>| comma_separated(list.as_deref().unwrap_or_default()).count();
    let (certificates, keys) = (count(&config.tls.certificate_files), count(&config.tls.key_files));
    check(
        certificates == keys,
        ["tls.key_files", "tls.certificate_files"],
        format!("{certificates} certificate files and {keys} key files do not go together"),
    );
    check(
        config.operator.listen.port() == 0 || config.listen != config.operator.listen,
        ["operator.listen", "listen"],
        format!("{} is where clients connect; operators need another", config.operator.listen),
    );
    check(
        config.payouts.url.is_none() || config.payouts.secret.is_some(),
        ["payouts.url", "payouts.secret"],
        "payouts are signed: set payouts.secret or payouts.secret_file too".to_owned(),
    );
    let players: Option<SocketAddr> =
        config.player_api.listen.as_deref().and_then(|listen| listen.parse().ok());
    check(
        players.is_none_or(|players| {
            players.port() == 0 || players != config.listen && players != config.operator.listen
        }),
        ["player_api.listen", "operator.listen"],
        "clients or operators have this address; players' HTTP needs another".to_owned(),
    );
    check_egress(config, &mut check);
}

/// What is around the data of a gift in its frame: measured 253 bytes as JSON, 48 as Protobuf.
const GIFT_FRAME_BYTES: u64 = 256;
/// The reply to an answer as JSON, some 290 bytes, with a longer sequence.
const ANSWERED_BYTES: u64 = 320;
/// The reply to a heartbeat as JSON, some 150 bytes.
const HEARTBEAT_BYTES: u64 = 160;

/// What always goes out must fit into the line, or the promise that it does is none.
fn check_egress(config: &Config, check: &mut impl FnMut(bool, [&'static str; 2], String)) {
    let egress = &config.egress;
    if egress.line_rate_mbit == 0 {
        return;
    }
    let bits = |bytes: u64| wire_bytes(bytes) * 8;
    // As JSON, its longest form.
    let gift_bytes = (egress.gift_bytes_max as u64).div_ceil(3) * 4 + GIFT_FRAME_BYTES;
    let heartbeats_per_minute = (60_000 / config.limits.heartbeat_interval_ms).max(1);
    let per_minute = egress.questions_per_minute_max
        * (bits(egress.question_bytes_max) + bits(egress.key_bytes_max) + bits(ANSWERED_BYTES))
        + 60 * u64::from(egress.gift_rate_max) * bits(gift_bytes)
        + heartbeats_per_minute * bits(HEARTBEAT_BYTES);
    let needed_mbit = per_minute.saturating_mul(egress.viewers_max).div_ceil(60 * 1_000_000);
    check(
        needed_mbit <= egress.line_rate_mbit,
        ["egress.line_rate_mbit", "egress.viewers_max"],
        format!(
            "{} viewers need {needed_mbit} Mbit/s for questions, reveals, gifts and replies alone, and the \
             line carries {}: lower a ceiling or the number of viewers",
            egress.viewers_max, egress.line_rate_mbit
        ),
    );
    let question_ms = bits(egress.question_bytes_max).saturating_mul(egress.viewers_max)
        / (egress.line_rate_mbit * 1_000);
    check(
        question_ms <= QUESTION_MS_MAX,
        ["egress.line_rate_mbit", "egress.question_bytes_max"],
        format!(
            "one question to {} viewers keeps the line busy for {question_ms} ms, and {} ms are what \
             a countdown can spare",
            egress.viewers_max, QUESTION_MS_MAX
        ),
    );
}

/// What bytes cost on the wire: TCP, IP and Ethernet add some to each segment.
fn wire_bytes(bytes: u64) -> u64 {
    bytes + bytes.div_ceil(1_448) * 90
}

fn origin_of(origins: &Origins, key: &str) -> Origin {
    let default = || Origin::File { name: "default".to_owned(), line: None };
    origins.get(key).cloned().unwrap_or_else(default)
}

/// A documented configuration file with every key at its default; those without one are commented
/// out.
#[must_use]
pub fn example() -> String {
    let mut config = Config::default();
    let mut text = String::from(
        "# tidegate's configuration. Every key is here with its default.\n\
         # A variable sets a key too: TIDEGATE_LISTEN, TIDEGATE_LIMITS__CONNECTIONS_MAX.\n\
         # Keys with (SIGHUP) take effect without a restart.\n",
    );
    let mut section = "";
    for key in keys::all() {
        if key.section != section {
            section = key.section;
            let _ = write!(text, "\n[{section}]\n");
        }
        text.push('\n');
        let mark = if key.is_live() { " (SIGHUP)" } else { "" };
        for line in wrapped(&format!("{}{mark}", key.help), 96) {
            let _ = writeln!(text, "# {line}");
        }
        let name = key.name;
        let _ = match &key.kind {
            Kind::Address(place) => writeln!(text, "{name} = \"{}\"", place(&mut config)),
            Kind::Integer { least, most, get, .. } => {
                writeln!(text, "# {least} to {most}\n{name} = {}", get(&config))
            }
            Kind::Boolean(place) => writeln!(text, "{name} = {}", place(&mut config)),
            Kind::Choice { words, get, .. } => {
                writeln!(text, "{name} = \"{}\"", words[get(&config)])
            }
            Kind::Text { .. } => writeln!(text, "# {name} = \"\""),
            Kind::Secret { shape, .. } => writeln!(text, "# {name} = \"{shape}\""),
        };
    }
    text
}

/// `text` in lines of at most `width` letters where its words allow.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().filter(|line| line.len() + 1 + word.len() <= width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
