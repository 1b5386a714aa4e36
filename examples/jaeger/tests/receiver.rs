//! What Jaeger would get, over both of its ports.
#![cfg(test)]

#[path = "../../../tests/receiver/mod.rs"]
mod receiver;

use std::process::Command;

use expect_test::expect;
use receiver::{Manner, Receiver, Transport};

#[test]
fn both_ports_get_the_whole_trace() {
    for (transport, protocol) in [(Transport::Http, "http/protobuf"), (Transport::Grpc, "grpc")] {
        let receiver = Receiver::start(transport, Manner::Well);
        let output = Command::new(env!("CARGO_BIN_EXE_jaeger-example"))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_METRICS_EXPORTER", "none")
            .env("OTEL_SERVICE_NAME", "drive-through")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.lines().last(), Some("11 of 11 spans were sent"), "{said}");

        let spans = receiver.spans();
        let shown: Vec<String> = spans
            .iter()
            .map(|span| {
                let failed = span.status.as_ref().map_or("", |status| status.message.as_str());
                format!("{} {failed}", span.name).trim_end().to_owned()
            })
            .collect();
        expect![[r#"
            conversation
            turn
            speech_to_text nova-3
            chat gpt-4o-mini
            execute_tool place_order the till is offline
            execute_tool place_order
            text_to_speech sonic-2
            turn
            speech_to_text nova-3
            chat gpt-4o-mini
            text_to_speech sonic-2
        "#]]
        .assert_eq(&(shown.join("\n") + "\n"));
        assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id));
        let contents = spans.iter().flat_map(|span| &span.attributes).filter(|pair| pair.key.contains("messages"));
        assert_eq!(contents.count(), 0, "nobody asked for content");
    }
}
