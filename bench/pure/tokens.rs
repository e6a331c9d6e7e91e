//! Access tokens: what a shard spends on one, by the algorithm that it is signed with.

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use tidegate::auth::keys::KeySet;
use tidegate::auth::token::{NewToken, TokenPolicy, TokenVerifier, mint, unverified};
use tidegate::base::ids::UserId;

use crate::cpu_time::CpuTime;

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const NOW_UNIX_S: i64 = 1_800_000_000;

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let keys = KeySet::from_jwks(include_str!("../../tests/keys/jwks.json")).unwrap().keys;
    let verifier =
        TokenVerifier::with_keys(Arc::new(keys.with_secret(SECRET)), TokenPolicy::default());
    let (user, issued_unix_s) = (UserId(7), NOW_UNIX_S);
    let new = NewToken { user, issued_unix_s, lifetime_s: 3_600, audience: None };
    let mut group = criterion.benchmark_group("token");
    for (name, token) in [
        ("HS256", mint(SECRET, new)),
        ("RS256", include_str!("../../tests/keys/rsa.jwt").to_owned()),
        ("ES256", include_str!("../../tests/keys/ec.jwt").to_owned()),
        ("EdDSA", include_str!("../../tests/keys/ed.jwt").to_owned()),
    ] {
        let token = token.trim_end();
        group.bench_function(format!("verify/{name}"), |bencher| {
            bencher.iter(|| verifier.verify(black_box(token), NOW_UNIX_S).unwrap());
        });
    }
    // What a refresh that is not worth verifying costs.
    let token = include_str!("../../tests/keys/rsa.jwt").trim_end();
    group.bench_function("unverified/RS256", |bencher| {
        bencher.iter(|| unverified(black_box(token)).unwrap());
    });
    group.finish();
}
