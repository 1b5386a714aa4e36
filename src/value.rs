//! What does a recorded value become?

use std::borrow::Cow;
use std::num::{IntErrorKind, ParseIntError};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{Array, StringValue, Value};

use crate::debug_text::{is_plain, unwrapped};

/// A value as `tracing` handed it over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw<'a> {
    Bool(bool),
    Int(i64),
    /// A whole number beyond 64 signed bits, in decimal: OpenTelemetry has no type for it.
    Huge(String),
    Float(f64),
    Text(Cow<'a, str>),
    /// The text of a `dyn Error`.
    Error(String),
    /// Text that the program's `Debug` or `Display` code made of a value.
    Formatted(Cow<'a, str>),
}

/// Why a value did not become the attribute that its field stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Text where a number belongs, a number where a truth value belongs.
    WrongType,
    /// The right type, but no such value exists: a negative count, a port of 70000.
    OutOfRange,
    /// A sampler saw another value at the span's start.
    AlreadyGiven,
    /// It counts only when the span opens.
    TooLate,
    /// The contract has no such field, and the user named none.
    Unknown,
}

impl Raw<'_> {
    /// The value that `Debug` text of an `Option` or a string holds; `None` if it says that there is none.
    #[inline]
    pub(crate) fn unwrapped(self) -> Option<Self> {
        let Self::Formatted(text) = self else { return Some(self) };
        if is_plain(&text) {
            return Some(Self::Text(text));
        }
        Some(Self::Text(match text {
            Cow::Borrowed(text) => unwrapped(text)?,
            Cow::Owned(text) => unwrapped(&text)?.into_owned().into(),
        }))
    }

    /// The value as it was recorded, for an attribute of the field's own name.
    pub(crate) fn into_recorded(self) -> Value {
        match self {
            Self::Bool(flag) => Value::Bool(flag),
            Self::Int(number) => Value::I64(number),
            Self::Float(number) => Value::F64(number),
            Self::Huge(digits) => Value::String(digits.into()),
            Self::Text(text) | Self::Formatted(text) => Value::String(text.into_owned().into()),
            Self::Error(text) => Value::String(text.into()),
        }
    }

    /// The value as text, if it is more than a truth value.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Self::Huge(text) | Self::Error(text) => Some(text),
            Self::Text(text) | Self::Formatted(text) => Some(text.into_owned()),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) => self.as_text().map(Cow::into_owned),
        }
    }

    /// The same, as long as the value is there.
    #[inline]
    pub(crate) fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Bool(_) => None,
            Self::Int(number) => Some(number.to_string().into()),
            Self::Float(number) => Some(number.to_string().into()),
            Self::Huge(text) | Self::Error(text) => Some(text.as_str().into()),
            Self::Text(text) | Self::Formatted(text) => Some(Cow::Borrowed(text)),
        }
    }
}

/// The longest time that something may lie back: more is no lateness, but a date.
pub(crate) const MAX_AGO: Duration = Duration::from_secs(3_600);

/// How long ago something was, of a value in milliseconds.
pub(crate) fn ago(raw: &Raw<'_>) -> Result<Duration, Refusal> {
    let ago = Duration::try_from_secs_f64(float(raw)? / 1_000.0).map_err(|_| Refusal::OutOfRange)?;
    within(ago, |ago| *ago <= MAX_AGO)
}

/// The longest id, in bytes.
const MAX_ID: usize = 1_024;

/// How a value is read for its attribute: the contract's "type, unit" column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Text; a number is taken as its digits. Empty text says nothing.
    Text,
    /// Text of at most 1,024 bytes: it is on every span, and conversations are found by it.
    Id,
    /// Text in lower case.
    Lowercase,
    /// Text in lower case, known aliases replaced by the conventions' registry value.
    Provider,
    /// One of the four reasons why a turn or a conversation ends.
    EndReason,
    /// A list of texts: a JSON array of strings, or one text.
    Texts,
    /// Any whole number.
    Int,
    /// A whole number from this one.
    IntFrom(i64),
    /// A whole number from 1 that says something only when it is not 1.
    ChoiceCount,
    /// A TCP port, 1 to 65535.
    Port,
    /// Any finite number.
    Float,
    /// A number from 0 to 1.
    Fraction,
    /// A number from 0.
    Amount,
    /// Milliseconds from 0, exported as seconds.
    Millis,
    /// True or false.
    Bool,
    /// True, or nothing.
    OnlyTrue,
}

