//! The answers that clients get: made after each look at the gateways, and handed out as they are.
//!
//! There are [`ORDERS`] of them, so that a request costs no more than finding one. Who asks without
//! saying which gets the next, and may keep it for itself only: in a shared cache it would send a whole
//! crowd to one gateway. Who names a part (`?part=0` … `63`, drawn by the client) gets that one, and
//! any cache may keep it: a crowd of clients behind it is spread over 64 cached answers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::http::HeaderValue;
use serde::Serialize;

use super::order::ORDERS;
use super::settings::DispatchSettings;

/// Answers that belong together.
#[derive(Debug)]
pub struct Answers {
    /// One for each order; none: there is no gateway to be tried.
    bodies: Vec<Body>,
    next: AtomicUsize,
    own: HeaderValue,
    shared: HeaderValue,
}

#[derive(Debug)]
struct Body {
    first: usize,
    json: Bytes,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The gateway that comes first.
    pub first: usize,
    /// What is said.
    pub json: Bytes,
    /// Who may keep it, and for how long.
    pub cache_control: HeaderValue,
}

#[derive(Serialize)]
struct ListJson<'a> {
    ttl_s: u32,
    gateways: Vec<GatewayJson<'a>>,
}

#[derive(Serialize)]
struct GatewayJson<'a> {
    urls: &'a [String],
}

impl Answers {
    /// Nobody has been heard of.
    #[must_use]
    pub fn none() -> Answers {
        let none = HeaderValue::from_static("no-store");
        Answers { bodies: Vec::new(), next: AtomicUsize::new(0), own: none.clone(), shared: none }
    }

    /// Of these orders; the first of them answers the next request that names no part.
    #[must_use]
    pub fn new(settings: &DispatchSettings, orders: &[Vec<usize>]) -> Answers {
        let body = |order: &Vec<usize>| {
            let listed = order.iter().take(settings.list_max);
            let gateways = listed.filter_map(|gateway| settings.gateways.get(*gateway));
            let gateways = gateways.map(|gateway| GatewayJson { urls: &gateway.urls }).collect();
            let list = ListJson { ttl_s: settings.ttl_s, gateways };
            let json = serde_json::to_vec(&list).ok()?;
            Some(Body { first: *order.first()?, json: json.into() })
        };
        let life = |who: &str| {
            let text = format!("{who}, max-age={}", settings.ttl_s);
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("no-store"))
        };
        Answers {
            bodies: orders.iter().filter_map(body).collect(),
            next: AtomicUsize::new(0),
            own: life("private"),
            shared: life("public"),
        }
    }

    /// The answer of a part, or the next one; nothing if no gateway is to be tried.
    #[must_use]
    pub fn answer(&self, part: Option<usize>) -> Option<Answer> {
        let (place, cache_control) = match part {
            Some(part) => (part, &self.shared),
            None => (self.next.fetch_add(1, Ordering::Relaxed), &self.own),
        };
        let Body { first, json } = self.bodies.get(place % ORDERS)?;
        Some(Answer { first: *first, json: json.clone(), cache_control: cache_control.clone() })
    }

    /// How many of a thousand answers name this gateway first.
    #[must_use]
    pub fn first_permille(&self, gateway: usize) -> usize {
        let firsts = self.bodies.iter().filter(|body| body.first == gateway).count();
        firsts * 1_000 / ORDERS
    }

    /// Whether any gateway is to be tried.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.bodies.is_empty()
    }
}

/// What was asked and came to no list, for metrics.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests for which there was no gateway.
    pub empty: AtomicU64,
    /// Requests that were none.
    pub refused: AtomicU64,
}

impl Counts {
    /// One more.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn settings(list_max: usize) -> DispatchSettings {
        let gateway = |name: &str, port: u16| {
            format!(
                "[[gateways]]\nname = \"{name}\"\nurls = [\"wss://{name}.example/\", \
                 \"wss://203.0.113.1:{port}/\"]\noperator = \"http://127.0.0.1:{port}\"\n"
            )
        };
        let text =
            format!("list_max = {list_max}\nttl_s = 3\n{}{}", gateway("a", 1), gateway("b", 2));
        DispatchSettings::parse("d.toml", &text, &[], &|_| Err(String::new())).unwrap()
    }

    #[test]
    fn a_list_has_all_addresses_in_the_order_to_try() {
        let answers = Answers::new(&settings(4), &vec![vec![1, 0]; ORDERS]);
        let answer = answers.answer(None).unwrap();
        expect![[r#"{"ttl_s":3,"gateways":[{"urls":["wss://b.example/","wss://203.0.113.1:2/"]},{"urls":["wss://a.example/","wss://203.0.113.1:1/"]}]}"#]]
            .assert_eq(std::str::from_utf8(&answer.json).unwrap());
        assert_eq!(answer.first, 1);
        assert_eq!(answer.cache_control, "private, max-age=3");
        let short = Answers::new(&settings(1), &vec![vec![1, 0]; ORDERS]);
        let answer = short.answer(Some(63)).unwrap();
        expect![[
            r#"{"ttl_s":3,"gateways":[{"urls":["wss://b.example/","wss://203.0.113.1:2/"]}]}"#
        ]]
        .assert_eq(std::str::from_utf8(&answer.json).unwrap());
        assert_eq!(answer.cache_control, "public, max-age=3");
    }

    #[test]
    fn who_names_no_part_gets_all_of_them_in_turn() {
        let orders: Vec<Vec<usize>> =
            (0..ORDERS).map(|place| vec![usize::from(place < 48)]).collect();
        let answers = Answers::new(&settings(4), &orders);
        assert_eq!((answers.first_permille(0), answers.first_permille(1)), (250, 750));
        for _ in 0..3 {
            let firsts = (0..ORDERS).filter(|_| answers.answer(None).unwrap().first == 1).count();
            assert_eq!(firsts, 48);
        }
        assert_eq!(answers.answer(Some(0)), answers.answer(Some(0)));
        assert_eq!(answers.answer(Some(63)).unwrap().first, 0);
    }

    #[test]
    fn without_gateways_there_is_no_answer() {
        for answers in [Answers::none(), Answers::new(&settings(4), &[])] {
            assert!(answers.answer(None).is_none() && answers.answer(Some(1)).is_none());
            assert!(!answers.any() && answers.first_permille(0) == 0);
        }
    }
}
