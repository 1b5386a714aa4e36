//! The recordings arrive over OTLP as they were, straight and through a collector that is not ours.
#![cfg(test)]
#![cfg(feature = "otlp")]

#[allow(dead_code, reason = "the example uses all of it")]
#[path = "../examples/replay/player.rs"]
mod player;
mod receiver;
#[allow(dead_code, reason = "the example uses all of it")]
#[path = "../examples/replay/recording.rs"]
mod recording;
mod sending;
#[allow(dead_code, reason = "the example uses all of it")]
#[path = "../examples/replay/spans.rs"]
mod spans;
mod support;

use std::borrow::Cow;
use std::pin::pin;
use std::task;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Span, SpanBuilder, SpanContext, SpanId, Status, Tracer, TracerProvider};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as Pair};
use opentelemetry_proto::tonic::trace::v1 as proto;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracer, SpanData, SpanExporter};
use player::Parents;
use receiver::rotel::Rotel;
use receiver::{Manner, Receiver, Transport};
use recording::Recording;
use sending::{ENDPOINT, PROTOCOL, PROTOCOLS, succeeded};
use support::console::{child, is_child, stderr, stdout};
use tracing_genai::{GenAi, Telemetry};
use tracing_subscriber::prelude::*;

/// What the player says of a recording that it can't play.
#[derive(Debug)]
#[expect(dead_code, reason = "it is shown in panics alone")]
struct Complaint(String);

/// The tracer of a [`Telemetry`], whose spans an in-memory exporter gets as well.
struct Tee {
    tracer: SdkTracer,
    exporter: InMemorySpanExporter,
}

struct TeeSpan {
    span: opentelemetry_sdk::trace::Span,
    exporter: InMemorySpanExporter,
}

impl Tracer for Tee {
    type Span = TeeSpan;

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> TeeSpan {
        TeeSpan { span: self.tracer.build_with_context(builder, parent), exporter: self.exporter.clone() }
    }
}

impl Span for TeeSpan {
    fn add_event_with_timestamp<T>(&mut self, name: T, timestamp: SystemTime, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        self.span.add_event_with_timestamp(name, timestamp, attributes);
    }

    fn span_context(&self) -> &SpanContext {
        self.span.span_context()
    }

    fn is_recording(&self) -> bool {
        self.span.is_recording()
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        self.span.set_attribute(attribute);
    }

    fn set_status(&mut self, status: Status) {
        self.span.set_status(status);
    }

    fn update_name<T>(&mut self, name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        self.span.update_name(name);
    }

    fn add_link(&mut self, span_context: SpanContext, attributes: Vec<KeyValue>) {
        self.span.add_link(span_context, attributes);
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        let data = self.span.exported_data().map(|data| SpanData { end_time: timestamp, ..data });
        done(self.exporter.export(data.into_iter().collect()));
        self.span.end_with_timestamp(timestamp);
    }
}

/// The in-memory exporter waits for nothing.
fn done(export: impl Future<Output = OTelSdkResult>) {
    assert!(pin!(export).poll(&mut task::Context::from_waker(task::Waker::noop())).is_ready());
}

