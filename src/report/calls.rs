//! Which calls does a turn have, and which calls have they?

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::kind::Kind;

use super::call::Call;
use super::role::Role;
use super::span::FinishedSpan;
use super::tree::{Node, Oddity};

/// How many calls may be above one another; what is deeper stands beside the one that it hangs on.
const MAX_DEPTH: usize = 64;

/// The calls that these nodes are, each with those below it.
pub(super) fn calls(nodes: &[Node], places: &[usize]) -> Vec<Call> {
    let links = links(nodes, places);
    let mut below: HashMap<usize, Below> = HashMap::new();
    let mut top = Vec::new();
    // From the leaves up: a call is made when all that hangs on it is there.
    for place in places.iter().rev() {
        let (Some(node), Some(link)) = (nodes.get(*place), links.get(place)) else { continue };
        let mine = below.remove(place).unwrap_or_default();
        if let Link::Same(outer) = link {
            // The outer of two says more: it comes first.
            let outer = below.entry(*outer).or_default();
            outer.same.splice(0..0, std::iter::once(Arc::clone(&node.span)).chain(mine.same));
            outer.calls.extend(mine.calls);
            outer.oddities.extend(node.oddities.iter().cloned().chain(mine.oddities));
            continue;
        }
        let kind = match node.role {
            Role::Call(kind) => kind,
            // A greeting, which is no turn.
            _ => Some(Kind::Agent),
        };
        let mut inner = mine.calls;
        inner.reverse();
        inner.sort_by_key(|call: &Call| call.start);
        let spans = std::iter::once(Arc::clone(&node.span)).chain(mine.same).collect();
        let Some(mut call) = Call::of(spans, kind, inner) else { continue };
        call.oddities.extend(node.oddities.iter().cloned().chain(mine.oddities));
        match link {
            Link::Below { call: outer, is_deep, .. } => {
                call.oddities.extend(is_deep.then_some(Oddity::TooDeep));
                below.entry(*outer).or_default().calls.push(call);
            }
            Link::Top | Link::Same(_) => top.push(call),
        }
    }
    top.reverse();
    top.sort_by_key(|call| call.start);
    top
}

/// What was found below a node that is no call yet.
#[derive(Debug, Default)]
struct Below {
    calls: Vec<Call>,
    same: Vec<Arc<FinishedSpan>>,
    oddities: Vec<Oddity>,
}

/// Where a call hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// On no other call.
    Top,
    /// On this one, so many levels down.
    Below { call: usize, depth: usize, is_deep: bool },
    /// It is the same call as this one.
    Same(usize),
}

fn links(nodes: &[Node], places: &[usize]) -> HashMap<usize, Link> {
    let here: HashSet<usize> = places.iter().copied().collect();
    let name = |place: usize| nodes.get(place).map_or("", |node| node.span.name.as_str());
    let parent = |place: usize| nodes.get(place)?.parent.filter(|parent| here.contains(parent));
    let mut named: HashMap<(usize, &str), usize> = HashMap::new();
    for place in places {
        if let Some(parent) = parent(*place) {
            *named.entry((parent, name(*place))).or_default() += 1;
        }
    }
    let mut links = HashMap::new();
    for place in places {
        let link = match parent(*place) {
            None => Link::Top,
            Some(parent) => {
                let outer = match links.get(&parent) {
                    Some(Link::Same(outer)) => *outer,
                    _ => parent,
                };
                let is_alone = named.get(&(parent, name(*place))) == Some(&1);
                if is_alone && is_same(name(parent), name(*place)) {
                    Link::Same(outer)
                } else {
                    below(outer, links.get(&outer).copied())
                }
            }
        };
        links.insert(*place, link);
    }
    links
}

fn below(outer: usize, link: Option<Link>) -> Link {
    match link {
        Some(Link::Below { call, depth, .. }) if depth >= MAX_DEPTH => Link::Below { call, depth, is_deep: true },
        Some(Link::Below { depth, .. }) => Link::Below { call: outer, depth: depth + 1, is_deep: false },
        _ => Link::Below { call: outer, depth: 1, is_deep: false },
    }
}

/// Whether LiveKit Agents has two spans for one call.
fn is_same(outer: &str, inner: &str) -> bool {
    matches!(
        (outer, inner),
        ("llm_node", "llm_request")
            | ("llm_request", "llm_request_run")
            | ("tts_node", "tts_request")
            | ("tts_request", "tts_request_run")
    )
}
