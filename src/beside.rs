//! Is there an OpenTelemetry layer on the same registry?
//!
//! A `tracing_opentelemetry` layer beside ours exports the program's spans as well. That may be meant, to another backend. But
//! where it runs on a wrapped tracer each of our spans would come out twice and right: then our layer steps aside. The two
//! know nothing of each other, so a probe asks: a span that goes through the registry once, on a thread of its own (other
//! layers keep notes of the span that just opens on this one), and that the wrapped tracer knows by its name.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing_core::callsite::{Callsite, Identifier};
use tracing_core::dispatcher::{WeakDispatch, get_default};
use tracing_core::metadata::Kind;
use tracing_core::span::{Attributes, Id};
use tracing_core::subscriber::Interest;
use tracing_core::{Dispatch, Level, Metadata};

use crate::notice;
use crate::outside::caught;

/// What a layer knows of what is beside it.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    dispatch: OnceLock<WeakDispatch>,
    wrapped: Arc<OnceLock<bool>>,
    /// The probe is on its way.
    probing: AtomicBool,
    /// It was waited for in vain: its answer counts when it comes.
    is_late: AtomicBool,
    asked: AtomicBool,
}

impl Beside {
    /// The layer's registry is complete.
    pub(crate) fn set_dispatch(&self, dispatch: &Dispatch) {
        let _ = self.dispatch.set(dispatch.downgrade());
    }

    /// Whether a layer on a wrapped tracer is on the same registry. Asked once, when the first of our spans opens: of that name.
    pub(crate) fn is_wrapped(&self, opens: &'static str, is_ours: impl Fn(&Dispatch) -> bool) -> bool {
        if let Some(wrapped) = self.wrapped.get() {
            return *wrapped;
        }
        if WRAPPED_TRACERS.load(Ordering::Relaxed) == 0 {
            return *self.wrapped.get_or_init(|| false);
        }
        // An `Option` and a `Vec` keep the registry to themselves; a global one can be had all the same.
        let global = || get_default(|dispatch| is_ours(dispatch).then(|| dispatch.clone()));
        let Some(dispatch) = self.dispatch.get().and_then(WeakDispatch::upgrade).or_else(global) else {
            let is_building = |building| building == Some(opens.as_ptr() as usize);
            let wrapped = BUILDING.try_with(Cell::get).is_ok_and(is_building);
            return *self.wrapped.get_or_init(|| wrapped);
        };
        if !self.probing.swap(true, Ordering::Relaxed) {
            let answer = Arc::clone(&self.wrapped);
            let probe = move || {
                let _ = answer.set(caught(|| probe(&dispatch)).unwrap_or_default());
            };
            let probing = thread::Builder::new().name("tracing-genai probe".into()).spawn(probe);
            if probing.is_err() {
                let _ = self.wrapped.set(false);
            }
        }
        self.answer()
    }

    /// What the probe says, if it does soon: it runs through other layers, and one of them may wait for this very thread.
    /// `tracing_subscriber::reload` does where somebody waits to replace a layer.
    fn answer(&self) -> bool {
        const PATIENCE: Duration = Duration::from_millis(100);
        const POLL: Duration = Duration::from_micros(100);
        let begun = Instant::now();
        while self.wrapped.get().is_none() && !self.is_late.load(Ordering::Relaxed) {
            if begun.elapsed() > PATIENCE {
                self.is_late.store(true, Ordering::Relaxed);
            }
            thread::sleep(POLL);
        }
        self.wrapped.get().copied().unwrap_or_default()
    }

    /// Says once that a layer of theirs exports the spans as well, if one does. Asked once, for the first of our spans that is
    /// left: theirs has started it by then.
    pub(crate) fn hint(&self, id: &Id, is_ours: impl Fn(&Dispatch) -> bool) {
        static TWO_LAYERS: notice::Once = notice::Once::new();
        if self.asked.load(Ordering::Relaxed) || self.asked.swap(true, Ordering::Relaxed) {
            return;
        }
        if get_default(|dispatch| is_ours(dispatch) && is_theirs(id, dispatch)) {
            TWO_LAYERS.say(|| {
                "a tracing-opentelemetry layer is on the same registry: the two export the spans one by one and share no \
                 trace. For one trace of both, leave this layer out and wrap the other's tracer with tracing_genai::tracer"
                    .to_owned()
            });
        }
    }
}

#[cfg(feature = "tracing-opentelemetry")]
fn is_theirs(id: &Id, dispatch: &Dispatch) -> bool {
    tracing_opentelemetry::get_otel_context(id, dispatch).is_some()
}

#[cfg(not(feature = "tracing-opentelemetry"))]
fn is_theirs(_: &Id, _: &Dispatch) -> bool {
    false
}

/// Someone wraps a tracer.
pub(crate) fn wrapped() {
    WRAPPED_TRACERS.fetch_add(1, Ordering::Relaxed);
}

/// Whether this is the probe's own span.
pub(crate) fn is_probes(metadata: &Metadata<'_>) -> bool {
    metadata.callsite() == Identifier(&CALLSITE)
}

/// Whether a span of this name is the probe; a wrapped tracer that is asked for one has been found.
pub(crate) fn is_probe(name: &str) -> bool {
    let is_probe = name == PROBE.name();
    if is_probe {
        FOUND.with(|found| found.set(true));
    }
    is_probe
}

/// A wrapped tracer is to start a span of this name later on, or starts it.
pub(crate) fn builds(name: Option<&str>) {
    let _ = BUILDING.try_with(|building| building.set(name.map(|name| name.as_ptr() as usize)));
}

/// Tracers that were ever wrapped: most programs have none, and nobody has to ask.
static WRAPPED_TRACERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static FOUND: Cell<bool> = const { Cell::new(false) };
    /// Where the name lies of the span that the layer above a wrapped tracer has just opened, until one starts: a layer of
    /// ours that comes after it opens the same one.
    static BUILDING: Cell<Option<usize>> = const { Cell::new(None) };
}

fn probe(dispatch: &Dispatch) -> bool {
    // Below a parent that is not sampled: another tracer than a wrapped one drops it.
    let trace = SpanContext::new(
        TraceId::from(u128::MAX),
        SpanId::from(u64::MAX),
        TraceFlags::NOT_SAMPLED,
        true,
        TraceState::NONE,
    );
    let _attached = opentelemetry::Context::new().with_remote_span_context(trace).attach();
    let no_values: [(&tracing_core::Field, Option<&dyn tracing_core::field::Value>); 0] = [];
    let id = dispatch.new_span(&Attributes::new(&PROBE, &PROBE.fields().value_set(&no_values)));
    dispatch.try_close(id);
    FOUND.with(Cell::get)
}

struct ProbeCallsite;

impl Callsite for ProbeCallsite {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        &PROBE
    }
}

static CALLSITE: ProbeCallsite = ProbeCallsite;

static PROBE: Metadata<'static> = Metadata::new(
    "tracing_genai probe",
    "tracing_genai::probe",
    Level::TRACE,
    None,
    None,
    None,
    tracing_core::field::FieldSet::new(&[], Identifier(&CALLSITE)),
    Kind::SPAN,
);
