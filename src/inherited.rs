//! What does a span take over from those above it?

use std::sync::Arc;

use opentelemetry::Value;

use crate::fields::Fields;
use crate::semconv::{CONVERSATION_ID, INHERITED, Key, Keys, TURN_NUMBER};

/// What the spans below take over: ids, the agent's name, the turn's number, and what the user wants to see on all. Shared by all who add nothing to it.
pub(crate) type Inherited = Arc<[(Key, Value)]>;

/// Which attributes are passed on.
#[derive(Debug, Clone)]
pub(crate) struct PassedOn {
    /// Those of the conventions.
    pub(crate) keys: Keys,
    /// What the user wants to see on all spans besides.
    pub(crate) names: Vec<String>,
}

impl PassedOn {
    pub(crate) fn has(&self, key: Key) -> bool {
        self.keys.has(key) || self.names.iter().any(|name| name == key.name())
    }
}

impl Default for PassedOn {
    fn default() -> Self {
        Self { keys: INHERITED, names: Vec::new() }
    }
}

/// What the children of a span inherit: what it inherited itself, replaced by what its own fields give.
pub(crate) fn passed_on(inherited: Inherited, fields: &Fields, passed_on: &PassedOn) -> Inherited {
    if passed_on.names.is_empty() && !fields.may_give(&passed_on.keys) {
        return inherited;
    }
    let mut own = fields.given(|key| passed_on.has(key)).peekable();
    if own.peek().is_none() {
        return inherited;
    }
    with(&inherited, own.map(|(key, value)| (key, value.clone())))
}

/// Gives a span what it inherits, where its own fields say nothing.
pub(crate) fn take_over(fields: &mut Fields, inherited: &Inherited) {
    for (key, value) in inherited.iter() {
        if !fields.has(*key) {
            fields.assume(*key, value.clone());
        }
    }
}

/// What a turn passes on that has no fields of its own.
pub(crate) fn with_turn_number(inherited: &Inherited, number: i64) -> Inherited {
    with(inherited, [(TURN_NUMBER, Value::I64(number))])
}

/// What is passed on besides.
pub(crate) fn with(inherited: &Inherited, more: impl IntoIterator<Item = (Key, Value)>) -> Inherited {
    let more = more.into_iter();
    let mut all = Vec::with_capacity(inherited.len() + more.size_hint().1.unwrap_or_default());
    all.extend_from_slice(inherited);
    for (key, value) in more {
        all.retain(|(other, _)| *other != key);
        all.push((key, value));
    }
    all.into()
}

/// The text of an attribute that is passed on.
pub(crate) fn text(inherited: &Inherited, key: Key) -> Option<&str> {
    inherited.iter().find_map(|(other, value)| match value {
        Value::String(text) if *other == key => Some(text.as_str()),
        _ => None,
    })
}

/// What a conversation within a turn passes on: that turn is none of its own.
pub(crate) fn outside_of_turns(inherited: Inherited) -> Inherited {
    if inherited.iter().all(|(key, _)| *key != TURN_NUMBER) {
        return inherited;
    }
    inherited.iter().filter(|(key, _)| *key != TURN_NUMBER).cloned().collect()
}

/// What is passed on by a conversation of which nothing but its id is known.
pub(crate) fn of_id(id: Option<Arc<str>>) -> Inherited {
    id.map(|id| (CONVERSATION_ID, Value::from(id))).into_iter().collect()
}

/// What a conversation passes on that has learned its id.
pub(crate) fn with_id(inherited: &Inherited, id: &Arc<str>) -> Inherited {
    with(inherited, [(CONVERSATION_ID, Value::from(Arc::clone(id)))])
}
