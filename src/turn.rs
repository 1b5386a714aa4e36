//! When did the turn begin and end, and where did its time go?
//!
//! Moments in, turns out: nanoseconds since the anchor of the conversation's clock, negative for what was back-dated
//! beyond it. No clock runs in here, and nothing waits.

use crate::kind::Kind;
use crate::semconv::{
    AGENT_STARTED_SPEAKING, AGENT_STOPPED_SPEAKING, Key, LATENCY_AGGREGATION, LATENCY_ENDPOINTING, LATENCY_LLM,
    LATENCY_PLAYOUT, LATENCY_SYNTHESIS, LATENCY_TOOL, LATENCY_TOOL_CALL, LATENCY_TRANSCRIPTION, LATENCY_TURN_DETECTION,
    USER_STARTED_SPEAKING, USER_STOPPED_SPEAKING,
};

/// A moment of a conversation, in nanoseconds since its anchor.
pub(crate) type At = i64;

/// Who spoke when, from the user's start to the agent's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The user's first start.
    pub(crate) user_started: Option<At>,
    /// The user's last start.
    user_resumed: Option<At>,
    /// The user's last stop before the agent spoke.
    pub(crate) user_stopped: Option<At>,
    /// When the detector reported that stop.
    endpointed: Option<At>,
    /// The agent's first start.
    pub(crate) bot_started: Option<At>,
    /// The agent's last start.
    bot_resumed: Option<At>,
    /// The agent's last stop; none while it speaks.
    pub(crate) bot_stopped: Option<At>,
    /// When the user cut the agent off.
    pub(crate) interrupted: Option<At>,
}

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaking {
    UserStarted,
    UserStopped,
    BotStarted,
    BotStopped,
}

impl Speaking {
    /// The span event that shows it.
    pub(crate) fn key(self) -> Key {
        match self {
            Self::UserStarted => USER_STARTED_SPEAKING,
            Self::UserStopped => USER_STOPPED_SPEAKING,
            Self::BotStarted => AGENT_STARTED_SPEAKING,
            Self::BotStopped => AGENT_STOPPED_SPEAKING,
        }
    }
}

/// An event that is about a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cue {
    Speaking(Speaking),
    /// The last interruption was none: the agent goes on.
    FalseInterruption,
}

impl Cue {
    /// The event of this name, or with this message.
    pub(crate) fn of(event: &str) -> Option<Self> {
        Some(match event {
            "user_started_speaking" => Self::Speaking(Speaking::UserStarted),
            "user_stopped_speaking" => Self::Speaking(Speaking::UserStopped),
            "bot_started_speaking" => Self::Speaking(Speaking::BotStarted),
            "bot_stopped_speaking" => Self::Speaking(Speaking::BotStopped),
            "false_interruption" => Self::FalseInterruption,
            _ => return None,
        })
    }
}

/// A speaking event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) speaking: Speaking,
    /// When it happened.
    pub(crate) at: At,
    /// When the detector reported it.
    pub(crate) reported: At,
}

impl Exchange {
    /// Takes a moment in. `Some` is the exchange that begins with it: the user speaks again after the agent has spoken.
    #[must_use]
    pub(crate) fn hear(&mut self, heard: Heard) -> Option<Self> {
        let at = heard.at;
        match heard.speaking {
            Speaking::UserStarted if self.bot_started.is_some() => {
                if self.is_bot_speaking() {
                    // A detector may be so late that the user had started before the agent did.
                    self.interrupted = self.bot_started.max(Some(at));
                }
                return Some(Self { user_started: Some(at), user_resumed: Some(at), ..Self::default() });
            }
            Speaking::UserStarted => {
                if self.user_started.is_none() && self.user_stopped.is_some_and(|stopped| stopped < at) {
                    (self.user_stopped, self.endpointed) = (None, None);
                }
                self.user_started.get_or_insert(at);
                self.user_resumed = self.user_resumed.max(Some(at));
            }
            Speaking::UserStopped if self.can_user_stop(at) => {
                (self.user_stopped, self.endpointed) = (Some(at), Some(heard.reported));
            }
            Speaking::BotStarted => {
                self.bot_started.get_or_insert(at);
                self.bot_resumed = self.bot_resumed.max(Some(at));
                self.bot_stopped = None;
            }
            Speaking::BotStopped if self.bot_resumed.is_some_and(|resumed| resumed <= at) => {
                self.bot_stopped = Some(at);
            }
            Speaking::UserStopped | Speaking::BotStopped => {}
        }
        None
    }

