//! What does a program write?

use std::time::Instant;

use tracing::field::Empty;
use tracing::{Span, info, info_span};

/// A program that traces: what it opens once, and what it does each turn.
pub(crate) struct Program {
    pub(crate) conversation: fn(&Talk) -> Span,
    pub(crate) turn: fn(&Talk),
}

/// What the program knows only when it runs.
pub(crate) struct Talk {
    pub(crate) conversation: String,
    pub(crate) number: i64,
    pub(crate) stt: Service,
    pub(crate) llm: Service,
    pub(crate) tts: Service,
    pub(crate) language: String,
    pub(crate) voice: String,
}

pub(crate) struct Service {
    pub(crate) provider: String,
    pub(crate) model: String,
}

impl Talk {
    pub(crate) fn new() -> Self {
        let service = |provider: &str, model: &str| Service { provider: provider.to_owned(), model: model.to_owned() };
        Self {
            conversation: "c-4f9a1d62".to_owned(),
            number: 7,
            stt: service("deepgram", "nova-3"),
            llm: service("openai", "gpt-4o"),
            tts: service("cartesia", "sonic-2"),
            language: "en-US".to_owned(),
            voice: "aria".to_owned(),
        }
    }
}

/// What a user of the layer writes.
pub(crate) const SHORT: Program = Program { conversation: short_conversation, turn: short_turn };

fn short_conversation(talk: &Talk) -> Span {
    info_span!("conversation", conversation_id = talk.conversation)
}

fn short_turn(talk: &Talk) {
    let turn = info_span!("turn", number = talk.number, interrupted = Empty, end_reason = Empty).entered();
    {
        let Service { provider, model } = &talk.stt;
        let language = &talk.language;
        let stt = info_span!("stt", provider, model, language, is_final = Empty, confidence = Empty, audio_ms = Empty)
            .entered();
        stt.record("is_final", true);
        stt.record("confidence", 0.97);
        stt.record("audio_ms", 1_840);
    }
    {
        let Service { provider, model } = &talk.llm;
        let llm = info_span!(
            "llm",
            provider,
            model,
            temperature = 0.7,
            max_tokens = 512,
            stream = true,
            input_tokens = Empty,
            output_tokens = Empty,
            cache_read_tokens = Empty,
            finish_reason = Empty,
        )
        .entered();
        info!("first_token");
        llm.record("input_tokens", 812);
        llm.record("output_tokens", 64);
        llm.record("cache_read_tokens", 640);
        llm.record("finish_reason", "stop");
    }
    {
        let Service { provider, model } = &talk.tts;
        let voice = &talk.voice;
        let tts = info_span!("tts", provider, model, voice, characters = 212, audio_ms = Empty).entered();
        info!("first_audio");
        tts.record("audio_ms", 5_120);
    }
    turn.record("interrupted", false);
    turn.record("end_reason", "completed");
}

/// A span that the layer does not recognize.
pub(crate) const NOT_OURS: Program = Program {
    conversation: short_conversation,
    turn: |_| info_span!("http_request", method = "GET", status = 200).in_scope(|| ()),
};

/// A program without any span of ours.
pub(crate) const NONE_OF_OURS: Program = Program { conversation: |_| info_span!("server"), ..NOT_OURS };

/// What one writes without the layer.
pub(crate) const BY_HAND: Program = Program { conversation: hand_conversation, turn: hand_turn };

fn hand_conversation(talk: &Talk) -> Span {
    info_span!("conversation", gen_ai.conversation.id = talk.conversation)
}

fn hand_turn(talk: &Talk) {
    let turn = info_span!(
        "turn",
        gen_ai.operation.name = "invoke_agent",
        gen_ai.conversation.id = talk.conversation,
        voice.turn.number = talk.number,
        voice.interrupted = Empty,
        voice.end_reason = Empty,
        voice.usage.input_tokens = Empty,
        voice.usage.output_tokens = Empty,
        voice.usage.characters = Empty,
        voice.usage.audio_duration = Empty,
    )
    .entered();
    {
        let stt = info_span!(
            "stt",
            otel.name = %format_args!("speech_to_text {}", talk.stt.model),
            otel.kind = "client",
            gen_ai.operation.name = "speech_to_text",
            gen_ai.provider.name = talk.stt.provider,
            gen_ai.request.model = talk.stt.model,
            gen_ai.conversation.id = talk.conversation,
            voice.turn.number = talk.number,
            voice.language = talk.language,
            "voice.transcript.final" = Empty,
            voice.transcript.confidence = Empty,
            voice.audio.duration = Empty,
        )
        .entered();
        stt.record("voice.transcript.final", true);
        stt.record("voice.transcript.confidence", 0.97);
        stt.record("voice.audio.duration", 1.84);
    }
    {
        let started = Instant::now();
        let llm = info_span!(
            "llm",
            otel.name = %format_args!("chat {}", talk.llm.model),
            otel.kind = "client",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = talk.llm.provider,
            gen_ai.request.model = talk.llm.model,
            gen_ai.conversation.id = talk.conversation,
            voice.turn.number = talk.number,
            gen_ai.request.temperature = 0.7,
            gen_ai.request.max_tokens = 512,
            gen_ai.request.stream = true,
            gen_ai.response.time_to_first_chunk = Empty,
            gen_ai.response.finish_reasons = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            gen_ai.usage.cache_read.input_tokens = Empty,
        )
        .entered();
        llm.record("gen_ai.response.time_to_first_chunk", started.elapsed().as_secs_f64());
        llm.record("gen_ai.usage.input_tokens", 812);
        llm.record("gen_ai.usage.output_tokens", 64);
        llm.record("gen_ai.usage.cache_read.input_tokens", 640);
        llm.record("gen_ai.response.finish_reasons", "stop");
    }
    {
        let started = Instant::now();
        let tts = info_span!(
            "tts",
            otel.name = %format_args!("text_to_speech {}", talk.tts.model),
            otel.kind = "client",
            gen_ai.operation.name = "text_to_speech",
            gen_ai.provider.name = talk.tts.provider,
            gen_ai.request.model = talk.tts.model,
            gen_ai.conversation.id = talk.conversation,
            "gen_ai.output.type" = "speech",
            voice.turn.number = talk.number,
            voice.name = talk.voice,
            voice.characters = 212,
            voice.time_to_first_byte = Empty,
            voice.audio.duration = Empty,
        )
        .entered();
        tts.record("voice.time_to_first_byte", started.elapsed().as_secs_f64());
        tts.record("voice.audio.duration", 5.12);
    }
    turn.record("voice.interrupted", false);
    turn.record("voice.end_reason", "completed");
    turn.record("voice.usage.input_tokens", 812);
    turn.record("voice.usage.output_tokens", 64);
    turn.record("voice.usage.characters", 212);
    turn.record("voice.usage.audio_duration", 1.84 + 5.12);
}
