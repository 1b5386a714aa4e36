//! What does a new span hang on and belong to?

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, Value};

use crate::clock::Anchor;
use crate::content::is_content;
use crate::conversation::{Conversation, Joined, On, TurnKey};
use crate::core::{Core, TracePer};
use crate::fields::Fields;
use crate::inherited::{Inherited, of_id, text, with, with_id};
use crate::kind::Kind;
use crate::live::Inserted;
use crate::made::{hang_up, soon_started, start_made, turn_origin};
use crate::ongoing::Hook;
use crate::open::OpenSpan;
use crate::outside::discard;
use crate::placement::{Found, Place, place};
use crate::semconv::{CONVERSATION_ID, Key, TURN_NUMBER};
use crate::span::Origin;
use crate::thread_context;
use crate::traceparent;
use crate::value::Refusal;

/// An exported span that another one opens below.
#[derive(Debug)]
pub(crate) struct Ancestor {
    kind: Option<Kind>,
    /// What hangs on it finds there.
    home: Home,
}

impl Ancestor {
    /// The same, with a span of the program's own in between that has this context.
    pub(crate) fn behind(self, context: Context) -> Self {
        let hook = Hook { context, ..self.home.hook.unwrap_or_default() };
        Self { kind: None, home: Home { hook: Some(hook), ..self.home } }
    }

    /// What is to be known of an open span.
    pub(crate) fn of(id: u64, open: &OpenSpan) -> Self {
        let home = Home {
            hook: Some(Hook { context: open.context.clone(), span: Some(id), told_late: open.told_late }),
            attached: false,
            holds_turn: false,
            inherited: open.inherited.clone(),
            anchor: Some(open.anchor),
            conversation: open.conversation.clone(),
            turn: open.turn,
            ours: open.ours,
            ours_id: open.ours_id,
        };
        Self { kind: open.kind, home }
    }
}

/// What a new span hangs on and belongs to.
#[derive(Debug, Default)]
pub(crate) struct Home {
    pub(crate) hook: Option<Hook>,
    /// Without a hook, it takes the attached context.
    attached: bool,
    pub(crate) inherited: Inherited,
    pub(crate) anchor: Option<Anchor>,
    pub(crate) conversation: Option<Arc<Conversation>>,
    pub(crate) turn: Option<TurnKey>,
    /// It has joined that turn, which is not exported before [`Conversation::let_go`].
    pub(crate) holds_turn: bool,
    pub(crate) ours: Option<Kind>,
    pub(crate) ours_id: Option<u64>,
}

/// Where a span hangs and what it belongs to: the rule is `placement`'s.
pub(crate) fn home(
    core: &Core,
    kind: Option<Kind>,
    fields: &Fields,
    ancestor: Option<Ancestor>,
    explicit: bool,
    root: bool,
) -> Home {
    let id = fields.text(CONVERSATION_ID).filter(|_| kind.is_some());
    // Only a span that names a conversation asks for the one around it.
    let around = ancestor.as_ref().filter(|_| id.is_some()).and_then(|ancestor| ancestor.home.conversation.as_ref());
    let contextual_id = around.and_then(|conversation| conversation.id());
    let named = id
        .filter(|id| kind != Some(Kind::Conversation) && contextual_id.as_deref() != Some(*id))
        .and_then(|id| core.live.get(id));
    let found = Found {
        explicit: explicit && ancestor.is_some(),
        contextual: !explicit && ancestor.is_some(),
        contextual_id: contextual_id.as_deref(),
        id,
        live: named.is_some(),
        root,
    };
    let is_service = !matches!(kind, None | Some(Kind::Conversation | Kind::Turn));
    let number = number_of(fields);
    match (place(found), ancestor, named) {
        (Place::Ancestor, Some(ancestor), _) => {
            let Ancestor { kind, mut home } = ancestor;
            if is_service && home.ours == Some(Kind::Conversation) && home.turn.is_none() {
                let joined = home.conversation.as_ref().map(|conversation| conversation.join(number));
                let on = home.hook.clone().filter(|_| kind.is_none());
                home = home.joined(core, joined);
                // A span of the program's own that is exported in between stays in between.
                home.hook = on.or(home.hook);
            }
            home
        }
        (Place::Conversation, _, Some(conversation)) => {
            let joined = if is_service { conversation.join(number) } else { conversation.itself() };
            let anchor = Some(conversation.anchor);
            // What is attached below an ancestor is that one's, and another conversation's.
            let attached = !root && !found.contextual;
            let home = Home { anchor, attached, conversation: Some(conversation), ..Home::default() };
            home.joined(core, Some(joined))
        }
        (place, ..) => Home { attached: place == Place::Attached, ..Home::default() },
    }
}

