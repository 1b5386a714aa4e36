//! Which spans are exported, under which names, and what hangs on what.
#![cfg(test)]

mod support;

use std::thread;
use std::time::Duration;

use expect_test::expect;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, Value};
use support::{Backend, duration, exported, exported_with};
use tracing::field::Empty;
use tracing::{info, info_span};
use tracing_genai::{GenAi, Kind};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

#[test]
fn a_turn_and_its_services_hang_on_their_conversation() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation", conversation_id = "c-42").entered();
        let _turn = info_span!("turn").entered();
        info_span!("stt", provider = "deepgram", model = "nova-3").in_scope(|| ());
        info_span!("llm", provider = "openai", model = "gpt-4o").in_scope(|| {
            info_span!("tool", tool = "get_weather").in_scope(|| ());
        });
        info_span!("tts", provider = "cartesia", model = "sonic").in_scope(|| ());
    });
    expect![[r#"
        conversation
          turn
            speech_to_text nova-3
            chat gpt-4o
              execute_tool get_weather
            text_to_speech sonic
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.traces(), 1);
    for (name, kind) in [
        ("conversation", SpanKind::Internal),
        ("turn", SpanKind::Internal),
        ("speech_to_text nova-3", SpanKind::Client),
        ("chat gpt-4o", SpanKind::Client),
        ("execute_tool get_weather", SpanKind::Internal),
        ("text_to_speech sonic", SpanKind::Client),
    ] {
        assert_eq!(exported.span(name).span_kind, kind, "{name}");
        assert_eq!(exported.attribute(name, "gen_ai.conversation.id"), Some("c-42".into()), "{name}");
    }
}

