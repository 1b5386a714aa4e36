//! What is measured arrives over OTLP as it was, and a receiver that takes none of it costs nothing.
#![cfg(test)]
#![cfg(feature = "otlp")]

mod receiver;
mod sending;
mod support;

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric};
use opentelemetry_sdk::error::OTelSdkError;
use receiver::rotel::Rotel;
use receiver::{Manner, Receiver, Transport};
use sending::{ENDPOINT, PROTOCOLS, sending, succeeded};
use support::console::{child, is_child, stderr, stdout};
use support::measured::{Point, Points, Shape, is_a_time, measured, named, two_conversations};
use tracing_genai::{Telemetry, TelemetryError};
use tracing_subscriber::prelude::*;

const EXPORTER: &str = "OTEL_METRICS_EXPORTER";
const OF_METRICS: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";

fn run(telemetry: &Telemetry) {
    let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    tracing::subscriber::with_default(subscriber, two_conversations);
}

/// What arrived, as the in-memory exporter would have it.
fn arrived(receiver: &Receiver) -> Points {
    receiver.metrics().iter().flat_map(|scope| &scope.metrics).flat_map(of_metric).collect()
}

fn of_metric(metric: &Metric) -> Vec<(String, Point)> {
    let point = |attributes: &[KeyValue], temporality, shape, count, sum| {
        let texts = attributes.iter().map(|pair| format!("{}={}", pair.key, text(pair))).collect();
        let is_cumulative = temporality == AggregationTemporality::Cumulative;
        (named(&metric.name, texts), Point { unit: metric.unit.clone(), is_cumulative, shape, count, sum })
    };
    match metric.data.as_ref().unwrap() {
        Data::Sum(data) => {
            let points = data.data_points.iter().map(|value| {
                let (sum, is_whole) = match value.value.unwrap() {
                    Value::AsDouble(sum) => (sum, false),
                    Value::AsInt(sum) => (f64::from(i32::try_from(sum).unwrap()), true),
                };
                let shape = Shape::Sum { is_monotonic: data.is_monotonic, is_whole };
                point(&value.attributes, data.aggregation_temporality(), shape, 1, sum)
            });
            points.collect()
        }
        Data::Histogram(data) => {
            let points = data.data_points.iter().map(|value| {
                let (bounds, buckets) = (value.explicit_bounds.clone(), value.bucket_counts.clone());
                let shape = Shape::Histogram { bounds, buckets };
                point(&value.attributes, data.aggregation_temporality(), shape, value.count, value.sum.unwrap())
            });
            points.collect()
        }
        other => panic!("{other:?}"),
    }
}

