//! What happens when a span opens, is recorded on, and closes?
//!
//! The same for every door: a door says what it found, and when.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use opentelemetry::trace::{Link, SpanContext, TraceContextExt};
use opentelemetry::{Context, KeyValue, Value};

use crate::clock::Anchor;
use crate::conversation::{Conversation, Effects, TurnKey};
use crate::core::Core;
use crate::event::Moment;
use crate::failure::{Failure, Outcome};
use crate::fields::{Fields, Plan, Said};
use crate::finish::{self, Finishing};
use crate::home::{Ancestor, Home, forget_idle, home, learn_id, number_of, own_conversation, parent, with_baggage};
use crate::inherited::{Inherited, outside_of_turns, passed_on, take_over, text, with_id};
use crate::kind::Kind;
use crate::made::{finish_made, hang_up, settle, write_end};
use crate::ongoing::{Hook, Service};
use crate::open::{Below, OpenSpan};
use crate::outside::discard;
use crate::prices::Used;
use crate::semconv::{
    ATTEMPT, CONVERSATION_ID, COST, END_REASON, GREETING_LATENCY, INCOMPLETE, INTERRUPTED, Keys, PROVIDER_NAME,
    REQUEST_MODEL, RESPONSE_FINISH_REASONS, RESPONSE_MODEL, STEP_SEQUENCE, TURN_NUMBER,
};
use crate::totals::{Parts, Totals};
use crate::turn::EndReason;
use crate::value::Raw;
use crate::{mapping, outside, span, totals};

/// A span as it opens.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    /// The id that its door knows it by; `None` if that is its OpenTelemetry span id.
    pub(crate) id: Option<u64>,
    pub(crate) kind: Option<Kind>,
    pub(crate) span_name: &'static str,
    pub(crate) plan: Arc<Plan>,
    pub(crate) fields: Fields,
    /// The nearest exported span above it.
    pub(crate) ancestor: Option<Ancestor>,
    /// It names its parent: that is its ancestor, or above its ancestor.
    pub(crate) explicit: bool,
    /// It is to have no parent.
    pub(crate) root: bool,
    /// The attached context, if its door knows better than the thread.
    pub(crate) attached: Option<&'a Context>,
    pub(crate) links: Vec<Link>,
    /// What it has from its start on, besides its fields.
    pub(crate) attributes: Vec<KeyValue>,
}

/// Starts the exported span and keeps its record. Comes back with its id and its context, if it started.
pub(crate) fn open(core: &Core, opening: Opening<'_>, now: Instant) -> Option<(u64, Context)> {
    let Opening { id, kind, span_name, plan, mut fields, ancestor, explicit, root, attached, mut links, attributes } =
        opening;
    forget_idle(core, now);
    let told_late = core.told_late.load(Ordering::Acquire);
    let mut home = home(core, kind, &fields, ancestor, explicit, root);
    // Complete is what it inherits up to where that was complete for what it hangs on: what is recorded since, it takes at its end.
    let told_late = home.hook.as_ref().map_or(told_late, |hook| hook.told_late);
    let held = if home.holds_turn { home.conversation.clone().zip(home.turn) } else { None };
    let inherits_id = text(&home.inherited, CONVERSATION_ID).is_some();
    let around = home.conversation.as_ref().filter(|_| !inherits_id).and_then(|conversation| conversation.id());
    if home.conversation.is_none() || kind == Some(Kind::Conversation) {
        home.conversation = own_conversation(core, kind, &fields, &home, around.clone());
    }
    let anchor_of = |conversation: &Arc<Conversation>| conversation.anchor;
    let anchor = home.anchor.or(home.conversation.as_ref().map(anchor_of)).unwrap_or_else(Anchor::now);
    let (origin, more_links) = parent(core, kind, &fields, &home, attached);
    for link in &mut links {
        link.attributes = finish::linked(core, std::mem::take(&mut link.attributes));
    }
    links.extend(more_links.into_iter().map(Link::with_context));
    let mut inherited = with_baggage(core, home.inherited.clone(), &origin.parent);
    if let Some(id) = around.filter(|_| text(&inherited, CONVERSATION_ID).is_none()) {
        inherited = with_id(&inherited, &id);
    }
    if bounds_turns(kind) {
        inherited = outside_of_turns(inherited);
    }
    take_over(&mut fields, &inherited);
    core.add_attributes(&mut fields);
    if let (Some(Kind::Turn), Some(conversation)) = (kind, &home.conversation) {
        learn_id(core, conversation, Word::of(&fields).conversation_id);
        number(core, &mut fields, conversation);
    }
    count_from_above(core, kind, &mut fields, &home);
    let inherited = passed_on(inherited, &fields, &core.options.inherited);
    let started = now.checked_sub(fields.started_ago()).unwrap_or(now);

    let start = span::Opening {
        kind,
        span_name,
        dialects: core.options.dialects,
        origin: &origin,
        links,
        attributes,
        start: anchor.wall(started),
    };
    let Some(context) = span::start(&*core.tracer, core.counters(), start, &mut fields) else {
        let_go(core, held, now);
        return None;
    };
    let id = id.unwrap_or_else(|| core.open.id_of(&context, &origin.parent));
    let mut open = Box::new(OpenSpan {
        kind,
        ours: kind.or(home.ours),
        ours_id: kind.map_or(home.ours_id, |_| Some(id)),
        attempt_of: home.ours_id.filter(|_| kind == home.ours && kind.is_some_and(mapping::is_call)),
        below: Below::default(),
        span_name,
        plan,
        parent: home.hook.as_ref().and_then(|hook| hook.span),
        inherited,
        conversation: home.conversation,
        turn: home.turn,
        anchor,
        opened: now,
        started,
        first_chunk: None,
        finished: fields.has(RESPONSE_FINISH_REASONS).then_some(started),
        failure: None,
        told: None,
        told_late,
        during_panic: thread::panicking(),
        is_root: !origin.parent.span().span_context().is_valid(),
        fields,
        context: context.clone(),
    });
    let joined = join(id, &mut open);
    discard(core.open.insert(id, open));
    count_conversation(core, kind, 1);
    if let Some((conversation, effects)) = joined {
        settle(core, &conversation, effects);
    }
    let_go(core, held, now);
    Some((id, context))
}

