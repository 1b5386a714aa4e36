//! What an event in a span becomes.
#![cfg(test)]

mod support;

use std::thread;
use std::time::Duration;

use opentelemetry::trace::Event;
use opentelemetry::{Array, Value};
use support::{Exported, exported, exported_with};
use tracing::{error, info, info_span, instrument, warn};
use tracing_genai::GenAi;

fn events<'a>(exported: &'a Exported, name: &str) -> Vec<&'a Event> {
    exported.span(name).events.events.iter().collect()
}

fn attribute(event: &Event, key: &str) -> Option<Value> {
    event.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|attribute| attribute.value.clone())
}

fn seconds(exported: &Exported, name: &str, key: &str) -> f64 {
    match exported.attribute(name, key) {
        Some(Value::F64(seconds)) => seconds,
        other => panic!("{key} of {name} is {other:?}"),
    }
}

#[test]
fn the_first_token_or_byte_gives_the_time_to_it() {
    // Through the second door an event's `name:` is not known where it has a message.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        info_span!("llm").in_scope(|| {
            thread::sleep(Duration::from_millis(20));
            info!("first_token");
            thread::sleep(Duration::from_millis(20));
            info!("first_token");
        });
        let tts = info_span!("tts");
        info!(name: "first_audio", parent: &tts, "here it comes");
        drop(tts);
        info_span!("realtime").in_scope(|| info!("first_chunk"));
        info_span!("stt").in_scope(|| info_span!("not_ours").in_scope(|| info!("first_byte")));
    });
    let first = seconds(&exported, "chat", "gen_ai.response.time_to_first_chunk");
    assert!((0.020..0.040).contains(&first), "{first}");
    assert!(seconds(&exported, "text_to_speech", "voice.time_to_first_byte") < 0.02);
    assert!(seconds(&exported, "generate_content", "gen_ai.response.time_to_first_chunk") < 0.02);
    assert!(seconds(&exported, "speech_to_text", "voice.time_to_first_byte") < 0.02);
    assert!(exported.spans.iter().all(|span| span.events.events.is_empty()), "a moment is no span event");
}

#[test]
fn a_moment_is_measured_from_the_back_dated_start_and_by_its_own_lateness() {
    let exported = exported(|| {
        info_span!("stt", started_ms_ago = 500).in_scope(|| info!(ms_ago = 200, "first_byte"));
    });
    let first = seconds(&exported, "speech_to_text", "voice.time_to_first_byte");
    assert!((0.300..0.320).contains(&first), "{first}");
}

#[test]
fn a_lateness_of_more_than_an_hour_is_refused_and_counted() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        let _turn = info_span!("turn").entered();
        info!("user_started_speaking");
        // The date in milliseconds and in microseconds, and what is no time.
        info!(ms_ago = 1_763_000_000_000_u64, "user_stopped_speaking");
        info!(ms_ago = 1_763_000_000_000_000_u64, "bot_started_speaking");
        info!(ms_ago = "long ago", "bot_stopped_speaking");
        info_span!("llm", started_ms_ago = 3_600_000).in_scope(|| info!(ms_ago = 3_600_001.0, "first_token"));
        info!(ms_ago = 7_200_000, "no moment, and a field like others");
    });
    assert!((0.0..1.0).contains(&seconds(&exported, "turn", "voice.user_to_agent_latency")));
    let first = seconds(&exported, "chat", "gen_ai.response.time_to_first_chunk");
    assert!((3_600.0..3_601.0).contains(&first), "{first}");
    let refused = exported.stats.refused;
    assert_eq!((refused.out_of_range, refused.wrong_type), (3, 1));
    let other = events(&exported, "turn").into_iter().find(|event| event.name.starts_with("no moment")).unwrap();
    assert!(attribute(other, "ms_ago").is_some());
}

#[test]
fn an_id_on_an_event_is_read_as_on_a_span() {
    let long = "x".repeat(1_025);
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        info!(conversation_id = long.as_str(), "user_started_speaking");
        info!(conversation_id = long.as_str(), user_id = long.as_str(), "other");
        info!(conversation_id = 42, session_id = "", user_id = ?Some("u-1"), thread = long.as_str(), "more");
    });
    let find = |name: &str| events(&exported, "turn").into_iter().find(|event| event.name == name).unwrap();
    for key in ["conversation_id", "user_id"] {
        assert_eq!(attribute(find("other"), key), None);
    }
    assert_eq!(attribute(find("more"), "conversation_id"), Some("42".into()));
    assert_eq!(attribute(find("more"), "session_id"), None);
    assert_eq!(attribute(find("more"), "user_id"), Some("u-1".into()));
    assert_eq!(attribute(find("more"), "thread"), Some(long.into()));
    assert_eq!(exported.stats.refused.out_of_range, 3);
    assert_eq!(exported.to_string(), "turn\n", "a refused id is no conversation");
}

