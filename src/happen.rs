//! What does an event change?

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use opentelemetry::{KeyValue, StringValue};
use tracing_core::Level;

use crate::core::Core;
use crate::event::{self, Meaning, Moment, Said};
use crate::kind::Kind;
use crate::semconv::{EVALUATION_RESULT, EVENT_LEVEL, EVENT_TARGET};
use crate::turn::Cue;
use crate::{finish, home, lifecycle, made, span};

/// An event as its door found it.
#[derive(Debug)]
pub(crate) struct Happening {
    /// What it is called, whatever its message is.
    pub(crate) name: Cow<'static, str>,
    pub(crate) target: Cow<'static, str>,
    pub(crate) weight: Weight,
    pub(crate) said: Said,
    pub(crate) now: Instant,
    /// When the program says that it happened, if it does.
    pub(crate) at: Option<SystemTime>,
}

/// What an event's level makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Below the level that is exported: it counts if the contract knows it, and is no span event otherwise.
    Detail,
    Note,
    /// It tells of an error.
    Error,
}

impl Weight {
    pub(crate) fn of(level: Level, exported: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            level if level > exported => Self::Detail,
            _ => Self::Note,
        }
    }
}

/// Whether the contract has an event of this name, or with this message.
pub(crate) fn is_known(name: &str) -> bool {
    // A realtime span has all moments that there are.
    Cue::of(name).is_some() || Moment::of(name, Kind::Realtime).is_some() || Meaning::of(name).is_some()
}

/// Whether a target is OpenTelemetry's: its own log of what it does would end up in the spans that it tells about.
pub(crate) fn is_opentelemetrys(target: &str) -> bool {
    target.starts_with("opentelemetry")
}

impl Happening {
    /// What it is: its name says so, or its message.
    fn find<R>(&self, find: impl Fn(&str) -> Option<R>) -> Option<R> {
        find(&self.name).or_else(|| find(self.said.message.as_deref()?))
    }

    /// When its moment was.
    fn at(&self) -> Instant {
        let ago = self.said.ago.and_then(Result::ok).unwrap_or_default();
        self.now.checked_sub(ago).unwrap_or(self.now)
    }

    /// Counts a lateness that is none: that of an event which is no moment is a field like others.
    fn count_refused_ago(&self, core: &Core) {
        core.count(self.said.ago.map_or(Ok(()), |ago| ago.map(drop)));
    }
}

/// Counts the ids that were refused, once.
fn count_refused_ids(core: &Core, said: &mut Said) {
    for refusal in said.refused_ids.drain(..) {
        core.count(Err(refusal));
    }
}

/// Takes a moment in, of a conversation or of the recognized span that the event is in; whether it is one.
pub(crate) fn mark(core: &Core, happening: &mut Happening, ours: Option<(u64, Kind)>) -> bool {
    if let Some(cue) = happening.find(Cue::of) {
        return hear(core, happening, cue, ours.map(|(id, _)| id));
    }
    let Some((id, kind)) = ours else { return false };
    let Some(moment) = happening.find(|name| Moment::of(name, kind)) else { return false };
    count_refused_ids(core, &mut happening.said);
    happening.count_refused_ago(core);
    lifecycle::mark(core, id, moment, happening.at());
    true
}

/// Takes an event in that is about a conversation, if there is a conversation that it is about.
fn hear(core: &Core, happening: &mut Happening, cue: Cue, ours: Option<u64>) -> bool {
    count_refused_ids(core, &mut happening.said);
    let around = ours.and_then(|id| core.open.with(id, |open| open.conversation.clone())).flatten();
    let named = happening.said.conversation_id.as_ref().map(StringValue::as_str);
    let conversation = match (named.map(|id| core.policy.id(id)), around) {
        (Some(id), Some(around)) if around.id().as_deref() == Some(&*id) => around,
        (Some(id), _) => home::conversation(core, &id),
        (None, Some(around)) => around,
        (None, None) => return false,
    };
    home::forget_idle(core, happening.now);
    happening.count_refused_ago(core);
    made::hear(core, &conversation, cue, happening.at(), happening.now);
    true
}

/// Puts it on the exported span that it is in.
pub(crate) fn attach(core: &Core, happening: Happening, nearest: u64, ours: Option<(u64, Kind)>) {
    let meaning = happening.find(Meaning::of).unwrap_or_default();
    let Happening { mut name, target, weight, mut said, now, at } = happening;
    if is_opentelemetrys(&target) || (weight == Weight::Detail && meaning == Meaning::Own) {
        return;
    }
    count_refused_ids(core, &mut said);
    if let (Meaning::Retry, Some((call, _))) = (meaning, ours) {
        lifecycle::retry(core, call);
    }
    let is_error = weight == Weight::Error;
    // By what was said, and not by what of it may leave.
    let mark = is_error.then(|| said.failure.clone().of_event(said.message.as_deref()).mark()).flatten();
    if meaning == Meaning::Evaluation {
        said.attributes = event::evaluation(said.attributes);
    }
    if core.policy.is_strict() {
        name = of_contract(name);
        said.message = said.message.filter(|message| is_known(message));
    }
    let said = finish::may_leave(core, said, &target, is_error);
    let failure = is_error.then(|| said.failure.of_event(said.message.as_deref()));
    let found = core.open.with(nearest, |open| {
        if let Some(failure) = failure {
            open.fail(failure, mark);
        }
        (open.context.clone(), at.unwrap_or_else(|| open.anchor.wall(now)))
    });
    let Some((context, at)) = found else { return };
    if meaning == Meaning::Evaluation {
        let mut attributes = said.attributes;
        attributes
            .retain(|attribute| ![EVENT_LEVEL, EVENT_TARGET].iter().any(|key| attribute.key.as_str() == key.name()));
        let message = said.message.filter(|message| Meaning::of(message).is_none());
        attributes.extend(message.map(|message| KeyValue::new("message", message)));
        return span::add_event(core.counters(), &context, EVALUATION_RESULT.name().into(), at, attributes);
    }
    let name = said.message.map_or(name, Cow::Owned);
    span::add_event(core.counters(), &context, name, at, said.attributes);
}

/// The name of an event where no text of the program's may leave, nor a path on the machine that built it. What a program writes
/// as a `name:` is a word of its code.
pub(crate) fn of_contract(name: Cow<'static, str>) -> Cow<'static, str> {
    match name {
        Cow::Borrowed(name) if !event::is_callsite(name) => name.into(),
        Cow::Owned(name) if is_known(&name) => name.into(),
        _ => "event".into(),
    }
}
