//! Members of one room as a group that can be watched by itself, and the chat among them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate::wire::codec::Encoding;
use tidegate::wire::upgrade::ClientRequest;

use crate::common::clients::{Clients, ClientsSettings};
use crate::common::clock::now_ns;
use crate::common::contender::patience_s;
use crate::common::corpus::Corpus;
use crate::common::gateway::{Gateway, ROOM};
use crate::common::http::Operator;
use crate::common::machine::Machine;
use crate::common::problem::Problem;
use crate::common::server::Server as _;
use crate::common::stats::{Coverage, as_f64_ns};

use super::hearing::{Hearing, say};

/// Messages that are made before anything is measured; they are said again when all were.
const MESSAGES_AHEAD: u32 = 2_000;
/// Clients look at their sockets so often: nobody reads while the gateway still writes.
const LOOK_INTERVAL_NS: u64 = 1_000_000;

/// A group of members.
pub(super) struct Hall {
    pub(super) clients: Clients,
    pub(super) hearing: Hearing,
}

impl Hall {
    /// Members who will say these requests; nobody is connected yet.
    pub(super) fn new(
        gateway: &Gateway,
        machine: &Machine,
        requests: Vec<Vec<u8>>,
        in_flight_max: u32,
    ) -> Result<Hall, Problem> {
        let settings = ClientsSettings {
            port: gateway.port(),
            connections: u32::try_from(requests.len()).unwrap_or(u32::MAX),
            file_limit: machine.file_limit(),
            in_flight_max,
            look_interval_ns: LOOK_INTERVAL_NS,
        };
        Ok(Hall { clients: Clients::new(settings)?, hearing: Hearing::new(requests) })
    }

    /// Connects everybody and waits until they are in.
    pub(super) fn fill(&mut self) -> Result<(), Problem> {
        let all = self.clients.len();
        self.clients.want(all);
        self.until("everybody's joining", |_, hearing| hearing.joined() >= all)
    }

    /// Turns until `done` says so.
    pub(super) fn until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&Clients, &Hearing) -> bool,
    ) -> Result<(), Problem> {
        let patience_s = patience_s(self.clients.len());
        self.clients.until(&mut self.hearing, patience_s, what, |clients, hearing| {
            done(clients, hearing)
        })?;
        self.check()
    }

    /// Does what can be done now.
    pub(super) fn turn(&mut self) -> Result<(), Problem> {
        self.clients.turn(&mut self.hearing)?;
        self.check()
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) -> Result<(), Problem> {
        let until_ns = now_ns() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.until("the passing of time", |_, _| now_ns() >= until_ns)
    }

    fn check(&mut self) -> Result<(), Problem> {
        match self.hearing.take_problem() {
            Some(problem) => Err(Problem::new(problem)),
            None => Ok(()),
        }
    }
}

/// Upgrade requests of users `first`, …, with token and room in them.
pub(super) fn requests(first: u32, count: u32, token: &dyn Fn(u32) -> String) -> Vec<Vec<u8>> {
    (first..first + count)
        .map(|index| request(&format!("/?token={}&room={ROOM}", token(index))))
        .collect()
}

/// The same for users who come back and have seen this much, by lane.
pub(super) fn request_to_resume(token: &str, epoch: u64, [high, mid, low]: [u64; 3]) -> Vec<u8> {
    request(&format!("/?token={token}&room={ROOM}&epoch={epoch}&high={high}&mid={mid}&low={low}"))
}

fn request(target: &str) -> Vec<u8> {
    let encoding = Encoding::Proto;
    ClientRequest { host: "bench", target, encoding, nonce: [7; 16] }.to_bytes()
}

/// Chat of a group's members, who speak in turn, so many messages a second in all.
pub(super) struct Chat {
    texts: Vec<String>,
    interval_ns: u64,
    next_ns: u64,
    said: u64,
}

impl Chat {
    /// Begins now.
    pub(super) fn new(rate: u32, payload: usize) -> Chat {
        let mut corpus = Corpus::new(1);
        let texts = (0..MESSAGES_AHEAD).map(|_| corpus.message(payload)).collect();
        Chat { texts, interval_ns: 1_000_000_000 / u64::from(rate), next_ns: now_ns(), said: 0 }
    }

    /// Messages so far.
    pub(super) fn said(&self) -> u64 {
        self.said
    }

    /// Lets be said what is due.
    pub(super) fn speak(&mut self, hall: &mut Hall) {
        let now_ns = now_ns();
        while self.next_ns <= now_ns {
            let speaker = u32::try_from(self.said % u64::from(hall.clients.len())).unwrap_or(0);
            let text = &self.texts[usize::try_from(self.said).unwrap_or(0) % self.texts.len()];
            let sequence = self.said.to_string();
            hall.hearing.saying(sequence.clone());
            hall.clients.outgoing().push(speaker, |bytes| say(text, sequence, bytes));
            self.said += 1;
            self.next_ns += self.interval_ns;
        }
    }
}

/// Publishes in a lane, as the service does.
pub(super) fn publish(
    operator: &mut Operator,
    lane: &str,
    messages: usize,
    bytes: usize,
) -> Result<(), Problem> {
    let message = format!("\"{}\"", STANDARD.encode(vec![b'x'; bytes]));
    let list = vec![message; messages].join(",");
    let body = format!("{{\"lane\":\"{lane}\",\"messages\":[{list}]}}");
    operator.ask("POST", &format!("/v1/rooms/{ROOM}/publish"), &body).map(drop)
}

/// A message in the high lane, sent without waiting for the answer.
pub(super) fn send_high(operator: &mut Operator, bytes: usize) -> Result<(), Problem> {
    let data = STANDARD.encode(vec![b'x'; bytes]);
    let body = format!("{{\"lane\":\"high\",\"messages\":[\"{data}\"]}}");
    operator.send("POST", &format!("/v1/rooms/{ROOM}/publish"), &body)
}

/// How a message of the high lane, sent now, reaches everybody, with chat going on if there is any.
pub(super) fn spread(
    gateway: &mut Gateway,
    hall: &mut Hall,
    bytes: usize,
    mut chat: Option<&mut Chat>,
) -> Result<Coverage, Problem> {
    let everybody = hall.clients.connected() as usize;
    hall.hearing.await_high();
    let from_ns = now_ns();
    let deadline_ns = from_ns + patience_s(hall.clients.len()) * 1_000_000_000;
    send_high(gateway.operator(), bytes)?;
    while hall.hearing.served() < everybody {
        if let Some(chat) = chat.as_deref_mut() {
            chat.speak(hall);
        }
        hall.turn()?;
        if now_ns() > deadline_ns {
            let served = hall.hearing.served();
            return Err(Problem::new(format!(
                "a message of the high lane reached {served} of {everybody} clients only"
            )));
        }
    }
    gateway.operator().answer()?;
    let mut times_ns = hall.hearing.take_times_ns();
    times_ns.iter_mut().for_each(|time| *time = time.saturating_sub(from_ns));
    Ok(Coverage::of(&mut times_ns))
}

/// Milliseconds.
pub(super) fn as_ms(ns: u64) -> f64 {
    as_f64_ns(ns) / 1e6
}
