//! The `genai` crate, with its feature `otel`.

use std::error::Error;

use expect_test::expect;
use futures::StreamExt;
use genai::adapter::AdapterKind;
use genai::chat::{ChatMessage, ChatOptions, ChatRequest, Tool, ToolResponse};
use genai::otel::agent::{AgentSpan, execute_tool_span};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, ModelIden, ServiceTarget};
use opentelemetry::Value;
use opentelemetry::trace::SpanKind;
use serde_json::json;
use tracing::Instrument;

use super::{DOORS, attributes, exported_in_a_turn, has, named, strings};
use crate::openai;

fn client() -> Result<Client, Box<dyn Error>> {
    Ok(Client::builder().with_reqwest(reqwest::Client::builder().no_proxy().build()?).build()?)
}

fn target(url: String) -> ServiceTarget {
    ServiceTarget {
        endpoint: Endpoint::from_owned(url),
        auth: AuthData::from_single("a key"),
        model: ModelIden::new(AdapterKind::OpenAI, "gpt-4o"),
    }
}

#[tokio::test]
async fn a_streamed_answer_is_in_the_turn_in_standard_form() {
    for door in DOORS {
        let exported = exported_in_a_turn(door, 71, 8, async || {
            let url = openai::start().await?;
            let request = ChatRequest::from_user("Do I need an umbrella in Berlin?");
            let options = ChatOptions::default()
                .with_capture_usage(true)
                .with_temperature(0.5)
                .with_stop_sequences(vec!["END".to_owned()]);
            let mut answer = client()?.exec_chat_stream(target(url), request, Some(&options)).await?.stream;
            while let Some(event) = answer.next().await {
                event?;
            }
            Ok(())
        })
        .await;
        expect![[r#"
            conversation
              turn
                chat gpt-4o
        "#]]
        .assert_eq(&exported.to_string());
        let chat = exported.span("chat gpt-4o");
        assert_eq!(chat.span_kind, SpanKind::Client);
        has(
            door,
            chat,
            [
                ("gen_ai.operation.name", Value::from("chat")),
                ("gen_ai.provider.name", Value::from("openai")),
                ("gen_ai.request.model", Value::from("gpt-4o")),
                ("gen_ai.request.stream", Value::Bool(true)),
                ("gen_ai.request.temperature", Value::F64(0.5)),
                ("gen_ai.request.stop_sequences", strings(&["END"])),
                ("gen_ai.response.finish_reasons", strings(&["stop"])),
                ("gen_ai.usage.input_tokens", Value::I64(71)),
                ("gen_ai.usage.output_tokens", Value::I64(8)),
                ("gen_ai.usage.cache_read.input_tokens", Value::I64(42)),
                ("gen_ai.usage.reasoning.output_tokens", Value::I64(3)),
                ("server.address", Value::from("127.0.0.1")),
                ("gen_ai.conversation.id", Value::from("c-42")),
            ],
        );
        let first = attributes(chat).remove("gen_ai.response.time_to_first_chunk");
        assert!(matches!(first, Some(Value::F64(seconds)) if seconds > 0.0 && seconds < 10.0), "{first:?}");
        assert!(!format!("{:?}", exported.spans).contains("umbrella"), "no content unless asked");
    }
}

#[tokio::test]
async fn an_agent_of_genais_helpers_is_in_the_turn_and_is_counted_once() {
    for door in DOORS {
        let exported = exported_in_a_turn(door, 113, 17, async || {
            let agent = AgentSpan::invoke_agent().internal().with_name("weatherman").start();
            ask_with_a_tool(openai::start().await?).instrument(agent).await?;
            Ok(())
        })
        .await;
        expect![[r#"
            conversation
              turn
                invoke_agent weatherman
                  chat gpt-4o
                  execute_tool get_weather
                  chat gpt-4o
        "#]]
        .assert_eq(&exported.to_string());
        for (chat, reason) in named(&exported, "chat gpt-4o").into_iter().zip(["tool_calls", "stop"]) {
            has(door, chat, [("gen_ai.response.finish_reasons", strings(&[reason]))]);
            assert!(!attributes(chat).contains_key("gen_ai.request.stream"), "{door:?}: it is not streamed");
        }
        assert_eq!(exported.span("invoke_agent weatherman").span_kind, SpanKind::Internal);
        has(door, exported.span("execute_tool get_weather"), [("gen_ai.tool.call.id", "call_1")]);
    }
}

async fn ask_with_a_tool(url: String) -> Result<(), Box<dyn Error>> {
    let client = client()?;
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let mut request = ChatRequest::from_user("Do I need an umbrella in Berlin?")
        .with_tools(vec![Tool::new("get_weather").with_schema(schema)]);
    let target = target(url);
    let answer = client.exec_chat(target.clone(), request.clone(), None).await?;
    for call in answer.into_tool_calls() {
        let result = execute_tool_span(&call).in_scope(|| "It rains.");
        let response = ToolResponse::new(call.call_id.clone(), result);
        request = request.append_message(ChatMessage::from(vec![call])).append_message(response);
    }
    client.exec_chat(target, request, None).await?;
    Ok(())
}
