//! What all subjects share: servers as processes of their own, the client that loads them, clocks,
//! statistics, reports.

pub(crate) mod answering;
pub(crate) mod clients;
pub(crate) mod clock;
pub(crate) mod contender;
pub(crate) mod corpus;
pub(crate) mod counting;
pub(crate) mod drops;
pub(crate) mod entering;
pub(crate) mod floor;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod loopback;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod options;
pub(crate) mod pinned;
pub(crate) mod players;
pub(crate) mod problem;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod show;
pub(crate) mod sockets;
pub(crate) mod stats;