/// The turn that a service has joined may be exported from now on, if the service is not open in it.
fn let_go(core: &Core, held: Option<Made>, now: Instant) {
    let Some((conversation, turn)) = held else { return };
    let finish = conversation.let_go(turn);
    finish_made(core, finish.map(|turn| (conversation, turn)), now, false);
}

/// Takes the value of a field of the span's callsite in. A text may be long to read: nothing may be locked meanwhile.
pub(crate) fn record_field(core: &Core, id: u64, index: usize, raw: Raw<'_>) {
    if matches!(raw, Raw::Bool(_) | Raw::Int(_) | Raw::Float(_)) {
        record_with(core, id, |plan| plan.read(index, raw, &core.policy));
    } else if let Some(plan) = core.open.with(id, |open| Arc::clone(&open.plan)) {
        record(core, id, plan.read(index, raw, &core.policy));
    }
}

/// Takes a recorded value in.
pub(crate) fn record(core: &Core, id: u64, said: Said) {
    record_with(core, id, |_| said);
}

fn record_with(core: &Core, id: u64, read: impl FnOnce(&Plan) -> Said) {
    let told = core.open.with(id, |open| {
        let said = read(&open.plan);
        let passes_on = said.gives(|key| core.options.inherited.has(key));
        let is_word = !said.gives(|key| !WORDS.has(key));
        if said.denies_failure() {
            open.take_back_failure();
        }
        if said.gives(|key| key == RESPONSE_FINISH_REASONS) {
            open.finished.get_or_insert_with(Instant::now);
        }
        core.count(open.fields.apply(said));
        if passes_on {
            open.inherited = passed_on(open.inherited.clone(), &open.fields, &core.options.inherited);
            core.told_late.fetch_add(1, Ordering::AcqRel);
        }
        if !bounds_turns(open.kind) || !(is_word || passes_on) {
            return None;
        }
        let conversation = open.conversation.clone()?;
        let inherited = passes_on.then(|| open.inherited.clone());
        Some((conversation, open.turn, inherited, Word::of(&open.fields)))
    });
    let Some((conversation, turn, inherited, word)) = told.flatten() else { return };
    if let Some(turn) = turn {
        if let Some(inherited) = inherited {
            conversation.set_turn_inherited(turn, inherited);
        }
        if word.interrupted.is_some() || word.has_ended {
            let at = conversation.anchor.at(Instant::now());
            settle(core, &conversation, conversation.say(turn, word.interrupted, word.has_ended, at));
        }
    } else if let Some(inherited) = inherited {
        conversation.set_inherited(inherited);
    }
    learn_id(core, &conversation, word.conversation_id);
}

