//! What else does a backend want to be told?
//!
//! Attributes that a backend or a peer knows under names of its own, besides the conventions'. They are worked out from the
//! finished span: a dialect adds, and knows nothing that the span does not say.

use opentelemetry::Value;

use crate::content::Slot;
use crate::fields::Fields;
use crate::json::Json;
use crate::kind::Kind;
use crate::mapping;
#[allow(clippy::wildcard_imports, reason = "dialects name nearly every attribute that there is")]
use crate::semconv::*;
use crate::totals::{Parts, Totals};
use crate::words::{Words, text_of};

/// The names that a backend or a peer has for what we export, besides the conventions' own. Several may be on; `DIALECTS.md`
/// in the repository says what each backend shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Pipecat's span names (`stt`, `llm`, `tts`), operations and attribute keys: for dashboards that were made for it.
    Pipecat,
    /// OpenInference, which Phoenix and Arize read: span kinds, models, token counts, cost, input and output.
    OpenInference,
    /// Langfuse: observation types, completion start time, usage and cost details, session and user.
    Langfuse,
    /// MLflow: what a call cost, instead of MLflow's own price list.
    Mlflow,
}

/// A set of dialects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dialects(u8);

impl Dialects {
    #[must_use]
    pub(crate) fn with(self, dialect: Dialect) -> Self {
        Self(self.0 | 1 << dialect as u8)
    }

    pub(crate) fn has(self, dialect: Dialect) -> bool {
        self.0 & (1 << dialect as u8) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one wants to know on a turn and on a conversation what was said in it.
    pub(crate) fn want_words(self) -> bool {
        self.has(Dialect::OpenInference)
    }

    /// The name that a dialect has for a span of this kind.
    pub(crate) fn span_name(self, kind: Kind) -> Option<&'static str> {
        if !self.has(Dialect::Pipecat) {
            return None;
        }
        match kind {
            Kind::Stt => Some("stt"),
            Kind::Llm => Some("llm"),
            Kind::Tts => Some("tts"),
            Kind::Conversation
            | Kind::Turn
            | Kind::Tool
            | Kind::Agent
            | Kind::Workflow
            | Kind::Step
            | Kind::Embeddings
            | Kind::Retrieval
            | Kind::Realtime => None,
        }
    }

    /// The operation that a dialect has for a span of this kind.
    pub(crate) fn operation(self, kind: Kind) -> Option<&'static str> {
        self.span_name(kind).filter(|_| matches!(kind, Kind::Stt | Kind::Tts))
    }
}

/// A span that is about to end.
#[derive(Debug)]
pub(crate) struct Finished<'a> {
    pub(crate) kind: Kind,
    /// Everything that is exported of it.
    pub(crate) fields: &'a Fields,
    /// Its content, as it may leave.
    pub(crate) said: &'a [(Slot, String)],
    /// What was said in it, if it is a turn or a conversation.
    pub(crate) words: &'a Words,
    /// Seconds.
    pub(crate) duration: f64,
    /// The first span of its trace.
    pub(crate) is_root: bool,
    /// What it used that no other span says, in its attempts if it doesn't say.
    pub(crate) used: Totals,
    /// Which tokens its attempts used, if it doesn't say what it used.
    pub(crate) parts: Option<&'a Parts>,
    /// When its first token or byte came, in RFC 3339.
    pub(crate) first_chunk: Option<String>,
}

/// What the dialects add to it.
pub(crate) fn attributes(dialects: Dialects, span: &Finished<'_>) -> Vec<(Key, Value)> {
    let mut added = Vec::new();
    if dialects.has(Dialect::Pipecat) {
        added.extend(pipecat(span));
    }
    if dialects.has(Dialect::OpenInference) {
        added.extend(openinference(span));
    }
    if dialects.has(Dialect::Langfuse) {
        added.extend(langfuse(span));
    }
    if dialects.has(Dialect::Mlflow) {
        added.extend(mlflow(span));
    }
    added
}

type Added = Vec<(Key, Value)>;

