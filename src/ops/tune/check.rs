//! `tidegate tune check`: this host beside a profile. Says what is set, what should be, why, and what
//! it costs to leave it; changes nothing.

use serde::Serialize;

use crate::ops::tune::host_files::{HostFiles, Reading};
use crate::ops::tune::profile::{Profile, Relation, Setting};

/// What came of looking at one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is not as it should be.
    Wrong,
    /// It could not be seen.
    Unknown,
    /// Another value may be right, but look at it.
    Advice,
    /// This host has no such thing, and that is no fault.
    NotHere,
    /// As it should be.
    Fine,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            State::Wrong => "WRONG",
            State::Unknown => "unknown",
            State::Advice => "advice",
            State::NotHere => "not here",
            State::Fine => "fine",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The sysctl's key, or words.
    pub name: String,
    /// What came of it.
    pub state: State,
    /// What is, or why that cannot be told.
    pub current: String,
    /// What should be.
    pub wanted: String,
    /// The reason.
    pub why: String,
    /// What it costs to leave it.
    pub cost: String,
    /// What to do.
    pub fix: String,
}

/// All that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// `1m`.
    pub profile: &'static str,
    /// What it is for.
    pub connections: u64,
    /// As given, or as the NIC says.
    pub nic_gbit: Option<u32>,
    /// `fine`, `findings` or `cannot_tell`.
    pub verdict: Verdict,
    /// The worst first.
    pub checks: Vec<Check>,
}

/// What a script wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Fine,
    /// Something is.
    Findings,
    /// Nothing that could be seen is wrong, but not all could be seen.
    CannotTell,
}

