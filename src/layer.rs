//! When does anything happen?
//!
//! The first door: a [`Layer`] that keeps a record of its own for each span that it exports, and drives a tracer.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::Value;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use tracing_core::field::Field;
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Dispatch, Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::beside::{self, Beside};
use crate::core::Core;
use crate::event::{Moment, Said};
use crate::fields::Fields;
use crate::happen::{self, Happening, Weight};
use crate::home::Ancestor;
use crate::kind::Kind;
use crate::lifecycle::{self, Opening};
use crate::open::OpenSpan;
use crate::semconv::{EVENT_LEVEL, EVENT_TARGET};
use crate::thread_context::{self, Attached};
use crate::value::Raw;
use crate::visit::{has_message, opening_visitor, visitor};
use crate::{notice, outside, panicking, span};

/// A [`Layer`] that exports the voice and LLM spans of a program as a GenAI-shaped OpenTelemetry hierarchy.
///
/// [`layer`](crate::layer), [`GenAi::layer`](crate::GenAi::layer) and [`Telemetry::layer`](crate::Telemetry::layer)
/// make it. It goes on any registry, before or after other layers, alone or in an `Option`, a `Box` or a `Vec`.
///
/// * The OpenTelemetry span starts when the `tracing` span opens and ends when it closes, however often and wherever
///   it was entered in between. While it is entered, its OpenTelemetry context is attached to the thread.
/// * It hangs on its nearest recognized ancestor, contextual or explicit; other spans in between are skipped. Without
///   one it hangs in the live conversation that its `conversation_id` names, or on what
///   [`opentelemetry::Context::current`] holds, or on nothing.
/// * Fields that were declared and never recorded are not exported. A field that is recorded later must have been
///   declared, as `tracing::field::Empty`: `tracing` drops an undeclared one without a word.
pub struct GenAiLayer {
    core: Arc<Core>,
    beside: Beside,
    attached: Attached,
}

impl GenAiLayer {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, beside: Beside::default(), attached: Attached::default() }
    }

    /// The context of a span that it exports.
    pub(crate) fn context(&self, id: &Id) -> Option<opentelemetry::Context> {
        self.core.open.with(id.into_u64(), |open| open.context.clone())
    }

    /// Links a span that it exports to another one.
    pub(crate) fn link(&self, id: &Id, other: SpanContext) {
        if let Some(context) = self.context(id) {
            span::add_link(self.core.counters(), &context, other, Vec::new());
        }
    }

    /// Tells who has two layers of what one would do.
    fn hint(&self, id: &Id) {
        self.beside.hint(id, |dispatch| self.is_in(dispatch));
    }

    fn is_in(&self, dispatch: &Dispatch) -> bool {
        dispatch.downcast_ref::<Self>().is_some_and(|layer| layer.key() == self.key())
    }

    /// Whether all that it would export, of which this opens now, is exported by a layer on a wrapped tracer already.
    fn steps_aside(&self, opens: &'static str) -> bool {
        let aside = self.beside.is_wrapped(opens, |dispatch| self.is_in(dispatch));
        if aside {
            static ASIDE: notice::Once = notice::Once::new();
            ASIDE.say(|| {
                "a tracing-opentelemetry layer on tracing_genai::tracer is on the same registry and exports the spans: \
                 tracing_genai's own layer beside it does nothing"
                    .to_owned()
            });
        }
        aside
    }

    /// Tells this layer from others.
    fn key(&self) -> usize {
        Arc::as_ptr(&self.core) as usize
    }
}

/// A layer that is taken away, by a `reload`, hears no more of its spans: they end here.
impl Drop for GenAiLayer {
    fn drop(&mut self) {
        // Whoever takes it away may hold a lock that `tracing` waits for.
        outside::quietly(|| {
            for id in self.core.open.ids() {
                lifecycle::close(&self.core, id, true);
            }
        });
    }
}

