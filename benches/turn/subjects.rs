//! What carries a program's spans?

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, dispatcher};
use tracing_genai::GenAi;
use tracing_subscriber::layer::Identity;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry;

use crate::programs::{BY_HAND, NONE_OF_OURS, NOT_OURS, Program, SHORT, Talk};
use crate::sdk;

/// Something that carries a program's spans, and how long that many turns took.
pub(crate) struct Subject {
    /// For `TURN_ONLY`.
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&SdkTracerProvider, u32) -> Duration,
}

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject { name: "none", what: "no subscriber", run: |_, turns| under(NoSubscriber::default(), &SHORT, turns) },
    Subject { name: "registry", what: "the registry alone", run: |_, turns| under(bare(), &SHORT, turns) },
    Subject { name: "hand", what: "tracing-opentelemetry, gen_ai.* by hand", run: by_hand },
    Subject { name: "hand-bare", what: "the same, all that is optional off", run: by_hand_bare },
    Subject { name: "sdk", what: "the OpenTelemetry SDK by hand, no tracing", run: sdk_by_hand },
    Subject { name: "genai", what: "tracing-genai", run: |provider, turns| under(genai(provider), &SHORT, turns) },
    Subject {
        name: "genai-metrics",
        what: "tracing-genai with metrics",
        run: |provider, turns| under(with_metrics(provider), &SHORT, turns),
    },
    Subject {
        name: "wrapped",
        what: "tracing-opentelemetry on the wrapped tracer",
        run: |provider, turns| under(wrapped(provider), &SHORT, turns),
    },
];

pub(crate) const OTHER: &[Subject] = &[
    Subject { name: "other-registry", what: "the registry alone", run: |_, turns| under(bare(), &NOT_OURS, turns) },
    Subject {
        name: "other-genai",
        what: "with tracing-genai",
        run: |provider, turns| under(genai(provider), &NOT_OURS, turns),
    },
    Subject {
        name: "other-theirs",
        what: "tracing-opentelemetry",
        run: |provider, turns| under(theirs(provider), &NONE_OF_OURS, turns),
    },
    Subject {
        name: "other-wrapped",
        what: "the same on the wrapped tracer",
        run: |provider, turns| under(wrapped(provider), &NONE_OF_OURS, turns),
    },
];

/// The registry and a layer that does nothing: without any layer, a registry keeps closed spans for ever.
fn bare() -> impl Into<Dispatch> {
    registry().with(Identity::new())
}

fn genai(provider: &SdkTracerProvider) -> impl Into<Dispatch> {
    registry().with(GenAi::new().layer(provider.tracer("turn")))
}

fn with_metrics(provider: &SdkTracerProvider) -> impl Into<Dispatch> {
    // Read once a minute, by a thread of the SDK's own; one for the whole run, for it stops when it is dropped.
    static METERS: LazyLock<SdkMeterProvider> =
        LazyLock::new(|| SdkMeterProvider::builder().with_periodic_exporter(InMemoryMetricExporter::default()).build());
    let meters = &*METERS;
    registry().with(GenAi::new().with_meter(meters.meter("turn")).layer(provider.tracer("turn")))
}

fn wrapped(provider: &SdkTracerProvider) -> impl Into<Dispatch> {
    registry().with(GenAi::new().opentelemetry_layer(provider.tracer("turn")))
}

fn theirs(provider: &SdkTracerProvider) -> impl Into<Dispatch> {
    registry().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("turn")))
}

fn by_hand(provider: &SdkTracerProvider, turns: u32) -> Duration {
    under(theirs(provider), &BY_HAND, turns)
}

fn by_hand_bare(provider: &SdkTracerProvider, turns: u32) -> Duration {
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("turn"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_level(false)
        .with_error_fields_to_exceptions(false)
        .with_error_records_to_exceptions(false)
        .with_error_events_to_exceptions(false)
        .with_error_events_to_status(false);
    under(registry().with(layer), &BY_HAND, turns)
}

/// Times a program under a subscriber of its own. No other one is alive meanwhile: `tracing` would ask all of them.
fn under(subscriber: impl Into<Dispatch>, program: &Program, turns: u32) -> Duration {
    let talk = Talk::new();
    dispatcher::with_default(&subscriber.into(), || {
        let _conversation = (program.conversation)(&talk).entered();
        timed(turns, || (program.turn)(black_box(&talk)))
    })
}

/// Callsites register, tables grow, caches fill. As many however many turns are counted: valgrind counts these too.
const WARM_UP: u32 = 20;

fn timed(turns: u32, turn: impl Fn()) -> Duration {
    (0..WARM_UP).for_each(|_| turn());
    let start = Instant::now();
    (0..turns).for_each(|_| turn());
    start.elapsed()
}

fn sdk_by_hand(provider: &SdkTracerProvider, turns: u32) -> Duration {
    let talk = Talk::new();
    let tracer = provider.tracer("turn");
    // As in a program without `tracing`: the SDK's own log goes nowhere.
    dispatcher::with_default(&NoSubscriber::default().into(), || {
        let conversation = Context::current_with_span(tracer.start("conversation"));
        let _entered = conversation.attach();
        timed(turns, || sdk::turn(&tracer, black_box(&talk)))
    })
}
