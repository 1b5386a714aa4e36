//! What did a call, a turn or a conversation use?

use std::time::Duration;

use super::reading::Reading;
use super::vocabulary as names;

/// What was used; what nobody reported is `None`, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// `gen_ai.usage.input_tokens`: tokens of the prompt, those read from or written to a cache among them.
    pub input_tokens: Option<u64>,
    /// `gen_ai.usage.output_tokens`: tokens of the answer, those of reasoning among them.
    pub output_tokens: Option<u64>,
    /// `gen_ai.usage.cache_read.input_tokens`: of the input tokens, how many a cache had.
    pub cache_read_tokens: Option<u64>,
    /// `gen_ai.usage.cache_write.input_tokens`: of the input tokens, how many went into a cache.
    pub cache_write_tokens: Option<u64>,
    /// `gen_ai.usage.reasoning.output_tokens`: of the output tokens, how many were reasoning.
    pub reasoning_tokens: Option<u64>,
    /// `voice.characters`: characters that were turned into speech.
    pub characters: Option<u64>,
    /// `voice.audio.duration`: how much audio was heard or made.
    pub audio: Option<Duration>,
    /// `voice.cost`: US dollars.
    pub cost: Option<f64>,
}

impl Usage {
    /// What a call says itself.
    pub(super) fn of(call: &Reading<'_>) -> Self {
        let (input, output) = (call.count(names::INPUT_TOKENS), call.count(names::OUTPUT_TOKENS));
        // LiveKit writes two zeros where a call was cut off and nothing was reported.
        let is_known = (input, output) != (Some(0), Some(0));
        Self {
            input_tokens: input.filter(|_| is_known),
            output_tokens: output.filter(|_| is_known),
            cache_read_tokens: call.count(names::CACHE_READ).filter(|count| *count > 0),
            cache_write_tokens: call.count(names::CACHE_WRITE).filter(|count| *count > 0),
            reasoning_tokens: call.count(names::REASONING).filter(|count| *count > 0),
            characters: call.count(names::CHARACTERS),
            audio: call.seconds(names::AUDIO),
            cost: call.amount(names::COST),
        }
    }

    /// The totals that the span of a turn or a conversation says itself.
    pub(super) fn totals_of(span: &Reading<'_>) -> Self {
        Self {
            input_tokens: span.count(names::TOTAL_INPUT_TOKENS),
            output_tokens: span.count(names::TOTAL_OUTPUT_TOKENS),
            characters: span.count(names::TOTAL_CHARACTERS),
            audio: span.seconds(names::TOTAL_AUDIO),
            cost: span.amount(names::TOTAL_COST),
            ..Self::default()
        }
    }

    /// The two together.
    #[must_use]
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: sum(self.input_tokens, other.input_tokens, u64::saturating_add),
            output_tokens: sum(self.output_tokens, other.output_tokens, u64::saturating_add),
            cache_read_tokens: sum(self.cache_read_tokens, other.cache_read_tokens, u64::saturating_add),
            cache_write_tokens: sum(self.cache_write_tokens, other.cache_write_tokens, u64::saturating_add),
            reasoning_tokens: sum(self.reasoning_tokens, other.reasoning_tokens, u64::saturating_add),
            characters: sum(self.characters, other.characters, u64::saturating_add),
            audio: sum(self.audio, other.audio, Duration::saturating_add),
            cost: sum(self.cost, other.cost, |one, other| one + other),
        }
    }

    /// This one, and where it says nothing the other one.
    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.or(other.input_tokens),
            output_tokens: self.output_tokens.or(other.output_tokens),
            cache_read_tokens: self.cache_read_tokens.or(other.cache_read_tokens),
            cache_write_tokens: self.cache_write_tokens.or(other.cache_write_tokens),
            reasoning_tokens: self.reasoning_tokens.or(other.reasoning_tokens),
            characters: self.characters.or(other.characters),
            audio: self.audio.or(other.audio),
            cost: self.cost.or(other.cost),
        }
    }
}

fn sum<T>(one: Option<T>, other: Option<T>, add: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(add(one, other)),
        (one, other) => one.or(other),
    }
}
