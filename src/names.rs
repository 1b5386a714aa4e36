//! What do OpenTelemetry's attributes mean as fields?
//!
//! The second door has no callsites: a field reaches it as an attribute of the same name. What a name means is worked out
//! once a thread, and found by where the name lies in memory; names that the program makes up as it runs are kept too, up to
//! a limit.

use std::cell::RefCell;
use std::sync::LazyLock;

use opentelemetry::{Array, KeyValue, Value};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::event::Said as EventSaid;
use crate::fields::Said;
use crate::json::Json;
use crate::kind::Kind;
use crate::mapping::{self, Meaning};
use crate::semconv::Key;
use crate::value::{Raw, Rule};

/// Names that are made up as the program runs.
const MAX_NAMES: usize = 10_000;

/// What an attribute says on a span of this kind; nothing, if there are too many names already.
pub(crate) fn read(kind: Option<Kind>, attribute: KeyValue, content: bool) -> Option<Said> {
    let Found { own, meaning } = meaning(kind, attribute.key.as_str())?;
    Some(match (meaning, attribute.value) {
        (Meaning::Own, value) => Said::Attribute(own, Some(value)),
        // As it is, without a copy.
        (Meaning::Attribute { key, rule: Rule::Text }, Value::String(text)) if !text.as_str().is_empty() => {
            Said::Attribute(key, Some(Value::String(text)))
        }
        (meaning, value) => with_raw(&value, |raw| Said::of(own, meaning, raw, content)),
    })
}

/// Takes an event's attribute in.
pub(crate) fn take(said: &mut EventSaid, attribute: KeyValue) {
    let Some(Found { own, .. }) = meaning(None, attribute.key.as_str()) else { return };
    match attribute.value {
        value @ Value::Array(_) => said.attributes.push(KeyValue::new(own, value)),
        value => with_raw(&value, |raw| said.take(own.name(), raw)),
    }
}

/// The same name, for as long as the program runs; `None` if there are too many already.
pub(crate) fn interned(name: &str) -> Option<&'static str> {
    static NAMES: LazyLock<Mutex<FxHashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut names = NAMES.lock();
    if let Some(known) = names.get(name) {
        return Some(known);
    }
    if names.len() >= MAX_NAMES {
        return None;
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    Some(name)
}

/// What was found for a name.
#[derive(Clone, Copy)]
struct Found {
    own: Key,
    meaning: Meaning,
}

/// Where a name lies in memory, and on what kind of span it is.
type Place = (usize, usize, Option<Kind>);

/// Places that a thread knows; then it begins again.
const MAX_PLACES: usize = 4_096;

thread_local! {
    static FOUND: RefCell<FxHashMap<Place, Found>> = RefCell::default();
}

fn meaning(kind: Option<Kind>, name: &str) -> Option<Found> {
    let place = (name.as_ptr() as usize, name.len(), kind);
    let known = FOUND.try_with(|found| found.borrow().get(&place).copied()).ok().flatten();
    // Another name may lie there by now.
    if let Some(known) = known.filter(|known| known.own.name() == name) {
        return Some(known);
    }
    let own = Key::of(interned(name)?);
    let now = Found { own, meaning: mapping::meaning(kind, own.name()) };
    let _ = FOUND.try_with(|found| {
        let mut found = found.borrow_mut();
        if found.len() >= MAX_PLACES {
            found.clear();
        }
        found.insert(place, now);
    });
    Some(now)
}

/// A value as `tracing` would have handed it over; a list as the JSON that it would have been.
fn with_raw<R>(value: &Value, read: impl FnOnce(Raw<'_>) -> R) -> R {
    read(match value {
        Value::Bool(flag) => Raw::Bool(*flag),
        Value::I64(number) => Raw::Int(*number),
        Value::F64(number) => Raw::Float(*number),
        Value::String(text) => Raw::Text(text.as_str().into()),
        Value::Array(Array::String(texts)) => {
            let texts: Vec<Json> = texts.iter().map(|text| text.as_str().into()).collect();
            Raw::Text(Json::List(texts).to_compact().into())
        }
        other => Raw::Text(other.to_string().into()),
    })
}
