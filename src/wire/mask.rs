//! Masking, RFC 6455 §5.3: an exclusive or with four bytes, a word at a time.

/// Masks or unmasks `bytes` in place. `offset` is the place of the first of them in the frame's
/// payload, so that a frame can be unmasked as it arrives.
pub(super) fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let turned = turn(mask, offset);
    let [a, b, c, d] = turned;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = bytes.chunks_exact_mut(8);
    for chunk in &mut words {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ word).to_ne_bytes());
    }
    // Eight is a multiple of four: the rest begins with the first byte of the turned mask again.
    for (byte, key) in words.into_remainder().iter_mut().zip(turned.iter().cycle()) {
        *byte ^= key;
    }
}

/// The mask as it applies from `offset` on.
fn turn(mask: [u8; 4], offset: usize) -> [u8; 4] {
    let mut turned = mask;
    turned.rotate_left(offset % 4);
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_definition_at_every_offset_and_length() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for offset in 0..9 {
            for length in 0..40 {
                let plain: Vec<u8> = (0..length).map(|index: u8| index.wrapping_mul(41)).collect();
                let expected: Vec<u8> = plain
                    .iter()
                    .enumerate()
                    .map(|(index, byte)| byte ^ mask[(offset + index) % 4])
                    .collect();
                let mut masked = plain.clone();
                apply_mask(&mut masked, mask, offset);
                assert_eq!(masked, expected, "offset {offset}, length {length}");
                apply_mask(&mut masked, mask, offset);
                assert_eq!(masked, plain);
            }
        }
    }
}
