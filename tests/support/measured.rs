//! Programs that are measured: run, and every data point as a value.
#![allow(clippy::cast_precision_loss, reason = "small numbers")]

use std::collections::BTreeMap;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider, Temporality};
use tracing::{info, info_span};
use tracing_genai::GenAi;

use super::exported_with;

/// Each data point, by the metric's name and its attributes in order.
pub(crate) type Points = BTreeMap<String, Point>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) unit: String,
    pub(crate) is_cumulative: bool,
    pub(crate) shape: Shape,
    /// How many values there were; of a sum, one.
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Sum { is_monotonic: bool, is_whole: bool },
    Histogram { bounds: Vec<f64>, buckets: Vec<u64> },
}

/// What a program measures.
pub(crate) fn measured_with(genai: GenAi, program: impl FnOnce()) -> Points {
    let exporter = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let genai = genai.with_meter(meters.meter("test"));
    drop(exported_with(&genai, program));
    points(&meters, &exporter)
}

pub(crate) fn measured(program: impl FnOnce()) -> Points {
    measured_with(GenAi::new(), program)
}

pub(crate) fn points(meters: &SdkMeterProvider, exporter: &InMemoryMetricExporter) -> Points {
    meters.force_flush().unwrap();
    let finished = exporter.get_finished_metrics().unwrap();
    let last = finished.last().map(|resource| resource.scope_metrics().collect::<Vec<_>>()).unwrap_or_default();
    last.iter().flat_map(|scope| scope.metrics()).flat_map(of_metric).collect()
}

fn of_metric(metric: &Metric) -> Vec<(String, Point)> {
    let is_whole = !matches!(metric.data(), AggregatedMetrics::F64(_));
    let point = |attributes: Vec<String>, temporality, shape, count, sum| {
        let is_cumulative = temporality == Temporality::Cumulative;
        (named(metric.name(), attributes), Point { unit: metric.unit().to_owned(), is_cumulative, shape, count, sum })
    };
    macro_rules! points {
        ($data:expr) => {
            match $data {
                MetricData::Sum(data) => {
                    let shape = Shape::Sum { is_monotonic: data.is_monotonic(), is_whole };
                    let points = data.data_points().map(|value| {
                        point(texts(value.attributes()), data.temporality(), shape.clone(), 1, value.value() as f64)
                    });
                    points.collect()
                }
                MetricData::Histogram(data) => {
                    let points = data.data_points().map(|value| {
                        let (bounds, buckets) = (value.bounds().collect(), value.bucket_counts().collect());
                        let shape = Shape::Histogram { bounds, buckets };
                        point(texts(value.attributes()), data.temporality(), shape, value.count(), value.sum() as f64)
                    });
                    points.collect()
                }
                other => panic!("{other:?}"),
            }
        };
    }
    match metric.data() {
        AggregatedMetrics::F64(data) => points!(data),
        AggregatedMetrics::U64(data) => points!(data),
        AggregatedMetrics::I64(data) => points!(data),
    }
}

/// Whether this point of [`two_conversations`] is how long something took, which is never the same twice.
pub(crate) fn is_a_time(point: &str) -> bool {
    (point.contains("duration") || point.contains("latency")) && !point.starts_with("voice.audio.duration")
}

fn texts<'a>(attributes: impl Iterator<Item = &'a opentelemetry::KeyValue>) -> Vec<String> {
    attributes.map(|pair| format!("{}={}", pair.key, pair.value)).collect()
}

pub(crate) fn named(metric: &str, mut attributes: Vec<String>) -> String {
    attributes.sort();
    format!("{metric} {{{}}}", attributes.join(", "))
}

/// Two conversations with numbers that are known.
pub(crate) fn two_conversations() {
    for (id, model) in [("c-1", "gpt-4o"), ("c-2", "gpt-4o")] {
        let conversation = info_span!("conversation", conversation_id = id, agent = "anna").entered();
        let turn = info_span!("turn").entered();
        info!(ms_ago = 900, "user_started_speaking");
        info!(ms_ago = 500, "user_stopped_speaking");
        drop(info_span!("stt", provider = "deepgram", model = "nova-3", audio_seconds = 2.5, ttfb = 0.25));
        drop(info_span!(
            "llm",
            provider = "openai",
            model,
            ttft = 0.5,
            input_tokens = 100,
            output_tokens = 20,
            cost = 0.125
        ));
        drop(info_span!("llm", provider = "openai", model, error_type = "timeout"));
        drop(info_span!("tool", tool = "clock"));
        drop(info_span!("tts", provider = "cartesia", model = "sonic", text = "It is noon.", ttfb = 0.125));
        info!("bot_started_speaking");
        drop(turn);
        drop(info_span!("turn", interrupted = true));
        drop(conversation);
    }
}
