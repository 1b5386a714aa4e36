//! What would the same turn be without `tracing`?
//!
//! The least that exports these spans: what is known at the start is given to the builder, the rest at the end at once.

use std::time::Instant;

use opentelemetry::trace::{SpanKind, TraceContextExt, Tracer};
use opentelemetry::{Array, Context, KeyValue, Value};
use opentelemetry_sdk::trace::SdkTracer;

use crate::programs::{Service, Talk};

pub(crate) fn turn(tracer: &SdkTracer, talk: &Talk) {
    let at_start = vec![
        KeyValue::new("gen_ai.operation.name", "invoke_agent"),
        text("gen_ai.conversation.id", &talk.conversation),
        KeyValue::new("voice.turn.number", talk.number),
    ];
    span(tracer, "turn".into(), SpanKind::Internal, at_start, || {
        stt(tracer, talk);
        llm(tracer, talk);
        tts(tracer, talk);
        [
            KeyValue::new("voice.interrupted", false),
            KeyValue::new("voice.end_reason", "completed"),
            KeyValue::new("voice.usage.input_tokens", 812),
            KeyValue::new("voice.usage.output_tokens", 64),
            KeyValue::new("voice.usage.characters", 212),
            KeyValue::new("voice.usage.audio_duration", 1.84 + 5.12),
        ]
    });
}

fn stt(tracer: &SdkTracer, talk: &Talk) {
    let known = [text("voice.language", &talk.language)];
    client(tracer, talk, "speech_to_text", &talk.stt, known, |_| {
        [
            KeyValue::new("voice.transcript.final", true),
            KeyValue::new("voice.transcript.confidence", 0.97),
            KeyValue::new("voice.audio.duration", 1.84),
        ]
    });
}

fn llm(tracer: &SdkTracer, talk: &Talk) {
    let known = [
        KeyValue::new("gen_ai.request.temperature", 0.7),
        KeyValue::new("gen_ai.request.max_tokens", 512),
        KeyValue::new("gen_ai.request.stream", true),
    ];
    client(tracer, talk, "chat", &talk.llm, known, |started| {
        let reasons = Value::Array(Array::String(vec!["stop".to_owned().into()]));
        [
            KeyValue::new("gen_ai.response.time_to_first_chunk", started.elapsed().as_secs_f64()),
            KeyValue::new("gen_ai.usage.input_tokens", 812),
            KeyValue::new("gen_ai.usage.output_tokens", 64),
            KeyValue::new("gen_ai.usage.cache_read.input_tokens", 640),
            KeyValue::new("gen_ai.response.finish_reasons", reasons),
        ]
    });
}

fn tts(tracer: &SdkTracer, talk: &Talk) {
    let known = [
        KeyValue::new("gen_ai.output.type", "speech"),
        text("voice.name", &talk.voice),
        KeyValue::new("voice.characters", 212),
    ];
    client(tracer, talk, "text_to_speech", &talk.tts, known, |started| {
        [
            KeyValue::new("voice.time_to_first_byte", started.elapsed().as_secs_f64()),
            KeyValue::new("voice.audio.duration", 5.12),
        ]
    });
}

/// A call of a service, with what is known of it at its start and what it gives.
fn client<const KNOWN: usize, const LATE: usize>(
    tracer: &SdkTracer,
    talk: &Talk,
    operation: &'static str,
    service: &Service,
    known: [KeyValue; KNOWN],
    inside: impl FnOnce(Instant) -> [KeyValue; LATE],
) {
    let mut at_start = Vec::with_capacity(5 + KNOWN + LATE);
    at_start.extend([
        KeyValue::new("gen_ai.operation.name", operation),
        text("gen_ai.provider.name", &service.provider),
        text("gen_ai.request.model", &service.model),
        text("gen_ai.conversation.id", &talk.conversation),
        KeyValue::new("voice.turn.number", talk.number),
    ]);
    at_start.extend(known);
    let name = [operation, " ", &service.model].concat();
    span(tracer, name, SpanKind::Client, at_start, || inside(Instant::now()));
}

fn span<const LATE: usize>(
    tracer: &SdkTracer,
    name: String,
    kind: SpanKind,
    at_start: Vec<KeyValue>,
    inside: impl FnOnce() -> [KeyValue; LATE],
) {
    let span = tracer.build(tracer.span_builder(name).with_kind(kind).with_attributes(at_start));
    let context = Context::current_with_span(span);
    let entered = context.clone().attach();
    let late = inside();
    drop(entered);
    context.span().set_attributes(late);
    context.span().end();
}

fn text(key: &'static str, text: &str) -> KeyValue {
    KeyValue::new(key, text.to_owned())
}
