//! How long did the user wait, and for whom?

use std::fmt;
use std::time::Duration;

use crate::kind::Kind;
use crate::turn;

use super::call::Call;
use super::moments::Moments;
use super::reading::Reading;
use super::span::Timestamp;
use super::vocabulary as names;

/// The time from the end of what the user said to the start of the agent's answer.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Latency {
    /// `voice.user_to_agent_latency`; `None` where the user or the agent was never heard.
    pub total: Option<Duration>,
    /// What the user waited for, in the order in which waits usually come; none that is zero. They sum to the total, unless a
    /// library reports more of one than of the other. Empty where nobody knows.
    pub parts: Vec<Wait>,
}

/// A part of the latency.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Wait {
    /// What was waited for.
    pub part: LatencyPart,
    /// How long.
    pub duration: Duration,
    /// Who held it.
    pub owner: Owner,
}

/// What a part of the latency is, in the order in which they usually come: `voice.latency.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LatencyPart {
    /// From the user's silence to the detector's word that it is one.
    Endpointing,
    /// An open transcription.
    Transcription,
    /// Nothing but the decision that it is the agent's turn.
    TurnDetection,
    /// A model's first token.
    Llm,
    /// From a model's first token to the tool that it calls.
    ToolCall,
    /// A tool at work.
    Tool,
    /// From a model's first token to a text that can be spoken.
    Aggregation,
    /// The first byte of the speech.
    Synthesis,
    /// From the first byte of the speech to the user's ear.
    Playout,
}

impl LatencyPart {
    pub(super) const ALL: [Self; 9] = [
        Self::Endpointing,
        Self::Transcription,
        Self::TurnDetection,
        Self::Llm,
        Self::ToolCall,
        Self::Tool,
        Self::Aggregation,
        Self::Synthesis,
        Self::Playout,
    ];

    /// Its attribute without the prefix, as `turn_detection`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Endpointing => "endpointing",
            Self::Transcription => "transcription",
            Self::TurnDetection => "turn_detection",
            Self::Llm => "llm",
            Self::ToolCall => "tool_call",
            Self::Tool => "tool",
            Self::Aggregation => "aggregation",
            Self::Synthesis => "synthesis",
            Self::Playout => "playout",
        }
    }
}

