//! When does anything happen, as a tracer sees it?
//!
//! The second door: a [`Tracer`] around the user's own, for a `tracing_opentelemetry` layer. It is told of a span when that
//! layer starts it, and everything that it is told goes to the same core as the first door's.

use std::borrow::Cow;
use std::cell::Cell;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{Event, Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};

use crate::above::{self, Theirs, Told, is_timing};
use crate::beside;
use crate::clock::Anchor;
use crate::core::Core;
use crate::event::{Moment, Said as EventSaid};
use crate::fields::{Fields, Plan, Said};
use crate::finish;
use crate::happen::{self, Happening, Weight};
use crate::home::Ancestor;
use crate::kind::Kind;
use crate::lifecycle::{self, Opening};
use crate::lost::{self, Lost};
use crate::mapping::Control;
use crate::names;
use crate::outside::{call_out, caught, is_calling_out, quietly};
use crate::panicking;
use crate::scopes::Scopes;
use crate::semconv::EVENT_TARGET;
use crate::span::{Origin, Starts};
use crate::turn::Cue;
use crate::value::{MAX_AGO, Raw, Refusal};

/// A [`Tracer`] around your own that makes the voice and LLM spans of a program a GenAI-shaped OpenTelemetry hierarchy,
/// for programs that already have a `tracing_opentelemetry` layer. [`tracer`](crate::tracer) and
/// [`GenAi::tracer`](crate::GenAi::tracer) make it.
///
/// All of that layer keeps working: its options, `OpenTelemetrySpanExt`, explicit parents and links across all spans.
/// Spans that are not recognized go to your tracer as they are. The README lists where this door differs from the
/// [layer](crate::GenAiLayer).
#[derive(Debug)]
pub struct GenAiTracer<T> {
    door: Arc<Door>,
    tracer: Arc<T>,
}

/// What all spans of one tracer have in common.
#[derive(Debug)]
struct Door {
    core: Arc<Core>,
    scopes: Scopes,
    /// The clock of what `span_builder` notes of a span.
    clock: Anchor,
    /// The fields of its spans have no places: they come as attributes.
    no_plan: Arc<Plan>,
}

impl<T> GenAiTracer<T> {
    pub(crate) fn new(tracer: &Arc<T>, core: Arc<Core>) -> Self {
        beside::wrapped();
        let door = Door { core, scopes: Scopes::default(), clock: Anchor::now(), no_plan: Arc::default() };
        Self { door: Arc::new(door), tracer: Arc::clone(tracer) }
    }
}

impl<T> Clone for GenAiTracer<T> {
    fn clone(&self) -> Self {
        Self { door: Arc::clone(&self.door), tracer: Arc::clone(&self.tracer) }
    }
}

impl<T> Tracer for GenAiTracer<T>
where
    T: Tracer + Send + Sync + 'static,
    T::Span: Send + Sync + 'static,
{
    type Span = GenAiSpan<T::Span>;

    /// The layer above calls this when a span opens: later the name may be another one, because of an `otel.name`.
    fn span_builder<N>(&self, name: N) -> SpanBuilder
    where
        N: Into<Cow<'static, str>>,
    {
        let mut builder = SpanBuilder::from_name(name);
        beside::builds(Some(&builder.name));
        if self.door.core.named(&builder.name).is_some() && !beside::is_probe(&builder.name) {
            // Whatever else it is called later, is owned.
            if let Some(name) = names::span_name(&builder.name).filter(|_| above::is_renamed(&builder)) {
                builder.name = name.into();
            }
            let mut attributes = Vec::with_capacity(ATTRIBUTES);
            attributes.push(KeyValue::new(OPENED_AS, builder.name.clone()));
            attributes.push(KeyValue::new(OPENED_AT, self.door.clock.at(Instant::now())));
            builder.attributes = Some(attributes);
        }
        builder
    }

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> Self::Span {
        if is_calling_out() || beside::is_probe(&builder.name) {
            return nothing(parent);
        }
        // Quietly: the layer above holds a lock, and a sampler or a span processor that traces would wait for it.
        quietly(|| match lost::above(parent) {
            Some(above) => self.start(builder, &above),
            None => self.start(builder, parent),
        })
    }
}

