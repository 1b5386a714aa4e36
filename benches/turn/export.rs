//! Where do the spans go, and are they the same ones?

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hint::black_box;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, Sampler, SdkTracerProvider, Span as SdkSpan, SpanData, SpanProcessor,
};

use crate::subjects::{SUBJECTS, Subject};

/// Prints what the subjects export differently: then their ratios compare different work.
pub(crate) fn compare_exports() {
    let exported: BTreeMap<_, _> = ["hand", "sdk", "genai", "wrapped"]
        .into_iter()
        .filter_map(|name| Some((name, exported_keys(SUBJECTS.iter().find(|subject| subject.name == name)?))))
        .collect();
    let all: BTreeSet<_> = exported.values().flatten().collect();
    let mut differ = false;
    for (name, keys) in &exported {
        for missing in all.iter().filter(|key| !keys.contains(**key)) {
            differ = true;
            println!("DIFFERENT: {name} does not export {missing}");
        }
    }
    let answer = if differ { "DIFFERENT attributes" } else { "the same attributes" };
    println!("by hand, through the SDK and tracing-genai export {answer}: {} in four spans\n", all.len());
}

/// The conventions' attributes below the conversation, each with the span that has it and that span's parent.
fn exported_keys(subject: &Subject) -> BTreeSet<String> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    (subject.run)(&provider, 1);
    let spans = exporter.get_finished_spans().unwrap_or_default();
    let names: HashMap<SpanId, &str> = spans.iter().map(|span| (span.span_context.span_id(), &*span.name)).collect();
    let place = |span: &SpanData| {
        let parent = names.get(&span.parent_span_id)?;
        Some(format!("{} ({:?}, in {parent})", span.name, span.span_kind))
    };
    let keys_of = |span: &SpanData| -> Vec<String> {
        let Some(place) = place(span) else { return Vec::new() };
        let keys = span.attributes.iter().map(|attribute| attribute.key.as_str());
        let keys = keys.filter(|key| key.starts_with("gen_ai.") || key.starts_with("voice."));
        keys.map(|key| format!("{place}: {key}")).collect()
    };
    spans.iter().flat_map(keys_of).collect()
}

/// A provider whose spans go nowhere.
pub(crate) fn dropping() -> SdkTracerProvider {
    SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_span_processor(Dropping).build()
}

#[derive(Debug)]
struct Dropping;

impl SpanProcessor for Dropping {
    fn on_start(&self, _: &mut SdkSpan, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        drop(black_box(span));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
