//! The file of a dispatcher: TOML, read key by key, so that everything that is wrong is said at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::limits::NAME_BYTES_MAX;
use crate::ledger::error::LedgerError;
use crate::ledger::outbox::settings::check_url;
use crate::ops::config::checks::{check_gateways, is_origins, operator_token};
use crate::ops::log::{LogFormat, LogLevel};
use crate::ops::nearest::suggestion;
use crate::ops::players::Origins;
use crate::ops::problems::{Origin, Problems};
use crate::ops::secret::Secret;
use crate::ops::settings::read_file;
use crate::ops::toml_table::{Document, Read, Table};

/// Gateways of one dispatcher: each has a thread that asks it, and a place in every order.
pub const GATEWAYS_MAX: usize = 64;
/// Addresses of one gateway.
const URLS_MAX: usize = 8;
/// An address, a path, an origin.
const TEXT_BYTES_MAX: usize = 256;
/// The variable that has the token of all gateways.
pub const TOKEN_VARIABLE: &str = "TIDEGATE_DISPATCH_TOKEN";

/// How a dispatcher works.
#[derive(Clone, Debug)]
pub struct DispatchSettings {
    /// Where clients ask.
    pub listen: SocketAddr,
    /// Where metrics are.
    pub operator_listen: SocketAddr,
    /// Which pages may ask.
    pub origins: Origins,
    /// Clients that are connected at the same time.
    pub connections_max: usize,
    /// Time between two looks at a gateway.
    pub interval: Duration,
    /// How long a gateway may take to answer.
    pub timeout: Duration,
    /// Asks in a row that fail before a gateway is taken off the list.
    pub failures_max: u32,
    /// How long an answer may be kept, seconds.
    pub ttl_s: u32,
    /// Gateways in one answer at most.
    pub list_max: usize,
    /// Whose signature gateways' certificates have, in place of the public ones.
    pub certificates_file: Option<PathBuf>,
    /// How important a line of the log is at least.
    pub log_level: LogLevel,
    /// How lines look.
    pub log_format: LogFormat,
    /// All gateways, at least one.
    pub gateways: Vec<GatewaySettings>,
}

/// One gateway.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// What it is called in metrics and the log.
    pub name: String,
    /// The addresses that clients are given, in the order to try.
    pub urls: Vec<String>,
    /// Its operator's HTTP.
    pub operator: String,
    /// The token that is asked for there.
    pub token: Option<Secret>,
    /// Connections that it is good for; nothing: as many as it says that it takes.
    pub connections: Option<u64>,
    /// Packets a second that it is good for.
    pub packets_per_s: Option<u64>,
    /// Bits a second that it is good for; nothing: its own line rate, if it has one.
    pub bits_per_s: Option<u64>,
}

impl GatewaySettings {
    /// Whether both are one process, whatever is said of it: it is told by where its operator is.
    #[must_use]
    pub fn is_same_gateway(&self, other: &GatewaySettings) -> bool {
        self.operator == other.operator
    }
}

