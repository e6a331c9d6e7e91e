//! What one look at the gateways came to: the thread that looks writes it, requests read it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::base::entropy::Entropy;
use crate::base::time::Time;

use super::answers::Answers;
use super::ask::{AskError, Asked};
use super::roster::{Known, Roster, Unlisted};
use super::settings::DispatchSettings;

/// What is published. All of it is of the same settings.
#[derive(Debug)]
pub struct Board {
    /// What is in force.
    pub settings: Arc<DispatchSettings>,
    /// When.
    pub looked_at: Time,
    /// All gateways, in the order of the file.
    pub gateways: Vec<Known>,
    /// Why each is not on the list; nothing for those that are.
    pub unlisted: Vec<Option<Unlisted>>,
    /// Lists that were given to clients, by the gateway that they name first.
    pub firsts: Vec<Arc<AtomicU64>>,
    /// What clients get.
    pub answers: Arc<Answers>,
}

/// What makes it.
pub struct Looker {
    settings: Arc<DispatchSettings>,
    roster: Roster,
    /// One for each gateway.
    seats: Vec<Seat>,
}

/// What is kept of a gateway beside what it says.
#[derive(Clone)]
struct Seat {
    /// What the log was told last: where it stands.
    said: (Option<Unlisted>, Option<AskError>),
    /// What failed last, since it answered.
    error: Option<AskError>,
    firsts: Arc<AtomicU64>,
}

impl Seat {
    fn new() -> Seat {
        Seat { said: (Some(Unlisted::Unheard), None), error: None, firsts: Arc::default() }
    }

    /// Once for each change: a gateway that stays away fills no log.
    fn say(&mut self, name: &str, why: Option<Unlisted>) {
        let error = match why {
            Some(Unlisted::Unheard | Unlisted::Silent) => self.error.clone(),
            _ => None,
        };
        if self.said == (why, error.clone()) {
            return;
        }
        match (why, &error) {
            (None, _) => tracing::info!(gateway = name, "clients are sent there"),
            (Some(why), None) => {
                tracing::warn!(gateway = name, why = why.word(), "nobody is sent there");
            }
            (Some(why), Some(error)) => {
                tracing::warn!(gateway = name, why = why.word(), %error, "nobody is sent there");
            }
        }
        self.said = (why, error);
    }
}

impl Looker {
    /// Nobody has been heard of yet.
    #[must_use]
    pub fn new(settings: Arc<DispatchSettings>) -> Looker {
        Looker {
            roster: Roster::new(&settings),
            seats: settings.gateways.iter().map(|_| Seat::new()).collect(),
            settings,
        }
    }

    /// Goes on by other settings. What is known of a gateway stays known; who is new was not heard of.
    pub fn renew(&mut self, settings: Arc<DispatchSettings>, now: Time) {
        let before = &self.settings.gateways;
        let place = |gateway| before.iter().position(|it| it.is_same_gateway(gateway));
        let kept: Vec<Option<usize>> = settings.gateways.iter().map(place).collect();
        self.roster = self.roster.renewed(&settings, &kept, now);
        let seat = |place: &Option<usize>| place.and_then(|it| self.seats.get(it)).cloned();
        self.seats = kept.iter().map(|place| seat(place).unwrap_or_else(Seat::new)).collect();
        self.settings = settings;
    }

    /// Notes what an ask came to.
    pub(super) fn note(&mut self, gateway: usize, asked: Asked, now: Time) {
        let Some(seat) = self.seats.get_mut(gateway) else { return };
        match asked {
            Ok(load) => {
                self.roster.heard(gateway, load, now);
                seat.error = None;
            }
            Err(error) => {
                self.roster.failed(gateway);
                seat.error = Some(error);
            }
        }
    }

    /// What holds now. What has changed is said in the log.
    pub fn look(&mut self, now: Time, entropy: &mut dyn Entropy) -> Board {
        let gateways = self.roster.gateways().to_vec();
        let unlisted: Vec<Option<Unlisted>> =
            (0..gateways.len()).map(|gateway| self.roster.unlisted(gateway, now)).collect();
        for ((seat, gateway), why) in
            self.seats.iter_mut().zip(&self.settings.gateways).zip(&unlisted)
        {
            seat.say(&gateway.name, *why);
        }
        let orders = self.roster.orders(now, entropy);
        Board {
            settings: Arc::clone(&self.settings),
            looked_at: now,
            gateways,
            unlisted,
            firsts: self.seats.iter().map(|seat| Arc::clone(&seat.firsts)).collect(),
            answers: Arc::new(Answers::new(&self.settings, &orders)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::SeededEntropy;
    use crate::ops::dispatch::load::tests::idle;
    use std::sync::atomic::Ordering;

    /// A file of gateways with these names, each with its operator at a port, and keys.
    fn settings(gateways: &[(&str, u16, &str)]) -> Arc<DispatchSettings> {
        let text: String = gateways
            .iter()
            .map(|(name, port, keys)| {
                format!(
                    "[[gateways]]\nname = \"{name}\"\nurls = [\"wss://{name}.example/\"]\n\
                     operator = \"http://127.0.0.1:{port}\"\n{keys}\n"
                )
            })
            .collect();
        Arc::new(DispatchSettings::parse("d.toml", &text, &[], &|_| Err(String::new())).unwrap())
    }

    /// Of each gateway: its name, room, asks that were answered, lists that name it first, and why
    /// it is not listed.
    fn shown(board: &Board) -> Vec<(&str, f64, u64, u64, Option<Unlisted>)> {
        let of = |(place, gateway): (usize, &Known)| {
            let firsts = board.firsts[place].load(Ordering::Relaxed);
            let name = &*board.settings.gateways[place].name;
            (name, gateway.room(), gateway.answered, firsts, board.unlisted[place])
        };
        board.gateways.iter().enumerate().map(of).collect()
    }

    #[test]
    fn by_other_settings_who_stays_is_known_and_who_is_new_is_not() {
        let entropy = &mut SeededEntropy::new(1, 0);
        let first = settings(&[("a", 1, ""), ("b", 2, ""), ("c", 3, "")]);
        let mut looker = Looker::new(first);
        looker.note(0, Ok(idle()), Time::ZERO);
        looker.note(1, Ok(idle()), Time::ZERO);
        looker.note(2, Err(AskError::Status(404)), Time::ZERO);
        let board = looker.look(Time::ZERO, entropy);
        board.firsts[1].fetch_add(7, Ordering::Relaxed);
        // a is gone, b has another place, another name and a limit, c is as it was, d is new.
        let next = settings(&[("d", 4, ""), ("c", 3, ""), ("bee", 2, "connections = 100")]);
        looker.renew(next, Time::ZERO);
        let expected = [
            ("d", 0.0, 0, 0, Some(Unlisted::Unheard)),
            ("c", 0.0, 0, 0, Some(Unlisted::Unheard)),
            ("bee", 100.0, 1, 7, None),
        ];
        let board = looker.look(Time::ZERO, entropy);
        assert_eq!(shown(&board), expected);
        assert_eq!(board.answers.answer(None).map(|answer| answer.first), Some(2));
        assert_eq!(looker.seats[1].error, Some(AskError::Status(404)));
        // What an ask comes to that nobody waits for any more is nobody's.
        looker.note(3, Ok(idle()), Time::ZERO);
        assert_eq!(shown(&looker.look(Time::ZERO, entropy)), expected);
    }
}
