//! What a token says: who, until when, and what its holder may do.
//!
//! The one place where permission is decided. A claim only takes away: what nobody may do, no token
//! allows. Claims of ours beside those of RFC 7519: `rooms` and `publish`.

use serde_json::Value;

use crate::base::ids::{RoomId, UserId};
use crate::base::limits::TOKEN_ROOMS_MAX;

/// What `publish` calls the lanes, in the order of their indices.
const LANE_NAMES: [&str; 3] = ["high", "mid", "low"];

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user; never 0.
    pub user: UserId,
    /// When the token ends, Unix seconds (`exp`, without the leeway).
    pub expires_unix_s: i64,
    /// When it was made, Unix seconds (`iat`).
    pub issued_unix_s: Option<i64>,
    /// What it is called, where its issuer has a name for it (`jti`).
    pub token_id: Option<Box<str>>,
    /// What its holder may do.
    pub permission: Permission,
}

/// What the holder of a token may do: everything, by default, that clients may.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    rooms: Rooms,
    publish: Lanes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rooms {
    #[default]
    All,
    /// In their order.
    Only(Box<[RoomId]>),
}

/// A bit for each lane, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lanes(u8);

impl Lanes {
    const NONE: Lanes = Lanes(0);
    const ALL: Lanes = Lanes((1 << LANE_NAMES.len()) - 1);
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes::ALL
    }
}

impl Permission {
    /// Everything that clients may do.
    pub const EVERYTHING: Permission = Permission { rooms: Rooms::All, publish: Lanes::ALL };

    /// Of the claims `rooms` and `publish`.
    ///
    /// # Errors
    /// What is wrong with which of them: nothing is guessed about a permission.
    pub fn from_claims(rooms: &Value, publish: &Value) -> Result<Permission, String> {
        Ok(Permission { rooms: rooms_of(rooms)?, publish: lanes_of(publish)? })
    }

    /// Whether the room may be entered.
    #[must_use]
    pub fn may_join(&self, room: RoomId) -> bool {
        match &self.rooms {
            Rooms::All => true,
            Rooms::Only(rooms) => rooms.binary_search(&room).is_ok(),
        }
    }

    /// Whether messages may be published in the lane of this index.
    #[must_use]
    pub fn may_publish(&self, lane: usize) -> bool {
        u32::try_from(lane).is_ok_and(|lane| self.publish.0.checked_shr(lane).unwrap_or(0) & 1 == 1)
    }
}

/// `"*"`, or a list of ids, each a number or its decimal text.
fn rooms_of(claim: &Value) -> Result<Rooms, String> {
    let list = match claim {
        Value::String(all) if all == "*" => return Ok(Rooms::All),
        Value::Array(list) => list,
        _ => return Err("`rooms` is neither \"*\" nor a list of room ids".to_owned()),
    };
    if list.len() > TOKEN_ROOMS_MAX {
        return Err(format!("`rooms` has {} rooms, more than {TOKEN_ROOMS_MAX}", list.len()));
    }
    let id = |value: &Value| match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let rooms: Option<Vec<RoomId>> = list.iter().map(|room| id(room).map(RoomId)).collect();
    let Some(mut rooms) = rooms else {
        return Err("`rooms` has something that is not a room id of 64 bits".to_owned());
    };
    rooms.sort_unstable();
    rooms.dedup();
    Ok(Rooms::Only(rooms.into()))
}

