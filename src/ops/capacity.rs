//! From what was measured to what so many viewers need: arithmetic, and nothing else. `tidegate tune
//! plan` and the bench's capacity report are two ways to ask it.
//!
//! A phase is a time of the show with work of its own: everybody joins, a question goes out, the
//! answers come. Heartbeats and chat go on all the time and are added to each. Chat costs sends, not
//! messages: what comes while a sweep over the members is under way goes out together in the next, so
//! a message waits for two sweeps at most, and two sweeps in the window are enough. A resource (cores,
//! memory, NIC) must do the hardest phase; of a host's resource only a part may be used, so that a
//! host can be lost and a peak may be higher. Work is taken to grow in proportion, and to be spread
//! over hosts evenly.

use serde::{Deserialize, Serialize};

/// Bytes of TCP payload in a full segment: 1,500 − 20 (IPv4) − 32 (TCP with timestamps, RFC 7323).
const SEGMENT_BYTES_MAX: u64 = 1_448;
/// IPv4 and TCP with timestamps.
const TCP_IP_BYTES: u64 = 52;
/// Preamble, header, checksum and gap of an Ethernet frame (IEEE 802.3).
const ETHERNET_BYTES: u64 = 38;

/// A chat message waits for the sweep that is under way and is part of the next.
const SWEEPS_PER_WINDOW: f64 = 2.0;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Of a connection, from accept to joined.
    pub connect_cpu_us: f64,
    /// Of a heartbeat and its reply.
    pub heartbeat_cpu_us: f64,
    /// Of a question.
    pub delivery_cpu_us: f64,
    /// Of an answer, judged and acknowledged.
    pub answer_cpu_us: f64,
    /// Of a send of chat messages to one member, however many share it.
    pub chat_send_cpu_us: f64,
    /// Of the gateway's process.
    pub user_bytes_per_connection: f64,
    /// Of the gateway's end.
    pub kernel_bytes_per_connection: f64,
    /// A question's frame with its header.
    pub question_frame_bytes: u64,
    /// A chat message's.
    pub chat_frame_bytes: u64,
    /// An answer's.
    pub answer_frame_bytes: u64,
    /// Its acknowledgement's.
    pub reply_frame_bytes: u64,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Wanted {
    /// Who is connected at the same time.
    pub viewers: u64,
    /// Within so many seconds all of them join.
    pub join_s: f64,
    /// Between two heartbeats of a viewer.
    pub heartbeat_s: f64,
    /// Within this a question is at everybody, and a chat message at nearly all.
    pub window_ms: f64,
    /// Of all viewers, at the peak.
    pub answers_per_s: f64,
    /// In the room, each to everybody.
    pub chats_per_s: f64,
}

/// A host, and how much of it may be used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Host {
    /// A shard each.
    pub cores: f64,
    /// All of it.
    pub memory_bytes: f64,
    /// Nothing where there is none: loopback.
    pub nic_gbit: Option<f64>,
    /// Of each resource, this part is kept free.
    pub headroom_percent: f64,
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Processor time.
    Cores,
    /// The process's and the kernel's.
    Memory,
    /// Bytes a second, of the direction that has more.
    Nic,
}

impl Resource {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Resource::Cores => "cores",
            Resource::Memory => "memory",
            Resource::Nic => "NIC",
        }
    }
}

/// What one phase needs of all hosts together, heartbeats and chat not included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PhaseNeed {
    /// Its name.
    pub phase: &'static str,
    /// Processor time a second.
    pub cores: f64,
    /// Of the direction that has more.
    pub nic_gbit: f64,
}

