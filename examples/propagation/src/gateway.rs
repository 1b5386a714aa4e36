//! The gateway: it hears and speaks, and asks the agent what to say.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::Stdio;
use std::time::Duration;

use opentelemetry::baggage::BaggageExt;
use opentelemetry::context::FutureExt;
use opentelemetry::{Context, KeyValue};
use reqwest::Client;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use tracing::{Instrument, Span, info, info_span};
use tracing_genai::SpanExt;

use crate::AGENT;
use crate::propagation::{CONVERSATION, TENANT, TURN, headers};

const QUESTIONS: [&str; 2] = ["Are you open today?", "And on Sunday?"];

/// Starts the agent, converses, and prints what the agent printed.
pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let mut agent = Command::new(env::current_exe()?)
        .arg(AGENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut printed = BufReader::new(agent.stdout.take().ok_or("the agent has no output")?);
    let mut url = String::new();
    timeout(Duration::from_secs(30), printed.read_line(&mut url)).await??;
    // Read all the time: an agent that can't print would wait.
    let rest = tokio::spawn(async move {
        let mut rest = String::new();
        printed.read_to_string(&mut rest).await.map(|_| rest)
    });

    for (question, answer) in timeout(Duration::from_secs(30), converse(url.trim())).await?? {
        writeln!(io::stdout(), "user: {question}\nagent: {answer}")?;
    }
    // The agent ends when its input does, which waiting for it closes.
    let status = timeout(Duration::from_secs(30), agent.wait()).await??;
    write!(io::stdout(), "{}", rest.await??)?;
    if status.success() { Ok(()) } else { Err(format!("the agent failed: {status}").into()) }
}

/// One conversation, a turn for each question.
pub(crate) async fn converse(agent_url: &str) -> reqwest::Result<Vec<(&'static str, String)>> {
    let client = Client::builder().no_proxy().build()?;
    let said = async {
        let conversation = info_span!("conversation", conversation_id = "c-42");
        let mut said = Vec::new();
        for (number, question) in (1..).zip(QUESTIONS) {
            let turn = info_span!(parent: &conversation, "turn", number);
            said.push((question, take_turn(&client, agent_url, question, number).instrument(turn).await?));
        }
        Ok(said)
    };
    // What is attached when a span opens is its baggage, and that of all below.
    said.with_context(Context::new().with_baggage([KeyValue::new(TENANT, "acme")])).await
}

async fn take_turn(client: &Client, agent_url: &str, question: &str, number: i64) -> reqwest::Result<String> {
    info_span!("stt", provider = "deepgram", model = "nova-3", transcript = question).in_scope(|| ());
    let answer = ask(client, agent_url, question, number).await?;
    info_span!("tts", provider = "cartesia", model = "sonic-2", text = answer).in_scope(|| info!("first_audio"));
    Ok(answer)
}

async fn ask(client: &Client, agent_url: &str, question: &str, number: i64) -> reqwest::Result<String> {
    let context = Span::current().context();
    // Setting baggage replaces what there was.
    let carried = context.baggage().iter().map(|(key, (value, _))| KeyValue::new(key.clone(), value.clone()));
    let entries = carried.chain([KeyValue::new(CONVERSATION, "c-42"), KeyValue::new(TURN, number)]);
    let request = client.post(agent_url).headers(headers(&context.with_baggage(entries)));
    request.body(question.to_owned()).send().await?.error_for_status()?.text().await
}
