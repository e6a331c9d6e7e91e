//! The buckets of a shard as bytes: what a restart begins with.
//!
//! ```text
//! bucket   id 2 · users 4 · user rows · shows 2 · shows · money
//! user     id 8 · balance 8 · cards 1 · most passed 1
//! show     id 8 · players 4 · player rows · done 4 · late joins 4 · late joins
//! late     slot 4 · since 8
//! ```
//!
//! What is about money is in a part of its own. All little-endian. A user's slot is its place among the rows. *Done* says how many of the players
//! were done with what the show's phase has to do with all of them. The events of the shows are stored
//! beside the buckets; see [`crate::quiz::replica::ShowReplica::restored`]. What a shard sums up
//! over its players is not stored: a bucket may move to a shard of another number.

mod money;

use bytes::{Buf, BufMut};

use crate::base::ids::{BucketId, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::local::LocalQuiz;
use crate::quiz::money::Cents;
use crate::quiz::player::Player;
use crate::quiz::users::{Slot, UserPlace};

/// Why the bytes of a bucket cannot be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// They end too early, or go on behind the end.
    #[error("the image of a bucket has another length than it says")]
    Length,
    /// They are of a bucket that does not live here.
    #[error("bucket {} does not live on this shard", .0.0)]
    Elsewhere(BucketId),
    /// A user is not in the bucket, or there twice.
    #[error("user {0} does not belong where the image has it")]
    Misplaced(UserId),
    /// A show is not known.
    #[error("the image has players of show {0}, whose events are missing")]
    UnknownShow(ShowId),
    /// A packet or a request is impossible.
    #[error("what the image says of the money of user {0} is impossible")]
    Money(UserId),
    /// This shard keeps as many users as it can.
    #[error("this shard keeps as many users as it can: use more shards")]
    Full,
}

impl LocalQuiz {
    /// Appends everything that is known of the users of a bucket.
    ///
    /// # Panics
    /// If the bucket does not live on this shard.
    pub fn store_bucket(&self, bucket: BucketId, out: &mut Vec<u8>) {
        let users = self.users();
        let place = users.place_of(bucket).expect("the bucket lives here");
        out.put_u16_le(bucket.0);
        let count = users.count_in(place);
        out.put_u32_le(count);
        for slot in (0..count).map(Slot) {
            let entry = users.entry(UserPlace { bucket: place, slot });
            out.put_u64_le({ entry.user }.0);
            out.put_i64_le({ entry.balance }.0);
            out.put_u8(entry.cards);
            out.put_u8(entry.best_passed);
        }
        out.put_u16_le(u16::try_from(self.shows().count()).expect("shows are few"));
        for show in self.shows() {
            out.put_u64_le(show.definition().id.0);
            out.put_u32_le(u32::try_from(show.players_of(place).count()).expect("users are few"));
            show.players_of(place).for_each(|player| player.store(out));
            out.put_u32_le(u32::try_from(show.done_in(place)).expect("users are few"));
            let late = show.late_joins().iter().filter(|(at, _)| at.bucket == place);
            out.put_u32_le(u32::try_from(late.clone().count()).expect("users are few"));
            for (at, since) in late {
                out.put_u32_le(at.slot.0);
                out.put_u64_le(since.0);
            }
        }
        let user = |slot| users.entry(UserPlace { bucket: place, slot: Slot(slot) }).user;
        self.store_money(bucket, &(0..count).map(user).collect::<Vec<_>>(), out);
    }

    /// Takes in what [`LocalQuiz::store_bucket`] stored, here or on another shard. The shows are
    /// known already and stand where they stood then; nobody of the bucket is known.
    ///
    /// # Errors
    /// If the bytes are not those of a bucket that lives here. Parts of it may be taken in then.
    pub fn load_bucket(&mut self, mut image: &[u8]) -> Result<(), ImageError> {
        let input = &mut image;
        let bucket = BucketId(input.try_get_u16_le().map_err(|_| ImageError::Length)?);
        let place = self.users().place_of(bucket).ok_or(ImageError::Elsewhere(bucket))?;
        let count = input.try_get_u32_le().map_err(|_| ImageError::Length)?;
        for slot in (0..count).map(Slot) {
            if input.len() < 18 {
                return Err(ImageError::Length);
            }
            let user = UserId(input.get_u64_le());
            if self.users().placement().bucket(user) != bucket {
                return Err(ImageError::Misplaced(user));
            }
            let entered = self.users_mut().enter(user).ok_or(ImageError::Full)?;
            if entered != (UserPlace { bucket: place, slot }) {
                return Err(ImageError::Misplaced(user));
            }
            let entry = self.users_mut().entry_mut(entered);
            entry.balance = Cents(input.get_i64_le());
            entry.cards = input.get_u8();
            entry.best_passed = input.get_u8();
        }
        for _ in 0..input.try_get_u16_le().map_err(|_| ImageError::Length)? {
            let show = ShowId(input.try_get_u64_le().map_err(|_| ImageError::Length)?);
            self.load_players(show, place, count, input)?;
        }
        self.load_money(bucket, input)?;
        if input.is_empty() { Ok(()) } else { Err(ImageError::Length) }
    }

    fn load_players(
        &mut self,
        show: ShowId,
        bucket: usize,
        users: u32,
        input: &mut &[u8],
    ) -> Result<(), ImageError> {
        let replica = self.show_mut(show).ok_or(ImageError::UnknownShow(show))?;
        for _ in 0..input.try_get_u32_le().map_err(|_| ImageError::Length)? {
            let player = Player::load(input).ok_or(ImageError::Length)?;
            let slot = player.slot;
            if slot.0 >= users {
                return Err(ImageError::Length);
            }
            replica.adopt(UserPlace { bucket, slot }, player);
        }
        let done = input.try_get_u32_le().map_err(|_| ImageError::Length)?;
        replica.adopt_done(bucket, done as usize);
        for _ in 0..input.try_get_u32_le().map_err(|_| ImageError::Length)? {
            let slot = Slot(input.try_get_u32_le().map_err(|_| ImageError::Length)?);
            let since = Time(input.try_get_u64_le().map_err(|_| ImageError::Length)?);
            replica.adopt_late_join(UserPlace { bucket, slot }, since);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
