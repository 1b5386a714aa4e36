//! When does anything happen?
//!
//! The first door: a [`Layer`] that keeps a record of its own for each span that it exports, and drives a tracer.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::trace::{SpanContext, TraceContextExt, Tracer};
use opentelemetry::{Context as OtelContext, ContextGuard, KeyValue};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Anchor;
use crate::conversation::{Inherited, passed_on, take_over};
use crate::core::Core;
use crate::event::{Moment, Said};
use crate::fields::Fields;
use crate::kind::Kind;
use crate::open::OpenSpan;
use crate::semconv::{EVENT_LEVEL, EVENT_TARGET, INTERRUPTED, TURN_NUMBER};
use crate::value::Refusal;
use crate::visit::visitor;
use crate::{span, traceparent};

/// A [`Layer`] that exports the voice and LLM spans of a program as a GenAI-shaped OpenTelemetry hierarchy.
///
/// [`layer`](crate::layer), [`GenAi::layer`](crate::GenAi::layer) and [`Telemetry::layer`](crate::Telemetry::layer)
/// make it. It goes on any registry, before or after other layers, alone or in an `Option`, a `Box` or a `Vec`.
///
/// * The OpenTelemetry span starts when the `tracing` span opens and ends when it closes, however often and wherever
///   it was entered in between. While it is entered, its OpenTelemetry context is attached to the thread.
/// * It hangs on its nearest recognized ancestor, contextual or explicit; other spans in between are skipped. Without
///   one it hangs on what [`opentelemetry::Context::current`] holds, and with `parent: None` on nothing.
/// * Fields that were declared and never recorded are not exported. A field that is recorded later must have been
///   declared, as `tracing::field::Empty`: `tracing` drops an undeclared one without a word.
pub struct GenAiLayer<T> {
    core: Arc<Core>,
    tracer: T,
}

impl<T> GenAiLayer<T> {
    pub(crate) fn new(core: Arc<Core>, tracer: T) -> Self {
        Self { core, tracer }
    }

    /// Whose contexts on this thread's stack are this layer's.
    fn key(&self) -> usize {
        Arc::as_ptr(&self.core) as usize
    }
}

impl<S, T> Layer<S> for GenAiLayer<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    T: Tracer + Send + Sync + 'static,
    T::Span: Send + Sync + 'static,
{
    fn on_new_span(&self, attrs: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let metadata = attrs.metadata();
        let kind = self.core.kind(metadata);
        if (kind.is_none() && !self.core.options.other_spans) || span::is_calling_out() {
            return;
        }
        let now = Anchor::now();
        let plan = self.core.plan(metadata, kind);
        let mut fields = Fields::default();
        attrs.record(&mut visitor(|field, raw| self.count(fields.apply(plan.read(field.index(), raw)))));

        let above = self.above(attrs, id, &ctx);
        take_over(&mut fields, &above.inherited);
        if kind == Some(Kind::Turn) {
            self.number(&mut fields, above.span);
        }
        let inherited = passed_on(&above.inherited, &fields);
        let (parent, link) = self.remote(&fields, above.span, above.context);
        let anchor = above.anchor.unwrap_or(now);
        let started = now.instant().checked_sub(fields.started_ago()).unwrap_or(now.instant());

        let opening =
            span::Opening { kind, span_name: metadata.name(), parent: &parent, link, start: anchor.wall(started) };
        let Some(context) = span::start(&self.tracer, self.core.counters(), opening, &mut fields) else { return };
        self.core.counters().opened();
        let open = OpenSpan {
            kind,
            span_name: metadata.name(),
            plan,
            context,
            parent: above.span,
            fields,
            inherited,
            anchor,
            started,
            first_chunk: None,
            failure: None,
            turns: 0,
        };
        self.core.open.insert(id.into_u64(), open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let id = id.into_u64();
        let Some(plan) = self.core.open.with(id, |open| Arc::clone(&open.plan)) else { return };
        let mut said = Vec::with_capacity(values.len());
        values.record(&mut visitor(|field, raw| said.push(plan.read(field.index(), raw))));
        self.core.open.with(id, |open| {
            for said in said {
                self.count(open.fields.apply(said));
            }
            open.inherited = passed_on(&open.inherited, &open.fields);
        });
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        let context = |id: &Id| self.core.open.with(id.into_u64(), |open| open.context.clone());
        if let (Some(context), Some(followed)) = (context(id), context(follows)) {
            span::add_link(self.core.counters(), &context, followed.span().span_context().clone());
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let metadata = event.metadata();
        // OpenTelemetry's own log of what it does would end up in the spans that it tells about.
        if metadata.target().starts_with("opentelemetry") || span::is_calling_out() {
            return;
        }
        let Some(scope) = ctx.event_scope(event) else { return };
        let now = Instant::now();
        let mut exported = scope.filter_map(|span| {
            let id = span.id().into_u64();
            self.core.open.with(id, |open| (id, open.kind))
        });
        let Some((nearest, kind)) = exported.next() else { return };
        // A moment is one of the recognized span's, even in a span of the program's own that is exported in between.
        let ours = kind.map(|kind| (nearest, kind)).or_else(|| exported.find_map(|(id, kind)| Some((id, kind?))));

        let mut said = Said::default();
        event.record(&mut visitor(|field, raw| said.take(field.name(), raw)));
        let name = said.message.as_deref().unwrap_or(metadata.name());
        let moment = ours.and_then(|(id, kind)| {
            let moment = Moment::of(metadata.name(), kind).or_else(|| Moment::of(name, kind));
            moment.map(|moment| (id, moment))
        });
        let at = now.checked_sub(said.ago).unwrap_or(now);
        match moment {
            Some((id, moment)) => self.mark(id, moment, at),
            None => self.attach(nearest, event, said, now),
        }
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        let id = id.into_u64();
        let Some(context) = self.core.open.with(id, |open| open.context.clone()) else { return };
        // No thread-local storage is left while the thread ends: then nothing is attached.
        let _ = ENTERED.try_with(|entered| {
            let guard = context.attach();
            entered.borrow_mut().push((self.key(), id, guard));
        });
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let id = id.into_u64();
        let left = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let index = entered.iter().rposition(|(layer, span, _)| *layer == self.key() && *span == id)?;
            Some(entered.remove(index))
        });
        // Outside of the borrow: what was attached before becomes current again, and that may run someone else's code.
        drop(left);
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.core.end(id.into_u64(), false);
    }
}

