//! Secrets that the configuration leaves out are made when the process starts.

use crate::auth::keys::{Jwks, JwksError, KeySet};
use crate::auth::token::TokenPolicy;
use crate::base::entropy::Entropy;
use crate::base::hash::PlacementKey;
use crate::ops::config::{AuthConfig, Config};
use crate::ops::secret::Secret;

impl Config {
    /// Makes the secrets that are missing; says for each what that means, for the log.
    pub fn make_missing_secrets(&mut self, entropy: &mut dyn Entropy) -> Vec<&'static str> {
        let mut notes = Vec::new();
        let mut make = |place: &mut Option<Secret>, bytes: usize, note| {
            if place.is_none() {
                let mut secret = vec![0; bytes];
                entropy.fill(&mut secret);
                *place = Some(Secret::new(secret));
                notes.push(note);
            }
        };
        make(
            &mut self.placement_key,
            16,
            "placement_key is not set: each process makes its own; users change buckets at a restart",
        );
        make(
            &mut self.ticket_key,
            32,
            "ticket_key is not set: each process makes its own; retry tickets end with it",
        );
        // Where others issue the tokens, ours would only be one more way in.
        if self.auth.jwks_file.is_none() {
            make(
                &mut self.auth.hs256_secret,
                32,
                "auth.hs256_secret and auth.jwks_file are not set: each process makes a secret of \
                 its own; no token from outside is valid",
            );
        }
        notes
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

fn array<const N: usize>(secret: Option<&Secret>, name: &str) -> [u8; N] {
    let Some(bytes) = secret.and_then(|secret| secret.bytes().try_into().ok()) else {
        panic!("{name} is made at start where it is missing, and has {N} bytes");
    };
    bytes
}
