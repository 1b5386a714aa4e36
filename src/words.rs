//! What was said in a turn, and in a conversation, for a backend that shows it in one place?
//!
//! It is read from the messages that are exported, so it may leave: redacted, cut, and nothing at all without content.

use std::borrow::Cow;

use crate::content::cut;
use crate::fields::Fields;
use crate::json::Json;
use crate::kind::Kind;
use crate::semconv::{INPUT_MESSAGES, OUTPUT_MESSAGES};

/// The texts of one span, of all in a turn, or of all turns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// What the user was heard to say.
    heard: Option<String>,
    /// What a model was asked, for turns in which nobody is heard.
    asked: Option<String>,
    /// What a model answered, for turns in which nothing is spoken.
    answered: Option<String>,
    /// What the agent spoke.
    spoken: Option<String>,
}

impl Words {
    /// What was said in a span of this kind.
    pub(crate) fn of(kind: Kind, fields: &Fields) -> Self {
        let input = || last(fields.text(INPUT_MESSAGES)?, "user");
        let output = || last(fields.text(OUTPUT_MESSAGES)?, "assistant");
        match kind {
            Kind::Stt => Self { heard: output(), ..Self::default() },
            Kind::Tts => Self { spoken: input(), ..Self::default() },
            Kind::Llm | Kind::Agent => Self { asked: input(), answered: output(), ..Self::default() },
            Kind::Realtime | Kind::Turn => Self { heard: input(), spoken: output(), ..Self::default() },
            Kind::Conversation | Kind::Tool | Kind::Workflow | Kind::Step | Kind::Embeddings | Kind::Retrieval => {
                Self::default()
            }
        }
    }

    /// What came in.
    pub(crate) fn input(&self) -> Option<&str> {
        self.heard.as_deref().or(self.asked.as_deref())
    }

    /// What went out.
    pub(crate) fn output(&self) -> Option<&str> {
        self.spoken.as_deref().or(self.answered.as_deref())
    }

    /// More is said in the same turn; each text has at most so many bytes.
    pub(crate) fn add(&mut self, more: Self, max_len: usize) {
        append(&mut self.heard, more.heard, max_len);
        append(&mut self.spoken, more.spoken, max_len);
        self.asked = self.asked.take().or(more.asked);
        self.answered = more.answered.or(self.answered.take());
    }

    /// Another turn follows: what came in first stays, what went out last counts.
    pub(crate) fn follow(&mut self, turn: &Self) {
        if self.input().is_none() {
            self.heard = turn.input().map(str::to_owned);
        }
        if let Some(output) = turn.output() {
            self.spoken = Some(output.to_owned());
        }
    }

    /// The same, and where a span itself says nothing, what was said in it.
    #[must_use]
    pub(crate) fn or(self, inside: Self) -> Self {
        let (has_input, has_output) = (self.input().is_some(), self.output().is_some());
        Self {
            heard: if has_input { self.heard } else { inside.heard },
            asked: if has_input { self.asked } else { inside.asked },
            answered: if has_output { self.answered } else { inside.answered },
            spoken: if has_output { self.spoken } else { inside.spoken },
        }
    }
}

fn append(to: &mut Option<String>, more: Option<String>, max_len: usize) {
    let Some(more) = more else { return };
    *to = Some(match to.take() {
        Some(said) => cut(Cow::Owned([said, more].join(" ")), max_len),
        None => more,
    });
}

/// The text of the last message of this role.
pub(crate) fn last(messages: &str, role: &str) -> Option<String> {
    let messages = Json::parse(messages)?;
    let message = messages.as_list()?.iter().rfind(|message| message.text("role") == Some(role))?;
    text_of(message)
}

/// The text of a message; `None` if it has none.
pub(crate) fn text_of(message: &Json) -> Option<String> {
    let texts = message.get("parts")?.as_list()?.iter().filter(|part| part.text("type") == Some("text"));
    let texts: Vec<&str> = texts.filter_map(|part| part.text("content")).collect();
    Some(texts.join("\n")).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::Words;

    fn heard(text: &str) -> Words {
        Words { heard: Some(text.into()), ..Words::default() }
    }

    fn spoken(text: &str) -> Words {
        Words { spoken: Some(text.into()), ..Words::default() }
    }

    #[test]
    fn a_turn_has_all_that_was_heard_and_spoken_in_it() {
        let mut turn = Words::default();
        for said in [heard("One."), spoken("Two."), heard("Three."), spoken("Four.")] {
            turn.add(said, 100);
        }
        assert_eq!((turn.input(), turn.output()), (Some("One. Three."), Some("Two. Four.")));
    }

    #[test]
    fn what_is_spoken_comes_before_what_was_answered() {
        let model = |asked: &str, answered: &str| Words {
            asked: Some(asked.into()),
            answered: Some(answered.into()),
            ..Words::default()
        };
        let mut turn = Words::default();
        turn.add(model("a", "b"), 100);
        turn.add(model("c", "d"), 100);
        assert_eq!((turn.input(), turn.output()), (Some("a"), Some("d")));
        turn.add(spoken("e"), 100);
        turn.add(heard("f"), 100);
        assert_eq!((turn.input(), turn.output()), (Some("f"), Some("e")));
    }

    #[test]
    fn a_conversation_begins_with_the_first_input_and_ends_with_the_last_output() {
        let mut conversation = Words::default();
        conversation.follow(&spoken("Hello!"));
        for (input, output) in [("one", "two"), ("three", "four")] {
            let mut turn = heard(input);
            turn.add(spoken(output), 100);
            conversation.follow(&turn);
        }
        conversation.follow(&heard("unanswered"));
        assert_eq!((conversation.input(), conversation.output()), (Some("one"), Some("four")));
    }

    #[test]
    fn it_does_not_grow_beyond_the_limit() {
        let mut turn = Words::default();
        for _ in 0..1_000 {
            turn.add(heard("as much as one can say"), 64);
            assert!(turn.input().is_some_and(|input| input.len() <= 64));
        }
        assert!(turn.input().is_some_and(|input| input.ends_with("…[truncated]")));
    }
}