/// The name that a span was opened with; stands first among its builder's attributes, until it starts.
const OPENED_AS: &str = "tracing_genai.opened_as";

/// When that was, by the door's clock; stands second. The time that the layer above gives a span is one of the wall clock: two
/// spans whose times are converted one by one may change places.
const OPENED_AT: &str = "tracing_genai.opened_at";

/// Room for all attributes of most spans, those that the layer above says itself and those of the close included: a
/// kilobyte, the most that allocators keep at hand.
const ATTRIBUTES: usize = 18;

/// Room for the fields of most spans, recorded ones included.
const FIELDS: usize = 10;

impl<T> GenAiTracer<T>
where
    T: Tracer + Send + Sync + 'static,
    T::Span: Send + Sync + 'static,
{
    fn start(&self, mut builder: SpanBuilder, parent: &Context) -> GenAiSpan<T::Span> {
        let opened = self.door.opened(&mut builder);
        let name = opened.map(|(name, _)| name);
        beside::builds(None);
        // The layer above says when a span starts, and renames those that have an `otel.name`: this one was another's.
        let is_others = name.is_none() && builder.start_time.is_some() && above::is_renamed(&builder);
        let kind = if is_others { None } else { self.door.kind(name.unwrap_or(&builder.name), &builder) };
        match kind {
            Some(kind) => match self.door.open(kind, opened, builder, parent) {
                Some(ours) => GenAiSpan(State::Ours(ours)),
                None => nothing(parent),
            },
            None => self.pass(builder, parent),
        }
    }

    /// Starts a span that is not ours, as it is, as far as it may leave.
    fn pass(&self, builder: SpanBuilder, parent: &Context) -> GenAiSpan<T::Span> {
        let builder = if self.door.passes_all() { builder } else { self.door.passed_builder(builder) };
        let above = self.door.nearest(parent);
        let build = || {
            let span = self.tracer.build_with_context(builder, parent);
            let span_context = span.span_context().clone();
            let door = Arc::clone(&self.door);
            Box::new(Other { door, above, span_context, timings: Vec::new(), span: Some(span) })
        };
        let Some(other) = self.door.call_out(build) else { return nothing(parent) };
        if let Some(ours) = above {
            self.door.scopes.enter(id_of(&other.span_context), ours);
        }
        GenAiSpan(State::Other(other))
    }
}

/// A span that could not be started.
fn nothing<S: Span>(parent: &Context) -> GenAiSpan<S> {
    GenAiSpan(State::Nothing(Box::new(Lost::below(parent))))
}

/// Our spans start with the same tracer as all others.
pub(crate) struct Wrapped<T>(pub(crate) Arc<T>);

impl<T> Starts for Wrapped<T>
where
    T: Tracer + Send + Sync,
    T::Span: Send + Sync + 'static,
{
    fn start(&self, builder: SpanBuilder, origin: &Origin) -> Context {
        Starts::start(&*self.0, builder, origin)
    }
}

thread_local! {
    /// Whether a span of the program's own that went through a wrapped tracer was asked for something just now.
    static IS_OTHER: Cell<bool> = const { Cell::new(false) };
}

/// Whether the parent is such a span. One that is below none of ours is not kept in mind, and is not to be taken for an
/// OpenTelemetry-native one. Nothing but a call says what a context holds.
fn is_other(parent: &Context) -> bool {
    let _ = IS_OTHER.try_with(|is_other| is_other.set(false));
    call_out(|| parent.span().is_recording());
    IS_OTHER.try_with(Cell::get).unwrap_or(false)
}

fn id_of(span: &SpanContext) -> u64 {
    u64::from_be_bytes(span.span_id().to_bytes())
}

/// Runs a call of the layer above in which a redactor may run. The span's locks are held: a redactor that traces, or asks
/// OpenTelemetry for the current span, would wait for them.
fn under_locks<R>(call: impl FnOnce() -> R) -> R {
    quietly(|| {
        let _nothing = caught(|| Context::new().attach());
        call()
    })
}

