//! A live voice agent: `cargo run --example voice_agent`, with `OTEL_CONSOLE_EXPORT=true` to see its spans. An argument,
//! `openinference`, `langfuse` or `mlflow`, is a dialect (`DIALECTS.md`).
//!
//! It has the usual shape: microphone → turn taking → stt → llm → tts → speaker, each a task of its own for as long as
//! the conversation lasts, connected by channels. What passes through a channel carries its turn, and with it the
//! turn's span, so that each service opens its own span below the turn it works for, with `tracing`'s own macros.
//! The providers and the caller are simulated (`simulated.rs`); the tasks, the channels and the barge-in are real.
//!
//! The caller asks for the weather (one tool call between two llm calls), then for a story, and talks over it. This is
//! what is exported:
//!
//! ```text
//! conversation
//! ├─ turn                            voice.turn.number=1 voice.end_reason=completed
//! │  ├─ speech_to_text nova-3
//! │  ├─ chat gpt-4o                  gen_ai.response.finish_reasons=["tool_calls"]
//! │  ├─ execute_tool get_weather
//! │  ├─ chat gpt-4o                  gen_ai.response.finish_reasons=["stop"]
//! │  ├─ text_to_speech sonic-2       the first sentence
//! │  └─ text_to_speech sonic-2       the second one
//! ├─ turn                            voice.turn.number=2 voice.end_reason=interrupted voice.interrupted=true
//! │  ├─ speech_to_text nova-3
//! │  ├─ chat gpt-4o                  voice.interrupted=true
//! │  └─ text_to_speech sonic-2       voice.interrupted=true
//! └─ turn                            voice.turn.number=3 voice.end_reason=completed
//!    ├─ speech_to_text nova-3
//!    ├─ chat gpt-4o
//!    └─ text_to_speech sonic-2
//! ```

mod services;
mod simulated;
mod turn;

use std::env;
use std::error::Error;
use std::io::{self, Write};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::field::Empty;
use tracing::{Span, info, info_span};
use tracing_genai::{Dialect, GenAi, Prices, Telemetry};
use tracing_subscriber::prelude::*;

use simulated::{FRAME_MS, Frame};
use turn::{Turn, Work};

/// Room in each channel: more than a turn ever needs, so that only the services' own speed shows in their spans.
const QUEUE: usize = 256;

/// Silence that ends an utterance.
const SILENT_FRAMES: u64 = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let genai = GenAi::from_env().with_prices(Prices::from_toml(include_str!("../prices.toml"))?);
    let genai = env::args().skip(1).filter_map(|name| dialect(&name)).fold(genai, GenAi::with_dialect);
    let telemetry = Telemetry::from_env()?.with_options(genai);
    tracing_subscriber::registry().with(telemetry.layer()).init();

    let conversation = info_span!("conversation", conversation_id = "c-42", agent = "concierge");
    let (microphone, frames) = mpsc::channel(QUEUE);
    let (to_stt, utterances) = mpsc::channel(QUEUE);
    let (to_llm, transcripts) = mpsc::channel(QUEUE);
    let (to_tts, answers) = mpsc::channel(QUEUE);
    let (to_speaker, playbacks) = mpsc::channel(QUEUE);
    let (audible, heard) = watch::channel(false);

    let mut tasks = JoinSet::new();
    tasks.spawn(simulated::caller(microphone, heard));
    tasks.spawn(take_turns(conversation, frames, to_stt));
    tasks.spawn(services::stt(utterances, to_llm));
    tasks.spawn(services::llm(transcripts, to_tts));
    tasks.spawn(services::tts(answers, to_speaker));
    tasks.spawn(services::speaker(playbacks, audible));
    // The caller hangs up, and channel by channel the others have nothing left to do.
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    Ok(())
}

/// Hears when the caller starts and stops to speak: opens the turns, and ends the one that is talked over.
async fn take_turns(conversation: Span, mut frames: mpsc::Receiver<Frame>, to_stt: mpsc::Sender<Work<Frame>>) {
    let mut current: Option<Turn> = None;
    let mut utterance: Option<mpsc::Sender<Frame>> = None;
    let mut silent_frames = 0;

    while let Some(frame) = frames.recv().await {
        // A span lasts as long as somebody holds it.
        current.take_if(|turn| turn.has_ended());
        silent_frames = if frame.is_some() { 0 } else { silent_frames + 1 };

        if frame.is_some() && utterance.is_none() {
            // A frame arrives when it is over: that much earlier the caller began.
            info!(parent: &conversation, ms_ago = FRAME_MS, "user_started_speaking");
            if let Some(turn) = current.take() {
                turn.interrupt();
            }
            let turn = Turn::new(info_span!(
                parent: &conversation,
                "turn",
                started_ms_ago = FRAME_MS,
                interrupted = Empty,
                interruption_source = Empty,
                end_reason = Empty,
            ));
            let (speech, stream) = mpsc::channel(QUEUE);
            if to_stt.send(Work { turn: turn.clone(), stream }).await.is_err() {
                return;
            }
            (current, utterance) = (Some(turn), Some(speech));
        }
        if let Some(speech) = &utterance {
            // It fails when stt is done with the turn already, and then nobody needs the frame.
            let _ = speech.send(frame).await;
        }
        if silent_frames == SILENT_FRAMES && utterance.take().is_some() {
            info!(parent: &conversation, ms_ago = SILENT_FRAMES * FRAME_MS, "user_stopped_speaking");
        }
    }
}

fn dialect(name: &str) -> Option<Dialect> {
    match name {
        "openinference" => Some(Dialect::OpenInference),
        "langfuse" => Some(Dialect::Langfuse),
        "mlflow" => Some(Dialect::Mlflow),
        _ => None,
    }
}

fn say(line: &str) {
    // A reader that goes away (`| head -1`) is no reason to hang up; `println!` would panic.
    let _ = writeln!(io::stdout(), "{line}");
}
