//! Every span finds its conversation and its turn, and the turn says when it ended and where its time went.
#![cfg(test)]

mod support;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use expect_test::expect;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use support::{Backend, Exported, duration, exported, exported_with};
use tracing::field::Empty;
use tracing::{Span, error, info, info_span};
use tracing_genai::{GenAi, SpanExt, TracePer};
use tracing_subscriber::prelude::*;

fn ms(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

fn text(exported: &Exported, name: &str, key: &str) -> Option<String> {
    exported.attribute(name, key).map(|value| value.to_string())
}

fn seconds(exported: &Exported, name: &str, key: &str) -> f64 {
    match exported.attribute(name, key) {
        Some(Value::F64(seconds)) => seconds,
        other => panic!("{key} of {name} is {other:?}"),
    }
}

#[test]
fn a_service_is_found_by_its_conversation_id_from_anywhere() {
    // Through the second door other spans are exported.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = "c-1", user_id = "u-1");
        drop(info_span!("tts", conversation_id = "c-1", model = "greeting"));
        let turn = info_span!(parent: &conversation, "turn");
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let elsewhere = thread::spawn(move || {
            tracing::dispatcher::with_default(&dispatch, || {
                let _other = info_span!("http_request").entered();
                info_span!("stt", conversation_id = "c-1").in_scope(|| drop(info_span!("tool", tool = "clock")));
            });
        });
        elsewhere.join().unwrap();
        drop(info_span!(parent: None, "llm", thread_id = "c-1"));
        drop(turn);
    });
    expect![[r#"
        conversation
          text_to_speech greeting
          turn
            speech_to_text
              execute_tool clock
            chat
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.traces(), 1);
    for name in ["speech_to_text", "execute_tool clock", "chat"] {
        assert_eq!(text(&exported, name, "user.id").as_deref(), Some("u-1"), "{name}");
        assert_eq!(text(&exported, name, "voice.turn.number").as_deref(), Some("1"), "{name}");
    }
}

#[test]
fn a_service_that_finds_only_its_conversation_joins_the_open_turn() {
    let exported = exported(|| {
        let conversation = info_span!("conversation").entered();
        let turn = info_span!(parent: &*conversation, "turn");
        drop(info_span!("stt"));
        drop(info_span!(parent: &*conversation, "llm"));
        info_span!("agent").in_scope(|| drop(info_span!("tool")));
        drop(turn);
        drop(info_span!("tts"));
    });
    expect![[r#"
        conversation
          turn
            speech_to_text
            chat
            invoke_agent
              execute_tool
          text_to_speech
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn an_id_of_another_conversation_goes_there_and_an_unknown_one_stands_alone() {
    // Through the second door an explicit parent is not known from a contextual one.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        let other = info_span!("conversation", conversation_id = "other", otel.name = "other");
        let _conversation = info_span!("conversation", conversation_id = "mine").entered();
        let _turn = info_span!("turn").entered();
        drop(info_span!("llm", conversation_id = "other"));
        drop(info_span!("stt", conversation_id = "unknown"));
        drop(info_span!(parent: &other, "tts", conversation_id = "mine", model = "explicit"));
        drop(info_span!("tool", conversation_id = ""));
    });
    expect![[r#"
        other
          chat
          text_to_speech explicit
        conversation
          turn
            execute_tool
        speech_to_text
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(text(&exported, "speech_to_text", "gen_ai.conversation.id").as_deref(), Some("unknown"));
    assert_eq!(text(&exported, "execute_tool", "gen_ai.conversation.id").as_deref(), Some("mine"));
}

#[test]
fn a_service_carries_its_turn_by_number() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = "c-1");
        for number in 1..=3 {
            drop(info_span!(parent: &conversation, "turn", number));
        }
        let _open = info_span!(parent: &conversation, "turn", number = 4);
        drop(info_span!("tool", conversation_id = "c-1", turn_number = 2, tool = "slow"));
        drop(info_span!("tool", conversation_id = "c-1", turn_number = 99, tool = "lost"));
    });
    let parent = |name| exported.span(name).parent_span_id;
    let turn = |number: i64| {
        let of = |span: &&SpanData| {
            span.name == "turn" && span.attributes.contains(&KeyValue::new("voice.turn.number", number))
        };
        exported.spans.iter().find(of).unwrap().span_context.span_id()
    };
    assert_eq!(parent("execute_tool slow"), turn(2));
    assert_eq!(parent("execute_tool lost"), turn(4));
    assert_eq!(exported.attribute("execute_tool slow", "voice.turn.number"), Some(Value::I64(2)));
}

