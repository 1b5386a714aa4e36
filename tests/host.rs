//! Nothing of ours hurts the program: odd compositions, other people's panics, hostile values.
#![cfg(test)]

mod support;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use expect_test::expect;
use opentelemetry::metrics::{
    BoundSyncInstrument, Histogram, HistogramBuilder, InstrumentProvider, Meter, SyncInstrument,
};
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState, TracerProvider};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, Span, SpanData,
    SpanProcessor,
};
use proptest::prelude::*;
use support::console::{child, is_child};
use support::{Backend, exported, exported_with};
use tracing::field::Empty;
use tracing::span::{Attributes, EnteredSpan, Id};
use tracing::{Dispatch, Subscriber, info, info_span};
use tracing_genai::{GenAi, GenAiLayer};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context as LayerContext, Layer};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

fn a_turn() {
    let _turn = info_span!("turn").entered();
    let llm = info_span!("llm", output_tokens = Empty).entered();
    info!("first_token");
    llm.record("output_tokens", 3);
}

fn under<S>(subscriber: S, program: impl FnOnce())
where
    S: Subscriber + Send + Sync,
{
    tracing::subscriber::with_default(subscriber, program);
}

fn boxed<S>(layer: impl Layer<S> + Send + Sync) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Box::new(layer)
}

#[test]
fn the_layer_works_in_every_wrapping() {
    type Program = Box<dyn Fn(GenAiLayer)>;
    let wrappings: Vec<(&str, Program)> = vec![
        ("alone", Box::new(|layer| under(tracing_subscriber::registry().with(layer), a_turn))),
        ("Option", Box::new(|layer| under(tracing_subscriber::registry().with(Some(layer)), a_turn))),
        ("Box", Box::new(|layer| under(tracing_subscriber::registry().with(boxed(layer)), a_turn))),
        ("Vec", Box::new(|layer| under(tracing_subscriber::registry().with(vec![boxed(layer)]), a_turn))),
        (
            "filtered",
            Box::new(|layer| under(tracing_subscriber::registry().with(layer.with_filter(LevelFilter::INFO)), a_turn)),
        ),
        ("reload", Box::new(|layer| under(tracing_subscriber::registry().with(reload::Layer::new(layer).0), a_turn))),
        (
            "behind others",
            Box::new(|layer| {
                let (before, after) = (
                    tracing_subscriber::fmt::layer().with_writer(std::io::sink),
                    tracing_subscriber::fmt::layer().with_writer(std::io::sink),
                );
                under(tracing_subscriber::registry().with(before).with(layer).with(after), a_turn);
            }),
        ),
    ];
    for (wrapping, program) in wrappings {
        let backend = Backend::default();
        program(GenAi::new().layer(backend.tracer()));
        let exported = backend.exported();
        assert_eq!(exported.to_string(), "turn\n  chat\n", "{wrapping}");
        assert_eq!(exported.attribute("chat", "gen_ai.usage.output_tokens"), Some(Value::I64(3)), "{wrapping}");
        assert!(exported.attribute("chat", "gen_ai.response.time_to_first_chunk").is_some(), "{wrapping}");
    }
    under(tracing_subscriber::registry().with(None::<GenAiLayer>), a_turn);
}

#[test]
fn a_layer_that_is_taken_away_ends_its_spans_and_leaves_none_attached() {
    let backend = Backend::default();
    let layer = GenAi::new().layer(backend.tracer());
    std::thread::spawn(|| {
        let (layer, handle) = reload::Layer::new(Some(layer));
        under(tracing_subscriber::registry().with(layer), || {
            let turn = info_span!("turn").entered();
            drop(info_span!("llm"));
            handle.reload(None).unwrap();
            assert!(!Context::current().has_active_span());
            drop(turn);
            a_turn();
        });
    })
    .join()
    .unwrap();
    let exported = backend.exported();
    assert_eq!(exported.to_string(), "turn\n  chat\n");
    assert_eq!(exported.attribute("turn", "voice.incomplete"), Some(Value::Bool(true)));
}