impl CheckReport {
    /// The worst first; what is alike stays in its order.
    #[must_use]
    pub fn new(profile: &Profile, nic_gbit: Option<u32>, mut checks: Vec<Check>) -> CheckReport {
        checks.sort_by_key(|check| check.state);
        let has = |state| checks.iter().any(|check: &Check| check.state == state);
        let verdict = match (has(State::Wrong), has(State::Unknown)) {
            (true, _) => Verdict::Findings,
            (false, true) => Verdict::CannotTell,
            (false, false) => Verdict::Fine,
        };
        CheckReport {
            profile: profile.name.text(),
            connections: profile.connections,
            nic_gbit,
            verdict,
            checks,
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let nic = self.nic_gbit.map_or("NIC unknown".to_owned(), |gbit| format!("{gbit} Gbit/s"));
        let mut lines =
            vec![format!("profile {}: {} connections, {nic}", self.profile, self.connections)];
        for check in &self.checks {
            let Check { name, state, current, wanted, why, cost, fix } = check;
            let state = state.text();
            match check.state {
                State::Fine | State::NotHere => lines.push(format!("{state:8} {name}: {current}")),
                State::Wrong | State::Unknown | State::Advice => lines.extend([
                    String::new(),
                    format!("{state:8} {name}: {current}; should be {wanted}"),
                    format!("         why:  {why}"),
                    format!("         cost: {cost}"),
                    format!("         do:   {fix}"),
                ]),
            }
        }
        let count = |state| self.checks.iter().filter(|check| check.state == state).count();
        lines.extend([
            String::new(),
            format!(
                "{} wrong, {} unknown, {} advice, {} fine, {} not on this host",
                count(State::Wrong),
                count(State::Unknown),
                count(State::Advice),
                count(State::Fine),
                count(State::NotHere)
            ),
        ]);
        // A line that separates is needed once, and not at the beginning of the short ones.
        lines.dedup_by(|second, first| second.is_empty() && first.is_empty());
        lines.join("\n") + "\n"
    }
}

/// All sysctls of a profile.
#[must_use]
pub fn sysctls(profile: &Profile, host: &HostFiles) -> Vec<Check> {
    profile.settings.iter().map(|setting| sysctl(setting, &host.sysctl(&setting.key))).collect()
}

fn sysctl(setting: &Setting, reading: &Reading) -> Check {
    let Setting { key, wanted, relation, is_optional, why, cost, default } = setting;
    let (state, current) = match reading {
        Reading::Text(text) => {
            let current = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let state = match relation.holds(text, wanted) {
                Some(true) => State::Fine,
                Some(false) if *relation == Relation::Advised => State::Advice,
                Some(false) => State::Wrong,
                None => State::Unknown,
            };
            (state, current)
        }
        Reading::Absent if *is_optional => {
            (State::NotHere, "this kernel has no such setting".to_owned())
        }
        Reading::Absent => (
            State::Unknown,
            "it cannot be seen here: the kernel lacks it, or this is a network namespace or a \
             container that hides it"
                .to_owned(),
        ),
        Reading::Unreadable(why) => (State::Unknown, format!("it cannot be read: {why}")),
    };
    let value = if wanted.contains(' ') { format!("\"{wanted}\"") } else { wanted.clone() };
    Check {
        name: key.clone(),
        state,
        current,
        wanted: format!("{relation} {wanted}"),
        why: why.clone(),
        cost: cost.clone(),
        fix: format!(
            "sysctl -w {key}={value}, and `tidegate tune print` for /etc/sysctl.d; the kernel's own \
             value: {default}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tune::profile::ProfileName;
    use expect_test::expect;

    fn plant(folder: &std::path::Path, key: &str, value: &str) {
        let path = folder.join("proc/sys").join(key.replace('.', "/"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, value).expect("written");
    }

    /// A host on which everything is as a profile says.
    fn good(profile: &Profile) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for setting in &profile.settings {
            plant(folder.path(), &setting.key, &setting.wanted.replace(' ', "\t"));
        }
        folder
    }

    fn not_fine(profile: &Profile, folder: &tempfile::TempDir) -> Vec<(String, State)> {
        let checks = sysctls(profile, &HostFiles::new(folder.path())).into_iter();
        checks.filter(|it| it.state != State::Fine).map(|it| (it.name, it.state)).collect()
    }

    #[test]
    fn each_wrong_value_is_found_and_nothing_else() {
        let profile = Profile::new(ProfileName::Large, Some(100));
        let folder = good(&profile);
        assert_eq!(not_fine(&profile, &folder), []);
        for setting in &profile.settings {
            let wrong = match setting.relation {
                Relation::AtLeast => setting.wanted.replacen(char::is_numeric, "", 1),
                Relation::AtMost => format!("{}0", setting.wanted),
                Relation::Exactly => "7".to_owned(),
                Relation::Advised | Relation::AtLeastAsWide => "other".to_owned(),
            };
            // One digit leaves nothing to take away.
            let wrong = if wrong.is_empty() { "0".to_owned() } else { wrong };
            plant(folder.path(), &setting.key, &wrong);
            let state =
                if setting.relation == Relation::Advised { State::Advice } else { State::Wrong };
            assert_eq!(not_fine(&profile, &folder), [(setting.key.clone(), state)], "{wrong}");
            plant(folder.path(), &setting.key, &setting.wanted);
        }
    }

    #[test]
    fn what_cannot_be_seen_is_said_so() {
        let profile = Profile::new(ProfileName::Small, None);
        let folder = good(&profile);
        let path = |key: &str| folder.path().join("proc/sys").join(key);
        std::fs::remove_file(path("net/ipv4/tcp_mem")).expect("removed");
        std::fs::remove_file(path("kernel/numa_balancing")).expect("removed");
        std::fs::remove_file(path("fs/nr_open")).expect("removed");
        std::fs::create_dir(path("fs/nr_open")).expect("made");
        plant(folder.path(), "fs.file-max", "many");
        assert_eq!(
            not_fine(&profile, &folder),
            [
                ("fs.nr_open".to_owned(), State::Unknown),
                ("fs.file-max".to_owned(), State::Unknown),
                ("kernel.numa_balancing".to_owned(), State::NotHere),
                ("net.ipv4.tcp_mem".to_owned(), State::Unknown),
            ]
        );
    }

    fn check(name: &str, state: State) -> Check {
        Check {
            name: name.to_owned(),
            state,
            current: "1".to_owned(),
            wanted: "at least 2".to_owned(),
            why: "why".to_owned(),
            cost: "cost".to_owned(),
            fix: "fix".to_owned(),
        }
    }

    #[test]
    fn a_report_begins_with_the_worst() {
        let profile = Profile::new(ProfileName::Small, None);
        let checks = vec![
            check("a", State::Fine),
            check("b", State::NotHere),
            check("c", State::Wrong),
            check("d", State::Unknown),
        ];
        let report = CheckReport::new(&profile, Some(25), checks);
        assert_eq!(report.verdict, Verdict::Findings);
        expect![[r#"
            profile 100k: 100000 connections, 25 Gbit/s

            WRONG    c: 1; should be at least 2
                     why:  why
                     cost: cost
                     do:   fix

            unknown  d: 1; should be at least 2
                     why:  why
                     cost: cost
                     do:   fix
            not here b: 1
            fine     a: 1

            1 wrong, 1 unknown, 0 advice, 1 fine, 1 not on this host
        "#]]
        .assert_eq(&report.text());
    }

    #[test]
    fn verdicts() {
        let profile = Profile::new(ProfileName::Small, None);
        for (states, expected) in [
            (&[State::Fine, State::NotHere, State::Advice][..], Verdict::Fine),
            (&[State::Fine, State::Unknown], Verdict::CannotTell),
            (&[State::Unknown, State::Wrong], Verdict::Findings),
            (&[], Verdict::Fine),
        ] {
            let checks = states.iter().map(|state| check("x", *state)).collect();
            assert_eq!(CheckReport::new(&profile, None, checks).verdict, expected, "{states:?}");
        }
    }
}
