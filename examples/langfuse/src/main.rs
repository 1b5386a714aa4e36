//! A help desk, to look at in Langfuse. The README says which variables it takes.
//!
//! ```text
//! conversation                     the trace `help-desk`, of user u-7, in the session call-7
//! ├─ turn                          an agent
//! │  ├─ speech_to_text nova-3      a generation: what the user said, without the e-mail address
//! │  ├─ chat gpt-4o-mini           a generation: messages, tokens, cost, time to first token
//! │  ├─ execute_tool find_order    a tool: arguments and result
//! │  ├─ chat gpt-4o-mini
//! │  └─ text_to_speech sonic-2     a generation: what was spoken, and its cost
//! └─ turn
//!    └─ …
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use tracing::{info, info_span};
use tracing_genai::{Content, Dialect, GenAi, Price, Prices, Telemetry, redact};
use tracing_subscriber::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let prices = Prices::new()
        .with(Price::of("openai", "gpt-4o-mini*").with_input(0.15).with_cache_read(0.075).with_output(0.60))
        .with(Price::of("cartesia", "sonic-2").with_million_characters(40.0));
    let genai = GenAi::from_env()
        .with_dialect(Dialect::Langfuse)
        // Langfuse is there to read what was said; what nobody must read goes before it leaves.
        .with_content(Content::Spans)
        .with_redaction(|_field, text| redact::all(text))
        // Speech has a price too, which Langfuse does not know.
        .with_prices(prices);
    let telemetry = Telemetry::from_env()?.with_options(genai);
    tracing_subscriber::registry().with(telemetry.layer()).init();
    help()?;

    // A program that ends waits for what it sent.
    let sent = telemetry.shutdown(Duration::from_secs(10))?.otlp;
    writeln!(io::stdout(), "{} of {} spans were sent", sent.exported, sent.ended)?;
    Ok(())
}

fn help() -> io::Result<()> {
    let conversation =
        info_span!("conversation", conversation_id = "call-7", user_id = "u-7", agent = "help-desk").entered();
    let question = "Where is my order? I am anna@example.com.";
    info_span!("turn").in_scope(|| {
        hear(question)?;
        think(question, r#"[{"role":"assistant","tool_calls":[{"id":"t-1","function":{"name":"find_order"}}]}]"#);
        find_order();
        think(question, "It comes tomorrow.");
        speak("It comes tomorrow.")
    })?;
    info_span!("turn").in_scope(|| {
        hear("Thank you!")?;
        think("Thank you!", "You are welcome.");
        speak("You are welcome.")
    })?;
    drop(conversation);
    Ok(())
}

fn hear(transcript: &str) -> io::Result<()> {
    let _stt = info_span!("stt", provider = "deepgram", model = "nova-3", transcript, audio_ms = 1_900).entered();
    wait(40);
    writeln!(io::stdout(), "user:  {transcript}")
}

fn think(prompt: &str, completion: &str) {
    let _llm = info_span!(
        "llm",
        provider = "openai",
        model = "gpt-4o-mini",
        prompt,
        completion,
        input_tokens = 320,
        cache_read_tokens = 256,
        output_tokens = 18,
    )
    .entered();
    wait(80);
    info!("first_token");
    wait(40);
}

fn find_order() {
    let arguments = r#"{"customer":"anna@example.com"}"#;
    let _tool = info_span!("tool", tool = "find_order", arguments, result = r#"{"arrives":"tomorrow"}"#).entered();
    wait(30);
}

fn speak(text: &str) -> io::Result<()> {
    let _tts = info_span!("tts", provider = "cartesia", model = "sonic-2", text).entered();
    wait(40);
    info!("first_audio");
    writeln!(io::stdout(), "agent: {text}")
}

fn wait(ms: u64) {
    sleep(Duration::from_millis(ms));
}
