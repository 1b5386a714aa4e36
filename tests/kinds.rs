//! Agents, workflows and steps, retrieval, speech-to-speech; attempts at a call, and evaluations.
#![cfg(test)]

mod support;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use expect_test::expect;
use opentelemetry::Value;
use support::{Exported, exported, exported_with};
use tracing::field::Empty;
use tracing::{Instrument, info, info_span};
use tracing_genai::GenAi;

fn text(exported: &Exported, name: &str, key: &str) -> Option<String> {
    exported.attribute(name, key).map(|value| value.to_string())
}

/// Polls two futures in turns, as `join!` does.
fn join(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let mut context = Context::from_waker(Waker::noop());
    let (mut one_done, mut other_done) = (false, false);
    while !(one_done && other_done) {
        one_done = one_done || one.as_mut().poll(&mut context).is_ready();
        other_done = other_done || other.as_mut().poll(&mut context).is_ready();
    }
}

/// Lets the other branch go on.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        let ready = std::mem::replace(&mut paused, true);
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn kinds_nest_in_each_other_as_they_are_opened() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation", conversation_id = "c-1", agent = "host").entered();
        let _turn = info_span!("turn").entered();
        let _agent = info_span!("agent", agent = "planner").entered();
        info_span!("llm", model = "m").in_scope(|| ());
        info_span!("tool", tool = "ask").in_scope(|| {
            info_span!("agent", agent = "expert").in_scope(|| {
                info_span!("retrieval", data_source = "docs").in_scope(|| {
                    info_span!("embeddings", model = "e").in_scope(|| ());
                });
            });
        });
        info_span!("workflow", workflow = "booking", workflow_id = "w-1").in_scope(|| {
            info_span!("step", step = "ask").in_scope(|| info_span!("realtime", model = "r").in_scope(|| ()));
        });
    });
    expect![[r#"
        conversation
          turn
            invoke_agent planner
              chat m
              execute_tool ask
                invoke_agent expert
                  retrieval docs
                    embeddings e
              invoke_workflow booking
                step ask
                  generate_content r
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(text(&exported, "chat m", "gen_ai.agent.name").as_deref(), Some("planner"));
    assert_eq!(text(&exported, "embeddings e", "gen_ai.agent.name").as_deref(), Some("expert"));
    assert_eq!(text(&exported, "generate_content r", "voice.workflow.id").as_deref(), Some("w-1"));
    assert_eq!(text(&exported, "generate_content r", "voice.turn.number").as_deref(), Some("1"));
}

#[test]
fn steps_are_counted_in_their_workflow_and_each_run_is_a_trace() {
    let exported = exported(|| {
        for run in ["first", "second"] {
            let _run = info_span!("workflow", workflow = run).entered();
            info_span!("step", otel.name = format!("{run} a")).in_scope(|| {
                info_span!("step", otel.name = format!("{run} b")).in_scope(|| ());
            });
            info_span!("step", otel.name = format!("{run} c"), sequence = 7).in_scope(|| ());
            info_span!("step", otel.name = format!("{run} d")).in_scope(|| ());
        }
        info_span!("step", otel.name = "alone").in_scope(|| ());
    });
    for run in ["first", "second"] {
        for (step, sequence) in [("a", 0), ("b", 1), ("c", 7), ("d", 8)] {
            let sequence = Some(Value::I64(sequence));
            assert_eq!(exported.attribute(&format!("{run} {step}"), "voice.step.sequence"), sequence, "{run} {step}");
        }
    }
    assert_eq!(exported.attribute("alone", "voice.step.sequence"), None);
    assert_eq!(exported.traces(), 3);
}

#[test]
fn a_failure_marks_its_step_and_custom_span_and_the_runs_end_reason() {
    // Through the second door other spans pass through as they are.
    if support::SECOND_DOOR {
        return;
    }
    let genai = GenAi::new().with_other_spans(true);
    let exported = exported_with(&genai, || {
        info_span!("workflow", workflow = "fine").in_scope(|| drop(info_span!("step", step = "ask")));
        let _run = info_span!("workflow", workflow = "failing").entered();
        info_span!("step", step = "ask").in_scope(|| ());
        info_span!("step", step = "save", error = Empty).in_scope(|| {
            info_span!("write_file", error = Empty).in_scope(|| {
                tracing::Span::current().record("error", "disk_full");
            });
            tracing::Span::current().record("error", "disk_full");
        });
    });
    expect![[r#"
        invoke_workflow fine
          step ask
        invoke_workflow failing
          step ask
          step save [error disk_full]
            write_file [error disk_full]
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(text(&exported, "invoke_workflow fine", "voice.end_reason").as_deref(), Some("completed"));
    assert_eq!(text(&exported, "invoke_workflow failing", "voice.end_reason").as_deref(), Some("error"));
    assert_eq!(text(&exported, "invoke_workflow failing", "error.type"), None);
}

#[test]
fn parallel_branches_never_nest_in_each_other() {
    let exported = exported_with(&GenAi::new().with_other_spans(true), || {
        let step = info_span!("step", step = "research");
        let branch = |name: &'static str| {
            async move {
                pause().await;
                async {
                    pause().await;
                    info_span!("tool", tool = name).in_scope(|| ());
                    pause().await;
                }
                .instrument(info_span!("llm", model = name))
                .await;
            }
            .instrument(info_span!(parent: &step, "branch", otel.name = name))
        };
        join(branch("left"), branch("right"));
    });
    expect![[r#"
        step research
          left
            chat left
              execute_tool left
          right
            chat right
              execute_tool right
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn a_call_that_is_tried_again_is_counted_once() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        let _turn = info_span!("turn").entered();
        // Its own report counts.
        info_span!("llm", model = "reported", input_tokens = 10).in_scope(|| {
            info_span!("llm", model = "a", input_tokens = 6, error = "timeout").in_scope(|| ());
            info_span!("not_ours").in_scope(|| info_span!("llm", model = "b", input_tokens = 7).in_scope(|| ()));
        });
        // Without one, the sum of its attempts.
        info_span!("tts", model = "summed").in_scope(|| {
            info_span!("tts", model = "c", characters = 3, error = "timeout").in_scope(|| ());
            info_span!("tts", model = "d", characters = 4).in_scope(|| info!("first_audio"));
        });
        info_span!("stt", model = "retried").in_scope(|| {
            info!(backoff_ms = 20, "retry");
            info!("retry");
        });
    });
    let turn = exported.attributes("turn");
    assert_eq!(turn["voice.usage.input_tokens"], Value::I64(10));
    assert_eq!(turn["voice.usage.characters"], Value::I64(7));
    assert_eq!(turn["voice.end_reason"], "completed".into(), "the calls did not fail");
    assert!(!turn.contains_key("voice.error.count"));
    assert_eq!(exported.attribute("conversation", "voice.usage.input_tokens"), Some(Value::I64(10)));
    for (name, attempt) in [
        ("chat a", Some(1)),
        ("chat b", Some(2)),
        ("chat reported", Some(2)),
        ("text_to_speech summed", Some(2)),
        ("speech_to_text retried", Some(3)),
    ] {
        assert_eq!(exported.attribute(name, "voice.attempt"), attempt.map(Value::I64), "{name}");
    }
    let retry = &exported.span("speech_to_text retried").events.events[0];
    assert_eq!(retry.name, "retry");
    assert!(retry.attributes.iter().any(|attribute| attribute.key.as_str() == "backoff_ms"));
    assert!(
        exported.attribute("text_to_speech summed", "voice.time_to_first_byte").is_some(),
        "an attempt's first byte"
    );
}

#[test]
fn a_call_of_another_kind_is_no_attempt() {
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        info_span!("llm", model = "outer", input_tokens = 1).in_scope(|| {
            info_span!("tool", tool = "ask")
                .in_scope(|| info_span!("llm", model = "inner", input_tokens = 2).in_scope(|| ()));
        });
        info_span!("agent").in_scope(|| info_span!("agent").in_scope(|| ()));
    });
    assert_eq!(exported.attribute("turn", "voice.usage.input_tokens"), Some(Value::I64(3)));
    assert_eq!(exported.attribute("chat inner", "voice.attempt"), None);
}

