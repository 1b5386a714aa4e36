//! What do others call the facts that the read model knows?
//!
//! Each constant is one fact and the attributes that hold it, ours first; the first one that a span has counts. The names
//! below `lk.` are LiveKit Agents', `metrics.` and `turn.` Pipecat's, `llm.` OpenInference's.

use crate::semconv;

/// The attributes that hold one fact.
pub(super) type Names = &'static [&'static str];

pub(super) const OPERATION: &str = semconv::OPERATION_NAME.name();
pub(super) const OUTPUT_TYPE: &str = semconv::OUTPUT_TYPE.name();

pub(super) const CONVERSATION_ID: Names = &[semconv::CONVERSATION_ID.name(), semconv::PIPECAT_CONVERSATION.name()];
pub(super) const SESSION_ID: Names = &[semconv::SESSION_ID.name(), semconv::LANGFUSE_SESSION.name()];
pub(super) const USER_ID: Names = &[semconv::USER_ID.name(), semconv::LANGFUSE_USER.name()];
pub(super) const AGENT: Names = &[semconv::AGENT_NAME.name(), "lk.agent_name", "lk.agent_label"];

pub(super) const PROVIDER: Names = &[semconv::PROVIDER_NAME.name(), "gen_ai.system", semconv::OI_PROVIDER.name()];
pub(super) const MODEL: Names = &[semconv::REQUEST_MODEL.name(), semconv::OI_MODEL_NAME.name()];
pub(super) const RESPONSE_MODEL: Names = &[semconv::RESPONSE_MODEL.name()];
pub(super) const TOOL: Names = &[semconv::TOOL_NAME.name(), "lk.function_tool.name"];
pub(super) const STEP: Names = &[semconv::STEP_NAME.name()];
pub(super) const WORKFLOW: Names = &[semconv::WORKFLOW_NAME.name()];
pub(super) const DATA_SOURCE: Names = &[semconv::DATA_SOURCE_ID.name()];
pub(super) const FINISH_REASONS: Names = &[semconv::RESPONSE_FINISH_REASONS.name()];
pub(super) const ATTEMPT: Names = &[semconv::ATTEMPT.name()];
/// How often LiveKit tried before.
pub(super) const RETRIES: Names = &["lk.retry_count"];

/// Seconds from the call's start to its first token or byte.
pub(super) const TIME_TO_FIRST: Names = &[
    semconv::RESPONSE_TIME_TO_FIRST_CHUNK.name(),
    semconv::TIME_TO_FIRST_BYTE.name(),
    "lk.response.ttft",
    "lk.response.ttfb",
];
/// The same by Pipecat, which writes it also where no byte came; for speech to text it begins at the end of the speech.
pub(super) const PIPECAT_TTFB: Names = &[semconv::PIPECAT_TTFB.name()];

pub(super) const INPUT_TOKENS: Names =
    &[semconv::USAGE_INPUT_TOKENS.name(), "gen_ai.usage.prompt_tokens", semconv::OI_COUNT_PROMPT.name()];
pub(super) const OUTPUT_TOKENS: Names =
    &[semconv::USAGE_OUTPUT_TOKENS.name(), "gen_ai.usage.completion_tokens", semconv::OI_COUNT_COMPLETION.name()];
pub(super) const CACHE_READ: Names = &[
    semconv::USAGE_CACHE_READ_INPUT_TOKENS.name(),
    "gen_ai.usage.input_cached_tokens",
    semconv::OI_COUNT_CACHE_READ.name(),
];
pub(super) const CACHE_WRITE: Names = &[
    semconv::USAGE_CACHE_WRITE_INPUT_TOKENS.name(),
    "gen_ai.usage.cache_creation.input_tokens",
    semconv::OI_COUNT_CACHE_WRITE.name(),
];
pub(super) const REASONING: Names =
    &[semconv::USAGE_REASONING_OUTPUT_TOKENS.name(), semconv::OI_COUNT_REASONING.name()];
pub(super) const CHARACTERS: Names = &[semconv::CHARACTERS.name(), semconv::PIPECAT_CHARACTER_COUNT.name()];
pub(super) const AUDIO: Names = &[semconv::AUDIO_DURATION.name(), semconv::PIPECAT_AUDIO_SECONDS.name()];
pub(super) const COST: Names = &[semconv::COST.name(), semconv::OI_COST_TOTAL.name(), semconv::MLFLOW_COST.name()];

