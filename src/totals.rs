//! What adds up?
//!
//! First the count of one call, then the sums over those of a turn and a conversation.

use opentelemetry::Value;

use crate::fields::Fields;
use crate::semconv::{
    AUDIO_DURATION, CHARACTERS, COST, ERROR_COUNT, INTERRUPTION_COUNT, Key, Keys, TOTAL_AUDIO_DURATION,
    TOTAL_CHARACTERS, TOTAL_COST, TOTAL_INPUT_TOKENS, TOTAL_OUTPUT_TOKENS, TURN_COUNT,
    USAGE_AUDIO_CACHE_READ_INPUT_TOKENS, USAGE_AUDIO_INPUT_TOKENS, USAGE_AUDIO_OUTPUT_TOKENS,
    USAGE_CACHE_READ_INPUT_TOKENS, USAGE_CACHE_WRITE_INPUT_TOKENS, USAGE_INPUT_TOKENS, USAGE_OUTPUT_TOKENS,
    USAGE_REASONING_OUTPUT_TOKENS, USAGE_UNCACHED_INPUT_TOKENS,
};

/// Settles the input tokens of a span that closes: they hold the cached ones, as the conventions ask. Anthropic counts cached
/// tokens beside its `input_tokens`, which shows where they exceed it; `uncached_input_tokens` says so outright.
pub(crate) fn settle(fields: &mut Fields) {
    const CACHING: Keys =
        Keys::of(&[USAGE_UNCACHED_INPUT_TOKENS, USAGE_CACHE_READ_INPUT_TOKENS, USAGE_CACHE_WRITE_INPUT_TOKENS]);
    if !fields.has_any(&CACHING) {
        return;
    }
    let uncached = fields.take(USAGE_UNCACHED_INPUT_TOKENS).and_then(|count| as_count(&count));
    let count = |key| fields.get(key).and_then(as_count);
    let cached = [USAGE_CACHE_READ_INPUT_TOKENS, USAGE_CACHE_WRITE_INPUT_TOKENS].into_iter().filter_map(count);
    let cached = cached.fold(0, i64::saturating_add);
    let beside = count(USAGE_INPUT_TOKENS).filter(|whole| cached > *whole);
    if let Some(uncached) = uncached.or(beside) {
        fields.replace(USAGE_INPUT_TOKENS, Value::I64(uncached.saturating_add(cached)));
    }
}

/// Leaves out the breakdowns of zero: no token of that sort is the usual case. A whole of zero stays.
pub(crate) fn leave_out_zeros(fields: &mut Fields) {
    if !fields.has_any(&const { Keys::of(&PARTS) }) {
        return;
    }
    for key in PARTS {
        if fields.get(key) == Some(&Value::I64(0)) {
            fields.take(key);
        }
    }
}

fn as_count(value: &Value) -> Option<i64> {
    match value {
        Value::I64(count) => Some(*count),
        _ => None,
    }
}

/// Sums over the services of a turn or a conversation; what nobody reported is absent, not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) input_tokens: Option<i64>,
    pub(crate) output_tokens: Option<i64>,
    pub(crate) characters: Option<i64>,
    /// Seconds.
    pub(crate) audio: Option<f64>,
    /// US dollars.
    pub(crate) cost: Option<f64>,
    /// Services that failed.
    pub(crate) errors: i64,
    /// Turns that began.
    pub(crate) turns: i64,
    /// Turns that were interrupted.
    pub(crate) interruptions: i64,
}

impl Totals {
    /// What one service used.
    pub(crate) fn of(fields: &Fields, failed: bool) -> Self {
        let count = |key| match fields.get(key) {
            Some(Value::I64(count)) => Some(*count),
            _ => None,
        };
        let amount = |key| match fields.get(key) {
            Some(Value::F64(amount)) => Some(*amount),
            _ => None,
        };
        Self {
            input_tokens: count(USAGE_INPUT_TOKENS),
            output_tokens: count(USAGE_OUTPUT_TOKENS),
            characters: count(CHARACTERS),
            audio: amount(AUDIO_DURATION),
            cost: amount(COST),
            errors: i64::from(failed),
            ..Self::default()
        }
    }

