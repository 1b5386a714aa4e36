//! What the providers' chat JSON becomes: messages of the GenAI schema.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;

use jsonschema::Validator;
use opentelemetry::Value as Attribute;
use serde_json::{Value, json};
use support::exported_with;
use tracing::info_span;
use tracing_genai::{Content, GenAi};

/// The one content attribute of an llm span that was given this `messages`, `completion` or `system_prompt`.
fn exported_json(field: &str, text: &str) -> Value {
    let exported = exported_with(&GenAi::new().with_content(Content::Spans), || match field {
        "messages" => drop(info_span!("llm", messages = text)),
        "completion" => drop(info_span!("llm", completion = text)),
        "system_prompt" => drop(info_span!("llm", system_prompt = text)),
        "tools" => drop(info_span!("llm", tools = text)),
        _ => panic!("{field}"),
    });
    let attributes: BTreeMap<String, Attribute> = exported.attributes("chat");
    let key = match field {
        "messages" => "gen_ai.input.messages",
        "completion" => "gen_ai.output.messages",
        "system_prompt" => "gen_ai.system_instructions",
        _ => "gen_ai.tool.definitions",
    };
    let Some(Attribute::String(written)) = attributes.get(key) else { panic!("no {key} in {attributes:?}") };
    let json: Value = serde_json::from_str(written.as_str()).unwrap();
    validate(field, &json);
    json
}

/// Each message is one of the schema, and each part one of its own type: the schema's generic part would let all pass.
fn validate(field: &str, json: &Value) {
    let schema = match field {
        "messages" => include_str!("schema/input-messages.json"),
        "completion" => include_str!("schema/output-messages.json"),
        "system_prompt" => include_str!("schema/system-instructions.json"),
        _ => return,
    };
    let schema: Value = serde_json::from_str(schema).unwrap();
    let errors = |schema: &Value, json: &Value| {
        let validator: Validator = jsonschema::validator_for(schema).unwrap();
        validator.iter_errors(json).map(|error| error.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(errors(&schema, json), Vec::<String>::new(), "{json}");
    let messages = json.as_array().unwrap();
    let parts = messages.iter().flat_map(|message| match message.get("parts") {
        Some(parts) => parts.as_array().unwrap().clone(),
        None => vec![message.clone()],
    });
    for part in parts {
        let definition = match part["type"].as_str().unwrap() {
            "text" => "TextPart",
            "tool_call" => "ToolCallRequestPart",
            "tool_call_response" => "ToolCallResponsePart",
            "server_tool_call" => "ServerToolCallPart",
            "server_tool_call_response" => "ServerToolCallResponsePart",
            "blob" => "BlobPart",
            "uri" => "UriPart",
            "file" => "FilePart",
            "reasoning" => "ReasoningPart",
            _ => "GenericPart",
        };
        let definition = json!({"$ref": format!("#/$defs/{definition}"), "$defs": schema["$defs"]});
        assert_eq!(errors(&definition, &part), Vec::<String>::new(), "{part}");
    }
}

fn text(role: &str, content: &str) -> Value {
    json!({"role": role, "parts": [{"type": "text", "content": content}]})
}

/// One row: what a field is given, and the messages that it becomes.
macro_rules! rows {
    ($($field:literal $given:tt => $expected:tt)+) => {$(
        let given = json!($given);
        assert_eq!(exported_json($field, &given.to_string()), json!($expected), "{} = {given}", $field);
    )+};
}

#[test]
fn plain_text_is_one_part() {
    for (said, field, role) in [("What time is it?", "messages", "user"), ("It is noon.", "completion", "assistant")] {
        assert_eq!(exported_json(field, said), json!([text(role, said)]));
    }
    assert_eq!(exported_json("system_prompt", "Be terse."), json!([{"type": "text", "content": "Be terse."}]));
}

#[test]
fn what_is_no_chat_is_text() {
    let deep = "[".repeat(100_000);
    for said in [
        "[broken",
        r#"{"role": "user", "content""#,
        r#"{"answer": 42}"#,
        "[1, 2, 3]",
        "[[]]",
        "\"quoted\"",
        "42",
        "null",
        r#"[{"role": "user"}, 42]"#,
        r#"{"choices": 7}"#,
        &deep,
    ] {
        let json = exported_json("completion", said);
        assert_eq!(json[0]["role"], "assistant", "{said:.40}");
        let content = json[0]["parts"][0]["content"].as_str().unwrap();
        assert!(said.starts_with(content.trim_end_matches("…[truncated]")), "{said:.40}: {content:.40}");
    }
}

#[test]
fn the_schemas_own_messages_are_kept() {
    for messages in [
        json!([text("user", "Weather in Paris?")]),
        json!([{"role": "assistant", "name": "anna", "parts": [
            {"type": "reasoning", "content": "Paris is in France."},
            {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}},
        ]}]),
        json!([{"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": {"temp_c": 21}}]}]),
        json!([{"role": "user", "parts": [
            {"type": "uri", "modality": "audio", "uri": "s3://calls/1.wav"},
            {"type": "file", "modality": "image", "file_id": "file-1"},
            {"type": "hologram", "depth": 3},
        ]}]),
    ] {
        assert_eq!(exported_json("messages", &messages.to_string()), messages);
    }
    assert_eq!(exported_json("messages", &text("user", "one").to_string()), json!([text("user", "one")]));
}

