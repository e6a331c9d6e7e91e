//! `chat`: what a chat message costs for everybody who sees it, on the wire and in CPU.
//!
//! Clients are members of one room and say in turn what the corpus gives them, so many messages a
//! second in all; every one of them is to be seen by all. Bytes on the wire are computed from the
//! frames that arrived: each costs its bytes and, for every segment of 1,448, 52 bytes of TCP/IP and 38
//! of Ethernet. CPU is the gateway's, per message delivered, beside a plain `send()` loop that sends
//! every message by itself; the two take turns on the same core.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use tidegate::wire::codec::{Encoding, TYPE_BUSINESS, decode_server, encode_client};
use tidegate::wire::deflate::Inflater;
use tidegate::wire::message::Message;
use tidegate::wire::proto::{
    Business, BusinessType, ClientFrame, Lane, Publish, Request as ProtoRequest, business,
    notification, request, response, server_frame,
};

use crate::common::clients::{Audience, Clients, ClientsSettings, Heard, Outgoing};
use crate::common::clock::{ProcessClock, now_ns};
use crate::common::contender::Contender;
use crate::common::corpus::Corpus;
use crate::common::floor::LineServer;
use crate::common::gateway::{
    Gateway, GatewaySettings, request_offering_deflate, request_with_room,
};
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::server::Server as _;
use crate::common::stats::{Figures, as_f64_ns, percentile};

const REPETITIONS: u32 = 5;
/// Chat before the first repetition that is measured.
const WARM_UP_MS: u64 = 1_500;
/// One repetition.
const TURN_MS: u64 = 3_000;
/// Broadcasts of the floor in one repetition.
const FLOOR_BROADCASTS: u32 = 6;
/// After the last message of a repetition everybody has it within so long, or it is lost.
const LAST_MS: u64 = 5_000;
/// Any mask will do: nothing is between us and the gateway (RFC 6455 §10.3).
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
/// RFC 7692 §6.
const COMPRESSED: u8 = 0x40;
const SEGMENT_BYTES: u64 = 1_448;
const SEGMENT_OVERHEAD_BYTES: u64 = 52 + 38;
/// Messages that are made before anything is measured; they are said again when all were.
const MESSAGES_AHEAD: u32 = 4_000;

/// `tidegate-bench chat`
#[derive(Clone, Debug, Args)]
pub(crate) struct ChatArguments {
    /// Connections, all in one room
    #[arg(long, value_name = "N", default_value_t = 8_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Messages per second that everybody gets
    #[arg(long, value_name = "MESSAGES", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Bytes of a message's text
    #[arg(long, value_name = "BYTES", default_value_t = 130,
        value_parser = clap::value_parser!(u16).range(8..=1_024))]
    payload: u16,
    /// Clients offer permessage-deflate
    #[arg(long)]
    compress: bool,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What was found.
#[derive(Debug, Serialize)]
struct ChatReport {
    connections: u32,
    rate: u32,
    payload_bytes: u16,
    compressed: bool,
    repetitions: u32,
    /// Messages said and acknowledged.
    messages: u64,
    deliveries: u64,
    /// Of those due, how many did not come.
    lost: u64,
    frames: u64,
    messages_per_frame: f64,
    wire_bytes_per_message: f64,
    frame_bytes_per_message: f64,
    server_cpu_us_per_message: f64,
    floor_cpu_us_per_message: f64,
    cpu_ratio: f64,
    cpu_ratio_min: f64,
    cpu_ratio_max: f64,
    /// From saying it to seeing it, over everybody.
    latency_ms_p50: f64,
    latency_ms_p99: f64,
    client_cpu_us_per_message: f64,
}

/// Everybody in the room.
struct Crowd {
    compress: bool,
    is_in: Vec<bool>,
    joined: u32,
    inflater: Inflater,
    /// The frame that came last, and how many messages it carried: all clients get the same.
    last_frame: Vec<u8>,
    last_messages: u64,
    /// When its oldest message was said.
    last_said_ns: Option<u64>,
    /// When messages were said: by sequence until they are acknowledged, then by version.
    saying_ns: BTreeMap<String, u64>,
    said_ns: BTreeMap<u64, u64>,
    acknowledged: u64,
    deliveries: u64,
    frames: u64,
    frame_bytes: u64,
    wire_bytes: u64,
    latencies_us: Vec<u32>,
    problem: Option<String>,
}

