//! What does a span become?
//!
//! The contract's tables as data: which field of which kind is which attribute, and what name, operation and
//! OpenTelemetry span kind the exported span has.

use std::borrow::Cow;

use opentelemetry::trace::SpanKind;

use crate::content::{self, Slot};
use crate::kind::Kind::{
    Agent, Conversation, Embeddings, Llm, Realtime, Retrieval, Step, Stt, Tool, Tts, Turn, Workflow,
};
use crate::kind::{Kind, Kinds};
#[allow(clippy::wildcard_imports, reason = "the table names nearly every attribute that there is")]
use crate::semconv::*;
use crate::value::Rule;

/// What a field means on a span of some kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An attribute of the contract.
    Attribute {
        /// The attribute's name.
        key: Key,
        /// How its value is read.
        rule: Rule,
    },
    /// Something that the span itself is told, and no attribute.
    Control(Control),
    /// What people said.
    Content(Slot, Measure),
    /// Itself, under its own name.
    Own,
}

/// What a span is told by a field that is no attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// `error`
    Error,
    /// `error_type`
    ErrorType,
    /// `otel.name`
    Name,
    /// `otel.kind`
    SpanKind,
    /// `otel.status_code`
    StatusCode,
    /// `otel.status_description`
    StatusDescription,
    /// `started_ms_ago`
    StartedAgo,
    /// `traceparent`
    TraceParent,
    /// `tracestate`
    TraceState,
}

/// What may be told about a content field, exported or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Nothing.
    Nothing,
    /// How many characters are to be spoken.
    Characters,
    /// How many tools the model may call.
    Tools,
}

/// One row of the contract's field table.
pub(crate) struct Row {
    /// The field and its aliases.
    pub(crate) fields: &'static [&'static str],
    /// The kinds that the field means this on.
    pub(crate) on: Kinds,
    /// The attribute.
    pub(crate) key: Key,
    rule: Rule,
}

const fn row(fields: &'static [&'static str], on: Kinds, key: Key, rule: Rule) -> Row {
    Row { fields, on, key, rule }
}

const ANY: Kinds = Kinds::ANY;
const CLIENT: Kinds = Kinds::of(&[Stt, Llm, Tts, Embeddings, Retrieval, Realtime]);
const MODELS: Kinds = Kinds::of(&[Stt, Llm, Tts, Realtime, Embeddings]);
const SPEECH: Kinds = Kinds::of(&[Stt, Tts]);
const TOKENS: Kinds = Kinds::of(&[Llm, Realtime, Stt, Tts]);
const CHAT: Kinds = Kinds::of(&[Llm, Realtime]);
const LLM: Kinds = Kinds::of(&[Llm]);
const STT: Kinds = Kinds::of(&[Stt]);
const TTS: Kinds = Kinds::of(&[Tts]);
const TOOL: Kinds = Kinds::of(&[Tool]);
const STEP: Kinds = Kinds::of(&[Step]);
const SPOKEN: Kinds = Kinds::of(&[Turn, Tts, Realtime]);
const AGENTS: Kinds = Kinds::of(&[Conversation, Turn, Agent]);

