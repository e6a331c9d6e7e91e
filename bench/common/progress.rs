//! How far a measurement is, on standard error if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of so many steps. Nothing is drawn while a server is measured: drawing costs.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// `steps` to go; `indicatif` hides the bar where there is no terminal.
    pub(crate) fn new(steps: u64) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(4));
        if let Ok(style) = ProgressStyle::with_template("{msg:28} {wide_bar} {pos}/{len} {elapsed}")
        {
            bar.set_style(style);
        }
        Progress(bar)
    }

    /// What is being done, of how many steps; begins at 0.
    pub(crate) fn stage(&self, what: impl Into<String>, steps: u64) {
        self.0.set_message(what.into());
        self.0.set_length(steps);
        self.0.set_position(0);
    }

    /// How many steps are done.
    pub(crate) fn at(&self, steps: u64) {
        self.0.set_position(steps);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
