//! What can a user choose?

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::trace::Tracer;
use tracing_subscriber::filter::Targets;

use crate::core::{Core, Options, Shared, TracePer};
use crate::kind::Kind;
use crate::layer::GenAiLayer;
use crate::lifecycle;
use crate::stats::Stats;

/// The options of the layer, and where it comes from.
///
/// ```
/// use opentelemetry::trace::TracerProvider;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use tracing_genai::{GenAi, Kind};
/// use tracing_subscriber::prelude::*;
///
/// let provider = SdkTracerProvider::default();
/// let genai = GenAi::new().with_span_name("exchange", Kind::Turn).with_other_spans(true);
/// let handle = genai.handle();
/// let subscriber = tracing_subscriber::registry().with(genai.layer(provider.tracer("my-agent")));
///
/// tracing::subscriber::with_default(subscriber, || {
///     tracing::info_span!("exchange", number = 1).in_scope(|| ());
/// });
/// assert_eq!(handle.stats().spans_closed, 1);
/// ```
#[derive(Debug, Default)]
pub struct GenAi {
    options: Options,
    shared: Arc<Shared>,
}

impl GenAi {
    /// The defaults: every name of the README's first table is recognized wherever it comes from, other spans are not
    /// exported, no content is. Reads no environment variable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The defaults, changed by what the environment says. No variable changes an option yet; `OTEL_CONSOLE_EXPORT` is
    /// read by [`Telemetry::from_env`](crate::Telemetry::from_env) and [`console_from_env`](crate::console_from_env).
    #[must_use]
    pub fn from_env() -> Self {
        Self::new()
    }

    /// Recognizes spans of this name as `kind`, besides the names that are recognized anyway, or instead of what the
    /// name stands for otherwise. The last call for a name counts. By default, no names are added.
    #[must_use]
    pub fn with_span_name(mut self, name: impl Into<String>, kind: Kind) -> Self {
        self.options.names.insert(name.into(), Some(kind));
        self
    }

    /// Does not recognize spans of this name. The last call for a name counts. By default, no name is left out.
    #[must_use]
    pub fn without_span_name(mut self, name: impl Into<String>) -> Self {
        self.options.names.insert(name.into(), None);
        self
    }

    /// Recognizes only spans whose target and level these [`Targets`] enable: other programs use names like `turn`,
    /// `agent` or `step` too. By default, spans of every target are recognized.
    #[must_use]
    pub fn with_targets(mut self, targets: Targets) -> Self {
        self.options.targets = Some(targets);
        self
    }

    /// Exports the spans that are not recognized as well, under their own names and with their fields as they are
    /// (but no content), so that they stand in the hierarchy where they stand in the program. Default: `false`.
    #[must_use]
    pub fn with_other_spans(mut self, export: bool) -> Self {
        self.options.other_spans = export;
        self
    }

    /// Exports the text of an `error` field as the status description, at most 256 characters of it. Error texts may
    /// quote what people said; `false` leaves them out, on spans and on events, and keeps `error.type`.
    /// Default: `true`.
    #[must_use]
    pub fn with_error_text(mut self, export: bool) -> Self {
        self.options.error_text = export;
        self
    }

    /// Puts these entries of the W3C baggage on spans, as attributes of their own names: each span takes what the
    /// OpenTelemetry context holds that it hangs on, and passes it on to all below. A field of the same name wins. By
    /// default, no baggage is exported: it may come from anywhere.
    #[must_use]
    pub fn with_baggage(mut self, entries: impl IntoIterator<Item = &'static str>) -> Self {
        self.options.baggage = entries.into_iter().collect();
        self
    }

    /// One trace for each conversation, or for each turn. Default: [`TracePer::Conversation`].
    #[must_use]
    pub fn with_trace_per(mut self, trace_per: TracePer) -> Self {
        self.options.trace_per = trace_per;
        self
    }

    /// How many conversations can be found by their `conversation_id` at a time. One more than that is exported as ever,
    /// but only spans below it belong to it; [`Stats::conversations_over_limit`] counts those. Default: 100,000.
    #[must_use]
    pub fn with_max_conversations(mut self, conversations: usize) -> Self {
        self.options.max_conversations = conversations;
        self
    }

    /// Reads what the layers of these options count, and shuts them down: before or after they are made.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// The layer, for any OpenTelemetry tracer. Called twice, it gives two layers that count together.
    #[must_use]
    pub fn layer<T>(&self, tracer: T) -> GenAiLayer
    where
        T: Tracer + Send + Sync + 'static,
        T::Span: Send + Sync + 'static,
    {
        GenAiLayer::new(Core::new(self.options.clone(), &self.shared, Box::new(tracer)))
    }
}

/// Reads what the layers of one [`GenAi`] have counted, and ends what they have open.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Ends every open span, each marked `voice.incomplete=true`, children first. The tracer provider is not flushed:
    /// it is yours. Spans that open later are exported as ever; a second call ends those.
    ///
    /// A span processor that blocks can't hold this up for longer than `timeout` and one span; what is open then stays
    /// open, and the [`Stats`] that come back say how much that is.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn shutdown(&self, timeout: Duration) -> Stats {
        let deadline = Instant::now().checked_add(timeout);
        for core in self.shared.cores() {
            lifecycle::shut_down(&core, deadline);
        }
        self.stats()
    }
}
