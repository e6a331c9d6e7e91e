//! Profiles: the files of `tuning/sysctl`, which are both what `sysctl` reads and what the check
//! compares with. They are in the binary, so that the two cannot differ.
//!
//! A profile is laid together from layers: what every host wants, what a gateway wants, what so many
//! connections want, and what the NIC wants.

use std::fmt;
use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;

const HOST: Layer = Layer("host.conf", include_str!("../../../tuning/sysctl/host.conf"));
const GATEWAY: Layer = Layer("gateway.conf", include_str!("../../../tuning/sysctl/gateway.conf"));
const SMALL: Layer = Layer("100k.conf", include_str!("../../../tuning/sysctl/100k.conf"));
const LARGE: Layer = Layer("1m.conf", include_str!("../../../tuning/sysctl/1m.conf"));
const LOADGEN: Layer = Layer("loadgen.conf", include_str!("../../../tuning/sysctl/loadgen.conf"));
/// By the most Gbit/s for which each is meant.
const NICS: [(u32, Layer); 3] = [
    (10, Layer("nic-10.conf", include_str!("../../../tuning/sysctl/nic-10.conf"))),
    (25, Layer("nic-25.conf", include_str!("../../../tuning/sysctl/nic-25.conf"))),
    (u32::MAX, Layer("nic-100.conf", include_str!("../../../tuning/sysctl/nic-100.conf"))),
];

/// Name and text of a file.
#[derive(Clone, Copy, Debug)]
struct Layer(&'static str, &'static str);

/// Which profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum ProfileName {
    /// A gateway that holds 100,000 connections
    #[value(name = "100k")]
    #[serde(rename = "100k")]
    Small,
    /// A gateway that holds 1,000,000 connections
    #[value(name = "1m")]
    #[serde(rename = "1m")]
    Large,
    /// A load generator's host
    #[value(name = "loadgen")]
    #[serde(rename = "loadgen")]
    LoadGenerator,
}

impl ProfileName {
    /// As on the command line.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            ProfileName::Small => "100k",
            ProfileName::Large => "1m",
            ProfileName::LoadGenerator => "loadgen",
        }
    }
}

/// How a value is compared with the one of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Every number is as large or larger.
    AtLeast,
    /// Every number is as small or smaller.
    AtMost,
    /// It is the same.
    Exactly,
    /// A range that includes the other.
    AtLeastAsWide,
    /// The same, but another one may be right too.
    Advised,
}

impl Relation {
    fn parse(text: &str) -> Option<Relation> {
        Some(match text {
            "at least" => Relation::AtLeast,
            "at most" => Relation::AtMost,
            "exactly" => Relation::Exactly,
            "at least as wide" => Relation::AtLeastAsWide,
            "advised" => Relation::Advised,
            _ => return None,
        })
    }

    /// Whether `current` is as it should be; nothing if the two cannot be compared.
    #[must_use]
    pub fn holds(self, current: &str, wanted: &str) -> Option<bool> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if matches!(self, Relation::Exactly | Relation::Advised) {
            return Some(words(current) == words(wanted));
        }
        let numbers = |text: &str| {
            let numbers = text.split_whitespace().map(str::parse::<u64>);
            numbers.collect::<Result<Vec<_>, _>>().ok()
        };
        let (current, wanted) = (numbers(current)?, numbers(wanted)?);
        if current.len() != wanted.len() || current.is_empty() {
            return None;
        }
        let mut pairs = current.iter().zip(&wanted);
        Some(match self {
            Relation::AtLeast => pairs.all(|(is, should)| is >= should),
            Relation::AtMost => pairs.all(|(is, should)| is <= should),
            Relation::AtLeastAsWide => {
                current.first() <= wanted.first() && current.last() >= wanted.last()
            }
            Relation::Exactly | Relation::Advised => return None,
        })
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Relation::AtLeast => "at least",
            Relation::AtMost => "at most",
            Relation::Exactly => "exactly",
            Relation::AtLeastAsWide => "at least as wide as",
            Relation::Advised => "rather",
        })
    }
}

/// One sysctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `net.core.somaxconn`.
    pub key: String,
    /// What it should be.
    pub wanted: String,
    /// How that is meant.
    pub relation: Relation,
    /// Kernels may lack it.
    pub is_optional: bool,
    /// The reason, with its arithmetic.
    pub why: String,
    /// What happens without.
    pub cost: String,
    /// What the kernel has by itself: how it is undone.
    pub default: String,
}

