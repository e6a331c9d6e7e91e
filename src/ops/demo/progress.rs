//! What a person sees while the demo plays, on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Draws one line at a time; the finished ones stay.
pub(super) struct Progress {
    is_shown: bool,
    bar: ProgressBar,
}

impl Progress {
    /// Draws nothing.
    pub(super) fn hidden() -> Progress {
        Progress { is_shown: false, bar: ProgressBar::hidden() }
    }

    /// Draws on standard error, if that is a terminal.
    pub(super) fn shown() -> Progress {
        Progress { is_shown: true, bar: ProgressBar::hidden() }
    }

    /// The audience comes.
    pub(super) fn lobby(&mut self, players: u64) {
        self.begin(players, "lobby       {wide_bar} {pos}/{len} players in");
    }

    /// So many are in.
    pub(super) fn joined(&mut self, joined: u64) {
        self.bar.set_position(joined);
    }

    /// A question is published; `number` counts from 0.
    pub(super) fn question(&mut self, number: usize, count: usize, text: &str) {
        let title = format!("question {}/{count}: {text}", number + 1);
        self.bar.finish();
        self.bar = self.target(ProgressBar::new_spinner());
        self.bar.set_style(style("{prefix}\n  {msg}"));
        self.bar.set_prefix(title);
    }

    /// How the question goes.
    pub(super) fn answers(&mut self, left: Duration, shown: u64, answered: u64, in_play: u64) {
        let seconds = left.as_secs_f64();
        self.bar.set_message(format!(
            "{seconds:>4.1} s left, shown to {shown}, {answered} answers, {in_play} in the game"
        ));
    }

    /// The question is revealed.
    pub(super) fn revealed(&mut self, in_play: u64) {
        let message = self.bar.message();
        self.bar.set_message(format!("{message}, revealed: {in_play} go on"));
    }

    /// The prize is being split.
    pub(super) fn settling(&mut self) {
        self.begin(1, "settling");
    }

    /// Nothing more will be drawn.
    pub(super) fn end(&mut self) {
        self.bar.finish();
    }

    fn begin(&mut self, length: u64, template: &str) {
        self.bar.finish();
        self.bar = self.target(ProgressBar::new(length));
        self.bar.set_style(style(template));
    }

    fn target(&self, bar: ProgressBar) -> ProgressBar {
        let target =
            if self.is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        bar.set_draw_target(target);
        bar
    }
}

/// # Panics
/// If the template is wrong: all of them stand in this file.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are right")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_can_be_drawn() {
        for mut progress in [Progress::hidden(), Progress::shown()] {
            progress.lobby(10);
            progress.joined(10);
            progress.question(0, 3, "Who?");
            progress.answers(Duration::from_millis(1_250), 10, 5, 9);
            assert_eq!(
                progress.bar.message(),
                " 1.2 s left, shown to 10, 5 answers, 9 in the game"
            );
            progress.revealed(7);
            assert!(progress.bar.message().ends_with("revealed: 7 go on"));
            progress.settling();
            progress.end();
            assert!(progress.bar.is_finished());
        }
    }
}
