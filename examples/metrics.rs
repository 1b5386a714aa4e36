//! A voice agent that Prometheus scrapes:
//!
//! ```text
//! OTEL_METRICS_EXPORTER=prometheus cargo run --features prometheus --example metrics -- --port 9464 --seconds 60
//! curl http://127.0.0.1:9464/metrics
//! ```
//!
//! Simulated callers talk with it all the while, three at a time: calls that are priced by `examples/prices.toml`, a user
//! who talks over the answer, a model that fails, a caller who hangs up. Each second user waits 160 ms and the others 320 ms
//! for the agent, so that the quantiles are known. `examples/grafana` has the dashboard for it.

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{info, info_span};
use tracing_genai::{GenAi, METRICS_CONTENT_TYPE, Prices, Telemetry};
use tracing_subscriber::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let (port, seconds) = (option("--port", 9_464)?, option("--seconds", 60)?);
    let prices = Prices::from_file(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/prices.toml"))?;
    let genai = GenAi::from_env().with_prices(prices).with_metric_attributes(["feature"]);
    let telemetry = Arc::new(Telemetry::from_env()?.with_options(genai));
    if telemetry.metrics_page().is_none() {
        return Err("nothing is measured: set OTEL_METRICS_EXPORTER=prometheus".into());
    }
    tracing_subscriber::registry().with(telemetry.layer()).init();

    let listener = TcpListener::bind(("127.0.0.1", u16::try_from(port)?))?;
    writeln!(io::stdout(), "metrics at http://{}/metrics for {seconds} s", listener.local_addr()?)?;
    let page = Arc::clone(&telemetry);
    thread::spawn(move || {
        for visit in listener.incoming().flatten() {
            // Who hangs up has read enough.
            let _ = answer(visit, &page.metrics_page().unwrap_or_default());
        }
    });

    let end = Instant::now() + Duration::from_secs(seconds);
    let callers = (0..3).map(|caller| {
        thread::spawn(move || {
            for call in (0_u64..).take_while(|_| Instant::now() < end) {
                conversation(caller * 1_000_000 + call);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.join().map_err(|_| "a caller panicked")?;
    }
    Ok(())
}

/// One call: an answer, one that the user talks over, a model that fails and is asked again, and a hang-up.
fn conversation(number: u64) {
    let feature = if number % 2 == 0 { "booking" } else { "support" };
    let id = format!("c-{number}");
    let conversation = info_span!("conversation", conversation_id = id, agent = "concierge", feature).entered();
    for turn in 0..4 {
        // Not the end of the world: a conversation that is hung up on has no span that says so.
        let _turn = info_span!("turn", interrupted = turn == 1).entered();
        info!("user_started_speaking");
        wait(20);
        drop(info_span!("stt", provider = "deepgram", model = "nova-3", audio_ms = 2_000, ttfb_ms = 20));
        info!("user_stopped_speaking");
        if turn == 2 {
            drop(info_span!("llm", provider = "openai", model = "gpt-4o", error_type = "rate_limit"));
        }
        let begun = Instant::now();
        {
            let _llm = info_span!("llm", provider = "openai", model = "gpt-4o", input_tokens = 240, output_tokens = 40)
                .entered();
            wait(40);
            info!("first_token");
            wait(20);
        }
        {
            let _tool = info_span!("tool", tool = "calendar").entered();
            wait(20);
        }
        let _tts =
            info_span!("tts", provider = "cartesia", model = "sonic-2", text = "You are booked for nine.").entered();
        wait(30);
        info!("first_audio");
        let answered_after = Duration::from_millis(if turn % 2 == 0 { 160 } else { 320 });
        thread::sleep(answered_after.saturating_sub(begun.elapsed()));
        info!("bot_started_speaking");
        wait(20);
        info!("bot_stopped_speaking");
    }
    let _run = info_span!("agent", agent = "summarizer").entered();
    drop(info_span!("workflow", workflow = "follow_up"));
    drop(conversation);
}

fn wait(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

/// The page, or that there is none.
fn answer(mut visit: TcpStream, page: &str) -> io::Result<()> {
    let mut asked = String::new();
    BufReader::new(visit.try_clone()?).read_line(&mut asked)?;
    let (status, body) = if asked.starts_with("GET /metrics ") { ("200 OK", page) } else { ("404 Not Found", "") };
    let length = body.len();
    write!(
        visit,
        "HTTP/1.1 {status}\r\nContent-Type: {METRICS_CONTENT_TYPE}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// The number behind an option.
fn option(name: &str, default: u64) -> Result<u64, Box<dyn Error>> {
    let mut arguments = env::args().skip_while(|argument| argument != name).skip(1);
    Ok(arguments.next().map_or(Ok(default), |value| value.parse())?)
}
