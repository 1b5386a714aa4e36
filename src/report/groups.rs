//! Which conversation does a span belong to?

use std::collections::{HashMap, HashSet};

use opentelemetry::trace::TraceId;

use super::reading::Reading;
use super::role::Role;
use super::tree::Node;
use super::vocabulary as names;

/// The spans of one conversation, or of a trace that is none.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The conversation's own span.
    pub(super) span: Option<usize>,
    pub(super) id: Option<String>,
    traces: HashSet<TraceId>,
    /// All of its nodes, each after the one that it hangs on.
    pub(super) members: Vec<usize>,
}

impl Group {
    /// Whether nothing but a trace holds it together.
    fn is_unnamed(&self) -> bool {
        self.span.is_none() && self.id.is_none()
    }
}

/// Parts the nodes: by the conversation's span above, by the conversation's id, and by the trace, where that is in one
/// conversation alone.
pub(super) fn groups(nodes: &[Node]) -> Vec<Group> {
    let mut groups = Groups::default();
    for (place, node) in nodes.iter().enumerate().filter(|(_, node)| node.role == Role::Conversation) {
        groups.open(Some(place), id_of(node).map(str::to_owned), node.span.trace_id);
    }
    let mut of_node = Vec::with_capacity(nodes.len());
    for (place, node) in nodes.iter().enumerate() {
        let above = node.parent.and_then(|parent| of_node.get(parent).copied());
        of_node.push(groups.of(place, node, above, nodes));
    }
    groups.take_unnamed_in(&mut of_node, nodes);
    for (place, group) in of_node.into_iter().enumerate() {
        if let Some(group) = groups.all.get_mut(group) {
            group.members.push(place);
        }
    }
    groups.all.retain(|group| !group.members.is_empty());
    groups.all
}

fn id_of(node: &Node) -> Option<&str> {
    Reading::of(&[&node.span]).text(names::CONVERSATION_ID)
}

#[derive(Debug, Default)]
struct Groups {
    all: Vec<Group>,
    by_id: HashMap<String, Vec<usize>>,
    by_span: HashMap<usize, usize>,
    unnamed: HashMap<TraceId, usize>,
}

impl Groups {
    fn open(&mut self, span: Option<usize>, id: Option<String>, trace: TraceId) -> usize {
        let place = self.all.len();
        if let Some(id) = &id {
            self.by_id.entry(id.clone()).or_default().push(place);
        }
        if let Some(span) = span {
            self.by_span.insert(span, place);
        }
        self.all.push(Group { span, id, traces: HashSet::from([trace]), members: Vec::new() });
        place
    }

    /// The group of a node, whose parent is in the group `above`.
    fn of(&mut self, place: usize, node: &Node, above: Option<usize>, nodes: &[Node]) -> usize {
        if let Some(own) = self.by_span.get(&place) {
            return *own;
        }
        let id = id_of(node);
        let known = above.and_then(|above| self.all.get(above));
        match (above, known, id) {
            (Some(above), _, None) => above,
            // A conversation may learn its id after its span has opened.
            (Some(above), Some(group), Some(_)) if group.id.is_none() && group.span.is_some() => above,
            (Some(above), Some(group), Some(id)) if group.id.as_deref() == Some(id) => above,
            (_, _, Some(id)) => self.named(id, node, nodes),
            (None, _, None) => self.of_trace(node.span.trace_id),
        }
    }

    /// The conversation of this id: in the same trace, or the one that was going on.
    fn named(&mut self, id: &str, node: &Node, nodes: &[Node]) -> usize {
        let (trace, start) = (node.span.trace_id, node.span.start);
        let began = |group: &Group| group.span.and_then(|span| nodes.get(span)).map(|node| node.span.start);
        let candidates = self.by_id.get(id).into_iter().flatten();
        let candidates = candidates.filter_map(|place| Some((*place, self.all.get(*place)?)));
        let best = candidates.max_by_key(|(_, group)| {
            (group.traces.contains(&trace), began(group).filter(|began| *began <= start), group.span.is_none())
        });
        let Some((place, _)) = best else { return self.open(None, Some(id.to_owned()), trace) };
        if let Some(group) = self.all.get_mut(place) {
            group.traces.insert(trace);
        }
        place
    }

    fn of_trace(&mut self, trace: TraceId) -> usize {
        if let Some(place) = self.unnamed.get(&trace) {
            return *place;
        }
        let place = self.open(None, None, trace);
        self.unnamed.insert(trace, place);
        place
    }

    /// What no conversation claims belongs to the one conversation of its trace.
    fn take_unnamed_in(&mut self, of_node: &mut [usize], nodes: &[Node]) {
        let mut claims: HashMap<TraceId, Option<usize>> = HashMap::new();
        for (group, node) in of_node.iter().zip(nodes) {
            if self.all.get(*group).is_none_or(Group::is_unnamed) {
                continue;
            }
            let claim = claims.entry(node.span.trace_id).or_insert(Some(*group));
            *claim = claim.filter(|other| other == group);
        }
        for (group, node) in of_node.iter_mut().zip(nodes) {
            let claim = claims.get(&node.span.trace_id).copied().flatten();
            if let Some(claim) = claim.filter(|_| self.all.get(*group).is_some_and(Group::is_unnamed)) {
                *group = claim;
            }
        }
    }
}