fn pipecat(span: &Finished<'_>) -> Added {
    let fields = span.fields;
    let same = |pairs: &[(Key, Key)]| -> Added {
        pairs.iter().filter_map(|(key, ours)| Some((*key, fields.get(*ours)?.clone()))).collect()
    };
    let said = |pairs: &[(Key, Slot)]| -> Added {
        pairs.iter().filter_map(|(key, slot)| Some((*key, span.said(*slot)?.to_owned().into()))).collect()
    };
    let first = mapping::time_to_first_chunk(span.kind).unwrap_or(TIME_TO_FIRST_BYTE);
    match span.kind {
        Kind::Conversation => {
            [same(&[(PIPECAT_CONVERSATION, CONVERSATION_ID)]), vec![(PIPECAT_CONVERSATION_TYPE, "voice".into())]]
                .concat()
        }
        Kind::Turn => {
            let mut turn = same(&[
                (PIPECAT_CONVERSATION, CONVERSATION_ID),
                (PIPECAT_NUMBER, TURN_NUMBER),
                (PIPECAT_TURN_LATENCY, USER_TO_AGENT_LATENCY),
            ]);
            turn.push((PIPECAT_TURN_TYPE, "conversation".into()));
            turn.push((PIPECAT_TURN_DURATION, span.duration.into()));
            turn.push((PIPECAT_TURN_INTERRUPTED, (fields.get(INTERRUPTED) == Some(&Value::Bool(true))).into()));
            if fields.text(END_REASON) == Some("session_closed") {
                turn.push((PIPECAT_TURN_HUNG_UP, true.into()));
            }
            turn
        }
        Kind::Stt => [
            said(&[(PIPECAT_TRANSCRIPT, Slot::Transcript)]),
            same(&[
                (PIPECAT_IS_FINAL, TRANSCRIPT_FINAL),
                (PIPECAT_SPOKEN_LANGUAGE, LANGUAGE),
                (PIPECAT_USER, USER_ID),
                (PIPECAT_VAD_ENABLED, VAD),
                (PIPECAT_TTFB, first),
            ]),
            span.used.audio.map(|seconds| (PIPECAT_AUDIO_SECONDS, seconds.into())).into_iter().collect(),
        ]
        .concat(),
        Kind::Llm | Kind::Realtime => [
            said(&[
                (PIPECAT_INPUT, Slot::Input),
                (PIPECAT_OUTPUT, Slot::Output),
                (PIPECAT_TOOLS, Slot::Tools),
                (PIPECAT_TRANSCRIPT, Slot::Heard),
            ]),
            same(&[(PIPECAT_STREAM, REQUEST_STREAM), (PIPECAT_TOOLS_COUNTED, TOOL_COUNT), (PIPECAT_TTFB, first)]),
        ]
        .concat(),
        Kind::Tts => {
            let interrupted = fields.get(INTERRUPTED) == Some(&Value::Bool(true));
            [
                said(&[(PIPECAT_TEXT, Slot::Spoken)]),
                same(&[(PIPECAT_VOICE_ID, VOICE_NAME), (PIPECAT_TTFB, first)]),
                span.used.characters.map(|count| (PIPECAT_CHARACTER_COUNT, count.into())).into_iter().collect(),
                interrupted.then(|| (PIPECAT_TTS_INTERRUPTED, true.into())).into_iter().collect(),
            ]
            .concat()
        }
        // Pipecat has no such spans.
        Kind::Tool | Kind::Agent | Kind::Workflow | Kind::Step | Kind::Embeddings | Kind::Retrieval => Vec::new(),
    }
}

