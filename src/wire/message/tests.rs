use super::*;
use proptest::prelude::*;
use std::io::{Cursor, Read, Write};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message as TheirMessage, WebSocket};

use crate::base::limits::CLIENT_MESSAGE_BYTES_MAX;

const LIMIT: usize = 300;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A [`Message`] that owns what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// How a stream of bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Closed,
    Failed(u16),
}

impl Got {
    fn of(message: Message<'_>) -> Got {
        match message {
            Message::Text(text) => Got::Text(text.to_owned()),
            Message::Binary(bytes) => Got::Binary(bytes.to_vec()),
            Message::Ping(bytes) => Got::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Got::Pong(bytes.to_vec()),
            Message::Close(close) => {
                Got::Close(close.map(|close| (close.code, close.reason.to_owned())))
            }
        }
    }
}

fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

fn decoder(role: Role) -> Decoder {
    Decoder { role, message_bytes_max: LIMIT }
}

/// Decodes `bytes`, cut at these places (in order), as far as it goes.
fn ours(decoder: Decoder, bytes: &[u8], cuts: &[usize]) -> (Vec<Got>, End) {
    let mut bytes = bytes.to_vec();
    let mut rest = bytes.as_mut_slice();
    let mut at = 0;
    let mut pending = None;
    let mut got = Vec::new();
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let length = (cut - at).min(rest.len());
        let (piece, after) = std::mem::take(&mut rest).split_at_mut(length);
        rest = after;
        at += length;
        let decoded = decoder.decode(&mut pending, piece, |message| {
            got.push(Got::of(message));
            ControlFlow::Continue(())
        });
        match decoded {
            Ok(Decoded::All) => {}
            Ok(Decoded::Closed) => return (got, End::Closed),
            Ok(Decoded::Stopped { .. }) => panic!("nobody broke off"),
            Err(error) => {
                assert!(pending.is_none(), "nothing is kept after {error}");
                return (got, End::Failed(error.close_code()));
            }
        }
    }
    (got, End::Open)
}

/// A stream to read from; what is written to it is lost.
struct Source(Cursor<Vec<u8>>);

impl Read for Source {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Source {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of `bytes`: the oracle.
fn theirs(decoder: Decoder, bytes: &[u8]) -> (Vec<Got>, End) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(decoder.message_bytes_max))
        .max_frame_size(Some(decoder.message_bytes_max));
    let source = Source(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(source, decoder.role, Some(config));
    let mut got = Vec::new();
    loop {
        let message = match socket.read() {
            Ok(message) => message,
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return (got, End::Open);
            }
            Err(Error::Protocol(_)) => return (got, End::Failed(1002)),
            Err(Error::Utf8(_)) => return (got, End::Failed(1007)),
            Err(Error::Capacity(_)) => return (got, End::Failed(1009)),
            Err(error) => panic!("tungstenite says {error:?}"),
        };
        match message {
            TheirMessage::Text(text) => got.push(Got::Text(text.as_str().to_owned())),
            TheirMessage::Binary(bytes) => got.push(Got::Binary(bytes.to_vec())),
            TheirMessage::Ping(bytes) => got.push(Got::Ping(bytes.to_vec())),
            TheirMessage::Pong(bytes) => got.push(Got::Pong(bytes.to_vec())),
            TheirMessage::Frame(_) => panic!("tungstenite never reads these"),
            // So it shows a code that may not be sent; we call that a failure.
            TheirMessage::Close(Some(close)) if close.reason == "Protocol violation" => {
                return (got, End::Failed(1002));
            }
            TheirMessage::Close(close) => {
                let close = close.map(|close| (close.code.into(), close.reason.to_string()));
                got.push(Got::Close(close));
                return (got, End::Closed);
            }
        }
    }
}

/// How a frame's length is written: in the shortest form, or in a longer one than needed, which
/// the RFC forbids the sender but tungstenite and we take.
#[derive(Clone, Copy, Debug)]
enum Length {
    Shortest,
    Two,
    Eight,
}