thread_local! {
    /// The contexts that are attached to this thread: by which layer, for which span.
    static ENTERED: RefCell<Vec<(usize, u64, ContextGuard)>> = const { RefCell::new(Vec::new()) };
}

/// What a new span finds above it.
struct Above {
    /// The exported span that it hangs on, if that is one of this layer's.
    span: Option<u64>,
    context: OtelContext,
    inherited: Inherited,
    anchor: Option<Anchor>,
}

impl<T> GenAiLayer<T> {
    fn above<S>(&self, attrs: &Attributes<'_>, id: &Id, ctx: &Context<'_, S>) -> Above
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let ancestors = ctx.span_scope(id).into_iter().flatten().skip(1);
        let nearest = ancestors.map(|span| span.id().into_u64()).find_map(|id| {
            self.core.open.with(id, |open| Above {
                span: Some(id),
                context: open.context.clone(),
                inherited: open.inherited.clone(),
                anchor: Some(open.anchor),
            })
        });
        let attached = || if attrs.is_root() { OtelContext::new() } else { OtelContext::current() };
        match nearest {
            Some(above) => Above { context: with_attached_values(above.context), ..above },
            None => Above { span: None, context: attached(), inherited: Inherited::default(), anchor: None },
        }
    }

    /// A turn without a number is the conversation's next one.
    fn number(&self, fields: &mut Fields, above: Option<u64>) {
        let given = match fields.given(|key| key == TURN_NUMBER).next() {
            Some((_, opentelemetry::Value::I64(number))) => Some(*number),
            _ => None,
        };
        let mut next = above;
        while let Some(id) = next {
            let counted = self.core.open.with(id, |open| {
                if open.kind == Some(Kind::Conversation) {
                    open.turns = given.unwrap_or(open.turns.saturating_add(1));
                    (Some(open.turns), None)
                } else {
                    (None, open.parent)
                }
            });
            let Some((number, parent)) = counted else { return };
            if let Some(number) = number {
                self.count(fields.set(TURN_NUMBER, number.into()));
            }
            next = parent;
        }
    }

    /// A `traceparent` is the parent of a root; below a span of ours it is a link.
    fn remote(&self, fields: &Fields, above: Option<u64>, parent: OtelContext) -> (OtelContext, Option<SpanContext>) {
        let Some((traceparent, tracestate)) = fields.remote_parent() else { return (parent, None) };
        match traceparent::parse(traceparent, tracestate) {
            None => {
                self.core.counters().refused(Refusal::OutOfRange);
                (parent, None)
            }
            Some(remote) if above.is_some() => (parent, Some(remote)),
            Some(remote) => (parent.with_remote_span_context(remote), None),
        }
    }

    fn mark(&self, id: u64, moment: Moment, at: Instant) {
        self.core.open.with(id, |open| match moment {
            Moment::FirstChunk => {
                open.first_chunk.get_or_insert(at.saturating_duration_since(open.started));
            }
            Moment::Interrupted => self.count(open.fields.set(INTERRUPTED, true.into())),
        });
    }

    fn attach(&self, id: u64, event: &Event<'_>, said: Said, at: Instant) {
        let metadata = event.metadata();
        let error_text = self.core.options.error_text;
        let failure = (*metadata.level() == Level::ERROR).then(|| said.failure.of_event(said.message.as_deref()));
        let found = self.core.open.with(id, |open| {
            if open.failure.is_none() {
                open.failure = failure;
            }
            (open.context.clone(), open.anchor.wall(at))
        });
        let Some((context, at)) = found else { return };
        let mut attributes = said.attributes;
        attributes.retain(|attribute| error_text || attribute.key.as_str() != "error");
        attributes.push(KeyValue::new(EVENT_LEVEL, metadata.level().as_str()));
        attributes.push(KeyValue::new(EVENT_TARGET, metadata.target().to_owned()));
        let name = said.message.map_or_else(|| Cow::Borrowed(metadata.name()), Cow::Owned);
        span::add_event(self.core.counters(), &context, name, at, attributes);
    }

    fn count(&self, applied: Result<(), Refusal>) {
        if let Err(why) = applied {
            self.core.counters().refused(why);
        }
    }
}

/// The parent's context, or the attached one if that is the parent's too: then it may hold baggage and other values
/// that were attached since the parent opened.
fn with_attached_values(parent: OtelContext) -> OtelContext {
    let same = OtelContext::map_current(|attached| attached.span().span_context() == parent.span().span_context());
    if same { OtelContext::current() } else { parent }
}

impl<T> fmt::Debug for GenAiLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenAiLayer").field("core", &self.core).finish_non_exhaustive()
    }
}
