//! Compression for all connections of a shard: one decompressor for what clients send, one compressor
//! for rooms. They are made when they are first needed.

use bytes::Bytes;

use crate::shard::config::Compression;
use crate::wire::deflate::{Deflater, Inflater, WINDOW_BITS, WINDOW_BITS_DEFAULT};

/// The compressors and the decompressor of a shard.
pub(crate) struct Codecs {
    settings: Compression,
    inflater: Option<Box<Inflater>>,
    deflater: Option<Box<Deflater>>,
    /// For an echo, whose replies keep to the window that their client allows.
    narrow: Vec<(u8, Deflater)>,
    /// What was compressed.
    pub(crate) deflated: Deflated,
}

/// Frames of rooms that were compressed, each once for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deflated {
    /// How many.
    pub frames: u64,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Their bytes after.
    pub bytes_after: u64,
}

impl Codecs {
    /// Nothing is made yet.
    pub(crate) fn new(settings: Compression) -> Codecs {
        Codecs {
            settings,
            inflater: None,
            deflater: None,
            narrow: Vec::new(),
            deflated: Deflated::default(),
        }
    }

    /// What is compressed from now on, and how well.
    pub(crate) fn set(&mut self, settings: Compression) {
        if settings.level != self.settings.level {
            self.deflater = None;
            self.narrow.clear();
        }
        self.settings = settings;
    }

    /// The decompressor, taken out for as long as messages are handled.
    pub(crate) fn take_inflater(&mut self) -> Box<Inflater> {
        self.inflater.take().unwrap_or_default()
    }

    /// The decompressor comes back.
    pub(crate) fn return_inflater(&mut self, inflater: Box<Inflater>) {
        self.inflater = Some(inflater);
    }

    /// A frame, compressed if that makes it shorter and it is worth the effort.
    pub(crate) fn deflated(&mut self, frame: &Bytes) -> Bytes {
        if frame.len() < self.settings.bytes_min {
            return frame.clone();
        }
        let level = self.settings.level;
        let deflater = self
            .deflater
            .get_or_insert_with(|| Box::new(Deflater::new(level, WINDOW_BITS_DEFAULT)));
        let deflated = deflater.deflate_frame(frame).unwrap_or_else(|| frame.clone());
        self.deflated.frames += 1;
        self.deflated.bytes_before += frame.len() as u64;
        self.deflated.bytes_after += deflated.len() as u64;
        deflated
    }

    /// A frame for one connection, compressed within its window.
    pub(crate) fn deflated_within(&mut self, window_bits: u8, frame: Vec<u8>) -> Bytes {
        if !WINDOW_BITS.contains(&window_bits) {
            return Bytes::from(frame);
        }
        let place = self.narrow.iter().position(|(bits, _)| *bits == window_bits);
        let place = place.unwrap_or_else(|| {
            let deflater = Deflater::new(self.settings.level, window_bits);
            self.narrow.push((window_bits, deflater));
            self.narrow.len() - 1
        });
        let deflated = self.narrow[place].1.deflate_frame(&frame);
        deflated.unwrap_or_else(|| Bytes::from(frame))
    }
}