impl Rule {
    /// The value of most fields: one of the rule's own type is taken as it is. `None` says that [`Self::read`] has to look.
    #[inline]
    pub(crate) fn as_is(self, raw: &Raw<'_>) -> Option<Value> {
        match (self, raw) {
            (Self::Text, Raw::Text(text)) if !text.is_empty() => Some(Value::String(Arc::<str>::from(&**text).into())),
            (Self::Int, Raw::Int(number)) => Some(Value::I64(*number)),
            (Self::IntFrom(least), Raw::Int(number)) if *number >= least => Some(Value::I64(*number)),
            (Self::Bool, Raw::Bool(flag)) => Some(Value::Bool(*flag)),
            _ => None,
        }
    }

    /// The same for a value that OpenTelemetry has already.
    #[inline]
    pub(crate) fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text, Value::String(text)) => !text.as_str().is_empty() && is_plain(text.as_str()),
            (Self::IntFrom(least), Value::I64(number)) => *number >= least,
            (Self::Int, Value::I64(_)) | (Self::Bool, Value::Bool(_)) => true,
            _ => false,
        }
    }

    /// The attribute's value; `None` takes back what an earlier record said.
    #[inline]
    pub(crate) fn read(self, raw: &Raw<'_>) -> Result<Option<Value>, Refusal> {
        match self {
            Self::Text => text(raw, |text| text.into()),
            Self::Id => {
                let fits = raw.as_text().is_none_or(|text| text.len() <= MAX_ID);
                if fits { text(raw, |text| text.into()) } else { Err(Refusal::OutOfRange) }
            }
            Self::Lowercase => text(raw, |text| lowercase(text).into()),
            Self::Provider => text(raw, |text| provider(&lowercase(text)).into()),
            Self::EndReason => match raw {
                Raw::Text(text) | Raw::Formatted(text) => end_reason(text).map(Some),
                _ => Err(Refusal::WrongType),
            },
            Self::Texts => texts(raw).map(Some),
            Self::Int => int(raw).map(|number| Some(Value::I64(number))),
            Self::IntFrom(least) => within(int(raw)?, |number| *number >= least).map(|number| Some(Value::I64(number))),
            Self::ChoiceCount => {
                let count = within(int(raw)?, |count| *count >= 1)?;
                Ok((count != 1).then_some(Value::I64(count)))
            }
            Self::Port => within(int(raw)?, |port| (1..=65_535).contains(port)).map(|port| Some(Value::I64(port))),
            Self::Float => float(raw).map(|number| Some(Value::F64(number))),
            Self::Fraction => {
                within(float(raw)?, |number| (0.0..=1.0).contains(number)).map(|number| Some(Value::F64(number)))
            }
            Self::Amount => within(float(raw)?, |number| *number >= 0.0).map(|number| Some(Value::F64(number))),
            Self::Millis => {
                within(float(raw)?, |number| *number >= 0.0).map(|number| Some(Value::F64(number / 1_000.0)))
            }
            Self::Bool => flag(raw).map(|flag| Some(Value::Bool(flag))),
            Self::OnlyTrue => flag(raw).map(|flag| flag.then_some(Value::Bool(true))),
        }
    }
}

/// A finite number, whatever type it was recorded with; text counts when all of it is one number.
pub(crate) fn float(raw: &Raw<'_>) -> Result<f64, Refusal> {
    let number = match raw {
        Raw::Bool(_) | Raw::Error(_) => return Err(Refusal::WrongType),
        #[expect(clippy::cast_precision_loss, reason = "a double is what the conventions ask for")]
        Raw::Int(number) => *number as f64,
        Raw::Float(number) => *number,
        Raw::Huge(text) => text.parse().map_err(|_| Refusal::WrongType)?,
        Raw::Text(text) | Raw::Formatted(text) => text.trim().parse().map_err(|_| Refusal::WrongType)?,
    };
    within(number, |number| number.is_finite())
}

/// Text, shared, so that the copy in the exported span and those in the spans below cost no more than a count.
#[inline]
fn text(raw: &Raw<'_>, become_text: impl Fn(&str) -> Arc<str>) -> Result<Option<Value>, Refusal> {
    let text = raw.as_text().ok_or(Refusal::WrongType)?;
    Ok((!text.is_empty()).then(|| Value::String(become_text(&text).into())))
}

