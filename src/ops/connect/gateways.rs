//! Which gateway to try: the one that another one named when it was drained, else the one that was given,
//! or those that a dispatcher lists, in order.
//!
//! A list is asked for when there is none, when it is older than the dispatcher lets it be, and when all
//! of it was tried in vain. A gateway that was given beside is tried while there is no list.

use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use ureq::Agent;

use crate::base::entropy::{Entropy, SystemEntropy};
use crate::base::time::Time;
use crate::ops::connect::link::{Address, Spoken};
use crate::ops::dispatch::order::ORDERS;

/// How long a dispatcher may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A list of 16 gateways with 8 addresses each has less.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Why there is no list.
#[derive(Debug, Error)]
pub(super) enum ListError {
    /// No answer.
    #[error("the dispatcher {url} cannot be asked: {error}")]
    Unreachable {
        /// Who.
        url: String,
        /// Why.
        error: ureq::Error,
    },
    /// There is no gateway now.
    #[error("the dispatcher {url} has no gateway that takes clients now; try again later")]
    Nobody {
        /// Who.
        url: String,
    },
    /// Somebody else, or another place of it.
    #[error(
        "{url} answers with HTTP {status}: is this the address for clients of `tidegate dispatch`, \
         `listen` in its file?"
    )]
    Status {
        /// Who.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// It answers something else.
    #[error("what {url} answers is no list of gateways: {error}")]
    NoList {
        /// Who.
        url: String,
        /// What is wrong.
        error: String,
    },
    /// This client can use none of it.
    #[error("of the gateways that {url} lists, this client can try none: {reason}")]
    Unusable {
        /// Who.
        url: String,
        /// What is wrong with the first.
        reason: String,
    },
}

/// Gateways, of which one is the next to try.
pub(super) struct Gateways {
    dispatcher: Option<Dispatcher>,
    /// Where the client was sent, until that does not take it.
    sent_to: Option<Address>,
    list: Vec<Address>,
    next: usize,
    /// From then on another list is asked for.
    ask_at: Time,
}

struct Dispatcher {
    url: String,
    agent: Agent,
}

#[derive(Deserialize)]
struct ListJson {
    ttl_s: u32,
    gateways: Vec<GatewayJson>,
}

#[derive(Deserialize)]
struct GatewayJson {
    urls: Vec<String>,
}

impl Gateways {
    /// The one at `url`, and those that the dispatcher at `dispatch` lists.
    ///
    /// # Errors
    /// What is wrong with an address.
    pub(super) fn new(url: Option<&str>, dispatch: Option<&str>) -> Result<Gateways, String> {
        let given = url.map(Address::parse).transpose()?;
        let dispatcher = dispatch.map(Dispatcher::new).transpose()?;
        let list = given.into_iter().collect();
        Ok(Gateways { dispatcher, sent_to: None, list, next: 0, ask_at: Time::ZERO })
    }

    /// The gateway at `url` is tried before all others.
    ///
    /// # Errors
    /// Why this client cannot: then nothing changes.
    pub(super) fn go_to(&mut self, url: &str) -> Result<(), String> {
        self.sent_to = Some(Address::parse(url)?);
        Ok(())
    }

    /// Whether which gateway is tried is a dispatcher's choice.
    pub(super) fn are_dispatched(&self) -> bool {
        self.dispatcher.is_some()
    }

