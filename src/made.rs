//! Who starts and ends the turns that speaking events make?

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::{Link, SpanContext, TraceContextExt};
use opentelemetry::{Context, Value};

use crate::conversation::{Conversation, Effects, TurnKey};
use crate::core::{Core, TracePer};
use crate::failure::Outcome;
use crate::fields::{Fields, Said};
use crate::finish::{self, Finishing};
use crate::inherited::take_over;
use crate::kind::Kind;
use crate::ongoing::{Ended, Hook, MadeSpan, MadeTurn, Started};
use crate::semconv::{END_REASON, INCOMPLETE, INTERRUPTED, INTERRUPTION_SOURCE, Key, USER_TO_AGENT_LATENCY};
use crate::span::{self, Origin};
use crate::totals::Totals;
use crate::turn::{At, Cue, EndReason, Heard, Latency, Part};

/// How long a service gives way to the thread that starts its turn: far more than a tracer takes, and nothing that a program
/// would notice.
const MOMENT: Duration = Duration::from_millis(1);

/// Somebody starts or stops to speak, or the last interruption was none.
pub(crate) fn hear(core: &Core, conversation: &Arc<Conversation>, cue: Cue, at: Instant, reported: Instant) {
    let anchor = conversation.anchor;
    let effects = match cue {
        Cue::Speaking(speaking) => {
            conversation.hear(Heard { speaking, at: anchor.at(at), reported: anchor.at(reported) })
        }
        Cue::FalseInterruption => conversation.retract(anchor.at(at)),
    };
    settle(core, conversation, effects);
}

/// Does what comes of a moment.
pub(crate) fn settle(core: &Core, conversation: &Arc<Conversation>, effects: Effects) {
    for span in effects.retracted {
        core.open.with(span, |open| core.count(open.fields.apply(Said::Attribute(INTERRUPTED, None))));
    }
    for (context, moment, at) in &effects.moments {
        show(core, conversation, context, *moment, *at);
    }
    for turn in effects.finish {
        finish_made(core, Some((Arc::clone(conversation), turn)), Instant::now(), false);
    }
}

/// Shows a moment on a span.
fn show(core: &Core, conversation: &Conversation, context: &Context, moment: Key, at: At) {
    span::add_event(core.counters(), context, moment.name().into(), conversation.anchor.wall_at(at), Vec::new());
}

/// A conversation closes: it is not found any more, and a turn that speaking events made ends with it.
pub(crate) fn hang_up(core: &Core, conversation: &Arc<Conversation>, now: Instant, incomplete: bool) {
    if let Some(id) = conversation.id() {
        core.live.remove(&id, conversation);
    }
    let (effects, finish) = conversation.close(conversation.anchor.at(now));
    settle(core, conversation, effects);
    finish_made(core, finish.map(|turn| (Arc::clone(conversation), turn)), now, incomplete);
}

/// Starts the span of a turn that speaking events made: the caller has found it unstarted, and nobody else starts it.
pub(crate) fn start_made(core: &Core, conversation: &Conversation, turn: TurnKey, made: &MadeTurn) -> Option<Started> {
    let Hook { context: around, span, told_late } = made.conversation.clone().unwrap_or_default();
    let own_trace = core.options.trace_per == TracePer::Turn;
    let (origin, links) = turn_origin(own_trace, made.conversation.as_ref(), around, conversation);
    let start = span::Opening {
        kind: Some(Kind::Turn),
        span_name: "turn",
        dialects: core.options.dialects,
        origin: &origin,
        links: links.into_iter().map(Link::with_context).collect(),
        attributes: Vec::new(),
        start: conversation.anchor.wall_at(made.started),
    };
    let mut fields = made_fields(core, made);
    let context = span::start(&*core.tracer, core.counters(), start, &mut fields);
    let started = context.map(|context| Started { hook: Hook { context, span, told_late }, sent: fields.sent() });
    conversation.set_made_span(turn, started.clone().map_or(MadeSpan::Lost, MadeSpan::Started));
    started
}