/// The contract's field table. A field that is spelled as the attribute itself is that attribute on every kind, read as
/// its first row says.
pub(crate) const ROWS: &[Row] = &[
    row(&["gen_ai.operation.name"], ANY, OPERATION_NAME, Rule::Text),
    row(
        &["provider", "gen_ai.system", "llm.provider"],
        Kinds::of(&[Llm, Realtime, Embeddings]),
        PROVIDER_NAME,
        Rule::Provider,
    ),
    // Google's speech service is not Gemini: no aliases here.
    row(&["provider", "gen_ai.system", "llm.provider", "gen_ai.provider.name"], SPEECH, PROVIDER_NAME, Rule::Lowercase),
    row(&["model", "llm.model_name"], MODELS, REQUEST_MODEL, Rule::Text),
    row(&["response_model"], LLM, RESPONSE_MODEL, Rule::Text),
    row(&["response_id"], LLM, RESPONSE_ID, Rule::Text),
    row(&["finish_reason", "finish_reasons"], LLM, RESPONSE_FINISH_REASONS, Rule::Texts),
    row(&["conversation_id", "conversation", "thread_id"], ANY, CONVERSATION_ID, Rule::Id),
    row(&["session_id", "session"], ANY, SESSION_ID, Rule::Id),
    row(&["user_id", "user"], ANY, USER_ID, Rule::Id),
    row(&["agent", "agent_name"], AGENTS, AGENT_NAME, Rule::Text),
    row(&["agent_id"], AGENTS, AGENT_ID, Rule::Text),
    row(&["agent_version"], AGENTS, AGENT_VERSION, Rule::Text),
    row(&["agent_description"], AGENTS, AGENT_DESCRIPTION, Rule::Text),
    row(&["workflow"], Kinds::of(&[Workflow, Conversation]), WORKFLOW_NAME, Rule::Text),
    row(&["input_tokens", "prompt_tokens", "tokens_in"], MODELS, USAGE_INPUT_TOKENS, Rule::IntFrom(0)),
    row(&["uncached_input_tokens"], CHAT, USAGE_UNCACHED_INPUT_TOKENS, Rule::IntFrom(0)),
    row(&["output_tokens", "completion_tokens", "tokens_out"], TOKENS, USAGE_OUTPUT_TOKENS, Rule::IntFrom(0)),
    row(
        &["cache_read_tokens", "cached_tokens", "cached_input_tokens"],
        CHAT,
        USAGE_CACHE_READ_INPUT_TOKENS,
        Rule::IntFrom(0),
    ),
    row(
        &["cache_write_tokens", "cache_creation_tokens", "gen_ai.usage.cache_creation.input_tokens"],
        LLM,
        USAGE_CACHE_WRITE_INPUT_TOKENS,
        Rule::IntFrom(0),
    ),
    row(&["reasoning_tokens", "gen_ai.usage.reasoning_tokens"], LLM, USAGE_REASONING_OUTPUT_TOKENS, Rule::IntFrom(0)),
    row(&["gen_ai.usage.tool_use_prompt_tokens"], LLM, USAGE_TOOL_USE_PROMPT_TOKENS, Rule::IntFrom(0)),
    row(&["input_audio_tokens"], TOKENS, USAGE_AUDIO_INPUT_TOKENS, Rule::IntFrom(0)),
    row(&["output_audio_tokens"], TOKENS, USAGE_AUDIO_OUTPUT_TOKENS, Rule::IntFrom(0)),
    row(&["cached_audio_tokens"], TOKENS, USAGE_AUDIO_CACHE_READ_INPUT_TOKENS, Rule::IntFrom(0)),
    row(&["temperature"], CHAT, REQUEST_TEMPERATURE, Rule::Float),
    row(&["top_p"], CHAT, REQUEST_TOP_P, Rule::Float),
    row(&["frequency_penalty"], CHAT, REQUEST_FREQUENCY_PENALTY, Rule::Float),
    row(&["presence_penalty"], CHAT, REQUEST_PRESENCE_PENALTY, Rule::Float),
    row(&["top_k"], LLM, REQUEST_TOP_K, Rule::IntFrom(0)),
    row(&["max_tokens", "max_completion_tokens"], LLM, REQUEST_MAX_TOKENS, Rule::IntFrom(0)),
    row(&["seed"], LLM, REQUEST_SEED, Rule::Int),
    row(&["choices", "n"], LLM, REQUEST_CHOICE_COUNT, Rule::ChoiceCount),
    row(&["stop"], LLM, REQUEST_STOP_SEQUENCES, Rule::Texts),
    row(&["stream", "streaming"], LLM, REQUEST_STREAM, Rule::OnlyTrue),
    row(&["reasoning_effort"], LLM, REQUEST_REASONING_LEVEL, Rule::Text),
    row(&["output_type"], Kinds::of(&[Llm, Tts]), OUTPUT_TYPE, Rule::Text),
    row(
        &["ttft", "ttfb", "metrics.ttfb", "gen_ai.server.time_to_first_token"],
        CHAT,
        RESPONSE_TIME_TO_FIRST_CHUNK,
        Rule::Amount,
    ),
    row(&["ttft_ms", "ttfb_ms"], CHAT, RESPONSE_TIME_TO_FIRST_CHUNK, Rule::Millis),
    row(
        &["ttft", "ttfb", "metrics.ttfb", "gen_ai.server.time_to_first_token", "gen_ai.response.time_to_first_chunk"],
        SPEECH,
        TIME_TO_FIRST_BYTE,
        Rule::Amount,
    ),
    row(&["ttft_ms", "ttfb_ms"], SPEECH, TIME_TO_FIRST_BYTE, Rule::Millis),
    row(&["tool", "tool_name"], TOOL, TOOL_NAME, Rule::Text),
    row(&["tool_type"], TOOL, TOOL_TYPE, Rule::Text),
    row(&["call_id"], TOOL, TOOL_CALL_ID, Rule::Text),
    row(&["description"], TOOL, TOOL_DESCRIPTION, Rule::Text),
    row(&["step", "name"], STEP, STEP_NAME, Rule::Text),
    row(&["sequence"], STEP, STEP_SEQUENCE, Rule::IntFrom(0)),
    row(&["workflow_id"], Kinds::of(&[Workflow]), WORKFLOW_ID, Rule::Text),
    row(&["partition"], Kinds::of(&[Workflow]), WORKFLOW_PARTITION, Rule::Text),
    row(&["encoding_format", "encoding_formats"], Kinds::of(&[Embeddings]), REQUEST_ENCODING_FORMATS, Rule::Texts),
    row(&["data_source"], Kinds::of(&[Retrieval]), DATA_SOURCE_ID, Rule::Text),
    row(&["top_k"], Kinds::of(&[Retrieval]), RETRIEVAL_TOP_K, Rule::IntFrom(0)),
    row(&["server", "host"], CLIENT, SERVER_ADDRESS, Rule::Text),
    row(&["port"], CLIENT, SERVER_PORT, Rule::Port),
    row(&["prompt_name"], LLM, PROMPT_NAME, Rule::Text),
    row(&["prompt_version"], LLM, PROMPT_VERSION, Rule::Text),
    row(&["voice", "voice_id"], Kinds::of(&[Tts, Realtime]), VOICE_NAME, Rule::Text),
    row(&["language"], SPEECH, LANGUAGE, Rule::Text),
    row(&["confidence"], STT, TRANSCRIPT_CONFIDENCE, Rule::Fraction),
    row(&["is_final"], STT, TRANSCRIPT_FINAL, Rule::Bool),
    row(&["vad"], STT, VAD, Rule::Bool),
    row(&["audio_seconds"], Kinds::of(&[Stt, Tts, Realtime]), AUDIO_DURATION, Rule::Amount),
    row(&["audio_ms"], Kinds::of(&[Stt, Tts, Realtime]), AUDIO_DURATION, Rule::Millis),
    row(&["characters"], TTS, CHARACTERS, Rule::IntFrom(0)),
    row(&["number"], Kinds::of(&[Turn]), TURN_NUMBER, Rule::IntFrom(1)),
    row(&["turn_number"], ANY, TURN_NUMBER, Rule::IntFrom(1)),
    row(&["interrupted"], SPOKEN, INTERRUPTED, Rule::Bool),
    row(&["interruption_source"], SPOKEN, INTERRUPTION_SOURCE, Rule::Text),
    row(&["end_reason"], Kinds::of(&[Turn, Conversation, Workflow]), END_REASON, Rule::EndReason),
    row(&["playout_ms"], SPOKEN, PLAYOUT_POSITION, Rule::Millis),
    row(&["request_id", "rig.provider_request_id"], CLIENT, REQUEST_ID, Rule::Text),
    row(&["attempt"], CLIENT, ATTEMPT, Rule::IntFrom(1)),
    row(&["cost", "cost_usd"], CLIENT, COST, Rule::Amount),
];

