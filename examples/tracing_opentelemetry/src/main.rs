//! A web service that has tracing-opentelemetry, a tracing middleware and a client that injects headers keeps them all:
//! `OTEL_CONSOLE_EXPORT=true cargo run`. One call wraps its tracer, and its voice and LLM spans come out GenAI-shaped, in the
//! trace of its HTTP spans.
//!
//! ```text
//! http_request                     the middleware's: its parent is what the caller's `traceparent` says
//! └─ conversation
//!    └─ turn
//!       └─ chat gpt-4o
//!          └─ http_client          its id is in the `traceparent` that the model's server gets
//! ```

mod agent;
mod client;
mod model;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use reqwest::header::HeaderMap;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

use crate::model::Model;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let resource = Resource::builder().with_service_name("tracing-opentelemetry-example").build();
    let mut provider = SdkTracerProvider::builder().with_resource(resource);
    if let Some(console) = tracing_genai::console_from_env() {
        provider = provider.with_span_processor(console);
    }
    let provider = provider.build();
    subscriber(provider.tracer("agent")).init();

    let asked = timeout(Duration::from_secs(30), ask("What time is it?", HeaderMap::new())).await??;
    writeln!(io::stdout(), "agent: {}\nmodel: called with traceparent {}", asked.answer, asked.traceparent)?;
    provider.shutdown()?;
    Ok(())
}

/// The service's own setup, but for `tracing_genai::tracer`.
fn subscriber(tracer: SdkTracer) -> impl Subscriber + Send + Sync {
    let opentelemetry = tracing_opentelemetry::layer().with_tracer(tracing_genai::tracer(tracer));
    tracing_subscriber::registry().with(opentelemetry.with_filter(LevelFilter::INFO))
}

/// What came of one request.
#[derive(Debug)]
struct Asked {
    answer: String,
    /// The header that the model's server got.
    traceparent: String,
}

/// Starts both servers, asks the agent once, with these headers, and stops them.
async fn ask(question: &'static str, headers: HeaderMap) -> Result<Asked, Box<dyn Error>> {
    let model = Model::default();
    let (model_url, model_server) = Server::start(model.router()).await?;
    let (agent_url, agent_server) = Server::start(agent::router(model_url)).await?;

    let caller = reqwest::Client::builder().no_proxy().build()?;
    let request = caller.post(agent_url).headers(headers).body(question);
    let answer = request.send().await?.error_for_status()?.text().await?;

    // A span ends with its request, which is a moment after the caller has the answer.
    agent_server.stop().await?;
    model_server.stop().await?;
    Ok(Asked { answer, traceparent: model.traceparent().ok_or("the model was not called")? })
}

/// A server on a port of its own.
struct Server {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(router: axum::Router) -> io::Result<(String, Self)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        let until_stopped = async { stopped.await.unwrap_or_default() };
        let serve = axum::serve(listener, router).with_graceful_shutdown(until_stopped);
        Ok((url, Self { stop, task: tokio::spawn(serve.into_future()) }))
    }

    async fn stop(self) -> Result<(), Box<dyn Error>> {
        let _ = self.stop.send(());
        Ok(self.task.await??)
    }
}