/// A frame with any first byte.
fn frame_with(first: u8, mask: Option<[u8; 4]>, length: Length, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    let count = payload.len();
    let mut frame = vec![first];
    match (length, u8::try_from(count), u16::try_from(count)) {
        (Length::Shortest, Ok(small @ 0..=125), _) => frame.push(mask_bit | small),
        (Length::Shortest | Length::Two, _, Ok(middle)) => {
            frame.push(mask_bit | 126);
            frame.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            frame.push(mask_bit | 127);
            frame.extend_from_slice(&(count as u64).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    frame.extend(mask.into_iter().flatten());
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_with(first, Some(MASK), Length::Shortest, payload)
}

/// Checks one stream whole, a byte at a time and with every single cut.
#[track_caller]
fn check(bytes: &[u8], got: &[Got], end: End) {
    let server = decoder(Role::Server);
    let expected = (got.to_vec(), end);
    assert_eq!(ours(server, bytes, &[]), expected);
    let everywhere: Vec<usize> = (1..bytes.len()).collect();
    assert_eq!(ours(server, bytes, &everywhere), expected, "a byte at a time");
    for cut in 0..=bytes.len() {
        assert_eq!(ours(server, bytes, &[cut]), expected, "cut at {cut}");
    }
}

#[test]
fn messages_are_made_of_frames() {
    check(b"", &[], End::Open);
    check(&frame(0x81, b""), &[text("")], End::Open);
    check(&frame(0x82, b""), &[Got::Binary(vec![])], End::Open);
    check(&frame(0x81, "Grüße €".as_bytes()), &[text("Grüße €")], End::Open);
    let fragments = [
        frame(0x01, "Gr\u{fc}".as_bytes().split_at(3).0),
        frame(0x89, b"mid"),
        frame(0x00, b""),
        frame(0x00, &"\u{fc}".as_bytes()[1..]),
        frame(0x8a, b""),
        frame(0x80, b"n"),
        frame(0x82, &[0xff, 0]),
    ];
    let expected =
        [Got::Ping(b"mid".to_vec()), Got::Pong(vec![]), text("Grün"), Got::Binary(vec![0xff, 0])];
    check(&fragments.concat(), &expected, End::Open);
    let empty = [frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")].concat();
    check(&empty, &[text("")], End::Open);
    let longest = vec![7; LIMIT];
    check(&frame(0x82, &longest), &[Got::Binary(longest.clone())], End::Open);
    for length in [Length::Two, Length::Eight] {
        check(&frame_with(0x81, Some(MASK), length, b"hi"), &[text("hi")], End::Open);
    }
    let ping = frame(0x89, &[1; CONTROL_BYTES_MAX]);
    check(&ping, &[Got::Ping(vec![1; CONTROL_BYTES_MAX])], End::Open);
}

#[test]
fn a_close_ends_the_stream() {
    let close = |code: u16, reason: &str| {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        frame(0x88, &payload)
    };
    check(&frame(0x88, b""), &[Got::Close(None)], End::Closed);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 3000, 3999, 4000, 4999]
    {
        let got = [Got::Close(Some((code, "so €".to_owned())))];
        check(&close(code, "so €"), &got, End::Closed);
    }
    for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check(&close(code, ""), &[], End::Failed(1002));
    }
    check(&frame(0x88, &[3]), &[], End::Failed(1002));
    check(&frame(0x88, b"\x03\xe8\xff"), &[], End::Failed(1007));
    check(&frame(0x88, b"\x03\xe8\xe2\x82"), &[], End::Failed(1007));
    // What follows is not looked at, not even if it is wrong.
    let ignored = [close(1000, ""), frame(0x81, b"late"), vec![0xff; 20]].concat();
    check(&ignored, &[Got::Close(Some((1000, String::new())))], End::Closed);
    let inside = [frame(0x01, b"begun"), close(1001, "")].concat();
    check(&inside, &[Got::Close(Some((1001, String::new())))], End::Closed);
}

#[test]
fn what_breaks_the_rules_fails_after_what_was_good() {
    let too_long = |length: u64| {
        let mut bytes = vec![0x82, 0xff];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&MASK);
        bytes
    };
    let cases = [
        ("rsv1", frame(0xc1, b"x"), 1002),
        ("rsv2", frame(0xa1, b"x"), 1002),
        ("rsv3", frame(0x91, b"x"), 1002),
        ("rsv1 on a ping", frame(0xc9, b""), 1002),
        ("opcode 3", frame(0x83, b"x"), 1002),
        ("opcode 7", frame(0x87, b""), 1002),
        ("opcode 11", frame(0x8b, b"x"), 1002),
        ("opcode 15", frame(0x8f, b""), 1002),
        ("no mask", frame_with(0x81, None, Length::Shortest, b"x"), 1002),
        ("fragmented ping", frame(0x09, b""), 1002),
        ("fragmented close", frame(0x08, b""), 1002),
        ("long ping", frame(0x89, &[0; 126]), 1002),
        ("long close", frame(0x88, &[3; 126]), 1002),
        ("continuation of nothing", frame(0x80, b"x"), 1002),
        ("unfinished continuation of nothing", frame(0x00, b"x"), 1002),
        ("text in text", [frame(0x01, b"x"), frame(0x81, b"x")].concat(), 1002),
        ("binary in text", [frame(0x01, b"x"), frame(0x02, b"x")].concat(), 1002),
        ("ended twice", [frame(0x01, b""), frame(0x89, b""), frame(0x03, b"")].concat(), 1002),
        ("the length's highest bit", too_long(1 << 63), 1002),
        ("too long", too_long(LIMIT as u64 + 1), 1009),
        ("far too long", too_long(u64::MAX >> 1), 1009),
        ("too long together", [frame(0x02, &[0; 200]), frame(0x80, &[0; 101])].concat(), 1009),
        ("latin-1", frame(0x81, b"Gr\xfcn"), 1007),
        ("cut character", frame(0x81, b"\xe2\x82"), 1007),
        ("surrogate", frame(0x81, b"\xed\xa0\x80"), 1007),
        ("beyond U+10FFFF", frame(0x81, b"\xf4\x90\x80\x80"), 1007),
        ("overlong", frame(0x81, b"\xc0\xaf"), 1007),
        ("cut character at the end", [frame(0x01, b"\xe2"), frame(0x80, b"\x82")].concat(), 1007),
    ];
    for (name, bad, code) in cases {
        let mut bytes = [frame(0x81, b"good"), bad].concat();
        let got: Vec<Got> = match ours(decoder(Role::Server), &bytes, &[]) {
            (got, End::Failed(failed)) => {
                assert_eq!(failed, code, "{name}");
                got
            }
            (_, end) => panic!("{name}: {end:?}"),
        };
        assert_eq!(got[0], text("good"), "{name}");
        bytes.extend_from_slice(&[0; 20]);
        check(&bytes, &got, End::Failed(code));
    }
}

#[test]
fn wrong_text_fails_before_its_frame_has_ended() {
    let bytes = frame(0x81, b"\xce\xba\xed\xa0\x80 and more");
    let header_bytes = 6;
    // The second byte of the surrogate is the first that cannot be right.
    let wrong = header_bytes + 4;
    assert_eq!(ours(decoder(Role::Server), &bytes[..wrong - 1], &[7]).1, End::Open);
    assert_eq!(ours(decoder(Role::Server), &bytes[..wrong], &[7]).1, End::Failed(1007));
    let fragment = frame(0x01, b"\xce\xba\xff");
    assert_eq!(ours(decoder(Role::Server), &fragment, &[]).1, End::Failed(1007));
}

#[test]
fn a_client_takes_unmasked_frames_only() {
    let client = decoder(Role::Client);
    let good = frame_with(0x81, None, Length::Shortest, b"hi");
    assert_eq!(ours(client, &good, &[]), (vec![text("hi")], End::Open));
    assert_eq!(ours(client, &good, &[1, 3]), (vec![text("hi")], End::Open));
    assert_eq!(ours(client, &frame(0x81, b"hi"), &[]), (vec![], End::Failed(1002)));
}

#[test]
fn nothing_is_kept_between_whole_messages() {
    let server = decoder(Role::Server);
    let mut pending = None;
    let whole = [frame(0x81, b"one"), frame(0x89, b""), frame(0x82, &[0; 200])].concat();
    let mut feed = |bytes: &[u8]| {
        let mut count = 0;
        let decoded = server.decode(&mut pending, &mut bytes.to_vec(), |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(decoded, Ok(Decoded::All));
        (count, pending.as_ref().map(|pending| pending.memory_bytes()))
    };
    assert_eq!(feed(&whole), (3, None));
    for cut in 1..whole.len() {
        let (before, kept) = feed(&whole[..cut]);
        let (after, nothing) = feed(&whole[cut..]);
        assert_eq!((before + after, nothing), (3, None), "cut at {cut}");
        let boundary = [9, 15].contains(&cut);
        assert_eq!(kept.is_none(), boundary, "cut at {cut}");
    }
}

#[test]
fn a_header_that_announces_much_costs_little() {
    let server = Decoder { role: Role::Server, message_bytes_max: CLIENT_MESSAGE_BYTES_MAX };
    let mut pending = None;
    let mut bytes = vec![0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5];
    let decoded = server.decode(&mut pending, &mut bytes, |_| ControlFlow::Continue(()));
    assert_eq!(decoded, Ok(Decoded::All));
    let kept = pending.map(|pending| pending.memory_bytes());
    assert!(kept.is_some_and(|bytes| bytes < 256), "{kept:?}");
}

#[test]
fn a_long_message_a_byte_at_a_time_is_linear_and_bounded() {
    // Were each byte to cost a pass over what came before, this would take minutes.
    const BYTES: usize = 1 << 20;
    let server = Decoder { role: Role::Server, message_bytes_max: BYTES + 100 };
    let payload = "€uro".repeat(BYTES / 6);
    let mut bytes = frame(0x81, payload.as_bytes());
    let mut pending = None;
    let mut whole = 0;
    let mut kept_max = 0;
    for byte in &mut bytes {
        let decoded = server.decode(&mut pending, std::slice::from_mut(byte), |message| {
            assert_eq!(message, Message::Text(&payload));
            whole += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(decoded, Ok(Decoded::All));
        kept_max = kept_max.max(pending.as_ref().map_or(0, |pending| pending.memory_bytes()));
    }
    assert_eq!(whole, 1);
    assert!(kept_max <= server.message_bytes_max + 256, "{kept_max} bytes kept");
}

#[test]
fn a_visitor_that_breaks_off_can_go_on_later() {
    let parts = [frame(0x01, b"a"), frame(0x89, b"p"), frame(0x80, b"b"), frame(0x82, b"c")];
    let mut bytes = parts.concat();
    let server = decoder(Role::Server);
    let mut pending = None;
    let mut got = Vec::new();
    let mut at = 0;
    let mut stops = Vec::new();
    while at < bytes.len() {
        let decoded = server.decode(&mut pending, &mut bytes[at..], |message| {
            got.push(Got::of(message));
            ControlFlow::Break(())
        });
        let Ok(Decoded::Stopped { consumed }) = decoded else { panic!("{decoded:?}") };
        at += consumed;
        stops.push(at);
    }
    assert_eq!(got, [Got::Ping(b"p".to_vec()), text("ab"), Got::Binary(b"c".to_vec())]);
    assert_eq!(stops, [14, 21, 28]);
    assert!(pending.is_none());
}

/// Pieces of a stream, mostly valid.
fn any_frame(masked: bool) -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => Just(0x81), 6 => Just(0x82), 4 => Just(0x01), 2 => Just(0x02), 6 => Just(0x80),
        4 => Just(0x00), 4 => Just(0x89), 3 => Just(0x8a), 1 => Just(0x88), 1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        6 => "\\PC{0,20}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..8),
        2 => proptest::collection::vec(Just(b'x'), 100..320),
        // Characters of four bytes, cut anywhere, so that fragments meet inside one.
        2 => (0..9_usize).prop_map(|cut| "😀😀".as_bytes()[..cut.min(8)].to_vec()),
        2 => (0..9_usize).prop_map(|cut| "😀😀".as_bytes()[cut.min(8)..].to_vec()),
        1 => (999..1_017_u16).prop_map(|code| code.to_be_bytes().to_vec()),
    ];
    let length =
        prop_oneof![8 => Just(Length::Shortest), 1 => Just(Length::Two), 1 => Just(Length::Eight)];
    let mask = prop_oneof![39 => Just(masked), 1 => Just(!masked)];
    (first, mask, any::<[u8; 4]>(), length, payload).prop_map(
        |(first, masked, mask, length, payload)| {
            frame_with(first, masked.then_some(mask), length, &payload)
        },
    )
}

/// A valid stream: messages in fragments, with control frames between those.
fn valid_stream() -> impl Strategy<Value = Vec<u8>> {
    let message = ("\\PC{0,40}", any::<bool>(), proptest::collection::vec(0..60_usize, 0..4));
    let messages = proptest::collection::vec((message, any::<[u8; 4]>()), 1..6);
    messages.prop_map(|messages| {
        let mut stream = Vec::new();
        for ((text, is_text, mut cuts), mask) in messages {
            let bytes = text.as_bytes();
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
            cuts.sort_unstable();
            let ends = cuts.iter().copied().chain([bytes.len()]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let last = cuts.len();
            for (index, (start, end)) in starts.zip(ends).enumerate() {
                let opcode = match (index, is_text) {
                    (0, true) => 1,
                    (0, false) => 2,
                    (_, _) => 0,
                };
                let first = opcode | if index == last { 0x80 } else { 0 };
                let payload = &bytes[start..end];
                stream.extend(frame_with(first, Some(mask), Length::Shortest, payload));
                if index != last && start % 2 == 0 {
                    stream.extend(frame_with(0x89, Some(mask), Length::Shortest, &[1, 2, 3]));
                }
            }
        }
        stream
    })
}

fn cuts(stream_bytes: usize, places: &[prop::sample::Index]) -> Vec<usize> {
    let mut cuts: Vec<usize> = places.iter().map(|place| place.index(stream_bytes + 1)).collect();
    cuts.sort_unstable();
    cuts
}

/// Compares us with tungstenite. Enough zeros are added that every frame is complete, so that
/// failing on a header is no earlier than failing on a frame.
fn compare(role: Role, mut stream: Vec<u8>) -> Result<(), TestCaseError> {
    stream.resize(stream.len() + LIMIT + 40, 0);
    let (our_messages, our_end) = ours(decoder(role), &stream, &[]);
    let (their_messages, their_end) = theirs(decoder(role), &stream);
    prop_assert_eq!(our_messages, their_messages);
    match (our_end, their_end) {
        // They look at the length before the other bits of a header.
        (End::Failed(1002), End::Failed(1009)) => {}
        (our_end, their_end) => prop_assert_eq!(our_end, their_end),
    }
    Ok(())
}

/// At least 1,000 cases; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(1_000), ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn valid_streams_are_read_like_tungstenite_does(
        stream in valid_stream(),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let server = decoder(Role::Server);
        let whole = ours(server, &stream, &[]);
        prop_assert_eq!(whole.1, End::Open);
        prop_assert_eq!(&whole, &theirs(server, &stream));
        prop_assert_eq!(&whole, &ours(server, &stream, &cuts(stream.len(), &places)));
    }

    #[test]
    fn streams_of_any_frames_are_read_like_tungstenite_does(
        frames in proptest::collection::vec(any_frame(true), 1..8),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let stream = frames.concat();
        let server = decoder(Role::Server);
        let whole = ours(server, &stream, &[]);
        prop_assert_eq!(&whole, &ours(server, &stream, &cuts(stream.len(), &places)));
        compare(Role::Server, stream)?;
    }

    #[test]
    fn a_client_reads_any_frames_like_tungstenite_does(
        frames in proptest::collection::vec(any_frame(false), 1..8),
    ) {
        compare(Role::Client, frames.concat())?;
    }

    #[test]
    fn any_bytes_are_read_like_tungstenite_does(
        mut bytes in proptest::collection::vec(any::<u8>(), 1..80),
        start in any_frame(true),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut stream = start;
        stream.append(&mut bytes);
        let server = decoder(Role::Server);
        let whole = ours(server, &stream, &[]);
        prop_assert_eq!(&whole, &ours(server, &stream, &cuts(stream.len(), &places)));
        compare(Role::Server, stream)?;
    }
}

#[test]
fn every_cut_of_a_short_valid_stream_gives_the_same() {
    let stream = [
        frame(0x01, "gr\u{fc}".as_bytes().split_at(3).0),
        frame(0x89, b"!"),
        frame(0x80, &[0xbc]),
        frame(0x88, b"\x03\xe8ok"),
    ]
    .concat();
    let server = decoder(Role::Server);
    let whole = ours(server, &stream, &[]);
    assert_eq!(whole.1, End::Closed);
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            assert_eq!(ours(server, &stream, &[first, second]), whole, "{first}, {second}");
        }
    }
}
