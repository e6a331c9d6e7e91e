//! The bytes of `docs/protocol-session.md` are made anew from its messages, by the codec, the seals
//! and the golden vectors. `UPDATE_EXPECT=1` writes them into the page.

use std::fs;

use prost::Message as _;
use serde_json::Value;
use tidegate::base::hex;
use tidegate::base::ids::{OptionIndex, QuestionIndex, ShowId, UserId};
use tidegate::quiz::seal::{SealedResult, Sealer, SecretKey, VerdictRecord, commitment};
use tidegate::quiz::verdict::Verdict;
use tidegate::wire::codec::{Encoding, encode_client, encode_server_bytes};
use tidegate::wire::frame::{encode_close_code, encode_masked_close};
use tidegate::wire::proto::{ClientFrame, ServerFrame};
use tidegate::wire::upgrade::{Upgrade, accept_response, parse};

use crate::blocks::{Block, blocks, docs, page};

const PAGE: &str = "protocol-session.md";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SHOW: ShowId = ShowId(9);
const QUESTION: QuestionIndex = QuestionIndex(2);
const USER: UserId = UserId(5);

/// Bytes in hexadecimal, sixteen a line, behind a word.
fn told(word: &str, bytes: &[u8]) -> Vec<String> {
    let rows = bytes
        .chunks(16)
        .map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "));
    let words = std::iter::once(word).chain(std::iter::repeat(""));
    rows.zip(words).map(|(row, word)| format!("{word:<9}{row}")).collect()
}

/// What stands below a message: its Protobuf, and what frames it.
fn bytes_of(block: &Block) -> Vec<String> {
    let mut words = block.info.split(' ').skip(1);
    let (side, vector) = (words.next().unwrap(), words.next().unwrap_or_default());
    let json = block.lines.join("\n");
    let (message, frame) = match side {
        "client" => {
            let frame: ClientFrame = serde_json::from_str(&json).unwrap();
            let mut bytes = Vec::new();
            encode_client(Encoding::Proto, &frame, MASK, &mut bytes);
            (frame.encode_to_vec(), bytes)
        }
        "server" => {
            let frame: ServerFrame = serde_json::from_str(&json).unwrap();
            (frame.encode_to_vec(), encode_server_bytes(Encoding::Proto, &frame).to_vec())
        }
        other => panic!("line {}: {other} is nobody", block.line),
    };
    if vector.contains('_') {
        let path = docs().join(format!("../proto/vectors/{vector}.bin"));
        assert_eq!(message, fs::read(path).unwrap(), "line {}: {vector}", block.line);
    }
    let (header, payload) = frame.split_at(frame.len() - message.len());
    let mut lines = told("message", &message);
    lines.extend(told("header", header));
    if side == "client" {
        lines.extend(told("masked", payload));
    } else {
        assert_eq!(payload, message);
    }
    lines
}

fn response_to(request: &Block) -> Vec<String> {
    let bytes = format!("{}\r\n\r\n", request.lines.join("\r\n"));
    let Upgrade::Complete { request, consumed } = parse(bytes.as_bytes(), Encoding::Json) else {
        panic!("the request of the page is refused")
    };
    assert_eq!((request.encoding, consumed), (Encoding::Proto, bytes.len()));
    let response = String::from_utf8(accept_response(&request)).unwrap();
    response.trim_end().lines().map(str::to_owned).collect()
}

/// What a client does at the reveal, with the values of the page's own messages.
fn opened(blocks: &[Block]) -> Vec<String> {
    let value = |name: &str, pointer: &str| -> Vec<u8> {
        let block = blocks.iter().find(|block| block.info.ends_with(name)).unwrap();
        let json: Value = serde_json::from_str(&block.lines.join("\n")).unwrap();
        let text = json["business"].pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        base64_of(text.as_str().unwrap())
    };
    let key = value("reveal", "/notification/reveal/resultKey");
    let result = "/response/answerReceived/result";
    let nonce = value("result", &format!("{result}/nonce"));
    let ciphertext = value("result", &format!("{result}/ciphertext"));
    let committed = value("question", "/notification/question/commitment");

    let secret = SecretKey::from_bytes(key.clone().try_into().unwrap());
    assert_eq!(commitment(&secret, OptionIndex(1), SHOW, QUESTION), committed[..]);
    let sealer = Sealer::new(&secret, SHOW, QUESTION);
    let sealed = SealedResult {
        nonce: nonce.clone().try_into().unwrap(),
        ciphertext: ciphertext.clone().try_into().unwrap(),
    };
    let expected = VerdictRecord {
        verdict: Verdict::Passed,
        new_record: true,
        by_ticket: false,
        option: Some(OptionIndex(1)),
        passed: 3,
    };
    assert_eq!(sealer.open(USER, &sealed).ok(), Some(expected));
    let mut record = [0; 16];
    record[..5].copy_from_slice(&[1, Verdict::Passed.code(), 1, 1, 3]);

    let mut place = SHOW.0.to_be_bytes().to_vec();
    place.extend(QUESTION.0.to_be_bytes());
    let additional: Vec<u8> = place.iter().copied().chain(USER.0.to_be_bytes()).collect();
    let line = |name: &str, bytes: &[u8]| format!("{name:<18}{}", hex::encode(bytes));
    vec![
        "SHA-256 of".to_owned(),
        line("  key", &key),
        line("  option", &[1]),
        line("  show, question", &place),
        line("is commitment", &committed),
        String::new(),
        "AES-256-GCM, key as above".to_owned(),
        line("  nonce", &nonce),
        line("  additional", &additional),
        line("  ciphertext", &ciphertext[..16]),
        line("  tag", &ciphertext[16..]),
        line("is record", &record),
    ]
}

fn base64_of(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn closes() -> Vec<String> {
    let (mut client, mut server) = (Vec::new(), Vec::new());
    encode_masked_close(Some(1_000), "", MASK, &mut client);
    encode_close_code(Some(1_000), "", &mut server);
    let mut lines = told("client", &client);
    lines.extend(told("gateway", &server));
    lines
}

#[test]
fn the_bytes_of_the_session_are_those_of_the_codec() {
    let text = page(PAGE);
    let blocks = blocks(&text);
    let mut lines: Vec<String> = Vec::new();
    let mut next = 0;
    let mut steps = 0;
    for (index, block) in blocks.iter().enumerate() {
        let made = match &*block.info {
            "hex" => {
                steps += 1;
                bytes_of(&blocks[index - 1])
            }
            "http response" => response_to(&blocks[index - 1]),
            "text opened" => opened(&blocks),
            "text close" => closes(),
            _ => block.lines.clone(),
        };
        // Up to the fence, what belongs inside, and on from behind what was there.
        lines.extend(text.lines().skip(next).take(block.line - next).map(str::to_owned));
        lines.extend(made);
        next = block.line + block.lines.len();
    }
    assert!(steps >= 10, "{steps} messages");
    lines.extend(text.lines().skip(next).map(str::to_owned));
    let made = lines.join("\n") + "\n";
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(docs().join(PAGE), made).unwrap();
    } else {
        let differ = text.lines().zip(made.lines()).position(|(old, new)| old != new);
        assert!(text == made, "docs/{PAGE} differs at line {differ:?}; UPDATE_EXPECT=1 writes it");
    }
}
