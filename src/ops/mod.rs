//! What operators touch: configuration, show files, the command line, logs, metrics, and the
//! operator's HTTP.
//!
//! The top layer: it may import everything below, and nothing below imports it. It runs off the
//! shard cores, so it may block and allocate. Deliberately absent: the quiz's rules (a command
//! travels through [`http::OperatorPort`] and is decided by the director).

pub mod account_command;
pub mod autopilot;
pub mod backup_command;
pub mod capacity;
pub mod cli;
pub mod commands;
pub mod config;
pub mod connect;
pub mod console;
pub mod demo;
pub mod dispatch;
pub mod drain;
pub mod gateway_settings;
pub mod generate;
pub mod host;
pub mod http;
pub mod journal_command;
pub mod json_document;
pub mod kernel;
pub mod key_watch;
pub mod ledger_command;
pub mod ledger_outbox;
pub mod ledger_rebuild;
pub mod ledger_standin;
pub mod log;
pub mod metrics_text;
pub mod nearest;
pub mod operator_port;
pub mod payouts;
mod plan_port;
pub mod plans;
pub mod players;
pub mod problems;
pub mod rehearsal;
pub mod reload;
pub mod secret;
pub mod serve;
mod server_port;
pub mod service;
pub mod settings;
pub mod show_command;
pub mod show_file;
pub mod show_json;
pub mod signals;
pub mod toml_table;
pub mod tune;
pub mod watch;
pub mod words;
