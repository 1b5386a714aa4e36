//! How do metrics look on the console?

use std::fmt::{Debug, Write};

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};

/// A line for each data point, in an order that does not change from one time to the next. What a program put into a name
/// is printed escaped.
pub(crate) fn text(metrics: &ResourceMetrics) -> String {
    let mut text = String::from("Metrics\n");
    for scope in metrics.scope_metrics() {
        for metric in scope.metrics() {
            let _ = match metric.unit() {
                "" => writeln!(text, "\t{}", metric.name()),
                unit => writeln!(text, "\t{} ({unit})", metric.name()),
            };
            let mut points = points(metric);
            points.sort();
            for point in points {
                let _ = writeln!(text, "\t\t{point}");
            }
        }
    }
    text
}

fn points(metric: &Metric) -> Vec<String> {
    match metric.data() {
        AggregatedMetrics::F64(data) => points_of(data),
        AggregatedMetrics::U64(data) => points_of(data),
        AggregatedMetrics::I64(data) => points_of(data),
    }
}

fn points_of<T: Debug + Copy>(data: &MetricData<T>) -> Vec<String> {
    match data {
        MetricData::Sum(sum) => {
            sum.data_points().map(|point| format!("{{{}}} {:?}", names(point.attributes()), point.value())).collect()
        }
        MetricData::Gauge(gauge) => {
            gauge.data_points().map(|point| format!("{{{}}} {:?}", names(point.attributes()), point.value())).collect()
        }
        MetricData::Histogram(histogram) => {
            let points = histogram.data_points();
            points
                .map(|point| summary(point.attributes(), point.count(), point.sum(), point.min(), point.max()))
                .collect()
        }
        MetricData::ExponentialHistogram(histogram) => {
            let points = histogram.data_points();
            points
                .map(|point| summary(point.attributes(), point.count(), point.sum(), point.min(), point.max()))
                .collect()
        }
    }
}

fn summary<'a, T: Debug>(
    attributes: impl Iterator<Item = &'a KeyValue>,
    count: impl Debug,
    sum: T,
    min: Option<T>,
    max: Option<T>,
) -> String {
    let mut text = format!("{{{}}} count={count:?} sum={sum:?}", names(attributes));
    for (name, value) in [("min", min), ("max", max)] {
        if let Some(value) = value {
            let _ = write!(text, " {name}={value:?}");
        }
    }
    text
}

fn names<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let mut names: Vec<_> = attributes
        .map(|attribute| {
            format!("{}={}", attribute.key.as_str().escape_debug(), attribute.value.as_str().escape_debug())
        })
        .collect();
    names.sort();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

    #[test]
    fn each_data_point_is_a_line() {
        let exporter = InMemoryMetricExporter::default();
        let meters = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
        let meter = meters.meter("test");
        let turns = meter.u64_counter("turns").with_unit("{turn}").build();
        turns.add(2, &[KeyValue::new("reason", "b")]);
        turns.add(1, &[KeyValue::new("reason", "a"), KeyValue::new("model", "\u{1b}[31mred\n")]);
        let took = meter.f64_histogram("took").with_unit("s").build();
        took.record(0.5, &[]);
        took.record(0.25, &[]);
        meter.i64_up_down_counter("open").build().add(-1, &[]);
        meters.force_flush().unwrap();
        let text = super::text(&exporter.get_finished_metrics().unwrap()[0]);
        let metric = |name: &str| {
            let lines = text.lines().skip_while(move |line| !line.starts_with(&format!("\t{name}")));
            lines.take(3).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            metric("turns"),
            ["\tturns ({turn})", "\t\t{model=\\u{1b}[31mred\\n, reason=a} 1", "\t\t{reason=b} 2"]
        );
        assert_eq!(metric("took")[1], "\t\t{} count=2 sum=0.75 min=0.25 max=0.5");
        assert_eq!(metric("open")[..2], ["\topen", "\t\t{} -1"]);
    }
}
