//! The spans of a recording, as `tracing`'s macros need them: every name and field is written down here.

use serde_json::Value;
use tracing::{Span, info, info_span};

use crate::recording::Fields;

/// A span of each name, with its fields. One that the recording does not give yet is declared all the same, so that it
/// can be recorded later.
macro_rules! spans {
    ($($name:literal: $($field:ident)+;)+) => {
        /// Opens a span below `parent`, or without one below whatever is entered.
        pub(crate) fn open(name: &str, parent: Option<&Span>, fields: &Fields) -> Span {
            match (name, parent) {
                $(
                    ($name, Some(parent)) => {
                        info_span!(parent: parent, $name, $($field = given(fields, stringify!($field))),+)
                    }
                    ($name, None) => info_span!($name, $($field = given(fields, stringify!($field))),+),
                )+
                _ => Span::none(),
            }
        }

        /// Whether there is a span of this name with these fields.
        pub(crate) fn check(name: &str, fields: &Fields) -> Result<(), String> {
            let known: &[&str] = match name {
                $($name => &[$(stringify!($field)),+],)+
                _ => return Err(format!("no span is called {name:?}")),
            };
            for (field, value) in fields {
                if !known.contains(&field.as_str()) {
                    return Err(format!("{name} has no field `{field}`"));
                }
                if value.is_array() || value.is_object() {
                    return Err(format!("the field `{field}` holds neither text, number nor bool"));
                }
            }
            Ok(())
        }
    };
}

spans! {
    "conversation": conversation_id session_id user_id agent end_reason started_ms_ago error error_type;
    "turn": conversation_id number interrupted interruption_source end_reason playout_ms started_ms_ago error
        error_type;
    "stt": conversation_id turn_number provider model language transcript confidence is_final vad audio_ms
        audio_seconds ttfb ttfb_ms input_tokens output_tokens request_id started_ms_ago error error_type;
    "llm": conversation_id turn_number provider model response_model response_id temperature top_p max_tokens seed
        stream system_prompt messages tools completion finish_reason input_tokens output_tokens cache_read_tokens
        cache_write_tokens reasoning_tokens ttft ttft_ms ttfb ttfb_ms request_id started_ms_ago error error_type;
    "tts": conversation_id turn_number provider model voice language text characters audio_ms audio_seconds ttfb
        ttfb_ms interrupted interruption_source playout_ms request_id started_ms_ago error error_type;
    "tool": conversation_id turn_number tool tool_type call_id description arguments result started_ms_ago error
        error_type;
}

pub(crate) fn record(span: &Span, fields: &Fields) {
    for (field, value) in fields {
        span.record(field.as_str(), typed(value));
    }
}

pub(crate) fn event(span: &Span, event: &str, ms_ago: Option<f64>) {
    info!(parent: span, ms_ago, "{event}");
}

fn given<'a>(fields: &'a Fields, field: &str) -> Option<Box<dyn tracing::Value + 'a>> {
    fields.get(field).and_then(typed)
}

/// A number stays a number.
fn typed(value: &Value) -> Option<Box<dyn tracing::Value + '_>> {
    Some(match value {
        Value::Bool(flag) => Box::new(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Box::new(integer),
            None => Box::new(number.as_f64()),
        },
        Value::String(text) => Box::new(text.as_str()),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    })
}