    /// A stop that lies before its start is none, and a user who talks on into the answer was answered before.
    fn can_user_stop(&self, at: At) -> bool {
        self.user_resumed.is_none_or(|resumed| resumed <= at) && self.bot_started.is_none_or(|bot| at <= bot)
    }

    /// The same, if the user had not cut in.
    pub(crate) fn uninterrupted(&self) -> Self {
        Self { interrupted: None, ..*self }
    }

    /// Whether the user was heard.
    pub(crate) fn has_user(&self) -> bool {
        self.user_started.is_some() || self.user_stopped.is_some()
    }

    /// Whether the agent speaks.
    pub(crate) fn is_bot_speaking(&self) -> bool {
        self.bot_started.is_some() && self.bot_stopped.is_none() && self.interrupted.is_none()
    }

    /// What goes on of it after its turn is forgotten: the agent has spoken.
    pub(crate) fn without_user(&self) -> Self {
        Self { bot_started: self.bot_started, bot_stopped: self.bot_stopped.or(self.bot_started), ..Self::default() }
    }

    /// When a turn that is made of this exchange ends: when the user cut in, or when the agent was done; `None` while it
    /// speaks, and when it never spoke.
    pub(crate) fn end(&self) -> Option<At> {
        self.interrupted.or(self.bot_stopped)
    }
}

/// A service call within a turn, as far as it explains where the time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) started: At,
    /// Its first token or byte.
    pub(crate) first: Option<At>,
    /// Its close; `None` while it is open.
    pub(crate) ended: Option<At>,
}

impl Call {
    fn is_open(&self, at: At) -> bool {
        self.started <= at && self.ended.is_none_or(|ended| at < ended)
    }

    fn waits_for_first(&self, at: At) -> bool {
        self.is_open(at) && self.first.is_none_or(|first| at < first)
    }
}

/// The parts of a latency, each with its attribute.
macro_rules! parts {
    ($($(#[$doc:meta])+ $part:ident = $key:ident,)+) => {
        /// A part of the time from the user's stop to the agent's start, in the order in which they usually come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Part {
            $($(#[$doc])+ $part),+
        }

        impl Part {
            pub(crate) const ALL: [Self; [$(Self::$part),+].len()] = [$(Self::$part),+];

            /// Its attribute.
            pub(crate) fn key(self) -> Key {
                match self {
                    $(Self::$part => $key),+
                }
            }
        }
    };
}

parts! {
    /// The user is silent, and the detector has not reported it.
    Endpointing = LATENCY_ENDPOINTING,
    /// An stt is open.
    Transcription = LATENCY_TRANSCRIPTION,
    /// Nothing of the other parts.
    TurnDetection = LATENCY_TURN_DETECTION,
    /// An llm or a realtime model has not given its first token.
    Llm = LATENCY_LLM,
    /// An llm writes the call of a tool, with nothing spoken before that opens.
    ToolCall = LATENCY_TOOL_CALL,
    /// A tool is open.
    Tool = LATENCY_TOOL,
    /// An llm writes what is to be spoken.
    Aggregation = LATENCY_AGGREGATION,
    /// A tts has not given its first byte.
    Synthesis = LATENCY_SYNTHESIS,
    /// The first byte of audio is there.
    Playout = LATENCY_PLAYOUT,
}

impl Part {
    /// What metrics call it.
    pub(crate) fn name(self) -> &'static str {
        self.key().name().rsplit('.').next().unwrap_or_default()
    }
}

/// How long the user waited for the agent, and what for. The parts sum to the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Latency {
    parts: [i64; Part::ALL.len()],
}

impl Latency {
    /// The whole, in nanoseconds.
    pub(crate) fn total(&self) -> i64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
    }

    /// One part, in nanoseconds.
    pub(crate) fn part(&self, part: Part) -> i64 {
        self.parts.get(part as usize).copied().unwrap_or_default()
    }

    /// From the user's stop to the agent's start, or to the first byte of audio when nobody said that it started.
    /// `None` when the user or the agent was never heard, or the agent spoke first.
    pub(crate) fn of(exchange: &Exchange, calls: &[Call]) -> Option<Self> {
        let stopped = exchange.user_stopped?;
        let calls: Vec<Call> =
            calls.iter().copied().filter(|call| call.ended.is_none_or(|ended| ended >= stopped)).collect();
        let audio = calls.iter().filter(|call| matches!(call.kind, Kind::Tts | Kind::Realtime));
        let audio = audio.filter_map(|call| call.first).min();
        let spoke = exchange.bot_started.or(audio).filter(|spoke| *spoke >= stopped)?;
        let wait = Wait { spoke, endpointed: exchange.endpointed, audio, calls };
        let mut latency = Self::default();
        let bounds = wait.bounds(stopped);
        for (from, to) in bounds.iter().zip(bounds.iter().skip(1)) {
            if let Some(sum) = latency.parts.get_mut(wait.part_at(*from) as usize) {
                *sum = sum.saturating_add(to.saturating_sub(*from));
            }
        }
        Some(latency)
    }
}

