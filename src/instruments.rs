//! Which instruments are there, and which values does a span give them?
//!
//! Those of the conventions, and those that a voice program needs besides.

use std::sync::OnceLock;

use opentelemetry::metrics::{
    BoundCounter, BoundHistogram, Counter, Histogram, HistogramBuilder, Meter, UpDownCounter,
};
use opentelemetry::{KeyValue, Value};

use crate::fields::Fields;
use crate::kind::Kind;
use crate::mapping;
use crate::semconv::{
    AGENT_NAME, AUDIO_DURATION, CHARACTERS, COST, END_REASON, ERROR_TYPE, INTERRUPTED, Key, LATENCY_PART,
    METRIC_CLIENT_INFERENCE_DURATION, METRIC_CLIENT_INFERENCE_TIME_TO_FIRST_CHUNK,
    METRIC_CLIENT_INFERENCE_USAGE_CACHE_READ_INPUT_TOKENS, METRIC_CLIENT_INFERENCE_USAGE_CACHE_WRITE_INPUT_TOKENS,
    METRIC_CLIENT_INFERENCE_USAGE_INPUT_TOKENS, METRIC_CLIENT_INFERENCE_USAGE_OUTPUT_TOKENS,
    METRIC_CLIENT_INFERENCE_USAGE_REASONING_OUTPUT_TOKENS, METRIC_CLIENT_OPERATION_DURATION,
    METRIC_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK, METRIC_CLIENT_TOKEN_USAGE, METRIC_CONVERSATIONS_ACTIVE,
    METRIC_EXECUTE_TOOL_DURATION, METRIC_INTERRUPTIONS, METRIC_INVOKE_AGENT_DURATION, METRIC_INVOKE_WORKFLOW_DURATION,
    METRIC_LATENCY_DURATION, METRIC_TURN_DURATION, METRIC_TURNS, OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL,
    RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT, TIME_TO_FIRST_BYTE, TOKEN_MODALITY, TOKEN_TYPE, TOOL_NAME, TOOL_TYPE,
    USAGE_AUDIO_CACHE_READ_INPUT_TOKENS, USAGE_AUDIO_INPUT_TOKENS, USAGE_AUDIO_OUTPUT_TOKENS,
    USAGE_CACHE_READ_INPUT_TOKENS, USAGE_CACHE_WRITE_INPUT_TOKENS, USAGE_INPUT_TOKENS, USAGE_OUTPUT_TOKENS,
    USAGE_REASONING_OUTPUT_TOKENS, USER_TO_AGENT_LATENCY, WORKFLOW_NAME,
};
use crate::totals::{Parts, Totals};
use crate::turn::Part;

/// Attributes of a call's instruments; what differs most comes first.
const CALL: &[Key] =
    &[REQUEST_MODEL, PROVIDER_NAME, OPERATION_NAME, RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE];

/// Those of what was counted in its answer.
const ANSWER: &[Key] = &[OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL, RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT];

/// Attributes of what a call used.
const SERVICE: &[Key] = &[OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL];

/// What a user chose.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) meter: Meter,
    /// The newest names for llm and realtime calls.
    pub(crate) latest: bool,
    /// Attributes that all instruments have besides.
    pub(crate) more: Vec<Key>,
    /// Values of one attribute that are told apart.
    pub(crate) max_names: usize,
}

/// A span that ends.
#[derive(Debug)]
pub(crate) struct Measured<'a> {
    pub(crate) kind: Kind,
    pub(crate) fields: &'a Fields,
    pub(crate) error_type: Option<Value>,
    /// Seconds.
    pub(crate) duration: f64,
    /// What it used, in its attempts if it doesn't say.
    pub(crate) used: Totals,
    /// Which tokens its attempts used, if it doesn't say what it used.
    pub(crate) parts: Option<&'a Parts>,
}

/// The attributes that tell the spans of a kind apart.
pub(crate) fn keys(kind: Kind) -> &'static [Key] {
    match kind {
        Kind::Stt | Kind::Llm | Kind::Tts | Kind::Embeddings | Kind::Retrieval | Kind::Realtime => CALL,
        Kind::Turn => &[AGENT_NAME, END_REASON],
        Kind::Agent => &[AGENT_NAME, ERROR_TYPE],
        Kind::Tool => &[TOOL_NAME, TOOL_TYPE, ERROR_TYPE],
        Kind::Workflow => &[WORKFLOW_NAME, ERROR_TYPE],
        Kind::Conversation | Kind::Step => &[],
    }
}