impl<S> Layer<S> for GenAiLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.beside.set_dispatch(dispatch);
    }

    fn on_new_span(&self, attrs: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let metadata = attrs.metadata();
        let kind = self.core.kind(metadata);
        if (kind.is_none() && !self.core.options.other_spans)
            || outside::is_calling_out()
            // An exporter's connection is a root, below which its frames would be exported, and make more of them.
            || thread_context::current(opentelemetry::Context::is_telemetry_suppressed).unwrap_or_default()
            || beside::is_probes(metadata)
            || self.steps_aside(metadata.name())
        {
            return;
        }
        panicking::is_over();
        let now = Instant::now();
        let plan = self.core.plan(metadata, kind);
        let mut fields = Fields::with_capacity(metadata.fields().len());
        let take = |field: &Field, raw: Raw<'_>| {
            self.core.count(fields.apply(plan.read(field.index(), raw, &self.core.policy)));
        };
        attrs.record(&mut opening_visitor(|| self.core.counters().panicked(), take));

        let parent = attrs.parent().cloned().or_else(|| current(&ctx, attrs.is_contextual()));
        let ancestor = self.nearest(parent, || ctx.span_scope(id), Ancestor::of);
        let opening = Opening {
            id: Some(id.into_u64()),
            kind,
            span_name: metadata.name(),
            plan,
            fields,
            ancestor,
            explicit: attrs.parent().is_some(),
            root: attrs.is_root(),
            attached: None,
            links: Vec::new(),
            attributes: Vec::new(),
        };
        let _ = lifecycle::open(&self.core, opening, now);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let id = id.into_u64();
        // One by one: the visitor runs the program's `Debug` code between two values. Nothing may be locked meanwhile.
        let record = |field: &Field, raw: Raw<'_>| lifecycle::record_field(&self.core, id, field.index(), raw);
        values.record(&mut visitor(record));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        if let Some(followed) = self.context(follows) {
            self.link(id, followed.span().span_context().clone());
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let metadata = event.metadata();
        if happen::is_opentelemetrys(metadata.target()) || outside::is_calling_out() {
            return;
        }
        let now = Instant::now();
        // A moment is one of the recognized span's, even in a span of the program's own that is exported in between.
        let parent = event.parent().cloned().or_else(|| current(&ctx, event.is_contextual()));
        let nearest = self.nearest(parent, || ctx.event_scope(event), |id, open| (id, open.ours_id.zip(open.ours)));
        // Outside of all spans only a speaking event counts, and it must say which conversation it is about.
        if nearest.is_none() && metadata.fields().field("conversation_id").is_none() {
            return;
        }
        let weight = Weight::of(*metadata.level(), self.core.options.event_level);
        let is_known = || happen::is_known(metadata.name()) || has_message(event, happen::is_known);
        if weight == Weight::Detail && !is_known() {
            return;
        }
        let ours = nearest.and_then(|(_, ours)| ours);
        if let Some((id, moment)) = ours.and_then(|(id, kind)| Some((id, moment(event, kind)?))) {
            return lifecycle::mark(&self.core, id, moment, now);
        }

        let mut said = Said::default();
        event.record(&mut visitor(|field, raw| said.take(field.name(), raw)));
        let mut happening = Happening {
            name: metadata.name().into(),
            target: said.target.take().map_or_else(|| metadata.target().into(), Cow::Owned),
            weight,
            said,
            now,
            at: None,
        };
        if happen::mark(&self.core, &mut happening, ours) {
            return;
        }
        if let Some((id, _)) = nearest {
            happening.said.about(EVENT_LEVEL, metadata.level().as_str());
            happening.said.about(EVENT_TARGET, Value::String(happening.target.clone().into()));
            happen::attach(&self.core, happening, id, ours);
        }
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        let Some(context) = self.context(id) else { return };
        self.attached.attach(id.into_u64(), context);
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let span_id = id.into_u64();
        self.watch_for_panic(span_id);
        if self.attached.detach(span_id) {
            self.hint(id);
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let id = id.into_u64();
        self.watch_for_panic(id);
        lifecycle::close(&self.core, id, false);
    }
}

impl GenAiLayer {
    /// What `look` finds in the nearest exported span. Mostly that is the parent, and the registry need not be asked for
    /// all that are `above`.
    fn nearest<'a, S, R>(
        &self,
        parent: Option<Id>,
        above: impl FnOnce() -> Option<Scope<'a, S>>,
        look: impl Fn(u64, &OpenSpan) -> R,
    ) -> Option<R>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let look = |id: Id| {
            let id = id.into_u64();
            self.core.open.with(id, |open| look(id, open))
        };
        let parent = parent?;
        look(parent).or_else(|| above()?.find_map(|span| look(span.id())))
    }

    /// While a panic unwinds, spans are left and closed from the inside out: the first one is the one that it happened in.
    fn watch_for_panic(&self, id: u64) {
        panicking::watch(self.key(), || lifecycle::panicked(&self.core, id));
    }
}

/// The moment that an event marks on a span of this kind, if it says nothing else: such a message is read without a copy.
fn moment(event: &Event<'_>, kind: Kind) -> Option<Moment> {
    let metadata = event.metadata();
    if metadata.fields().len() != 1 || happen::is_known(metadata.name()) {
        return None;
    }
    let moment = Cell::new(None);
    has_message(event, |message| {
        moment.set(Moment::of(message, kind));
        moment.get().is_some()
    });
    moment.get()
}

/// The span that this thread is in, for what takes that for its parent.
fn current<S>(ctx: &Context<'_, S>, is_contextual: bool) -> Option<Id>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if is_contextual { ctx.current_span().id().cloned() } else { None }
}

impl fmt::Debug for GenAiLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenAiLayer").field("core", &self.core).finish_non_exhaustive()
    }
}