/// Ends an open span; nothing, if this layer has none of this id.
pub(crate) fn close(core: &Core, id: u64, incomplete: bool) {
    // Taken out first: ending a span runs span processors, which may trace.
    let Some(open) = core.open.remove(id) else { return };
    // Quietly: the registry may be closing this very span, and then it can't close what the user's code opens.
    outside::quietly(|| close_open(core, id, open, incomplete));
}

/// The same, where `tracing` is kept out already.
pub(crate) fn close_quiet(core: &Core, id: u64, incomplete: bool) {
    if let Some(open) = core.open.remove(id) {
        close_open(core, id, open, incomplete);
    }
}

fn close_open(core: &Core, id: u64, mut open: Box<OpenSpan>, incomplete: bool) {
    let now = Instant::now();
    inherit_late(core, &mut open);
    totals::settle(&mut open.fields);
    if incomplete {
        open.fields.assume(INCOMPLETE, Value::Bool(true));
    }
    if let (Some(key), Some(first)) = (open.kind.and_then(mapping::time_to_first_chunk), open.first_chunk) {
        open.fields.assume(key, Value::F64(first.as_secs_f64()));
    }
    price(core, &mut open);
    if let (Some(call), Some(first)) = (open.attempt_of, open.kind.and_then(|kind| recorded_first_chunk(&open, kind))) {
        mark(core, call, Moment::FirstChunk, first);
    }
    let place = open.conversation.clone().filter(|_| core.options.wants_words());
    let Leaving { outcome, end, used, is_counted, finish } = leave(core, id, &mut open, now, incomplete);
    let OpenSpan { kind, span_name, anchor, started, is_root, .. } = *open;
    let finishing = Finishing {
        kind,
        span_name,
        context: open.context,
        fields: &mut open.fields,
        outcome,
        anchor,
        started,
        end,
        is_root,
        is_attempt: is_counted,
        used,
        parts: open.below.parts,
        place: place.as_ref().map(|conversation| (&**conversation, open.turn)),
    };
    finish::end(core, finishing);
    count_conversation(core, kind, -1);
    finish_made(core, finish, now, incomplete);
}

/// How a closing span ends. The span that it hangs on learns what failed, so that it is not the one that failed with it.
fn outcome(core: &Core, open: &mut OpenSpan) -> Outcome {
    let told = open.told.take();
    let is_told = |failure: &Failure| {
        let mark = failure.mark();
        mark.zip(told.as_ref()).is_some_and(|(mark, told)| told.has_below(mark))
    };
    let outcome = open.fields.outcome(open.failure.take().filter(|failure| !is_told(failure)));
    // A call that is tried again has not failed with its attempt, and fails for itself when it does.
    let has_failed = outcome.has_failed() && open.attempt_of.is_none();
    if told.is_none() && !has_failed {
        return outcome;
    }
    let mut told = told.unwrap_or_default();
    for mark in outcome.marks() {
        told.add_own(mark);
    }
    let marks = told.into_below(has_failed);
    if let Some(parent) = open.parent.filter(|_| !marks.is_empty()) {
        core.open.with(parent, |parent| parent.told.get_or_insert_default().add_below(marks));
    }
    outcome
}

/// What a call cost, if nobody said: by the prices that the user gave.
fn price(core: &Core, open: &mut OpenSpan) {
    let Some(prices) = core.options.prices.as_ref().filter(|_| open.kind.is_some_and(mapping::is_call)) else { return };
    let used = Used::of(&open.fields);
    if used == Used::default() || open.fields.get(COST).is_some() {
        return;
    }
    let mut models = [RESPONSE_MODEL, REQUEST_MODEL].into_iter().filter_map(|key| open.fields.text(key));
    let provider = open.fields.text(PROVIDER_NAME);
    let price = models.find_map(|model| prices.price_of(provider, model));
    let Some(price) = price.filter(|price| price.is_given()) else {
        return core.counters().without_price();
    };
    if let Some(cost) = price.cost(&used) {
        open.fields.assume(COST, Value::F64(cost));
    }
}