#[test]
fn turns_without_a_conversation_span_share_its_id_and_link_to_the_one_before() {
    let exported = exported(|| {
        for name in ["first", "second", "third"] {
            let turn = info_span!("turn", conversation_id = "c-1", otel.name = name);
            drop(info_span!("llm", conversation_id = "c-1", model = name));
            drop(turn);
        }
        drop(info_span!("turn", otel.name = "alone"));
    });
    expect![[r#"
        first
          chat first
        second
          chat second
        third
          chat third
        alone
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.traces(), 4);
    assert!(exported.span("first").links.links.is_empty());
    for (name, before, number) in [("second", "first", 2), ("third", "second", 3)] {
        assert_eq!(exported.span(name).links.links[0].span_context, exported.span(before).span_context);
        assert_eq!(exported.attribute(name, "voice.turn.number"), Some(Value::I64(number)));
    }
    assert_eq!(exported.attribute("alone", "gen_ai.conversation.id"), None, "no id is made up");
}

#[test]
fn a_trace_can_be_a_turn() {
    let genai = GenAi::new().with_trace_per(TracePer::Turn);
    let exported = exported_with(&genai, || {
        let _conversation = info_span!("conversation", conversation_id = "c-1").entered();
        info_span!("turn", otel.name = "first").in_scope(|| drop(info_span!("llm")));
        info_span!("turn", otel.name = "second").in_scope(|| ());
        drop(info_span!("tts"));
    });
    expect![[r#"
        conversation
          text_to_speech
        first
          chat
        second
    "#]]
    .assert_eq(&exported.to_string());
    let links =
        |name| exported.span(name).links.links.iter().map(|link| link.span_context.span_id()).collect::<HashSet<_>>();
    let id = |name| exported.span(name).span_context.span_id();
    assert_eq!(links("first"), HashSet::from([id("conversation")]));
    assert_eq!(links("second"), HashSet::from([id("conversation"), id("first")]));
}

#[test]
fn speaking_events_make_the_turns_where_the_program_opens_none() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = "c-1").entered();
        info!("bot_started_speaking");
        drop(info_span!("tts", model = "greeting"));
        info!("bot_stopped_speaking");

        info!("user_started_speaking");
        drop(info_span!("stt", model = "one"));
        info!("user_stopped_speaking");
        info!("user_started_speaking");
        info!("user_stopped_speaking");
        drop(info_span!("llm", model = "one"));
        info!("bot_started_speaking");
        ms(5);
        info!("bot_stopped_speaking");
        ms(30);

        info!(conversation_id = "c-1", "user_started_speaking");
        drop(info_span!("stt", model = "two"));
        info!("user_stopped_speaking");
        info!("bot_started_speaking");
        info!("user_started_speaking");
        drop(info_span!("stt", model = "three"));
        drop(conversation);
    });
    expect![[r#"
        conversation
          text_to_speech greeting
          turn
            speech_to_text one
            chat one
          turn
            speech_to_text two
          turn
            speech_to_text three
    "#]]
    .assert_eq(&exported.to_string());
    let turns: Vec<_> = exported.spans.iter().filter(|span| span.name == "turn").collect();
    let value = |turn: usize, key: &str| support::attributes(turns[turn]).remove(key).map(|value| value.to_string());
    for (turn, reason, interrupted) in
        [(0, "completed", None), (1, "interrupted", Some("true")), (2, "session_closed", None)]
    {
        assert_eq!(value(turn, "voice.turn.number"), Some((turn + 1).to_string()));
        assert_eq!(value(turn, "voice.end_reason").as_deref(), Some(reason));
        assert_eq!(value(turn, "voice.interrupted").as_deref(), interrupted);
        assert_eq!(value(turn, "gen_ai.conversation.id").as_deref(), Some("c-1"));
    }
    assert_eq!(value(1, "voice.interruption.source").as_deref(), Some("user"));
    assert_eq!(turns[1].end_time, turns[2].start_time, "cut off where the user started");
    assert!(turns[1].start_time.duration_since(turns[0].end_time).unwrap() >= Duration::from_millis(30), "no padding");
    let shown: Vec<_> = turns.iter().map(|turn| moments(turn)).collect();
    expect![[r#"
        [
            "user.started_speaking user.stopped_speaking user.started_speaking user.stopped_speaking agent.started_speaking agent.stopped_speaking",
            "user.started_speaking user.stopped_speaking agent.started_speaking interrupted",
            "user.started_speaking",
        ]
    "#]]
    .assert_debug_eq(&shown);
    let greeting = moments(exported.span("conversation"));
    assert_eq!(greeting, "agent.started_speaking agent.stopped_speaking", "what is in no turn is the conversation's");
    assert!(seconds(&exported, "conversation", "voice.greeting_latency") < 1.0);
}

/// The moments that a span shows, without their prefix.
fn moments(span: &SpanData) -> String {
    let names = span.events.events.iter().filter_map(|event| event.name.strip_prefix("voice."));
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn moments_are_shown_on_the_turn_that_they_belong_to_at_their_true_time() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        info!(ms_ago = 50, "user_started_speaking");
        let turn = info_span!("turn", otel.name = "first").entered();
        ms(30);
        info!(ms_ago = 20, "user_stopped_speaking");
        info!("bot_started_speaking");
        // Announced while the turn before is still open.
        info!("user_started_speaking");
        drop(turn);
        let turn = info_span!("turn", otel.name = "second").entered();
        info!("user_stopped_speaking");
        let tts = info_span!("tts");
        info!(parent: &tts, "interrupted");
        drop((tts, turn));
        info!(ms_ago = 7, "bot_stopped_speaking");
    });
    expect!["user.started_speaking user.stopped_speaking agent.started_speaking interrupted"]
        .assert_eq(&moments(exported.span("first")));
    expect!["user.started_speaking user.stopped_speaking interrupted"].assert_eq(&moments(exported.span("second")));
    expect!["agent.stopped_speaking"].assert_eq(&moments(exported.span("conversation")));
    let first = exported.span("first");
    let [started, stopped, ..] = &first.events.events[..] else { panic!("two moments") };
    let before = first.start_time.duration_since(started.timestamp).unwrap();
    assert!(before >= Duration::from_millis(50), "{before:?}");
    let waited = seconds(&exported, "first", "voice.user_to_agent_latency");
    let shown = first.events.events[2].timestamp.duration_since(stopped.timestamp).unwrap();
    assert!((waited - shown.as_secs_f64()).abs() < 1e-6, "{waited} {shown:?}");
    let after = exported.span("conversation").events.events[0].timestamp;
    assert!(exported.span("conversation").end_time.duration_since(after).unwrap() >= Duration::from_millis(7));
}

#[test]
fn a_service_is_cut_off_that_is_open_when_the_user_cuts_in_and_was_not_done() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = "c-1");
        let turn = info_span!(parent: &conversation, "turn", otel.name = "cut");
        info!(parent: &turn, "user_started_speaking");
        info!(parent: &turn, "user_stopped_speaking");
        let open = |model| info_span!(parent: &turn, "llm", model, finish_reason = Empty);
        let (done, cancelled) = (open("done"), open("cancelled"));
        let tts = info_span!(parent: &turn, "tts");
        let stt = info_span!(parent: &turn, "stt");
        done.record("finish_reason", "stop");
        info!(parent: &turn, "bot_started_speaking");
        ms(5);
        info!(parent: &turn, "user_started_speaking");
        cancelled.record("finish_reason", "cancelled");
        drop((open("next"), done, cancelled, tts, stt));
        drop(turn);
        let next = info_span!(parent: &conversation, "turn", otel.name = "next");
        drop(info_span!(parent: &next, "tts", model = "next"));
    });
    for (name, interrupted) in [
        ("cut", Some("true")),
        ("chat done", None),
        ("chat cancelled", Some("true")),
        ("text_to_speech", Some("true")),
        ("speech_to_text", None),
        ("chat next", None),
        ("next", None),
        ("text_to_speech next", None),
    ] {
        assert_eq!(text(&exported, name, "voice.interrupted").as_deref(), interrupted, "{name}");
    }
}

