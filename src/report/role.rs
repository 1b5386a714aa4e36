//! What does a finished span stand for?

use crate::kind::Kind;

use super::reading::Reading;
use super::span::FinishedSpan;
use super::vocabulary as names;

/// The place that a span has in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A whole conversation.
    Conversation,
    /// One exchange.
    Turn,
    /// LiveKit's half of an exchange: the user speaks.
    UserTurn,
    /// LiveKit's other half: the agent answers.
    AgentTurn,
    /// LiveKit's spans that only say who spoke when, and how long the end of the turn was waited for.
    Moment,
    /// Work: a call of a service, a tool, an agent, or a span that no kind fits.
    Call(Option<Kind>),
}

impl Role {
    pub(super) fn of(span: &FinishedSpan) -> Self {
        match span.name.as_str() {
            "agent_session" => Self::Conversation,
            "user_turn" => Self::UserTurn,
            "agent_turn" => Self::AgentTurn,
            "user_speaking" | "agent_speaking" | "eou_wait" => Self::Moment,
            "function_tool" => Self::Call(Some(Kind::Tool)),
            "realtime_inference" => Self::Call(Some(Kind::Realtime)),
            // The spans that Pipecat has for the parts of a session with a speech-to-speech model.
            "llm_setup" | "llm_tool_call" | "llm_tool_result" => Self::Call(None),
            name => match kind_of(name, span) {
                Some(Kind::Conversation) => Self::Conversation,
                Some(Kind::Turn) => Self::Turn,
                kind => Self::Call(kind),
            },
        }
    }

    /// Whether a trace that has it is part of a conversation.
    pub(super) fn is_recognized(self) -> bool {
        self != Self::Call(None)
    }
}

/// By its name where that says it, or else by its operation.
fn kind_of(name: &str, span: &FinishedSpan) -> Option<Kind> {
    let spans = [span];
    let span = Reading::of(&spans);
    let operation = span.text(&[names::OPERATION]);
    let kind = match Kind::of(name) {
        Some(kind) => Some(kind),
        None => operation.and_then(by_operation).or_else(|| span.text(names::STEP).map(|_| Kind::Step)),
    };
    // A speech-to-speech model has the operation of a language model.
    let speaks = span.text(&[names::OUTPUT_TYPE]) == Some("speech");
    kind.map(|kind| if kind == Kind::Llm && speaks { Kind::Realtime } else { kind })
}

fn by_operation(operation: &str) -> Option<Kind> {
    Some(match operation {
        "chat" | "text_completion" | "generate_content" => Kind::Llm,
        "speech_to_text" | "stt" | "transcribe" | "transcription" => Kind::Stt,
        "text_to_speech" | "tts" | "audio_generation" => Kind::Tts,
        "execute_tool" => Kind::Tool,
        "invoke_agent" | "create_agent" => Kind::Agent,
        "invoke_workflow" => Kind::Workflow,
        "plan" => Kind::Step,
        "embeddings" => Kind::Embeddings,
        "retrieval" => Kind::Retrieval,
        "realtime_inference" => Kind::Realtime,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::Role;
    use crate::kind::Kind;
    use crate::report::FinishedSpan;

    #[test]
    fn a_span_is_known_by_its_name_or_its_operation() {
        for (name, attributes, role) in [
            ("conversation", [].as_slice(), Role::Conversation),
            ("turn", &[("gen_ai.operation.name", "invoke_agent")], Role::Turn),
            ("chat gpt-4o", &[("gen_ai.operation.name", "chat")], Role::Call(Some(Kind::Llm))),
            ("llm_node", &[], Role::Call(Some(Kind::Llm))),
            (
                "generate_content gpt-realtime",
                &[("gen_ai.operation.name", "generate_content"), ("gen_ai.output.type", "speech")],
                Role::Call(Some(Kind::Realtime)),
            ),
            ("step prompt", &[("voice.step.name", "prompt")], Role::Call(Some(Kind::Step))),
            ("stt", &[("gen_ai.operation.name", "stt")], Role::Call(Some(Kind::Stt))),
            ("agent_session", &[("gen_ai.operation.name", "invoke_workflow")], Role::Conversation),
            ("agent_turn", &[("gen_ai.operation.name", "invoke_agent")], Role::AgentTurn),
            ("user_speaking", &[], Role::Moment),
            ("chat about the weather", &[], Role::Call(None)),
            ("GET /", &[], Role::Call(None)),
        ] {
            let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
            assert_eq!(Role::of(&FinishedSpan { name: name.into(), attributes, ..FinishedSpan::default() }), role);
        }
    }
}
