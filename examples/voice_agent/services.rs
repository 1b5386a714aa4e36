//! The agent's services. Here are the spans: each service opens one below the turn that it works for, and records what
//! it learns on the way.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::field::Empty;
use tracing::{Instrument, Span, info, info_span};

use crate::simulated::{CHUNK_MS, Cartesia, Deepgram, FRAME_MS, Frame, OpenAi, Token, ToolCall, get_weather};
use crate::turn::{Turn, Work};
use crate::{QUEUE, say};

/// Speech to text: from the frames of an utterance to its transcript.
pub(crate) async fn stt(mut utterances: mpsc::Receiver<Work<Frame>>, to_llm: mpsc::Sender<(Turn, String)>) {
    let mut deepgram = Deepgram::connect();
    while let Some(Work { turn, stream }) = utterances.recv().await {
        let span = info_span!(
            parent: &turn.span,
            "stt",
            provider = "deepgram",
            model = "nova-3",
            started_ms_ago = FRAME_MS,
            transcript = Empty,
            confidence = Empty,
            is_final = Empty,
            audio_ms = Empty,
        );
        let Some(text) = turn.unless_ended(transcribe(&mut deepgram, stream).instrument(span)).await else { continue };
        say(&format!("user:  {text}"));
        if to_llm.send((turn, text)).await.is_err() {
            return;
        }
    }
}

async fn transcribe(deepgram: &mut Deepgram, mut frames: mpsc::Receiver<Frame>) -> String {
    let mut words = Vec::new();
    let mut audio_ms = 0;
    while let Some(frame) = frames.recv().await {
        words.extend(frame);
        audio_ms += FRAME_MS;
    }
    let (transcript, confidence) = deepgram.finish(&words).await;
    let span = Span::current();
    span.record("transcript", &transcript);
    span.record("confidence", confidence);
    span.record("is_final", true);
    span.record("audio_ms", audio_ms);
    transcript
}

/// The language model: from a transcript to the sentences of an answer.
pub(crate) async fn llm(mut transcripts: mpsc::Receiver<(Turn, String)>, to_tts: mpsc::Sender<Work<String>>) {
    let mut openai = OpenAi::connect();
    while let Some((turn, transcript)) = transcripts.recv().await {
        let (sentences, stream) = mpsc::channel(QUEUE);
        if to_tts.send(Work { turn: turn.clone(), stream }).await.is_err() {
            return;
        }
        let mut messages = vec![json!({"role": "user", "content": transcript})];
        // A model that calls a tool is asked again, with the result.
        while let Some(call) = chat(&mut openai, &turn, &messages, &sentences).await {
            let Some(result) = tool(&turn, &call).await else { break };
            messages.push(json!({"role": "assistant", "tool_calls": [{"id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": call.arguments}}]}));
            messages.push(json!({"role": "tool", "tool_call_id": call.id, "content": result}));
        }
    }
}

/// One call of the model. Its answer goes on sentence by sentence, while the model still writes.
async fn chat(
    openai: &mut OpenAi,
    turn: &Turn,
    messages: &[Value],
    sentences: &mpsc::Sender<String>,
) -> Option<ToolCall> {
    let span = info_span!(
        parent: &turn.span,
        "llm",
        provider = "openai",
        model = "gpt-4o",
        stream = true,
        messages = %json!(messages),
        input_tokens = Empty,
        output_tokens = Empty,
        finish_reason = Empty,
        completion = Empty,
    );
    let answer = async {
        let span = Span::current();
        let (mut completion, mut sent, mut called) = (String::new(), 0, None);
        let mut tokens = openai.chat(messages);
        while let Some(token) = turn.unless_ended(tokens.next()).await.flatten() {
            match token {
                Token::First => info!("first_token"),
                Token::Text(text) => completion.push_str(text),
                Token::Call(call) => called = Some(call),
                Token::Last { input_tokens, output_tokens, finish_reason } => {
                    span.record("input_tokens", input_tokens);
                    span.record("output_tokens", output_tokens);
                    span.record("finish_reason", finish_reason);
                }
            }
            if let Some(sentence) = completion.get(sent..).filter(|text| text.trim_end().ends_with(['.', '!'])) {
                // It fails when the turn is over for tts, and then it is over here.
                let _ = sentences.send(sentence.trim().to_owned()).await;
                sent = completion.len();
            }
        }
        span.record("completion", completion);
        if turn.has_ended() {
            info!("interrupted");
        }
        called
    };
    answer.instrument(span).await
}

/// A tool that the model asked for.
async fn tool(turn: &Turn, call: &ToolCall) -> Option<String> {
    say(&format!("tool:  {}({})", call.name, call.arguments));
    let span = info_span!(
        parent: &turn.span,
        "tool",
        tool = call.name,
        call_id = call.id,
        arguments = call.arguments,
        result = Empty,
    );
    let result = turn.unless_ended(get_weather().instrument(span.clone())).await?;
    span.record("result", &result);
    Some(result)
}

/// Text to speech: from the sentences of an answer to its audio.
pub(crate) async fn tts(mut answers: mpsc::Receiver<Work<String>>, to_speaker: mpsc::Sender<Work<()>>) {
    let mut cartesia = Cartesia::connect();
    while let Some(Work { turn, stream: mut sentences }) = answers.recv().await {
        let (audio, stream) = mpsc::channel(QUEUE);
        if to_speaker.send(Work { turn: turn.clone(), stream }).await.is_err() {
            return;
        }
        while let Some(sentence) = turn.unless_ended(sentences.recv()).await.flatten() {
            say(&format!("agent: {sentence}"));
            let span = info_span!(
                parent: &turn.span,
                "tts",
                provider = "cartesia",
                model = "sonic-2",
                voice = "katie",
                text = sentence,
                audio_ms = Empty,
            );
            synthesize(&mut cartesia, &turn, &sentence, &audio).instrument(span).await;
        }
    }
}

async fn synthesize(cartesia: &mut Cartesia, turn: &Turn, sentence: &str, audio: &mpsc::Sender<()>) {
    let mut audio_ms = 0;
    let mut chunks = cartesia.speak(sentence);
    while let Some(chunk) = turn.unless_ended(chunks.next()).await.flatten() {
        if audio_ms == 0 {
            info!("first_audio");
        }
        audio_ms += CHUNK_MS;
        // It fails when the turn is over for the speaker, and then it is over here.
        let _ = audio.send(chunk).await;
    }
    Span::current().record("audio_ms", audio_ms);
    if turn.has_ended() {
        info!("interrupted");
    }
}

/// The speaker: plays an answer at the speed of speech, and falls silent when its turn is interrupted.
pub(crate) async fn speaker(mut answers: mpsc::Receiver<Work<()>>, audible: watch::Sender<bool>) {
    while let Some(Work { turn, mut stream }) = answers.recv().await {
        let play = async {
            while stream.recv().await.is_some() {
                if !audible.send_replace(true) {
                    info!(parent: &turn.span, "bot_started_speaking");
                }
                sleep(Duration::from_millis(CHUNK_MS)).await;
            }
        };
        let played = turn.unless_ended(play).await;
        if *audible.borrow() {
            info!(parent: &turn.span, "bot_stopped_speaking");
        }
        match played {
            Some(()) => turn.complete(),
            None => say("       (interrupted by the user)"),
        }
        audible.send_replace(false);
    }
}