/// Ends everything that is open, children first, until the deadline; `make_room` is called before each span. Comes back with the
/// number of sampled spans that it did not come to.
pub(crate) fn shut_down(core: &Core, deadline: Option<Instant>, make_room: &mut dyn FnMut()) -> u64 {
    let mut is_late = || {
        make_room();
        deadline.is_some_and(|deadline| Instant::now() > deadline)
    };
    let mut ids = core.open.ids().into_iter();
    let is_sampled = |id: &u64| core.open.with(*id, |open| open.context.span().span_context().is_sampled());
    while let Some(id) = ids.next() {
        if is_late() {
            let left = iter::once(id).chain(ids).filter(|id| is_sampled(id).unwrap_or_default());
            return left.count() as u64
                + core.live.all().iter().map(|conversation| conversation.unfinished()).sum::<u64>();
        }
        close(core, id, true);
    }
    let mut conversations = core.live.all().into_iter();
    while let Some(conversation) = conversations.next() {
        if is_late() {
            return iter::once(conversation).chain(conversations).map(|conversation| conversation.unfinished()).sum();
        }
        hang_up(core, &conversation, Instant::now(), true);
    }
    0
}

/// A moment of a span.
pub(crate) fn mark(core: &Core, id: u64, moment: Moment, at: Instant) {
    let mut call = None;
    let told = core.open.with(id, |open| match moment {
        Moment::FirstChunk => {
            if open.first_chunk.is_some() {
                return None;
            }
            open.first_chunk = Some(at.saturating_duration_since(open.started));
            call = open.attempt_of;
            Some((open.conversation.clone()?, Some(open.turn?), open.kind?))
        }
        Moment::Interrupted => {
            core.count(open.fields.set(INTERRUPTED, Value::Bool(true)));
            Some((open.conversation.clone()?, open.turn, open.kind?))
        }
    });
    if let Some((conversation, turn, kind)) = told.flatten() {
        let at = conversation.anchor.at(at);
        match (moment, turn) {
            (Moment::FirstChunk, Some(turn)) => conversation.first_chunk(turn, id, at),
            (Moment::FirstChunk, None) => {}
            (Moment::Interrupted, turn) => settle(core, &conversation, conversation.cut_off(turn, kind, at)),
        }
    }
    // The first token of an attempt is the call's.
    if let Some(call) = call {
        mark(core, call, moment, at);
    }
}

/// Links the exported span to another one.
pub(crate) fn link(core: &Core, context: &Context, other: SpanContext, attributes: Vec<KeyValue>) {
    span::add_link(core.counters(), context, other, finish::linked(core, attributes));
}

/// A call says that it tries again.
pub(crate) fn retry(core: &Core, id: u64) {
    core.open.with(id, |open| open.below.retries = open.below.retries.saturating_add(1));
}

/// A panic goes through this span: it is the innermost one that it goes through, if none was marked before.
pub(crate) fn panicked(core: &Core, id: u64) -> bool {
    let mark = |open: &mut OpenSpan| {
        let ours = !open.during_panic;
        if ours && open.failure.is_none() {
            open.failure = Some(Failure::of_panic());
        }
        ours
    };
    core.open.with(id, mark).unwrap_or(false)
}

/// A turn without a number is the conversation's next one, if that has a span or an id.
fn number(core: &Core, fields: &mut Fields, conversation: &Conversation) {
    let given = number_of(fields);
    if given.is_some() || conversation.has_span() || conversation.id().is_some() {
        core.count(fields.set(TURN_NUMBER, conversation.next_number(given).into()));
    }
}

/// A step without a number is its workflow's next one, from 0; a call within a call of its kind is its next attempt.
fn count_from_above(core: &Core, kind: Option<Kind>, fields: &mut Fields, home: &Home) {
    if kind == Some(Kind::Step) {
        let given = match fields.get(STEP_SEQUENCE) {
            Some(Value::I64(sequence)) => Some(*sequence),
            _ => None,
        };
        let count = |below: &mut Below| {
            let sequence = given.unwrap_or(below.next_step);
            below.next_step = sequence.saturating_add(1);
            sequence
        };
        if let Some(sequence) = in_workflow(core, home.hook.as_ref().and_then(|hook| hook.span), count) {
            fields.assume(STEP_SEQUENCE, Value::I64(sequence));
        }
    }
    if kind == home.ours && kind.is_some_and(mapping::is_call) {
        let count = |open: &mut OpenSpan| {
            open.below.tries += 1;
            open.below.tries
        };
        if let Some(attempt) = home.ours_id.and_then(|call| core.open.with(call, count)) {
            fields.assume(ATTEMPT, Value::I64(attempt));
        }
    }
}

