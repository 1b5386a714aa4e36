//! A rig agent inside of a turn: `OTEL_CONSOLE_EXPORT=true cargo run`. rig opens GenAI spans of its own; they hang in the turn,
//! carry the conversation's id, and their tokens are in its totals.
//!
//! ```text
//! conversation                     voice.usage.input_tokens=113, the sum of the two calls
//! └─ turn
//!    ├─ chat gpt-4o                rig's, as are the other two
//!    ├─ execute_tool get_weather
//!    └─ chat gpt-4o
//! ```
//!
//! The model is simulated by a server in this process, which speaks OpenAI's HTTP.

mod agent;
mod openai;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::time::timeout;
use tracing::{Instrument, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let resource = Resource::builder().with_service_name("rig-example").build();
    let mut provider = SdkTracerProvider::builder().with_resource(resource);
    if let Some(console) = tracing_genai::console_from_env() {
        provider = provider.with_span_processor(console);
    }
    let provider = provider.build();
    let genai = tracing_genai::layer(provider.tracer("rig-example"));
    tracing_subscriber::registry().with(genai.with_filter(LevelFilter::INFO)).init();

    let answer = timeout(Duration::from_secs(30), converse("Do I need an umbrella in Berlin?")).await??;
    writeln!(io::stdout(), "agent: {answer}")?;
    provider.shutdown()?;
    Ok(())
}

async fn converse(question: &str) -> Result<String, Box<dyn Error>> {
    let model_url = openai::start().await?;
    let conversation = info_span!("conversation", conversation_id = "c-42");
    let turn = info_span!(parent: &conversation, "turn");
    agent::answer(&model_url, question).instrument(turn).await
}