pub(super) const TOTAL_INPUT_TOKENS: Names = &[semconv::TOTAL_INPUT_TOKENS.name()];
pub(super) const TOTAL_OUTPUT_TOKENS: Names = &[semconv::TOTAL_OUTPUT_TOKENS.name()];
pub(super) const TOTAL_CHARACTERS: Names = &[semconv::TOTAL_CHARACTERS.name()];
pub(super) const TOTAL_AUDIO: Names = &[semconv::TOTAL_AUDIO_DURATION.name()];
pub(super) const TOTAL_COST: Names = &[semconv::TOTAL_COST.name()];

pub(super) const TURN_NUMBER: Names = &[semconv::TURN_NUMBER.name(), semconv::PIPECAT_NUMBER.name()];
pub(super) const END_REASON: Names = &[semconv::END_REASON.name()];
pub(super) const INTERRUPTED: Names = &[
    semconv::INTERRUPTED.name(),
    semconv::PIPECAT_TURN_INTERRUPTED.name(),
    semconv::PIPECAT_TTS_INTERRUPTED.name(),
    "lk.interrupted",
];
/// Pipecat's word for an interrupted turn, which it says of a hang-up too.
pub(super) const PIPECAT_INTERRUPTED: Names = &[semconv::PIPECAT_TURN_INTERRUPTED.name()];
pub(super) const PIPECAT_HUNG_UP: Names = &[semconv::PIPECAT_TURN_HUNG_UP.name()];
/// Seconds of Pipecat's turn, without the timer that its span waits for.
pub(super) const PIPECAT_TURN_DURATION: Names = &[semconv::PIPECAT_TURN_DURATION.name()];
pub(super) const INTERRUPTION_SOURCE: Names = &[semconv::INTERRUPTION_SOURCE.name(), "lk.interruption.source"];
pub(super) const PLAYOUT_POSITION: Names = &[semconv::PLAYOUT_POSITION.name(), "lk.playout.position"];
pub(super) const SPEECH_ID: Names = &["lk.speech_id"];
pub(super) const EOU_OUTCOME: Names = &["lk.eou.outcome"];

pub(super) const LATENCY: Names =
    &[semconv::USER_TO_AGENT_LATENCY.name(), semconv::PIPECAT_TURN_LATENCY.name(), "lk.e2e_latency"];
pub(super) const GREETING_LATENCY: Names = &["voice.greeting_latency"];
/// The parts of the latency by their last word.
pub(super) const LATENCY_PART: &str = "voice.latency.";

pub(super) const ERROR_TYPE: Names = &[semconv::ERROR_TYPE.name()];
/// LiveKit's word for a tool that failed: its span's status stays unset.
pub(super) const TOOL_FAILED: Names = &["lk.function_tool.is_error"];
pub(super) const EXCEPTION: &str = semconv::EXCEPTION;
pub(super) const EXCEPTION_TYPE: &str = "exception.type";
pub(super) const EXCEPTION_MESSAGE: &str = semconv::EXCEPTION_MESSAGE;

/// The moments that a turn's span events tell.
pub(super) const USER_STARTED: &str = "voice.user.started_speaking";
pub(super) const USER_STOPPED: &str = "voice.user.stopped_speaking";
pub(super) const AGENT_STARTED: &str = "voice.agent.started_speaking";
pub(super) const AGENT_STOPPED: &str = "voice.agent.stopped_speaking";
pub(super) const WAS_INTERRUPTED: &str = semconv::INTERRUPTED.name();
pub(super) const RETRACTED: &str = "voice.interruption.retracted";

/// JSON of messages.
pub(super) const INPUT_MESSAGES: Names = &[semconv::INPUT_MESSAGES.name()];
pub(super) const OUTPUT_MESSAGES: Names = &[semconv::OUTPUT_MESSAGES.name()];
/// What the user said, as a text.
pub(super) const HEARD_TEXT: Names =
    &[semconv::PIPECAT_TRANSCRIPT.name(), "lk.pii.user_transcript", "lk.pii.user_input"];
/// What the agent says, as a text.
pub(super) const SPOKEN_TEXT: Names = &[semconv::PIPECAT_TEXT.name(), "lk.pii.input_text"];
/// What a model answered, as a text.
pub(super) const ANSWER_TEXT: Names =
    &[semconv::PIPECAT_OUTPUT.name(), "lk.pii.response.text", semconv::OI_OUTPUT_VALUE.name()];
pub(super) const TOOL_ARGUMENTS: Names = &[semconv::TOOL_CALL_ARGUMENTS.name(), "lk.pii.function_tool.arguments"];
pub(super) const TOOL_RESULT: Names = &[semconv::TOOL_CALL_RESULT.name(), "lk.pii.function_tool.output"];