    /// Asks for a list, if it is time for another one. Without one, the older one, or the gateway
    /// that was given, stays.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn refresh(&mut self, now: Time) -> Result<(), ListError> {
        let Some(dispatcher) = self.dispatcher.as_ref().filter(|_| now >= self.ask_at) else {
            return Ok(());
        };
        let answer = dispatcher.ask();
        self.take(answer, now)
    }

    fn take(
        &mut self,
        answer: Result<(Vec<Address>, Duration), ListError>,
        now: Time,
    ) -> Result<(), ListError> {
        self.next = 0;
        let (list, life) = answer?;
        self.list = list;
        self.ask_at = now + life;
        Ok(())
    }

    /// The one to try; nothing: there is none.
    pub(super) fn next(&self) -> Option<&Address> {
        self.sent_to.as_ref().or_else(|| self.list.get(self.next))
    }

    /// The one to try did not take this client: the next is, or, behind the last, the first, and then
    /// another list is asked for. Whether one is left that was not tried.
    pub(super) fn pass(&mut self) -> bool {
        if self.sent_to.take().is_some() {
            return !self.list.is_empty();
        }
        self.next += 1;
        let is_left = self.next < self.list.len();
        if !is_left {
            self.next = 0;
            self.ask_at = Time::ZERO;
        }
        is_left
    }
}

impl Dispatcher {
    fn new(url: &str) -> Result<Dispatcher, String> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(TIMEOUT))
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Dispatcher { url: list_url(url)?, agent })
    }

    /// The gateways to try, and how long they may be kept.
    fn ask(&self) -> Result<(Vec<Address>, Duration), ListError> {
        let url = || self.url.clone();
        // Caches in between keep a list for each part, so that not everybody gets the same.
        let part = SystemEntropy.below(ORDERS as u64);
        let unreachable = |error| ListError::Unreachable { url: url(), error };
        let request = self.agent.get(format!("{}?part={part}", self.url));
        let mut response = request.call().map_err(unreachable)?;
        match response.status().as_u16() {
            200 => {}
            503 => return Err(ListError::Nobody { url: url() }),
            status => return Err(ListError::Status { url: url(), status }),
        }
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        self.read(&body.map_err(unreachable)?)
    }

    fn read(&self, body: &[u8]) -> Result<(Vec<Address>, Duration), ListError> {
        let url = || self.url.clone();
        let ListJson { ttl_s, gateways } = serde_json::from_slice(body)
            .map_err(|error| ListError::NoList { url: url(), error: error.to_string() })?;
        let urls = gateways.iter().flat_map(|gateway| &gateway.urls);
        let (usable, others): (Vec<_>, Vec<_>) =
            urls.map(|url| Address::parse(url)).partition(Result::is_ok);
        let list: Vec<Address> = usable.into_iter().flatten().collect();
        if list.is_empty() {
            let reason = others.into_iter().find_map(Result::err);
            let reason = reason.unwrap_or_else(|| "it names no address".to_owned());
            return Err(ListError::Unusable { url: url(), reason });
        }
        Ok((list, Duration::from_secs(ttl_s.into())))
    }
}