impl Home {
    fn joined(self, core: &Core, joined: Option<Joined>) -> Self {
        let Some(Joined { turn, inherited, on }) = joined else { return self };
        let made = self.conversation.as_deref().zip(turn);
        let hook = match on {
            On::Hook(hook) => Some(hook),
            On::Made(made_turn) => {
                let started = made.and_then(|(conversation, turn)| start_made(core, conversation, turn, &made_turn));
                started.map(|started| started.hook).or(made_turn.conversation)
            }
            On::Starting(beside) => {
                made.and_then(|(conversation, turn)| soon_started(conversation, turn)).or_else(|| {
                    core.counters().beside_turn();
                    beside
                })
            }
            On::Nothing => None,
        };
        Self { hook: hook.or(self.hook), inherited, turn, holds_turn: turn.is_some(), ..self }
    }
}

/// The conversation that a span brings with it: a conversation span is one, and a turn that finds none is the first of
/// one that has no span.
pub(crate) fn own_conversation(
    core: &Core,
    kind: Option<Kind>,
    fields: &Fields,
    home: &Home,
    around: Option<Arc<str>>,
) -> Option<Arc<Conversation>> {
    if !matches!(kind, Some(Kind::Conversation | Kind::Turn)) {
        return None;
    }
    let own: Option<Arc<str>> = fields.text(CONVERSATION_ID).map(Into::into);
    if let Some(waiting) = own.as_ref().and_then(|id| core.live.get(id)).filter(|live| !live.has_span()) {
        return Some(waiting);
    }
    let id = own.clone().or_else(|| text(&home.inherited, CONVERSATION_ID).map(Into::into)).or(around);
    // What the first turn inherits from elsewhere is not the next one's; a conversation span says so itself.
    let conversation = Conversation::new(home.anchor.unwrap_or_else(Anchor::now), id.clone(), of_id(id));
    match own {
        Some(own) if kind == Some(Kind::Turn) => {
            let known = make_known_if_new(core, &own, Arc::clone(&conversation));
            // A turn that hangs elsewhere by its explicit parent is in that trace, and not in the conversation's.
            Some(if known.has_span() { conversation } else { known })
        }
        Some(own) => {
            let now = Instant::now();
            inserted(core, core.live.insert(&own, &conversation, now), now);
            Some(conversation)
        }
        None => Some(conversation),
    }
}

/// The conversation of this id, which is live from now on if it was not.
pub(crate) fn conversation(core: &Core, id: &str) -> Arc<Conversation> {
    core.live.get(id).unwrap_or_else(|| {
        let id: Arc<str> = id.into();
        let known = Some(Arc::clone(&id));
        make_known_if_new(core, &id, Conversation::new(Anchor::now(), known.clone(), of_id(known)))
    })
}

/// A conversation that has no id learns it from its own span, or from a turn in it.
pub(crate) fn learn_id(core: &Core, conversation: &Arc<Conversation>, id: Option<Arc<str>>) {
    let Some(id) = id.filter(|id| conversation.name(id)) else { return };
    core.told_late.fetch_add(1, Ordering::AcqRel);
    if let Some(span) = conversation.span() {
        core.open.with(span, |open| open.inherited = with_id(&open.inherited, &id));
    }
    make_known_if_new(core, &id, Arc::clone(conversation));
}

