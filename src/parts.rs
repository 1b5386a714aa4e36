//! Which part of a message is this?
//!
//! The parts of OpenAI's, Anthropic's and Gemini's messages as the GenAI message schema has them.

use crate::json::{Json, Object, object};

/// A part of the schema, if this is one, or a provider's.
pub(crate) fn part(json: &Json) -> Option<Json> {
    match json.text("type") {
        Some(part_type) => of_schema(json, part_type).or_else(|| of_openai_or_anthropic(json, part_type)),
        None => of_gemini(json),
    }
}

/// A part, whatever it is: what nobody knows keeps its own type, or gets one.
pub(crate) fn any_part(json: &Json) -> Json {
    if let Json::Text(content) = json {
        return text(content);
    }
    part(json).unwrap_or_else(|| match json {
        Json::Object(unknown) if json.text("type").is_some() => Json::Object(unknown.clone()),
        Json::Object(unknown) => {
            let unknown = unknown.iter().filter(|(key, _)| *key != "type");
            let mut generic = Object::from([("type".to_owned(), "unknown".into())]);
            generic.extend(unknown.map(|(key, value)| (key.clone(), value.clone())));
            Json::Object(generic)
        }
        other => object([("type", Some("unknown".into())), ("content", Some(other.clone()))]),
    })
}

pub(crate) fn text(content: &str) -> Json {
    object([("type", Some("text".into())), ("content", Some(content.into()))])
}

pub(crate) fn reasoning(content: &str) -> Json {
    object([("type", Some("reasoning".into())), ("content", Some(content.into()))])
}

/// A call that the model asks for; arguments that are JSON in a text are taken out of it.
pub(crate) fn tool_call(id: Option<&str>, name: &str, arguments: Option<&Json>) -> Json {
    object([
        ("type", Some("tool_call".into())),
        ("id", id.map(Json::from)),
        ("name", Some(name.into())),
        ("arguments", arguments.map(unquoted)),
    ])
}

/// What came back from a call.
pub(crate) fn tool_call_response(id: Option<&str>, response: &Json) -> Json {
    let response = match response {
        // A result that is made of parts is that: an image in it is known as one.
        Json::List(parts) if !parts.is_empty() && parts.iter().all(|part| part.text("type").is_some()) => {
            parts.iter().map(any_part).collect::<Vec<_>>().into()
        }
        response => unquoted(response),
    };
    object([("type", Some("tool_call_response".into())), ("id", id.map(Json::from)), ("response", Some(response))])
}

/// A part where something lies.
pub(crate) fn uri(modality: &str, mime_type: Option<&str>, uri: &str) -> Json {
    object([
        ("type", Some("uri".into())),
        ("modality", Some(modality.into())),
        ("mime_type", mime_type.map(Json::from)),
        ("uri", Some(uri.into())),
    ])
}

/// Whether this part says what came back from a call.
pub(crate) fn is_response(part: &Json) -> bool {
    matches!(part.text("type"), Some("tool_call_response" | "server_tool_call_response"))
}

/// OpenAI's `{"id", "type": "function", "function": {"name", "arguments"}}`.
pub(crate) fn openai_tool_call(json: &Json) -> Option<Json> {
    let call = json.get_any(&["function", "custom"])?;
    Some(tool_call(json.text("id"), call.text("name")?, call.get_any(&["arguments", "input"])))
}

fn of_schema(json: &Json, part_type: &str) -> Option<Json> {
    let has = |keys: &[&str]| keys.iter().all(|key| json.text(key).is_some());
    let is_whole = match part_type {
        "text" | "reasoning" => has(&["content"]),
        "tool_call" => has(&["name"]),
        "tool_call_response" => json.get("response").is_some(),
        "server_tool_call" => has(&["name"]) && json.get("server_tool_call").is_some(),
        "server_tool_call_response" => json.get("server_tool_call_response").is_some(),
        "blob" => has(&["modality", "content"]),
        "uri" => has(&["modality", "uri"]),
        "file" => has(&["modality", "file_id"]),
        "compaction" => true,
        _ => false,
    };
    is_whole.then(|| with_texts(json, &["id", "mime_type"]))
}

