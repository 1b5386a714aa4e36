//! What do OpenTelemetry's attributes mean as fields?
//!
//! The second door has no callsites: a field reaches it as an attribute of the same name. What a name means is worked out
//! once a thread, and found by where the name lies in memory; names that the program makes up as it runs are kept too, up to
//! a limit.

use std::cell::RefCell;
use std::sync::LazyLock;

use opentelemetry::{Array, KeyValue, Value};
use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use crate::event::Said as EventSaid;
use crate::fields::Said;
use crate::json::Json;
use crate::kind::Kind;
use crate::mapping::{self, Meaning};
use crate::semconv::Key;
use crate::value::Raw;

/// Names that are made up as the program runs.
const MAX_NAMES: usize = 10_000;

/// What an attribute says on a span of this kind; nothing, if there are too many names already.
pub(crate) fn read(kind: Option<Kind>, attribute: KeyValue, content: bool) -> Option<Said> {
    let (own, meaning) = meaning(kind, attribute.key.as_str())?;
    Some(match (meaning, attribute.value) {
        (Meaning::Own, value) => Said::Attribute(own, Some(value)),
        (meaning, value) => with_raw(&value, |raw| Said::of(own, meaning, raw, content)),
    })
}

/// Takes an event's attribute in.
pub(crate) fn take(said: &mut EventSaid, attribute: KeyValue) {
    match (interned(attribute.key.as_str()), attribute.value) {
        (None, _) => {}
        (Some(name), value @ Value::Array(_)) => said.attributes.push(KeyValue::new(name, value)),
        (Some(name), value) => with_raw(&value, |raw| said.take(name, raw)),
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

/// What was found last for a name that lies in this place.
#[derive(Clone, Copy)]
struct Found {
    kind: Option<Kind>,
    own: Key,
    meaning: Meaning,
}

/// As many places as keep the names of most programs apart; a power of two.
const PLACES: usize = 512;

thread_local! {
    static FOUND: RefCell<Vec<Option<Found>>> = RefCell::new(vec![None; PLACES]);
}

fn meaning(kind: Option<Kind>, name: &str) -> Option<(Key, Meaning)> {
    let place = (name.as_ptr() as usize).wrapping_mul(0x9E37_79B9) / PLACES % PLACES;
    let known = FOUND.try_with(|found| *found.borrow().get(place)?).ok().flatten();
    // Another name may lie there by now.
    if let Some(known) = known.filter(|known| known.kind == kind && known.own.name() == name) {
        return Some((known.own, known.meaning));
    }
    let own = Key::of(interned(name)?);
    let meaning = mapping::meaning(kind, own.name());
    let _ = FOUND.try_with(|found| {
        if let Some(found) = found.borrow_mut().get_mut(place) {
            *found = Some(Found { kind, own, meaning });
        }
    });
    Some((own, meaning))
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
