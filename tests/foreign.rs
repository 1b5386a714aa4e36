//! Code of the user's that we call: it panics, traces and logs, and it gives ids and names of its own.
#![cfg(test)]

mod support;

use std::fmt;
use std::panic::panic_any;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::noop::NoopTracer;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, Span, SpanData,
    SpanProcessor,
};
use support::console::{child, is_child};
use support::{Backend, Exported, SECOND_DOOR, subscriber};
use tracing::field::Empty;
use tracing::{Dispatch, error, info, info_span};
use tracing_genai::{Content, GenAi};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::prelude::*;

/// Where we call the user's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Sampler,
    Start,
    End,
    Redactor,
    /// The `Drop` of a value in an attached context. Through the second door tracing-opentelemetry holds the context longer than we do.
    Value,
}

const PLACES: &[Place] = if SECOND_DOOR {
    &[Place::Sampler, Place::Start, Place::End, Place::Redactor]
} else {
    &[Place::Sampler, Place::Start, Place::End, Place::Redactor, Place::Value]
};

/// The user's code: at its place it does something.
#[derive(Debug, Clone, Copy)]
struct Rude {
    place: Place,
    act: fn(),
}

impl Rude {
    fn is_at(self, place: Place) {
        if self.place == place {
            (self.act)();
        }
    }
}

impl ShouldSample for Rude {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        self.is_at(Place::Sampler);
        let decision = SamplingDecision::RecordAndSample;
        SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::default() }
    }
}

impl SpanProcessor for Rude {
    fn on_start(&self, _: &mut Span, _: &Context) {
        self.is_at(Place::Start);
    }

    fn on_end(&self, _: SpanData) {
        self.is_at(Place::End);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

struct Noisy(Rude);

impl Drop for Noisy {
    fn drop(&mut self) {
        self.0.is_at(Place::Value);
    }
}

/// What is exported of a turn that calls this code wherever we call the user's, under the global subscriber.
fn exported_under(rude: Rude) -> Exported {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .with_span_processor(rude)
        .with_sampler(rude)
        .build();
    let backend = Backend { provider, exporter };
    let genai = GenAi::new().with_content(Content::Spans).with_redaction(move |_, text| {
        rude.is_at(Place::Redactor);
        text.to_uppercase().into()
    });
    tracing::dispatcher::set_global_default(subscriber(&genai, &backend)).unwrap();
    let attached = Context::current_with_value(Noisy(rude)).attach();
    let turn = info_span!("turn").entered();
    let stt = info_span!("stt", transcript = "noon", note = Empty).entered();
    info!(text = "one", "heard");
    stt.record("note", "late");
    if SECOND_DOOR {
        let other = SpanContext::new(1.into(), 2.into(), TraceFlags::SAMPLED, true, TraceState::default());
        stt.add_link_with_attributes(other, vec![KeyValue::new("prompt", "said")]);
    }
    drop(attached);
    drop((stt, turn));
    Exported { stats: genai.handle().stats(), ..backend.exported() }
}

/// The name of a test in this file, for the harness.
fn full_name(test: &str) -> String {
    module_path!().split_once("::").map_or(test.to_owned(), |(_, module)| format!("{module}::{test}"))
}

const PLACE: &str = "TRACING_GENAI_TEST_PLACE";

/// Runs `program` in a process of its own for each place. A watchdog ends the process when it hangs.
fn at_each_place(test: &str, program: impl Fn(Place)) {
    let test = full_name(test);
    if is_child(&test) {
        let asked = std::env::var(PLACE).unwrap();
        return program(*PLACES.iter().find(|place| format!("{place:?}") == asked).unwrap());
    }
    for place in PLACES {
        let ended = watched(child(&test).env("RUST_BACKTRACE", "0").env(PLACE, format!("{place:?}")).spawn().unwrap());
        assert!(ended.unwrap_or_else(|| panic!("{place:?} hangs")).success(), "{place:?}");
    }
}

fn watched(mut child: Child) -> Option<ExitStatus> {
    for _ in 0..300 {
        if let Some(ended) = child.try_wait().unwrap() {
            return Some(ended);
        }
        thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    None
}

fn traces() {
    tracing::Span::current().record("note", "from inside");
    info_span!("llm", prompt = "inside").in_scope(|| info!(text = "inside", "first_token"));
    error!("from inside");
    Context::map_current(|current| current.span().add_event("from inside", Vec::new()));
}

#[test]
fn code_of_the_users_may_trace_under_a_global_subscriber() {
    at_each_place("code_of_the_users_may_trace_under_a_global_subscriber", |place| {
        let exported = exported_under(Rude { place, act: traces });
        assert_eq!(exported.to_string(), "turn\n  speech_to_text\n");
        assert_eq!(exported.stats.spans_open(), 0);
        assert_eq!(exported.stats.panics_caught + exported.stats.redactions_failed, 0);
    });
}

/// A panic payload whose `Drop` panics with one more of itself.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Bomb);
    }
}

#[test]
fn a_panic_payload_whose_drop_panics_reaches_nobody() {
    at_each_place("a_panic_payload_whose_drop_panics_reaches_nobody", |place| {
        let exported = exported_under(Rude { place, act: || panic_any(Bomb) });
        assert_eq!(exported.stats.spans_open(), 0);
        let is_counted = exported.stats.panics_caught + exported.stats.redactions_failed > 0;
        assert!(is_counted || place == Place::Value, "{:?}", exported.stats);
    });
}

struct Exploding;

impl fmt::Debug for Exploding {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_any(Bomb)
    }
}

