//! Drawings of a graph: Mermaid and Graphviz, a box for each stage of a planned one.

use std::fmt::Write as _;

use super::{Graph, NodeId, NodeInfo, NodeKind};

/// The shape of a drawn node.
enum Outline {
    Source,
    Tail,
    Other,
}

impl Graph {
    /// A Mermaid flow chart; stages are subgraphs.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        self.boxed(|part| {
            let _ = match part {
                Part::Node(indent, node) => {
                    let (open, close) = match outline(node) {
                        Outline::Source => ("([", "])"),
                        Outline::Tail => ("[(", ")]"),
                        Outline::Other => ("[", "]"),
                    };
                    let label = label(node, "<br/>", |text| text.replace('"', "#quot;"));
                    writeln!(text, "  {indent}n{}{open}\"{label}\"{close}", node.id.0)
                }
                Part::Open(n) => writeln!(text, "  subgraph s{n} [\"stage {n}\"]"),
                Part::Close => writeln!(text, "  end"),
            };
        });
        self.edges(|from, to| {
            let _ = writeln!(text, "  n{from} --> n{to}");
        });
        if let Some(legend) = self.legend("<br/>") {
            let _ = writeln!(text, "  counters>\"{}\"]", legend.replace('"', "#quot;"));
        }
        text
    }

    /// A Graphviz digraph; stages are clusters.
    pub fn to_dot(&self) -> String {
        let mut text = String::from("digraph job {\n  rankdir=LR;\n");
        self.boxed(|part| {
            let _ = match part {
                Part::Node(indent, node) => {
                    let shape = match outline(node) {
                        Outline::Source => "ellipse",
                        Outline::Tail => "cylinder",
                        Outline::Other => "box",
                    };
                    let label = label(node, "\\n", quoted);
                    writeln!(
                        text,
                        "  {indent}n{} [label=\"{label}\", shape={shape}];",
                        node.id.0
                    )
                }
                Part::Open(n) => writeln!(
                    text,
                    "  subgraph cluster_{n} {{\n    label=\"stage {n}\"; style=rounded; color=gray;"
                ),
                Part::Close => writeln!(text, "  }}"),
            };
        });
        self.edges(|from, to| {
            let _ = writeln!(text, "  n{from} -> n{to};");
        });
        if let Some(legend) = self.legend("\n") {
            let label = quoted(&legend).replace('\n', "\\l");
            let _ = writeln!(text, "  counters [label=\"{label}\\l\", shape=note];");
        }
        text.push_str("}\n");
        text
    }

    /// The nodes outside of stages, then the stages with theirs.
    fn boxed(&self, mut draw: impl FnMut(Part<'_>)) {
        let mut staged = vec![false; self.nodes.len()];
        for NodeId(n) in self.stages.iter().flatten() {
            staged[*n] = true;
        }
        for node in self.nodes.iter().filter(|node| !staged[node.id.0]) {
            draw(Part::Node("", node));
        }
        for (n, stage) in (1..).zip(&self.stages) {
            draw(Part::Open(n));
            stage
                .iter()
                .for_each(|node| draw(Part::Node("  ", &self.nodes[node.0])));
            draw(Part::Close);
        }
    }

    fn edges(&self, mut edge: impl FnMut(usize, usize)) {
        for node in &self.nodes {
            for parent in &node.parents {
                edge(parent.0, node.id.0);
            }
        }
    }

    /// The counts, a line each.
    fn legend(&self, line_end: &str) -> Option<String> {
        let lines = self.counts.iter().map(|(name, n)| format!("{name}: {n}"));
        let lines: Vec<String> = lines.collect();
        (!lines.is_empty()).then(|| lines.join(line_end))
    }
}

enum Part<'a> {
    /// With what it is indented by.
    Node(&'static str, &'a NodeInfo),
    Open(usize),
    Close,
}

fn outline(node: &NodeInfo) -> Outline {
    match node.kind {
        NodeKind::Source => Outline::Source,
        kind if kind.is_tail() => Outline::Tail,
        _ => Outline::Other,
    }
}

/// The title, and what has gone through.
fn label(node: &NodeInfo, line_end: &str, escape: impl Fn(&str) -> String) -> String {
    let title = escape(&node.title());
    match node.elements {
        None => title,
        Some(elements) if node.kind == NodeKind::Source => format!("{title}{line_end}{}", elements.given),
        Some(elements) => format!("{title}{line_end}{} in, {} out", elements.taken, elements.given),
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
