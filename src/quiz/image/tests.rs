use std::collections::BTreeMap;

use crate::base::ids::{EventNumber, ShardId, ShowId};
use crate::quiz::event::NumberedEvent;
use crate::quiz::image::ImageError;
use crate::quiz::local::LocalQuiz;
use crate::quiz::phase::Phase;
use crate::quiz::report::QuestionCounts;
use crate::quiz::tests::check;
use crate::quiz::tests::world::{SHOW, Setup, World};

/// The shards of `world` from their images, for `shard_count` shards.
fn remade(world: &World, shard_count: u16) -> Vec<LocalQuiz> {
    let placement = Setup { shard_count, ..world.setup.clone() }.placement();
    let newest = world.locals.iter().map(|local| local.show(SHOW).map(|show| show.last_event()));
    let applied = newest.clone().next().expect("a shard").expect("the show");
    assert!(newest.flatten().all(|other| other == applied), "all shards stand at one event");
    let history: Vec<NumberedEvent> =
        world.events.iter().filter(|event| event.number <= applied).cloned().collect();
    let mut locals: Vec<LocalQuiz> = ShardId::all(shard_count)
        .map(|shard| {
            let mut local = LocalQuiz::new(shard, placement);
            local.restore_show(&history).expect("the history is whole");
            local
        })
        .collect();
    let phase = world.locals[0].show(SHOW).expect("the show").phase();
    for old in &world.locals {
        for bucket in old.users().buckets() {
            let mut image = Vec::new();
            old.store_bucket(*bucket, &mut image);
            let home = bucket.home(shard_count).index();
            locals[home].load_bucket(&image).expect("the image of a bucket");
            let mut again = Vec::new();
            locals[home].store_bucket(*bucket, &mut again);
            // Freezing and paying begin again, because they sum up.
            let begins_again = matches!(phase, Phase::Settling | Phase::Settled);
            assert!(begins_again || image == again, "bucket {bucket:?} stays itself");
        }
    }
    locals
}

/// What a world's shards show of the players and count of them.
fn state(locals: &[LocalQuiz], world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for user in world.users() {
        let local = locals
            .iter()
            .find(|local| local.users().placement().user_home(user) == local.users().shard())
            .expect("a home");
        lines.push(format!("{user}: {:?}", local.snapshot(SHOW, user)));
    }
    let mut sum = QuestionCounts::default();
    let mut in_play = 0;
    for local in locals {
        let tally = local.show(SHOW).expect("the show").tally();
        sum.add(&tally.counts);
        in_play += tally.in_play;
    }
    lines.push(format!("{sum:?} {in_play}"));
    lines
}

/// All shards are made anew from their images, at a moment when all stand at the same event.
fn restart(world: &mut World) {
    let stand = |local: &LocalQuiz| local.show(SHOW).map(|show| show.last_event());
    let first = stand(&world.locals[0]);
    if first.is_none() || world.locals.iter().any(|local| stand(local) != first) {
        return;
    }
    world.interrupted += 1;
    if !world.interrupted.is_multiple_of(40) {
        return;
    }
    let before = state(&world.locals, world);
    for shard_count in [1, 2, 5] {
        let after = state(&remade(world, shard_count), world);
        let different = before.iter().zip(&after).find(|(before, after)| before != after);
        assert_eq!(different, None, "{shard_count} shards");
    }
    world.locals = remade(world, world.setup.shard_count);
    // Marks come again: they are not on record.
    for (question, to, from) in &world.drained {
        world.locals[to.index()].drained(SHOW, *from, *question);
    }
    for shard in ShardId::all(world.setup.shard_count) {
        world.look_for_work(shard);
    }
}

#[test]
fn shards_that_are_made_anew_again_and_again_play_the_same_show() {
    for seed in 0..6 {
        let rejudges = if seed % 2 == 0 { vec![1] } else { Vec::new() };
        let mut voids = BTreeMap::new();
        if seed % 3 == 0 {
            voids.insert(
                2,
                [Phase::Open, Phase::Closed, Phase::Revealed][usize::try_from(seed / 3).unwrap()],
            );
        }
        let mut world = World::new(Setup { rejudges, voids, ..Setup::new(seed, 3) });
        world.between = restart;
        world.play();
        check(&world);
        assert!(world.interrupted > 200, "seed {seed}: {} moments", world.interrupted);
    }
}

#[test]
fn a_damaged_image_is_refused() {
    let mut world = World::new(Setup::new(1, 2));
    world.begin();
    let placement = world.setup.placement();
    let history = world.events.clone();
    let fresh = |shard| {
        let mut local = LocalQuiz::new(shard, placement);
        local.restore_show(&history).expect("the history is whole");
        local
    };
    let bucket = world.locals[0].users().buckets()[1];
    let mut image = Vec::new();
    world.locals[0].store_bucket(bucket, &mut image);
    for length in 0..image.len() {
        let outcome = fresh(ShardId(0)).load_bucket(&image[..length]);
        assert_eq!(outcome, Err(ImageError::Length), "{length} bytes");
    }
    let elsewhere = fresh(ShardId(1)).load_bucket(&image);
    assert_eq!(elsewhere, Err(ImageError::Elsewhere(bucket)));
    let unknown = LocalQuiz::new(ShardId(0), placement).load_bucket(&image);
    assert_eq!(unknown, Err(ImageError::UnknownShow(ShowId(77))));
    image[6] ^= 1;
    let misplaced = fresh(ShardId(0)).load_bucket(&image);
    assert!(matches!(misplaced, Err(ImageError::Misplaced(_))), "{misplaced:?}");
    assert_eq!(history[0].number, EventNumber(1));
}
