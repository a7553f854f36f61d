//! Each aggregator beside what ten lines over a `Vec` make of the same items, and the laws of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::sketch::Sketch;
use crate::sketch::sample::{Sample, bernoulli};
use crate::{Max, Monoid, Semigroup, Sum};

#[derive(Clone, Debug, PartialEq)]
struct Visit {
    page: String,
    user: Option<String>,
    ms: u32,
    tags: Vec<u8>,
}

fn visit() -> impl Strategy<Value = Visit> {
    (
        "[a-d]",
        proptest::option::of("[x-z]"),
        0..20_u32,
        vec(0..5_u8, 0..4),
    )
        .prop_map(|(page, user, ms, tags)| Visit { page, user, ms, tags })
}

fn visits() -> impl Strategy<Value = Vec<Visit>> {
    vec(visit(), 0..30)
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(any::<usize>(), 0..5)
}

/// The laws hold, and the answer is the naive one; that of none is `None`.
fn check<T, A>(aggregator: A, items: &[T], cuts: &[usize], naive: A::Output) -> Result<(), TestCaseError>
where
    A: Aggregator<T, State: Clone + PartialEq + Debug, Output: PartialEq + Debug>,
{
    laws::aggregates(&aggregator, items, cuts)?;
    prop_assert_eq!(aggregator.aggregate(items), (!items.is_empty()).then_some(naive));
    Ok(())
}

/// As [`check`], and of none it is the naive answer too.
fn check_total<T, A>(
    aggregator: A,
    items: &[T],
    cuts: &[usize],
    naive: A::Output,
) -> Result<(), TestCaseError>
where
    A: Aggregator<T, State: Monoid + Clone + PartialEq + Debug, Output: PartialEq + Debug>,
{
    laws::aggregates(&aggregator, items, cuts)?;
    prop_assert_eq!(aggregator.total(items), naive);
    Ok(())
}

