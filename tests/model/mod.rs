//! Where spans belong, as plainly as it can be said: lists that are searched from the end.

use crate::program::{Action, Kind, Place, Speaking};

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are what there is to know")]
pub(crate) struct Node {
    pub(crate) label: Option<usize>,
    pub(crate) kind: Kind,
    pub(crate) parent: Option<usize>,
    pub(crate) id: Option<String>,
    pub(crate) number: Option<i64>,
    pub(crate) ended_early: bool,
    /// What `tracing` keeps open for it.
    pub(crate) above: Option<usize>,
    conversation: Option<usize>,
    turn: Option<usize>,
    held: bool,
    closed: bool,
    ended: bool,
    /// A made turn hangs where it does from here on.
    placed: bool,
    heard: Heard,
}

/// What has been heard of an exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Heard {
    user: bool,
    bot: bool,
    bot_speaks: bool,
}

/// The last interruption: in which turn, and what goes on if it was none.
#[derive(Debug)]
struct Cut {
    turn: Option<usize>,
    heard: Heard,
    /// It ended that turn.
    ends: bool,
}

#[derive(Debug, Default)]
struct Conversation {
    id: Option<String>,
    span: Option<usize>,
    own_turns: bool,
    last_number: i64,
    open: Option<usize>,
    turns: Vec<usize>,
    /// Whose exchange is going on, and what was heard of it while it is nobody's.
    owner: Option<usize>,
    heard: Heard,
    cut: Option<Cut>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) nodes: Vec<Node>,
    conversations: Vec<Conversation>,
    live: Vec<(String, usize)>,
    entered: [Vec<usize>; 3],
}

