//! What was a conversation, and what was a turn of it?

use std::sync::Arc;
use std::time::Duration;

use super::call::{Call, Failure};
use super::groups::Group;
use super::latency::{Latency, Percentiles};
use super::moments::Moments;
use super::reading::Reading;
use super::role::Role;
use super::said::{self, Answer};
use super::slots::{self, Slot};
use super::span::{FinishedSpan, Timestamp};
use super::tree::{Node, Oddity};
use super::usage::Usage;
use super::{calls, vocabulary as names};

/// A conversation: its turns, and what was done outside of them.
///
/// Its spans are those below a conversation's span, those that name its id, and the others of its trace. A lone call, or a
/// workflow, is a conversation without turns.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Conversation {
    /// `gen_ai.conversation.id`, where one was given.
    pub id: Option<String>,
    /// `session.id`.
    pub session_id: Option<String>,
    /// `user.id`.
    pub user_id: Option<String>,
    /// `gen_ai.agent.name`.
    pub agent: Option<String>,
    /// `service.name` of the resource.
    pub service: Option<String>,
    /// When it began.
    pub start: Timestamp,
    /// When it ended. `None` while it is open: spans hang on a conversation's span that has not ended, or was lost.
    pub end: Option<Timestamp>,
    /// The turns, in the order in which they began.
    pub turns: Vec<Turn>,
    /// Calls outside of turns: a greeting, a workflow, the session's own work.
    pub calls: Vec<Call>,
    /// What all of its calls used: as its span says, or else their sum.
    pub usage: Usage,
    /// Calls that failed.
    pub errors: u64,
    /// Turns that the user interrupted.
    pub interruptions: u64,
    /// The latencies of its turns; `None` where no turn has one.
    pub latency: Option<Percentiles>,
    /// `voice.greeting_latency`: from its start to the agent's first word, where the agent spoke first.
    pub greeting_latency: Option<Duration>,
    /// Its own span, and LiveKit's spans that only say who spoke when, where that was outside of turns.
    pub spans: Vec<Arc<FinishedSpan>>,
}

/// One exchange: what the user said and what the agent answered.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Turn {
    /// `voice.turn.number`, or where nobody counts its place among the turns, from 1.
    pub number: u64,
    /// When it began.
    pub start: Timestamp,
    /// When it ended. `None` while it is open, or where its span was lost.
    pub end: Option<Timestamp>,
    /// Why it ended; `None` while it is open. What Pipecat and LiveKit Agents don't say follows from what happened.
    pub end_reason: Option<EndReason>,
    /// `voice.interruption.source`: who or what cut the agent off.
    pub interruption_source: Option<String>,
    /// From the user's stop to the agent's start.
    pub latency: Latency,
    /// Who spoke when.
    pub moments: Moments,
    /// Its calls, in the order in which they began.
    pub calls: Vec<Call>,
    /// What its calls used: as its span says, or else their sum.
    pub usage: Usage,
    /// Calls that failed.
    pub errors: u64,
    /// How its own span failed, as one of LiveKit Agents does when a call in it failed.
    pub failure: Option<Failure>,
    /// What the user said, where content is exported.
    pub user: Option<String>,
    /// What the agent answered, where content is exported.
    pub agent: Option<Answer>,
    /// Its own spans: one, none while it is open, or the several that LiveKit Agents has for a turn.
    pub spans: Vec<Arc<FinishedSpan>>,
}

/// Why a turn ended: `voice.end_reason`. An interruption, a hang-up and an error are three different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The agent was heard to its end.
    Completed,
    /// The user cut the agent off.
    Interrupted,
    /// The conversation ended.
    SessionClosed,
    /// A call failed.
    Error,
}

impl EndReason {
    /// As the attribute has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::SessionClosed => "session_closed",
            Self::Error => "error",
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        [Self::Completed, Self::Interrupted, Self::SessionClosed, Self::Error]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

impl Conversation {
    /// How long it took; `None` while it is open.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.end.map(|end| end.since(self.start))
    }

