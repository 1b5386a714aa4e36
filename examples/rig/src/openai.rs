//! A server that speaks as much of OpenAI's chat completions as an agent needs: it asks for a tool where there is one that was
//! not called yet, and answers else; streamed or whole, with what that used.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// The time before each chunk.
const PACE: Duration = Duration::from_millis(5);

/// Starts it on a port of its own, for as long as the program runs, and says where it is.
pub(crate) async fn start() -> io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}/v1/", listener.local_addr()?);
    let router = Router::new().route("/v1/chat/completions", post(complete));
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(url)
}

async fn complete(Json(request): Json<Value>) -> Response {
    let messages = request.get("messages").and_then(Value::as_array);
    let is_result = |message: &Value| message.get("role").is_some_and(|role| role == "tool");
    let has_called = messages.is_some_and(|messages| messages.iter().any(is_result));
    let calls = !has_called && request.get("tools").is_some();
    let completion = if calls { tool_call() } else { answer() };
    if request.get("stream") != Some(&Value::Bool(true)) {
        return Json(completion.whole()).into_response();
    }
    let chunks = completion.chunks().into_iter().map(|chunk| chunk.to_string()).chain(["[DONE]".to_owned()]);
    let events = stream::iter(chunks).then(|chunk| async move {
        sleep(PACE).await;
        Ok::<_, Infallible>(Event::default().data(chunk))
    });
    Sse::new(events).into_response()
}

/// What the model says.
struct Completion {
    id: &'static str,
    /// The message, in pieces.
    deltas: Vec<Value>,
    message: Value,
    finish_reason: &'static str,
    usage: Value,
}

fn tool_call() -> Completion {
    let call = |arguments: &str| {
        let function = json!({ "name": "get_weather", "arguments": arguments });
        json!({ "index": 0, "id": "call_1", "type": "function", "function": function })
    };
    let arguments = |text: &str| json!({ "tool_calls": [{ "index": 0, "function": { "arguments": text } }] });
    Completion {
        id: "chatcmpl-1",
        deltas: vec![
            json!({ "role": "assistant", "content": null, "tool_calls": [call("")] }),
            arguments(r#"{"city":"#),
            arguments(r#""Berlin"}"#),
        ],
        message: json!({ "role": "assistant", "content": null, "tool_calls": [call(r#"{"city":"Berlin"}"#)] }),
        finish_reason: "tool_calls",
        usage: usage(42, 16, 9, 0),
    }
}

fn answer() -> Completion {
    let pieces = ["Take one: ", "it rains ", "in Berlin."];
    Completion {
        id: "chatcmpl-2",
        deltas: pieces.iter().map(|text| json!({ "role": "assistant", "content": text })).collect(),
        message: json!({ "role": "assistant", "content": pieces.concat() }),
        finish_reason: "stop",
        usage: usage(71, 42, 8, 3),
    }
}

fn usage(prompt: u64, cached: u64, completion: u64, reasoning: u64) -> Value {
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": cached },
        "completion_tokens_details": { "reasoning_tokens": reasoning },
    })
}

impl Completion {
    fn whole(&self) -> Value {
        let choice = json!({ "index": 0, "message": self.message, "finish_reason": self.finish_reason });
        self.with_head("chat.completion", &json!([choice]), &self.usage)
    }

    fn chunks(&self) -> Vec<Value> {
        let chunk = |choices: Value, usage: &Value| self.with_head("chat.completion.chunk", &choices, usage);
        let choice =
            |delta: &Value, reason: Option<&str>| json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
        let deltas = self.deltas.iter().map(|delta| chunk(choice(delta, None), &Value::Null));
        let end = chunk(choice(&json!({}), Some(self.finish_reason)), &Value::Null);
        deltas.chain([end, chunk(json!([]), &self.usage)]).collect()
    }

    fn with_head(&self, object: &str, choices: &Value, usage: &Value) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": 1_700_000_000,
            "model": "gpt-4o-2024-08-06",
            "choices": choices,
            "usage": usage,
        })
    }
}
