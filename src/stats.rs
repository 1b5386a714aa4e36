//! What was counted about our own work?

use std::sync::atomic::{AtomicU64, Ordering};

use crate::value::Refusal;

/// What the layers of one [`GenAi`](crate::GenAi) have done so far, readable at any time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Spans that were started, recognized or exported as they are.
    pub spans_opened: u64,
    /// Those of them that ended, by closing or by a shutdown.
    pub spans_closed: u64,
    /// Values that did not become the attribute that their field stands for.
    pub refused: Refused,
    /// Panics of a sampler, a span processor or an exporter that were caught; the program did not see them.
    pub panics_caught: u64,
    /// Texts that were left out because the function of [`GenAi::with_redaction`](crate::GenAi::with_redaction) panicked.
    pub redactions_failed: u64,
    /// Calls of models that [`GenAi::with_prices`](crate::GenAi::with_prices) has no price for.
    pub calls_without_price: u64,
    /// How often a metric said `_OTHER` for a name, because there were too many before it.
    pub names_over_limit: u64,
    /// Conversations that found no room among those that are known by their id: their spans still belong to them by
    /// ancestry. See [`GenAi::with_max_conversations`](crate::GenAi::with_max_conversations).
    pub conversations_over_limit: u64,
    /// Conversations without a span of their own that were forgotten because nothing happened in them.
    pub conversations_evicted: u64,
}

impl Stats {
    /// Spans that are open now.
    #[must_use]
    pub fn spans_open(&self) -> u64 {
        self.spans_opened.saturating_sub(self.spans_closed)
    }
}

/// Values that were refused, by the reason why. A refused value is kept under its field's own name, unless that is a
/// name of the conventions, which then would be wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Text where a number belongs, a number where a truth value belongs.
    pub wrong_type: u64,
    /// No such value exists: a negative count, a port of 70000, a broken `traceparent`, an integer beyond 64 signed bits.
    pub out_of_range: u64,
    /// A second, different value of an attribute that samplers look at. The first one stays.
    pub already_given: u64,
    /// `otel.kind`, `started_ms_ago`, `traceparent` or `tracestate` recorded after the span had opened.
    pub too_late: u64,
}

impl Refused {
    /// All refused values.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.wrong_type + self.out_of_range + self.already_given + self.too_late
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    wrong_type: AtomicU64,
    out_of_range: AtomicU64,
    already_given: AtomicU64,
    too_late: AtomicU64,
    panics: AtomicU64,
    redactions_failed: AtomicU64,
    without_price: AtomicU64,
    names: AtomicU64,
    over_limit: AtomicU64,
    evicted: AtomicU64,
}

impl Counters {
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, why: Refusal) {
        let counter = match why {
            Refusal::WrongType => &self.wrong_type,
            Refusal::OutOfRange => &self.out_of_range,
            Refusal::AlreadyGiven => &self.already_given,
            Refusal::TooLate => &self.too_late,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn redaction_failed(&self) {
        self.redactions_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn without_price(&self) {
        self.without_price.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn name_over_limit(&self) {
        self.names.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn over_limit(&self) {
        self.over_limit.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn evicted(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether none of our spans is open.
    pub(crate) fn none_is_open(&self) -> bool {
        self.closed.load(Ordering::Relaxed) == self.opened.load(Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // `closed` first: a span that closes in between is then open in neither reading.
        let spans_closed = read(&self.closed);
        Stats {
            spans_opened: read(&self.opened),
            spans_closed,
            refused: Refused {
                wrong_type: read(&self.wrong_type),
                out_of_range: read(&self.out_of_range),
                already_given: read(&self.already_given),
                too_late: read(&self.too_late),
            },
            panics_caught: read(&self.panics),
            redactions_failed: read(&self.redactions_failed),
            calls_without_price: read(&self.without_price),
            names_over_limit: read(&self.names),
            conversations_over_limit: read(&self.over_limit),
            conversations_evicted: read(&self.evicted),
        }
    }
}