/// What the field of this name means on a span of this kind, or on one that is not ours.
pub(crate) fn meaning(kind: Option<Kind>, field: &str) -> Meaning {
    if let Some(control) = control(kind, field) {
        return Meaning::Control(control);
    }
    if let Some(slot) = content::slot(kind, field) {
        return Meaning::Content(slot, measure(kind, slot));
    }
    let Some(kind) = kind else { return Meaning::Own };
    ROWS.iter()
        .find(|row| row.on.contains(kind) && row.fields.contains(&field))
        .or_else(|| ROWS.iter().find(|row| row.key.name() == field))
        .map_or(Meaning::Own, |row| Meaning::Attribute { key: row.key, rule: row.rule })
}

/// All names of the contract's fields and attributes. Content that others name with a number in it is endless, and not among them.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let fields = ROWS.iter().flat_map(|row| row.fields);
    let content = content::ROWS.iter().flat_map(|row| row.fields);
    fields.chain(content).chain(CONTROLS).copied().chain(CLASSES.iter().map(|(name, _)| *name))
}

/// Fields that an event or the span itself is told, and that are no attributes.
const CONTROLS: &[&str] = &[
    "conversation_id",
    "error",
    "error_type",
    "gen_ai.tool.error.type",
    "message",
    "ms_ago",
    "otel.kind",
    "otel.name",
    "otel.status_code",
    "otel.status_description",
    "started_ms_ago",
    "traceparent",
    "tracestate",
];

