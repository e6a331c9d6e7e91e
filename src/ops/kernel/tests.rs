use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use expect_test::expect;

use super::counters::HostCounters;
use super::sockets::{Answer, Listed, QueueHistogram, SocketFigures, look, request, take};
use super::{KernelFigures, text};

const GROUPS: &str = "\
Tcp: RtoAlgorithm InSegs OutSegs RetransSegs PassiveOpens EstabResets
Tcp: 1 100 200 3 40 5
Udp: InDatagrams
Udp: 9
TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts
TcpExt: 0 6 7 8
";
const DEVICES: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
    lo:    5  1 0 0 0 0 0 0    5  1 0 0 0 0 0 0
";
const SOFTNET: &str = "0000ffff 00000002 00000010 0 0\n00000001 00000001 00000001 0 0\n";
const SOCKETS: &str = "sockets: used 30\nTCP: inuse 7 orphan 2 tw 3 alloc 9 mem 42\n";

fn host() -> HostCounters {
    let mut host = HostCounters::parse(GROUPS, DEVICES, SOFTNET, SOCKETS).expect("well formed");
    host.interfaces[0].speed_bits_per_second = Some(25_000_000_000);
    host
}

/// All that can be seen, as text.
fn shown() -> String {
    let mut queue = QueueHistogram::default();
    for bytes in [0, 1, 256, 257, 2_000_000] {
        queue.note(bytes);
    }
    let sockets = SocketFigures {
        by_state: [1, 0, 0, 4, 0, 0],
        listeners: 2,
        backlog: 9,
        backlog_longest: 8,
        backlog_max: 4_096,
        queues: [queue, QueueHistogram::default()],
        ..SocketFigures::default()
    };
    let figures = KernelFigures {
        looks: 3,
        host: Some(host()),
        sockets: Some(sockets),
        ..KernelFigures::default()
    };
    let mut shown = String::new();
    text::render(&mut shown, &figures);
    shown
}

