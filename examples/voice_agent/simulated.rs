//! The world around the agent: a caller with a script, and providers that answer after seeded latencies.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, interval, sleep, sleep_until};

/// What the microphone heard in [`FRAME_MS`]: a word, or nothing.
pub(crate) type Frame = Option<&'static str>;
pub(crate) const FRAME_MS: u64 = 30;

/// How long a piece of synthesized audio sounds: a word each.
pub(crate) const CHUNK_MS: u64 = 50;

const STORY: &str = "Once upon a time a little robot lived in a lighthouse by the cold grey northern sea. \
                     Every evening it lit the lamp and counted the ships that came home from far away. \
                     One night there was one ship more than had ever left the harbour in all those years.";

/// Asks, listens, talks over the second answer, and hangs up after the third.
pub(crate) async fn caller(microphone: mpsc::Sender<Frame>, mut agent: watch::Receiver<bool>) {
    let mut line = Line { microphone, frames: interval(Duration::from_millis(FRAME_MS)) };
    line.listen(sleep(Duration::from_millis(100))).await;
    line.say("What is the weather in Paris?").await;
    line.listen(until_answered(&mut agent)).await;
    line.listen(sleep(Duration::from_millis(150))).await;
    line.say("Tell me a story.").await;
    line.listen(until(&mut agent, true)).await;
    line.listen(sleep(Duration::from_millis(300))).await;
    line.say("Stop, thank you.").await;
    line.listen(until_answered(&mut agent)).await;
}

async fn until_answered(agent: &mut watch::Receiver<bool>) {
    for speaks in [false, true, false] {
        until(agent, speaks).await;
    }
}

async fn until(agent: &mut watch::Receiver<bool>, speaks: bool) {
    // It fails when the agent is gone, and then there is nothing to wait for.
    let _ = agent.wait_for(|now| *now == speaks).await;
}

/// Open all the time, whether the caller speaks or not.
struct Line {
    microphone: mpsc::Sender<Frame>,
    frames: Interval,
}

impl Line {
    async fn say(&mut self, text: &'static str) {
        for word in text.split(' ') {
            self.frame(Some(word)).await;
        }
    }

    async fn listen(&mut self, event: impl Future<Output = ()>) {
        let mut event = std::pin::pin!(event);
        loop {
            tokio::select! {
                () = &mut event => return,
                () = self.frame(None) => {}
            }
        }
    }

    async fn frame(&mut self, frame: Frame) {
        self.frames.tick().await;
        // It fails when the agent is gone, and then nobody listens.
        let _ = self.microphone.send(frame).await;
    }
}

/// What a provider streams: one item after the other, each when its time has come.
pub(crate) struct Stream<T> {
    items: std::vec::IntoIter<T>,
    due: Instant,
    pace: Duration,
}

impl<T> Stream<T> {
    fn new(items: Vec<T>, first: Duration, pace: Duration) -> Self {
        Self { items: items.into_iter(), due: Instant::now() + first, pace }
    }

    pub(crate) async fn next(&mut self) -> Option<T> {
        sleep_until(self.due).await;
        self.due += self.pace;
        self.items.next()
    }
}

pub(crate) struct Deepgram(StdRng);
pub(crate) struct OpenAi(StdRng);
pub(crate) struct Cartesia(StdRng);

pub(crate) enum Token {
    First,
    Text(&'static str),
    Call(ToolCall),
    Last { input_tokens: usize, output_tokens: usize, finish_reason: &'static str },
}

pub(crate) struct ToolCall {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static str,
}

impl Deepgram {
    pub(crate) fn connect() -> Self {
        Self(StdRng::seed_from_u64(1))
    }

    pub(crate) async fn finish(&mut self, words: &[&str]) -> (String, f64) {
        sleep(latency(&mut self.0, 70)).await;
        (words.join(" "), self.0.random_range(0.9..1.0))
    }
}

impl OpenAi {
    pub(crate) fn connect() -> Self {
        Self(StdRng::seed_from_u64(2))
    }

    pub(crate) fn chat(&mut self, messages: &[Value]) -> Stream<Token> {
        let prompt: String = messages.iter().map(Value::to_string).collect();
        let (answer, finish_reason) = match prompt.as_str() {
            asked if asked.contains("temp_c") => ("It is 21 degrees in Paris. Take a light coat.", "stop"),
            asked if asked.contains("weather") => ("", "tool_calls"),
            asked if asked.contains("story") => (STORY, "stop"),
            _ => ("You are welcome, goodbye!", "stop"),
        };
        let mut tokens = vec![Token::First];
        if finish_reason == "tool_calls" {
            let call = ToolCall { id: "call_1", name: "get_weather", arguments: r#"{"city":"Paris"}"# };
            tokens.push(Token::Call(call));
        }
        tokens.extend(answer.split_inclusive(' ').map(Token::Text));
        tokens.push(Token::Last { input_tokens: prompt.len() / 4, output_tokens: tokens.len(), finish_reason });
        Stream::new(tokens, latency(&mut self.0, 120), Duration::from_millis(20))
    }
}

impl Cartesia {
    pub(crate) fn connect() -> Self {
        Self(StdRng::seed_from_u64(3))
    }

    pub(crate) fn speak(&mut self, text: &str) -> Stream<()> {
        let chunks = vec![(); text.split(' ').count()];
        Stream::new(chunks, latency(&mut self.0, 80), Duration::from_millis(CHUNK_MS * 4 / 5))
    }
}

pub(crate) async fn get_weather() -> String {
    sleep(Duration::from_millis(100)).await;
    r#"{"temp_c":21}"#.into()
}

fn latency(rng: &mut StdRng, usual_ms: u64) -> Duration {
    Duration::from_millis(rng.random_range(usual_ms * 9 / 10..=usual_ms * 11 / 10))
}
