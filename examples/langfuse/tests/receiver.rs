//! What Langfuse would get.
#![cfg(test)]

#[path = "../../../tests/receiver/mod.rs"]
mod receiver;

use std::collections::BTreeMap;
use std::process::Command;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use receiver::{Manner, Receiver, Transport};

/// The attributes of a span that are texts.
fn texts(span: &Span) -> BTreeMap<&str, &str> {
    let mut texts = BTreeMap::new();
    for pair in &span.attributes {
        if let Some(Value::StringValue(text)) = pair.value.as_ref().and_then(|value| value.value.as_ref()) {
            texts.insert(pair.key.as_str(), text.as_str());
        }
    }
    texts
}

#[test]
fn langfuse_gets_its_path_its_headers_and_its_words() {
    let receiver = Receiver::start(Transport::Http, Manner::Well);
    let output = Command::new(env!("CARGO_BIN_EXE_langfuse-example"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/api/public/otel", receiver.endpoint()))
        .env("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic cGstbGYtMTpzay1sZi0y,x-langfuse-ingestion-version=4")
        .env("OTEL_METRICS_EXPORTER", "none")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().last(), Some("11 of 11 spans were sent"), "{said}");

    for request in receiver.requests() {
        for (header, value) in [
            (":path", "/api/public/otel/v1/traces"),
            ("authorization", "Basic cGstbGYtMTpzay1sZi0y"),
            ("x-langfuse-ingestion-version", "4"),
            ("content-type", "application/x-protobuf"),
        ] {
            assert_eq!(request.headers[header], value, "{header}");
        }
    }

    let spans = receiver.spans();
    let types: Vec<_> =
        spans.iter().map(|span| (span.name.as_str(), texts(span)["langfuse.observation.type"])).collect();
    assert_eq!(
        types[..7],
        [
            ("conversation", "chain"),
            ("turn", "agent"),
            ("speech_to_text nova-3", "generation"),
            ("chat gpt-4o-mini", "generation"),
            ("execute_tool find_order", "tool"),
            ("chat gpt-4o-mini", "generation"),
            ("text_to_speech sonic-2", "generation"),
        ]
    );
    for span in &spans {
        assert_eq!(texts(span)["langfuse.session.id"], "call-7");
        assert_eq!(texts(span)["langfuse.user.id"], "u-7");
        assert!(span.attributes.iter().all(|pair| !format!("{pair:?}").contains("anna@")), "{span:?}");
    }
    assert_eq!(texts(&spans[0])["langfuse.trace.name"], "help-desk");
    let chat = texts(&spans[3]);
    assert_eq!(
        chat["langfuse.observation.usage_details"],
        r#"{"input":64,"output":18,"input_cache_read":256,"total":338}"#
    );
    assert!(chat.contains_key("langfuse.observation.completion_start_time"));
    assert!(chat.contains_key("langfuse.observation.cost_details"));
    assert!(texts(&spans[2])["gen_ai.output.messages"].contains("Where is my order?"));
}
