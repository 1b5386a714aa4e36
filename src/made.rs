//! Who starts and ends the turns that speaking events make?

use std::sync::Arc;
use std::time::Instant;

use opentelemetry::trace::{Link, TraceContextExt};
use opentelemetry::{Context, Value};

use crate::conversation::{Conversation, TurnKey};
use crate::core::{Core, TracePer};
use crate::fields::Fields;
use crate::finish::{self, Finishing};
use crate::inherited::take_over;
use crate::kind::Kind;
use crate::ongoing::{Ended, MadeTurn};
use crate::semconv::{
    END_REASON, INCOMPLETE, INTERRUPTED, INTERRUPTION_SOURCE, LATENCY_AGGREGATION, LATENCY_LLM, LATENCY_PLAYOUT,
    LATENCY_SYNTHESIS, LATENCY_TOOL, LATENCY_TRANSCRIPTION, LATENCY_TURN_DETECTION, USER_TO_AGENT_LATENCY,
};
use crate::span;
use crate::totals::Totals;
use crate::turn::{EndReason, Latency, Part, Speaking};

/// Somebody starts or stops to speak.
pub(crate) fn hear(core: &Core, conversation: &Arc<Conversation>, speaking: Speaking, at: Instant) {
    let finish = conversation.hear(speaking, conversation.anchor.at(at));
    finish_made(core, finish.map(|turn| (Arc::clone(conversation), turn)), Instant::now(), false);
}

/// A conversation closes: it is not found any more, and a turn that speaking events made ends with it.
pub(crate) fn hang_up(core: &Core, conversation: &Arc<Conversation>, now: Instant, incomplete: bool) {
    if let Some(id) = conversation.id() {
        core.live.remove(&id, conversation);
    }
    let finish = conversation.close(conversation.anchor.at(now));
    finish_made(core, finish.map(|turn| (Arc::clone(conversation), turn)), now, incomplete);
}

/// Starts the span of a turn that speaking events made, if nobody has. Whoever else wants it waits for its sampler.
pub(crate) fn start_made(core: &Core, conversation: Option<&Conversation>, made: &MadeTurn) -> Option<Context> {
    let anchor = conversation?.anchor;
    let start = || {
        let apart = core.options.trace_per == TracePer::Turn;
        let mut links = Vec::new();
        let parent = match &made.conversation {
            Some(hook) if apart => {
                links.push(hook.context.span().span_context().clone());
                Context::new()
            }
            Some(hook) => hook.context.clone(),
            None => Context::new(),
        };
        if apart || made.conversation.is_none() {
            links.extend(made.last.clone());
        }
        let start = span::Opening {
            kind: Some(Kind::Turn),
            span_name: "turn",
            dialects: core.options.dialects,
            parent: &parent,
            links: links.into_iter().map(Link::with_context).collect(),
            attributes: Vec::new(),
            start: anchor.wall_at(made.started),
        };
        span::start(&*core.tracer, core.counters(), start, &mut made_fields(core, made))
    };
    made.span.get_or_init(start).clone()
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
    let Some(ended) = conversation.close_turn(turn, anchor.at(now), false) else { return };
    let Some(made) = &ended.made else { return };
    let Some(context) = start_made(core, Some(&conversation), made) else { return };
    conversation.set_last_turn(context.span().span_context().clone());
    let mut fields = made_fields(core, made);
    span::resume(&mut fields, Kind::Turn, "turn", core.options.dialects);
    write_end(&mut fields, &ended, incomplete);
    if incomplete {
        fields.assume(INCOMPLETE, Value::Bool(true));
    }
    let finishing = Finishing {
        kind: Some(Kind::Turn),
        span_name: "turn",
        context,
        fields: &mut fields,
        failure: None,
        anchor,
        started: anchor.instant_at(made.started),
        end: anchor.instant_at(ended.at),
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
    for (part, key) in [
        (Part::Transcription, LATENCY_TRANSCRIPTION),
        (Part::TurnDetection, LATENCY_TURN_DETECTION),
        (Part::Llm, LATENCY_LLM),
        (Part::Tool, LATENCY_TOOL),
        (Part::Aggregation, LATENCY_AGGREGATION),
        (Part::Synthesis, LATENCY_SYNTHESIS),
        (Part::Playout, LATENCY_PLAYOUT),
    ] {
        if latency.part(part) > 0 {
            fields.assume(key, seconds(latency.part(part)));
        }
    }
}