/// What happens while the user waits.
struct Wait {
    /// The agent's start, at which the wait is over.
    spoke: At,
    endpointed: Option<At>,
    /// The first byte of audio.
    audio: Option<At>,
    calls: Vec<Call>,
}

impl Wait {
    /// The moments at which one part may follow another, from the user's stop on.
    fn bounds(&self, stopped: At) -> Vec<At> {
        let mut bounds = vec![stopped, self.spoke];
        bounds.extend(self.endpointed);
        for call in &self.calls {
            bounds.extend([Some(call.started), call.first, call.ended].into_iter().flatten());
        }
        bounds.retain(|bound| (stopped..=self.spoke).contains(bound));
        bounds.sort_unstable();
        bounds.dedup();
        bounds
    }

    /// What the user waits for at this moment.
    fn part_at(&self, at: At) -> Part {
        let any = |kind: Kind, holds: fn(&Call, At) -> bool| self.of(kind).any(|call| holds(call, at));
        let token = self.of(Kind::Llm).filter_map(|llm| llm.first).filter(|first| *first <= at).max();
        if self.endpointed.is_some_and(|endpointed| at < endpointed) {
            Part::Endpointing
        } else if self.audio.is_some_and(|audio| audio <= at) {
            Part::Playout
        } else if any(Kind::Tts, Call::waits_for_first) {
            Part::Synthesis
        } else if any(Kind::Tool, Call::is_open) {
            Part::Tool
        } else if any(Kind::Llm, Call::waits_for_first) || any(Kind::Realtime, Call::waits_for_first) {
            Part::Llm
        } else if any(Kind::Stt, Call::is_open) {
            Part::Transcription
        } else if token.is_some_and(|token| self.calls_tool(token, at)) {
            Part::ToolCall
        } else if token.is_some() {
            Part::Aggregation
        } else {
            Part::TurnDetection
        }
    }

    /// Whether a tool opens after this moment, with nothing spoken from the token until then.
    fn calls_tool(&self, token: At, at: At) -> bool {
        let is_spoken = |until: At| self.of(Kind::Tts).any(|tts| (token..until).contains(&tts.started));
        self.of(Kind::Tool).any(|tool| (at..=self.spoke).contains(&tool.started) && !is_spoken(tool.started))
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.kind == kind)
    }
}

/// Why a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    Completed,
    Interrupted,
    SessionClosed,
    Error,
}

