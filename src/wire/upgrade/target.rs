//! The request target of an upgrade: path and query.

use std::borrow::Cow;

use super::{PATHS, UpgradeError};
use crate::base::ids::RoomId;

/// Where a returning client wants to continue: what it saw last in its room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The epoch of the room that the versions belong to.
    pub epoch: u64,
    /// The newest version of the high lane that the client has; nothing if it did not say.
    pub high: Option<u64>,
    /// The newest version of the mid lane that the client has; nothing if it did not say.
    pub mid: Option<u64>,
    /// The newest version of the low lane that the client has; nothing if it did not say.
    pub low: Option<u64>,
}

/// A request target of which the path is known to be ours.
pub(super) struct Target<'a> {
    pub(super) path: &'a str,
    /// From an absolute-form target (RFC 9112 §3.2.2), where it overrides the `Host` header.
    pub(super) authority: Option<&'a str>,
    raw_query: &'a str,
}

/// What we read from the query; other names are left to others.
#[derive(Default)]
pub(super) struct Query {
    pub(super) token: Option<String>,
    pub(super) room: Option<RoomId>,
    pub(super) resume: Option<Resume>,
    /// The client opens sealed questions.
    pub(super) opens_seals: bool,
}

/// The names in the query that are ours, with their values.
#[derive(Default)]
struct Fields {
    token: Option<String>,
    room: Option<u64>,
    epoch: Option<u64>,
    high: Option<u64>,
    mid: Option<u64>,
    low: Option<u64>,
    seals: Option<u64>,
}

impl<'a> Target<'a> {
    pub(super) fn parse(raw: &'a str) -> Result<Target<'a>, UpgradeError> {
        if raw.contains('#') {
            return Err(UpgradeError::Target);
        }
        let (authority, rest) = if raw.starts_with('/') {
            (None, raw)
        } else {
            let (authority, rest) = split_absolute(raw).ok_or(UpgradeError::Target)?;
            (Some(authority), rest)
        };
        let (path, raw_query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = if path.is_empty() { "/" } else { path };
        if !PATHS.contains(&path) {
            return Err(UpgradeError::NotFound);
        }
        Ok(Target { path, authority, raw_query })
    }

    pub(super) fn query(&self) -> Result<Query, UpgradeError> {
        let mut fields = Fields::default();
        for pair in self.raw_query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "token" => set("token", &mut fields.token, decode("token", value)?.into_owned())?,
                "room" => set("room", &mut fields.room, number("room", value)?)?,
                "epoch" => set("epoch", &mut fields.epoch, number("epoch", value)?)?,
                "high" => set("high", &mut fields.high, number("high", value)?)?,
                "mid" => set("mid", &mut fields.mid, number("mid", value)?)?,
                "low" => set("low", &mut fields.low, number("low", value)?)?,
                "seals" => set("seals", &mut fields.seals, number("seals", value)?)?,
                _ => {}
            }
        }
        fields.query()
    }
}

impl Fields {
    fn query(self) -> Result<Query, UpgradeError> {
        let Fields { token, room, epoch, high, mid, low, seals } = self;
        if room == Some(0) {
            return Err(UpgradeError::QueryNumber("room"));
        }
        if room.is_none() && epoch.is_some() {
            return Err(UpgradeError::QueryIncomplete { present: "epoch", missing: "room" });
        }
        if epoch.is_none() && high.or(mid).or(low).is_some() {
            return Err(UpgradeError::QueryIncomplete {
                present: "high, mid or low",
                missing: "epoch",
            });
        }
        let resume = epoch.map(|epoch| Resume { epoch, high, mid, low });
        let opens_seals = seals.is_some_and(|seals| seals > 0);
        Ok(Query { token, room: room.map(RoomId), resume, opens_seals })
    }
}

/// Authority and the rest of an absolute-form target.
fn split_absolute(raw: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = raw.split_once("://")?;
    let known = ["http", "https", "ws", "wss"];
    if !known.iter().any(|name| scheme.eq_ignore_ascii_case(name)) {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    (!authority.is_empty()).then_some((authority, rest))
}

fn set<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), UpgradeError> {
    match place.replace(value) {
        Some(_) => Err(UpgradeError::QueryTwice(name)),
        None => Ok(()),
    }
}

fn number(name: &'static str, value: &str) -> Result<u64, UpgradeError> {
    let value = decode(name, value)?;
    // `parse` alone would take a plus sign.
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().ok_or(UpgradeError::QueryNumber(name))
}

/// Percent-decodes a value (RFC 3986 §2.1). A plus sign stays what it is.
fn decode<'a>(name: &'static str, value: &'a str) -> Result<Cow<'a, str>, UpgradeError> {
    if !value.contains('%') {
        return Ok(Cow::Borrowed(value));
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut parts = value.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let &[high, low, ref rest @ ..] = part.as_bytes() else {
            return Err(UpgradeError::QueryEscape(name));
        };
        let byte = hex(high).zip(hex(low)).ok_or(UpgradeError::QueryEscape(name))?;
        bytes.push(byte.0 << 4 | byte.1);
        bytes.extend_from_slice(rest);
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| UpgradeError::QueryEscape(name))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
