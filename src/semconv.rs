//! What are the attributes called?
//!
//! The names of the OpenTelemetry GenAI semantic conventions at `semantic-conventions-genai` revision
//! 06ec68e722c45a7218e23ea1bc1339fe4e21ecae (October 2026; all of status Development), the stable names of core
//! semantic conventions 1.44, and ours below `voice.` for what neither has. The crate
//! `opentelemetry-semantic-conventions` 0.33 marks every `GEN_AI_*` constant as deprecated ("moved"), so they stand here.
//!
//! A constant is its attribute without the prefix.

use std::fmt;

/// What an attribute may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Names, numbers, ids: never what people said.
    Plain,
    /// What people said, or may have said: exported only when content is on.
    Content,
}

/// The name of an attribute. Two are compared by their place in the table below, and only those that are not in it by
/// their text.
#[derive(Debug, Clone, Copy, Eq)]
pub(crate) struct Key {
    name: &'static str,
    place: u8,
}

/// The place of a name that is not in the table.
const NO_PLACE: u8 = u8::MAX;

impl Key {
    /// The attribute of this name.
    pub(crate) fn of(name: &'static str) -> Self {
        let place = CLASSES.iter().position(|(known, _)| *known == name);
        Self { name, place: place.and_then(|place| u8::try_from(place).ok()).unwrap_or(NO_PLACE) }
    }

    #[inline]
    pub(crate) const fn name(self) -> &'static str {
        self.name
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && (self.place != NO_PLACE || self.name == other.name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl From<Key> for opentelemetry::Key {
    fn from(key: Key) -> Self {
        Self::from_static_str(key.name)
    }
}

/// Some of the table's first 128 attributes: all but the dialects' and the instruments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Keys([u64; 2]);

impl Keys {
    /// A key that can be in no set does not compile in a constant.
    #[expect(clippy::indexing_slicing, reason = "for constants: it is the compiler that would panic")]
    pub(crate) const fn of(keys: &[Key]) -> Self {
        let mut words = [0; 2];
        let mut rest = keys;
        while let [first, others @ ..] = rest {
            words[first.word()] |= first.bit();
            rest = others;
        }
        Self(words)
    }

    #[inline]
    pub(crate) fn has(&self, key: Key) -> bool {
        self.0.get(key.word()).is_some_and(|word| word & key.bit() != 0)
    }

    /// Whether a set of everything that there is would have it.
    #[inline]
    pub(crate) fn can_have(key: Key) -> bool {
        key.word() < 2
    }

    #[inline]
    pub(crate) fn insert(&mut self, key: Key) {
        if let Some(word) = self.0.get_mut(key.word()) {
            *word |= key.bit();
        }
    }

    pub(crate) fn remove(&mut self, key: Key) {
        if let Some(word) = self.0.get_mut(key.word()) {
            *word &= !key.bit();
        }
    }

    /// Whether any key is in both.
    #[inline]
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(one, other)| one & other != 0)
    }
}

impl Key {
    #[inline]
    const fn word(self) -> usize {
        self.place as usize / 64
    }

    #[inline]
    const fn bit(self) -> u64 {
        1 << (self.place % 64)
    }
}