/// Every instrument.
pub(crate) struct Instruments {
    operation: Histogram<f64>,
    inference: Histogram<f64>,
    tokens: Histogram<u64>,
    operation_first_chunk: Histogram<f64>,
    inference_first_chunk: Histogram<f64>,
    /// Where the count is, and where the part of it that is audio.
    usage: [(Key, Option<Key>, Counter<u64>); 5],
    agent: Histogram<f64>,
    tool: Histogram<f64>,
    workflow: Histogram<f64>,
    turn: Histogram<f64>,
    latency: Histogram<f64>,
    latency_parts: Histogram<f64>,
    first_byte: Histogram<f64>,
    audio: Counter<f64>,
    characters: Counter<u64>,
    cost: Counter<f64>,
    turns: Counter<u64>,
    interruptions: Counter<u64>,
    pub(crate) conversations: UpDownCounter<i64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let seconds = |name: Key, bounds: &[f64], what: &'static str| {
            let builder: HistogramBuilder<'_, Histogram<f64>> = meter.f64_histogram(name.name());
            builder.with_unit("s").with_description(what).with_boundaries(bounds.to_vec()).build()
        };
        let usage = |name: Key, what: &'static str| {
            meter.u64_counter(name.name()).with_unit("{token}").with_description(what).build()
        };
        let token_bounds = doubled(1.0, 4.0);
        Self {
            operation: seconds(METRIC_CLIENT_OPERATION_DURATION, &doubled(0.01, 2.0), "Duration of calls"),
            inference: seconds(METRIC_CLIENT_INFERENCE_DURATION, &doubled(0.01, 2.0), "Duration of model calls"),
            tokens: meter
                .u64_histogram(METRIC_CLIENT_TOKEN_USAGE.name())
                .with_unit("{token}")
                .with_description("Tokens that calls used")
                .with_boundaries(token_bounds)
                .build(),
            operation_first_chunk: seconds(
                METRIC_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK,
                &doubled(0.01, 2.0),
                "Time to a model's first token",
            ),
            inference_first_chunk: seconds(
                METRIC_CLIENT_INFERENCE_TIME_TO_FIRST_CHUNK,
                &doubled(0.01, 2.0),
                "Time to a model's first token",
            ),
            usage: [
                (
                    USAGE_INPUT_TOKENS,
                    Some(USAGE_AUDIO_INPUT_TOKENS),
                    usage(METRIC_CLIENT_INFERENCE_USAGE_INPUT_TOKENS, "Input tokens"),
                ),
                (
                    USAGE_OUTPUT_TOKENS,
                    Some(USAGE_AUDIO_OUTPUT_TOKENS),
                    usage(METRIC_CLIENT_INFERENCE_USAGE_OUTPUT_TOKENS, "Output tokens"),
                ),
                (
                    USAGE_CACHE_READ_INPUT_TOKENS,
                    Some(USAGE_AUDIO_CACHE_READ_INPUT_TOKENS),
                    usage(METRIC_CLIENT_INFERENCE_USAGE_CACHE_READ_INPUT_TOKENS, "Input tokens out of a cache"),
                ),
                (
                    USAGE_CACHE_WRITE_INPUT_TOKENS,
                    None,
                    usage(METRIC_CLIENT_INFERENCE_USAGE_CACHE_WRITE_INPUT_TOKENS, "Input tokens into a cache"),
                ),
                (
                    USAGE_REASONING_OUTPUT_TOKENS,
                    None,
                    usage(METRIC_CLIENT_INFERENCE_USAGE_REASONING_OUTPUT_TOKENS, "Output tokens of reasoning"),
                ),
            ],
            agent: seconds(METRIC_INVOKE_AGENT_DURATION, &doubled(0.1, 2.0), "Duration of agent runs"),
            tool: seconds(METRIC_EXECUTE_TOOL_DURATION, &doubled(0.01, 2.0), "Duration of tool calls"),
            workflow: seconds(METRIC_INVOKE_WORKFLOW_DURATION, WORKFLOW_SECONDS, "Duration of workflow runs"),
            turn: seconds(METRIC_TURN_DURATION, &doubled(0.1, 2.0), "Duration of turns"),
            latency: seconds(
                USER_TO_AGENT_LATENCY,
                &doubled(0.01, 2.0),
                "Time from the user's stop to the agent's start",
            ),
            latency_parts: seconds(
                METRIC_LATENCY_DURATION,
                &doubled(0.01, 2.0),
                "What the time from the user's stop to the agent's start went into",
            ),
            first_byte: seconds(TIME_TO_FIRST_BYTE, &doubled(0.01, 2.0), "Time to the first transcript or audio"),
            audio: meter
                .f64_counter(AUDIO_DURATION.name())
                .with_unit("s")
                .with_description("Audio heard and spoken")
                .build(),
            characters: meter
                .u64_counter(CHARACTERS.name())
                .with_unit("{character}")
                .with_description("Characters spoken")
                .build(),
            cost: meter.f64_counter(COST.name()).with_unit("{USD}").with_description("Cost of calls").build(),
            turns: meter.u64_counter(METRIC_TURNS.name()).with_unit("{turn}").with_description("Turns").build(),
            interruptions: meter
                .u64_counter(METRIC_INTERRUPTIONS.name())
                .with_unit("{interruption}")
                .with_description("Turns that were interrupted")
                .build(),
            conversations: meter
                .i64_up_down_counter(METRIC_CONVERSATIONS_ACTIVE.name())
                .with_unit("{conversation}")
                .with_description("Conversations that are open")
                .build(),
        }
    }
}

