//! What the fields of a span become.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::thread;

use opentelemetry::{Array, Value};
use support::{Exported, exported, exported_with};
use tracing::field::{Empty, debug, display};
use tracing::info_span;
use tracing_genai::GenAi;

fn strings(texts: &[&'static str]) -> Value {
    Value::Array(Array::String(texts.iter().map(|text| (*text).into()).collect()))
}

/// The attributes of the one span, without what every span of its kind has.
fn own_attributes(exported: &Exported) -> BTreeMap<String, Value> {
    assert_eq!(exported.spans.len(), 1);
    let mut attributes = support::attributes(&exported.spans[0]);
    attributes.remove("gen_ai.operation.name");
    attributes
}

/// One row: a span with these fields, given when it opens or recorded later, has exactly these attributes.
macro_rules! rows {
    ($($span:literal { $($field:tt = $given:expr),+ $(,)? } => { $($key:literal: $value:expr),* $(,)? })+) => {$(
        let expected: BTreeMap<String, Value> = BTreeMap::from([$(($key.to_owned(), Value::from($value))),*]);
        let row = stringify!($span { $($field = $given),+ });
        let at_open = exported(|| drop(info_span!($span, $($field = $given),+)));
        assert_eq!(without_defaults($span, own_attributes(&at_open), &expected), expected, "given at open: {row}");
        assert_eq!(at_open.stats.refused.total(), 0, "{row}");
        let later = exported(|| {
            let span = info_span!($span, $($field = Empty),+);
            $(span.record($field, $given);)+
        });
        assert_eq!(without_defaults($span, own_attributes(&later), &expected), expected, "recorded later: {row}");
    )+};
}

/// One row for each kind that the field is on, and each of its aliases.
macro_rules! aliases {
    ($([$($span:literal),+] [$($field:literal),+] = $given:expr => $key:literal: $value:expr;)+) => {$(
        aliases!(@kinds [$($span),+] [$($field),+] $given, $key, $value);
    )+};
    (@kinds [$($span:literal),+] $fields:tt $given:expr, $key:literal, $value:expr) => {
        $(aliases!(@fields $span $fields $given, $key, $value);)+
    };
    (@fields $span:literal [$($field:literal),+] $given:expr, $key:literal, $value:expr) => {$(
        let expected = BTreeMap::from([($key.to_owned(), Value::from($value))]);
        let given = exported(|| drop(info_span!($span, { $field } = $given)));
        assert_eq!(without_defaults($span, own_attributes(&given), &expected), expected, "{} of {}", $field, $span);
        let later = exported(|| { info_span!($span, { $field } = Empty).record($field, $given); });
        assert_eq!(without_defaults($span, own_attributes(&later), &expected), expected, "later {} of {}", $field, $span);
        assert_eq!(given.stats.refused.total() + later.stats.refused.total(), 0);
    )+};
}

/// The attributes that were not expected, without what every span of this kind has.
fn without_defaults(
    span: &str,
    mut attributes: BTreeMap<String, Value>,
    expected: &BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    let defaults: &[(&str, Value)] = &match span {
        "tts" | "realtime" => vec![("gen_ai.output.type", "speech".into())],
        "tool" => vec![("gen_ai.tool.type", "function".into())],
        "workflow" => vec![("voice.end_reason", "completed".into())],
        "turn" => vec![
            ("voice.end_reason", "completed".into()),
            ("voice.end_reason", "interrupted".into()),
            ("voice.turn.number", Value::I64(1)),
        ],
        _ => vec![],
    };
    for (key, value) in defaults {
        if !expected.contains_key(*key) && attributes.get(*key) == Some(value) {
            attributes.remove(*key);
        }
    }
    attributes
}

#[test]
fn every_text_of_the_contract_is_its_attribute() {
    aliases! {
        ["llm", "realtime", "embeddings"] ["provider", "gen_ai.system", "llm.provider", "gen_ai.provider.name"]
            = "Mistral" => "gen_ai.provider.name": "mistral_ai";
        ["stt", "tts"] ["provider", "gen_ai.system", "llm.provider", "gen_ai.provider.name"]
            = "Google" => "gen_ai.provider.name": "google";
        ["stt", "llm", "tts", "realtime", "embeddings"] ["model", "llm.model_name", "gen_ai.request.model"]
            = "m-1" => "gen_ai.request.model": "m-1";
        ["llm"] ["response_model", "gen_ai.response.model"] = "m-1-0613" => "gen_ai.response.model": "m-1-0613";
        ["llm"] ["response_id"] = "r-1" => "gen_ai.response.id": "r-1";
        ["conversation", "turn", "stt", "llm", "tts", "tool", "agent", "workflow", "step", "embeddings", "retrieval", "realtime"]
            ["conversation_id", "conversation", "thread_id"] = "c-1" => "gen_ai.conversation.id": "c-1";
        ["conversation", "llm", "tool"] ["session_id", "session", "session.id"] = "s-1" => "session.id": "s-1";
        ["conversation", "llm", "tool"] ["user_id", "user", "user.id"] = "u-1" => "user.id": "u-1";
        ["conversation", "turn", "agent"] ["agent", "agent_name"] = "concierge" => "gen_ai.agent.name": "concierge";
        ["conversation", "turn", "agent"] ["agent_id"] = "a-1" => "gen_ai.agent.id": "a-1";
        ["conversation", "turn", "agent"] ["agent_version"] = "2" => "gen_ai.agent.version": "2";
        ["conversation", "turn", "agent"] ["agent_description"] = "helps" => "gen_ai.agent.description": "helps";
        ["workflow", "conversation"] ["workflow"] = "booking" => "gen_ai.workflow.name": "booking";
        ["llm"] ["reasoning_effort"] = "low" => "gen_ai.request.reasoning.level": "low";
        ["llm"] ["output_type"] = "json" => "gen_ai.output.type": "json";
        ["tool"] ["tool", "tool_name"] = "clock" => "gen_ai.tool.name": "clock";
        ["tool"] ["call_id"] = "call_1" => "gen_ai.tool.call.id": "call_1";
        ["tool"] ["description"] = "tells the time" => "gen_ai.tool.description": "tells the time";
        ["step"] ["step", "name"] = "ask" => "voice.step.name": "ask";
        ["workflow"] ["workflow_id"] = "w-1" => "voice.workflow.id": "w-1";
        ["workflow"] ["partition"] = "p-1" => "voice.workflow.partition": "p-1";
        ["retrieval"] ["data_source"] = "docs" => "gen_ai.data_source.id": "docs";
        ["stt", "llm", "tts", "embeddings", "retrieval", "realtime"] ["server", "host", "server.address"]
            = "api.example.com" => "server.address": "api.example.com";
        ["llm"] ["prompt_name"] = "greet" => "gen_ai.prompt.name": "greet";
        ["llm"] ["prompt_version"] = "3" => "gen_ai.prompt.version": "3";
        ["tts", "realtime"] ["voice", "voice_id"] = "alloy" => "voice.name": "alloy";
        ["stt", "tts"] ["language"] = "de-CH" => "voice.language": "de-CH";
        ["turn", "tts", "realtime"] ["interruption_source"] = "user" => "voice.interruption.source": "user";
        ["turn", "conversation", "workflow"] ["end_reason"] = "session_closed" => "voice.end_reason": "session_closed";
        ["stt", "llm", "tts", "embeddings", "retrieval", "realtime"] ["request_id", "rig.provider_request_id"]
            = "q-1" => "voice.request.id": "q-1";
        ["llm"] ["langfuse.trace.name"] = "call" => "langfuse.trace.name": "call";
    }
    rows! {
        "tts" { "output_type" = "audio" } => { "gen_ai.output.type": "audio" }
        "tool" { "tool_type" = "extension" } => { "gen_ai.tool.type": "extension" }
    }
}

#[test]
fn every_number_of_the_contract_is_its_attribute() {
    aliases! {
        ["llm", "realtime", "stt", "tts"] ["input_tokens", "prompt_tokens", "tokens_in", "gen_ai.usage.input_tokens"]
            = 120_u64 => "gen_ai.usage.input_tokens": 120;
        ["llm", "realtime", "stt", "tts"] ["output_tokens", "completion_tokens", "tokens_out", "gen_ai.usage.output_tokens"]
            = 42_u8 => "gen_ai.usage.output_tokens": 42;
        ["llm", "realtime"] ["cache_read_tokens", "cached_tokens", "cached_input_tokens"]
            = 7_usize => "gen_ai.usage.cache_read.input_tokens": 7;
        ["llm"] ["cache_write_tokens", "cache_creation_tokens", "gen_ai.usage.cache_creation.input_tokens"]
            = 8_i32 => "gen_ai.usage.cache_write.input_tokens": 8;
        ["llm"] ["reasoning_tokens", "gen_ai.usage.reasoning_tokens"] = 3_u128 => "gen_ai.usage.reasoning.output_tokens": 3;
        ["llm"] ["gen_ai.usage.tool_use_prompt_tokens"] = 5_u64 => "gen_ai.usage.tool_use_prompt_tokens": 5;
        ["llm", "realtime", "stt", "tts"] ["input_audio_tokens"] = 1 => "gen_ai.usage.audio.input_tokens": 1;
        ["llm", "realtime", "stt", "tts"] ["output_audio_tokens"] = 1 => "gen_ai.usage.audio.output_tokens": 1;
        ["llm", "realtime", "stt", "tts"] ["cached_audio_tokens"] = 1 => "gen_ai.usage.audio.cache_read.input_tokens": 1;
        ["llm", "realtime"] ["temperature"] = 0.3 => "gen_ai.request.temperature": 0.3;
        ["llm", "realtime"] ["top_p"] = 1 => "gen_ai.request.top_p": 1.0;
        ["llm", "realtime"] ["frequency_penalty"] = -0.5 => "gen_ai.request.frequency_penalty": -0.5;
        ["llm", "realtime"] ["presence_penalty"] = 0.5_f32 => "gen_ai.request.presence_penalty": 0.5;
        ["llm"] ["top_k"] = 40 => "gen_ai.request.top_k": 40;
        ["llm"] ["max_tokens", "max_completion_tokens"] = 128 => "gen_ai.request.max_tokens": 128;
        ["llm"] ["seed"] = -7 => "gen_ai.request.seed": -7;
        ["llm"] ["choices", "n"] = 3 => "gen_ai.request.choice.count": 3;
        ["llm", "realtime"] ["ttft_ms", "ttfb_ms"] = 310 => "gen_ai.response.time_to_first_chunk": 0.31;
        ["llm", "realtime"] ["ttft", "ttfb", "metrics.ttfb", "gen_ai.server.time_to_first_token", "gen_ai.response.time_to_first_chunk"]
            = 0.31 => "gen_ai.response.time_to_first_chunk": 0.31;
        ["stt", "tts"] ["ttft_ms", "ttfb_ms"] = 180.5 => "voice.time_to_first_byte": 0.1805;
        ["stt", "tts"] ["ttft", "ttfb", "metrics.ttfb", "gen_ai.server.time_to_first_token"]
            = 0.18 => "voice.time_to_first_byte": 0.18;
        ["step"] ["sequence"] = 0 => "voice.step.sequence": 0;
        ["retrieval"] ["top_k"] = 5 => "gen_ai.retrieval.top_k": 5;
        ["stt", "llm", "tts", "embeddings", "retrieval", "realtime"] ["port", "server.port"] = 443_u16 => "server.port": 443;
        ["stt"] ["confidence"] = 0.98 => "voice.transcript.confidence": 0.98;
        ["stt", "tts", "realtime"] ["audio_ms"] = 2_200_u64 => "voice.audio.duration": 2.2;
        ["stt", "tts", "realtime"] ["audio_seconds"] = 2.2 => "voice.audio.duration": 2.2;
        ["tts"] ["characters"] = 48 => "voice.characters": 48;
        ["turn"] ["number", "turn_number"] = 3 => "voice.turn.number": 3;
        ["llm", "tool", "stt"] ["turn_number"] = 3 => "voice.turn.number": 3;
        ["turn", "tts", "realtime"] ["playout_ms"] = 1_500 => "voice.playout.position": 1.5;
        ["stt", "llm", "tts", "embeddings", "retrieval", "realtime"] ["attempt"] = 2 => "voice.attempt": 2;
        ["stt", "llm", "tts", "embeddings", "retrieval", "realtime"] ["cost", "cost_usd"] = 0.002 => "voice.cost": 0.002;
    }
}

#[test]
fn every_flag_and_list_of_the_contract_is_its_attribute() {
    aliases! {
        ["llm"] ["stream", "streaming", "gen_ai.request.stream"] = true => "gen_ai.request.stream": true;
        ["stt"] ["is_final"] = false => "voice.transcript.final": false;
        ["stt"] ["vad"] = true => "voice.vad": true;
        ["turn", "tts", "realtime"] ["interrupted"] = true => "voice.interrupted": true;
        ["llm"] ["finish_reason", "finish_reasons", "gen_ai.response.finish_reasons"]
            = "stop" => "gen_ai.response.finish_reasons": strings(&["stop"]);
        ["llm"] ["finish_reason", "finish_reasons"]
            = r#"["stop", "length"]"# => "gen_ai.response.finish_reasons": strings(&["stop", "length"]);
        ["embeddings"] ["encoding_format", "encoding_formats", "gen_ai.request.encoding_formats"]
            = r#"["float"]"# => "gen_ai.request.encoding_formats": strings(&["float"]);
        ["llm"] ["stop"] = debug(["a", "b"]) => "gen_ai.request.stop_sequences": strings(&["a", "b"]);
    }
    rows! {
        "llm" { "stream" = false, "n" = 1 } => {}
    }
}

#[test]
fn every_provider_alias_is_the_registrys_value() {
    for (alias, registered) in [
        ("google", "gcp.gen_ai"),
        ("gemini", "gcp.gemini"),
        ("vertex", "gcp.vertex_ai"),
        ("bedrock", "aws.bedrock"),
        ("azure", "azure.ai.openai"),
        ("mistral", "mistral_ai"),
        ("xai", "x_ai"),
        ("Grok", "x_ai"),
        ("moonshot", "moonshot_ai"),
        ("OpenAI", "openai"),
        ("Anthropic", "anthropic"),
    ] {
        let exported = exported(|| drop(info_span!("llm", provider = alias)));
        assert_eq!(exported.attribute("chat", "gen_ai.provider.name"), Some(registered.into()));
    }
}

#[test]
fn a_field_of_another_kind_keeps_its_own_name() {
    rows! {
        "turn" { "model" = "gpt-4o", "tool" = "clock" } => { "model": "gpt-4o", "tool": "clock" }
        "llm" { "playout_ms" = 7, "voice" = "alloy" } => { "playout_ms": 7, "voice": "alloy" }
        "stt" { "temperature" = 0.5, "top_k" = 4 } => { "temperature": 0.5, "top_k": 4 }
        "conversation" { "feature" = "booking", "beta" = true, "share" = 0.5, "traffic" = -3 } =>
            { "feature": "booking", "beta": true, "share": 0.5, "traffic": -3 }
    }
}

#[test]
fn an_absent_option_says_nothing() {
    let exported =
        exported(|| drop(info_span!("llm", model = None::<&str>, input_tokens = None::<u64>, output_tokens = Some(3))));
    assert_eq!(own_attributes(&exported), BTreeMap::from([("gen_ai.usage.output_tokens".to_owned(), Value::I64(3))]));
}

#[test]
fn content_is_not_exported() {
    let exported = exported(|| {
        let _turn = info_span!("turn", prompt = "secret", output = "secret").entered();
        info_span!(
            "llm",
            messages = "secret",
            system_prompt = "secret",
            tools = r#"[{"name":"a"},{"name":"b"}]"#,
            completion = "secret"
        )
        .in_scope(|| ());
        info_span!("tool", arguments = "secret", result = "secret", gen_ai.tool.call.result = "secret").in_scope(|| ());
        info_span!("stt", transcript = "secret", audio_uri = "secret", state = "secret", model = "nova-3")
            .in_scope(|| ());
        info_span!("tts", text = "größe", messages = "secret").in_scope(|| ());
    });
    assert!(!format!("{:?}", exported.spans).contains("secret"));
    assert!(!format!("{:?}", exported.spans).contains("größe"));
    assert_eq!(exported.attribute("chat", "voice.tool.count"), Some(Value::I64(2)));
}

#[test]
fn characters_are_counted_from_the_text_unless_they_are_given() {
    for (exported, characters) in [
        (exported(|| drop(info_span!("tts", text = "größe 👋"))), 7),
        (exported(|| drop(info_span!("tts", text = ""))), 0),
        (exported(|| drop(info_span!("tts", text = "hello", characters = 48))), 48),
        (exported(|| drop(info_span!("tts", characters = 48, text = "hello"))), 48),
        (
            exported(|| {
                let tts = info_span!("tts", text = "hello", characters = Empty);
                tts.record("text", "hi");
            }),
            2,
        ),
    ] {
        assert_eq!(exported.attribute("text_to_speech", "voice.characters"), Some(Value::I64(characters)));
    }
}

#[test]
fn ids_are_inherited_by_all_below() {
    let exported = exported(|| {
        let conversation = info_span!(
            "conversation",
            conversation_id = "c-1",
            user_id = "u-1",
            session_id = Empty,
            agent = "host",
            agent_id = "a-1"
        );
        let _entered = conversation.enter();
        let turn = info_span!("turn", number = 4).entered();
        info_span!("llm", user_id = "u-2").in_scope(|| info_span!("tool", tool = "late").in_scope(|| ()));
        let stt = info_span!("stt");
        conversation.record("session_id", "s-1");
        drop(stt);
        drop(turn);
        info_span!("workflow", workflow_id = "w-1", partition = "p").in_scope(|| info_span!("step").in_scope(|| ()));
    });
    let value = |name, key| exported.attribute(name, key).map(|value| value.to_string());
    for (name, user) in [("turn", "u-1"), ("speech_to_text", "u-1"), ("chat", "u-2"), ("execute_tool late", "u-2")] {
        assert_eq!(value(name, "gen_ai.conversation.id").as_deref(), Some("c-1"), "{name}");
        assert_eq!(value(name, "user.id").as_deref(), Some(user), "{name}");
        assert_eq!(value(name, "gen_ai.agent.name").as_deref(), Some("host"), "{name}");
        assert_eq!(value(name, "gen_ai.agent.id"), None, "only the name is inherited: {name}");
        assert_eq!(value(name, "voice.turn.number").as_deref(), Some("4"), "{name}");
    }
    assert_eq!(value("speech_to_text", "session.id").as_deref(), Some("s-1"), "what came late counts for what is open");
    assert_eq!(value("chat", "session.id"), None, "and not for what had closed");
    assert_eq!(value("step", "voice.workflow.id").as_deref(), Some("w-1"));
    assert_eq!(value("step", "voice.workflow.partition").as_deref(), Some("p"));
}

#[test]
fn the_last_value_wins_and_is_there_once() {
    let exported = exported(|| {
        let llm = info_span!(
            "llm",
            output_tokens = 0,
            prompt_tokens = Empty,
            input_tokens = Empty,
            stream = true,
            note = "first"
        );
        for tokens in 1..=1_000_u64 {
            llm.record("output_tokens", tokens);
        }
        llm.record("prompt_tokens", 1);
        llm.record("input_tokens", 2);
        llm.record("stream", false);
        llm.record("note", 2);
    });
    assert_eq!(
        own_attributes(&exported),
        BTreeMap::from([
            ("gen_ai.usage.output_tokens".to_owned(), Value::I64(1_000)),
            ("gen_ai.usage.input_tokens".to_owned(), Value::I64(2)),
            ("note".to_owned(), Value::I64(2)),
        ])
    );
}

#[test]
fn the_last_value_wins_from_eight_threads_too() {
    let exported = exported(|| {
        let llm = info_span!("llm", output_tokens = Empty, model = Empty);
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    tracing::dispatcher::with_default(&dispatch, || {
                        for tokens in 1..=1_000 {
                            llm.record("output_tokens", tokens);
                            llm.record("model", "m");
                        }
                    });
                });
            }
        });
    });
    assert_eq!(exported.attribute("chat m", "gen_ai.usage.output_tokens"), Some(Value::I64(1_000)));
    assert_eq!(exported.stats.refused.total(), 0);
}