impl EndReason {
    /// An interruption is no error, and a hang-up is neither.
    pub(crate) fn of(interrupted: bool, failed: bool, hung_up: bool) -> Self {
        if interrupted {
            Self::Interrupted
        } else if failed {
            Self::Error
        } else if hung_up {
            Self::SessionClosed
        } else {
            Self::Completed
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::SessionClosed => "session_closed",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Speaking::{BotStarted, BotStopped, UserStarted, UserStopped};
    use super::{At, Call, EndReason, Exchange, Heard, Latency, Part, Speaking};
    use crate::kind::Kind;
    use proptest::prelude::*;

    /// The exchanges that these moments make.
    fn exchanges(moments: &[(Speaking, At)]) -> Vec<Exchange> {
        let mut all = vec![Exchange::default()];
        for (speaking, at) in moments {
            let heard = Heard { speaking: *speaking, at: *at, reported: *at };
            let next = all.last_mut().unwrap().hear(heard);
            all.extend(next);
        }
        all
    }

    fn call(kind: Kind, started: At, first: Option<At>, ended: Option<At>) -> Call {
        Call { kind, started, first, ended }
    }

    #[test]
    fn an_answered_user_who_speaks_again_begins_the_next_exchange() {
        let [one, two] = exchanges(&[
            (UserStarted, 0),
            (UserStopped, 10),
            (BotStarted, 20),
            (BotStopped, 30),
            (UserStarted, 40),
            (UserStopped, 50),
        ])[..] else {
            panic!("two exchanges")
        };
        assert_eq!((one.end(), one.interrupted), (Some(30), None));
        assert_eq!((two.user_started, two.end()), (Some(40), None));
    }

    #[test]
    fn a_user_who_cuts_in_interrupts() {
        let [one, two] = exchanges(&[(UserStarted, 0), (UserStopped, 10), (BotStarted, 20), (UserStarted, 25)])[..]
        else {
            panic!("two exchanges")
        };
        assert_eq!((one.interrupted, one.end()), (Some(25), Some(25)));
        assert_eq!(two.user_started, Some(25));
    }

    #[test]
    fn a_user_who_is_not_answered_yet_stays_in_the_exchange() {
        let [one] = exchanges(&[
            (UserStarted, 0),
            (UserStopped, 10),
            (UserStarted, 15),
            (UserStopped, 30),
            (BotStarted, 40),
        ])[..] else {
            panic!("one exchange")
        };
        assert_eq!((one.user_started, one.user_stopped, one.bot_started), (Some(0), Some(30), Some(40)));
    }

    #[test]
    fn an_agent_that_pauses_goes_on() {
        let [one] =
            exchanges(&[(UserStarted, 0), (BotStarted, 20), (BotStopped, 30), (BotStarted, 40), (BotStopped, 50)])[..]
        else {
            panic!("one exchange")
        };
        assert_eq!((one.bot_started, one.bot_stopped), (Some(20), Some(50)));
    }

    #[test]
    fn a_stop_that_lies_before_its_start_is_none_and_the_next_one_counts() {
        let [one] = exchanges(&[(UserStopped, 5), (UserStarted, 10), (UserStopped, 8)])[..] else { panic!("one") };
        assert_eq!((one.user_started, one.user_stopped), (Some(10), None));
        let moments = [(UserStarted, 0), (UserStopped, 10), (UserStarted, 20), (UserStopped, 15), (UserStopped, 30)];
        let [one] = exchanges(&moments)[..] else { panic!("one") };
        assert_eq!((one.user_started, one.user_stopped), (Some(0), Some(30)));
        let moments = [(UserStarted, 0), (BotStarted, 20), (BotStopped, 10), (BotStopped, 30), (BotStarted, 40)];
        let [one] = exchanges(&moments)[..] else { panic!("one") };
        assert_eq!((one.bot_started, one.bot_stopped), (Some(20), None));
        let [one, _] = exchanges(&[(UserStarted, 0), (BotStarted, 20), (UserStarted, 15)])[..] else { panic!("two") };
        assert_eq!(one.end(), Some(20), "the agent is not cut off before it speaks");
    }

    #[test]
    fn the_detector_is_waited_for_first() {
        let mut exchange = Exchange { bot_started: None, ..Exchange::default() };
        for (speaking, at, reported) in [(UserStarted, 0, 20), (UserStopped, 100, 300), (BotStarted, 1_000, 1_000)] {
            assert_eq!(exchange.hear(Heard { speaking, at, reported }), None);
        }
        let latency = Latency::of(&exchange, &[call(Kind::Stt, 0, None, Some(450))]).unwrap();
        let parts = [Part::Endpointing, Part::Transcription, Part::TurnDetection].map(|part| latency.part(part));
        assert_eq!((parts, latency.total()), ([200, 150, 550], 900));
        let soon = Exchange { bot_started: Some(150), ..exchange };
        assert_eq!(Latency::of(&soon, &[]).unwrap().part(Part::Endpointing), 50, "the agent was quicker");
    }

    #[test]
    fn a_call_of_a_tool_is_written_until_it_opens_unless_something_is_spoken() {
        let exchange = Exchange { user_stopped: Some(0), bot_started: Some(1_000), ..Exchange::default() };
        let llm = call(Kind::Llm, 100, Some(200), Some(390));
        let tool = call(Kind::Tool, 400, None, Some(600));
        let of = |calls: &[Call]| {
            let latency = Latency::of(&exchange, calls).unwrap();
            [Part::ToolCall, Part::Tool, Part::Aggregation].map(|part| latency.part(part))
        };
        assert_eq!(of(&[llm, tool]), [200, 200, 400]);
        let filler = call(Kind::Tts, 300, None, Some(350));
        assert_eq!(of(&[llm, tool, filler]), [0, 200, 550], "something was spoken in between");
        let late = call(Kind::Tool, 1_100, None, Some(1_200));
        assert_eq!(of(&[llm, late]), [0, 0, 800], "the agent speaks first");
    }

    #[test]
    fn moments_of_any_distance_make_no_overflow() {
        let exchange = Exchange { user_stopped: Some(At::MIN), bot_started: Some(At::MAX), ..Exchange::default() };
        let latency = Latency::of(&exchange, &[call(Kind::Llm, 0, Some(1), None)]).unwrap();
        assert_eq!(latency.total(), At::MAX);
    }

    #[test]
    fn the_parts_of_a_cascade_are_told_apart() {
        let exchange = Exchange { user_stopped: Some(100), bot_started: Some(1_000), ..Exchange::default() };
        let calls = [
            call(Kind::Stt, 0, None, Some(250)),
            call(Kind::Llm, 300, Some(400), Some(450)),
            call(Kind::Tool, 440, None, Some(600)),
            call(Kind::Llm, 600, Some(700), Some(900)),
            call(Kind::Tts, 800, Some(950), Some(2_000)),
        ];
        let latency = Latency::of(&exchange, &calls).unwrap();
        for (part, expected) in [
            (Part::Transcription, 150),
            (Part::TurnDetection, 50),
            (Part::Llm, 200),
            (Part::ToolCall, 40),
            (Part::Aggregation, 100),
            (Part::Tool, 160),
            (Part::Synthesis, 150),
            (Part::Playout, 50),
        ] {
            assert_eq!(latency.part(part), expected, "{part:?}");
        }
        assert_eq!(latency.total(), 900);
    }

    #[test]
    fn without_a_user_or_an_agent_there_is_no_latency() {
        let user = Exchange { user_stopped: Some(100), ..Exchange::default() };
        assert_eq!(Latency::of(&user, &[]), None);
        assert_eq!(Latency::of(&Exchange { bot_started: Some(50), ..Exchange::default() }, &[]), None);
        assert_eq!(Latency::of(&Exchange { bot_started: Some(50), ..user }, &[]), None, "the agent spoke first");
        let audio = [call(Kind::Tts, 120, Some(160), None)];
        assert_eq!(Latency::of(&user, &audio).unwrap().total(), 60, "to the first byte of audio");
    }

    #[test]
    fn a_speech_to_speech_model_is_waited_for_until_its_first_audio() {
        let exchange = Exchange { user_stopped: Some(100), bot_started: Some(500), ..Exchange::default() };
        let calls = [call(Kind::Realtime, 150, None, Some(200)), call(Kind::Realtime, 300, Some(450), Some(900))];
        let latency = Latency::of(&exchange, &calls).unwrap();
        assert_eq!((latency.part(Part::Llm), latency.part(Part::Playout)), (50 + 150, 50));
        assert_eq!(latency.part(Part::TurnDetection), 50 + 100);
    }

    #[test]
    fn what_had_ended_before_the_user_stopped_does_not_count() {
        let exchange = Exchange { user_stopped: Some(100), bot_started: Some(200), ..Exchange::default() };
        let calls = [call(Kind::Llm, 10, Some(20), Some(30)), call(Kind::Tts, 20, Some(30), Some(99))];
        assert_eq!(Latency::of(&exchange, &calls).unwrap().part(Part::TurnDetection), 100);
    }

    #[test]
    fn an_interruption_an_error_and_a_hang_up_are_three_things() {
        assert_eq!(EndReason::of(false, false, false), EndReason::Completed);
        assert_eq!(EndReason::of(true, true, true), EndReason::Interrupted);
        assert_eq!(EndReason::of(false, true, true), EndReason::Error);
        assert_eq!(EndReason::of(false, false, true), EndReason::SessionClosed);
    }

    proptest! {
        #[test]
        fn the_parts_sum_to_the_whole(
            calls in prop::collection::vec((0..5_usize, -50..400_i64, prop::option::of(0..200_i64), prop::option::of(0..300_i64)), 0..12),
            stopped in 0..200_i64,
            waited in 0..300_i64,
            endpointed in prop::option::of(0..500_i64),
        ) {
            let kinds = [Kind::Stt, Kind::Llm, Kind::Tts, Kind::Tool, Kind::Agent];
            let calls: Vec<Call> = calls
                .into_iter()
                .map(|(kind, started, first, ended)| {
                    call(kinds[kind], started, first.map(|first| started + first), ended.map(|ended| started + ended))
                })
                .collect();
            let (user_stopped, bot_started) = (Some(stopped), Some(stopped + waited));
            let exchange = Exchange { user_stopped, endpointed, bot_started, ..Exchange::default() };
            let latency = Latency::of(&exchange, &calls).unwrap();
            prop_assert_eq!(latency.total(), waited);
            prop_assert!(latency.parts.iter().all(|part| *part >= 0));
        }
    }
}