/// What one resource must do at its hardest moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ResourceNeed {
    /// Which.
    pub resource: Resource,
    /// The hardest phase; memory has none.
    pub phase: &'static str,
    /// Cores, bytes, Gbit/s.
    pub amount: f64,
    /// Of what one host may use: above 1, one host is too little.
    pub share_of_host: f64,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Capacity {
    /// What each phase needs.
    pub phases: Vec<PhaseNeed>,
    /// What each resource must do.
    pub resources: Vec<ResourceNeed>,
    /// Of all hosts together.
    pub memory_bytes: f64,
    /// As many are needed.
    pub hosts: u64,
    /// What there is too little of first.
    pub limited_by: Resource,
    /// Viewers that one host holds.
    pub viewers_per_host: u64,
    /// On so many hosts, a question is with everybody: by the NIC, and by the cores.
    pub push_nic_s: Option<f64>,
    /// By the cores, if they did nothing else.
    pub push_cpu_s: f64,
}

/// Bytes on the wire of so much TCP payload that is sent at once.
#[must_use]
pub fn wire_bytes(payload: u64) -> u64 {
    let segments = payload.div_ceil(SEGMENT_BYTES_MAX).max(1);
    payload.saturating_add(segments.saturating_mul(TCP_IP_BYTES + ETHERNET_BYTES))
}

/// What `wanted` needs on such hosts.
///
/// # Errors
/// What makes no sense.
pub fn capacity(costs: &Costs, wanted: &Wanted, host: &Host) -> Result<Capacity, String> {
    check(wanted, host)?;
    let viewers = float(wanted.viewers);
    let phases = phases(costs, wanted);
    let (background, peaks) = phases.split_at(2);
    let always = |of: fn(&PhaseNeed) -> f64| background.iter().map(of).sum::<f64>();
    let hardest = |of: fn(&PhaseNeed) -> f64| {
        let peak = peaks.iter().max_by(|a, b| of(a).total_cmp(&of(b)));
        peak.map_or(("", 0.0), |peak| (peak.phase, of(peak)))
    };
    let usable = 1.0 - host.headroom_percent / 100.0;
    let memory_bytes =
        viewers * (costs.user_bytes_per_connection + costs.kernel_bytes_per_connection);
    let need = |resource, (phase, amount): (&'static str, f64), of_host: f64| ResourceNeed {
        resource,
        phase,
        amount,
        share_of_host: amount / (of_host * usable),
    };
    let (phase, cores) = hardest(|need| need.cores);
    let cores = (phase, cores + always(|need| need.cores));
    let mut resources = vec![
        need(Resource::Cores, cores, host.cores),
        need(Resource::Memory, ("all the time", memory_bytes), host.memory_bytes),
    ];
    if let Some(nic_gbit) = host.nic_gbit {
        let (phase, gbit) = hardest(|need| need.nic_gbit);
        let gbit = (phase, gbit + always(|need| need.nic_gbit));
        resources.push(need(Resource::Nic, gbit, nic_gbit));
    }
    let first = resources.iter().max_by(|a, b| a.share_of_host.total_cmp(&b.share_of_host));
    let (limited_by, share) =
        first.map_or((Resource::Cores, 0.0), |first| (first.resource, first.share_of_host));
    let hosts = whole(share.ceil()).max(1);
    let push_bits = viewers * float(wire_bytes(costs.question_frame_bytes)) * 8.0;
    Ok(Capacity {
        phases,
        memory_bytes,
        hosts,
        limited_by,
        // What is free of charge is held without limit.
        viewers_per_host: if share > 0.0 { whole(viewers / share) } else { u64::MAX },
        push_nic_s: host.nic_gbit.map(|gbit| push_bits / (gbit * 1e9) / float(hosts)),
        push_cpu_s: viewers * costs.delivery_cpu_us / 1e6 / (host.cores * float(hosts)),
        resources,
    })
}

fn check(wanted: &Wanted, host: &Host) -> Result<(), String> {
    if wanted.viewers == 0 {
        return Err("0 viewers need nothing: ask for 1 at least".to_owned());
    }
    let positive = [
        ("the time to join", wanted.join_s),
        ("the interval of heartbeats", wanted.heartbeat_s),
        ("the window of a question", wanted.window_ms),
        ("cores of a host", host.cores),
        ("memory of a host", host.memory_bytes),
        ("the NIC's Gbit/s", host.nic_gbit.unwrap_or(1.0)),
        ("what of a host may be used", 100.0 - host.headroom_percent),
    ];
    match positive.iter().find(|(_, number)| number.is_nan() || *number <= 0.0) {
        Some((what, number)) => Err(format!("{what} is {number}, and must be more than 0")),
        None => Ok(()),
    }
}

