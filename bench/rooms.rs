//! `rooms`: what a room is worth when it is under strain, one subject each: chat beyond the line's
//! budget, readers that stop reading, many who return at once, crowds that come and go.

mod crowd;
mod hall;
mod hearing;
mod overload;
mod returning;
mod slow;

use clap::{Args, Subcommand};

use crate::common::machine::Machine;
use crate::common::problem::Problem;

use crowd::CrowdArguments;
use overload::OverloadArguments;
use returning::ReturnArguments;
use slow::SlowArguments;

/// `tidegate-bench rooms`
#[derive(Clone, Debug, Args)]
pub(crate) struct RoomsArguments {
    #[command(subcommand)]
    strain: Strain,
}

#[derive(Clone, Debug, Subcommand)]
enum Strain {
    /// Chat beyond what the line carries: when questions reach everybody, and who misses what
    Overload(OverloadArguments),
    /// Members that stop reading: memory, what others feel, and whether their counts add up
    Slow(SlowArguments),
    /// Members that drop and return at once while a question is open
    Return(ReturnArguments),
    /// Very many who join and leave within seconds: what it costs in messages
    Crowd(CrowdArguments),
}

/// Measures and prints.
pub(crate) fn run(arguments: &RoomsArguments, machine: &Machine) -> Result<(), Problem> {
    match &arguments.strain {
        Strain::Overload(arguments) => overload::run(arguments, machine),
        Strain::Slow(arguments) => slow::run(arguments, machine),
        Strain::Return(arguments) => returning::run(arguments, machine),
        Strain::Crowd(arguments) => crowd::run(arguments, machine),
    }
}