/// The figures with `part` in their lines.
fn lines(part: &str) -> String {
    shown()
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(part))
        .fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn the_text_of_the_host_and_its_interfaces() {
    expect![[r#"
        tidegate_host_tcp_segments_received_total 100
        tidegate_host_tcp_segments_sent_total 200
        tidegate_host_tcp_segments_retransmitted_total 3
        tidegate_host_tcp_accepts_total 40
        tidegate_host_tcp_resets_total 5
        tidegate_host_tcp_listen_overflows_total 6
        tidegate_host_tcp_listen_drops_total 7
        tidegate_host_tcp_timeouts_total 8
        tidegate_host_softnet_dropped_total 3
        tidegate_host_softnet_squeezed_total 17
        tidegate_host_tcp_time_wait 3
        tidegate_host_tcp_orphans 2
    "#]]
    .assert_eq(&lines("_host_"));
    expect![[r#"
        tidegate_interface_bytes_total{interface="eth0",direction="received"} 1000
        tidegate_interface_bytes_total{interface="eth0",direction="sent"} 2000
        tidegate_interface_packets_total{interface="eth0",direction="received"} 10
        tidegate_interface_packets_total{interface="eth0",direction="sent"} 20
        tidegate_interface_errors_total{interface="eth0",direction="received"} 1
        tidegate_interface_errors_total{interface="eth0",direction="sent"} 3
        tidegate_interface_dropped_total{interface="eth0",direction="received"} 2
        tidegate_interface_dropped_total{interface="eth0",direction="sent"} 4
        tidegate_interface_speed_bits_per_second{interface="eth0"} 25000000000
    "#]]
    .assert_eq(&lines("eth0"));
}

#[test]
fn the_text_of_sockets_and_queues() {
    expect![[r#"
        tidegate_sockets_in_state{state="syn_recv"} 1
        tidegate_sockets_in_state{state="fin_wait1"} 0
        tidegate_sockets_in_state{state="fin_wait2"} 0
        tidegate_sockets_in_state{state="close_wait"} 4
        tidegate_sockets_in_state{state="last_ack"} 0
        tidegate_sockets_in_state{state="closing"} 0
        tidegate_sockets_in_state_truncated 0
    "#]]
    .assert_eq(&lines("_in_state"));
    expect![[r#"
        tidegate_accept_backlog 9
        tidegate_accept_backlog_longest 8
        tidegate_accept_backlog_max 4096
    "#]]
    .assert_eq(&lines("backlog"));
    expect![[r#"
        tidegate_send_queue_bytes_bucket{le="0"} 1
        tidegate_send_queue_bytes_bucket{le="256"} 3
        tidegate_send_queue_bytes_bucket{le="1024"} 4
        tidegate_send_queue_bytes_bucket{le="4096"} 4
        tidegate_send_queue_bytes_bucket{le="16384"} 4
        tidegate_send_queue_bytes_bucket{le="65536"} 4
        tidegate_send_queue_bytes_bucket{le="262144"} 4
        tidegate_send_queue_bytes_bucket{le="1048576"} 4
        tidegate_send_queue_bytes_bucket{le="+Inf"} 5
        tidegate_send_queue_bytes_sum 2000514
        tidegate_send_queue_bytes_count 5
    "#]]
    .assert_eq(&lines("send_queue"));
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let mut shown = String::new();
    text::render(&mut shown, &KernelFigures { errors: 2, ..KernelFigures::default() });
    assert!(shown.contains("tidegate_kernel_look_errors_total 2\n"), "{shown}");
    assert!(!shown.contains("_host_") && !shown.contains("_in_state"), "{shown}");
    for broken in ["", "a\nb\neth0: 1 2 3", "a\nb\nno colon"] {
        assert!(
            HostCounters::parse(GROUPS, broken, SOFTNET, SOCKETS).is_some() == broken.is_empty(),
            "{broken}"
        );
    }
    assert!(HostCounters::parse(GROUPS, DEVICES, "x y z", SOCKETS).is_none());
    assert!(HostCounters::parse(GROUPS, DEVICES, SOFTNET, "UDP: inuse 1").is_none());
}

/// A message of one socket, as the kernel writes it on this machine.
fn message(state: u8, receive_queue: u32, send_queue: u32) -> Vec<u8> {
    let mut bytes = request(2, 0, 80);
    bytes.resize(88, 0);
    bytes[..4].copy_from_slice(&88_u32.to_ne_bytes());
    bytes[17] = state;
    bytes[72..76].copy_from_slice(&receive_queue.to_ne_bytes());
    bytes[76..80].copy_from_slice(&send_queue.to_ne_bytes());
    bytes
}

#[test]
fn answers_are_taken_apart_and_nonsense_is_an_error() {
    let mut bytes = message(8, 4, 0);
    bytes.extend(message(1, 0, 7));
    let mut heard = Vec::new();
    assert_eq!(take(&bytes, |it| heard.push(it)).expect("well formed"), Answer::More);
    let expected = [
        Listed { state: 8, receive_queue: 4, send_queue: 0 },
        Listed { state: 1, receive_queue: 0, send_queue: 7 },
    ];
    assert_eq!(heard, expected);
    let mut done = message(0, 0, 0);
    done[4..6].copy_from_slice(&3_u16.to_ne_bytes());
    assert_eq!(take(&done, |_| ()).expect("well formed"), Answer::Complete);
    let mut refused = message(0, 0, 0);
    refused[4..6].copy_from_slice(&2_u16.to_ne_bytes());
    refused[16..20].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
    let error = take(&refused, |_| ()).expect_err("an error");
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    // A length of nothing would go on for ever.
    let mut endless = message(8, 0, 0);
    endless[..4].copy_from_slice(&0_u32.to_ne_bytes());
    for cut in 1..bytes.len() {
        let is_whole = cut == 88;
        assert_eq!(take(&bytes[..cut], |_| ()).is_ok(), is_whole, "cut at {cut}");
    }
    assert!(take(&endless, |_| ()).is_err());
}

/// The state that is a fault of ours when there are many: the other side closed, we did not.
#[test]
fn a_connection_that_waits_to_be_closed_and_one_in_the_backlog_are_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let mut leaving = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    let (accepted, _) = listener.accept().expect("accepts");
    let mut open = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    let _open_accepted = listener.accept().expect("accepts");
    open.write_all(&[0; 100]).expect("is sent");
    let _waiting = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    leaving.write_all(b"x").expect("is sent");
    drop(leaving);
    let seen = look(port, Default::default()).expect("the kernel lists sockets");
    assert_eq!(seen.by_state[3], 1, "close_wait: {seen:?}");
    assert_eq!((seen.listeners, seen.backlog, seen.backlog_longest), (1, 1, 1), "{seen:?}");
    assert!(seen.backlog_max >= 1 && !seen.is_truncated, "{seen:?}");
    // Two of the three open ends on this port, of which one has 100 bytes to read.
    assert_eq!(seen.queues[1].counts.iter().sum::<u64>(), 2, "{seen:?}");
    assert_eq!(seen.queues[1].sum_bytes, 100, "{seen:?}");
    drop(accepted);
    let again = look(port, seen.queues).expect("the kernel lists sockets");
    assert_eq!(again.by_state[3], 0, "{again:?}");
    assert_eq!(again.queues[1].counts.iter().sum::<u64>(), 4, "looks add up: {again:?}");
}

#[test]
fn this_host_is_understood() {
    let host = HostCounters::read().expect("Linux with /proc");
    assert!(host.counters.iter().all(Option::is_some), "{host:?}");
    assert!(host.interfaces.iter().any(|it| it.name == "lo"), "{host:?}");
}