#[test]
fn an_event_is_what_its_name_says_or_its_message() {
    // Through the second door an event's `name:` is not known where it has a message.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        info_span!("llm").in_scope(|| {
            info!(name: "retry", "trying again");
            info!("retry");
            info!(name: "evaluation", score = 0.5, name = "tone", "how was it?");
        });
        info_span!("turn").in_scope(|| info!(name: "interrupted", "cut off"));
    });
    assert_eq!(exported.attribute("chat", "voice.attempt"), Some(Value::I64(3)));
    let names: Vec<_> = events(&exported, "chat").iter().map(|event| event.name.clone()).collect();
    assert_eq!(names, ["trying again", "retry", "gen_ai.evaluation.result"]);
    let evaluation = events(&exported, "chat")[2];
    assert_eq!(attribute(evaluation, "gen_ai.evaluation.score.value"), Some(Value::F64(0.5)));
    assert_eq!(attribute(evaluation, "message"), Some("how was it?".into()), "and nothing is lost");
    assert_eq!(exported.attribute("turn", "voice.interrupted"), Some(true.into()));
}

#[test]
fn a_recorded_time_wins_over_the_event() {
    let exported = exported(|| info_span!("llm", ttft_ms = 310).in_scope(|| info!("first_token")));
    assert_eq!(exported.attribute("chat", "gen_ai.response.time_to_first_chunk"), Some(Value::F64(0.31)));
}

#[test]
fn without_a_first_token_there_is_no_time_to_it() {
    let exported = exported(|| info_span!("llm", error = "timeout").in_scope(|| ()));
    assert_eq!(exported.attribute("chat", "gen_ai.response.time_to_first_chunk"), None);
}

#[test]
fn an_interruption_is_marked() {
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        info!("interrupted");
        info_span!("tts").in_scope(|| info!("interrupted"));
        info_span!("tool").in_scope(|| info!("interrupted"));
    });
    assert_eq!(exported.attribute("turn", "voice.interrupted"), Some(true.into()));
    assert_eq!(exported.attribute("text_to_speech", "voice.interrupted"), Some(true.into()));
    assert_eq!(exported.attribute("execute_tool", "voice.interrupted"), None);
    assert_eq!(events(&exported, "execute_tool")[0].name, "interrupted", "a tool has no such moment");
}

#[test]
fn any_other_event_is_a_span_event() {
    // Through the second door unsigned numbers come as text.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        let _llm = info_span!("llm").entered();
        warn!(target: "my_agent", attempts = 3_u64, prompt = "secret", "the {} is slow", "line");
        info_span!("not_ours").in_scope(|| info!(name: "cache miss", ratio = 0.5));
        info!(target: "opentelemetry_sdk", "nobody's business");
    });
    let [slow, miss] = events(&exported, "chat")[..] else { panic!("two events") };
    assert_eq!(slow.name, "the line is slow");
    assert_eq!(attribute(slow, "level"), Some("WARN".into()));
    assert_eq!(attribute(slow, "target"), Some("my_agent".into()));
    assert_eq!(attribute(slow, "attempts"), Some(Value::I64(3)));
    assert_eq!(attribute(slow, "prompt"), None);
    assert_eq!(miss.name, "cache miss");
    assert_eq!(attribute(miss, "ratio"), Some(Value::F64(0.5)));
    let chat = exported.span("chat");
    assert!(chat.start_time <= slow.timestamp && slow.timestamp <= miss.timestamp && miss.timestamp <= chat.end_time);
}

#[test]
fn an_event_outside_of_our_spans_is_not_exported() {
    // Through the second door other spans are exported.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        info!("first_token");
        info_span!("not_ours").in_scope(|| error!("nothing of ours"));
        let turn = info_span!("turn").entered();
        info!(parent: None, "not in the turn");
        drop(turn);
    });
    assert_eq!(exported.to_string(), "turn\n");
    assert!(events(&exported, "turn").is_empty());
}

#[test]
fn an_error_event_sets_the_status() {
    for (exported, error_type, description) in [
        (exported(|| info_span!("llm").in_scope(|| error!("the line is dead"))), "_OTHER", "the line is dead"),
        (exported(|| info_span!("llm").in_scope(|| error!(error = "timeout", "no answer"))), "timeout", "timeout"),
        (exported(|| info_span!("llm").in_scope(|| error!(error_type = "hangup", "no answer"))), "hangup", "no answer"),
        (exported(|| info_span!("llm").in_scope(|| error!(error = "timeout"))), "timeout", "timeout"),
        (exported(|| info_span!("llm").in_scope(|| error!(error = %"it is dead"))), "_OTHER", "it is dead"),
        (exported(|| info_span!("llm").in_scope(|| error!(error_type = "hangup"))), "hangup", ""),
        (
            exported(|| {
                info_span!("llm", otel.status_description = "gave up").in_scope(|| error!(error = "timeout"));
            }),
            "timeout",
            "gave up",
        ),
        (
            exported(|| {
                info_span!("llm", error = "its_own").in_scope(|| error!(error = "timeout", "no answer"));
            }),
            "its_own",
            "its_own",
        ),
        (
            exported(|| {
                info_span!("llm").in_scope(|| {
                    error!("the first counts");
                    error!("and not the second");
                });
            }),
            "_OTHER",
            "the first counts",
        ),
    ] {
        assert_eq!(exported.attribute("chat", "error.type"), Some(error_type.into()));
        assert_eq!(exported.span("chat").status, opentelemetry::trace::Status::error(description));
    }
}

