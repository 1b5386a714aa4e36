//! What is measured, exactly.
#![cfg(test)]
#![allow(clippy::float_cmp, reason = "small numbers, and the same ones")]

mod support;

use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use support::exported_with;
use support::measured::{Points, is_a_time, measured, measured_with, points, two_conversations};
use tracing::field::Empty;
use tracing::{error, info, info_span};
use tracing_genai::{GenAi, Price, Prices, Stats};
use tracing_subscriber::prelude::*;

#[track_caller]
fn assert_point(points: &Points, point: &str, count: u64, sum: f64) {
    let found = points.get(point).unwrap_or_else(|| panic!("no {point} in {points:#?}"));
    assert_eq!(found.count, count, "{point}");
    assert!((found.sum - sum).abs() < 1e-9, "{point}: {found:?}");
}

/// How many values there are at this point, whatever they are.
#[track_caller]
fn assert_count(points: &Points, point: &str, count: u64) {
    let found = points.get(point).unwrap_or_else(|| panic!("no {point} in {points:#?}"));
    assert_eq!(found.count, count, "{point}");
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
    let latency = &points["voice.user_to_agent_latency {gen_ai.agent.name=anna, voice.end_reason=error}"];
    assert!(latency.count == 2 && latency.sum >= 1.0, "{latency:?}");
    let parts: f64 =
        points.iter().filter(|(name, _)| name.starts_with("voice.latency.duration")).map(|(_, point)| point.sum).sum();
    assert!((parts - latency.sum).abs() < 1e-6, "the parts sum to the latency: {parts} {latency:?}");
    assert_eq!(points.len(), 26, "{points:#?}");
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
    for (point, measured) in &sampled {
        assert_eq!(unsampled[point].count, measured.count, "{point}");
        assert!(is_a_time(point) || unsampled[point].sum == measured.sum, "{point}");
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
        assert_point(&points(&meters, &exporter), &point, 1, 100.0);
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
fn a_call_that_says_what_it_used_is_measured_by_that_and_its_cost_is_known_from_its_attempts() {
    let sink = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(sink.clone()).build();
    let exported = exported_with(&GenAi::new().with_meter(meters.meter("test")), || {
        let _turn = info_span!("turn").entered();
        let _call = info_span!("llm", model = "router", output_tokens = 5).entered();
        drop(info_span!("llm", model = "m", input_tokens = 3, output_tokens = 1, cost = 0.25, error_type = "timeout"));
        drop(info_span!("llm", model = "m", input_tokens = 3, output_tokens = 2, cost = 0.5));
    });
    let points = points(&meters, &sink);
    let call = "gen_ai.operation.name=chat, gen_ai.request.model=router";
    assert_point(&points, &format!("gen_ai.client.token.usage {{{call}, gen_ai.token.type=output}}"), 1, 5.0);
    assert!(!points.keys().any(|point| point.contains("gen_ai.token.type=input")), "{points:#?}");
    assert_point(&points, &format!("voice.cost {{{call}}}"), 1, 0.75);
    assert_eq!(exported.attribute("turn", "voice.usage.output_tokens"), Some(5.into()));
    assert_eq!(exported.attribute("turn", "voice.usage.input_tokens"), None);
    assert_eq!(exported.attribute("turn", "voice.usage.cost"), Some(0.75.into()));
}

#[test]
fn the_newest_names_count_the_tokens_of_attempts_as_what_they_are() {
    let points = measured_with(GenAi::new().with_latest_metric_names(true), || {
        let _call = info_span!("llm", model = "m").entered();
        for _ in 0..2 {
            let _nested = info_span!("llm", model = "m").entered();
            drop(info_span!(
                "llm",
                model = "m",
                input_tokens = 30,
                input_audio_tokens = 10,
                cache_read_tokens = 5,
                cache_write_tokens = 3,
                output_tokens = 4,
                reasoning_tokens = 2
            ));
        }
    });
    for (name, modality, sum) in [
        ("input_tokens", "audio", 20.0),
        ("input_tokens", "text", 40.0),
        ("cache_read.input_tokens", "unknown", 10.0),
        ("cache_write.input_tokens", "unknown", 6.0),
        ("output_tokens", "unknown", 8.0),
        ("reasoning.output_tokens", "unknown", 4.0),
    ] {
        let call = "gen_ai.operation.name=chat, gen_ai.request.model=m";
        let point = format!("gen_ai.client.inference.usage.{name} {{{call}, gen_ai.token.modality={modality}}}");
        assert_point(&points, &point, 1, sum);
    }
    assert_eq!(points.len(), 7, "{points:#?}");
}

#[test]
fn a_first_token_that_an_attempt_was_told_is_the_calls() {
    let points = measured(|| {
        let _call = info_span!("llm", model = "m", started_ms_ago = 2_000).entered();
        drop(info_span!("llm", model = "m", started_ms_ago = 1_500, error_type = "timeout"));
        drop(info_span!("llm", model = "m", started_ms_ago = 1_000, ttft = 0.25));
    });
    let point = "gen_ai.client.operation.time_to_first_chunk {gen_ai.operation.name=chat, gen_ai.request.model=m}";
    let first = points.get(point).unwrap_or_else(|| panic!("{points:#?}"));
    assert!(first.count == 1 && first.sum >= 1.25, "{first:?}");
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
fn a_field_is_chosen_as_it_is_recorded_and_measured_as_it_is_exported() {
    let points = measured_with(GenAi::new().with_metric_attributes(["agent_version", "language"]), || {
        let _conversation = info_span!("conversation", agent_version = "v2").entered();
        drop(info_span!("stt", model = "nova-3", audio_seconds = 2, language = "de"));
        drop(info_span!("tool", tool = "clock"));
    });
    let stt = "gen_ai.operation.name=speech_to_text, gen_ai.request.model=nova-3";
    assert_point(
        &points,
        &format!("voice.audio.duration {{gen_ai.agent.version=v2, {stt}, voice.language=de}}"),
        1,
        2.0,
    );
    let tool = "gen_ai.agent.version=v2, gen_ai.tool.name=clock, gen_ai.tool.type=function";
    assert_count(&points, &format!("gen_ai.execute_tool.duration {{{tool}}}"), 1);
}

#[test]
fn no_metric_has_an_id_even_if_it_is_asked_for() {
    let ids = ["gen_ai.conversation.id", "session.id", "user.id"];
    let points = measured_with(GenAi::new().with_metric_attributes(ids), || {
        let _conversation =
            info_span!("conversation", conversation_id = "c-1", session_id = "s-1", user_id = "u-1").entered();
        let _turn = info_span!("turn").entered();
        drop(info_span!("llm", provider = "openai", model = "gpt-4o", input_tokens = 4));
    });
    assert!(!points.is_empty());
    for id in ["c-1", "s-1", "u-1"] {
        assert!(points.keys().all(|point| !point.contains(id)), "{points:#?}");
    }
}

#[test]
fn an_id_is_one_under_its_fields_name_too() {
    let genai = ["user_id", "session", "thread_id"]
        .into_iter()
        .fold(GenAi::new(), |genai, field| genai.with_attribute(field, "x-1").with_metric_attributes([field]));
    let points = measured_with(genai, || drop(info_span!("llm", model = "gpt-4o", input_tokens = 4)));
    assert!(!points.is_empty() && points.keys().all(|point| !point.contains("x-1")), "{points:#?}");
}

#[test]
fn a_field_that_is_chosen_twice_or_is_there_anyway_is_once_on_a_metric() {
    let chosen = ["gen_ai.request.model", "gen_ai.token.type", "feature", "feature"];
    let points = measured_with(GenAi::new().with_metric_attributes(chosen), || {
        drop(info_span!(
            "llm",
            provider = "openai",
            model = "gpt-4o",
            feature = "booking",
            input_tokens = 7,
            cost = 0.5,
            gen_ai.token.type = "audio"
        ));
    });
    let call = "gen_ai.operation.name=chat, gen_ai.provider.name=openai, gen_ai.request.model=gpt-4o";
    assert_point(&points, &format!("voice.cost {{feature=booking, {call}, gen_ai.token.type=audio}}"), 1, 0.5);
    let tokens = format!("gen_ai.client.token.usage {{feature=booking, {call}, gen_ai.token.type=input}}");
    assert_point(&points, &tokens, 1, 7.0);
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
fn a_model_that_has_no_price_has_none_whatever_was_asked_for() {
    let prices = Prices::new().with(Price::of_model("*").with_input(1.0)).with(Price::of("openai", "beta"));
    let genai = GenAi::new().with_prices(prices);
    let handle = genai.handle();
    let exported = exported_with(&genai, || {
        drop(info_span!("llm", provider = "openai", model = "asked", response_model = "beta", input_tokens = 7));
    });
    assert_eq!(exported.attribute("chat asked", "voice.cost"), None);
    assert_eq!(handle.stats().calls_without_price, 1);
}

#[test]
fn what_is_cached_beside_the_input_is_in_its_sums_and_its_cost() {
    let prices = Prices::new().with(Price::of_model("claude").with_input(3.0).with_cache_read(0.3));
    let program = || {
        let _turn = info_span!("turn").entered();
        drop(info_span!("llm", model = "claude", uncached_input_tokens = 100_000, cache_read_tokens = 1_000_000));
    };
    let points = measured_with(GenAi::new().with_prices(prices.clone()), program);
    let call = "gen_ai.operation.name=chat, gen_ai.request.model=claude";
    assert_point(&points, &format!("gen_ai.client.token.usage {{{call}, gen_ai.token.type=input}}"), 1, 1_100_000.0);
    assert_point(&points, &format!("voice.cost {{{call}}}"), 1, 0.6);
    let exported = exported_with(&GenAi::new().with_prices(prices), program);
    assert_eq!(exported.attribute("turn", "voice.usage.input_tokens"), Some(1_100_000.into()));
}

#[test]
fn the_input_of_embeddings_is_counted_and_priced() {
    let prices = Prices::new().with(Price::of("openai", "text-embedding-*").with_input(0.02));
    let points = measured_with(GenAi::new().with_prices(prices), || {
        drop(info_span!("embeddings", provider = "openai", model = "text-embedding-3", input_tokens = 500_000));
    });
    let call = "gen_ai.operation.name=embeddings, gen_ai.provider.name=openai, gen_ai.request.model=text-embedding-3";
    let tokens = format!("gen_ai.client.token.usage {{{call}, gen_ai.token.type=input}}");
    assert_point(&points, &tokens, 1, 500_000.0);
    assert_point(&points, &format!("voice.cost {{{call}}}"), 1, 0.01);
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
fn numbers_are_as_many_as_names() {
    let genai = GenAi::new().with_metric_attributes(["shard"]).with_max_metric_names(2);
    let handle = genai.handle();
    let points = measured_with(genai, || {
        for shard in [1, 2, 1, 3, 2, 4] {
            drop(info_span!("workflow", workflow = "w", shard));
        }
    });
    for (shard, count) in [("1", 2), ("2", 2), ("_OTHER", 2)] {
        let point = format!("gen_ai.invoke_workflow.duration {{gen_ai.workflow.name=w, shard={shard}}}");
        assert_count(&points, &point, count);
    }
    assert_eq!((points.len(), handle.stats().names_over_limit), (3, 2));
}

#[test]
fn few_names_leave_operations_and_end_reasons_as_they_are() {
    let points = measured_with(GenAi::new().with_max_metric_names(1), || {
        for interrupted in [false, true] {
            let _turn = info_span!("turn", interrupted).entered();
            drop(info_span!("stt", model = "a", cost = 1));
            drop(info_span!("llm", model = "b", cost = 2));
        }
    });
    assert_point(&points, "voice.turns {voice.end_reason=completed}", 1, 1.0);
    assert_point(&points, "voice.turns {voice.end_reason=interrupted}", 1, 1.0);
    assert_point(&points, "voice.cost {gen_ai.operation.name=speech_to_text, gen_ai.request.model=a}", 1, 2.0);
    assert_point(&points, "voice.cost {gen_ai.operation.name=chat, gen_ai.request.model=_OTHER}", 1, 4.0);
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

#[test]
fn a_count_that_is_none_is_in_no_sum_and_costs_nobody_a_panic() {
    let genai = GenAi::new();
    let handle = genai.handle();
    let points = measured_with(genai, || {
        for count in [i64::MAX, i64::MAX, i64::MAX, 7] {
            drop(info_span!("llm", model = "m", input_tokens = count));
            drop(info_span!("tts", model = "m", characters = count));
        }
    });
    let tokens =
        "gen_ai.client.token.usage {gen_ai.operation.name=chat, gen_ai.request.model=m, gen_ai.token.type=input}";
    assert_point(&points, tokens, 1, 7.0);
    assert_point(&points, "voice.characters {gen_ai.operation.name=text_to_speech, gen_ai.request.model=m}", 1, 7.0);
    assert_eq!(handle.stats().panics_caught, 0);
}

#[cfg(feature = "prometheus")]
mod page {
    use std::collections::BTreeMap;

    use super::*;
    use support::console::{child, is_child, stdout};
    use tracing_genai::Telemetry;

    #[test]
    fn the_page_has_the_same_points() {
        if is_child(&this("the_page_has_the_same_points")) {
            let telemetry = Telemetry::from_env().unwrap();
            let subscriber = tracing_subscriber::registry().with(telemetry.layer());
            tracing::subscriber::with_default(subscriber, two_conversations);
            let page = telemetry.metrics_page();
            telemetry.shutdown(Duration::from_secs(5)).unwrap();
            assert_eq!(telemetry.metrics_page(), page, "it stays");
            return println!("{}", page.unwrap());
        }
        let mut asking = child(&this("the_page_has_the_same_points"));
        let page = on_page(&stdout(&asking.env("OTEL_METRICS_EXPORTER", "prometheus").output().unwrap()));
        let points = measured(two_conversations);
        assert!(page.keys().cloned().eq(points.keys().map(as_on_page)), "{page:#?}");
        for (point, measured) in &points {
            let is_timed = point.contains("duration {") || point.contains("latency");
            let found = page[&as_on_page(point)];
            assert_eq!(found.0, measured.count, "{point}");
            assert!(
                (is_timed && !point.starts_with("voice.audio")) || (found.1 - measured.sum).abs() < 1e-9,
                "{point}: {found:?}"
            );
        }
    }

    #[test]
    fn there_is_none_without_being_asked() {
        if is_child(&this("there_is_none_without_being_asked")) {
            return println!("{:?}", Telemetry::from_env().unwrap().metrics_page());
        }
        assert!(stdout(&child(&this("there_is_none_without_being_asked")).output().unwrap()).contains("None"));
    }

    /// The test's name, as the program that runs it knows it.
    fn this(test: &str) -> String {
        let (_, module) = module_path!().split_once("::").unwrap();
        format!("{module}::{test}")
    }

    /// The points of a page: each series with how many values it has and their sum.
    fn on_page(page: &str) -> BTreeMap<String, (u64, f64)> {
        let mut points = BTreeMap::<String, (u64, f64)>::new();
        for line in page.lines().filter(|line| line.contains("} ") && !line.starts_with("target_info")) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap();
            let mut labels: Vec<_> = labels.split(',').filter(|label| !label.starts_with("otel_scope")).collect();
            labels.sort_unstable();
            let value: f64 = value.parse().unwrap();
            let point =
                |suffix: &str| format!("{} {{{}}}", name.trim_end_matches(suffix), labels.join(", ").replace('"', ""));
            match name.rsplit_once('_') {
                Some((_, "bucket")) => {}
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
                Some((_, "count")) => points.entry(point("_count")).or_default().0 = value as u64,
                Some((_, "sum")) => points.entry(point("_sum")).or_default().1 = value,
                _ => drop(points.insert(point("_total"), (1, value))),
            }
        }
        points.into_iter().map(|(point, values)| (point.replacen("_seconds {", " {", 1), values)).collect()
    }

    fn as_on_page(point: impl AsRef<str>) -> String {
        let (name, attributes) = point.as_ref().split_once(' ').unwrap();
        let attributes = attributes.trim_matches(['{', '}']);
        let mut labels: Vec<String> = attributes
            .split(", ")
            .map(|pair| {
                pair.split_once('=').map_or(String::new(), |(key, value)| format!("{}={value}", key.replace('.', "_")))
            })
            .collect();
        labels.sort_unstable();
        format!("{} {{{}}}", name.replace('.', "_"), labels.join(", "))
    }
}
