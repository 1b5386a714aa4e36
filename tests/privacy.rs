//! What may leave the process: the contract's fields, ids as hashes, events that are loud enough.
#![cfg(test)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use opentelemetry::baggage::BaggageExt;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Event, SpanContext, Status};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use support::{Exported, exported_with};
use tracing::field::Empty;
use tracing::{Level, Span, debug, debug_span, error, info, info_span, trace, warn};
use tracing_genai::{Content, Dialect, GenAi};
use tracing_log::log::{self, Record};

const MARKER: &str = "the secret is swordfish";

fn events<'a>(exported: &'a Exported, span: &str) -> Vec<&'a Event> {
    exported.span(span).events.iter().collect()
}

fn attribute(event: &Event, key: &str) -> Option<Value> {
    event.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|attribute| attribute.value.clone())
}

/// Everything that was exported but ids and times of OpenTelemetry, which may look like anything.
fn everything(exported: &Exported) -> String {
    let span = |span: &opentelemetry_sdk::trace::SpanData| {
        let events: Vec<_> = span.events.iter().map(|event| (&event.name, &event.attributes)).collect();
        let links: Vec<_> = span.links.iter().map(|link| &link.attributes).collect();
        format!("{} {:?} {:?} {events:?} {links:?}\n", span.name, span.attributes, span.status)
    };
    exported.spans.iter().map(span).collect()
}

/// Links to a span of nowhere, with these attributes, through the door that can.
fn link(span: &Span, attributes: Vec<KeyValue>) {
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    if support::SECOND_DOOR {
        span.add_link_with_attributes(SpanContext::empty_context(), attributes);
    }
}

/// All dialects, other spans too, and a context with baggage.
fn all() -> GenAi {
    GenAi::new()
        .with_other_spans(true)
        .with_dialect(Dialect::Pipecat)
        .with_dialect(Dialect::OpenInference)
        .with_dialect(Dialect::Langfuse)
        .with_dialect(Dialect::Mlflow)
        .with_baggage(["tenant", "user_id"])
        .with_attribute("deployment.environment", "staging")
        .with_inherited(["campaign"])
        .with_metric_attributes(["feature", "user_id"])
}

fn attached(baggage: [(&'static str, &'static str); 2], program: impl FnOnce()) {
    let context = Context::current().with_baggage(baggage.map(|(key, value)| KeyValue::new(key, value)));
    let _attached = context.attach();
    program();
}

/// Fields that nobody knows, beside some that the contract or the options name.
fn full_of_unknown_fields() {
    let conversation =
        info_span!("conversation", conversation_id = "c-1", campaign = "spring", feature = "search", plan = "gold");
    let _entered = conversation.enter();
    let turn = info_span!("turn", note = MARKER, model = MARKER, thought = Empty).entered();
    turn.record("thought", MARKER);
    let llm = info_span!("llm", model = "m", input_tokens = MARKER, output_tokens = 3, gen_ai.made_up = MARKER);
    link(&llm, vec![KeyValue::new("why", MARKER), KeyValue::new("plan", "gold")]);
    llm.in_scope(|| {
        info!("{MARKER}");
        warn!(body = MARKER, error_type = "slow", "{MARKER}");
        info!(attempt = 2, status = 503, "retry");
        info!(name: "evaluation", name = "tone", score = 0.5, by = MARKER);
        info!(level = MARKER, target = MARKER, plan = "gold", "an event");
        info!(name: "cache miss", bucket = MARKER);
        info!(attempt = MARKER, ms_ago = MARKER);
        error!("{MARKER}");
    });
    info_span!("lookup", table = MARKER, plan = "gold").in_scope(|| info!(row = MARKER, "{MARKER}"));
    drop(info_span!("tool", result = MARKER, tool = "clock"));
}

