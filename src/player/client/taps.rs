//! Tapping at red-packet rains: every player taps as often as counts, as far as the gateway's
//! throttle lets it, and asks again for all of it when the rain is over: a tap has one outcome,
//! whenever and on whatever connection it is asked for.

use std::collections::BTreeMap;

use super::{Client, Context, Request, Stage};
use crate::wire::proto;

/// What a player knows of its taps: by rain and slot, what they brought and whether that was asked
/// for after the rain.
pub(super) type Taps = BTreeMap<(u32, u32), (i64, bool)>;

impl Client {
    /// A rain has begun, or is over.
    pub(super) fn rain(&mut self, rain: &proto::Rain, context: &mut Context<'_>) {
        let is_last = match rain.phase() {
            proto::RainPhase::Falling => false,
            proto::RainPhase::Ended => true,
            proto::RainPhase::Unspecified
            | proto::RainPhase::Announced
            | proto::RainPhase::Closing => return,
        };
        for slot in 0..rain.taps_max {
            // Not drawn: which of a user's taps are sent is the same in every run.
            let place = self.record.user().0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
            let is_thinned = (place + u64::from(slot)) % 1_000_000 >= rain.send_per_million.into();
            let is_known = self.taps.contains_key(&(rain.rain, slot));
            if self.stage == Stage::InRoom && (is_last || !is_thinned && !is_known) {
                let (show_id, rain) = (rain.show_id, rain.rain);
                let grab = proto::Grab { show_id, rain, slot };
                let request = Request::Tap { rain, slot, is_last };
                self.request(request, Some(proto::request::Payload::Grab(grab)), context);
            }
        }
    }

    pub(super) fn grabbed(
        &mut self,
        (rain, slot, is_last): (u32, u32, bool),
        grabbed: &proto::Grabbed,
        context: &mut Context<'_>,
    ) {
        let user = self.record.user();
        let known = self.taps.entry((rain, slot)).or_insert((grabbed.cents, false));
        let is_same = known.0 == grabbed.cents && (grabbed.rain, grabbed.slot) == (rain, slot);
        context.checks.violations.check(is_same, || {
            format!(
                "user {user}: tap {slot} at rain {rain} brought {} cents, now {grabbed:?}",
                known.0
            )
        });
        if is_last && !known.1 {
            known.1 = true;
            context.deeds.taps += 1;
            context.deeds.packets += u64::from(grabbed.cents > 0);
            context.deeds.packet_cents += grabbed.cents;
        }
    }
}