/// The first two go on all the time.
fn phases(costs: &Costs, wanted: &Wanted) -> Vec<PhaseNeed> {
    let viewers = float(wanted.viewers);
    let gbit = |per_s: f64, frame: u64| per_s * float(wire_bytes(frame)) * 8.0 / 1e9;
    let need = |phase, per_s: f64, cpu_us: f64, nic_gbit| PhaseNeed {
        phase,
        cores: per_s * cpu_us / 1e6,
        nic_gbit,
    };
    let pushes = viewers / (wanted.window_ms / 1e3);
    let sends_each = wanted.chats_per_s.min(SWEEPS_PER_WINDOW / (wanted.window_ms / 1e3));
    let sends = viewers * sends_each;
    let shared = if sends_each > 0.0 { wanted.chats_per_s / sends_each } else { 0.0 };
    let send_bytes = whole((shared * float(costs.chat_frame_bytes)).ceil());
    let answers = wanted.answers_per_s;
    let answer_frame = costs.answer_frame_bytes.max(costs.reply_frame_bytes);
    vec![
        need("heartbeats", viewers / wanted.heartbeat_s, costs.heartbeat_cpu_us, 0.0),
        need("chat", sends, costs.chat_send_cpu_us, gbit(sends, send_bytes)),
        need("join", viewers / wanted.join_s, costs.connect_cpu_us, 0.0),
        need("question", pushes, costs.delivery_cpu_us, gbit(pushes, costs.question_frame_bytes)),
        need("answers", answers, costs.answer_cpu_us, gbit(answers, answer_frame)),
    ]
}

/// Counts are far below 2⁵³, where doubles are exact; the nearest is good enough above.
fn float(number: u64) -> f64 {
    number as f64
}

