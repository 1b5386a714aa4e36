//! A counter and chat application as a state machine: `OTEL_CONSOLE_EXPORT=true cargo run --example state_machine`.
//!
//! Each run is a `workflow` span and a trace of its own, each state that it passes through a `step`. The spans of the
//! program's own, `look_up` and `write_file`, are exported where they are opened. `research` has two parallel branches;
//! the second run fails in `save`, and says so where it failed and in its end reason. This is what is exported:
//!
//! ```text
//! invoke_workflow counter_chat     voice.workflow.id=run-1 voice.end_reason=completed
//! ├─ step prompt                   voice.step.sequence=0
//! ├─ step count                    voice.step.sequence=1
//! ├─ step count                    voice.step.sequence=2
//! ├─ step count                    voice.step.sequence=3
//! ├─ step research                 voice.step.sequence=4
//! │  ├─ look_up
//! │  │  └─ chat gpt-4o-mini
//! │  └─ look_up
//! │     └─ retrieval encyclopedia
//! ├─ step answer                   voice.step.sequence=5
//! │  └─ chat gpt-4o                gen_ai.response.time_to_first_chunk=0.01
//! └─ step save                     voice.step.sequence=6
//!    └─ write_file
//! invoke_workflow counter_chat     voice.workflow.id=run-2 voice.end_reason=error
//! ├─ …
//! └─ step save                     error.type=storage_full
//!    └─ write_file                 error.type=storage_full
//! ```

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::time::sleep;
use tracing::field::Empty;
use tracing::{Instrument, Span, info, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut provider = SdkTracerProvider::builder();
    if let Some(console) = tracing_genai::console_from_env() {
        provider = provider.with_span_processor(console);
    }
    let provider = provider.build();
    let genai = tracing_genai::GenAi::from_env().with_other_spans(true);
    let layer = genai.layer(provider.tracer("state-machine"));
    tracing_subscriber::registry().with(layer.with_filter(LevelFilter::INFO)).init();

    for (id, disk) in [("run-1", Disk { is_full: false }), ("run-2", Disk { is_full: true })] {
        let workflow = info_span!("workflow", workflow = "counter_chat", workflow_id = id, partition = "demo");
        match run(&disk).instrument(workflow).await {
            Ok(state) => say(&format!("{id}: {} after {}", state.answer, state.counter)),
            Err(error) => say(&format!("{id}: failed: {error}")),
        }
    }
    provider.shutdown()?;
    Ok(())
}

/// What the application knows.
#[derive(Debug, Default)]
struct State {
    input: String,
    counter: u32,
    findings: Vec<String>,
    answer: String,
}

/// Where it can be.
#[derive(Debug, Clone, Copy)]
enum Step {
    Prompt,
    Count,
    Research,
    Answer,
    Save,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Count => "count",
            Self::Research => "research",
            Self::Answer => "answer",
            Self::Save => "save",
        }
    }

    /// The transition table.
    fn next(self, state: &State) -> Option<Self> {
        match self {
            Self::Prompt => Some(Self::Count),
            Self::Count if state.counter < 3 => Some(Self::Count),
            Self::Count => Some(Self::Research),
            Self::Research => Some(Self::Answer),
            Self::Answer => Some(Self::Save),
            Self::Save => None,
        }
    }
}

/// Goes from step to step until there is none, or one fails.
async fn run(disk: &Disk) -> Result<State, StorageFull> {
    let mut state = State::default();
    let mut next = Some(Step::Prompt);
    while let Some(step) = next {
        // The state is content: it is not exported unless that is asked for.
        let span = info_span!("step", step = step.name(), state = ?state, error = Empty);
        let done = take(step, &mut state, disk).instrument(span.clone()).await;
        if let Err(error) = done {
            span.record("error", StorageFull::TYPE);
            return Err(error);
        }
        next = step.next(&state);
    }
    Ok(state)
}

async fn take(step: Step, state: &mut State, disk: &Disk) -> Result<(), StorageFull> {
    match step {
        Step::Prompt => "How far is the moon?".clone_into(&mut state.input),
        Step::Count => state.counter += 1,
        Step::Research => {
            // Two branches of one task: each is in its own span whenever it goes on, and never in the other's.
            let model = ask_model(&state.input).instrument(info_span!("look_up", source = "model"));
            let book = async {
                sleep(Duration::from_millis(10)).await;
                look_up_book().instrument(info_span!("look_up", source = "book")).await
            };
            let (model, book) = tokio::join!(model, book);
            state.findings = vec![model, book];
        }
        Step::Answer => state.answer = answer(&state.findings).await,
        Step::Save => disk.write(&state.answer)?,
    }
    Ok(())
}

async fn ask_model(question: &str) -> String {
    let llm = info_span!("llm", provider = "openai", model = "gpt-4o-mini", prompt = question);
    async {
        sleep(Duration::from_millis(30)).await;
        "far".to_owned()
    }
    .instrument(llm)
    .await
}

async fn look_up_book() -> String {
    let retrieval = info_span!("retrieval", data_source = "encyclopedia", top_k = 1);
    async {
        sleep(Duration::from_millis(30)).await;
        "384,400 km".to_owned()
    }
    .instrument(retrieval)
    .await
}

/// A model that streams: the first token is a moment of its span.
async fn answer(findings: &[String]) -> String {
    let llm = info_span!("llm", provider = "openai", model = "gpt-4o", stream = true, output_tokens = Empty);
    async {
        let mut answer = String::new();
        for (token, finding) in findings.iter().enumerate() {
            sleep(Duration::from_millis(10)).await;
            if token == 0 {
                info!("first_token");
            }
            answer.push_str(finding);
            answer.push(' ');
        }
        Span::current().record("output_tokens", findings.len());
        answer.trim_end().to_owned()
    }
    .instrument(llm)
    .await
}

struct Disk {
    is_full: bool,
}

impl Disk {
    fn write(&self, text: &str) -> Result<(), StorageFull> {
        let span = info_span!("write_file", bytes = text.len(), error = Empty).entered();
        if self.is_full {
            span.record("error", StorageFull::TYPE);
            return Err(StorageFull);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct StorageFull;

impl StorageFull {
    /// Its `error.type`.
    const TYPE: &str = "storage_full";
}

impl fmt::Display for StorageFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no room on the disk")
    }
}

impl Error for StorageFull {}

fn say(line: &str) {
    // A reader that goes away (`| head -1`) is no reason to stop; `println!` would panic.
    let _ = writeln!(io::stdout(), "{line}");
}
