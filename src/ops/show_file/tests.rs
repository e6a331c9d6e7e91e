use expect_test::{Expect, expect};

use super::*;

/// A show that is right; tests replace a line of it.
const GOOD: &str = r#"id = 7
title = "A show"
prize_pool_cents = 100
[[questions]]
text = "Which?"
options = ["this", "that"]
correct = 1
"#;

fn check(text: &str, expected: &Expect) {
    match parse("show.toml", text) {
        Ok(show) => panic!("taken: {show:?}"),
        Err(problems) => expected.assert_eq(&problems.to_string()),
    }
}

#[test]
fn the_least_show_has_defaults() {
    let show = parse("show.toml", GOOD).expect("a show");
    expect![[r#"ShowFile { definition: ShowDefinition { id: ShowId(7), room: RoomId(7), title: "A show", starts_at_unix_ms: 0, prize_pool: Cents(100), remainder_account: "remainder", revive: ReviveCoverage { wrong: true, late: false, unreachable: false }, timing: Timing { lead: 200ms, display_slack: 1s, countdown: 10s, ticket_life: 2s, stream_delay: 0ns, extension_max: 10s, early_push_max: 0ns }, questions: [QuestionDefinition { text: "Which?", options: ["this", "that"], correct: OptionIndex(1) }] }, pace: None, rains: [] }"#]].assert_eq(&format!("{show:?}"));
}

#[test]
fn everything_can_be_said() {
    let show = parse(
        "show.toml",
        r#"
id = 7
room = 8
title = " A show "
starts_at = "2030-01-31T20:00:00+01:00"
prize_pool_cents = 10_000_000_000_000
remainder_account = "charity"
revive = { wrong = false, late = true, unreachable = true }
[timing]
lead_ms = 1
display_slack_ms = 2
countdown_ms = 300
ticket_life_ms = 4
stream_delay_ms = 5
extension_max_ms = 6
early_push_max_ms = 7_000
[pace]
lobby_ms = 7
reveal_pause_ms = 8
next_pause_ms = 9
end_pause_ms = 10
[[questions]]
text = "Which?"
options = ["1", "2", "3", "4", "5", "6"]
correct = 5
"#,
    )
    .expect("a show");
    expect![[r#"ShowFile { definition: ShowDefinition { id: ShowId(7), room: RoomId(8), title: "A show", starts_at_unix_ms: 1896116400000, prize_pool: Cents(10000000000000), remainder_account: "charity", revive: ReviveCoverage { wrong: false, late: true, unreachable: true }, timing: Timing { lead: 1ms, display_slack: 2ms, countdown: 300ms, ticket_life: 4ms, stream_delay: 5ms, extension_max: 6ms, early_push_max: 7s }, questions: [QuestionDefinition { text: "Which?", options: ["1", "2", "3", "4", "5", "6"], correct: OptionIndex(5) }] }, pace: Some(Pace { lobby: 7ms, reveal_pause: 8ms, next_pause: 9ms, end_pause: 10ms }), rains: [] }"#]].assert_eq(&format!("{show:?}"));
}

#[test]
fn a_datetime_without_quotes_is_one_too() {
    let text = format!("starts_at = 2030-01-31T20:00:00+01:00\n{GOOD}");
    let show = parse("show.toml", &text).expect("a show");
    assert_eq!(show.definition.starts_at_unix_ms, 1_896_116_400_000);
}

#[test]
fn rains() {
    let rain = "[[rains]]\npool_cents = 500\npackets = 50\nduration_ms = 3_000\n";
    let show = parse("show.toml", &format!("{GOOD}{rain}after_question = 0\n")).expect("a show");
    expect!["[FiledRain { settings: RainSettings { pool: Cents(500), packets: 50, win_per_10000: 5000, taps_max: 3, show_packets_max: 0, duration: 3s }, after_question: Some(0) }]"].assert_eq(&format!("{:?}", show.rains));
    for (from, to, expected) in [
        (
            "packets = 50",
            "packets = 501",
            expect![
                "show.toml:8: rains[0]: 500 cents are less than a cent for each of 501 packets: plan fewer packets"
            ],
        ),
        (
            "packets = 50",
            "",
            expect!["show.toml:8: rains[0].packets: missing: this key is required"],
        ),
        (
            "pool_cents = 500",
            "pool_cents = -1",
            expect![
                "show.toml:9: rains[0].pool_cents: -1 is negative: expects 1 to 10000000000000; the nearest valid one is 1"
            ],
        ),
        (
            "duration_ms = 3_000",
            "duration_ms = 600_001",
            expect![
                "show.toml:11: rains[0].duration_ms: 600001 is out of range: expects 1 to 600000; the nearest valid one is 600000"
            ],
        ),
        (
            "packets = 50",
            "packets = 50\ntaps = 4",
            expect![
                "show.toml:11: rains[0].taps: unknown key; the nearest valid one is `taps_max`"
            ],
        ),
    ] {
        check(&format!("{GOOD}{}", rain.replace(from, to)), &expected);
    }
}

/// The good show with one line of it replaced.
fn check_line(line: &str, replacement: &str, expected: &Expect) {
    assert!(GOOD.contains(line), "{line}");
    check(&GOOD.replace(line, replacement), expected);
}

#[test]
fn keys_of_a_show() {
    for (line, replacement, expected) in [
        (
            "id = 7",
            "id = 0",
            expect![
                "show.toml:1: id: 0 is out of range: expects at least 1; the nearest valid one is 1"
            ],
        ),
        ("id = 7", "id = \"x\"", expect!["show.toml:1: id: expects a whole number, got a string"]),
        ("id = 7", "", expect!["show.toml:1: id: missing: this key is required"]),
        (
            "id = 7",
            "id = 7\nroom = -1",
            expect![
                "show.toml:2: room: -1 is negative: expects at least 1; the nearest valid one is 1"
            ],
        ),
        (
            "id = 7",
            "id = 7\nprize_pool = 3",
            expect![
                "show.toml:2: prize_pool: unknown key; the nearest valid one is `prize_pool_cents`"
            ],
        ),
        (
            "id = 7",
            "id = 7\ncountdown_ms = 3",
            expect!["show.toml:2: countdown_ms: unknown key; did you mean `timing.countdown_ms`?"],
        ),
    ] {
        check_line(line, replacement, &expected);
    }
}

#[test]
fn the_start_and_the_tables() {
    for (line, replacement, expected) in [
        (
            "id = 7",
            "id = 7\nstarts_at = 2030-01-31T20:00:00",
            expect![
                "show.toml:2: starts_at: expects a date, a time and an offset (RFC 3339), such as 2030-01-31T20:00:00+01:00"
            ],
        ),
        (
            "id = 7",
            "id = 7\nstarts_at = \"tomorrow\"",
            expect![
                "show.toml:2: starts_at: expects a date, a time and an offset (RFC 3339), such as 2030-01-31T20:00:00+01:00"
            ],
        ),
        (
            "id = 7",
            "id = 7\nstarts_at = 3",
            expect![
                "show.toml:2: starts_at: expects a date, a time and an offset (RFC 3339), such as 2030-01-31T20:00:00+01:00, got a whole number"
            ],
        ),
        (
            "id = 7",
            "id = 7\nquestion = []",
            expect!["show.toml:2: question: unknown key; did you mean `questions`?"],
        ),
        (
            "id = 7",
            "id = 7\nrevive.wrong = 1",
            expect!["show.toml:2: revive.wrong: expects true or false, got a whole number"],
        ),
        (
            "id = 7",
            "id = 7\ntiming.countdown_ms = 99",
            expect![
                "show.toml:2: timing.countdown_ms: 99 is out of range: expects 100 to 3600000; the nearest valid one is 100"
            ],
        ),
        (
            "id = 7",
            "id = 7\ntiming.countdown = 99",
            expect!["show.toml:2: timing.countdown: unknown key; did you mean `countdown_ms`?"],
        ),
        (
            "id = 7",
            "id = 7\npace = 3",
            expect!["show.toml:2: pace: expects a table, `[pace]`, got a whole number"],
        ),
    ] {
        check_line(line, replacement, &expected);
    }
}

#[test]
fn the_prize_and_the_title() {
    for (line, replacement, expected) in [
        (
            "prize_pool_cents = 100",
            "prize_pool_cents = -1",
            expect![
                "show.toml:3: prize_pool_cents: -1 is negative: expects 0 to 10000000000000; the nearest valid one is 0"
            ],
        ),
        (
            "prize_pool_cents = 100",
            "prize_pool_cents = 1.5",
            expect![
                "show.toml:3: prize_pool_cents: expects a whole number, got a number with a fraction"
            ],
        ),
        (
            "prize_pool_cents = 100",
            "prize_pool_cents = 9_223_372_036_854_775_808",
            expect![
                "show.toml:3: prize_pool_cents: 9223372036854775808 is out of range: expects 0 to 10000000000000; the nearest valid one is 10000000000000"
            ],
        ),
        ("title = \"A show\"", "title = \"\"", expect!["show.toml:2: title: is empty"]),
    ] {
        check_line(line, replacement, &expected);
    }
}

#[test]
fn the_correct_option() {
    for (line, replacement, expected) in [
        (
            "correct = 1",
            "correct = 2",
            expect![
                "show.toml:7: questions[0].correct: option index 2 is out of range: options are counted from 0 to 1"
            ],
        ),
        (
            "correct = 1",
            "correct = -1",
            expect![
                "show.toml:7: questions[0].correct: option index -1 is out of range: options are counted from 0 to 1"
            ],
        ),
        (
            "correct = 1",
            "correct = \"that\"",
            expect![
                "show.toml:7: questions[0].correct: expects the index of an option, here 1; options are counted from 0 to 1"
            ],
        ),
        (
            "correct = 1",
            "correct = \"thta\"",
            expect![
                "show.toml:7: questions[0].correct: expects the index of an option, got a string that is none; did you mean `that`?"
            ],
        ),
        (
            "correct = 1",
            "corect = 1",
            expect![[r#"
            show.toml:4: questions[0].correct: missing: this key is required
            show.toml:7: questions[0].corect: unknown key; did you mean `correct`?"#]],
        ),
    ] {
        check_line(line, replacement, &expected);
    }
}

#[test]
fn options() {
    for (line, replacement, expected) in [
        (
            "options = [\"this\", \"that\"]",
            "options = [\"this\"]",
            expect![
                "show.toml:6: questions[0].options: has 1 options; a question has 2 to 6 of them"
            ],
        ),
        (
            "options = [\"this\", \"that\"]",
            "options = []",
            expect![
                "show.toml:6: questions[0].options: has 0 options; a question has 2 to 6 of them"
            ],
        ),
        (
            "options = [\"this\", \"that\"]",
            "options = [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\"]",
            expect![
                "show.toml:6: questions[0].options: has 7 options; a question has 2 to 6 of them"
            ],
        ),
        (
            "options = [\"this\", \"that\"]",
            "options = [\n\"this\",\n\" this \"]",
            expect!["show.toml:8: questions[0].options[1]: duplicate option `this`"],
        ),
        (
            "options = [\"this\", \"that\"]",
            "options = [\"this\", \"\"]",
            expect!["show.toml:6: questions[0].options[1]: is empty"],
        ),
        (
            "options = [\"this\", \"that\"]",
            "options = [\"this\", 3]",
            expect!["show.toml:6: questions[0].options[1]: expects a string, got a whole number"],
        ),
        (
            "options = [\"this\", \"that\"]",
            "options = \"this, that\"",
            expect!["show.toml:6: questions[0].options: expects an array of strings, got a string"],
        ),
    ] {
        check_line(line, replacement, &expected);
    }
}

#[test]
fn questions() {
    for (line, replacement, expected) in [
        (
            "text = \"Which?\"",
            "",
            expect!["show.toml:4: questions[0].text: missing: this key is required"],
        ),
        (
            "text = \"Which?\"",
            "text = \"\\u001b[2J\"",
            expect![[r#"show.toml:5: questions[0].text: has the control character '\u{1b}'"#]],
        ),
        (
            "[[questions]]",
            "[questions]",
            expect!["show.toml:4: questions: expects tables, `[[questions]]`, got a table"],
        ),
        (
            "[[questions]]",
            "[[qestions]]",
            expect![[r#"
            show.toml:1: questions: missing: this key is required
            show.toml:4: qestions: unknown key; did you mean `questions`?"#]],
        ),
    ] {
        check_line(line, replacement, &expected);
    }
}

#[test]
fn a_show_has_a_question() {
    check(
        "id = 1\ntitle = \"x\"\nprize_pool_cents = 1\nquestions = []",
        &expect!["show.toml:4: questions: a show has at least one question"],
    );
}

#[test]
fn what_is_too_long() {
    let long = |bytes| "x".repeat(bytes);
    check(
        &GOOD.replace("A show", &long(201)),
        &expect!["show.toml:2: title: has 201 bytes, more than 200"],
    );
    check(
        &GOOD.replace("Which?", &long(1_025)),
        &expect!["show.toml:5: questions[0].text: has 1025 bytes, more than 1024"],
    );
    check(
        &GOOD.replace("this", &long(1_025)),
        &expect!["show.toml:6: questions[0].options[0]: has 1025 bytes, more than 1024"],
    );
    let (head, _) = GOOD.split_once("[[questions]]").expect("a question");
    let mut many = head.to_owned();
    for index in 0..=QUESTIONS_MAX {
        many.push_str(&format!(
            "[[questions]]\ntext = \"{index}?\"\noptions = [\"a\", \"b\"]\ncorrect = 0\n"
        ));
    }
    check(&many, &expect!["show.toml:404: questions[100]: is one question more than 100"]);
}

#[test]
fn everything_wrong_is_said_at_once() {
    check(
        r#"
id = 7
titel = "A show"
prize_pool_cents = -5

[timing]
countdown_ms = "10 s"

[[questions]]
text = "Which?"
options = ["this", "that"]
correct = 3

[[questions]]
text = "Which?"
options = ["a", "b", "a"]
correct = 0
hint = "b"
"#,
        &expect![[r#"
            show.toml:1: title: missing: this key is required
            show.toml:3: titel: unknown key; did you mean `title`?
            show.toml:4: prize_pool_cents: -5 is negative: expects 0 to 10000000000000; the nearest valid one is 0
            show.toml:7: timing.countdown_ms: expects a whole number, got a string
            show.toml:12: questions[0].correct: option index 3 is out of range: options are counted from 0 to 1
            show.toml:15: questions[1].text: duplicate question: the same text is at show.toml:10: questions[0].text
            show.toml:16: questions[1].options[2]: duplicate option `a`
            show.toml:18: questions[1].hint: unknown key; the nearest valid one is `text`"#]],
    );
}

#[test]
fn what_is_not_toml_hides_no_other_problem() {
    check(
        "id = 7\nid = 8\nprize_pool_cents = -1\n[[questions]\ntext = \"x\"",
        &expect![[r#"
        show.toml:2: not TOML: duplicate key
        show.toml:3: prize_pool_cents: -1 is negative: expects 0 to 10000000000000; the nearest valid one is 0
        show.toml:4: not TOML: unclosed array table, expected `]`
        show.toml:5: text: unknown key; did you mean `questions.text`?"#]],
    );
}

#[test]
fn shows_that_are_loaded_together() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let other = GOOD.replace("id = 7", "id = 9");
    let shows = parse_all(&[file("a.toml", GOOD), file("b.toml", &other)]).expect("two shows");
    assert_eq!(shows.iter().map(|show| show.definition.id.0).collect::<Vec<_>>(), [7, 9]);

    let same_room = GOOD.replace("id = 7", "id = 9\nroom = 7");
    let files = [file("a.toml", GOOD), file("b.toml", GOOD), file("c.toml", &same_room)];
    expect![[r#"
        b.toml:1: id: show 7 is also in a.toml:1
        b.toml:1: room: room 7 has a show already: a.toml:1
        c.toml:2: room: room 7 has a show already: a.toml:1
        c.toml:2: room: room 7 has a show already: b.toml:1"#]]
    .assert_eq(&parse_all(&files).expect_err("refused").to_string());

    let many: Vec<_> = (1..=SHOWS_MAX + 1)
        .map(|id| file(&format!("{id}.toml"), &GOOD.replace("id = 7", &format!("id = {id}"))))
        .collect();
    expect!["65.toml: is one show more than 64"]
        .assert_eq(&parse_all(&many).expect_err("refused").to_string());
}

#[test]
fn the_bundled_show() {
    let show = bundled();
    assert!(show.pace.is_some());
    let key: String = show
        .definition
        .questions
        .iter()
        .map(|question| {
            format!("{} {}\n", question.text, question.options[question.correct.index()])
        })
        .collect();
    expect![[r#"
        Which planet is closest to the Sun? Mercury
        What is the capital of Australia? Canberra
        What is the chemical symbol for gold? Au
        Which ocean is the largest? Pacific
        Who wrote “Pride and Prejudice”? Jane Austen
        How many strings does a violin have? Four
        Which is the smallest prime number? 2
        In which year did people first walk on the Moon? 1969
        Which river flows through Vienna? Danube
        Which gas do plants take from the air for photosynthesis? Carbon dioxide
        In which city is the Hagia Sophia? Istanbul
        Who painted “Girl with a Pearl Earring”? Johannes Vermeer
        How many players of one team may be on the pitch in a football (soccer) match? Eleven
        How many keys does a standard modern piano have? 88
        How many sides does a hexagon have? Six
        What is the longest bone of the human body? The thigh bone
    "#]]
    .assert_eq(&key);
    // Three questions in less than a minute.
    let (timing, pace) = (show.definition.timing, show.pace.unwrap_or_default());
    let question = timing.lead
        + timing.display_slack
        + timing.countdown
        + timing.ticket_life
        + pace.reveal_pause
        + pace.next_pause;
    assert!(pace.lobby + question * 3 < Duration::from_secs(40));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_show_is_read_or_refused_without_a_panic(
        place in 0..GOOD.len(), replacement in "(\\PC|[=\\[\\]\".\n]){0,4}",
    ) {
        let text = format!("{}{replacement}{}", &GOOD[..place], &GOOD[place + 1..]);
        if let Ok(show) = parse("show.toml", &text) {
            let definition = show.definition;
            assert!(definition.id.0 != 0 && definition.room.0 != 0 && definition.prize_pool.0 >= 0);
            assert!(!definition.questions.is_empty());
            for question in definition.questions {
                assert!((OPTIONS_MIN..=OPTIONS_MAX).contains(&question.options.len()));
                assert!(question.correct.index() < question.options.len());
            }
        }
    }
}