/// A profile, laid together.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Which.
    pub name: ProfileName,
    /// What it is for.
    pub connections: u64,
    /// What such a host has at least, GiB.
    pub memory_gib: u64,
    /// The names of its files.
    pub files: Vec<&'static str>,
    /// All of its sysctls.
    pub settings: Vec<Setting>,
    text: String,
}

impl Profile {
    /// The profile, with what the NIC wants if it is known.
    ///
    /// # Panics
    /// If a file in this binary is broken, which a test forbids.
    #[must_use]
    pub fn new(name: ProfileName, nic_gbit: Option<u32>) -> Profile {
        let mut layers = match name {
            ProfileName::Small => vec![HOST, GATEWAY, SMALL],
            ProfileName::Large => vec![HOST, GATEWAY, LARGE],
            ProfileName::LoadGenerator => vec![HOST, LOADGEN],
        };
        layers.extend(nic_gbit.and_then(nic_layer));
        let mut profile = Profile {
            name,
            connections: 0,
            memory_gib: 0,
            files: layers.iter().map(|Layer(file, _)| *file).collect(),
            settings: Vec::new(),
            text: String::new(),
        };
        for Layer(file, text) in layers {
            let read = profile.read(text);
            read.unwrap_or_else(|error| panic!("tuning/sysctl/{file}: {error}"));
            if !profile.text.is_empty() {
                profile.text.push('\n');
            }
            profile.text.push_str(text);
        }
        assert!(profile.connections > 0 && profile.memory_gib > 0, "a profile says what it is for");
        profile
    }

    /// As a file for `/etc/sysctl.d`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
        for block in text.split("\n\n") {
            let fields = fields(block);
            let field = |name: &str| {
                let found = fields.iter().find(|(key, _)| key == name);
                found.map(|(_, value)| value.clone())
            };
            let number = |text: String| {
                text.parse::<u64>().map_err(|_| format!("\"{text}\" is not a number"))
            };
            if let Some(connections) = field("Connections") {
                self.connections = number(connections)?;
            }
            if let Some(memory_gib) = field("Memory GiB") {
                self.memory_gib = number(memory_gib)?;
            }
            let mut lines = block.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            let Some(line) = lines.next() else { continue };
            if let Some(second) = lines.next() {
                return Err(format!("\"{second}\" needs a block of its own"));
            }
            let (key, wanted) = line.split_once('=').ok_or(format!("\"{line}\" sets nothing"))?;
            let key = key.trim();
            let needed = |name| field(name).ok_or(format!("{key} has no {name}"));
            let relation = needed("Check")?;
            self.settings.push(Setting {
                key: key.trim_start_matches('-').to_owned(),
                wanted: wanted.trim().to_owned(),
                relation: Relation::parse(&relation)
                    .ok_or(format!("{key}: \"{relation}\" is no way to compare"))?,
                is_optional: key.starts_with('-'),
                why: needed("Why")?,
                cost: needed("Cost")?,
                default: needed("Default")?,
            });
        }
        Ok(())
    }
}

fn nic_layer(gbit: u32) -> Option<Layer> {
    NICS.iter().find(|(gbit_max, _)| gbit <= *gbit_max).map(|(_, layer)| *layer)
}

