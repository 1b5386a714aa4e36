//! What does an event say?

use std::time::Duration;

use opentelemetry::{KeyValue, StringValue, Value};

use crate::content::{self, Piece};
use crate::debug_text::{is_plain, unwrapped};
use crate::failure::Failure;
use crate::kind::Kind;
use crate::mapping;
use crate::policy;
use crate::semconv::{EVALUATION_EXPLANATION, EVALUATION_NAME, EVALUATION_SCORE_LABEL, EVALUATION_SCORE_VALUE, Key};
use crate::value::{Raw, Refusal, Rule, ago};

/// A moment that an event marks on the span it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The first token of a model's answer, the first byte of a transcript or of audio.
    FirstChunk,
    /// The answer was cut off.
    Interrupted,
}

impl Moment {
    /// The moment that an event of this name, or with this message, marks on a span of this kind.
    pub(crate) fn of(name: &str, kind: Kind) -> Option<Self> {
        match name {
            "first_token" | "first_chunk" | "first_byte" | "first_audio" => {
                mapping::time_to_first_chunk(kind).map(|_| Self::FirstChunk)
            }
            "interrupted" => mapping::can_be_interrupted(kind).then_some(Self::Interrupted),
            _ => None,
        }
    }
}

/// What a span event is, beyond what the program called it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Itself.
    #[default]
    Own,
    /// Somebody's judgement of what happened in the span.
    Evaluation,
    /// The call is tried again.
    Retry,
}

impl Meaning {
    /// What an event of this name, or with this message, is, if it is more than itself.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "evaluation" => Some(Self::Evaluation),
            "retry" => Some(Self::Retry),
            _ => None,
        }
    }
}

/// The attributes of an evaluation under the conventions' names. A score that is no number keeps its own.
pub(crate) fn evaluation(attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    let renamed = |attribute: KeyValue| match (attribute.key.as_str(), attribute.value) {
        ("score", Value::String(score)) => match score.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => KeyValue::new(EVALUATION_SCORE_VALUE, number),
            _ => KeyValue::new("score", score),
        },
        ("name", value) => KeyValue::new(EVALUATION_NAME, value),
        #[expect(clippy::cast_precision_loss, reason = "a double is what the conventions ask for")]
        ("score", Value::I64(score)) => KeyValue::new(EVALUATION_SCORE_VALUE, score as f64),
        ("score", Value::F64(score)) => KeyValue::new(EVALUATION_SCORE_VALUE, score),
        ("label", value) => KeyValue::new(EVALUATION_SCORE_LABEL, value),
        ("explanation", value) => KeyValue::new(EVALUATION_EXPLANATION, value),
        (_, value) => KeyValue::new(attribute.key, value),
    };
    attributes.into_iter().filter_map(held).map(renamed).collect()
}

/// What an evaluation's attribute holds, if that is `Debug` text of an `Option` or a string.
fn held(mut attribute: KeyValue) -> Option<KeyValue> {
    let is_ours = matches!(attribute.key.as_str(), "name" | "score" | "label" | "explanation");
    match &attribute.value {
        Value::String(text) if is_ours && !is_plain(text.as_str()) => {
            attribute.value = unwrapped(text.as_str())?.into_owned().into();
        }
        _ => {}
    }
    Some(attribute)
}

/// Everything that the fields of one event said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Its message.
    pub(crate) message: Option<String>,
    /// Its other fields, as recorded; none that hold content.
    pub(crate) attributes: Vec<KeyValue>,
    /// The names of those that hold a `dyn Error`.
    pub(crate) errors: Vec<&'static str>,
    /// Those that hold content.
    pub(crate) content: Vec<Piece>,
    /// What its `error` and `error_type` said.
    pub(crate) failure: Failure,
    /// How late it is, or why its `ms_ago` says nothing. Only the lateness of a moment counts.
    pub(crate) ago: Option<Result<Duration, Refusal>>,
    /// The conversation that it is about.
    pub(crate) conversation_id: Option<StringValue>,
    /// Why an id in it was refused.
    pub(crate) refused_ids: Vec<Refusal>,
    /// The target of a record of the `log` crate: its callsite has none.
    pub(crate) target: Option<String>,
}

