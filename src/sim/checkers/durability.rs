//! Nothing acknowledged is lost: what is read after the power failed is what each shard was at its
//! last durable record, all that was promised is in it, and the checkers go on from there.

use crate::base::ids::{OptionIndex, QuestionIndex, UserId};
use crate::quiz::event::ShowEvent;
use crate::quiz::phase::Phase;
use crate::shard::recovery::ShardImage;
use crate::sim::checkers::Promise;
use crate::sim::checkers::model::HomeThen;
use crate::sim::journal::{Journal, Unreadable};
use crate::sim::world::World;
use crate::store::recovery::{RunBefore, RunEnd, ShardBefore};

impl World {
    /// What a home is by the rules, now.
    pub(crate) fn home_then(&self, host: usize) -> HomeThen {
        self.model.home_then(host, self.watch.applied_at(host))
    }

    /// Compares what was read with what the shards were. Says, by shard, at which of the moments
    /// that its journal knows it begins again.
    pub(crate) fn check_recovered(
        &mut self,
        journals: &[Journal],
        before: &RunBefore,
    ) -> Vec<usize> {
        let mut places = Vec::with_capacity(journals.len());
        for (host, (journal, shard)) in journals.iter().zip(&before.shards).enumerate() {
            let ShardBefore { replay, scan } = shard;
            let (durable, found) = (journal.durable(), scan.records);
            self.findings.check(found >= durable, Promise::Durability, || {
                format!("host {host}: {durable} records were durable, {found} were found")
            });
            let place = journal.then.iter().position(|then| then.record == found);
            let known = place.map(|place| &journal.then[place]);
            self.findings.check(known.is_some(), Promise::Durability, || {
                format!("host {host}: {found} records were found, and no group ended there")
            });
            if let Some(then) = known {
                let standing = replay.standing().clone();
                let image = ShardImage::of(replay.local(), before.histories.iter(), standing);
                let (was, is) = (digest(&then.image), digest(&image));
                self.findings.check(was == is, Promise::Durability, || {
                    format!(
                        "host {host}, record {found}: the state was {was:08x} and is {is:08x}: {}",
                        difference(&then.image, &image)
                    )
                });
            }
            self.races.crash_found_more += u64::from(found > durable);
            places.push(place.unwrap_or(0));
        }
        places
    }

    /// What the checkers took for facts and is on no disk never happened.
    pub(crate) fn roll_back(
        &mut self,
        journals: &[Journal],
        places: &[usize],
        end: &RunEnd,
    ) -> Result<(), Unreadable> {
        let thens: Vec<_> =
            journals.iter().zip(places).map(|(journal, place)| &journal.then[*place]).collect();
        for (show, known) in self.events.iter_mut().enumerate() {
            let durable = end.histories().of(self.setup.shows[show].id);
            if known.len() < durable.len() || known[..durable.len()] != *durable {
                return Err(Unreadable(format!("show {show} has events that nobody decided")));
            }
            self.races.crash_lost_events += (known.len() - durable.len()) as u64;
            known.truncate(durable.len());
        }
        let records: Vec<u64> = thens.iter().map(|then| then.record).collect();
        let homes: Vec<_> = thens.iter().map(|then| &then.home).collect();
        self.model.roll_back(&homes, &self.events);
        let placement = self.placement;
        self.watch.roll_back(|user: UserId| records[placement.user_home(user).index()]);
        self.rains.roll_back(&records);
        self.check_told_money();
        Ok(())
    }

    /// The checkers begin again with so many hosts, all of which stand at the last event.
    pub(crate) fn begin_checkers_again(&mut self, hosts: usize) {
        let ends = self.events.iter().map(|events| events.len() as u64).collect();
        self.watch.begin_again(hosts, ends);
        self.heard = vec![super::sums::HeardSums::default(); hosts];
        self.model.move_users(self.placement);
        for show in 0..self.events.len() {
            let Some(question) = self.current_question(show) else { continue };
            let phase = self.model.phase(show);
            if let Some(times) = self.times(show, QuestionIndex(question)) {
                // Whoever comes back finds it open; that everybody gets more time is the director's
                // business.
                self.watch.offered_by_all((show, question), hosts, times.opened_at);
            }
            if phase == Phase::Closing {
                self.watch.exempt_from_barrier((show, question));
            }
        }
    }