/// The span of a made turn that another thread is starting, if that is done within a moment. It may never be: the sampler that
/// the other thread has called may wait for this one.
pub(crate) fn soon_started(conversation: &Conversation, turn: TurnKey) -> Option<Hook> {
    let start = Instant::now();
    loop {
        match conversation.made_span(turn)? {
            MadeSpan::Started(started) => return Some(started.hook),
            MadeSpan::Starting if start.elapsed() < MOMENT => thread::yield_now(),
            MadeSpan::Starting | MadeSpan::Unstarted | MadeSpan::Lost => return None,
        }
    }
}

/// Where a turn starts that hangs on `hook`, in this context, and what it is linked to. A turn with a trace of its own is a root,
/// linked to what it would hang on and to the turn before; so is a turn of a conversation without a span, to the turn before.
pub(crate) fn turn_origin(
    own_trace: bool,
    hook: Option<&Hook>,
    around: Context,
    conversation: &Conversation,
) -> (Origin, Vec<SpanContext>) {
    let mut links = Vec::new();
    let origin = match hook.filter(|_| own_trace) {
        Some(hook) => {
            links.push(hook.context.span().span_context().clone());
            Origin::root_in(around)
        }
        None => Origin::below(around),
    };
    if own_trace || !conversation.has_span() {
        links.extend(conversation.last_turn());
    }
    (origin, links)
}

fn made_fields(core: &Core, made: &MadeTurn) -> Fields {
    let mut fields = Fields::default();
    take_over(&mut fields, &made.inherited);
    core.add_attributes(&mut fields);
    fields
}

/// Ends the span of a turn that speaking events made.
pub(crate) fn finish_made(core: &Core, finish: Option<(Arc<Conversation>, TurnKey)>, now: Instant, incomplete: bool) {
    let Some((conversation, turn)) = finish else { return };
    let anchor = conversation.anchor;
    let Some(mut ended) = conversation.close_turn(turn, anchor.at(now), false) else { return };
    let Some((made, span)) = ended.made.take() else { return };
    let started = match span {
        MadeSpan::Unstarted => start_made(core, &conversation, turn, &made),
        MadeSpan::Started(started) => Some(started),
        MadeSpan::Starting | MadeSpan::Lost => None,
    };
    let Some(Started { hook: Hook { context, .. }, sent }) = started else { return };
    // In the order in which they happened: a late detector tells of some of them late.
    let mut moments = std::mem::take(&mut ended.moments);
    moments.sort_by_key(|(_, at)| *at);
    for (moment, at) in moments {
        show(core, &conversation, &context, moment, at);
    }
    let mut fields = made_fields(core, &made);
    span::resume(&mut fields, Kind::Turn, "turn", core.options.dialects, &sent);
    write_end(&mut fields, &ended, incomplete);
    if incomplete {
        fields.assume(INCOMPLETE, Value::Bool(true));
    }
    let finishing = Finishing {
        kind: Some(Kind::Turn),
        span_name: "turn",
        context,
        fields: &mut fields,
        outcome: Outcome::default(),
        anchor,
        started: anchor.instant_at(made.started),
        end: anchor.instant_at(ended.at),
        is_root: false,
        is_attempt: false,
        used: Totals::default(),
        parts: None,
        place: Some((&conversation, Some(turn))),
    };
    finish::end(core, finishing);
}

/// What a turn is at its end.
pub(crate) fn write_end(fields: &mut Fields, ended: &Ended, incomplete: bool) {
    // What a shutdown cut short was not completed, and nobody hung up.
    if !incomplete || matches!(ended.reason, EndReason::Interrupted | EndReason::Error) {
        fields.assume(END_REASON, Value::from(ended.reason.as_str()));
    }
    if ended.interrupted {
        fields.assume(INTERRUPTED, Value::Bool(true));
        if ended.by_user {
            fields.assume(INTERRUPTION_SOURCE, Value::from("user"));
        }
    }
    if let Some(latency) = &ended.latency {
        write_latency(fields, latency);
    }
    ended.totals.write(fields);
}

fn write_latency(fields: &mut Fields, latency: &Latency) {
    #[expect(clippy::cast_precision_loss, reason = "a wait of more than a hundred days")]
    let seconds = |nanos: i64| Value::F64(nanos as f64 / 1e9);
    fields.assume(USER_TO_AGENT_LATENCY, seconds(latency.total()));
    for part in Part::ALL.into_iter().filter(|part| latency.part(*part) > 0) {
        fields.assume(part.key(), seconds(latency.part(part)));
    }
}
