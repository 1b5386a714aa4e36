//! A thread that ends inside of a span, or traces while its own storage goes, hurts nobody.
//!
//! Destructors of thread-local values run in the reverse order of their first use: what a thread used first is there longest.
#![cfg(test)]

mod support;

use std::any::Any;
use std::cell::RefCell;
use std::env;
use std::mem;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span as SdkSpan, SpanData, SpanProcessor};
use support::Exported;
use support::console::{child, is_child, stderr, stdout};
use tracing::field::Empty;
use tracing::{Span, info, info_span};
use tracing_genai::{SpanExt, Stats};
use tracing_subscriber::prelude::*;

thread_local! {
    /// What a thread keeps until its end.
    static KEPT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

fn keep(value: impl Any) {
    KEPT.with(|kept| *kept.borrow_mut() = Some(Box::new(value)));
}

/// Makes the thread's `KEPT` known, whose destructor runs after those of everything that is used later.
fn use_kept() {
    KEPT.with(|_| ());
}

/// Runs a function when it is dropped.
struct AtEnd(Box<dyn Fn()>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Everything that a program does with spans: `llm` is open already.
fn trace(turn: &Span, llm: &Span) -> AtEnd {
    let (turn, llm) = (turn.clone(), RefCell::new(Some(llm.clone())));
    AtEnd(Box::new(move || {
        let Some(llm) = llm.take().map(Span::entered) else { return };
        info!("first_token");
        llm.record("output_tokens", 3);
        let _ = llm.context();
        llm.add_link(SpanContext::NONE);
        info_span!("tool", tool = "clock").in_scope(|| ());
        drop(llm);
        drop(info_span!(parent: &turn, "tts"));
        drop(info_span!("agent", agent = "root"));
    }))
}

/// Uses the registry's own storage and not ours. Where that is gone, the registry panics for a span that opens or is entered.
fn use_registry() {
    info_span!("connection").in_scope(|| ());
}

fn use_ours() {
    info_span!("stt").in_scope(|| ());
}

/// What a thread does with spans of another thread, in the orders of first use that there are.
fn program(case: &str, turn: &Span, llm: &Span) {
    match case {
        "forgets" => mem::forget(turn.clone().entered()),
        "forgets, and used OpenTelemetry's later" => {
            mem::forget(turn.clone().entered());
            let _ = Context::current();
        }
        "keeps, used before ours" => {
            use_kept();
            keep(turn.clone().entered());
        }
        "keeps, used after ours" => {
            let entered = turn.clone().entered();
            keep(entered);
        }
        "keeps, used between OpenTelemetry's and ours" => {
            let _ = Context::current();
            use_kept();
            keep(turn.clone().entered());
        }
        "traces while all is there" => {
            use_ours();
            keep(trace(turn, llm));
        }
        "traces when ours is gone" => {
            use_registry();
            let _ = Context::current();
            use_kept();
            use_ours();
            keep(trace(turn, llm));
        }
        "traces when all is gone" => {
            use_registry();
            use_kept();
            use_ours();
            keep(trace(turn, llm));
        }
        "traces when all is gone, in a forgotten span" => {
            use_registry();
            use_kept();
            mem::forget(info_span!("stt").entered());
            keep(trace(turn, llm));
        }
        "traces first when OpenTelemetry's is gone" => {
            drop(info_span!("connection"));
            use_kept();
            let _ = Context::current();
            keep(trace(turn, llm));
        }
        "traces first of all" => keep(trace(turn, llm)),
        other => panic!("{other}"),
    }
}

/// The trees of the programs.
const CASES: &[(&str, &str)] = &[
    // Nobody closes a turn that a thread has forgotten.
    ("forgets", "? chat\n"),
    ("forgets, and used OpenTelemetry's later", "? chat\n"),
    ("keeps, used before ours", "turn\n  chat\n"),
    ("keeps, used after ours", "turn\n  chat\n"),
    ("keeps, used between OpenTelemetry's and ours", "turn\n  chat\n"),
    ("traces while all is there", TRACED_AFTER_OURS),
    ("traces when ours is gone", TRACED_AFTER_OURS),
    ("traces when all is gone", TRACED_AFTER_OURS),
    ("traces when all is gone, in a forgotten span", TRACED_IN_FORGOTTEN),
    ("traces first when OpenTelemetry's is gone", TRACED),
    ("traces first of all", TRACED),
];

const TRACED: &str = "\
turn
  chat [3]
    execute_tool clock
  text_to_speech
invoke_agent root
";

const TRACED_IN_FORGOTTEN: &str = "\
turn
  chat [3]
    execute_tool clock
  text_to_speech
? invoke_agent root
";

const TRACED_AFTER_OURS: &str = "\
turn
  chat [3]
    execute_tool clock
  text_to_speech
speech_to_text
invoke_agent root
";

/// The spans that ended. The SDK's simple processor needs storage of its own, on the thread that ends them.
#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut SdkSpan, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn a_thread_may_end_inside_of_a_span_and_trace_while_its_storage_goes() {
    const NAME: &str = "a_thread_may_end_inside_of_a_span_and_trace_while_its_storage_goes";
    if is_child(NAME) {
        let case = env::var("CASE").unwrap();
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder().with_span_processor(ended.clone()).build();
        tracing_subscriber::registry().with(tracing_genai::layer(provider.tracer("test"))).init();
        let turn = info_span!("turn");
        let llm = info_span!(parent: &turn, "llm", output_tokens = Empty);
        let others = (turn.clone(), llm.clone());
        thread::spawn(move || program(&case, &others.0, &others.1)).join().unwrap();
        drop((llm, turn));
        let mut spans = ended.0.lock().unwrap().clone();
        spans.sort_by_key(|span| span.start_time);
        let exported = Exported { spans, stats: Stats::default() };
        let tokens = exported.attribute("chat", "gen_ai.usage.output_tokens");
        let chat = tokens.map_or("chat".to_owned(), |tokens| format!("chat [{tokens}]"));
        return print!("<{}>", exported.to_string().replace("chat", &chat));
    }
    for (case, tree) in CASES {
        let output = child(NAME).env("CASE", case).output().unwrap();
        assert!(output.status.success(), "{case}: {}", stderr(&output));
        let stdout = stdout(&output);
        let printed = stdout.split_once('<').unwrap().1.split_once('>').unwrap().0;
        assert_eq!(printed, *tree, "{case}");
        // Where OpenTelemetry's storage is gone before ours was used, the one panic that says so is caught.
        let panics = stderr(&output).matches("panicked at").count();
        assert_eq!(
            panics,
            usize::from(*case == "traces first when OpenTelemetry's is gone"),
            "{case}: {}",
            stderr(&output)
        );
    }
}
