//! What does a tracing-opentelemetry layer say by itself?
//!
//! It is above the second door: some attributes are its own, and it words events in its own way.

use std::borrow::Cow;

use opentelemetry::trace::SpanBuilder;
use opentelemetry::{KeyValue, Value};
use tracing_core::Level;

use crate::debug_text::unwrapped;
use crate::event::{Said, is_callsite};
use crate::names;
use crate::semconv::{ERROR_CHAIN, EVENT_LEVEL, EVENT_TARGET, EXCEPTION, EXCEPTION_MESSAGE};
use crate::value::Raw;

/// What the layer above says itself about a span as it opens: that goes on as it is, and stands there from the start.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Theirs(u8);

impl Theirs {
    /// Takes the first one of its name, if it may be that layer's.
    pub(crate) fn take(&mut self, attribute: &KeyValue) -> bool {
        let bit = Self::bit(attribute);
        let is_text = matches!(attribute.value, Value::String(_));
        if bit == 0 || self.0 & bit != 0 || (bit == Self::LEVEL && !is_text) {
            return false;
        }
        self.0 |= bit;
        true
    }

    /// Whether one of this name was taken.
    pub(crate) fn has(self, attribute: &KeyValue) -> bool {
        self.0 != 0 && self.0 & Self::bit(attribute) != 0
    }

    const LEVEL: u8 = 32;

    fn bit(attribute: &KeyValue) -> u8 {
        match attribute.key.as_str() {
            "code.file.path" => 1,
            "code.module.name" => 2,
            "code.line.number" => 4,
            "thread.id" => 8,
            "thread.name" => 16,
            "level" => Self::LEVEL,
            "target" => 64,
            _ => 0,
        }
    }
}

/// What the layer above says itself when it closes a span.
pub(crate) fn is_timing(attribute: &KeyValue) -> bool {
    matches!(attribute.key.as_str(), "busy_ns" | "idle_ns")
}

/// Whether a span has another name than the program gave it, because of an `otel.name`: such a name is owned.
pub(crate) fn is_renamed(builder: &SpanBuilder) -> bool {
    matches!(builder.name, Cow::Owned(_))
}

/// What an event says.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) name: Cow<'static, str>,
    pub(crate) said: Said,
    pub(crate) target: String,
    /// Its level, if that layer says it: an event of OpenTelemetry's own has none.
    pub(crate) level: Option<Level>,
    /// What the layer above makes a status of, whatever the event's level.
    pub(crate) status: Option<String>,
}

/// What an event says of this name and with these attributes.
pub(crate) fn told(name: Cow<'static, str>, attributes: Vec<KeyValue>) -> Told {
    let mut said = Said::default();
    let (mut level, mut target, mut error) = (None, None, None);
    for attribute in attributes {
        // The first ones are that layer's; others are fields that are called like these.
        match attribute.key.as_str() {
            key if key == EVENT_LEVEL.name() && level.is_none() => level = Some(attribute.value),
            key if key == EVENT_TARGET.name() && target.is_none() => target = Some(attribute.value),
            key => {
                if key == "error" {
                    error = Some(attribute.value.clone());
                }
                names::take(&mut said, attribute);
            }
        }
    }
    let status = level.as_ref().and_then(|_| only_error(&name, &said, error));
    if let Some(error) = &status {
        let error = unwrapped(error);
        said.failure.set_error(&Raw::Text(error.unwrap_or_default()));
    }
    let has_message = status.is_none() && !is_callsite(&name);
    let name = if has_message {
        said.message = Some(name.into_owned());
        "event".into()
    } else {
        name
    };
    let parsed = level.as_ref().and_then(|level| level.as_str().parse().ok());
    // A layer without the feature `tracing-log` hands over a record of the `log` crate as it is.
    if let (Some(target), Some(of_record)) = (&mut target, said.target.take()) {
        *target = of_record.into();
    }
    let about = target.as_ref().map(|target| target.as_str().into_owned()).unwrap_or_default();
    for (key, value) in [(EVENT_LEVEL, level), (EVENT_TARGET, target)] {
        if let Some(value) = value {
            said.about(key, value);
        }
    }
    Told { name, said, target: about, level: parsed, status }
}

/// Whether an event with these attributes is one of level `ERROR`: the first one of that name is the layer's.
pub(crate) fn is_error(attributes: &[KeyValue]) -> bool {
    let level = attributes.iter().find(|attribute| attribute.key.as_str() == EVENT_LEVEL.name());
    level.is_some_and(|level| level.value.as_str() == "ERROR")
}

/// The text of an event that says nothing but what failed: the layer above makes a status of it.
fn only_error(name: &str, said: &Said, error: Option<Value>) -> Option<String> {
    let find = |key| said.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    // It makes none of an error value, of which there are more attributes.
    let is_value = || said.attributes.iter().any(|attribute| attribute.key.as_str() == ERROR_CHAIN);
    let error = match name {
        EXCEPTION => find(EXCEPTION_MESSAGE).map(|attribute| attribute.value.clone()),
        _ if is_callsite(name) && !is_value() => error,
        _ => None,
    };
    match error? {
        Value::String(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::told;
    use opentelemetry::{KeyValue, Value};

    /// That layer has its own eye on such records, but only with a feature of its own.
    #[test]
    fn a_record_of_the_log_crate_has_its_own_target() {
        let attributes =
            [("level", "INFO"), ("target", "log"), ("log.target", "chatty"), ("log.file", "/home/me/x.rs")];
        let told = told("a line".into(), attributes.map(|(key, value)| KeyValue::new(key, value)).into());
        assert_eq!(told.target, "chatty");
        assert_eq!(told.said.attributes.len(), 2);
        assert!(told.said.attributes.contains(&KeyValue::new("target", Value::from("chatty"))));
    }
}
