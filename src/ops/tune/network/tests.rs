use super::*;
use std::path::Path;

const TC_GOOD: &str = r#"[{"kind":"mq","handle":"0:","root":true,"options":{}},
    {"kind":"fq","handle":"0:","parent":":1","options":{"limit":1048576,"flow_limit":64}},
    {"kind":"fq","handle":"0:","parent":":2","options":{"limit":"1048576p","flow_limit":"64p"}}]"#;

const GOOD: &[(&str, &str)] = &[
    ("sys/devices/system/cpu/online", "0-1"),
    ("sys/class/net/eth0/device/msi_irqs/40", ""),
    ("sys/class/net/eth0/device/msi_irqs/41", ""),
    ("sys/class/net/eth0/operstate", "up"),
    ("sys/class/net/eth0/speed", "25000"),
    ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
    ("sys/class/net/eth0/queues/rx-1/rps_cpus", "00000000,00000000"),
    ("sys/class/net/eth0/queues/tx-0/xps_cpus", "1"),
    ("sys/class/net/eth0/queues/tx-1/xps_cpus", "00000000,00000002"),
    ("sys/class/net/eth0/napi_defer_hard_irqs", "10"),
    ("sys/class/net/eth0/gro_flush_timeout", "20000"),
    ("sys/class/net/lo/operstate", "unknown"),
    ("sys/class/net/eth1/device/x", ""),
    ("sys/class/net/eth1/operstate", "down"),
    ("proc/irq/40/smp_affinity_list", "0"),
    ("proc/irq/41/smp_affinity_list", "1"),
    ("sys/class/net/eth0/device/msi_irqs/42", ""),
    ("proc/irq/42/smp_affinity_list", "0-1"),
    ("proc/irq/42/eth0/x", ""),
    ("proc/irq/41/mlx5_comp1@pci:0000:5e:00.0/x", ""),
    ("proc/12/comm", "tidegate"),
    ("commands/tc-eth0", TC_GOOD),
];

fn plant(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, text).expect("written");
}

fn planted(changes: &[(&str, &str)]) -> (tempfile::TempDir, HostFiles) {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in GOOD.iter().chain(changes) {
        plant(folder.path(), path, text);
    }
    let host = HostFiles::new(folder.path());
    (folder, host)
}

fn not_fine(changes: &[(&str, &str)]) -> Vec<(String, State, String)> {
    let (_folder, host) = planted(changes);
    let profile = Profile::new(ProfileName::Large, Some(25));
    let checks = network(&profile, &host, fastest_gbit(&host)).into_iter();
    let bad = checks.filter(|it| !matches!(it.state, State::Fine));
    bad.map(|it| (it.name, it.state, it.current)).collect()
}

/// What a good host says where it has no connection tracking.
fn untracked() -> (String, State, String) {
    let name = "connection tracking".to_owned();
    (name, State::NotHere, "connections are not tracked".to_owned())
}

#[test]
fn a_good_network_is_fine() {
    assert_eq!(not_fine(&[]), [untracked()]);
}

#[test]
fn each_fault_is_found_alone() {
    let pfifo = r#"[{"kind":"pfifo_fast","root":true,"options":{}}]"#;
    let small = r#"[{"kind":"fq","root":true,"options":{"limit":10000}}]"#;
    for (path, text, name, state, current) in [
        ("sys/class/net/eth0/speed", "-1", "speed of the NIC", State::Unknown, "no NIC says"),
        ("proc/99/comm", "irqbalance", "irqbalance", State::Wrong, "it runs"),
        ("commands/tc-eth0", pfifo, "eth0: queueing discipline", State::Wrong, "pfifo_fast"),
        ("commands/tc-eth0", small, "eth0: queueing discipline", State::Wrong, "limit 10000"),
        ("commands/tc-eth0", "fq", "eth0: queueing discipline", State::Unknown, "too old"),
        ("commands/tc-eth0", "[]", "eth0: queueing discipline", State::Unknown, "shows no"),
        ("sys/devices/system/cpu/online", "0-3", "eth0: receive queues", State::Wrong, "2 for 4"),
        (
            "sys/class/net/eth0/queues/tx-1/xps_cpus",
            "3",
            "eth0: transmit steering",
            State::Wrong,
            "1 of 2",
        ),
        (
            "sys/class/net/eth0/queues/tx-1/xps_cpus",
            "x",
            "eth0: transmit steering",
            State::Unknown,
            "",
        ),
        (
            "sys/class/net/eth0/queues/rx-1/rps_cpus",
            "3",
            "eth0: receive steering",
            State::Wrong,
            "on",
        ),
        ("proc/irq/41/smp_affinity_list", "0-1", "eth0: interrupts", State::Wrong, "1 of 2"),
        (
            "sys/class/net/eth0/gro_flush_timeout",
            "0",
            "eth0: deferred interrupts",
            State::Advice,
            "",
        ),
    ] {
        let mut found = not_fine(&[(path, text)]);
        found.retain(|it| *it != untracked());
        let [(what, how, is)] = found.as_slice() else { panic!("{path} {text}: {found:?}") };
        assert_eq!((what.as_str(), *how), (name, state), "{found:?}");
        assert!(is.contains(current), "{is}");
    }
}

#[test]
fn connection_tracking() {
    let max = "proc/sys/net/netfilter/nf_conntrack_max";
    let count = "proc/sys/net/netfilter/nf_conntrack_count";
    for (changes, state) in [
        (&[(max, "262144"), (count, "17")][..], State::Wrong),
        (&[(max, "262144"), (count, "0")], State::Unknown),
        (&[(max, "2000000"), (count, "17")], State::Fine),
        (&[(max, "what")], State::Unknown),
        (
            &[(max, "262144"), (count, "17"), ("commands/nft-notrack", "tcp dport 8090 notrack")],
            State::Fine,
        ),
        (&[(max, "262144"), (count, "17"), ("commands/nft-notrack", "table inet x")], State::Wrong),
    ] {
        let (_folder, host) = planted(changes);
        let check = conntrack(&Profile::new(ProfileName::Large, None), &host);
        assert_eq!(check.state, state, "{changes:?}: {check:?}");
    }
}

#[test]
fn speeds() {
    let (_folder, host) = planted(&[]);
    assert_eq!((nics(&host), fastest_gbit(&host)), (vec!["eth0".to_owned()], Some(25)));
    let (_folder, host) =
        planted(&[("sys/class/net/eth1/operstate", "up"), ("sys/class/net/eth1/speed", "100000")]);
    assert_eq!(fastest_gbit(&host), Some(100));
}

#[test]
fn a_host_without_nics_is_told_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = HostFiles::new(folder.path());
    let checks = network(&Profile::new(ProfileName::Small, None), &host, Some(10));
    let nics = checks.iter().find(|check| check.name == "NICs").expect("said");
    assert_eq!(nics.state, State::NotHere);
}

#[test]
fn a_load_generator_needs_fq_and_no_room() {
    let small = r#"[{"kind":"fq","root":true,"options":{"limit":10000}}]"#;
    assert_eq!(judge_queueing(small, 0).0, State::Fine);
    assert_eq!(judge_queueing(small, 10_001).0, State::Wrong);
}