impl fmt::Display for LatencyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who held a part of the latency: what to change for it to be shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Owner {
    /// A service: the call that was waited for the longest.
    Service {
        /// `gen_ai.provider.name`.
        provider: Option<String>,
        /// `gen_ai.request.model`.
        model: Option<String>,
    },
    /// A tool of the program.
    Tool {
        /// `gen_ai.tool.name`.
        name: Option<String>,
    },
    /// A setting of the program: how long silence must last, when it is the agent's turn, how much text is spoken at once.
    Setting,
    /// The audio's way to the user.
    Transport,
    /// No call is known that was waited for.
    Unknown,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { provider: Some(provider), model: Some(model) } => write!(f, "{provider} {model}"),
            Self::Service { provider: Some(name), .. }
            | Self::Service { model: Some(name), .. }
            | Self::Tool { name: Some(name) } => f.write_str(name),
            Self::Tool { name: None } => f.write_str("a tool"),
            Self::Setting => f.write_str("setting"),
            Self::Transport => f.write_str("transport"),
            Self::Service { .. } | Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl Latency {
    /// As the turn says. Parts that it does not name are found in its calls: from the user's stop, and from LiveKit's word
    /// that the turn is the agent's.
    pub(super) fn of(turn: &Reading<'_>, calls: &[&Call], moments: &Moments, committed: Option<Timestamp>) -> Self {
        let total = turn.seconds(names::LATENCY);
        let window = total.and_then(|total| {
            let stopped = moments.user_stopped.or_else(|| Some(moments.agent_started?.before(total)))?;
            Some((stopped, stopped.after(total)))
        });
        let said = said_parts(turn);
        let parts = match window {
            Some(window) if said.is_empty() => found_parts(window, calls, committed),
            _ => said,
        };
        let wait = |(part, duration)| Wait { part, duration, owner: owner(part, calls, window) };
        Self { total, parts: parts.into_iter().map(wait).collect() }
    }

    /// The longest part.
    #[must_use]
    pub fn longest(&self) -> Option<&Wait> {
        self.parts.iter().max_by_key(|wait| wait.duration)
    }
}

fn said_parts(turn: &Reading<'_>) -> Vec<(LatencyPart, Duration)> {
    let part = |part: LatencyPart| {
        let duration = turn.seconds(&[&format!("{}{part}", names::LATENCY_PART)])?;
        (!duration.is_zero()).then_some((part, duration))
    };
    LatencyPart::ALL.into_iter().filter_map(part).collect()
}

/// The same rules as for the turns of this crate.
fn found_parts(
    (stopped, spoke): (Timestamp, Timestamp),
    calls: &[&Call],
    committed: Option<Timestamp>,
) -> Vec<(LatencyPart, Duration)> {
    let decided = committed.unwrap_or(stopped).clamp(stopped, spoke);
    let at = |time: Timestamp| i64::try_from(time.as_unix_nanos()).unwrap_or(i64::MAX);
    let mut exchange = turn::Exchange::default();
    (exchange.user_stopped, exchange.bot_started) = (Some(at(decided)), Some(at(spoke)));
    let calls: Vec<turn::Call> = calls
        .iter()
        .filter_map(|call| {
            let (first, ended) = (call.first().map(at), Some(at(call.end)));
            Some(turn::Call { kind: call.kind?, started: at(call.start), first, ended })
        })
        .collect();
    let latency = turn::Latency::of(&exchange, &calls).unwrap_or_default();
    let nanos = |part| Duration::from_nanos(u64::try_from(latency.part(part)).unwrap_or(0));
    let parts = [
        (LatencyPart::Endpointing, decided.since(stopped)),
        (LatencyPart::Transcription, nanos(turn::Part::Transcription)),
        (LatencyPart::TurnDetection, nanos(turn::Part::TurnDetection)),
        (LatencyPart::Llm, nanos(turn::Part::Llm)),
        (LatencyPart::Tool, nanos(turn::Part::Tool)),
        (LatencyPart::Aggregation, nanos(turn::Part::Aggregation)),
        (LatencyPart::Synthesis, nanos(turn::Part::Synthesis)),
        (LatencyPart::Playout, nanos(turn::Part::Playout)),
    ];
    parts.into_iter().filter(|(_, duration)| !duration.is_zero()).collect()
}

/// Who held a part: of the calls of its kind the one that was waited for the longest in the window.
fn owner(part: LatencyPart, calls: &[&Call], window: Option<(Timestamp, Timestamp)>) -> Owner {
    let kinds: &[Kind] = match part {
        LatencyPart::Endpointing | LatencyPart::TurnDetection | LatencyPart::Aggregation => return Owner::Setting,
        LatencyPart::Playout => return Owner::Transport,
        LatencyPart::Transcription => &[Kind::Stt],
        LatencyPart::Llm | LatencyPart::ToolCall => &[Kind::Llm, Kind::Realtime],
        LatencyPart::Tool => &[Kind::Tool],
        LatencyPart::Synthesis => &[Kind::Tts],
    };
    let is_wait = |call: &&&Call| call.kind.is_some_and(|kind| kinds.contains(&kind));
    let held = |call: &Call| {
        let until = match part {
            LatencyPart::Llm | LatencyPart::Synthesis => call.first().unwrap_or(call.end),
            _ => call.end,
        };
        window.map_or(until.since(call.start), |(from, to)| until.min(to).since(call.start.max(from)))
    };
    let Some(call) = calls.iter().filter(is_wait).max_by_key(|call| held(call)) else { return Owner::Unknown };
    match part {
        LatencyPart::Tool => Owner::Tool { name: call.subject.clone() },
        _ if call.provider.is_none() && call.model.is_none() => Owner::Unknown,
        _ => Owner::Service { provider: call.provider.clone(), model: call.model.clone() },
    }
}

/// Latencies of many turns.
///
/// A percentile is the nearest rank: the smallest latency that at least so many percent of the turns do not exceed. Of one
/// turn all three are its latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Percentiles {
    /// How many turns had a latency. Greetings, and turns without an answer, have none.
    pub turns: u64,
    /// Half of the turns waited no longer.
    pub p50: Duration,
    /// 95 of 100 turns waited no longer.
    pub p95: Duration,
    /// The longest.
    pub worst: Duration,
}

impl Percentiles {
    /// Of these latencies; `None` where there are none.
    #[must_use]
    pub fn of(latencies: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut sorted: Vec<Duration> = latencies.into_iter().collect();
        sorted.sort_unstable();
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let turns = u64::try_from(sorted.len()).unwrap_or(u64::MAX);
        Some(Self { turns, p50: rank(50)?, p95: rank(95)?, worst: *sorted.last()? })
    }
}

#[cfg(test)]
mod tests {
    use super::Percentiles;
    use std::time::Duration;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let of = |ms: &[u64]| {
            let latency = Percentiles::of(ms.iter().copied().map(Duration::from_millis))?;
            Some([latency.p50, latency.p95, latency.worst].map(|duration| duration.as_millis()))
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[7]), Some([7, 7, 7]));
        assert_eq!(of(&[4, 1, 3, 2]), Some([2, 4, 4]));
        assert_eq!(of(&(1..=100).collect::<Vec<_>>()), Some([50, 95, 100]));
        assert_eq!(of(&(1..=20).collect::<Vec<_>>()), Some([10, 19, 20]));
    }
}
