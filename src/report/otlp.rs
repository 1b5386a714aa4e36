//! Which spans are in the lines that a collector's file exporter writes?

use std::fmt;
use std::io::{self, BufRead, Read};

use opentelemetry::trace::{SpanId, Status, TraceId};
use opentelemetry::{Array, StringValue, Value};
use serde::Deserialize;
use serde_json::Value as Json;

use super::Report;
use super::span::{FinishedSpan, SpanEvent, Timestamp};

/// No line may be longer, in bytes: it would have to be held in memory at once.
const MAX_LINE: u64 = 256 << 20;

/// How many bad lines are told one by one.
const MAX_TOLD: usize = 100;

/// What some OTLP JSON lines told.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct OtlpReport {
    /// The conversations, and what else there was.
    pub report: Report,
    /// Lines, or spans of a line, that could not be read and were left out: the first hundred.
    pub bad_lines: Vec<BadLine>,
    /// How many there were in all.
    pub bad: u64,
}

/// A line that could not be read, or a span of it that could not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadLine {
    /// The line's number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for BadLine {}

/// Reads OTLP JSON, a line a request, as a collector's file exporter writes it, and assembles the conversations in it.
///
/// Lines without spans (metrics, logs, empty ones) are passed over. A line that can't be read is left out, told and counted.
/// A reader that fails ends it; that is told as a bad line too.
pub fn from_otlp_json(reader: impl BufRead) -> OtlpReport {
    let (mut spans, mut told) = (Vec::new(), OtlpReport::default());
    for span in spans_from_otlp_json(reader) {
        match span {
            Ok(span) => spans.push(span),
            Err(bad) => {
                told.bad += 1;
                if told.bad_lines.len() < MAX_TOLD {
                    told.bad_lines.push(bad);
                }
            }
        }
    }
    OtlpReport { report: Report::of(spans), ..told }
}

/// The spans of OTLP JSON lines, read line by line as they are asked for; see [`from_otlp_json`].
pub fn spans_from_otlp_json<R: BufRead>(reader: R) -> OtlpSpans<R> {
    OtlpSpans { reader, line: 0, found: Vec::new().into_iter(), is_over: false }
}

/// See [`spans_from_otlp_json`].
#[derive(Debug)]
pub struct OtlpSpans<R> {
    reader: R,
    line: u64,
    found: std::vec::IntoIter<Result<FinishedSpan, String>>,
    is_over: bool,
}

impl<R: BufRead> Iterator for OtlpSpans<R> {
    type Item = Result<FinishedSpan, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(span) = self.found.next() {
                return Some(span.map_err(|reason| BadLine { line: self.line, reason }));
            }
            if self.is_over {
                return None;
            }
            self.line += 1;
            let found = match self.read_line() {
                Ok(None) => {
                    self.is_over = true;
                    return None;
                }
                Ok(Some(line)) => spans_of(&line),
                Err(error) => {
                    // A line that is too long is skipped; a reader that fails may do so for ever.
                    self.is_over = error.kind() != io::ErrorKind::FileTooLarge;
                    vec![Err(error.to_string())]
                }
            };
            self.found = found.into_iter();
        }
    }
}

impl<R: BufRead> OtlpSpans<R> {
    fn read_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if u64::try_from(read).is_ok_and(|read| read >= MAX_LINE) && line.last() != Some(&b'\n') {
            self.reader.skip_until(b'\n')?;
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 256 MiB"));
        }
        Ok((read > 0).then_some(line))
    }
}

fn spans_of(line: &[u8]) -> Vec<Result<FinishedSpan, String>> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    if line.is_empty() {
        return Vec::new();
    }
    let request: Request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return vec![Err(error.to_string())],
    };
    let Some(resources) = request.spans else {
        let is_known = request.metrics.is_some() || request.logs.is_some();
        return if is_known { Vec::new() } else { vec![Err("no resourceSpans".to_owned())] };
    };
    let mut spans = Vec::new();
    for resource in resources {
        let service = resource.resource.attributes.iter().find(|pair| pair.key == "service.name");
        let service = service.and_then(|pair| value(&pair.value)).map(|value| value.to_string());
        let of_scopes = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(of_scopes.map(|span| {
            let span: Span = serde_json::from_value(span).map_err(|error| format!("a span: {error}"))?;
            span.finished(service.clone())
        }));
    }
    spans
}

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "resourceSpans", alias = "resource_spans")]
    spans: Option<Vec<ResourceSpans>>,
    #[serde(rename = "resourceMetrics", alias = "resource_metrics")]
    metrics: Option<serde::de::IgnoredAny>,
    #[serde(rename = "resourceLogs", alias = "resource_logs")]
    logs: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    #[serde(default)]
    resource: Resource,
    #[serde(default, alias = "scope_spans", alias = "instrumentationLibrarySpans")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource {
    attributes: Vec<Pair>,
}