#[test]
fn what_a_sampler_saw_stays() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation", conversation_id = "c-1").entered();
        let llm =
            info_span!("llm", model = "a", provider = Empty, conversation_id = Empty, gen_ai.operation.name = Empty);
        llm.record("model", "b");
        llm.record("model", "a");
        llm.record("provider", "openai");
        llm.record("provider", "azure");
        llm.record("conversation_id", "c-2");
        llm.record("gen_ai.operation.name", "text_completion");
    });
    let chat = exported.attributes("chat a");
    assert_eq!(chat["gen_ai.request.model"], "a".into());
    assert_eq!(chat["gen_ai.provider.name"], "openai".into(), "given late, it is taken, and stays");
    assert_eq!(chat["gen_ai.conversation.id"], "c-1".into());
    assert_eq!(chat["gen_ai.operation.name"], "chat".into());
    assert_eq!(exported.stats.refused.already_given, 4);
}

#[test]
fn the_operation_can_be_named() {
    let exported = exported(|| drop(info_span!("llm", gen_ai.operation.name = "fetch_response", model = "m")));
    assert_eq!(exported.to_string(), "fetch_response m\n");
    assert_eq!(exported.attribute("fetch_response m", "gen_ai.operation.name"), Some("fetch_response".into()));
}

#[test]
fn a_value_that_its_attribute_cannot_have_keeps_its_own_name_and_is_counted() {
    // Through the second door a number of more than 64 bits comes as text.
    if support::SECOND_DOOR {
        return;
    }
    macro_rules! refused {
        ($($span:literal $field:literal = $given:expr => $own:expr, $why:ident;)+) => {$(
            let tree = exported(|| drop(info_span!($span, { $field } = $given)));
            let expected = BTreeMap::from([($field.to_owned(), Value::from($own))]);
            assert_eq!(without_defaults($span, own_attributes(&tree), &expected), expected, "{} of {}", $field, $span);
            assert_eq!((tree.stats.refused.$why, tree.stats.refused.total()), (1, 1), "{} of {}", $field, $span);
        )+};
    }
    refused! {
        "llm" "input_tokens" = "many" => "many", wrong_type;
        "llm" "input_tokens" = true => true, wrong_type;
        "llm" "input_tokens" = 1.5 => 1.5, wrong_type;
        "llm" "output_tokens" = -1 => -1, out_of_range;
        "llm" "output_tokens" = u64::MAX => "18446744073709551615", out_of_range;
        "llm" "temperature" = f64::INFINITY => f64::INFINITY, out_of_range;
        "llm" "port" = 70_000 => 70_000, out_of_range;
        "llm" "port" = -1 => -1, out_of_range;
        "llm" "stream" = 1 => 1, wrong_type;
        "llm" "model" = true => true, wrong_type;
        "llm" "ttft_ms" = -5 => -5, out_of_range;
        "llm" "unknown" = u64::MAX => "18446744073709551615", out_of_range;
        "llm" "unknown" = i128::MIN => "-170141183460469231731687303715884105728", out_of_range;
        "stt" "confidence" = 1.5 => 1.5, out_of_range;
        "turn" "end_reason" = "bored" => "bored", out_of_range;
        "turn" "number" = 0 => 0, out_of_range;
        "tts" "audio_ms" = "long" => "long", wrong_type;
    }
    let tree = exported(|| drop(info_span!("llm", gen_ai.usage.input_tokens = "many", server.port = 0)));
    assert!(own_attributes(&tree).is_empty(), "a standard name never has a wrong value");
    assert_eq!(tree.stats.refused.total(), 2);
}

