//! Programs that run tracing-opentelemetry: all of theirs keeps working on the wrapped tracer, and where the two doors
//! differ.
#![cfg(test)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use expect_test::expect;
use opentelemetry::trace::{
    Link, Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, Key, KeyValue, StringValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, SpanData, SpanProcessor,
};
use support::console::{child, is_child, stderr};
use support::{Backend, Exported, attributes};
use tracing::field::Empty;
use tracing::{Dispatch, debug_span, error, info, info_span, warn};
use tracing_genai::{Content, GenAi};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Runs `program` under their layer on our wrapped tracer, as users install it.
fn exported_with(genai: &GenAi, program: impl FnOnce()) -> Exported {
    let backend = Backend::default();
    let subscriber = tracing_subscriber::registry().with(genai.opentelemetry_layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, program);
    Exported { stats: genai.handle().stats(), ..backend.exported() }
}

fn exported(program: impl FnOnce()) -> Exported {
    exported_with(&GenAi::new(), program)
}

fn remote(trace: u128) -> Context {
    let context =
        SpanContext::new(TraceId::from(trace), SpanId::from(7_u64), TraceFlags::SAMPLED, true, TraceState::default());
    Context::new().with_remote_span_context(context)
}

#[test]
fn a_voice_session_has_the_same_shape_as_through_the_layer() {
    let exported = exported(|| {
        let _request = info_span!("http_request").entered();
        let conversation = info_span!("conversation", conversation_id = "c-1").entered();
        let turn = info_span!("turn").entered();
        drop(info_span!("stt", provider = "deepgram", model = "nova-3").entered());
        let llm = info_span!("llm", provider = "openai", model = Empty, output_tokens = Empty).entered();
        info!("first_token");
        drop(info_span!("http_client").entered());
        llm.record("model", "gpt-4o");
        llm.record("output_tokens", 42_u64);
        drop(llm);
        drop((turn, conversation));
    });
    expect![[r#"
        http_request
          conversation
            turn
              speech_to_text nova-3
              chat gpt-4o
                http_client
    "#]]
    .assert_eq(&exported.to_string());
    let llm = exported.attributes("chat gpt-4o");
    assert_eq!(llm["gen_ai.usage.output_tokens"], Value::I64(42));
    assert!(matches!(llm["gen_ai.response.time_to_first_chunk"], Value::F64(_)));
    assert_eq!(exported.span("chat gpt-4o").span_kind, SpanKind::Client);
    assert_eq!(exported.attribute("conversation", "voice.usage.output_tokens"), Some(Value::I64(42)));
}

#[test]
fn their_span_extension_works_on_our_spans() {
    let exported = exported(|| {
        let turn = info_span!("turn", conversation_id = "c-1");
        turn.set_parent(remote(1)).unwrap();
        turn.set_attribute("shard", 3);
        turn.set_attribute("agent", "anna");
        turn.add_link(remote(2).span().span_context().clone());
        turn.add_event("noted", vec![KeyValue::new("by", "hand")]);
        let context = turn.context();
        assert!(context.span().span_context().is_valid());
        assert_eq!(context.span().span_context().trace_id(), TraceId::from(1_u128));
        let llm = info_span!(parent: &turn, "llm", model = "m");
        llm.set_attribute("input_tokens", 7);
        llm.set_status(Status::error("it is late"));
        llm.in_scope(|| info_span!("http_client").in_scope(|| ()));
        let tts = info_span!(parent: &turn, "tts");
        tts.set_status(Status::Ok);
    });
    expect![[r#"
        ? turn
          chat m [error _OTHER]
            http_client
          text_to_speech [ok]
    "#]]
    .assert_eq(&exported.to_string());
    let turn = exported.span("turn");
    assert_eq!(turn.span_context.trace_id(), TraceId::from(1_u128));
    assert_eq!(turn.parent_span_id, SpanId::from(7_u64));
    assert_eq!(turn.links.len(), 1);
    assert_eq!(turn.events[0].name, "noted");
    let turn = attributes(turn);
    assert_eq!((&turn["shard"], &turn["gen_ai.agent.name"]), (&Value::I64(3), &Value::from("anna")));
    assert_eq!(turn["voice.usage.input_tokens"], Value::I64(7));
    assert_eq!(exported.span("chat m").status, Status::error("it is late"));
}

/// What their extension is given holds content under the same names, in lists and on links too.
#[test]
fn their_span_extension_tells_no_content() {
    let program = || {
        for in_time in [true, false] {
            let llm = info_span!("llm", model = "m");
            let said = || KeyValue::new("prompt", "4711");
            let list = || KeyValue::new("llm.prompts", Value::Array(vec![StringValue::from("4711")].into()));
            let entered = (!in_time).then(|| llm.enter());
            llm.set_attribute("input.value", "4711");
            llm.add_event("told", vec![said(), list(), KeyValue::new("by", "hand")]);
            llm.add_link_with_attributes(remote(2).span().span_context().clone(), vec![said(), list()]);
            drop(entered);
        }
    };
    let telling = |exported: &Exported| {
        let texts =
            exported.spans.iter().map(|span| format!("{:?} {:?} {:?}", span.attributes, span.events, span.links));
        texts.map(|text| text.matches("4711").count()).collect::<Vec<_>>()
    };
    assert_eq!(telling(&exported(program)), [0, 0]);
    let redacted = GenAi::new().with_content(Content::Spans);
    assert_eq!(telling(&exported_with(&redacted, program)), [5, 5]);
    let redacted = redacted.with_redaction(|_, text| text.replace("4711", "####").into());
    assert_eq!(telling(&exported_with(&redacted, program)), [0, 0]);
}

#[test]
fn explicit_parents_hold_both_ways() {
    let exported = exported(|| {
        let request = info_span!("http_request");
        let turn = info_span!(parent: &request, "turn");
        let handler = info_span!(parent: &turn, "handler");
        let llm = info_span!(parent: &handler, "llm", model = "m");
        let inner = info_span!(parent: &llm, "http_client");
        drop(info_span!(parent: &inner, "tool", tool = "clock"));
        let follower = info_span!(parent: &turn, "tts");
        follower.follows_from(&llm);
    });
    expect![[r#"
        http_request
          turn
            handler
              chat m
                http_client
                  execute_tool clock
            text_to_speech
    "#]]
    .assert_eq(&exported.to_string());
    let link: &Link = &exported.span("text_to_speech").links[0];
    assert_eq!(link.span_context, exported.span("chat m").span_context);
    assert_eq!(exported.traces(), 1);
}

#[test]
fn their_options_keep_their_meaning() {
    let backend = Backend::default();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracing_genai::tracer(backend.tracer()))
        .with_location(true)
        .with_threads(true)
        .with_level(true)
        .with_target(true)
        .with_tracked_inactivity(true);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || drop(info_span!(target: "mine", "llm").entered()));
    let llm = backend.exported().attributes("chat");
    assert_eq!((&llm["target"], &llm["level"]), (&Value::from("mine"), &Value::from("INFO")));
    for key in ["code.file.path", "code.module.name", "code.line.number", "thread.id", "busy_ns", "idle_ns"] {
        assert!(llm.contains_key(key), "{key}");
    }
}

#[test]
fn a_field_that_is_called_like_one_of_theirs_is_there_once() {
    let exported = exported(|| {
        let tool = info_span!("tool", level = 0.5, target = "billing").entered();
        tool.record("level", 0.7);
    });
    // Fails where a key is there twice.
    let tool = exported.attributes("execute_tool");
    assert_eq!((&tool["target"], &tool["level"]), (&"billing".into(), &Value::F64(0.7)));
}

#[test]
fn without_context_activation_spans_hang_by_tracing_alone() {
    let backend = Backend::default();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracing_genai::tracer(backend.tracer()))
        .with_context_activation(false);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let _turn = info_span!("turn").entered();
        assert!(!Context::current().has_active_span());
        drop(info_span!("stt").entered());
    });
    assert_eq!(backend.exported().to_string(), "turn\n  speech_to_text\n");
}

#[test]
fn the_users_otel_fields_win() {
    let exported = exported(|| {
        drop(info_span!("llm", model = "m", otel.name = "local model", otel.kind = "internal"));
        drop(info_span!("tts", otel.status_code = "ok", error = "none to speak of"));
        let stt = info_span!("stt", otel.name = Empty);
        stt.record("otel.name", "late, but not entered yet");
    });
    assert_eq!(exported.to_string(), "local model\ntext_to_speech [ok]\nlate, but not entered yet\n");
    assert_eq!(exported.span("local model").span_kind, SpanKind::Internal);
    assert_eq!(exported.attribute("local model", "gen_ai.request.model"), Some("m".into()));
}

#[test]
fn an_event_keeps_the_time_that_the_program_gives_it() {
    let past = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let future = SystemTime::now() + Duration::from_secs(60);
    let exported = exported(|| {
        let llm = info_span!("llm");
        llm.add_event_with_timestamp("before the start", past, Vec::new());
        let llm = llm.entered();
        llm.add_event_with_timestamp("past", past, Vec::new());
        llm.add_event_with_timestamp("future", future, Vec::new());
    });
    let times: Vec<_> = exported.span("chat").events.iter().map(|event| event.timestamp).collect();
    assert_eq!(times, [past, past, future]);
}

#[test]
fn what_a_span_is_called_for_others_is_not_what_it_is() {
    let exported = exported(|| {
        drop(info_span!("lookup", otel.name = "llm", model = "m"));
        drop(info_span!("llm", otel.name = "llm", model = "m"));
    });
    assert_eq!(exported.to_string(), "llm\nllm\n");
    let ours: Vec<_> =
        exported.spans.iter().map(|span| attributes(span).contains_key("gen_ai.request.model")).collect();
    assert_eq!(ours, [false, true]);
}

#[test]
fn a_status_that_the_program_sets_wins_over_what_events_say() {
    for before_the_start in [true, false] {
        let exported = exported(|| {
            let llm = info_span!("llm", error_type = "timeout");
            if before_the_start {
                llm.set_status(Status::error("gave up"));
            } else {
                drop(llm.context());
                llm.set_status(Status::error("gave up"));
                warn!(parent: &llm, error = %"gave up");
            }
            error!(parent: &llm, "no answer");
        });
        assert_eq!(exported.span("chat").status, Status::error("gave up"), "{before_the_start}");
        assert_eq!(exported.attribute("chat", "error.type"), Some("timeout".into()));
    }
}

#[test]
fn a_span_ends_when_it_closes_and_starts_when_it_opened() {
    let exported = exported(|| {
        let turn = info_span!("turn");
        thread::sleep(Duration::from_millis(20));
        turn.in_scope(|| ());
        thread::sleep(Duration::from_millis(20));
    });
    let turn = support::duration(exported.span("turn"));
    assert!(turn >= Duration::from_millis(40), "{turn:?}");
}

#[test]
fn a_span_of_a_native_tracer_between_two_of_ours_is_their_parent_and_the_conversation_is_found() {
    let backend = Backend::default();
    let subscriber = tracing_subscriber::registry().with(GenAi::new().opentelemetry_layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        let conversation = info_span!("conversation", conversation_id = "c-1").entered();
        let _turn = info_span!("turn").entered();
        backend.tracer().in_span("native", |_| {
            drop(info_span!("llm", input_tokens = 3).entered());
        });
        drop(conversation);
    });
    let exported = backend.exported();
    assert_eq!(exported.to_string(), "conversation\n  turn\n    native\n      chat\n");
    let llm = exported.attributes("chat");
    assert_eq!(llm["gen_ai.conversation.id"], Value::from("c-1"));
    assert_eq!(llm["voice.turn.number"], Value::I64(1));
    assert_eq!(exported.attribute("turn", "voice.usage.input_tokens"), Some(Value::I64(3)));
}