#[test]
fn a_greeting_that_is_cut_off_is_an_interruption_of_the_conversation() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation", started_ms_ago = 300).entered();
        let greeting = info_span!("tts", model = "greeting");
        info!("bot_started_speaking");
        ms(5);
        info!("user_started_speaking");
        info!(parent: &greeting, "interrupted");
        drop(greeting);
        drop(info_span!("stt"));
    });
    assert_eq!(text(&exported, "text_to_speech greeting", "voice.interrupted").as_deref(), Some("true"));
    assert_eq!(text(&exported, "conversation", "voice.interruption.count").as_deref(), Some("1"));
    assert_eq!(text(&exported, "turn", "voice.interrupted"), None);
    expect!["agent.started_speaking interrupted"].assert_eq(&moments(exported.span("conversation")));
    assert!(seconds(&exported, "conversation", "voice.greeting_latency") >= 0.300);
}

#[test]
fn an_agent_that_answers_has_greeted_nobody() {
    let exported = exported(|| {
        info_span!("conversation", otel.name = "heard").in_scope(|| {
            info!("user_started_speaking");
            info!("bot_started_speaking");
        });
        info_span!("conversation", otel.name = "transcribed").in_scope(|| {
            drop(info_span!("stt"));
            info!("bot_started_speaking");
        });
    });
    for name in ["heard", "transcribed"] {
        assert_eq!(exported.attribute(name, "voice.greeting_latency"), None, "{name}");
    }
}

