//! What may leave the process?
//!
//! Transcripts, prompts, answers, tool arguments and results, application state: what people said. This module says
//! which fields hold it, and what becomes of it when it is asked for: JSON of the GenAI message schema, each string
//! redacted and then cut.

use std::borrow::Cow;
use std::sync::LazyLock;

use rustc_hash::FxHashSet;

use crate::json::Json;
use crate::kind::Kind::{Agent, Llm, Realtime, Step, Stt, Tool, Tts, Turn, Workflow};
use crate::kind::{Kind, Kinds};
use crate::messages::{instructions, message, messages, tool_definitions};
use crate::parts::{text, uri};
use crate::semconv::{
    CLASSES, Class, INPUT_MESSAGES, Key, OUTPUT_MESSAGES, STEP_INPUTS, STEP_STATE, SYSTEM_INSTRUCTIONS,
    TOOL_CALL_ARGUMENTS, TOOL_CALL_RESULT, TOOL_DEFINITIONS,
};

/// Whether content is exported.
///
/// [`GenAi::from_env`](crate::GenAi::from_env) reads `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`:
/// `SPAN_ONLY`, `SPAN_AND_EVENT`, `true`, `1`, `yes` and `on` are [`Content::Spans`]; unset, `NO_CONTENT`, `false`, `0`,
/// `no` and `off` are [`Content::Off`], and so is anything else, with one warning. In any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Content {
    /// No content leaves the process.
    #[default]
    Off,
    /// Content is on the spans that it belongs to, and on their events.
    Spans,
}

impl Content {
    /// What the variable says; `None` if nobody knows.
    pub(crate) fn of(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "no_content" | "false" | "0" | "no" | "off" => Some(Self::Off),
            "span_only" | "span_and_event" | "true" | "1" | "yes" | "on" => Some(Self::Spans),
            _ => None,
        }
    }
}

/// Where a content field goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// What is asked: messages.
    Input,
    /// What is answered: messages.
    Output,
    /// What the user was heard to say, word for word, where that is asked.
    Heard,
    /// What the user was heard to say, word for word, where that is the answer.
    Transcript,
    /// What is to be spoken, word for word.
    Spoken,
    /// How to behave.
    Instructions,
    /// What may be called.
    Tools,
    Arguments,
    Result,
    State,
    Inputs,
    /// Where the audio lies that was heard.
    HeardAudio,
    /// Where the audio lies that was spoken.
    SpokenAudio,
    /// Nowhere but under its own name.
    Own,
}

/// One row of the contract's content table.
pub(crate) struct Row {
    pub(crate) fields: &'static [&'static str],
    pub(crate) on: Kinds,
    pub(crate) slot: Slot,
}

const fn row(fields: &'static [&'static str], on: &[Kind], slot: Slot) -> Row {
    Row { fields, on: Kinds::of(on), slot }
}

/// The contract's content table. On other kinds these fields are content too, under their own names.
pub(crate) const ROWS: &[Row] = &[
    row(&["transcript"], &[Stt], Slot::Transcript),
    row(&["transcript"], &[Realtime], Slot::Heard),
    row(&["text"], &[Tts], Slot::Spoken),
    row(&["prompt", "messages", "input"], &[Llm, Realtime, Turn, Agent, Step, Workflow], Slot::Input),
    row(&["completion", "response", "output"], &[Llm, Realtime, Turn, Agent, Step, Workflow], Slot::Output),
    row(&["system_prompt", "instructions"], &[Llm, Turn, Agent], Slot::Instructions),
    row(&["tools"], &[Llm], Slot::Tools),
    row(&["arguments"], &[Tool], Slot::Arguments),
    row(&["result"], &[Tool], Slot::Result),
    row(&["state"], &[Step, Workflow], Slot::State),
    row(&["inputs"], &[Step, Workflow], Slot::Inputs),
    row(&["audio_uri"], &[Stt], Slot::HeardAudio),
    row(&["audio_uri"], &[Tts], Slot::SpokenAudio),
];

