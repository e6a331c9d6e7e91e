//! Clients on their way in, by the path that is measured.

use clap::ValueEnum;
use serde::Serialize;
use tidegate::wire::codec::{
    Encoding, TYPE_AUTHENTICATE, TYPE_BUSINESS, decode_server, encode_client,
};
use tidegate::wire::message::Message;
use tidegate::wire::proto::{
    Business, BusinessType, ClientFrame, Join, Request as ProtoRequest, business, request,
    response, server_frame,
};
use tidegate::wire::upgrade::ClientRequest;

use crate::common::clients::{Audience, Heard, Outgoing};
use crate::common::gateway::{ROOM, request_with_room, token};

/// Any mask will do: nothing is between us and the gateway (RFC 6455 §10.3).
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// How a client gets into its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Path {
    /// Token and room in the upgrade request: one round trip
    OneRoundTrip,
    /// The upgrade, then a frame to authenticate, then one to join: three
    SeparateFrames,
}

impl Path {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Path::OneRoundTrip => "one round trip",
            Path::SeparateFrames => "separate frames",
        }
    }

    fn round_trips(self) -> u8 {
        match self {
            Path::OneRoundTrip => 1,
            Path::SeparateFrames => 3,
        }
    }
}

/// The audience.
pub(crate) struct Entering {
    path: Path,
    /// The floor answers whatever comes with something; the gateway says what it means.
    of_floor: bool,
    /// Round trips that each client has behind it.
    trips: Vec<u8>,
    /// What each client says first, made ahead: making a token costs more than connecting.
    requests: Vec<Vec<u8>>,
    /// With separate frames, what it says then.
    authentications: Vec<Vec<u8>>,
    joined: u32,
}

impl Entering {
    /// So many clients that are still outside.
    pub(crate) fn new(path: Path, of_floor: bool, connections: u32) -> Entering {
        let trips = vec![0; connections as usize];
        let requests = (0..connections).map(|index| first_request(path, index)).collect();
        let authentications = match path {
            Path::OneRoundTrip => Vec::new(),
            Path::SeparateFrames => {
                (0..connections).map(|index| encoded(&authenticate(index))).collect()
            }
        };
        Entering { path, of_floor, trips, requests, authentications, joined: 0 }
    }

    /// Clients that are in.
    pub(crate) fn joined(&self) -> u32 {
        self.joined
    }

    fn trip_done(&mut self, index: u32, outgoing: &mut Outgoing) {
        let trips = &mut self.trips[index as usize];
        if *trips == self.path.round_trips() {
            return;
        }
        *trips += 1;
        if *trips == self.path.round_trips() {
            self.joined += 1;
            return;
        }
        let is_second = *trips == 1;
        outgoing.push(index, |bytes| {
            if is_second {
                bytes.extend_from_slice(&self.authentications[index as usize]);
            } else {
                encode_client(Encoding::Proto, &join(), MASK, bytes);
            }
        });
    }
}

impl Audience for Entering {
    fn request(&mut self, index: u32, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.requests[index as usize]);
    }

    fn upgraded(&mut self, index: u32, _: u16, outgoing: &mut Outgoing) {
        if self.of_floor || self.path == Path::SeparateFrames {
            self.trip_done(index, outgoing);
        }
    }

    fn heard(&mut self, heard: Heard<'_>, outgoing: &mut Outgoing) {
        if self.of_floor {
            return self.trip_done(heard.index, outgoing);
        }
        let frame = decode_server(Encoding::Proto, &Message::Binary(heard.payload));
        let done = match frame.unwrap_or_default().body {
            Some(server_frame::Body::Session(_)) => self.path == Path::SeparateFrames,
            Some(server_frame::Body::Business(business)) => match business.body {
                Some(business::Body::Response(it)) => {
                    matches!(it.payload, Some(response::Payload::Joined(_)))
                }
                _ => false,
            },
            _ => false,
        };
        if done {
            self.trip_done(heard.index, outgoing);
        }
    }
}

fn first_request(path: Path, index: u32) -> Vec<u8> {
    match path {
        Path::OneRoundTrip => {
            let mut request = Vec::new();
            request_with_room()(index, &mut request);
            request
        }
        Path::SeparateFrames => {
            let encoding = Encoding::Proto;
            ClientRequest { host: "bench", target: "/", encoding, nonce: [7; 16] }.to_bytes()
        }
    }
}

fn encoded(frame: &ClientFrame) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_client(Encoding::Proto, frame, MASK, &mut bytes);
    bytes
}

fn authenticate(index: u32) -> ClientFrame {
    ClientFrame {
        r#type: TYPE_AUTHENTICATE,
        user_id: u64::from(index) + 1,
        token: token(index),
        ..ClientFrame::default()
    }
}

fn join() -> ClientFrame {
    let join = Join { room_id: ROOM, ..Join::default() };
    let business = Business {
        r#type: BusinessType::Join.into(),
        sequence: "j".to_owned(),
        body: Some(business::Body::Request(ProtoRequest {
            payload: Some(request::Payload::Join(join)),
        })),
    };
    ClientFrame { r#type: TYPE_BUSINESS, business: Some(business), ..ClientFrame::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_the_floor_is_in_after_as_many_round_trips_as_the_path_has() {
        for path in [Path::OneRoundTrip, Path::SeparateFrames] {
            let (mut entering, mut outgoing) = (Entering::new(path, true, 1), Outgoing::default());
            entering.upgraded(0, 101, &mut outgoing);
            for trip in 1..4 {
                assert_eq!(entering.joined(), u32::from(trip >= path.round_trips()), "{path:?}");
                let heard = Heard { index: 0, opcode: 2, frame_bytes: 34, payload: &[], at_ns: 1 };
                entering.heard(heard, &mut outgoing);
            }
            assert_eq!(entering.joined(), 1, "{path:?}");
        }
    }
}
