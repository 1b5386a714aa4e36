//! The agent: an HTTP server whose spans are in the conversation and the turn of its caller.

use std::io::{self, Write};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry::Context;
use opentelemetry::context::FutureExt;
use tokio::io::{AsyncReadExt, stdin};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::{Instrument, info, info_span};

use crate::propagation::{CONVERSATION, TURN, context, entry};

/// Serves on a port of its own, which it prints, until its input ends.
pub(crate) async fn run() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    let input_ends = async {
        let _ = stdin().read_to_end(&mut Vec::new()).await;
    };
    serve(listener, input_ends).await
}

pub(crate) async fn serve(listener: TcpListener, until: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let router = Router::new().route("/", post(handle));
    axum::serve(listener, router).with_graceful_shutdown(until).await
}

/// The middleware of a real service would attach the caller's context, once for all handlers.
async fn handle(headers: HeaderMap, question: String) -> String {
    answer(question).with_context(context(&headers)).await
}

async fn answer(question: String) -> String {
    let caller = Context::current();
    let agent = info_span!(
        "agent",
        agent = "concierge",
        conversation_id = entry(&caller, CONVERSATION),
        turn_number = entry(&caller, TURN),
    );
    complete(question).instrument(agent).await
}

/// Simulated.
async fn complete(prompt: String) -> String {
    let llm = info_span!("llm", provider = "openai", model = "gpt-4o", prompt, output_tokens = 5);
    let answer = async {
        sleep(Duration::from_millis(5)).await;
        info!("first_token");
        "From nine to five.".to_owned()
    };
    answer.instrument(llm).await
}
