//! `tidegate tune`: whether a host is set up for its audience, what it should be set to, and how many
//! hosts an audience needs. Deliberately absent: changing a host; the scripts in `tuning/` do that.

pub mod check;
pub mod figures;
pub mod host_files;
pub mod machine;
pub mod network;
pub mod plan;
pub mod profile;

use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::ops::cli::ExitStatus;
use crate::ops::commands::Surroundings;
use crate::ops::tune::check::{CheckReport, Verdict, sysctls};
use crate::ops::tune::host_files::HostFiles;
use crate::ops::tune::machine::machine;
use crate::ops::tune::network::{fastest_gbit, network};
use crate::ops::tune::plan::{PlanArguments, plan};
use crate::ops::tune::profile::{Profile, ProfileName};

/// `tidegate tune`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct TuneArguments {
    /// What to do
    #[command(subcommand)]
    pub verb: TuneVerb,
}

/// What can be asked about hosts.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TuneVerb {
    /// Compare this host with a profile: what is set, what should be, why, and what it costs to
    /// leave it. Changes nothing
    #[command(
        after_help = "Exit status: 0 nothing is wrong, 1 something is, 2 nothing that could be seen is \
                      wrong, but not all could be seen."
    )]
    Check(CheckArguments),
    /// Compute hosts, cores, memory, bandwidth and seconds per push for an audience
    Plan(PlanArguments),
    /// Print a profile's sysctls, with their reasons, as a file for /etc/sysctl.d
    Print(PrintArguments),
}

/// `tidegate tune check`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct CheckArguments {
    /// What the host is for
    #[arg(long, value_enum, default_value = "1m")]
    pub profile: ProfileName,
    /// Speed of its NIC, Gbit/s; as the NIC says by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub nic_gbit: Option<u32>,
    /// Whose limits to look at, a running gateway for example; this shell's by default
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Look at a copy of another host: a folder with its proc and sys, and with what programs wrote
    /// in commands/tc-DEVICE and commands/nft-notrack
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub root: PathBuf,
}

/// `tidegate tune print`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct PrintArguments {
    /// What the host is for
    #[arg(long, value_enum, default_value = "1m")]
    pub profile: ProfileName,
    /// Speed of its NIC, Gbit/s; without it, what depends on it is left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub nic_gbit: Option<u32>,
}

/// Runs the command.
pub fn tune(arguments: &TuneArguments, surroundings: &mut Surroundings<'_>) -> ExitStatus {
    let outcome = match &arguments.verb {
        TuneVerb::Check(arguments) => check(arguments, surroundings),
        TuneVerb::Plan(arguments) => planned(arguments, surroundings),
        TuneVerb::Print(PrintArguments { profile, nic_gbit }) => {
            let profile = Profile::new(*profile, *nic_gbit);
            write!(surroundings.output, "{}", profile.text()).map(|()| ExitStatus::Success)
        }
    };
    // Whoever reads no further has seen enough.
    outcome.unwrap_or(ExitStatus::Failed)
}

fn check(
    arguments: &CheckArguments,
    surroundings: &mut Surroundings<'_>,
) -> io::Result<ExitStatus> {
    let host = HostFiles::new(&arguments.root);
    let nic_gbit = arguments.nic_gbit.or_else(|| fastest_gbit(&host));
    let profile = Profile::new(arguments.profile, nic_gbit);
    let process = arguments.pid.map_or("self".to_owned(), |pid| pid.to_string());
    let mut checks = sysctls(&profile, &host);
    checks.extend(machine(&profile, &host, &process));
    checks.extend(network(&profile, &host, nic_gbit));
    let report = CheckReport::new(&profile, nic_gbit, checks);
    if arguments.json {
        json(&report, surroundings)?;
    } else {
        write!(surroundings.output, "{}", report.text())?;
    }
    Ok(match report.verdict {
        Verdict::Fine => ExitStatus::Success,
        Verdict::Findings => ExitStatus::Failed,
        Verdict::CannotTell => ExitStatus::CannotTell,
    })
}

fn planned(
    arguments: &PlanArguments,
    surroundings: &mut Surroundings<'_>,
) -> io::Result<ExitStatus> {
    match plan(arguments) {
        Ok(plan) if arguments.json => json(&plan, surroundings)?,
        Ok(plan) => write!(surroundings.output, "{}", plan.text())?,
        Err(why) => {
            writeln!(surroundings.complaints, "{why}")?;
            return Ok(ExitStatus::Failed);
        }
    }
    Ok(ExitStatus::Success)
}

fn json(value: &impl Serialize, surroundings: &mut Surroundings<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *surroundings.output, value)?;
    writeln!(surroundings.output)
}