fn control(kind: Option<Kind>, field: &str) -> Option<Control> {
    let may_have_remote_parent = matches!(kind, Some(Conversation | Turn | Workflow));
    Some(match field {
        "error" => Control::Error,
        "error_type" => Control::ErrorType,
        field if field == ERROR_TYPE.name() => Control::ErrorType,
        "gen_ai.tool.error.type" if kind == Some(Tool) => Control::ErrorType,
        "otel.name" => Control::Name,
        "otel.kind" => Control::SpanKind,
        "otel.status_code" => Control::StatusCode,
        "otel.status_description" => Control::StatusDescription,
        "started_ms_ago" if kind.is_some() => Control::StartedAgo,
        "traceparent" if may_have_remote_parent => Control::TraceParent,
        "tracestate" if may_have_remote_parent => Control::TraceState,
        _ => return None,
    })
}

fn measure(kind: Option<Kind>, slot: Slot) -> Measure {
    match (kind, slot) {
        (Some(Tts), Slot::Spoken) => Measure::Characters,
        (Some(Llm), Slot::Tools) => Measure::Tools,
        _ => Measure::Nothing,
    }
}

/// The attributes of a field of this name, on whatever kind.
pub(crate) fn keys_of(field: &str) -> impl Iterator<Item = Key> {
    ROWS.iter().filter(move |row| row.fields.contains(&field)).map(|row| row.key)
}

/// The operation that a span is, unless its fields name another: `gen_ai.operation.name`.
pub(crate) fn operation(kind: Kind, span_name: &str) -> Option<&'static str> {
    match kind {
        Conversation | Step => None,
        Turn | Agent => Some("invoke_agent"),
        Stt => Some("speech_to_text"),
        Llm => Some(match span_name {
            "generate_content" => "generate_content",
            "text_completion" => "text_completion",
            _ => "chat",
        }),
        Tts => Some("text_to_speech"),
        Tool => Some("execute_tool"),
        Workflow => Some("invoke_workflow"),
        Embeddings => Some("embeddings"),
        Retrieval => Some("retrieval"),
        Realtime => Some("generate_content"),
    }
}

/// The exported span's kind, in OpenTelemetry's sense.
pub(crate) fn span_kind(kind: Kind) -> SpanKind {
    if CLIENT.contains(kind) { SpanKind::Client } else { SpanKind::Internal }
}

/// The attribute that follows the operation in the exported name.
pub(crate) fn subject(kind: Kind) -> Option<Key> {
    match kind {
        Conversation | Turn => None,
        Stt | Llm | Tts | Embeddings | Realtime => Some(REQUEST_MODEL),
        Tool => Some(TOOL_NAME),
        Agent => Some(AGENT_NAME),
        Workflow => Some(WORKFLOW_NAME),
        Step => Some(STEP_NAME),
        Retrieval => Some(DATA_SOURCE_ID),
    }
}

/// The exported name: the operation and what it works on, the operation alone, or the kind's own name.
pub(crate) fn name(kind: Kind, operation: Option<&str>, subject: Option<&str>) -> Cow<'static, str> {
    let own = match kind {
        Conversation => return "conversation".into(),
        Turn => return "turn".into(),
        Step => "step",
        Stt | Llm | Tts | Tool | Agent | Workflow | Embeddings | Retrieval | Realtime => "",
    };
    let operation = operation.unwrap_or(own);
    match subject {
        Some(subject) => {
            let mut name = String::with_capacity(operation.len() + 1 + subject.len());
            name.push_str(operation);
            name.push(' ');
            name.push_str(subject);
            name.into()
        }
        None => operation.to_owned().into(),
    }
}

/// An attribute that a kind has when nobody said otherwise.
pub(crate) fn default_attribute(kind: Kind) -> Option<(Key, &'static str)> {
    match kind {
        Tts | Realtime => Some((OUTPUT_TYPE, "speech")),
        Tool => Some((TOOL_TYPE, "function")),
        Conversation | Turn | Stt | Llm | Agent | Workflow | Step | Embeddings | Retrieval => None,
    }
}

