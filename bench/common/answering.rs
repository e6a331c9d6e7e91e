//! Players that answer at a steady rate, and the server that they speak to.

use std::time::Duration;

use tidegate::wire::codec::{Encoding, decode_server};
use tidegate::wire::message::Message;
use tidegate::wire::proto::{business, notification, response, server_frame};

use crate::common::clients::{
    Audience, CONNECTS_IN_FLIGHT, Clients, ClientsSettings, Heard, Outgoing,
};
use crate::common::clock::{ProcessClock, now_ns, pause};
use crate::common::contender::patience_s;
use crate::common::counting::Request;
use crate::common::gateway::Gateway;
use crate::common::players::answer_to;
use crate::common::problem::Problem;
use crate::common::server::Server;
use crate::common::show::{CORRECT, SHOW};

/// What was not acknowledged so long after it was due is lost.
const LOST_AFTER_NS: u64 = 10_000_000_000;
/// What a server still does after the last answer, or after a question has reached everybody.
const AFTERMATH: Duration = Duration::from_millis(5);
/// Answers of one turn of the clients at most, so that a client that is late does not wait longer.
const ANSWERS_PER_LOOK: usize = 256;

/// What one question, or as many messages to the floor, cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) answers: u64,
    pub(crate) lost: u64,
    pub(crate) refused: u64,
    pub(crate) server_ns: u64,
    pub(crate) client_ns: u64,
    /// From the first answer's due time to the last acknowledgement.
    pub(crate) wall_ns: u64,
}

/// The audience.
pub(crate) struct Answering {
    request: Request,
    /// Whatever comes is an acknowledgement.
    echoes: bool,
    is_in: Vec<bool>,
    joined: u32,
    /// Since they were last set to 0.
    asked: u32,
    voided: u32,
    acknowledged: u32,
    refused: u32,
    /// When the answer that is not acknowledged was due; 0: nothing is awaited.
    due_ns: Vec<u64>,
    times_ns: Vec<u64>,
    request_bytes: usize,
    reply_bytes: usize,
}

impl Answering {
    /// Players of the gateway: they are in when the snapshot of the show has come.
    pub(crate) fn of_gateway(connections: u32, request: Request) -> Answering {
        let count = connections as usize;
        Answering {
            request,
            echoes: false,
            is_in: vec![false; count],
            joined: 0,
            asked: 0,
            voided: 0,
            acknowledged: 0,
            refused: 0,
            due_ns: vec![0; count],
            times_ns: Vec::new(),
            request_bytes: 0,
            reply_bytes: 0,
        }
    }

    /// Clients of an echo: they are in when it has agreed to speak WebSocket.
    pub(crate) fn of_floor(connections: u32, request: Request) -> Answering {
        Answering { echoes: true, ..Answering::of_gateway(connections, request) }
    }

    /// Bytes of the last answer on the wire.
    pub(crate) fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// Bytes of the last acknowledgement on the wire.
    pub(crate) fn reply_bytes(&self) -> usize {
        self.reply_bytes
    }

    /// How long the acknowledgements took, since this was last asked.
    pub(crate) fn take_times_ns(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.times_ns)
    }

    fn enter(&mut self, index: u32) {
        let is_in = &mut self.is_in[index as usize];
        self.joined += u32::from(!*is_in);
        *is_in = true;
    }

    fn acknowledge(&mut self, heard: Heard<'_>) {
        let due_ns = std::mem::take(&mut self.due_ns[heard.index as usize]);
        if due_ns > 0 {
            self.acknowledged += 1;
            self.reply_bytes = heard.frame_bytes;
            self.times_ns.push(heard.at_ns.saturating_sub(due_ns));
        }
    }
}

impl Audience for Answering {
    fn request(&mut self, index: u32, request: &mut Vec<u8>) {
        (self.request)(index, request);
    }

    fn upgraded(&mut self, index: u32, _: u16, _: &mut Outgoing) {
        if self.echoes {
            self.enter(index);
        }
    }

    fn heard(&mut self, heard: Heard<'_>, _: &mut Outgoing) {
        if self.echoes {
            return self.acknowledge(heard);
        }
        let frame = decode_server(Encoding::Proto, &Message::Binary(heard.payload));
        let frame = frame.unwrap_or_default();
        if frame.failure.is_some() && self.due_ns[heard.index as usize] > 0 {
            self.due_ns[heard.index as usize] = 0;
            self.refused += 1;
        }
        let Some(server_frame::Body::Business(business)) = frame.body else { return };
        match business.body {
            Some(business::Body::Notification(it)) => match it.payload {
                Some(notification::Payload::Snapshot(_)) => self.enter(heard.index),
                Some(notification::Payload::Question(_)) => self.asked += 1,
                Some(notification::Payload::QuestionVoided(_)) => self.voided += 1,
                _ => {}
            },
            Some(business::Body::Response(it)) => {
                if let Some(response::Payload::AnswerReceived(_)) = it.payload {
                    self.acknowledge(heard);
                }
            }
            Some(business::Body::Request(_)) | None => {}
        }
    }
}

/// A server with its players.
pub(crate) struct Crowd<S> {
    // Clients go first: the server has nobody left to say goodbye to.
    clients: Clients,
    pub(crate) audience: Answering,
    pub(crate) server: S,
    cpu: ProcessClock,
    /// The order in which they answer.
    order: Vec<u32>,
    questions: u32,
}

