//! What outlives the process: the journal's format, its writer and its reader.
//!
//! A shard's journal is a row of *segments*: files of a fixed size, written from front to back in
//! *groups* of records. A group is written with one write and made durable with one sync, and only
//! then does the next one begin; so a group that is there proves that all before it were durable.
//!
//! Pure: bytes in, bytes out. The writer says what is to be written where, and is told what became
//! of it; the runtime does that with glommio's files, the simulator with a disk that loses, tears
//! and reorders what was not synced.
//!
//! [`mod@format`], [`writer`] and [`scan`] know nothing of what a record says; [`record`] does, and
//! [`recovery`] makes the beginning of the next run of what the shards of one have on record. Absent:
//! every thought of when to write.

pub mod format;
pub mod record;
pub mod recovery;
pub mod scan;
pub mod state;
pub mod writer;