#[test]
fn spans_in_between_are_skipped() {
    // Through the second door other spans are exported.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        let _handler = info_span!("http_request").entered();
        let _retry = info_span!("retry").entered();
        info_span!("tts", model = "sonic").in_scope(|| ());
    });
    expect![[r#"
        turn
          text_to_speech sonic
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn spans_in_between_are_exported_when_asked_for() {
    // Through the second door other spans are exported.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported_with(&GenAi::new().with_other_spans(true), || {
        let _request = info_span!("http_request", method = "GET", transcript = "secret", port = 70_000).entered();
        let _turn = info_span!("turn", conversation_id = "c-1").entered();
        let _handler = info_span!("handler").entered();
        info_span!("tts", model = "sonic").in_scope(|| ());
        info_span!("lookup", error = "timeout").in_scope(|| ());
    });
    expect![[r#"
        http_request
          turn
            handler
              text_to_speech sonic
              lookup [error timeout]
    "#]]
    .assert_eq(&exported.to_string());
    let request = exported.attributes("http_request");
    assert_eq!(
        request.into_iter().collect::<Vec<_>>(),
        [("method".into(), "GET".into()), ("port".into(), Value::I64(70_000))]
    );
    assert_eq!(exported.attribute("text_to_speech sonic", "gen_ai.conversation.id"), Some("c-1".into()));
}

#[test]
fn an_explicit_parent_counts_and_is_never_entered() {
    // Through the second door other spans are exported.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        let conversation = info_span!("conversation");
        let turn = info_span!(parent: &conversation, "turn");
        let _elsewhere = info_span!("agent", agent = "other").entered();
        let request = info_span!(parent: &turn, "http_request");
        let llm = info_span!(parent: &request, "llm", model = "gpt-4o");
        drop(info_span!(parent: &llm, "tool", tool = "clock"));
        drop(info_span!(parent: None, "tts"));
    });
    expect![[r#"
        conversation
          turn
            chat gpt-4o
              execute_tool clock
        invoke_agent other
        text_to_speech
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn a_span_of_another_thread_hangs_on_its_explicit_parent() {
    let exported = exported(|| {
        let turn = info_span!("turn");
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let worker = {
            let turn = turn.clone();
            thread::spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || {
                    turn.in_scope(|| info_span!("stt").in_scope(|| ()));
                    drop(info_span!(parent: &turn, "tts"));
                });
            })
        };
        worker.join().unwrap();
    });
    expect![[r#"
        turn
          speech_to_text
          text_to_speech
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn a_root_hangs_on_the_attached_context() {
    let backend = Backend::default();
    let subscriber = tracing_subscriber::registry().with(tracing_genai::layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        let request = backend.tracer().start("incoming request");
        let _attached = Context::current_with_span(request).attach();
        let _other = info_span!("http_request").entered();
        let _conversation = info_span!("conversation").entered();
        info_span!("turn").in_scope(|| ());
        drop(info_span!(parent: None, "tts"));
    });
    expect![[r#"
        incoming request
          conversation
            turn
        text_to_speech
    "#]]
    .assert_eq(&backend.exported().to_string());
}

#[test]
fn the_context_is_attached_while_a_span_is_entered() {
    let backend = Backend::default();
    let subscriber = tracing_subscriber::registry().with(tracing_genai::layer(backend.tracer()));
    let current = || Context::current().span().span_context().span_id();
    tracing::subscriber::with_default(subscriber, || {
        let outside = current();
        let turn = info_span!("turn").entered();
        let in_turn = current();
        let llm = info_span!("llm");
        llm.in_scope(|| {
            assert_ne!(current(), in_turn);
            backend.tracer().in_span("http client", |_| ());
            info_span!("not_ours").in_scope(|| backend.tracer().in_span("dns", |_| ()));
            turn.in_scope(|| assert_eq!(current(), in_turn));
        });
        assert_eq!(current(), in_turn);
        drop(turn);
        assert_eq!(current(), outside);
    });
    expect![[r#"
        turn
          chat
            http client
            dns
    "#]]
    .assert_eq(&backend.exported().to_string());
}

#[test]
fn values_that_were_attached_in_between_stay_attached() {
    #[derive(Debug, PartialEq)]
    struct Tenant(u32);
    exported(|| {
        let _turn = info_span!("turn").entered();
        let _attached = Context::current_with_value(Tenant(7)).attach();
        let _llm = info_span!("llm").entered();
        assert_eq!(Context::current().get::<Tenant>(), Some(&Tenant(7)));
    });
}

#[test]
fn spans_may_be_left_in_any_order() {
    let exported = exported(|| {
        let turn = info_span!("turn");
        let llm = info_span!(parent: &turn, "llm");
        let in_turn = turn.enter();
        let in_llm = llm.enter();
        drop(in_turn);
        drop(info_span!("tool"));
        drop(in_llm);
        assert!(!Context::current().has_active_span());
    });
    expect![[r#"
        turn
          chat
            execute_tool
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn a_span_ends_when_it_closes_and_not_at_its_last_exit() {
    let exported = exported(|| {
        let turn = info_span!("turn");
        turn.in_scope(|| ());
        thread::sleep(Duration::from_millis(50));
    });
    assert!(duration(exported.span("turn")) >= Duration::from_millis(50));
}

#[test]
fn a_parent_never_ends_before_its_child() {
    for _ in 0..200 {
        let exported = exported(|| {
            let conversation = info_span!("conversation");
            let turn = info_span!(parent: &conversation, "turn");
            drop(conversation);
            let llm = info_span!(parent: &turn, "llm");
            drop(turn);
            drop(llm);
        });
        let end = |name| exported.span(name).end_time;
        assert!(end("conversation") >= end("turn") && end("turn") >= end("chat"));
    }
}

#[test]
fn a_start_is_back_dated() {
    let exported = exported(|| {
        let _turn = info_span!("turn").entered();
        info_span!("stt", started_ms_ago = 250.5).in_scope(|| ());
        info_span!("tts", started_ms_ago = -1).in_scope(|| ());
        info_span!("llm", started_ms_ago = 3_600_001).in_scope(|| ());
    });
    let started = |name| exported.span(name).start_time;
    let ago = started("turn").duration_since(started("speech_to_text")).unwrap();
    assert!(ago > Duration::from_millis(240) && ago <= Duration::from_micros(250_500), "{ago:?}");
    assert_eq!(exported.attribute("speech_to_text", "started_ms_ago"), None);
    assert!(started("text_to_speech") >= started("turn") && started("chat") >= started("turn"));
    assert_eq!(exported.stats.refused.out_of_range, 2);
}

#[test]
fn a_late_model_is_in_the_name() {
    let exported = exported(|| {
        let llm = info_span!("llm", model = Empty);
        llm.record("model", "gpt-4o");
        let tool = info_span!("tool", tool = Empty);
        tool.record("tool", "clock");
    });
    expect![[r#"
        chat gpt-4o
        execute_tool clock
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn every_name_of_the_contract_is_recognized() {
    macro_rules! names {
        ($($span:literal => $name:literal),* $(,)?) => {
            $(
                let tree = exported(|| drop(info_span!(
                    $span, model = "m", tool = "t", agent = "a", workflow = "w", step = "s", data_source = "d"
                )));
                assert_eq!(tree.to_string(), concat!($name, "\n"), $span);
            )*
        };
    }
    names! {
        "conversation" => "conversation",
        "turn" => "turn",
        "stt" => "speech_to_text m",
        "stt_deepgram" => "speech_to_text m",
        "speech_to_text" => "speech_to_text m",
        "transcription" => "speech_to_text m",
        "llm" => "chat m",
        "llm_call" => "chat m",
        "chat" => "chat m",
        "generate_content" => "generate_content m",
        "text_completion" => "text_completion m",
        "genai.chat" => "chat m",
        "llm.generate" => "chat m",
        "tts" => "text_to_speech m",
        "tts_stream" => "text_to_speech m",
        "text_to_speech" => "text_to_speech m",
        "audio_generation" => "text_to_speech m",
        "tool" => "execute_tool t",
        "execute_tool" => "execute_tool t",
        "genai.execute_tool" => "execute_tool t",
        "tool.call" => "execute_tool t",
        "agent" => "invoke_agent a",
        "invoke_agent" => "invoke_agent a",
        "genai.agent" => "invoke_agent a",
        "agent.run" => "invoke_agent a",
        "workflow" => "invoke_workflow w",
        "invoke_workflow" => "invoke_workflow w",
        "genai.invoke_workflow" => "invoke_workflow w",
        "step" => "step s",
        "embeddings" => "embeddings m",
        "genai.embeddings" => "embeddings m",
        "retrieval" => "retrieval d",
        "realtime" => "generate_content m",
    }
}

#[test]
fn names_can_be_added_and_left_out() {
    // Through the second door other spans are exported.
    if support::SECOND_DOOR {
        return;
    }
    let genai =
        GenAi::new().with_span_name("exchange", Kind::Turn).with_span_name("llm", Kind::Tool).without_span_name("step");
    let exported = exported_with(&genai, || {
        let _turn = info_span!("exchange").entered();
        info_span!("step").in_scope(|| info_span!("llm", tool = "clock").in_scope(|| ()));
    });
    expect![[r#"
        turn
          execute_tool clock
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn recognition_can_be_kept_to_targets() {
    // Through the second door other spans are exported.
    if support::SECOND_DOOR {
        return;
    }
    let genai = GenAi::new().with_targets(Targets::new().with_target("my_agent", tracing::Level::INFO));
    let exported = exported_with(&genai, || {
        let _mine = info_span!(target: "my_agent::voice", "turn").entered();
        info_span!(target: "compiler", "step").in_scope(|| ());
        tracing::debug_span!(target: "my_agent", "llm").in_scope(|| ());
    });
    expect![[r#"
        turn
    "#]]
    .assert_eq(&exported.to_string());
}

#[test]
fn the_users_own_name_kind_and_status_win() {
    // Through the second door an `otel.name` that is recorded late is not seen.
    if support::SECOND_DOOR {
        return;
    }
    let exported = exported(|| {
        drop(info_span!("llm", model = "llama", otel.name = "local model", otel.kind = "internal"));
        drop(info_span!("tts", otel.status_code = "ok", error = "not so bad"));
        let stt = info_span!(
            "stt",
            otel.name = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
            otel.kind = Empty
        );
        stt.record("otel.name", "late name");
        stt.record("otel.status_code", "ERROR");
        stt.record("otel.status_description", "no line");
        stt.record("otel.kind", "server");
    });
    expect![[r#"
        local model
        text_to_speech [ok]
        late name [error _OTHER]
    "#]]
    .assert_eq(&exported.to_string());
    assert_eq!(exported.span("local model").span_kind, SpanKind::Internal);
    assert_eq!(exported.span("late name").status, Status::error("no line"));
    assert_eq!(exported.stats.refused.too_late, 1, "the kind can't change any more");
}

#[test]
fn a_span_that_follows_from_another_is_linked_to_it() {
    let exported = exported(|| {
        let first = info_span!("turn");
        let second = info_span!("turn", otel.name = "second");
        second.follows_from(&first);
        second.follows_from(info_span!("not_ours"));
    });
    let links = &exported.span("second").links.links;
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].span_context.span_id(), exported.span("turn").span_context.span_id());
}

#[test]
fn a_status_description_alone_is_an_error() {
    let exported = exported(|| {
        drop(info_span!("llm", otel.status_description = "timeout"));
        drop(info_span!("tts", otel.status_description = "no matter", otel.status_code = "ok"));
        drop(info_span!("stt", otel.status_code = "ok", otel.status_description = "too late"));
    });
    assert_eq!(exported.to_string(), "chat [error _OTHER]\ntext_to_speech [ok]\nspeech_to_text [error _OTHER]\n");
    assert_eq!(exported.span("chat").status, Status::error("timeout"));
}

#[test]
fn a_remote_parent_is_joined_by_a_root_and_linked_below_one() {
    const REMOTE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let exported = exported(|| {
        let _conversation = info_span!("conversation", traceparent = REMOTE, tracestate = "vendor=1").entered();
        info_span!("turn", traceparent = REMOTE).in_scope(|| ());
        drop(info_span!(parent: None, "workflow", traceparent = &REMOTE[..54]));
    });
    let conversation = exported.span("conversation");
    assert_eq!(conversation.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(conversation.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(conversation.span_context.trace_state().get("vendor"), Some("1"));
    assert!(conversation.parent_span_is_remote);
    let turn = exported.span("turn");
    assert_eq!(turn.parent_span_id, conversation.span_context.span_id());
    assert_eq!(turn.links.links[0].span_context.span_id().to_string(), "00f067aa0ba902b7");
    assert_eq!(exported.span("invoke_workflow").parent_span_id, opentelemetry::trace::SpanId::INVALID);
    assert_eq!(exported.stats.refused.out_of_range, 1);
    for span in &exported.spans {
        assert!(!span.attributes.iter().any(|attribute| attribute.key.as_str() == "traceparent"));
    }
}

#[test]
fn turns_are_counted_where_they_have_no_number() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation").entered();
        info_span!("turn", otel.name = "first").in_scope(|| info_span!("llm").in_scope(|| ()));
        info_span!("turn", otel.name = "given", number = 7).in_scope(|| ());
        info_span!("not_ours").in_scope(|| drop(info_span!("turn", otel.name = "next")));
        drop(info_span!(parent: None, "turn", otel.name = "nobody's"));
    });
    for (name, number) in
        [("first", Some(1)), ("chat", Some(1)), ("given", Some(7)), ("next", Some(8)), ("nobody's", None)]
    {
        assert_eq!(exported.attribute(name, "voice.turn.number"), number.map(Value::I64), "{name}");
    }
}

#[test]
fn what_is_open_at_a_shutdown_is_exported_as_incomplete() {
    let backend = Backend::default();
    let genai = GenAi::new();
    let handle = genai.handle();
    let subscriber = tracing_subscriber::registry().with(genai.layer(backend.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        let conversation = info_span!("conversation");
        let turn = info_span!(parent: &conversation, "turn");
        drop(info_span!(parent: &turn, "stt"));
        assert_eq!(handle.stats().spans_open(), 2);
        let stats = handle.shutdown(Duration::from_secs(5));
        assert_eq!((stats.spans_opened, stats.spans_closed), (3, 3));
        assert_eq!(handle.shutdown(Duration::ZERO), stats);
        turn.record("number", 3);
        info!(parent: &turn, "nobody listens");
    });
    let exported = backend.exported();
    expect![[r#"
        conversation
          turn
            speech_to_text
    "#]]
    .assert_eq(&exported.to_string());
    for (name, incomplete) in [("conversation", Some(true)), ("turn", Some(true)), ("speech_to_text", None)] {
        assert_eq!(exported.attribute(name, "voice.incomplete"), incomplete.map(Value::Bool), "{name}");
    }
}