/// An object in which these keys, if they are there, hold a text: who serializes may write `null` for what is not there.
pub(crate) fn with_texts(json: &Json, keys: &[&str]) -> Json {
    let Json::Object(entries) = json else { return json.clone() };
    let kept = entries.iter().filter(|(key, value)| !keys.contains(&key.as_str()) || value.as_text().is_some());
    Json::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn of_openai_or_anthropic(json: &Json, part_type: &str) -> Option<Json> {
    match part_type {
        "text" | "input_text" | "output_text" | "summary_text" => json.text("text").map(text),
        "refusal" => json.text("refusal").map(text),
        "thinking" => json.text("thinking").map(reasoning),
        "redacted_thinking" => Some(reasoning("")),
        "reasoning" => openai_reasoning(json),
        "image_url" | "input_image" => image(json),
        "input_audio" => {
            let audio = json.get("input_audio").unwrap_or(json);
            let mime_type = audio.text("format").map(|format| format!("audio/{format}"));
            Some(blob("audio", mime_type.as_deref(), audio.text("data")?))
        }
        "file" | "input_file" => file(json.get("file").unwrap_or(json)),
        "image" => source("image", json),
        "document" => source("document", json),
        "audio" => source("audio", json),
        "function" | "custom" => openai_tool_call(json),
        "function_call" | "custom_tool_call" => {
            Some(tool_call(json.text("call_id"), json.text("name")?, json.get_any(&["arguments", "input"])))
        }
        "function_call_output" | "custom_tool_call_output" => {
            Some(tool_call_response(json.text("call_id"), json.get("output")?))
        }
        "tool_use" | "server_tool_use" => Some(tool_call(json.text("id"), json.text("name")?, json.get("input"))),
        _ if json.text("tool_use_id").is_some() => {
            Some(tool_call_response(json.text("tool_use_id"), json.get("content").unwrap_or(&Json::Null)))
        }
        _ => None,
    }
}

fn of_gemini(json: &Json) -> Option<Json> {
    if let Some(content) = json.text("text") {
        let is_thought = json.get("thought") == Some(&Json::Bool(true));
        return Some(if is_thought { reasoning(content) } else { text(content) });
    }
    if let Some(call) = json.get_any(&["functionCall", "function_call"]) {
        return Some(tool_call(call.text("id"), call.text("name")?, call.get("args")));
    }
    if let Some(response) = json.get_any(&["functionResponse", "function_response"]) {
        let id = response.text("id").or_else(|| response.text("name"));
        return Some(tool_call_response(id, response.get("response").unwrap_or(&Json::Null)));
    }
    let mime_type = |data: &Json| data.get_any(&["mimeType", "mime_type"]).and_then(Json::as_text).map(str::to_owned);
    if let Some(data) = json.get_any(&["inlineData", "inline_data"]) {
        let mime_type = mime_type(data);
        return Some(blob(modality(mime_type.as_deref()), mime_type.as_deref(), data.text("data")?));
    }
    let data = json.get_any(&["fileData", "file_data"])?;
    let mime_type = mime_type(data);
    let place = data.get_any(&["fileUri", "file_uri"])?.as_text()?;
    Some(uri(modality(mime_type.as_deref()), mime_type.as_deref(), place))
}

fn openai_reasoning(json: &Json) -> Option<Json> {
    let texts = json.get_any(&["summary", "content"])?.as_list()?;
    let texts: Vec<&str> = texts.iter().filter_map(|text| text.text("text")).collect();
    Some(reasoning(&texts.join("\n")))
}

fn image(json: &Json) -> Option<Json> {
    let image = json.get("image_url");
    match image.and_then(|image| image.as_text().or_else(|| image.text("url"))) {
        Some(place) => Some(at("image", place)),
        None => json.text("file_id").map(|id| file_id("image", id)),
    }
}

fn file(file: &Json) -> Option<Json> {
    if let Some(id) = file.text("file_id") {
        return Some(file_id("document", id));
    }
    if let Some(place) = file.text("file_url") {
        return Some(uri("document", None, place));
    }
    let data = file.text("file_data")?;
    Some(data_uri(data).map_or_else(
        || blob("document", None, data),
        |(mime_type, data)| blob(modality(Some(mime_type)), Some(mime_type), data),
    ))
}

/// Anthropic's `{"source": {"type": "base64" | "url" | "file" | "text", …}}`.
fn source(modality: &str, json: &Json) -> Option<Json> {
    let Some(source) = json.get("source") else {
        // The Model Context Protocol's `{"data", "mimeType"}`.
        return Some(blob(modality, json.text("mimeType"), json.text("data")?));
    };
    match source.text("type")? {
        "base64" => Some(blob(modality, source.text("media_type"), source.text("data")?)),
        "url" => Some(at(modality, source.text("url")?)),
        "file" => Some(file_id(modality, source.text("file_id")?)),
        "text" => source.text("data").map(text),
        _ => None,
    }
}

/// A URL, or the data that a `data:` URL is.
fn at(modality: &str, place: &str) -> Json {
    match data_uri(place) {
        Some((mime_type, data)) => blob(modality, Some(mime_type), data),
        None => uri(modality, None, place),
    }
}

/// The type and the data of a `data:` URL.
fn data_uri(place: &str) -> Option<(&str, &str)> {
    place.strip_prefix("data:")?.split_once(";base64,")
}

pub(crate) fn blob(modality: &str, mime_type: Option<&str>, data: &str) -> Json {
    object([
        ("type", Some("blob".into())),
        ("modality", Some(modality.into())),
        ("mime_type", mime_type.map(Json::from)),
        ("content", Some(data.into())),
    ])
}

fn file_id(modality: &str, id: &str) -> Json {
    object([("type", Some("file".into())), ("modality", Some(modality.into())), ("file_id", Some(id.into()))])
}

fn modality(mime_type: Option<&str>) -> &'static str {
    match mime_type.and_then(|mime_type| mime_type.split('/').next()) {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        _ => "document",
    }
}

fn unquoted(json: &Json) -> Json {
    match json {
        Json::Text(text) => Json::of_text(text.clone()),
        other => other.clone(),
    }
}