/// Who serializes may write `null` for what is not there; the schema has texts alone in these places.
#[test]
fn what_is_null_in_the_schemas_own_messages_is_left_out() {
    let blob = |more: Value| {
        let mut blob = json!({"type": "blob", "modality": "image", "content": "", "byte_size": 0});
        blob.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        blob
    };
    let call = json!({"type": "tool_call", "name": "f", "arguments": null});
    let expected = json!([{"role": "assistant", "parts": [blob(json!({})), call]}]);
    let call = json!({"type": "tool_call", "id": null, "name": "f", "arguments": null});
    let parts = json!([blob(json!({"mime_type": null})), call]);
    let said = json!([{"role": "assistant", "parts": parts, "name": null, "finish_reason": null}]);
    for field in ["messages", "completion"] {
        assert_eq!(exported_json(field, &said.to_string()), expected);
    }
}

#[test]
fn a_part_whose_type_is_no_text_is_unknown() {
    for odd in [json!(5), json!(null), json!(["text"]), json!({"of": "mine"})] {
        let said = json!([{"role": "user", "content": [{"type": odd, "note": "hi"}]}]);
        let expected = json!([{"role": "user", "parts": [{"type": "unknown", "note": "hi"}]}]);
        assert_eq!(exported_json("messages", &said.to_string()), expected);
    }
}