#[test]
fn a_conversation_beside_another_one_below_a_span_of_the_programs_own_is_not_in_it() {
    let backend = Backend::default();
    let subscriber = tracing_subscriber::registry().with(GenAi::new().opentelemetry_layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        let _batch = info_span!("batch").entered();
        let other = info_span!("conversation", conversation_id = "c-1").entered().exit();
        drop(info_span!("embeddings", input_tokens = 2).entered());
        let conversation = info_span!("conversation", conversation_id = "c-2").entered();
        // Whose it is nobody can tell: it is in neither rather than in the wrong one.
        backend.tracer().in_span("native", |_| drop(info_span!("llm", input_tokens = 3).entered()));
        drop((conversation, other));
        let _last = info_span!("turn", conversation_id = "c-3").entered();
        backend.tracer().in_span("native in a turn", |_| {
            let _handler = info_span!("handler").entered();
            drop(info_span!("tool", input_tokens = 5).entered());
        });
    });
    let exported = backend.exported();
    expect![[r#"
        batch
          conversation
          embeddings
          conversation
            native
              chat
          turn
            native in a turn
              handler
                execute_tool
    "#]]
    .assert_eq(&exported.to_string());
    for span in &exported.spans {
        assert_eq!(attributes(span).get("voice.usage.input_tokens"), None, "{}", span.name);
    }
    for (name, id) in [("embeddings", None), ("chat", None), ("execute_tool", Some("c-3".into()))] {
        assert_eq!(exported.attribute(name, "gen_ai.conversation.id"), id, "{name}");
    }
}

/// A tracer of the user's is used directly, without `tracing`.
#[test]
fn the_wrapped_tracer_is_a_tracer() {
    let backend = Backend::default();
    let tracer = tracing_genai::tracer(backend.tracer());
    let mut turn = tracer.start("turn");
    turn.set_attribute(KeyValue::new("conversation_id", "c-1"));
    let context = Context::new().with_span(turn);
    let mut llm =
        tracer.span_builder("llm").with_attributes([KeyValue::new("model", "m")]).start_with_context(&tracer, &context);
    llm.update_name("mine");
    assert!(llm.is_recording());
    llm.end();
    assert!(!llm.is_recording());
    drop(tracer.build_with_context(tracer.span_builder("other"), &context));
    drop(context);
    assert_eq!(backend.exported().to_string(), "turn\n  mine\n  other\n");
}

#[test]
fn what_is_open_at_a_shutdown_is_exported_as_incomplete() {
    let backend = Backend::default();
    let genai = GenAi::new();
    let subscriber = tracing_subscriber::registry().with(genai.opentelemetry_layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        let _turn = info_span!("turn").entered();
        let stats = genai.handle().shutdown(Duration::from_secs(1));
        assert_eq!((stats.spans_open(), stats.spans_closed), (0, 1));
    });
    let exported = backend.exported();
    assert_eq!(exported.spans.len(), 1);
    assert_eq!(exported.attribute("turn", "voice.incomplete"), Some(Value::Bool(true)));
}