/// The whole part of a number that is not negative; what is larger than the largest is the largest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floats saturate")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        connect_cpu_us: 36.0,
        heartbeat_cpu_us: 10.0,
        delivery_cpu_us: 5.0,
        answer_cpu_us: 10.0,
        chat_send_cpu_us: 1.0,
        user_bytes_per_connection: 200.0,
        kernel_bytes_per_connection: 3_800.0,
        question_frame_bytes: 910,
        chat_frame_bytes: 160,
        answer_frame_bytes: 35,
        reply_frame_bytes: 110,
    };
    const WANTED: Wanted = Wanted {
        viewers: 1_000_000,
        join_s: 180.0,
        heartbeat_s: 20.0,
        window_ms: 500.0,
        answers_per_s: 300_000.0,
        chats_per_s: 1.0,
    };
    const HOST: Host =
        Host { cores: 16.0, memory_bytes: 64e9, nic_gbit: Some(25.0), headroom_percent: 0.0 };

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} instead of {b}");
    }

    #[test]
    fn segments_have_headers() {
        for (payload, wire) in
            [(0, 90), (1, 91), (1_448, 1_538), (1_449, 1_629), (2_896, 3_076), (600, 690)]
        {
            assert_eq!(wire_bytes(payload), wire, "{payload} bytes");
        }
    }

    #[test]
    fn a_million_viewers() {
        let found = capacity(&COSTS, &WANTED, &HOST).unwrap();
        let cores: Vec<(&str, f64)> =
            found.phases.iter().map(|need| (need.phase, need.cores)).collect();
        for ((phase, cores), (expected, amount)) in cores.into_iter().zip([
            ("heartbeats", 0.5),
            ("chat", 1.0),
            ("join", 0.2),
            ("question", 10.0),
            ("answers", 3.0),
        ]) {
            assert_eq!(phase, expected);
            near(cores, amount);
        }
        // 1,000 bytes on the wire to a million within half a second, and 250 of chat each second.
        near(found.phases[3].nic_gbit, 16.0);
        near(found.phases[1].nic_gbit, 2.0);
        let [cores, memory, nic] = found.resources.as_slice() else { panic!("three") };
        assert_eq!((cores.phase, nic.phase), ("question", "question"));
        near(cores.amount, 11.5);
        near(memory.amount, 4e9);
        near(nic.amount, 18.0);
        assert_eq!((found.hosts, found.limited_by), (1, Resource::Nic));
        assert_eq!(found.viewers_per_host, 1_388_888);
        near(found.push_nic_s.unwrap(), 0.32);
        near(found.push_cpu_s, 5.0 / 16.0);
    }

    #[test]
    fn chat_messages_share_sends() {
        // Four sends a second of five messages each: 4 × (5 × 160 + 90) bytes.
        let wanted = Wanted { chats_per_s: 20.0, ..WANTED };
        let chat = capacity(&COSTS, &wanted, &HOST).unwrap().phases[1];
        near(chat.cores, 4.0);
        near(chat.nic_gbit, 28.48);
        let silence = Wanted { chats_per_s: 0.0, ..WANTED };
        let chat = capacity(&COSTS, &silence, &HOST).unwrap().phases[1];
        near(chat.cores + 1.0, 1.0);
        near(chat.nic_gbit + 1.0, 1.0);
    }

    #[test]
    fn what_limits_first_depends_on_the_host() {
        let limited = |host: Host| {
            let found = capacity(&COSTS, &WANTED, &host).unwrap();
            (found.limited_by, found.hosts)
        };
        assert_eq!(limited(Host { cores: 4.0, ..HOST }), (Resource::Cores, 3));
        assert_eq!(limited(Host { memory_bytes: 1e9, ..HOST }), (Resource::Memory, 4));
        assert_eq!(limited(Host { nic_gbit: Some(1.0), ..HOST }), (Resource::Nic, 18));
        assert_eq!(limited(Host { nic_gbit: None, ..HOST }), (Resource::Cores, 1));
        // A half that may not be used doubles the need.
        assert_eq!(limited(Host { headroom_percent: 50.0, ..HOST }), (Resource::Nic, 2));
    }

    #[test]
    fn hosts_share_a_push() {
        let found = capacity(&COSTS, &WANTED, &Host { cores: 4.0, ..HOST }).unwrap();
        near(found.push_nic_s.unwrap(), 0.32 / 3.0);
        near(found.push_cpu_s, 5.0 / 12.0);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (wanted, host, expected) in [
            (Wanted { viewers: 0, ..WANTED }, HOST, "0 viewers"),
            (Wanted { join_s: 0.0, ..WANTED }, HOST, "the time to join is 0"),
            (Wanted { window_ms: f64::NAN, ..WANTED }, HOST, "the window of a question is NaN"),
            (WANTED, Host { cores: -1.0, ..HOST }, "cores of a host is -1"),
            (WANTED, Host { headroom_percent: 100.0, ..HOST }, "what of a host may be used is 0"),
        ] {
            let refused = capacity(&COSTS, &wanted, &host).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn numbers_beyond_measure_saturate() {
        let wanted = Wanted { viewers: u64::MAX, ..WANTED };
        let costs = Costs { question_frame_bytes: u64::MAX, ..COSTS };
        let found = capacity(&costs, &wanted, &HOST).unwrap();
        assert_eq!((found.hosts, found.limited_by), (u64::MAX, Resource::Nic));
        let free = Costs {
            connect_cpu_us: 0.0,
            heartbeat_cpu_us: 0.0,
            delivery_cpu_us: 0.0,
            answer_cpu_us: 0.0,
            chat_send_cpu_us: 0.0,
            user_bytes_per_connection: 0.0,
            kernel_bytes_per_connection: 0.0,
            ..COSTS
        };
        let found = capacity(&free, &wanted, &Host { nic_gbit: None, ..HOST }).unwrap();
        assert_eq!((found.hosts, found.viewers_per_host), (1, u64::MAX));
    }
}
