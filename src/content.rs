//! What may leave the process?
//!
//! Transcripts, prompts, answers, tool arguments and results, application state: what people said. None of it is
//! exported yet; this module says which fields hold it, wherever they turn up.

/// Whether a field of this name holds content: on every kind, on every event and on other spans too.
pub(crate) fn is_content(field: &str) -> bool {
    matches!(
        field,
        "transcript"
            | "text"
            | "prompt"
            | "messages"
            | "input"
            | "completion"
            | "response"
            | "output"
            | "system_prompt"
            | "instructions"
            | "tools"
            | "arguments"
            | "result"
            | "state"
            | "inputs"
            | "audio_uri"
    ) || is_content_attribute(field)
}

/// The same things under the names that attributes have for them: the conventions' own, those that they had before,
/// and what the backends read.
fn is_content_attribute(key: &str) -> bool {
    matches!(
        key,
        "gen_ai.input.messages"
            | "gen_ai.output.messages"
            | "gen_ai.system_instructions"
            | "gen_ai.tool.definitions"
            | "gen_ai.tool.call.arguments"
            | "gen_ai.tool.call.result"
            | "gen_ai.retrieval.query.text"
            | "gen_ai.retrieval.documents"
            | "gen_ai.prompt"
            | "gen_ai.completion"
            | "voice.step.state"
            | "voice.step.inputs"
            | "input.value"
            | "output.value"
            | "langfuse.observation.input"
            | "langfuse.observation.output"
            | "langfuse.trace.input"
            | "langfuse.trace.output"
    ) || key.starts_with("gen_ai.completion.")
        || (key.starts_with("gen_ai.prompt.") && !matches!(key, "gen_ai.prompt.name" | "gen_ai.prompt.version"))
}

#[cfg(test)]
mod tests {
    use super::is_content;

    #[test]
    fn content_is_known_under_every_name_it_has() {
        for content in ["transcript", "arguments", "gen_ai.output.messages", "gen_ai.prompt.0.content", "input.value"] {
            assert!(is_content(content), "{content}");
        }
        for other in ["model", "gen_ai.prompt.name", "output_tokens", "texts", "gen_ai.tool.call.id"] {
            assert!(!is_content(other), "{other}");
        }
    }
}