    /// The turn whose user waited the longest.
    #[must_use]
    pub fn worst_turn(&self) -> Option<&Turn> {
        self.turns.iter().filter(|turn| turn.latency.total.is_some()).max_by_key(|turn| turn.latency.total)
    }

    pub(super) fn of(group: &Group, nodes: &[Node]) -> Option<Self> {
        let parts = slots::slots(nodes, &group.members);
        let count = parts.turns.len();
        let number_of = |place| u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1);
        let turns = parts.turns.iter().enumerate();
        let turns: Vec<Turn> =
            turns.filter_map(|(place, slot)| Turn::of(slot, nodes, number_of(place), place + 1 < count)).collect();
        let outside = calls::calls(nodes, &parts.outside.calls);

        let all = || group.members.iter().filter_map(|place| nodes.get(*place)).map(|node| &node.span);
        let own = group.span.and_then(|place| nodes.get(place)).map(|node| &node.span);
        let (own_reading, reading) = (Reading::of_all(own), Reading::of_all(own.into_iter().chain(all())));
        let (start, last) = (all().map(|span| span.start).min()?, all().map(|span| span.end.max(span.start)).max()?);
        let is_open = own.is_none() && hangs_on_missing(group, nodes);
        let spans = parts.outside.spans.iter().chain(&parts.outside.moments);
        let owned = |names| reading.text(names).map(str::to_owned);
        let sum = turns.iter().fold(Usage::default(), |sum, turn| sum.plus(turn.usage));
        let sum = outside.iter().fold(sum, |sum, call| sum.plus(call.total()));
        let errors: u64 = turns.iter().map(|turn| turn.errors).sum();
        Some(Self {
            id: group.id.clone().or_else(|| owned(names::CONVERSATION_ID)),
            session_id: owned(names::SESSION_ID),
            user_id: owned(names::USER_ID),
            agent: owned(names::AGENT),
            service: all().find_map(|span| span.service.clone()),
            start: own.map_or(start, |own| own.start),
            end: own.map_or_else(|| (!is_open).then_some(last), |own| Some(own.end.max(own.start))),
            usage: Usage::totals_of(&own_reading).or(sum),
            errors: outside.iter().map(Call::failures).sum::<u64>().saturating_add(errors),
            interruptions: number_of(turns.iter().filter(|turn| turn.is_interrupted()).count()) - 1,
            latency: Percentiles::of(turns.iter().filter_map(|turn| turn.latency.total)),
            greeting_latency: own_reading.seconds(names::GREETING_LATENCY),
            spans: spans.filter_map(|place| nodes.get(*place)).map(|node| Arc::clone(&node.span)).collect(),
            turns,
            calls: outside,
        })
    }
}

/// Whether a span is missing that something hangs on which is known to be of a conversation: that may go on.
fn hangs_on_missing(group: &Group, nodes: &[Node]) -> bool {
    let is_known = |node: &Node| group.id.is_some() || !matches!(node.role, Role::Call(_));
    let mut members = group.members.iter().filter_map(|place| nodes.get(*place));
    members.any(|node| node.is_orphan() && is_known(node))
}