#[test]
fn an_error_that_is_no_error_event_leaves_the_status_alone() {
    let exported = exported(|| {
        info_span!("llm").in_scope(|| warn!(error = "timeout"));
        let tts = info_span!("tts");
        info!(parent: &tts, error = %"the line is dead");
    });
    assert_eq!(exported.to_string(), "chat\ntext_to_speech\n");
    assert_eq!(events(&exported, "chat").len(), 1);
}

#[instrument(name = "tool", err)]
fn look_up() -> Result<(), std::num::ParseIntError> {
    "noon".parse::<i32>().map(drop)
}

#[test]
fn what_an_instrumented_function_returns_is_the_error() {
    let exported = exported(|| drop(look_up()));
    assert_eq!(exported.attribute("execute_tool", "error.type"), Some("_OTHER".into()));
    let status = opentelemetry::trace::Status::error("invalid digit found in string");
    assert_eq!(exported.span("execute_tool").status, status);
}

#[test]
fn a_field_of_an_event_that_is_called_level_or_target_is_there_once() {
    let exported = exported(|| {
        let _stt = info_span!("stt").entered();
        info!(level = -12.5, target = "kitchen", "how loud it is");
        error!(level = "low", error = "timeout", "no answer");
    });
    let [loud, failed] = events(&exported, "speech_to_text")[..] else { panic!("two events") };
    for (event, key, value) in
        [(loud, "level", Value::F64(-12.5)), (loud, "target", "kitchen".into()), (failed, "level", "low".into())]
    {
        assert_eq!(attribute(event, key), Some(value));
        assert_eq!(event.attributes.iter().filter(|attribute| attribute.key.as_str() == key).count(), 1);
    }
    assert_eq!(exported.attribute("speech_to_text", "error.type"), Some("timeout".into()));
}

#[test]
fn error_texts_can_be_left_out_of_events_too() {
    let genai = GenAi::new().with_error_text(false);
    let exported = exported_with(&genai, || {
        info_span!("llm").in_scope(|| error!(error = "my secret word", code = 7, "failed"));
    });
    assert!(!format!("{:?}", exported.spans).contains("secret"));
    assert_eq!(attribute(events(&exported, "chat")[0], "code"), Some(Value::I64(7)));
    assert_eq!(exported.attribute("chat", "error.type"), Some("_OTHER".into()));
}

#[test]
fn an_event_in_a_span_of_the_programs_own_stays_there() {
    let exported = exported_with(&GenAi::new().with_other_spans(true), || {
        let _llm = info_span!("llm", finish_reason = "stop").entered();
        info_span!("http").in_scope(|| {
            info!("connected");
            info!("first_token");
        });
    });
    assert_eq!(events(&exported, "http").len(), 1);
    assert!(events(&exported, "chat").is_empty());
    assert!(exported.attribute("chat", "gen_ai.response.time_to_first_chunk").is_some(), "the token is the model's");
    let stop = Value::Array(Array::String(vec!["stop".into()]));
    assert_eq!(exported.attribute("chat", "gen_ai.response.finish_reasons"), Some(stop));
}

#[test]
fn debug_text_in_an_event_is_what_it_holds() {
    let exported = exported(|| {
        info_span!("stt", started_ms_ago = 500).in_scope(|| info!(ms_ago = ?Some(200), "first_byte"));
        let conversation = info_span!("conversation", conversation_id = ?Some("c-1"));
        info_span!("workflow").in_scope(|| info!(conversation_id = ?Some("c-1"), "user_started_speaking"));
        conversation.in_scope(|| drop(info_span!("llm")));
        info_span!("tool").in_scope(|| {
            error!(error = ?Some("timeout"), "no answer");
            info!(name = ?"tone", score = ?Some(0.5), label = ?None::<&str>, "evaluation");
        });
    });
    let first = seconds(&exported, "speech_to_text", "voice.time_to_first_byte");
    assert!((0.300..0.400).contains(&first), "{first}");
    assert_eq!(exported.attribute("turn", "gen_ai.conversation.id"), Some("c-1".into()), "{exported}");
    assert_eq!(exported.attribute("execute_tool", "error.type"), Some("timeout".into()));
    let [failed, evaluation] = events(&exported, "execute_tool")[..] else { panic!("two events") };
    assert_eq!(attribute(failed, "error"), Some("timeout".into()));
    assert_eq!(attribute(evaluation, "gen_ai.evaluation.name"), Some("tone".into()));
    assert_eq!(attribute(evaluation, "gen_ai.evaluation.score.value"), Some(Value::F64(0.5)));
    assert_eq!(attribute(evaluation, "gen_ai.evaluation.score.label"), None);
}
