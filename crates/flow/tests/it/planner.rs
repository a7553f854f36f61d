//! What the rules make of graphs; that they take time in proportion to a graph; and rules that are wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flow::{
    Draft, ErrorKind, Graph, JobOptions, Local, Memory, NodeId, NodeKind, PlanOptions, Planner, Producer,
    Result, Rule, Sink, Source, Tail, VecSink, VecSource, rules,
};

use crate::kit::{options, runtime, timed};
use crate::rules::planned_by;

type Numbers = Producer<Memory, i64>;

fn source() -> Numbers {
    Producer::source(Vec::new())
}

fn planned(tail: &impl Tail<Memory>) -> Graph {
    tail.planned(&PlanOptions::default()).unwrap()
}

/// The nodes, a line each: title and parents.
fn lines(graph: &Graph) -> String {
    let line = |node: &flow::NodeInfo| {
        let parents: Vec<String> = node.parents.iter().map(|parent| parent.0.to_string()).collect();
        format!("{} {} <- {}\n", node.id.0, node.title(), parents.join(" "))
    };
    graph.nodes().iter().map(line).collect()
}

fn check(tail: &impl Tail<Memory>, expected: &str) {
    let expected: String = expected
        .lines()
        .map(|line| line.trim().to_owned() + "\n")
        .collect();
    let lines: String = lines(&planned(tail))
        .lines()
        .map(|line| line.trim().to_owned() + "\n")
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn functions_that_keep_the_type_are_composed() {
    let odd = source().filter(|n| n % 2 != 0).name("odd");
    let text = odd.map(|n| n + 1).map(|n| n.to_string()).name("text");
    let kept = text.filter(|text| text.len() > 1).filter(|text| text.len() < 5);
    check(
        &kept.map(|text| text.len()).write(Arc::default()),
        "0 source <-
         1 filter odd ▸ map ▸ map text ▸ filter ▸ filter <- 0
         2 map <- 1
         3 write <- 2",
    );
}

#[test]
fn a_function_that_others_read_stays() {
    let odd = source().filter(|n| n % 2 != 0);
    let (a, b) = (odd.map(|n| n + 1), odd.filter(|n| *n > 3));
    check(
        &a.write(Arc::default()).also(b.write(Arc::default())),
        "0 source <-
         1 filter <- 0
         2 map <- 1
         3 write <- 2
         4 filter <- 1
         5 write <- 4",
    );
}

#[test]
fn merges_of_merges_are_one_and_a_merge_with_itself_stays() {
    let (a, b, c) = (source(), source(), source());
    let inner = a.merge(&b).name("inner");
    check(
        &inner.merge(&c).merge(&c).write(Arc::default()),
        "0 source <-
         1 source <-
         2 source <-
         3 merge inner <- 0 1 2 2
         4 write <- 3",
    );
}

#[test]
fn a_diamond_is_one_function() {
    let numbers = source();
    let (a, b) = (
        numbers.map(|n| n + 1).name("a"),
        numbers.filter(|n| *n > 0).name("b"),
    );
    let both = a.merge(&b).merge(&numbers.flat_map(|n| [n, n])).name("both");
    check(
        &both.write(Arc::default()),
        "0 source <-
         1 (map a | filter b | flat_map) ▸ merge both <- 0
         2 write <- 1",
    );
}

#[test]
fn a_function_is_pulled_up_where_it_meets_its_like() {
    let (a, b) = (source(), source());
    let over = a.merge(&b).map(|n| n + 1).name("f");
    check(
        &over.merge(&a.map(|n| n + 2).name("g")).write(Arc::default()),
        "0 source <-
         1 source <-
         2 map f <- 1
         3 (map f | map g) <- 0
         4 merge <- 3 2
         5 write <- 4",
    );
    let alone = a.merge(&b).map(|n| n + 1).name("f");
    check(
        &alone.merge(&source().map(|n| n + 2)).write(Arc::default()),
        "0 source <-
         1 source <-
         2 merge <- 0 1
         3 map f <- 2
         4 source <-
         5 map <- 4
         6 merge <- 3 5
         7 write <- 6",
    );
}

#[test]
fn what_nothing_reads_goes() {
    let pairs = source().map(|n| (n % 3, n as u64));
    let scan = pairs.scan_by_key(Arc::default()).name("scan");
    check(
        &scan,
        "0 source <-
         1 map <- 0
         2 sum <- 1",
    );
    let read = pairs.scan_by_key(Arc::default()).name("scan");
    check(
        &read.write(Arc::default()).also(read),
        "0 source <-
         1 map <- 0
         2 sum <- 1
         3 map scan <- 2
         4 write <- 3",
    );
}

#[test]
fn stages_are_drawn_as_boxes() {
    let words = source().name("lines").filter(|n| *n > 1).map(|n| (n, 1u64));
    let counts = words.sum_by_key(Arc::default()).name("counts");
    let changed = counts.map(|(n, (_, delta))| (n, delta)).filter(|(n, _)| *n > 7);
    let graph = planned(&counts.also(changed.write(Arc::default())));
    let mermaid = r#"flowchart LR
  n0(["source lines"])
  n2[("sum counts")]
  n4[("write")]
  subgraph s1 ["stage 1"]
    n1["filter ▸ map"]
  end
  subgraph s2 ["stage 2"]
    n3["map ▸ filter"]
  end
  n0 --> n1
  n1 --> n2
  n2 --> n3
  n3 --> n4
"#;
    assert_eq!(graph.to_mermaid(), mermaid);
    let dot = r#"  subgraph cluster_2 {
    label="stage 2"; style=rounded; color=gray;
    n3 [label="map ▸ filter", shape=box];
  }
"#;
    assert!(graph.to_dot().contains(dot), "{}", graph.to_dot());
    assert_eq!(graph.stages(), [vec![NodeId(1)], vec![NodeId(3)]]);
}