/// Attribute names, each with its class: one without does not compile.
macro_rules! attributes {
    ($($(#[$doc:meta])* $class:ident $name:ident = $key:literal;)+) => {
        /// Where each is in the table.
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "each is called as its constant")]
        enum Place {
            $($name),+
        }

        $($(#[$doc])* pub(crate) const $name: Key = Key { name: $key, place: Place::$name as u8 };)+

        /// All of them, with their class.
        pub(crate) const CLASSES: &[(&str, Class)] = &[$(($key, Class::$class)),+];
    };
}
attributes! {
    Plain OPERATION_NAME = "gen_ai.operation.name";
    Plain PROVIDER_NAME = "gen_ai.provider.name";
    Plain OUTPUT_TYPE = "gen_ai.output.type";
    Plain CONVERSATION_ID = "gen_ai.conversation.id";
    Plain WORKFLOW_NAME = "gen_ai.workflow.name";
    Plain DATA_SOURCE_ID = "gen_ai.data_source.id";
    Plain RETRIEVAL_TOP_K = "gen_ai.retrieval.top_k";
    Plain PROMPT_NAME = "gen_ai.prompt.name";
    Plain PROMPT_VERSION = "gen_ai.prompt.version";

    Plain AGENT_NAME = "gen_ai.agent.name";
    Plain AGENT_ID = "gen_ai.agent.id";
    Plain AGENT_VERSION = "gen_ai.agent.version";
    Plain AGENT_DESCRIPTION = "gen_ai.agent.description";

    Plain REQUEST_MODEL = "gen_ai.request.model";
    Plain REQUEST_TEMPERATURE = "gen_ai.request.temperature";
    Plain REQUEST_TOP_P = "gen_ai.request.top_p";
    Plain REQUEST_TOP_K = "gen_ai.request.top_k";
    Plain REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty";
    Plain REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty";
    Plain REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens";
    Plain REQUEST_SEED = "gen_ai.request.seed";
    Plain REQUEST_CHOICE_COUNT = "gen_ai.request.choice.count";
    Plain REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences";
    Plain REQUEST_STREAM = "gen_ai.request.stream";
    Plain REQUEST_REASONING_LEVEL = "gen_ai.request.reasoning.level";
    Plain REQUEST_ENCODING_FORMATS = "gen_ai.request.encoding_formats";

    Plain RESPONSE_MODEL = "gen_ai.response.model";
    Plain RESPONSE_ID = "gen_ai.response.id";
    Plain RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons";
    Plain RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk";

    Plain USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens";
    /// Held until the close, which makes the input of it: not exported.
    Plain USAGE_UNCACHED_INPUT_TOKENS = "voice.usage.uncached_input_tokens";
    Plain USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens";
    Plain USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens";
    Plain USAGE_CACHE_WRITE_INPUT_TOKENS = "gen_ai.usage.cache_write.input_tokens";
    Plain USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.usage.reasoning.output_tokens";
    Plain USAGE_TOOL_USE_PROMPT_TOKENS = "gen_ai.usage.tool_use_prompt_tokens";
    Plain USAGE_AUDIO_INPUT_TOKENS = "gen_ai.usage.audio.input_tokens";
    Plain USAGE_AUDIO_OUTPUT_TOKENS = "gen_ai.usage.audio.output_tokens";
    Plain USAGE_AUDIO_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.audio.cache_read.input_tokens";

    Plain TOOL_NAME = "gen_ai.tool.name";
    Plain TOOL_TYPE = "gen_ai.tool.type";
    Plain TOOL_CALL_ID = "gen_ai.tool.call.id";
    Plain TOOL_DESCRIPTION = "gen_ai.tool.description";

    Plain SESSION_ID = "session.id";
    Plain USER_ID = "user.id";
    Plain SERVER_ADDRESS = "server.address";
    Plain SERVER_PORT = "server.port";
    Plain ERROR_TYPE = "error.type";

    /// The span event that an evaluation is, and its attributes.
    Plain EVALUATION_RESULT = "gen_ai.evaluation.result";
    Plain EVALUATION_NAME = "gen_ai.evaluation.name";
    Plain EVALUATION_SCORE_VALUE = "gen_ai.evaluation.score.value";
    Plain EVALUATION_SCORE_LABEL = "gen_ai.evaluation.score.label";
    Plain EVALUATION_EXPLANATION = "gen_ai.evaluation.explanation";

    Plain TIME_TO_FIRST_BYTE = "voice.time_to_first_byte";
    Plain VOICE_NAME = "voice.name";
    Plain LANGUAGE = "voice.language";
    Plain TRANSCRIPT_CONFIDENCE = "voice.transcript.confidence";
    Plain TRANSCRIPT_FINAL = "voice.transcript.final";
    Plain VAD = "voice.vad";
    Plain AUDIO_DURATION = "voice.audio.duration";
    Plain CHARACTERS = "voice.characters";
    Plain TURN_NUMBER = "voice.turn.number";
    Plain INTERRUPTED = "voice.interrupted";
    Plain INTERRUPTION_SOURCE = "voice.interruption.source";
    Plain END_REASON = "voice.end_reason";
    Plain PLAYOUT_POSITION = "voice.playout.position";
    Plain REQUEST_ID = "voice.request.id";
    Plain ATTEMPT = "voice.attempt";
    Plain COST = "voice.cost";
    Plain STEP_NAME = "voice.step.name";
    Plain STEP_SEQUENCE = "voice.step.sequence";
    Plain WORKFLOW_ID = "voice.workflow.id";
    Plain WORKFLOW_PARTITION = "voice.workflow.partition";
    Plain TOTAL_INPUT_TOKENS = "voice.usage.input_tokens";
    Plain TOTAL_OUTPUT_TOKENS = "voice.usage.output_tokens";
    Plain TOTAL_CHARACTERS = "voice.usage.characters";
    Plain TOTAL_AUDIO_DURATION = "voice.usage.audio_duration";
    Plain TURN_COUNT = "voice.turn.count";
    Plain INTERRUPTION_COUNT = "voice.interruption.count";
    Plain ERROR_COUNT = "voice.error.count";
    Plain USER_TO_AGENT_LATENCY = "voice.user_to_agent_latency";
    Plain GREETING_LATENCY = "voice.greeting_latency";
    Plain LATENCY_ENDPOINTING = "voice.latency.endpointing";
    Plain LATENCY_TRANSCRIPTION = "voice.latency.transcription";
    Plain LATENCY_TURN_DETECTION = "voice.latency.turn_detection";
    Plain LATENCY_LLM = "voice.latency.llm";
    Plain LATENCY_TOOL_CALL = "voice.latency.tool_call";
    Plain LATENCY_TOOL = "voice.latency.tool";
    Plain LATENCY_AGGREGATION = "voice.latency.aggregation";
    Plain LATENCY_SYNTHESIS = "voice.latency.synthesis";
    Plain LATENCY_PLAYOUT = "voice.latency.playout";
    Plain TOTAL_COST = "voice.usage.cost";
    Plain TOOL_COUNT = "voice.tool.count";
    /// Attributes of metrics only.
    Plain LATENCY_PART = "voice.latency.part";
    Plain TOKEN_TYPE = "gen_ai.token.type";
    Plain TOKEN_MODALITY = "gen_ai.token.modality";
    Plain INCOMPLETE = "voice.incomplete";

    /// A span event's level and target, as tracing-opentelemetry names them.
    Plain EVENT_LEVEL = "level";
    Plain EVENT_TARGET = "target";

    Content INPUT_MESSAGES = "gen_ai.input.messages";
    Content OUTPUT_MESSAGES = "gen_ai.output.messages";
    Content SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions";
    Content TOOL_DEFINITIONS = "gen_ai.tool.definitions";
    Content TOOL_CALL_ARGUMENTS = "gen_ai.tool.call.arguments";
    Content TOOL_CALL_RESULT = "gen_ai.tool.call.result";
    Content STEP_STATE = "voice.step.state";
    Content STEP_INPUTS = "voice.step.inputs";

    // Pipecat, a dialect.
    Plain PIPECAT_CONVERSATION = "conversation.id";
    Plain PIPECAT_CONVERSATION_TYPE = "conversation.type";
    Plain PIPECAT_NUMBER = "turn.number";
    Plain PIPECAT_TURN_TYPE = "turn.type";
    Plain PIPECAT_TURN_DURATION = "turn.duration_seconds";
    Plain PIPECAT_TURN_INTERRUPTED = "turn.was_interrupted";
    Plain PIPECAT_TURN_LATENCY = "turn.user_bot_latency_seconds";
    Plain PIPECAT_TURN_HUNG_UP = "turn.ended_by_conversation_end";
    Plain PIPECAT_IS_FINAL = "is_final";
    Plain PIPECAT_SPOKEN_LANGUAGE = "language";
    Plain PIPECAT_USER = "user_id";
    Plain PIPECAT_VAD_ENABLED = "vad_enabled";
    Plain PIPECAT_TTFB = "metrics.ttfb";
    Plain PIPECAT_AUDIO_SECONDS = "metrics.audio_seconds";
    Plain PIPECAT_VOICE_ID = "voice_id";
    Plain PIPECAT_CHARACTER_COUNT = "metrics.character_count";
    Plain PIPECAT_TTS_INTERRUPTED = "tts.interrupted";
    Plain PIPECAT_STREAM = "stream";
    Plain PIPECAT_TOOLS_COUNTED = "tool_count";
    Content PIPECAT_TRANSCRIPT = "transcript";
    Content PIPECAT_TEXT = "text";
    Content PIPECAT_INPUT = "input";
    Content PIPECAT_OUTPUT = "output";
    Content PIPECAT_TOOLS = "tools";

    // OpenInference, a dialect.
    Plain OI_SPAN_KIND = "openinference.span.kind";
    Plain OI_MODEL_NAME = "llm.model_name";
    Plain OI_PROVIDER = "llm.provider";
    Plain OI_COUNT_PROMPT = "llm.token_count.prompt";
    Plain OI_COUNT_COMPLETION = "llm.token_count.completion";
    Plain OI_COUNT_TOTAL = "llm.token_count.total";
    Plain OI_COUNT_CACHE_READ = "llm.token_count.prompt_details.cache_read";
    Plain OI_COUNT_CACHE_WRITE = "llm.token_count.prompt_details.cache_write";
    Plain OI_COUNT_AUDIO_PROMPT = "llm.token_count.prompt_details.audio";
    Plain OI_COUNT_REASONING = "llm.token_count.completion_details.reasoning";
    Plain OI_COUNT_AUDIO_COMPLETION = "llm.token_count.completion_details.audio";
    Plain OI_COST_TOTAL = "llm.cost.total";
    Plain OI_INPUT_MIME_TYPE = "input.mime_type";
    Plain OI_OUTPUT_MIME_TYPE = "output.mime_type";
    Content OI_INPUT_VALUE = "input.value";
    Content OI_OUTPUT_VALUE = "output.value";
    Content OI_OUTPUT_ROLE = "llm.output_messages.0.message.role";
    Content OI_OUTPUT_CONTENT = "llm.output_messages.0.message.content";

    // Langfuse, a dialect.
    Plain LANGFUSE_OBSERVATION_TYPE = "langfuse.observation.type";
    Plain LANGFUSE_COMPLETION_START_TIME = "langfuse.observation.completion_start_time";
    Plain LANGFUSE_USAGE_DETAILS = "langfuse.observation.usage_details";
    Plain LANGFUSE_COST_DETAILS = "langfuse.observation.cost_details";
    Plain LANGFUSE_SESSION = "langfuse.session.id";
    Plain LANGFUSE_USER = "langfuse.user.id";
    Plain LANGFUSE_TRACE_NAME = "langfuse.trace.name";

    // MLflow, a dialect.
    Plain MLFLOW_COST = "mlflow.llm.cost";

    // Span events. An interruption is called as its attribute.
    Plain USER_STARTED_SPEAKING = "voice.user.started_speaking";
    Plain USER_STOPPED_SPEAKING = "voice.user.stopped_speaking";
    Plain AGENT_STARTED_SPEAKING = "voice.agent.started_speaking";
    Plain AGENT_STOPPED_SPEAKING = "voice.agent.stopped_speaking";
    Plain INTERRUPTION_RETRACTED = "voice.interruption.retracted";

    // Instruments. Those that are called as an attribute are not here again.
    Plain METRIC_CLIENT_OPERATION_DURATION = "gen_ai.client.operation.duration";
    Plain METRIC_CLIENT_INFERENCE_DURATION = "gen_ai.client.inference.duration";
    Plain METRIC_CLIENT_TOKEN_USAGE = "gen_ai.client.token.usage";
    Plain METRIC_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk";
    Plain METRIC_CLIENT_INFERENCE_TIME_TO_FIRST_CHUNK = "gen_ai.client.inference.time_to_first_chunk";
    Plain METRIC_CLIENT_INFERENCE_USAGE_INPUT_TOKENS = "gen_ai.client.inference.usage.input_tokens";
    Plain METRIC_CLIENT_INFERENCE_USAGE_OUTPUT_TOKENS = "gen_ai.client.inference.usage.output_tokens";
    Plain METRIC_CLIENT_INFERENCE_USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.client.inference.usage.cache_read.input_tokens";
    Plain METRIC_CLIENT_INFERENCE_USAGE_CACHE_WRITE_INPUT_TOKENS = "gen_ai.client.inference.usage.cache_write.input_tokens";
    Plain METRIC_CLIENT_INFERENCE_USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.client.inference.usage.reasoning.output_tokens";
    Plain METRIC_INVOKE_AGENT_DURATION = "gen_ai.invoke_agent.duration";
    Plain METRIC_EXECUTE_TOOL_DURATION = "gen_ai.execute_tool.duration";
    Plain METRIC_INVOKE_WORKFLOW_DURATION = "gen_ai.invoke_workflow.duration";
    Plain METRIC_TURN_DURATION = "voice.turn.duration";
    Plain METRIC_LATENCY_DURATION = "voice.latency.duration";
    Plain METRIC_TURNS = "voice.turns";
    Plain METRIC_INTERRUPTIONS = "voice.interruptions";
    Plain METRIC_CONVERSATIONS_ACTIVE = "voice.conversations.active";
}

/// `error.type` of a failure that has no better name (core conventions).
pub(crate) const ERROR_TYPE_OTHER: &str = "_OTHER";

/// `error.type` of a span in which the program panicked.
pub(crate) const ERROR_TYPE_PANIC: &str = "panic";

/// Attributes that samplers look at: on the span from its start, where the SDK can't replace them.
pub(crate) const SAMPLED: Keys = Keys::of(&[
    OPERATION_NAME,
    PROVIDER_NAME,
    REQUEST_MODEL,
    AGENT_NAME,
    TOOL_NAME,
    CONVERSATION_ID,
    SESSION_ID,
    USER_ID,
    SERVER_ADDRESS,
    SERVER_PORT,
]);

/// Attributes that tell whose they are. No metric may have them: each of their values would make series of its own.
pub(crate) const IDS: Keys = Keys::of(&[CONVERSATION_ID, SESSION_ID, USER_ID]);

/// The same ids under other names: the attributes', the dialects', and those of other conventions and libraries.
pub(crate) const ID_NAMES: &[&str] = &[
    CONVERSATION_ID.name,
    SESSION_ID.name,
    USER_ID.name,
    PIPECAT_CONVERSATION.name,
    PIPECAT_USER.name,
    LANGFUSE_SESSION.name,
    LANGFUSE_USER.name,
    "ai.telemetry.metadata.sessionId",
    "ai.telemetry.metadata.userId",
    "enduser.id",
    "enduser.pseudo.id",
    "gcp.vertex.agent.session_id",
    "mlflow.trace.session",
    "mlflow.trace.user",
    "session.previous_id",
    "traceloop.association.properties.session_id",
    "traceloop.association.properties.user_id",
];

/// Attributes that an exported name may hold.
pub(crate) const IN_NAME: Keys =
    Keys::of(&[OPERATION_NAME, REQUEST_MODEL, TOOL_NAME, AGENT_NAME, WORKFLOW_NAME, STEP_NAME, DATA_SOURCE_ID]);

/// Attributes that every span below takes over, unless it says otherwise itself.
pub(crate) const INHERITED: Keys =
    Keys::of(&[CONVERSATION_ID, SESSION_ID, USER_ID, AGENT_NAME, WORKFLOW_ID, WORKFLOW_PARTITION, TURN_NUMBER]);

/// A span event that tells of an error, and the attribute of it that says which.
pub(crate) const EXCEPTION: &str = "exception";
pub(crate) const EXCEPTION_MESSAGE: &str = "exception.message";

/// The causes of an `error` that is a `dyn Error`.
pub(crate) const ERROR_CHAIN: &str = "error.chain";

/// Whether an attribute of this name holds the text of an error, or what led to it.
pub(crate) fn is_error_text(name: &str) -> bool {
    matches!(
        name,
        EXCEPTION_MESSAGE
            | "err"
            | "error.message"
            | "error.msg"
            | "error.stack"
            | "error.stacktrace"
            | "error_message"
            | "error_msg"
            | "exception"
            | "exception.stacktrace"
            | "langfuse.observation.status_message"
            | "otel.status_description"
            | "panic.backtrace"
            | "panic.payload"
    )
}

/// Whether the conventions own this name, so that a value of the wrong type can't be kept under it.
pub(crate) fn is_standard(name: &str) -> bool {
    name.starts_with("gen_ai.")
        || name.starts_with("server.")
        || [ERROR_TYPE, SESSION_ID, USER_ID].iter().any(|key| key.name == name)
}
