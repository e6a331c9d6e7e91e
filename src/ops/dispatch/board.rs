//! What one look at the gateways came to: the thread that looks writes it, requests read it.

use std::sync::Arc;

use crate::base::entropy::Entropy;
use crate::base::time::Time;

use super::answers::Answers;
use super::ask::{AskError, Asked};
use super::roster::{Known, Roster, Unlisted};
use super::settings::DispatchSettings;

/// What is published.
#[derive(Debug)]
pub struct Board {
    /// When.
    pub looked_at: Time,
    /// All gateways, in the order of the file.
    pub gateways: Vec<Known>,
    /// Why each is not on the list; nothing for those that are.
    pub unlisted: Vec<Option<Unlisted>>,
    /// What clients get.
    pub answers: Arc<Answers>,
}

/// What makes it.
pub(super) struct Looker {
    settings: Arc<DispatchSettings>,
    roster: Roster,
    /// What the log was told last: where each gateway stands.
    said: Vec<(Option<Unlisted>, Option<AskError>)>,
    /// What failed last, since each gateway answered.
    errors: Vec<Option<AskError>>,
}

impl Looker {
    pub(super) fn new(settings: Arc<DispatchSettings>) -> Looker {
        let count = settings.gateways.len();
        Looker {
            roster: Roster::new(&settings),
            said: vec![(Some(Unlisted::Unheard), None); count],
            errors: vec![None; count],
            settings,
        }
    }

    /// Notes what an ask came to.
    pub(super) fn note(&mut self, gateway: usize, asked: Asked, now: Time) {
        match asked {
            Ok(load) => {
                self.roster.heard(gateway, load, now);
                self.errors[gateway] = None;
            }
            Err(error) => {
                self.roster.failed(gateway);
                self.errors[gateway] = Some(error);
            }
        }
    }

    /// What holds now. What has changed is said in the log.
    pub(super) fn look(&mut self, now: Time, entropy: &mut dyn Entropy) -> Board {
        let gateways = self.roster.gateways().to_vec();
        let unlisted: Vec<Option<Unlisted>> =
            (0..gateways.len()).map(|gateway| self.roster.unlisted(gateway, now)).collect();
        for (gateway, why) in unlisted.iter().enumerate() {
            self.say(gateway, *why);
        }
        let orders = self.roster.orders(now, entropy);
        let answers = Arc::new(Answers::new(&self.settings, &orders));
        Board { looked_at: now, gateways, unlisted, answers }
    }

    /// Once for each change: a gateway that stays away fills no log.
    fn say(&mut self, gateway: usize, why: Option<Unlisted>) {
        let error = match why {
            Some(Unlisted::Unheard | Unlisted::Silent) => self.errors[gateway].clone(),
            _ => None,
        };
        if self.said[gateway] == (why, error.clone()) {
            return;
        }
        let name = &self.settings.gateways[gateway].name;
        match (why, &error) {
            (None, _) => tracing::info!(gateway = name, "clients are sent there"),
            (Some(why), None) => {
                tracing::warn!(gateway = name, why = why.word(), "nobody is sent there");
            }
            (Some(why), Some(error)) => {
                tracing::warn!(gateway = name, why = why.word(), %error, "nobody is sent there");
            }
        }
        self.said[gateway] = (why, error);
    }
}