/// Most names are in lower case already.
fn lowercase(text: &str) -> Cow<'_, str> {
    let is_lowercase = text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_lowercase { text.into() } else { text.to_lowercase().into() }
}

/// The registry's value for a provider, or the provider as it is.
pub(crate) fn provider(lowercase: &str) -> &str {
    match lowercase {
        "google" => "gcp.gen_ai",
        "gemini" => "gcp.gemini",
        "vertex" => "gcp.vertex_ai",
        "bedrock" => "aws.bedrock",
        "azure" => "azure.ai.openai",
        "mistral" => "mistral_ai",
        "xai" | "grok" => "x_ai",
        "moonshot" => "moonshot_ai",
        _ => lowercase,
    }
}

fn end_reason(text: &str) -> Result<Value, Refusal> {
    match text {
        "completed" => Ok("completed".into()),
        "interrupted" => Ok("interrupted".into()),
        "session_closed" => Ok("session_closed".into()),
        "error" => Ok("error".into()),
        _ => Err(Refusal::OutOfRange),
    }
}

fn texts(raw: &Raw<'_>) -> Result<Value, Refusal> {
    let text = raw.as_text().ok_or(Refusal::WrongType)?;
    let texts: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(&text).unwrap_or_else(|_| vec![text.into_owned()])
    } else {
        vec![text.into_owned()]
    };
    Ok(Value::Array(Array::String(texts.into_iter().map(StringValue::from).collect())))
}

#[inline]
fn int(raw: &Raw<'_>) -> Result<i64, Refusal> {
    /// Doubles hold every whole number up to here.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match raw {
        Raw::Int(number) => Ok(*number),
        Raw::Huge(_) => Err(Refusal::OutOfRange),
        #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
        Raw::Float(number) if number.fract() == 0.0 && number.abs() <= EXACT => Ok(*number as i64),
        Raw::Bool(_) | Raw::Float(_) | Raw::Error(_) => Err(Refusal::WrongType),
        Raw::Text(text) | Raw::Formatted(text) => {
            text.trim().parse().map_err(|error: ParseIntError| match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => Refusal::OutOfRange,
                _ => Refusal::WrongType,
            })
        }
    }
}

/// A truth value, or text that is one.
pub(crate) fn flag(raw: &Raw<'_>) -> Result<bool, Refusal> {
    match raw {
        Raw::Bool(flag) => Ok(*flag),
        Raw::Text(text) | Raw::Formatted(text) => text.trim().parse().map_err(|_| Refusal::WrongType),
        Raw::Int(_) | Raw::Huge(_) | Raw::Float(_) | Raw::Error(_) => Err(Refusal::WrongType),
    }
}

#[inline]
fn within<T>(value: T, holds: impl Fn(&T) -> bool) -> Result<T, Refusal> {
    if holds(&value) { Ok(value) } else { Err(Refusal::OutOfRange) }
}

#[cfg(test)]
mod tests {
    use super::{Raw, Refusal, Rule};
    use opentelemetry::{Array, Value};

    #[expect(clippy::needless_pass_by_value, reason = "literals read better without a borrow")]
    fn read(rule: Rule, raw: Raw<'_>) -> Result<Option<Value>, Refusal> {
        let read = rule.read(&raw);
        if let Some(value) = rule.as_is(&raw) {
            assert_eq!(read, Ok(Some(value)), "{rule:?} of {raw:?} as it is");
        }
        let recorded = raw.clone().into_recorded();
        if rule.takes(&recorded) {
            assert_eq!(read, Ok(Some(recorded)), "{rule:?} of {raw:?} as OpenTelemetry has it");
        }
        read
    }

