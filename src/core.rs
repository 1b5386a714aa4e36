//! What does one layer know?

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use tracing_core::Metadata;
use tracing_core::callsite::Identifier;
use tracing_subscriber::filter::Targets;

use crate::console;
use crate::fields::Plan;
use crate::kind::Kind;
use crate::live::Live;
use crate::open::OpenSpans;
use crate::span::Starts;
use crate::stats::{Counters, Stats};
use crate::value::Refusal;

/// What a user chose.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Names that are recognized as something else than by default, or not at all.
    pub(crate) names: HashMap<String, Option<Kind>>,
    /// Where spans are recognized; `None` is everywhere.
    pub(crate) targets: Option<Targets>,
    /// Whether spans that are not recognized are exported.
    pub(crate) other_spans: bool,
    /// Whether error texts are exported.
    pub(crate) error_text: bool,
    /// Baggage entries that become attributes.
    pub(crate) baggage: Vec<&'static str>,
    /// How many conversations may be found by their id.
    pub(crate) max_conversations: usize,
    /// What a trace holds.
    pub(crate) trace_per: TracePer,
}

/// What one trace holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TracePer {
    /// A whole conversation, with all its turns.
    #[default]
    Conversation,
    /// One turn, linked to its conversation and to the turn before: for conversations of hours, which few backends show
    /// as one trace.
    Turn,
}

/// What the layers of one [`GenAi`] have in common.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    counters: Counters,
    cores: Mutex<Vec<Weak<Core>>>,
}

/// One layer.
pub(crate) struct Core {
    pub(crate) options: Options,
    shared: Arc<Shared>,
    pub(crate) tracer: Box<dyn Starts>,
    pub(crate) open: OpenSpans,
    pub(crate) live: Live,
    /// How often a span was told something that those below it inherit, after it had opened.
    pub(crate) told_late: AtomicU64,
    plans: RwLock<FxHashMap<Identifier, Arc<Plan>>>,
}

impl Shared {
    pub(crate) fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// The layers that are still there.
    pub(crate) fn cores(&self) -> Vec<Arc<Core>> {
        self.cores.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Core {
    /// A layer's core, which counts and is shut down with the others of `shared`.
    pub(crate) fn new(options: Options, shared: &Arc<Shared>, tracer: Box<dyn Starts>) -> Arc<Self> {
        let core = Arc::new(Self {
            live: Live::new(options.max_conversations),
            options,
            shared: Arc::clone(shared),
            tracer,
            open: OpenSpans::new(),
            told_late: AtomicU64::new(0),
            plans: RwLock::default(),
        });
        let mut cores = shared.cores.lock();
        cores.retain(|core| core.strong_count() > 0);
        cores.push(Arc::downgrade(&core));
        drop(cores);
        core
    }

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

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Counts a value that was refused.
    pub(crate) fn count(&self, applied: Result<(), Refusal>) {
        if let Err(why) = applied {
            self.counters().refused(why);
        }
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
}

impl Default for Options {
    fn default() -> Self {
        Self {
            names: HashMap::new(),
            targets: None,
            other_spans: false,
            error_text: true,
            baggage: Vec::new(),
            max_conversations: 100_000,
            trace_per: TracePer::default(),
        }
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
