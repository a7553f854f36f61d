//! Whatever fails at whichever commit, stores and sinks end up as if nothing had.

use flow::JobOptions;
use proptest::prelude::*;

use crate::graphs::{Step, check, inputs, steps};
use crate::kit::{Fault, options};

pub(crate) fn script() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        1 => any::<bool>().prop_map(|applied| Fault::Retry { applied }),
        2 => any::<bool>().prop_map(|applied| Fault::Crash { applied }),
    ];
    prop::collection::vec(fault, 0..40)
}

fn small(epoch_bytes_max: usize) -> JobOptions {
    options(epoch_bytes_max, 2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn any_job(
        steps in steps(),
        inputs in inputs(),
        script in script(),
        epoch_bytes_max in 24usize..600,
        keep_every in 1usize..5,
    ) {
        check(&steps, inputs, &small(epoch_bytes_max), script, keep_every);
    }

    /// Sums that feed sums, with sinks between and below.
    #[test]
    fn chain_of_sums(inputs in inputs(), script in script(), epoch_bytes_max in 24usize..300) {
        let steps = [
            Step::Sum(0), Step::Write(1), Step::Histogram(2), Step::Sum(3), Step::Write(4), Step::Write(0),
        ];
        check(&steps, inputs, &small(epoch_bytes_max), script, 1);
    }

    /// Two sources, sinks that go back to an earlier progress, and a sum that does not.
    #[test]
    fn sinks_that_forget(inputs in inputs(), script in script(), keep_every in 2usize..9) {
        let steps = [
            Step::Source, Step::Write(0), Step::Write(1), Step::Merge(2, 3), Step::Sum(4), Step::Write(4),
        ];
        check(&steps, inputs, &small(100), script, keep_every);
    }
}

#[test]
fn a_crash_at_each_commit() {
    let steps = [Step::Sum(0), Step::Histogram(1), Step::Write(0), Step::Write(2)];
    let input: Vec<_> = (0..12).map(|i| (i % 5, crate::kit::Add(i64::from(i)))).collect();
    for commit in 0..30 {
        for applied in [false, true] {
            let mut script = vec![Fault::None; commit];
            script.push(Fault::Crash { applied });
            let crashes = check(&steps, vec![input.clone(), Vec::new()], &small(72), script, 1);
            // Twelve elements of 24 bytes: four epochs with four commits each.
            assert_eq!(
                crashes,
                usize::from(commit < 16),
                "commit={commit} applied={applied}"
            );
        }
    }
}