impl Turn {
    /// How long it took; `None` while it is open.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.end.map(|end| end.since(self.start))
    }

    /// Whether the user cut the agent off.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.end_reason == Some(EndReason::Interrupted)
    }

    /// The turn of these nodes. `is_followed` by another one of its conversation.
    fn of(slot: &Slot, nodes: &[Node], place: u64, is_followed: bool) -> Option<Self> {
        let spans_of = |places: &[usize]| -> Vec<Arc<FinishedSpan>> {
            places.iter().filter_map(|place| nodes.get(*place)).map(|node| Arc::clone(&node.span)).collect()
        };
        let (mut spans, moment_spans) = (spans_of(&slot.spans), spans_of(&slot.moments));
        let mut calls = calls::calls(nodes, &slot.calls);
        if slot.spans.is_empty() {
            // Everything in a turn that goes on hangs on a span that is not here yet.
            for call in &mut calls {
                call.oddities.retain(|it| !matches!(it, Oddity::Orphan { .. }));
            }
        }
        // The agent's turn says more than the user's, and of several the last one.
        let (own, marks) = (Reading::of_all(spans.iter().rev()), Reading::of_all(&moment_spans));
        let services = services(&calls);
        let mut moments = Moments::of(&own, &marks);
        let guessed = moments.user_stopped.is_none().then(|| Moments::of_pipecat(&own, &services)).flatten();
        let latency = Latency::of(&own, &services, &guessed.unwrap_or(moments), Moments::committed(&marks));

        let errors: u64 = calls.iter().map(Call::failures).sum();
        let failure = Failure::of(&own);
        let start = spans.iter().map(|span| span.start).min();
        let start = start.or_else(|| calls.iter().map(|call| call.start).min())?;
        let end = end_of(&own, start);
        let end_reason = end.map(|_| {
            let said = own.text(names::END_REASON).and_then(EndReason::of_text);
            let is_answered = latency.total.is_some() || moments.agent_started.is_some();
            said.unwrap_or_else(|| end_reason(&own, is_followed, !is_answered && errors > 0))
        });
        if end_reason == Some(EndReason::Interrupted) {
            moments.interrupted = moments.interrupted.or(moments.agent_stopped).or(end);
        }
        let playout = own.seconds(names::PLAYOUT_POSITION);
        let (user, agent) = (said::by_user(&own, &services), said::by_agent(&own, &services, &moments, playout));
        let usage = calls.iter().fold(Usage::default(), |sum, call| sum.plus(call.total()));
        let usage = Usage::totals_of(&own).or(usage);
        let interruption_source = own.text(names::INTERRUPTION_SOURCE).map(str::to_owned);
        spans.extend(moment_spans);
        Some(Self {
            number: slot.number.unwrap_or(place),
            start,
            end,
            end_reason,
            interruption_source,
            latency,
            moments,
            usage,
            errors: errors.max(u64::from(failure.is_some())),
            failure,
            user,
            agent,
            calls,
            spans,
        })
    }
}

/// When the last of a turn's spans ended; of Pipecat's without the timer that it waits for.
fn end_of(turn: &Reading<'_>, start: Timestamp) -> Option<Timestamp> {
    let last = turn.spans().iter().map(|span| span.end.max(span.start)).max()?;
    let said = turn.seconds(names::PIPECAT_TURN_DURATION).map(|duration| start.after(duration));
    Some(said.map_or(last, |said| said.min(last)))
}

/// Why a turn ended whose library does not say it. Pipecat calls a hang-up an interruption: nobody speaks after it.
fn end_reason(turn: &Reading<'_>, is_followed: bool, is_unanswered: bool) -> EndReason {
    let is_interrupted = turn.flag(names::INTERRUPTED) == Some(true);
    let is_hang_up = turn.flag(names::PIPECAT_HUNG_UP) == Some(true)
        || (turn.flag(names::PIPECAT_INTERRUPTED) == Some(true) && !is_followed);
    match (is_hang_up, is_interrupted, is_unanswered) {
        (true, _, _) => EndReason::SessionClosed,
        (false, true, _) => EndReason::Interrupted,
        (false, false, true) => EndReason::Error,
        (false, false, false) => EndReason::Completed,
    }
}

/// All calls in a turn but the attempts.
fn services(calls: &[Call]) -> Vec<&Call> {
    let (mut found, mut rest): (Vec<&Call>, Vec<&Call>) = (Vec::new(), calls.iter().rev().collect());
    while let Some(call) = rest.pop() {
        found.push(call);
        let below = call.calls.iter().rev();
        rest.extend(below.filter(|below| below.kind.is_none() || below.kind != call.kind));
    }
    found.sort_by_key(|call| call.start);
    found
}
