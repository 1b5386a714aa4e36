//! What do OpenTelemetry's attributes mean as fields?
//!
//! The second door has no callsites: a field reaches it as an attribute of the same name. What a name means is worked out
//! once a thread, and found by where the name lies in memory. The names of the contract always have room, others up to a limit: what
//! a program makes up beyond that as it runs is worked out each time and not kept.

use std::cell::RefCell;
use std::sync::{LazyLock, OnceLock};

use opentelemetry::{Array, KeyValue, Value};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::content;
use crate::event::Said as EventSaid;
use crate::fields::Said;
use crate::json::Json;
use crate::kind::Kind;
use crate::mapping::{self, Meaning};
use crate::policy::Policy;
use crate::semconv::Key;
use crate::value::{Raw, Refusal};

/// Names that are not the contract's, and are kept for ever: a program has a few, unless it makes them up as it runs.
const MAX_NAMES: usize = 10_000;

/// What an attribute says on a span of this kind; `None` if it is content of a name for which there is no room.
pub(crate) fn read(kind: Option<Kind>, attribute: KeyValue, policy: &Policy) -> Option<Said> {
    let Some(name) = found(attribute.key.as_str()) else {
        return match mapping::meaning(kind, attribute.key.as_str()) {
            Meaning::Content(..) if policy.content => None,
            Meaning::Content(..) => Some(Said::Nothing),
            Meaning::Own | Meaning::Attribute { .. } | Meaning::Control(_) => {
                Some(policy.passed(attribute).map_or(Said::Refused(Refusal::Unknown, None), Said::MadeUp))
            }
        };
    };
    Some(match name.meaning(kind) {
        // Without a copy.
        Meaning::Attribute { key, rule } if rule.takes(&attribute.value) => {
            Said::Attribute(*key, Some(attribute.value))
        }
        Meaning::Own => Said::own(name.key, attribute.value, policy),
        meaning => with_raw(&attribute.value, |raw| Said::of(name.key, *meaning, raw, policy)),
    })
}

/// Takes an event's attribute in.
pub(crate) fn take(said: &mut EventSaid, attribute: KeyValue) {
    let Some(name) = found(attribute.key.as_str()) else {
        if content::slot(None, attribute.key.as_str()).is_none() {
            said.attributes.push(attribute);
        }
        return;
    };
    let is_content = matches!(name.meaning(None), Meaning::Content(..));
    match attribute.value {
        value @ Value::Array(_) if !is_content => said.attributes.push(KeyValue::new(name.key, value)),
        value => with_raw(&value, |raw| said.take(name.key.name(), raw)),
    }
}

/// A name that the user chose in the options, for as long as the program runs: there is always room for it.
pub(crate) fn reserved(name: &str) -> Option<&'static str> {
    kept(name, usize::MAX).map(|name| name.key.name())
}

/// The name of a span, for as long as the program runs; `None` if there are too many already. Attributes take no room from it.
pub(crate) fn span_name(name: &str) -> Option<&'static str> {
    static NAMES: LazyLock<Mutex<FxHashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let place = name.as_ptr() as usize;
    let known = SPAN_NAMES.try_with(|found| found.borrow().get(&place).copied()).ok().flatten();
    if let Some(known) = known.filter(|known| *known == name) {
        return Some(known);
    }
    let mut names = NAMES.lock();
    let now = match names.get(name) {
        Some(known) => *known,
        None if names.len() >= MAX_NAMES => return None,
        None => {
            let now: &'static str = Box::leak(name.to_owned().into_boxed_str());
            names.insert(now);
            now
        }
    };
    drop(names);
    let _ = SPAN_NAMES.try_with(|found| remember(&mut found.borrow_mut(), place, now));
    Some(now)
}

/// A name, and what it means on a span of each kind, or on one that is not ours.
struct Name {
    key: Key,
    meanings: [OnceLock<Meaning>; Kind::COUNT + 1],
}

impl Name {
    fn of(name: &'static str) -> Self {
        Self { key: Key::of(name), meanings: [const { OnceLock::new() }; Kind::COUNT + 1] }
    }

    fn meaning(&self, kind: Option<Kind>) -> &Meaning {
        let work_out = || mapping::meaning(kind, self.key.name());
        let place = kind.map_or(Kind::COUNT, |kind| kind as usize);
        self.meanings.get(place).map_or(&Meaning::Own, |meaning| meaning.get_or_init(work_out))
    }
}

/// Places in memory that a thread knows; then it begins again.
const MAX_PLACES: usize = 4_096;

thread_local! {
    static FOUND: RefCell<FxHashMap<usize, &'static Name>> = RefCell::default();
    static SPAN_NAMES: RefCell<FxHashMap<usize, &'static str>> = RefCell::default();
}

fn remember<T>(found: &mut FxHashMap<usize, T>, place: usize, now: T) {
    if found.len() >= MAX_PLACES {
        found.clear();
    }
    found.insert(place, now);
}

fn found(name: &str) -> Option<&'static Name> {
    let place = name.as_ptr() as usize;
    let known = FOUND.try_with(|found| found.borrow().get(&place).copied()).ok().flatten();
    // Another name may lie there by now.
    if let Some(known) = known.filter(|known| known.key.name() == name) {
        return Some(known);
    }
    let now = kept(name, MAX_NAMES)?;
    let _ = FOUND.try_with(|found| remember(&mut found.borrow_mut(), place, now));
    Some(now)
}

/// The name as it is kept, for all threads and for ever.
fn kept(name: &str, limit: usize) -> Option<&'static Name> {
    static STANDARD: LazyLock<FxHashMap<&'static str, Name>> =
        LazyLock::new(|| mapping::names().map(|name| (name, Name::of(name))).collect());
    static NAMES: LazyLock<Mutex<FxHashMap<&'static str, &'static Name>>> = LazyLock::new(Mutex::default);
    if let Some(known) = STANDARD.get(name) {
        return Some(known);
    }
    let mut names = NAMES.lock();
    if let Some(known) = names.get(name) {
        return Some(known);
    }
    if names.len() >= limit {
        return None;
    }
    let text: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let name: &'static Name = Box::leak(Box::new(Name::of(text)));
    names.insert(text, name);
    Some(name)
}

/// A value as `tracing` would have handed it over; a list as the JSON that it would have been.
fn with_raw<R>(value: &Value, read: impl FnOnce(Raw<'_>) -> R) -> R {
    read(match value {
        Value::Bool(flag) => Raw::Bool(*flag),
        Value::I64(number) => Raw::Int(*number),
        Value::F64(number) => Raw::Float(*number),
        // The layer above has made a text of `Debug` values.
        Value::String(text) => Raw::Formatted(text.as_str().into()),
        Value::Array(Array::String(texts)) => {
            let texts: Vec<Json> = texts.iter().map(|text| text.as_str().into()).collect();
            Raw::Text(Json::List(texts).to_compact().into())
        }
        other => Raw::Text(other.to_string().into()),
    })
}