    /// The question that was asked last, unless it is void.
    pub(crate) fn current_question(&self, show: usize) -> Option<u16> {
        self.events[show].iter().rev().find_map(|event| match &event.event {
            ShowEvent::QuestionOpened(opening) => Some(Some(opening.question.0)),
            ShowEvent::QuestionVoided { .. } | ShowEvent::Cancelled | ShowEvent::Settling => {
                Some(None)
            }
            _ => None,
        })?
    }

    /// A player was told that its answer is on record: the players remember what is on record now.
    pub(crate) fn remember_acknowledged(
        &mut self,
        show: usize,
        question: QuestionIndex,
        user: UserId,
    ) {
        if self.current_question(show) != Some(question.0) {
            return;
        }
        let home = self.home_of(user);
        let recorded = self.model.answer(home, show, user).map(|(option, ..)| option);
        let Some(crashes) = &mut self.crashes else { return };
        let known = crashes.acknowledged.get(&(show, question.0, user)).copied();
        match recorded {
            Some(option) => {
                self.findings.check(
                    known.is_none_or(|it| it == option),
                    Promise::Durability,
                    || format!("user {user}, question {question}: {known:?} became {option:?}"),
                );
                crashes.acknowledged.insert((show, question.0, user), option);
                self.races.crash_acknowledged += u64::from(known.is_none());
            }
            // Whoever was silent has a result and no answer, which the seal will say.
            None => self.findings.check(known.is_none(), Promise::Durability, || {
                format!("user {user}, question {question}: {known:?} is on record no more")
            }),
        }
    }

    /// A question is closed: every acknowledged answer counts, once, as it was acknowledged.
    pub(crate) fn check_acknowledged_count(&mut self, show: usize, question: QuestionIndex) {
        let Some(crashes) = &self.crashes else { return };
        let from = (show, question.0, UserId(0));
        let to = (show, question.0, UserId(u64::MAX));
        let of_question: Vec<(UserId, OptionIndex)> = crashes
            .acknowledged
            .range(from..=to)
            .map(|((_, _, user), option)| (*user, *option))
            .collect();
        for (user, option) in of_question {
            let home = self.home_of(user);
            let counted = self.model.answer(home, show, user).map(|(option, ..)| option);
            self.findings.check(counted == Some(option), Promise::Durability, || {
                format!("user {user}, question {question}: {option:?} was acknowledged and {counted:?} counts")
            });
        }
    }
}

fn digest(image: &ShardImage) -> u32 {
    let mut checksum = crc32c::crc32c(format!("{:?}", (&image.events, &image.applied)).as_bytes());
    let others = format!("{:?}", (&image.ended, &image.standing));
    checksum = crc32c::crc32c_append(checksum, others.as_bytes());
    image.buckets.iter().fold(checksum, |checksum, it| crc32c::crc32c_append(checksum, it))
}

fn difference(was: &ShardImage, is: &ShardImage) -> String {
    if was.applied != is.applied {
        return format!("applied {:?}, then {:?}", was.applied, is.applied);
    }
    if was.events != is.events {
        return format!("{} events, then {}", was.events.len(), is.events.len());
    }
    if was.standing != is.standing {
        return format!("in force {:?}, then {:?}", was.standing, is.standing);
    }
    let buckets = was.buckets.iter().zip(&is.buckets).filter(|(was, is)| was != is);
    let buckets: Vec<_> = buckets.map(|(was, is)| format!("{was:?} / {is:?}")).collect();
    format!("buckets {buckets:?}, ended {:?} / {:?}", was.ended, is.ended)
}