/// `true`, `false`, or a list of lanes.
fn lanes_of(claim: &Value) -> Result<Lanes, String> {
    let list = match claim {
        Value::Bool(true) => return Ok(Lanes::ALL),
        Value::Bool(false) => return Ok(Lanes::NONE),
        Value::Array(list) => list,
        _ => return Err("`publish` is neither true, false nor a list of lanes".to_owned()),
    };
    let mut lanes = Lanes::NONE;
    for name in list {
        let lane = LANE_NAMES.into_iter().position(|known| name == known);
        let Some(lane) = lane else {
            return Err(
                "`publish` has something else than \"high\", \"mid\" and \"low\"".to_owned()
            );
        };
        lanes.0 |= 1 << lane;
    }
    Ok(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(rooms: &Value, publish: &Value, expected: &Expect) {
        let shown = match Permission::from_claims(rooms, publish) {
            Ok(permission) => {
                let rooms: Vec<u64> = [0, 1, 7, u64::MAX]
                    .into_iter()
                    .filter(|it| permission.may_join(RoomId(*it)))
                    .collect();
                let lanes: Vec<usize> =
                    [0, 1, 2, 3, 99].into_iter().filter(|it| permission.may_publish(*it)).collect();
                format!("of rooms 0, 1, 7, 2^64 - 1: {rooms:?}; of lanes 0 to 3, 99: {lanes:?}")
            }
            Err(reason) => reason,
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn what_claims_allow() {
        let (all, yes) = (json!("*"), json!(true));
        for (rooms, publish, expected) in [
            (
                all.clone(),
                yes.clone(),
                expect![
                    "of rooms 0, 1, 7, 2^64 - 1: [0, 1, 7, 18446744073709551615]; of lanes 0 to 3, 99: [0, 1, 2]"
                ],
            ),
            (
                json!([7, "1", 7]),
                yes.clone(),
                expect!["of rooms 0, 1, 7, 2^64 - 1: [1, 7]; of lanes 0 to 3, 99: [0, 1, 2]"],
            ),
            (
                json!([u64::MAX]),
                json!(false),
                expect![
                    "of rooms 0, 1, 7, 2^64 - 1: [18446744073709551615]; of lanes 0 to 3, 99: []"
                ],
            ),
            (
                json!([]),
                json!([]),
                expect!["of rooms 0, 1, 7, 2^64 - 1: []; of lanes 0 to 3, 99: []"],
            ),
            (
                all.clone(),
                json!(["low"]),
                expect![
                    "of rooms 0, 1, 7, 2^64 - 1: [0, 1, 7, 18446744073709551615]; of lanes 0 to 3, 99: [2]"
                ],
            ),
            (
                all,
                json!(["mid", "high", "mid"]),
                expect![
                    "of rooms 0, 1, 7, 2^64 - 1: [0, 1, 7, 18446744073709551615]; of lanes 0 to 3, 99: [0, 1]"
                ],
            ),
        ] {
            check(&rooms, &publish, &expected);
        }
    }

    #[test]
    fn what_no_claim_says() {
        let (all, yes) = (json!("*"), json!(true));
        for (rooms, publish, expected) in [
            (
                json!(null),
                yes.clone(),
                expect![[r#"`rooms` is neither "*" nor a list of room ids"#]],
            ),
            (json!(7), yes.clone(), expect![[r#"`rooms` is neither "*" nor a list of room ids"#]]),
            (
                json!("7"),
                yes.clone(),
                expect![[r#"`rooms` is neither "*" nor a list of room ids"#]],
            ),
            (
                json!([-1]),
                yes.clone(),
                expect!["`rooms` has something that is not a room id of 64 bits"],
            ),
            (
                json!([1.5]),
                yes.clone(),
                expect!["`rooms` has something that is not a room id of 64 bits"],
            ),
            (
                json!(["all"]),
                yes.clone(),
                expect!["`rooms` has something that is not a room id of 64 bits"],
            ),
            (
                json!(vec![1; TOKEN_ROOMS_MAX + 1]),
                yes.clone(),
                expect!["`rooms` has 65 rooms, more than 64"],
            ),
            (
                all.clone(),
                json!(null),
                expect!["`publish` is neither true, false nor a list of lanes"],
            ),
            (
                all.clone(),
                json!("low"),
                expect!["`publish` is neither true, false nor a list of lanes"],
            ),
            (
                all,
                json!(["lwo"]),
                expect![[r#"`publish` has something else than "high", "mid" and "low""#]],
            ),
        ] {
            check(&rooms, &publish, &expected);
        }
    }

    #[test]
    fn nothing_said_is_everything() {
        assert_eq!(Permission::from_claims(&json!("*"), &json!(true)), Ok(Permission::EVERYTHING));
        assert_eq!(Permission::default(), Permission::EVERYTHING);
    }
}