fn text(pair: &KeyValue) -> &str {
    match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// A point whose values are never the same twice: all but those.
fn timeless((name, point): (&String, &Point)) -> (String, Point) {
    let mut point = point.clone();
    if is_a_time(name) {
        point.sum = 0.0;
        if let Shape::Histogram { buckets, .. } = &mut point.shape {
            *buckets = vec![buckets.iter().sum()];
        }
    }
    (name.clone(), point)
}

/// The data points as the console prints them, but for the least and the greatest value.
fn lines(points: &Points) -> BTreeMap<String, String> {
    let line = |(name, point): (&String, &Point)| {
        let value = match &point.shape {
            Shape::Sum { is_whole: true, .. } => format!("{}", point.sum),
            Shape::Sum { .. } => format!("{:?}", point.sum),
            // A count of tokens has whole sums.
            Shape::Histogram { .. } if point.unit == "{token}" => format!("count={} sum={}", point.count, point.sum),
            Shape::Histogram { .. } => format!("count={} sum={:?}", point.count, point.sum),
        };
        (name.clone(), value)
    };
    points.iter().map(line).collect()
}

/// What the console printed, in the same way.
fn printed(stdout: &str) -> BTreeMap<String, String> {
    let mut metric = "";
    let mut points = BTreeMap::new();
    for line in stdout.lines().skip_while(|line| *line != "Metrics") {
        if let Some(point) = line.strip_prefix("\t\t{") {
            let (attributes, value) = point.rsplit_once("} ").unwrap();
            let value = value.split(" min=").next().unwrap();
            points.insert(format!("{metric} {{{attributes}}}"), value.to_owned());
        } else if let Some(name) = line.strip_prefix('\t') {
            metric = name.split(' ').next().unwrap();
        }
    }
    points
}

#[test]
fn data_points_arrive_as_the_in_memory_exporter_has_them() {
    const TEST: &str = "data_points_arrive_as_the_in_memory_exporter_has_them";
    if is_child(TEST) {
        let telemetry = Telemetry::from_env().unwrap();
        run(&telemetry);
        let stats = telemetry.shutdown(Duration::from_secs(10)).unwrap();
        assert_eq!((stats.metrics_exported, stats.metrics_failed), (1, 0));
        return;
    }
    let expected: Points = measured(two_conversations).iter().map(timeless).collect();
    assert_eq!(expected.len(), 26);
    for (protocol, transport) in PROTOCOLS {
        let receiver = Receiver::start(*transport, Manner::Well);
        let output = sending(TEST, &receiver, protocol)
            .env(EXPORTER, "console, otlp")
            .env("OTEL_SERVICE_NAME", "my-agent")
            .output();
        let output = output.unwrap();
        succeeded(&output);
        assert_eq!(stderr(&output), "");

        let points = arrived(&receiver);
        assert_eq!(points.iter().map(timeless).collect::<Points>(), expected, "{protocol}");
        // Those that take time as well: the same numbers, printed.
        assert_eq!(lines(&points), printed(&stdout(&output)), "{protocol}");
        let tokens = &points["gen_ai.client.token.usage {gen_ai.operation.name=chat, gen_ai.provider.name=openai, \
             gen_ai.request.model=gpt-4o, gen_ai.token.type=input}"];
        let Shape::Histogram { bounds, buckets } = &tokens.shape else { panic!("{tokens:?}") };
        assert_eq!((tokens.unit.as_str(), bounds.len(), bounds[13]), ("{token}", 14, 67_108_864.0));
        assert_eq!((buckets.len(), buckets[4]), (15, 2), "100 is above 64 and up to 256");

        let scope = receiver.metrics()[0].scope.clone();
        let InstrumentationScope { name, version, .. } = scope.unwrap();
        assert_eq!((name.as_str(), version.as_str()), ("tracing-genai", env!("CARGO_PKG_VERSION")));
        let resource = receiver.requests_of_metrics()[0].body.resource_metrics[0].resource.clone().unwrap();
        assert_eq!(text(resource.attributes.iter().find(|pair| pair.key == "service.name").unwrap()), "my-agent");
    }
}

#[test]
fn data_points_arrive_through_rotel() {
    const TEST: &str = "data_points_arrive_through_rotel";
    if is_child(TEST) {
        return run(&Telemetry::from_env().unwrap());
    }
    let receiver = Receiver::start(Transport::Http, Manner::Well);
    let Some(rotel) = Rotel::before(&receiver, Transport::Http) else { return };
    // HTTP JSON it takes, and loses.
    for (protocol, transport) in PROTOCOLS.iter().filter(|(protocol, _)| *protocol != "http/json") {
        let before = receiver.requests_of_metrics().len();
        let output = child(TEST)
            .env(ENDPOINT, rotel.endpoint(*transport))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env(EXPORTER, "console,otlp")
            .output()
            .unwrap();
        succeeded(&output);
        assert_eq!(stderr(&output), "", "{protocol}");
        let end = Instant::now() + Duration::from_secs(10);
        while receiver.requests_of_metrics().len() == before && Instant::now() < end {
            sleep(Duration::from_millis(10));
        }
        assert_eq!(lines(&arrived(&receiver)), printed(&stdout(&output)), "{protocol}: {}", rotel.said());
        assert_eq!(arrived(&receiver).len(), 26);
    }
}

/// The program of the tests below: what it measures, and after half a second its shutdown.
fn for_half_a_second() {
    let telemetry = Telemetry::from_env().unwrap();
    run(&telemetry);
    sleep(Duration::from_millis(500));
    let ended = telemetry.shutdown(Duration::from_secs(10));
    let stats = telemetry.stats();
    println!("\nended: {}", ended.map_or_else(|error| error.to_string(), |_| "well".into()));
    println!("exported: {}\nfailed: {}", stats.metrics_exported, stats.metrics_failed);
    println!("spans: {}", stats.otlp.exported);
}

/// A line of what that program said.
#[track_caller]
fn said(output: &Output, what: &str) -> String {
    succeeded(output);
    let text = stdout(output);
    text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(": ").map(str::to_owned)).unwrap()
}