#[test]
fn only_known_fields_leave() {
    let run = |genai: &GenAi| {
        exported_with(genai, || attached([("tenant", "acme"), ("user_id", "u-1")], full_of_unknown_fields))
    };
    let open = run(&all());
    assert!(everything(&open).contains("swordfish"), "the test below could fail");
    assert_eq!(open.stats.refused.unknown, 0);

    let strict = run(&all().with_only_known_fields(true).with_known_fields(["plan"]));
    assert!(!everything(&strict).contains("swordfish"), "{}", everything(&strict));
    assert!(!everything(&strict).contains("made_up"));
    assert_eq!(strict.to_string(), open.to_string(), "the tree stays");
    let chat = strict.attributes("llm");
    for (key, value) in [
        ("gen_ai.usage.output_tokens", Value::I64(3)),
        ("gen_ai.conversation.id", "c-1".into()),
        ("campaign", "spring".into()),
        ("tenant", "acme".into()),
    ] {
        assert_eq!(chat.get(key), Some(&value), "{key}");
    }
    assert_eq!(strict.attribute("conversation", "plan"), Some("gold".into()));
    assert_eq!(strict.attribute("lookup", "plan"), Some("gold".into()));
    let names: Vec<&str> = events(&strict, "llm").iter().map(|event| &*event.name).collect();
    // Through the second door a `name:` is not known.
    let of_its_own = if support::SECOND_DOOR { "event" } else { "cache miss" };
    assert_eq!(names, ["event", "event", "retry", "gen_ai.evaluation.result", "event", of_its_own, "event", "event"]);
    let [_, warning, retry, ..] = events(&strict, "llm")[..] else { panic!("events") };
    assert_eq!(attribute(warning, "level"), Some("WARN".into()));
    assert_eq!(attribute(warning, "error_type"), Some("slow".into()));
    assert_eq!(attribute(retry, "attempt"), Some(Value::I64(2)));
    assert!(strict.stats.refused.unknown >= 14, "{:?}", strict.stats);
    assert_eq!(strict.stats.refused.wrong_type, open.stats.refused.wrong_type);
}

#[test]
fn each_unknown_field_is_counted_once() {
    let genai = GenAi::new().with_only_known_fields(true);
    let exported = exported_with(&genai, || {
        let llm = info_span!("llm", model = "m", one = 1, two = Empty, input_tokens = "many").entered();
        llm.record("two", 2);
        info!(three = 3, "an event");
    });
    assert_eq!(exported.stats.refused.unknown, 3);
    assert_eq!(exported.stats.refused.wrong_type, 1);
    assert_eq!(exported.attribute("chat m", "input_tokens"), None, "a refused value may be anything");
}

#[test]
fn known_fields_leave_content_off() {
    let genai = GenAi::new().with_only_known_fields(true).with_known_fields(["transcript", "summary"]);
    let program = || drop(info_span!("stt", transcript = MARKER, summary = "short"));
    let exported = exported_with(&genai, program);
    assert!(!everything(&exported).contains("swordfish"));
    assert_eq!(exported.attribute("speech_to_text", "summary"), Some("short".into()));
    let exported = exported_with(&genai.with_content(Content::Spans), program);
    assert!(everything(&exported).contains("swordfish"));
}

#[test]
fn the_layer_above_adds_nothing_where_only_known_fields_leave() {
    if !support::SECOND_DOOR {
        return;
    }
    let backend = support::Backend::default();
    let genai = GenAi::new().with_only_known_fields(true);
    let theirs = tracing_opentelemetry::layer().with_tracer(genai.tracer(backend.tracer())).with_level(true);
    let subscriber = tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), theirs);
    tracing::subscriber::with_default(subscriber, || {
        info_span!("llm", model = "m").in_scope(|| info!("{MARKER}"));
        info_span!("lookup").in_scope(|| info!("{MARKER}"));
    });
    let exported = backend.exported();
    let everything = everything(&exported);
    for place in ["code.", "thread.", "busy_ns", "idle_ns", "swordfish", ".rs"] {
        assert!(!everything.contains(place), "{place}: {everything}");
    }
}

/// Ids in every place that there is for them.
fn full_of_ids() {
    let conversation = info_span!("conversation", conversation_id = "raw-c", session_id = Empty, user_id = Empty);
    conversation.record("session_id", "raw-s");
    conversation.in_scope(|| {
        info!("user_started_speaking");
        drop(info_span!("stt", thread_id = "raw-c", user = "raw-u"));
        info!(conversation_id = "raw-c", "user_stopped_speaking");
        conversation.record("user_id", "raw-u");
        let llm = info_span!("llm", model = "m", langfuse.user.id = "raw-u", enduser.id = "raw-u").entered();
        info!(user_id = "raw-u", session = "raw-s", thread_id = "raw-c", conversation_id = %"raw-c", "an event");
        link(&llm, vec![KeyValue::new("session.id", "raw-s")]);
        drop(llm);
        drop(info_span!("lookup", user_id = "raw-u", session.id = "raw-s", conversation = "raw-c"));
        info!(conversation_id = "raw-c", "bot_started_speaking");
    });
    // By its id alone.
    drop(info_span!("tts", conversation_id = "raw-c", voice = "v"));
    drop(conversation);
    drop(info_span!("turn", conversation_id = "raw-other", gen_ai.conversation.id = "raw-other"));
}

