//! What was said in a stream of chunks?
//!
//! A program may record the chunks of an answer as they came. They are put together to the message that the provider
//! would have sent at once.

use std::collections::BTreeMap;

use crate::json::{Json, object};

/// The whole messages that these chunks make, in the provider's own form; `None` if these are not chunks.
pub(crate) fn whole(chunks: &[Json]) -> Option<Vec<Json>> {
    let some = |whole: Vec<Json>| (!whole.is_empty()).then_some(whole);
    if chunks.iter().any(|chunk| chunk.get("choices").is_some()) {
        return some(openai(chunks));
    }
    if chunks.iter().any(|chunk| chunk.get("candidates").is_some()) {
        return some(gemini(chunks));
    }
    let type_of = |chunk: &Json| chunk.text("type").unwrap_or_default().to_owned();
    if chunks.iter().any(|chunk| type_of(chunk).starts_with("response.")) {
        // The last event of OpenAI's responses holds the whole answer.
        return chunks.iter().rev().find_map(|chunk| chunk.get("response")).map(|response| vec![response.clone()]);
    }
    let is_event = |chunk: &Json| {
        let event = type_of(chunk);
        event.starts_with("message_") || event.starts_with("content_block_") || event == "ping"
    };
    (!chunks.is_empty() && chunks.iter().all(is_event)).then(|| vec![anthropic(chunks)])
}

/// Text and calls as they grow.
#[derive(Default)]
struct Growing {
    text: String,
    reasoning: String,
    calls: BTreeMap<u64, Call>,
    end: Option<Json>,
}

#[derive(Default)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
}

fn openai(chunks: &[Json]) -> Vec<Json> {
    let mut choices: BTreeMap<u64, Growing> = BTreeMap::new();
    for choice in chunks.iter().filter_map(|chunk| chunk.get("choices")?.as_list()).flatten() {
        let growing = choices.entry(index(choice)).or_default();
        if let Some(end) = choice.get("finish_reason").filter(|end| **end != Json::Null) {
            growing.end = Some(end.clone());
        }
        let Some(delta) = choice.get("delta") else { continue };
        growing.text.push_str(delta.text("content").unwrap_or_default());
        growing.reasoning.push_str(delta.text("reasoning_content").unwrap_or_default());
        for call in delta.get("tool_calls").and_then(Json::as_list).unwrap_or_default() {
            let known = growing.calls.entry(index(call)).or_default();
            known.id = known.id.take().or_else(|| call.text("id").map(str::to_owned));
            let function = call.get("function");
            known.name.push_str(function.and_then(|function| function.text("name")).unwrap_or_default());
            known.arguments.push_str(function.and_then(|function| function.text("arguments")).unwrap_or_default());
        }
    }
    choices.into_values().map(Growing::into_openai).collect()
}

impl Growing {
    fn into_openai(self) -> Json {
        let said = |text: String| (!text.is_empty()).then_some(Json::Text(text));
        let calls: Vec<Json> = self.calls.into_values().map(Call::into_openai).collect();
        object([
            ("role", Some("assistant".into())),
            ("reasoning_content", said(self.reasoning)),
            ("content", Some(Json::Text(self.text))),
            ("tool_calls", (!calls.is_empty()).then_some(calls.into())),
            ("finish_reason", self.end),
        ])
    }
}

impl Call {
    fn into_openai(self) -> Json {
        let function = object([("name", Some(self.name.into())), ("arguments", Some(self.arguments.into()))]);
        object([("id", self.id.map(Json::from)), ("type", Some("function".into())), ("function", Some(function))])
    }
}

fn anthropic(events: &[Json]) -> Json {
    let mut blocks: BTreeMap<u64, (Json, Growing)> = BTreeMap::new();
    let mut end = None;
    for event in events {
        match event.text("type") {
            Some("content_block_start") => {
                let block = event.get("content_block").cloned().unwrap_or(Json::Null);
                blocks.insert(index(event), (block, Growing::default()));
            }
            Some("content_block_delta") => {
                let Some((_, growing)) = blocks.get_mut(&index(event)) else { continue };
                let Some(delta) = event.get("delta") else { continue };
                let more = delta.get_any(&["text", "thinking", "partial_json"]).and_then(Json::as_text);
                growing.text.push_str(more.unwrap_or_default());
            }
            Some("message_delta") => {
                end = event.get("delta").and_then(|delta| delta.get("stop_reason")).cloned().or(end);
            }
            _ => {}
        }
    }
    let blocks: Vec<Json> = blocks.into_values().map(|(block, growing)| with_text(block, growing.text)).collect();
    object([("role", Some("assistant".into())), ("content", Some(blocks.into())), ("stop_reason", end)])
}

/// A block that began empty, with what came for it.
fn with_text(block: Json, text: String) -> Json {
    let Json::Object(mut block) = block else { return block };
    if text.is_empty() {
        return Json::Object(block);
    }
    let (key, value) = match block.get("type").and_then(Json::as_text) {
        Some("thinking") => ("thinking", Json::Text(text)),
        Some("tool_use" | "server_tool_use") => ("input", Json::of_text(text)),
        _ => ("text", Json::Text(text)),
    };
    block.insert(key.to_owned(), value);
    Json::Object(block)
}

fn gemini(chunks: &[Json]) -> Vec<Json> {
    let mut candidates: BTreeMap<u64, (Vec<Json>, Option<Json>)> = BTreeMap::new();
    for candidate in chunks.iter().filter_map(|chunk| chunk.get("candidates")?.as_list()).flatten() {
        let (parts, end) = candidates.entry(index(candidate)).or_default();
        let more = candidate.get("content").and_then(|content| content.get("parts")).and_then(Json::as_list);
        for part in more.unwrap_or_default() {
            append(parts, part);
        }
        *end = candidate.get_any(&["finishReason", "finish_reason"]).cloned().or(end.take());
    }
    let message = |(parts, end): (Vec<Json>, Option<Json>)| {
        object([("role", Some("model".into())), ("parts", Some(parts.into())), ("finish_reason", end)])
    };
    candidates.into_values().map(message).collect()
}

/// A text goes on where the last one ended, a thought where the last one did.
fn append(parts: &mut Vec<Json>, part: &Json) {
    if let (Some(Json::Object(last)), Some(more)) = (parts.last_mut(), part.text("text")) {
        if last.get("thought") == part.get("thought") {
            if let Some(Json::Text(text)) = last.get_mut("text") {
                text.push_str(more);
                return;
            }
        }
    }
    parts.push(part.clone());
}

fn index(json: &Json) -> u64 {
    match json.get("index") {
        Some(Json::Number(index)) => index.as_u64().unwrap_or_default(),
        _ => 0,
    }
}