#[test]
fn metrics_have_variables_of_their_own() {
    const TEST: &str = "metrics_have_variables_of_their_own";
    if is_child(TEST) {
        return for_half_a_second();
    }
    for (protocol, transport) in PROTOCOLS {
        let receiver = Receiver::start(*transport, Manner::Well);
        let path = if *transport == Transport::Http { "/v1/metrics" } else { "" };
        let output = child(TEST)
            .env(OF_METRICS, format!("{}{path}", receiver.endpoint()))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "of no use")
            .env("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-one=1")
            .env("OTEL_EXPORTER_OTLP_HEADERS", "x-two=2")
            .env("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip")
            .env("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
            .env(INTERVAL, "50")
            .output()
            .unwrap();
        assert_eq!((said(&output, "ended").as_str(), stderr(&output).as_str()), ("well", ""), "{protocol}");
        assert_eq!(receiver.requests().len(), 0, "spans have an endpoint of their own, and it is not set");
        let requests = receiver.requests_of_metrics();
        assert!(requests.len() > 2, "{protocol}: {} in half a second, one each 50 ms", requests.len());
        assert_eq!(said(&output, "exported"), requests.len().to_string());
        let headers = &requests[0].headers;
        assert_eq!((headers["x-one"].as_str(), headers.get("x-two")), ("1", None), "{protocol}");
        let encoding = if *transport == Transport::Http { "content-encoding" } else { "grpc-encoding" };
        assert_eq!(headers[encoding], "gzip", "{protocol}");

        let counts = requests.iter().flat_map(|request| &request.body.resource_metrics);
        let metrics = counts.flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics);
        let points: Vec<_> = metrics.flat_map(of_metric).filter(|(name, _)| name.starts_with("voice.cost")).collect();
        let sum: f64 = points.iter().map(|(_, point)| point.sum).sum();
        assert!(points.iter().all(|(_, point)| !point.is_cumulative) && (sum - 0.25).abs() < 1e-9, "{points:?}");
    }
}

#[test]
fn a_receiver_of_spans_alone_is_asked_once_unless_metrics_were_asked_for_by_name() {
    const TEST: &str = "a_receiver_of_spans_alone_is_asked_once_unless_metrics_were_asked_for_by_name";
    if is_child(TEST) {
        return for_half_a_second();
    }
    for (protocol, transport) in PROTOCOLS {
        let receiver = Receiver::start(*transport, Manner::SpansOnly);
        let output = |asking: &mut Command| asking.env(INTERVAL, "50").output().unwrap();

        let implied = output(&mut sending(TEST, &receiver, protocol));
        assert_eq!((said(&implied, "ended").as_str(), said(&implied, "failed").as_str()), ("well", "1"), "{protocol}");
        assert_eq!(said(&implied, "spans"), "16");
        let warned = stderr(&implied);
        assert!(
            warned.starts_with("tracing-genai: the OTLP receiver takes no metrics, and is sent no more of them (")
                && warned.ends_with("): OTEL_METRICS_EXPORTER=none says so from the start\n")
                && warned.lines().count() == 1,
            "{protocol}: {warned}"
        );

        let by_name = output(sending(TEST, &receiver, protocol).env(EXPORTER, "otlp"));
        assert!(said(&by_name, "ended").starts_with("the last metrics were not exported before the shutdown: "));
        assert!(said(&by_name, "failed").parse::<u32>().unwrap() > 2, "it goes on trying");
        let warned = stderr(&by_name);
        assert!(
            warned.starts_with("tracing-genai: metrics do not reach the OTLP receiver: ")
                && warned.lines().count() == 1,
            "{protocol}: {warned}"
        );

        let off = output(sending(TEST, &receiver, protocol).env(EXPORTER, "none"));
        assert_eq!((said(&off, "ended").as_str(), stderr(&off).as_str()), ("well", ""));
        assert_eq!(said(&off, "failed"), "0");
    }
}