/// The attribute that the first token or byte sets, for the kinds that have one.
pub(crate) fn time_to_first_chunk(kind: Kind) -> Option<Key> {
    match kind {
        Llm | Realtime => Some(RESPONSE_TIME_TO_FIRST_CHUNK),
        Stt | Tts => Some(TIME_TO_FIRST_BYTE),
        Conversation | Turn | Tool | Agent | Workflow | Step | Embeddings | Retrieval => None,
    }
}

/// Whether a span of this kind is a call, so that another one in it is an attempt at it.
pub(crate) fn is_call(kind: Kind) -> bool {
    CLIENT.contains(kind)
}

/// Whether an `interrupted` event marks a span of this kind.
pub(crate) fn can_be_interrupted(kind: Kind) -> bool {
    matches!(kind, Turn | Tts | Llm | Realtime)
}

#[cfg(test)]
mod tests {
    use super::{Control, Meaning, Measure, ROWS, Row, meaning, name, operation, span_kind, subject};
    use crate::content::{self, Slot};
    use crate::kind::{Kind, Kinds};
    use crate::semconv::{REQUEST_MODEL, REQUEST_TOP_K, RETRIEVAL_TOP_K};
    use crate::value::Rule;
    use opentelemetry::trace::SpanKind;

    const README: &str = include_str!("../README.md");

    const KINDS: [(Kind, &str); 12] = [
        (Kind::Conversation, "conversation"),
        (Kind::Turn, "turn"),
        (Kind::Stt, "stt"),
        (Kind::Llm, "llm"),
        (Kind::Tts, "tts"),
        (Kind::Tool, "tool"),
        (Kind::Agent, "agent"),
        (Kind::Workflow, "workflow"),
        (Kind::Step, "step"),
        (Kind::Embeddings, "embeddings"),
        (Kind::Retrieval, "retrieval"),
        (Kind::Realtime, "realtime"),
    ];