/// A rule that counts how often it is asked.
struct Counting<R>(R, Arc<AtomicUsize>);

impl<R: Rule> Rule for Counting<R> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn apply(&self, node: NodeId, draft: &mut Draft) -> Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.apply(node, draft)
    }
}

fn counting(calls: &Arc<AtomicUsize>) -> Planner {
    Planner::none()
        .with(Counting(rules::DropUnread, calls.clone()))
        .with(Counting(rules::FlattenMerges, calls.clone()))
        .with(Counting(rules::PullUpMerges, calls.clone()))
        .with(Counting(rules::JoinDiamonds, calls.clone()))
        .with(Counting(rules::ComposeFunctions, calls.clone()))
}

const LARGE: usize = 12_000;

fn number<'a>(sources: &'a [Producer<Local, i64>]) -> impl Fn(usize) -> Producer<Local, i64> + 'a {
    |n| sources[n % sources.len()].clone()
}

/// Graphs of more than ten thousand nodes: deep, wide, and both.
fn large(sources: &[Producer<Local, i64>]) -> Vec<(&'static str, Producer<Local, i64>)> {
    let at = number(sources);
    let deep = (0..LARGE).fold(at(0), |node, n| match n % 4 {
        0 => node.filter(|n| *n >= 0),
        1 => node.map(|n| n + 1),
        2 => node.map(|n| n.to_string()).map(|text| text.len() as i64),
        _ => node.map(|n| (n, n)).keys(),
    });
    let sides = || (0..LARGE).map(|n| at(n).map(move |m| m + n as i64));
    let left = sides().reduce(|a, b| a.merge(&b)).unwrap();
    let right = sides().reduce(|a, b| b.merge(&a)).unwrap();
    let mut level: Vec<_> = sides()
        .map(|side| side.map(|n| n.to_string()).map(|text| text.len() as i64))
        .collect();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| pair.iter().cloned().reduce(|a, b| a.merge(&b)).unwrap())
            .collect();
    }
    // Each level is a function over a merge with its like beside it, of what is above or of a source.
    let tower = (0..LARGE / 4).fold(at(0), |node, n| {
        let over = node.merge(&at(n)).filter(|n| n % 2 == 0);
        over.merge(&at(n).map(|n| n + 1)).filter(|n| n % 3 == 0)
    });
    vec![
        ("deep", deep),
        ("left", left),
        ("right", right),
        ("wide", level.remove(0)),
        ("tower", tower),
    ]
}