impl DispatchSettings {
    /// Reads the file `path`, and the files and the variable that have tokens.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(
        path: &Path,
        environment: &[(OsString, OsString)],
    ) -> Result<DispatchSettings, Problems> {
        let name = path.display().to_string();
        match read_file(path) {
            Ok(text) => DispatchSettings::parse(&name, &text, environment, &|path| {
                read_file(Path::new(path))
            }),
            Err(reason) => {
                let mut problems = Problems::new();
                problems.push_unreadable(Origin::File { name, line: None }, reason);
                Err(problems)
            }
        }
    }

    /// Reads `text`, the contents of the file `name`.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn parse(
        name: &str,
        text: &str,
        environment: &[(OsString, OsString)],
        read_file: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<DispatchSettings, Problems> {
        let mut problems = Problems::new();
        let document = Document::parse(name, text, &mut problems);
        let mut root = document.root();
        let mut reader = Reader { table: &mut root, problems: &mut problems };
        let listen = reader.address("listen", 8093);
        let operator_listen = reader.address("operator_listen", 8094);
        let origins = reader.origins();
        let interval_ms = reader.number("interval_ms", 100..=60_000, 2_000);
        let timeout_ms = reader.number("timeout_ms", 50..=30_000, 1_000.min(interval_ms));
        let failures_max = reader.number("failures_max", 1..=100, 2);
        let connections_max = reader.number("connections_max", 1..=100_000, 1_024);
        let ttl_s = reader.number("ttl_s", 1..=60, 2);
        let list_max = reader.number("list_max", 1..=16, 4);
        let certificates_file = reader.text("certificates_file").map(|it| PathBuf::from(it.value));
        let log_level = reader.word("log_level", LogLevel::WORDS, &LogLevel::ALL, LogLevel::Info);
        let log_format =
            reader.word("log_format", LogFormat::WORDS, &LogFormat::ALL, LogFormat::Text);
        let everybodys = reader.token(environment, read_file);
        if timeout_ms > interval_ms {
            let reason = format!("{timeout_ms} is more than interval_ms, {interval_ms}");
            problems.push(root.origin_of("timeout_ms"), "timeout_ms", reason);
        }
        let gateways = gateways(&mut root, everybodys.as_ref(), read_file, &mut problems);
        root.finish(elsewhere, &mut problems);
        problems.none_or(DispatchSettings {
            listen,
            operator_listen,
            origins,
            connections_max: usize::try_from(connections_max).unwrap_or(usize::MAX),
            interval: Duration::from_millis(interval_ms),
            timeout: Duration::from_millis(timeout_ms),
            failures_max: u32::try_from(failures_max).unwrap_or(u32::MAX),
            ttl_s: u32::try_from(ttl_s).unwrap_or(u32::MAX),
            list_max: usize::try_from(list_max).unwrap_or(usize::MAX),
            certificates_file,
            log_level,
            log_format,
            gateways,
        })
    }
}

/// Keys that stand in another place than they belong to.
fn elsewhere(name: &str) -> Option<String> {
    ["name", "urls", "operator", "connections", "packets_per_s", "bits_per_s"]
        .contains(&name)
        .then(|| format!("gateways.{name}"))
}

/// One table, and what is wrong with it.
struct Reader<'r, 'd, 'i> {
    table: &'r mut Table<'d, 'i>,
    problems: &'r mut Problems,
}

impl Reader<'_, '_, '_> {
    fn text(&mut self, name: &'static str) -> Option<Read<String>> {
        self.table.text(name, TEXT_BYTES_MAX, self.problems)
    }

    fn wrong<T>(&mut self, read: &Read<T>, reason: impl Into<String>) {
        self.problems.push(read.origin.clone(), read.key.clone(), reason);
    }

    fn number(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        self.number_if_any(name, range).unwrap_or(default)
    }

    fn number_if_any(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let as_i64 = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let range = as_i64(*range.start())..=as_i64(*range.end());
        let read = self.table.integer(name, range, self.problems)?;
        u64::try_from(read.value).ok()
    }

    fn address(&mut self, name: &'static str, port: u16) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], port));
        let Some(read) = self.text(name) else { return default };
        read.value.parse().unwrap_or_else(|_| {
            let text = &read.value;
            let example = "such as 127.0.0.1:8093 or [::]:8093";
            self.wrong(&read, format!("`{text}` is no address with a port, {example}"));
            default
        })
    }

    fn word<T: Copy>(&mut self, name: &'static str, words: &[&str], values: &[T], default: T) -> T {
        let Some(read) = self.text(name) else { return default };
        let found = words.iter().zip(values).find(|(word, _)| **word == read.value);
        found.map_or_else(
            || {
                let known = words.join(", ");
                let hint = suggestion(&read.value, words);
                self.wrong(&read, format!("`{}` is none of {known}{hint}", read.value));
                default
            },
            |(_, value)| *value,
        )
    }

    fn origins(&mut self) -> Origins {
        let texts = self.table.texts("origins", TEXT_BYTES_MAX, self.problems).unwrap_or_default();
        for origin in &texts {
            if let Err(reason) = is_origins(&origin.value) {
                self.wrong(origin, reason);
            }
        }
        let list: Vec<String> = texts.into_iter().map(|origin| origin.value).collect();
        Origins::of(Some(&list.join(",")))
    }

    /// The token of all gateways, from a file or the environment.
    fn token(
        &mut self,
        environment: &[(OsString, OsString)],
        read_file: &dyn Fn(&str) -> Result<String, String>,
    ) -> Option<Secret> {
        let variable = environment.iter().find(|(name, _)| name == TOKEN_VARIABLE);
        let from_file = self.token_of_file(read_file);
        let Some((_, value)) = variable else { return from_file };
        let origin = Origin::Environment { name: TOKEN_VARIABLE.to_owned() };
        if self.table.has("token_file") {
            let reason = "token_file is set too; keep one";
            self.problems.push(origin, "", reason);
            return from_file;
        }
        match value.to_str().ok_or("is not UTF-8".to_owned()).and_then(operator_token) {
            Ok(token) => Some(token),
            Err(reason) => {
                self.problems.push(origin, "", reason);
                None
            }
        }
    }

    fn token_of_file(
        &mut self,
        read_file: &dyn Fn(&str) -> Result<String, String>,
    ) -> Option<Secret> {
        let read = self.text("token_file")?;
        let token = read_file(&read.value).and_then(|text| operator_token(text.trim_end()));
        match token {
            Ok(token) => Some(token),
            Err(reason) => {
                self.wrong(&read, format!("{}: {reason}", read.value));
                None
            }
        }
    }
}

