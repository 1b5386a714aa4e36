//! When did the turn begin and end, and where did its time go?
//!
//! Moments in, turns out: nanoseconds since the anchor of the conversation's clock, negative for what was back-dated
//! beyond it. No clock runs in here, and nothing waits.

use crate::kind::Kind;

/// A moment of a conversation, in nanoseconds since its anchor.
pub(crate) type At = i64;

/// Who spoke when, from the user's start to the agent's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The user's first start.
    pub(crate) user_started: Option<At>,
    /// The user's last stop before the agent spoke.
    pub(crate) user_stopped: Option<At>,
    /// The agent's first start.
    pub(crate) bot_started: Option<At>,
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
    /// The event of this name, or with this message.
    pub(crate) fn of(event: &str) -> Option<Self> {
        Some(match event {
            "user_started_speaking" => Self::UserStarted,
            "user_stopped_speaking" => Self::UserStopped,
            "bot_started_speaking" => Self::BotStarted,
            "bot_stopped_speaking" => Self::BotStopped,
            _ => return None,
        })
    }
}

impl Exchange {
    /// Takes a moment in. `Some` is the exchange that begins with it: the user speaks again after the agent has spoken.
    #[must_use]
    pub(crate) fn hear(&mut self, speaking: Speaking, at: At) -> Option<Self> {
        match speaking {
            Speaking::UserStarted if self.bot_started.is_some() => {
                if self.is_bot_speaking() {
                    self.interrupted = Some(at);
                }
                return Some(Self { user_started: Some(at), ..Self::default() });
            }
            Speaking::UserStarted => {
                self.user_started.get_or_insert(at);
            }
            Speaking::UserStopped if self.bot_started.is_none_or(|bot| at <= bot) => self.user_stopped = Some(at),
            Speaking::BotStarted => {
                self.bot_started.get_or_insert(at);
                self.bot_stopped = None;
            }
            Speaking::BotStopped if self.bot_started.is_some() => self.bot_stopped = Some(at),
            // A user who talks on into the answer was answered before; an agent that was not heard can't fall silent.
            Speaking::UserStopped | Speaking::BotStopped => {}
        }
        None
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
        Self { user_started: None, user_stopped: None, ..*self }
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

/// A part of the time from the user's stop to the agent's start, in the order in which they usually come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Transcription,
    TurnDetection,
    Llm,
    Tool,
    Aggregation,
    Synthesis,
    Playout,
}

/// How long the user waited for the agent, and what for. The parts sum to the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Latency {
    parts: [i64; 7],
}

impl Latency {
    /// The whole, in nanoseconds.
    pub(crate) fn total(&self) -> i64 {
        self.parts.iter().sum()
    }

    /// One part, in nanoseconds.
    pub(crate) fn part(&self, part: Part) -> i64 {
        self.parts.get(part as usize).copied().unwrap_or_default()
    }

    /// From the user's stop to the agent's start, or to the first byte of audio when nobody said that it started.
    /// `None` when the user or the agent was never heard, or the agent spoke first.
    pub(crate) fn of(exchange: &Exchange, calls: &[Call]) -> Option<Self> {
        let stopped = exchange.user_stopped?;
        let audio = [Kind::Tts, Kind::Realtime].into_iter().filter_map(|kind| first(calls, kind, stopped)).min();
        let spoke = exchange.bot_started.or(audio).filter(|spoke| *spoke >= stopped)?;
        let calls: Vec<Call> =
            calls.iter().copied().filter(|call| call.ended.is_none_or(|ended| ended >= stopped)).collect();
        let token = first(&calls, Kind::Llm, stopped);

        let mut bounds = vec![stopped, spoke];
        for call in &calls {
            bounds.extend([Some(call.started), call.first, call.ended].into_iter().flatten());
        }
        bounds.retain(|bound| (stopped..=spoke).contains(bound));
        bounds.sort_unstable();
        bounds.dedup();

        let mut latency = Self::default();
        for (from, to) in bounds.iter().zip(bounds.iter().skip(1)) {
            let part = part_at(*from, &calls, token, audio);
            if let Some(sum) = latency.parts.get_mut(part as usize) {
                *sum += to - from;
            }
        }
        Some(latency)
    }
}

/// What the user waits for at this moment.
fn part_at(at: At, calls: &[Call], token: Option<At>, audio: Option<At>) -> Part {
    let any = |kind: Kind, holds: fn(&Call, At) -> bool| calls.iter().any(|call| call.kind == kind && holds(call, at));
    if audio.is_some_and(|audio| audio <= at) {
        Part::Playout
    } else if any(Kind::Tts, Call::waits_for_first) {
        Part::Synthesis
    } else if any(Kind::Tool, Call::is_open) {
        Part::Tool
    } else if any(Kind::Llm, Call::waits_for_first) || any(Kind::Realtime, Call::waits_for_first) {
        Part::Llm
    } else if any(Kind::Stt, Call::is_open) {
        Part::Transcription
    } else if token.is_some_and(|token| token <= at) {
        Part::Aggregation
    } else {
        Part::TurnDetection
    }
}

/// The first token or byte of this kind that came after the user's stop, or before it from a call that went on.
fn first(calls: &[Call], kind: Kind, stopped: At) -> Option<At> {
    let firsts = calls.iter().filter(|call| call.kind == kind && call.ended.is_none_or(|ended| ended >= stopped));
    firsts.filter_map(|call| call.first).min()
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
    use super::{At, Call, EndReason, Exchange, Latency, Part, Speaking};
    use crate::kind::Kind;
    use proptest::prelude::*;

    /// The exchanges that these moments make.
    fn exchanges(moments: &[(Speaking, At)]) -> Vec<Exchange> {
        let mut all = vec![Exchange::default()];
        for (speaking, at) in moments {
            let next = all.last_mut().unwrap().hear(*speaking, *at);
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
            (Part::Aggregation, 40 + 100),
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
        ) {
            let kinds = [Kind::Stt, Kind::Llm, Kind::Tts, Kind::Tool, Kind::Agent];
            let calls: Vec<Call> = calls
                .into_iter()
                .map(|(kind, started, first, ended)| {
                    call(kinds[kind], started, first.map(|first| started + first), ended.map(|ended| started + ended))
                })
                .collect();
            let exchange = Exchange { user_stopped: Some(stopped), bot_started: Some(stopped + waited), ..Exchange::default() };
            let latency = Latency::of(&exchange, &calls).unwrap();
            prop_assert_eq!(latency.total(), waited);
            prop_assert!(latency.parts.iter().all(|part| *part >= 0));
        }
    }
}
