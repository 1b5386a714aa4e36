//! What can a program ask a span for?

use opentelemetry::Context;
use opentelemetry::trace::SpanContext;
use tracing::Span;
use tracing::span::Id;

use crate::layer::GenAiLayer;
use crate::thread_context;

/// The OpenTelemetry side of a [`tracing::Span`] under the layer, for outgoing calls and for links.
///
/// It finds the layer alone, filtered, in an `Option`, a `Box` or a `Vec`. In a `tracing_subscriber::reload::Layer` it does
/// not: there `context()` is what is attached while the span is entered, and `add_link()` does nothing.
///
/// ```
/// use opentelemetry::trace::{TraceContextExt, TracerProvider};
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use tracing_genai::SpanExt;
/// use tracing_subscriber::prelude::*;
///
/// let provider = SdkTracerProvider::default();
/// let subscriber = tracing_subscriber::registry().with(tracing_genai::layer(provider.tracer("my-agent")));
/// tracing::subscriber::with_default(subscriber, || {
///     let llm = tracing::info_span!("llm", model = "gpt-4o");
///     // Inject this into the headers of the call, with any propagator.
///     let context = llm.context();
///     assert!(context.span().span_context().is_valid());
/// });
/// ```
pub trait SpanExt {
    /// The OpenTelemetry context that is attached while the span is entered: its own, with the baggage of what it hangs
    /// on. For a span that is not exported it is what is attached now.
    fn context(&self) -> Context;

    /// Links the exported span to another one, in this trace or in any other. A span that is not exported is left alone.
    fn add_link(&self, other: SpanContext);
}

impl SpanExt for Span {
    fn context(&self) -> Context {
        let attached = || self.in_scope(|| thread_context::current(Context::clone));
        with_layer(self, GenAiLayer::context).flatten().or_else(attached).unwrap_or_default()
    }

    fn add_link(&self, other: SpanContext) {
        with_layer(self, |layer, id| layer.link(id, other));
    }
}

/// What our layer knows of this span.
fn with_layer<R>(span: &Span, look: impl FnOnce(&GenAiLayer, &Id) -> R) -> Option<R> {
    span.with_subscriber(|(id, dispatch)| Some(look(dispatch.downcast_ref::<GenAiLayer>()?, id))).flatten()
}
