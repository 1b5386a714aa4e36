//! Which turn of its conversation does a span belong to?

use std::collections::HashMap;

use super::reading::Reading;
use super::role::Role;
use super::span::Timestamp;
use super::tree::Node;
use super::vocabulary as names;

/// The nodes of one turn.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The turn's own: one, or the halves that LiveKit has. None where the turn has not ended yet, or its span was lost.
    pub(super) spans: Vec<usize>,
    pub(super) number: Option<u64>,
    /// What it did.
    pub(super) calls: Vec<usize>,
    /// Spans that only say when something was.
    pub(super) moments: Vec<usize>,
}

/// A conversation's nodes by turn, in the order in which the turns began.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) turns: Vec<Slot>,
    /// What no turn has.
    pub(super) outside: Slot,
}

pub(super) fn slots(nodes: &[Node], members: &[usize]) -> Slots {
    let mut turns = Vec::new();
    let mut of_node = own_turns(nodes, members, &mut turns);
    let numbers = turns.iter().enumerate().filter_map(|(place, turn)| Some((turn.number?, place)));
    let mut numbers: HashMap<u64, usize> = numbers.collect();
    let mut outside = Slot::default();
    for place in members {
        let Some(node) = nodes.get(*place) else { continue };
        let above = node.parent.and_then(|parent| of_node.get(&parent).copied());
        if of_node.contains_key(place) {
            continue;
        }
        let number = || Reading::of(&[&node.span]).count(names::TURN_NUMBER);
        let found = above.or_else(|| {
            let number = number().filter(|_| node.role != Role::Conversation)?;
            numbers.get(&number).copied().or_else(|| {
                // A turn that goes on: what ended in it is here, its own span is not.
                let is_call = node.is_orphan() && matches!(node.role, Role::Call(_));
                is_call.then(|| {
                    turns.push(Slot { number: Some(number), ..Slot::default() });
                    numbers.insert(number, turns.len() - 1);
                    turns.len() - 1
                })
            })
        });
        if let Some(turn) = found {
            of_node.insert(*place, turn);
        }
        let slot = found.and_then(|turn| turns.get_mut(turn)).unwrap_or(&mut outside);
        match node.role {
            Role::Moment => slot.moments.push(*place),
            Role::Conversation => slot.spans.push(*place),
            _ => slot.calls.push(*place),
        }
    }
    turns.sort_by_key(|turn| turn.spans.iter().chain(&turn.calls).filter_map(|place| start(nodes, *place)).min());
    Slots { turns, outside }
}

fn start(nodes: &[Node], place: usize) -> Option<Timestamp> {
    nodes.get(place).map(|node| node.span.start)
}

/// The turns that spans make, and which of them each of these spans is.
fn own_turns(nodes: &[Node], members: &[usize], turns: &mut Vec<Slot>) -> HashMap<usize, usize> {
    let is_turn = |node: &Node| matches!(node.role, Role::Turn | Role::UserTurn | Role::AgentTurn);
    let mut own: Vec<(usize, &Node)> = members
        .iter()
        .filter_map(|place| Some((*place, nodes.get(*place)?)))
        .filter(|(_, node)| is_turn(node))
        .collect();
    own.sort_by_key(|(_, node)| (node.span.start, node.role == Role::AgentTurn));
    let has_users = own.iter().any(|(_, node)| node.role == Role::UserTurn);

    let (mut of_node, mut exchange) = (HashMap::new(), None::<Exchange<'_>>);
    for (place, node) in own {
        let slot = match node.role {
            Role::AgentTurn => match exchange.as_mut() {
                Some(exchange) => {
                    if exchange.takes(node) {
                        exchange.slot
                    } else {
                        turns.len()
                    }
                }
                // The agent speaks before the user has: a greeting is no turn.
                None if has_users => continue,
                None => turns.len(),
            },
            _ => turns.len(),
        };
        match node.role {
            Role::UserTurn => exchange = Some(Exchange { slot, answer: None }),
            Role::AgentTurn if slot == turns.len() => exchange = Some(Exchange { slot, answer: Some(node) }),
            _ => {}
        }
        if slot == turns.len() {
            let number = Reading::of(&[&node.span]).count(names::TURN_NUMBER);
            turns.push(Slot { number, ..Slot::default() });
        }
        if let Some(turn) = turns.get_mut(slot) {
            turn.spans.push(place);
        }
        of_node.insert(place, slot);
    }
    of_node
}

/// LiveKit's latest turn: what the user said, and the agent's last answer to it.
struct Exchange<'a> {
    slot: usize,
    answer: Option<&'a Node>,
}

impl<'a> Exchange<'a> {
    /// Whether the agent's turn answers this user. An answer that was begun too early is followed by a better one; one that
    /// was heard is not, and what the agent says after it begins a turn.
    fn takes(&mut self, agent: &'a Node) -> bool {
        let speech = |node: &'a Node| Reading::of(&[&node.span]).text(names::SPEECH_ID);
        let was_heard = |node: &'a Node| Reading::of(&[&node.span]).seconds(names::LATENCY).is_some();
        let is_another = self.answer.is_some_and(|answer| {
            was_heard(answer) && answer.span.end <= agent.span.start && speech(answer) != speech(agent)
        });
        if !is_another {
            self.answer = Some(agent);
        }
        !is_another
    }
}
