//! Ordinary [`tracing`](https://docs.rs/tracing) spans of voice and LLM programs go in, a GenAI-shaped OpenTelemetry
//! hierarchy comes out.
//!
//! ```
//! use tracing::{info, info_span, field::Empty};
//! use tracing_subscriber::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let telemetry = tracing_genai::Telemetry::from_env()?;
//! tracing_subscriber::registry().with(telemetry.layer()).init();
//!
//! let conversation = info_span!("conversation", conversation_id = "c-42");
//! let turn = info_span!(parent: &conversation, "turn");
//! let llm = info_span!(parent: &turn, "llm", provider = "openai", model = "gpt-4o", output_tokens = Empty);
//! llm.in_scope(|| info!("first_token"));
//! llm.record("output_tokens", 42);
//! # Ok(())
//! # }
//! ```
//!
//! exports, and prints when `OTEL_CONSOLE_EXPORT=true`:
//!
//! ```text
//! conversation
//! └─ turn              gen_ai.operation.name=invoke_agent voice.turn.number=1 voice.end_reason=completed
//!    └─ chat gpt-4o    gen_ai.provider.name=openai gen_ai.usage.output_tokens=42
//!                      gen_ai.response.time_to_first_chunk=0.31 gen_ai.conversation.id=c-42
//! ```
//!
//! The names, fields and events that are recognized, and what they become, are in the
//! [README](https://docs.rs/crate/tracing-genai/latest). The names are those of the
//! [OpenTelemetry GenAI semantic conventions](https://github.com/open-telemetry/semantic-conventions-genai), below
//! `voice.` for what they lack.
//!
//! # Where to begin
//!
//! * Nothing is set up yet: [`Telemetry::from_env`].
//! * There is a tracer provider: [`layer`] with one of its tracers, or [`GenAi`] for options. The console is
//!   [`console_from_env`].
//! * Services run in tasks of their own: give their spans the conversation's id, `info_span!("stt", conversation_id)`, and they
//!   hang in its open turn. The README says how a span finds its place, and how turns end.
//! * Transcripts, prompts, answers, tool arguments and results are exported when you ask for it: [`Content`].
#![cfg_attr(docsrs, feature(doc_cfg))]

mod above;
mod beside;
mod clock;
mod console;
mod console_flag;
mod content;
mod conversation;
mod core;
mod debug_text;
mod delivery;
#[cfg(feature = "otlp")]
mod destination;
mod dialect;
mod event;
mod ext;
mod failure;
mod fields;
mod finish;
mod genai;
mod happen;
mod home;
mod inherited;
mod instruments;
mod json;
mod kind;
mod layer;
mod lifecycle;
mod live;
mod lost;
mod made;
mod mapping;
mod messages;
mod meters;
mod metrics;
mod names;
mod notice;
mod ongoing;
mod open;
#[cfg(feature = "otlp")]
mod otlp;
mod outside;
#[cfg(feature = "prometheus")]
mod page;
mod panicking;
mod parts;
mod placement;
mod policy;
mod prices;
mod readout;
mod recorder;
pub mod redact;
pub mod report;
mod scopes;
mod semconv;
mod span;
mod speech;
mod stats;
mod stream;
mod telemetry;
mod thread_context;
mod totals;
mod traceparent;
mod tracer;
mod turn;
mod value;
mod variables;
mod visit;
mod words;

pub use console::console_from_env;
pub use content::Content;
pub use core::TracePer;
pub use dialect::Dialect;
pub use ext::SpanExt;
pub use genai::{GenAi, Handle};
pub use kind::Kind;
pub use layer::GenAiLayer;
pub use prices::{Price, Prices, PricesError};
pub use recorder::{Forgotten, Recorder};
pub use stats::{Dropped, Exports, Refused, Stats};
pub use telemetry::{Telemetry, TelemetryError};
pub use tracer::{GenAiSpan, GenAiTracer};

/// The `Content-Type` of [`Telemetry::metrics_page`]: Prometheus refuses a page without it.
#[cfg(feature = "prometheus")]
#[cfg_attr(docsrs, doc(cfg(feature = "prometheus")))]
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The layer with its defaults, for any OpenTelemetry tracer: [`GenAi::from_env`]`().layer(tracer)`.
#[must_use]
pub fn layer<T>(tracer: T) -> GenAiLayer
where
    T: opentelemetry::trace::Tracer + Send + Sync + 'static,
    T::Span: Send + Sync + 'static,
{
    GenAi::from_env().layer(tracer)
}

/// The tracer around your own with its defaults, for a `tracing_opentelemetry` layer: [`GenAi::from_env`]`().tracer(tracer)`.
#[must_use]
pub fn tracer<T>(tracer: T) -> GenAiTracer<T>
where
    T: opentelemetry::trace::Tracer + Send + Sync + 'static,
    T::Span: Send + Sync + 'static,
{
    GenAi::from_env().tracer(tracer)
}

/// The README's programs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The programs of the page on backends.
#[cfg(doctest)]
#[doc = include_str!("../DIALECTS.md")]
struct DialectsPage;

/// The programs of the recipes.
#[cfg(doctest)]
#[doc = include_str!("../RECIPES.md")]
struct RecipesPage;