/// What another thread has attached can't be detached from here: it is once that thread opens, enters or leaves a span.
#[test]
fn a_layer_that_is_taken_away_leaves_none_attached_on_other_threads() {
    const PROGRAMS: [fn(EnteredSpan); 3] = [
        drop,
        |turn| {
            drop(info_span!(parent: None, "agent", agent = "inside"));
            drop(turn);
        },
        |turn| {
            info_span!("connection").in_scope(|| ());
            assert!(!Context::current().has_active_span(), "left by anything");
            drop(turn);
        },
    ];
    for program in PROGRAMS {
        let (before, after) = (Backend::default(), Backend::default());
        let (layer, handle) = reload::Layer::new(GenAi::new().layer(before.tracer()));
        let (opened, reloaded) = (Barrier::new(2), Barrier::new(2));
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                tracing::dispatcher::with_default(&dispatch, || {
                    let turn = info_span!("turn").entered();
                    opened.wait();
                    reloaded.wait();
                    program(turn);
                    assert!(!Context::current().has_active_span());
                    a_turn();
                });
            });
            opened.wait();
            // With one subscriber in the process, `tracing` asks that of the thread which callsites there are.
            let reload = || handle.reload(GenAi::new().layer(after.tracer())).unwrap();
            tracing::dispatcher::with_default(&dispatch, reload);
            reloaded.wait();
        });
        assert_eq!(before.exported().to_string(), "turn\n");
        let exported = after.exported().to_string();
        assert_eq!(exported.trim_start_matches("invoke_agent inside\n"), "turn\n  chat\n");
    }
}

