//! The withdrawals of a run, and a book in which they wait.

use std::path::Path;

use tidegate::base::entropy::{Entropy as _, SeededEntropy};
use tidegate::base::ids::{ShowId, UserId};
use tidegate::ledger::account::Pool;
use tidegate::ledger::book::{Batch, Book, FeedId, Position};
use tidegate::ledger::cause::{Cause, CauseKind, WithdrawalId};
use tidegate::ledger::name::Name;
use tidegate::ledger::outbox::queue::Queue;
use tidegate::quiz::money::Cents;

/// Withdrawals of a user, on average and at most.
const EACH: u32 = 4;
const EACH_MAX: u64 = 8;
/// Cents of a withdrawal, at most.
const CENTS_MAX: u64 = 1_000;
/// What everybody won, at least.
pub(crate) const PER_HEAD: Cents = Cents(8 * 1_000);

const AT_UNIX_MS: i64 = 1_800_000_000_000;
/// The feed of what players did, and the one of what became of withdrawals.
const ASKED: FeedId = FeedId(1);
const ENDED: FeedId = FeedId(2);

/// A withdrawal that a user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Withdrawal {
    /// Whose, and which of this user's: 1, 2 and so on, in the order in which they were asked for.
    pub(crate) id: WithdrawalId,
    /// How much.
    pub(crate) cents: i64,
}

/// How many users ask for so many payouts.
pub(crate) fn users(payouts: u32) -> u64 {
    u64::from(payouts.div_ceil(EACH))
}

/// Withdrawals in the order in which they are asked for: any user's next, of any amount.
pub(crate) fn draw(payouts: u32, dice: &mut SeededEntropy) -> Vec<Withdrawal> {
    let users = users(payouts);
    let mut asked = vec![0; usize::try_from(users).unwrap_or(usize::MAX)];
    let mut withdrawals = Vec::new();
    for _ in 0..payouts {
        let first = usize::try_from(dice.below(users)).unwrap_or(0);
        let (before, behind) = asked.split_at_mut(first);
        let numbers = (first..).zip(behind).chain((0..).zip(before));
        // Twice as many as are needed fit in, so there is one.
        if let Some((user, number)) = numbers.into_iter().find(|(_, number)| **number < EACH_MAX) {
            *number += 1;
            let id = WithdrawalId { user: UserId(user as u64 + 1), number: *number };
            let cents = i64::try_from(1 + dice.below(CENTS_MAX)).unwrap_or(1);
            withdrawals.push(Withdrawal { id, cents });
        }
    }
    withdrawals
}

fn cause(kind: CauseKind) -> Cause {
    Cause { at_unix_ms: AT_UNIX_MS, kind }
}

fn tell(directory: &Path, feed: FeedId, causes: Vec<Cause>) -> Result<(), String> {
    let told = Book::open(directory).and_then(|mut book| {
        let after = book.position(feed)?;
        let through = Position(after.0 + causes.len() as u64);
        book.apply(&[Batch { feed, after, through, causes }])
    });
    told.map(|_| ()).map_err(|error| error.to_string())
}

/// Writes a book with a settled show whose winners ask for `asked`.
pub(crate) fn fill(directory: &Path, asked: &[Withdrawal]) -> Result<(), String> {
    let show = ShowId(1);
    let winners = asked.iter().map(|it| it.id.user.0).max().unwrap_or(0);
    let heads = i64::try_from(winners).map_err(|error| error.to_string())?;
    let (remainder, pool) = (Cents(3), Cents(PER_HEAD.0 * heads + 3));
    let account = Name::new("charity").map_err(|error| error.to_string())?;
    let mut causes = vec![cause(CauseKind::PoolFunded { show, pool: Pool::Prize, amount: pool })];
    causes.extend(
        (1..=winners)
            .map(|user| cause(CauseKind::Prize { show, user: UserId(user), amount: PER_HEAD })),
    );
    let per_head = PER_HEAD;
    causes.push(cause(CauseKind::Settled { show, pool, winners, per_head, remainder, account }));
    causes.extend(asked.iter().map(|Withdrawal { id, cents }| {
        let amount = Cents(*cents);
        cause(CauseKind::WithdrawalRequested { withdrawal: *id, amount })
    }));
    tell(directory, ASKED, causes)
}

/// What a gateway does about what has ended: it journals that, and the feed brings it into the book.
pub(crate) fn journal(directory: &Path) -> Result<(), String> {
    let ended = Queue::open(directory).and_then(|queue| queue.unjournaled());
    let ended = ended.map_err(|error| error.to_string())?;
    let causes: Vec<Cause> = ended
        .into_iter()
        .map(|ending| {
            let (withdrawal, amount) = (ending.withdrawal, ending.amount);
            cause(match ending.is_paid {
                true => CauseKind::WithdrawalPaid { withdrawal, amount },
                false => CauseKind::WithdrawalRefused { withdrawal, amount },
            })
        })
        .collect();
    if causes.is_empty() { Ok(()) } else { tell(directory, ENDED, causes) }
}
