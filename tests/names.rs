//! A program that makes up attribute names as it runs, through the second door: the names are kept for all threads, so this test has
//! a process of its own.
#![cfg(test)]

mod support;

use opentelemetry::{KeyValue, Value};
use support::{Backend, Exported};
use tracing::{info, info_span};
use tracing_genai::GenAi;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::prelude::*;

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

fn make_up(names: std::ops::Range<u32>) {
    let span = info_span!("llm").entered();
    for i in names {
        span.set_attribute(format!("argument.{i}"), i64::from(i));
    }
}

#[test]
fn any_number_of_made_up_names_leaves_room_for_all_that_counts() {
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOff);
    let genai = GenAi::new();
    let tracer = opentelemetry::trace::TracerProvider::tracer(&provider.build(), "test");
    let unsampled = tracing_subscriber::registry().with(genai.opentelemetry_layer(tracer));
    tracing::subscriber::with_default(unsampled, || {
        for from in 0..200 {
            make_up(from * 100..(from + 1) * 100);
        }
        let before = resident_kilobytes();
        for from in 200..2_000 {
            make_up(from * 100..(from + 1) * 100);
        }
        let more = resident_kilobytes().saturating_sub(before);
        assert!(more < 20_000, "{more} kB more");
    });
    assert_eq!(genai.handle().stats().refused.out_of_range, 0);

    let genai = GenAi::new().with_inherited(["campaign"]);
    let backend = Backend::default();
    let subscriber = tracing_subscriber::registry().with(genai.opentelemetry_layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        let _turn = info_span!("turn", campaign = "x", otel.name = "renamed").entered();
        let llm = info_span!("llm", model = "gpt-4o", input_tokens = 7, temperature = 0.5, note = "new").entered();
        llm.set_attribute("argument.new", 1);
        llm.set_attribute("argument.new", 2);
        llm.set_attribute("llm.prompts.999999", "said");
        info!(place = "new", "told");
        llm.add_event("more", vec![KeyValue::new("argument.newer", 3), KeyValue::new("llm.prompts.999998", "said")]);
    });
    let exported = Exported { stats: genai.handle().stats(), ..backend.exported() };
    assert_eq!(exported.to_string(), "renamed\n  chat gpt-4o\n");
    let llm = exported.attributes("chat gpt-4o");
    for (key, value) in [
        ("gen_ai.usage.input_tokens", Value::I64(7)),
        ("gen_ai.request.temperature", Value::F64(0.5)),
        ("campaign", "x".into()),
        ("note", "new".into()),
        ("argument.new", Value::I64(2)),
    ] {
        assert_eq!(llm.get(key), Some(&value), "{key}");
    }
    let events = format!("{:?}", exported.span("chat gpt-4o").events);
    assert!(events.contains("place") && events.contains("argument.newer"), "{events}");
    assert!(!format!("{:?}", exported.spans).contains("said"), "content is off");
    assert_eq!(exported.stats.refused.out_of_range, 0);
}
