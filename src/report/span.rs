//! What is a finished span, with no exporter in sight?

use std::fmt;
use std::time::Duration;

use chrono::DateTime;
use opentelemetry::trace::{SpanId, Status, TraceId};
use opentelemetry::{Array, Value};

/// A point in time: nanoseconds since the Unix epoch.
///
/// `Display` writes it as RFC 3339 in UTC, to the microsecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The point in time so many nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_unix_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` it is; zero where it is before that.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The point in time so much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The point in time so much earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time of day in UTC, `12:03:11Z`.
    pub(super) fn time_of_day(self) -> String {
        self.to_utc().format("%H:%M:%SZ").to_string()
    }

    fn to_utc(self) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp_nanos(i64::try_from(self.0).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_utc().format("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

/// A span that has ended, as any exporter sees it: plain values.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedSpan {
    /// The trace that the span is in.
    pub trace_id: TraceId,
    /// The span's own id.
    pub span_id: SpanId,
    /// The id of the span that it hangs on; `None` for a root.
    pub parent_id: Option<SpanId>,
    /// The exported name, as `chat gpt-4o`.
    pub name: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended. Before its start where clocks ran backwards.
    pub end: Timestamp,
    /// The attributes, as exported. Of several with the same key the last one counts.
    pub attributes: Vec<(String, Value)>,
    /// The span events.
    pub events: Vec<SpanEvent>,
    /// The status.
    pub status: Status,
    /// `service.name` of the resource.
    pub service: Option<String>,
}

impl Default for FinishedSpan {
    fn default() -> Self {
        Self {
            trace_id: TraceId::INVALID,
            span_id: SpanId::INVALID,
            parent_id: None,
            name: String::new(),
            start: Timestamp::default(),
            end: Timestamp::default(),
            attributes: Vec::new(),
            events: Vec::new(),
            status: Status::Unset,
            service: None,
        }
    }
}

/// Something that happened in a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpanEvent {
    /// What happened, as `exception`.
    pub name: String,
    /// When.
    pub time: Timestamp,
    /// The event's attributes, as exported.
    pub attributes: Vec<(String, Value)>,
}

/// The value that a list of attributes has under this key; the last one counts.
pub(super) fn value_of<'a>(attributes: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    attributes.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
}

/// A value as a text. Empty ones, and `unknown` where a library writes that instead of nothing, are none.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text.as_str()).filter(|text| !text.is_empty() && *text != "unknown"),
        _ => None,
    }
}

/// A value as a count: not negative, also where a library wrote it as a float or as digits.
pub(super) fn count(value: &Value) -> Option<u64> {
    match value {
        Value::I64(count) => u64::try_from(*count).ok(),
        Value::F64(count) if count.fract() == 0.0 && (0.0..9e15).contains(count) => format!("{count:.0}").parse().ok(),
        Value::String(digits) => digits.as_str().parse().ok(),
        _ => None,
    }
}

/// A value as an amount: finite and not negative.
pub(super) fn amount(value: &Value) -> Option<f64> {
    let amount = match value {
        Value::F64(amount) => Some(*amount),
        Value::String(digits) => digits.as_str().parse().ok(),
        _ => count(value).and_then(|count| u32::try_from(count).ok()).map(f64::from),
    };
    amount.filter(|amount| amount.is_finite() && *amount >= 0.0)
}

/// Seconds as a duration.
pub(super) fn seconds(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(amount(value)?).ok()
}

/// A value as a flag.
pub(super) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.as_str().to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

/// A value as a list of texts; a text is a list of one.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(Array::String(texts)) => texts.iter().map(|text| text.as_str().to_owned()).collect(),
        _ => text(value).map(str::to_owned).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Timestamp, amount, count, flag, seconds, text, value_of};
    use opentelemetry::Value;
    use std::time::Duration;

    #[test]
    fn a_count_is_read_however_a_library_writes_it() {
        for (value, expected) in [
            (Value::I64(42), Some(42)),
            (Value::F64(42.0), Some(42)),
            (Value::String("42".into()), Some(42)),
            (Value::I64(-1), None),
            (Value::F64(0.5), None),
            (Value::F64(f64::NAN), None),
            (Value::String("NOT_GIVEN".into()), None),
            (Value::Bool(true), None),
        ] {
            assert_eq!(count(&value), expected, "{value:?}");
        }
    }

    #[test]
    fn what_is_no_amount_of_anything_is_none() {
        for value in [f64::NAN, f64::INFINITY, -0.5] {
            assert_eq!(amount(&Value::F64(value)), None, "{value}");
        }
        assert_eq!(seconds(&Value::F64(1e300)), None);
        assert_eq!(seconds(&Value::I64(2)), Some(Duration::from_secs(2)));
        assert_eq!(flag(&Value::String("False".into())), Some(false));
        assert_eq!(text(&Value::String("unknown".into())), None);
    }

    #[test]
    fn the_last_value_of_a_key_counts() {
        let attributes = [("a".to_owned(), Value::I64(1)), ("b".to_owned(), Value::I64(2)), ("a".to_owned(), 3.into())];
        assert_eq!(value_of(&attributes, "a"), Some(&Value::I64(3)));
    }

    #[test]
    fn time_does_not_run_backwards() {
        let (earlier, later) = (Timestamp::from_unix_nanos(5), Timestamp::from_unix_nanos(7));
        assert_eq!(later.since(earlier), Duration::from_nanos(2));
        assert_eq!(earlier.since(later), Duration::ZERO);
        assert_eq!(earlier.before(Duration::MAX), Timestamp::default());
        assert_eq!(Timestamp::from_unix_nanos(u64::MAX).after(Duration::MAX).as_unix_nanos(), u64::MAX);
        assert_eq!(later.to_string(), "1970-01-01T00:00:00.000000Z");
    }
}
