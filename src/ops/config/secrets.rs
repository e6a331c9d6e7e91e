//! Secrets that the configuration leaves out are made when the process starts.

use std::path::Path;

use crate::auth::keys::{Jwks, JwksError, KeySet};
use crate::auth::token::TokenPolicy;
use crate::base::entropy::Entropy;
use crate::base::hash::PlacementKey;
use crate::base::hex;
use crate::ops::config::{AuthConfig, Config};
use crate::ops::secret::Secret;
use crate::runtime::data::{DataError, Deployment};

impl Config {
    /// Makes the secrets that are missing; says for each what that means, for the log.
    pub fn make_missing_secrets(&mut self, entropy: &mut dyn Entropy) -> Vec<&'static str> {
        let mut notes = self.make_missing_deployment_keys(entropy);
        // Where others issue the tokens, ours would only be one more way in.
        if self.auth.jwks_file.is_none() {
            notes.extend(make(
                &mut self.auth.hs256_secret,
                32,
                entropy,
                "auth.hs256_secret and auth.jwks_file are not set: each process makes a secret of \
                 its own; no token from outside is valid",
            ));
        }
        notes
    }

    /// Makes those that belong to a deployment.
    pub fn make_missing_deployment_keys(&mut self, entropy: &mut dyn Entropy) -> Vec<&'static str> {
        let placement = make(
            &mut self.placement_key,
            16,
            entropy,
            "placement_key is not set: each process makes its own; users change buckets at a restart",
        );
        let ticket = make(
            &mut self.ticket_key,
            32,
            entropy,
            "ticket_key is not set: each process makes its own; retry tickets end with it",
        );
        placement.into_iter().chain(ticket).collect()
    }

    /// What a deployment that begins with these secrets keeps.
    ///
    /// # Panics
    /// If they are missing: see [`Config::make_missing_secrets`].
    #[must_use]
    pub fn deployment(&self) -> Deployment {
        Deployment::new(self.quiz.bucket_count, &self.placement_key().0, &self.ticket_key())
    }

    /// Takes over the secrets that a deployment began with. What was set must be the same.
    ///
    /// # Errors
    /// The first setting that is another.
    pub fn adopt(&mut self, stored: &Deployment, path: &Path) -> Result<(), DataError> {
        let contradiction = |key, stored: String, configured: String| {
            let path = path.to_path_buf();
            Err(DataError::Contradiction { path, key, stored, configured })
        };
        if stored.buckets != self.quiz.bucket_count {
            let (stored, configured) = (stored.buckets, self.quiz.bucket_count);
            return contradiction("quiz.bucket_count", stored.to_string(), configured.to_string());
        }
        let keys = [
            ("placement_key", &mut self.placement_key, &stored.placement_key, 16),
            ("ticket_key", &mut self.ticket_key, &stored.ticket_key, 32),
        ];
        for (key, place, stored, length) in keys {
            let bytes = hex::decode(stored).filter(|bytes| bytes.len() == length);
            let Some(bytes) = bytes else {
                let what = format!("{key} is no key of {length} bytes; restore it from a backup");
                return Err(DataError::Malformed { path: path.to_path_buf(), what });
            };
            if place.as_ref().is_some_and(|set| set.bytes() != bytes) {
                // Neither is shown: they are secrets.
                return contradiction(key, "another value".to_owned(), "this one".to_owned());
            }
            *place = Some(Secret::new(bytes));
        }
        Ok(())
    }

    /// The key that says where users, rooms and shows live.
    ///
    /// # Panics
    /// If it is missing: see [`Config::make_missing_secrets`].
    #[must_use]
    pub fn placement_key(&self) -> PlacementKey {
        PlacementKey(array(self.placement_key.as_ref(), "placement_key"))
    }

    /// The key of retry tickets.
    ///
    /// # Panics
    /// If it is missing: see [`Config::make_missing_secrets`].
    #[must_use]
    pub fn ticket_key(&self) -> [u8; 32] {
        array(self.ticket_key.as_ref(), "ticket_key")
    }

    /// The keys of access tokens: the secret, if there is one, and those of `jwks`.
    ///
    /// # Errors
    /// What is wrong with `jwks`; the configuration has checked its own.
    pub fn token_keys(&self, jwks: Option<&str>) -> Result<Jwks, Vec<JwksError>> {
        let none = Jwks { keys: KeySet::default(), left_out: Vec::new() };
        let Jwks { keys, left_out } = jwks.map_or(Ok(none), KeySet::from_jwks)?;
        let keys = match &self.auth.hs256_secret {
            Some(secret) => keys.with_secret(secret.bytes()),
            None => keys,
        };
        Ok(Jwks { keys, left_out })
    }

    /// What is asked of access tokens beside their signature.
    #[must_use]
    pub fn token_policy(&self) -> TokenPolicy {
        let AuthConfig { audience, issuer, leeway_s, token_lifetime_max_s, .. } = &self.auth;
        TokenPolicy {
            audience: audience.clone(),
            issuer: issuer.clone(),
            leeway_s: *leeway_s,
            lifetime_max_s: *token_lifetime_max_s,
        }
    }
}

/// Makes a secret if it is missing, and says so.
fn make(
    place: &mut Option<Secret>,
    bytes: usize,
    entropy: &mut dyn Entropy,
    note: &'static str,
) -> Option<&'static str> {
    if place.is_some() {
        return None;
    }
    let mut secret = vec![0; bytes];
    entropy.fill(&mut secret);
    *place = Some(Secret::new(secret));
    Some(note)
}

fn array<const N: usize>(secret: Option<&Secret>, name: &str) -> [u8; N] {
    let Some(bytes) = secret.and_then(|secret| secret.bytes().try_into().ok()) else {
        panic!("{name} is made at start where it is missing, and has {N} bytes");
    };
    bytes
}
