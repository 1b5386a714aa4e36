//! What did one call do?

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Value;
use opentelemetry::trace::Status;

use crate::kind::Kind;

use super::reading::Reading;
use super::said;
use super::span::{FinishedSpan, Timestamp, text, value_of};
use super::tree::Oddity;
use super::usage::Usage;
use super::vocabulary as names;

/// A piece of work in a conversation: a call of a service, a tool, an agent, a step, or a span that no kind fits.
///
/// What is unknown is `None`, never zero or empty.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Call {
    /// What it is; `None` for a span that no kind fits, as one of an HTTP client.
    pub kind: Option<Kind>,
    /// The exported span's name.
    pub name: String,
    /// `gen_ai.provider.name`.
    pub provider: Option<String>,
    /// `gen_ai.request.model`.
    pub model: Option<String>,
    /// `gen_ai.response.model`: the model that answered.
    pub response_model: Option<String>,
    /// What a tool, an agent, a workflow, a step or a data source is called.
    pub subject: Option<String>,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; its start where its clock ran backwards.
    pub end: Timestamp,
    /// From the start to the first token or byte.
    pub time_to_first: Option<Duration>,
    /// What it says that it used; where it says nothing, what its attempts say together.
    pub usage: Usage,
    /// `gen_ai.response.finish_reasons`; empty where nobody said.
    pub finish_reasons: Vec<String>,
    /// `voice.attempt`: which try it is, from 1.
    pub attempt: Option<u64>,
    /// Whether the user cut it off.
    pub is_interrupted: bool,
    /// How it failed; `None` for one that did not.
    pub failure: Option<Failure>,
    /// What went in, as a text, where content is exported: the last words of the user, the text to speak, a tool's arguments.
    pub input: Option<String>,
    /// What came out, as a text, where content is exported: a transcript, an answer, a tool's result.
    pub output: Option<String>,
    /// The calls that it made, in the order in which they began. One of its own kind is an attempt.
    pub calls: Vec<Call>,
    /// What is odd about it.
    pub oddities: Vec<Oddity>,
    /// The span that it was read from, with all attributes and events.
    pub span: Arc<FinishedSpan>,
    /// Spans below it that are the same call: LiveKit Agents has up to three for one.
    pub same: Vec<Arc<FinishedSpan>>,
}

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// `error.type`, or the type of the exception.
    pub error_type: Option<String>,
    /// The status description, or the exception's message.
    pub message: Option<String>,
}

impl Call {
    pub(super) fn of(spans: Vec<Arc<FinishedSpan>>, kind: Option<Kind>, calls: Vec<Self>) -> Option<Self> {
        let reading = Reading::of_all(&spans);
        let failure = Failure::of(&reading);
        let is_interrupted = reading.flag(names::INTERRUPTED).unwrap_or(false);
        let owned = |names| reading.text(names).map(str::to_owned);
        let usage = Usage::of(&reading).or(attempts(kind, &calls));
        let (provider, model, response_model) =
            (owned(names::PROVIDER), owned(names::MODEL), owned(names::RESPONSE_MODEL));
        let (subject, finish_reasons) = (subject(kind, &reading), reading.texts(names::FINISH_REASONS));
        let attempt = reading.count(names::ATTEMPT);
        let attempt =
            attempt.or_else(|| reading.count(names::RETRIES).filter(|tries| *tries > 0).map(|tries| tries + 1));
        let (input, output) = (said::input(kind, &reading), said::output(kind, &reading));
        let times = reading.spans().first().map(|span| (span.start, span.end.max(span.start)));
        let (start, end) = times?;
        let first = reading.seconds(names::TIME_TO_FIRST);
        let is_cut = failure.is_some() || is_interrupted;
        let first =
            first.or_else(|| pipecat_first(kind, reading.seconds(names::PIPECAT_TTFB)?, end.since(start), is_cut));

        let mut spans = spans.into_iter();
        let span = spans.next()?;
        Some(Self {
            kind,
            name: span.name.clone(),
            provider,
            model,
            response_model,
            subject,
            start,
            end,
            time_to_first: first,
            usage,
            finish_reasons,
            attempt,
            is_interrupted,
            failure,
            input,
            output,
            calls,
            oddities: Vec::new(),
            span,
            same: spans.collect(),
        })
    }