/// Where a dispatcher has its list.
fn list_url(url: &str) -> Result<String, String> {
    let (authority, path) = Spoken {
        schemes: &["http"],
        with_tls: &["https"],
        without_tls: "ask behind what ends it, with http://",
        what: "a dispatcher",
        example: "http://127.0.0.1:8093",
    }
    .parts(url)?;
    let path = if matches!(path, "" | "/") { "/v1/gateways" } else { path };
    Ok(format!("http://{authority}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn addresses_of_dispatchers() {
        let mut shown = String::new();
        for url in [
            "http://127.0.0.1:8093",
            "quiz.example/",
            "http://quiz.example/edge/v1/gateways",
            "https://quiz.example",
            "ws://quiz.example",
            "http:///v1/gateways",
            "http://quiz.example/?part=3",
        ] {
            shown += &format!("{}\n", list_url(url).unwrap_or_else(|error| error));
        }
        expect![[r#"
            http://127.0.0.1:8093/v1/gateways
            http://quiz.example/v1/gateways
            http://quiz.example/edge/v1/gateways
            https://quiz.example: this client speaks no TLS; ask behind what ends it, with http://
            ws://quiz.example: `ws` is not spoken; write one like http://127.0.0.1:8093
            http:///v1/gateways: is no address of a dispatcher; write one like http://127.0.0.1:8093
            http://quiz.example/?part=3: is no address of a dispatcher; write one like http://127.0.0.1:8093
        "#]]
        .assert_eq(&shown);
    }

    fn dispatched(url: Option<&str>) -> Gateways {
        Gateways::new(url, Some("d.example")).unwrap()
    }

    fn read(gateways: &Gateways, body: &str) -> Result<(Vec<Address>, Duration), ListError> {
        gateways.dispatcher.as_ref().unwrap().read(body.as_bytes())
    }

    #[test]
    fn lists_that_are_none_say_so() {
        let gateways = dispatched(None);
        let mut shown = String::new();
        for body in [
            "<html>",
            r#"{"gateways":[]}"#,
            r#"{"ttl_s":2,"gateways":[]}"#,
            r#"{"ttl_s":2,"gateways":[{"urls":["wss://a.example/","ftp://b.example/"]}]}"#,
        ] {
            shown += &format!("{}\n", read(&gateways, body).unwrap_err());
        }
        expect![[r#"
            what http://d.example/v1/gateways answers is no list of gateways: expected value at line 1 column 1
            what http://d.example/v1/gateways answers is no list of gateways: missing field `ttl_s` at line 1 column 15
            of the gateways that http://d.example/v1/gateways lists, this client can try none: it names no address
            of the gateways that http://d.example/v1/gateways lists, this client can try none: wss://a.example/: this client speaks no TLS; connect behind what ends it, with ws://
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn a_list_is_tried_in_order_and_asked_for_anew_when_it_is_used_up_or_old() {
        let at = |ms: u64| Time::ZERO + Duration::from_millis(ms);
        let mut gateways = dispatched(Some("given.example"));
        let next = |gateways: &Gateways| gateways.next().unwrap().to_string();
        assert_eq!(next(&gateways), "ws://given.example:80/ws");
        let answer = read(
            &gateways,
            r#"{"ttl_s":2,"gateways":[{"urls":["ws://a/","wss://a/"]},{"urls":["ws://b:1/"]}]}"#,
        );
        gateways.take(answer, at(500)).unwrap();
        assert_eq!((next(&gateways), gateways.ask_at), ("ws://a:80/ws".to_owned(), at(2_500)));
        assert!(gateways.pass());
        assert_eq!((next(&gateways), gateways.ask_at), ("ws://b:1/ws".to_owned(), at(2_500)));
        assert!(!gateways.pass());
        assert_eq!((next(&gateways), gateways.ask_at), ("ws://a:80/ws".to_owned(), at(0)));
        // Without another one, an old list is better than none, from its beginning.
        assert!(gateways.pass());
        let none = Err(ListError::Nobody { url: String::new() });
        assert!(gateways.take(none, at(3_000)).is_err());
        assert_eq!((next(&gateways), gateways.ask_at), ("ws://a:80/ws".to_owned(), at(0)));
    }

    #[test]
    fn where_a_drained_gateway_sends_is_tried_first_and_once() {
        let mut gateways = Gateways::new(Some("a.example"), None).unwrap();
        let next = |gateways: &Gateways| gateways.next().unwrap().to_string();
        assert!(gateways.go_to("wss://b.example/").unwrap_err().contains("no TLS"));
        assert_eq!(next(&gateways), "ws://a.example:80/ws");
        gateways.go_to("ws://b.example/").unwrap();
        assert_eq!(next(&gateways), "ws://b.example:80/ws");
        assert!(gateways.pass());
        assert_eq!(next(&gateways), "ws://a.example:80/ws");
        assert!(!gateways.pass());
    }

    #[test]
    fn without_a_dispatcher_there_is_the_one_that_was_given() {
        let mut gateways = Gateways::new(Some("a.example"), None).unwrap();
        assert!(gateways.refresh(Time::NEVER).is_ok() && !gateways.are_dispatched());
        assert!(!gateways.pass());
        assert_eq!(gateways.next().unwrap().to_string(), "ws://a.example:80/ws");
        assert!(dispatched(None).next().is_none());
    }
}