#[test]
fn a_false_interruption_takes_the_last_one_back_and_the_turn_goes_on() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation", conversation_id = "c-1").entered();
        info!("user_started_speaking");
        info!("user_stopped_speaking");
        let tts = info_span!("tts", model = "one");
        info!("bot_started_speaking");
        // A cough, and another one.
        info!("user_started_speaking");
        info!("bot_stopped_speaking");
        info!("user_stopped_speaking");
        info!("user_started_speaking");
        info!("user_stopped_speaking");
        info!("bot_started_speaking");
        info!(conversation_id = "c-1", "false_interruption");
        drop(tts);
        ms(30);
        info!("bot_stopped_speaking");
        info!("user_started_speaking");
        drop(info_span!("stt", model = "two"));
    });
    expect![[r#"
        conversation
          turn
            text_to_speech one
          turn
            speech_to_text two
    "#]]
    .assert_eq(&exported.to_string());
    let turns: Vec<_> = exported.spans.iter().filter(|span| span.name == "turn").collect();
    assert_eq!(support::attributes(turns[0])["voice.end_reason"], "completed".into());
    assert!(!support::attributes(turns[0]).contains_key("voice.interrupted"));
    assert!(duration(turns[0]) >= Duration::from_millis(30), "it ends when the agent really stops");
    assert_eq!(text(&exported, "text_to_speech one", "voice.interrupted"), None);
    assert_eq!(text(&exported, "conversation", "voice.interruption.count"), None);
    assert_eq!(text(&exported, "conversation", "voice.turn.count").as_deref(), Some("2"));
    let shown = moments(turns[0]);
    assert!(shown.contains("interrupted") && shown.contains("interruption.retracted"), "{shown}");
    assert!(shown.ends_with("interruption.retracted agent.stopped_speaking"), "{shown}");
}

#[test]
fn a_false_interruption_of_a_turn_of_the_program_and_of_a_greeting_is_taken_back_too() {
    let exported = exported(|| {
        info_span!("conversation", otel.name = "greeted").in_scope(|| {
            let greeting = info_span!("tts", model = "greeting");
            info!("bot_started_speaking");
            info!("user_started_speaking");
            info!("false_interruption");
            drop(greeting);
            info!("bot_stopped_speaking");
        });
        info_span!("conversation", otel.name = "answered").in_scope(|| {
            let turn = info_span!("turn", interrupted = Empty).entered();
            info!("user_started_speaking");
            info!("user_stopped_speaking");
            info!("bot_started_speaking");
            let tts = info_span!("tts", model = "answer");
            info!("user_started_speaking");
            turn.record("interrupted", true);
            info!(parent: &tts, "interrupted");
            info!("false_interruption");
            drop(tts);
            info!("bot_stopped_speaking");
        });
    });
    expect![[r#"
        greeted
          text_to_speech greeting
        answered
          turn
            text_to_speech answer
    "#]]
    .assert_eq(&exported.to_string());
    for name in ["text_to_speech greeting", "text_to_speech answer", "turn"] {
        assert_eq!(text(&exported, name, "voice.interrupted"), None, "{name}");
    }
    for name in ["greeted", "answered"] {
        assert_eq!(text(&exported, name, "voice.interruption.count"), None, "{name}");
    }
    assert_eq!(text(&exported, "turn", "voice.end_reason").as_deref(), Some("completed"));
    expect!["agent.started_speaking interrupted user.started_speaking interruption.retracted agent.stopped_speaking"]
        .assert_eq(&moments(exported.span("greeted")));
}

#[test]
fn a_turn_that_the_programs_own_has_followed_does_not_go_on() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        info!("user_started_speaking");
        let slow = info_span!("tool", tool = "slow");
        info!("bot_started_speaking");
        drop(info_span!("turn", otel.name = "own"));
        info!("user_started_speaking");
        info!("false_interruption");
        drop(info_span!("llm"));
        drop(slow);
    });
    expect![[r#"
        conversation
          turn
            execute_tool slow
          own
          chat
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn an_interruption_that_stands_is_exported_in_time() {
    let exported = exported(|| {
        let _worker = info_span!("conversation").entered();
        for _ in 0..2 {
            info!("user_started_speaking");
            info!("user_stopped_speaking");
            info!("bot_started_speaking");
            info_span!("tts").in_scope(|| info!("interrupted"));
        }
        // The user of the second turn has cut in by now, in the third one.
        info!("user_started_speaking");
    });
    let turns: Vec<_> = exported.spans.iter().filter(|span| span.name == "turn").collect();
    let numbers: Vec<_> = turns.iter().map(|turn| support::attributes(turn)["voice.turn.number"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3].map(Value::I64));
    assert_eq!(text(&exported, "conversation", "voice.interruption.count").as_deref(), Some("2"));
}

#[test]
fn an_utterance_that_is_announced_before_its_turn_span_makes_no_second_turn() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        for _ in 0..2 {
            info!(ms_ago = 20, "user_started_speaking");
            let _turn = info_span!("turn").entered();
            drop(info_span!("stt"));
            info!(ms_ago = 10, "user_stopped_speaking");
            info!("bot_started_speaking");
            info!("bot_stopped_speaking");
        }
    });
    expect![[r#"
        conversation
          turn
            speech_to_text
          turn
            speech_to_text
    "#]]
    .assert_eq(&exported.to_string());
    for span in exported.spans.iter().filter(|span| span.name == "turn") {
        let Some(Value::F64(latency)) = support::attributes(span).remove("voice.user_to_agent_latency") else {
            panic!("no latency")
        };
        assert!((0.010..0.030).contains(&latency), "{latency}");
    }
}

#[test]
fn a_turn_that_was_never_answered_leaves_the_next_one_its_own_moments() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        info!("user_started_speaking");
        info_span!("turn", otel.name = "unanswered").in_scope(|| info!("user_stopped_speaking"));
        // Announced after the one turn has closed, and before the other opens.
        info!(ms_ago = 60, "user_started_speaking");
        info!(ms_ago = 40, "user_stopped_speaking");
        info_span!("turn", otel.name = "answered").in_scope(|| {
            info!("bot_started_speaking");
            info!("bot_stopped_speaking");
        });
    });
    assert_eq!(exported.attribute("unanswered", "voice.user_to_agent_latency"), None);
    assert!(seconds(&exported, "answered", "voice.user_to_agent_latency") >= 0.040);
}

#[test]
fn speaking_events_with_nothing_but_an_id_make_turns_too() {
    // Through the second door other spans are exported.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        let _worker = info_span!("worker").entered();
        info!(conversation_id = "c-1", "user_started_speaking");
        info!(conversation_id = "c-1", "user_stopped_speaking");
        drop(info_span!("llm", conversation_id = "c-1"));
        info!(conversation_id = "c-1", "bot_started_speaking");
        info!(conversation_id = "c-1", "bot_stopped_speaking");
        info!(conversation_id = "c-1", "user_started_speaking");
    });
    expect![[r#"
        turn
          chat
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(text(&exported, "turn", "gen_ai.conversation.id").as_deref(), Some("c-1"));
}

#[test]
fn a_stop_from_before_its_start_is_none_and_the_next_one_counts() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        let _turn = info_span!("turn").entered();
        info!(ms_ago = 100, "user_started_speaking");
        info!(ms_ago = 60_000, "user_stopped_speaking");
        ms(10);
        info!("user_stopped_speaking");
        ms(10);
        info!("bot_started_speaking");
        info!(ms_ago = 60_000, "bot_stopped_speaking");
    });
    let latency = seconds(&exported, "turn", "voice.user_to_agent_latency");
    assert!((0.010..1.0).contains(&latency), "{latency}");
}