impl Crowd {
    fn new(connections: u32, compress: bool) -> Crowd {
        Crowd {
            compress,
            is_in: vec![false; connections as usize],
            joined: 0,
            inflater: Inflater::default(),
            last_frame: Vec::new(),
            last_messages: 0,
            last_said_ns: None,
            saying_ns: BTreeMap::new(),
            said_ns: BTreeMap::new(),
            acknowledged: 0,
            deliveries: 0,
            frames: 0,
            frame_bytes: 0,
            wire_bytes: 0,
            latencies_us: Vec::new(),
            problem: None,
        }
    }

    /// What is in a frame that nobody has heard before; how many messages it carries for everybody.
    fn understand(&mut self, index: u32, opcode: u8, payload: &[u8]) -> u64 {
        let plain = if opcode & COMPRESSED == 0 {
            Ok(payload)
        } else {
            self.inflater.inflate(payload, 1 << 20)
        };
        let frame = plain.map_err(|error| error.to_string()).and_then(|plain| {
            decode_server(Encoding::Proto, &Message::Binary(plain)).map_err(|it| it.to_string())
        });
        let frame = match frame {
            Ok(frame) => frame,
            Err(problem) => {
                self.problem = Some(problem);
                return 0;
            }
        };
        if let Some(failure) = frame.failure {
            self.problem = Some(format!("a client was refused: {failure:?}"));
            return 0;
        }
        let Some(server_frame::Body::Business(business)) = frame.body else {
            return 0;
        };
        match business.body {
            Some(business::Body::Response(it)) => {
                match it.payload {
                    Some(response::Payload::Joined(_)) => {
                        let is_in = &mut self.is_in[index as usize];
                        self.joined += u32::from(!*is_in);
                        *is_in = true;
                    }
                    Some(response::Payload::Published(published)) => {
                        self.acknowledged += 1;
                        let version = published.stamp.map_or(0, |stamp| stamp.version);
                        let said_ns = self.saying_ns.remove(&business.sequence);
                        self.said_ns.extend(said_ns.map(|said_ns| (version, said_ns)));
                    }
                    _ => {}
                }
                0
            }
            Some(business::Body::Notification(it)) => {
                let version = it.stamp.as_ref().map_or(0, |stamp| stamp.version);
                self.last_said_ns = self.said_ns.get(&version).copied();
                match &it.payload {
                    Some(notification::Payload::RoomBatch(batch)) => batch.messages.len() as u64,
                    Some(notification::Payload::RoomMessage(_)) => 1,
                    _ => 0,
                }
            }
            _ => 0,
        }
    }
}

impl Audience for Crowd {
    fn request(&mut self, index: u32, request: &mut Vec<u8>) {
        if self.compress {
            request_offering_deflate()(index, request);
        } else {
            request_with_room()(index, request);
        }
    }

    fn upgraded(&mut self, _: u32, _: u16, _: &mut Outgoing) {}

    fn heard(&mut self, heard: Heard<'_>, _: &mut Outgoing) {
        let Heard { index, opcode, frame_bytes, payload, at_ns } = heard;
        if payload != self.last_frame {
            self.last_messages = self.understand(index, opcode, payload);
            self.last_frame.clear();
            if self.last_messages > 0 {
                self.last_frame.extend_from_slice(payload);
            }
        }
        let frame_bytes = frame_bytes as u64;
        self.frames += 1;
        self.frame_bytes += frame_bytes;
        let segments = frame_bytes.div_ceil(SEGMENT_BYTES);
        self.wire_bytes += frame_bytes + segments * SEGMENT_OVERHEAD_BYTES;
        self.deliveries += self.last_messages;
        if let Some(said_ns) = self.last_said_ns.filter(|_| self.last_messages > 0) {
            let latency_us = at_ns.saturating_sub(said_ns) / 1_000;
            self.latencies_us.push(u32::try_from(latency_us).unwrap_or(u32::MAX));
        }
    }
}

/// The gateway with everybody in its room.
struct Chat {
    /// Ends with this.
    _server: Gateway,
    clients: Clients,
    crowd: Crowd,
    cpu: ProcessClock,
    messages: Vec<String>,
    said: u64,
    rate: u32,
}

/// What one repetition showed.
struct Turn {
    server_us: f64,
    client_us: f64,
    messages: u64,
    lost: u64,
}