const WORKFLOW_SECONDS: &[f64] = &[1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0];

/// The conventions' bounds: 14 times this much more each time, 13 from a tenth.
fn doubled(first: f64, by: f64) -> Vec<f64> {
    let count = if (first - 0.1).abs() < f64::EPSILON { 13 } else { 14 };
    // Rounded, for 0.01 is no sum of halves.
    std::iter::successors(Some(first), |bound| Some((bound * by * 100.0).round() / 100.0)).take(count).collect()
}

/// A histogram with one set of attributes, bound when there is a first value: one that is bound exports a point.
pub(crate) struct Distribution<T> {
    instrument: Histogram<T>,
    attributes: Vec<KeyValue>,
    bound: OnceLock<BoundHistogram<T>>,
}

impl<T: Clone> Distribution<T> {
    fn of(instrument: &Histogram<T>, attributes: Vec<KeyValue>) -> Self {
        Self { instrument: instrument.clone(), attributes, bound: OnceLock::new() }
    }

    fn record(&self, value: T) {
        self.bound.get_or_init(|| self.instrument.bind(&self.attributes)).record(value);
    }
}

/// A counter with one set of attributes, likewise.
struct Sum<T> {
    instrument: Counter<T>,
    attributes: Vec<KeyValue>,
    bound: OnceLock<BoundCounter<T>>,
}

impl<T: Clone> Sum<T> {
    fn of(instrument: &Counter<T>, attributes: Vec<KeyValue>) -> Self {
        Self { instrument: instrument.clone(), attributes, bound: OnceLock::new() }
    }

    fn add(&self, value: T) {
        self.bound.get_or_init(|| self.instrument.bind(&self.attributes)).add(value);
    }
}

/// The instruments of one kind, with one set of attributes.
pub(crate) enum Bound {
    Call(Box<BoundCall>),
    Turn(Box<BoundTurn>),
    /// A duration is all there is.
    Run(Distribution<f64>),
}

pub(crate) struct BoundCall {
    duration: Distribution<f64>,
    first_chunk: Option<Distribution<f64>>,
    first_byte: Option<Distribution<f64>>,
    tokens: Option<[(Key, Distribution<u64>); 2]>,
    usage: Vec<Usage>,
    audio: Sum<f64>,
    characters: Sum<u64>,
    cost: Sum<f64>,
}