#[test]
fn the_latency_is_told_apart_and_sums_exactly() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        let turn = info_span!("turn").entered();
        info!("user_started_speaking");
        let stt = info_span!("stt");
        ms(30);
        info!(ms_ago = 25, "user_stopped_speaking");
        ms(20);
        drop(stt);
        ms(10);
        let llm = info_span!("llm");
        ms(30);
        info!(parent: &llm, "first_token");
        ms(10);
        let tool = info_span!("tool");
        ms(15);
        drop(tool);
        ms(5);
        let tts = info_span!("tts");
        ms(25);
        info!(parent: &tts, "first_audio");
        ms(5);
        info!("bot_started_speaking");
        drop((llm, tts, turn));
    });
    let part = |part: &str| seconds(&exported, "turn", &format!("voice.latency.{part}"));
    let mut sum = 0.0;
    for (name, least) in [
        ("endpointing", 0.025),
        ("transcription", 0.020),
        ("turn_detection", 0.010),
        ("llm", 0.030),
        ("tool_call", 0.010),
        ("tool", 0.015),
        ("aggregation", 0.005),
        ("synthesis", 0.025),
        ("playout", 0.005),
    ] {
        assert!(part(name) >= least && part(name) < least + 0.2, "{name}: {}", part(name));
        sum += part(name);
    }
    assert!((sum - seconds(&exported, "turn", "voice.user_to_agent_latency")).abs() < 1e-12);
}

#[test]
fn without_a_bot_that_was_heard_the_first_audio_counts_and_without_that_nothing() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        info_span!("turn", otel.name = "audio").in_scope(|| {
            info!("user_started_speaking");
            info!("user_stopped_speaking");
            info_span!("tts", started_ms_ago = 0).in_scope(|| {
                ms(10);
                info!("first_audio");
            });
        });
        info_span!("turn", otel.name = "silent").in_scope(|| {
            info!("user_started_speaking");
            info!("user_stopped_speaking");
            drop(info_span!("tts"));
        });
        info_span!("turn", otel.name = "typed").in_scope(|| info!("bot_started_speaking"));
    });
    assert!(seconds(&exported, "audio", "voice.user_to_agent_latency") >= 0.010);
    for name in ["silent", "typed"] {
        assert!(!exported.attributes(name).keys().any(|key| key.contains("latency")), "{name}");
    }
}

#[test]
fn a_turn_ends_when_its_reason_is_said_or_the_next_one_opens() {
    let exported = exported(|| {
        let conversation = info_span!("conversation");
        let said = info_span!(parent: &conversation, "turn", otel.name = "said", end_reason = Empty);
        said.record("end_reason", "completed");
        let followed = info_span!(parent: &conversation, "turn", otel.name = "followed");
        let late = info_span!(parent: &followed, "tool", result = Empty, cost = 1.0);
        ms(30);
        let next = info_span!(parent: &conversation, "turn", otel.name = "next");
        drop(next);
        drop(followed);
        ms(30);
        drop(late);
        drop(said);
    });
    expect![[r#"
        conversation
          said
          followed
            execute_tool
          next
    "#]]
    .assert_eq(&exported.to_string());
    assert!(duration(exported.span("said")) < Duration::from_millis(25));
    let followed = duration(exported.span("followed"));
    assert!(followed >= Duration::from_millis(30) && followed < Duration::from_millis(55), "{followed:?}");
    assert_eq!(exported.span("followed").end_time, exported.span("next").start_time);
    assert!(exported.span("execute_tool").end_time > exported.span("followed").end_time);
}

#[test]
fn only_an_interrupted_turn_interrupts_its_open_services() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = "c-1");
        let turn =
            info_span!(parent: &conversation, "turn", otel.name = "cut", interrupted = Empty, end_reason = Empty);
        drop(info_span!(parent: &turn, "llm", model = "before"));
        let open = info_span!(parent: &turn, "llm", model = "open");
        let tool = info_span!(parent: &turn, "tool", tool = "slow");
        turn.record("interrupted", true);
        turn.record("end_reason", "interrupted");
        drop((open, tool));
        let turn = info_span!(parent: &conversation, "turn", otel.name = "done");
        let late = info_span!("llm", conversation_id = "c-1", model = "late");
        drop(turn);
        drop(late);
    });
    for (name, interrupted) in [
        ("cut", Some("true")),
        ("chat before", None),
        ("chat open", Some("true")),
        ("execute_tool slow", None),
        ("done", None),
        ("chat late", None),
    ] {
        assert_eq!(text(&exported, name, "voice.interrupted").as_deref(), interrupted, "{name}");
    }
    assert_eq!(text(&exported, "done", "voice.end_reason").as_deref(), Some("completed"));
    assert_eq!(text(&exported, "conversation", "voice.interruption.count").as_deref(), Some("1"));
}

#[test]
fn a_turn_that_ends_as_interrupted_was_interrupted() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        let turn = info_span!("turn", otel.name = "said", end_reason = Empty);
        let tts = info_span!(parent: &turn, "tts");
        turn.record("end_reason", "interrupted");
        drop((tts, turn));
        drop(info_span!("turn", otel.name = "denied", end_reason = "interrupted", interrupted = false));
    });
    for (name, interrupted) in [("said", "true"), ("text_to_speech", "true"), ("denied", "false")] {
        assert_eq!(text(&exported, name, "voice.interrupted").as_deref(), Some(interrupted), "{name}");
    }
    assert_eq!(text(&exported, "conversation", "voice.interruption.count").as_deref(), Some("1"));
}

