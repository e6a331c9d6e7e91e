//! The structured log: lines for people or JSON for machines, on standard error.
//!
//! Standard output belongs to results (`demo --json`). A shard logs what is rare; nothing is
//! logged per message, so writing to standard error never holds a shard up for long.

use std::io;

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::{EnvFilter, reload};

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something is lost or does not work.
    Error,
    /// Something will go wrong if nobody acts.
    Warn,
    /// What an operator wants to have seen.
    Info,
    /// For finding faults.
    Debug,
    /// Everything.
    Trace,
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogLevel {
    /// All, in the order of [`LogLevel::WORDS`].
    pub const ALL: [LogLevel; 5] =
        [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    /// As they are written in the configuration.
    pub const WORDS: &'static [&'static str] = &["error", "warn", "info", "debug", "trace"];
}

impl LogFormat {
    /// All, in the order of [`LogFormat::WORDS`].
    pub const ALL: [LogFormat; 2] = [LogFormat::Text, LogFormat::Json];
    /// As they are written in the configuration.
    pub const WORDS: &'static [&'static str] = &["text", "json"];
}

/// Why the log cannot be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// `log.filter` is not a list of directives.
    #[error("log.filter: {reason}")]
    Filter {
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be set any more.
    #[error("the log cannot be set: {0}")]
    Gone(#[source] reload::Error),
    /// Another one was set up before.
    #[error("the log was set up twice in one process")]
    Twice,
}

/// Whether `text` can be a `log.filter`.
///
/// # Errors
/// What is wrong with it.
pub fn is_filter(text: &str) -> Result<(), String> {
    EnvFilter::try_new(text).map(|_| ()).map_err(|error| {
        format!("{error}; write levels by module, such as `info,tidegate::net=debug`")
    })
}

/// Sets what a running log writes, from any thread.
pub struct LogHandle(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LogHandle {
    /// Other levels from now on. `filter`, where it is given, replaces `level`.
    ///
    /// # Errors
    /// If `filter` is not one, or the log is gone.
    pub fn set(&self, level: LogLevel, filter: Option<&str>) -> Result<(), LogError> {
        (self.0)(filter_of(level, filter)?).map_err(LogError::Gone)
    }
}

fn filter_of(level: LogLevel, filter: Option<&str>) -> Result<EnvFilter, LogError> {
    let directives = filter.unwrap_or(LogLevel::WORDS[level as usize]);
    EnvFilter::try_new(directives).map_err(|error| LogError::Filter { reason: error.to_string() })
}

/// Sends everything that is logged from now on to standard error. Call once, before any thread.
///
/// # Errors
/// If `filter` is not one, or a log was set up before.
pub fn start(
    level: LogLevel,
    format: LogFormat,
    filter: Option<&str>,
) -> Result<LogHandle, LogError> {
    let (subscriber, handle) = subscriber(level, format, filter, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    Ok(handle)
}

/// A log that writes to `writer`, and what sets it. `filter`, where it is given, replaces `level`.
///
/// # Errors
/// If `filter` is not one.
pub fn subscriber<W>(
    level: LogLevel,
    format: LogFormat,
    filter: Option<&str>,
    writer: W,
) -> Result<(Box<dyn Subscriber + Send + Sync>, LogHandle), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter_of(level, filter)?)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(false)
        .with_writer(writer);
    Ok(match format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let set = LogHandle(Box::new(move |filter| handle.reload(filter)));
            (Box::new(builder.finish()), set)
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            let set = LogHandle(Box::new(move |filter| handle.reload(filter)));
            (Box::new(builder.finish()), set)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is logged goes through a channel, so that the test can read it.
    struct Lines(flume::Sender<Vec<u8>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LogLevel, format: LogFormat, filter: Option<&str>) -> String {
        let (sender, receiver) = flume::unbounded();
        let (subscriber, _) =
            subscriber(level, format, filter, move || Lines(sender.clone())).expect("a filter");
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(shard = 3, "a line");
            tracing::debug!("a detail");
        });
        receiver.drain().map(|bytes| String::from_utf8(bytes).expect("UTF-8")).collect()
    }

    #[test]
    fn text_has_level_message_and_fields() {
        let text = logged(LogLevel::Info, LogFormat::Text, None);
        assert!(text.contains(" INFO ") && text.contains("a line shard=3"), "{text}");
        assert!(!text.contains("a detail"), "{text}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = logged(LogLevel::Debug, LogFormat::Json, None);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["message"], "a line");
        assert_eq!(lines[0]["shard"], 3);
        assert!(lines[0]["timestamp"].is_string());
    }

    #[test]
    fn a_filter_replaces_the_level() {
        let filter = Some("error,tidegate::ops::log=debug");
        assert!(logged(LogLevel::Error, LogFormat::Text, filter).contains("a detail"));
        assert_eq!(logged(LogLevel::Trace, LogFormat::Text, Some("off")), "");
    }

    #[test]
    fn a_running_log_takes_other_levels() {
        let (sender, receiver) = flume::unbounded();
        for format in LogFormat::ALL {
            let sender = sender.clone();
            let (subscriber, handle) =
                subscriber(LogLevel::Warn, format, None, move || Lines(sender.clone()))
                    .expect("a level");
            tracing::subscriber::with_default(subscriber, || {
                tracing::info!("not yet");
                handle.set(LogLevel::Info, None).expect("a level");
                tracing::info!("now");
                assert!(handle.set(LogLevel::Info, Some("tidegate=loudly")).is_err());
                handle.set(LogLevel::Info, Some("off")).expect("a filter");
                tracing::error!("no more");
            });
            let text: String =
                receiver.drain().map(|bytes| String::from_utf8(bytes).expect("UTF-8")).collect();
            assert!(text.contains("now") && text.lines().count() == 1, "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert!(is_filter("info,tidegate::net=debug").is_ok());
        assert!(is_filter("tidegate=loudly").is_err());
    }
}
