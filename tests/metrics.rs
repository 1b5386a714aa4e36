//! What is measured, exactly.
#![cfg(test)]
#![allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "small numbers, and the same ones")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use support::exported_with;
use tracing::field::Empty;
use tracing::{error, info, info_span};
use tracing_genai::{GenAi, Price, Prices, Stats};
use tracing_subscriber::prelude::*;

/// Each data point as text: the metric, its attributes in order, how many values and their sum.
type Points = BTreeMap<String, (u64, f64)>;

/// What a program measures.
fn measured_with(genai: GenAi, program: impl FnOnce()) -> Points {
    let exporter = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let genai = genai.with_meter(meters.meter("test"));
    drop(exported_with(&genai, program));
    points(&meters, &exporter)
}

fn measured(program: impl FnOnce()) -> Points {
    measured_with(GenAi::new(), program)
}

fn points(meters: &SdkMeterProvider, exporter: &InMemoryMetricExporter) -> Points {
    meters.force_flush().unwrap();
    let finished = exporter.get_finished_metrics().unwrap();
    let last = finished.last().map(|resource| resource.scope_metrics().collect::<Vec<_>>()).unwrap_or_default();
    last.iter().flat_map(|scope| scope.metrics()).flat_map(of_metric).collect()
}

fn of_metric(metric: &Metric) -> Vec<(String, (u64, f64))> {
    let name = |attributes: Vec<String>| format!("{} {{{}}}", metric.name(), attributes.join(", "));
    macro_rules! points {
        ($data:expr) => {
            match $data {
                MetricData::Sum(sum) => sum
                    .data_points()
                    .map(|point| (name(sorted(point.attributes())), (1, point.value() as f64)))
                    .collect(),
                MetricData::Histogram(histogram) => histogram
                    .data_points()
                    .map(|point| (name(sorted(point.attributes())), (point.count(), point.sum() as f64)))
                    .collect(),
                _ => Vec::new(),
            }
        };
    }
    match metric.data() {
        AggregatedMetrics::F64(data) => points!(data),
        AggregatedMetrics::U64(data) => points!(data),
        AggregatedMetrics::I64(data) => points!(data),
    }
}

fn sorted<'a>(attributes: impl Iterator<Item = &'a opentelemetry::KeyValue>) -> Vec<String> {
    let mut all: Vec<String> = attributes.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
    all.sort();
    all
}

#[track_caller]
fn assert_point(points: &Points, point: &str, count: u64, sum: f64) {
    let found = points.get(point).unwrap_or_else(|| panic!("no {point} in {points:#?}"));
    assert_eq!(found.0, count, "{point}");
    assert!((found.1 - sum).abs() < 1e-9, "{point}: {found:?}");
}

/// How many values there are at this point, whatever they are.
#[track_caller]
fn assert_count(points: &Points, point: &str, count: u64) {
    let found = points.get(point).unwrap_or_else(|| panic!("no {point} in {points:#?}"));
    assert_eq!(found.0, count, "{point}");
}