#[test]
fn planning_takes_time_in_proportion() {
    let source = || Arc::new(VecSource::new(timed(0..3i64))) as Arc<dyn Source<i64>>;
    let sources: Vec<_> = (0..3)
        .map(|n| Producer::<Local, _>::source(source()).name(format!("s{n}")))
        .collect();
    for (shape, node) in large(&sources) {
        let calls = Arc::default();
        let tail = node.write(Arc::new(VecSink::default()) as Arc<dyn Sink<i64>>);
        let nodes = tail.graph().nodes().len();
        assert!(nodes > 10_000, "{shape}: {nodes}");
        let plan = planned_by(counting(&calls));
        let planned = tail.planned(&plan).unwrap().nodes().len();
        let calls = calls.load(Ordering::Relaxed);
        assert!(calls <= 20 * nodes, "{shape}: calls={calls} nodes={nodes}");
        assert!(planned <= nodes, "{shape}: planned={planned} nodes={nodes}");
        let rested = |plan: PlanOptions| {
            let sink = VecSink::default();
            let tail = node.write(Arc::new(sink.clone()) as Arc<dyn Sink<i64>>);
            let options = JobOptions {
                plan,
                ..options(1 << 20, 1)
            };
            runtime()
                .block_on(async { Local::run(shape, &tail, options).unwrap().join().await })
                .unwrap();
            let mut items = sink.items();
            items.sort_unstable();
            items
        };
        assert_eq!(rested(plan), rested(planned_by(Planner::none())), "{shape}");
    }
}

/// A rule from a function.
struct Rewrite(fn(NodeId, &mut Draft) -> Result<()>);

impl Rule for Rewrite {
    fn name(&self) -> &'static str {
        "rewrite"
    }
    fn apply(&self, node: NodeId, draft: &mut Draft) -> Result<()> {
        (self.0)(node, draft)
    }
}

#[test]
fn rules_that_are_wrong_are_refused() {
    let numbers = source();
    let texts = numbers.map(|n| n.to_string()).name("texts");
    let looped = numbers.merge(&source()).map(|n| n + 1);
    let tail = texts.write(Arc::default()).also(looped.write(Arc::default()));
    let refused = |rule: fn(NodeId, &mut Draft) -> Result<()>| {
        let planner = Planner::none().with(Rewrite(rule));
        let error = tail.planned(&planned_by(planner)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    let other_type = refused(|node, draft| {
        let parent = draft.parents(node).first().copied();
        match parent.and_then(|parent| draft.merged(vec![parent])) {
            Some(form) if draft.is_function(node) => draft.replace(node, form),
            _ => Ok(()),
        }
    });
    assert_eq!(
        other_type,
        "a function or a merge may only be replaced by what hands on the same type: mend the rule node=map texts \
         type=alloc::string::String new_type=i64"
    );
    let cycle = refused(|node, draft| {
        let reader = draft.readers(node).next();
        match reader.and_then(|reader| draft.merged(vec![reader])) {
            Some(form) if draft.is_merge(node) && draft.parents(node).len() == 2 => draft.replace(node, form),
            _ => Ok(()),
        }
    });
    assert!(cycle.contains("cycle"), "{cycle}");
    let restless = refused(|node, draft| match draft.merged(draft.parents(node).to_vec()) {
        Some(form) if draft.is_merge(node) => draft.replace(node, form),
        _ => Ok(()),
    });
    assert!(
        restless.contains("do not come to rest") && restless.contains("rule=rewrite"),
        "{restless}"
    );
    let tail_replaced = refused(|node, draft| match draft.merged(vec![node]) {
        Some(form) if draft.kind(node) == NodeKind::Write => draft.replace(node, form),
        _ => Ok(()),
    });
    assert!(tail_replaced.contains("node=write"), "{tail_replaced}");
}

#[test]
fn an_own_rule_changes_the_graph() {
    /// Leaves one side of each merge of a node with itself.
    fn once(node: NodeId, draft: &mut Draft) -> Result<()> {
        match draft.parents(node) {
            [a, b] if a == b && draft.is_merge(node) => {
                let form = draft.merged(vec![*a]).expect("one side has one type");
                draft.replace(node, form)
            }
            _ => Ok(()),
        }
    }
    let sink = Arc::default();
    let numbers = Producer::<Memory, _>::source(timed(0..3i64));
    let tail = numbers.merge(&numbers).write(Arc::clone(&sink));
    let planner = Planner::default().with(Rewrite(once));
    Memory::run_with(&tail, &planned_by(planner)).unwrap();
    assert_eq!(*sink.lock().unwrap(), timed(0..3));
}