/// Tells everything that a call runs in, up to its turn, that what it used is counted.
fn tell_runs(core: &Core, from: Option<u64>) {
    let mut above = from;
    while let Some(id) = above {
        above = core
            .open
            .with(id, |open| {
                let goes_on = !bounds_turns(open.kind);
                open.below.used |= goes_on;
                open.parent.filter(|_| goes_on)
            })
            .flatten();
    }
}

/// Tells the nearest workflow, from this span up.
fn in_workflow<R>(core: &Core, from: Option<u64>, tell: impl Fn(&mut Below) -> R) -> Option<R> {
    let mut above = from;
    while let Some(id) = above {
        let (told, parent) = core.open.with(id, |open| {
            let is_workflow = open.kind == Some(Kind::Workflow);
            (is_workflow.then(|| tell(&mut open.below)), open.parent)
        })?;
        if told.is_some() {
            return told;
        }
        above = parent;
    }
    None
}

fn count_conversation(core: &Core, kind: Option<Kind>, change: i64) {
    if let (Some(metrics), Some(Kind::Conversation)) = (&core.metrics, kind) {
        metrics.conversation(change, core.counters());
    }
}

/// A turn that speaking events made.
type Made = (Arc<Conversation>, TurnKey);

/// Makes the span known to its conversation. Comes back with what is to be done when a turn opens.
fn join(id: u64, open: &mut OpenSpan) -> Option<(Arc<Conversation>, Effects)> {
    let conversation = open.conversation.as_ref()?;
    let started = conversation.anchor.at(open.started);
    let hook = || Hook { context: open.context.clone(), span: Some(id), told_late: open.told_late };
    match open.kind? {
        Kind::Conversation => {
            open.turn = None;
            conversation.set_span(hook());
            conversation.set_inherited(open.inherited.clone());
            None
        }
        Kind::Turn => {
            let number = number_of(&open.fields);
            let (turn, mut effects) = conversation.open_turn(hook(), number, started, open.inherited.clone());
            open.turn = Some(turn);
            let word = Word::of(&open.fields);
            effects.finish.extend(conversation.say(turn, word.interrupted, word.has_ended, started).finish);
            Some((Arc::clone(conversation), effects))
        }
        kind => {
            conversation.enter(open.turn?, id, kind, started);
            None
        }
    }
}

/// What [`Word`] is read from.
const WORDS: Keys = Keys::of(&[INTERRUPTED, END_REASON, CONVERSATION_ID]);

/// What a turn's or a conversation's own fields say about itself.
struct Word {
    interrupted: Option<bool>,
    has_ended: bool,
    conversation_id: Option<Arc<str>>,
}

impl Word {
    fn of(fields: &Fields) -> Self {
        let interrupted = match fields.get(INTERRUPTED) {
            Some(Value::Bool(interrupted)) => Some(*interrupted),
            _ => (fields.text(END_REASON) == Some(EndReason::Interrupted.as_str())).then_some(true),
        };
        let conversation_id = match fields.own(CONVERSATION_ID) {
            Some(Value::String(id)) => Some(id.as_str().into()),
            _ => None,
        };
        Self { interrupted, has_ended: fields.has(END_REASON), conversation_id }
    }
}

/// What ancestors, the turn and the conversation were told after the span had opened is the span's too.
fn inherit_late(core: &Core, open: &mut OpenSpan) {
    if core.told_late.load(Ordering::Acquire) == open.told_late {
        return;
    }
    let mut above = open.parent;
    // A turn's number is for what is in it, and not for a turn or a conversation in there.
    let mut outside = bounds_turns(open.kind);
    while let Some((inherited, kind, parent)) = above.and_then(|id| core.open.with(id, passed_down)) {
        let inherited = if outside { outside_of_turns(inherited) } else { inherited };
        take_over(&mut open.fields, &inherited);
        outside |= bounds_turns(kind);
        above = parent;
    }
    if let Some(conversation) = &open.conversation {
        for inherited in conversation.inherited(open.turn) {
            take_over(&mut open.fields, &inherited);
        }
    }
}

/// Whether turns begin and end with spans of this kind.
pub(crate) fn bounds_turns(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::Conversation | Kind::Turn))
}

fn passed_down(ancestor: &mut OpenSpan) -> (Inherited, Option<Kind>, Option<u64>) {
    (ancestor.inherited.clone(), ancestor.kind, ancestor.parent)
}

/// How a span leaves its conversation.
struct Leaving {
    outcome: Outcome,
    end: Instant,
    /// What it used, in its attempts if it doesn't say; nothing, if what is below it said so.
    used: Totals,
    /// It is an attempt at a call, which counts instead.
    is_counted: bool,
    /// A made turn that can be exported once it has ended.
    finish: Option<Made>,
}