    fn strings(texts: &[&'static str]) -> Value {
        Value::Array(Array::String(texts.iter().map(|text| (*text).into()).collect()))
    }

    #[test]
    fn a_whole_number_is_taken_whatever_type_carried_it() {
        for raw in [Raw::Int(42), Raw::Float(42.0), Raw::Text("42".into()), Raw::Text(" 42 ".into())] {
            assert_eq!(read(Rule::IntFrom(0), raw), Ok(Some(Value::I64(42))));
        }
        for raw in
            [Raw::Bool(true), Raw::Float(42.5), Raw::Float(f64::NAN), Raw::Text("many".into()), Raw::Text("".into())]
        {
            assert_eq!(read(Rule::IntFrom(0), raw), Err(Refusal::WrongType));
        }
        for raw in [Raw::Int(-1), Raw::Huge(u64::MAX.to_string()), Raw::Text(u64::MAX.to_string().into())] {
            assert_eq!(read(Rule::IntFrom(0), raw), Err(Refusal::OutOfRange));
        }
    }

    #[test]
    fn a_number_must_be_finite_and_within_its_unit() {
        assert_eq!(read(Rule::Millis, Raw::Int(310)), Ok(Some(Value::F64(0.31))));
        assert_eq!(read(Rule::Amount, Raw::Text("0.25".into())), Ok(Some(Value::F64(0.25))));
        assert_eq!(read(Rule::Float, Raw::Float(-1.5)), Ok(Some(Value::F64(-1.5))));
        for raw in [Raw::Float(f64::NAN), Raw::Float(f64::INFINITY), Raw::Int(-1), Raw::Text("NaN".into())] {
            assert_eq!(read(Rule::Millis, raw), Err(Refusal::OutOfRange));
        }
        assert_eq!(read(Rule::Fraction, Raw::Float(1.01)), Err(Refusal::OutOfRange));
        assert_eq!(read(Rule::Port, Raw::Int(70_000)), Err(Refusal::OutOfRange));
        assert_eq!(read(Rule::Port, Raw::Int(443)), Ok(Some(Value::I64(443))));
    }

    #[test]
    fn text_is_taken_as_it_is_and_nothing_says_nothing() {
        assert_eq!(read(Rule::Text, Raw::Text("GPT".into())), Ok(Some("GPT".into())));
        assert_eq!(read(Rule::Text, Raw::Int(42)), Ok(Some("42".into())));
        assert_eq!(read(Rule::Text, Raw::Text("".into())), Ok(None));
        assert_eq!(read(Rule::Text, Raw::Bool(true)), Err(Refusal::WrongType));
        assert_eq!(read(Rule::Lowercase, Raw::Text("Google".into())), Ok(Some("google".into())));
    }

    #[test]
    fn a_provider_has_its_registry_name() {
        for (given, registered) in [
            ("google", "gcp.gen_ai"),
            ("gemini", "gcp.gemini"),
            ("Vertex", "gcp.vertex_ai"),
            ("bedrock", "aws.bedrock"),
            ("azure", "azure.ai.openai"),
            ("mistral", "mistral_ai"),
            ("xai", "x_ai"),
            ("grok", "x_ai"),
            ("moonshot", "moonshot_ai"),
            ("OpenAI", "openai"),
            ("gcp.gemini", "gcp.gemini"),
        ] {
            assert_eq!(read(Rule::Provider, Raw::Text(given.into())), Ok(Some(Value::from(registered))));
        }
    }

    #[test]
    fn a_list_of_texts_is_a_json_array_or_one_text() {
        assert_eq!(
            read(Rule::Texts, Raw::Text(r#"["stop", "length"]"#.into())),
            Ok(Some(strings(&["stop", "length"])))
        );
        assert_eq!(read(Rule::Texts, Raw::Text("stop".into())), Ok(Some(strings(&["stop"]))));
        assert_eq!(read(Rule::Texts, Raw::Text("[not json".into())), Ok(Some(strings(&["[not json"]))));
        assert_eq!(read(Rule::Texts, Raw::Text("[1, 2]".into())), Ok(Some(strings(&["[1, 2]"]))));
    }

    #[test]
    fn what_says_nothing_takes_back_what_was_said() {
        assert_eq!(read(Rule::OnlyTrue, Raw::Bool(true)), Ok(Some(Value::Bool(true))));
        assert_eq!(read(Rule::OnlyTrue, Raw::Bool(false)), Ok(None));
        assert_eq!(read(Rule::ChoiceCount, Raw::Int(1)), Ok(None));
        assert_eq!(read(Rule::ChoiceCount, Raw::Int(3)), Ok(Some(Value::I64(3))));
        assert_eq!(read(Rule::ChoiceCount, Raw::Int(0)), Err(Refusal::OutOfRange));
    }

    #[test]
    fn an_end_reason_is_one_of_four() {
        assert_eq!(read(Rule::EndReason, Raw::Text("session_closed".into())), Ok(Some("session_closed".into())));
        assert_eq!(read(Rule::EndReason, Raw::Text("bored".into())), Err(Refusal::OutOfRange));
    }
}