/// Replays a recording over OTLP, and prints what the in-memory exporter has of it.
#[tokio::main]
async fn replay(recording: &str) {
    let file = format!("{}/examples/recordings/{recording}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let recording = Recording::read(&file).unwrap().at_speed(50.0).unwrap();
    let telemetry = Telemetry::from_env().unwrap();
    let exporter = InMemorySpanExporter::default();
    let tee = Tee { tracer: telemetry.tracer_provider().tracer("tracing-genai"), exporter: exporter.clone() };
    tracing_subscriber::registry().with(GenAi::from_env().layer(tee)).init();
    let playing = tokio::task::spawn_blocking(move || player::play(recording, Parents::Explicit));
    let mut tasks = playing.await.unwrap().unwrap();
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    drop(telemetry);
    println!();
    for span in exporter.get_finished_spans().unwrap() {
        println!("SPAN {}", of_memory(&span));
    }
}

/// All that there is of a span in one line.
struct Line {
    name: String,
    ids: [String; 3],
    times: [u64; 2],
    /// The OpenTelemetry span kind, as its number in the protocol.
    kind: i32,
    status: String,
    attributes: Vec<String>,
    events: Vec<String>,
    links: Vec<String>,
    dropped: u32,
}

impl Line {
    fn text(mut self) -> String {
        self.attributes.sort();
        let Self { name, ids, times, kind, status, attributes, events, links, dropped } = self;
        format!("{name:?} {ids:?} {times:?} {kind} {status} {attributes:?} {events:?} {links:?} {dropped}")
    }
}

fn event(name: &str, time: u64, mut attributes: Vec<String>) -> String {
    attributes.sort();
    format!("{name:?} {time} {attributes:?}")
}

fn of_memory(span: &SpanData) -> String {
    use opentelemetry::trace::SpanKind;
    let nanoseconds = |time: SystemTime| u64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    let pairs = |pairs: &[KeyValue]| -> Vec<_> {
        pairs.iter().map(|pair| format!("{}={}", pair.key, value_of_memory(&pair.value))).collect()
    };
    let parent = span.parent_span_id;
    let ids = [
        span.span_context.trace_id().to_string(),
        span.span_context.span_id().to_string(),
        if parent == SpanId::INVALID { String::new() } else { parent.to_string() },
    ];
    let link = |link: &opentelemetry::trace::Link| {
        let of = &link.span_context;
        event(&of.trace_id().to_string(), 0, [pairs(&link.attributes), vec![of.span_id().to_string()]].concat())
    };
    Line {
        name: span.name.to_string(),
        ids,
        times: [nanoseconds(span.start_time), nanoseconds(span.end_time)],
        kind: match span.span_kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        },
        status: match &span.status {
            Status::Unset => "unset".into(),
            Status::Ok => "ok".into(),
            Status::Error { description } => format!("error {description:?}"),
        },
        attributes: pairs(&span.attributes),
        events: span
            .events
            .iter()
            .map(|one| event(&one.name, nanoseconds(one.timestamp), pairs(&one.attributes)))
            .collect(),
        links: span.links.iter().map(link).collect(),
        dropped: span.dropped_attributes_count + span.events.dropped_count + span.links.dropped_count,
    }
    .text()
}

fn value_of_memory(value: &Value) -> String {
    match value {
        Value::Bool(truth) => format!("bool {truth}"),
        Value::I64(number) => format!("int {number}"),
        Value::F64(number) => format!("double {number:?}"),
        Value::String(text) => format!("text {:?}", text.as_str()),
        Value::Array(Array::String(texts)) => {
            format!("texts {:?}", texts.iter().map(StringValue::as_str).collect::<Vec<_>>())
        }
        other => panic!("{other:?}"),
    }
}

fn of_receiver(span: &proto::Span) -> String {
    let pairs = |pairs: &[Pair]| -> Vec<_> {
        pairs.iter().map(|pair| format!("{}={}", pair.key, value_of_receiver(pair.value.as_ref()))).collect()
    };
    let link = |link: &proto::span::Link| {
        event(&hex(&link.trace_id), 0, [pairs(&link.attributes), vec![hex(&link.span_id)]].concat())
    };
    let status = span.status.as_ref().map(|status| (status.code(), status.message.as_str())).unwrap_or_default();
    Line {
        name: span.name.clone(),
        ids: [hex(&span.trace_id), hex(&span.span_id), hex(&span.parent_span_id)],
        times: [span.start_time_unix_nano, span.end_time_unix_nano],
        kind: span.kind,
        status: match status {
            (StatusCode::Unset, _) => "unset".into(),
            (StatusCode::Ok, _) => "ok".into(),
            (StatusCode::Error, text) => format!("error {text:?}"),
        },
        attributes: pairs(&span.attributes),
        events: span.events.iter().map(|one| event(&one.name, one.time_unix_nano, pairs(&one.attributes))).collect(),
        links: span.links.iter().map(link).collect(),
        dropped: span.dropped_attributes_count + span.dropped_events_count + span.dropped_links_count,
    }
    .text()
}