proptest! {
    #[test]
    fn counts(items in vec(0..9_i32, 0..30), cuts in cuts()) {
        let even = |item: &i32| item % 2 == 0;
        let evens = items.iter().filter(|item| even(item)).count() as u64;
        check_total(count(), &items, &cuts, items.len() as u64)?;
        check_total(count_if(even), &items, &cuts, evens)?;
        check_total(exists(even), &items, &cuts, items.iter().any(even))?;
        check_total(for_all(even), &items, &cuts, items.iter().all(even))?;
    }

    #[test]
    fn sums(items in vec("[a-z]{0,3}", 0..30), cuts in cuts()) {
        check_total(sum(), &items, &cuts, items.concat())?;
        let lengths = sum().before(|item: &String| item.len());
        check_total(lengths, &items, &cuts, items.iter().map(String::len).sum())?;
        let folded = sum().of(|item: &String| item.as_str());
        check_total(folded, &items, &cuts, items.concat())?;
    }

    /// Multiples of 2⁻¹⁰ below 2²⁰: their sums are exact.
    #[test]
    fn float_sums(items in vec((-1_i64 << 30..1 << 30).prop_map(|x| x as f64 / 1024.0), 0..30), cuts in cuts()) {
        check_total(float_sum(), &items, &cuts, items.iter().sum())?;
        check_total(sum_as::<Sum, _>(), &items, &cuts, Sum::from(items.iter().sum::<f64>()))?;
        let mean = items.iter().sum::<f64>() / items.len().max(1) as f64;
        let close = |left: f64, right: f64| (left - right).abs() <= 1e-6;
        laws::aggregates_within(
            &average(),
            &items,
            &cuts,
            |left, right| left.count == right.count && close(left.mean, right.mean),
            |left, right| close(*left, *right),
        )?;
        prop_assert!(close(average().total(&items), mean));
    }

    #[test]
    fn choices(items in vec((0..5_u8, 0..5_u8), 0..30), cuts in cuts()) {
        let Some(some) = items.first() else { return Ok(()) };
        check(min(), &items, &cuts, *items.iter().min().unwrap_or(some))?;
        check(max(), &items, &cuts, *items.iter().max().unwrap_or(some))?;
        check(first(), &items, &cuts, *some)?;
        check(last(), &items, &cuts, *items.last().unwrap_or(some))?;
        // `min_by_key` gives the first of equal ones; `max_by_key` the last, so it looks from behind.
        let least = items.iter().min_by_key(|item| item.0).unwrap_or(some);
        let greatest = items.iter().rev().max_by_key(|item| item.0).unwrap_or(some);
        check(min_by(|item: &(u8, u8)| item.0), &items, &cuts, *least)?;
        check(max_by(|item: &(u8, u8)| item.0), &items, &cuts, *greatest)?;
    }

    #[test]
    fn collections(items in vec(("[a-c]", "[x-z]"), 0..30), cuts in cuts()) {
        check_total(to_vec(), &items, &cuts, items.clone())?;
        let set: BTreeSet<_> = items.iter().cloned().collect();
        check_total(to_set(), &items, &cuts, set.clone())?;
        check_total(distinct(), &items, &cuts, set.len() as u64)?;
        let mut map = BTreeMap::<_, String>::new();
        items.iter().for_each(|(key, value)| map.entry(key.clone()).or_default().push_str(value));
        check_total(to_map(), &items, &cuts, map)?;
    }

    #[test]
    fn parts(visits in visits(), cuts in cuts()) {
        check(max().of(|visit: &Visit| &visit.ms), &visits, &cuts,
            visits.iter().map(|visit| visit.ms).max().unwrap_or(0))?;
        check(first().of(|visit: &Visit| visit.page.as_str()), &visits, &cuts,
            visits.first().map(|visit| visit.page.clone()).unwrap_or_default())?;
        check(last().before(|visit: &Visit| visit.ms / 2), &visits, &cuts,
            visits.last().map_or(0, |visit| visit.ms / 2))?;
        check_total(to_vec().of_some(|visit: &Visit| visit.user.as_deref()), &visits, &cuts,
            visits.iter().filter_map(|visit| visit.user.clone()).collect())?;
        check_total(to_vec().of_each(|visit: &Visit| &visit.tags), &visits, &cuts,
            visits.iter().flat_map(|visit| visit.tags.clone()).collect())?;
        check_total(to_vec().collect_before(|visit: &Visit| visit.ms.checked_sub(10)), &visits, &cuts,
            visits.iter().filter_map(|visit| visit.ms.checked_sub(10)).collect())?;
        check_total(to_vec().flat(|visit: &Visit| 0..visit.ms % 3), &visits, &cuts,
            visits.iter().flat_map(|visit| 0..visit.ms % 3).collect())?;
        check_total(to_vec().filter(|visit: &Visit| visit.ms > 10), &visits, &cuts,
            visits.iter().filter(|visit| visit.ms > 10).cloned().collect())?;
    }

    #[test]
    fn answers(visits in visits(), cuts in cuts()) {
        let slowest = max().of(|visit: &Visit| &visit.ms).optional();
        check_total(slowest.after(|ms| ms.map(|ms| ms * 2)), &visits, &cuts,
            visits.iter().map(|visit| visit.ms * 2).max())?;
        let quick = slowest.filter(|visit: &Visit| visit.ms < 10);
        check_total(quick, &visits, &cuts,
            visits.iter().map(|visit| visit.ms).filter(|ms| *ms < 10).max())?;
    }

    #[test]
    fn joins(visits in visits(), cuts in cuts()) {
        let joined = (count(), to_vec().of(|visit: &Visit| &visit.page), last().of(|visit: &Visit| &visit.ms));
        check(&joined, &visits, &cuts, (
            visits.len() as u64,
            visits.iter().map(|visit| visit.page.clone()).collect(),
            visits.last().map_or(0, |visit| visit.ms),
        ))?;
        let n = visits.len() as u64;
        let twelve = (count(), count(), count(), count(), count(), count(), count(), count(), count(), count(), count(),
            (count(), distinct().of(|visit: &Visit| &visit.ms)));
        let different = visits.iter().map(|visit| visit.ms).collect::<BTreeSet<_>>().len() as u64;
        check_total(twelve, &visits, &cuts, (n, n, n, n, n, n, n, n, n, n, n, (n, different)))?;
    }

    #[test]
    fn keys(visits in visits(), cuts in cuts()) {
        let mut naive = BTreeMap::<String, Vec<u32>>::new();
        visits.iter().for_each(|visit| naive.entry(visit.page.clone()).or_default().push(visit.ms));
        let times = to_vec().of(|visit: &Visit| &visit.ms);
        check_total(times.by_key(|visit: &Visit| visit.page.clone()), &visits, &cuts, naive.clone())?;
        check_total(times.by_key_of(|visit: &Visit| visit.page.as_str()), &visits, &cuts, naive.clone())?;
        let hashed: HashMap<_, _> = naive.clone().into_iter().collect();
        check_total(times.hashed_by_key(|visit: &Visit| visit.page.clone()), &visits, &cuts, hashed)?;
        let longest = naive.values().map(Vec::len).max().unwrap_or(0);
        let nested = times.by_key_of(|visit: &Visit| &visit.page)
            .after(|pages| pages.values().map(Vec::len).max().unwrap_or(0));
        check_total(nested, &visits, &cuts, longest)?;
    }

    #[test]
    fn sketches(items in vec(0..50_u8, 0..30), cuts in cuts()) {
        let naive = items.iter().fold(0, |bits, item| bits | 1 << item);
        check_total(sketched::<Bits, _>().after(|bits| bits.0), &items, &cuts, naive)?;
    }

    #[test]
    fn folds_and_scans(items in vec(-9..9_i32, 0..30)) {
        let total: i32 = items.iter().sum();
        let fold = (sum().to_fold(), fold(1, |product: &mut i32, item: &i32| *product = product.wrapping_mul(*item)));
        let product = items.iter().fold(1_i32, |product, item| product.wrapping_mul(*item));
        prop_assert_eq!(fold.run(&items), (total, product));
        let halves = [sum().to_fold(), sum().to_fold()].before(|item: &i32| item / 2).after(|[a, b]| a + b);
        prop_assert_eq!(halves.run(&items), items.iter().map(|item| item / 2 * 2).sum::<i32>());

        let change = || scan(0, |last, item: &i32| item - std::mem::replace(last, *item));
        let changes: Vec<i32> = items.iter().zip([0].iter().chain(&items)).map(|(item, last)| item - last).collect();
        prop_assert_eq!(change().run(&items).collect::<Vec<_>>(), changes);
        // The sums of the changes are the items again.
        prop_assert_eq!(change().then(sum().to_scan()).run(&items).collect::<Vec<_>>(), items.clone());
        let joined = (index(), change().with_item().after(|(item, change)| item - change));
        let before: Vec<(u64, i32)> = (0..).zip([0].iter().chain(&items).copied()).take(items.len()).collect();
        prop_assert_eq!(joined.run(&items).collect::<Vec<_>>(), before);
        let running: Vec<i32> = sum().running(&items).collect();
        prop_assert_eq!(sum().to_scan().run(&items).collect::<Vec<_>>(), running);
        let pair: Vec<[u64; 2]> = [index(), index()].of(|item: &i32| item).run(&items).collect();
        prop_assert_eq!(pair, (0..items.len() as u64).map(|at| [at, at]).collect::<Vec<_>>());
    }

    #[test]
    fn bounded(items in vec(0..20_u8, 0..30), cuts in cuts()) {
        let mut sorted = items.clone();
        sorted.sort_unstable();
        check_total(smallest::<_, 3>(), &items, &cuts, sorted.iter().copied().take(3).collect())?;
        check_total(largest::<_, 3>(), &items, &cuts, sorted.iter().rev().copied().take(3).collect())?;
        let sample = || sketched::<Sample<u8, 5, 1>, _>().before(|item: &u8| (*item, *item));
        let different: BTreeSet<u8> = items.iter().copied().collect();
        check_total(
            sample().after(|sample| sample.values().len()), &items, &cuts, different.len().min(5))?;
        let kept = |item: &u8| bernoulli::<1>(item, 0.5);
        check_total(count_if(kept), &items, &cuts, items.iter().filter(|item| kept(item)).count() as u64)?;
    }

    #[test]
    fn arrays(items in vec(0..40_u64, 0..30), cuts in cuts()) {
        let bits = [2, 3, 5].map(|divisor| count_if(move |item: &u64| item.is_multiple_of(divisor)));
        let naive = [2, 3, 5].map(|divisor| items.iter().filter(|item| **item % divisor == 0).count() as u64);
        check_total(bits, &items, &cuts, naive)?;
    }

    #[test]
    fn exact_sums(items in vec(-1e300..1e300, 0..30), cuts in cuts()) {
        let mut turned = items.clone();
        turned.reverse();
        laws::aggregates(&exact_sum(), &items, &cuts)?;
        prop_assert_eq!(exact_sum().total(&items), exact_sum().total(&turned));
    }
}

