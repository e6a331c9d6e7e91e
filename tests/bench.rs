//! The bench runs small: every subject works, and what it reports fits together. Speed is not looked
//! at.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

use serde_json::Value;

fn bench(line: &str) -> Output {
    // Where there is one core only, server and load share it.
    let cores = core_affinity::get_core_ids().unwrap();
    let (first, last) = (cores[0].id.to_string(), cores[cores.len() - 1].id.to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-bench"));
    command.args(line.split_whitespace());
    if !line.contains("-core") && !line.starts_with("ledger") {
        command.args(["--server-core", &first, "--client-core", &last]);
    }
    command.output().unwrap()
}

fn report(line: &str) -> Value {
    let output = bench(&format!("{line} --json"));
    let (text, complaints) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}: {complaints}");
    let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(report["subject"], line.split(' ').next().unwrap());
    for field in ["cpu", "cores", "memory_mib", "kernel", "file_limit", "version", "commit"] {
        assert!(!report["machine"][field].is_null(), "the machine's {field}");
    }
    report
}

fn positive(report: &Value, fields: &[&str]) {
    for field in fields {
        assert!(report[field].as_f64().unwrap() > 0.0, "{field} of {report}");
    }
}

fn rises(coverage: &Value) {
    let at = |field: &str| coverage[field].as_f64().unwrap();
    assert!(at("p50") > 0.0, "{coverage}");
    assert!(
        at("p50") <= at("p99") && at("p99") <= at("p999") && at("p999") <= at("p100"),
        "{coverage}"
    );
}

#[test]
fn fanout_reaches_everybody() {
    for floor in ["send", "ring"] {
        let report = report(&format!("fanout --connections 200 --repetitions 2 --floor {floor}"));
        // Two repetitions of twenty broadcasts.
        assert_eq!(report["deliveries"], 2 * 20 * 200, "{report}");
        // No message of the protocol has exactly 138 bytes.
        assert_eq!((&report["payload_bytes"], &report["frame_bytes"]), (&138.into(), &139.into()));
        positive(&report, &["server_cpu_us_per_delivery", "floor_cpu_us_per_delivery"]);
        positive(
            &report,
            &[
                "burst_cpu_us_per_delivery",
                "floor_burst_cpu_us_per_delivery",
                "client_cpu_us_per_delivery",
            ],
        );
        let of = |field: &str| report[field].as_f64().unwrap();
        assert!(of("ratio_min") <= of("ratio") && of("ratio") <= of("ratio_max"), "{report}");
        assert!(of("fairness_rank_p99_to_p50") >= 1.0, "{report}");
        rises(&report["coverage_ms"]);
        rises(&report["floor_coverage_ms"]);
    }
}

#[test]
fn chat_reaches_everybody_whole() {
    // One message a frame would be about 280 bytes. How many share one depends on how busy the host is.
    for (compress, wire_max) in [("", 230.0), (" --compress", 190.0)] {
        let report = report(&format!("chat --connections 100 --repetitions 1{compress}"));
        assert_eq!(
            (&report["lost"], &report["messages"], &report["deliveries"]),
            (&0.into(), &60.into(), &6_000.into()),
            "{report}"
        );
        positive(&report, &["server_cpu_us_per_message", "floor_cpu_us_per_message", "cpu_ratio"]);
        let wire = report["wire_bytes_per_message"].as_f64().unwrap();
        assert!(wire > 50.0 && wire < wire_max, "{report}");
    }
}

#[test]
fn another_core_receives_where_that_is_allowed() {
    let cores = core_affinity::get_core_ids().unwrap();
    let core = cores[cores.len() - 1].id;
    let output = bench(&format!("fanout --connections 200 --repetitions 2 --rps {core} --json"));
    let (text, complaints) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&report["rps_core"], &report["packets_dropped"]), (&core.into(), &0.into()));
        positive(&report, &["server_cpu_us_per_delivery", "floor_cpu_us_per_delivery"]);
        return;
    }
    // One core only, no rights to make a namespace, or a machine too busy to believe the figure.
    let reasons = ["not the server's", "network namespace", "could not be raised", "were dropped"];
    assert!(reasons.iter().any(|reason| complaints.contains(reason)), "{complaints}");
    assert!(text.is_empty());
}

