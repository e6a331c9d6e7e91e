//! The rains of a show, as its director orders them.

use super::{CommandError, Director};
use crate::base::entropy::Entropy;
use crate::base::ids::{RainIndex, ShardId};
use crate::base::time::Time;
use crate::quiz::event::ShowEvent;
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::rain::{
    RainCommand, RainError, RainEvent, RainPhase, RainStatus, RainSummary, may_fall,
};
use crate::quiz::seal::SecretKey;

impl Director {
    /// Takes an operator's command about rains. The seed of a rain is drawn from `entropy`.
    ///
    /// # Errors
    /// If it is not possible now. Nothing was changed then.
    pub fn rain_command(
        &mut self,
        now: Time,
        command: RainCommand,
        entropy: &mut dyn Entropy,
    ) -> Result<(), RainError> {
        if self.phase == Phase::Ended {
            return Err(RainError::ShowPhase(self.phase));
        }
        match command {
            RainCommand::Fund(cents) => {
                let event = self.rains.may_fund(cents)?;
                self.emit_rain(now, event);
            }
            RainCommand::Plan(settings) => {
                let rain = self.rains.may_plan(&settings)?;
                let seed = SecretKey::generate(entropy);
                self.emit_rain(now, RainEvent::Planned { rain, settings, seed });
            }
            RainCommand::Start(rain) => {
                self.rains.must_be(rain, RainPhase::Planned)?;
                if !may_fall(self.phase) {
                    return Err(RainError::ShowPhase(self.phase));
                }
                self.start_rain(now, rain);
            }
            RainCommand::End(rain) => {
                self.rains.must_be(rain, RainPhase::Falling)?;
                self.emit_rain(now, RainEvent::Closing { rain });
            }
        }
        Ok(())
    }

    /// A shard is about to run out of packets.
    pub fn packets_wanted(&mut self, now: Time, shard: ShardId, rain: RainIndex) {
        if let Some(grant) = self.rains.grant(rain, shard) {
            self.emit_rain(now, grant);
        }
    }

    /// A shard says what its users grabbed of a rain that closes.
    ///
    /// # Panics
    /// If more was grabbed than there was.
    pub fn rain_reported(&mut self, now: Time, summary: RainSummary) {
        if let Some(ended) = self.rains.reported(summary) {
            self.emit_rain(now, ended);
        }
    }

    /// The rains of the show.
    #[must_use]
    pub fn rains(&self) -> Vec<RainStatus> {
        self.rains.status().collect()
    }

    /// Money for rains that is not planned.
    #[must_use]
    pub fn rain_fund(&self) -> Cents {
        self.rains.fund()
    }

    /// Rains whose time is over close.
    pub(super) fn close_due_rains(&mut self, now: Time) {
        for rain in self.rains.due(now) {
            self.emit_rain(now, RainEvent::Closing { rain });
        }
    }

    /// The show is called off: what falls closes.
    pub(super) fn close_all_rains(&mut self, now: Time) {
        for rain in self.rains.due(Time::NEVER) {
            self.emit_rain(now, RainEvent::Closing { rain });
        }
    }

    /// The show ends: every rain must be over, and what no packet took goes to the remainder account.
    pub(super) fn end_rains(&mut self, now: Time) -> Result<(), CommandError> {
        if self.rains.is_open() {
            return Err(CommandError::RainsFall);
        }
        for event in self.rains.closing() {
            self.emit_rain(now, event);
        }
        Ok(())
    }

    fn start_rain(&mut self, now: Time, rain: RainIndex) {
        let settings = self.rains.settings(rain).expect("a planned rain has settings");
        let ends_at = now + settings.duration;
        self.emit_rain(now, RainEvent::Started { rain, starts_at: now, ends_at });
        for shard in ShardId::all(self.shard_count) {
            self.packets_wanted(now, shard, rain);
        }
    }

    fn emit_rain(&mut self, now: Time, event: RainEvent) {
        self.rains.apply(&event);
        self.emit(now, ShowEvent::Rain(event));
    }
}