#[derive(Debug, Clone)]
struct Picky;

impl ShouldSample for Picky {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        name: &str,
        _: &SpanKind,
        attributes: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        assert!(!attributes.iter().any(|attribute| attribute.value.as_str() == "panic"), "a sampler's own");
        let is_ours = attributes.iter().any(|attribute| attribute.key == Key::new("gen_ai.operation.name"));
        assert!(name != "turn" || is_ours, "the sampler sees what is known at the start");
        let decision = SamplingDecision::RecordAndSample;
        SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::default() }
    }
}

#[test]
fn a_sampler_that_panics_costs_a_span_and_nothing_else() {
    let exporter = opentelemetry_sdk::trace::InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).with_sampler(Picky).build();
    let backend = Backend { provider, exporter };
    let genai = GenAi::new();
    let subscriber = tracing_subscriber::registry().with(genai.opentelemetry_layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        let _turn = info_span!("turn").entered();
        for name in ["llm", "lookup"] {
            let span =
                if name == "llm" { info_span!("llm", model = "panic") } else { info_span!("lookup", key = "panic") };
            let _span = span.entered();
            info!("an event");
            drop(info_span!("stt").entered());
        }
        drop(info_span!("tts").entered());
    });
    assert_eq!(backend.exported().to_string(), "turn\n  speech_to_text\n  speech_to_text\n  text_to_speech\n");
    assert_eq!(genai.handle().stats().panics_caught, 2);
}

