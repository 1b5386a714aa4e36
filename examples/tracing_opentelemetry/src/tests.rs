#[path = "../../../tests/support/mod.rs"]
mod support;

use expect_test::expect;
use opentelemetry::Value;
use opentelemetry::trace::{SpanId, SpanKind};
use reqwest::header::{HeaderMap, HeaderValue};
use support::{Backend, Exported};

use crate::{Asked, ask, subscriber};

/// Everything in one thread: what is exported is the test's own.
async fn exported(headers: HeaderMap) -> (Asked, Exported) {
    let backend = Backend::default();
    let _guard = tracing::subscriber::set_default(subscriber(backend.tracer()));
    let asked = ask("What time is it?", headers).await.unwrap();
    (asked, backend.exported())
}

#[tokio::test]
async fn a_request_is_one_trace_from_the_middleware_to_the_client() {
    let (asked, exported) = exported(HeaderMap::new()).await;
    expect![[r#"
        http_request
          conversation
            turn
              chat gpt-4o
                http_client
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.traces(), 1);

    let client = &exported.span("http_client").span_context;
    assert_eq!(asked.traceparent, format!("00-{}-{}-01", client.trace_id(), client.span_id()));
    for (name, kind) in [
        ("http_request", SpanKind::Server),
        ("conversation", SpanKind::Internal),
        ("turn", SpanKind::Internal),
        ("chat gpt-4o", SpanKind::Client),
        ("http_client", SpanKind::Client),
    ] {
        assert_eq!(exported.span(name).span_kind, kind, "{name}");
    }
    assert_eq!(exported.attribute("http_client", "http.response.status_code"), Some(Value::I64(200)));
    assert_eq!(exported.attribute("chat gpt-4o", "gen_ai.usage.output_tokens"), Some(Value::I64(3)));
    assert_eq!(exported.attribute("conversation", "voice.usage.output_tokens"), Some(Value::I64(3)));
    let first = exported.attribute("chat gpt-4o", "gen_ai.response.time_to_first_chunk");
    assert!(matches!(first, Some(Value::F64(seconds)) if seconds > 0.0), "{first:?}");
}

#[tokio::test]
async fn the_callers_trace_goes_on() {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = HeaderMap::from_iter([("traceparent".parse().unwrap(), HeaderValue::from_static(traceparent))]);
    let (asked, exported) = exported(headers).await;
    expect![[r#"
        ? http_request
          conversation
            turn
              chat gpt-4o
                http_client
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.traces(), 1);
    assert_eq!(exported.span("http_request").parent_span_id, SpanId::from_hex("b7ad6b7169203331").unwrap());
    assert!(asked.traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{}", asked.traceparent);
}
