//! What people said: exported when it is asked for, as far as it may leave, and nowhere else.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::Status;
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use support::console::{child, is_child, stderr, stdout};
use support::{Exported, attributes, exported_with};
use tracing::field::{Empty, debug, display};
use tracing::{error, info, info_span, instrument};
use tracing_genai::{Content, Dialect, GenAi, Kind, Telemetry, redact};
use tracing_subscriber::prelude::*;

const VARIABLE: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
const MARKER: &str = "the secret is 4711";

fn on() -> GenAi {
    GenAi::new().with_content(Content::Spans)
}

fn text(exported: &Exported, span: &str, key: &str) -> String {
    match exported.attribute(span, key) {
        Some(Value::String(text)) => text.as_str().to_owned(),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn each_field_has_its_attribute() {
    let user = |text: &str| format!(r#"[{{"role":"user","parts":[{{"type":"text","content":"{text}"}}]}}]"#);
    let assistant = |text: &str| format!(r#"[{{"role":"assistant","parts":[{{"type":"text","content":"{text}"}}]}}]"#);
    let instructions = r#"[{"type":"text","content":"words"}]"#.to_owned();
    macro_rules! rows {
        ($([$($span:literal),+] $fields:tt => $key:literal: $value:expr;)+) => {$($(
            rows!(@fields $span $fields => $key: $value);
        )+)+};
        (@fields $span:literal [$($field:ident),+] => $key:literal: $value:expr) => {$(
            for late in [false, true] {
                let exported = exported_with(&on(), || if late {
                    info_span!($span, $field = Empty).record(stringify!($field), "words");
                } else {
                    drop(info_span!($span, $field = "words"));
                });
                let found = attributes(&exported.spans[0]);
                assert_eq!(found.get($key), Some(&Value::from($value.to_owned())), "{} of {}", stringify!($field), $span);
            }
        )+};
    }
    rows! {
        ["stt"] [transcript] => "gen_ai.output.messages": assistant("words");
        ["realtime"] [transcript] => "gen_ai.input.messages": user("words");
        ["tts"] [text] => "gen_ai.input.messages": user("words");
        ["llm", "realtime", "turn", "agent", "step", "workflow"] [prompt, messages, input] => "gen_ai.input.messages": user("words");
        ["llm", "realtime", "turn", "agent", "step", "workflow"] [completion, response, output] => "gen_ai.output.messages": assistant("words");
        ["llm", "turn", "agent"] [system_prompt, instructions] => "gen_ai.system_instructions": instructions;
        ["llm"] [tools] => "gen_ai.tool.definitions": "words";
        ["tool"] [arguments] => "gen_ai.tool.call.arguments": "words";
        ["tool"] [result] => "gen_ai.tool.call.result": "words";
        ["step", "workflow"] [state] => "voice.step.state": "words";
        ["step", "workflow"] [inputs] => "voice.step.inputs": "words";
        ["stt"] [audio_uri] => "gen_ai.input.messages": r#"[{"role":"user","parts":[{"type":"uri","modality":"audio","uri":"words"}]}]"#;
        ["tts"] [audio_uri] => "gen_ai.output.messages": r#"[{"role":"assistant","parts":[{"type":"uri","modality":"audio","uri":"words"}]}]"#;
    }
}

/// Where a kind has no attribute for it, content stays what it is.
#[test]
fn content_on_other_kinds_keeps_its_name() {
    let exported = exported_with(&on().with_other_spans(true), || {
        drop(info_span!("turn", transcript = "one"));
        drop(info_span!("tool", input = r#"{"a": [1]}"#));
        drop(info_span!("lookup", result = "three"));
        info_span!("llm").in_scope(|| info!(output = "four", "partial"));
    });
    assert_eq!(text(&exported, "turn", "transcript"), "one");
    assert_eq!(text(&exported, "execute_tool", "input"), r#"{"a":[1]}"#);
    assert_eq!(text(&exported, "lookup", "result"), "three");
    let event = &exported.span("chat").events.events[0];
    assert!(event.attributes.iter().any(|attribute| attribute.key.as_str() == "output"));
}

#[test]
fn the_last_word_counts_and_an_empty_one_takes_it_back() {
    let exported = exported_with(&on(), || {
        let llm = info_span!("llm", prompt = "one", messages = Empty, completion = "three");
        llm.record("messages", "two");
        llm.record("completion", "");
    });
    assert_eq!(
        text(&exported, "chat", "gen_ai.input.messages"),
        r#"[{"role":"user","parts":[{"type":"text","content":"two"}]}]"#
    );
    assert_eq!(exported.attribute("chat", "gen_ai.output.messages"), None);
}

#[test]
fn what_is_counted_is_counted_with_content_and_without() {
    for genai in [GenAi::new(), on()] {
        let exported = exported_with(&genai, || {
            drop(info_span!("tts", text = "It is noon."));
            drop(info_span!("llm", tools = r#"[{"name": "f"}, {"name": "g"}]"#));
        });
        assert_eq!(exported.attribute("text_to_speech", "voice.characters"), Some(Value::I64(11)));
        assert_eq!(exported.attribute("chat", "voice.tool.count"), Some(Value::I64(2)));
    }
}

#[test]
fn a_realtime_response_has_what_was_heard_after_what_was_asked() {
    let exported = exported_with(&on(), || {
        drop(info_span!("realtime", transcript = "And Italy?", input = "The capital of France?", output = "Rome."));
    });
    assert_eq!(
        text(&exported, "generate_content", "gen_ai.input.messages"),
        r#"[{"role":"user","parts":[{"type":"text","content":"The capital of France?"}]},{"role":"user","parts":[{"type":"text","content":"And Italy?"}]}]"#
    );
}

#[test]
fn the_variable_turns_it_on() {
    // Through the second door a test of the environment.
    if support::SECOND_DOOR {
        return;
    }
    if is_child("the_variable_turns_it_on") {
        let exported = exported_with(&GenAi::from_env(), || drop(info_span!("stt", transcript = MARKER)));
        println!("\n{}", exported.spans[0].attributes.iter().any(|a| a.key.as_str() == "gen_ai.output.messages"));
        return drop(GenAi::from_env());
    }
    for (value, is_on, warnings) in [
        (None, false, 0),
        (Some("NO_CONTENT"), false, 0),
        (Some("false"), false, 0),
        (Some("0"), false, 0),
        (Some("No"), false, 0),
        (Some("off"), false, 0),
        (Some(""), false, 0),
        (Some("SPAN_ONLY"), true, 0),
        (Some("span_and_event"), true, 0),
        (Some("TRUE"), true, 0),
        (Some("1"), true, 0),
        (Some("yes"), true, 0),
        (Some("on"), true, 0),
        (Some("EVENT_ONLY"), false, 1),
        (Some("maybe"), false, 1),
    ] {
        let mut child = child("the_variable_turns_it_on");
        value.map(|value| child.env(VARIABLE, value));
        let output = child.output().unwrap();
        assert!(stdout(&output).contains(&format!("\n{is_on}\n")), "{value:?}: {}", stdout(&output));
        assert_eq!(stderr(&output).lines().filter(|line| line.contains(VARIABLE)).count(), warnings, "{value:?}");
    }
}

/// Everything that a span says, as text: not its ids and times, which may look like anything.
fn everything(span: &SpanData) -> String {
    let events: Vec<_> = span.events.iter().map(|event| (&event.name, &event.attributes)).collect();
    format!("{} {:?} {:?} {:?}", span.name, span.attributes, span.status, events)
}

struct Secret;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MARKER)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MARKER)
    }
}

/// A span of each kind and one that is not ours, each content field on each of them, at open and later, as text, Debug and
/// Display; on events; quoted by errors; in a panic.
fn full_of_secrets() {
    macro_rules! spans {
        ($($span:literal)+) => {$(spans!(@one $span
            transcript text prompt messages input completion response output system_prompt instructions tools arguments
            result state inputs audio_uri
        );)+};
        (@one $span:literal $($field:ident)+) => {
            let json = format!(r#"[{{"role": "user", "content": "{MARKER}"}}]"#);
            let span = info_span!($span, $($field = json.as_str(),)+ error = Empty,
                "gen_ai.input.messages" = MARKER, "gen_ai.prompt.0.content" = MARKER, "input.value" = MARKER,
                "llm.input_messages.0.message.content" = MARKER, "gen_ai.retrieval.query.text" = MARKER,
                "langfuse.observation.output" = MARKER, "gen_ai.tool.call.result" = MARKER, "llm.function_call" = MARKER,
                "embedding.text" = MARKER, "lk.user_transcript" = MARKER, "ai.response.text" = MARKER);
            $(span.record(stringify!($field), MARKER);)+
            $(span.record(stringify!($field), debug(Secret));)+
            $(span.record(stringify!($field), display(Secret));)+
            let _span = span.entered();
            info!($($field = MARKER,)+ "{}", "an event");
            info!(name: "evaluation", name = "tone", score = 0.5, $($field = ?Secret,)+);
            info!(name: "retry", $($field = %Secret,)+);
            info!(target: "chatty::llm", "{MARKER}");
            error!(target: "chatty", "{MARKER}");
            let _ = catch_unwind(AssertUnwindSafe(|| {
                let _inner = info_span!($span).entered();
                panic!("{MARKER}");
            }));
        };
    }
    spans!("conversation" "turn" "stt" "llm" "tts" "tool" "agent" "workflow" "step" "embeddings" "retrieval" "realtime" "lookup");
}

/// All options that add something, and content off.
fn off() -> GenAi {
    GenAi::new()
        .with_other_spans(true)
        .with_content_targets(["chatty"])
        .with_dialect(Dialect::Pipecat)
        .with_dialect(Dialect::OpenInference)
        .with_dialect(Dialect::Langfuse)
        .with_inherited(["transcript", "output"])
}

#[test]
fn off_means_off() {
    let exported = exported_with(&off(), full_of_secrets);
    assert_eq!(exported.spans.len(), 26);
    // Through the second door other spans pass as they are.
    let ours = exported.spans.iter().filter(|span| !(support::SECOND_DOOR && span.name == "lookup"));
    for span in ours {
        assert!(!everything(span).contains("4711"), "{span:#?}");
    }
}

/// What programs, libraries and backends call content, on a recognized span, on another one and on events.
#[test]
fn content_is_held_back_under_every_name_that_it_has() {
    macro_rules! names {
        ($($name:literal)+) => {$(
            for span in [info_span!("tool", $name = MARKER), info_span!("lookup", $name = Empty)] {
                span.record($name, debug(Secret));
                span.in_scope(|| {
                    info!($name = MARKER, "an event");
                    info!($name = ?Secret);
                });
            }
        )+};
    }
    let program = || {
        names!(
            "return" "args" "tool_call" "tool_input" "tool_output" "tool.arguments" "tool.result" "user_message"
            "trace_input" "trace_output" "task.description" "langfuse.input" "langfuse.output"
            "llm.user_message_preview" "tools.definitions" "system_instruction" "system_instructions"
            "all_messages_events" "final_result" "tool_arguments" "tool_args" "tool_response" "tool_result"
            "braintrust.input_json" "braintrust.output_json" "llm.input" "llm.output" "question" "answer" "utterance"
            "transcription" "final_transcript" "interim_transcript" "partial_transcript" "content" "chat_history"
            "user_input" "assistant_message" "gen_ai.user.message" "gen_ai.choice"
        );
    };
    let exported = exported_with(&off(), program);
    // Through the second door other spans pass as they are.
    for span in exported.spans.iter().filter(|span| !(support::SECOND_DOOR && span.name == "lookup")) {
        assert!(!everything(span).contains("4711"), "{span:#?}");
    }
    let exported = exported_with(&off().with_content(Content::Spans), program);
    assert!(exported.spans.iter().all(|span| everything(span).contains("4711")));
}

#[test]
fn what_an_instrumented_function_returns_is_content() {
    #[instrument(name = "llm", ret)]
    fn answer() -> String {
        MARKER.to_owned()
    }
    #[instrument(name = "tool", ret(Debug), err)]
    fn tool() -> Result<&'static str, String> {
        Ok(MARKER)
    }
    let program = || {
        answer();
        let _ = tool();
    };
    let exported = exported_with(&GenAi::new(), program);
    for span in &exported.spans {
        assert!(!everything(span).contains("4711"), "{span:#?}");
        assert_eq!(span.events.len(), 1);
    }
    let exported = exported_with(&on(), program);
    assert!(exported.spans.iter().all(|span| everything(span).contains("4711")));
}

/// The same program shows everything when content is on: the test above could fail.
#[test]
fn on_means_on() {
    let exported = exported_with(&off().with_content(Content::Spans), full_of_secrets);
    let telling = exported.spans.iter().filter(|span| everything(span).contains("4711")).count();
    assert_eq!(telling, 13);
}

#[test]
fn the_console_shows_no_more() {
    // Through the second door a test of `Telemetry`.
    if support::SECOND_DOOR {
        return;
    }
    if is_child("the_console_shows_no_more") {
        let telemetry = Telemetry::from_env().unwrap().with_options(off());
        let subscriber = tracing_subscriber::registry().with(telemetry.layer());
        return tracing::subscriber::with_default(subscriber, full_of_secrets);
    }
    let output = child("the_console_shows_no_more").env("OTEL_CONSOLE_EXPORT", "true").output().unwrap();
    assert!(stdout(&output).contains("execute_tool"));
    assert!(!stdout(&output).contains(MARKER));
}

/// What the OpenInference dialect shows of a span as what came in and what went out.
fn in_and_out(exported: &Exported, span: &str) -> Vec<[Option<String>; 2]> {
    let value =
        |attributes: &BTreeMap<String, Value>, key: &str| attributes.get(key).map(|value| value.as_str().into_owned());
    let spans = exported.spans.iter().filter(|exported| exported.name == span).map(attributes);
    spans.map(|span| [value(&span, "input.value"), value(&span, "output.value")]).collect()
}

fn said(input: &str, output: &str) -> [Option<String>; 2] {
    [input, output].map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// Two turns: the first in two utterances, with a tool and two sentences, the second one cut off; and a greeting before.
fn two_turns() {
    let conversation = info_span!("conversation", conversation_id = "c-1").entered();
    drop(info_span!("tts", text = "Hello!"));
    info_span!("turn").in_scope(|| {
        drop(info_span!("stt", transcript = "What time"));
        drop(info_span!("stt", transcript = "is it?"));
        drop(info_span!("llm", prompt = "What time is it?", completion = Empty));
        drop(info_span!("tool", arguments = "{}", result = "12:00"));
        drop(info_span!("llm", prompt = "What time is it?", completion = "It is noon. Lunch!"));
        drop(info_span!("tts", text = "It is noon."));
        drop(info_span!("tts", text = "Lunch!"));
    });
    info_span!("turn").in_scope(|| {
        drop(info_span!("stt", transcript = "Thanks."));
        drop(info_span!("llm", prompt = "Thanks.", completion = "Any time, and"));
    });
    drop(conversation);
}

#[test]
fn a_turn_and_a_conversation_say_what_was_said_in_them() {
    let exported = exported_with(&on().with_dialect(Dialect::OpenInference), two_turns);
    let turns = [said("What time is it?", "It is noon. Lunch!"), said("Thanks.", "Any time, and")];
    assert_eq!(in_and_out(&exported, "turn"), turns);
    assert_eq!(in_and_out(&exported, "conversation"), [said("What time is it?", "Any time, and")]);
    let conversation = exported.attributes("conversation");
    assert_eq!(conversation["input.mime_type"], Value::from("text/plain"));
}

#[test]
fn nothing_is_said_of_them_without_content_or_without_the_dialect() {
    let others = [Dialect::Pipecat, Dialect::Langfuse, Dialect::Mlflow];
    for genai in
        [GenAi::new().with_dialect(Dialect::OpenInference), on(), others.into_iter().fold(on(), GenAi::with_dialect)]
    {
        let exported = exported_with(&genai, two_turns);
        for span in ["turn", "conversation"] {
            assert!(in_and_out(&exported, span).iter().all(|shown| *shown == said("", "")), "{span}");
            let texts = exported.spans.iter().filter(|exported| exported.name == span).map(|span| format!("{span:?}"));
            assert!(texts.into_iter().all(|text| !text.contains("noon") && !text.contains("What time")));
        }
    }
}

#[test]
fn what_is_said_of_them_is_redacted_and_cut() {
    let genai = on().with_dialect(Dialect::OpenInference).with_max_content_len(40);
    let genai = genai.with_redaction(|_, text| text.replace("4711", "####").into());
    let exported = exported_with(&genai, || {
        let conversation = info_span!("conversation").entered();
        let turn = info_span!("turn").entered();
        for _ in 0..9 {
            drop(info_span!("stt", transcript = MARKER));
            drop(info_span!("llm", completion = MARKER));
        }
        drop((turn, conversation));
    });
    for span in ["turn", "conversation"] {
        let shown = in_and_out(&exported, span);
        let [[Some(input), Some(output)]] = shown.as_slice() else { panic!("{span}: {shown:?}") };
        assert_eq!(output, "the secret is ####");
        assert!(input.starts_with("the secret is #### the sec") && input.ends_with("…[truncated]"), "{input}");
        assert!(input.len() <= 40);
    }
}

#[test]
fn a_turns_own_words_come_first() {
    let exported = exported_with(&on().with_dialect(Dialect::OpenInference), || {
        let conversation = info_span!("conversation").entered();
        info_span!("turn", prompt = "own question", completion = "own answer").in_scope(|| {
            drop(info_span!("llm", prompt = "a template, with the question in it", completion = "a draft"));
        });
        info_span!("turn").in_scope(|| drop(info_span!("agent", input = "to an agent", output = "by an agent")));
        drop(conversation);
    });
    let turns = [said("own question", "own answer"), said("to an agent", "by an agent")];
    assert_eq!(in_and_out(&exported, "turn"), turns);
    assert_eq!(in_and_out(&exported, "conversation"), [said("own question", "by an agent")]);
}

#[test]
fn an_attempt_is_not_said_twice() {
    let exported = exported_with(&on().with_dialect(Dialect::OpenInference), || {
        let _turn = info_span!("turn").entered();
        let _call = info_span!("tts", text = "Once.").entered();
        drop(info_span!("tts", text = "Once.", error = "reset"));
        drop(info_span!("tts", text = "Once."));
    });
    assert_eq!(in_and_out(&exported, "turn"), [said("", "Once.")]);
}

#[test]
fn turns_of_speaking_events_say_it_too() {
    let exported = exported_with(&on().with_dialect(Dialect::OpenInference), || {
        let conversation = info_span!("conversation").entered();
        for (transcript, text) in [("One?", "Two."), ("Three?", "Four.")] {
            info!("user_started_speaking");
            drop(info_span!("stt", transcript));
            info!("user_stopped_speaking");
            info!("bot_started_speaking");
            drop(info_span!("tts", text));
            info!("bot_stopped_speaking");
        }
        drop(conversation);
    });
    assert_eq!(in_and_out(&exported, "turn"), [said("One?", "Two."), said("Three?", "Four.")]);
    assert_eq!(in_and_out(&exported, "conversation"), [said("One?", "Four.")]);
}

#[test]
fn a_realtime_response_is_heard_and_spoken() {
    let exported = exported_with(&on().with_dialect(Dialect::OpenInference), || {
        let _turn = info_span!("turn").entered();
        drop(info_span!("realtime", transcript = "Noon?", output = "It is."));
    });
    assert_eq!(in_and_out(&exported, "turn"), [said("Noon?", "It is.")]);
}

/// Errors are exported unless the user says no: what they quote is the program's choice.
#[test]
fn error_texts_have_a_switch_of_their_own() {
    let program = || {
        drop(info_span!("llm", error = MARKER));
        info_span!("tts").in_scope(|| error!("{MARKER}"));
        info_span!("stt").in_scope(|| error!(error = MARKER, "failed"));
        info_span!("tool").in_scope(|| info!(error = %Secret, "tried"));
    };
    let exported = exported_with(&GenAi::new(), program);
    assert!(exported.spans.iter().all(|span| everything(span).contains("4711")));
    let exported = exported_with(&GenAi::new().with_error_text(false), program);
    assert!(exported.spans.iter().all(|span| !everything(span).contains("4711")), "{:#?}", exported.spans);
}

#[test]
fn a_baggage_entry_and_an_attribute_with_a_name_of_content_are_content() {
    let genai = || off().with_baggage(["prompt", "tenant"]).with_attribute("gen_ai.system_instructions", MARKER);
    let baggage = [KeyValue::new("prompt", MARKER), KeyValue::new("tenant", "acme")];
    let context = Context::current().with_baggage(baggage);
    let program = || {
        let _attached = context.clone().attach();
        info_span!("turn").in_scope(|| drop(info_span!("lookup")));
    };
    let exported = exported_with(&genai(), program);
    assert!(exported.spans.iter().all(|span| !everything(span).contains("4711")), "{:#?}", exported.spans);
    assert_eq!(exported.attribute("turn", "tenant"), Some("acme".into()));
    let on = genai().with_content(Content::Spans).with_redaction(|_, text| text.replace("4711", "####").into());
    let exported = exported_with(&on, program);
    assert_eq!(text(&exported, "turn", "prompt"), "the secret is ####");
}

/// An error under names of the program's own, as text and as a value, on spans and events.
fn full_of_errors() {
    let secret = std::io::Error::other(MARKER);
    let error = std::io::Error::other(Wrapped(secret));
    let error: &(dyn std::error::Error + 'static) = &error;
    drop(info_span!("llm", otel.status_code = "error", otel.status_description = MARKER));
    drop(info_span!("tts", error.message = MARKER, err = MARKER, exception.message = MARKER, error_message = MARKER));
    let tool = info_span!("tool", cause = error, error = error, reason = Empty, supply.chain = "kept");
    tool.record("reason", error);
    tool.in_scope(|| {
        info!(cause = error, "tried");
        info!(err = MARKER, "tried");
        info!(error.message = %Secret, exception.stacktrace = MARKER, "tried");
        error!(cause = error, "failed");
        error!(error);
        error!(err = error);
    });
}

/// An error whose cause quotes what must not leave.
#[derive(Debug)]
struct Wrapped(std::io::Error);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrapped: {}", self.0)
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn error_texts_are_off_under_every_name_that_they_have() {
    let exported = exported_with(&GenAi::new(), full_of_errors);
    assert!(exported.spans.iter().all(|span| everything(span).contains("4711")), "{:#?}", exported.spans);
    let exported = exported_with(&GenAi::new().with_error_text(false), full_of_errors);
    for span in &exported.spans {
        assert!(!everything(span).contains("4711"), "{span:#?}");
    }
    assert_eq!(exported.span("chat").status, Status::error(""), "that it failed stays");
    assert_eq!(exported.attribute("execute_tool", "supply.chain"), Some("kept".into()));
}

#[test]
fn error_texts_are_redacted_under_every_name_that_they_have() {
    let genai = GenAi::new().with_redaction(|_, text| text.replace("4711", "####").into());
    let exported = exported_with(&genai, full_of_errors);
    for span in &exported.spans {
        assert!(!everything(span).contains("4711"), "{span:#?}");
        assert!(everything(span).contains("####"), "{span:#?}");
    }
}

#[test]
fn every_string_is_redacted() {
    // Through the second door other spans pass through as they are.
    if support::SECOND_DOOR {
        return;
    }
    let fields = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&fields);
    let genai = on().with_redaction(move |field, text| {
        seen.lock().unwrap().push(field.to_owned());
        if text.contains("4711") { text.replace("4711", "[number]").into() } else { text.into() }
    });
    let genai = genai
        .with_other_spans(true)
        .with_content_targets(["chatty"])
        .with_dialect(Dialect::Pipecat)
        .with_dialect(Dialect::OpenInference);
    let exported = exported_with(&genai, || {
        full_of_secrets();
        drop(info_span!("tool", arguments = r#"{"pin": 4711, "a\u0034711": ["x4711", {"deep": "4711"}], "n": 1.5}"#));
        drop(info_span!("llm", error = MARKER, otel.status_description = "code 4711"));
        info_span!("llm", model = "m").in_scope(|| error!(error = MARKER, "failed with 4711"));
    });
    for span in &exported.spans {
        assert!(!everything(span).contains("4711"), "{span:#?}");
    }
    let arguments = exported.spans.iter().filter_map(|span| attributes(span).remove("gen_ai.tool.call.arguments"));
    let expected = r#"{"pin":"[number]","a[number]":["x[number]",{"deep":"[number]"}],"n":1.5}"#;
    assert!(arguments.into_iter().any(|arguments| arguments == Value::from(expected)));
    let failed = exported.spans.iter().filter(|span| span.name == "llm" && span.status != Status::Unset);
    assert!(failed.into_iter().any(|span| span.status == Status::error("code [number]")));
    let fields = fields.lock().unwrap();
    for field in ["transcript", "messages", "arguments", "error", "message", "state"] {
        assert!(fields.iter().any(|known| known == field), "{field}");
    }
}

#[test]
fn the_built_in_redactors_compose() {
    let said = r#"{"to": "ada@example.com", "card": 4111111111111111, "say": "call +1 (555) 123-4567"}"#;
    let exported = exported_with(&on().with_redaction(|_, text| redact::all(text)), || {
        drop(info_span!("tool", arguments = said, error = "no account for ada@example.com"));
    });
    let expected = r#"{"to":"[email]","card":"[card]","say":"call [phone]"}"#;
    assert_eq!(text(&exported, "execute_tool", "gen_ai.tool.call.arguments"), expected);
    assert_eq!(exported.spans[0].status, Status::error("no account for [email]"));
    let some = on().with_redaction(|_, text| redact::each(text, &[redact::cards, redact::ibans]));
    let exported = exported_with(&some, || drop(info_span!("tool", arguments = said)));
    assert!(text(&exported, "execute_tool", "gen_ai.tool.call.arguments").contains("ada@example.com"));
}

#[test]
fn a_redactor_that_panics_costs_a_text_and_no_span() {
    let genai = on().with_redaction(|_, text| {
        assert!(!text.contains("4711"), "not this one");
        "kept".into()
    });
    let exported = exported_with(&genai, || {
        drop(info_span!("stt", transcript = MARKER, error = MARKER));
        drop(info_span!("tts", text = "It is noon."));
    });
    assert_eq!(exported.spans.len(), 2);
    assert!(!everything(exported.span("speech_to_text")).contains("4711"));
    assert!(text(&exported, "text_to_speech", "gen_ai.input.messages").contains("kept"));
    assert_eq!(exported.stats.redactions_failed, 2);
    assert_eq!(exported.stats.panics_caught, 0);
}

/// A redactor may log, open spans, and take its time: nothing of ours is locked.
#[test]
fn a_redactor_may_trace() {
    let genai = on().with_redaction(|_, text| {
        let _span = info_span!("llm", prompt = "inside").entered();
        info!("first_token");
        text.to_uppercase().into()
    });
    let exported = exported_with(&genai, || {
        let turn = info_span!("turn");
        turn.in_scope(|| info_span!("stt", transcript = "noon").in_scope(|| info!(text = "one", "event")));
    });
    assert_eq!(exported.to_string(), "turn\n  speech_to_text\n");
    assert!(text(&exported, "speech_to_text", "gen_ai.output.messages").contains("NOON"));
}

#[test]
fn a_long_text_is_cut_on_a_character_and_marked() {
    let program = |said: &str| {
        let _turn = info_span!("turn", prompt = said, response = Empty).entered();
        info_span!("tool", arguments = format!(r#"{{"a": "{said}", "b": "short"}}"#)).in_scope(|| info!(text = said));
    };
    let long = "ü".repeat(40_000);
    for (genai, max) in [(on(), 32_768), (on().with_max_content_len(101), 101), (on().with_max_content_len(0), 0)] {
        let exported = exported_with(&genai, || program(&long));
        let messages: serde_json::Value =
            serde_json::from_str(&text(&exported, "turn", "gen_ai.input.messages")).unwrap();
        let content = messages[0]["parts"][0]["content"].as_str().unwrap();
        assert!(content.len() <= max && content.len() + 3 >= max, "{}", content.len());
        assert!(max < 20 || content.ends_with("ü…[truncated]"));
        let arguments: serde_json::Value =
            serde_json::from_str(&text(&exported, "execute_tool", "gen_ai.tool.call.arguments")).unwrap();
        assert!(max < 20 || arguments["a"].as_str().unwrap().len() <= max && arguments["b"] == "short");
    }
    let short = exported_with(&on(), || program("noon"));
    assert!(text(&short, "turn", "gen_ai.input.messages").contains(r#""noon""#));
}

/// A number that is cut in half would not be known for what it is.
#[test]
fn a_text_is_redacted_before_it_is_cut() {
    let genai = on().with_redaction(|_, text| text.replace("4711", "[number]").into()).with_max_content_len(20);
    let exported = exported_with(&genai, || {
        drop(info_span!("stt", transcript = "it is the 4711 and nothing else"));
    });
    assert!(!text(&exported, "speech_to_text", "gen_ai.output.messages").contains("47"));
}

#[test]
fn binary_parts_are_elided_unless_asked_for() {
    let image = r#"[{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}]}]"#;
    let result = r#"{"content": [{"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}], "url": "data:image/png;base64,aGVsbG8="}"#;
    let program = || {
        drop(info_span!("llm", messages = image));
        drop(info_span!("tool", result));
        drop(info_span!("stt", transcript = "noon", audio_uri = "data:audio/wav;base64,aGVsbG8="));
    };
    let exported = exported_with(&on(), program);
    for span in &exported.spans {
        assert!(!everything(span).contains("aGVsbG8"), "{span:#?}");
    }
    assert_eq!(
        text(&exported, "chat", "gen_ai.input.messages"),
        r#"[{"role":"user","parts":[{"type":"blob","modality":"image","mime_type":"image/png","content":"","byte_size":5},{"type":"uri","modality":"image","uri":"https://example.com/cat.png"}]}]"#
    );
    assert_eq!(
        text(&exported, "execute_tool", "gen_ai.tool.call.result"),
        r#"{"content":[{"type":"image","data":"[5 bytes elided]","mimeType":"image/png"}],"url":"data:image/png;base64,[5 bytes elided]"}"#
    );
    let exported = exported_with(&on().with_binary_content(true), program);
    for span in &exported.spans {
        assert!(everything(span).contains("aGVsbG8="), "{span:#?}");
    }
}

#[test]
fn an_attribute_is_on_every_span() {
    // Through the second door other spans pass through as they are.
    if support::SECOND_DOOR {
        return;
    }
    let genai = GenAi::new()
        .with_attribute("deployment.environment", "production")
        .with_attribute("deployment.environment", "staging")
        .with_attribute("shard", 3)
        .with_attribute("user.id", "nobody")
        .with_other_spans(true);
    let exported = exported_with(&genai, || {
        let conversation = info_span!("conversation", conversation_id = "c-1").entered();
        info!("user_started_speaking");
        info_span!("lookup").in_scope(|| drop(info_span!("llm", shard = 7, user_id = "u-1")));
        drop(conversation);
    });
    for span in &exported.spans {
        let attributes = attributes(span);
        assert_eq!(attributes["deployment.environment"], Value::from("staging"), "{}", span.name);
        let (shard, user) = if span.name == "chat" { (7, "u-1") } else { (3, "nobody") };
        assert_eq!((&attributes["shard"], &attributes["user.id"]), (&Value::I64(shard), &Value::from(user)));
    }
    assert_eq!(exported.to_string(), "conversation\n  turn\n  lookup\n    chat\n");
}

#[test]
fn chosen_fields_are_inherited() {
    let genai = GenAi::new().with_inherited(["campaign", "agent_version", "transcript"]).with_content(Content::Spans);
    let exported = exported_with(&genai, || {
        let conversation =
            info_span!("conversation", conversation_id = "c-1", campaign = Empty, agent_version = 2, plan = "gold");
        conversation.in_scope(|| info!("user_started_speaking"));
        let stt = info_span!("stt", conversation_id = "c-1", transcript = "noon");
        conversation.record("campaign", "autumn");
        drop(info_span!("llm", conversation_id = "c-1", campaign = "spring"));
        drop(stt);
        drop(info_span!(parent: &conversation, "tool"));
    });
    for (span, campaign) in [
        ("conversation", "autumn"),
        ("turn", "autumn"),
        ("speech_to_text", "autumn"),
        ("chat", "spring"),
        ("execute_tool", "autumn"),
    ] {
        let attributes = exported.attributes(span);
        assert_eq!(attributes["campaign"], Value::from(campaign), "{span}");
        assert_eq!(attributes["gen_ai.agent.version"], Value::from("2"), "{span}");
        assert_eq!(attributes.contains_key("plan"), span == "conversation", "{span}");
        assert!(!attributes.contains_key("transcript"), "{span}");
    }
}

#[test]
fn a_name_of_the_users_own_has_content_too() {
    let genai = on().with_span_name("ask", Kind::Llm);
    let exported = exported_with(&genai, || drop(info_span!("ask", prompt = "noon?")));
    assert!(exported.attribute("chat", "gen_ai.input.messages").is_some());
}
