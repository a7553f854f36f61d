//! Tests of the turns: bounds, order, and what never ends.

use flow::Turn;
use futures::FutureExt;
use proptest::prelude::*;

use super::*;

fn take(turns: &Turns, job: JobId) -> Option<Pass> {
    turns.turn(job).now_or_never().flatten()
}

/// Asks for `count` turns that nobody has yet, in order.
fn wait(turns: &Turns, job: JobId, count: usize) -> Vec<impl Future<Output = Option<Pass>> + use<>> {
    let ask = |_| {
        let turns = turns.clone();
        let mut asked = async move { turns.turn(job).await }.boxed();
        assert!(asked.as_mut().now_or_never().is_none());
        asked
    };
    (0..count).map(ask).collect()
}

#[test]
fn a_job_has_its_grant_and_the_last_workers_are_for_those_without() {
    let turns = Turns::new(4, 2);
    let (flood, calm) = (turns.add(Tier::Gold), turns.add(Tier::Bulk));
    turns.grant(4, [(flood, 3)]);
    let first = take(&turns, flood).expect("free");
    let _second = take(&turns, flood).expect("free");
    assert!(take(&turns, flood).is_none(), "only two are left");
    let other = take(&turns, calm).expect("these are for the calm one");
    assert!(take(&turns, calm).is_none(), "its grant is one");
    drop(other);
    turns.grant(6, [(flood, 3)]);
    let _third = take(&turns, flood).expect("a machine with more workers");
    assert!(take(&turns, flood).is_none(), "its grant is three");
    drop(first);
    assert!(take(&turns, flood).is_some());
}

#[test]
fn a_place_that_is_given_up_holds_nobody_up() {
    let turns = Turns::new(1, 1);
    let (one, other) = (turns.add(Tier::Standard), turns.add(Tier::Standard));
    let running = take(&turns, one).expect("free");
    drop(wait(&turns, other, 3));
    let mut waiting = wait(&turns, other, 1);
    drop(running);
    let got = waiting.remove(0).now_or_never();
    assert!(got.flatten().is_some());
}

#[test]
fn what_does_not_end_is_no_longer_counted_and_a_job_that_is_gone_gives_its_turns_back() {
    let turns = Turns::new(2, 1);
    let jobs: Vec<JobId> = (0..3).map(|_| turns.add(Tier::Standard)).collect();
    let mut stuck: Vec<Pass> = jobs[..2].iter().filter_map(|job| take(&turns, *job)).collect();
    stuck.iter_mut().for_each(Pass::begin);
    assert!(take(&turns, jobs[2]).is_none(), "all are taken");
    let later = Instant::now() + Duration::from_secs(5);
    assert_eq!(turns.let_off(later), 2);
    assert_eq!(
        turns.used(later)[&jobs[0]].oldest.map(|age| age.as_secs() >= 4),
        Some(true)
    );
    let third = take(&turns, jobs[2]).expect("the others are not counted");
    assert!(take(&turns, jobs[0]).is_none(), "its own turn is still its own");
    turns.remove(jobs[0]);
    drop(stuck);
    drop(third);
    assert_eq!(turns.let_off(later), 0);
    let all: Vec<Pass> = jobs[1..].iter().filter_map(|job| take(&turns, *job)).collect();
    assert_eq!(all.len(), 2, "nothing is lost");
}

#[test]
fn at_most_so_many_are_let_off() {
    let count = OVERDUE_TURNS_MAX + 10;
    let turns = Turns::new(count, 0);
    let jobs: Vec<JobId> = (0..count).map(|_| turns.add(Tier::Standard)).collect();
    let stuck: Vec<Pass> = jobs.iter().filter_map(|job| take(&turns, *job)).collect();
    assert_eq!(stuck.len(), count);
    assert_eq!(
        turns.let_off(Instant::now() + Duration::from_secs(5)),
        OVERDUE_TURNS_MAX
    );
    turns.grant(11, []);
    let next = turns.add(Tier::Standard);
    assert!(take(&turns, next).is_some(), "ten of eleven count");
}

#[test]
fn tiers_take_turns_by_weight_and_jobs_of_a_tier_one_after_the_other() {
    let turns = Turns::new(1, 0);
    let gold = [turns.add(Tier::Gold), turns.add(Tier::Gold)];
    let (bulk, holder) = (turns.add(Tier::Bulk), turns.add(Tier::Standard));
    let mut running = take(&turns, holder);
    let mut waiting: Vec<_> = [(gold[0], 6), (gold[1], 2), (bulk, 2)]
        .into_iter()
        .flat_map(|(job, count)| {
            wait(&turns, job, count)
                .into_iter()
                .map(move |asked| (job, asked.boxed()))
        })
        .collect();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        drop(running.take());
        let place = waiting.iter_mut().position(|(_, asked)| {
            running = asked.now_or_never().flatten();
            running.is_some()
        });
        let (job, _) = waiting.remove(place.expect("one of them is next"));
        order.push(if job == bulk {
            'b'
        } else if job == gold[0] {
            'g'
        } else {
            'G'
        });
    }
    assert_eq!(order.into_iter().collect::<String>(), "gGbgGggbgg");
}

proptest! {
    #[test]
    fn turns_are_bounded_and_all_who_wait_are_served(
        workers in 1usize..6, reserve in 0usize..4,
        jobs in prop::collection::vec((0usize..3, 0usize..4, 0usize..12), 1..6),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 80),
    ) {
        let turns = Turns::new(workers, reserve);
        let tiers = [Tier::Bulk, Tier::Standard, Tier::Gold];
        let ids: Vec<JobId> = jobs.iter().map(|(tier, ..)| turns.add(tiers[*tier])).collect();
        turns.grant(workers, ids.iter().copied().zip(jobs.iter().map(|job| job.1)));
        let mut waiting: Vec<_> = jobs
            .iter()
            .enumerate()
            .flat_map(|(n, job)| (0..job.2).map(move |_| n))
            .map(|n| {
                let (turns, id) = (turns.clone(), ids[n]);
                (n, async move { turns.turn(id).await }.boxed())
            })
            .collect();
        let mut running: Vec<(usize, Pass)> = Vec::new();
        for pick in picks {
            let mut at = 0;
            while at < waiting.len() {
                match (&mut waiting[at].1).now_or_never() {
                    Some(pass) => running.push((waiting.remove(at).0, pass.expect("the job is known"))),
                    None => at += 1,
                }
            }
            prop_assert!(running.len() <= workers);
            for (n, job) in jobs.iter().enumerate() {
                let of_job = running.iter().filter(|(other, _)| *other == n).count();
                prop_assert!(of_job <= job.1.max(1));
            }
            if running.is_empty() {
                break;
            }
            running.swap_remove(pick.index(running.len()));
        }
        prop_assert!(waiting.is_empty(), "{} wait for ever", waiting.len());
    }
}