fn value_of_receiver(value: Option<&AnyValue>) -> String {
    let text = |value: &AnyValue| match value.value.as_ref() {
        Some(Any::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::BoolValue(truth)) => format!("bool {truth}"),
        Some(Any::IntValue(number)) => format!("int {number}"),
        Some(Any::DoubleValue(number)) => format!("double {number:?}"),
        Some(Any::StringValue(text)) => format!("text {text:?}"),
        Some(Any::ArrayValue(array)) => format!("texts {:?}", array.values.iter().map(text).collect::<Vec<_>>()),
        other => panic!("{other:?}"),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Each recording, sent there, is at the receiver what it is in memory, to the nanosecond.
#[track_caller]
fn all_arrive(test: &str, receiver: &Receiver, endpoint: &str, protocol: &str) {
    for recording in ["two-turns", "tool-call", "barge-in", "errors"] {
        let before = receiver.spans().len();
        let output = child(test)
            .env("RECORDING", recording)
            .env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
            .env("OTEL_METRICS_EXPORTER", "none")
            .env(ENDPOINT, endpoint)
            .env(PROTOCOL, protocol)
            .output()
            .unwrap();
        succeeded(&output);
        assert_eq!(stderr(&output), "", "{recording} {protocol}");
        let said = stdout(&output);
        let mut expected: Vec<_> =
            said.lines().filter_map(|line| line.strip_prefix("SPAN ")).map(str::to_owned).collect();
        assert!(expected.len() > 4, "{said}");
        expected.sort();
        // A collector in between has its own time.
        let end = Instant::now() + Duration::from_secs(10);
        while receiver.spans().len() < before + expected.len() && Instant::now() < end {
            sleep(Duration::from_millis(10));
        }
        let trace = |line: &String| line.split('"').nth(3).unwrap().to_owned();
        let traces: Vec<_> = expected.iter().map(trace).collect();
        let mut arrived: Vec<_> = receiver.spans().iter().map(of_receiver).collect();
        arrived.retain(|line| traces.contains(&trace(line)));
        arrived.sort();
        assert_eq!(arrived.len(), expected.len(), "{recording} {protocol}");
        for (arrived, expected) in arrived.iter().zip(&expected) {
            assert_eq!(arrived, expected, "{recording} {protocol}");
        }
    }
}

#[test]
fn recordings_arrive_as_the_in_memory_exporter_has_them() {
    const TEST: &str = "recordings_arrive_as_the_in_memory_exporter_has_them";
    if is_child(TEST) {
        return replay(&std::env::var("RECORDING").unwrap());
    }
    for (protocol, transport) in PROTOCOLS {
        let receiver = Receiver::start(*transport, Manner::Well);
        all_arrive(TEST, &receiver, &receiver.endpoint(), protocol);
    }
}

#[test]
fn recordings_arrive_through_rotel_as_the_in_memory_exporter_has_them() {
    const TEST: &str = "recordings_arrive_through_rotel_as_the_in_memory_exporter_has_them";
    if is_child(TEST) {
        return replay(&std::env::var("RECORDING").unwrap());
    }
    // What it takes over one transport it hands on over the other.
    for on in [Transport::Http, Transport::Grpc] {
        let receiver = Receiver::start(on, Manner::Well);
        let Some(rotel) = Rotel::before(&receiver, on) else { return };
        for (protocol, transport) in PROTOCOLS.iter().filter(|(_, transport)| *transport != on) {
            all_arrive(TEST, &receiver, &rotel.endpoint(*transport), protocol);
        }
        assert!(!rotel.said().contains("ERROR"), "{}", rotel.said());
    }
}
