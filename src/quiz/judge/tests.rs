use super::*;
use expect_test::expect;

const ALL_COVERED: ReviveCoverage = ReviveCoverage { wrong: true, late: true, unreachable: true };

fn bools<const N: usize>() -> impl Iterator<Item = [bool; N]> {
    (0..1_u32 << N).map(|bits| std::array::from_fn(|place| bits >> (N - 1 - place) & 1 == 1))
}

fn word(flag: bool, yes: &'static str) -> &'static str {
    if flag { yes } else { "-" }
}

/// Checks 1 to 4 in all combinations.
#[test]
fn who_may_answer() {
    let mut table = String::new();
    for [running, current, follows] in bools() {
        for eligibility in [Eligibility::InPlay, Eligibility::Out, Eligibility::Spectator] {
            let outcome = admit(&Admission { running, eligibility, current, follows });
            table.push_str(&format!(
                "{:7} {:7} {:7} {:9} {outcome:?}\n",
                word(running, "running"),
                word(current, "current"),
                word(follows, "follows"),
                format!("{eligibility:?}"),
            ));
        }
    }
    expect![[r#"
        -       -       -       InPlay    Err(NotCurrentQuestion)
        -       -       -       Out       Err(NotCurrentQuestion)
        -       -       -       Spectator Err(NotCurrentQuestion)
        -       -       follows InPlay    Err(NotCurrentQuestion)
        -       -       follows Out       Err(NotCurrentQuestion)
        -       -       follows Spectator Err(NotCurrentQuestion)
        -       current -       InPlay    Err(Out)
        -       current -       Out       Err(Out)
        -       current -       Spectator Err(Spectator)
        -       current follows InPlay    Err(QuestionClosed)
        -       current follows Out       Err(Out)
        -       current follows Spectator Err(Spectator)
        running -       -       InPlay    Err(NotCurrentQuestion)
        running -       -       Out       Err(NotCurrentQuestion)
        running -       -       Spectator Err(NotCurrentQuestion)
        running -       follows InPlay    Err(NotCurrentQuestion)
        running -       follows Out       Err(NotCurrentQuestion)
        running -       follows Spectator Err(NotCurrentQuestion)
        running current -       InPlay    Err(Out)
        running current -       Out       Err(Out)
        running current -       Spectator Err(Spectator)
        running current follows InPlay    Ok(())
        running current follows Out       Err(Out)
        running current follows Spectator Err(Spectator)
    "#]]
    .assert_eq(&table);
}

/// Checks 5 to 8 in all combinations, with everything covered, before and at the last question.
#[test]
fn what_an_answer_is_worth() {
    let mut table = String::new();
    for [last_question, in_time, correct, held, unused] in bools() {
        let card = CardFacts { held, unused, coverage: ALL_COVERED, last_question };
        let verdict = assess(&Merits { in_time, correct, card });
        table.push_str(&format!(
            "{:4} {:7} {:7} {:4} {:6} {verdict:?}\n",
            word(last_question, "last"),
            word(in_time, "in time"),
            word(correct, "correct"),
            word(held, "card"),
            word(unused, "unused"),
        ));
    }
    expect![[r#"
        -    -       -       -    -      Out(Late)
        -    -       -       -    unused Out(Late)
        -    -       -       card -      Out(Late)
        -    -       -       card unused Revived(Late)
        -    -       correct -    -      Out(Late)
        -    -       correct -    unused Out(Late)
        -    -       correct card -      Out(Late)
        -    -       correct card unused Revived(Late)
        -    in time -       -    -      Out(Wrong)
        -    in time -       -    unused Out(Wrong)
        -    in time -       card -      Out(Wrong)
        -    in time -       card unused Revived(Wrong)
        -    in time correct -    -      Passed
        -    in time correct -    unused Passed
        -    in time correct card -      Passed
        -    in time correct card unused Passed
        last -       -       -    -      Out(Late)
        last -       -       -    unused Out(Late)
        last -       -       card -      Out(Late)
        last -       -       card unused Out(Late)
        last -       correct -    -      Out(Late)
        last -       correct -    unused Out(Late)
        last -       correct card -      Out(Late)
        last -       correct card unused Out(Late)
        last in time -       -    -      Out(Wrong)
        last in time -       -    unused Out(Wrong)
        last in time -       card -      Out(Wrong)
        last in time -       card unused Out(Wrong)
        last in time correct -    -      Passed
        last in time correct -    unused Passed
        last in time correct card -      Passed
        last in time correct card unused Passed
    "#]]
    .assert_eq(&table);
}

/// What a card makes good, for every coverage and failing.
#[test]
fn what_a_card_covers() {
    let failings = [Failing::Wrong, Failing::Late, Failing::Silent, Failing::Unreachable];
    let mut table = String::new();
    for [wrong, late, unreachable] in bools() {
        let coverage = ReviveCoverage { wrong, late, unreachable };
        let card = CardFacts { held: true, unused: true, coverage, last_question: false };
        let covered: Vec<String> = failings
            .into_iter()
            .filter(|failing| card.revives(*failing))
            .map(|failing| format!("{failing:?}"))
            .collect();
        table.push_str(&format!(
            "{:5} {:4} {:11} covers {}\n",
            word(wrong, "wrong"),
            word(late, "late"),
            word(unreachable, "unreachable"),
            covered.join(" "),
        ));
    }
    expect![[r#"
        -     -    -           covers 
        -     -    unreachable covers Unreachable
        -     late -           covers Late Silent
        -     late unreachable covers Late Silent Unreachable
        wrong -    -           covers Wrong
        wrong -    unreachable covers Wrong Unreachable
        wrong late -           covers Wrong Late Silent
        wrong late unreachable covers Wrong Late Silent Unreachable
    "#]]
    .assert_eq(&table);
}

#[test]
fn silence_is_unreachable_where_nothing_was_offered() {
    let card = |held| CardFacts { held, unused: true, coverage: ALL_COVERED, last_question: false };
    assert_eq!(judge_silence(true, &card(false)), Verdict::Out(Failing::Silent));
    assert_eq!(judge_silence(false, &card(false)), Verdict::Out(Failing::Unreachable));
    assert_eq!(judge_silence(true, &card(true)), Verdict::Revived(Failing::Silent));
    assert_eq!(judge_silence(false, &card(true)), Verdict::Revived(Failing::Unreachable));
}
