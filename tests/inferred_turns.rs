//! The turns that speaking events make: who starts them, what hangs below them, what they know at their end.
#![cfg(test)]

mod support;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use expect_test::expect;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{Link, SpanId, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, SpanData, SpanProcessor,
};
use support::{Backend, Exported, attributes, exported, exported_with, subscriber};
use tracing::dispatcher::with_default;
use tracing::field::Empty;
use tracing::{Dispatch, info, info_span};
use tracing_genai::{GenAi, TracePer};

/// Somebody else's code that runs while a span of this name starts, once.
#[derive(Clone)]
struct WhileStarting {
    name: &'static str,
    armed: Arc<AtomicBool>,
    run: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
}

impl WhileStarting {
    fn new(name: &'static str) -> Self {
        Self { name, armed: Arc::new(AtomicBool::new(true)), run: Arc::default() }
    }

    fn set(&self, run: impl Fn() + Send + Sync + 'static) {
        assert!(self.run.set(Box::new(run)).is_ok());
    }

    fn starts(&self, name: &str) {
        if name == self.name && self.armed.swap(false, Ordering::SeqCst) {
            self.run.get().unwrap()();
        }
    }
}

impl fmt::Debug for WhileStarting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl ShouldSample for WhileStarting {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        name: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        self.starts(name);
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: TraceState::default(),
        }
    }
}