#[test]
fn a_number_may_come_as_text() {
    rows! {
        "llm" { "input_tokens" = display(42_u64), "temperature" = "0.5", "stream" = "true" } =>
            { "gen_ai.usage.input_tokens": 42, "gen_ai.request.temperature": 0.5, "gen_ai.request.stream": true }
    }
}

#[test]
fn an_error_is_a_status_and_a_type() {
    // Through the second door the layer above adds `exception.*` for an error.
    if support::SECOND_DOOR {
        return;
    }
    for (exported, error_type, description) in [
        (exported(|| drop(info_span!("stt", error = "timeout"))), "timeout", "timeout"),
        (exported(|| drop(info_span!("stt", error = "the line is dead"))), "_OTHER", "the line is dead"),
        (exported(|| drop(info_span!("stt", error = true))), "_OTHER", ""),
        (
            exported(|| drop(info_span!("stt", error_type = "hangup", error = "the line is dead"))),
            "hangup",
            "the line is dead",
        ),
        (exported(|| drop(info_span!("stt", error.type = "hangup"))), "hangup", ""),
        (
            exported(|| {
                let error = std::io::Error::other("no such host");
                drop(info_span!("stt", error = &error as &dyn std::error::Error));
            }),
            "_OTHER",
            "no such host",
        ),
        (
            exported_with(&GenAi::new().with_error_text(false), || drop(info_span!("stt", error = "the line is dead"))),
            "_OTHER",
            "",
        ),
    ] {
        let span = exported.span("speech_to_text");
        assert_eq!(span.status, opentelemetry::trace::Status::error(description));
        assert_eq!(own_attributes(&exported), BTreeMap::from([("error.type".to_owned(), Value::from(error_type))]));
    }
    let fine = exported(|| drop(info_span!("stt", error = false)));
    assert_eq!(fine.to_string(), "speech_to_text\n");
    assert!(own_attributes(&fine).is_empty());
}