impl Chat {
    fn start(
        arguments: &ChatArguments,
        machine: &Machine,
        progress: &Progress,
    ) -> Result<Chat, Problem> {
        let ChatArguments { connections, rate, payload, compress, .. } = *arguments;
        let settings = GatewaySettings { connections, show: None, retries: true };
        let server = Gateway::start(&settings, &arguments.options)?;
        let settings = ClientsSettings {
            port: server.port(),
            connections,
            file_limit: machine.file_limit(),
            in_flight_max: crate::common::clients::CONNECTS_IN_FLIGHT,
            look_interval_ns: 1_000_000,
        };
        let mut clients = Clients::new(settings)?;
        let mut crowd = Crowd::new(connections, compress);
        progress.stage("connecting to the gateway", u64::from(connections));
        clients.want(connections);
        let patience_s = 30 + u64::from(connections) / 2_000;
        clients.until(&mut crowd, patience_s, "everybody's connecting", |_, crowd| {
            progress.at(u64::from(crowd.joined));
            crowd.joined >= connections
        })?;
        let mut corpus = Corpus::new(1);
        let messages = (0..MESSAGES_AHEAD).map(|_| corpus.message(payload.into()));
        let messages = messages.collect();
        let cpu = server.cpu()?;
        Ok(Chat { _server: server, clients, crowd, cpu, messages, said: 0, rate })
    }

