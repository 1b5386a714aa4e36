//! The agent's HTTP server: a tracing middleware as such services have it, and a handler that converses.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tower_http::trace::TraceLayer;
use tracing::field::Empty;
use tracing::{Instrument, Span, info, info_span, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::client;

pub(crate) fn router(model_url: String) -> Router {
    Router::new()
        .route("/", post(answer))
        .layer(TraceLayer::new_for_http().make_span_with(http_request))
        .with_state(model_url)
}

/// The span of a request, below the caller's.
fn http_request(request: &Request) -> Span {
    let span = info_span!("http_request", otel.kind = "server", http.request.method = %request.method());
    let caller = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
    if let Err(error) = span.set_parent(caller) {
        warn!(%error, "the request is in a trace of its own");
    }
    span
}

async fn answer(State(model_url): State<String>, question: String) -> Result<String, StatusCode> {
    let conversation = info_span!("conversation", conversation_id = "c-42");
    let turn = info_span!(parent: &conversation, "turn");
    complete(&model_url, question).instrument(turn).await.map_err(|_| StatusCode::BAD_GATEWAY)
}

async fn complete(model_url: &str, prompt: String) -> reqwest::Result<String> {
    let llm = info_span!("llm", provider = "openai", model = "gpt-4o", output_tokens = Empty, error = Empty);
    let call = async {
        let answer = client::post(model_url, prompt).await?;
        info!("first_token");
        Span::current().record("output_tokens", answer.split_whitespace().count());
        Ok(answer)
    };
    let answer: reqwest::Result<String> = call.instrument(llm.clone()).await;
    answer.inspect_err(|error| {
        llm.record("error", tracing::field::display(error));
    })
}