/// HMAC-SHA-256 with the key "key", by openssl: `printf %s raw-c | openssl dgst -sha256 -hmac key`.
const HASHES: [(&str, &str); 3] = [
    ("raw-c", "744688ca51cdd2984d9607f0779fcb16"),
    ("raw-s", "07971e61dfb2af3c7e244d202d3687f9"),
    ("raw-u", "49a2e3893a8d3567acc2c82ab05c1a88"),
];

#[test]
fn ids_leave_as_hashes() {
    let metrics = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics.clone()).build();
    let genai = || all().with_attribute("session.id", "raw-s").with_meter(meters.meter("test"));
    let program = || attached([("tenant", "acme"), ("user_id", "raw-u")], full_of_ids);
    let plain = exported_with(&genai(), program);
    assert!(everything(&plain).contains("raw-"), "the test below could fail");
    let exported = exported_with(&genai().with_hashed_ids("key"), program);
    assert!(!everything(&exported).contains("raw-"), "{}", everything(&exported));
    meters.force_flush().unwrap();
    assert!(!format!("{:?}", metrics.get_finished_metrics().unwrap()).contains("raw-"));

    assert_eq!(exported.to_string(), plain.to_string(), "spans find their conversation all the same");
    let [c, s, u] = HASHES.map(|(_, hash)| Value::from(hash));
    for (span, key, value) in [
        ("conversation", "gen_ai.conversation.id", &c),
        ("conversation", "conversation.id", &c),
        ("conversation", "session.id", &s),
        ("conversation", "langfuse.session.id", &s),
        ("conversation", "user.id", &u),
        ("llm", "gen_ai.conversation.id", &c),
        ("llm", "user.id", &u),
        ("llm", "langfuse.user.id", &u),
        ("llm", "enduser.id", &u),
        ("lookup", "user_id", &u),
        ("lookup", "conversation", &c),
        ("tts", "gen_ai.conversation.id", &c),
    ] {
        let found = exported.attribute(span, key);
        assert_eq!(found.as_ref(), Some(value), "{key} of {span}");
    }
    let event = events(&exported, "llm")[0];
    assert_eq!(attribute(event, "user_id").as_ref(), Some(&u));
    assert_eq!(attribute(event, "conversation_id").as_ref(), Some(&c));
}

#[test]
fn the_key_of_the_hashes_is_in_no_debug_text() {
    let genai = GenAi::new().with_hashed_ids("a very secret key");
    assert!(!format!("{genai:?}").contains("secret"));
}

#[test]
fn events_below_info_are_not_exported() {
    let program = || {
        let llm = info_span!("llm").entered();
        debug!(body = MARKER, "sending the request");
        trace!(body = MARKER);
        // Through the second door other spans, and their events, pass as they are.
        if !support::SECOND_DOOR {
            debug_span!("connect").in_scope(|| trace!("{}", MARKER));
        }
        debug!(error = MARKER);
        info!("loud enough");
        debug!("first_token");
        trace!(name: "interrupted", "cut in");
        debug!(attempt = 2, "retry");
        drop(llm);
    };
    let exported = exported_with(&GenAi::new(), program);
    assert!(!everything(&exported).contains("swordfish"), "{}", everything(&exported));
    let names: Vec<&str> = events(&exported, "chat").iter().map(|event| &*event.name).collect();
    assert!(names.contains(&"loud enough") && names.contains(&"retry"), "{names:?}");
    assert!(
        exported.attribute("chat", "gen_ai.response.time_to_first_chunk").is_some(),
        "a moment counts at any level"
    );
    assert_eq!(exported.span("chat").status, Status::Unset);
    if !support::SECOND_DOOR {
        assert_eq!(exported.attribute("chat", "voice.interrupted"), Some(true.into()));
    }
    let exported = exported_with(&GenAi::new().with_event_level(Level::TRACE), program);
    assert!(everything(&exported).contains("swordfish"));
    let exported = exported_with(&GenAi::new().with_event_level(Level::ERROR), || {
        info_span!("llm").in_scope(|| {
            warn!("{MARKER}");
            error!("gone");
        });
    });
    assert!(!everything(&exported).contains("swordfish"));
    assert_eq!(events(&exported, "chat").len(), 1);
}