/// One of the newest counters of tokens.
struct Usage {
    /// Where the count is.
    key: Key,
    /// Where the part of it is that is audio.
    audio_key: Option<Key>,
    unknown: Sum<u64>,
    text: Sum<u64>,
    audio: Sum<u64>,
}

pub(crate) struct BoundTurn {
    duration: Distribution<f64>,
    latency: Distribution<f64>,
    parts: [(Key, Distribution<f64>); Part::ALL.len()],
    turns: Sum<u64>,
    interruptions: Sum<u64>,
}

impl Bound {
    pub(crate) fn new(instruments: &Instruments, choice: &Choice, kind: Kind, attributes: &[KeyValue]) -> Self {
        match kind {
            Kind::Turn => Self::Turn(Box::new(BoundTurn::new(instruments, choice, attributes))),
            Kind::Agent => Self::Run(Distribution::of(&instruments.agent, attributes.to_vec())),
            Kind::Tool => Self::Run(Distribution::of(&instruments.tool, attributes.to_vec())),
            Kind::Workflow | Kind::Conversation | Kind::Step => {
                Self::Run(Distribution::of(&instruments.workflow, attributes.to_vec()))
            }
            Kind::Stt | Kind::Llm | Kind::Tts | Kind::Embeddings | Kind::Retrieval | Kind::Realtime => {
                Self::Call(Box::new(BoundCall::new(instruments, choice, kind, attributes)))
            }
        }
    }

    pub(crate) fn record(&self, span: &Measured<'_>) {
        match self {
            Self::Run(duration) => duration.record(span.duration),
            Self::Call(call) => call.record(span),
            Self::Turn(turn) => turn.record(span),
        }
    }
}

impl BoundCall {
    fn new(instruments: &Instruments, choice: &Choice, kind: Kind, attributes: &[KeyValue]) -> Self {
        let service = with_only(attributes, SERVICE, &choice.more);
        let is_chat = matches!(kind, Kind::Llm | Kind::Realtime);
        let latest = choice.latest && is_chat;
        let duration = if latest { &instruments.inference } else { &instruments.operation };
        let first_chunk = if latest { &instruments.inference_first_chunk } else { &instruments.operation_first_chunk };
        let tokens =
            |token_type: &'static str| Distribution::of(&instruments.tokens, and(attributes, TOKEN_TYPE, token_type));
        let has_tokens = !latest && matches!(kind, Kind::Llm | Kind::Realtime | Kind::Embeddings);
        let usage = |(key, audio_key, counter): &(Key, Option<Key>, Counter<u64>)| {
            let without_error: Vec<KeyValue> = with_only(attributes, ANSWER, &choice.more);
            let bound = |modality: &'static str| Sum::of(counter, and(&without_error, TOKEN_MODALITY, modality));
            Usage {
                key: *key,
                audio_key: *audio_key,
                unknown: bound("unknown"),
                text: bound("text"),
                audio: bound("audio"),
            }
        };
        Self {
            duration: Distribution::of(duration, attributes.to_vec()),
            first_chunk: is_chat.then(|| Distribution::of(first_chunk, attributes.to_vec())),
            first_byte: matches!(kind, Kind::Stt | Kind::Tts)
                .then(|| Distribution::of(&instruments.first_byte, service.clone())),
            tokens: has_tokens
                .then(|| [(USAGE_INPUT_TOKENS, tokens("input")), (USAGE_OUTPUT_TOKENS, tokens("output"))]),
            usage: if latest { instruments.usage.iter().map(usage).collect() } else { Vec::new() },
            audio: Sum::of(&instruments.audio, service.clone()),
            characters: Sum::of(&instruments.characters, service.clone()),
            cost: Sum::of(&instruments.cost, service.clone()),
        }
    }

    fn record(&self, span: &Measured<'_>) {
        self.duration.record(span.duration);
        let first = mapping::time_to_first_chunk(span.kind).and_then(|key| span.seconds(key));
        if let (Some(first), Some(histogram)) = (first, self.first_chunk.as_ref().or(self.first_byte.as_ref())) {
            histogram.record(first);
        }
        for (key, histogram) in self.tokens.iter().flatten() {
            if let Some(count) = span.count(*key) {
                histogram.record(count);
            }
        }
        for usage in &self.usage {
            usage.record(span);
        }
        if let Some(seconds) = span.used.audio {
            self.audio.add(seconds);
        }
        if let Some(count) = span.count(CHARACTERS) {
            self.characters.add(count);
        }
        if let Some(cost) = span.used.cost {
            self.cost.add(cost);
        }
    }
}