impl Door {
    /// What `span_builder` noted of this span, if it went through there: the name that it was opened with, and when.
    fn opened(&self, builder: &mut SpanBuilder) -> Option<(&'static str, Instant)> {
        let attributes = builder.attributes.as_mut()?;
        if attributes.first()?.key.as_str() != OPENED_AS {
            return None;
        }
        let noted = attributes.len().min(2);
        let mut noted = attributes.drain(..noted).map(|attribute| attribute.value);
        match (noted.next()?, noted.next()?) {
            (Value::String(name), Value::I64(at)) => {
                Some((names::span_name(name.as_str())?, self.clock.instant_at(at)))
            }
            _ => None,
        }
    }

    /// Calls the user's tracer or one of its spans, and counts a panic.
    fn call_out<R>(&self, call: impl FnOnce() -> R) -> Option<R> {
        let result = call_out(call);
        if result.is_none() {
            self.core.counters().panicked();
        }
        result
    }

    fn kind(&self, name: &str, builder: &SpanBuilder) -> Option<Kind> {
        let target = || {
            let attributes = builder.attributes.as_deref().unwrap_or_default();
            let target = attributes.iter().find(|attribute| attribute.key.as_str() == EVENT_TARGET.name())?;
            Some(target.value.as_str().into_owned())
        };
        self.core.kind_of(name, target)
    }

    /// The nearest of our spans, if the parent is one, or is below one.
    fn nearest(&self, parent: &Context) -> Option<u64> {
        self.find(parent, |id| self.core.open.has(id).then_some(id)).map(|(found, _)| found)
    }

    fn ancestor(&self, parent: &Context) -> Option<Ancestor> {
        let (ancestor, is_parent) = self.find(parent, |id| self.core.open.with(id, |open| Ancestor::of(id, open)))?;
        Some(if is_parent { ancestor } else { ancestor.behind(parent.clone()) })
    }

    /// What `look` finds in the nearest of our spans, and whether that is the parent itself.
    fn find<R>(&self, parent: &Context, look: impl Fn(u64) -> Option<R>) -> Option<(R, bool)> {
        let span = parent.span();
        let above = span.span_context();
        if self.core.counters().none_is_open() || !above.is_valid() || above.is_remote() {
            return None;
        }
        if let Some(found) = look(id_of(above)) {
            return Some((found, true));
        }
        let top = || if is_other(parent) { None } else { self.scopes.top(above.trace_id()) };
        let ours = self.scopes.above(id_of(above)).or_else(top)?;
        Some((look(ours)?, false))
    }

