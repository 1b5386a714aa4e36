//! Which span hangs on which, whatever a file says?

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use opentelemetry::trace::{SpanId, TraceId};

use super::role::Role;
use super::span::{FinishedSpan, Timestamp};

/// Something about a span that can't be as a program meant it. The span stands in the report all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// The span hangs on one that is not there: never sampled, lost, or not ended yet. It stands at the top.
    Orphan {
        /// The span that it hangs on.
        parent: SpanId,
    },
    /// The span hangs on one that hangs on it. The circle is cut here: it stands at the top.
    Circle {
        /// The span that it hangs on.
        parent: SpanId,
    },
    /// Another span of the trace has the same id; what hangs on the id hangs on the other one.
    RepeatedId,
    /// The span ends before it starts: its clock ran backwards. Its duration counts as zero.
    EndsBeforeStart,
    /// Too many calls are above it: it stands beside the one that it hangs on.
    TooDeep,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orphan { parent } => write!(f, "orphan: its parent {parent} is not here"),
            Self::Circle { parent } => write!(f, "hangs on {parent}, which hangs on it: cut here"),
            Self::RepeatedId => f.write_str("another span has the same id"),
            Self::EndsBeforeStart => f.write_str("ends before it starts"),
            Self::TooDeep => f.write_str("nested too deep: beside its parent"),
        }
    }
}

/// A span and its place in the tree.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Arc<FinishedSpan>,
    pub(super) role: Role,
    /// The node that it hangs on: one further up in the list.
    pub(super) parent: Option<usize>,
    pub(super) oddities: Vec<Oddity>,
}

impl Node {
    pub(super) fn is_orphan(&self) -> bool {
        self.oddities.iter().any(|oddity| matches!(oddity, Oddity::Orphan { .. }))
    }
}

/// All spans, each after the one that it hangs on; and how many were there twice, equal in everything, and are left out.
pub(super) fn tree(spans: Vec<FinishedSpan>) -> (Vec<Node>, u64) {
    let (mut nodes, ids, repeated) = nodes(spans);
    for node in &mut nodes {
        let Some(parent) = node.span.parent_id else { continue };
        node.parent = ids.get(&(node.span.trace_id, parent)).copied();
        if node.parent.is_none() {
            node.oddities.push(Oddity::Orphan { parent });
        }
    }
    cut_circles(&mut nodes);
    (parents_first(nodes), repeated)
}

type Ids = HashMap<(TraceId, SpanId), usize>;

fn nodes(spans: Vec<FinishedSpan>) -> (Vec<Node>, Ids, u64) {
    let (mut nodes, mut ids, mut repeated) = (Vec::<Node>::with_capacity(spans.len()), Ids::new(), 0);
    for span in spans {
        let id = (span.trace_id, span.span_id);
        let mut oddities = Vec::new();
        if let Some(other) = ids.get(&id).and_then(|other| nodes.get(*other)) {
            if *other.span == span {
                repeated += 1;
                continue;
            }
            oddities.push(Oddity::RepeatedId);
        }
        ids.entry(id).or_insert(nodes.len());
        if span.end < span.start {
            oddities.push(Oddity::EndsBeforeStart);
        }
        nodes.push(Node { role: Role::of(&span), span: Arc::new(span), parent: None, oddities });
    }
    (nodes, ids, repeated)
}

/// Cuts each circle at the span that began first.
fn cut_circles(nodes: &mut [Node]) {
    let mut is_done = HashSet::new();
    for begin in 0..nodes.len() {
        let (mut path, mut next, mut on_path) = (Vec::new(), Some(begin), HashSet::new());
        while let Some(place) = next.filter(|place| !is_done.contains(place)) {
            if !on_path.insert(place) {
                let circle = path.iter().skip_while(|other| **other != place);
                let first = circle.min_by_key(|other| start(nodes, **other)).copied();
                cut(nodes, first);
                break;
            }
            path.push(place);
            next = nodes.get(place).and_then(|node| node.parent);
        }
        is_done.extend(path);
    }
}

fn start(nodes: &[Node], place: usize) -> Option<Timestamp> {
    nodes.get(place).map(|node| node.span.start)
}

