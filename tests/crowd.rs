//! A thousand conversations at once, on eight threads: nothing ends up in another one's.
#![cfg(test)]

mod support;

use std::collections::HashMap;
use std::thread;

use opentelemetry::Value;
use opentelemetry::trace::{SpanId, TraceId};
use support::{Backend, attributes};
use tracing::{Dispatch, info, info_span};
use tracing_genai::GenAi;
use tracing_subscriber::prelude::*;

const THREADS: usize = 8;
const CONVERSATIONS: usize = 1_000;
const TURNS: usize = 20;

/// One turn of this conversation: services by explicit parent, inside of it, and by nothing but the id.
fn turn(conversation: &tracing::Span, id: &str, number: usize) {
    let turn = info_span!(parent: conversation, "turn", transcript_of = id);
    info!(parent: conversation, "user_started_speaking");
    drop(info_span!(parent: &turn, "stt", audio_seconds = 1.0, of = id));
    info!(parent: &turn, "user_stopped_speaking");
    turn.in_scope(|| info_span!("llm", input_tokens = number, of = id).in_scope(|| info!("first_token")));
    drop(info_span!(parent: None, "tts", conversation_id = id, text = "hello", of = id));
    info!(conversation_id = id, "bot_started_speaking");
    info!(conversation_id = id, "bot_stopped_speaking");
}

#[test]
fn a_thousand_conversations_keep_apart() {
    let backend = Backend::default();
    let genai = GenAi::new();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(genai.layer(backend.tracer())));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let dispatch = &dispatch;
            scope.spawn(move || {
                tracing::dispatcher::with_default(dispatch, || {
                    let ids: Vec<_> = (thread..CONVERSATIONS).step_by(THREADS).map(|n| format!("c-{n}")).collect();
                    let open =
                        |id: &String| info_span!("conversation", conversation_id = id.as_str(), of = id.as_str());
                    let conversations: Vec<_> = ids.iter().map(open).collect();
                    // Turn by turn through all of them: they are interleaved on their thread.
                    for number in 1..=TURNS {
                        for (conversation, id) in conversations.iter().zip(&ids) {
                            turn(conversation, id, number);
                        }
                    }
                });
            });
        }
    });
    let spans = backend.exported().spans;
    let stats = genai.handle().stats();
    assert_eq!(spans.len(), CONVERSATIONS * (1 + TURNS * 4), "none is lost");
    assert_eq!((stats.spans_opened, stats.spans_closed), (spans.len() as u64, spans.len() as u64));

    let mut traces: HashMap<TraceId, String> = HashMap::new();
    let mut turns: HashMap<SpanId, (String, Value)> = HashMap::new();
    for span in spans.iter().filter(|span| span.name == "conversation") {
        let attributes = attributes(span);
        let id = attributes["gen_ai.conversation.id"].to_string();
        assert_eq!(attributes["of"].to_string(), id);
        assert_eq!(attributes["voice.turn.count"], Value::I64(20));
        assert_eq!(attributes["voice.usage.input_tokens"], Value::I64((1..=20).sum()));
        assert_eq!(attributes["voice.usage.characters"], Value::I64(5 * 20));
        assert_eq!(attributes["voice.usage.audio_duration"], Value::F64(20.0));
        assert!(traces.insert(span.span_context.trace_id(), id).is_none(), "a trace each");
    }
    for span in spans.iter().filter(|span| span.name == "turn") {
        let attributes = attributes(span);
        let id = attributes["gen_ai.conversation.id"].to_string();
        assert_eq!(attributes["transcript_of"].to_string(), id);
        assert_eq!(attributes["voice.usage.characters"], Value::I64(5));
        assert!(attributes.contains_key("voice.user_to_agent_latency"));
        turns.insert(span.span_context.span_id(), (id, attributes["voice.turn.number"].clone()));
    }
    assert_eq!((traces.len(), turns.len()), (CONVERSATIONS, CONVERSATIONS * TURNS));
    for span in spans.iter().filter(|span| !matches!(&*span.name, "conversation" | "turn")) {
        let attributes = attributes(span);
        let (id, number) = &turns[&span.parent_span_id];
        assert_eq!(&attributes["of"].to_string(), id);
        assert_eq!(&attributes["gen_ai.conversation.id"].to_string(), id);
        assert_eq!(&traces[&span.span_context.trace_id()], id);
        assert_eq!(&attributes["voice.turn.number"], number);
        assert!(span.links.links.is_empty());
    }
}