/// The probe for a wrapped tracer goes through the registry, and there it waits behind whoever waits to replace a layer.
#[test]
fn a_reload_that_waits_while_the_first_span_opens_goes_on() {
    /// Stands before ours in the layer that is replaced: while it is busy with a span, another thread begins to wait.
    struct Busy(Arc<Barrier>);
    impl<S: Subscriber> Layer<S> for Busy {
        fn on_new_span(&self, attrs: &Attributes<'_>, _: &Id, _: LayerContext<'_, S>) {
            if attrs.metadata().name() == "turn" {
                self.0.wait();
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
    let backend = Backend::default();
    let _wrapped = GenAi::new().tracer(backend.tracer());
    let busy = Arc::new(Barrier::new(2));
    let layer = |busy: &Arc<Barrier>| Busy(Arc::clone(busy)).and_then(GenAi::new().layer(backend.tracer()));
    let (first, other) = (layer(&busy), layer(&Arc::new(Barrier::new(1))));
    let (layer, handle) = reload::Layer::new(first);
    let (done, is_done) = mpsc::channel();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    std::thread::spawn(move || {
        tracing::dispatcher::with_default(&dispatch, || drop(info_span!("turn")));
        done.send(()).unwrap();
    });
    std::thread::spawn(move || {
        busy.wait();
        handle.reload(other).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(10)).expect("nobody waits for ever");
    assert_eq!(backend.exported().to_string(), "turn\n");
}

/// A value that the program attaches lives as long as what was opened below it is known.
#[test]
fn a_value_of_an_attached_context_that_panics_as_it_is_dropped_is_not_seen() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let exported = exported(|| {
        for _ in 0..20 {
            let attached = Context::new().with_value(Panics).attach();
            let turn = info_span!("turn", conversation_id = "c-1");
            drop(attached);
            turn.in_scope(|| drop(info_span!("llm")));
        }
    });
    assert_eq!(exported.spans.len(), 40);
}

#[test]
fn a_meter_that_panics_costs_what_it_measures() {
    struct Broken;
    impl SyncInstrument<f64> for Broken {
        fn measure(&self, _: f64, _: &[KeyValue]) {
            panic!("measured");
        }

        fn bind(&self, _: &[KeyValue]) -> Box<dyn BoundSyncInstrument<f64> + Send + Sync> {
            panic!("bound")
        }
    }
    struct Meters;
    impl InstrumentProvider for Meters {
        fn f64_histogram(&self, _: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
            Histogram::new(Arc::new(Broken))
        }
    }

    let exported = exported_with(&GenAi::new().with_meter(Meter::new(Arc::new(Meters))), a_turn);
    assert_eq!(exported.to_string(), "turn\n  chat\n");
    assert_eq!(exported.stats.panics_caught, 2, "one a span");
    assert_eq!(exported.stats.spans_closed, 2);
}

#[test]
fn two_of_ours_export_the_same_to_two_backends() {
    let (one, other) = (Backend::default(), Backend::default());
    let genai = GenAi::new();
    let subscriber =
        tracing_subscriber::registry().with(genai.layer(one.tracer())).with(tracing_genai::layer(other.tracer()));
    under(subscriber, a_turn);
    assert_eq!(one.exported().to_string(), "turn\n  chat\n");
    assert_eq!(other.exported().to_string(), "turn\n  chat\n");
    assert_eq!(genai.handle().stats().spans_closed, 2, "each counts its own");
}

#[test]
fn an_opentelemetry_layer_beside_ours_exports_its_own() {
    for ours_first in [true, false] {
        let (ours, theirs) = (Backend::default(), Backend::default());
        let layer = || tracing_genai::layer(ours.tracer());
        let registry = tracing_subscriber::registry();
        if ours_first {
            under(registry.with(layer()).with(tracing_opentelemetry::layer().with_tracer(theirs.tracer())), a_turn);
        } else {
            under(registry.with(tracing_opentelemetry::layer().with_tracer(theirs.tracer())).with(layer()), a_turn);
        }
        assert_eq!(ours.exported().to_string(), "turn\n  chat\n");
        assert_eq!(theirs.exported().spans.len(), 2);
    }
}

#[test]
fn a_span_that_a_filter_hides_is_skipped() {
    let backend = Backend::default();
    let layer = tracing_genai::layer(backend.tracer()).with_filter(LevelFilter::INFO);
    let all = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
    under(tracing_subscriber::registry().with(all).with(layer), || {
        let _turn = info_span!("turn").entered();
        let hidden = tracing::debug_span!("agent").entered();
        info_span!("llm").in_scope(|| ());
        drop(info_span!(parent: &*hidden, "tts"));
    });
    expect![[r#"
        turn
          chat
          text_to_speech
    "#]]
    .assert_eq(&backend.exported().to_string());
}

/// What a sampler was shown at the start of a span.
#[derive(Debug, Clone, Default)]
struct Watching(Arc<Mutex<Vec<String>>>);

impl ShouldSample for Watching {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let attributes: Vec<_> =
            attributes.iter().map(|attribute| format!(" {}={}", attribute.key, attribute.value)).collect();
        self.0.lock().unwrap().push(format!("{name} {kind:?}{}", attributes.concat()));
        let decision = if name == "conversation" { SamplingDecision::Drop } else { SamplingDecision::RecordAndSample };
        SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::default() }
    }
}

#[test]
fn a_sampler_sees_what_is_known_when_a_span_opens() {
    let sampler = Watching::default();
    let exporter = InMemorySpanExporter::default();
    let provider =
        SdkTracerProvider::builder().with_sampler(sampler.clone()).with_simple_exporter(exporter.clone()).build();
    under(tracing_subscriber::registry().with(tracing_genai::layer(provider.tracer("test"))), || {
        let _conversation =
            info_span!("conversation", conversation_id = "c-1", session_id = "s-1", user_id = "u-1", agent = "host")
                .entered();
        let llm =
            info_span!("llm", provider = "openai", model = "gpt-4o", server = "api", port = 443, temperature = 0.5);
        llm.in_scope(|| drop(info_span!("tool", tool = "clock", call_id = "call_1")));
    });
    expect![[r#"
        conversation Internal gen_ai.conversation.id=c-1 session.id=s-1 user.id=u-1 gen_ai.agent.name=host
        chat gpt-4o Client gen_ai.provider.name=openai gen_ai.request.model=gpt-4o server.address=api server.port=443 gen_ai.conversation.id=c-1 session.id=s-1 user.id=u-1 gen_ai.agent.name=host gen_ai.operation.name=chat
        execute_tool clock Internal gen_ai.tool.name=clock gen_ai.conversation.id=c-1 session.id=s-1 user.id=u-1 gen_ai.agent.name=host gen_ai.operation.name=execute_tool"#]]
    .assert_eq(&sampler.0.lock().unwrap().join("\n"));
    assert_eq!(exporter.get_finished_spans().unwrap().len(), 2, "what the sampler drops is not exported");
}

/// A span processor that does what one must not, when a span starts and when it ends.
#[derive(Debug)]
struct Rude {
    on_start: fn(),
    on_end: fn(),
}

impl SpanProcessor for Rude {
    fn on_start(&self, _: &mut Span, _: &Context) {
        (self.on_start)();
    }

    fn on_end(&self, _: SpanData) {
        (self.on_end)();
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn a_processor_that_traces_is_not_traced() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Rude { on_start: a_turn, on_end: a_turn })
        .with_simple_exporter(exporter.clone())
        .build();
    under(tracing_subscriber::registry().with(tracing_genai::layer(provider.tracer("test"))), || {
        a_turn();
        a_turn();
    });
    assert_eq!(exporter.get_finished_spans().unwrap().len(), 4);
}

/// With a global subscriber nothing keeps a processor's own spans out: a registry that closes a span can't close another one.
#[test]
fn a_processor_that_traces_under_a_global_subscriber_keeps_nothing_open() {
    const NAME: &str = "a_processor_that_traces_under_a_global_subscriber_keeps_nothing_open";
    if is_child(NAME) {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_span_processor(Rude { on_start: a_turn, on_end: a_turn })
            .build();
        let layer = tracing_genai::layer(provider.tracer("test"));
        tracing_subscriber::registry().with(layer).init();
        a_turn();
        return assert_eq!(exporter.get_finished_spans().unwrap().len(), 2);
    }
    assert!(child(NAME).status().unwrap().success());
}

#[test]
fn a_processor_that_panics_is_counted_and_not_seen_by_the_program() {
    for (rude, opened) in [
        (Rude { on_start: || panic!("rude"), on_end: || () }, 0),
        (Rude { on_start: || (), on_end: || panic!("rude") }, 2),
    ] {
        let provider = SdkTracerProvider::builder().with_span_processor(rude).build();
        let genai = GenAi::new();
        under(tracing_subscriber::registry().with(genai.layer(provider.tracer("test"))), a_turn);
        let stats = genai.handle().stats();
        assert_eq!(stats.panics_caught, 2, "one a span");
        assert_eq!((stats.spans_opened, stats.spans_closed), (opened, opened));
    }
}

/// A value whose `Debug` does what one must not.
struct Hostile(fn());

impl fmt::Debug for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)();
        f.write_str("hostile")
    }
}

#[test]
fn a_shutdown_that_flushes_ends_more_spans_than_a_queue_holds() {
    for spans in [0, 3_000, 10_000] {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
        let genai = GenAi::new();
        under(tracing_subscriber::registry().with(genai.layer(provider.tracer("test"))), || {
            let open: Vec<_> = (0..spans).map(|_| info_span!("llm")).collect();
            let stats = genai.handle().shutdown_with_flush(Duration::from_secs(30), || provider.force_flush().unwrap());
            assert_eq!((stats.spans_closed, stats.spans_open()), (spans, 0));
            assert_eq!(exporter.get_finished_spans().unwrap().len(), open.len());
        });
    }
}

#[test]
fn a_value_that_panics_traces_or_logs_hurts_nobody_else() {
    let trace = Hostile(|| {
        info!("first_token");
        tracing::Span::current().record("note", "from inside");
        drop(info_span!("tool"));
    });
    // `tracing` asks nobody about a callsite that is met for the first time inside of another span's opening.
    let _ = format!("{trace:?}");
    let exported = exported(|| {
        let llm = info_span!("llm", note = Empty);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            llm.record("note", tracing::field::debug(Hostile(|| panic!("its own"))));
        }));
        assert!(panicked.is_err(), "the program sees its own panic");
        llm.in_scope(|| {
            info_span!("tts", note = ?trace).record("note", tracing::field::debug(&trace));
            info!(note = ?trace, "told");
        });
    });
    assert_eq!(exported.attribute("text_to_speech", "note"), Some("hostile".into()));
    assert!(exported.spans.iter().any(|span| span.name == "execute_tool"), "what `record` runs into is traced as ever");
}

