//! Which messages does a content field hold?
//!
//! Plain text, the conventions' own message JSON, and the chat JSON of OpenAI, Anthropic and Gemini, requests, answers and
//! streams, become the messages of the GenAI message schema. What is none of these is a text.

use crate::json::{Json, Object, object};
use crate::parts::{
    any_part, is_response, openai_tool_call, part, reasoning, text, tool_call, tool_call_response, with_texts,
};
use crate::stream;

/// The messages in this text; what has no role of its own is said by `role`.
pub(crate) fn messages(said: &str, role: &str) -> Vec<Json> {
    Json::parse(said).and_then(|json| read(&json, role)).unwrap_or_else(|| vec![message(role, vec![text(said)])])
}

/// The parts of the instructions in this text.
pub(crate) fn instructions(said: &str) -> Vec<Json> {
    let parts = |message: Json| match message {
        Json::Object(mut message) => match message.swap_remove("parts") {
            Some(Json::List(parts)) => parts,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    messages(said, "system").into_iter().flat_map(parts).collect()
}

/// The definitions of the tools in this text, as far as it is JSON.
pub(crate) fn tool_definitions(said: &str) -> Option<Vec<Json>> {
    let json = Json::parse(said)?;
    let tools = match &json {
        Json::List(tools) => tools.as_slice(),
        _ => std::slice::from_ref(&json),
    };
    let declared = |tool: &Json| match tool.get_any(&["functionDeclarations", "function_declarations"]) {
        Some(Json::List(functions)) => functions.clone(),
        _ => vec![tool.clone()],
    };
    Some(tools.iter().flat_map(declared).map(|tool| tool_definition(&tool)).collect())
}

/// A message with these parts.
pub(crate) fn message(role: &str, parts: Vec<Json>) -> Json {
    object([("role", Some(role.into())), ("parts", Some(parts.into()))])
}

fn tool_definition(tool: &Json) -> Json {
    let function = tool.get("function").unwrap_or(tool);
    let parameters = function.get_any(&["parameters", "input_schema", "parametersJsonSchema"]);
    let is_function = tool.text("type").is_none_or(|tool_type| matches!(tool_type, "function" | "custom"));
    match function.text("name") {
        Some(name) if is_function => object([
            ("type", Some("function".into())),
            ("name", Some(name.into())),
            ("description", function.get("description").cloned()),
            ("parameters", parameters.cloned()),
        ]),
        // A tool that the provider itself runs.
        _ => tool.clone(),
    }
}

/// `None` if this is nobody's message.
fn read(json: &Json, role: &str) -> Option<Vec<Json>> {
    match json {
        Json::List(items) => match stream::whole(items) {
            Some(whole) => {
                whole.iter().map(|json| read(json, role)).collect::<Option<Vec<_>>>().map(|all| all.concat())
            }
            None => read_all(items, role),
        },
        Json::Object(_) => match unwrapped(json) {
            Some(inner) => read(&inner, role),
            None => read_all(std::slice::from_ref(json), role),
        },
        _ => None,
    }
}

/// The messages that a whole request or answer holds.
fn unwrapped(json: &Json) -> Option<Json> {
    if json.text("role").is_some() {
        return None;
    }
    if let Some(choices) = json.get("choices").and_then(Json::as_list) {
        let chosen: Option<Vec<Json>> = choices.iter().map(chosen).collect();
        if let Some(chosen) = chosen {
            return Some(chosen.into());
        }
    }
    if let Some(whole) = stream::whole(std::slice::from_ref(json)) {
        return Some(whole.into());
    }
    let list = json.get_any(&["messages", "contents", "output", "input"]).filter(|list| list.as_list().is_some());
    list.or_else(|| json.get("message").filter(|message| message.text("role").is_some())).cloned()
}

/// The message of one of OpenAI's choices, with its finish reason.
fn chosen(choice: &Json) -> Option<Json> {
    let mut message = match choice.get("message") {
        Some(Json::Object(message)) => message.clone(),
        _ => Object::from([("content".to_owned(), choice.text("text")?.into())]),
    };
    message.entry("role".to_owned()).or_insert_with(|| "assistant".into());
    message.extend(choice.get("finish_reason").cloned().map(|reason| ("finish_reason".to_owned(), reason)));
    Some(Json::Object(message))
}

/// Messages, and parts that stand by themselves.
fn read_all(items: &[Json], role: &str) -> Option<Vec<Json>> {
    let mut messages: Vec<Json> = Vec::new();
    let mut loose: Vec<Json> = Vec::new();
    for item in items {
        if let Some(message) = message_of(item, role) {
            flush(&mut messages, &mut loose, role);
            messages.push(message);
        } else {
            let part = part(item)?;
            if loose.last().is_some_and(|last| is_response(last) != is_response(&part)) {
                flush(&mut messages, &mut loose, role);
            }
            loose.push(part);
        }
    }
    flush(&mut messages, &mut loose, role);
    Some(messages)
}

fn flush(messages: &mut Vec<Json>, loose: &mut Vec<Json>, role: &str) {
    let Some(first) = loose.first() else { return };
    let role = match first.text("type") {
        Some("tool_call" | "reasoning") => "assistant",
        Some("tool_call_response") => "tool",
        _ => role,
    };
    messages.push(message(role, std::mem::take(loose)));
}

/// A message of any provider, or of the schema.
fn message_of(json: &Json, role: &str) -> Option<Json> {
    let given = json.text("role");
    if let Some(parts) = json.get("parts").and_then(Json::as_list) {
        // The schema's own, or Gemini's.
        let of_schema = given.is_some() && parts.iter().all(|part| part.text("type").is_some());
        if of_schema {
            return Some(with_parts(json, parts.iter().map(any_part).collect()));
        }
        return Some(finished(json, given.unwrap_or(role), parts.iter().map(any_part).collect()));
    }
    let given = given?;
    let known = ["content", "tool_calls", "function_call", "audio", "refusal", "reasoning_content"];
    json.get_any(&known)?;
    let responds_to = json.text("tool_call_id").or_else(|| json.text("name"));
    if matches!(given, "tool" | "function") {
        let response = json.get("content").unwrap_or(&Json::Null);
        return Some(message("tool", vec![tool_call_response(responds_to, response)]));
    }
    Some(finished(json, given, chat_parts(json)))
}

fn chat_parts(json: &Json) -> Vec<Json> {
    let mut parts = Vec::new();
    let said = |key: &str| json.text(key).filter(|text| !text.is_empty());
    parts.extend(said("reasoning_content").map(reasoning));
    match json.get("content") {
        Some(Json::Text(content)) if content.is_empty() => {}
        Some(Json::List(content)) => parts.extend(content.iter().map(any_part)),
        None | Some(Json::Null) => {}
        Some(content) => parts.push(any_part(content)),
    }
    parts.extend(said("refusal").map(text));
    parts.extend(json.get("audio").and_then(|audio| audio.text("transcript")).map(text));
    let calls = json.get("tool_calls").and_then(Json::as_list).unwrap_or_default();
    parts.extend(calls.iter().map(|call| openai_tool_call(call).unwrap_or_else(|| any_part(call))));
    if let Some(call) = json.get("function_call") {
        parts.extend(call.text("name").map(|name| tool_call(None, name, call.get("arguments"))));
    }
    parts
}

/// A message of the schema with a provider's role, name and finish reason.
fn finished(json: &Json, role: &str, parts: Vec<Json>) -> Json {
    let all_respond = !parts.is_empty() && parts.iter().all(is_response);
    let role = match role {
        "user" | "function" if all_respond => "tool",
        "model" | "ai" => "assistant",
        "developer" => "system",
        "human" => "user",
        role => role,
    };
    let end = json.get_any(&["finish_reason", "stop_reason", "finishReason"]).and_then(Json::as_text);
    object([
        ("role", Some(role.into())),
        ("parts", Some(parts.into())),
        ("name", json.text("name").map(Json::from)),
        ("finish_reason", end.map(|end| finish_reason(end).into())),
    ])
}

fn with_parts(message: &Json, parts: Vec<Json>) -> Json {
    let mut message = match with_texts(message, &["name", "finish_reason"]) {
        Json::Object(message) => message,
        _ => Object::new(),
    };
    message.insert("parts".to_owned(), parts.into());
    Json::Object(message)
}

/// The schema's word for why an answer ended, where it has one.
fn finish_reason(provider: &str) -> String {
    match provider.to_ascii_lowercase().as_str() {
        "stop" | "end_turn" | "stop_sequence" => "stop".to_owned(),
        "length" | "max_tokens" => "length".to_owned(),
        "tool_calls" | "function_call" | "tool_use" => "tool_call".to_owned(),
        "content_filter" | "safety" | "refusal" => "content_filter".to_owned(),
        other => other.to_owned(),
    }
}