fn openinference(span: &Finished<'_>) -> Added {
    let span_kind = match span.kind {
        Kind::Llm | Kind::Stt | Kind::Tts | Kind::Realtime => "LLM",
        Kind::Turn | Kind::Agent => "AGENT",
        Kind::Tool => "TOOL",
        Kind::Retrieval => "RETRIEVER",
        Kind::Embeddings => "EMBEDDING",
        Kind::Conversation | Kind::Workflow | Kind::Step => "CHAIN",
    };
    let mut added: Added = vec![(OI_SPAN_KIND, span_kind.into())];
    for (key, ours) in [(OI_MODEL_NAME, REQUEST_MODEL), (OI_PROVIDER, PROVIDER_NAME)] {
        added.extend(span.fields.get(ours).map(|value| (key, value.clone())));
    }
    let counts = [
        (OI_COUNT_PROMPT, USAGE_INPUT_TOKENS),
        (OI_COUNT_COMPLETION, USAGE_OUTPUT_TOKENS),
        (OI_COUNT_CACHE_READ, USAGE_CACHE_READ_INPUT_TOKENS),
        (OI_COUNT_CACHE_WRITE, USAGE_CACHE_WRITE_INPUT_TOKENS),
        (OI_COUNT_AUDIO_PROMPT, USAGE_AUDIO_INPUT_TOKENS),
        (OI_COUNT_REASONING, USAGE_REASONING_OUTPUT_TOKENS),
        (OI_COUNT_AUDIO_COMPLETION, USAGE_AUDIO_OUTPUT_TOKENS),
    ];
    added.extend(counts.into_iter().filter_map(|(key, ours)| Some((key, span.added_up(ours)?.into()))));
    added.extend(span.used.cost.map(|cost| (OI_COST_TOTAL, cost.into())));
    if let (Some(input), Some(output)) = (span.added_up(USAGE_INPUT_TOKENS), span.added_up(USAGE_OUTPUT_TOKENS)) {
        added.push((OI_COUNT_TOTAL, input.saturating_add(output).into()));
    }
    if span.fields.get(SESSION_ID).is_none() {
        added.extend(span.fields.get(CONVERSATION_ID).map(|id| (SESSION_ID, id.clone())));
    }
    let inputs = [Slot::Input, Slot::Spoken, Slot::Heard, Slot::Arguments, Slot::Inputs];
    let outputs = [Slot::Output, Slot::Transcript, Slot::Result, Slot::State];
    for (slots, words, value, mime_type) in [
        (inputs.as_slice(), span.words.input(), OI_INPUT_VALUE, OI_INPUT_MIME_TYPE),
        (outputs.as_slice(), span.words.output(), OI_OUTPUT_VALUE, OI_OUTPUT_MIME_TYPE),
    ] {
        let Some(said) = slots.iter().find_map(|slot| span.said(*slot)).or(words) else { continue };
        let is_json = Json::parse(said).is_some();
        added.push((value, said.to_owned().into()));
        added.push((mime_type, if is_json { "application/json" } else { "text/plain" }.into()));
    }
    if let Some(answer) = unfinished_answer(span.fields) {
        added.push((OI_OUTPUT_ROLE, "assistant".into()));
        added.push((OI_OUTPUT_CONTENT, answer.into()));
    }
    added
}

/// The text of an answer whose message does not say why it ended. The conventions want that no more, but Phoenix reads only
/// messages that have it.
fn unfinished_answer(fields: &Fields) -> Option<String> {
    let messages = Json::parse(fields.text(OUTPUT_MESSAGES)?)?;
    let message = messages.as_list()?.first().filter(|message| message.get("finish_reason").is_none())?;
    text_of(message)
}

fn langfuse(span: &Finished<'_>) -> Added {
    let observation_type = match span.kind {
        Kind::Llm | Kind::Stt | Kind::Tts | Kind::Realtime => "generation",
        Kind::Turn | Kind::Agent => "agent",
        Kind::Tool => "tool",
        Kind::Retrieval => "retriever",
        Kind::Embeddings => "embedding",
        Kind::Conversation | Kind::Workflow | Kind::Step => "chain",
    };
    let fields = span.fields;
    let mut added: Added = vec![(LANGFUSE_OBSERVATION_TYPE, observation_type.into())];
    added.extend(span.first_chunk.clone().map(|at| (LANGFUSE_COMPLETION_START_TIME, at.into())));
    added.extend(usage_details(span).map(|usage| (LANGFUSE_USAGE_DETAILS, usage.into())));
    if let Some(cost) = span.used.cost {
        added.push((LANGFUSE_COST_DETAILS, format!("{{\"total\":{cost}}}").into()));
    }
    let session = fields.get(SESSION_ID).or_else(|| fields.get(CONVERSATION_ID));
    added.extend(session.map(|id| (LANGFUSE_SESSION, id.clone())));
    added.extend(fields.get(USER_ID).map(|id| (LANGFUSE_USER, id.clone())));
    let trace_name = match span.kind {
        Kind::Conversation => Some(fields.text(AGENT_NAME).unwrap_or("conversation")),
        Kind::Workflow => Some(fields.text(WORKFLOW_NAME).unwrap_or("workflow")),
        Kind::Turn
        | Kind::Stt
        | Kind::Llm
        | Kind::Tts
        | Kind::Tool
        | Kind::Agent
        | Kind::Step
        | Kind::Embeddings
        | Kind::Retrieval
        | Kind::Realtime => None,
    };
    added.extend(trace_name.filter(|_| span.is_root).map(|name| (LANGFUSE_TRACE_NAME, name.to_owned().into())));
    added
}