/// Writes a line as the `log` crate's bridge does.
fn logs(target: &str, level: log::Level, message: &str) {
    let record = format_args!("{message}");
    let mut builder = Record::builder();
    let builder = builder.target(target).level(level).module_path(Some("m")).file(Some("/home/me/x.rs")).line(Some(7));
    // `format_args!` lives no longer than its statement.
    tracing_log::format_trace(&builder.args(record).build()).unwrap();
}

#[test]
fn a_record_of_the_log_crate_has_its_own_target() {
    let exported = exported_with(&GenAi::new().with_content_targets(["chatty"]), || {
        let _llm = info_span!("llm").entered();
        logs("chatty::llm", log::Level::Info, MARKER);
        logs("quiet", log::Level::Info, "a line");
        logs("opentelemetry_sdk", log::Level::Info, "nobody's business");
        logs("quiet", log::Level::Debug, MARKER);
    });
    assert!(!everything(&exported).contains("swordfish"), "{}", everything(&exported));
    let [_, line] = events(&exported, "chat")[..] else { panic!("{}", everything(&exported)) };
    assert_eq!(line.name, "a line");
    assert_eq!(attribute(line, "target"), Some("quiet".into()));
    assert!(!everything(&exported).contains("/home/me") && !everything(&exported).contains("log."));
}

/// The attributes that the code knows, with their class.
fn classes() -> BTreeMap<String, bool> {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/semconv.rs")).unwrap();
    let row = |line: &str| {
        let (class, rest) = line.trim().split_once(' ')?;
        let name = rest.split('"').nth(1)?;
        matches!(class, "Plain" | "Content").then(|| (name.to_owned(), class == "Content"))
    };
    source.lines().filter_map(row).collect()
}

/// Promise 23: there is no key in an export of which nobody has decided whether it may hold what people said.
#[test]
fn every_key_of_an_export_is_classified() {
    let metrics = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics.clone()).build();
    let genai = || all().with_only_known_fields(true).with_known_fields(["plan"]).with_meter(meters.meter("test"));
    let program = || {
        attached([("tenant", "acme"), ("user_id", "u-1")], || {
            full_of_unknown_fields();
            full_of_ids();
        });
    };
    let classes = classes();
    // What the options name, and what the contract has on events alone.
    let named = ["campaign", "tenant", "plan", "user_id", "deployment.environment", "feature"];
    let of_events =
        ["error", "error_type", "attempt", "ms_ago", "session", "thread_id", "conversation_id", "conversation"];
    for (content, genai) in [(false, genai()), (true, genai().with_content(Content::Spans))] {
        let exported = exported_with(&genai, program);
        let keys: BTreeSet<String> = exported
            .spans
            .iter()
            .flat_map(|span| {
                let of_events = span.events.iter().flat_map(|event| &event.attributes);
                let of_links = span.links.iter().flat_map(|link| &link.attributes);
                span.attributes.iter().chain(of_events).chain(of_links)
            })
            .map(|attribute| attribute.key.to_string())
            .collect();
        assert!(keys.len() > 40, "{keys:?}");
        for key in &keys {
            match classes.get(key) {
                Some(is_content) => assert!(content || !is_content, "{key} is content"),
                // As content it has a slot of its own, or is its field.
                None if content && matches!(key.as_str(), "result") => {}
                None => {
                    assert!(named.contains(&key.as_str()) || of_events.contains(&key.as_str()), "{key} has no class");
                }
            }
        }
        meters.force_flush().unwrap();
        let measured = format!("{:?}", metrics.get_finished_metrics().unwrap());
        assert!(measured.contains("gen_ai.client.operation.duration") && !measured.contains("swordfish"));
    }
}
