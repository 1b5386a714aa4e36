//! What is this span?

/// What a recognized span stands for.
///
/// A span is recognized by its name alone; the names are in the README's first table.
/// [`GenAi::with_span_name`](crate::GenAi::with_span_name) adds a name to a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A whole conversation: one call, one chat session.
    Conversation,
    /// One exchange: what the user said and what the agent answered.
    Turn,
    /// Speech to text: one utterance that is transcribed.
    Stt,
    /// One call of a language model.
    Llm,
    /// Text to speech: one text that is spoken.
    Tts,
    /// One execution of a tool.
    Tool,
    /// An agent at work.
    Agent,
    /// One run of a workflow.
    Workflow,
    /// One step of a workflow.
    Step,
    /// One call of an embeddings model.
    Embeddings,
    /// One query of a data source.
    Retrieval,
    /// One response of a speech-to-speech model.
    Realtime,
}

impl Kind {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Realtime as usize + 1;

    /// The kind that a span of this name has when the user said nothing else.
    pub(crate) fn of(span_name: &str) -> Option<Self> {
        Some(match span_name {
            "conversation" => Self::Conversation,
            "turn" => Self::Turn,
            "stt" | "speech_to_text" | "transcription" => Self::Stt,
            "llm" | "chat" | "generate_content" | "text_completion" | "genai.chat" | "llm.generate" => Self::Llm,
            "tts" | "text_to_speech" | "audio_generation" => Self::Tts,
            "tool" | "execute_tool" | "genai.execute_tool" | "tool.call" => Self::Tool,
            "agent" | "invoke_agent" | "genai.agent" | "agent.run" => Self::Agent,
            "workflow" | "invoke_workflow" | "genai.invoke_workflow" => Self::Workflow,
            "step" => Self::Step,
            "embeddings" | "genai.embeddings" | "embed.documents" | "embed.query" => Self::Embeddings,
            "retrieval" => Self::Retrieval,
            "realtime" => Self::Realtime,
            _ if span_name.starts_with("stt_") => Self::Stt,
            _ if span_name.starts_with("llm_") => Self::Llm,
            _ if span_name.starts_with("tts_") => Self::Tts,
            _ => return None,
        })
    }
}

/// A set of kinds, written as the contract's "on" column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl Kinds {
    pub(crate) const ANY: Self = Self(u16::MAX);

    pub(crate) const fn of(kinds: &[Kind]) -> Self {
        let mut set = 0;
        let mut rest = kinds;
        while let [first, others @ ..] = rest {
            set |= 1 << *first as u16;
            rest = others;
        }
        Self(set)
    }

    pub(crate) const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Kinds};

    #[test]
    fn a_name_is_matched_whole_or_by_its_service_prefix() {
        assert_eq!(Kind::of("llm"), Some(Kind::Llm));
        assert_eq!(Kind::of("llm_call"), Some(Kind::Llm));
        assert_eq!(Kind::of("stt_deepgram"), Some(Kind::Stt));
        assert_eq!(Kind::of("tts_"), Some(Kind::Tts));
        for other in ["", "LLM", "llmx", "llm.call", "turns", "conversation_", "http_request", "tool_call"] {
            assert_eq!(Kind::of(other), None, "{other}");
        }
    }

    #[test]
    fn a_set_holds_what_it_was_made_of() {
        let set = Kinds::of(&[Kind::Stt, Kind::Realtime]);
        assert!(set.contains(Kind::Stt) && set.contains(Kind::Realtime));
        assert!(!set.contains(Kind::Llm) && !set.contains(Kind::Conversation));
        assert!(Kinds::ANY.contains(Kind::Realtime));
    }
}