    /// What a call used that was tried several times: what it reports itself, or else the sum of its attempts. Its cost may be
    /// known from one side only. An attempt that failed is no failure of the call.
    pub(crate) fn or_of_attempts(self, attempts: &Self) -> Self {
        let cost = self.cost.or(attempts.cost);
        if self.is_usage() { Self { cost, ..self } } else { Self { errors: self.errors, cost, ..*attempts } }
    }

    /// The same, but for what was used.
    pub(crate) fn without_usage(self) -> Self {
        Self { errors: self.errors, turns: self.turns, interruptions: self.interruptions, ..Self::default() }
    }

    /// The same, but for what was used, if these say what it was.
    pub(crate) fn unless_counted(self, below: &Self) -> Self {
        if below.is_reported() { self.without_usage() } else { self }
    }

    /// Whether anybody said what was used, or what it cost.
    pub(crate) fn is_reported(&self) -> bool {
        self.is_usage() || self.cost.is_some()
    }

    /// Whether anybody said what was used.
    pub(crate) fn is_usage(&self) -> bool {
        [self.input_tokens, self.output_tokens, self.characters].iter().any(Option::is_some) || self.audio.is_some()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.input_tokens = sum(self.input_tokens, other.input_tokens, i64::saturating_add);
        self.output_tokens = sum(self.output_tokens, other.output_tokens, i64::saturating_add);
        self.characters = sum(self.characters, other.characters, i64::saturating_add);
        self.audio = sum(self.audio, other.audio, |one, other| one + other);
        self.cost = sum(self.cost, other.cost, |one, other| one + other);
        self.errors += other.errors;
        self.turns += other.turns;
        self.interruptions += other.interruptions;
    }

    /// Puts them on a turn or a conversation.
    pub(crate) fn write(&self, fields: &mut Fields) {
        let counted = |count: i64| (count > 0).then_some(count);
        for (key, count) in [
            (TOTAL_INPUT_TOKENS, self.input_tokens),
            (TOTAL_OUTPUT_TOKENS, self.output_tokens),
            (TOTAL_CHARACTERS, self.characters),
            (TURN_COUNT, counted(self.turns)),
            (INTERRUPTION_COUNT, counted(self.interruptions)),
            (ERROR_COUNT, counted(self.errors)),
        ] {
            if let Some(count) = count {
                fields.assume(key, Value::I64(count));
            }
        }
        for (key, amount) in [(TOTAL_AUDIO_DURATION, self.audio), (TOTAL_COST, self.cost)] {
            if let Some(amount) = amount {
                fields.assume(key, Value::F64(amount));
            }
        }
    }
}

/// Tokens that are counted in others, for metrics: those of the cache, of audio, of reasoning.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Parts([Option<i64>; PARTS.len()]);

const PARTS: [Key; 6] = [
    USAGE_CACHE_READ_INPUT_TOKENS,
    USAGE_CACHE_WRITE_INPUT_TOKENS,
    USAGE_REASONING_OUTPUT_TOKENS,
    USAGE_AUDIO_INPUT_TOKENS,
    USAGE_AUDIO_OUTPUT_TOKENS,
    USAGE_AUDIO_CACHE_READ_INPUT_TOKENS,
];

impl Parts {
    pub(crate) fn of(fields: &Fields) -> Self {
        Self(PARTS.map(|key| match fields.get(key) {
            Some(Value::I64(count)) => Some(*count),
            _ => None,
        }))
    }

    pub(crate) fn get(&self, wanted: Key) -> Option<i64> {
        PARTS.iter().zip(self.0).find(|(key, _)| **key == wanted)?.1
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (part, other) in self.0.iter_mut().zip(other.0) {
            *part = sum(*part, other, i64::saturating_add);
        }
    }
}

fn sum<T: Copy>(one: Option<T>, other: Option<T>, add: impl Fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(add(one, other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn what_nobody_reported_stays_absent() {
        let mut totals = Totals::default();
        totals.add(&Totals { input_tokens: Some(3), ..Totals::default() });
        totals.add(&Totals { input_tokens: Some(4), audio: Some(0.5), errors: 1, ..Totals::default() });
        assert_eq!(totals, Totals { input_tokens: Some(7), audio: Some(0.5), errors: 1, ..Totals::default() });
    }

    #[test]
    fn a_sum_does_not_overflow() {
        let mut totals = Totals { output_tokens: Some(i64::MAX), ..Totals::default() };
        totals.add(&totals.clone());
        assert_eq!(totals.output_tokens, Some(i64::MAX));
    }
}