/// The attributes themselves, on any kind.
const SPELLED_OUT: &[(Key, Slot)] = &[
    (INPUT_MESSAGES, Slot::Input),
    (OUTPUT_MESSAGES, Slot::Output),
    (SYSTEM_INSTRUCTIONS, Slot::Instructions),
    (TOOL_DEFINITIONS, Slot::Tools),
    (TOOL_CALL_ARGUMENTS, Slot::Arguments),
    (TOOL_CALL_RESULT, Slot::Result),
    (STEP_STATE, Slot::State),
    (STEP_INPUTS, Slot::Inputs),
];

/// Where a content field of this name goes on a span of this kind, or on one that is not ours; `None` if it is no content.
pub(crate) fn slot(kind: Option<Kind>, field: &str) -> Option<Slot> {
    if !is_content(field) {
        return None;
    }
    let Some(kind) = kind else { return Some(Slot::Own) };
    let spelled_out = SPELLED_OUT.iter().find(|(key, _)| key.name() == field).map(|(_, slot)| *slot);
    let row = || ROWS.iter().find(|row| row.on.contains(kind) && row.fields.contains(&field));
    spelled_out.or_else(|| row().map(|row| row.slot)).or(Some(Slot::Own))
}

/// Whether a field of this name holds content: on every kind, on every event and on other spans too.
pub(crate) fn is_content(field: &str) -> bool {
    static NAMES: LazyLock<FxHashSet<&str>> = LazyLock::new(|| {
        let keys = CLASSES.iter().filter(|(_, class)| *class == Class::Content).map(|(key, _)| *key);
        let fields = ROWS.iter().flat_map(|row| row.fields.iter().copied());
        fields.chain(keys).chain(FOREIGN.iter().copied()).collect()
    });
    NAMES.contains(field) || (field.contains('.') && has_foreign_prefix(field))
}

/// Names for content in the conventions' earlier revisions, in backends, in other libraries, and in programs.
const FOREIGN: &[&str] = &[
    "ai.prompt",
    "ai.response.object",
    "ai.response.reasoning",
    "ai.response.text",
    "ai.response.toolCalls",
    "ai.toolCall.args",
    "ai.toolCall.result",
    "ai.value",
    "ai.values",
    "all_messages_events",
    "answer",
    "args",
    "assistant_message",
    "audio.transcript",
    "audio.url",
    "braintrust.input",
    "braintrust.input_json",
    "braintrust.output",
    "braintrust.output_json",
    "chat_history",
    "content",
    "conversation_history",
    "document.content",
    "embedding.text",
    "final_result",
    "final_transcript",
    "gcp.vertex.agent.data",
    "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response",
    "gcp.vertex.agent.tool_call_args",
    "gcp.vertex.agent.tool_response",
    "gen_ai.assistant.message",
    "gen_ai.choice",
    "gen_ai.completion",
    "gen_ai.event.content",
    "gen_ai.memory.records",
    "gen_ai.prompt",
    "gen_ai.retrieval.documents",
    "gen_ai.retrieval.query.text",
    "gen_ai.speech.input_text",
    "gen_ai.system.message",
    "gen_ai.tool.message",
    "gen_ai.transcription.text",
    "gen_ai.user.message",
    "interim_transcript",
    "langfuse.input",
    "langfuse.output",
    "lk.chat_ctx",
    "lk.function_tool.arguments",
    "lk.function_tool.output",
    "lk.input_text",
    "lk.instructions",
    "lk.response.function_calls",
    "lk.response.text",
    "lk.user_input",
    "lk.user_transcript",
    "llm.choices",
    "llm.function_call",
    "llm.input",
    "llm.output",
    "llm.prompt",
    "llm.tools",
    "llm.user_message_preview",
    "message.content",
    "message_content.text",
    "message_history",
    "mlflow.chat.messages",
    "mlflow.chat.tools",
    "mlflow.spanInputs",
    "mlflow.spanOutputs",
    "partial_transcript",
    "pydantic_ai.all_messages",
    "question",
    "reranker.query",
    "return",
    "system_instruction",
    "system_instructions",
    "task.description",
    "tool.arguments",
    "tool.input",
    "tool.json_schema",
    "tool.output",
    "tool.parameters",
    "tool.result",
    "tool_args",
    "tool_arguments",
    "tool_call",
    "tool_call_arguments",
    "tool_input",
    "tool_output",
    "tool_response",
    "tool_result",
    "tools.definitions",
    "trace_input",
    "trace_output",
    "transcription",
    "user_input",
    "user_message",
    "utterance",
];

