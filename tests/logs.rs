//! Log records join the trace: they carry the ids of our spans.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::{InMemoryLogExporter, SdkLoggerProvider};
use support::Backend;
use support::console::{Console, example, stderr, stdout};
use tracing::{info, info_span};
use tracing_subscriber::prelude::*;

/// What each log record says, and the trace and span that it belongs to.
fn logged(ours_first: bool, program: impl FnOnce()) -> (BTreeMap<String, Option<(TraceId, SpanId)>>, Backend) {
    let (backend, exporter) = (Backend::default(), InMemoryLogExporter::default());
    let logs = SdkLoggerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let (ours, bridge) = (tracing_genai::layer(backend.tracer()), OpenTelemetryTracingBridge::new(&logs));
    let registry = tracing_subscriber::registry();
    if ours_first {
        tracing::subscriber::with_default(registry.with(ours).with(bridge), program);
    } else {
        tracing::subscriber::with_default(registry.with(bridge).with(ours), program);
    }
    let records = exporter.get_emitted_logs().unwrap().into_iter().map(|log| {
        let said = format!("{:?}", log.record.body().unwrap());
        (said, log.record.trace_context().map(|context| (context.trace_id, context.span_id)))
    });
    (records.collect(), backend)
}

#[test]
fn a_log_record_carries_the_ids_of_the_span_that_it_is_written_in() {
    for ours_first in [true, false] {
        let (records, backend) = logged(ours_first, || {
            info!("outside");
            let turn = info_span!("turn").entered();
            info!("in the turn");
            let llm = info_span!("llm", model = "m").entered();
            info_span!("http_request").in_scope(|| info!("in a span of the program's own"));
            drop(llm);
            let tts = info_span!("tts");
            drop(turn);
            tracing::dispatcher::get_default(|dispatch| {
                std::thread::scope(|scope| {
                    let program = || tts.in_scope(|| tracing::error!("on another thread"));
                    scope.spawn(move || tracing::dispatcher::with_default(dispatch, program));
                });
            });
        });
        let spans = backend.exported().spans;
        let ids = |name: &str| {
            let span = spans.iter().find(|span| span.name == name).unwrap();
            Some((span.span_context.trace_id(), span.span_context.span_id()))
        };
        for (said, of) in [
            ("outside", None),
            ("in the turn", ids("turn")),
            ("in a span of the program's own", ids("chat m")),
            ("on another thread", ids("text_to_speech")),
        ] {
            let record = records.iter().find(|(body, _)| body.contains(said));
            assert_eq!(record.unwrap_or_else(|| panic!("{said}: {records:?}")).1, &of, "{said}");
        }
    }
}

#[test]
fn each_line_of_the_example_carries_the_ids_of_its_span() {
    let output = example("log_lines").env("OTEL_CONSOLE_EXPORT", "true").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let spans = Console::read(&stdout(&output)).0;
    let log = stderr(&output);
    for (said, name) in [
        ("a user is there", "conversation"),
        ("the user wants the time", "turn"),
        ("asking the model", "chat gpt-4o"),
        ("connecting", "chat gpt-4o"),
        ("speaking", "text_to_speech sonic-2"),
    ] {
        let line = log.lines().find(|line| line.ends_with(said)).unwrap_or_else(|| panic!("{said}: {log}"));
        let span = spans.iter().find(|span| span.name == name).unwrap();
        let ids = format!("trace_id={} span_id={} ", span.trace_id, span.span_id);
        assert!(line.contains(&ids), "{line}");
    }
    let outside = log.lines().find(|line| line.ends_with("ready")).unwrap();
    assert!(!outside.contains("trace_id"), "{outside}");
    assert_eq!(log.lines().count(), 6, "{log}");
}
