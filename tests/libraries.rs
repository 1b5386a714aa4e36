//! What libraries say of themselves with spans of their own: names, targets, fields and types are theirs. rig and genai run
//! for real, in `examples/rig`.
#![cfg(test)]

mod support;

use expect_test::expect;
use opentelemetry::Value;
use support::{SECOND_DOOR, exported};
use tracing::field::{Empty, display};
use tracing::{Span, info_span, warn};

/// `observability::llm_span` of langchain-rust 7.0.0.
fn llm_generate(stream: bool) -> Span {
    let (provider, model) = ("openai", "gpt-4o-mini");
    info_span!(
        target: "langchain_rust::observability",
        "llm.generate",
        provider,
        model,
        stream,
        prompt_tokens = Empty,
        completion_tokens = Empty,
        total_tokens = Empty,
        tool_calls = Empty,
        error = Empty,
    )
}

/// `observability::record_result` of langchain-rust 7.0.0.
fn record_result(span: &Span, prompt_tokens: u32, completion_tokens: u32, tool_calls: usize) {
    span.record("prompt_tokens", prompt_tokens);
    span.record("completion_tokens", completion_tokens);
    span.record("total_tokens", prompt_tokens + completion_tokens);
    if tool_calls > 0 {
        span.record("tool_calls", tool_calls);
    }
}

/// `observability::record_error` of langchain-rust 7.0.0.
fn record_error(span: &Span, error: &str) {
    span.record("error", display(error));
    span.in_scope(|| warn!(target: "langchain_rust::observability", error = %error, "{} failed", "llm.generate"));
}

/// `agent::executor::AgentExecutor::run` of langchain-rust 7.0.0: two calls of the model, and a tool between them.
fn agent_run(tool_error: Option<&str>) {
    let run = info_span!(
        target: "langchain_rust::agent::executor",
        "agent.run",
        max_iterations = 10_i32,
        steps = Empty,
        total_tokens = Empty,
        error = Empty,
    );
    run.in_scope(|| {
        plan(0, 1);
        let tool = info_span!(target: "langchain_rust::agent::executor", "tool.call", tool = %"weather", error = Empty);
        tool.in_scope(|| ());
        if let Some(error) = tool_error {
            record_error(&tool, error);
        }
        plan(1, 0);
    });
    run.record("total_tokens", 2 * (7_u32 + 3));
}

fn plan(step: usize, tool_calls: usize) {
    info_span!(target: "langchain_rust::agent::executor", "agent.plan", step).in_scope(|| {
        let chain =
            info_span!(target: "langchain_rust::chain::llm_chain", "chain.call", chain = "llm_chain", error = Empty);
        chain.in_scope(|| {
            let llm = llm_generate(true);
            llm.in_scope(|| ());
            record_result(&llm, 7, 3, tool_calls);
        });
    });
}

#[test]
fn an_agent_of_langchain_rust_is_in_the_turn_and_is_counted_once() {
    let exported = exported(|| {
        let _conversation = info_span!("conversation", conversation_id = "c-1").entered();
        info_span!("turn").in_scope(|| agent_run(None));
    });
    if SECOND_DOOR {
        expect![[r#"
            conversation
              turn
                invoke_agent
                  agent.plan
                    chain.call
                      chat gpt-4o-mini
                  execute_tool weather
                  agent.plan
                    chain.call
                      chat gpt-4o-mini
        "#]]
        .assert_eq(&exported.to_string());
    } else {
        expect![[r#"
            conversation
              turn
                invoke_agent
                  chat gpt-4o-mini
                  execute_tool weather
                  chat gpt-4o-mini
        "#]]
        .assert_eq(&exported.to_string());
    }
    for chat in exported.spans.iter().filter(|span| span.name == "chat gpt-4o-mini") {
        let attributes = support::attributes(chat);
        for (key, value) in [
            ("gen_ai.operation.name", Value::from("chat")),
            ("gen_ai.provider.name", Value::from("openai")),
            ("gen_ai.request.stream", Value::Bool(true)),
            ("gen_ai.usage.input_tokens", Value::I64(7)),
            ("gen_ai.usage.output_tokens", Value::I64(3)),
            ("gen_ai.conversation.id", Value::from("c-1")),
            ("voice.turn.number", Value::I64(1)),
        ] {
            assert_eq!(attributes.get(key), Some(&value), "{key}");
        }
        assert_eq!(attributes["total_tokens"].as_str(), "10");
    }
    for name in ["conversation", "turn"] {
        assert_eq!(exported.attribute(name, "voice.usage.input_tokens"), Some(Value::I64(14)), "{name}");
        assert_eq!(exported.attribute(name, "voice.usage.output_tokens"), Some(Value::I64(6)), "{name}");
        assert_eq!(exported.attribute(name, "voice.error.count"), None, "{name}");
    }
}

#[test]
fn a_failure_in_langchain_rust_is_one_of_the_span_that_failed() {
    let exported = exported(|| {
        info_span!("turn").in_scope(|| {
            agent_run(Some("no such city"));
            let llm = llm_generate(false);
            llm.in_scope(|| ());
            record_error(&llm, "connection refused");
        });
    });
    let failed: Vec<_> =
        exported.spans.iter().filter(|span| support::attributes(span).contains_key("error.type")).collect();
    assert_eq!(
        failed.iter().map(|span| span.name.as_ref()).collect::<Vec<_>>(),
        ["execute_tool weather", "chat gpt-4o-mini"]
    );
    assert_eq!(failed[1].status, opentelemetry::trace::Status::error("connection refused"));
    assert!(!support::attributes(failed[1]).contains_key("gen_ai.request.stream"), "it is not streamed");
    assert_eq!(exported.attribute("turn", "voice.error.count"), Some(Value::I64(2)));
}

#[test]
fn embeddings_of_langchain_rust_are_embeddings() {
    let exported = exported(|| {
        info_span!("turn").in_scope(|| {
            let (provider, model) = ("openai", "text-embedding-3-small");
            let count = 3_usize;
            let documents = info_span!(
                target: "langchain_rust::observability", "embed.documents", provider, model, count, error = Empty
            );
            documents.in_scope(|| ());
            let query = info_span!(
                target: "langchain_rust::observability", "embed.query", provider, model, count = 1, error = Empty
            );
            query.in_scope(|| ());
        });
    });
    expect![[r#"
        turn
          embeddings text-embedding-3-small
          embeddings text-embedding-3-small
    "#]]
    .assert_eq(&exported.to_string());
}
