//! Frames in both encodings: what a room message and an answer's reply cost to write, what a
//! client's answer costs to read.

use std::hint::black_box;

use criterion::Criterion;
use tidegate::wire::codec::{Encoding, TYPE_BUSINESS, decode_client, encode_client, encode_server};
use tidegate::wire::message::Message;
use tidegate::wire::proto;

use crate::cpu_time::CpuTime;

/// The vectors that clients are tested with.
const MESSAGES: [(&str, &[u8]); 3] = [
    ("room message", include_bytes!("../../proto/vectors/server_room_message.bin")),
    ("question", include_bytes!("../../proto/vectors/server_question.bin")),
    ("answer received", include_bytes!("../../proto/vectors/server_answer_received.bin")),
];

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("encoding");
    for (name, vector) in MESSAGES {
        let decoded =
            tidegate::wire::codec::decode_server(Encoding::Proto, &Message::Binary(vector));
        let frame = decoded.unwrap();
        for encoding in Encoding::ALL {
            let mut out = Vec::with_capacity(1_024);
            group.bench_function(format!("{encoding:?}/encode {name}"), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    encode_server(encoding, black_box(&frame), &mut out);
                    out.len()
                });
            });
        }
    }
    for encoding in Encoding::ALL {
        let mut framed = Vec::new();
        // A frame with a mask of zeros holds its payload as it is, behind six bytes of header.
        encode_client(encoding, &answer(), [0; 4], &mut framed);
        let header = if framed.len() - 6 < 126 { 6 } else { 8 };
        let payload = &framed[header..];
        group.bench_function(format!("{encoding:?}/decode answer"), |bencher| {
            bencher.iter(|| {
                let message = match encoding {
                    Encoding::Proto => Message::Binary(black_box(payload)),
                    Encoding::Json => Message::Text(std::str::from_utf8(payload).unwrap()),
                };
                decode_client(encoding, &message).unwrap()
            });
        });
    }
    group.finish();
}

fn answer() -> proto::ClientFrame {
    let answer = proto::Answer { show_id: 5, question: 3, option: 1, ticket: Default::default() };
    let request = proto::Request { payload: Some(proto::request::Payload::Answer(answer)) };
    let business = proto::Business {
        r#type: proto::BusinessType::Answer.into(),
        sequence: "17".into(),
        body: Some(proto::business::Body::Request(request)),
    };
    proto::ClientFrame { r#type: TYPE_BUSINESS, business: Some(business), ..Default::default() }
}