    fn open(
        self: &Arc<Self>,
        kind: Kind,
        opened: Option<(&'static str, Instant)>,
        builder: SpanBuilder,
        parent: &Context,
    ) -> Option<Ours> {
        panicking::is_over();
        let now = Instant::now();
        let is_renamed = above::is_renamed(&builder);
        let SpanBuilder { name, span_kind, start_time, attributes, events, links, .. } = builder;
        let (opened_as, opened) = opened.unzip();
        let opened = opened.or_else(|| start_time.map(|at| instant_of(at, now))).unwrap_or(now);
        let mut attributes = attributes.unwrap_or_default();
        let mut fields = Fields::with_capacity(FIELDS);
        // The layer above puts its own first.
        let mut theirs = Theirs::default();
        let count = attributes.iter().take_while(|attribute| theirs.take(attribute)).count();
        let mut again = Vec::new();
        for attribute in attributes.drain(count..) {
            if theirs.has(&attribute) {
                again.push(attribute);
            } else if let Some(said) = self.read(kind, attribute) {
                self.core.count(fields.apply(said));
            }
        }
        for KeyValue { key, value, .. } in again {
            if let Some(known) = attributes.iter_mut().find(|known| known.key == key) {
                known.value = value;
            }
        }
        if self.core.policy.is_strict() {
            attributes.clear();
        }
        if let Some(span_kind) = span_kind {
            self.core.count(fields.apply(control(Control::SpanKind, span_kind_text(&span_kind))));
        }
        let span_name = opened_as.or_else(|| names::span_name(&name)).unwrap_or_default();
        if opened_as.is_some_and(|opened_as| is_renamed || opened_as != name) {
            self.core.count(fields.apply(Said::Control(Control::Name, Raw::Text(name))));
        }
        let ancestor = self.ancestor(parent);
        let hangs = ancestor.is_some();
        let opening = Opening {
            id: None,
            kind: Some(kind),
            span_name,
            plan: Arc::clone(&self.no_plan),
            fields,
            ancestor,
            explicit: false,
            root: false,
            attached: Some(parent),
            links: links.unwrap_or_default(),
            attributes,
        };
        let (id, context) = lifecycle::open(&self.core, opening, opened)?;
        let span_context = context.span().span_context().clone();
        let hangs = hangs || self.core.open.with(id, |open| open.parent.is_some()).unwrap_or(false);
        let is_top = self.scopes.begin(span_context.trace_id(), id, hangs);
        let door = Arc::clone(self);
        let mut ours = Ours {
            door,
            id,
            kind,
            has_ended: false,
            context,
            span_context,
            is_top,
            theirs,
            timings: Vec::new(),
            status_to_come: None,
        };
        for Event { name, timestamp, attributes, .. } in events.into_iter().flatten() {
            // Theirs can't be from before the span.
            let at = start_time.filter(|start| timestamp < *start).map(|_| timestamp);
            let derived = self.event(id, kind, name, (instant_of(timestamp, now), at), attributes);
            // The first level says no more than that it failed, and a text later says more.
            let level = || derived.is_error.then(String::new);
            ours.status_to_come =
                derived.text.or(ours.status_to_come.take().map(String::from)).or_else(level).map(Box::from);
        }
        Some(ours)
    }

    /// A span that is not ours as it may start.
    fn passed_builder(&self, mut builder: SpanBuilder) -> SpanBuilder {
        builder.attributes = builder.attributes.map(|attributes| self.passed(attributes));
        for Event { name, attributes, .. } in builder.events.iter_mut().flatten() {
            *name = self.passed_name(mem::take(name));
            *attributes = self.passed(mem::take(attributes));
        }
        for link in builder.links.iter_mut().flatten() {
            link.attributes = self.passed(mem::take(&mut link.attributes));
        }
        builder
    }

    /// Whether spans that are not ours pass as they are.
    fn passes_all(&self) -> bool {
        !self.core.policy.is_strict() && self.core.policy.ids.is_none()
    }

    fn passed(&self, attributes: impl IntoIterator<Item = KeyValue>) -> Vec<KeyValue> {
        let attributes = attributes.into_iter();
        if self.passes_all() {
            return attributes.collect();
        }
        attributes.filter_map(|attribute| finish::passed(&self.core, attribute)).collect()
    }

    fn passed_one(&self, attribute: KeyValue) -> Option<KeyValue> {
        if self.passes_all() { Some(attribute) } else { finish::passed(&self.core, attribute) }
    }

    /// The name of an event of such a span: its message.
    fn passed_name(&self, name: Cow<'static, str>) -> Cow<'static, str> {
        if self.core.policy.is_strict() { happen::of_contract(name.into_owned().into()) } else { name }
    }

    fn read(&self, kind: Kind, attribute: KeyValue) -> Option<Said> {
        let read = names::read(Some(kind), attribute, &self.core.policy);
        if read.is_none() {
            self.core.counters().refused(Refusal::OutOfRange);
        }
        read
    }

    /// An event in one of our spans. Comes back with the statuses that the layer above makes of it.
    fn event(
        &self,
        id: u64,
        kind: Kind,
        name: Cow<'static, str>,
        (now, at): (Instant, Option<SystemTime>),
        attributes: Vec<KeyValue>,
    ) -> Derived {
        let ours = Some((id, kind));
        let is_error = above::is_error(&attributes);
        if self.mark(&name, &attributes, ours, now) {
            return Derived { is_error, text: None };
        }
        let Told { name, said, target, level, status } = above::told(name, attributes);
        let weight = level.map_or(Weight::Note, |level| Weight::of(level, self.core.options.event_level));
        let happening = Happening { name, target: target.into(), weight, said, now, at };
        under_locks(|| happen::attach(&self.core, happening, id, ours));
        Derived { is_error, text: status }
    }

    /// When a moment was reported, by the time that its event was given. One of long ago is none: that time is a date.
    fn recent(&self, at: Instant) -> Instant {
        let now = Instant::now();
        if now.saturating_duration_since(at) <= MAX_AGO {
            return at;
        }
        self.core.counters().refused(Refusal::OutOfRange);
        now
    }

    /// Takes an event in that is a moment, if it is one. Only what says when it was, and in which conversation, is read.
    fn mark(&self, name: &str, attributes: &[KeyValue], ours: Option<(u64, Kind)>, now: Instant) -> bool {
        let moment = ours.and_then(|(_, kind)| Moment::of(name, kind));
        let is_cue = Cue::of(name).is_some();
        if !is_cue && moment.is_none() {
            return false;
        }
        let now = self.recent(now);
        let mut said = EventSaid { message: Some(name.to_owned()), ..EventSaid::default() };
        for attribute in attributes {
            if matches!(attribute.key.as_str(), "ms_ago" | "conversation_id") {
                names::take(&mut said, attribute.clone());
            }
        }
        let mut happening =
            Happening { name: "event".into(), target: "".into(), weight: Weight::Note, said, now, at: None };
        let mut mark = || happen::mark(&self.core, &mut happening, ours);
        // All but a first token may end a turn, which is exported then: the user's code runs.
        if !is_cue && moment == Some(Moment::FirstChunk) { mark() } else { under_locks(mark) }
    }
}

/// The statuses that the layer above makes of an event.
struct Derived {
    /// One without a text, for its level.
    is_error: bool,
    /// One with this text, whatever the level.
    text: Option<String>,
}

/// A span of a [`GenAiTracer`]: one that is recognized, or your tracer's own.
#[derive(Debug)]
pub struct GenAiSpan<S: Span>(State<S>);

#[derive(Debug)]
enum State<S: Span> {
    Ours(Ours),
    /// Boxed, because a span is large, and moved through each of the layers' hands.
    Other(Box<Other<S>>),
    /// It could not be started: what is below it hangs on what is above it.
    Nothing(Box<Lost>),
}

/// One of our open spans.
#[derive(Debug)]
struct Ours {
    door: Arc<Door>,
    id: u64,
    kind: Kind,
    has_ended: bool,
    /// Holds the user's span.
    context: Context,
    span_context: SpanContext,
    /// It hangs on none of ours, or is the first one in its trace.
    is_top: bool,
    theirs: Theirs,
    /// What the layer above says itself as it closes the span.
    timings: Vec<KeyValue>,
    /// What the layer above is about to make a status of, because of an event from before the start.
    status_to_come: Option<Box<str>>,
}

/// A span that is not ours.
#[derive(Debug)]
struct Other<S: Span> {
    door: Arc<Door>,
    /// The one of ours that it is below.
    above: Option<u64>,
    span_context: SpanContext,
    /// What the layer above says itself as it closes the span.
    timings: Vec<KeyValue>,
    /// The user's span, until it has ended.
    span: Option<S>,
}

impl Ours {
    fn record(&self, said: Said) {
        let record = || lifecycle::record(&self.door.core, self.id, said);
        // A turn or a conversation may end a turn by what it records, and a span that is exported runs the user's code.
        if lifecycle::bounds_turns(Some(self.kind)) { under_locks(record) } else { record() }
    }

    fn set(&self, attribute: KeyValue) {
        if self.theirs.has(&attribute) {
            self.door.core.counters().refused(Refusal::AlreadyGiven);
        } else if let Some(said) = self.door.read(self.kind, attribute) {
            self.record(said);
        }
    }

    /// Notes an attribute of that layer's own, which goes to the user's span as it ends.
    fn time(&mut self, timing: KeyValue) {
        if !self.door.core.policy.is_strict() {
            self.timings.push(timing);
        }
    }

    /// What its own status says wins. The one that the layer above makes of an event does not: that event says more.
    fn set_status(&mut self, status: Status) {
        let of_event = self.status_to_come.take();
        match status {
            Status::Unset => {}
            Status::Ok => self.record(control(Control::StatusCode, "ok")),
            Status::Error { description } => {
                if of_event.as_deref() != Some(&*description) {
                    self.door.core.open.with(self.id, |open| open.fields.add_error_status(description.into_owned()));
                }
            }
        }
    }

    fn end(&mut self) {
        if mem::replace(&mut self.has_ended, true) {
            return;
        }
        let core = &self.door.core;
        panicking::watch(Arc::as_ptr(core) as usize, || lifecycle::panicked(core, self.id));
        // Dropped in here: the last reference may drop values of the program's.
        let context = mem::take(&mut self.context);
        let timings = mem::take(&mut self.timings);
        quietly(|| {
            self.door.call_out(|| context.span().set_attributes(timings));
            lifecycle::close_quiet(core, self.id, false);
            self.door.call_out(|| drop(context));
        });
        if self.is_top {
            self.door.scopes.end(self.span_context.trace_id(), self.id);
        }
    }
}

impl<S: Span> Other<S> {
    /// Asks the user's span.
    fn pass(&mut self, call: impl FnOnce(&mut S)) {
        let Some(span) = &mut self.span else { return };
        quietly(|| self.door.call_out(|| call(span)));
    }

    /// Ends the user's span and drops it, in one call.
    fn end(&mut self, end: impl FnOnce(&mut S)) {
        // It is below none of ours any more.
        if self.above.take().is_some() {
            self.door.scopes.leave(id_of(&self.span_context));
        }
        let (span, timings) = (&mut self.span, mem::take(&mut self.timings));
        if span.is_none() {
            return;
        }
        let end = || {
            if let Some(span) = span {
                span.set_attributes(timings);
                end(span);
            }
            *span = None;
        };
        quietly(|| self.door.call_out(end));
    }

    /// Takes an event in that is a moment of the span above, if it is one.
    fn mark(&self, name: &str, attributes: &[KeyValue]) -> bool {
        let kind = |ours: u64| self.door.core.open.with(ours, |open| open.kind).flatten();
        let ours = self.above.and_then(|ours| Some((ours, kind(ours)?)));
        self.door.mark(name, attributes, ours, Instant::now())
    }
}

impl<S: Span> Span for GenAiSpan<S> {
    fn add_event_with_timestamp<N>(&mut self, name: N, timestamp: SystemTime, attributes: Vec<KeyValue>)
    where
        N: Into<Cow<'static, str>>,
    {
        let name = name.into();
        match &mut self.0 {
            State::Ours(Ours { door, id, kind, .. }) => {
                let now = Instant::now();
                let at = (instant_of(timestamp, now), is_given(timestamp).then_some(timestamp));
                let Derived { is_error, text } = door.event(*id, *kind, name, at, attributes);
                for status in is_error.then(String::new).into_iter().chain(text) {
                    door.core.open.with(*id, |open| open.fields.take_back_error_status(&status));
                }
            }
            State::Other(other) => {
                if !other.mark(&name, &attributes) {
                    let (name, attributes) = (other.door.passed_name(name), other.door.passed(attributes));
                    other.pass(|span| span.add_event_with_timestamp(name, timestamp, attributes));
                }
            }
            State::Nothing(_) => {}
        }
    }

    fn span_context(&self) -> &SpanContext {
        match &self.0 {
            State::Ours(ours) => &ours.span_context,
            State::Other(other) => &other.span_context,
            State::Nothing(lost) => lost.span_context(),
        }
    }

    fn is_recording(&self) -> bool {
        match &self.0 {
            // Whoever samples: what it is told counts in the metrics, in its turn and in its conversation.
            State::Ours(ours) => !ours.has_ended,
            State::Other(other) => {
                let _ = IS_OTHER.try_with(|is_other| is_other.set(true));
                let is_recording = || other.span.as_ref().is_some_and(Span::is_recording);
                other.door.call_out(is_recording).unwrap_or(false)
            }
            State::Nothing(lost) => {
                lost.answer();
                false
            }
        }
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        match &mut self.0 {
            State::Ours(ours) if is_timing(&attribute) => ours.time(attribute),
            State::Ours(ours) => ours.set(attribute),
            State::Other(other) => {
                if let Some(attribute) = other.door.passed_one(attribute) {
                    if is_timing(&attribute) {
                        other.timings.push(attribute);
                    } else {
                        other.pass(|span| span.set_attribute(attribute));
                    }
                }
            }
            State::Nothing(_) => {}
        }
    }

    fn set_attributes(&mut self, attributes: impl IntoIterator<Item = KeyValue>) {
        match &mut self.0 {
            State::Ours(ours) => {
                for attribute in attributes {
                    if is_timing(&attribute) { ours.time(attribute) } else { ours.set(attribute) }
                }
            }
            State::Other(other) => {
                // Made before the call: the iterator is the program's.
                let attributes = other.door.passed(attributes);
                other.pass(|span| span.set_attributes(attributes));
            }
            State::Nothing(_) => {}
        }
    }

    fn set_status(&mut self, status: Status) {
        match &mut self.0 {
            State::Ours(ours) => ours.set_status(status),
            // The layer above says so of each span that it starts.
            State::Other(_) if status == Status::Unset => {}
            State::Other(other) => other.pass(|span| span.set_status(status)),
            State::Nothing(_) => {}
        }
    }

    fn update_name<N>(&mut self, name: N)
    where
        N: Into<Cow<'static, str>>,
    {
        match &mut self.0 {
            State::Ours(ours) => {
                let name = Raw::Text(name.into().into_owned().into());
                ours.record(Said::Control(Control::Name, name));
            }
            State::Other(other) => other.pass(|span| span.update_name(name)),
            State::Nothing(_) => {}
        }
    }

    fn add_link(&mut self, other: SpanContext, attributes: Vec<KeyValue>) {
        match &mut self.0 {
            State::Ours(ours) => under_locks(|| lifecycle::link(&ours.door.core, &ours.context, other, attributes)),
            State::Other(span) => {
                let attributes = span.door.passed(attributes);
                span.pass(|span| span.add_link(other, attributes));
            }
            State::Nothing(_) => {}
        }
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        match &mut self.0 {
            // Not `timestamp`: that is when it was left last, and it is open until now.
            State::Ours(ours) => ours.end(),
            State::Other(other) => other.end(|span| span.end_with_timestamp(timestamp)),
            State::Nothing(_) => {}
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.end();
    }
}

impl<S: Span> Drop for Other<S> {
    fn drop(&mut self) {
        // A span that has not ended yet ends here.
        self.end(|_| ());
    }
}

fn control(control: Control, text: &'static str) -> Said {
    Said::Control(control, Raw::Text(text.into()))
}

fn span_kind_text(kind: &SpanKind) -> &'static str {
    match kind {
        SpanKind::Client => "client",
        SpanKind::Server => "server",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal => "internal",
    }
}

/// Whether the program says when it was: an event that says nothing comes with the time of the call. That one is taken from
/// the clock of the trace.
fn is_given(at: SystemTime) -> bool {
    const NOW: Duration = Duration::from_millis(1);
    let now = SystemTime::now();
    now.duration_since(at).or_else(|_| at.duration_since(now)).is_ok_and(|away| away > NOW)
}

/// A moment of the past on the monotonic clock.
fn instant_of(at: SystemTime, now: Instant) -> Instant {
    let ago = SystemTime::now().duration_since(at).unwrap_or_default();
    now.checked_sub(ago).unwrap_or(now)
}
