//! What do people look at?
//!
//! Finished spans go in, conversations with their turns and calls come out: plain values that know no exporter, no terminal
//! and no page. They are read from exported attributes and span events alone, so spans of other programs and libraries work as
//! well: [`from_otlp_json`] reads the lines that a collector's file exporter writes, also of Pipecat and LiveKit Agents.
//! [`Recorder`](crate::Recorder) keeps the spans of this process.

mod call;
mod calls;
mod conversation;
mod groups;
mod latency;
mod moments;
mod otlp;
mod reading;
mod role;
mod said;
mod slots;
mod span;
mod text;
mod tree;
mod usage;
mod vocabulary;

use std::sync::Arc;

pub use call::{Call, Failure};
pub use conversation::{Conversation, EndReason, Turn};
pub use latency::{Latency, LatencyPart, Owner, Percentiles, Wait};
pub use moments::Moments;
pub use otlp::{BadLine, OtlpReport, OtlpSpans, from_otlp_json, spans_from_otlp_json};
pub use said::Answer;
pub use span::{FinishedSpan, SpanEvent, Timestamp};
pub use text::Waterfall;
pub use tree::Oddity;
pub use usage::Usage;

/// All that some finished spans tell.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The conversations, in the order in which they began.
    pub conversations: Vec<Conversation>,
    /// Spans of traces in which nothing has to do with a conversation, a turn or a model.
    pub unrelated: Vec<Arc<FinishedSpan>>,
    /// Spans that were there twice, equal in everything, and count once.
    pub repeated: u64,
}

impl Report {
    /// Assembles them, in whatever order they came. Odd ones keep a place and say what is odd about them
    /// ([`Call::oddities`]).
    #[must_use]
    pub fn of(spans: impl IntoIterator<Item = FinishedSpan>) -> Self {
        let (nodes, repeated) = tree::tree(spans.into_iter().collect());
        let mut report = Self { repeated, ..Self::default() };
        for group in groups::groups(&nodes) {
            let members = || group.members.iter().filter_map(|place| nodes.get(*place));
            let is_conversation = group.id.is_some() || members().any(|node| node.role.is_recognized());
            let conversation = is_conversation.then(|| Conversation::of(&group, &nodes)).flatten();
            match conversation {
                Some(conversation) => report.conversations.push(conversation),
                None => report.unrelated.extend(members().map(|node| Arc::clone(&node.span))),
            }
        }
        report.conversations.sort_by_key(|conversation| conversation.start);
        report
    }

    /// The latencies of all turns; `None` where no turn has one.
    #[must_use]
    pub fn latency(&self) -> Option<Percentiles> {
        let turns = self.conversations.iter().flat_map(|conversation| &conversation.turns);
        Percentiles::of(turns.filter_map(|turn| turn.latency.total))
    }
}