#[test]
fn one_failure_marks_one_span() {
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        info_span!("llm", error = Empty).record("error", "timeout");
    });
    assert_eq!(exported.to_string(), "turn\n  chat [error timeout]\n");
}

#[test]
fn the_input_holds_what_was_cached_in_whatever_order_it_is_said() {
    let key = |exported: &Exported| exported.attribute("chat", "gen_ai.usage.input_tokens");
    for (exported, input) in [
        // Beside it, as Anthropic counts, or in it.
        (exported(|| drop(info_span!("llm", input_tokens = 10, cache_read_tokens = 90, cache_write_tokens = 5))), 105),
        (exported(|| drop(info_span!("llm", input_tokens = 100, cache_read_tokens = 90, cache_write_tokens = 5))), 100),
        (exported(|| drop(info_span!("llm", uncached_input_tokens = 100, cache_read_tokens = 90))), 190),
        (exported(|| drop(info_span!("llm", uncached_input_tokens = 100))), 100),
        (
            exported(|| {
                let llm =
                    info_span!("llm", uncached_input_tokens = Empty, cache_read_tokens = 90, input_tokens = Empty);
                llm.record("uncached_input_tokens", 100);
                llm.record("input_tokens", 7);
            }),
            190,
        ),
    ] {
        assert_eq!(key(&exported), Some(Value::I64(input)));
        assert_eq!(exported.attribute("chat", "voice.usage.uncached_input_tokens"), None);
    }
    let without = exported(|| drop(info_span!("llm", cache_read_tokens = 90)));
    assert_eq!(key(&without), None, "nobody said how many there were");
    let refused = exported(|| drop(info_span!("llm", uncached_input_tokens = -1)));
    assert_eq!(refused.attribute("chat", "uncached_input_tokens"), Some(Value::I64(-1)));
}

