//! A mailbox hop: a batch through the queue that the shards post through, and back.

use std::time::Duration;

use criterion::{BatchSize, Criterion};
use tidegate::base::ids::{ConnId, ShardId, UserId};
use tidegate::base::time::Time;
use tidegate::runtime::mailbox::mailbox;
use tidegate::shard::mail::{Batch, Mail};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    for count in [1, 64] {
        // On one thread: what sending and taking cost without the other core's cache.
        group.bench_function(format!("post and take/{count} mails"), |bencher| {
            let (sender, receiver) = mailbox();
            bencher.iter_batched(
                || batch(count),
                |batch| {
                    sender.try_send(batch).unwrap();
                    receiver.try_recv().unwrap()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.bench_function("there and back between two threads", |bencher| {
        let (to_other, at_other) = mailbox();
        let (to_us, at_us) = mailbox();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while let Ok(batch) = at_other.recv() {
                    if to_us.try_send(batch).is_err() {
                        return;
                    }
                }
            });
            let mut travelling = Some(batch(1));
            bencher.iter(|| {
                to_other.try_send(travelling.take().unwrap()).unwrap();
                travelling = Some(at_us.recv().unwrap());
            });
            drop(to_other);
        });
    });
    group.finish();
}

fn batch(count: u32) -> Batch {
    let mail = |place| {
        let conn = ConnId { place, generation: 1 };
        Mail::SessionOpened { user: UserId(u64::from(place) + 1), conn }
    };
    let mail = (0..count).map(mail).collect();
    Batch { from: ShardId(0), posted_at: Time::ZERO, lag: Duration::ZERO, mail }
}
