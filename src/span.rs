//! Who starts and ends the exported span?
//!
//! Only this module does, and only through [`call_out`]: samplers and span processors are other people's code.

use std::borrow::Cow;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{Link, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};

use crate::failure::Failure;
use crate::fields::{Fields, StatusCode};
use crate::kind::Kind;
use crate::mapping;
use crate::open::OpenSpan;
use crate::semconv::{ERROR_TYPE, ERROR_TYPE_OTHER, INCOMPLETE, OPERATION_NAME};
use crate::stats::Counters;

/// What a span is when it opens, apart from its fields.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) kind: Option<Kind>,
    /// The name that `tracing` knows it by.
    pub(crate) span_name: &'static str,
    pub(crate) parent: &'a Context,
    pub(crate) link: Option<SpanContext>,
    pub(crate) start: SystemTime,
}

/// Starts the exported span, with the attributes that a sampler sees. `None` if that panicked.
pub(crate) fn start<T>(tracer: &T, counters: &Counters, opening: Opening<'_>, fields: &mut Fields) -> Option<Context>
where
    T: Tracer,
    T::Span: Send + Sync + 'static,
{
    let Opening { kind, span_name, parent, link, start } = opening;
    if let Some(operation) = kind.and_then(|kind| mapping::operation(kind, span_name)) {
        fields.assume(OPERATION_NAME, Value::from(operation));
    }
    let span_kind = fields.span_kind().unwrap_or_else(|| kind.map_or(SpanKind::Internal, mapping::span_kind));
    let mut builder = SpanBuilder::from_name(name(kind, span_name, fields)).with_kind(span_kind).with_start_time(start);
    builder.attributes = Some(fields.start());
    builder.links = link.map(|remote| vec![Link::with_context(remote)]);
    call_out(counters, || {
        let span = tracer.build_with_context(builder, parent);
        parent.with_span(span)
    })
}

/// Writes what is not on the exported span yet and ends it.
pub(crate) fn end(counters: &Counters, mut open: OpenSpan, at: Instant, error_text: bool, incomplete: bool) {
    counters.closed();
    let end = open.anchor.wall(at);
    let fields = &mut open.fields;
    if incomplete {
        fields.assume(INCOMPLETE, Value::Bool(true));
    }
    if let Some(kind) = open.kind {
        if let (Some(key), Some(first)) = (mapping::time_to_first_chunk(kind), open.first_chunk) {
            fields.assume(key, Value::F64(first.as_secs_f64()));
        }
        if let Some((key, value)) = mapping::default_attribute(kind) {
            fields.assume(key, Value::from(value));
        }
    }
    let name = name(open.kind, open.span_name, fields);
    let (status, error_type) = status(fields, open.failure.as_ref(), error_text);
    let attributes = fields.finish().chain(error_type);
    call_out(counters, || {
        let span = open.context.span();
        if span.is_recording() {
            span.set_attributes(attributes);
            span.update_name(name);
            if status != Status::Unset {
                span.set_status(status);
            }
        }
        span.end_with_timestamp(end);
    });
    // Dropped in here too: the last reference may end a span that someone else made.
    call_out(counters, move || drop(open.context));
}

/// Puts a span event on the exported span.
pub(crate) fn add_event(
    counters: &Counters,
    context: &Context,
    name: Cow<'static, str>,
    at: SystemTime,
    attributes: Vec<KeyValue>,
) {
    call_out(counters, || context.span().add_event_with_timestamp(name, at, attributes));
}

/// Links the exported span to another one.
pub(crate) fn add_link(counters: &Counters, context: &Context, other: SpanContext) {
    call_out(counters, || context.span().add_link(other, Vec::new()));
}

/// Whether this thread is inside someone else's code that we called. Spans and events from in there are not ours:
/// a processor that traces would be called for its own spans for ever.
pub(crate) fn is_calling_out() -> bool {
    CALLING_OUT.try_with(Cell::get).unwrap_or(true)
}

thread_local! {
    static CALLING_OUT: Cell<bool> = const { Cell::new(false) };
}

fn call_out<R>(counters: &Counters, call: impl FnOnce() -> R) -> Option<R> {
    let outer = CALLING_OUT.try_with(|inside| inside.replace(true)).ok()?;
    let result = catch_unwind(AssertUnwindSafe(call));
    let _ = CALLING_OUT.try_with(|inside| inside.set(outer));
    if result.is_err() {
        counters.panicked();
    }
    result.ok()
}

fn name(kind: Option<Kind>, span_name: &'static str, fields: &Fields) -> Cow<'static, str> {
    match (fields.name(), kind) {
        (Some(name), _) => name.to_owned().into(),
        (None, None) => span_name.into(),
        (None, Some(kind)) => {
            let subject = mapping::subject(kind).and_then(|key| fields.text(key));
            mapping::name(kind, fields.text(OPERATION_NAME), subject)
        }
    }
}

/// The span's status, and its `error.type` if it failed: what `otel.status_code` says, else what its own fields say,
/// else what an `ERROR` event in it said.
fn status(fields: &Fields, event: Option<&Failure>, error_text: bool) -> (Status, Option<KeyValue>) {
    let failure = Some(fields.failure()).filter(|failure| failure.is_failure()).or(event);
    let description = match (fields.status_description(), failure) {
        (Some(given), _) => given.to_owned(),
        (None, Some(failure)) if error_text => failure.description(),
        _ => String::new(),
    };
    let error_type = || KeyValue::new(ERROR_TYPE, failure.map_or_else(|| ERROR_TYPE_OTHER.into(), Failure::error_type));
    match (fields.status_code(), failure) {
        (Some(StatusCode::Ok), _) => (Status::Ok, None),
        (None, None) => (Status::Unset, None),
        (Some(StatusCode::Error), _) | (None, Some(_)) => (Status::error(description), Some(error_type())),
    }
}
