//! A speech-to-speech session: audio in, audio out, one model and nothing in between.
//!
//! Only the server is simulated: it plays the model, and the caller whom it hears. The client has the spans and opens
//! no `turn`: it says who starts and stops to speak, and the turns come of that. The second answer takes a tool, the
//! third is talked over. `OTEL_CONSOLE_EXPORT=true cargo run --example realtime` prints:
//!
//! ```text
//! conversation                         session.voice=marin voice.turn.count=4 voice.interruption.count=1
//! ├─ turn                              voice.end_reason=completed voice.user_to_agent_latency=0.15
//! │  └─ generate_content gpt-realtime  gen_ai.usage.audio.output_tokens=5 gen_ai.response.time_to_first_chunk=0.15
//! ├─ turn                              voice.end_reason=completed voice.user_to_agent_latency=0.42
//! │  ├─ generate_content gpt-realtime  gen_ai.usage.audio.output_tokens=0
//! │  │  └─ execute_tool get_weather
//! │  └─ generate_content gpt-realtime  gen_ai.usage.audio.output_tokens=5 gen_ai.response.time_to_first_chunk=0.15
//! ├─ turn                              voice.end_reason=interrupted voice.interruption.source=user
//! │  └─ generate_content gpt-realtime  voice.interrupted=true voice.playout.position=0.21
//! └─ turn                              voice.end_reason=completed
//!    └─ generate_content gpt-realtime  gen_ai.usage.audio.output_tokens=3 gen_ai.response.time_to_first_chunk=0.15
//! ```

use std::io::{self, Write};
use std::{error::Error, mem::replace, time::Duration};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{Instrument, Span, field::Empty, info, info_span};
use tracing_subscriber::prelude::*;

const CONVERSATION_ID: &str = "s-11";
/// What one delta of audio takes to play; it is sent in a third of that.
const DELTA: Duration = Duration::from_millis(60);
type Done = Result<(), Box<dyn Error + Send + Sync>>;

