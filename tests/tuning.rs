//! `tidegate tune` and the scripts of `tuning/` as an operator meets them. What changes a host is tried in
//! a network namespace that the test makes: that needs root, and is asked for by name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::process::Command;

use expect_test::expect;
use serde_json::Value;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Status, standard output and standard error.
fn run(program: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn script(name: &str, arguments: &[&str]) -> (i32, String, String) {
    let path = root().join("tuning").join(name);
    run("bash", &[&[path.to_str().unwrap()], arguments].concat())
}

fn plant(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A host with 2 cores on which everything is as the profile 100k says.
fn good_host() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (status, profile, _) =
        run(TIDEGATE, &["tune", "print", "--profile", "100k", "--nic-gbit", "10"]);
    assert_eq!(status, 0);
    for line in profile.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (key, value) = line.split_once(" = ").unwrap();
        let key = key.trim_start_matches('-').replace('.', "/");
        plant(folder.path(), &format!("proc/sys/{key}"), value);
    }
    for (path, text) in [
        ("proc/sys/kernel/osrelease", "6.18.4"),
        ("proc/sys/kernel/io_uring_disabled", "0"),
        ("proc/self/limits", "Max open files 1024 1048576\nMax locked memory unlimited unlimited"),
        ("proc/meminfo", "MemTotal: 4000000 kB"),
        ("sys/devices/system/cpu/online", "0-1"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never"),
        ("sys/class/net/eth0/device/msi_irqs/40", ""),
        ("sys/class/net/eth0/device/msi_irqs/41", ""),
        ("sys/class/net/eth0/device/msi_irqs/42", ""),
        ("sys/class/net/eth0/speed", "10000"),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
        ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0"),
        ("sys/class/net/eth0/queues/tx-0/xps_cpus", "1"),
        ("sys/class/net/eth0/queues/tx-1/xps_cpus", "2"),
        ("sys/class/net/eth0/napi_defer_hard_irqs", "10"),
        ("sys/class/net/eth0/gro_flush_timeout", "20000"),
        ("proc/irq/40/smp_affinity_list", "0"),
        ("proc/irq/41/smp_affinity_list", "0"),
        ("proc/irq/42/smp_affinity_list", "1"),
        ("proc/irq/40/eth0/x", ""),
        ("proc/irq/41/eth0-TxRx-0/x", ""),
        ("proc/irq/42/eth0-TxRx-1/x", ""),
        ("commands/tc-eth0", r#"[{"kind":"fq","root":true,"options":{"limit":131072}}]"#),
    ] {
        plant(folder.path(), path, text);
    }
    folder
}

fn check(folder: &Path, more: &[&str]) -> (i32, String, String) {
    let root = folder.to_str().unwrap();
    run(TIDEGATE, &[&["tune", "check", "--profile", "100k", "--root", root], more].concat())
}

#[test]
fn a_host_as_the_profile_says_is_fine() {
    let host = good_host();
    let (status, text, complaints) = check(host.path(), &[]);
    assert_eq!((status, complaints.as_str()), (0, ""), "{text}");
    assert!(text.starts_with("profile 100k: 100000 connections, 10 Gbit/s\n"), "{text}");
    assert!(text.contains("0 wrong, 0 unknown"), "{text}");
}

#[test]
fn one_wrong_value_is_found_and_explained() {
    let host = good_host();
    plant(host.path(), "proc/sys/net/core/somaxconn", "128\n");
    let (status, text, _) = check(host.path(), &[]);
    assert_eq!(status, 1, "{text}");
    let (_, rest) = text.split_once("WRONG    ").unwrap();
    let wrong = rest.split("\n\n").next().unwrap().split("\nnot here").next().unwrap();
    expect![[r#"
        net.core.somaxconn: 128; should be at least 16384
                 why:  connections that wait to be accepted, for each shard's listener. 10,000 connects a second over 4 shards are 2,500; a shard that stands still for a second needs so many, times six for uneven shares.
                 cost: beyond it the client's handshake is not finished: it comes a second later, or three.
                 do:   sysctl -w net.core.somaxconn=16384, and `tidegate tune print` for /etc/sysctl.d; the kernel's own value: 4096"#]]
    .assert_eq(wrong);
    let (status, json, _) = check(host.path(), &["--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, report["verdict"].as_str()), (1, Some("findings")));
    let first = &report["checks"][0];
    assert_eq!((&first["name"], &first["state"]), (&"net.core.somaxconn".into(), &"wrong".into()));
    assert_eq!(first["current"], "128");
}

#[test]
fn what_cannot_be_told_has_a_status_of_its_own() {
    let host = good_host();
    fs::remove_file(host.path().join("proc/sys/net/ipv4/tcp_mem")).unwrap();
    let (status, text, _) = check(host.path(), &[]);
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("unknown  net.ipv4.tcp_mem: it cannot be seen here"), "{text}");
    plant(host.path(), "proc/sys/net/core/somaxconn", "128\n");
    assert_eq!(check(host.path(), &[]).0, 1, "what is wrong comes first");
}

/// Whatever this machine is like, the check says so and ends with a status of its own.
#[test]
fn this_machine_is_checked_in_some_way() {
    for profile in ["100k", "1m", "loadgen"] {
        let (status, json, complaints) =
            run(TIDEGATE, &["tune", "check", "--json", "--profile", profile]);
        assert_eq!(complaints, "");
        let report: Value = serde_json::from_str(&json).unwrap();
        let expected = ["fine", "findings", "cannot_tell"][usize::try_from(status).unwrap()];
        assert_eq!(report["verdict"], expected);
        let checks = report["checks"].as_array().unwrap();
        let ring = checks.iter().find(|check| check["name"] == "io_uring").unwrap();
        assert_eq!(ring["state"], "fine", "tests run where the gateway runs: {ring}");
    }
}

#[test]
fn a_plan_is_printed() {
    let (status, text, _) = run(TIDEGATE, &["tune", "plan", "--viewers", "1000000"]);
    assert!(status == 0 && text.contains("seconds per push"), "{text}");
    let (status, json, _) = run(TIDEGATE, &["tune", "plan", "--viewers", "10", "--json"]);
    let plan: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &plan["needed"]["hosts"]), (0, &1.into()));
    let (status, _, complaints) =
        run(TIDEGATE, &["tune", "plan", "--viewers", "10", "--costs", "/dev/null"]);
    assert!(status == 1 && complaints.contains("stages --json"), "{complaints}");
}

#[test]
fn a_script_says_what_it_would_do_and_does_nothing() {
    let host = good_host();
    let folder = host.path().to_str().unwrap();
    plant(host.path(), "proc/sys/net/core/somaxconn", "128\n");
    plant(host.path(), "proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");
    let sysctl = ["--profile", "100k", "--nic-gbit", "10", "--root", folder];
    expect![[r#"
        # nothing is changed; with --apply, this would be done:
        net.ipv4.tcp_rmem = 4096 16384 262144  # was 4096 131072 6291456
        net.core.somaxconn = 16384  # was 128
    "#]]
    .assert_eq(&script("sysctl.sh", &sysctl).1);
    plant(host.path(), "proc/irq/42/smp_affinity_list", "0-1\n");
    plant(host.path(), "sys/class/net/eth0/queues/rx-1/rps_cpus", "3\n");
    plant(host.path(), "sys/class/net/eth0/queues/tx-1/xps_cpus", "00000000,00000000\n");
    plant(host.path(), "sys/class/net/eth0/gro_flush_timeout", "0\n");
    let nic = ["--device", "eth0", "--connections", "100000", "--root", folder];
    expect![[r#"
        # nothing is changed; with --apply, this would be done:
        # undo: ethtool -G eth0 with what `ethtool -g eth0` says now
        ethtool -G eth0 rx 4096 tx 4096
        # irqbalance would take the interrupts away again; undo: systemctl enable --now irqbalance
        systemctl disable --now irqbalance
        # interrupt 40 (eth0) belongs to no queue
        echo 1 > /proc/irq/42/smp_affinity_list  # undo: echo 0-1
        echo 0 > /sys/class/net/eth0/queues/rx-1/rps_cpus  # undo: echo 3
        echo 2 > /sys/class/net/eth0/queues/tx-1/xps_cpus  # undo: echo 00000000,00000000
        # 100000 connections ÷ 2 queues × 2 packets = 100000; undo: tc qdisc del dev eth0 root
        tc qdisc replace dev eth0 root handle 1: mq
        tc qdisc replace dev eth0 parent 1:1 fq limit 131072 flow_limit 64 buckets 65536
        tc qdisc replace dev eth0 parent 1:2 fq limit 131072 flow_limit 64 buckets 65536
        echo 20000 > /sys/class/net/eth0/gro_flush_timeout  # undo: echo 0
        # set net.steer_by_cpu = true in the gateway's configuration: a connection then goes to the shard of its queue's core
    "#]]
    .assert_eq(&script("nic.sh", &nic).1);
    plant(host.path(), "sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never");
    let cpu = script("cpu.sh", &["--root", folder]).1;
    assert!(cpu.contains("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"), "{cpu}");
    for (name, arguments) in [
        ("sysctl.sh", &["--profile", "2m"][..]),
        ("sysctl.sh", &["--profile", "1m", "--nic-gbit", "fast"]),
        ("sysctl.sh", &["--profile", "100k", "--root", folder, "--apply"]),
        ("nic.sh", &[]),
        ("nic.sh", &["--device", "nothing0"]),
        ("conntrack.sh", &["--port", "65536"]),
        ("cpu.sh", &["--aply"]),
    ] {
        let (status, _, complaints) = script(name, arguments);
        assert!(status == 2 && complaints.starts_with(name), "{name} {arguments:?}: {complaints}");
    }
}

/// Sysctls that a network namespace has of its own are set in one, and one of them wrong.
#[test]
#[ignore = "needs root: it makes a network namespace"]
fn a_wrong_value_planted_in_a_namespace_is_found() {
    let check = r#"
        set -eu
        "$1" tune print --profile 100k | sed -n 's/^-\{0,1\}\(net\.[^ ]*\) = /\1 /p' | while read -r key value; do
            file=/proc/sys/$(echo "$key" | tr . /)
            # A kernel may lack bbr, and what belongs to the whole host is not seen in here.
            [ -e "$file" ] && { echo "$value" >"$file"; } 2>/dev/null || echo "left $key" >&2
        done
        echo before; "$1" tune check --profile 100k --json || true
        echo 1 >/proc/sys/net/ipv4/tcp_slow_start_after_idle
        echo after; "$1" tune check --profile 100k --json && exit 9 || echo "status $?"
    "#;
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", check, "sh", TIDEGATE])
        .output()
        .expect("unshare(1) of util-linux");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "root is needed: {complaints}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let [before_mark, before, after_mark, after, status] = lines.as_slice() else {
        panic!("{text}")
    };
    assert_eq!((*before_mark, *after_mark, *status), ("before", "after", "status 1"));
    let wrong = |json: &str| -> Vec<String> {
        let report: Value = serde_json::from_str(json).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        let found = checks.iter().filter(|it| {
            it["state"] == "wrong" && it["name"].as_str().unwrap().starts_with("net.ipv4.")
        });
        found.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let key = "net.ipv4.tcp_slow_start_after_idle".to_owned();
    assert!(!wrong(before).contains(&key), "{before}");
    let mut expected = wrong(before);
    expected.push(key);
    let mut found = wrong(after);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let report: Value = serde_json::from_str(before).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let fine = checks.iter().filter(|it| it["state"] == "fine");
    let set = fine.filter(|it| it["name"].as_str().unwrap().starts_with("net.ipv4.tcp_")).count();
    assert!(set >= 8, "the namespace has sysctls of its own: {before}");
}

/// Runs a script as root in namespaces of its own, with the scripts of `tuning/` in the working folder, less
/// what belongs to the whole host.
fn in_namespaces(commands: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sysctl")).unwrap();
    for name in
        ["common.sh", "sysctl.sh", "conntrack.sh", "sysctl/gateway.conf", "sysctl/100k.conf"]
    {
        fs::copy(root().join("tuning").join(name), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("sysctl/host.conf"), "").unwrap();
    let own_folders = "set -eu; mount -t tmpfs none /etc/sysctl.d; mount -t tmpfs none /var/lib;";
    let output = Command::new("unshare")
        .args(["--net", "--mount", "bash", "-c", &format!("{own_folders} {commands}")])
        .current_dir(folder.path())
        .output()
        .expect("unshare(1) of util-linux");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "root is needed, and sysctl and nft: {complaints}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs root: it makes a network namespace"]
fn what_was_applied_is_in_force_and_can_be_taken_back() {
    let commands = r#"
        now() { cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/tcp_retries2 /proc/sys/net/ipv4/tcp_rmem; }
        echo 9 >/proc/sys/net/ipv4/tcp_retries2; now
        bash sysctl.sh --profile 100k >/dev/null; now
        bash sysctl.sh --profile 100k --apply >/dev/null; now
        bash sysctl.sh --profile 100k --apply | tail -n 1
        echo 12 >/proc/sys/net/ipv4/tcp_retries2
        bash sysctl.sh --profile 100k --apply >/dev/null; now
        grep -c tcp_retries2 /etc/sysctl.d/60-tidegate.conf
        bash sysctl.sh --undo --apply >/dev/null; now
        ls /etc/sysctl.d /var/lib/tidegate-tuning
        bash sysctl.sh --undo --apply 2>&1 || echo "status $?"
    "#;
    let text = in_namespaces(commands).replace('\t', " ");
    let before = "4096\n9\n";
    let after = "16384\n8\n4096 16384 262144\n";
    let rmem = text.lines().nth(2).unwrap().to_owned();
    let expected = format!(
        "{before}{rmem}\n{before}{rmem}\n{after}# everything is as the profile says\n{after}1\n{before}{rmem}\n\
         /etc/sysctl.d:\n\n/var/lib/tidegate-tuning:\n# applying:\n\
         sysctl.sh: /var/lib/tidegate-tuning/sysctl-before.conf is not there: nothing was applied by this script\n\
         status 2\n"
    );
    assert_eq!(text, expected);
}

#[test]
#[ignore = "needs root and nft: it makes a network namespace"]
fn the_clients_port_is_taken_out_of_tracking_and_put_back() {
    let commands = r#"
        bash conntrack.sh --port 8090 >/dev/null; nft list tables | wc -l
        bash conntrack.sh --port 8090 --apply >/dev/null
        bash conntrack.sh --port 8091 --apply >/dev/null
        nft list table inet tidegate_notrack | sed -n 's/^[[:space:]]*\(tcp .*\)/\1/p'
        bash conntrack.sh --port 8092 --loadgen --apply >/dev/null
        nft list table inet tidegate_notrack | sed -n 's/^[[:space:]]*\(tcp .*\)/\1/p'
        bash conntrack.sh --undo --apply >/dev/null; nft list tables | wc -l
    "#;
    expect![[r#"
        0
        tcp dport 8091 notrack
        tcp sport 8091 notrack
        tcp sport 8092 notrack
        tcp dport 8092 notrack
        0
    "#]]
    .assert_eq(&in_namespaces(commands));
}