#[derive(Deserialize)]
struct ScopeSpans {
    /// Read one by one, so that a bad one leaves the others.
    #[serde(default)]
    spans: Vec<Json>,
}

#[derive(Deserialize)]
struct Pair {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Json,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(default, alias = "trace_id")]
    trace_id: String,
    #[serde(default, rename = "spanId", alias = "span_id")]
    id: String,
    #[serde(default, alias = "parent_span_id")]
    parent_span_id: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default, alias = "start_time_unix_nano")]
    start_time_unix_nano: Json,
    #[serde(default, alias = "end_time_unix_nano")]
    end_time_unix_nano: Json,
    #[serde(default)]
    attributes: Vec<Pair>,
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    status: Option<SpanStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default, alias = "time_unix_nano")]
    time_unix_nano: Json,
    #[serde(default)]
    name: String,
    #[serde(default)]
    attributes: Vec<Pair>,
}

#[derive(Deserialize)]
struct SpanStatus {
    #[serde(default)]
    code: Json,
    #[serde(default)]
    message: String,
}

impl Span {
    fn finished(self, service: Option<String>) -> Result<FinishedSpan, String> {
        let trace_id = TraceId::from_hex(&self.trace_id).ok().filter(|id| *id != TraceId::INVALID);
        let trace_id = trace_id.filter(|_| self.trace_id.len() == 32);
        let span_id = |hex: &str| SpanId::from_hex(hex).ok().filter(|id| *id != SpanId::INVALID && hex.len() == 16);
        let parent = self.parent_span_id.filter(|hex| !hex.trim_matches('0').is_empty());
        let parent_id = match &parent {
            Some(hex) => Some(span_id(hex).ok_or_else(|| format!("a span's parent id is {hex:?}"))?),
            None => None,
        };
        Ok(FinishedSpan {
            trace_id: trace_id.ok_or_else(|| format!("a span's trace id is {:?}", self.trace_id))?,
            span_id: span_id(&self.id).ok_or_else(|| format!("a span's id is {:?}", self.id))?,
            parent_id,
            start: time(&self.start_time_unix_nano).ok_or("a span's start is no time")?,
            end: time(&self.end_time_unix_nano).ok_or("a span's end is no time")?,
            name: self.name,
            attributes: pairs(self.attributes),
            events: self.events.into_iter().map(Event::finished).collect(),
            status: self.status.map_or(Status::Unset, SpanStatus::finished),
            service,
        })
    }
}

impl Event {
    fn finished(self) -> SpanEvent {
        SpanEvent {
            name: self.name,
            time: time(&self.time_unix_nano).unwrap_or_default(),
            attributes: pairs(self.attributes),
        }
    }
}

impl SpanStatus {
    fn finished(self) -> Status {
        match &self.code {
            Json::Number(code) if code.as_u64() == Some(2) => Status::error(self.message),
            Json::Number(code) if code.as_u64() == Some(1) => Status::Ok,
            Json::String(code) if code == "STATUS_CODE_ERROR" => Status::error(self.message),
            Json::String(code) if code == "STATUS_CODE_OK" => Status::Ok,
            _ => Status::Unset,
        }
    }
}

/// Nanoseconds, as a string or a number.
fn time(json: &Json) -> Option<Timestamp> {
    let nanos = match json {
        Json::String(digits) => digits.parse().ok(),
        _ => json.as_u64(),
    };
    nanos.map(Timestamp::from_unix_nanos)
}

fn pairs(pairs: Vec<Pair>) -> Vec<(String, Value)> {
    pairs.into_iter().filter_map(|pair| Some((pair.key, value(&pair.value)?))).collect()
}

/// An `AnyValue`; one that an attribute can't hold becomes its JSON.
fn value(any: &Json) -> Option<Value> {
    let (kind, inner) = any.as_object()?.iter().next()?;
    Some(match (kind.as_str(), inner) {
        ("stringValue" | "string_value", Json::String(text)) => text.clone().into(),
        ("boolValue" | "bool_value", Json::Bool(flag)) => Value::Bool(*flag),
        ("intValue" | "int_value", Json::String(digits)) => {
            digits.parse().map_or_else(|_| digits.clone().into(), Value::I64)
        }
        ("intValue" | "int_value", Json::Number(number)) => Value::I64(number.as_i64()?),
        ("doubleValue" | "double_value", Json::Number(number)) => Value::F64(number.as_f64()?),
        // `NaN`, `Infinity` and `-Infinity` are strings.
        ("doubleValue" | "double_value", Json::String(text)) => Value::F64(text.parse().ok()?),
        ("arrayValue" | "array_value", list) => array(list.get("values").and_then(Json::as_array)),
        (_, inner) => inner.to_string().into(),
    })
}

fn array(values: Option<&Vec<Json>>) -> Value {
    let values: Vec<Value> = values.into_iter().flatten().filter_map(value).collect();
    Value::Array(Array::String(values.iter().map(|value| StringValue::from(value.to_string())).collect()))
}