impl Usage {
    fn record(&self, span: &Measured<'_>) {
        let Some(count) = span.count(self.key) else { return };
        let is_whole = self.key == USAGE_INPUT_TOKENS || self.key == USAGE_OUTPUT_TOKENS;
        if count == 0 && !is_whole {
            return;
        }
        match self.audio_key.and_then(|key| span.count(key)) {
            Some(audio) => {
                let text = count.saturating_sub(audio);
                if audio > 0 {
                    self.audio.add(audio);
                }
                if text > 0 || audio == 0 {
                    self.text.add(text);
                }
            }
            None => self.unknown.add(count),
        }
    }
}

impl BoundTurn {
    fn new(instruments: &Instruments, choice: &Choice, attributes: &[KeyValue]) -> Self {
        let reason = with_only(attributes, &[END_REASON], &choice.more);
        let agent = with_only(attributes, &[AGENT_NAME], &choice.more);
        let part = |part: Part| {
            (part.key(), Distribution::of(&instruments.latency_parts, and(&agent, LATENCY_PART, part.name())))
        };
        Self {
            duration: Distribution::of(&instruments.turn, attributes.to_vec()),
            latency: Distribution::of(&instruments.latency, attributes.to_vec()),
            parts: Part::ALL.map(part),
            turns: Sum::of(&instruments.turns, reason.clone()),
            interruptions: Sum::of(&instruments.interruptions, reason.clone()),
        }
    }

    fn record(&self, span: &Measured<'_>) {
        self.duration.record(span.duration);
        self.turns.add(1);
        if span.fields.get(INTERRUPTED) == Some(&Value::Bool(true)) {
            self.interruptions.add(1);
        }
        if let Some(latency) = span.seconds(USER_TO_AGENT_LATENCY) {
            self.latency.record(latency);
        }
        for (key, histogram) in &self.parts {
            if let Some(seconds) = span.seconds(*key) {
                histogram.record(seconds);
            }
        }
    }
}

impl Measured<'_> {
    fn seconds(&self, key: Key) -> Option<f64> {
        match self.fields.get(key) {
            Some(Value::F64(seconds)) => Some(*seconds),
            _ => None,
        }
    }

    fn count(&self, key: Key) -> Option<u64> {
        let count = if key == USAGE_INPUT_TOKENS {
            self.used.input_tokens
        } else if key == USAGE_OUTPUT_TOKENS {
            self.used.output_tokens
        } else if key == CHARACTERS {
            self.used.characters
        } else {
            match (self.parts, self.fields.get(key)) {
                (Some(parts), _) => parts.get(key),
                (None, Some(Value::I64(count))) => Some(*count),
                (None, _) => None,
            }
        };
        // One of more than 32 bits is no count of anything, and a few of 63 are more than a sum can hold.
        u32::try_from(count?).ok().map(u64::from)
    }
}

/// These of the attributes, and those that the user chose.
fn with_only(attributes: &[KeyValue], keys: &[Key], more: &[Key]) -> Vec<KeyValue> {
    let is_wanted = |key: &str| keys.iter().chain(more).any(|wanted| wanted.name() == key);
    attributes.iter().filter(|attribute| is_wanted(attribute.key.as_str())).cloned().collect()
}

fn and(attributes: &[KeyValue], key: Key, value: &'static str) -> Vec<KeyValue> {
    let others = attributes.iter().filter(|attribute| attribute.key.as_str() != key.name()).cloned();
    others.chain([KeyValue::new(key, value)]).collect()
}

#[cfg(test)]
mod tests {
    use super::doubled;

    #[test]
    fn the_bounds_are_the_conventions() {
        let seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
        assert_eq!(doubled(0.01, 2.0), seconds);
        assert_eq!(doubled(0.1, 2.0).last(), Some(&409.6));
        assert_eq!(doubled(1.0, 4.0).last(), Some(&67_108_864.0));
    }
}
