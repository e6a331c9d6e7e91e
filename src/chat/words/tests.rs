use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn censored(list: &WordList, text: &str) -> Option<String> {
    let (mut text, mut folded, mut spans) = (text.to_owned(), Folded::default(), Vec::new());
    folded.fold(&text);
    let found = list.censor(&mut text, &folded, &mut spans);
    (found != Found::Refused).then_some(text)
}

fn list(text: &str) -> WordList {
    WordList::parse(text, Action::Replace).expect("a list")
}

fn errors(text: &str, expected: &Expect) {
    let errors = WordList::parse(text, Action::Replace).expect_err("it is wrong");
    let line = |error: &WordError| {
        let line = error.line.map_or("list".to_owned(), |line| line.to_string());
        format!("{line}: {error}\n")
    };
    expected.assert_eq(&errors.iter().map(line).collect::<String>());
}

#[test]
fn words_are_found_however_they_are_written() {
    let list = list(
        "# a comment\n\n  fuck  # another\n敏感词\nass = whole\nbombe = refuse\n微信号\nbad phrase\n각\nabc\nbcd\n",
    );
    assert_eq!(list.count(), 9);
    for (text, expected) in [
        ("hello", Some("hello")),
        ("fuck", Some("****")),
        ("what the FUCK!", Some("what the ****!")),
        ("ｆｕｃｋ", Some("****")),
        ("f.u-c k you", Some("******* you")),
        ("f\u{200D}u\u{200D}c\u{200D}k", Some("*******")),
        ("fúcķ", Some("****")),
        ("motherfucker", Some("mother****er")),
        ("这是敏感词吗", Some("这是***吗")),
        ("这是敏 感，词吗", Some("这是*****吗")),
        ("敏感", Some("敏感")),
        ("加微❤信❤号", Some("加*****")),
        ("class", Some("class")),
        ("kiss my ass.", Some("kiss my ***.")),
        ("ASS", Some("***")),
        ("as shown", Some("as shown")),
        ("a bad  phrase", Some("a ***********")),
        ("각", Some("*")),
        ("\u{1100}\u{1161}\u{11A8}", Some("***")),
        ("가", Some("가")),
        ("abcd", Some("****")),
        ("xabcdx", Some("x****x")),
        ("eine B.o.m.b.e", None),
        ("abc and fuck and fuck", Some("*** and **** and ****")),
        ("", Some("")),
    ] {
        assert_eq!(censored(&list, text).as_deref(), expected, "{text:?}");
    }
}

#[test]
fn a_word_within_another_may_refuse() {
    let list = list("scheiße\nheiß = refuse\n");
    assert_eq!(censored(&list, "Scheisse"), None);
    assert_eq!(censored(&list, "schei"), Some("schei".to_owned()));
}

#[test]
fn each_word_is_found_with_its_line_and_place() {
    let list = list("# insults\nabc\nbcd = refuse\n\nass = whole\n");
    let hits = |text: &str| {
        let mut folded = Folded::default();
        folded.fold(text);
        let hit = |Hit { line, action, is_whole, start, end }| {
            (line, action, is_whole, text[start..end].to_owned())
        };
        list.hits(text, &folded).map(hit).collect::<Vec<_>>()
    };
    let (replace, refuse) = (Action::Replace, Action::Refuse);
    assert_eq!(
        hits("«Ａ.bcd»"),
        [(2, replace, false, "Ａ.bc".to_owned()), (3, refuse, false, "bcd".to_owned())]
    );
    assert_eq!(hits("class ASS"), [(5, replace, true, "ASS".to_owned())]);
    assert_eq!(hits("a class"), []);
    assert_eq!(WordList::default().hits("abc", &Folded::default()).count(), 0);
}

#[test]
fn the_list_has_an_action_of_its_own() {
    let list = WordList::parse("a1\nb2 = replace", Action::Refuse).expect("a list");
    assert_eq!(censored(&list, "a1"), None);
    assert_eq!(censored(&list, "b2"), Some("**".to_owned()));
    assert_eq!(censored(&WordList::default(), "a1"), Some("a1".to_owned()));
}

#[test]
fn errors_name_their_lines() {
    errors(
        "good\n!!!\nfine = refues\nword\nＷＯＲＤ = refuse\nword # again\n",
        &expect![[r#"
            2: `!!!` has no letter and no digit, and nothing else is looked at
            3: `refues` is none of replace, refuse and whole
            5: `ＷＯＲＤ = refuse` is in line 4 with another action
        "#]],
    );
    errors(
        &"字".repeat(WORD_LETTERS_MAX + 1),
        &expect!["1: has 65 letters; a word has at most 64\n"],
    );
    errors(
        &"x".repeat(5_000),
        &expect!["1: the line is too long: a word has at most 64 letters\n"],
    );
    errors(
        &"x".repeat(WORD_LIST_BYTES_MAX + 1),
        &expect!["list: has more than 1048576 bytes; shorten the list\n"],
    );
    let many = |count: usize| (0..count).map(|word| format!("word{word}\n")).collect::<String>();
    assert_eq!(list(&many(WORDS_MAX)).count(), WORDS_MAX);
    let too_many = WordList::parse(&many(WORDS_MAX + 100), Action::Replace).expect_err("too many");
    assert_eq!(too_many.len(), ERRORS_MAX);
    assert_eq!(too_many[0].line, Some(WORDS_MAX + 1));
}

/// A mark in the place of every character within a span, nothing else changed.
fn replaced_slowly(text: &str, spans: &[(usize, usize)]) -> String {
    let within = |at: usize| spans.iter().any(|(start, end)| (*start..*end).contains(&at));
    text.char_indices().map(|(at, letter)| if within(at) { MASK } else { letter }).collect()
}

/// Words in one look each, without Aho and Corasick.
fn found_slowly(words: &[&str], text: &str) -> Vec<(usize, usize)> {
    let mut folded = Folded::default();
    folded.fold(text);
    let mut spans = Vec::new();
    for word in words {
        for start in 0..folded.text().len() {
            if folded.text().get(start..).is_some_and(|rest| rest.starts_with(word)) {
                spans.push(folded.origin(start, start + word.len()));
            }
        }
    }
    spans
}

proptest! {
    #[test]
    fn replacing_never_changes_other_characters(text in "[abcＡＢ敏感词. \u{301}é☺]{0,40}") {
        let words = ["ab", "bca", "感", "敏感词", "aa"];
        let censored = censored(&list(&words.join("\n")), &text).expect("nothing refuses");
        prop_assert_eq!(text.chars().count(), censored.chars().count());
        prop_assert!(censored.len() <= text.len());
        let spans = found_slowly(&words, &text);
        prop_assert_eq!(censored, replaced_slowly(&text, &spans));
    }
}