/// Traces from wherever it can.
#[derive(Debug)]
struct Chatty;

impl SpanProcessor for Chatty {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {
        tracing::Span::current().set_attribute("seen", true);
        drop(info_span!("llm").entered());
        error!("from on_start");
    }

    fn on_end(&self, _: SpanData) {
        drop(info_span!("llm").entered());
        info!("from on_end");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// A turn with two spans in it, and what is exported of it.
fn under_a_chatty_processor(run: impl FnOnce(Dispatch, fn())) -> String {
    let exporter = opentelemetry_sdk::trace::InMemorySpanExporter::default();
    let provider =
        SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).with_span_processor(Chatty).build();
    let backend = Backend { provider, exporter };
    run(Dispatch::new(tracing_subscriber::registry().with(GenAi::new().opentelemetry_layer(backend.tracer()))), || {
        let _turn = info_span!("turn").entered();
        drop(info_span!("stt").entered());
        drop(info_span!("lookup").entered());
    });
    backend.exported().to_string()
}

#[test]
fn a_processor_that_traces_hangs_nobody() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let tree = under_a_chatty_processor(|dispatch, program| tracing::dispatcher::with_default(&dispatch, program));
        done.send(tree).unwrap();
    });
    let tree = is_done.recv_timeout(Duration::from_secs(10)).expect("it hangs");
    assert_eq!(tree, "turn\n  speech_to_text\n  lookup\n");
}

