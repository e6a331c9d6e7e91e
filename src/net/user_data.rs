//! What a completion is about, in the 64 bits that the kernel hands back.
//!
//! `operation : 4 | generation : 28 | slot : 32`. For receives and sends, which complete within the
//! call that submits them, the middle is the number of the batch and the end the place in it, so
//! that a completion that comes late belongs to no newer batch.

use crate::base::limits::GENERATION_BITS;

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    /// One-shot accept; the slot is the number of the address buffer.
    Accept = 1,
    /// Edge-triggered multishot poll of a connection.
    Poll = 2,
    /// Receive of a batch.
    Receive = 3,
    /// Send of a batch.
    Send = 4,
    /// Close of a connection.
    Close = 5,
    /// Cancellation of something; its result does not matter.
    Cancel = 6,
    /// Connect of a connection.
    Connect = 7,
    /// The deadline of parking.
    Timer = 8,
    /// A change of that deadline.
    TimerUpdate = 9,
    /// Whatever precedes a close in its batch; its result does not matter.
    LastWords = 10,
    /// Cancellation of an accept.
    CancelAccept = 11,
}

/// Generations and batch numbers are below this.
pub(super) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// Packs the three parts.
pub(super) fn encode(operation: Operation, generation: u32, slot: u32) -> u64 {
    assert!(generation <= GENERATION_MASK, "a generation has {GENERATION_BITS} bits");
    (operation as u64) << 60 | u64::from(generation) << 32 | u64::from(slot)
}

/// Unpacks what [`encode`] packed; nothing if no such operation exists.
pub(super) fn decode(user_data: u64) -> Option<(Operation, u32, u32)> {
    let operation = match user_data >> 60 {
        1 => Operation::Accept,
        2 => Operation::Poll,
        3 => Operation::Receive,
        4 => Operation::Send,
        5 => Operation::Close,
        6 => Operation::Cancel,
        7 => Operation::Connect,
        8 => Operation::Timer,
        9 => Operation::TimerUpdate,
        10 => Operation::LastWords,
        11 => Operation::CancelAccept,
        _ => return None,
    };
    let generation = u32::try_from(user_data >> 32 & u64::from(GENERATION_MASK)).ok()?;
    let slot = u32::try_from(user_data & u64::from(u32::MAX)).ok()?;
    Some((operation, generation, slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let operations = [
            Operation::Accept,
            Operation::Poll,
            Operation::Receive,
            Operation::Send,
            Operation::Close,
            Operation::Cancel,
            Operation::Connect,
            Operation::Timer,
            Operation::TimerUpdate,
            Operation::LastWords,
            Operation::CancelAccept,
        ];
        for operation in operations {
            for generation in [0, 1, GENERATION_MASK] {
                for slot in [0, 1, u32::MAX] {
                    let packed = encode(operation, generation, slot);
                    assert_eq!(decode(packed), Some((operation, generation, slot)));
                }
            }
        }
        assert_eq!(decode(0), None);
        assert_eq!(decode(u64::MAX), None);
    }
}
