//! A drive-through that takes orders, to look at in Jaeger: `OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 cargo run`.
//!
//! ```text
//! conversation                          voice.turn.count=2 voice.error.count=1 voice.interruption.count=1
//! ├─ turn                               voice.end_reason=error voice.user_to_agent_latency=0.46
//! │  ├─ speech_to_text nova-3
//! │  ├─ chat gpt-4o-mini                gen_ai.response.time_to_first_chunk=0.12
//! │  ├─ execute_tool place_order        error: the till is offline
//! │  ├─ execute_tool place_order
//! │  └─ text_to_speech sonic-2          voice.time_to_first_byte=0.06
//! └─ turn                               voice.end_reason=interrupted
//!    ├─ speech_to_text nova-3
//!    ├─ chat gpt-4o-mini
//!    └─ text_to_speech sonic-2          voice.interrupted=true
//! ```
//!
//! Nothing here is about Jaeger: where spans go, and how, is said in the environment.

use std::error::Error;
use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use tracing::field::Empty;
use tracing::{Span, info, info_span};
use tracing_genai::Telemetry;
use tracing_subscriber::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::from_env()?;
    tracing_subscriber::registry().with(telemetry.layer()).init();
    take_orders()?;

    let sent = telemetry.shutdown(Duration::from_secs(5))?.otlp;
    writeln!(io::stdout(), "{} of {} spans were sent", sent.exported, sent.ended)?;
    Ok(())
}

fn take_orders() -> io::Result<()> {
    let conversation = info_span!("conversation", conversation_id = "lane-1", agent = "drive-through").entered();
    let turn = info_span!("turn", interrupted = Empty);
    turn.in_scope(|| {
        hear("A large coffee, please.")?;
        think();
        // The tool fails, the program tries again: one red span, and a turn that says how it ended.
        order(Some("the till is offline"));
        order(None);
        speak("One large coffee. That is three dollars.", &turn)
    })?;
    drop(turn);

    let turn = info_span!("turn", interrupted = Empty);
    turn.in_scope(|| {
        hear("What else do you have?")?;
        think();
        speak("We have tea, juice, lemonade, and …", &turn)?;
        // The customer cuts in.
        turn.record("interrupted", true);
        info!("user_started_speaking");
        io::Result::Ok(())
    })?;
    drop((turn, conversation));
    Ok(())
}

fn hear(transcript: &str) -> io::Result<()> {
    info!("user_started_speaking");
    let _stt = info_span!("stt", provider = "deepgram", model = "nova-3", transcript, audio_ms = 120).entered();
    wait(120);
    info!("user_stopped_speaking");
    wait(40);
    writeln!(io::stdout(), "user:  {transcript}")
}

fn think() {
    let _llm =
        info_span!("llm", provider = "openai", model = "gpt-4o-mini", input_tokens = 180, output_tokens = 21).entered();
    wait(120);
    info!("first_token");
    wait(60);
}

fn order(error: Option<&str>) {
    let _tool = info_span!("tool", tool = "place_order", arguments = r#"{"item":"coffee"}"#, error).entered();
    wait(50);
}

fn speak(text: &str, turn: &Span) -> io::Result<()> {
    let _tts = info_span!("tts", provider = "cartesia", model = "sonic-2", text).entered();
    wait(60);
    info!("first_audio");
    info!(parent: turn, "bot_started_speaking");
    wait(80);
    writeln!(io::stdout(), "agent: {text}")
}

fn wait(ms: u64) {
    sleep(Duration::from_millis(ms));
}
