//! What one attempt with one load showed.

use serde::Serialize;

use crate::common::stats::Coverage;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Come, with token and room in the upgrade request; done when the show's snapshot is there.
    Connect,
    /// Say that they are alive; done with the reply.
    Heartbeat,
    /// Answer the open question; done with the sealed result.
    Answer,
    /// Say something to the room; done when it was published.
    Chat,
}

impl Kind {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Kind; 4] = [Kind::Connect, Kind::Heartbeat, Kind::Answer, Kind::Chat];

    /// For people: several of them.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Connect => "connects",
            Kind::Heartbeat => "heartbeats",
            Kind::Answer => "answers",
            Kind::Chat => "chat",
        }
    }
}

/// One kind of requests at a steady rate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FlowShown {
    pub(crate) kind: Kind,
    pub(crate) planned: u64,
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) asked_per_s: f64,
    /// From the first reply to the last.
    pub(crate) per_s: f64,
    /// From the moment at which it was due to its reply.
    pub(crate) ms: Coverage,
}

/// What was sent to everybody: questions, or the service's messages in the high lane.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PushShown {
    pub(crate) members: u32,
    pub(crate) pushes: u32,
    /// Of `members` × `pushes`.
    pub(crate) reached: u64,
    /// Medians over the pushes, from the command on.
    pub(crate) coverage_ms: Coverage,
}

/// What clients said to the room, at those who heard it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChatShown {
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    /// Notices that something is missing.
    pub(crate) gaps: u64,
    /// From the moment at which it was due to be said until a member had it.
    pub(crate) delivery_ms: Coverage,
}

/// Memory of each connection.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Weight {
    /// Resident memory over that of the empty gateway.
    pub(crate) user_bytes: f64,
    /// Slab, of both ends of the connection.
    pub(crate) kernel_bytes: f64,
}

/// One attempt.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Showing {
    pub(crate) flows: Vec<FlowShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) push: Option<PushShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chat: Option<ChatShown>,
    /// Connections that the gateway closed.
    pub(crate) closed: u32,
    /// Why the load could not be kept up at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broke: Option<String>,
    pub(crate) wall_s: f64,
    pub(crate) server_cpu_s: f64,
    pub(crate) client_cpu_s: f64,
    /// Of the time of the gateway's cores, turns of its shards that had something to do, by its own
    /// metric: what it spends on looking around before it parks is not in it.
    pub(crate) server_busy: f64,
    /// Of the time of the load's core, turns of the clients that had something to do.
    pub(crate) client_busy: f64,
    /// Sends from a room to one of its members: messages that wait for the same one share it.
    pub(crate) room_sends: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<Weight>,
    /// Bytes of what was last pushed, of a chat message at a member, of an answer, of its reply: frames
    /// with their headers; 0 where there was none.
    pub(crate) frames: Frames,
}

/// Lengths of frames.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Frames {
    pub(crate) push_bytes: usize,
    pub(crate) chat_bytes: usize,
    pub(crate) answer_bytes: usize,
    pub(crate) reply_bytes: usize,
}

impl Showing {
    /// Requests without a reply, and deliveries that never came.
    pub(crate) fn lost(&self) -> u64 {
        let requests: u64 = self
            .flows
            .iter()
            .map(|flow| flow.planned.saturating_sub(flow.done + flow.refused))
            .sum();
        let pushed = self.push.as_ref().map_or(0, |push| {
            (u64::from(push.members) * u64::from(push.pushes)).saturating_sub(push.reached)
        });
        let chat = self.chat.as_ref().map_or(0, |it| it.expected.saturating_sub(it.delivered));
        requests + pushed + chat
    }

    /// Requests of one kind that were done.
    pub(crate) fn done(&self, kind: Kind) -> u64 {
        self.flows.iter().filter(|flow| flow.kind == kind).map(|flow| flow.done).sum()
    }
}
