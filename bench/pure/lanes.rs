//! A lane's log: appending a frame, and what a reader at the head or somewhere behind is given.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidegate::base::limits::LANE_BYTES_MAX;
use tidegate::base::time::Time;
use tidegate::room::lane::Span;
use tidegate::room::log::{LaneLog, Read};

use crate::cpu_time::CpuTime;

const FRAME: [u8; 138] = [7; 138];
/// Bytes of one send, as the push plans it.
const SEND_BYTES_MAX: usize = 64 * 1024;

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let mut log = LaneLog::new(1, LANE_BYTES_MAX);
    let mut version = 1;
    let mut group = criterion.benchmark_group("lane");
    group.throughput(Throughput::Bytes(FRAME.len() as u64));
    group.bench_function("append/138", |bencher| {
        bencher.iter(|| {
            log.append(Time::ZERO, Span::one(version), &FRAME, true);
            version += 1;
        });
    });
    let mut log = LaneLog::new(1, LANE_BYTES_MAX);
    let frames = 4_000;
    (1..=frames).for_each(|version| log.append(Time::ZERO, Span::one(version), &FRAME, true));
    for behind in [0, 1, 16, 3_000] {
        group.bench_function(format!("read/{behind} behind"), |bencher| {
            let cursor = frames + 1 - behind;
            bencher.iter(|| match log.read(black_box(cursor), SEND_BYTES_MAX) {
                Read::Frames { length, next_version, .. } => (length, next_version),
                Read::UpToDate => (0, cursor),
                Read::Lapped { .. } => panic!("the log holds all of it"),
            });
        });
    }
    group.finish();
}
