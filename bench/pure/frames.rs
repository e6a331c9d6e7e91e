//! The frame codec: an answer's bytes to a message, and a message to bytes.

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{Criterion, Throughput};
use tidegate::wire::frame::{Data, OpCode, encode_frame, encode_masked_frame};
use tidegate::wire::message::{Decoder, Message, Role};

use crate::cpu_time::CpuTime;

const BINARY: OpCode = OpCode::Data(Data::Binary);
/// An answer has about 40 bytes; clients send at most 4 KiB.
const PAYLOADS: [usize; 3] = [40, 138, 4_000];

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("frame");
    for payload_bytes in PAYLOADS {
        group.throughput(Throughput::Bytes(payload_bytes as u64));
        let payload = vec![7; payload_bytes];
        let mut masked = Vec::new();
        encode_masked_frame(BINARY, &payload, [1, 2, 3, 4], &mut masked);
        let decoder = Decoder { role: Role::Server, message_bytes_max: 4_096 };
        let mut scratch = masked.clone();
        group.bench_function(format!("decode/{payload_bytes}"), |bencher| {
            bencher.iter(|| {
                // Decoding unmasks in place: the copy stands for the receive.
                scratch.copy_from_slice(&masked);
                let mut pending = None;
                let decoded = decoder.decode(&mut pending, &mut scratch, |message| {
                    assert!(matches!(message, Message::Binary(_)));
                    ControlFlow::Continue(())
                });
                decoded.unwrap()
            });
        });
        let mut out = Vec::with_capacity(payload_bytes + 16);
        group.bench_function(format!("encode/{payload_bytes}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_frame(BINARY, black_box(&payload), &mut out);
                out.len()
            });
        });
    }
    group.finish();
}
