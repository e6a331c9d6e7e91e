//! Packets that the kernel dropped between a sender and a receiver on this machine.
//!
//! What is sent over loopback waits in a queue of the core that will receive it, and a queue that is
//! full (`net.core.netdev_max_backlog`) drops. TCP sends again, 200 ms later at the earliest: time to
//! the last client is then that of the accident, and CPU per delivery contains the repetition.

use std::fs;

use crate::common::problem::{Doing as _, Problem};

const PATH: &str = "/proc/net/softnet_stat";

/// Since some moment, by the whole machine: the kernel counts by core, not by process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drops {
    before: u64,
}

impl Drops {
    /// From now on.
    pub(crate) fn count() -> Result<Drops, Problem> {
        Ok(Drops { before: total()? })
    }

    /// Until now.
    pub(crate) fn so_far(self) -> Result<u64, Problem> {
        Ok(total()?.saturating_sub(self.before))
    }
}

fn total() -> Result<u64, Problem> {
    let text = fs::read_to_string(PATH).doing(format!("reading {PATH}"))?;
    dropped(&text).ok_or_else(|| Problem::new(format!("{PATH} is not as Linux 6 writes it")))
}

/// The second number of each line, in hexadecimal; a line is a core.
fn dropped(text: &str) -> Option<u64> {
    let of_core = |line: &str| u64::from_str_radix(line.split(' ').nth(1)?, 16).ok();
    text.lines().map(of_core).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_all_cores_are_added() {
        let text = "0bb4122e 0001b418 00000004 00000000\n05f49a2d 00007613 0000000b 00000000\n";
        assert_eq!(dropped(text), Some(0x1b418 + 0x7613));
        assert_eq!(dropped("what is this\n"), None);
    }
}