impl Said {
    /// Takes one field in.
    pub(crate) fn take(&mut self, field: &'static str, raw: Raw<'_>) {
        let slot = content::slot(None, field);
        let is_id = policy::is_id(field);
        let is_ours = is_id || slot.is_some() || matches!(field, "error" | "error_type" | "ms_ago");
        let Some(raw) = (if is_ours { raw.unwrapped() } else { Some(raw) }) else { return };
        match field {
            "message" => {
                self.message = raw.into_text();
                return;
            }
            "log.target" => {
                self.target = raw.into_text();
                return;
            }
            // Where in the source the record was written, as a path on the machine that built it.
            "log.module_path" | "log.file" | "log.line" => return,
            "error" => self.failure.set_error(&raw),
            "error_type" => self.failure.set_error_type(&raw),
            "ms_ago" => self.ago = Some(ago(&raw)),
            _ if is_id => return self.take_id(field, &raw),
            _ => {}
        }
        if let Some(slot) = slot {
            self.content.extend(raw.as_text().map(|text| Piece { slot, field, text: text.into_owned() }));
            return;
        }
        if matches!(raw, Raw::Error(_)) {
            self.errors.push(field);
        }
        self.attributes.push(KeyValue::new(field, raw.into_recorded()));
    }

    /// An id is read as on spans: one that is refused does not leave under any name.
    fn take_id(&mut self, field: &'static str, raw: &Raw<'_>) {
        match Rule::Id.read(raw) {
            Ok(Some(Value::String(id))) => {
                if field == "conversation_id" {
                    self.conversation_id = Some(id.clone());
                }
                self.attributes.push(KeyValue::new(field, id));
            }
            Ok(_) => {}
            Err(refusal) => self.refused_ids.push(refusal),
        }
    }

    /// Takes in what is to be known of every event, unless one of its own fields has that name.
    pub(crate) fn about(&mut self, key: Key, value: impl Into<Value>) {
        if !self.attributes.iter().any(|attribute| attribute.key.as_str() == key.name()) {
            self.attributes.push(KeyValue::new(key, value));
        }
    }
}

/// Whether this is what `tracing` calls an event without a name: then it has no message either.
pub(crate) fn is_callsite(name: &str) -> bool {
    let line = name.strip_prefix("event ").and_then(|place| place.rsplit_once(".rs:"));
    line.is_some_and(|(_, line)| line.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::{Moment, Said};
    use crate::kind::Kind;
    use crate::value::{Raw, Refusal};
    use std::time::Duration;

    #[test]
    fn a_moment_needs_a_span_that_has_it() {
        assert_eq!(Moment::of("first_token", Kind::Llm), Some(Moment::FirstChunk));
        assert_eq!(Moment::of("first_audio", Kind::Tts), Some(Moment::FirstChunk));
        assert_eq!(Moment::of("first_token", Kind::Turn), None);
        assert_eq!(Moment::of("interrupted", Kind::Turn), Some(Moment::Interrupted));
        assert_eq!(Moment::of("interrupted", Kind::Stt), None);
        assert_eq!(Moment::of("tick", Kind::Llm), None);
    }

    #[test]
    fn content_is_taken_apart() {
        let mut said = Said::default();
        said.take("transcript", Raw::Text("secret".into()));
        said.take("message", Raw::Text("heard".into()));
        said.take("count", Raw::Int(1));
        assert_eq!(said.message.as_deref(), Some("heard"));
        assert_eq!((said.attributes.len(), said.content.len()), (1, 1));
    }

    #[test]
    fn a_lateness_that_is_none_is_refused() {
        let ago = |ms| {
            let mut said = Said::default();
            said.take("ms_ago", Raw::Float(ms));
            said.ago.unwrap()
        };
        assert_eq!(ago(250.0), Ok(Duration::from_millis(250)));
        assert_eq!(ago(3_600_000.0), Ok(Duration::from_secs(3_600)));
        for ms in [-1.0, 3_600_001.0, 1_763_000_000_000.0, f64::INFINITY] {
            assert_eq!(ago(ms), Err(Refusal::OutOfRange), "{ms}");
        }
    }
}
