use super::*;
use expect_test::expect;

/// Every (phase, step) pair: one line a phase, the possible steps with where they lead. What is
/// not listed is impossible.
#[test]
fn every_pair_of_phase_and_step() {
    let mut table = String::new();
    for phase in Phase::ALL {
        let steps: Vec<String> = Step::ALL
            .into_iter()
            .filter_map(|step| Some(format!("{step:?} -> {:?}", phase.after(step)?)))
            .collect();
        table.push_str(&format!("{phase:?}: {}\n", steps.join(", ")));
    }
    expect![[r#"
        Announced: OpenLobby -> Lobby, Cancel -> Cancelled
        Lobby: PushQuestion -> Lobby, WithdrawQuestion -> Lobby, OpenQuestion -> Open, Pause -> PausedInLobby, Cancel -> Cancelled
        Open: ExtendQuestion -> Open, BeginClosing -> Closing, Void -> Voided, Cancel -> Cancelled
        Closing: CloseQuestion -> Closed, Void -> Voided, Cancel -> Cancelled
        Closed: Reveal -> Revealed, Void -> Voided, Pause -> PausedInClosed, Cancel -> Cancelled
        Revealed: PushQuestion -> Revealed, WithdrawQuestion -> Revealed, OpenQuestion -> Open, Void -> Voided, BeginRejudging -> Rejudging, Pause -> PausedInRevealed, BeginSettling -> Settling, Cancel -> Cancelled
        Rejudging: WithdrawQuestion -> Rejudging, Void -> Voided, FinishRejudging -> Revealed, Cancel -> Cancelled
        Voided: PushQuestion -> Voided, WithdrawQuestion -> Voided, OpenQuestion -> Open, Pause -> PausedInVoided, BeginSettling -> Settling, Cancel -> Cancelled
        PausedInLobby: WithdrawQuestion -> PausedInLobby, Resume -> Lobby, Cancel -> Cancelled
        PausedInClosed: Void -> PausedInVoided, Resume -> Closed, Cancel -> Cancelled
        PausedInRevealed: WithdrawQuestion -> PausedInRevealed, Void -> PausedInVoided, Resume -> Revealed, Cancel -> Cancelled
        PausedInVoided: WithdrawQuestion -> PausedInVoided, Resume -> Voided, Cancel -> Cancelled
        Settling: FinishSettling -> Settled, Cancel -> Cancelled
        Settled: End -> Ended
        Ended: 
        Cancelled: End -> Ended
    "#]].assert_eq(&table);
}

#[test]
fn a_pause_returns_to_where_it_began() {
    for phase in Phase::ALL {
        if let Some(paused) = phase.after(Step::Pause) {
            assert!(paused.is_paused());
            assert_eq!(paused.after(Step::Resume), Some(phase));
            assert_eq!(paused.hides_verdicts(), phase.hides_verdicts());
        }
    }
}

#[test]
fn a_show_can_be_cancelled_exactly_before_it_is_settled() {
    for phase in Phase::ALL {
        assert_eq!(phase.after(Step::Cancel).is_some(), phase.before_settled(), "{phase}");
    }
}
