//! A rig agent with one tool. Nothing here knows of tracing: that is rig's.

use std::convert::Infallible;
use std::error::Error;

use futures::StreamExt;
use rig_agent::prelude::*;
use rig_core::providers::openai::wire::{Chat, OpenAIConfig};
use rig_core::streaming::{Item, StreamEvent};
use rig_core::tool::ToolContext;
use rig_reqwest::ReqwestClient;
use serde::Deserialize;
use serde_json::json;

/// Answers with the agent's words, as they are streamed.
pub(crate) async fn answer(model_url: &str, question: &str) -> Result<String, Box<dyn Error>> {
    let agent = AgentBuilder::new(model(model_url)?).name("weatherman").tool(GetWeather).build();
    let mut items = agent.prompt(question).max_turns(3).stream();
    let mut answer = String::new();
    while let Some(item) = items.next().await {
        if let MultiTurnStreamItem::StreamAssistantItem(Item::Event(StreamEvent::Text { text, .. })) = item? {
            answer.push_str(&text);
        }
    }
    Ok(answer)
}

/// The model behind an OpenAI-compatible server.
pub(crate) fn model(url: &str) -> reqwest::Result<Model<Chat>> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let openai = OpenAIConfig::new("a key").with_base_url(url).connect(ReqwestClient::from(http));
    Ok(openai.chat("gpt-4o"))
}

struct GetWeather;

#[derive(Deserialize)]
struct Where {
    city: String,
}

impl Tool for GetWeather {
    const NAME: &'static str = "get_weather";
    type Args = Where;
    type Output = String;
    type Error = Infallible;

    fn description(&self) -> String {
        "Tells the weather in a city.".to_owned()
    }

    fn parameters(&self) -> serde_json::Value {
        json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] })
    }

    async fn call(&self, _: &mut ToolContext, Where { city }: Where) -> Result<String, Infallible> {
        Ok(format!("It rains in {city}."))
    }
}