/// The smallest sketch: a bit for each item.
#[derive(Clone, Debug, PartialEq)]
struct Bits(u64);

impl Semigroup for Bits {
    fn plus(&mut self, right: Self) {
        self.0 |= right.0;
    }
}

impl Monoid for Bits {
    fn zero() -> Self {
        Self(0)
    }

    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Sketch<u8> for Bits {
    fn add(&mut self, item: &u8) {
        self.0 |= 1 << item;
    }
}

/// Adds something else than it prepares, forgets when it merges, and changes its mind.
struct Broken;

#[derive(Clone, Debug, PartialEq)]
struct Forgets(i32);

impl Semigroup for Forgets {
    fn plus(&mut self, right: Self) {
        self.0 -= right.0;
    }
}

impl Aggregator<i32> for Broken {
    type State = Forgets;
    type Output = i32;

    fn prepare(&self, item: &i32) -> Forgets {
        Forgets(*item)
    }

    fn add(&self, state: &mut Forgets, item: &i32) {
        state.0 += item;
    }

    fn present(&self, state: Forgets) -> i32 {
        state.0
    }
}

#[test]
fn what_is_broken_is_found() {
    let broken = laws::adds_what_it_prepares(&Broken, &[1, 2], PartialEq::eq).unwrap_err();
    assert_eq!(
        broken.to_string(),
        "add(s, x) = s ⊕ prepare(x) does not hold: left=Forgets(3) right=Forgets(-1)"
    );
    laws::merges(&Broken, &[1, 2], &[1], PartialEq::eq).unwrap_err();
    laws::runs_to_the_end(&Broken, &[1, 2], |_, _| false).unwrap_err();
    laws::aggregates(&Broken, &[1, 2], &[]).unwrap_err();
}

#[test]
fn the_sum_of_floats_is_compensated() {
    let items = [1e100, 1.0, -1e100];
    assert_eq!(float_sum().total(&items), 1.0);
    assert_eq!(
        sum().before(|item: &f64| Sum::from(*item)).total(&items).value(),
        1.0
    );
}

#[test]
fn an_aggregator_serves_many() {
    let largest: &dyn Aggregator<u8, State = Max<u8>, Output = u8> = &max();
    assert_eq!((largest, &largest).aggregate(&[3, 7]), Some((7, 7)));
    let states = sum().by_key(|item: &u64| item % 2);
    let threads: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = [[1, 2], [3, 4]]
            .into_iter()
            .map(|part| scope.spawn(move || states.state_of(&part)))
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(
        Option::sum(threads).flatten(),
        Some(BTreeMap::from([(0, 6), (1, 4)]))
    );
}