#[test]
fn a_value_whose_panic_has_such_a_payload_reaches_nobody_as_its_span_opens() {
    const NAME: &str = "a_value_whose_panic_has_such_a_payload_reaches_nobody_as_its_span_opens";
    // Through the second door tracing-opentelemetry formats it, and the program sees its own panic.
    if SECOND_DOOR {
        return;
    }
    let name = full_name(NAME);
    if is_child(&name) {
        let exported = support::exported(|| drop(info_span!("turn", note = ?Exploding)));
        assert_eq!((exported.to_string().as_str(), exported.stats.panics_caught), ("turn\n", 1));
        return;
    }
    assert!(watched(child(&name).spawn().unwrap()).expect("it hangs").success());
}

/// Panics the first time that it is asked, at one of two places.
#[derive(Debug, Clone)]
struct Once {
    place: Place,
    has_panicked: Arc<AtomicBool>,
}

impl Once {
    fn is_at(&self, place: Place) {
        assert!(self.place != place || self.has_panicked.swap(true, Ordering::Relaxed), "its own");
    }
}

impl ShouldSample for Once {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        self.is_at(Place::Sampler);
        Sampler::AlwaysOn.should_sample(parent, trace, name, kind, attributes, links)
    }
}

impl SpanProcessor for Once {
    fn on_start(&self, _: &mut Span, _: &Context) {
        self.is_at(Place::Start);
    }

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn one_panic_of_a_sampler_or_a_processor_costs_one_span_and_not_those_below() {
    for place in [Place::Sampler, Place::Start] {
        let once = Once { place, has_panicked: Arc::default() };
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_span_processor(once.clone())
            // What is below is sampled as what is above.
            .with_sampler(Sampler::ParentBased(Box::new(once)))
            .build();
        let backend = Backend { provider, exporter };
        let genai = GenAi::new().with_baggage(["tenant"]);
        tracing::dispatcher::with_default(&subscriber(&genai, &backend), || {
            let _conversation = info_span!("conversation", conversation_id = "c-1").entered();
            let tenant = Context::current().with_baggage([KeyValue::new("tenant", "acme")]);
            let _tenant = tenant.attach();
            for _ in 0..2 {
                let _turn = info_span!("turn").entered();
                for _ in 0..3 {
                    drop(info_span!("llm").entered());
                }
            }
        });
        let mut tree = backend.exported();
        // The SDK ends a span whose start panicked.
        tree.spans.retain(|span| span.name != "conversation");
        assert_eq!(tree.to_string(), "turn\n  chat\n  chat\n  chat\n".repeat(2), "{place:?}");
        let tenant = |span: &SpanData| support::attributes(span).remove("tenant");
        assert!(tree.spans.iter().all(|span| tenant(span) == Some(Value::from("acme"))));
        let stats = genai.handle().stats();
        assert_eq!((stats.spans_opened, stats.spans_closed, stats.panics_caught), (8, 8, 1), "{place:?}");
    }
}

#[test]
fn a_tracer_that_does_nothing_keeps_nothing_open() {
    for is_remote in [true, false] {
        // Only one conversation may be known by its id at a time.
        let genai = GenAi::new().with_max_conversations(1);
        let dispatch = if SECOND_DOOR {
            Dispatch::new(tracing_subscriber::registry().with(genai.opentelemetry_layer(NoopTracer::new())))
        } else {
            Dispatch::new(tracing_subscriber::registry().with(genai.layer(NoopTracer::new())))
        };
        tracing::dispatcher::with_default(&dispatch, || {
            let (trace, span) = (TraceId::from(1_u128), SpanId::from(7_u64));
            let parent = SpanContext::new(trace, span, TraceFlags::SAMPLED, is_remote, TraceState::default());
            let _attached = Context::new().with_remote_span_context(parent).attach();
            for id in 0..50 {
                let conversation = info_span!("conversation", conversation_id = id).entered();
                let turn = info_span!("turn").entered();
                drop(info_span!("llm").entered());
                drop((turn, conversation));
            }
        });
        let stats = genai.handle().stats();
        assert_eq!((stats.spans_opened, stats.spans_closed), (150, 150), "remote: {is_remote}");
        assert_eq!(stats.conversations_over_limit, 0, "remote: {is_remote}");
    }
}