/// Whether the name is one of a family of names for content: lists, parts and variants.
fn has_foreign_prefix(field: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "ai.prompt.",
        "embedding.embeddings",
        "gen_ai.completion.",
        "gen_ai.content.",
        "gen_ai.input.audio.",
        "gen_ai.input.messages.",
        "gen_ai.memory.query.",
        "gen_ai.output.audio.",
        "gen_ai.output.messages.",
        "gen_ai.prompt.variable.",
        "input.audio.",
        "input.images",
        "langfuse.observation.input",
        "langfuse.observation.output",
        "langfuse.trace.input",
        "langfuse.trace.output",
        "lk.pii.",
        "llm.completions",
        "llm.input_messages",
        "llm.output_messages",
        "llm.prompt_template",
        "llm.prompts",
        "llm.request.functions.",
        "llm.tools.",
        "output.audio.",
        "output.images",
        "reranker.input_documents",
        "reranker.output_documents",
        "retrieval.documents",
        "traceloop.entity.input",
        "traceloop.entity.output",
        "traceloop.prompt.template",
    ];
    PREFIXES.iter().any(|prefix| field.starts_with(prefix))
        || field.strip_prefix("gen_ai.prompt.").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// A content field's value, as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) slot: Slot,
    pub(crate) field: &'static str,
    pub(crate) text: String,
}

/// Takes out of a text of this field what must not leave.
pub(crate) trait Redacts {
    /// Whether anybody takes anything out.
    fn is_there(&self) -> bool;

    fn redact<'t>(&self, field: &str, text: &'t str) -> Cow<'t, str>;
}

/// What becomes of content before it leaves.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) redactor: &'a dyn Redacts,
    /// The longest string, in bytes.
    pub(crate) max_len: usize,
    /// Whether inline audio, images and documents are kept.
    pub(crate) binary: bool,
}

/// The attributes that the content of a span becomes.
pub(crate) fn attributes(pieces: &[Piece], rules: Rules<'_>) -> Vec<(Key, String)> {
    let mut input: Option<Vec<Json>> = None;
    let mut output: Option<Vec<Json>> = None;
    let mut attributes = Vec::new();
    let more = |to: &mut Option<Vec<Json>>, more: Vec<Json>| to.get_or_insert_default().extend(more);
    // Messages first, then what is added to them: a recording's place stands with what was said in it.
    let (added, first): (Vec<&Piece>, Vec<&Piece>) =
        pieces.iter().partition(|piece| matches!(piece.slot, Slot::Heard | Slot::HeardAudio | Slot::SpokenAudio));
    for Piece { slot, field, text: said } in first.into_iter().chain(added) {
        let clean = |messages: Vec<Json>| messages.into_iter().map(|message| rules.message(field, message)).collect();
        let list = |list: Vec<Json>| Json::List(clean(list)).to_compact();
        match slot {
            Slot::Input => more(&mut input, clean(messages(said, "user"))),
            Slot::Output => more(&mut output, clean(messages(said, "assistant"))),
            Slot::Spoken | Slot::Heard => more(&mut input, clean(vec![message("user", vec![text(said)])])),
            Slot::Transcript => more(&mut output, clean(vec![message("assistant", vec![text(said)])])),
            Slot::HeardAudio => more(&mut input, clean(vec![message("user", vec![uri("audio", None, said)])])),
            Slot::SpokenAudio => more(&mut output, clean(vec![message("assistant", vec![uri("audio", None, said)])])),
            Slot::Instructions => attributes.push((SYSTEM_INSTRUCTIONS, list(instructions(said)))),
            Slot::Tools => attributes.push((
                TOOL_DEFINITIONS,
                tool_definitions(said).map_or_else(|| rules.own(field, said), |tools| rules.json(field, tools.into())),
            )),
            Slot::Arguments => attributes.push((TOOL_CALL_ARGUMENTS, rules.own(field, said))),
            Slot::Result => attributes.push((TOOL_CALL_RESULT, rules.own(field, said))),
            Slot::State => attributes.push((STEP_STATE, rules.own(field, said))),
            Slot::Inputs => attributes.push((STEP_INPUTS, rules.own(field, said))),
            Slot::Own => attributes.push((Key::of(field), rules.own(field, said))),
        }
    }
    let messages = [(INPUT_MESSAGES, input), (OUTPUT_MESSAGES, output)];
    let written = |(key, messages): (_, Option<Vec<Json>>)| Some((key, Json::List(messages?).to_compact()));
    attributes.extend(messages.into_iter().filter_map(written));
    attributes
}

