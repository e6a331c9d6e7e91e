//! Compressed messages, RFC 7692, without context takeover on either side.
//!
//! Every message is compressed by itself: so a room's frame is compressed once for all who get it,
//! no connection has a state, and one compressor and one decompressor serve a shard. Deliberately
//! absent: when to compress.

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use thiserror::Error;

use super::frame::{format_header, payload_start};
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// What a sync flush ends with, and what is left out on the wire (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// The bit that says that a message is compressed (RFC 7692 §6).
const COMPRESSED_BIT: u8 = 0x40;
/// Memory that is kept from one message to the next.
const KEEP_BYTES: usize = 64 * 1024;
/// A first guess: most messages become three times as long at most.
const GROWTH: usize = 3;

/// Windows that messages can be compressed with, in bits (raw DEFLATE knows none of 8).
pub const WINDOW_BITS: std::ops::RangeInclusive<u8> = 9..=15;
/// The window of an offer that names none (RFC 7692 §7.1.2.1).
pub const WINDOW_BITS_DEFAULT: u8 = 15;

/// Why a compressed message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InflateError {
    /// It becomes longer than a message may be.
    #[error("a compressed message becomes longer than the limit")]
    TooLarge,
    /// It is not DEFLATE.
    #[error("a compressed message is not valid DEFLATE")]
    Corrupt,
}

/// Compresses messages, each by itself.
#[derive(Debug)]
pub struct Deflater {
    compress: Compress,
    out: Vec<u8>,
}

impl Deflater {
    /// A compressor; `level` is 1 (fast) to 9 (small).
    ///
    /// # Panics
    /// If `window_bits` is not in [`WINDOW_BITS`].
    #[must_use]
    pub fn new(level: u32, window_bits: u8) -> Deflater {
        let level = Compression::new(level);
        let compress = Compress::new_with_window_bits(level, false, window_bits);
        Deflater { compress, out: Vec::new() }
    }

    /// The finished frame of a whole message, compressed; nothing if that is no shorter. `frame` is
    /// the same frame, uncompressed and without a mask, as it is written here.
    pub fn deflate_frame(&mut self, frame: &[u8]) -> Option<Bytes> {
        let (&first, payload) = (frame.first()?, &frame[payload_start(frame)..]);
        let opcode = if first & 0x0F == 1 { Data::Text } else { Data::Binary };
        let compressed = self.deflate(payload)?;
        let (header, length) = format_header(OpCode::Data(opcode), compressed.len(), None);
        let mut out = Vec::with_capacity(length + compressed.len());
        out.extend_from_slice(&header[..length]);
        out[0] |= COMPRESSED_BIT;
        out.extend_from_slice(compressed);
        Some(Bytes::from(out))
    }

    fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.compress.reset();
        self.out.clear();
        self.out.shrink_to(KEEP_BYTES);
        self.out.reserve(payload.len() + TAIL.len() + 16);
        loop {
            let taken = usize::try_from(self.compress.total_in()).ok()?;
            let flush = FlushCompress::Sync;
            let status = self.compress.compress_vec(&payload[taken..], &mut self.out, flush);
            if self.out.len() < self.out.capacity() {
                // There was room for more: everything is out.
                status.ok()?;
                break;
            }
            if self.out.len() > payload.len() + TAIL.len() {
                return None;
            }
            self.out.reserve(KEEP_BYTES);
        }
        let compressed = self.out.strip_suffix(&TAIL)?;
        (compressed.len() < payload.len()).then_some(compressed)
    }
}

/// Decompresses messages, each by itself.
#[derive(Debug)]
pub struct Inflater {
    decompress: Decompress,
    out: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater { decompress: Decompress::new(false), out: Vec::new() }
    }
}

