//! Who starts and ends the exported span?
//!
//! Only this module does, and only through [`outside`]: samplers and span processors are other people's code.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::baggage::{Baggage, BaggageExt};
use opentelemetry::trace::{Link, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};

use crate::dialect::Dialects;
use crate::fields::Fields;
use crate::kind::Kind;
use crate::mapping;
use crate::outside;
use crate::semconv::{ERROR_TYPE, Keys, OPERATION_NAME};
use crate::stats::Counters;

/// What a span is when it opens, apart from its fields.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) kind: Option<Kind>,
    /// The name that `tracing` knows it by.
    pub(crate) span_name: &'static str,
    pub(crate) dialects: Dialects,
    pub(crate) origin: &'a Origin,
    pub(crate) links: Vec<Link>,
    /// What it has from its start on, besides its fields.
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) start: SystemTime,
}

/// Where a span starts.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    /// The context that samplers and span processors see: they take a span in it for the parent.
    pub(crate) parent: Context,
    /// The context whose values the new span's context keeps, if that is not `parent`.
    pub(crate) values: Option<Context>,
}

impl Origin {
    pub(crate) fn below(parent: Context) -> Self {
        Self { parent, values: None }
    }

    /// A root where all of `context` holds but its span. OpenTelemetry can't take a span out of a context, so samplers and
    /// span processors see the context's baggage and no other values.
    pub(crate) fn root_in(context: Context) -> Self {
        let mut parent = Context::new();
        if !context.baggage().is_empty() {
            let entries = context.baggage().iter().map(|(key, entry)| (key.clone(), entry.clone()));
            parent = parent.with_baggage(entries.collect::<Baggage>());
        }
        Self { parent, values: Some(context) }
    }
}

/// A tracer of any type.
pub(crate) trait Starts: Send + Sync {
    /// Starts a span, and gives the context with the span in it.
    fn start(&self, builder: SpanBuilder, origin: &Origin) -> Context;
}

impl<T> Starts for T
where
    T: Tracer + Send + Sync,
    T::Span: Send + Sync + 'static,
{
    fn start(&self, builder: SpanBuilder, origin: &Origin) -> Context {
        let Origin { parent, values } = origin;
        values.as_ref().unwrap_or(parent).with_span(self.build_with_context(builder, parent))
    }
}

/// Starts the exported span, with the attributes that a sampler sees. `None` if that panicked.
pub(crate) fn start(
    tracer: &dyn Starts,
    counters: &Counters,
    opening: Opening<'_>,
    fields: &mut Fields,
) -> Option<Context> {
    let Opening { kind, span_name, dialects, origin, links, attributes, start } = opening;
    name_operation(kind, span_name, dialects, fields);
    let span_kind = fields.span_kind().unwrap_or_else(|| kind.map_or(SpanKind::Internal, mapping::span_kind));
    let mut builder =
        SpanBuilder::from_name(name(kind, span_name, dialects, fields)).with_kind(span_kind).with_start_time(start);
    builder.attributes = Some(fields.start(attributes));
    builder.links = (!links.is_empty()).then_some(links);
    let context = call_out(counters, || tracer.start(builder, origin))?;
    counters.opened();
    Some(context)
}

/// Brings the fields of a span that was started with some of them to where they are after a start.
pub(crate) fn resume(fields: &mut Fields, kind: Kind, span_name: &'static str, dialects: Dialects, sent: &Keys) {
    name_operation(Some(kind), span_name, dialects, fields);
    fields.resume(sent);
}

fn name_operation(kind: Option<Kind>, span_name: &'static str, dialects: Dialects, fields: &mut Fields) {
    let operation = |kind| dialects.operation(kind).or_else(|| mapping::operation(kind, span_name));
    if let Some(operation) = kind.and_then(operation) {
        fields.assume(OPERATION_NAME, Value::from(operation));
    }
}

/// What there is to say about a span when it ends.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    pub(crate) kind: Option<Kind>,
    pub(crate) span_name: &'static str,
    pub(crate) dialects: Dialects,
    pub(crate) context: Context,
    pub(crate) fields: &'a mut Fields,
    pub(crate) status: Status,
    /// Its `error.type`, if it failed.
    pub(crate) error_type: Option<Arc<str>>,
    pub(crate) end: SystemTime,
}

/// Writes what is not on the exported span yet and ends it.
pub(crate) fn end(counters: &Counters, ending: Ending<'_>) {
    let Ending { kind, span_name, dialects, context, fields, status, error_type, end } = ending;
    counters.closed();
    let renamed = fields.is_renamed().then(|| name(kind, span_name, dialects, fields));
    if let Some(error_type) = error_type {
        fields.assume(ERROR_TYPE, Value::String(error_type.into()));
    }
    let (attributes, made_up) = fields.finish();
    let mut context = Some(context);
    call_out(counters, || {
        if let Some(context) = &context {
            let span = context.span();
            span.set_attributes(attributes);
            if let Some(made_up) = made_up {
                span.set_attributes(made_up);
            }
            if let Some(name) = renamed {
                span.update_name(name);
            }
            if status != Status::Unset {
                span.set_status(status);
            }
            span.end_with_timestamp(end);
        }
        // Dropped in here too: the last reference may end a span that someone else made.
        context = None;
    });
    // It is still there after a panic.
    if context.is_some() {
        call_out(counters, || drop(context));
    }
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
pub(crate) fn add_link(counters: &Counters, context: &Context, other: SpanContext, attributes: Vec<KeyValue>) {
    call_out(counters, || context.span().add_link(other, attributes));
}

fn call_out<R>(counters: &Counters, call: impl FnOnce() -> R) -> Option<R> {
    let result = outside::call_out(call);
    if result.is_none() {
        counters.panicked();
    }
    result
}

fn name(kind: Option<Kind>, span_name: &'static str, dialects: Dialects, fields: &Fields) -> Cow<'static, str> {
    match (fields.name(), kind) {
        (Some(name), _) => name.to_owned().into(),
        (None, None) => span_name.into(),
        (None, Some(kind)) => {
            if let Some(name) = dialects.span_name(kind) {
                return name.into();
            }
            let subject = mapping::subject(kind).and_then(|key| fields.text(key));
            mapping::name(kind, fields.text(OPERATION_NAME), subject)
        }
    }
}