impl SpanProcessor for WhileStarting {
    fn on_start(&self, span: &mut opentelemetry_sdk::trace::Span, _: &Context) {
        if let Some(data) = span.exported_data() {
            self.starts(&data.name);
        }
    }

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn sampled_by(sampler: &WhileStarting) -> Backend {
    let exporter = InMemorySpanExporter::default();
    let provider =
        SdkTracerProvider::builder().with_sampler(sampler.clone()).with_simple_exporter(exporter.clone()).build();
    Backend { provider, exporter }
}

fn processed_by(processor: impl SpanProcessor + 'static) -> Backend {
    let exporter = InMemorySpanExporter::default();
    let provider =
        SdkTracerProvider::builder().with_span_processor(processor).with_simple_exporter(exporter.clone()).build();
    Backend { provider, exporter }
}

/// Runs a program that must not hang, under a watch.
#[track_caller]
fn in_time(dispatch: &Dispatch, program: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let dispatch = dispatch.clone();
    thread::spawn(move || {
        with_default(&dispatch, program);
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(20)).expect("the program hangs");
}

/// Runs something on another thread, and waits for it.
fn on_another_thread(dispatch: &Dispatch, run: impl FnOnce() + Send + 'static) {
    let dispatch = dispatch.clone();
    thread::spawn(move || with_default(&dispatch, run)).join().unwrap();
}

#[test]
fn a_sampler_may_wait_for_a_service_of_the_turn_that_it_decides_on() {
    let sampler = WhileStarting::new("turn");
    let (genai, backend) = (GenAi::new(), sampled_by(&sampler));
    let dispatch = subscriber(&genai, &backend);
    let inside = dispatch.clone();
    sampler.set(move || {
        on_another_thread(&inside, || drop(info_span!(parent: None, "tool", conversation_id = "c-1")));
    });
    in_time(&dispatch, || {
        let conversation = info_span!("conversation", conversation_id = "c-1").entered();
        info!("user_started_speaking");
        drop(info_span!("llm", input_tokens = 1));
        drop(info_span!("tts"));
        drop(conversation);
    });
    let exported = Exported { stats: genai.handle().stats(), ..backend.exported() };
    expect![[r#"
        conversation
          turn
            chat
            text_to_speech
          execute_tool
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.attribute("execute_tool", "voice.turn.number"), Some(Value::I64(1)), "it is the turn's");
    assert_eq!(exported.stats.services_beside_turn, 1);
}

#[test]
fn a_processor_may_shut_down_while_the_turn_starts() {
    let processor = WhileStarting::new("turn");
    let (genai, backend) = (GenAi::new(), processed_by(processor.clone()));
    let handle = genai.handle();
    processor.set(move || {
        handle.shutdown(Duration::from_secs(30));
    });
    in_time(&subscriber(&genai, &backend), || {
        let conversation = info_span!("conversation", conversation_id = "c-1").entered();
        info!("user_started_speaking");
        drop(info_span!("llm"));
        drop(conversation);
    });
    let exported = Exported { stats: genai.handle().stats(), ..backend.exported() };
    expect![[r#"
        conversation
          turn
            chat
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.stats.spans_open(), 0);
}

#[test]
fn services_that_open_at_the_same_moment_share_one_turn() {
    const SERVICES: usize = 8;
    const TURNS: usize = 50;
    let (genai, backend) = (GenAi::new(), Backend::default());
    let dispatch = subscriber(&genai, &backend);
    let barrier = Barrier::new(SERVICES);
    let conversation = with_default(&dispatch, || info_span!("conversation", conversation_id = "c-1"));
    thread::scope(|scope| {
        for service in 0..SERVICES {
            let (dispatch, barrier, conversation) = (&dispatch, &barrier, &conversation);
            scope.spawn(move || {
                with_default(dispatch, || {
                    for _ in 0..TURNS {
                        if service == 0 {
                            info!(parent: conversation, "user_started_speaking");
                        }
                        barrier.wait();
                        drop(info_span!(parent: None, "llm", conversation_id = "c-1", input_tokens = 1));
                        barrier.wait();
                        if service == 0 {
                            info!(parent: conversation, "bot_started_speaking");
                            info!(parent: conversation, "bot_stopped_speaking");
                        }
                    }
                });
            });
        }
    });
    with_default(&dispatch, || drop(conversation));
    let exported = Exported { stats: genai.handle().stats(), ..backend.exported() };
    let named = |name: &'static str| exported.spans.iter().filter(move |span| span.name == name);
    assert_eq!((named("turn").count(), named("chat").count()), (TURNS, TURNS * SERVICES), "one turn, nothing lost");
    for turn in named("turn") {
        assert_eq!(attributes(turn)["voice.usage.input_tokens"], Value::I64(8), "all are the turn's");
    }
    let turns: Vec<SpanId> = named("turn").map(|turn| turn.span_context.span_id()).collect();
    let conversation = exported.span("conversation").span_context.span_id();
    let (below, beside): (Vec<_>, Vec<_>) = named("chat").partition(|chat| turns.contains(&chat.parent_span_id));
    assert!(beside.iter().all(|chat| chat.parent_span_id == conversation), "no orphan");
    assert_eq!(exported.stats.services_beside_turn, beside.len() as u64);

    assert!(below.len() > beside.len(), "{} of {} hang beside their turn", beside.len(), TURNS * SERVICES);
}

#[test]
fn a_panic_of_the_sampler_costs_the_turn_and_keeps_its_services() {
    let sampler = WhileStarting::new("turn");
    sampler.set(|| panic!("rude"));
    let (genai, backend) = (GenAi::new(), sampled_by(&sampler));
    with_default(&subscriber(&genai, &backend), || {
        let _conversation = info_span!("conversation", conversation_id = "c-1").entered();
        info!("user_started_speaking");
        drop(info_span!(parent: None, "llm", conversation_id = "c-1"));
        drop(info_span!("tts"));
    });
    let exported = Exported { stats: genai.handle().stats(), ..backend.exported() };
    expect![[r#"
        conversation
          chat
          text_to_speech
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.stats.panics_caught, 1);
}

#[test]
fn an_inferred_turn_knows_at_its_end_what_was_recorded_after_its_start() {
    let exported = exported_with(&GenAi::new().with_inherited(["campaign"]), || {
        let conversation =
            info_span!("conversation", conversation_id = Empty, user_id = Empty, agent = Empty, campaign = Empty);
        info!(parent: &conversation, "user_started_speaking");
        drop(info_span!(parent: &conversation, "llm"));
        conversation.record("user_id", "u-1");
        conversation.record("conversation_id", "c-1");
        conversation.record("agent", "host");
        conversation.record("campaign", "spring");
    });
    for (key, value) in
        [("user.id", "u-1"), ("gen_ai.conversation.id", "c-1"), ("gen_ai.agent.name", "host"), ("campaign", "spring")]
    {
        let of_turn = exported.attribute("turn", key).map(|value| value.to_string());
        assert_eq!(of_turn.as_deref(), Some(value), "{key}");
    }
    let keys: Vec<_> = exported.span("turn").attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    let operations = keys.iter().filter(|key| **key == "gen_ai.operation.name").count();
    assert_eq!(operations, 1, "what was sent at the start is not sent again");
}

#[test]
fn what_is_recorded_above_while_a_span_starts_reaches_it() {
    let sampler = WhileStarting::new("chat");
    let (genai, backend) = (GenAi::new(), sampled_by(&sampler));
    let dispatch = subscriber(&genai, &backend);
    let turn = with_default(&dispatch, || info_span!("turn", user_id = Empty));
    let (inside, recorded) = (dispatch.clone(), turn.clone());
    sampler.set(move || {
        let recorded = recorded.clone();
        on_another_thread(&inside, move || {
            recorded.record("user_id", "u-1");
        });
    });
    in_time(&dispatch, move || drop(info_span!(parent: &turn, "llm")));
    // The sampler holds on to the turn.
    drop(sampler);
    let chat = backend.exported();
    assert_eq!(chat.attribute("chat", "user.id"), Some("u-1".into()));
}

#[test]
fn what_was_recorded_further_up_reaches_spans_that_open_later() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", user_id = Empty);
        let turn = info_span!(parent: &conversation, "turn");
        conversation.record("user_id", "u-1");
        let agent = info_span!(parent: &turn, "agent");
        drop(info_span!(parent: &agent, "llm"));
    });
    for name in ["turn", "invoke_agent", "chat"] {
        assert_eq!(exported.attribute(name, "user.id"), Some("u-1".into()), "{name}");
    }
}

/// What a program attaches besides baggage.
#[derive(Debug, PartialEq)]
struct Attached(u64);

fn sees_what_was_attached() -> bool {
    let tenant = |context: &Context| context.baggage().get("tenant").map(ToString::to_string);
    let context = Context::current();
    tenant(&context).as_deref() == Some("acme") && context.get() == Some(&Attached(7))
}

#[test]
fn a_turn_of_its_own_trace_keeps_what_was_attached() {
    let genai = GenAi::new().with_trace_per(TracePer::Turn).with_baggage(["tenant"]);
    let exported = exported_with(&genai, || {
        let context = Context::current_with_value(Attached(7)).with_baggage([KeyValue::new("tenant", "acme")]);
        let _attached = context.attach();
        let _conversation = info_span!("conversation", conversation_id = "c-1").entered();
        info!("user_started_speaking");
        info_span!("llm").in_scope(|| assert!(sees_what_was_attached()));
        let turn = info_span!("turn", otel.name = "own").entered();
        assert!(sees_what_was_attached());
        info_span!("tts").in_scope(|| assert!(sees_what_was_attached()));
        drop(turn);
    });
    expect![[r#"
        conversation
        turn
          chat
        own
          text_to_speech
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.traces(), 3);
    for name in ["turn", "chat", "own", "text_to_speech"] {
        assert_eq!(exported.attribute(name, "tenant"), Some("acme".into()), "{name}");
    }
}

/// The tenant in the baggage that a processor sees as a span of this name starts, and whether it sees a parent.
type Seen = (String, Option<String>, bool);

#[derive(Debug, Clone, Default)]
struct SeenAtStart(Arc<Mutex<Vec<Seen>>>);

impl SpanProcessor for SeenAtStart {
    fn on_start(&self, span: &mut opentelemetry_sdk::trace::Span, parent: &Context) {
        let name = span.exported_data().map(|data| data.name.into_owned()).unwrap_or_default();
        let tenant = parent.baggage().get("tenant").map(ToString::to_string);
        self.0.lock().unwrap().push((name, tenant, parent.has_active_span()));
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
fn samplers_and_processors_see_a_turn_of_its_own_trace_as_a_root_with_its_baggage() {
    let seen = SeenAtStart::default();
    let genai = GenAi::new().with_trace_per(TracePer::Turn);
    with_default(&subscriber(&genai, &processed_by(seen.clone())), || {
        let _attached = Context::current_with_baggage([KeyValue::new("tenant", "acme")]).attach();
        let _conversation = info_span!("conversation").entered();
        info!("user_started_speaking");
        drop(info_span!("llm"));
        drop(info_span!("turn", otel.name = "own"));
    });
    let seen = seen.0.lock().unwrap();
    for turn in ["turn", "own"] {
        let expected = (turn.to_owned(), Some("acme".to_owned()), false);
        assert!(seen.contains(&expected), "{seen:?}");
    }
}
