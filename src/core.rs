//! What does one layer know?

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use opentelemetry::Value;
use opentelemetry::metrics::Meter;
use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};
use tracing_core::callsite::Identifier;
use tracing_core::{Level, Metadata};
use tracing_subscriber::filter::Targets;

use crate::console_flag;
use crate::content::{Content, Redacts, Rules, is_content};
use crate::dialect::Dialects;
use crate::fields::{Fields, Plan};
use crate::inherited::PassedOn;
use crate::instruments::Choice;
use crate::kind::Kind;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::open::OpenSpans;
use crate::outside::call_out;
use crate::policy::{IdKey, Policy};
use crate::prices::Prices;
use crate::semconv::Key;
use crate::span::Starts;
use crate::stats::{Counters, Stats};
use crate::value::Refusal;

/// What a user chose.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are what a user says yes or no to, one by one")]
pub(crate) struct Options {
    /// Names that are recognized as something else than by default, or not at all.
    pub(crate) names: HashMap<String, Option<Kind>>,
    /// Where spans are recognized; `None` is everywhere.
    pub(crate) targets: Option<Targets>,
    /// Whether spans that are not recognized are exported.
    pub(crate) other_spans: bool,
    /// Whether error texts are exported.
    pub(crate) error_text: bool,
    /// Whether content is exported.
    pub(crate) content: Content,
    /// Targets whose events' messages are content.
    pub(crate) content_targets: Vec<String>,
    /// Whether fields leave that neither the contract nor the user names.
    pub(crate) only_known: bool,
    /// Fields that leave besides.
    pub(crate) known: Vec<String>,
    /// The key of the hashes that ids leave as.
    pub(crate) id_key: Option<IdKey>,
    /// Events below this level are not exported.
    pub(crate) event_level: Level,
    /// What is taken out of content and of error texts.
    pub(crate) redaction: Option<Redaction>,
    /// The longest string of content, in bytes.
    pub(crate) max_content_len: usize,
    /// Whether inline audio, images and documents are exported with the content that they are in.
    pub(crate) binary_content: bool,
    /// What backends want to be told besides.
    pub(crate) dialects: Dialects,
    /// Attributes of every span.
    pub(crate) attributes: Vec<(Key, Value)>,
    /// Attributes that spans take over from those above them, besides the ids.
    pub(crate) inherited: PassedOn,
    /// What is measured, and where.
    pub(crate) meter: Option<Meter>,
    /// The newest names for the metrics of model calls.
    pub(crate) latest_metrics: bool,
    /// Attributes that all metrics have besides.
    pub(crate) metric_attributes: Vec<Key>,
    /// Values of one attribute that metrics tell apart.
    pub(crate) max_metric_names: usize,
    /// What calls cost.
    pub(crate) prices: Option<Arc<Prices>>,
    /// Baggage entries that become attributes.
    pub(crate) baggage: Vec<Key>,
    /// How many conversations may be found by their id.
    pub(crate) max_conversations: usize,
    /// What a trace holds.
    pub(crate) trace_per: TracePer,
}

/// A user's redactor.
#[derive(Clone)]
pub(crate) struct Redaction(pub(crate) Arc<Redactor>);

/// The text of a field as it may leave.
pub(crate) type Redactor = dyn for<'t> Fn(&str, &'t str) -> Cow<'t, str> + Send + Sync;

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
    pub(crate) policy: Policy,
    shared: Arc<Shared>,
    pub(crate) tracer: Box<dyn Starts>,
    pub(crate) open: OpenSpans,
    pub(crate) live: Live,
    pub(crate) metrics: Option<Metrics>,
    /// How often a span was told something that those below it inherit, after it had opened.
    pub(crate) told_late: AtomicU64,
    plans: RwLock<FxHashMap<Identifier, Arc<Plan>>>,
}

