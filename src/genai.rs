//! What can a user choose?

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use opentelemetry::trace::Tracer;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use tracing_core::Metadata;
use tracing_core::callsite::Identifier;
use tracing_subscriber::filter::Targets;

use crate::console;
use crate::conversation::take_over;
use crate::fields::Plan;
use crate::kind::Kind;
use crate::layer::GenAiLayer;
use crate::open::{OpenSpan, OpenSpans};
use crate::span;
use crate::stats::{Counters, Stats};

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

#[derive(Debug, Clone)]
struct Options {
    names: HashMap<String, Option<Kind>>,
    targets: Option<Targets>,
    other_spans: bool,
    error_text: bool,
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

    /// Reads what the layers of these options count, and shuts them down: before or after they are made.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// The layer, for any OpenTelemetry tracer. Called twice, it gives two layers that count together.
    #[must_use]
    pub fn layer<T>(&self, tracer: T) -> GenAiLayer<T>
    where
        T: Tracer,
        T::Span: Send + Sync + 'static,
    {
        let core = Arc::new(Core {
            options: self.options.clone(),
            shared: Arc::clone(&self.shared),
            open: OpenSpans::new(),
            plans: RwLock::default(),
        });
        let mut cores = self.shared.cores.lock();
        cores.retain(|core| core.strong_count() > 0);
        cores.push(Arc::downgrade(&core));
        drop(cores);
        GenAiLayer::new(core, tracer)
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
        self.shared.counters.stats()
    }

    /// Ends every open span, each marked `voice.incomplete=true`, children first. The tracer provider is not flushed:
    /// it is yours. Spans that open later are exported as ever; a second call ends those.
    ///
    /// A span processor that blocks can't hold this up for longer than `timeout` and one span; what is open then stays
    /// open, and the [`Stats`] that come back say how much that is.
    pub fn shutdown(&self, timeout: Duration) -> Stats {
        let deadline = Instant::now().checked_add(timeout);
        let cores: Vec<_> = self.shared.cores.lock().iter().filter_map(Weak::upgrade).collect();
        for core in cores {
            for id in core.open.ids() {
                if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                    return self.stats();
                }
                core.end(id, true);
            }
        }
        self.stats()
    }
}

/// What the layers of one [`GenAi`] have in common.
#[derive(Debug, Default)]
struct Shared {
    counters: Counters,
    cores: Mutex<Vec<Weak<Core>>>,
}

/// One layer, without its tracer.
pub(crate) struct Core {
    options: Options,
    shared: Arc<Shared>,
    pub(crate) open: OpenSpans,
    plans: RwLock<FxHashMap<Identifier, Arc<Plan>>>,
}

impl Core {
    /// What a span of this callsite is.
    pub(crate) fn kind(&self, metadata: &Metadata<'_>) -> Option<Kind> {
        let name = metadata.name();
        let kind = match self.options.names.get(name) {
            Some(chosen) => *chosen,
            None => Kind::of(name),
        }?;
        let in_targets = |targets: &Targets| targets.would_enable(metadata.target(), metadata.level());
        self.options.targets.as_ref().is_none_or(in_targets).then_some(kind)
    }

    /// Whether spans that are not recognized are exported.
    pub(crate) fn other_spans(&self) -> bool {
        self.options.other_spans
    }

    /// Whether error texts are exported.
    pub(crate) fn error_text(&self) -> bool {
        self.options.error_text
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What the fields of this callsite mean: worked out at its first span, and the same from then on.
    pub(crate) fn plan(&self, metadata: &'static Metadata<'static>, kind: Option<Kind>) -> Arc<Plan> {
        let callsite = metadata.callsite();
        if let Some(plan) = self.plans.read().get(&callsite) {
            return Arc::clone(plan);
        }
        console::warn_if_missing();
        let names = metadata.fields().iter().map(|field| field.name());
        let plan = Arc::new(Plan::new(kind, names));
        Arc::clone(self.plans.write().entry(callsite).or_insert(plan))
    }

    /// Ends an open span; nothing, if this layer has none of this id.
    pub(crate) fn end(&self, id: u64, incomplete: bool) {
        let at = Instant::now();
        // Taken out first: ending a span runs span processors, which may trace.
        let Some(mut open) = self.open.remove(id) else { return };
        self.inherit_late(&mut open);
        span::end(self.counters(), open, at, self.error_text(), incomplete);
    }

    /// What an ancestor was told after the span had opened is the span's too.
    fn inherit_late(&self, open: &mut OpenSpan) {
        let mut above = open.parent;
        while let Some(id) = above {
            let found = self.open.with(id, |ancestor| (ancestor.inherited.clone(), ancestor.parent));
            let Some((inherited, parent)) = found else { return };
            take_over(&mut open.fields, &inherited);
            above = parent;
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { names: HashMap::new(), targets: None, other_spans: false, error_text: true }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("options", &self.options)
            .field("counters", self.counters())
            .finish_non_exhaustive()
    }
}