#[test]
fn a_processor_that_traces_hangs_nobody_under_a_global_subscriber_either() {
    const NAME: &str = "a_processor_that_traces_hangs_nobody_under_a_global_subscriber_either";
    if is_child(NAME) {
        let tree = under_a_chatty_processor(|dispatch, program| {
            tracing::dispatcher::set_global_default(dispatch).unwrap();
            program();
        });
        return assert_eq!(tree, "turn\n  speech_to_text\n  lookup\n");
    }
    let mut child = child(NAME).spawn().unwrap();
    let ended = (0..100).find_map(|_| {
        thread::sleep(Duration::from_millis(100));
        child.try_wait().unwrap()
    });
    let _ = child.kill();
    assert!(ended.expect("it hangs").success());
}

/// Each of these is listed in the README.
mod differences {
    use super::*;

    struct Hostile;

    impl std::fmt::Debug for Hostile {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("its own")
        }
    }

    /// The registry ties the span to its parent before anybody looks at its fields, and nobody closes it.
    #[test]
    fn a_debug_that_panics_as_a_span_opens_leaves_the_turn_open() {
        let program = || {
            let turn = info_span!("turn").entered();
            let opened = catch_unwind(AssertUnwindSafe(|| drop(info_span!("llm", note = ?Hostile))));
            assert!(opened.is_err(), "the program sees its own panic");
            drop(turn);
        };
        let genai = GenAi::new();
        let dispatch =
            Dispatch::new(tracing_subscriber::registry().with(genai.opentelemetry_layer(Backend::default().tracer())));
        tracing::dispatcher::with_default(&dispatch, program);
        assert_eq!(genai.handle().stats().spans_open(), 1);
        let genai = GenAi::new();
        let layer = genai.layer(Backend::default().tracer());
        let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(fmt).with(layer));
        tracing::dispatcher::with_default(&dispatch, program);
        assert_eq!(genai.handle().stats().spans_open(), 1, "the same beside a layer that formats");
    }

    #[test]
    fn two_of_their_layers_on_one_registry_panic() {
        let genai = GenAi::new();
        let (one, two) = (Backend::default(), Backend::default());
        let subscriber = tracing_subscriber::registry()
            .with(genai.opentelemetry_layer(one.tracer()))
            .with(genai.opentelemetry_layer(two.tracer()));
        let opened = catch_unwind(AssertUnwindSafe(|| {
            tracing::subscriber::with_default(subscriber, || drop(info_span!("turn")));
        }));
        assert!(opened.is_err());
    }

    /// A span that is entered in a thread-local, and left in its destructor.
    #[test]
    fn a_span_that_is_left_in_the_destructor_of_a_thread_local_aborts() {
        const NAME: &str = "differences::a_span_that_is_left_in_the_destructor_of_a_thread_local_aborts";
        thread_local! {
            static ENTERED: std::cell::RefCell<Option<tracing::span::EnteredSpan>> = const { std::cell::RefCell::new(None) };
        }
        if is_child(NAME) {
            let layer = GenAi::new().opentelemetry_layer(Backend::default().tracer());
            tracing_subscriber::registry().with(layer).init();
            let keep = || {
                // Its destructor is registered first, and runs last.
                ENTERED.with(|entered| entered.borrow_mut().take());
                ENTERED.with(|entered| *entered.borrow_mut() = Some(info_span!("turn").entered()));
            };
            let _ = thread::spawn(keep).join();
            return;
        }
        assert!(!child(NAME).output().unwrap().status.success(), "then the README's row can go");
    }

    #[test]
    fn a_span_that_was_never_entered_is_not_found_by_its_id() {
        let exported = exported(|| {
            let conversation = info_span!("conversation", conversation_id = "c-1");
            drop(info_span!("stt", conversation_id = "c-1").entered());
            conversation.in_scope(|| ());
            drop(info_span!("llm", conversation_id = "c-1").entered());
        });
        assert_eq!(exported.to_string(), "conversation\n  chat\nspeech_to_text\n");
    }

    #[test]
    fn the_id_of_another_conversation_wins_over_an_explicit_parent() {
        let exported = exported(|| {
            let other = info_span!("conversation", conversation_id = "c-2").entered().exit();
            let conversation =
                info_span!("conversation", conversation_id = "c-1", otel.name = "first").entered().exit();
            drop(info_span!(parent: &conversation, "llm", conversation_id = "c-2"));
            drop(other);
        });
        assert_eq!(exported.to_string(), "conversation\n  chat\nfirst\n");
    }

    #[test]
    fn an_unsigned_number_of_an_unknown_field_stays_text() {
        let exported = exported(|| drop(info_span!("llm", retries = 3_u64, input_tokens = 4_u64)));
        assert_eq!(exported.attribute("chat", "retries"), Some("3".into()));
        assert_eq!(exported.attribute("chat", "gen_ai.usage.input_tokens"), Some(Value::I64(4)));
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_text() {
        let exported = exported(|| drop(info_span!("llm", hash = u128::MAX)));
        assert_eq!(exported.attribute("chat", "hash"), Some(u128::MAX.to_string().into()));
    }

    #[test]
    fn an_attribute_of_all_spans_is_on_recognized_ones() {
        let exported = exported_with(&GenAi::new().with_attribute("shard", 3), || {
            let _turn = info_span!("turn").entered();
            drop(info_span!("lookup").entered());
        });
        assert_eq!(exported.attribute("turn", "shard"), Some(Value::I64(3)));
        assert_eq!(exported.attribute("lookup", "shard"), None);
    }

    #[test]
    fn targets_are_looked_at_without_their_level_where_they_are_known() {
        let options = || GenAi::new().with_targets(Targets::new().with_target("my_agent", LevelFilter::INFO));
        let program = || {
            drop(debug_span!(target: "my_agent", "llm"));
            drop(info_span!(target: "compiler", "step"));
        };
        assert_eq!(exported_with(&options(), program).to_string(), "chat\nstep\n");
        let backend = Backend::default();
        let theirs = options().opentelemetry_layer(backend.tracer()).with_target(false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(theirs), program);
        assert_eq!(backend.exported().to_string(), "llm\nstep\n");
    }

    #[test]
    fn a_panic_does_not_mark_a_span_that_was_never_entered() {
        let exported = exported(|| {
            let panicked = catch_unwind(|| {
                let _llm = info_span!("llm");
                panic!("its own");
            });
            assert!(panicked.is_err());
        });
        assert_eq!(exported.to_string(), "chat\n");
    }

    #[test]
    fn other_spans_are_exported_as_they_are() {
        let exported = exported(|| {
            let _turn = info_span!("turn").entered();
            let _other = info_span!("lookup", transcript = "noon", error = "timeout").entered();
            info!("first_token");
        });
        assert_eq!(exported.to_string(), "turn\n  lookup\n");
        assert_eq!(exported.attribute("lookup", "transcript"), Some("noon".into()));
    }

    #[test]
    fn a_name_or_a_kind_that_is_recorded_after_the_first_enter_is_not_seen() {
        let exported = exported(|| {
            let llm = info_span!("llm", otel.name = Empty).entered();
            llm.record("otel.name", "late");
        });
        assert_eq!(exported.to_string(), "chat\n");
    }

    #[test]
    fn an_events_name_is_not_seen_beside_a_message() {
        let exported = exported(|| {
            let _llm = info_span!("llm").entered();
            info!(name: "first_token", "here it comes");
        });
        assert_eq!(exported.attribute("chat", "gen_ai.response.time_to_first_chunk"), None);
    }

    #[test]
    fn a_speaking_event_outside_of_all_spans_is_not_heard() {
        let exported = exported(|| {
            info!(conversation_id = "c-1", "user_started_speaking");
            drop(info_span!("llm", conversation_id = "c-1").entered());
        });
        assert_eq!(exported.to_string(), "chat\n");
    }

    #[test]
    fn an_event_of_an_error_without_a_message_is_an_exception() {
        let exported = exported(|| info_span!("llm").in_scope(|| error!(error = %"the line is dead")));
        let event = &exported.span("chat").events[0];
        assert_eq!(event.name, "exception");
        assert!(event.attributes.contains(&KeyValue::new("exception.message", "the line is dead")));
        assert_eq!(exported.span("chat").status, Status::error("the line is dead"));
    }

    #[test]
    fn an_error_value_has_exception_attributes_too() {
        let exported = exported(|| {
            let error = std::io::Error::other("the line is dead");
            let error: &dyn std::error::Error = &error;
            drop(info_span!("llm", error));
        });
        assert_eq!(exported.attribute("chat", "exception.message"), Some("the line is dead".into()));
        let exported = exported_with(&GenAi::new().with_error_text(false), || {
            let error = std::io::Error::other("the line is dead");
            let error: &dyn std::error::Error = &error;
            drop(info_span!("llm", error));
        });
        assert!(!format!("{:?}", exported.spans).contains("the line"));
    }
}

