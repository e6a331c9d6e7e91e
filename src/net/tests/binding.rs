//! Listeners: what is inherited, what is refused and in which words.

use std::net::TcpStream;

use socket2::SockRef;

use super::*;
use crate::net::BindError;

#[test]
fn a_port_in_use_is_refused_even_where_it_could_be_shared() {
    let first = Listener::bind_all(&ListenSettings::new(loopback()), 2).expect("bind");
    assert_eq!(first[0].address(), first[1].address(), "one port for all shards");
    let address = first[0].address();
    let error = Listener::bind_all(&ListenSettings::new(address), 1).expect_err("taken");
    assert!(matches!(error, BindError::InUse(taken) if taken == address), "{error}");
    assert!(error.to_string().contains("already in use"), "{error}");
    drop(first);
    Listener::bind_all(&ListenSettings::new(address), 2).expect("free again");
}

#[test]
fn a_foreign_address_is_refused() {
    // TEST-NET-3 (RFC 5737) is nobody's.
    let address: SocketAddr = ([203, 0, 113, 7], 0).into();
    let error = Listener::bind_all(&ListenSettings::new(address), 1).expect_err("not ours");
    assert!(matches!(error, BindError::NoSuchAddress(_)), "{error}");
    assert!(error.to_string().contains("203.0.113.7"), "{error}");
}

#[test]
fn options_are_set_where_they_are_inherited_from() {
    let (listener, _) = listener(&ListenSettings::new(loopback()));
    let socket = SockRef::from(listener.socket());
    assert!(socket.tcp_nodelay().expect("option"));
    assert!(socket.reuse_port().expect("option"));
    assert_eq!(socket.tcp_notsent_lowat().expect("option"), 16_384);
    // The kernel doubles what is asked, for its own book-keeping (socket(7)).
    assert_eq!(socket.send_buffer_size().expect("option"), 2 * 64 * 1024);
}

#[test]
fn steering_by_cpu_brings_each_client_to_one_listener() {
    let steered = ListenSettings { steer_by_cpu: true, ..ListenSettings::new(loopback()) };
    let listeners = Listener::bind_all(&steered, 2).expect("bind");
    let address = listeners[0].address();
    let mut planes: Vec<Plane> = listeners
        .into_iter()
        .map(|listener| Plane::new(settings(), Some(listener)).expect("a plane"))
        .collect();
    let clock = clock();
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    for core in cores {
        let before: Vec<u64> = planes.iter().map(|plane| plane.counters().accepts).collect();
        // On loopback the CPU that sends is the one that receives.
        let clients = std::thread::spawn(move || -> Vec<TcpStream> {
            core_affinity::set_for_current(core);
            (0..50).map(|_| TcpStream::connect(address).expect("connect")).collect()
        });
        let clients = clients.join().expect("connected");
        let mut counts = Vec::new();
        until("all accepts", || {
            for plane in &mut planes {
                plane.turn(&clock, TurnLimits::default(), &mut |_| {});
            }
            let now = planes.iter().map(|plane| plane.counters().accepts);
            counts = now.zip(&before).map(|(now, before)| now - before).collect();
            counts.iter().sum::<u64>() == clients.len() as u64
        });
        assert_eq!(counts[core.id % 2], 50, "core {}: {counts:?}", core.id);
    }
}

#[test]
fn shards_share_the_clients_of_one_port() {
    let listeners = Listener::bind_all(&ListenSettings::new(loopback()), 3).expect("bind");
    let address = listeners[0].address();
    let mut planes: Vec<Plane> = listeners
        .into_iter()
        .map(|listener| Plane::new(settings(), Some(listener)).expect("a plane"))
        .collect();
    let clients: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(address).expect("connect")).collect();
    let clock = clock();
    until("all accepts", || {
        for plane in &mut planes {
            plane.turn(&clock, TurnLimits::default(), &mut |_| {});
        }
        planes.iter().map(|plane| plane.counters().accepts).sum::<u64>() == clients.len() as u64
    });
    for plane in &planes {
        let accepts = plane.counters().accepts;
        assert!((40..=160).contains(&accepts), "{accepts} of 300 came to one of three");
    }
}
