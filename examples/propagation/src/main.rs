//! A voice gateway and an agent, two processes with HTTP between them, export one trace:
//! `OTEL_CONSOLE_EXPORT=true cargo run`. The gateway starts this program once more as the agent, and prints what both export.
//!
//! ```text
//! conversation                     the gateway's
//! ├─ turn
//! │  ├─ speech_to_text nova-3
//! │  ├─ invoke_agent concierge     the agent's, with the conversation's id, the turn's number and the tenant
//! │  │  └─ chat gpt-4o             the agent's
//! │  └─ text_to_speech sonic-2
//! └─ turn
//!    └─ …                          the same once more
//! ```
//!
//! The trace crosses over in `traceparent`, the rest in `baggage`. Without the variable it prints only what is said.

mod agent;
mod gateway;
mod propagation;
#[cfg(test)]
mod tests;

use std::env;
use std::error::Error;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Subscriber;
use tracing_genai::GenAi;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

/// The argument that makes this program the agent.
const AGENT: &str = "agent";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let is_agent = env::args().nth(1).is_some_and(|argument| argument == AGENT);
    let service = if is_agent { "agent" } else { "gateway" };
    let resource = Resource::builder().with_service_name(service).build();
    let mut provider = SdkTracerProvider::builder().with_resource(resource);
    if let Some(console) = tracing_genai::console_from_env() {
        provider = provider.with_span_processor(console);
    }
    let provider = provider.build();
    subscriber(provider.tracer(service)).init();

    if is_agent {
        agent::run().await?;
    } else {
        gateway::run().await?;
    }
    provider.shutdown()?;
    Ok(())
}

/// The same in both processes: what is allowed out of the baggage is on every span.
fn subscriber(tracer: SdkTracer) -> impl Subscriber + Send + Sync {
    let genai = GenAi::from_env().with_baggage([propagation::TENANT]).layer(tracer);
    tracing_subscriber::registry().with(genai.with_filter(LevelFilter::INFO))
}
