//! What crosses over from one process to the other, and how.

use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use reqwest::header::HeaderMap;

/// Baggage: whose conversation it is. It is an attribute of every span.
pub(crate) const TENANT: &str = "tenant";

/// Baggage: which conversation it is. It is the `conversation_id` of the spans on the other side.
pub(crate) const CONVERSATION: &str = "conversation.id";

/// Baggage: which turn of it. It is the `turn_number` of the spans on the other side.
pub(crate) const TURN: &str = "turn.number";

/// The headers that carry a context: `traceparent` and `baggage`.
pub(crate) fn headers(context: &Context) -> HeaderMap {
    let mut headers = HeaderMap::new();
    propagator().inject_context(context, &mut HeaderInjector(&mut headers));
    headers
}

/// The context that headers carry.
pub(crate) fn context(headers: &HeaderMap) -> Context {
    propagator().extract_with_context(&Context::new(), &HeaderExtractor(headers))
}

/// An entry of the baggage.
pub(crate) fn entry(context: &Context, key: &str) -> Option<String> {
    context.baggage().get(key).map(ToString::to_string)
}

fn propagator() -> TextMapCompositePropagator {
    let trace = Box::new(TraceContextPropagator::new());
    TextMapCompositePropagator::new(vec![trace, Box::new(BaggagePropagator::new())])
}
