//! What became of every message for every member: the shards' sums add up, and no client heard
//! more than they say.

use crate::room::lane::{Lane, Span};
use crate::room::tally::Tally;
use crate::shard::Shard;
use crate::sim::checkers::{Findings, Promise};

/// What clients heard from one host, per lane.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeardSums([Tally; 3]);

impl HeardSums {
    /// A frame came through a lane.
    pub(crate) fn message(&mut self, lane: Lane, span: Span) {
        let tally = &mut self.0[lane.index()];
        tally.delivered += u64::from(span.carried);
        tally.thinned += u64::from(span.versions - span.carried);
    }

    /// So many versions will not come.
    pub(crate) fn gap(&mut self, lane: Lane, versions: u64) {
        self.0[lane.index()].skipped += versions;
    }

    /// Compares with what the host says.
    pub(crate) fn check(&self, host: usize, shard: &Shard, findings: &mut Findings) {
        let owed = shard.owed();
        for (lane, tally) in shard.tallies().into_iter().enumerate() {
            let Tally { offered, resumed, delivered, thinned, skipped, departed } = tally;
            let known = delivered + thinned + skipped + departed + owed[lane];
            findings.check(offered + resumed == known, Promise::Sums, || {
                format!("host {host}, lane {lane}: {tally:?} and {} owed don't add up", owed[lane])
            });
            let heard = &self.0[lane];
            let holds = heard.delivered <= delivered
                && heard.thinned <= thinned
                && heard.skipped <= skipped;
            findings.check(holds, Promise::Sums, || {
                format!("host {host}, lane {lane}: {tally:?}, but clients heard {heard:?}")
            });
        }
    }
}