fn gateways(
    root: &mut Table<'_, '_>,
    everybodys: Option<&Secret>,
    read_file: &dyn Fn(&str) -> Result<String, String>,
    problems: &mut Problems,
) -> Vec<GatewaySettings> {
    let was_given = root.has("gateways");
    let origin = root.origin_of("gateways");
    let tables = root.tables("gateways", problems);
    if tables.is_empty() && !problems.any_unreadable() {
        let reason = "there is none: give at least one [[gateways]] with name, urls and operator";
        problems.push(origin.clone(), "gateways", reason);
    } else if tables.len() > GATEWAYS_MAX && was_given {
        let count = tables.len();
        problems.push(origin, "gateways", format!("there are {count}, more than {GATEWAYS_MAX}"));
    }
    // Two gateways of one name or with one address are one by mistake.
    let mut seen: BTreeMap<(&'static str, String), Origin> = BTreeMap::new();
    let mut found = Vec::new();
    for mut table in tables {
        let mut once = |key: &'static str, read: &Read<String>, problems: &mut Problems| {
            if read.value.is_empty() {
                return;
            }
            if let Some(first) = seen.get(&(key, read.value.clone())) {
                let reason = format!("`{}` is also in {first}", read.value);
                problems.push(read.origin.clone(), read.key.clone(), reason);
            } else {
                seen.insert((key, read.value.clone()), read.origin.clone());
            }
        };
        let name = required(&mut table, "name", NAME_BYTES_MAX, problems);
        let operator = required(&mut table, "operator", TEXT_BYTES_MAX, problems);
        let urls = urls(&mut table, problems);
        name.iter().for_each(|it| once("name", it, problems));
        operator.iter().for_each(|it| once("operator", it, problems));
        urls.iter().for_each(|it| once("urls", it, problems));
        if let Some(read) = &operator
            && let Err(error) = check_url(&read.value)
        {
            let reason = match error {
                LedgerError::Settings { what } => what,
                other => other.to_string(),
            };
            problems.push(read.origin.clone(), read.key.clone(), reason);
        }
        let mut reader = Reader { table: &mut table, problems };
        let token = reader.token_of_file(read_file).or_else(|| everybodys.cloned());
        let most = u64::MAX;
        found.push(GatewaySettings {
            name: name.map_or_else(String::new, |it| it.value),
            urls: urls.into_iter().map(|it| it.value).collect(),
            operator: operator.map_or_else(String::new, |it| it.value),
            token,
            connections: reader.number_if_any("connections", 1..=most),
            packets_per_s: reader.number_if_any("packets_per_s", 1..=most),
            bits_per_s: reader.number_if_any("bits_per_s", 1..=most),
        });
        table.finish(|_| None, problems);
    }
    found
}

fn required(
    table: &mut Table<'_, '_>,
    name: &'static str,
    bytes_max: usize,
    problems: &mut Problems,
) -> Option<Read<String>> {
    if !table.has(name) {
        table.missing(name, problems);
    }
    table.text(name, bytes_max, problems)
}

