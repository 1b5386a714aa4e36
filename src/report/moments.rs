//! Who spoke when?

use opentelemetry::Value;

use crate::kind::Kind;

use super::call::Call;
use super::reading::Reading;
use super::span::{FinishedSpan, Timestamp, text, value_of};
use super::vocabulary as names;

/// The moments of one exchange, as far as they were exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moments {
    /// The user's first start.
    pub user_started: Option<Timestamp>,
    /// The user's last stop before the agent spoke.
    pub user_stopped: Option<Timestamp>,
    /// The agent's first start.
    pub agent_started: Option<Timestamp>,
    /// The agent's last stop.
    pub agent_stopped: Option<Timestamp>,
    /// When the user cut the agent off.
    pub interrupted: Option<Timestamp>,
}

impl Moments {
    /// From the span events of a turn or a conversation, and from the spans that LiveKit has for it.
    pub(super) fn of(own: &Reading<'_>, spans: &Reading<'_>) -> Self {
        let mut moments = Self::default();
        let mut events: Vec<(Timestamp, &str)> = own.events().map(|event| (event.time, event.name.as_str())).collect();
        for span in spans.spans() {
            match span.name.as_str() {
                "user_speaking" => events.extend([(span.start, names::USER_STARTED), (span.end, names::USER_STOPPED)]),
                "agent_speaking" => {
                    events.extend([(span.start, names::AGENT_STARTED), (span.end, names::AGENT_STOPPED)]);
                }
                _ => {}
            }
        }
        events.sort_by_key(|(time, _)| *time);
        for (time, name) in events {
            moments.hear(time, name);
        }
        moments
    }

    fn hear(&mut self, at: Timestamp, name: &str) {
        match name {
            names::USER_STARTED => {
                self.user_started.get_or_insert(at);
            }
            // A user who talks on into the answer was answered before.
            names::USER_STOPPED if self.agent_started.is_none_or(|started| at <= started) => {
                self.user_stopped = Some(at);
            }
            names::AGENT_STARTED => {
                self.agent_started.get_or_insert(at);
            }
            names::AGENT_STOPPED => self.agent_stopped = Some(at),
            names::WAS_INTERRUPTED => self.interrupted = Some(at),
            names::RETRACTED => self.interrupted = None,
            _ => {}
        }
    }

    /// What Pipecat's numbers say: the last word of the user was so long before its transcript, and the agent began to speak
    /// when the first byte of some speech came.
    pub(super) fn of_pipecat(turn: &Reading<'_>, calls: &[&Call]) -> Option<Self> {
        let latency = turn.seconds(names::LATENCY)?;
        let of_kind = |kind| calls.iter().filter(move |call| call.kind == Some(kind));
        let spoken: Vec<Timestamp> = of_kind(Kind::Tts).filter_map(|call| call.first()).collect();
        let distance = |stopped: Timestamp| {
            let started = stopped.after(latency);
            spoken.iter().map(|first| first.since(started).max(started.since(*first))).min()
        };
        let stops = of_kind(Kind::Stt).filter_map(|call| {
            let wait = Reading::of(&[&call.span]).seconds(names::PIPECAT_TTFB)?;
            Some(call.end.before(wait))
        });
        // Of two that are as near, or where nothing was spoken, the later one.
        let stopped = stops.min_by_key(|stop| (distance(*stop), std::cmp::Reverse(*stop)))?;
        let agent_started = Some(stopped.after(latency));
        Some(Self { user_stopped: Some(stopped), agent_started, ..Self::default() })
    }

    /// When LiveKit no longer waited for the user to go on.
    pub(super) fn committed(spans: &Reading<'_>) -> Option<Timestamp> {
        let is_commit = |span: &&&FinishedSpan| {
            let outcome = names::EOU_OUTCOME.iter().find_map(|name| value_of(&span.attributes, name));
            span.name == "eou_wait"
                && outcome.and_then(|value: &Value| text(value)).is_none_or(|text| text == "committed")
        };
        spans.spans().iter().filter(is_commit).map(|span| span.end).max()
    }
}