impl Model {
    pub(crate) fn run(actions: &[Action]) -> Self {
        let mut model = Self::default();
        for action in actions {
            model.act(action);
        }
        // A made turn that nothing hangs on gets its number at its end.
        (0..model.nodes.len())
            .filter(|node| model.nodes[*node].kind == Kind::Turn)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|turn| model.count(turn));
        model
    }

    fn act(&mut self, action: &Action) {
        let labelled = |label: usize| self.nodes.iter().position(|node| node.label == Some(label));
        match action {
            Action::Open { .. } => self.open(action),
            Action::Close(label) => labelled(*label).into_iter().for_each(|node| {
                self.nodes[node].held = false;
                self.settle(node);
            }),
            Action::Enter { thread, label } => self.entered[*thread].extend(labelled(*label)),
            Action::Exit { thread } => self.entered[*thread].pop().into_iter().for_each(|node| self.settle(node)),
            Action::End(label) => labelled(*label).into_iter().for_each(|node| self.nodes[node].end()),
            Action::Hear { place: Place::In(label), speaking } => {
                let heard_in = self.nearest(labelled(*label)).and_then(|node| self.nodes[node].conversation);
                if let Some(conversation) = heard_in {
                    self.hear(conversation, *speaking);
                }
            }
            Action::Hear { place: Place::By(id), speaking } => {
                let conversation = self.find(id).unwrap_or_else(|| self.add(Some(id.clone())));
                self.hear(conversation, *speaking);
            }
        }
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.live.iter().find(|(live, _)| live == id).map(|(_, conversation)| *conversation)
    }

    /// From here up, the first span that is exported.
    fn nearest(&self, from: Option<usize>) -> Option<usize> {
        from.and_then(
            |node| if self.nodes[node].kind == Kind::Other { self.nearest(self.nodes[node].above) } else { from },
        )
    }

    fn add(&mut self, id: Option<String>) -> usize {
        let conversation = self.conversations.len();
        self.conversations.push(Conversation { id: id.clone(), ..Conversation::default() });
        self.live.retain(|(live, _)| Some(live) != id.as_ref());
        self.live.extend(id.map(|id| (id, conversation)));
        conversation
    }

    fn open(&mut self, action: &Action) {
        let Action::Open { label, kind, thread, parent, root, id, number } = action else { return };
        let (kind, node, id) = (*kind, self.nodes.len(), id.clone());
        let explicit = parent.and_then(|parent| self.nodes.iter().position(|node| node.label == Some(parent)));
        let stack = &self.entered[*thread];
        let contextual = stack.last().copied().filter(|_| !root && explicit.is_none());
        let attached = stack.iter().rfind(|node| self.nodes[**node].kind != Kind::Other).copied().filter(|_| !root);
        let above = explicit.or(contextual);
        self.nodes.push(Node { label: Some(*label), kind, above, held: true, ..Node::default() });
        if kind == Kind::Other {
            return;
        }
        // The rules in their order: what it hangs on, or the conversation that it looks into.
        let is_service = !matches!(kind, Kind::Conversation | Kind::Turn);
        let (by_explicit, by_context) = (self.nearest(explicit), self.nearest(contextual));
        let around = by_context.and_then(|above| self.nodes[above].conversation);
        let around = around.and_then(|conversation| self.conversations[conversation].id.clone());
        let named = id.as_deref().filter(|_| kind != Kind::Conversation).and_then(|id| self.find(id));
        let differs = if around.is_some() { id.is_some() && around != id } else { named.is_some() };
        let (above, named) = match (by_explicit, by_context) {
            (Some(_), _) => (by_explicit, None),
            (None, Some(_)) if !differs => (by_context, None),
            (None, _) => (None, named),
        };
        let (mut turn, mut home) =
            above.map_or((None, None), |above| (self.nodes[above].turn, self.nodes[above].conversation));
        let only_conversation = above.is_some_and(|above| self.nodes[above].kind == Kind::Conversation);
        let mut parent = above;
        if let Some(conversation) = named.or(home.filter(|_| is_service && only_conversation)) {
            turn = Some(conversation).filter(|_| is_service).and_then(|found| self.turn_to_join(found, *number));
            (parent, home) = (turn.or(self.conversations[conversation].span), Some(conversation));
        }
        let inherited = parent.and_then(|parent| self.nodes[parent].id.clone());
        let known = home.and_then(|conversation| self.conversations[conversation].id.clone());
        let effective = id.clone().or(inherited).or(known);
        if kind == Kind::Conversation || (kind == Kind::Turn && home.is_none()) {
            let waiting =
                id.as_deref().and_then(|id| self.find(id)).filter(|live| self.conversations[*live].span.is_none());
            let is_taken = kind == Kind::Turn;
            let conversation =
                waiting.unwrap_or_else(|| self.add(id.clone().filter(|id| !is_taken || self.find(id).is_none())));
            self.conversations[conversation].id.clone_from(&effective);
            home = Some(conversation);
        }
        let inherited = parent.filter(|_| is_service).and_then(|parent| self.nodes[parent].number);
        let parent = parent.or(attached.filter(|_| by_context.is_none()));
        let opened =
            Node { parent, turn, id: effective, conversation: home, number: number.or(inherited), ..Node::default() };
        self.nodes[node] = Node { label: Some(*label), kind, above: self.nodes[node].above, held: true, ..opened };
        match (kind, home) {
            (Kind::Conversation, Some(home)) => {
                (self.nodes[node].turn, self.conversations[home].span) = (None, Some(node));
            }
            (Kind::Turn, Some(home)) => self.open_turn(node, home, id, *number),
            _ => {}
        }
    }

    /// The turn of that number among those that are open or among the last eight, else the open one.
    fn turn_to_join(&mut self, conversation: usize, number: Option<i64>) -> Option<usize> {
        let known = &self.conversations[conversation];
        let closed: Vec<_> = known.turns.iter().filter(|turn| self.nodes[**turn].closed).collect();
        let forgotten = &closed[..closed.len().saturating_sub(8)];
        let is_it =
            |turn: &&usize| number.is_some() && self.nodes[**turn].number == number && !forgotten.contains(turn);
        let open = known.open.filter(|open| !self.nodes[*open].ended);
        let turn = known.turns.iter().rev().find(is_it).copied().or(open)?;
        self.count(turn);
        Some(turn)
    }

    /// A made turn gets its number, and hangs on its conversation, with its first service or at its end.
    fn count(&mut self, turn: usize) {
        self.number(turn);
        let node = &mut self.nodes[turn];
        let Some(known) = node.conversation.map(|conversation| &self.conversations[conversation]) else { return };
        if node.label.is_none() && !node.placed {
            (node.placed, node.parent) = (true, known.span);
        }
    }

    fn number(&mut self, turn: usize) {
        let node = &mut self.nodes[turn];
        let Some(known) = node.conversation.map(|conversation| &mut self.conversations[conversation]) else { return };
        if node.label.is_none() && node.number.is_none() {
            known.last_number += 1;
            node.number = Some(known.last_number);
        }
    }

    /// An interruption can't be taken back any more: the turn that it ended hangs where it does.
    fn confirm(&mut self, cut: Option<Cut>) {
        if let Some(turn) = cut.filter(|cut| cut.ends).and_then(|cut| cut.turn) {
            self.count(turn);
        }
    }

    fn open_turn(&mut self, node: usize, conversation: usize, id: Option<String>, number: Option<i64>) {
        if self.conversations[conversation].id.is_none() {
            self.conversations[conversation].id.clone_from(&id);
            self.live.extend(id.filter(|id| self.find(id).is_none()).map(|id| (id, conversation)));
        }
        let known = &mut self.conversations[conversation];
        if number.is_some() || known.span.is_some() || known.id.is_some() {
            known.last_number = number.unwrap_or(known.last_number + 1);
            self.nodes[node].number = Some(known.last_number);
        }
        if let Some(open) = known.open {
            let announced = self.nodes[open].label.is_none() && self.nodes[open].number.is_none();
            if announced {
                known.turns.retain(|turn| *turn != open);
                (known.owner, known.heard) = (known.owner.filter(|owner| *owner != open), self.nodes[open].heard);
                self.nodes[open].kind = Kind::Other;
            }
            self.nodes[open].end();
            if !announced {
                self.count(open);
            }
        }
        let known = &mut self.conversations[conversation];
        known.owner = known.owner.filter(|owner| self.nodes[*owner].heard.bot);
        // A turn of speaking events is over when the program opens one.
        let over = known.cut.take_if(|cut| cut.ends);
        (known.own_turns, known.open) = (true, Some(node));
        known.turns.push(node);
        self.nodes[node].turn = Some(node);
        if known.owner.is_none() && known.heard.user {
            known.owner = Some(node);
            self.nodes[node].heard = std::mem::take(&mut known.heard);
        }
        self.confirm(over);
    }

    fn hear(&mut self, conversation: usize, speaking: Speaking) {
        if self.conversations[conversation].span.is_some_and(|span| self.nodes[span].closed) {
            return;
        }
        if speaking == Speaking::FalseInterruption {
            return self.take_back(conversation);
        }
        let known = &mut self.conversations[conversation];
        let heard = known.owner.map_or(&mut known.heard, |owner| &mut self.nodes[owner].heard);
        match speaking {
            Speaking::UserStarted if heard.bot => {
                let (bot_speaks, heard) = (heard.bot_speaks, *heard);
                let made = known.owner.filter(|owner| self.nodes[*owner].label.is_none());
                let ends = made.is_some_and(|made| !self.nodes[made].ended);
                let cut = bot_speaks.then_some(Cut { turn: known.owner, heard, ends });
                let before = std::mem::replace(&mut known.cut, cut);
                (known.owner, known.heard) = (None, Heard { user: true, ..Heard::default() });
                self.confirm(before);
                if let Some(made) = made.filter(|_| ends && bot_speaks) {
                    // It may go on.
                    self.nodes[made].end();
                    self.number(made);
                } else if let Some(made) = made {
                    self.end_made(made);
                }
            }
            Speaking::UserStarted => heard.user = true,
            Speaking::UserStopped => heard.user |= !heard.bot,
            Speaking::BotStarted | Speaking::BotStopped => {
                let speaks = speaking == Speaking::BotStarted;
                heard.bot |= speaks;
                heard.bot_speaks = speaks;
                if let Some(cut) = &mut known.cut {
                    cut.heard.bot_speaks = speaks;
                }
            }
            Speaking::FalseInterruption => {}
        }
        let known = &mut self.conversations[conversation];
        if known.owner.is_some() || !known.heard.user {
            return;
        }
        if known.own_turns {
            let waits = |turn: &usize| !self.nodes[*turn].ended && self.nodes[*turn].heard == Heard::default();
            known.owner = known.open.filter(waits);
        } else if speaking == Speaking::UserStarted {
            let (turn, id) = (Some(self.nodes.len()), known.id.clone());
            self.nodes.push(Node { kind: Kind::Turn, conversation: Some(conversation), turn, id, ..Node::default() });
            known.turns.extend(turn);
            (known.open, known.owner) = (turn, turn);
        }
        if let Some(owner) = known.owner {
            self.nodes[owner].heard = std::mem::take(&mut known.heard);
        }
    }

    /// The last interruption was none: its turn goes on, and the exchange that began with it is none.
    fn take_back(&mut self, conversation: usize) {
        let Some(Cut { turn, heard, ends }) = self.conversations[conversation].cut.take() else { return };
        let is_over = |turn: usize| {
            let node = &self.nodes[turn];
            node.closed || (node.ended && !ends)
        };
        let owner = self.conversations[conversation].owner;
        if turn.is_some_and(is_over) || owner.is_some_and(|owner| self.nodes[owner].label.is_some()) {
            return;
        }
        if let Some(owner) = owner {
            // What hangs on it stays there.
            if self.nodes[owner].number.is_some() {
                self.nodes[owner].end();
            } else {
                self.nodes[owner].kind = Kind::Other;
                let known = &mut self.conversations[conversation];
                known.turns.retain(|turn| *turn != owner);
                known.open = known.open.filter(|open| *open != owner);
            }
        }
        let known = &mut self.conversations[conversation];
        (known.owner, known.heard) = (turn, Heard::default());
        match turn {
            Some(turn) => {
                known.open = Some(turn);
                (self.nodes[turn].ended, self.nodes[turn].heard) = (false, heard);
            }
            None => known.heard = heard,
        }
    }

    fn end_made(&mut self, turn: usize) {
        self.nodes[turn].end();
        self.count(turn);
    }

    /// Closes what nothing keeps open any more, from here up.
    fn settle(&mut self, node: usize) {
        let is_entered = self.entered.iter().flatten().any(|entered| *entered == node);
        let is_above = self.nodes.iter().any(|other| other.above == Some(node) && !other.closed);
        if self.nodes[node].held || is_entered || is_above || self.nodes[node].closed {
            return;
        }
        self.nodes[node].closed = true;
        let home =
            self.nodes[node].conversation.filter(|_| matches!(self.nodes[node].kind, Kind::Conversation | Kind::Turn));
        if let Some(home) = home {
            let known = &mut self.conversations[home];
            if self.nodes[node].kind == Kind::Conversation {
                self.live.retain(|(_, live)| *live != home);
                known.open.into_iter().for_each(|open| self.end_made(open));
            } else {
                known.open = known.open.filter(|open| *open != node);
                known.owner = known.owner.filter(|owner| *owner != node || self.nodes[node].heard.bot);
            }
        }
        self.nodes[node].above.into_iter().for_each(|above| self.settle(above));
    }
}

impl Node {
    fn end(&mut self) {
        self.ended_early |= self.kind == Kind::Turn && !self.closed;
        self.ended |= self.kind == Kind::Turn;
    }
}