/// Two conversations with numbers that are known.
fn two_conversations() {
    for (id, model) in [("c-1", "gpt-4o"), ("c-2", "gpt-4o")] {
        let conversation = info_span!("conversation", conversation_id = id, agent = "anna").entered();
        let turn = info_span!("turn").entered();
        info!("user_started_speaking");
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

#[test]
fn two_conversations_give_exactly_these_points() {
    let points = measured(two_conversations);
    let openai = "gen_ai.operation.name=chat, gen_ai.provider.name=openai, gen_ai.request.model=gpt-4o";
    let deepgram = "gen_ai.operation.name=speech_to_text, gen_ai.provider.name=deepgram, gen_ai.request.model=nova-3";
    let cartesia = "gen_ai.operation.name=text_to_speech, gen_ai.provider.name=cartesia, gen_ai.request.model=sonic";
    assert_count(&points, &format!("gen_ai.client.operation.duration {{{openai}}}"), 2);
    assert_count(&points, &format!("gen_ai.client.operation.duration {{error.type=timeout, {openai}}}"), 2);
    assert_count(&points, &format!("gen_ai.client.operation.duration {{{deepgram}}}"), 2);
    assert_count(&points, &format!("gen_ai.client.operation.duration {{{cartesia}}}"), 2);
    assert_point(&points, &format!("gen_ai.client.token.usage {{{openai}, gen_ai.token.type=input}}"), 2, 200.0);
    assert_point(&points, &format!("gen_ai.client.token.usage {{{openai}, gen_ai.token.type=output}}"), 2, 40.0);
    assert_point(&points, &format!("gen_ai.client.operation.time_to_first_chunk {{{openai}}}"), 2, 1.0);
    assert_point(&points, &format!("voice.time_to_first_byte {{{deepgram}}}"), 2, 0.5);
    assert_point(&points, &format!("voice.time_to_first_byte {{{cartesia}}}"), 2, 0.25);
    assert_point(&points, &format!("voice.audio.duration {{{deepgram}}}"), 1, 5.0);
    assert_point(&points, &format!("voice.characters {{{cartesia}}}"), 1, 22.0);
    assert_point(&points, &format!("voice.cost {{{openai}}}"), 1, 0.25);
    assert_count(&points, "gen_ai.execute_tool.duration {gen_ai.tool.name=clock, gen_ai.tool.type=function}", 2);
    assert_count(&points, "voice.turn.duration {gen_ai.agent.name=anna, voice.end_reason=error}", 2);
    assert_count(&points, "voice.turn.duration {gen_ai.agent.name=anna, voice.end_reason=interrupted}", 2);
    assert_point(&points, "voice.turns {voice.end_reason=error}", 1, 2.0);
    assert_point(&points, "voice.interruptions {voice.end_reason=interrupted}", 1, 2.0);
    assert_point(&points, "voice.conversations.active {}", 1, 0.0);
    let latency = points["voice.user_to_agent_latency {gen_ai.agent.name=anna, voice.end_reason=error}"];
    assert!(latency.0 == 2 && latency.1 >= 1.0, "{latency:?}");
    let parts: f64 =
        points.iter().filter(|(name, _)| name.starts_with("voice.latency.duration")).map(|(_, p)| p.1).sum();
    assert!((parts - latency.1).abs() < 1e-6, "the parts sum to the latency: {parts} {latency:?}");
    assert_eq!(points.len(), 25, "{points:#?}");
    assert!(points.keys().all(|point| !point.contains("c-1") && !point.contains("conversation.id")), "{points:#?}");
}

#[test]
fn nothing_depends_on_sampling() {
    let exporter = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let tracers = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
    let genai = GenAi::new().with_meter(meters.meter("test"));
    let subscriber = tracing_subscriber::registry().with(genai.layer(tracers.tracer("test")));
    tracing::subscriber::with_default(subscriber, two_conversations);
    let (unsampled, sampled) = (points(&meters, &exporter), measured(two_conversations));
    assert_eq!(unsampled.keys().collect::<Vec<_>>(), sampled.keys().collect::<Vec<_>>());
    for (point, (count, sum)) in &sampled {
        assert_eq!(unsampled[point].0, *count, "{point}");
        assert!(point.contains("duration") || point.contains("latency") || unsampled[point].1 == *sum, "{point}");
    }
}

#[test]
fn what_is_recorded_late_counts_without_sampling_through_both_doors() {
    for second_door in [false, true] {
        let exporter = InMemoryMetricExporter::default();
        let meters = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
        let tracers = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
        let (genai, tracer) = (GenAi::new().with_meter(meters.meter("test")), tracers.tracer("test"));
        let door = if second_door { genai.opentelemetry_layer(tracer).boxed() } else { genai.layer(tracer).boxed() };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(door), || {
            let llm = info_span!("llm", provider = "openai", model = "gpt-4o", input_tokens = Empty).entered();
            llm.record("input_tokens", 100);
        });
        let openai = "gen_ai.operation.name=chat, gen_ai.provider.name=openai, gen_ai.request.model=gpt-4o";
        let point = format!("gen_ai.client.token.usage {{{openai}, gen_ai.token.type=input}}");
        assert_eq!(points(&meters, &exporter).get(&point), Some(&(1, 100.0)), "second door: {second_door}");
    }
}

#[test]
fn the_newest_names_are_an_option() {
    let points = measured_with(GenAi::new().with_latest_metric_names(true), || {
        drop(info_span!(
            "llm",
            provider = "openai",
            model = "m",
            ttft = 0.5,
            input_tokens = 100,
            input_audio_tokens = 30,
            output_tokens = 20,
            cache_read_tokens = 10,
            cache_write_tokens = 5,
            reasoning_tokens = 7
        ));
        drop(info_span!("tts", provider = "p", model = "m"));
    });
    let llm = "gen_ai.operation.name=chat, gen_ai.provider.name=openai, gen_ai.request.model=m";
    let tokens = |name: &str, modality: &str| {
        format!("gen_ai.client.inference.usage.{name} {{{llm}, gen_ai.token.modality={modality}}}")
    };
    assert_count(&points, &format!("gen_ai.client.inference.duration {{{llm}}}"), 1);
    assert_point(&points, &format!("gen_ai.client.inference.time_to_first_chunk {{{llm}}}"), 1, 0.5);
    assert_point(&points, &tokens("input_tokens", "audio"), 1, 30.0);
    assert_point(&points, &tokens("input_tokens", "text"), 1, 70.0);
    assert_point(&points, &tokens("output_tokens", "unknown"), 1, 20.0);
    assert_point(&points, &tokens("cache_read.input_tokens", "unknown"), 1, 10.0);
    assert_point(&points, &tokens("cache_write.input_tokens", "unknown"), 1, 5.0);
    assert_point(&points, &tokens("reasoning.output_tokens", "unknown"), 1, 7.0);
    assert!(!points.keys().any(|point| point.starts_with("gen_ai.client.token.usage")));
    assert!(
        points.keys().any(|point| point.starts_with("gen_ai.client.operation.duration") && point.contains("speech"))
    );
}

#[test]
fn a_call_that_is_tried_again_is_measured_once() {
    let points = measured(|| {
        let call = info_span!("llm", provider = "p", model = "m").entered();
        drop(info_span!("llm", provider = "p", model = "m", input_tokens = 5, error_type = "timeout"));
        drop(info_span!("llm", provider = "p", model = "m", input_tokens = 7));
        drop(call);
        let answered = info_span!("llm", provider = "p", model = "m", interrupted = Empty).entered();
        info!("interrupted");
        drop(answered);
    });
    let call = "gen_ai.operation.name=chat, gen_ai.provider.name=p, gen_ai.request.model=m";
    assert_count(&points, &format!("gen_ai.client.operation.duration {{{call}}}"), 2);
    assert_point(&points, &format!("gen_ai.client.token.usage {{{call}, gen_ai.token.type=input}}"), 1, 12.0);
    assert!(!points.keys().any(|point| point.contains("error.type")), "{points:#?}");
}

#[test]
fn a_failure_has_its_type() {
    let points = measured(|| {
        drop(info_span!("agent", agent = "anna", error = "the line is dead"));
        info_span!("workflow", workflow = "book").in_scope(|| error!(error_type = "no_seat", "failed"));
        drop(info_span!("tool", tool = "f", otel.status_code = "error"));
    });
    assert_count(&points, "gen_ai.invoke_agent.duration {error.type=_OTHER, gen_ai.agent.name=anna}", 1);
    assert_count(&points, "gen_ai.invoke_workflow.duration {error.type=no_seat, gen_ai.workflow.name=book}", 1);
    assert_count(
        &points,
        "gen_ai.execute_tool.duration {error.type=_OTHER, gen_ai.tool.name=f, gen_ai.tool.type=function}",
        1,
    );
}

#[test]
fn chosen_fields_are_on_metrics_too() {
    let points = measured_with(GenAi::new().with_metric_attributes(["feature"]), || {
        let _conversation = info_span!("conversation", feature = "booking", conversation_id = "c-1").entered();
        let _turn = info_span!("turn").entered();
        drop(info_span!("llm", model = "m", cost = 0.5));
        drop(info_span!("llm", model = "m", cost = 0.25, feature = "chat"));
    });
    let cost =
        |feature| format!("voice.cost {{feature={feature}, gen_ai.operation.name=chat, gen_ai.request.model=m}}");
    assert_point(&points, &cost("booking"), 1, 0.5);
    assert_point(&points, &cost("chat"), 1, 0.25);
    assert_point(&points, "voice.turns {feature=booking, voice.end_reason=completed}", 1, 1.0);
}

#[test]
fn what_calls_cost_is_worked_out_from_prices() {
    let prices = Prices::new()
        .with(Price::of("openai", "gpt-4o*").with_input(2.5).with_output(10.0))
        .with(Price::of_model("nova-*").with_audio_minute(0.006))
        .with(Price::of("cartesia", "sonic").with_million_characters(30.0));
    let genai = GenAi::new().with_prices(prices);
    let handle = genai.handle();
    let exported = exported_with(&genai, || {
        let _conversation = info_span!("conversation", conversation_id = "c-1").entered();
        let _turn = info_span!("turn").entered();
        drop(info_span!(
            "llm",
            provider = "openai",
            model = "gpt-4o-mini",
            input_tokens = 400_000,
            output_tokens = 100_000
        ));
        drop(info_span!("stt", provider = "deepgram", model = "nova-3", audio_seconds = 120));
        drop(info_span!("tts", provider = "cartesia", model = "sonic", characters = 100_000));
        drop(info_span!("realtime", model = "unknown", input_tokens = 1));
        drop(info_span!("embeddings", model = "unknown", cost = 0.5));
        drop(info_span!("retrieval"));
    });
    let cost = |span: &str, key: &str| match exported.attribute(span, key) {
        Some(opentelemetry::Value::F64(cost)) => Some((cost * 1e6).round() / 1e6),
        _ => None,
    };
    assert_eq!(cost("chat gpt-4o-mini", "voice.cost"), Some(2.0));
    assert_eq!(cost("speech_to_text nova-3", "voice.cost"), Some(0.012));
    assert_eq!(cost("text_to_speech sonic", "voice.cost"), Some(3.0));
    assert_eq!(cost("embeddings unknown", "voice.cost"), Some(0.5));
    assert_eq!(cost("generate_content unknown", "voice.cost"), None);
    assert_eq!(cost("turn", "voice.usage.cost"), Some(5.512));
    assert_eq!(cost("conversation", "voice.usage.cost"), Some(5.512));
    assert_eq!(handle.stats().calls_without_price, 1);
}

#[test]
fn ten_thousand_models_are_two_hundred_and_the_rest() {
    let mut stats = Stats::default();
    let points = {
        let genai = GenAi::new();
        let handle = genai.handle();
        let points = measured_with(genai, || {
            for model in 0..10_000 {
                drop(info_span!("llm", provider = "p", model = format!("model-{model}")));
            }
        });
        stats.clone_from(&handle.stats());
        points
    };
    let durations: Vec<_> =
        points.iter().filter(|(point, _)| point.starts_with("gen_ai.client.operation.duration")).collect();
    assert_eq!(durations.len(), 201);
    let call = "gen_ai.operation.name=chat, gen_ai.provider.name=p, gen_ai.request.model=_OTHER";
    assert_count(&points, &format!("gen_ai.client.operation.duration {{{call}}}"), 9_800);
    assert_eq!(stats.names_over_limit, 9_800);
}

#[test]
fn an_active_conversation_is_counted_while_it_is_open() {
    let exporter = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let genai = GenAi::new().with_meter(meters.meter("test"));
    let handle = genai.handle();
    drop(exported_with(&genai, || {
        let _one = info_span!("conversation", conversation_id = "c-1").entered();
        let _other = info_span!("conversation", conversation_id = "c-2").entered();
        assert_point(&points(&meters, &exporter), "voice.conversations.active {}", 1, 2.0);
        handle.shutdown(Duration::from_secs(1));
        assert_point(&points(&meters, &exporter), "voice.conversations.active {}", 1, 0.0);
    }));
}

#[cfg(feature = "prometheus")]
#[test]
fn the_environment_asks_for_a_page() {
    use support::console::{child, is_child, stdout};
    use tracing_genai::Telemetry;

    if is_child("the_environment_asks_for_a_page") {
        let telemetry =
            Telemetry::from_env().unwrap().with_options(GenAi::from_env().with_metric_attributes(["feature"]));
        let subscriber = tracing_subscriber::registry().with(telemetry.layer());
        tracing::subscriber::with_default(subscriber, two_conversations);
        return println!("{:?}\n{}", telemetry.metrics_page().is_some(), telemetry.metrics_page().unwrap_or_default());
    }
    let mut asking = child("the_environment_asks_for_a_page");
    let page = stdout(&asking.env("OTEL_METRICS_EXPORTER", "prometheus").output().unwrap());
    let line = |name: &str| page.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("voice_turns_total{").contains("voice_end_reason="), "{page}");
    assert!(line("gen_ai_client_token_usage_sum{").ends_with(" 200") || page.contains("} 200"), "{page}");
    assert!(page.contains("voice_user_to_agent_latency_seconds_bucket"), "{page}");
    assert!(stdout(&child("the_environment_asks_for_a_page").output().unwrap()).contains("false"));
}
