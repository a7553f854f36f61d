//! Options of nodes by name: who gets which, and what is refused.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use flow::{
    ErrorKind, Graph, JobOptions, Local, Memory, NodeId, NodeKind, NodeOptions, PlanOptions, Producer, Tail,
    Tails, VecSink, VecSource,
};
use proptest::prelude::*;

use crate::kit::{Add, runtime, timed};

pub(crate) fn parallelism(n: usize) -> NodeOptions {
    NodeOptions {
        parallelism: Some(n),
        ..NodeOptions::default()
    }
}

fn plan(set: &[(&str, NodeOptions)]) -> PlanOptions {
    PlanOptions {
        nodes: set
            .iter()
            .map(|(name, options)| ((*name).to_owned(), options.clone()))
            .collect(),
        ..PlanOptions::default()
    }
}

fn memory() -> Producer<Memory, (u8, Add)> {
    Producer::source(Vec::new())
}

/// `lines` → `found` (a look-up) → `counts` and `totals` (sums)
fn job() -> Tails<Memory> {
    let found = memory()
        .name("lines")
        .left_join(BTreeMap::<u8, Add>::new())
        .name("found");
    let pairs = found.map_values(|(value, _)| value);
    let counts = pairs.sum_by_key(Arc::default()).name("counts").name("all counts");
    counts.also(
        pairs
            .keys()
            .map(|key| (key, Add(1)))
            .sum_by_key(Arc::default())
            .name("totals"),
    )
}

/// The parallelism of source, look-up and both sums.
fn given(set: &[(&str, usize)]) -> Vec<Option<usize>> {
    let set: Vec<_> = set.iter().map(|(name, n)| (*name, parallelism(*n))).collect();
    let graph = job().planned(&plan(&set)).unwrap();
    let reads = |kind| matches!(kind, NodeKind::Source | NodeKind::Lookup | NodeKind::Sum);
    let nodes = graph.nodes().iter().filter(|node| reads(node.kind));
    nodes.map(|node| node.options.parallelism).collect()
}

#[test]
fn a_name_is_seen_from_its_node_up_to_the_sources_and_the_nearest_wins() {
    assert_eq!(given(&[]), [None; 4]);
    assert_eq!(given(&[("lines", 1)]), [Some(1), None, None, None]);
    assert_eq!(given(&[("counts", 1)]), [Some(1), Some(1), Some(1), None]);
    assert_eq!(
        given(&[("counts", 1), ("lines", 2)]),
        [Some(2), Some(1), Some(1), None]
    );
    // `found` names the step after the look-up, which is nearer to it than the sums are.
    assert_eq!(
        given(&[("counts", 1), ("found", 3)]),
        [Some(3), Some(3), Some(1), None]
    );
    // The sums are not equally near to the look-up.
    assert_eq!(
        given(&[("totals", 2), ("counts", 1)]),
        [Some(1), Some(1), Some(1), Some(2)]
    );
    // Of two names of a node the first is nearer.
    assert_eq!(given(&[("all counts", 5)])[2], Some(5));
    assert_eq!(given(&[("all counts", 5), ("counts", 4)])[2], Some(4));
}

#[test]
fn of_two_names_that_are_equally_near_that_of_the_first_tail_wins() {
    let source = memory();
    let tail = |name| source.sum_by_key(Arc::default()).name(name);
    for (first, second) in [("a", "b"), ("b", "a")] {
        let options = plan(&[("a", parallelism(1)), ("b", parallelism(2))]);
        let graph = tail(first).also(tail(second)).planned(&options).unwrap();
        let expected = options.nodes[first].parallelism;
        assert_eq!(graph.nodes()[0].options.parallelism, expected);
    }
}

#[test]
fn an_option_for_all_holds_where_no_name_sets_it() {
    let mut options = plan(&[("counts", parallelism(3))]);
    options.set("parallelism", "7").unwrap();
    options.set("totals.call_keys_max", "2KiB").unwrap();
    let graph = job().planned(&options).unwrap();
    let nodes = graph.nodes().iter().filter(|node| node.kind == NodeKind::Sum);
    let nodes: Vec<_> = nodes.map(|node| node.options.clone()).collect();
    assert_eq!(nodes[0], parallelism(3));
    let expected = NodeOptions {
        call_keys_max: Some(2048),
        ..parallelism(7)
    };
    assert_eq!(nodes[1], expected);
}