#[test]
fn openai_chat_is_converted() {
    rows! {
        "messages" [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}] => [
            {"role": "system", "parts": [{"type": "text", "content": "Be terse."}]},
            {"role": "user", "parts": [{"type": "text", "content": "Hi"}]},
        ]
        "messages" {"model": "gpt-4o", "messages": [{"role": "developer", "content": "Be terse."}]} => [
            {"role": "system", "parts": [{"type": "text", "content": "Be terse."}]},
        ]
        "completion" {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}]} => [
            {"role": "assistant", "parts": [{"type": "text", "content": "Hi"}], "finish_reason": "stop"},
        ]
        "completion" {"role": "assistant", "content": null, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}},
            {"id": "call_2", "type": "function", "function": {"name": "get_time", "arguments": "{}"}},
        ]} => [{"role": "assistant", "parts": [
            {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}},
            {"type": "tool_call", "id": "call_2", "name": "get_time", "arguments": {}},
        ]}]
        "messages" [{"role": "tool", "tool_call_id": "call_1", "content": "{\"temp_c\": 21}"}] => [
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": {"temp_c": 21}}]},
        ]
        "messages" [{"role": "user", "name": "anna", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
            {"type": "input_audio", "input_audio": {"data": "aGVsbG8=", "format": "wav"}},
            {"type": "file", "file": {"file_id": "file-1"}},
        ]}] => [{"role": "user", "name": "anna", "parts": [
            {"type": "text", "content": "What is this?"},
            {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "byte_size": 5},
            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "", "byte_size": 5},
            {"type": "file", "modality": "document", "file_id": "file-1"},
        ]}]
        "completion" {"role": "assistant", "refusal": "No.", "content": null} => [
            {"role": "assistant", "parts": [{"type": "text", "content": "No."}]},
        ]
        "completion" [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "It is "}}]},
            {"choices": [{"index": 0, "delta": {"content": "noon."}, "finish_reason": null}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [
                {"index": 0, "id": "call_1", "function": {"name": "get_time", "arguments": "{\"tz\":"}}]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": " \"CET\"}"}}]}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
            {"choices": [], "usage": {"prompt_tokens": 3}},
        ] => [{"role": "assistant", "parts": [
            {"type": "text", "content": "It is noon."},
            {"type": "tool_call", "id": "call_1", "name": "get_time", "arguments": {"tz": "CET"}},
        ], "finish_reason": "tool_call"}]
    }
}

#[test]
fn openai_responses_are_converted() {
    rows! {
        "messages" {"model": "gpt-5", "input": [
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "Weather?"},
                {"type": "input_image", "image_url": "https://example.com/sky.png"},
            ]},
            {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{\"city\": \"Paris\"}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "21 degrees"},
        ]} => [
            {"role": "user", "parts": [
                {"type": "text", "content": "Weather?"},
                {"type": "uri", "modality": "image", "uri": "https://example.com/sky.png"},
            ]},
            {"role": "assistant", "parts": [
                {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "21 degrees"}]},
        ]
        "completion" {"id": "resp_1", "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Look outside."}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Sunny."}]},
        ]} => [
            {"role": "assistant", "parts": [{"type": "reasoning", "content": "Look outside."}]},
            {"role": "assistant", "parts": [{"type": "text", "content": "Sunny."}]},
        ]
        "completion" [
            {"type": "response.output_text.delta", "delta": "Sun"},
            {"type": "response.completed", "response": {"output": [
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Sunny."}]}]}},
        ] => [{"role": "assistant", "parts": [{"type": "text", "content": "Sunny."}]}]
    }
}

#[test]
fn anthropic_messages_are_converted() {
    rows! {
        "system_prompt" [{"type": "text", "text": "Be terse.", "cache_control": {"type": "ephemeral"}}] => [
            {"type": "text", "content": "Be terse."},
        ]
        "completion" {"type": "message", "role": "assistant", "stop_reason": "tool_use", "content": [
            {"type": "thinking", "thinking": "Paris is in France.", "signature": "x"},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "toolu_2", "name": "get_time", "input": {}},
        ]} => [{"role": "assistant", "parts": [
            {"type": "reasoning", "content": "Paris is in France."},
            {"type": "text", "content": "Let me look."},
            {"type": "tool_call", "id": "toolu_1", "name": "get_weather", "arguments": {"city": "Paris"}},
            {"type": "tool_call", "id": "toolu_2", "name": "get_time", "arguments": {}},
        ], "finish_reason": "tool_call"}]
        "messages" [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "21 degrees"}]},
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": "noon", "is_error": false},
        ]}] => [{"role": "tool", "parts": [
            {"type": "tool_call_response", "id": "toolu_1", "response": [{"type": "text", "content": "21 degrees"}]},
            {"type": "tool_call_response", "id": "toolu_2", "response": "noon"},
        ]}]
        "messages" [{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.png"}},
            {"type": "document", "source": {"type": "file", "file_id": "file-1"}},
            {"type": "text", "text": "Compare."},
        ]}] => [{"role": "user", "parts": [
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "byte_size": 5},
            {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"},
            {"type": "file", "modality": "document", "file_id": "file-1"},
            {"type": "text", "content": "Compare."},
        ]}]
        "completion" [{"type": "text", "text": "Hi"}] => [{"role": "assistant", "parts": [{"type": "text", "content": "Hi"}]}]
        "completion" [
            {"type": "message_start", "message": {"role": "assistant", "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "It is "}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "noon."}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": " 1}"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
            {"type": "message_stop"},
        ] => [{"role": "assistant", "parts": [
            {"type": "text", "content": "It is noon."},
            {"type": "tool_call", "id": "toolu_1", "name": "f", "arguments": {"a": 1}},
        ], "finish_reason": "stop"}]
    }
}