/// Both layers on one registry.
mod both {
    use super::*;

    fn session() {
        let conversation = info_span!("conversation", conversation_id = "c-1").entered();
        let turn = info_span!("turn").entered();
        drop(info_span!("llm", model = "m").entered());
        drop(turn);
        drop(conversation);
    }

    const TREE: &str = "conversation\n  turn\n    chat m\n";

    #[test]
    fn beside_a_wrapped_tracer_our_layer_steps_aside_in_either_order() {
        for ours_first in [true, false] {
            let (one, other) = (Backend::default(), Backend::default());
            let genai = GenAi::new().with_other_spans(true);
            let (ours, theirs) = (genai.layer(one.tracer()), tracing_genai::tracer(other.tracer()));
            if ours_first {
                let theirs = tracing_opentelemetry::layer().with_tracer(theirs);
                tracing::subscriber::with_default(tracing_subscriber::registry().with(ours).with(theirs), session);
            } else {
                let theirs = tracing_opentelemetry::layer().with_tracer(theirs);
                tracing::subscriber::with_default(tracing_subscriber::registry().with(theirs).with(ours), session);
            }
            assert_eq!(one.exported().to_string(), "", "ours first: {ours_first}");
            assert_eq!(other.exported().to_string(), TREE, "ours first: {ours_first}");
        }
    }