#[test]
fn a_receiver_that_hangs_holds_up_neither_the_program_nor_the_shutdown() {
    const TEST: &str = "a_receiver_that_hangs_holds_up_neither_the_program_nor_the_shutdown";
    if is_child(TEST) {
        let telemetry = Telemetry::from_env().unwrap();
        let begun = Instant::now();
        run(&telemetry);
        assert!(begun.elapsed() < Duration::from_secs(1));
        // One export is on its way and hangs.
        sleep(Duration::from_millis(100));
        let begun = Instant::now();
        let timeout = Duration::from_millis(300);
        let ended = telemetry.shutdown(timeout);
        assert!(matches!(ended, Err(TelemetryError::Metrics(OTelSdkError::Timeout(_)))), "{ended:?}");
        assert!((Duration::from_millis(250)..Duration::from_secs(2)).contains(&begun.elapsed()));
        let begun = Instant::now();
        telemetry.shutdown(Duration::from_secs(30)).unwrap();
        drop(telemetry);
        assert!(begun.elapsed() < Duration::from_secs(1));
        return;
    }
    for (protocol, transport) in PROTOCOLS {
        let receiver = Receiver::start(*transport, Manner::Hang);
        let output = sending(TEST, &receiver, protocol)
            .env("OTEL_TRACES_EXPORTER", "none")
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")
            .env(INTERVAL, "20")
            .output()
            .unwrap();
        succeeded(&output);
        assert_eq!(stderr(&output), "", "{protocol}");
    }
}

#[test]
fn an_export_takes_no_longer_than_its_timeout() {
    const TEST: &str = "an_export_takes_no_longer_than_its_timeout";
    if is_child(TEST) {
        return for_half_a_second();
    }
    for (protocol, transport) in PROTOCOLS {
        for (shorter, longer) in [
            ("OTEL_METRIC_EXPORT_TIMEOUT", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_METRIC_EXPORT_TIMEOUT"),
        ] {
            let receiver = Receiver::start(*transport, Manner::Hang);
            let begun = Instant::now();
            let output = sending(TEST, &receiver, protocol)
                .env("OTEL_TRACES_EXPORTER", "none")
                .env(shorter, "200")
                .env(longer, "60000")
                .output()
                .unwrap();
            assert!(said(&output, "ended").starts_with("the last metrics were not exported"), "{protocol}");
            assert!(begun.elapsed() < Duration::from_secs(4), "{protocol} {shorter}");
        }
    }
}

#[test]
fn an_endpoint_for_all_signals_is_one_for_metrics_too() {
    const TEST: &str = "an_endpoint_for_all_signals_is_one_for_metrics_too";
    if is_child(TEST) {
        return for_half_a_second();
    }
    let receiver = Receiver::start(Transport::Http, Manner::Well);
    for (variables, spans, metrics) in [
        (&[][..], true, true),
        (&[("OTEL_TRACES_EXPORTER", "none")], false, true),
        (&[(EXPORTER, "none")], true, false),
        (&[(EXPORTER, "console")], true, false),
        (&[("OTEL_SDK_DISABLED", "true"), (EXPORTER, "otlp")], false, false),
    ] {
        let output = child(TEST).env(ENDPOINT, receiver.endpoint()).envs(variables.iter().copied()).output().unwrap();
        assert_eq!((said(&output, "ended").as_str(), stderr(&output).as_str()), ("well", ""), "{variables:?}");
        assert_eq!(
            (said(&output, "spans") != "0", said(&output, "exported") != "0"),
            (spans, metrics),
            "{variables:?}"
        );
    }
}