#[test]
fn a_breakdown_of_zero_is_not_exported_and_a_whole_of_zero_is() {
    rows! {
        "llm" {
            "input_tokens" = 0, "output_tokens" = 0, "cache_read_tokens" = 0, "cache_write_tokens" = 0, "reasoning_tokens" = 0,
            "input_audio_tokens" = 0, "output_audio_tokens" = 0, "cached_audio_tokens" = 0,
        } => { "gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0 }
    }
}

#[test]
fn debug_text_of_an_option_or_a_string_is_what_it_holds() {
    rows! {
        "llm" { "model" = debug(Some("gpt-4o")) } => { "gen_ai.request.model": "gpt-4o" }
        "llm" { "provider" = debug("openai") } => { "gen_ai.provider.name": "openai" }
        "llm" { "conversation_id" = debug(Some("c-1".to_owned())) } => { "gen_ai.conversation.id": "c-1" }
        "llm" { "input_tokens" = debug(Some(12)), "ttft_ms" = debug(Some(Some(250.0))) }
            => { "gen_ai.usage.input_tokens": 12, "gen_ai.response.time_to_first_chunk": 0.25 }
        "llm" { "prompt_name" = debug("a \"b\"\n") } => { "gen_ai.prompt.name": "a \"b\"\n" }
        "llm" { "finish_reasons" = debug(Some(vec!["stop"])) } => { "gen_ai.response.finish_reasons": strings(&["stop"]) }
        "tts" { "interrupted" = debug(Some(true)) } => { "voice.interrupted": true }
        "llm" { "model" = debug(None::<&str>), "input_tokens" = debug(Some(None::<u32>)), "error" = debug(None::<&str>) } => {}
        "llm" { "error" = debug(Some(false)) } => {}
        // A field of the program's own keeps its text, and so does what is no such text.
        "llm" { "mine" = debug(Some("x")) } => { "mine": "Some(\"x\")" }
        "llm" { "model" = display("Some(one) or (two)") } => { "gen_ai.request.model": "Some(one) or (two)" }
    }
    let failed = exported(|| drop(info_span!("llm", error = debug(Some("timeout")))));
    assert_eq!(failed.to_string(), "chat [error timeout]\n");
    let kept = exported(|| {
        let llm = info_span!("llm", model = Empty, input_tokens = 3);
        llm.record("input_tokens", debug(None::<u32>));
    });
    assert_eq!(kept.attribute("chat", "gen_ai.usage.input_tokens"), Some(Value::I64(3)), "nothing takes nothing back");
}

#[test]
fn a_text_that_begins_with_a_quote_is_itself() {
    // Through the second door it is not known whether `Debug` made a text.
    if support::SECOND_DOOR {
        return;
    }
    rows! {
        "llm" { "prompt_name" = "\"yes\"" } => { "gen_ai.prompt.name": "\"yes\"" }
        "llm" { "prompt_name" = "None" } => { "gen_ai.prompt.name": "None" }
    }
}

#[test]
fn debug_text_of_content_is_what_it_holds() {
    let genai = GenAi::new().with_content(tracing_genai::Content::Spans);
    let exported = exported_with(&genai, || {
        drop(info_span!("tts", text = debug(Some("It is \"noon\"."))));
        drop(info_span!("llm", prompt = debug(Some("hello")), completion = debug(None::<&str>)));
    });
    let input = |span| exported.attribute(span, "gen_ai.input.messages").unwrap().to_string();
    assert_eq!(exported.attribute("text_to_speech", "voice.characters"), Some(Value::I64(13)));
    assert_eq!(input("text_to_speech"), r#"[{"role":"user","parts":[{"type":"text","content":"It is \"noon\"."}]}]"#);
    assert_eq!(input("chat"), r#"[{"role":"user","parts":[{"type":"text","content":"hello"}]}]"#);
    assert_eq!(exported.attribute("chat", "gen_ai.output.messages"), None);
}

#[test]
fn a_name_that_ends_in_chain_is_no_error_text() {
    let exported = exported_with(&GenAi::new().with_error_text(false).with_redaction(|_, _| "[x]".into()), || {
        let tool = info_span!("tool", supply = "seeds", supply.chain = "farm to shop").entered();
        tracing::info!(supply.chain = "by truck", "sent");
        drop(tool);
    });
    assert_eq!(exported.attribute("execute_tool", "supply.chain"), Some("farm to shop".into()));
    let event = &exported.span("execute_tool").events.events[0];
    let chain = event.attributes.iter().find(|attribute| attribute.key.as_str() == "supply.chain");
    assert_eq!(chain.map(|attribute| attribute.value.clone()), Some("by truck".into()));
}
