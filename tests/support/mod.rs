//! Programs go in, the trees that they export come out.
#![allow(dead_code, reason = "each test crate uses its part")]

pub(crate) mod console;
pub(crate) mod measured;

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::Value;
use opentelemetry::trace::{SpanId, Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracer, SdkTracerProvider, SpanData};
use tracing::dispatcher::WeakDispatch;
use tracing::span::{Attributes, Id};
use tracing::{Dispatch, Subscriber};
use tracing_genai::{GenAi, Stats};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::prelude::*;

/// Runs `program` under the layer with its defaults.
pub(crate) fn exported(program: impl FnOnce()) -> Exported {
    exported_with(&GenAi::new(), program)
}

/// Runs `program` under the layer with these options.
pub(crate) fn exported_with(genai: &GenAi, program: impl FnOnce()) -> Exported {
    let backend = Backend::default();
    tracing::dispatcher::with_default(&subscriber(genai, &backend), program);
    Exported { stats: genai.handle().stats(), ..backend.exported() }
}

/// Whether these tests run through the second door: `second_door.rs` runs those of other files once more.
pub(crate) const SECOND_DOOR: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"second_door");

/// Starts each span when it opens, as the first door does: the second one knows a span from its first enter on.
#[derive(Default)]
struct Starter(OnceLock<WeakDispatch>);

impl<S: Subscriber> Layer<S> for Starter {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        let _ = self.0.set(dispatch.downgrade());
    }

    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if let Some(dispatch) = self.0.get().and_then(WeakDispatch::upgrade) {
            drop(tracing_opentelemetry::get_otel_context(id, &dispatch));
        }
    }
}

/// A registry with one of the doors.
pub(crate) fn subscriber(genai: &GenAi, backend: &Backend) -> Dispatch {
    if SECOND_DOOR {
        let theirs = tracing_opentelemetry::layer()
            .with_tracer(genai.tracer(backend.tracer()))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        Dispatch::new(tracing_subscriber::registry().with(theirs).with(Starter::default()))
    } else {
        Dispatch::new(tracing_subscriber::registry().with(genai.layer(backend.tracer())))
    }
}

/// A tracer provider that keeps what it exports.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) provider: SdkTracerProvider,
    pub(crate) exporter: InMemorySpanExporter,
}

impl Default for Backend {
    fn default() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        Self { provider, exporter }
    }
}

impl Backend {
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("test")
    }

    pub(crate) fn exported(&self) -> Exported {
        let mut spans = self.exporter.get_finished_spans().unwrap();
        spans.sort_by_key(|span| span.start_time);
        Exported { spans, stats: Stats::default() }
    }
}

/// What a program exported, in the order in which it started.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) spans: Vec<SpanData>,
    pub(crate) stats: Stats,
}

impl Exported {
    /// The one span of this name.
    #[track_caller]
    pub(crate) fn span(&self, name: &str) -> &SpanData {
        let mut named = self.spans.iter().filter(|span| span.name == name);
        let span = named.next().unwrap_or_else(|| panic!("no span {name:?} in\n{self}"));
        assert!(named.next().is_none(), "more than one span {name:?} in\n{self}");
        span
    }

    /// The attributes of the one span of this name.
    #[track_caller]
    pub(crate) fn attributes(&self, name: &str) -> BTreeMap<String, Value> {
        attributes(self.span(name))
    }

    /// One attribute of the one span of this name.
    #[track_caller]
    pub(crate) fn attribute(&self, name: &str, key: &str) -> Option<Value> {
        self.attributes(name).remove(key)
    }

    /// How many traces there are.
    pub(crate) fn traces(&self) -> usize {
        self.spans.iter().map(|span| span.span_context.trace_id()).collect::<HashSet<_>>().len()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, parent: SpanId, depth: usize) -> fmt::Result {
        for span in self.spans.iter().filter(|span| span.parent_span_id == parent) {
            line(f, span, depth)?;
            self.write(f, span.span_context.span_id(), depth + 1)?;
        }
        Ok(())
    }

    fn is_orphan(&self, span: &SpanData) -> bool {
        span.parent_span_id != SpanId::INVALID
            && !self.spans.iter().any(|other| other.span_context.span_id() == span.parent_span_id)
    }
}

/// The tree, two spaces a level; a span whose parent was not exported stands at the left with a question mark.
impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, SpanId::INVALID, 0)?;
        for orphan in self.spans.iter().filter(|span| self.is_orphan(span)) {
            f.write_str("? ")?;
            line(f, orphan, 0)?;
            self.write(f, orphan.span_context.span_id(), 1)?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, span: &SpanData, depth: usize) -> fmt::Result {
    write!(f, "{:indent$}{}", "", span.name, indent = depth * 2)?;
    match &span.status {
        Status::Unset => {}
        Status::Ok => f.write_str(" [ok]")?,
        Status::Error { .. } => {
            let error_type = attributes(span).remove("error.type").map(|value| value.to_string());
            write!(f, " [error {}]", error_type.unwrap_or_default())?;
        }
    }
    f.write_char('\n')
}

/// A span's attributes; each key must be there once.
#[track_caller]
pub(crate) fn attributes(span: &SpanData) -> BTreeMap<String, Value> {
    assert_eq!(span.dropped_attributes_count, 0, "attributes of {:?} were dropped", span.name);
    let mut attributes = BTreeMap::new();
    for attribute in &span.attributes {
        let twice = attributes.insert(attribute.key.to_string(), attribute.value.clone());
        assert!(twice.is_none(), "{} stands twice on {:?}", attribute.key, span.name);
    }
    attributes
}

/// How long a span took.
pub(crate) fn duration(span: &SpanData) -> Duration {
    span.end_time.duration_since(span.start_time).unwrap()
}
