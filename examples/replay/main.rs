//! Replays a recording of a voice program through `tracing`'s macros:
//!
//! ```text
//! OTEL_CONSOLE_EXPORT=true cargo run --example replay -- examples/recordings/two-turns.jsonl
//! ```
//!
//! | option | |
//! |---|---|
//! | `--speed X` | X times as fast as recorded, which is the default |
//! | `--parents explicit` | a service's span names its parent (`parent: &turn`); the default |
//! | `--parents entered` | a service's task runs inside the parent, the macro names none |
//! | `--parents ids` | a service knows nothing but its `conversation_id` |
//! | `--turns spans` | the recording's turns are spans; the default |
//! | `--turns events` | they are not: only the speaking events tell of them |
//! | `--dialect D` | `pipecat`, `openinference`, `langfuse` or `mlflow`, see `DIALECTS.md`; may be given several times |
//! | `--prices FILE` | what calls cost, such as `examples/prices.toml` |
//!
//! `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true` shows what was said.
//!
//! The conversation and its turns are kept where the recording is read, each stt, llm, tts and tool span in a task of
//! its own. What is exported, for `two-turns.jsonl` and `--parents explicit` or `entered`:
//!
//! ```text
//! conversation
//! ├─ turn
//! │  ├─ speech_to_text gpt-transcribe
//! │  ├─ chat gpt-4o-mini                 gen_ai.response.time_to_first_chunk=0.2417
//! │  └─ text_to_speech gpt-4o-mini-tts
//! └─ turn
//!    ├─ speech_to_text gpt-transcribe
//!    ├─ chat gpt-4o-mini-2024-07-18      gen_ai.response.time_to_first_chunk=0.1540
//!    └─ text_to_speech gpt-4o-mini-tts
//! ```

mod player;
mod recording;
mod spans;

use std::env;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use tracing_genai::{Dialect, GenAi, Prices, Telemetry};
use tracing_subscriber::prelude::*;

use player::Parents;
use recording::Recording;

const USAGE: &str = "usage: replay FILE [--speed X] [--parents explicit|entered|ids] [--turns spans|events] \
                     [--dialect pipecat|openinference|langfuse|mlflow]... [--prices FILE]";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(env::args().skip(1))?;
    let mut recording = Recording::read(&options.file)?.at_speed(options.speed)?;
    if options.turns == Turns::Events {
        recording = recording.without_turns();
    }
    let mut genai = options.dialects.into_iter().fold(GenAi::from_env(), GenAi::with_dialect);
    if let Some(prices) = options.prices {
        genai = genai.with_prices(Prices::from_file(prices)?);
    }
    let telemetry = Telemetry::from_env()?.with_options(genai);
    tracing_subscriber::registry().with(telemetry.layer()).init();

    let (file, actions, seconds) = (&options.file, recording.len(), recording.duration().as_secs_f64());
    // A reader that goes away (`| head -1`) is no reason to stop; `println!` would panic.
    let _ = writeln!(io::stdout(), "replaying {file}: {actions} actions in {seconds:.1} s");
    // A thread of its own, which sleeps to the point: the runtime's timer has whole milliseconds.
    let mut tasks = tokio::task::spawn_blocking(move || player::play(recording, options.parents)).await??;
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    Ok(())
}

struct Options {
    file: String,
    speed: f64,
    parents: Parents,
    turns: Turns,
    dialects: Vec<Dialect>,
    prices: Option<String>,
}

#[derive(PartialEq)]
enum Turns {
    Spans,
    Events,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Complaint> {
        let (mut file, mut speed, mut parents, mut turns) = (None, 1.0, Parents::Explicit, Turns::Spans);
        let (mut dialects, mut prices) = (Vec::new(), None);
        while let Some(argument) = arguments.next() {
            if !argument.starts_with("--") {
                if file.replace(argument).is_some() {
                    return Err(Complaint(format!("one file at a time; {USAGE}")));
                }
                continue;
            }
            let value = arguments.next().unwrap_or_default();
            match (argument.as_str(), value.as_str()) {
                ("--speed", number) => {
                    let given = number.parse().ok().filter(|speed| (0.001..=1_000_000.0).contains(speed));
                    speed = given.ok_or_else(|| Complaint(format!("no speed: {number:?}; {USAGE}")))?;
                }
                ("--parents", "explicit") => parents = Parents::Explicit,
                ("--parents", "entered") => parents = Parents::Entered,
                ("--parents", "ids") => parents = Parents::Ids,
                ("--turns", "spans") => turns = Turns::Spans,
                ("--turns", "events") => turns = Turns::Events,
                ("--dialect", "pipecat") => dialects.push(Dialect::Pipecat),
                ("--dialect", "openinference") => dialects.push(Dialect::OpenInference),
                ("--dialect", "langfuse") => dialects.push(Dialect::Langfuse),
                ("--dialect", "mlflow") => dialects.push(Dialect::Mlflow),
                ("--prices", file) if !file.is_empty() => prices = Some(file.to_owned()),
                _ => return Err(Complaint(format!("no such option: {argument} {value}; {USAGE}"))),
            }
        }
        let file = file.ok_or_else(|| Complaint(format!("no file; {USAGE}")))?;
        Ok(Self { file, speed, parents, turns, dialects, prices })
    }
}

/// What is wrong with the options or the recording. `main` shows its `Debug`, so that is the message itself.
struct Complaint(String);

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Complaint {}