/// Two threads may bring the same conversation at the same moment: the first one's it is.
fn make_known_if_new(core: &Core, id: &Arc<str>, conversation: Arc<Conversation>) -> Arc<Conversation> {
    let now = Instant::now();
    match core.live.insert_new(id, &conversation, now) {
        Ok(new) => {
            inserted(core, new, now);
            conversation
        }
        Err(known) => known,
    }
}

fn inserted(core: &Core, inserted: Inserted, now: Instant) {
    if inserted.refused {
        core.counters().over_limit();
    }
    discard(inserted.displaced);
    evict(core, inserted.evicted, now);
}

/// Forgets conversations without a span in which nothing has happened for long, a part of them now and then.
pub(crate) fn forget_idle(core: &Core, now: Instant) {
    if let Some(idle) = core.live.sweep(now) {
        evict(core, idle, now);
    }
}

fn evict(core: &Core, idle: Vec<Arc<Conversation>>, now: Instant) {
    for conversation in idle {
        core.counters().evicted();
        hang_up(core, &conversation, now, false);
    }
}

/// Where the exported span starts, and what it is linked to.
pub(crate) fn parent(
    core: &Core,
    kind: Option<Kind>,
    fields: &Fields,
    home: &Home,
    attached: Option<&Context>,
) -> (Origin, Vec<SpanContext>) {
    let around = match &home.hook {
        Some(hook) => with_attached_values(&hook.context, attached),
        None if home.attached => {
            attached.cloned().or_else(|| thread_context::current(Context::clone)).unwrap_or_default()
        }
        None => Context::new(),
    };
    let (mut origin, mut links) = match home.conversation.as_ref().filter(|_| kind == Some(Kind::Turn)) {
        Some(conversation) => {
            // A turn within a turn stays there.
            let own_trace = core.options.trace_per == TracePer::Turn && home.turn.is_none();
            turn_origin(own_trace, home.hook.as_ref(), around, conversation)
        }
        None => (Origin::below(around), Vec::new()),
    };
    let Some((traceparent, tracestate)) = fields.remote_parent() else { return (origin, links) };
    match traceparent::parse(traceparent, tracestate) {
        None => core.counters().refused(Refusal::OutOfRange),
        Some(remote) if home.hook.is_some() => links.push(remote),
        Some(remote) => origin.parent = origin.parent.with_remote_span_context(remote),
    }
    (origin, links)
}

/// The parent's context, or the attached one if that is the parent's too: then it may hold baggage and other values
/// that were attached since the parent opened.
fn with_attached_values(parent: &Context, attached: Option<&Context>) -> Context {
    let is_same = |attached: &Context| attached.span().span_context() == parent.span().span_context();
    let parents = |attached: &Context| is_same(attached).then(|| attached.clone());
    let same = attached.map_or_else(|| thread_context::current(parents).flatten(), parents);
    same.unwrap_or_else(|| parent.clone())
}

/// Adds the baggage entries that the user wants to see.
pub(crate) fn with_baggage(core: &Core, inherited: Inherited, parent: &Context) -> Inherited {
    if core.options.baggage.is_empty() {
        return inherited;
    }
    let entry = |key: &Key| {
        let said = parent.baggage().get(key.name())?.as_str();
        let text = if is_content(key.name()) { core.rules().own(key.name(), said) } else { said.to_owned() };
        Some((*key, core.policy.value(key.name(), text.into())))
    };
    with(&inherited, core.options.baggage.iter().filter_map(entry))
}

pub(crate) fn number_of(fields: &Fields) -> Option<i64> {
    match fields.own(TURN_NUMBER) {
        Some(Value::I64(number)) => Some(*number),
        _ => None,
    }
}