    /// The next client says something.
    fn say(&mut self) {
        let index = self.said % self.crowd.is_in.len() as u64;
        let text = &self.messages[usize::try_from(self.said).unwrap_or(0) % self.messages.len()];
        let publish = Publish { lane: Lane::Low.into(), data: text.clone().into_bytes().into() };
        let sequence = self.said.to_string();
        self.crowd.saying_ns.insert(sequence.clone(), now_ns());
        let business = Business {
            r#type: BusinessType::Publish.into(),
            sequence,
            body: Some(business::Body::Request(ProtoRequest {
                payload: Some(request::Payload::Publish(publish)),
            })),
        };
        let frame =
            ClientFrame { r#type: TYPE_BUSINESS, business: Some(business), ..Default::default() };
        self.clients.outgoing().push(u32::try_from(index).unwrap_or(0), |bytes| {
            encode_client(Encoding::Proto, &frame, MASK, bytes);
        });
        self.said += 1;
    }

    /// Lets clients chat for a while, evenly, and waits until everybody has everything.
    fn chat(&mut self, millis: u64) -> Result<Turn, Problem> {
        let everybody = u64::from(self.clients.connected());
        let (said, deliveries) = (self.said, self.crowd.deliveries);
        let messages = u64::from(self.rate) * millis / 1_000;
        let interval_ns = 1_000_000_000 / u64::from(self.rate);
        self.clients.take_busy_ns();
        let (cpu_ns, from_ns) = (self.cpu.ns()?, now_ns());
        let due = deliveries + messages * everybody;
        let last_ns = from_ns + millis * 1_000_000 + LAST_MS * 1_000_000;
        while self.crowd.deliveries < due && now_ns() < last_ns {
            let begun = (now_ns() - from_ns) / interval_ns + 1;
            while self.said - said < begun.min(messages) {
                self.say();
            }
            self.clients.turn(&mut self.crowd)?;
            if let Some(problem) = self.crowd.problem.take() {
                return Err(Problem::new(problem));
            }
        }
        let spent_ns = self.cpu.ns()? - cpu_ns;
        let client_ns = self.clients.take_busy_ns();
        let delivered = self.crowd.deliveries - deliveries;
        let each = |ns: u64| as_f64_ns(ns) / 1e3 / as_f64_ns(delivered.max(1));
        Ok(Turn {
            server_us: each(spent_ns),
            client_us: each(client_ns),
            messages,
            lost: (messages * everybody).saturating_sub(delivered),
        })
    }

    /// What was counted up to now does not count.
    fn forget(&mut self) {
        let crowd = &mut self.crowd;
        (crowd.deliveries, crowd.frames, crowd.frame_bytes, crowd.wire_bytes) = (0, 0, 0, 0);
        crowd.latencies_us.clear();
    }
}

/// Measures and prints.
pub(crate) fn run(arguments: &ChatArguments, machine: &Machine) -> Result<(), Problem> {
    let ChatArguments { connections, payload, options, .. } = arguments;
    memory::check_room(u64::from(*connections) * 2)?;
    options.take_effect()?;
    let repetitions = options.repetitions_or(REPETITIONS);
    let progress = Progress::new(u64::from(*connections));
    let mut chat = Chat::start(arguments, machine, &progress)?;
    let fits = u64::from(*connections) + 2_000 <= machine.file_limit();
    let floor_name = if fits { "floor-fanout" } else { "floor-fanout-ring" };
    let frame_bytes = usize::from(*payload) + 2 + if *payload > 125 { 2 } else { 0 };
    let sizes = [connections.to_string(), frame_bytes.to_string()];
    let floor = LineServer::floor(floor_name, &sizes, options)?;
    let mut floor = Contender::new(floor, *connections, machine.file_limit())?;
    progress.stage("connecting to the floor", u64::from(*connections));
    floor.fill(*connections, &progress)?;
    progress.stage("measuring", u64::from(repetitions));
    let (mut server, mut beside, mut client) =
        (Figures::default(), Figures::default(), Figures::default());
    let (mut ratios, mut messages, mut lost) = (Figures::default(), 0, 0);
    chat.chat(WARM_UP_MS)?;
    chat.forget();
    for repetition in 0..repetitions {
        let mut floor_us = Figures::default();
        floor.broadcast(1)?;
        for _ in 0..FLOOR_BROADCASTS {
            floor_us.push(floor.broadcast(1)?.server_us);
        }
        let turn = chat.chat(TURN_MS)?;
        server.push(turn.server_us);
        client.push(turn.client_us);
        beside.push(floor_us.median());
        ratios.push(turn.server_us / floor_us.median());
        messages += turn.messages;
        lost += turn.lost;
        progress.at(u64::from(repetition) + 1);
    }
    drop(progress);
    chat.crowd.latencies_us.sort_unstable();
    let crowd = &chat.crowd;
    let latency_ms = |share: f64| f64::from(percentile(&crowd.latencies_us, share)) / 1e3;
    let deliveries = as_f64_ns(crowd.deliveries.max(1));
    let report = ChatReport {
        connections: *connections,
        rate: arguments.rate,
        payload_bytes: *payload,
        compressed: arguments.compress,
        repetitions,
        messages,
        deliveries: crowd.deliveries,
        lost,
        frames: crowd.frames,
        messages_per_frame: deliveries / as_f64_ns(crowd.frames.max(1)),
        wire_bytes_per_message: as_f64_ns(crowd.wire_bytes) / deliveries,
        frame_bytes_per_message: as_f64_ns(crowd.frame_bytes) / deliveries,
        server_cpu_us_per_message: server.median(),
        floor_cpu_us_per_message: beside.median(),
        cpu_ratio: ratios.median(),
        cpu_ratio_min: ratios.min(),
        cpu_ratio_max: ratios.max(),
        latency_ms_p50: latency_ms(0.5),
        latency_ms_p99: latency_ms(0.99),
        client_cpu_us_per_message: client.median(),
    };
    report::print("chat", machine, &report, options.json, table(&report))
}

fn table(report: &ChatReport) -> Table {
    let mut table = Table::default();
    let us = |figure: f64| format!("{figure:.3} µs");
    let size = format!(
        "{} connections, {} messages of {} bytes a second{}",
        report.connections,
        report.rate,
        report.payload_bytes,
        if report.compressed { ", compressed" } else { "" }
    );
    table.row("deliveries", report.deliveries.to_string(), size);
    table.row("lost", report.lost.to_string(), "");
    let frames = format!("{:.1} messages a frame", report.messages_per_frame);
    table.row(
        "on the wire, per message",
        format!("{:.1} B", report.wire_bytes_per_message),
        frames,
    );
    table.row("gateway, CPU per message", us(report.server_cpu_us_per_message), "");
    table.row("floor, CPU per message", us(report.floor_cpu_us_per_message), "a send() each");
    let spread = format!(
        "median of {}; {:.3} to {:.3}",
        report.repetitions, report.cpu_ratio_min, report.cpu_ratio_max
    );
    table.row("ratio", format!("{:.3}", report.cpu_ratio), spread);
    let p99 = format!("99 % within {:.0} ms", report.latency_ms_p99);
    table.row("from saying to seeing", format!("{:.0} ms", report.latency_ms_p50), p99);
    table.row("client, CPU per message", us(report.client_cpu_us_per_message), "");
    table
}