#[test]
fn gemini_contents_are_converted() {
    rows! {
        "messages" {"contents": [
            {"role": "user", "parts": [{"text": "Weather?"}, {"inlineData": {"mimeType": "audio/wav", "data": "aGVsbG8="}}]},
            {"role": "model", "parts": [
                {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}},
                {"functionCall": {"name": "get_time", "args": {}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "get_weather", "response": {"temp_c": 21}}},
                {"functionResponse": {"name": "get_time", "response": {"time": "12:00"}}},
            ]},
        ]} => [
            {"role": "user", "parts": [
                {"type": "text", "content": "Weather?"},
                {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "", "byte_size": 5},
            ]},
            {"role": "assistant", "parts": [
                {"type": "tool_call", "name": "get_weather", "arguments": {"city": "Paris"}},
                {"type": "tool_call", "name": "get_time", "arguments": {}},
            ]},
            {"role": "tool", "parts": [
                {"type": "tool_call_response", "id": "get_weather", "response": {"temp_c": 21}},
                {"type": "tool_call_response", "id": "get_time", "response": {"time": "12:00"}},
            ]},
        ]
        "system_prompt" {"parts": [{"text": "Be terse."}]} => [{"type": "text", "content": "Be terse."}]
        "completion" {"candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": "Paris is in France.", "thought": true}, {"text": "Sunny."},
            {"fileData": {"mimeType": "image/png", "fileUri": "gs://sky.png"}},
        ]}}]} => [{"role": "assistant", "parts": [
            {"type": "reasoning", "content": "Paris is in France."},
            {"type": "text", "content": "Sunny."},
            {"type": "uri", "modality": "image", "mime_type": "image/png", "uri": "gs://sky.png"},
        ], "finish_reason": "stop"}]
        "completion" [
            {"candidates": [{"content": {"role": "model", "parts": [{"text": "It is "}]}}]},
            {"candidates": [{"content": {"role": "model", "parts": [{"text": "noon."}]}, "finishReason": "MAX_TOKENS"}]},
        ] => [{"role": "assistant", "parts": [{"type": "text", "content": "It is noon."}], "finish_reason": "length"}]
    }
}

#[test]
fn tools_of_all_providers_are_definitions() {
    let expected = json!([{"type": "function", "name": "get_weather", "description": "Weather.", "parameters": {"type": "object"}}]);
    for tools in [
        json!([{"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": {"type": "object"}}}]),
        json!([{"type": "function", "name": "get_weather", "description": "Weather.", "parameters": {"type": "object"}}]),
        json!([{"name": "get_weather", "description": "Weather.", "input_schema": {"type": "object"}}]),
        json!([{"functionDeclarations": [{"name": "get_weather", "description": "Weather.", "parameters": {"type": "object"}}]}]),
    ] {
        assert_eq!(exported_json("tools", &tools.to_string()), expected);
    }
    let search = json!([{"type": "web_search_20250305", "name": "web_search"}]);
    assert_eq!(exported_json("tools", &search.to_string()), search);
}