#[test]
fn a_speech_to_speech_response_says_how_much_of_it_was_heard() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = "c-1", session.voice = "alloy");
        info!(parent: &conversation, "user_started_speaking");
        info!(parent: &conversation, "user_stopped_speaking");
        let response = info_span!(
            "realtime",
            conversation_id = "c-1",
            model = "gpt-realtime",
            voice = "alloy",
            playout_ms = Empty,
            input_audio_tokens = 30,
            output_audio_tokens = 80,
            cached_audio_tokens = 10
        );
        response.in_scope(|| {
            info!("first_audio");
            info_span!("tool", tool = "clock").in_scope(|| ());
            info!("interrupted");
        });
        response.record("playout_ms", 1_200);
        info!(parent: &conversation, "bot_started_speaking");
    });
    expect![[r#"
        conversation
          turn
            generate_content gpt-realtime
              execute_tool clock
    "#]]
    .assert_eq(&exported.to_string());
    let response = exported.attributes("generate_content gpt-realtime");
    assert_eq!(response["voice.playout.position"], Value::F64(1.2));
    assert_eq!(response["voice.interrupted"], Value::Bool(true));
    assert_eq!(response["gen_ai.usage.audio.output_tokens"], Value::I64(80));
    assert_eq!(response["gen_ai.output.type"], "speech".into());
    assert!(response.contains_key("gen_ai.response.time_to_first_chunk"));
    assert_eq!(text(&exported, "conversation", "session.voice").as_deref(), Some("alloy"));
    assert!(exported.attribute("turn", "voice.user_to_agent_latency").is_some());
}

#[test]
fn an_evaluation_is_a_span_event_of_the_conventions() {
    let exported = exported(|| {
        info_span!("turn").in_scope(|| {
            info!(name: "evaluation", name = "helpfulness", score = 1, label = "good", explanation = "it helped", by = "judge");
            info!(score = "high", "evaluation");
        });
    });
    let events = &exported.span("turn").events.events;
    let attributes = |event: usize| -> Vec<String> {
        events[event].attributes.iter().map(|attribute| format!("{}={:?}", attribute.key, attribute.value)).collect()
    };
    assert_eq!(events[0].name, "gen_ai.evaluation.result");
    assert_eq!(
        attributes(0),
        [
            r#"gen_ai.evaluation.name=String(Owned("helpfulness"))"#,
            "gen_ai.evaluation.score.value=F64(1.0)",
            r#"gen_ai.evaluation.score.label=String(Owned("good"))"#,
            r#"gen_ai.evaluation.explanation=String(Owned("it helped"))"#,
            r#"by=String(Owned("judge"))"#,
        ]
    );
    assert_eq!(attributes(1), [r#"score=String(Owned("high"))"#]);
}

#[test]
fn what_an_agent_repeats_of_its_calls_is_counted_once() {
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        let agent = info_span!("agent", gen_ai.usage.input_tokens = 10).entered();
        drop(info_span!("step").in_scope(|| info_span!("llm", input_tokens = 10)));
        drop(agent);
        drop(info_span!("agent", gen_ai.usage.input_tokens = 5));
    });
    assert_eq!(exported.attribute("turn", "voice.usage.input_tokens"), Some(Value::I64(15)));
}
