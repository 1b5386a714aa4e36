//! What is measured?
//!
//! Each span once, when it ends, sampled or not. A set of attributes is bound to its instruments once: looking it up in each
//! instrument for each value would cost as much as the span does.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use opentelemetry::{KeyValue, Value};
use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use crate::instruments::{Bound, Choice, Instruments, Measured, keys};
use crate::kind::Kind;
use crate::outside::call_out;
use crate::semconv::{END_REASON, ERROR_TYPE, ERROR_TYPE_OTHER, Key, Keys, OPERATION_NAME};
use crate::stats::Counters;

/// Sets of attributes that stay bound: more are recorded one by one.
const MAX_BOUND: usize = 4_096;

/// The same of one hash: they are compared one by one.
const MAX_ALIKE: usize = 64;

/// What has few values, unless a program makes them up: to tell fewer models apart lumps none of these together.
const FEW: Keys = Keys::of(&[OPERATION_NAME, END_REASON]);

/// Then they are too many.
const MANY: usize = 200;

/// The instruments of one layer.
pub(crate) struct Metrics {
    choice: Choice,
    instruments: Instruments,
    bound: RwLock<Sets>,
    names: Mutex<FxHashMap<&'static str, FxHashSet<String>>>,
}

/// What is bound.
#[derive(Default)]
struct Sets {
    /// By a hash of the kind, its first attribute and those that the user chose.
    alike: FxHashMap<u64, Vec<Set>>,
    count: usize,
}

/// A set of attributes, and its instruments.
struct Set {
    kind: Kind,
    /// What its attributes are, of all that there can be.
    values: Vec<(Key, Option<Value>)>,
    bound: Arc<Bound>,
}

impl Metrics {
    pub(crate) fn new(choice: Choice) -> Self {
        let instruments = Instruments::new(&choice.meter);
        Self { choice, instruments, bound: RwLock::default(), names: Mutex::default() }
    }

    /// A conversation begins, or ends.
    pub(crate) fn conversation(&self, change: i64, counters: &Counters) {
        if call_out(|| self.instruments.conversations.add(change, &[])).is_none() {
            counters.panicked();
        }
    }

    /// A span ends that is no attempt at another one.
    pub(crate) fn record(&self, span: &Measured<'_>, counters: &Counters) {
        if matches!(span.kind, Kind::Conversation | Kind::Step) {
            return;
        }
        let given = |key| if key == ERROR_TYPE { span.error_type.as_ref() } else { span.fields.get(key) };
        let record = || match self.known(span.kind, given) {
            Some(bound) => bound.record(span),
            None => self.bind(span.kind, given, counters).record(span),
        };
        if call_out(record).is_none() {
            counters.panicked();
        }
    }

    /// The attributes that tell the spans of a kind apart.
    fn keys(&self, kind: Kind) -> impl Iterator<Item = Key> {
        let more = self.choice.more.iter().filter(move |key| !keys(kind).contains(key));
        keys(kind).iter().chain(more).copied()
    }

    /// The instruments of this set of attributes, if they are bound.
    fn known<'a>(&self, kind: Kind, given: impl Fn(Key) -> Option<&'a Value>) -> Option<Arc<Bound>> {
        let is_given = |(key, value): &(Key, Option<Value>)| given(*key) == value.as_ref();
        let is_same = |set: &&Set| set.kind == kind && set.values.iter().all(is_given);
        let hash = self.hash(kind, &given);
        let bound = self.bound.read();
        let set = bound.alike.get(&hash)?.iter().find(is_same)?;
        Some(Arc::clone(&set.bound))
    }

    fn bind<'a>(&self, kind: Kind, given: impl Fn(Key) -> Option<&'a Value>, counters: &Counters) -> Arc<Bound> {
        let values = self.limited(kind, given, counters);
        let limited = |wanted| values.iter().find(|(key, _)| *key == wanted)?.1.as_ref();
        if let Some(known) = self.known(kind, limited) {
            return known;
        }
        let hash = self.hash(kind, &limited);
        let attribute = |(key, value): &(Key, Option<Value>)| Some(KeyValue::new(*key, value.clone()?));
        let attributes: Vec<_> = values.iter().filter_map(attribute).collect();
        let bound = Arc::new(Bound::new(&self.instruments, &self.choice, kind, &attributes));
        self.bound.write().keep(hash, Set { kind, values, bound: Arc::clone(&bound) });
        bound
    }

    fn hash<'a>(&self, kind: Kind, given: &impl Fn(Key) -> Option<&'a Value>) -> u64 {
        let mut hasher = FxHasher::default();
        kind.hash(&mut hasher);
        for key in keys(kind).iter().take(1).chain(&self.choice.more) {
            match given(*key) {
                Some(Value::String(text)) => text.as_str().hash(&mut hasher),
                Some(other) => other.as_str().hash(&mut hasher),
                None => {}
            }
        }
        hasher.finish()
    }

    /// The attributes, with no more values of each than are told apart.
    fn limited<'a>(
        &self,
        kind: Kind,
        given: impl Fn(Key) -> Option<&'a Value>,
        counters: &Counters,
    ) -> Vec<(Key, Option<Value>)> {
        let mut names = self.names.lock();
        let mut limited = |key: Key, value: &Value| {
            let name = value.as_str();
            let known = names.entry(key.name()).or_default();
            if known.contains(&*name) {
                return value.clone();
            }
            if known.len() < self.choice.max_names || (FEW.has(key) && known.len() < MANY) {
                known.insert(name.into_owned());
                return value.clone();
            }
            counters.name_over_limit();
            ERROR_TYPE_OTHER.into()
        };
        self.keys(kind).map(|key| (key, given(key).map(|value| limited(key, value)))).collect()
    }
}

impl Sets {
    /// Keeps one more, if there is room.
    fn keep(&mut self, hash: u64, set: Set) {
        if self.count >= MAX_BOUND {
            return;
        }
        let alike = self.alike.entry(hash).or_default();
        if alike.len() < MAX_ALIKE {
            alike.push(set);
            self.count += 1;
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("choice", &self.choice).finish_non_exhaustive()
    }
}