#[test]
fn ratios_at_several_numbers_of_connections() {
    let report = report("scale --at 100,300 --repetitions 2");
    let steps = report["steps"].as_array().unwrap();
    let numbers: Vec<u64> =
        steps.iter().map(|step| step["connections"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [100, 300]);
    for step in steps {
        positive(step, &["server_cpu_us_per_delivery", "floor_cpu_us_per_delivery", "ratio"]);
        assert_eq!((&step["broadcasts"], &step["interleaved"]), (&100.into(), &true.into()));
    }
    assert!(report["largest_to_smallest"].as_f64().unwrap() >= 1.0, "{report}");
}

#[test]
fn the_high_lane_reaches_everybody_during_a_flood() {
    let report = report("flood --connections 100 --rate 100 --repetitions 2");
    positive(&report, &["ratio", "low_published_per_s", "low_deliveries_per_s", "client_share"]);
    rises(&report["alone_ms"]);
    rises(&report["flood_ms"]);
    assert!(report["frame_bytes"].as_u64().unwrap() >= 600, "{report}");
}

#[test]
fn overload_thins_for_everybody_alike_and_loses_no_question() {
    let report = report("rooms overload --connections 200 --repetitions 1");
    assert_eq!((&report["high_lost"], &report["questions"]), (&0.into(), &2.into()), "{report}");
    assert_eq!(report["low"]["unexplained"], 0, "{report}");
    let of = |field: &str| report[field].as_f64().unwrap();
    assert!(of("loss_mean") > 0.2 && of("loss_max") - of("loss_min") < 0.05, "{report}");
    rises(&report["silence_ms"]);
    rises(&report["overload_ms"]);
}

#[test]
fn readers_that_stopped_recover_with_counts_that_add_up() {
    let report = report("rooms slow --connections 200 --slow 20 --seconds 3");
    assert_eq!((&report["recovered"], &report["closed"]), (&20.into(), &0.into()), "{report}");
    let delivered = report["low"]["delivered"].as_u64().unwrap();
    assert_eq!(delivered, 20 * report["low_owed_each"].as_u64().unwrap(), "{report}");
}

#[test]
fn whoever_returns_has_the_question_again() {
    for token in ["hs256", "es256"] {
        let line = format!("rooms return --staying 50 --returning 50,100 --token {token}");
        let report = report(&format!("{line} --repetitions 1"));
        for (step, count) in report["steps"].as_array().unwrap().iter().zip([50, 100]) {
            assert_eq!((&step["returning"], &step["resumed"]), (&count.into(), &count.into()));
            positive(step, &["server_cpu_us_per_return"]);
            rises(&step["back_ms"]);
        }
    }
}

#[test]
fn a_crowd_costs_a_bounded_number_of_messages() {
    let report = report("rooms crowd --staying 20 --comers 1000 --repetitions 1");
    let of = |field: &str| report[field].as_u64().unwrap();
    assert!(of("messages_per_member_max") <= of("messages_bound"), "{report}");
    assert_eq!((of("joins_and_leaves"), of("online_at_end")), (2_000, 20), "{report}");
}

#[test]
fn idle_connections_are_players() {
    let report = report("idle --connections 200 --repetitions 1");
    assert_eq!((&report["connected"], &report["players"]), (&200.into(), &200.into()));
    positive(
        &report,
        &["server_rss_bytes_per_connection", "connects_per_s", "floor_connects_per_s"],
    );
}

#[test]
fn no_answer_is_lost() {
    let report = report("million --connections 200 --countdown-ms 20000");
    for field in [
        "connected",
        "delivered",
        "answers",
        "answers_counted_by_gateway",
        "players_counted_by_gateway",
    ] {
        assert_eq!(report[field], 200, "{field} of {report}");
    }
    for field in ["lost", "late", "refused", "closed"] {
        assert_eq!(report[field], 0, "{field} of {report}");
    }
    rises(&report["coverage_ms"]);
    rises(&report["acknowledged_ms"]);
    rises(&report["answer_ms"]);
}

#[test]
fn what_cannot_be_measured_is_said_before_anything_starts() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let taken = taken.local_addr().unwrap().port();
    for (line, expected) in [
        ("fanout --server-core 4096", "there is no such core for this process; choose from ["),
        ("fanout --rps 4096", "take a core that exists and is not the server's"),
        ("scale --at 1000,0", "0 is not in 1..=1000000"),
        ("flood --rate 5000", "5000 is not in 50..=3000"),
        ("idle --client-core 4096", "--client-core 4096: there is no such core"),
        ("fanout --connections 0", "0 is not in 1..=1000000"),
        ("million --connections 1000001", "1000001 is not in 1..=1000000"),
        ("million --repetitions 2", "million runs once"),
        ("fanout --connections 1000000 --floor send", "use --floor ring, or raise the limit"),
        ("idle --gateway /nowhere/tidegate", "no such file; build it, or leave it out"),
        ("stages --viewers 0", "0 is not in 1.."),
        ("stages --server-core 4096", "there is no such core for this process; choose from ["),
        ("stages --rounds 5", "5 is not in 1..=4"),
        ("stages --rounds 3 --gateways 1", "1 is not in 2..=16"),
        ("stages --rounds 4 --clients 9", "9 is not in 10..=20000"),
        ("stages --repetitions 2", "--steps-max and --step-ms say how many"),
        ("stages --connections 9000 --connections-max 8000", "raise that, or ask for fewer"),
    ] {
        let output = bench(line);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && complaints.contains(expected), "{line}: {complaints}");
        assert!(output.stdout.is_empty());
    }
    let output = bench(&format!("fanout --port {taken}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "somebody else's server was measured");
    assert!(complaints.contains("stop what listens there"), "{complaints}");
}

#[test]
fn answers_are_all_acknowledged() {
    let report = report("answers --connections 100 --rate 2000 --repetitions 2");
    assert_eq!((&report["lost"], &report["refused"]), (&0.into(), &0.into()), "{report}");
    // Two repetitions of as many questions as a show has room for, and three among broadcasts.
    let answers = report["answers"].as_u64().unwrap();
    assert!(answers >= 500 && answers.is_multiple_of(100), "{report}");
    positive(&report, &["server_cpu_us_per_answer", "floor_cpu_us_per_answer", "ratio"]);
    for times in ["ack_ms", "floor_ack_ms", "busy_ack_ms"] {
        let at = |share: &str| report[times][share].as_f64().unwrap();
        assert!(0.0 < at("p50") && at("p50") <= at("p99") && at("p99") <= at("p999"), "{report}");
    }
    // By the gateway's own histogram; nothing if they took longer than that tells apart.
    for field in ["server_ack_p99_ms", "busy_server_ack_p99_ms"] {
        assert!(report[field].is_null() || report[field].as_f64().unwrap() > 0.0, "{report}");
    }
}

#[test]
fn after_a_storm_everybody_is_back() {
    let report = report("connect --connections 100 --repetitions 1 --storm 300");
    let paths: Vec<&Value> =
        report["paths"].as_array().unwrap().iter().map(|it| &it["path"]).collect();
    assert_eq!(paths, ["one_round_trip", "separate_frames"], "{report}");
    positive(&report, &["server_cpu_us_per_connect", "floor_cpu_us_per_connect", "ratio"]);
    let storm = &report["storm"];
    positive(storm, &["in_ms", "gone_ms", "back_ms"]);
    assert_eq!(
        (&storm["connections_at_end"], &storm["sessions_at_end"]),
        (&300.into(), &300.into())
    );
}

#[test]
fn each_interface_is_raised_and_the_capacity_follows() {
    // Whatever this machine does, it holds: how fast it is, is not looked at.
    let report = report(
        "stages --connections 60 --connections-max 240 --step-ms 100 --steps-max 2 --ack-limit-ms 60000 \
         --connect-limit-ms 60000 --window-ms 60000 --rate-min-percent 1",
    );
    let rounds = report["rounds"].as_array().unwrap();
    let interfaces = |round: &Value| round["interfaces"].as_array().unwrap().clone();
    let names = |round| -> Vec<String> {
        interfaces(round).iter().map(|it| it["interface"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&rounds[0]), ["connect", "heartbeat", "question", "answers", "chat"]);
    assert_eq!(names(&rounds[1]), ["everything"]);
    for finding in rounds.iter().flat_map(interfaces) {
        positive(&finding, &["held", "server_cpu_us_per_work", "client_cpu_us_per_work"]);
        assert!(finding["failed"].is_null() && finding["failed_by"].is_null(), "{finding}");
        // One where the first load is the largest that so few clients can make.
        assert!((1..=2).contains(&finding["steps"].as_array().unwrap().len()), "{finding}");
    }
    let everything = &rounds[1]["interfaces"][0]["steps"][1];
    let kinds: Vec<&Value> =
        everything["flows"].as_array().unwrap().iter().map(|flow| &flow["kind"]).collect();
    assert_eq!(kinds, ["connect", "heartbeat", "answer", "chat"], "{everything}");
    assert_eq!(everything["push"]["reached"], 3 * 60, "{everything}");
    let chat = &everything["chat"];
    assert!(
        chat["expected"].as_u64().unwrap() > 0 && chat["expected"] == chat["delivered"],
        "{chat}"
    );
    let needed = &report["capacity"]["needed"];
    positive(needed, &["hosts", "viewers_per_host", "memory_bytes", "push_nic_s", "push_cpu_s"]);
    let phases: Vec<&Value> =
        needed["phases"].as_array().unwrap().iter().map(|it| &it["phase"]).collect();
    assert_eq!(phases, ["heartbeats", "chat", "join", "question", "answers"]);
    positive(&report["capacity"]["on_this_host"], &["viewers_per_host"]);
}

#[test]
fn clients_come_back_from_a_gateway_that_is_drained_and_one_that_is_killed() {
    // How long it takes is not looked at, nor how even so few clients are spread.
    let report = report(
        "stages --rounds 3 --gateways 3 --clients 60 --part-min-percent 30 --back-limit-ms 60000",
    );
    let round = &report["exodus"];
    assert_eq!((&round["held"], &round["failures"]), (&true.into(), &serde_json::json!([])));
    let sum = |parts: &Value| -> u64 {
        parts.as_array().unwrap().iter().map(|part| part.as_u64().unwrap()).sum()
    };
    assert_eq!((sum(&round["parts"]), sum(&round["parts_at_end"])), (60, 60), "{round}");
    assert_eq!((&round["parts_at_end"][0], &round["drained_exit_status"]), (&60.into(), &0.into()));
    for left in ["killed", "drained"] {
        positive(&round[left], &["clients", "back", "unlisted_ms"]);
    }
    assert!(report["chain"].is_null() && report["capacity"].is_null(), "{report}");
}

#[test]
fn a_show_is_played_from_its_file_to_the_proof_of_its_prize() {
    let report = report("stages --rounds 4 --gateways 2 --clients 60");
    let round = &report["chain"];
    assert_eq!((&round["held"], &round["failures"]), (&true.into(), &serde_json::json!([])));
    let gateways = round["gateways"].as_array().unwrap();
    let players: u64 = gateways.iter().map(|it| it["players"].as_u64().unwrap()).sum();
    assert_eq!((gateways.len(), players), (2, 60), "{round}");
    for played in gateways {
        positive(played, &["answers_acknowledged", "winners", "per_head_cents", "ledger_causes"]);
        assert_eq!(
            (&played["violations"], &played["ledger_is_proved"], &played["exit_status"]),
            (&0.into(), &true.into(), &0.into()),
            "{played}"
        );
    }
}

#[test]
fn a_load_that_fails_is_named_with_its_criterion() {
    // Nothing reaches everybody within a millisecond after the command: it comes over HTTP.
    let report = report(
        "stages --rounds 2 --connections 200 --connections-max 400 --step-ms 60 --steps-max 2 --window-ms 1 \
         --ack-limit-ms 60000 --connect-limit-ms 60000 --rate-min-percent 1",
    );
    let finding = &report["rounds"][0]["interfaces"][0];
    assert!(finding["held"].is_null() && finding["failed"] == 100, "{finding}");
    // On a host that is busy with other tests answers may be asked to come again as well.
    let criterion = finding["failed_by"]["criterion"].as_str();
    assert!(matches!(criterion, Some("window" | "refused")), "{finding}");
    assert_eq!(finding["ended"], "steps", "{finding}");
    assert!(report["capacity"].is_null(), "{report}");
    assert!(report["capacity_missing"].as_str().unwrap().contains("--rounds 1"), "{report}");
}

#[test]
fn a_settlement_is_written_and_proved() {
    let directory = env!("CARGO_TARGET_TMPDIR");
    let report = report(&format!("ledger --accounts 5000 --directory {directory}"));
    assert_eq!(report["causes"], 5_002);
    assert_eq!(report["entries"], 10_004);
    positive(&report, &["causes_per_s", "longest_batch_ms", "verify_s", "file_bytes"]);
}
