//! What libraries export of themselves inside of a turn, through both doors.

mod genai;
mod rig;
#[path = "../../../../tests/support/mod.rs"]
mod support;

use std::error::Error;

use opentelemetry::{Array, Value};
use opentelemetry_sdk::trace::{SdkTracer, SpanData};
use support::{Backend, Exported, attributes};
use tracing::{Dispatch, Instrument, Span, info_span};
use tracing_genai::GenAi;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

/// Our layer, and a tracing-opentelemetry layer on the wrapped tracer.
#[derive(Debug, Clone, Copy)]
enum Door {
    Layer,
    Tracer,
}

const DOORS: [Door; 2] = [Door::Layer, Door::Tracer];

impl Door {
    fn open(self, genai: &GenAi, level: LevelFilter, tracer: SdkTracer) -> Dispatch {
        let registry = tracing_subscriber::registry();
        match self {
            Self::Layer => registry.with(genai.layer(tracer).with_filter(level)).into(),
            Self::Tracer => {
                let theirs = tracing_opentelemetry::layer().with_tracer(genai.tracer(tracer));
                registry.with(theirs.with_filter(level)).into()
            }
        }
    }
}

/// What a program exports through a door.
async fn exported<F>(door: Door, program: F) -> Exported
where
    F: AsyncFnOnce() -> Result<(), Box<dyn Error>>,
{
    exported_with(door, &GenAi::new(), LevelFilter::INFO, program).await
}

/// The same with these options, at this level: all of it runs in the test's own thread.
async fn exported_with<F>(door: Door, genai: &GenAi, level: LevelFilter, program: F) -> Exported
where
    F: AsyncFnOnce() -> Result<(), Box<dyn Error>>,
{
    let backend = Backend::default();
    let _guard = tracing::dispatcher::set_default(&door.open(genai, level, backend.tracer()));
    program().await.unwrap();
    let exported = Exported { stats: genai.handle().stats(), ..backend.exported() };
    assert_eq!(exported.stats.refused.total(), 0, "{door:?}");
    assert_eq!(exported.stats.spans_opened, exported.stats.spans_closed, "{door:?}");
    exported
}

/// The same, inside of a turn of a conversation: one trace, with these totals on both.
async fn exported_in_a_turn<F>(door: Door, input_tokens: i64, output_tokens: i64, program: F) -> Exported
where
    F: AsyncFnOnce() -> Result<(), Box<dyn Error>>,
{
    let exported = exported(door, async move || program().instrument(turn()).await).await;
    assert_eq!(exported.traces(), 1, "{door:?}:\n{exported}");
    for name in ["conversation", "turn"] {
        let total = |key| exported.attribute(name, key);
        assert_eq!(total("voice.usage.input_tokens"), Some(Value::I64(input_tokens)), "{door:?}, {name}");
        assert_eq!(total("voice.usage.output_tokens"), Some(Value::I64(output_tokens)), "{door:?}, {name}");
    }
    exported
}

fn turn() -> Span {
    let conversation = info_span!("conversation", conversation_id = "c-42");
    info_span!(parent: &conversation, "turn")
}

/// The spans of this name, in the order in which they started.
fn named<'e>(exported: &'e Exported, name: &str) -> Vec<&'e SpanData> {
    exported.spans.iter().filter(|span| span.name == name).collect()
}

/// The span has these attributes, of these types, once.
#[track_caller]
fn has<V: Into<Value>>(door: Door, span: &SpanData, expected: impl IntoIterator<Item = (&'static str, V)>) {
    let attributes = attributes(span);
    for (key, value) in expected {
        assert_eq!(attributes.get(key), Some(&value.into()), "{door:?}: {key} of {}", span.name);
    }
}

fn strings(texts: &[&'static str]) -> Value {
    Value::Array(Array::String(texts.iter().map(|text| (*text).into()).collect()))
}