impl Rules<'_> {
    /// Whether there is anything to take out.
    pub(crate) fn redacts(self) -> bool {
        self.redactor.is_there()
    }

    /// A field's text as it may leave under its own name: JSON stays JSON, compact.
    pub(crate) fn own(self, field: &str, said: &str) -> String {
        match Json::parse(said) {
            Some(json) => self.json(field, json),
            None => self.text(field, without_data(said, self.binary).as_ref()),
        }
    }

    fn json(self, field: &str, json: Json) -> String {
        let json = if self.binary { json } else { elided(json) };
        self.leaves(field, json).to_compact()
    }

    /// A text as it may leave. Redacted first: a number that is cut in half would not be known for what it is.
    pub(crate) fn text(self, field: &str, said: &str) -> String {
        cut(self.redactor.redact(field, said), self.max_len)
    }

    /// A message or a part: its own words (`type`, `role`, ids) stay.
    fn message(self, field: &str, message: Json) -> Json {
        let message = if self.binary { message } else { elided(message) };
        self.structure(field, message)
    }

    fn structure(self, field: &str, json: Json) -> Json {
        let Json::Object(entries) = json else { return self.leaves(field, json) };
        let is_blob = entries.get("type").and_then(Json::as_text) == Some("blob");
        let clean = |(key, value): (String, Json)| {
            let value = match (key.as_str(), value) {
                (
                    "type" | "role" | "id" | "modality" | "mime_type" | "byte_size" | "file_id" | "finish_reason",
                    value,
                ) => value,
                ("content", value) if is_blob => value,
                ("parts", Json::List(parts)) => {
                    parts.into_iter().map(|part| self.structure(field, part)).collect::<Vec<_>>().into()
                }
                (_, value) => self.leaves(field, value),
            };
            (key, value)
        };
        Json::Object(entries.into_iter().map(clean).collect())
    }

    /// Every text in a JSON value, the names in its objects and its numbers included: an account number is as often a
    /// number as a text.
    fn leaves(self, field: &str, json: Json) -> Json {
        match json {
            Json::Null | Json::Bool(_) => json,
            Json::Number(number) => {
                let digits = number.to_string();
                match self.redactor.redact(field, &digits) {
                    kept if kept == digits => Json::Number(number),
                    redacted => Json::Text(cut(redacted, self.max_len)),
                }
            }
            Json::Text(text) => self.text(field, &text).into(),
            Json::List(list) => list.into_iter().map(|json| self.leaves(field, json)).collect::<Vec<_>>().into(),
            Json::Object(entries) => {
                let clean = |(key, value): (String, Json)| (self.text(field, &key), self.leaves(field, value));
                Json::Object(entries.into_iter().map(clean).collect())
            }
        }
    }
}

/// What stands at the end of a text that was cut.
const CUT: &str = "…[truncated]";

/// At most `max` bytes of a text, cut on a character and marked.
pub(crate) fn cut(text: Cow<'_, str>, max: usize) -> String {
    if text.len() <= max {
        return text.into_owned();
    }
    let room = max.saturating_sub(CUT.len());
    let (room, mark) = if room > 0 { (room, CUT) } else { (max, "") };
    let kept = (0..=room).rev().find_map(|end| text.get(..end));
    [kept.unwrap_or_default(), mark].concat()
}

