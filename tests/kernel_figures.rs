//! What the kernel does to connections is provoked, and seen on `/metrics`: sockets that clients have
//! closed and nobody accepted (CLOSE_WAIT), a queue of newcomers that is full, what lies unread
//! (Recv-Q) and unacknowledged (Send-Q), retransmissions behind a packet filter, and packets on a line.
//!
//! All of it happens in a network namespace of the test's own, which needs root, ip and nft:
//! `cargo test --test kernel_figures -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod serving;

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use client::until;
use serving::Serving;

const CHILD: &str = "TIDEGATE_TEST_KERNEL_FIGURES";
/// One listener, so that its queue is what is filled.
const CONFIG: &str = "
shards = 1
[limits]
connections_max = 2
[net]
backlog = 8
";
const BACKLOG: u64 = 8;

#[test]
#[ignore = "makes a network namespace: run it with --ignored, as root"]
fn what_the_kernel_does_is_seen_on_the_endpoint() {
    let output = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_namespace", "--ignored", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("unshare is part of util-linux");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status();
    assert!(status.is_ok_and(|status| status.success()), "{command}: root is needed, ip and nft");
}

/// Connects as a client that the gateway has no room for: it waits in the listener's queue.
fn waits(address: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, Duration::from_millis(300))
}

/// The child of the test above; by itself it does nothing.
#[tokio::test]
#[ignore = "the child of another test"]
async fn in_a_namespace() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    run("ip link set lo up");
    let serving = Serving::start_with("127.0.0.1:0", &[], CONFIG);
    let metric = |name: &str| serving.metric(name);
    // Both places are taken: whoever comes now is the kernel's.
    let mut member = serving.in_room(1).await;
    let second = serving.in_room(2).await;

    let mut waiting: Vec<TcpStream> = (0..5).map(|_| waits(serving.clients).unwrap()).collect();
    waiting[4].write_all(&[b'x'; 1_000]).unwrap();
    for stream in &waiting[..3] {
        stream.shutdown(Shutdown::Both).unwrap();
    }
    let close_wait = "tidegate_sockets_in_state{state=\"close_wait\"}";
    until("three that clients have closed, of five that wait", || {
        metric(close_wait) == 3 && metric("tidegate_accept_backlog") == 5
    });
    until("what came of one of them is unread", || {
        metric("tidegate_receive_queue_bytes_sum") >= 1_000
    });

    let before = metric("tidegate_host_tcp_listen_overflows_total");
    assert_eq!(metric("tidegate_accept_backlog_max"), BACKLOG);
    while let Ok(stream) = waits(serving.clients) {
        waiting.push(stream);
        assert!(waiting.len() < 20, "the queue is never full");
    }
    until("the queue is full, and somebody was turned away", || {
        metric("tidegate_accept_backlog_longest") > BACKLOG
            && metric("tidegate_host_tcp_listen_overflows_total") > before
    });

    let before = metric("tidegate_host_tcp_segments_retransmitted_total");
    let lines = "tidegate_interface_packets_total{interface=\"lo\",direction=\"received\"}";
    let packets = metric(lines);
    run("nft add table ip way");
    run("nft add chain ip way in { type filter hook input priority 0 ; }");
    run(&format!("nft add rule ip way in tcp sport {} drop", serving.clients.port()));
    member.request("say", json!({"chat": {"text": "nobody hears this yet"}})).await;
    until("what the gateway says is sent again, and lies unacknowledged", || {
        metric("tidegate_host_tcp_segments_retransmitted_total") >= before + 2
            && metric("tidegate_send_queue_bytes_sum") > 0
    });
    run("nft delete table ip way");
    let answer = member.until_response("say").await;
    assert!(answer["chatPublished"].is_object(), "{answer}");
    until("packets are counted by their line", || metric(lines) > packets);

    // Who waited is let in, and what clients had closed is closed.
    drop((member, second, waiting));
    until("nothing is left", || {
        metric(close_wait) == 0
            && metric("tidegate_accept_backlog") == 0
            && metric("tidegate_connections{shard=\"0\"}") == 0
    });
    serving.signal("-TERM");
    assert_eq!(serving.end().0, Some(0));
}