impl Inflater {
    /// The message that was compressed as `payload`.
    ///
    /// # Errors
    /// When it becomes longer than `bytes_max` (no more than that is ever written), or is no DEFLATE.
    pub fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<&[u8], InflateError> {
        self.decompress.reset(false);
        self.out.clear();
        self.out.shrink_to(KEEP_BYTES);
        self.out.reserve((payload.len() * GROWTH).clamp(256, bytes_max.max(256)));
        // Blocks may be final in the middle of a message (RFC 7692 §7.2.3.4): the stream goes on.
        for mut input in [payload, &TAIL] {
            loop {
                let before = self.decompress.total_in();
                let flush = FlushDecompress::Sync;
                let status = self.decompress.decompress_vec(input, &mut self.out, flush);
                let status = status.map_err(|_| InflateError::Corrupt)?;
                let taken = self.decompress.total_in() - before;
                input = input.get(usize::try_from(taken).unwrap_or(usize::MAX)..).unwrap_or(&[]);
                if self.out.len() > bytes_max {
                    return Err(InflateError::TooLarge);
                }
                if status == Status::StreamEnd {
                    self.decompress.reset(false);
                } else if self.out.len() == self.out.capacity() {
                    // One byte more than may be, to see that it is too long.
                    let more = self.out.len().max(256).min(bytes_max + 1 - self.out.len());
                    self.out.reserve_exact(more);
                } else if input.is_empty() {
                    break;
                } else if taken == 0 {
                    return Err(InflateError::Corrupt);
                }
            }
        }
        Ok(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::encode_frame;
    use proptest::prelude::*;

    /// The examples of RFC 7692 §7.2.3: "Hello" in one block, without compression, with a final
    /// block, and in two blocks.
    #[test]
    fn inflates_the_examples_of_the_rfc() {
        let mut inflater = Inflater::default();
        for payload in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflater.inflate(payload, 5), Ok(&b"Hello"[..]), "{payload:02x?}");
            assert_eq!(inflater.inflate(payload, 4), Err(InflateError::TooLarge));
        }
        assert_eq!(inflater.inflate(&[0], 5), Ok(&b""[..]));
        assert_eq!(inflater.inflate(&[0xFF; 9], 5), Err(InflateError::Corrupt));
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let mut plain = Vec::new();
        encode_frame(OpCode::Data(Data::Binary), &vec![0; 4_000_000], &mut plain);
        let bomb = Deflater::new(9, 15).deflate_frame(&plain).unwrap();
        let mut inflater = Inflater::default();
        let payload = &bomb[payload_start(&bomb)..];
        assert_eq!(inflater.inflate(payload, 4_096), Err(InflateError::TooLarge));
        assert!(inflater.out.capacity() <= 8_192, "{}", inflater.out.capacity());
        assert_eq!(inflater.inflate(payload, 4_000_000).map(<[u8]>::len), Ok(4_000_000));
    }

    #[test]
    fn what_gets_no_shorter_is_left_alone() {
        let mut deflater = Deflater::new(6, 15);
        for payload in [&b""[..], b"x", b"short", &[0x91, 0x3c, 0x77, 0xe0, 0x55, 0x12, 0xab]] {
            let mut plain = Vec::new();
            encode_frame(OpCode::Data(Data::Text), payload, &mut plain);
            assert_eq!(deflater.deflate_frame(&plain), None, "{payload:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_deflated_inflates(
            words in proptest::collection::vec("[a-f]{1,6}", 0..2_000),
            window_bits in WINDOW_BITS, level in 1_u32..=9,
        ) {
            let payload = words.join(" ");
            let (mut deflater, mut inflater) = (Deflater::new(level, window_bits), Inflater::default());
            let mut plain = Vec::new();
            encode_frame(OpCode::Data(Data::Text), payload.as_bytes(), &mut plain);
            // The second time the state of the first must not be seen.
            for _ in 0..2 {
                let Some(frame) = deflater.deflate_frame(&plain) else { continue };
                prop_assert_eq!(frame[0], 0xC1);
                let start = payload_start(&frame);
                let inflated = inflater.inflate(&frame[start..], payload.len());
                prop_assert_eq!(inflated, Ok(payload.as_bytes()));
            }
        }

        #[test]
        fn any_bytes_inflate_to_something_bounded_or_to_an_error(
            payload in proptest::collection::vec(any::<u8>(), 0..400), bytes_max in 0_usize..2_000,
        ) {
            if let Ok(message) = Inflater::default().inflate(&payload, bytes_max) {
                prop_assert!(message.len() <= bytes_max);
            }
        }
    }
}
