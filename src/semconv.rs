//! What are the attributes called?
//!
//! The names of the OpenTelemetry GenAI semantic conventions at `semantic-conventions-genai` revision
//! 06ec68e722c45a7218e23ea1bc1339fe4e21ecae (October 2026; all of status Development), the stable names of core
//! semantic conventions 1.44, and ours below `voice.` for what neither has. The crate
//! `opentelemetry-semantic-conventions` 0.33 marks every `GEN_AI_*` constant as deprecated ("moved"), so they stand here.
//!
//! A constant is its attribute without the prefix.

pub(crate) const OPERATION_NAME: &str = "gen_ai.operation.name";
pub(crate) const PROVIDER_NAME: &str = "gen_ai.provider.name";
pub(crate) const OUTPUT_TYPE: &str = "gen_ai.output.type";
pub(crate) const CONVERSATION_ID: &str = "gen_ai.conversation.id";
pub(crate) const WORKFLOW_NAME: &str = "gen_ai.workflow.name";
pub(crate) const DATA_SOURCE_ID: &str = "gen_ai.data_source.id";
pub(crate) const RETRIEVAL_TOP_K: &str = "gen_ai.retrieval.top_k";
pub(crate) const PROMPT_NAME: &str = "gen_ai.prompt.name";
pub(crate) const PROMPT_VERSION: &str = "gen_ai.prompt.version";

pub(crate) const AGENT_NAME: &str = "gen_ai.agent.name";
pub(crate) const AGENT_ID: &str = "gen_ai.agent.id";
pub(crate) const AGENT_VERSION: &str = "gen_ai.agent.version";
pub(crate) const AGENT_DESCRIPTION: &str = "gen_ai.agent.description";

pub(crate) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(crate) const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
pub(crate) const REQUEST_TOP_P: &str = "gen_ai.request.top_p";
pub(crate) const REQUEST_TOP_K: &str = "gen_ai.request.top_k";
pub(crate) const REQUEST_FREQUENCY_PENALTY: &str = "gen_ai.request.frequency_penalty";
pub(crate) const REQUEST_PRESENCE_PENALTY: &str = "gen_ai.request.presence_penalty";
pub(crate) const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
pub(crate) const REQUEST_SEED: &str = "gen_ai.request.seed";
pub(crate) const REQUEST_CHOICE_COUNT: &str = "gen_ai.request.choice.count";
pub(crate) const REQUEST_STOP_SEQUENCES: &str = "gen_ai.request.stop_sequences";
pub(crate) const REQUEST_STREAM: &str = "gen_ai.request.stream";
pub(crate) const REQUEST_REASONING_LEVEL: &str = "gen_ai.request.reasoning.level";

pub(crate) const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(crate) const RESPONSE_ID: &str = "gen_ai.response.id";
pub(crate) const RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
pub(crate) const RESPONSE_TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";

pub(crate) const USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub(crate) const USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub(crate) const USAGE_CACHE_READ_INPUT_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
pub(crate) const USAGE_CACHE_WRITE_INPUT_TOKENS: &str = "gen_ai.usage.cache_write.input_tokens";
pub(crate) const USAGE_REASONING_OUTPUT_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";
pub(crate) const USAGE_AUDIO_INPUT_TOKENS: &str = "gen_ai.usage.audio.input_tokens";
pub(crate) const USAGE_AUDIO_OUTPUT_TOKENS: &str = "gen_ai.usage.audio.output_tokens";
pub(crate) const USAGE_AUDIO_CACHE_READ_INPUT_TOKENS: &str = "gen_ai.usage.audio.cache_read.input_tokens";

pub(crate) const TOOL_NAME: &str = "gen_ai.tool.name";
pub(crate) const TOOL_TYPE: &str = "gen_ai.tool.type";
pub(crate) const TOOL_CALL_ID: &str = "gen_ai.tool.call.id";
pub(crate) const TOOL_DESCRIPTION: &str = "gen_ai.tool.description";

pub(crate) const SESSION_ID: &str = "session.id";
pub(crate) const USER_ID: &str = "user.id";
pub(crate) const SERVER_ADDRESS: &str = "server.address";
pub(crate) const SERVER_PORT: &str = "server.port";
pub(crate) const ERROR_TYPE: &str = "error.type";

/// The span event that an evaluation is, and its attributes.
pub(crate) const EVALUATION_RESULT: &str = "gen_ai.evaluation.result";
pub(crate) const EVALUATION_NAME: &str = "gen_ai.evaluation.name";
pub(crate) const EVALUATION_SCORE_VALUE: &str = "gen_ai.evaluation.score.value";
pub(crate) const EVALUATION_SCORE_LABEL: &str = "gen_ai.evaluation.score.label";
pub(crate) const EVALUATION_EXPLANATION: &str = "gen_ai.evaluation.explanation";