#[test]
fn a_failure_marks_its_span_and_gives_the_turn_its_reason() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        info_span!("turn", otel.name = "failed").in_scope(|| {
            info_span!("stt", error = "timeout").in_scope(|| ());
            info_span!("llm").in_scope(|| error!("no answer"));
        });
        info_span!("turn", otel.name = "fine").in_scope(|| drop(info_span!("tts")));
    });
    expect![[r#"
        conversation
          failed
            speech_to_text [error timeout]
            chat [error _OTHER]
          fine
            text_to_speech
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(text(&exported, "failed", "voice.end_reason").as_deref(), Some("error"));
    assert_eq!(text(&exported, "failed", "error.type"), None);
    assert_eq!(text(&exported, "failed", "voice.error.count").as_deref(), Some("2"));
    assert_eq!(text(&exported, "fine", "voice.end_reason").as_deref(), Some("completed"));
    assert_eq!(text(&exported, "conversation", "voice.error.count").as_deref(), Some("2"));
}

/// Opens a span while the panic unwinds: that one is none of its victims.
struct Cleanup;

impl Drop for Cleanup {
    fn drop(&mut self) {
        info_span!("embeddings").in_scope(|| ());
    }
}

#[test]
fn a_panic_marks_the_innermost_span_once() {
    // Through the second door other spans are exported.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        let turn = info_span!("turn");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _turn = turn.enter();
            let _llm = info_span!("llm").entered();
            let _other = info_span!("not_ours").entered();
            let _cleanup = Cleanup;
            let _held = info_span!("tool");
            panic!("its own");
        }));
        assert!(panicked.is_err());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _tts = info_span!(parent: &turn, "tts").entered();
            panic!("again");
        }));
        assert!(panicked.is_err());
        drop(info_span!(parent: &turn, "stt"));
    });
    expect![[r#"
        turn
          chat
            execute_tool [error panic]
            embeddings
          text_to_speech [error panic]
          speech_to_text
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.span("execute_tool").status, opentelemetry::trace::Status::error(""));
    assert_eq!(text(&exported, "turn", "voice.end_reason").as_deref(), Some("error"));
}

#[test]
fn usage_adds_up_on_the_turn_and_the_conversation() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = "c-1").entered();
        for _ in 0..2 {
            let _turn = info_span!("turn", number = Empty).entered();
            drop(info_span!("stt", audio_ms = 1_500));
            drop(info_span!("llm", input_tokens = 40, output_tokens = 10));
            drop(info_span!("llm", input_tokens = 2));
            drop(info_span!("tts", text = "hello", audio_seconds = 0.5));
        }
        drop(info_span!("llm", input_tokens = 100));
        drop(conversation);
        drop(info_span!("llm", input_tokens = 100, conversation_id = "c-1"));
    });
    let turn = exported.spans.iter().find(|span| span.name == "turn").unwrap();
    let conversation = exported.attributes("conversation");
    for (totals, usage) in [(support::attributes(turn), (42, 10, 5, 2.0)), (conversation.clone(), (184, 20, 10, 4.0))] {
        assert_eq!(totals["voice.usage.input_tokens"], Value::I64(usage.0));
        assert_eq!(totals["voice.usage.output_tokens"], Value::I64(usage.1));
        assert_eq!(totals["voice.usage.characters"], Value::I64(usage.2));
        assert_eq!(totals["voice.usage.audio_duration"], Value::F64(usage.3));
        assert!(!totals.keys().any(|key| key.starts_with("gen_ai.usage")), "backends would add them up twice");
        assert!(!totals.contains_key("voice.error.count"));
    }
    assert_eq!(conversation["voice.turn.count"], Value::I64(2));
    let nothing = support::exported(|| info_span!("conversation").in_scope(|| drop(info_span!("llm"))));
    assert!(!nothing.attributes("conversation").keys().any(|key| key.starts_with("voice.")), "nothing is no zero");
}

#[test]
fn baggage_that_was_asked_for_is_on_all_below() {
    let genai = GenAi::new().with_baggage(["tenant", "campaign"]);
    let exported = exported_with(&genai, || {
        let baggage = Context::current_with_baggage([KeyValue::new("tenant", "acme"), KeyValue::new("secret", "x")]);
        let conversation = {
            let _attached = baggage.attach();
            info_span!("conversation", conversation_id = "c-1")
        };
        let _turn = info_span!(parent: &conversation, "turn", campaign = "spring").entered();
        info_span!("llm").in_scope(|| {
            assert_eq!(Context::current().baggage().get("tenant").map(ToString::to_string).as_deref(), Some("acme"));
        });
        drop(info_span!(parent: None, "tts", conversation_id = "c-1"));
    });
    for name in ["conversation", "turn", "chat", "text_to_speech"] {
        assert_eq!(text(&exported, name, "tenant").as_deref(), Some("acme"), "{name}");
        assert_eq!(text(&exported, name, "secret"), None, "{name}");
    }
}