/// The fields of a block's comments: `# Name: text`, continued on lines that are indented further.
fn fields(block: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        let Some(comment) = line.strip_prefix("# ") else { continue };
        if let (Some(more), Some((_, value))) = (comment.strip_prefix("  "), fields.last_mut()) {
            // A `String` takes everything.
            let _ = write!(value, " {}", more.trim());
        } else if let Some((name, value)) = comment.split_once(": ") {
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ProfileName; 3] =
        [ProfileName::Small, ProfileName::Large, ProfileName::LoadGenerator];

    fn wanted(profile: &Profile, key: &str) -> Vec<u64> {
        let setting = profile.settings.iter().find(|setting| setting.key == key).expect(key);
        setting.wanted.split_whitespace().map(|number| number.parse().expect(key)).collect()
    }

    #[test]
    fn every_profile_reads_and_sets_nothing_twice() {
        for name in ALL {
            for nic_gbit in [None, Some(1), Some(10), Some(25), Some(40), Some(400)] {
                let profile = Profile::new(name, nic_gbit);
                let keys: Vec<&str> = profile.settings.iter().map(|it| it.key.as_str()).collect();
                let mut sorted = keys.clone();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), keys.len(), "{name:?} sets something twice: {keys:?}");
                for Setting { key, wanted, relation, why, cost, default, .. } in &profile.settings {
                    assert!(why.len() > 20 && cost.len() > 10 && !default.is_empty(), "{key}");
                    assert_eq!(relation.holds(wanted, wanted), Some(true), "{key}");
                }
                assert_eq!(nic_gbit.is_some(), keys.contains(&"net.core.netdev_budget"));
            }
        }
    }

    #[test]
    fn the_nearest_nic_above_is_taken() {
        for (gbit, file) in [
            (1, "nic-10.conf"),
            (10, "nic-10.conf"),
            (11, "nic-25.conf"),
            (25, "nic-25.conf"),
            (26, "nic-100.conf"),
            (400, "nic-100.conf"),
        ] {
            let profile = Profile::new(ProfileName::Large, Some(gbit));
            assert_eq!(profile.files.last(), Some(&file), "{gbit} Gbit/s");
        }
    }

    /// What the files' own arithmetic says, done again.
    #[test]
    fn values_fit_together() {
        for name in ALL {
            let profile = Profile::new(name, Some(25));
            let connections = profile.connections;
            let pages = wanted(&profile, "net.ipv4.tcp_mem");
            assert!(pages.is_sorted() && pages[1] * 4_096 > connections * 4_096, "{name:?}");
            // Beside it fit the sockets themselves and the system.
            let socket_bytes = connections * 4_150;
            let all = pages[2] * 4_096 + socket_bytes + (1 << 30);
            assert!(all < profile.memory_gib << 30, "{name:?}: {all} bytes");
            assert!(wanted(&profile, "net.ipv4.tcp_max_orphans")[0] >= connections);
            assert!(wanted(&profile, "fs.file-max")[0] > 2 * connections);
            assert!(wanted(&profile, "fs.nr_open")[0] >= 1_048_576);
        }
        let loadgen = Profile::new(ProfileName::LoadGenerator, None);
        let ports = wanted(&loadgen, "net.ipv4.ip_local_port_range");
        assert!((ports[1] - ports[0] + 1) * 8 > loadgen.connections, "8 source addresses");
        let keys = |name, gbit| {
            let settings = Profile::new(name, Some(gbit)).settings;
            settings.into_iter().map(|it| (it.key, it.wanted)).collect::<Vec<_>>()
        };
        assert_ne!(keys(ProfileName::Large, 10), keys(ProfileName::Large, 25));
        assert_ne!(keys(ProfileName::Large, 25), keys(ProfileName::Large, 100));
    }

    #[test]
    fn comparisons() {
        use Relation::{Advised, AtLeast, AtLeastAsWide, AtMost, Exactly};
        for (relation, current, wanted, holds) in [
            (AtLeast, "4096", "4096", Some(true)),
            (AtLeast, "4095", "4096", Some(false)),
            (AtLeast, "9223372036854775807", "4194304", Some(true)),
            (AtLeast, "1\t2\t3", "1 2 3", Some(true)),
            (AtLeast, "9 1 9", "1 2 3", Some(false)),
            (AtLeast, "9 9", "1 2 3", None),
            (AtLeast, "-1", "1", None),
            (AtLeast, "", "", None),
            (AtMost, "4096 131072 6291456", "4096 16384 262144", Some(false)),
            (AtMost, "4096 8192 262144", "4096 16384 262144", Some(true)),
            (Exactly, "fq", "fq", Some(true)),
            (Exactly, "fq_codel", "fq", Some(false)),
            (Advised, "cubic", "bbr", Some(false)),
            (AtLeastAsWide, "1024\t65535", "1024 65535", Some(true)),
            (AtLeastAsWide, "32768 60999", "1024 65535", Some(false)),
            (AtLeastAsWide, "1024 60999", "1024 65535", Some(false)),
        ] {
            assert_eq!(relation.holds(current, wanted), holds, "{relation:?} {current} {wanted}");
        }
    }

    #[test]
    fn what_a_broken_file_is_told() {
        for (text, expected) in [
            ("# Why: x\nkey = 1", "key has no Check"),
            ("# Check: nearly\nkey = 1", "\"nearly\" is no way to compare"),
            ("# Check: exactly\nkey = 1", "key has no Why"),
            ("key", "\"key\" sets nothing"),
            ("a = 1\nb = 2", "\"b = 2\" needs a block of its own"),
            ("# Connections: many", "\"many\" is not a number"),
        ] {
            let error = Profile::new(ProfileName::Small, None).read(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
    }
}
