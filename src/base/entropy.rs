//! Randomness as an input.
//!
//! The gateway hands the core the operating system's generator; the simulator and the demo hand
//! it a seeded one, so that a run can be repeated.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A source of unpredictable bytes.
pub trait Entropy {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);

    /// A number below `bound`, as good as uniform (the bias is below `bound` / 2⁶⁴).
    ///
    /// # Panics
    /// If `bound` is 0.
    fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        let wide = u128::from(u64::from_le_bytes(bytes)) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(bound - 1)
    }
}

/// The same bytes for the same seed, on every machine and in every version of this crate's
/// dependencies (ChaCha20, RFC 8439).
pub struct SeededEntropy(ChaCha20Rng);

impl SeededEntropy {
    /// A generator of its own for every pair of `seed` and `stream`.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> SeededEntropy {
        let mut generator = ChaCha20Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        SeededEntropy(generator)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// Numbers that depend on nothing but a secret seed and what they are drawn for: whoever has the seed
/// draws any of them again, in any order, on any machine (ChaCha20, RFC 8439).
pub struct KeyedDraw(ChaCha20Rng);

impl KeyedDraw {
    /// What was drawn for (`stream`, `position`), from its beginning: 8 numbers are this position's
    /// own.
    #[must_use]
    pub fn new(seed: &[u8; 32], stream: u64, position: u32) -> KeyedDraw {
        let mut generator = ChaCha20Rng::from_seed(*seed);
        generator.set_stream(stream);
        // A block has 16 words of 32 bits.
        generator.set_word_pos(u128::from(position) << 4);
        KeyedDraw(generator)
    }
}

impl Entropy for KeyedDraw {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// The operating system's generator, `getrandom(2)`.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    /// If the system has no working generator: then no secret can be made, and the process must
    /// not go on.
    fn fill(&mut self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            panic!("the operating system's random generator failed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_streams_repeat_and_differ() {
        let draw = |seed, stream| {
            let mut bytes = [0; 16];
            SeededEntropy::new(seed, stream).fill(&mut bytes);
            bytes
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn a_keyed_draw_depends_on_all_that_it_is_drawn_for() {
        let draw =
            |seed, stream, position| KeyedDraw::new(&[seed; 32], stream, position).below(u64::MAX);
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        for other in [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)] {
            assert_ne!(draw(1, 2, 3), other);
        }
    }

    #[test]
    fn below_stays_below() {
        let mut entropy = SeededEntropy::new(7, 0);
        for bound in [1, 2, 3, 1_000, u64::MAX] {
            assert!((0..200).all(|_| entropy.below(bound) < bound));
        }
    }
}