enum ServerEvent {
    SpeechStarted,
    SpeechStopped,
    ResponseCreated,
    AudioDelta,
    ToolCall { tool: &'static str, call_id: &'static str },
    ResponseDone { usage: [(&'static str, u64); 5] },
}

#[tokio::main]
async fn main() -> Done {
    let telemetry = tracing_genai::Telemetry::from_env()?;
    tracing_subscriber::registry().with(telemetry.layer()).init();
    let (to_client, events) = unbounded_channel();
    let (output, tool_results) = unbounded_channel();
    let session = info_span!(
        "conversation",
        conversation_id = CONVERSATION_ID,
        agent = "concierge",
        session.voice = "marin",
        session.turn_detection = "server_vad",
        session.modalities = "audio",
    );
    let client = tokio::spawn(client(session, events, output));
    let server = tokio::spawn(Server { to_client, tool_results, heard_tokens: 0, unfinished_deltas: None }.run());
    server.await??;
    client.await?
}

async fn client(session: Span, mut events: UnboundedReceiver<ServerEvent>, output: UnboundedSender<String>) -> Done {
    let (mut response, mut is_audible) = (Span::none(), false);
    // Since when the speaker plays, and how long what it has will last.
    let mut playing: Option<(Instant, Instant)> = None;
    loop {
        let event = tokio::select! {
            Some(event) = events.recv() => event,
            () = sleep_until(playing.map_or_else(Instant::now, |(_, until)| until)), if playing.is_some() => {
                playing = None;
                info!(parent: &session, "bot_stopped_speaking");
                continue;
            }
            else => return Ok(()),
        };
        match event {
            ServerEvent::SpeechStarted => {
                info!(parent: &session, "user_started_speaking");
                let Some((since, _)) = playing.take() else { continue };
                info!(parent: &session, "bot_stopped_speaking");
                // The server cancels the response. If it was done already, its span is none, and this says nothing.
                info!(parent: &response, "interrupted");
                response.record("playout_ms", since.elapsed().as_millis());
            }
            ServerEvent::SpeechStopped => info!(parent: &session, "user_stopped_speaking"),
            ServerEvent::ResponseCreated => (response, is_audible) = (open_response(), false),
            ServerEvent::AudioDelta => {
                if !replace(&mut is_audible, true) {
                    info!(parent: &response, "first_audio");
                }
                let (since, until) = playing.unwrap_or_else(|| {
                    info!(parent: &session, "bot_started_speaking");
                    (Instant::now(), Instant::now())
                });
                playing = Some((since, until + DELTA));
            }
            ServerEvent::ToolCall { tool, call_id } => {
                tokio::spawn(weather(output.clone()).instrument(info_span!(parent: &response, "tool", tool, call_id)));
            }
            // Its span ends here, or with its tool if that takes longer.
            ServerEvent::ResponseDone { usage } => {
                for (field, tokens) in usage {
                    response.record(field, tokens);
                }
                response = Span::none();
            }
        }
    }
}

/// No parent, and nothing around it: by its id it finds the conversation, and there the open turn.
fn open_response() -> Span {
    info_span!(
        "realtime",
        provider = "openai",
        model = "gpt-realtime",
        voice = "marin",
        conversation_id = CONVERSATION_ID,
        input_tokens = Empty,
        output_tokens = Empty,
        input_audio_tokens = Empty,
        output_audio_tokens = Empty,
        cached_audio_tokens = Empty,
        playout_ms = Empty,
    )
}

async fn weather(output: UnboundedSender<String>) -> Done {
    sleep(Duration::from_millis(120)).await;
    Ok(output.send("It is sunny.".into())?)
}

struct Server {
    to_client: UnboundedSender<ServerEvent>,
    tool_results: UnboundedReceiver<String>,
    heard_tokens: u64,
    unfinished_deltas: Option<u32>,
}

impl Server {
    async fn run(mut self) -> Done {
        self.hear("What time is it?").await?;
        self.answer("It is noon.", 5).await?;
        self.hear("And the weather?").await?;
        self.respond(0).await?;
        self.to_client.send(ServerEvent::ToolCall { tool: "get_weather", call_id: "call_1" })?;
        self.finish()?;
        let weather = self.tool_results.recv().await.unwrap_or_default();
        self.answer(&weather, 5).await?;
        self.hear("Tell me a story.").await?;
        say("agent: Once upon a time …");
        self.respond(10).await?;
        say("       (interrupted by the user)");
        self.hear("Thank you, goodbye.").await?;
        self.answer("Goodbye.", 3).await
    }

    /// The caller speaks, and thereby cancels a response that is not done.
    async fn hear(&mut self, words: &str) -> Done {
        self.to_client.send(ServerEvent::SpeechStarted)?;
        self.finish()?;
        say(&format!("user:  {words}"));
        sleep(Duration::from_millis(120)).await;
        self.heard_tokens += 12;
        Ok(self.to_client.send(ServerEvent::SpeechStopped)?)
    }

    /// A whole answer, which the caller hears to its end.
    async fn answer(&mut self, words: &str, deltas: u32) -> Done {
        say(&format!("agent: {words}"));
        self.respond(deltas).await?;
        self.finish()?;
        sleep(DELTA * deltas).await;
        Ok(())
    }

    async fn respond(&mut self, deltas: u32) -> Done {
        self.unfinished_deltas = Some(deltas);
        self.to_client.send(ServerEvent::ResponseCreated)?;
        sleep(Duration::from_millis(150)).await;
        for _ in 0..deltas {
            self.to_client.send(ServerEvent::AudioDelta)?;
            sleep(DELTA / 3).await;
        }
        Ok(())
    }

    fn finish(&mut self) -> Done {
        let Some(deltas) = self.unfinished_deltas.take() else { return Ok(()) };
        let usage = [
            ("input_tokens", 80 + self.heard_tokens),
            ("output_tokens", 16 + u64::from(deltas)),
            ("input_audio_tokens", self.heard_tokens),
            ("output_audio_tokens", deltas.into()),
            ("cached_audio_tokens", self.heard_tokens.saturating_sub(12)),
        ];
        Ok(self.to_client.send(ServerEvent::ResponseDone { usage })?)
    }
}

fn say(line: &str) {
    // A reader that goes away (`| head -1`) is no reason to stop; `println!` would panic.
    let _ = writeln!(io::stdout(), "{line}");
}
