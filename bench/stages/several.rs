//! Rounds 3 and 4: several gateway processes behind a dispatcher, all on this host.
//!
//! Each gateway has its own rooms and its own show, as several gateways of an operator have: a
//! service publishes on every one of them. Clients know the dispatcher's address and no other.

mod chain;
mod exodus;
mod site;
mod wanderer;

use clap::Args;
use serde::Serialize;

use crate::common::options::Options;
use crate::common::problem::Problem;

pub(crate) use chain::Chain;
pub(crate) use exodus::Exodus;
pub(crate) use site::{SUBCOMMAND, dispatch_under_test};

/// What rounds 3 and 4 are done with.
#[derive(Clone, Copy, Debug, Args, Serialize)]
pub(crate) struct Several {
    /// Rounds 3 and 4: gateways behind the dispatcher
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(2..=16))]
    pub(crate) gateways: u16,
    /// Rounds 3 and 4: clients, who ask the dispatcher where to go
    #[arg(long, value_name = "N", default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(10..=20_000))]
    pub(crate) clients: u32,
    /// Round 3: each gateway gets at least so much of its even part
    #[arg(long, value_name = "PERCENT", default_value_t = 75,
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) part_min_percent: u32,
    /// Round 3: whoever lost its gateway is back on another within this
    #[arg(long, value_name = "MS", default_value_t = 5_000,
        value_parser = clap::value_parser!(u32).range(100..=60_000))]
    pub(crate) back_limit_ms: u32,
}

/// Plays round 3.
pub(crate) fn exodus(several: Several, options: &Options) -> Result<Exodus, Problem> {
    exodus::play(several, options)
}

/// Plays round 4.
pub(crate) fn chain(several: Several, options: &Options) -> Result<Chain, Problem> {
    chain::play(several, options)
}
