//! What became of a lane's messages, over all members of a shard: sums that add up.
//!
//! Every version is owed to every member, when it comes or when a member resumes before it; and
//! each ends in one of four ways. At any moment
//! `offered + resumed = delivered + thinned + skipped + departed + what is still owed`, exactly.

use std::ops::AddAssign;

/// Versions times members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Came while they were members.
    pub offered: u64,
    /// Had come before they were members, and were asked for.
    pub resumed: u64,
    /// Given to the socket, or begun and kept to be finished first.
    pub delivered: u64,
    /// Told of by a frame that did not carry them.
    pub thinned: u64,
    /// Named by a gap.
    pub skipped: u64,
    /// Still owed when the member left the room or its connection ended.
    pub departed: u64,
}

impl Tally {
    /// What is still owed.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        let done = self.delivered + self.thinned + self.skipped + self.departed;
        (self.offered + self.resumed).saturating_sub(done)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.offered += other.offered;
        self.resumed += other.resumed;
        self.delivered += other.delivered;
        self.thinned += other.thinned;
        self.skipped += other.skipped;
        self.departed += other.departed;
    }
}