impl Shared {
    pub(crate) fn stats(&self) -> Stats {
        self.counters.stats()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The layers that are still there.
    pub(crate) fn cores(&self) -> Vec<Arc<Core>> {
        self.cores.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Core {
    /// A layer's core, which counts and is shut down with the others of `shared`.
    pub(crate) fn new(mut options: Options, shared: &Arc<Shared>, tracer: Box<dyn Starts>) -> Arc<Self> {
        let policy = options.settle();
        let core = Arc::new(Self {
            policy,
            live: Live::new(options.max_conversations),
            metrics: options.metrics(),
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
        let kind = self.named(metadata.name())?;
        let in_targets = |targets: &Targets| targets.would_enable(metadata.target(), metadata.level());
        self.options.targets.as_ref().is_none_or(in_targets).then_some(kind)
    }

    /// What a span of this name is, of which no more than its target may be known; with targets to choose from, that must be.
    pub(crate) fn kind_of(&self, name: &str, target: impl FnOnce() -> Option<String>) -> Option<Kind> {
        let kind = self.named(name)?;
        let Some(targets) = &self.options.targets else { return Some(kind) };
        targets.would_enable(&target()?, &Level::ERROR).then_some(kind)
    }

    /// What a span of this name is.
    pub(crate) fn named(&self, name: &str) -> Option<Kind> {
        if self.options.names.is_empty() {
            return Kind::of(name);
        }
        self.options.names.get(name).copied().unwrap_or_else(|| Kind::of(name))
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.shared.counters()
    }

    /// Counts a value that was refused.
    #[inline]
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
        console_flag::warn_if_missing();
        let names = metadata.fields().iter().map(|field| field.name());
        let plan = Arc::new(Plan::new(kind, names));
        Arc::clone(self.plans.write().entry(callsite).or_insert(plan))
    }

    /// Adds the attributes that every span has, where its own fields say nothing.
    pub(crate) fn add_attributes(&self, fields: &mut Fields) {
        for (key, value) in &self.options.attributes {
            fields.assume(*key, value.clone());
        }
    }

    /// What becomes of content before it leaves.
    pub(crate) fn rules(&self) -> Rules<'_> {
        Rules { redactor: self, max_len: self.options.max_content_len, binary: self.options.binary_content }
    }
}

impl Redacts for Core {
    fn is_there(&self) -> bool {
        self.options.redaction.is_some()
    }

    fn redact<'t>(&self, field: &str, text: &'t str) -> Cow<'t, str> {
        let Some(Redaction(redactor)) = &self.options.redaction else { return text.into() };
        call_out(|| redactor(field, text)).unwrap_or_else(|| {
            self.counters().redaction_failed();
            "[redaction failed]".into()
        })
    }
}

impl Options {
    fn metrics(&self) -> Option<Metrics> {
        let choice = |meter: &Meter| Choice {
            meter: meter.clone(),
            latest: self.latest_metrics,
            more: self.metric_attributes.clone(),
            max_names: self.max_metric_names,
        };
        self.meter.as_ref().map(|meter| Metrics::new(choice(meter)))
    }

    /// What may leave; what the user named and may not leave is dropped, or leaves in another form.
    fn settle(&mut self) -> Policy {
        let policy = Policy {
            content: self.content == Content::Spans,
            known: self.only_known.then(|| self.named()),
            ids: self.id_key.clone(),
        };
        let leaves = |key: Key| policy.content || !is_content(key.name());
        self.baggage.retain(|key| leaves(*key));
        self.attributes.retain(|(key, _)| leaves(*key));
        for (key, value) in &mut self.attributes {
            *value = policy.value(key.name(), value.clone());
        }
        policy
    }

    /// The names of fields that the user vouches for.
    fn named(&self) -> FxHashSet<String> {
        let attributes = self.attributes.iter().map(|(key, _)| *key).chain(self.baggage.iter().copied());
        let attributes = attributes.map(|key| key.name().to_owned());
        self.known.iter().chain(&self.inherited.names).cloned().chain(attributes).collect()
    }

    /// Whether turns and conversations say what was said in them.
    pub(crate) fn wants_words(&self) -> bool {
        self.content == Content::Spans && self.dialects.want_words()
    }

    /// Whether the messages of events of this target are content.
    pub(crate) fn is_content_target(&self, target: &str) -> bool {
        let is_in = |listed: &String| {
            target.strip_prefix(listed.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        self.content_targets.iter().any(is_in)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            names: HashMap::new(),
            targets: None,
            other_spans: false,
            error_text: true,
            content: Content::default(),
            content_targets: Vec::new(),
            only_known: false,
            known: Vec::new(),
            id_key: None,
            event_level: Level::INFO,
            redaction: None,
            max_content_len: 32 * 1_024,
            binary_content: false,
            dialects: Dialects::default(),
            meter: None,
            latest_metrics: false,
            metric_attributes: Vec::new(),
            max_metric_names: 200,
            prices: None,
            attributes: Vec::new(),
            inherited: PassedOn::default(),
            baggage: Vec::new(),
            max_conversations: 100_000,
            trace_per: TracePer::default(),
        }
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redaction")
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
