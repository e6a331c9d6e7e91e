//! Answers by HTTP: a connection of its own, one request, one response.

use prost::Message as _;

use crate::sim::network::{Asked, Break, Link, Stage};
use crate::sim::talk::answer_of;
use crate::sim::truth::Reply;
use crate::sim::world::{Event, World};
use crate::wire::codec::Encoding;
use crate::wire::proto;

impl World {
    /// A connection to any host, beside the player's own.
    pub(crate) fn open_short(&mut self, player: usize) -> usize {
        let host = self.players[player].dice.index(self.hosts.len());
        let link = self.links.len();
        let mut new = Link::new(player, host, Encoding::Proto, self.now);
        self.fresh_token(player);
        new.stage = Stage::Short(Vec::new());
        new.token = self.players[player].credentials.times();
        self.links.push(new);
        let latency = self.dice.micros(50, self.setup.faults.latency_max_us.max(51));
        self.schedule(self.now + latency, Event::Accept { link });
        self.links[link].delay_to_host(self.now + latency);
        link
    }

    /// Posts an answer; the request ends with its last byte.
    pub(crate) fn post_answer(&mut self, link: usize, answer: &proto::Answer, index: usize) {
        self.races.answers_by_http += 1;
        self.links[link].asked.insert(format!("a{index}"), (Asked::Answer, self.now));
        let body = answer.encode_to_vec();
        let (token, length) =
            (&self.players[self.links[link].player].credentials.token, body.len());
        let head = format!(
            "POST /v1/answers HTTP/1.1\r\nHost: quiz.example\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/x-protobuf\r\nContent-Length: {length}\r\n\r\n"
        );
        let bytes = [head.as_bytes(), &body].concat();
        self.client_writes(link, bytes, Some(index));
    }

    /// Bytes of a response came; once it is whole, the client lets go.
    pub(crate) fn hear_short(&mut self, link: usize) {
        let Stage::Short(so_far) = &self.links[link].stage else { return };
        let Some((status, body)) = whole_response(so_far) else { return };
        let Some(sequence) = self.links[link].asked.keys().next().cloned() else { return };
        if status != 401 {
            self.check_token_holds(link);
        }
        match status {
            200 | 429 => match proto::Response::decode(&body[..]) {
                Ok(proto::Response { payload: Some(payload), .. }) => {
                    self.hear_response(link, &sequence, Some(payload));
                }
                Ok(_) | Err(_) => self.hear_refusal(link, &sequence, &body),
            },
            // Nothing is known of the answer: the player taps again.
            503 | 504 => {}
            401 => self.token_refused(link, None),
            _ => self.hear_refusal(link, &sequence, &body),
        }
        self.client_breaks(link, Break::End);
    }

    fn hear_refusal(&mut self, link: usize, sequence: &str, body: &[u8]) {
        let failure = proto::Failure::decode(body).unwrap_or_default();
        self.links[link].asked.remove(sequence);
        if let Some(answer) = answer_of(sequence) {
            self.races.answers_refused += 1;
            self.reply_came(link, answer, Reply::Refused(failure.reason()));
        }
    }
}

/// Status and body of a response, once all of it is there.
fn whole_response(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
    let body = bytes.get(end..end + length.parse::<usize>().ok()?)?;
    Some((status, body.to_vec()))
}