    #[test]
    fn in_an_option_or_a_vec_after_theirs_our_layer_steps_aside_too() {
        for in_vec in [true, false] {
            let (one, other) = (Backend::default(), Backend::default());
            let theirs = GenAi::new().opentelemetry_layer(other.tracer());
            let ours = GenAi::new().with_other_spans(true).layer(one.tracer());
            let program = || info_span!("lookup").in_scope(session);
            if in_vec {
                let both = tracing_subscriber::registry().with(theirs).with(vec![ours]);
                tracing::subscriber::with_default(both, program);
            } else {
                let both = tracing_subscriber::registry().with(theirs).with(Some(ours));
                tracing::subscriber::with_default(both, program);
            }
            assert_eq!(one.exported().to_string(), "", "in a Vec: {in_vec}");
            assert_eq!(other.exported().traces(), 1);
        }
    }

    #[test]
    fn in_an_option_of_a_global_subscriber_our_layer_steps_aside_wherever_it_stands() {
        if is_child("both::in_an_option_of_a_global_subscriber_our_layer_steps_aside_wherever_it_stands") {
            let (one, other) = (Backend::default(), Backend::default());
            let theirs = tracing_opentelemetry::layer().with_tracer(tracing_genai::tracer(other.tracer()));
            let ours = Some(tracing_genai::layer(one.tracer()));
            tracing_subscriber::registry().with(ours).with(theirs).init();
            session();
            assert_eq!((one.exported().to_string(), other.exported().to_string()), (String::new(), TREE.to_owned()));
            return;
        }
        let output = child("both::in_an_option_of_a_global_subscriber_our_layer_steps_aside_wherever_it_stands")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }

    #[test]
    fn two_backends_stay_possible() {
        for ours_first in [true, false] {
            let (one, other) = (Backend::default(), Backend::default());
            let (ours, plain) = (tracing_genai::layer(one.tracer()), other.tracer());
            if ours_first {
                let theirs = tracing_opentelemetry::layer().with_tracer(plain);
                tracing::subscriber::with_default(tracing_subscriber::registry().with(ours).with(theirs), session);
            } else {
                let theirs = tracing_opentelemetry::layer().with_tracer(plain);
                tracing::subscriber::with_default(tracing_subscriber::registry().with(theirs).with(ours), session);
            }
            assert_eq!(one.exported().to_string(), TREE, "ours first: {ours_first}");
            let theirs = other.exported();
            assert_eq!(theirs.spans.iter().filter(|span| span.name == "llm").count(), 1);
        }
    }

    #[test]
    fn a_program_with_both_is_told_once() {
        if is_child("both::a_program_with_both_is_told_once") {
            for _ in 0..3 {
                let (one, other) = (Backend::default(), Backend::default());
                let theirs = tracing_opentelemetry::layer().with_tracer(other.tracer());
                let both = tracing_subscriber::registry().with(tracing_genai::layer(one.tracer())).with(theirs);
                tracing::subscriber::with_default(both, session);
            }
            return;
        }
        let output = child("both::a_program_with_both_is_told_once").output().unwrap();
        assert_eq!(stderr(&output).matches("tracing_genai::tracer").count(), 1, "{}", stderr(&output));
    }

    #[test]
    fn a_program_with_one_is_told_nothing() {
        if is_child("both::a_program_with_one_is_told_nothing") {
            let one = Backend::default();
            tracing::subscriber::with_default(
                tracing_subscriber::registry().with(tracing_genai::layer(one.tracer())),
                session,
            );
            drop(exported(session));
            return;
        }
        let output = child("both::a_program_with_one_is_told_nothing").output().unwrap();
        assert_eq!(stderr(&output), "");
    }
}

/// A panic in the program, and one while a span of theirs is in between.
#[test]
fn a_panic_marks_the_innermost_of_our_spans() {
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _llm = info_span!("llm").entered();
            let _other = info_span!("lookup").entered();
            panic!("its own");
        }));
        assert!(panicked.is_err());
    });
    assert_eq!(exported.to_string(), "turn\n  chat [error panic]\n    lookup\n");
}

#[test]
fn nothing_is_kept_of_closed_spans() {
    let backend = Backend::default();
    let genai = GenAi::new();
    let subscriber = tracing_subscriber::registry().with(genai.opentelemetry_layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..100 {
            let _turn = info_span!("turn").entered();
            let _other = info_span!("lookup").entered();
            drop(info_span!("llm").entered());
        }
    });
    assert_eq!(genai.handle().stats().spans_open(), 0);
}