/// MLflow adds up the costs of a trace, but for spans below one that has a cost: as our totals do.
fn mlflow(span: &Finished<'_>) -> Added {
    let Some(cost) = span.used.cost else { return Vec::new() };
    // It is read as JSON. All three must be there; which part was the input's nobody knows.
    let cost = format!("{{\"input_cost\":0.0,\"output_cost\":0.0,\"total_cost\":{cost}}}");
    vec![(MLFLOW_COST, cost.into())]
}

/// Tokens by type. Langfuse adds the types up, so what was read from a cache, or was audio, is not in `input` as well. It reads
/// none of an `invoke_agent`.
fn usage_details(span: &Finished<'_>) -> Option<String> {
    let (input, output) = (span.added_up(USAGE_INPUT_TOKENS), span.added_up(USAGE_OUTPUT_TOKENS));
    let is_agents = span.repeats() && span.fields.text(OPERATION_NAME) == Some("invoke_agent");
    if is_agents || (input.is_none() && output.is_none()) {
        return None;
    }
    let parts_of_input = [
        ("input_cache_read", span.count(USAGE_CACHE_READ_INPUT_TOKENS)),
        ("input_cache_creation", span.count(USAGE_CACHE_WRITE_INPUT_TOKENS)),
        ("input_audio_tokens", span.count(USAGE_AUDIO_INPUT_TOKENS)),
    ];
    let parts_of_output = [
        ("output_reasoning_tokens", span.count(USAGE_REASONING_OUTPUT_TOKENS)),
        ("output_audio_tokens", span.count(USAGE_AUDIO_OUTPUT_TOKENS)),
    ];
    let rest = |whole: Option<i64>, parts: &[(&str, Option<i64>)]| {
        let parts: i64 = parts.iter().filter_map(|(_, part)| *part).fold(0, i64::saturating_add);
        whole.map(|whole| whole.saturating_sub(parts).max(0))
    };
    let total = input.unwrap_or_default().saturating_add(output.unwrap_or_default());
    let mut details = vec![("input", rest(input, &parts_of_input)), ("output", rest(output, &parts_of_output))];
    details.extend(parts_of_input);
    details.extend(parts_of_output);
    details.push(("total", Some(total)));
    let count = |(name, count): (&str, Option<i64>)| Some((name.to_owned(), Json::Number(count?.into())));
    Some(Json::Object(details.into_iter().filter_map(count).collect()).to_compact())
}

impl Finished<'_> {
    /// Whether other spans say what it used: those below it, or the call that it is an attempt at.
    fn repeats(&self) -> bool {
        Totals::of(self.fields, false).is_usage() && !self.used.is_usage()
    }

    /// A count of tokens that it used and no other span says.
    fn count(&self, key: Key) -> Option<i64> {
        if self.repeats() {
            return None;
        }
        if key == USAGE_INPUT_TOKENS {
            return self.used.input_tokens;
        }
        if key == USAGE_OUTPUT_TOKENS {
            return self.used.output_tokens;
        }
        self.parts.map_or_else(|| self.reported(key), |parts| parts.get(key)).filter(|count| *count > 0)
    }

    /// The same for backends that read the conventions' count where there is none of theirs, and add it up once more: what
    /// other spans say is zero here.
    fn added_up(&self, key: Key) -> Option<i64> {
        if self.repeats() { self.reported(key).map(|_| 0) } else { self.count(key) }
    }

    fn reported(&self, key: Key) -> Option<i64> {
        match self.fields.get(key) {
            Some(Value::I64(count)) => Some(*count),
            _ => None,
        }
    }

    fn said(&self, slot: Slot) -> Option<&str> {
        self.said.iter().find(|(known, _)| *known == slot).map(|(_, text)| text.as_str())
    }
}