fn cut(nodes: &mut [Node], place: Option<usize>) {
    let Some(node) = place.and_then(|place| nodes.get_mut(place)) else { return };
    node.parent = None;
    node.oddities.extend(node.span.parent_id.map(|parent| Oddity::Circle { parent }));
}

fn parents_first(nodes: Vec<Node>) -> Vec<Node> {
    let depths = depths(&nodes);
    let depth_of = |place: usize| depths.get(place).copied().unwrap_or_default();
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|place| (depth_of(*place), start(&nodes, *place)));

    let place_of: HashMap<usize, usize> = order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    let mut nodes: Vec<(usize, Node)> = nodes.into_iter().enumerate().collect();
    nodes.sort_by_key(|(old, _)| place_of.get(old).copied());
    let moved = |(_, mut node): (usize, Node)| {
        node.parent = node.parent.and_then(|parent| place_of.get(&parent).copied());
        node
    };
    nodes.into_iter().map(moved).collect()
}

/// How many nodes are above each. There are no circles any more.
fn depths(nodes: &[Node]) -> Vec<usize> {
    let mut depths: Vec<Option<usize>> = vec![None; nodes.len()];
    for start in 0..nodes.len() {
        let (mut path, mut next) = (Vec::new(), Some(start));
        while let Some(place) = next.filter(|place| depths.get(*place).copied().flatten().is_none()) {
            path.push(place);
            next = nodes.get(place).and_then(|node| node.parent);
        }
        let top = next.and_then(|place| depths.get(place).copied().flatten()).map_or(0, |depth| depth + 1);
        for (depth, place) in (top..).zip(path.into_iter().rev()) {
            if let Some(known) = depths.get_mut(place) {
                *known = Some(depth);
            }
        }
    }
    depths.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::{Node, Oddity, tree};
    use crate::report::{FinishedSpan, Timestamp};
    use opentelemetry::trace::SpanId;

    fn span(id: u64, parent: Option<u64>, start: u64) -> FinishedSpan {
        FinishedSpan {
            span_id: SpanId::from(id),
            parent_id: parent.map(SpanId::from),
            start: Timestamp::from_unix_nanos(start),
            end: Timestamp::from_unix_nanos(start + 1),
            ..FinishedSpan::default()
        }
    }

    /// Each span with the one that it hangs on.
    fn links(nodes: &[Node]) -> Vec<(SpanId, Option<SpanId>)> {
        nodes.iter().map(|node| (node.span.span_id, node.parent.map(|parent| nodes[parent].span.span_id))).collect()
    }

    #[test]
    fn a_circle_is_cut_at_its_first_span_and_says_so() {
        let (nodes, _) = tree(vec![span(1, Some(3), 5), span(2, Some(1), 4), span(3, Some(2), 6), span(4, Some(2), 7)]);
        let id = SpanId::from;
        assert_eq!(links(&nodes), [(id(2), None), (id(3), Some(id(2))), (id(4), Some(id(2))), (id(1), Some(id(3)))]);
        assert_eq!(nodes[0].oddities, [Oddity::Circle { parent: id(1) }]);
        let (nodes, _) = tree(vec![span(1, Some(1), 0)]);
        assert_eq!(nodes[0].oddities, [Oddity::Circle { parent: id(1) }]);
    }

    #[test]
    fn a_span_that_came_twice_counts_once_and_two_of_one_id_are_two() {
        let (nodes, repeated) = tree(vec![span(1, None, 0), span(1, None, 0), span(1, None, 9), span(2, Some(1), 3)]);
        assert_eq!((nodes.len(), repeated), (3, 1));
        assert_eq!(nodes[1].oddities, [Oddity::RepeatedId]);
        assert_eq!(nodes[2].parent, Some(0));
    }

    #[test]
    fn an_orphan_and_a_clock_that_runs_backwards_say_so() {
        let mut backwards = span(2, Some(7), 9);
        backwards.end = Timestamp::from_unix_nanos(3);
        let (nodes, _) = tree(vec![backwards]);
        assert_eq!(nodes[0].oddities, [Oddity::EndsBeforeStart, Oddity::Orphan { parent: SpanId::from(7) }]);
    }
}
