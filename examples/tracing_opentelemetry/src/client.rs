//! An HTTP client with a span for each call, which the other side can go on from.

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::Client;
use reqwest::header::HeaderMap;
use tracing::field::Empty;
use tracing::{Instrument, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub(crate) async fn post(url: &str, body: String) -> reqwest::Result<String> {
    let span = info_span!(
        "http_client",
        otel.kind = "client",
        http.request.method = "POST",
        http.response.status_code = Empty,
    );
    let mut headers = HeaderMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(&mut headers));

    let call = async {
        let client = Client::builder().no_proxy().build()?;
        let response = client.post(url).headers(headers).body(body).send().await?;
        span.record("http.response.status_code", i64::from(response.status().as_u16()));
        response.error_for_status()?.text().await
    };
    call.instrument(span.clone()).await
}
