//! What is written on a span before it ends?

use std::time::{Instant, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use opentelemetry::{Context, KeyValue, Value};

use crate::clock::Anchor;
use crate::content::{self, Rules, Slot};
use crate::conversation::{Conversation, TurnKey};
use crate::core::Core;
use crate::dialect::{self, Finished};
use crate::event::Said;
use crate::failure::{ErrorTexts, Outcome};
use crate::fields::Fields;
use crate::instruments::Measured;
use crate::kind::Kind;
use crate::mapping;
use crate::semconv::{EVENT_LEVEL, EVENT_TARGET};
use crate::span;
use crate::totals::{Parts, Totals, leave_out_zeros};
use crate::value::Refusal;
use crate::words::Words;

/// A span that ends.
#[derive(Debug)]
pub(crate) struct Finishing<'a> {
    pub(crate) kind: Option<Kind>,
    /// The name that `tracing` knows it by.
    pub(crate) span_name: &'static str,
    pub(crate) context: Context,
    pub(crate) fields: &'a mut Fields,
    pub(crate) outcome: Outcome,
    /// The clock of its trace.
    pub(crate) anchor: Anchor,
    pub(crate) started: Instant,
    pub(crate) end: Instant,
    /// The first span of its trace.
    pub(crate) is_root: bool,
    /// It is an attempt at a call, which counts instead.
    pub(crate) is_attempt: bool,
    /// What it used, in its attempts if it doesn't say.
    pub(crate) used: Totals,
    /// Which tokens these attempts used.
    pub(crate) parts: Option<Box<Parts>>,
    /// The conversation that it is in, and the turn that it is in, or is.
    pub(crate) place: Option<(&'a Conversation, Option<TurnKey>)>,
}

/// Adds what was said, as far as it may leave, and what the dialects say, and ends it. Nothing may be locked: redactors
/// are the user's code.
pub(crate) fn end(core: &Core, finishing: Finishing<'_>) {
    let Finishing {
        kind,
        span_name,
        context,
        fields,
        mut outcome,
        anchor,
        started,
        end,
        is_root,
        is_attempt,
        used,
        parts,
        place,
    } = finishing;
    let rules = core.rules();
    if !core.options.error_text {
        fields.drop_error_texts();
    }
    if rules.redacts() {
        let redacted = |text: &str| rules.text("error", text);
        fields.rewrite_errors(redacted);
        outcome.rewrite(redacted);
    }
    if let Some((key, value)) = kind.and_then(mapping::default_attribute) {
        fields.assume(key, Value::from(value));
    }
    let error_type = outcome.error_type();
    if let Some((metrics, kind)) = core.metrics.as_ref().zip(kind.filter(|_| !is_attempt)) {
        let measured = Measured {
            kind,
            fields,
            error_type: error_type.clone().map(Value::from),
            duration: end.saturating_duration_since(started).as_secs_f64(),
            used,
            parts: parts.as_deref(),
        };
        metrics.record(&measured, core.counters());
    }
    leave_out_zeros(fields);
    let said = write_content(rules, fields, !core.options.dialects.is_empty());
    if let Some(kind) = kind.filter(|_| !core.options.dialects.is_empty()) {
        let first_chunk = mapping::time_to_first_chunk(kind).and_then(|key| fields.duration(key));
        let first_chunk = first_chunk.and_then(|after| started.checked_add(after));
        let finished = Finished {
            kind,
            fields,
            said: &said,
            words: &words(core, kind, fields, place.filter(|_| !is_attempt)),
            duration: end.saturating_duration_since(started).as_secs_f64(),
            is_root,
            used: if is_attempt { Totals::default() } else { used },
            parts: parts.as_deref(),
            first_chunk: first_chunk.map(|at| rfc3339(anchor.wall(at))),
        };
        for (key, value) in dialect::attributes(core.options.dialects, &finished) {
            fields.assume(key, value);
        }
    }
    let ending = span::Ending {
        kind,
        span_name,
        dialects: core.options.dialects,
        context,
        fields,
        status: outcome.status(core.options.error_text),
        error_type,
        end: anchor.wall(end),
    };
    span::end(core.counters(), ending);
}

/// What was said in a turn or a conversation that ends. What was said in any other span is kept for those, if a dialect wants
/// it.
fn words(core: &Core, kind: Kind, fields: &Fields, place: Option<(&Conversation, Option<TurnKey>)>) -> Words {
    let Some((conversation, turn)) = place.filter(|_| core.options.wants_words()) else { return Words::default() };
    let own = Words::of(kind, fields);
    match kind {
        Kind::Conversation => conversation.words(),
        Kind::Turn => conversation.end_words(turn, own),
        Kind::Stt
        | Kind::Llm
        | Kind::Tts
        | Kind::Tool
        | Kind::Agent
        | Kind::Workflow
        | Kind::Step
        | Kind::Embeddings
        | Kind::Retrieval
        | Kind::Realtime => {
            if own != Words::default() {
                conversation.add_words(turn, own, core.options.max_content_len);
            }
            Words::default()
        }
    }
}

/// What of an event may leave: its content if that is asked for, its message if that is not content, what it says about an
/// error if error texts are exported.
pub(crate) fn may_leave(core: &Core, mut said: Said, target: &str, is_error: bool) -> Said {
    let options = &core.options;
    let rules = core.rules();
    let with_content = core.policy.content;
    let is_content = options.is_content_target(target);
    if (is_content && !with_content) || (is_error && !options.error_text) {
        said.message = None;
    } else if is_content || is_error {
        said.message = said.message.map(|message| rules.text("message", &message));
    }
    let texts = ErrorTexts::among(&said.attributes.iter().map(|attribute| (attribute.key.as_str(), &attribute.value)));
    let is_text = |name: &str| name == "error" || said.errors.contains(&name) || texts.has(name);
    if !options.error_text {
        said.attributes.retain(|attribute| !is_text(attribute.key.as_str()));
    } else if rules.redacts() {
        for attribute in said.attributes.iter_mut().filter(|attribute| is_text(attribute.key.as_str())) {
            attribute.value = rules.text("error", &attribute.value.as_str()).into();
        }
    }
    said.attributes.retain_mut(|attribute| {
        let name = attribute.key.as_str();
        let leaves = core.policy.admits_on_event(attribute) || is_about(attribute, target);
        if leaves && core.policy.ids.is_some() {
            attribute.value = core.policy.value(name, attribute.value.clone());
        } else if !leaves {
            core.counters().refused(Refusal::Unknown);
        }
        leaves
    });
    for piece in said.content.drain(..).filter(|_| with_content) {
        said.attributes.push(KeyValue::new(piece.field, rules.own(piece.field, &piece.text)));
    }
    said
}

/// Whether it is what every event has, its level or its target, and no field that is called like these.
fn is_about(attribute: &KeyValue, target: &str) -> bool {
    let value = attribute.value.as_str();
    match attribute.key.as_str() {
        key if key == EVENT_LEVEL.name() => matches!(&*value, "ERROR" | "WARN" | "INFO" | "DEBUG" | "TRACE"),
        key if key == EVENT_TARGET.name() => value == target,
        _ => false,
    }
}

/// What of a link's attributes may leave.
pub(crate) fn linked(core: &Core, attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    let rules = core.rules();
    let may_leave = |attribute: KeyValue| {
        if !content::is_content(attribute.key.as_str()) {
            return passed(core, attribute);
        }
        let said = || rules.own(attribute.key.as_str(), &attribute.value.as_str());
        core.policy.content.then(|| KeyValue::new(attribute.key.clone(), said()))
    };
    attributes.into_iter().filter_map(may_leave).collect()
}

/// An attribute that passes as the program gave it, if it may; otherwise it is counted.
pub(crate) fn passed(core: &Core, attribute: KeyValue) -> Option<KeyValue> {
    let passed = core.policy.passed(attribute);
    if passed.is_none() {
        core.counters().refused(Refusal::Unknown);
    }
    passed
}

/// The content's attributes; comes back with the same under its own name, if the dialects want it.
fn write_content(rules: Rules<'_>, fields: &mut Fields, wanted: bool) -> Vec<(Slot, String)> {
    let pieces = fields.take_content();
    if pieces.is_empty() {
        return Vec::new();
    }
    for (key, text) in content::attributes(&pieces, rules) {
        fields.assume(key, Value::from(text));
    }
    let own = pieces.iter().filter(|_| wanted);
    own.map(|piece| (piece.slot, rules.own(piece.field, &piece.text))).collect()
}

fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Micros, true)
}
