//! What was counted about our own work?

use std::sync::Arc;
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
    /// Panics of a sampler, a span processor or an exporter that were caught, and of the `Debug` of a value with which a
    /// span opened; the program did not see them.
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
    /// Services that hang on their conversation, or are roots, because another thread was still starting the span of the turn
    /// that speaking events had made for them. They count as that turn's in everything else.
    pub services_beside_turn: u64,
    /// What became of the spans that [`Telemetry`](crate::Telemetry) sends over OTLP; all zero where it sends none.
    pub otlp: Exports,
    /// What became of the spans that [`Telemetry`](crate::Telemetry) prints; all zero where it prints none.
    pub console: Exports,
    /// How often [`Telemetry`](crate::Telemetry) sent its metrics over OTLP and a receiver took them.
    pub metrics_exported: u64,
    /// How often it sent them in vain. Metrics that are cumulative, as they are by default, are in the next export again.
    pub metrics_failed: u64,
}

impl Stats {
    /// Spans that are open now.
    #[must_use]
    pub fn spans_open(&self) -> u64 {
        self.spans_opened.saturating_sub(self.spans_closed)
    }
}

/// Values that were refused, by the reason why. A refused value is kept under its field's own name, unless that is a
/// name of the conventions, which then would be wrong, or only known fields may leave.
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
    /// Fields that neither the README's tables nor the program's options name, of spans, events and links, where
    /// [`GenAi::with_only_known_fields`](crate::GenAi::with_only_known_fields) lets only those leave.
    pub unknown: u64,
}

impl Refused {
    /// All refused values.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.wrong_type + self.out_of_range + self.already_given + self.too_late + self.unknown
    }
}

/// What became of the sampled spans that ended, on their way through one exporter. Each of them is exported, dropped or
/// still [queued](Self::queued), at any time and to the span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exports {
    /// Spans that ended, the layer's and those that the program made with
    /// [`Telemetry::tracer_provider`](crate::Telemetry::tracer_provider).
    pub ended: u64,
    /// Spans that the exporter took over: a receiver said that it has them, or the console printed them. What a receiver
    /// takes and rejects in part counts as taken; `opentelemetry-otlp` has a line in the program's log for it.
    pub exported: u64,
    /// Spans that are lost.
    pub dropped: Dropped,
}

impl Exports {
    /// Spans that wait, or are being sent. After a shutdown that ran out of time they are as good as lost.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.ended.saturating_sub(self.exported + self.dropped.total())
    }
}

/// Spans that were lost on their way through an exporter, by the reason why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// As many as the queue holds were waiting already: the receiver is too slow, or does not answer.
    pub queue_full: u64,
    /// The exporter gave up: the receiver is not there, refused them, or did not answer in time. Where only its answer was
    /// late, it has them all the same.
    pub export_failed: u64,
    /// They ended after the shutdown.
    pub after_shutdown: u64,
}

impl Dropped {
    /// All lost spans.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.queue_full + self.export_failed + self.after_shutdown
    }
}

/// Counts what becomes of the spans of one exporter.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    ended: AtomicU64,
    exported: AtomicU64,
    queue_full: AtomicU64,
    export_failed: AtomicU64,
    after_shutdown: AtomicU64,
}

impl Tally {
    pub(crate) fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Ordering::Release);
    }

    pub(crate) fn dropped(&self, why: Loss, spans: u64) {
        let counter = match why {
            Loss::QueueFull => &self.queue_full,
            Loss::ExportFailed => &self.export_failed,
            Loss::AfterShutdown => &self.after_shutdown,
        };
        counter.fetch_add(spans, Ordering::Release);
    }

    /// Spans that came as far as the exporter.
    pub(crate) fn settled(&self) -> u64 {
        self.exported.load(Ordering::Acquire) + self.export_failed.load(Ordering::Acquire)
    }

    /// What is true at one moment, unless more spans leave all the while than can be counted.
    pub(crate) fn exports(&self) -> Exports {
        let (mut exported, mut dropped) = self.left();
        // What left before is read first, so that none is counted out that was not counted in.
        let mut ended = self.ended.load(Ordering::Acquire);
        for _ in 0..100 {
            let left = self.left();
            if left == (exported, dropped) {
                break;
            }
            (exported, dropped) = left;
            ended = self.ended.load(Ordering::Acquire);
        }
        Exports { ended, exported, dropped }
    }

    fn left(&self) -> (u64, Dropped) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let dropped = Dropped {
            queue_full: read(&self.queue_full),
            export_failed: read(&self.export_failed),
            after_shutdown: read(&self.after_shutdown),
        };
        (read(&self.exported), dropped)
    }
}

/// Counts exports of metrics, by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Attempts {
    pub(crate) fn succeeded(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many came through, how many did not.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.succeeded.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// Why a span is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    QueueFull,
    ExportFailed,
    AfterShutdown,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    wrong_type: AtomicU64,
    out_of_range: AtomicU64,
    already_given: AtomicU64,
    too_late: AtomicU64,
    unknown: AtomicU64,
    panics: AtomicU64,
    redactions_failed: AtomicU64,
    without_price: AtomicU64,
    names: AtomicU64,
    over_limit: AtomicU64,
    evicted: AtomicU64,
    beside_turn: AtomicU64,
    pub(crate) otlp: Arc<Tally>,
    pub(crate) console: Arc<Tally>,
    pub(crate) metrics: Arc<Attempts>,
}

impl Counters {
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Whoever sees a span closed has to see that it was open.
    pub(crate) fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn refused(&self, why: Refusal) {
        let counter = match why {
            Refusal::WrongType => &self.wrong_type,
            Refusal::OutOfRange => &self.out_of_range,
            Refusal::AlreadyGiven => &self.already_given,
            Refusal::TooLate => &self.too_late,
            Refusal::Unknown => &self.unknown,
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

    pub(crate) fn beside_turn(&self) {
        self.beside_turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether none of our spans is open.
    pub(crate) fn none_is_open(&self) -> bool {
        let closed = self.closed.load(Ordering::Acquire);
        closed == self.opened.load(Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // `closed` first: a span that closes in between is then open in neither reading.
        let spans_closed = self.closed.load(Ordering::Acquire);
        let (metrics_exported, metrics_failed) = self.metrics.read();
        Stats {
            spans_opened: read(&self.opened),
            spans_closed,
            refused: Refused {
                wrong_type: read(&self.wrong_type),
                out_of_range: read(&self.out_of_range),
                already_given: read(&self.already_given),
                too_late: read(&self.too_late),
                unknown: read(&self.unknown),
            },
            panics_caught: read(&self.panics),
            redactions_failed: read(&self.redactions_failed),
            calls_without_price: read(&self.without_price),
            names_over_limit: read(&self.names),
            conversations_over_limit: read(&self.over_limit),
            conversations_evicted: read(&self.evicted),
            services_beside_turn: read(&self.beside_turn),
            otlp: self.otlp.exports(),
            console: self.console.exports(),
            metrics_exported,
            metrics_failed,
        }
    }
}
