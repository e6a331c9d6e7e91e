//! `tidegate-bench`: measures what the gateway exists for, beside the physical floor.
//!
//! One subcommand per subject. The server under test is always a process of its own on cores of its
//! own, the load is this process on another; what is compared is CPU time of the server divided by
//! work done, because throughput on shared machines lies.

mod answers;
mod chat;
mod common;
mod connect;
mod fanout;
mod flood;
mod floors;
mod idle;
mod ledger;
mod million;
mod peers;
mod recovery;
mod rooms;
mod scale;
mod stages;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use answers::AnswersArguments;
use chat::ChatArguments;
use common::gateway::{self, serve_under_test};
use common::loopback;
use common::machine::Machine;
use common::problem::{Doing as _, Problem};
use connect::ConnectArguments;
use fanout::FanoutArguments;
use flood::FloodArguments;
use floors::writers::WritersArguments;
use idle::IdleArguments;
use ledger::LedgerArguments;
use million::MillionArguments;
use peers::PeersArguments;
use recovery::RecoveryArguments;
use rooms::RoomsArguments;
use scale::ScaleArguments;
use stages::StagesArguments;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "tidegate-bench", version, about = "Measures the gateway beside the physical floor", long_about = None)]
struct Cli {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// CPU per delivery of a broadcast, one at a time and in bursts, beside a plain send() loop
    Fanout(FanoutArguments),
    /// Chat to a whole room: bytes on the wire and CPU per message that somebody sees
    Chat(ChatArguments),
    /// Rooms under strain: overload, slow readers, a mass return, a crowd that comes and goes
    Rooms(RoomsArguments),
    /// Fan-out's ratio to the floor, at several numbers of connections
    Scale(ScaleArguments),
    /// Time of a high-lane message to everybody while the low lane is flooded, beside the same alone
    Flood(FloodArguments),
    /// CPU per connect with token and room, beside accept, read and write; and a storm of connects
    Connect(ConnectArguments),
    /// CPU per answer, judged and acknowledged, beside an io_uring echo
    Answers(AnswersArguments),
    /// Memory of connections while nothing happens, and how fast they come
    Idle(IdleArguments),
    /// A settlement written to the book, proved, and read back as a leaderboard
    Ledger(LedgerArguments),
    /// A million connections to one gateway process: a question to all of them, and their answers
    Million(MillionArguments),
    /// A gateway that is killed with everybody in it, its recovery, and a settlement in the book
    Recovery(RecoveryArguments),
    /// Rounds of load tests: each interface raised until it fails, then all together; and what so many
    /// viewers need
    Stages(StagesArguments),
    /// The same work by servers that others wrote: CPU, memory, connects, time to everybody
    Peers(PeersArguments),
    /// The gateway that is measured
    #[command(name = gateway::SUBCOMMAND, hide = true)]
    GatewayUnderTest {
        #[arg(long)]
        show: Vec<PathBuf>,
    },
    /// The dispatcher of rounds 3 and 4
    #[command(name = stages::several::SUBCOMMAND, hide = true)]
    DispatcherUnderTest {
        #[arg(long)]
        config: PathBuf,
    },
    /// Keeps the kernel's queues of received packets long, until standard input ends
    #[command(name = loopback::KEEPER, hide = true)]
    KeepBacklog { packets: u32 },
    /// The floor of fan-out: a send() loop
    #[command(hide = true)]
    FloorFanout(FloorArguments),
    /// The floor of fan-out beyond the limit of descriptors
    #[command(hide = true)]
    FloorFanoutRing(FloorArguments),
    /// The floor of answers: an echo, whose replies are so long
    #[command(hide = true)]
    FloorEcho(FloorArguments),
    /// The floor of connects
    #[command(hide = true)]
    FloorConnect {
        connections: u32,
        #[arg(default_value_t = 0)]
        port: u16,
    },
    /// The floor of durable acknowledgements
    #[command(hide = true)]
    FloorWriters(WritersArguments),
}

/// What floors of fan-out are told.
#[derive(Debug, clap::Args)]
struct FloorArguments {
    connections: u32,
    frame_bytes: usize,
    #[arg(default_value_t = 0)]
    port: u16,
}

fn main() -> ExitCode {
    match run(Cli::parse().subject) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(subject: Subject) -> Result<(), Problem> {
    match subject {
        Subject::Fanout(arguments) => fanout::run(&arguments, &Machine::look()),
        Subject::Chat(arguments) => chat::run(&arguments, &Machine::look()),
        Subject::Rooms(arguments) => rooms::run(&arguments, &Machine::look()),
        Subject::Scale(arguments) => scale::run(&arguments, &Machine::look()),
        Subject::Flood(arguments) => flood::run(&arguments, &Machine::look()),
        Subject::Connect(arguments) => connect::run(&arguments, &Machine::look()),
        Subject::Answers(arguments) => answers::run(&arguments, &Machine::look()),
        Subject::Idle(arguments) => idle::run(&arguments, &Machine::look()),
        Subject::Ledger(arguments) => ledger::run(&arguments, &Machine::look()),
        Subject::Million(arguments) => million::run(&arguments, &Machine::look()),
        Subject::Recovery(arguments) => recovery::run(&arguments, &Machine::look()),
        Subject::Stages(arguments) => stages::run(&arguments, &Machine::look()),
        Subject::Peers(arguments) => peers::run(&arguments, &Machine::look()),
        Subject::GatewayUnderTest { show } => serve_under_test(show),
        Subject::DispatcherUnderTest { config } => stages::several::dispatch_under_test(config),
        Subject::KeepBacklog { packets } => loopback::keep_backlog(packets),
        Subject::FloorFanout(FloorArguments { connections, frame_bytes, port }) => {
            floors::fanout::run(connections, frame_bytes, port).doing("the fan-out floor")
        }
        Subject::FloorFanoutRing(FloorArguments { connections, frame_bytes, port }) => {
            floors::fanout_ring::run(connections, frame_bytes, port).doing("the fan-out floor")
        }
        Subject::FloorEcho(FloorArguments { connections, frame_bytes, port }) => {
            floors::echo::run(connections, frame_bytes, port).doing("the floor of answers")
        }
        Subject::FloorConnect { connections, port } => {
            floors::connect::run(connections, port).doing("the floor of connects")
        }
        Subject::FloorWriters(arguments) => {
            floors::writers::run(&arguments).doing("the floor of durable acknowledgements")
        }
    }
}
