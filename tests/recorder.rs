//! Turns in tests: what a [`Recorder`] kept.
#![cfg(test)]

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::info_span;
use tracing_genai::{GenAi, Kind, Recorder};
use tracing_subscriber::prelude::*;

fn tracer(recorder: &Recorder) -> SdkTracer {
    let resource = Resource::builder_empty().with_service_name("concierge").build();
    SdkTracerProvider::builder().with_span_processor(recorder.clone()).with_resource(resource).build().tracer("test")
}

fn record(recorder: &Recorder, program: impl FnOnce()) {
    let subscriber = tracing_subscriber::registry().with(GenAi::new().layer(tracer(recorder)));
    tracing::subscriber::with_default(subscriber, program);
}

#[test]
fn a_program_is_seen_as_turns_and_calls_while_it_runs() {
    let recorder = Recorder::new();
    record(&recorder, || {
        let conversation = info_span!("conversation", conversation_id = "c-1", agent = "concierge");
        let turn = info_span!(parent: &conversation, "turn");
        info_span!(parent: &turn, "llm", model = "gpt-4o", input_tokens = 7).in_scope(|| {
            info_span!("execute_tool", tool = "get_weather").in_scope(|| ());
        });
        let [open] = recorder.conversations().try_into().unwrap();
        assert_eq!((open.id.as_deref(), open.end, open.turns.len()), (Some("c-1"), None, 1), "{open}");
        assert_eq!((open.turns[0].end, open.turns[0].calls.len()), (None, 1), "{open}");
    });
    let [conversation] = recorder.conversations().try_into().unwrap();
    assert!(conversation.end.is_some() && conversation.turns[0].end.is_some());
    assert_eq!(conversation.service.as_deref(), Some("concierge"));
    assert_eq!(conversation.agent.as_deref(), Some("concierge"));
    let model = &conversation.turns[0].calls[0];
    assert_eq!((model.kind, model.calls[0].subject.as_deref()), (Some(Kind::Llm), Some("get_weather")));
    assert_eq!(conversation.usage.input_tokens, Some(7));
    assert_eq!(recorder.latency(), None);
}

/// A conversation of so many spans.
fn speak(tracer: &SdkTracer, id: &'static str, spans: usize) {
    for _ in 0..spans {
        let attributes =
            vec![KeyValue::new("gen_ai.conversation.id", id), KeyValue::new("gen_ai.operation.name", "chat")];
        tracer.span_builder("chat").with_attributes(attributes).start(tracer).end();
    }
}

fn kept(recorder: &Recorder) -> Vec<(String, usize)> {
    recorder.conversations().into_iter().map(|one| (one.id.unwrap_or_default(), one.calls.len())).collect()
}

#[test]
fn the_oldest_conversations_leave_first_and_are_counted() {
    let recorder = Recorder::new().with_max_conversations(2);
    let tracer = tracer(&recorder);
    for (id, spans) in [("a", 3), ("b", 1), ("c", 2), ("b", 1)] {
        speak(&tracer, id, spans);
    }
    assert_eq!(kept(&recorder), [("b".to_owned(), 2), ("c".to_owned(), 2)]);
    assert_eq!((recorder.forgotten().conversations, recorder.forgotten().spans), (1, 3));
    recorder.clear();
    assert_eq!(kept(&recorder), []);
    assert_eq!(recorder.forgotten().conversations, 1);
}

#[test]
fn of_one_conversation_that_is_too_long_the_first_spans_leave() {
    let recorder = Recorder::new().with_max_spans(10);
    let tracer = tracer(&recorder);
    speak(&tracer, "short", 3);
    speak(&tracer, "long", 1_000);
    assert_eq!(kept(&recorder), [("long".to_owned(), 10)]);
    assert_eq!((recorder.forgotten().conversations, recorder.forgotten().spans), (1, 993));
}

#[test]
fn clones_are_one_recorder() {
    let recorder = Recorder::default();
    speak(&tracer(&recorder), "a", 1);
    assert_eq!(
        format!("{:?}", recorder.clone()),
        "Recorder { conversations: 1, spans: 1, forgotten: Forgotten { conversations: 0, spans: 0 } }"
    );
}