/// `error.type` of a failure that has no better name (core conventions).
pub(crate) const ERROR_TYPE_OTHER: &str = "_OTHER";

pub(crate) const TIME_TO_FIRST_BYTE: &str = "voice.time_to_first_byte";
pub(crate) const VOICE_NAME: &str = "voice.name";
pub(crate) const LANGUAGE: &str = "voice.language";
pub(crate) const TRANSCRIPT_CONFIDENCE: &str = "voice.transcript.confidence";
pub(crate) const TRANSCRIPT_FINAL: &str = "voice.transcript.final";
pub(crate) const VAD: &str = "voice.vad";
pub(crate) const AUDIO_DURATION: &str = "voice.audio.duration";
pub(crate) const CHARACTERS: &str = "voice.characters";
pub(crate) const TURN_NUMBER: &str = "voice.turn.number";
pub(crate) const INTERRUPTED: &str = "voice.interrupted";
pub(crate) const INTERRUPTION_SOURCE: &str = "voice.interruption.source";
pub(crate) const END_REASON: &str = "voice.end_reason";
pub(crate) const PLAYOUT_POSITION: &str = "voice.playout.position";
pub(crate) const REQUEST_ID: &str = "voice.request.id";
pub(crate) const ATTEMPT: &str = "voice.attempt";
pub(crate) const COST: &str = "voice.cost";
pub(crate) const STEP_NAME: &str = "voice.step.name";
pub(crate) const STEP_SEQUENCE: &str = "voice.step.sequence";
pub(crate) const WORKFLOW_ID: &str = "voice.workflow.id";
pub(crate) const WORKFLOW_PARTITION: &str = "voice.workflow.partition";
pub(crate) const TOTAL_INPUT_TOKENS: &str = "voice.usage.input_tokens";
pub(crate) const TOTAL_OUTPUT_TOKENS: &str = "voice.usage.output_tokens";
pub(crate) const TOTAL_CHARACTERS: &str = "voice.usage.characters";
pub(crate) const TOTAL_AUDIO_DURATION: &str = "voice.usage.audio_duration";
pub(crate) const TURN_COUNT: &str = "voice.turn.count";
pub(crate) const INTERRUPTION_COUNT: &str = "voice.interruption.count";
pub(crate) const ERROR_COUNT: &str = "voice.error.count";
pub(crate) const USER_TO_AGENT_LATENCY: &str = "voice.user_to_agent_latency";
pub(crate) const LATENCY_TRANSCRIPTION: &str = "voice.latency.transcription";
pub(crate) const LATENCY_TURN_DETECTION: &str = "voice.latency.turn_detection";
pub(crate) const LATENCY_LLM: &str = "voice.latency.llm";
pub(crate) const LATENCY_TOOL: &str = "voice.latency.tool";
pub(crate) const LATENCY_AGGREGATION: &str = "voice.latency.aggregation";
pub(crate) const LATENCY_SYNTHESIS: &str = "voice.latency.synthesis";
pub(crate) const LATENCY_PLAYOUT: &str = "voice.latency.playout";
pub(crate) const TOOL_COUNT: &str = "voice.tool.count";
pub(crate) const INCOMPLETE: &str = "voice.incomplete";

/// `error.type` of a span in which the program panicked.
pub(crate) const ERROR_TYPE_PANIC: &str = "panic";

/// A span event's level and target, as tracing-opentelemetry names them.
pub(crate) const EVENT_LEVEL: &str = "level";
pub(crate) const EVENT_TARGET: &str = "target";

/// Attributes that samplers look at: on the span from its start, where the SDK can't replace them.
pub(crate) fn is_sampler_key(key: &str) -> bool {
    matches!(
        key,
        OPERATION_NAME
            | PROVIDER_NAME
            | REQUEST_MODEL
            | AGENT_NAME
            | TOOL_NAME
            | CONVERSATION_ID
            | SESSION_ID
            | USER_ID
            | SERVER_ADDRESS
            | SERVER_PORT
    )
}

/// Attributes that an exported name may hold.
pub(crate) fn is_in_name(key: &str) -> bool {
    matches!(key, OPERATION_NAME | REQUEST_MODEL | TOOL_NAME | AGENT_NAME | WORKFLOW_NAME | STEP_NAME | DATA_SOURCE_ID)
}

/// Attributes that every span below takes over, unless it says otherwise itself.
pub(crate) fn is_inherited(key: &str) -> bool {
    matches!(key, CONVERSATION_ID | SESSION_ID | USER_ID | AGENT_NAME | WORKFLOW_ID | WORKFLOW_PARTITION | TURN_NUMBER)
}

/// Whether the conventions own this name, so that a value of the wrong type can't be kept under it.
pub(crate) fn is_standard(key: &str) -> bool {
    key.starts_with("gen_ai.") || key.starts_with("server.") || matches!(key, ERROR_TYPE | SESSION_ID | USER_ID)
}