    /// The lines of the README's table that begins with this line, without their head.
    fn table(head: &str) -> Vec<&'static str> {
        let lines = README.lines().skip_while(|line| *line != head).skip(2);
        lines.take_while(|line| line.starts_with('|')).collect()
    }

    fn names(cell: &str) -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn quoted(names: &[&str]) -> String {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    fn on(kinds: Kinds) -> String {
        if kinds == Kinds::ANY {
            return "any".to_owned();
        }
        KINDS.iter().filter(|(kind, _)| kinds.contains(*kind)).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
    }

    fn value(row: &Row) -> &'static str {
        match row.rule {
            Rule::Text => "string",
            Rule::Id => "string, at most 1,024 bytes",
            Rule::Lowercase => "string, in lower case",
            Rule::Provider => "string, in lower case, aliases as below",
            Rule::EndReason => "`completed`, `interrupted`, `session_closed` or `error`",
            Rule::Texts => "string[]; one string is wrapped, a JSON array is taken apart",
            Rule::Int => "int",
            Rule::IntFrom(0) if row.key == super::USAGE_INPUT_TOKENS => "int, not negative, cached tokens included",
            Rule::IntFrom(0) if row.key == super::USAGE_UNCACHED_INPUT_TOKENS => {
                "int, not negative; what was read from and written to a cache is added"
            }
            Rule::IntFrom(0) => "int, not negative",
            Rule::IntFrom(_) => "int, from 1",
            Rule::ChoiceCount => "int, only when it is not 1",
            Rule::Port => "int, 1 to 65535",
            Rule::Float => "double",
            Rule::Fraction => "double, 0 to 1",
            Rule::Amount if row.key == super::COST => "double, US dollars",
            Rule::Amount => "double, seconds",
            Rule::Millis => "double, seconds; the field is in milliseconds",
            Rule::Bool => "bool",
            Rule::OnlyTrue => "bool, only when it is true",
        }
    }

    #[test]
    fn the_readme_has_the_field_table() {
        let expected: Vec<_> = ROWS
            .iter()
            .map(|row| {
                let key =
                    if row.key == super::USAGE_UNCACHED_INPUT_TOKENS { super::USAGE_INPUT_TOKENS } else { row.key };
                format!("| {} | {} | `{}` | {} |", quoted(row.fields), on(row.on), key, value(row))
            })
            .collect();
        let found = table("| field (aliases) | on | attribute | value |");
        assert_eq!(found, expected, "the table should be:\n{}", expected.join("\n"));
    }

    #[test]
    fn the_readme_has_the_span_table() {
        let rows = table("| kind | recognized names | exported name | span kind | `gen_ai.operation.name` |");
        assert_eq!(rows.len(), KINDS.len());
        for (row, (kind, kind_name)) in rows.into_iter().zip(KINDS) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            assert_eq!(cells[1], kind_name);
            let span_names: Vec<_> = names(cells[2]).iter().map(|name| name.replace('*', "x")).collect();
            for span_name in &span_names {
                assert_eq!(Kind::of(span_name), Some(kind), "{span_name}");
            }
            let operation = operation(kind, &span_names[0]);
            assert_eq!(names(cells[5]).first().map(String::as_str), operation, "{row}");
            let subject = subject(kind).map(|_| cells[3].split_once('{').unwrap().1.trim_end_matches("}`"));
            let exported = name(kind, operation, subject.map(|subject| format!("{{{subject}}}")).as_deref());
            assert_eq!(cells[3], format!("`{exported}`"));
            let client = cells[4] == "CLIENT";
            assert_eq!(span_kind(kind), if client { SpanKind::Client } else { SpanKind::Internal }, "{row}");
        }
    }

    #[test]
    fn the_readme_names_all_content() {
        let row = |row: &content::Row| format!("| {} | {} | {} |", quoted(row.fields), on(row.on), written(row.slot));
        let expected: Vec<_> = content::ROWS.iter().map(row).collect();
        let found = table("| field | on | when content is on |");
        assert_eq!(found, expected, "the table should be:\n{}", expected.join("\n"));
        for field in content::ROWS.iter().flat_map(|row| row.fields) {
            for kind in KINDS.map(|(kind, _)| Some(kind)).into_iter().chain([None]) {
                assert!(matches!(meaning(kind, field), Meaning::Content(..)), "{field}");
            }
        }
    }

    fn written(slot: Slot) -> &'static str {
        match slot {
            Slot::Input => "`gen_ai.input.messages`: messages, those without a role are the user's",
            Slot::Output => "`gen_ai.output.messages`: messages, those without a role are the assistant's",
            Slot::Heard => "`gen_ai.input.messages`: a user text part, after what was asked",
            Slot::Transcript => "`gen_ai.output.messages`: one assistant text part",
            Slot::Spoken => "`gen_ai.input.messages`: one user text part",
            Slot::Instructions => "`gen_ai.system_instructions`: parts",
            Slot::Tools => "`gen_ai.tool.definitions`: JSON",
            Slot::Arguments => "`gen_ai.tool.call.arguments`: JSON, or text",
            Slot::Result => "`gen_ai.tool.call.result`: JSON, or text",
            Slot::State => "`voice.step.state`: JSON, or text",
            Slot::Inputs => "`voice.step.inputs`: JSON, or text",
            Slot::HeardAudio => "`gen_ai.input.messages`: a `uri` part with `modality` `audio`",
            Slot::SpokenAudio => "`gen_ai.output.messages`: a `uri` part with `modality` `audio`",
            Slot::Own => "its own name",
        }
    }

    #[test]
    fn a_field_means_what_its_kind_says() {
        let attribute = |kind, field| match meaning(Some(kind), field) {
            Meaning::Attribute { key, .. } => key,
            other => panic!("{field} is {other:?}"),
        };
        assert_eq!(attribute(Kind::Llm, "top_k"), REQUEST_TOP_K);
        assert_eq!(attribute(Kind::Retrieval, "top_k"), RETRIEVAL_TOP_K);
        assert_eq!(
            attribute(Kind::Turn, REQUEST_MODEL.name()),
            REQUEST_MODEL,
            "spelled out, it is itself on every kind"
        );
        assert_eq!(meaning(Some(Kind::Turn), "model"), Meaning::Own);
        assert_eq!(meaning(None, "model"), Meaning::Own);
        assert_eq!(meaning(Some(Kind::Tts), "text"), Meaning::Content(Slot::Spoken, Measure::Characters));
        assert_eq!(meaning(Some(Kind::Stt), "text"), Meaning::Content(Slot::Own, Measure::Nothing));
        assert_eq!(meaning(Some(Kind::Turn), "traceparent"), Meaning::Control(Control::TraceParent));
        assert_eq!(meaning(Some(Kind::Llm), "traceparent"), Meaning::Own);
        assert_eq!(meaning(None, "error"), Meaning::Control(Control::Error));
    }
}
