//! Players: real WebSocket clients that play a whole show and check everything they are told.
//!
//! [`script`] decides what each of them does, from a seed. [`record`] is what one player knows and
//! compares with what it hears; both are pure. [`client`] is one player on the wire: upgrade,
//! frames, reconnects, acts at their moments. [`swarm`] runs thousands of them on one socket
//! plane in a thread of its own. [`early`] opens what came sealed.
//!
//! Invariants: a player believes only what came over its connection; the script's knowledge of
//! the correct options decides what is answered and what the reveal is compared with, never what
//! is accepted. Every broken promise becomes a sentence in [`violations`], and none stops a player.
//! Deliberately absent: how the show is run and what its operator knows (that is `ops::demo`), and
//! signing of tokens (the swarm is given them).

pub mod client;
pub mod early;
pub mod record;
pub mod script;
pub mod swarm;
pub mod violations;
