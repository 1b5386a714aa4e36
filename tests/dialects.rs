//! What the dialects add, each in the words of who reads it.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use opentelemetry::Value;
use support::console::{Console, Printed, example, stdout};
use support::{Exported, exported_with};
use tracing::field::Empty;
use tracing::{info, info_span};
use tracing_genai::{Content, Dialect, GenAi};

/// What a span has more with a dialect than without.
fn added(genai: &GenAi, program: impl Fn(), span: &str) -> BTreeMap<String, Value> {
    let plain = exported_with(&GenAi::new().with_content(Content::Spans), &program);
    let exported = exported_with(genai, &program);
    let known: Vec<String> = plain.spans.iter().flat_map(|span| support::attributes(span).into_keys()).collect();
    let mut attributes = exported.attributes(span);
    attributes.retain(|key, _| !known.contains(key));
    attributes
}

fn on(dialect: Dialect) -> GenAi {
    GenAi::new().with_content(Content::Spans).with_dialect(dialect)
}

fn row(pairs: &[(&str, Value)]) -> BTreeMap<String, Value> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

/// A conversation in which everything is said.
fn session() {
    let conversation = info_span!("conversation", conversation_id = "c-1", user_id = "u-1", agent = "anna").entered();
    let turn = info_span!("turn", interrupted = true).entered();
    info!("user_started_speaking");
    info!("user_stopped_speaking");
    drop(info_span!(
        "stt",
        provider = "deepgram",
        model = "nova-3",
        transcript = "Noon?",
        is_final = true,
        language = "en",
        vad = true,
        ttfb = 0.25,
        audio_ms = 1_500
    ));
    let llm = info_span!(
        "llm",
        provider = "openai",
        model = "gpt-4o",
        stream = true,
        messages = r#"[{"role": "user", "content": "Noon?"}]"#,
        tools = r#"[{"name": "clock"}]"#,
        completion = "It is noon.",
        ttft_ms = 0,
        input_tokens = 100,
        output_tokens = 20,
        cache_read_tokens = 60,
        cache_write_tokens = 10,
        reasoning_tokens = 5,
        input_audio_tokens = 7,
        output_audio_tokens = 3,
        cost = 0.25
    );
    drop(llm);
    drop(info_span!("tool", tool = "clock", arguments = r#"{"tz":"CET"}"#, result = "12:00"));
    drop(info_span!("tts", model = "sonic", voice = "anna", text = "It is noon.", interrupted = true, ttfb = 0.5));
    info!("bot_started_speaking");
    drop((turn, conversation));
}

#[test]
fn a_dialect_only_adds() {
    let plain = exported_with(&GenAi::new().with_content(Content::Spans), session);
    for dialect in [Dialect::OpenInference, Dialect::Langfuse, Dialect::Mlflow] {
        let exported = exported_with(&on(dialect), session);
        assert_eq!(exported.to_string(), plain.to_string());
        for span in &plain.spans {
            let attributes = exported.attributes(&span.name);
            for (key, value) in support::attributes(span).iter().filter(|(key, _)| !key.contains("latency")) {
                assert_eq!(attributes.get(key), Some(value), "{key} with {dialect:?}");
            }
        }
    }
}

#[test]
fn pipecat_has_its_names_and_keys() {
    let pipecat = on(Dialect::Pipecat);
    let exported = exported_with(&pipecat, session);
    assert_eq!(exported.to_string(), "conversation\n  turn\n    stt\n    llm\n    execute_tool clock\n    tts\n");
    for (span, operation) in [("stt", "stt"), ("llm", "chat"), ("tts", "tts"), ("turn", "invoke_agent")] {
        assert_eq!(exported.attribute(span, "gen_ai.operation.name"), Some(operation.into()));
    }
    assert_eq!(
        added(&pipecat, session, "conversation"),
        row(&[("conversation.id", "c-1".into()), ("conversation.type", "voice".into())])
    );
    assert_eq!(
        added(&pipecat, session, "stt"),
        row(&[
            ("transcript", "Noon?".into()),
            ("is_final", true.into()),
            ("language", "en".into()),
            ("user_id", "u-1".into()),
            ("vad_enabled", true.into()),
            ("metrics.ttfb", 0.25.into()),
            ("metrics.audio_seconds", 1.5.into()),
        ])
    );
    assert_eq!(
        added(&pipecat, session, "llm"),
        row(&[
            ("input", r#"[{"role":"user","content":"Noon?"}]"#.into()),
            ("output", "It is noon.".into()),
            ("tools", r#"[{"name":"clock"}]"#.into()),
            ("tool_count", 1.into()),
            ("stream", true.into()),
            ("metrics.ttfb", 0.0.into()),
        ])
    );
    assert_eq!(
        added(&pipecat, session, "tts"),
        row(&[
            ("text", "It is noon.".into()),
            ("voice_id", "anna".into()),
            ("metrics.character_count", 11.into()),
            ("metrics.ttfb", 0.5.into()),
            ("tts.interrupted", true.into()),
        ])
    );
    let turn = exported.attributes("turn");
    for (key, value) in [
        ("conversation.id", Value::from("c-1")),
        ("turn.number", 1.into()),
        ("turn.type", "conversation".into()),
        ("turn.was_interrupted", true.into()),
        ("turn.user_bot_latency_seconds", turn["voice.user_to_agent_latency"].clone()),
    ] {
        assert_eq!(turn.get(key), Some(&value), "{key}");
    }
    assert!(matches!(turn["turn.duration_seconds"], Value::F64(seconds) if seconds > 0.0));
}

#[test]
fn openinference_has_kinds_counts_and_values() {
    let openinference = on(Dialect::OpenInference);
    let llm = added(&openinference, session, "chat gpt-4o");
    let expected = row(&[
        ("openinference.span.kind", "LLM".into()),
        ("llm.model_name", "gpt-4o".into()),
        ("llm.provider", "openai".into()),
        ("llm.token_count.prompt", 100.into()),
        ("llm.token_count.completion", 20.into()),
        ("llm.token_count.total", 120.into()),
        ("llm.token_count.prompt_details.cache_read", 60.into()),
        ("llm.token_count.prompt_details.cache_write", 10.into()),
        ("llm.token_count.prompt_details.audio", 7.into()),
        ("llm.token_count.completion_details.reasoning", 5.into()),
        ("llm.token_count.completion_details.audio", 3.into()),
        ("llm.cost.total", 0.25.into()),
        ("session.id", "c-1".into()),
        ("input.value", r#"[{"role":"user","content":"Noon?"}]"#.into()),
        ("input.mime_type", "application/json".into()),
        ("output.value", "It is noon.".into()),
        ("output.mime_type", "text/plain".into()),
        ("llm.output_messages.0.message.role", "assistant".into()),
        ("llm.output_messages.0.message.content", "It is noon.".into()),
    ]);
    assert_eq!(llm, expected);
    let exported = exported_with(&openinference, || {
        session();
        drop(info_span!("workflow", session_id = "s-1", conversation_id = "c-1"));
        for span in [info_span!("step"), info_span!("agent"), info_span!("embeddings"), info_span!("retrieval")] {
            drop(span);
        }
        drop(info_span!("realtime"));
    });
    for (span, kind) in [
        ("conversation", "CHAIN"),
        ("turn", "AGENT"),
        ("speech_to_text nova-3", "LLM"),
        ("text_to_speech sonic", "LLM"),
        ("execute_tool clock", "TOOL"),
        ("invoke_workflow", "CHAIN"),
        ("step", "CHAIN"),
        ("invoke_agent", "AGENT"),
        ("embeddings", "EMBEDDING"),
        ("retrieval", "RETRIEVER"),
        ("generate_content", "LLM"),
    ] {
        assert_eq!(exported.attribute(span, "openinference.span.kind"), Some(kind.into()), "{span}");
    }
    assert_eq!(exported.attribute("invoke_workflow", "session.id"), Some("s-1".into()));
    assert_eq!(exported.attribute("execute_tool clock", "input.value"), Some(r#"{"tz":"CET"}"#.into()));
    assert_eq!(exported.attribute("speech_to_text nova-3", "output.value"), Some("Noon?".into()));
    for span in ["turn", "conversation"] {
        assert_eq!(exported.attribute(span, "input.value"), Some("Noon?".into()), "{span}");
        assert_eq!(exported.attribute(span, "output.value"), Some("It is noon.".into()), "{span}");
    }
}

#[test]
fn openinference_leaves_messages_alone_that_say_why_they_ended() {
    let exported = exported_with(&on(Dialect::OpenInference), || {
        let answer =
            r#"{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Hi"}}]}"#;
        drop(info_span!("llm", completion = answer));
    });
    assert_eq!(exported.attribute("chat", "llm.output_messages.0.message.content"), None);
    assert!(exported.attribute("chat", "gen_ai.output.messages").is_some());
}

#[test]
fn langfuse_has_types_times_and_details() {
    let langfuse = on(Dialect::Langfuse);
    let mut llm = added(&langfuse, session, "chat gpt-4o");
    let started = exported_with(&langfuse, session).span("chat gpt-4o").start_time;
    let Some(Value::String(at)) = llm.remove("langfuse.observation.completion_start_time") else { panic!("{llm:?}") };
    let at: chrono::DateTime<chrono::Utc> = at.as_str().parse().unwrap();
    assert!((chrono::DateTime::<chrono::Utc>::from(started) - at).num_seconds().abs() < 60);
    let usage = r#"{"input":23,"output":12,"input_cache_read":60,"input_cache_creation":10,"input_audio_tokens":7,"output_reasoning_tokens":5,"output_audio_tokens":3,"total":120}"#;
    assert_eq!(
        llm,
        row(&[
            ("langfuse.observation.type", "generation".into()),
            ("langfuse.observation.usage_details", usage.into()),
            ("langfuse.observation.cost_details", r#"{"total":0.25}"#.into()),
            ("langfuse.session.id", "c-1".into()),
            ("langfuse.user.id", "u-1".into()),
        ])
    );
    let conversation = added(&langfuse, session, "conversation");
    assert_eq!(conversation["langfuse.trace.name"], Value::from("anna"));
    let exported = exported_with(&langfuse, session);
    for (span, kind) in [("conversation", "chain"), ("turn", "agent"), ("execute_tool clock", "tool")] {
        assert_eq!(exported.attribute(span, "langfuse.observation.type"), Some(kind.into()), "{span}");
    }
    assert_eq!(exported.attribute("turn", "langfuse.observation.completion_start_time"), None);
}

/// What a backend adds up: its own numbers, or the conventions' where a span has none and the backend reads those.
fn added_up(exported: &Exported, dialect: Dialect) -> (i64, f64) {
    let int = |attributes: &BTreeMap<String, Value>, key: &str| match attributes.get(key) {
        Some(Value::I64(count)) => Some(*count),
        _ => None,
    };
    let json = |attributes: &BTreeMap<String, Value>, key: &str| -> Option<serde_json::Value> {
        attributes.get(key).map(|text| serde_json::from_str(&text.as_str()).unwrap())
    };
    let conventions = |attributes: &BTreeMap<String, Value>| {
        ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"].iter().filter_map(|key| int(attributes, key)).sum()
    };
    let (mut tokens, mut cost) = (0, 0.0);
    for span in &exported.spans {
        let attributes = support::attributes(span);
        if dialect == Dialect::OpenInference {
            let total = int(&attributes, "llm.token_count.prompt").or(int(&attributes, "gen_ai.usage.input_tokens"));
            let output = int(&attributes, "llm.token_count.completion");
            tokens += total.unwrap_or_default();
            tokens += output.or(int(&attributes, "gen_ai.usage.output_tokens")).unwrap_or_default();
            if let Some(Value::F64(one)) = attributes.get("llm.cost.total") {
                cost += one;
            }
        } else {
            let is_agent = attributes.get("gen_ai.operation.name") == Some(&"invoke_agent".into());
            tokens += match json(&attributes, "langfuse.observation.usage_details") {
                Some(details) => details["total"].as_i64().unwrap(),
                None if is_agent => 0,
                None => conventions(&attributes),
            };
            if let Some(details) = json(&attributes, "langfuse.observation.cost_details") {
                cost += details["total"].as_f64().unwrap();
            }
        }
    }
    (tokens, cost)
}

/// An agent, and a call that is tried twice, that say what is said below them too.
fn repeated() {
    let _conversation = info_span!("conversation", conversation_id = "c-1").entered();
    let _turn = info_span!("turn").entered();
    let _agent = info_span!(
        "agent",
        agent = "anna",
        gen_ai.usage.input_tokens = 300,
        gen_ai.usage.output_tokens = 30,
        voice.cost = 0.5
    )
    .entered();
    let call = info_span!("llm", model = "m", input_tokens = 200, output_tokens = 20, cost = 0.25).entered();
    drop(info_span!("llm", model = "m", input_tokens = 50, output_tokens = 0, error = true));
    drop(info_span!("llm", model = "m", input_tokens = 200, output_tokens = 20, cost = 0.25));
    drop(call);
    let _wrapper = info_span!("llm", model = "w").entered();
    drop(info_span!("llm", model = "w", input_tokens = 100, output_tokens = 10, cache_read_tokens = 40, cost = 0.25));
}

#[test]
fn a_backend_adds_up_what_each_call_used_once() {
    for dialect in [Dialect::OpenInference, Dialect::Langfuse] {
        let exported = exported_with(&on(dialect), repeated);
        assert_eq!(added_up(&exported, dialect), (330, 0.5), "{dialect:?}");
        let turn = exported.attributes("turn");
        assert_eq!(turn["voice.usage.input_tokens"], Value::I64(300));
        assert_eq!(turn["voice.usage.cost"], Value::F64(0.5));
    }
    let exported = exported_with(&on(Dialect::Mlflow), repeated);
    let costs = exported.spans.iter().filter(|span| support::attributes(span).contains_key("mlflow.llm.cost"));
    assert_eq!(costs.count(), 2, "one a call");
}

#[test]
fn a_call_has_the_details_of_its_attempts_where_it_has_none() {
    let exported = exported_with(&on(Dialect::OpenInference).with_dialect(Dialect::Langfuse), repeated);
    let wrapper = exported.spans.iter().find(|span| {
        let attributes = support::attributes(span);
        span.name == "chat w" && !attributes.contains_key("gen_ai.usage.input_tokens")
    });
    let attributes = support::attributes(wrapper.unwrap());
    assert_eq!(attributes["llm.token_count.prompt_details.cache_read"], Value::I64(40));
    let details = r#"{"input":60,"output":10,"input_cache_read":40,"total":110}"#;
    assert_eq!(attributes["langfuse.observation.usage_details"], Value::from(details));
}

#[test]
fn an_agent_says_what_nobody_below_it_said() {
    for dialect in [Dialect::OpenInference, Dialect::Langfuse] {
        let exported = exported_with(&on(dialect), || {
            let _agent = info_span!("agent", gen_ai.usage.input_tokens = 30, gen_ai.usage.output_tokens = 3).entered();
            drop(info_span!("llm", model = "m"));
        });
        assert_eq!(added_up(&exported, dialect).0, 33, "{dialect:?}");
    }
}

#[test]
fn pipecat_counts_what_was_spoken_once() {
    let exported = exported_with(&on(Dialect::Pipecat), || {
        let _tts = info_span!("tts", text = "Noon.", characters = 5).entered();
        drop(info_span!("tts", text = "Noon.", error = true));
    });
    let counted = |span| support::attributes(span).contains_key("metrics.character_count");
    assert_eq!(exported.spans.iter().filter(|span| counted(span)).count(), 1);
}

#[test]
fn only_what_begins_a_trace_names_it() {
    let remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let exported = exported_with(&on(Dialect::Langfuse), || {
        let conversation = info_span!("conversation", conversation_id = "c-1", agent = "anna").entered();
        drop(info_span!("workflow", workflow = "book"));
        drop(conversation);
        drop(info_span!("workflow", workflow = "root"));
        drop(info_span!("workflow", workflow = "remote", traceparent = remote));
    });
    let name = |span: &str| exported.attribute(span, "langfuse.trace.name");
    assert_eq!(name("conversation"), Some("anna".into()));
    assert_eq!(name("invoke_workflow book"), None);
    assert_eq!(name("invoke_workflow root"), Some("root".into()));
    assert_eq!(name("invoke_workflow remote"), None);
}

#[test]
fn mlflow_is_told_the_cost_and_nothing_else() {
    let mlflow = on(Dialect::Mlflow);
    let cost = r#"{"input_cost":0.0,"output_cost":0.0,"total_cost":0.25}"#;
    assert_eq!(added(&mlflow, session, "chat gpt-4o"), row(&[("mlflow.llm.cost", cost.into())]));
    for span in ["conversation", "turn", "speech_to_text nova-3", "execute_tool clock"] {
        assert_eq!(added(&mlflow, session, span), row(&[]), "{span}");
    }
}

#[test]
fn nothing_is_made_up() {
    let every = [Dialect::Pipecat, Dialect::OpenInference, Dialect::Langfuse, Dialect::Mlflow];
    let genai = every.into_iter().fold(GenAi::new().with_content(Content::Spans), GenAi::with_dialect);
    let exported: Exported = exported_with(&genai, || drop(info_span!("llm", output_tokens = Empty)));
    let attributes = exported.attributes("llm");
    assert_eq!(
        attributes,
        row(&[
            ("gen_ai.operation.name", "chat".into()),
            ("openinference.span.kind", "LLM".into()),
            ("langfuse.observation.type", "generation".into()),
        ])
    );
}

#[test]
fn the_users_own_word_wins() {
    let exported = exported_with(&on(Dialect::Pipecat).with_dialect(Dialect::Langfuse), || {
        drop(
            info_span!("stt", otel.name = "listen", gen_ai.operation.name = "transcribe", langfuse.observation.type = "span"),
        );
    });
    let attributes = exported.attributes("listen");
    assert_eq!(attributes["gen_ai.operation.name"], Value::from("transcribe"));
    assert_eq!(attributes["langfuse.observation.type"], Value::from("span"));
}

/// Where we say something else than Pipecat did, or nothing: `DIALECTS.md` says why.
const CORRECTIONS: &[(&str, &str, &str)] = &[
    ("errors", "stt 1", "metrics.audio_seconds"),
    ("errors", "llm 1", "metrics.ttfb"),
    ("errors", "tts 1", "metrics.ttfb"),
    ("errors", "tts 1", "tts.interrupted"),
    ("errors", "turn 2", "turn.was_interrupted"),
];

/// The spans of a tree file: a name and attributes each.
fn pipecats(recording: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let path = format!("{}/examples/recordings/{recording}.pipecat-tree.txt", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('*'));
    lines
        .map(|line| {
            let (name, rest) = line.split_once(' ').unwrap();
            let (rest, said) = match rest.find("='") {
                Some(at) => {
                    let key = rest[..at].rfind(' ').unwrap();
                    (
                        &rest[..key],
                        Some((rest[key + 1..at].to_owned(), rest[at + 2..].trim_end_matches('\'').to_owned())),
                    )
                }
                None => (rest, None),
            };
            let pairs = rest.split(' ').filter_map(|pair| pair.split_once('='));
            let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_lowercase()));
            (name.to_owned(), pairs.chain(said).collect())
        })
        .collect()
}

/// A value without the type that the console prints around it.
fn bare(printed: &str) -> &str {
    let inner =
        |text: &'_ str| text.split_once('(').map(|(_, rest)| rest.len()).map(|len| (text.len() - len, text.len() - 1));
    let mut text = printed;
    while let Some((from, to)) = inner(text).filter(|_| text.ends_with(')') && !text.starts_with('"')) {
        text = &text[from..to];
    }
    text.trim_matches('"')
}

fn is_same(pipecat: &str, ours: &str) -> bool {
    match (pipecat.parse::<f64>(), ours.parse::<f64>()) {
        // A replay sleeps where the recording waited, on a machine that does other things as well.
        (Ok(pipecat), Ok(ours)) => (pipecat - ours).abs() < 0.1,
        _ => pipecat == ours,
    }
}

fn compare(recording: &str) {
    let mut replay = example("replay");
    replay.args([&format!("examples/recordings/{recording}.jsonl"), "--dialect", "pipecat"]);
    replay.env("OTEL_CONSOLE_EXPORT", "true").env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true");
    let console = Console::read(&stdout(&replay.output().unwrap()));
    // Pipecat has no span for a failed stt call.
    let known = |span: &&Printed| !(span.name == "stt" && span.status.starts_with("Error"));
    let ours: Vec<&Printed> = console.0.iter().filter(known).collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut used: Vec<(&str, String, String)> = Vec::new();
    for (name, attributes) in pipecats(recording) {
        let index = seen.entry(name.clone()).or_default();
        let ours = ours.iter().filter(|span| span.name == name).nth(*index);
        *index += 1;
        let ours = ours.unwrap_or_else(|| panic!("{recording}: no {name} {index}"));
        for (key, value) in attributes {
            let span = format!("{name} {index}");
            let found = ours.attributes.get(&key).map(|found| bare(found));
            if CORRECTIONS.contains(&(recording, &span, &key)) {
                assert_ne!(found, Some(value.as_str()), "{recording}: {span} is no correction: {key}");
                used.push((recording, span, key));
                continue;
            }
            assert!(found.is_some_and(|found| is_same(&value, found)), "{recording}: {span} {key}={value}: {found:?}");
        }
    }
    let listed = CORRECTIONS.iter().filter(|(listed, ..)| *listed == recording).count();
    assert_eq!(used.len(), listed, "{recording}: {used:?}");
}

#[test]
fn the_recordings_have_what_pipecats_own_spans_had() {
    drop(example("replay"));
    thread::scope(|scope| {
        for recording in ["two-turns", "tool-call", "barge-in", "errors"] {
            scope.spawn(move || compare(recording));
        }
    });
}