#[test]
fn a_span_has_a_context_to_inject_and_takes_links() {
    let backend = Backend::default();
    let remote =
        SpanContext::new(TraceId::from(7_u128), SpanId::from(7_u64), TraceFlags::SAMPLED, true, TraceState::default());
    let subscriber = tracing_subscriber::registry().with(Some(tracing_genai::layer(backend.tracer())));
    tracing::subscriber::with_default(subscriber, || {
        let llm = info_span!("llm");
        let span = backend.tracer().start_with_context("http client", &llm.context());
        drop(span);
        llm.in_scope(|| Span::current().add_link(remote.clone()));
        info_span!("not_ours").add_link(remote.clone());
        assert!(!Span::none().context().span().span_context().is_valid());
        assert!(!Context::current().has_active_span());
    });
    let exported = backend.exported();
    expect![[r#"
        chat
          http client
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.span("chat").links.links[0].span_context, remote);
}

#[test]
fn the_odd_cases_have_an_outcome() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = "c-1");
        let first = info_span!(parent: &conversation, "turn", otel.name = "opened twice");
        let second = info_span!(parent: &conversation, "turn", otel.name = "at once");
        drop(info_span!("stt", conversation_id = "c-1"));
        drop((first, second));
        conversation.record("conversation_id", "c-2");
        drop(conversation);
        drop(info_span!("tts", conversation_id = "c-1"));
        drop(info_span!("llm", conversation_id = ""));
        drop(info_span!("tool", conversation_id = "x".repeat(1_000_000).as_str()));
    });
    expect![[r#"
        conversation
          opened twice
          at once
            speech_to_text
        text_to_speech
        chat
        execute_tool
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(text(&exported, "conversation", "gen_ai.conversation.id").as_deref(), Some("c-1"), "the first id stays");
    assert_eq!(text(&exported, "text_to_speech", "gen_ai.conversation.id").as_deref(), Some("c-1"));
    assert_eq!(text(&exported, "chat", "gen_ai.conversation.id"), None);
    assert_eq!(exported.attributes("execute_tool").len(), 2, "an endless id is not exported");
    assert_eq!((exported.stats.refused.already_given, exported.stats.refused.out_of_range), (1, 1));
}

#[test]
fn the_last_of_two_conversations_of_one_id_is_found_by_it() {
    let exported = exported(|| {
        let first = info_span!("conversation", conversation_id = "c-1", otel.name = "first");
        let second = info_span!("conversation", conversation_id = "c-1", otel.name = "second");
        drop(info_span!("llm", conversation_id = "c-1"));
        drop(first);
        drop(info_span!("tts", conversation_id = "c-1"));
        drop(second);
    });
    expect![[r#"
        first
        second
          chat
          text_to_speech
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.traces(), 2);
}

#[test]
fn a_turn_without_a_conversation_has_its_own_end_and_totals() {
    let exported = exported(|| {
        let turn = info_span!("turn").entered();
        info!("user_started_speaking");
        info!("user_stopped_speaking");
        drop(info_span!("llm", input_tokens = 3));
        info!("bot_started_speaking");
        drop(turn);
    });
    let turn = exported.attributes("turn");
    assert_eq!(turn["voice.usage.input_tokens"], Value::I64(3));
    assert_eq!(turn["voice.end_reason"], "completed".into());
    assert!(turn.contains_key("voice.user_to_agent_latency"));
    assert!(!turn.contains_key("voice.turn.number") && !turn.contains_key("gen_ai.conversation.id"));
}

#[test]
fn a_conversation_is_found_by_an_id_that_it_was_told_late() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = Empty);
        let _turn = info_span!(parent: &conversation, "turn");
        conversation.record("conversation_id", "c-1");
        drop(info_span!("llm", conversation_id = "c-1"));
    });
    expect![[r#"
        conversation
          turn
            chat
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(text(&exported, "turn", "gen_ai.conversation.id").as_deref(), Some("c-1"));
}

#[test]
fn what_finds_no_room_by_its_id_is_counted_and_belongs_by_ancestry() {
    let exported = exported_with(&GenAi::new().with_max_conversations(1), || {
        let _one = info_span!("conversation", conversation_id = "c-1", otel.name = "one");
        let other = info_span!("conversation", conversation_id = "c-2", otel.name = "other");
        let _turn = info_span!(parent: &other, "turn");
        drop(info_span!(parent: &other, "llm"));
        drop(info_span!("stt", conversation_id = "c-2"));
    });
    expect![[r#"
        one
        other
          turn
            chat
        speech_to_text
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.stats.conversations_over_limit, 1);
}

#[test]
fn a_shutdown_ends_made_turns_too() {
    let backend = Backend::default();
    let genai = GenAi::new();
    let subscriber = tracing_subscriber::registry().with(genai.layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        let conversation = info_span!("conversation", conversation_id = "c-1");
        info!(parent: &conversation, "user_started_speaking");
        let llm = info_span!("llm", conversation_id = "c-1");
        info!(conversation_id = "c-2", "user_started_speaking");
        genai.handle().shutdown(Duration::from_secs(5));
        drop((conversation, llm));
    });
    let exported = backend.exported();
    expect![[r#"
        conversation
          turn
            chat
        turn
    "#]]
    .assert_eq(&exported.to_string());
    for span in &exported.spans {
        let attributes = support::attributes(span);
        assert_eq!(attributes.get("voice.incomplete"), Some(&Value::Bool(true)), "{}", span.name);
        assert_eq!(attributes.get("voice.end_reason"), None, "nobody hung up");
    }
}

#[test]
fn a_turn_outlives_its_conversation_only_as_hung_up_on() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = "c-1");
        let turn = info_span!("turn", conversation_id = "c-1");
        drop(conversation);
        ms(20);
        drop(turn);
    });
    assert_eq!(text(&exported, "turn", "voice.end_reason").as_deref(), Some("session_closed"));
    assert!(duration(exported.span("turn")) >= Duration::from_millis(20), "it ends when it closes");
    assert_eq!(text(&exported, "conversation", "voice.turn.count").as_deref(), Some("1"), "it began in there");
}

