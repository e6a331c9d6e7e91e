//! One server's turns at broadcasting, and what it showed in them.

use crate::common::contender::Contender;
use crate::common::problem::Problem;
use crate::common::server::Server;
use crate::common::stats::{Coverages, Figures};

/// Messages of a burst.
pub(crate) const BURST: u16 = 16;
/// Broadcasts over which fairness is looked at.
pub(super) const FAIRNESS_BROADCASTS: u32 = 100;
/// Deliveries after which looking at fairness would take too long.
const FAIRNESS_DELIVERIES_MAX: u64 = 10_000_000;

/// What a turn consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// A broadcast first that is not counted: it finds the caches as the other server left them.
    pub(crate) warm_up: bool,
    /// Broadcasts one at a time.
    pub(crate) broadcasts: u32,
    /// A burst at the end.
    pub(crate) burst: bool,
}

/// What one server showed, repetition by repetition.
#[derive(Default)]
pub(crate) struct Showing {
    /// CPU per delivery, microseconds: the median of each turn.
    pub(crate) one: Vec<f64>,
    pub(crate) burst: Vec<f64>,
    pub(crate) coverages: Coverages,
    pub(crate) client: Figures,
    pub(crate) deliveries: u64,
    limited: u32,
    disturbed: u32,
    broadcasts: u32,
    pub(crate) frame_bytes: usize,
    pub(crate) fairness: Option<f64>,
}

impl Showing {
    /// Whether the clients were a limit most of the time.
    pub(crate) fn is_client_limited(&self) -> bool {
        self.limited * 2 > self.broadcasts
    }

    /// Whether other work had the server's core most of the time.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.disturbed * 2 > self.broadcasts
    }

    /// One server's part of a repetition.
    pub(crate) fn turn<S: Server>(
        &mut self,
        contender: &mut Contender<S>,
        turn: Turn,
    ) -> Result<(), Problem> {
        if turn.warm_up {
            contender.broadcast(1)?;
        }
        let mut one = Figures::default();
        for _ in 0..turn.broadcasts {
            let broadcast = contender.broadcast(1)?;
            one.push(broadcast.server_us);
            self.client.push(broadcast.client_us);
            self.coverages.push(broadcast.coverage);
            self.deliveries += broadcast.deliveries;
            self.limited += u32::from(broadcast.client_limited);
            self.disturbed += u32::from(broadcast.disturbed);
            self.broadcasts += 1;
        }
        self.one.push(one.median());
        self.frame_bytes = contender.counting.frame_bytes().unwrap_or(0);
        if turn.burst {
            self.burst.push(contender.broadcast(BURST)?.server_us);
        }
        Ok(())
    }

    /// All turns, where two servers don't fit at a time; `done` hears how many are over.
    pub(crate) fn turns<S: Server>(
        &mut self,
        contender: &mut Contender<S>,
        turn: Turn,
        repetitions: u32,
        mut done: impl FnMut(u32),
    ) -> Result<(), Problem> {
        for repetition in 0..repetitions {
            self.turn(contender, turn)?;
            done(repetition + 1);
        }
        Ok(())
    }

    /// Looks at the order in which clients are served.
    pub(super) fn fairness<S: Server>(
        &mut self,
        contender: &mut Contender<S>,
    ) -> Result<(), Problem> {
        let deliveries = u64::from(contender.clients.len()) * u64::from(FAIRNESS_BROADCASTS);
        if deliveries > FAIRNESS_DELIVERIES_MAX {
            return Ok(());
        }
        for _ in 0..FAIRNESS_BROADCASTS {
            contender.broadcast(1)?;
            contender.counting.note_ranks();
        }
        self.fairness = contender.counting.rank_p99_to_p50();
        Ok(())
    }
}

/// Both servers' turns, now one first, now the other; `done` hears how many repetitions are over.
pub(crate) fn interleave<A: Server, B: Server>(
    one: (&mut Contender<A>, &mut Showing),
    other: (&mut Contender<B>, &mut Showing),
    turn: Turn,
    repetitions: u32,
    mut done: impl FnMut(u32),
) -> Result<(), Problem> {
    for repetition in 0..repetitions {
        if repetition % 2 == 0 {
            one.1.turn(one.0, turn)?;
            other.1.turn(other.0, turn)?;
        } else {
            other.1.turn(other.0, turn)?;
            one.1.turn(one.0, turn)?;
        }
        done(repetition + 1);
    }
    Ok(())
}

/// Of the figures of two servers, the ratios within a repetition.
pub(crate) fn ratios(these: &[f64], those: &[f64]) -> Figures {
    figures_of(these.iter().zip(those).map(|(this, that)| this / that))
}

/// Figures in an order of their own.
pub(crate) fn figures_of(figures: impl IntoIterator<Item = f64>) -> Figures {
    let mut sorted = Figures::default();
    figures.into_iter().for_each(|figure| sorted.push(figure));
    sorted
}