impl<S: Server> Crowd<S> {
    /// So many, none of whom is connected yet.
    pub(crate) fn new(
        server: S,
        connections: u32,
        file_limit: u64,
        audience: fn(u32, Request) -> Answering,
    ) -> Result<Crowd<S>, Problem> {
        let (port, in_flight_max) = (server.port(), CONNECTS_IN_FLIGHT);
        let settings =
            ClientsSettings { port, connections, file_limit, in_flight_max, look_interval_ns: 0 };
        Ok(Crowd {
            clients: Clients::new(settings)?,
            audience: audience(connections, server.request()),
            cpu: server.cpu()?,
            server,
            order: shuffled(connections),
            questions: 0,
        })
    }

    /// Connects until so many are in.
    pub(crate) fn fill(&mut self, connections: u32) -> Result<(), Problem> {
        self.clients.want(connections);
        let what = "everybody's joining";
        self.clients.until(&mut self.audience, patience_s(connections), what, |_, audience| {
            audience.joined >= connections
        })
    }

    /// Everybody answers once, at `rate` a second.
    pub(crate) fn answer(
        &mut self,
        question: u32,
        rate: u32,
        broadcasts: Option<Duration>,
    ) -> Result<Turn, Problem> {
        let frame = answer_to(question, CORRECT, &[]);
        self.audience.request_bytes = frame.len();
        (self.audience.acknowledged, self.audience.refused) = (0, 0);
        let count = self.order.len();
        let interval_ns =
            broadcasts.map(|interval| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX));
        let (mut told, mut begun) = (false, 0);
        self.clients.take_busy_ns();
        let cpu_from_ns = self.cpu.ns()?;
        let from_ns = now_ns();
        let due = |place: usize| from_ns + place as u64 * 1_000_000_000 / u64::from(rate);
        let mut broadcast_ns = from_ns;
        loop {
            let now_ns = now_ns();
            if let Some(interval_ns) = interval_ns.filter(|_| now_ns >= broadcast_ns) {
                if told {
                    self.server.await_word()?;
                }
                self.server.broadcast(1)?;
                (told, broadcast_ns) = (true, now_ns + interval_ns);
            }
            for _ in 0..ANSWERS_PER_LOOK {
                if begun == count || due(begun) > now_ns {
                    break;
                }
                let client = self.order[begun];
                self.audience.due_ns[client as usize] = due(begun);
                self.clients.outgoing().push(client, |bytes| bytes.extend_from_slice(&frame));
                begun += 1;
            }
            self.clients.turn(&mut self.audience)?;
            let done = (self.audience.acknowledged + self.audience.refused) as usize == count;
            if done || begun == count && now_ns > due(count) + LOST_AFTER_NS {
                break;
            }
        }
        let wall_ns = now_ns() - from_ns;
        let client_ns = self.clients.take_busy_ns();
        if told {
            self.server.await_word()?;
        }
        pause(AFTERMATH);
        let (acknowledged, refused) = (self.audience.acknowledged, self.audience.refused);
        Ok(Turn {
            answers: u64::from(acknowledged),
            lost: (count as u64).saturating_sub(u64::from(acknowledged + refused)),
            refused: refused.into(),
            server_ns: self.cpu.ns()? - cpu_from_ns,
            client_ns,
            wall_ns,
        })
    }
}

impl Crowd<Gateway> {
    /// Opens the next question, and waits until it has reached everybody; returns its number.
    pub(crate) fn open_question(&mut self) -> Result<u32, Problem> {
        self.audience.asked = 0;
        self.server.command(SHOW, "publish")?;
        let everybody = self.clients.len();
        let what = "the question's reaching everybody";
        self.clients.until(&mut self.audience, patience_s(everybody), what, |_, audience| {
            audience.asked >= everybody
        })?;
        pause(AFTERMATH);
        self.questions += 1;
        Ok(self.questions - 1)
    }

    /// The question that is open counts for nobody.
    pub(crate) fn void_question(&mut self) -> Result<(), Problem> {
        self.audience.voided = 0;
        self.server.command(SHOW, "void")?;
        let everybody = self.clients.len();
        let what = "the void's reaching everybody";
        self.clients.until(&mut self.audience, patience_s(everybody), what, |_, audience| {
            audience.voided >= everybody
        })?;
        pause(AFTERMATH);
        Ok(())
    }
}

/// The clients in an order that has nothing to do with their places; the same every time.
pub(crate) fn shuffled(connections: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..connections).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for place in (1..order.len()).rev() {
        // Knuth's MMIX generator; the upper half is good enough for an order.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from((state >> 33) % (place as u64 + 1)).unwrap_or(0);
        order.swap(place, other);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_answers_once() {
        let mut order = shuffled(1_000);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1_000));
    }

    #[test]
    fn an_echo_counts_once_for_each_message_that_was_due() {
        let mut audience = Answering::of_floor(2, Box::new(|_, _| {}));
        let heard = |index, at_ns| Heard { index, opcode: 2, frame_bytes: 90, payload: &[], at_ns };
        audience.due_ns[1] = 5;
        audience.heard(heard(0, 7), &mut Outgoing::default());
        audience.heard(heard(1, 9), &mut Outgoing::default());
        audience.heard(heard(1, 11), &mut Outgoing::default());
        assert_eq!((audience.acknowledged, audience.take_times_ns()), (1, vec![4]));
    }
}