    /// How long it took; zero where its clock ran backwards.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.end.since(self.start)
    }

    /// When the first token or byte came.
    #[must_use]
    pub fn first(&self) -> Option<Timestamp> {
        self.time_to_first.map(|wait| self.start.after(wait))
    }

    /// The name, and what was called where the name does not say it: `chat gpt-4o`, `function_tool get_weather`.
    #[must_use]
    pub fn label(&self) -> String {
        let subject = self.subject.as_ref().or(self.model.as_ref());
        match subject {
            Some(subject) if !self.name.contains(subject.as_str()) => format!("{} {subject}", self.name),
            _ => self.name.clone(),
        }
    }

    /// What it used with all that is below it. A service that says it itself has its attempts in it; an agent or a tool has
    /// not what it called.
    pub(super) fn total(&self) -> Usage {
        let below = self.calls.iter().fold(Usage::default(), |sum, call| sum.plus(call.total()));
        if is_service(self.kind) { self.usage.or(below) } else { below.or(self.usage) }
    }

    /// How many calls failed, itself or below it: a failure that goes up is one, and one that an attempt made good is none.
    pub(super) fn failures(&self) -> u64 {
        let made_good = |call: &&Self| call.kind.is_some() && call.kind == self.kind && self.failure.is_none();
        let below: u64 = self.calls.iter().filter(|call| !made_good(call)).map(Self::failures).sum();
        if below == 0 { u64::from(self.failure.is_some()) } else { below }
    }

    /// Itself and all below it.
    pub(super) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        for call in &self.calls {
            call.walk(visit);
        }
    }
}

/// Whether it calls something that is paid for, and reports what that used.
fn is_service(kind: Option<Kind>) -> bool {
    use Kind::{Agent, Conversation, Embeddings, Llm, Realtime, Retrieval, Step, Stt, Tool, Tts, Turn, Workflow};
    match kind {
        Some(Stt | Llm | Tts | Embeddings | Realtime) => true,
        Some(Conversation | Turn | Tool | Agent | Workflow | Step | Retrieval) | None => false,
    }
}

/// What the attempts of a call used together.
fn attempts(kind: Option<Kind>, calls: &[Call]) -> Usage {
    let attempts = calls.iter().filter(|call| kind.is_some() && call.kind == kind);
    attempts.fold(Usage::default(), |sum, call| sum.plus(call.usage))
}

/// Pipecat's time to the first byte. For speech to text it begins somewhere else. Where a call was cut off before a byte
/// came, it is the time up to then.
fn pipecat_first(kind: Option<Kind>, ttfb: Duration, duration: Duration, is_cut: bool) -> Option<Duration> {
    let is_made_up = is_cut && ttfb.saturating_add(Duration::from_millis(5)) >= duration;
    (kind != Some(Kind::Stt) && !is_made_up).then_some(ttfb)
}

fn subject(kind: Option<Kind>, call: &Reading<'_>) -> Option<String> {
    use Kind::{Agent, Conversation, Embeddings, Llm, Realtime, Retrieval, Step, Stt, Tool, Tts, Turn, Workflow};
    let names = match kind? {
        Tool => names::TOOL,
        Agent | Turn | Conversation => names::AGENT,
        Workflow => names::WORKFLOW,
        Step => names::STEP,
        Retrieval => names::DATA_SOURCE,
        Stt | Llm | Tts | Embeddings | Realtime => return None,
    };
    call.text(names).map(str::to_owned)
}

impl Failure {
    pub(super) fn of(call: &Reading<'_>) -> Option<Self> {
        let status = call.spans().iter().find_map(|span| match &span.status {
            Status::Error { description } => Some(description.as_ref()),
            Status::Unset | Status::Ok => None,
        });
        let error_type = call.text(names::ERROR_TYPE);
        let has_failed = status.is_some() || error_type.is_some() || call.flag(names::TOOL_FAILED) == Some(true);
        if !has_failed {
            return None;
        }
        let exception = call.events().find(|event| event.name == names::EXCEPTION);
        let of_exception =
            |key| exception.and_then(|event| value_of(&event.attributes, key)).and_then(|value: &Value| text(value));
        let message = status.filter(|text| !text.is_empty()).or_else(|| of_exception(names::EXCEPTION_MESSAGE));
        Some(Self {
            error_type: error_type.or_else(|| of_exception(names::EXCEPTION_TYPE)).map(str::to_owned),
            message: message.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::pipecat_first;
    use crate::kind::Kind;
    use std::time::Duration;

    #[test]
    fn a_first_byte_that_never_came_has_no_time() {
        let ms = Duration::from_millis;
        for (kind, ttfb, duration, is_cut, expected) in [
            (Kind::Llm, 230, 700, false, Some(230)),
            (Kind::Llm, 272, 272, true, None),
            (Kind::Llm, 137, 181, true, Some(137)),
            (Kind::Tts, 1, 2, true, None),
            (Kind::Tts, 1, 2, false, Some(1)),
            (Kind::Stt, 300, 1100, false, None),
        ] {
            assert_eq!(pipecat_first(Some(kind), ms(ttfb), ms(duration), is_cut), expected.map(ms), "{kind:?} {ttfb}");
        }
    }
}