/// Takes a closing span out of its conversation, and writes what that has to say about it.
fn leave(core: &Core, id: u64, open: &mut OpenSpan, now: Instant, incomplete: bool) -> Leaving {
    let outcome = outcome(core, open);
    let failed = outcome.has_failed();
    if failed && open.attempt_of.is_none() {
        in_workflow(core, open.parent, |below| below.failed = true);
    }
    write_run(open, failed, incomplete);
    let own = Totals::of(&open.fields, failed);
    if own.is_usage() {
        open.below.parts = None;
    }
    let used = own.or_of_attempts(&open.below.attempts);
    // What an agent says that its calls used was counted when they closed.
    let repeats = open.below.used && !open.kind.is_some_and(mapping::is_call);
    let used = if repeats { used.without_usage() } else { used };
    if used.is_reported() {
        tell_runs(core, open.parent);
    }
    // An attempt is counted by its call, and not by the turn.
    let is_counted = open.attempt_of.is_some_and(|call| {
        let wants_parts = core.metrics.is_some() || !core.options.dialects.is_empty();
        let own_parts = || wants_parts.then(|| Box::new(Parts::of(&open.fields)));
        let parts = if own.is_usage() { own_parts() } else { open.below.parts.take() };
        core.open.with(call, |call| call.below.add(&used, parts)).is_some()
    });
    let (Some(conversation), Some(kind)) = (open.conversation.take(), open.kind) else {
        return Leaving { outcome, end: now, used, is_counted, finish: None };
    };
    let anchor = conversation.anchor;
    let at = anchor.at(now);
    let mut used = used;
    let (end, finish) = match kind {
        Kind::Conversation => {
            hang_up(core, &conversation, now, incomplete);
            let greeted = conversation.greeted().map(|greeted| anchor.instant_at(greeted));
            if let Some(latency) = greeted.and_then(|greeted| greeted.checked_duration_since(open.started)) {
                open.fields.assume(GREETING_LATENCY, Value::F64(latency.as_secs_f64()));
            }
            let totals = conversation.totals();
            used = used.unless_counted(&totals);
            totals.write(&mut open.fields);
            (now, None)
        }
        Kind::Turn => {
            let ended = open.turn.and_then(|turn| conversation.close_turn(turn, at, failed));
            let end = ended.as_ref().map_or(now, |ended| anchor.instant_at(ended.at));
            if let Some(ended) = ended {
                used = used.unless_counted(&ended.totals);
                write_end(&mut open.fields, &ended, incomplete);
            }
            (end, None)
        }
        kind => {
            if let (Some(turn), Some(first)) = (open.turn, recorded_first_chunk(open, kind)) {
                conversation.first_chunk(turn, id, anchor.at(first));
            }
            let counted = if is_counted { Totals::default() } else { used };
            let finished = open.finished.map(|finished| anchor.at(finished));
            let service = Service { span: id, kind, started: anchor.at(open.started), finished, ended: at };
            let left = conversation.leave(open.turn, &service, &counted);
            if left.interrupted && mapping::can_be_interrupted(kind) {
                open.fields.assume(INTERRUPTED, Value::Bool(true));
            }
            (now, left.finish.map(|turn| (conversation, turn)))
        }
    };
    Leaving { outcome, end, used, is_counted, finish }
}

/// What the end of a run says: a workflow ended with an error when anything failed in it, and a call that was tried again
/// says how often.
fn write_run(open: &mut OpenSpan, failed: bool, incomplete: bool) {
    let failed = failed || open.below.failed;
    if open.kind == Some(Kind::Workflow) && (failed || !incomplete) {
        let reason = EndReason::of(false, failed, false);
        open.fields.assume(END_REASON, Value::from(reason.as_str()));
    }
    let attempts = open.below.tries.max(open.below.retries.saturating_add(1));
    if open.kind.is_some_and(mapping::is_call) && (open.below.tries > 0 || open.below.retries > 0) {
        open.fields.assume(ATTEMPT, Value::I64(attempts));
    }
}

/// When the first token or byte came, if nothing but a field said how long it took.
fn recorded_first_chunk(open: &OpenSpan, kind: Kind) -> Option<Instant> {
    if open.first_chunk.is_some() {
        return None;
    }
    open.started.checked_add(open.fields.duration(mapping::time_to_first_chunk(kind)?)?)
}