#[test]
fn a_value_that_panics_as_its_span_opens_keeps_nothing_open() {
    let exported = exported(|| {
        let turn = info_span!("turn").entered();
        drop(info_span!("llm", note = ?Hostile(|| panic!("its own")), model = "m"));
        drop(turn);
    });
    assert_eq!(exported.to_string(), "turn\n  chat m\n");
    assert_eq!(exported.attribute("turn", "voice.end_reason"), Some("completed".into()));
    assert_eq!(exported.attribute("chat m", "note"), None);
    assert_eq!((exported.stats.spans_open(), exported.stats.panics_caught), (0, 1));
}

#[test]
fn a_panic_in_the_program_leaves_its_spans_whole() {
    let exported = exported(|| {
        let panicked = catch_unwind(|| {
            let _turn = info_span!("turn").entered();
            let _llm = info_span!("llm").entered();
            panic!("its own");
        });
        assert!(panicked.is_err());
        info_span!("turn", otel.name = "next").in_scope(|| ());
    });
    expect![[r#"
        turn
          chat [error panic]
        next
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn times_are_of_this_world() {
    let before = SystemTime::now();
    let exported = exported(a_turn);
    let after = SystemTime::now();
    for span in &exported.spans {
        assert!(before <= span.start_time && span.start_time <= span.end_time);
        assert!(span.end_time <= after + Duration::from_millis(1));
    }
}

#[test]
fn a_thousand_unknown_fields_are_cut_by_the_sdk_and_known_ones_are_still_typed() {
    let exported = exported(|| drop(info_span!("llm", input_tokens = 7, note = "x".repeat(10_000_000).as_str())));
    assert_eq!(exported.attribute("chat", "gen_ai.usage.input_tokens"), Some(Value::I64(7)));
}

#[test]
fn what_opens_where_telemetry_is_suppressed_is_nobodys() {
    let genai = GenAi::new().with_other_spans(true);
    let exported = exported_with(&genai, || {
        let _turn = info_span!("turn").entered();
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let connection = info_span!(parent: None, "connection").entered();
        info_span!("llm").in_scope(|| info_span!(parent: &connection, "request").in_scope(|| ()));
    });
    expect![[r#"
        turn
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.stats.spans_opened, 1);
}

proptest! {
    #[test]
    fn any_value_is_typed_or_refused(text in any::<String>(), number in any::<f64>(), whole in any::<i128>(), wide in any::<u64>()) {
        let exported = exported(|| {
            let llm = info_span!(
                "llm", model = Empty, input_tokens = Empty, temperature = Empty, stop = Empty, port = Empty, error = Empty,
                otel.kind = Empty, otel.status_code = Empty, otel.name = Empty, started_ms_ago = number, own = Empty
            );
            for field in ["model", "input_tokens", "temperature", "stop", "port", "error", "otel.kind", "otel.status_code", "own"] {
                llm.record(field, text.as_str());
                llm.record(field, number);
                llm.record(field, whole);
                llm.record(field, wide);
            }
            drop(info_span!("conversation", traceparent = text.as_str(), tracestate = text.as_str()));
        });
        for span in &exported.spans {
            for (key, value) in support::attributes(span) {
                match key.as_str() {
                    "gen_ai.usage.input_tokens" => prop_assert!(matches!(value, Value::I64(0..))),
                    "server.port" => prop_assert!(matches!(value, Value::I64(1..=65_535))),
                    "gen_ai.request.temperature" => prop_assert!(matches!(value, Value::F64(number) if number.is_finite())),
                    "gen_ai.request.stop_sequences" => prop_assert!(matches!(value, Value::Array(_))),
                    "gen_ai.request.model" | "error.type" => prop_assert!(matches!(value, Value::String(_))),
                    _ => {}
                }
            }
        }
    }
}
