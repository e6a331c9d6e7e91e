//! What operators touch: configuration, show files, the command line, logs, metrics, and the
//! operator's HTTP.
//!
//! The top layer: it may import everything below, and nothing below imports it. It runs off the
//! shard cores, so it may block and allocate. Deliberately absent: the quiz's rules (a command
//! travels through [`http::OperatorPort`] and is decided by the director).

pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
pub mod http;
pub mod log;
pub mod metrics_text;
pub mod nearest;
pub mod problems;
pub mod secret;
pub mod settings;
pub mod show_file;
pub mod toml_table;