/// JSON without inline audio, images and documents; what says what they are and how large stays.
fn elided(json: Json) -> Json {
    match json {
        Json::List(list) => list.into_iter().map(elided).collect::<Vec<_>>().into(),
        Json::Text(text) => without_data(&text, false).into_owned().into(),
        Json::Object(mut entries) => {
            let is = |key: &str, value: &str| entries.get(key).and_then(Json::as_text) == Some(value);
            if is("type", "blob") {
                let size = entries.get("content").and_then(Json::as_text).map_or(0, decoded_len);
                entries.insert("byte_size".to_owned(), size.into());
                entries.insert("content".to_owned(), "".into());
                return Json::Object(entries);
            }
            let typed = ["mimeType", "mime_type", "media_type", "format"].iter().any(|key| entries.contains_key(*key));
            let data = |key: &str| match key {
                "data" => typed || is("type", "base64"),
                "b64_json" => true,
                _ => false,
            };
            let binary: Vec<String> = entries.keys().filter(|key| data(key)).cloned().collect();
            for key in binary {
                if let Some(Json::Text(data)) = entries.get_mut(&key) {
                    *data = elision(data);
                }
            }
            Json::Object(entries.into_iter().map(|(key, value)| (key, elided(value))).collect())
        }
        other => other,
    }
}

/// A `data:` URL without its data.
fn without_data(text: &str, keep: bool) -> Cow<'_, str> {
    match text.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((mime_type, data)) if !keep => format!("data:{mime_type};base64,{}", elision(data)).into(),
        _ => text.into(),
    }
}

fn elision(data: &str) -> String {
    format!("[{} bytes elided]", decoded_len(data))
}

/// How many bytes a base64 text stands for.
fn decoded_len(base64: &str) -> usize {
    let digits = base64.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').count();
    digits / 4 * 3 + (digits % 4).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::{cut, decoded_len, is_content};
    use crate::semconv::{CLASSES, Class};

    #[test]
    fn content_is_known_under_every_name_it_has() {
        for content in [
            "transcript",
            "arguments",
            "gen_ai.output.messages",
            "gen_ai.prompt.0.content",
            "input.value",
            "llm.input_messages.0.message.content",
            "gen_ai.prompt.variable.name",
            "gen_ai.content.prompt",
            "gen_ai.speech.input_text",
            "llm.function_call",
            "llm.tools.0.tool.json_schema",
            "llm.prompt_template.variables",
            "embedding.embeddings.0.embedding.text",
            "reranker.input_documents.0.document.content",
            "output.audio.transcript",
            "llm.request.functions.0.parameters",
            "traceloop.prompt.template_variables",
            "lk.user_transcript",
            "lk.function_tool.output",
            "ai.response.text",
            "mlflow.spanOutputs",
            "return",
            "tool_input",
        ] {
            assert!(is_content(content), "{content}");
        }
        for other in ["model", "gen_ai.prompt.name", "output_tokens", "texts", "gen_ai.tool.call.id", "input.mime_type"]
            .into_iter()
            .chain(["llm.prompt_tokens", "llm.tools_count", "embedding.model_name", "lk.response.ttft", "ai.model.id"])
        {
            assert!(!is_content(other), "{other}");
        }
    }

    /// A field of an attribute's name holds what the attribute does.
    #[test]
    fn an_attributes_class_is_its_fields() {
        for (key, class) in CLASSES {
            assert_eq!(is_content(key), *class == Class::Content, "{key}");
            assert_eq!(CLASSES.iter().filter(|(other, _)| other == key).count(), 1, "{key} has one class");
        }
    }

    #[test]
    fn a_text_is_cut_on_a_character() {
        assert_eq!(cut("noon".into(), 4), "noon");
        assert_eq!(cut("a".repeat(40).into(), 20), format!("{}…[truncated]", "a".repeat(6)));
        assert_eq!(cut("ü".repeat(40).into(), 21), format!("{}…[truncated]", "ü".repeat(3)));
        assert_eq!(cut("üü".into(), 3), "ü");
        assert_eq!(cut("üü".into(), 0), "");
    }

    #[test]
    fn base64_has_the_length_of_what_it_stands_for() {
        for (base64, len) in [("", 0), ("aGVsbG8=", 5), ("aGVsbG8", 5), ("aGVsbG8h", 6), ("aGVs\nbG8h", 6), ("aA==", 1)]
        {
            assert_eq!(decoded_len(base64), len, "{base64}");
        }
    }
}
