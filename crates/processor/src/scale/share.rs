//! How the workers of one machine are shared among jobs that want them.

use event::Tier;

/// What one job wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Higher tiers come first.
    pub tier: Tier,
    /// Its weight among those of its tier; 1 unless set. 0 counts as 1.
    pub weight: u32,
    /// How many workers; 0 while there is nothing to do.
    pub wanted: usize,
}

/// How many workers each job gets, in the order of the demands.
///
/// 1. *Nobody starves*: each job that wants any gets one, also when there are more such jobs than `workers`; its chunks
///    of work then take turns with those of the others.
/// 2. *Tiers in order*: what is left goes to the highest tier until it has what it wants, then to the next one.
/// 3. *Fair within a tier*: one worker after the other, each to the job with the fewest for its weight that wants more
///    (max-min fairness); of equal ones the first.
///
/// So the sum is at most `max(workers, jobs that want any)`, nobody gets more than it wants, and no worker is left over
/// while somebody wants one. Costs `O(jobs · log jobs)` and a worker each.
pub fn share(workers: usize, demands: &[Demand]) -> Vec<usize> {
    let mut grants: Vec<usize> = demands.iter().map(|demand| demand.wanted.min(1)).collect();
    let mut left = workers.saturating_sub(grants.iter().sum());
    let mut tiers: Vec<Tier> = demands.iter().map(|demand| demand.tier).collect();
    tiers.sort_unstable();
    tiers.dedup();
    for tier in tiers.into_iter().rev() {
        let mut asking: std::collections::BinaryHeap<_> = (0..demands.len())
            .filter(|job| demands[*job].tier == tier && demands[*job].wanted > grants[*job])
            .map(|job| Asking::new(job, grants[job], &demands[job]))
            .collect();
        while left > 0 {
            let Some(next) = asking.pop() else { break };
            let job = next.job;
            grants[job] += 1;
            left -= 1;
            if demands[job].wanted > grants[job] {
                asking.push(Asking::new(job, grants[job], &demands[job]));
            }
        }
    }
    grants
}

/// A job that wants another worker; the greatest is served first.
#[derive(PartialEq, Eq)]
struct Asking {
    job: usize,
    granted: usize,
    weight: u32,
}

impl Asking {
    fn new(job: usize, granted: usize, demand: &Demand) -> Self {
        Self {
            job,
            granted,
            weight: demand.weight.max(1),
        }
    }
}

impl Ord for Asking {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // granted / weight, without division; the fewer the greater.
        let (mine, theirs) = (
            self.granted as u128 * u128::from(other.weight),
            other.granted as u128 * u128::from(self.weight),
        );
        theirs.cmp(&mine).then(other.job.cmp(&self.job))
    }
}

impl PartialOrd for Asking {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// How many workers a machine has in all, when functions compute for `cpu_share` of their time: twice as many as keep
/// the cores busy, and at most `most`.
pub fn capacity(cores: usize, cpu_share: f64, most: usize) -> usize {
    let workers = 2.0 * cores.max(1) as f64 / cpu_share.clamp(0.001, 1.0);
    (workers.ceil() as usize).min(most).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn demand() -> impl Strategy<Value = Demand> {
        let tier = prop_oneof![Just(Tier::Gold), Just(Tier::Standard), Just(Tier::Bulk)];
        (tier, 0u32..4, 0usize..12).prop_map(|(tier, weight, wanted)| Demand { tier, weight, wanted })
    }

    proptest! {
        #[test]
        fn shares_are_least_first_then_by_tier_then_fair(
            workers in 0usize..60,
            demands in prop::collection::vec(demand(), 0..20),
        ) {
            let grants = share(workers, &demands);
            let wanting = demands.iter().filter(|demand| demand.wanted > 0).count();
            let (sum, wanted) = (
                grants.iter().sum::<usize>(),
                demands.iter().map(|demand| demand.wanted).sum::<usize>(),
            );
            prop_assert_eq!(sum, wanted.min(workers.max(wanting)), "no more than there are, and none left over");
            for (mine, granted) in demands.iter().zip(&grants) {
                prop_assert!(*granted <= mine.wanted && *granted >= mine.wanted.min(1));
                if *granted == mine.wanted {
                    continue;
                }
                for (theirs, other) in demands.iter().zip(&grants) {
                    if theirs.tier < mine.tier {
                        prop_assert!(*other <= 1, "a lower tier has more than its one while a higher one wants");
                    }
                    if theirs.tier == mine.tier && *other > 1 {
                        // It was given its last one when it had no more for its weight than this job has now.
                        let (mine_weight, their_weight) = (mine.weight.max(1), theirs.weight.max(1));
                        prop_assert!(
                            (*other - 1) * mine_weight as usize <= *granted * their_weight as usize,
                            "{mine:?} {granted} {theirs:?} {other}"
                        );
                    }
                }
            }
        }

        #[test]
        fn who_wants_more_gets_no_less(
            workers in 0usize..60,
            demands in prop::collection::vec(demand(), 1..20),
            job in any::<prop::sample::Index>(),
            more in 1usize..5,
        ) {
            let job = job.index(demands.len());
            let before = share(workers, &demands)[job];
            let mut after = demands;
            after[job].wanted += more;
            prop_assert!(share(workers, &after)[job] >= before);
        }
    }

    #[test]
    fn gold_first_but_never_all() {
        let demand = |tier, wanted| Demand {
            tier,
            weight: 1,
            wanted,
        };
        let demands = [
            demand(Tier::Bulk, 8),
            demand(Tier::Gold, 4),
            demand(Tier::Standard, 4),
            demand(Tier::Standard, 2),
            demand(Tier::Gold, 0),
        ];
        assert_eq!(share(4, &demands), [1, 1, 1, 1, 0]);
        assert_eq!(share(6, &demands), [1, 3, 1, 1, 0]);
        assert_eq!(share(9, &demands), [1, 4, 2, 2, 0]);
        assert_eq!(share(100, &demands), [8, 4, 4, 2, 0]);
        assert_eq!(share(0, &demands), [1, 1, 1, 1, 0], "more jobs than workers");
    }

    #[test]
    fn functions_that_wait_leave_room_for_more() {
        let of = |cpu_share| capacity(2, cpu_share, 64);
        assert_eq!([1.0, 0.5, 0.1, 0.0].map(of), [4, 8, 40, 64]);
        assert_eq!(capacity(2, 1.0, 3), 3, "the limit holds for cores too");
    }
}