/// The value for each node, found by looking at all names for each.
fn naive(graph: &Graph, set: &BTreeMap<String, NodeOptions>) -> Vec<Option<usize>> {
    let of = |node: NodeId| {
        let (mut level, mut seen) = (vec![node], HashSet::from([node]));
        while !level.is_empty() {
            level.sort();
            for node in &level {
                let names = &graph.nodes()[node.0].names;
                if let Some(value) = names.iter().find_map(|name| set.get(name)?.parallelism) {
                    return Some(value);
                }
            }
            let below = |child: &&flow::NodeInfo| child.parents.iter().any(|parent| level.contains(parent));
            let next = graph.nodes().iter().filter(below).map(|child| child.id);
            level = next.filter(|child| seen.insert(*child)).collect();
        }
        None
    };
    let reads =
        |kind: NodeKind| kind == NodeKind::Source || kind == NodeKind::Lookup || kind == NodeKind::Sum;
    let nodes = graph.nodes().iter();
    nodes
        .map(|node| reads(node.kind).then(|| of(node.id)).flatten())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn who_gets_which_is_what_the_naive_search_finds(
        steps in prop::collection::vec((0usize..5, 0usize..8, 0usize..8, prop::option::of(0usize..6)), 1..16),
        set in prop::collection::btree_map((0usize..6).prop_map(|n| format!("n{n}")), 1usize..9, 0..5),
    ) {
        let mut producers = vec![memory()];
        let mut tails = producers[0].write(Arc::default()).ends();
        for (what, a, b, name) in steps {
            let at = |n: usize| producers[n % producers.len()].clone();
            let mut next = match what {
                0 => memory(),
                1 => at(a).merge(&at(b)),
                2 => at(a).map(|pair| pair),
                3 => at(a).left_join(BTreeMap::<u8, Add>::new()).map_values(|(value, _)| value),
                _ => {
                    let sum = at(a).sum_by_key(Arc::default());
                    tails = tails.also(sum.clone());
                    sum.map(|(key, (_, delta))| (key, delta))
                }
            };
            if let Some(name) = name {
                next = next.name(format!("n{name}"));
            }
            tails = tails.also(next.write(Arc::default()));
            producers.push(next);
        }
        let graph = tails.graph();
        let known: HashSet<&String> = graph.nodes().iter().flat_map(|node| &node.names).collect();
        let set: BTreeMap<_, _> = set.into_iter().filter(|(name, _)| known.contains(name)).collect();
        let options = PlanOptions {
            nodes: set.into_iter().map(|(name, n)| (name, parallelism(n))).collect(),
            ..PlanOptions::default()
        };
        let expected = naive(&graph, &options.nodes);
        for node in tails.planned(&options).unwrap().nodes() {
            let member = node.members[0];
            if let NodeKind::Source | NodeKind::Lookup | NodeKind::Sum = node.kind {
                prop_assert_eq!(node.options.parallelism, expected[member.0]);
            }
        }
    }
}

fn refused(options: &PlanOptions) -> String {
    let error = job().planned(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(Memory::run_with(&job(), options).is_err());
    error.to_string()
}

#[test]
fn what_nothing_reads_is_an_error() {
    assert_eq!(
        refused(&plan(&[("count", parallelism(1))])),
        "there is no such name, did you mean `counts`? name=\"count\" known=[all counts, counts, found, lines, totals]"
    );
    let cache = NodeOptions {
        cache_elements: Some(5),
        ..NodeOptions::default()
    };
    assert_eq!(
        refused(&plan(&[("lines", cache)])),
        "nothing with this name or above it reads the option: leave it out, or name a node that does name=\"lines\" \
         option=cache_elements read_by=[lookup] kind=source options_of_the_kind=[parallelism, epoch_bytes_max]"
    );
    assert_eq!(
        refused(&plan(&[("counts", parallelism(0))])),
        "an option is too small name=\"counts\" option=parallelism value=0 min=1"
    );
    let error = JobOptions::default().set("counts.paralelism", "2").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no such option, did you mean `parallelism`? option=\"paralelism\" \
         known=[parallelism, epoch_bytes_max, call_keys_max, calls_max, cache_elements]"
    );
    for value in [
        "",
        "-1",
        "two",
        "1 EiB",
        "99999999999999999999",
        "18446744073709551615KiB",
    ] {
        let error = NodeOptions::default().set("epoch_bytes_max", value).unwrap_err();
        assert!(
            error.to_string().ends_with(&format!("value={value:?}")),
            "{error}"
        );
    }
    let tail = Producer::<Local, u8>::source(Arc::new(VecSource::new(timed([1u8]))) as _)
        .write(Arc::new(VecSink::default()) as _);
    let options = JobOptions::default().with("no one", parallelism(1));
    let error = runtime().block_on(async { Local::run("test", &tail, options).err().unwrap() });
    assert!(error.to_string().contains("no one"), "{error}");
}
