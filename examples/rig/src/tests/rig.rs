use std::future::ready;

use expect_test::expect;
use opentelemetry::trace::{Event, SpanKind};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use rig_agent::agent::AgentBuilder;
use rig_core::completion::CompletionRequest;
use rig_core::tool::{DynamicTool, ToolExecutionError};
use serde_json::json;
use tracing::field::Empty;
use tracing::{Instrument, Level, Span, info_span};
use tracing_genai::GenAi;
use tracing_subscriber::filter::LevelFilter;

use super::{DOORS, exported, exported_in_a_turn, exported_with, has, named};
use crate::{agent, converse, openai};

#[tokio::test]
async fn an_agent_with_a_tool_is_in_the_turn_and_is_counted_once() {
    for door in DOORS {
        let exported = exported(door, async || {
            assert_eq!(converse("Do I need an umbrella in Berlin?").await?, "Take one: it rains in Berlin.");
            Ok(())
        })
        .await;
        expect![[r#"
            conversation
              turn
                chat gpt-4o
                execute_tool get_weather
                chat gpt-4o
        "#]]
        .assert_eq(&exported.to_string());
        assert_eq!(exported.traces(), 1);
        for name in ["conversation", "turn"] {
            let total = |key| exported.attribute(name, key);
            assert_eq!(total("voice.usage.input_tokens"), Some(Value::I64(42 + 71)), "{door:?}, {name}");
            assert_eq!(total("voice.usage.output_tokens"), Some(Value::I64(9 + 8)), "{door:?}, {name}");
        }

        let chats = named(&exported, "chat gpt-4o");
        for (chat, (input, cached, output, reasoning, id)) in
            chats.into_iter().zip([(42, 16, 9, None, "chatcmpl-1"), (71, 42, 8, Some(3), "chatcmpl-2")])
        {
            assert_eq!(chat.span_kind, SpanKind::Client);
            // The first answer reports none, which is no breakdown.
            let reported =
                chat.attributes.iter().find(|pair| pair.key.as_str() == "gen_ai.usage.reasoning.output_tokens");
            assert_eq!(reported.map(|pair| pair.value.clone()), reasoning.map(Value::I64), "{door:?}");
            has(
                door,
                chat,
                [
                    ("gen_ai.operation.name", Value::from("chat")),
                    ("gen_ai.provider.name", Value::from("openai")),
                    ("gen_ai.request.model", Value::from("gpt-4o")),
                    ("gen_ai.request.stream", Value::Bool(true)),
                    ("gen_ai.response.id", Value::from(id)),
                    ("gen_ai.response.model", Value::from("gpt-4o-2024-08-06")),
                    ("gen_ai.usage.input_tokens", Value::I64(input)),
                    ("gen_ai.usage.output_tokens", Value::I64(output)),
                    ("gen_ai.usage.cache_read.input_tokens", Value::I64(cached)),
                    ("gen_ai.agent.name", Value::from("weatherman")),
                    ("gen_ai.conversation.id", Value::from("c-42")),
                    ("voice.turn.number", Value::I64(1)),
                ],
            );
        }
        let tool = exported.span("execute_tool get_weather");
        assert_eq!(tool.span_kind, SpanKind::Internal);
        has(
            door,
            tool,
            [
                ("gen_ai.operation.name", "execute_tool"),
                ("gen_ai.tool.name", "get_weather"),
                ("gen_ai.tool.type", "function"),
                ("gen_ai.tool.call.id", "call_1"),
                ("gen_ai.conversation.id", "c-42"),
            ],
        );
        let everything = format!("{:?}", exported.spans);
        assert!(!everything.contains("umbrella") && !everything.contains("It rains"), "no content unless asked");
    }
}

#[tokio::test]
async fn what_rig_logs_of_requests_and_replies_is_content_when_it_is_named_so() {
    for door in DOORS {
        let genai = GenAi::new().with_event_level(Level::TRACE).with_content_targets(["rig"]);
        let exported = exported_with(door, &genai, LevelFilter::TRACE, async || {
            converse("Do I need an umbrella in Berlin?").await.map(drop)
        })
        .await;
        let is_rigs = |event: &Event| event.attributes.contains(&KeyValue::new("target", "rig::completions"));
        let logged = |span: &SpanData| span.events.iter().any(is_rigs);
        assert!(exported.spans.iter().any(logged), "{door:?}: it logs them");
        let everything = format!("{:?}", exported.spans);
        assert!(!everything.contains("umbrella") && !everything.contains("it rains"), "{door:?}");
    }
}

#[tokio::test]
async fn an_agent_span_of_the_program_is_the_one_that_rig_works_in() {
    for door in DOORS {
        let exported = exported_in_a_turn(door, 113, 17, async || {
            let url = openai::start().await?;
            agent::answer(&url, "Do I need an umbrella?").instrument(info_span!("agent", agent = "weatherman")).await?;
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
    }
}

#[tokio::test]
async fn outside_of_every_span_rig_opens_its_own_agent_span() {
    for door in DOORS {
        let exported = exported(door, async || {
            let url = openai::start().await?;
            agent::answer(&url, "Do I need an umbrella?").await?;
            Ok(())
        })
        .await;
        expect![[r#"
            invoke_agent weatherman
              chat gpt-4o
              execute_tool get_weather
              chat gpt-4o
        "#]]
        .assert_eq(&exported.to_string());
        has(
            door,
            exported.span("invoke_agent weatherman"),
            [("gen_ai.usage.input_tokens", 113), ("gen_ai.usage.output_tokens", 17)],
        );
    }
}

#[tokio::test]
async fn a_call_inside_of_the_programs_own_llm_span_is_counted_once() {
    for door in DOORS {
        let exported = exported_in_a_turn(door, 71, 8, async || {
            let model = agent::model(&openai::start().await?)?;
            let llm = info_span!("llm", model = "gpt-4o", input_tokens = Empty, output_tokens = Empty);
            let ask = async {
                let answer = model.call(CompletionRequest::new("Do I need an umbrella?")).await?;
                Span::current().record("input_tokens", answer.usage.input_tokens);
                Span::current().record("output_tokens", answer.usage.output_tokens);
                Ok(())
            };
            ask.instrument(llm).await
        })
        .await;
        expect![[r#"
            conversation
              turn
                chat gpt-4o
                  chat gpt-4o
        "#]]
        .assert_eq(&exported.to_string());
    }
}

#[tokio::test]
async fn a_span_that_rig_adopts_is_the_only_one() {
    for door in DOORS {
        let exported = exported_in_a_turn(door, 71, 8, async || {
            let model = agent::model(&openai::start().await?)?;
            let llm = rig_core::telemetry::completion_parent_span!(
                target: "rig_example",
                name: "llm",
                operation: "chat",
                system_instructions: Option::<&str>::None,
            );
            model.call(CompletionRequest::new("Do I need an umbrella?")).instrument(llm).await?;
            Ok(())
        })
        .await;
        expect![[r#"
            conversation
              turn
                chat gpt-4o
        "#]]
        .assert_eq(&exported.to_string());
        has(door, exported.span("chat gpt-4o"), [("gen_ai.usage.reasoning.output_tokens", 3)]);
    }
}

#[tokio::test]
async fn a_tool_that_fails_is_an_error() {
    for door in DOORS {
        let exported = exported_in_a_turn(door, 113, 17, async || {
            let model = agent::model(&openai::start().await?)?;
            let parameters = json!({ "type": "object" });
            let broken = DynamicTool::new("get_weather".try_into()?, "Tells the weather.", parameters, |_| {
                Box::pin(ready(Err(ToolExecutionError::timeout("no answer in time"))))
            });
            AgentBuilder::new(model).dynamic_tool(broken).build().prompt("Rain?").max_turns(3).await?;
            Ok(())
        })
        .await;
        expect![[r#"
            conversation
              turn
                chat gpt-4o
                execute_tool get_weather [error timeout]
                chat gpt-4o
        "#]]
        .assert_eq(&exported.to_string());
        assert_eq!(exported.attribute("turn", "voice.error.count"), Some(Value::I64(1)), "{door:?}");
    }
}