#[test]
fn a_conversation_counts_the_turns_that_outlive_it() {
    let exported = exported(|| {
        let conversation = info_span!("conversation", conversation_id = "c-1");
        info!(parent: &conversation, "user_started_speaking");
        info!(parent: &conversation, "bot_started_speaking");
        let cut = info_span!("tts", conversation_id = "c-1");
        info!(parent: &conversation, "user_started_speaking");
        let slow = info_span!("llm", conversation_id = "c-1");
        drop(conversation);
        drop((cut, slow));
    });
    assert_eq!(text(&exported, "conversation", "voice.turn.count").as_deref(), Some("2"));
    assert_eq!(text(&exported, "conversation", "voice.interruption.count").as_deref(), Some("1"));
}

#[test]
fn a_conversation_of_a_day_keeps_nothing_of_its_closed_turns() {
    let backend = Backend::default();
    let subscriber = tracing_subscriber::registry().with(tracing_genai::layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        let conversation = info_span!("conversation", conversation_id = "c-1");
        for number in 0..10_000 {
            let turn = info_span!(parent: &conversation, "turn");
            if number == 1 {
                info!(parent: &turn, "user_started_speaking");
            }
            drop(info_span!(parent: &turn, "llm"));
            drop(turn);
            backend.exporter.reset();
        }
        // A number that is long gone is not found any more: the service hangs on the conversation.
        drop(info_span!("tool", conversation_id = "c-1", turn_number = 1));
    });
    let exported = backend.exported();
    expect![[r#"
        conversation
          execute_tool
    "#]]
    .assert_eq(&exported.to_string());
}

#[tracing::instrument(name = "tool", err)]
fn look_up() -> Result<(), String> {
    Err("the clock stands still".to_owned())
}

#[tracing::instrument(name = "llm", err)]
fn ask() -> Result<(), String> {
    look_up()
}

#[tracing::instrument(name = "agent", err)]
fn run() -> Result<(), String> {
    ask()
}

#[tracing::instrument(name = "turn", err)]
fn take_turn() -> Result<(), String> {
    run()
}

#[test]
fn one_failure_is_one_error() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation", conversation_id = "c-1").entered();
        assert!(take_turn().is_err());
    });
    expect![[r#"
        conversation
          turn
            invoke_agent
              chat
                execute_tool [error _OTHER]
    "#]]
    .assert_eq(&exported.to_string());
    for span in ["turn", "conversation"] {
        assert_eq!(text(&exported, span, "voice.error.count").as_deref(), Some("1"), "{span}");
    }
    assert_eq!(text(&exported, "turn", "voice.end_reason").as_deref(), Some("error"));
    for span in ["execute_tool", "chat", "invoke_agent", "turn"] {
        assert_eq!(exported.span(span).events.events.len(), 1, "{span} has its event all the same");
    }
}

#[test]
fn another_failure_is_another_error() {
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        let llm = info_span!("llm").entered();
        assert!(look_up().is_err());
        error!(error = "the clock stands still", "told once more");
        error!("no answer");
        drop(llm);
        // A sibling that fails with the same fails for itself.
        info_span!("tts").in_scope(|| error!("no answer"));
    });
    expect![[r#"
        turn
          chat [error _OTHER]
            execute_tool [error _OTHER]
          text_to_speech [error _OTHER]
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.span("chat").status, opentelemetry::trace::Status::error("no answer"));
    assert_eq!(text(&exported, "turn", "voice.error.count").as_deref(), Some("3"));
}

#[test]
fn a_call_that_gives_up_fails_though_its_attempts_said_why() {
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        let call = info_span!("llm", model = "call").entered();
        info_span!("llm", model = "attempt").in_scope(|| error!("timeout"));
        error!("timeout");
        drop(call);
    });
    assert_eq!(exported.to_string(), "turn\n  chat call [error timeout]\n    chat attempt [error timeout]\n");
    assert_eq!(text(&exported, "turn", "voice.error.count").as_deref(), Some("1"));
}

#[test]
fn what_is_no_error_after_all_is_none_for_those_above_either() {
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        let agent = info_span!("agent").entered();
        info_span!("tool", error = Empty).in_scope(|| {
            error!("timeout");
            Span::current().record("error", false);
        });
        error!("timeout");
        drop(agent);
        let late = info_span!("stt", error = false);
        late.in_scope(|| error!("no line"));
    });
    assert_eq!(
        exported.to_string(),
        "turn\n  invoke_agent [error timeout]\n    execute_tool\n  speech_to_text [error _OTHER]\n"
    );
}

#[test]
fn many_failures_below_are_remembered_as_far_as_there_is_room() {
    let exported = exported(|| {
        let _agent = info_span!("agent").entered();
        for tool in 0..100 {
            info_span!("tool").in_scope(|| error!("failed {tool}"));
        }
        error!("failed 99");
    });
    assert!(exported.to_string().starts_with("invoke_agent\n"));
}