fn urls(table: &mut Table<'_, '_>, problems: &mut Problems) -> Vec<Read<String>> {
    if !table.has("urls") {
        table.missing("urls", problems);
    }
    let origin = table.origin_of("urls");
    let key = table.key("urls");
    let Some(urls) = table.texts("urls", TEXT_BYTES_MAX, problems) else { return Vec::new() };
    if urls.is_empty() || urls.len() > URLS_MAX {
        let reason = format!("has {} addresses: give 1 to {URLS_MAX}", urls.len());
        problems.push(origin, key, reason);
    }
    for url in urls.iter().filter(|url| !url.value.is_empty()) {
        if let Err(reason) = check_gateways(std::slice::from_ref(&url.value)) {
            problems.push(url.origin.clone(), url.key.clone(), reason);
        }
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<DispatchSettings, String> {
        let environment: Vec<(OsString, OsString)> =
            environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let read_file = |path: &str| match path {
            "good" => Ok("the-token-of-a-file\n".to_owned()),
            "short" => Ok("short\n".to_owned()),
            _ => Err("cannot be opened: No such file or directory (os error 2)".to_owned()),
        };
        DispatchSettings::parse("d.toml", text, &environment, &read_file)
            .map_err(|problems| format!("{problems}\n"))
    }

    const ONE: &str = "[[gateways]]\nname = \"a\"\nurls = [\"wss://a.example/\"]\n\
                       operator = \"http://127.0.0.1:8091\"\n";

    #[test]
    fn a_gateway_is_all_that_must_be_said() {
        let settings = parse(ONE, &[]).unwrap();
        assert_eq!(settings.listen, SocketAddr::from(([127, 0, 0, 1], 8093)));
        assert_eq!((settings.interval.as_millis(), settings.timeout.as_millis()), (2_000, 1_000));
        assert_eq!((settings.failures_max, settings.ttl_s, settings.list_max), (2, 2, 4));
        assert_eq!(settings.origins, Origins::None);
        let gateway = &settings.gateways[0];
        assert_eq!((&*gateway.name, gateway.urls.len(), &gateway.token), ("a", 1, &None));
        assert_eq!((gateway.connections, gateway.bits_per_s), (None, None));
    }

    /// Its commented lines that set a key, as they are when they count.
    fn uncommented(example: &str, which: impl Fn(&str) -> bool) -> String {
        let line = |line: &str| match line.strip_prefix("# ").filter(|it| it.contains(" = ")) {
            Some(key) if which(key) => format!("{key}\n"),
            _ => format!("{line}\n"),
        };
        example.lines().map(line).collect()
    }

    #[test]
    fn the_example_has_every_key_with_its_default() {
        let example = include_str!("../../../examples/dispatch.toml");
        let settings = parse(example, &[]).unwrap();
        // All fields, by their names: those of gateways stand further inside.
        let shown = format!("{settings:#?}");
        let fields = |inside: usize| -> Vec<&str> {
            let names = shown.lines().filter(|line| line.len() - line.trim_start().len() == inside);
            names.filter_map(|line| Some(line.trim_start().split_once(':')?.0)).collect()
        };
        let (top, each) = example.split_once("[[gateways]]").unwrap();
        for (part, inside, known) in [(top, 4, "listen"), (each, 12, "operator")] {
            let fields = fields(inside);
            assert!(fields.len() > 6 && fields.contains(&known), "{fields:?}");
            for field in fields.into_iter().filter(|field| *field != "gateways") {
                let is_there = ["", "_ms", "_file"].iter().any(|end| {
                    let key = format!("{field}{end} = ");
                    part.lines().any(|line| line.trim_start_matches("# ").starts_with(&key))
                });
                assert!(is_there, "{field} is not in the example");
            }
            assert!(part.contains("\n# token_file = "));
        }
        let defaults = uncommented(example, |key| !key.contains("_file"));
        assert!(defaults.contains("\nttl_s = ") && !example.contains("\nttl_s = "));
        assert_eq!(format!("{:?}", parse(&defaults, &[]).unwrap()), format!("{settings:?}"));
        // The files, too, are keys that are known: they are what cannot be read.
        let all = uncommented(example, |_| true);
        let wrong = parse(&all, &[]).unwrap_err();
        assert!(
            wrong.lines().all(|line| line.contains("token_file: /run/credentials/")),
            "{wrong}"
        );
        assert_eq!(wrong.lines().count(), 2, "{wrong}");
        assert!(example.lines().all(|line| line.len() <= 100));
    }

    #[test]
    fn everything_can_be_said() {
        let text = r#"
            listen = "[::1]:1"
            operator_listen = "127.0.0.1:2"
            origins = ["https://quiz.example", "https://other.example:8443"]
            connections_max = 10
            interval_ms = 500
            timeout_ms = 500
            failures_max = 3
            ttl_s = 5
            list_max = 2
            token_file = "good"
            certificates_file = "ca.pem"
            log_level = "debug"
            log_format = "json"
            [[gateways]]
            name = "a"
            urls = ["wss://a.example/", "wss://203.0.113.1/"]
            operator = "https://a.internal:8091"
            token_file = "good"
            connections = 1000000
            packets_per_s = 1500000
            bits_per_s = 20000000000
        "#;
        let settings = parse(text, &[]).unwrap();
        let gateway = &settings.gateways[0];
        assert_eq!(gateway.token.as_ref().unwrap().bytes(), b"the-token-of-a-file");
        assert_eq!(gateway.bits_per_s, Some(20_000_000_000));
        assert!(matches!(&settings.origins, Origins::Some(list) if list.len() == 2));
        assert_eq!(settings.log_format, LogFormat::Json);
        let from_variable = parse(ONE, &[(TOKEN_VARIABLE, "the-token-of-a-variable")]).unwrap();
        let token = from_variable.gateways[0].token.as_ref().unwrap();
        assert_eq!(token.bytes(), b"the-token-of-a-variable");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let text = r#"listen = "8093"
origins = ["https://quiz.example/play"]
interval_ms = 99
timeout_ms = 900
ttl_s = 0
list_max = 17
token_file = "short"
log_level = "loud"
url = "wss://a.example/"
[[gateways]]
name = "a"
urls = ["https://a.example/", "wss://b.example/"]
operator = "http://192.0.2.1:8091"
token_file = "nowhere"
conections = 5
[[gateways]]
name = "a"
urls = ["wss://b.example/"]
packets_per_s = -1
[[gateways]]
urls = []
operator = "ftp://x"
"#;
        expect![[r#"
            d.toml:1: listen: `8093` is no address with a port, such as 127.0.0.1:8093 or [::]:8093
            d.toml:2: origins[0]: `https://quiz.example/play` is no origin, such as `https://quiz.example`: no path, no wildcard but `*` alone
            d.toml:3: interval_ms: 99 is out of range: expects 100 to 60000; the nearest valid one is 100
            d.toml:5: ttl_s: 0 is out of range: expects 1 to 60; the nearest valid one is 1
            d.toml:6: list_max: 17 is out of range: expects 1 to 16; the nearest valid one is 16
            d.toml:7: token_file: short: has 5 bytes, fewer than 16
            d.toml:8: log_level: `loud` is none of error, warn, info, debug, trace; the nearest valid one is `warn`
            d.toml:9: url: unknown key; the nearest valid one is `ttl_s`
            d.toml:12: gateways[0].urls[0]: `https://a.example/` is no address of a gateway, such as wss://b.example/
            d.toml:13: gateways[0].operator: the URL "http://192.0.2.1:8091" goes to 192.0.2.1 through the internet in clear; use https
            d.toml:14: gateways[0].token_file: nowhere: cannot be opened: No such file or directory (os error 2)
            d.toml:15: gateways[0].conections: unknown key; did you mean `connections`?
            d.toml:16: gateways[1].operator: missing: this key is required
            d.toml:17: gateways[1].name: `a` is also in d.toml:11
            d.toml:18: gateways[1].urls[0]: `wss://b.example/` is also in d.toml:12
            d.toml:19: gateways[1].packets_per_s: -1 is negative: expects at least 1; the nearest valid one is 1
            d.toml:20: gateways[2].name: missing: this key is required
            d.toml:21: gateways[2].urls: has 0 addresses: give 1 to 8
            d.toml:22: gateways[2].operator: the URL "ftp://x" begins with neither http nor https
            environment TIDEGATE_DISPATCH_TOKEN: token_file is set too; keep one
        "#]]
        .assert_eq(&parse(text, &[(TOKEN_VARIABLE, "x")]).unwrap_err());
    }

    #[test]
    fn a_file_without_gateways_or_with_too_many_is_refused() {
        expect![[r#"
            d.toml:1: gateways: there is none: give at least one [[gateways]] with name, urls and operator
        "#]].assert_eq(&parse("", &[]).unwrap_err());
        let many: String = (0..=GATEWAYS_MAX)
            .map(|index| {
                ONE.replace("\"a\"", &format!("\"{index}\""))
                    .replace("//a.", &format!("//{index}."))
                    .replace("8091", &(9_000 + index).to_string())
            })
            .collect();
        expect![[r#"
            d.toml:1: gateways: there are 65, more than 64
        "#]]
        .assert_eq(&parse(&many, &[]).unwrap_err());
    }
}
