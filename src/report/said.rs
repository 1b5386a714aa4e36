//! What did the user say, and what did the agent answer?
//!
//! Read from exported content alone: with content off there is none.

use std::time::Duration;

use crate::kind::Kind;
use crate::words;

use super::call::Call;
use super::moments::Moments;
use super::reading::Reading;
use super::vocabulary as names;

/// What the agent answered, parted into what the user heard and what not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The words that were heard; all of them where nobody cut the agent off. Where nothing but times is known, the border
    /// is at the word that the share of the audio points at.
    pub heard: String,
    /// The words after that, which were not heard; empty for an answer that was heard to its end.
    pub unheard: String,
}

/// What went into a call, as a text.
pub(super) fn input(kind: Option<Kind>, call: &Reading<'_>) -> Option<String> {
    match kind? {
        Kind::Tool => call.text(names::TOOL_ARGUMENTS).map(str::to_owned),
        Kind::Tts => {
            call.text(names::SPOKEN_TEXT).map(str::to_owned).or_else(|| last(call, names::INPUT_MESSAGES, "user"))
        }
        Kind::Realtime => last(call, names::INPUT_MESSAGES, "user").or_else(|| owned(call.text(names::HEARD_TEXT))),
        _ => last(call, names::INPUT_MESSAGES, "user"),
    }
}

/// What came out of a call, as a text.
pub(super) fn output(kind: Option<Kind>, call: &Reading<'_>) -> Option<String> {
    let message = || last(call, names::OUTPUT_MESSAGES, "assistant");
    match kind? {
        Kind::Tool => owned(call.text(names::TOOL_RESULT)),
        Kind::Stt => owned(call.text(names::HEARD_TEXT)).or_else(message),
        Kind::Tts => None,
        _ => message().or_else(|| owned(call.text(names::ANSWER_TEXT))),
    }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn last(call: &Reading<'_>, names: &[&str], role: &str) -> Option<String> {
    words::last(call.text(names)?, role)
}

/// What the user said in a turn: as the turn says, as it was transcribed, or as a model was asked.
pub(super) fn by_user(turn: &Reading<'_>, calls: &[&Call]) -> Option<String> {
    let of_turn = || owned(turn.text(names::HEARD_TEXT)).or_else(|| last(turn, names::INPUT_MESSAGES, "user"));
    let asked = || {
        let mut models = calls.iter().filter(|call| matches!(call.kind, Some(Kind::Llm | Kind::Realtime)));
        models.find_map(|call| call.input.clone())
    };
    of_turn().or_else(|| joined(calls, Kind::Stt, |call| call.output.as_deref())).or_else(asked)
}

/// What the agent answered in a turn: as the turn says, as it was spoken, or as a model wrote it.
pub(super) fn by_agent(
    turn: &Reading<'_>,
    calls: &[&Call],
    moments: &Moments,
    playout: Option<Duration>,
) -> Option<Answer> {
    let of_turn = owned(turn.text(names::ANSWER_TEXT)).or_else(|| last(turn, names::OUTPUT_MESSAGES, "assistant"));
    // A speech that was cut off before its first byte was not spoken.
    let is_spoken = |call: &Call| !call.is_interrupted || call.time_to_first.is_some();
    let spoken = joined(calls, Kind::Tts, |call| call.input.as_deref().filter(|_| is_spoken(call)));
    let spoken = spoken.or_else(|| joined(calls, Kind::Tts, |call| call.input.as_deref()));
    let written = || {
        joined(calls, Kind::Llm, |call| call.output.as_deref())
            .or_else(|| joined(calls, Kind::Realtime, |call| call.output.as_deref()))
    };
    let whole = spoken.or_else(written);
    match (of_turn, whole) {
        // LiveKit cuts its turn's text to what was heard.
        (Some(heard), Some(whole)) if moments.interrupted.is_some() && whole.len() > heard.len() => {
            let unheard = whole.strip_prefix(heard.as_str()).unwrap_or_default().trim_start().to_owned();
            Some(Answer { heard, unheard })
        }
        (of_turn, whole) => of_turn.or(whole).map(|text| part(text, heard_share(calls, moments, playout))),
    }
}

/// The texts of all calls of one kind, attempts aside.
fn joined(calls: &[&Call], kind: Kind, text: impl Fn(&Call) -> Option<&str>) -> Option<String> {
    let texts: Vec<&str> = calls.iter().filter(|call| call.kind == Some(kind)).filter_map(|call| text(call)).collect();
    Some(texts.join(" ")).filter(|text| !text.is_empty())
}

/// How much of the answer was heard, from 0 to 1; `None` where all of it was, or nobody can tell.
fn heard_share(calls: &[&Call], moments: &Moments, playout: Option<Duration>) -> Option<f64> {
    let interrupted = moments.interrupted?;
    let is_speech = |call: &&&Call| matches!(call.kind, Some(Kind::Tts | Kind::Realtime));
    let audio: Duration = calls.iter().filter(is_speech).filter_map(|call| call.usage.audio).sum();
    let heard = match (playout, moments.agent_started) {
        (Some(playout), _) => playout,
        (None, Some(started)) => interrupted.since(started),
        (None, None) if moments.user_stopped.is_some() => return Some(0.0),
        (None, None) => return None,
    };
    (!audio.is_zero()).then(|| (heard.as_secs_f64() / audio.as_secs_f64()).min(1.0))
}

/// Parts a text before the word that a share of its characters points into.
fn part(text: String, share: Option<f64>) -> Answer {
    let Some(share) = share.filter(|share| *share < 1.0) else { return Answer { heard: text, unheard: String::new() } };
    let words = text.split_inclusive(char::is_whitespace);
    #[expect(clippy::cast_precision_loss, reason = "a share of a text needs no 53 bits")]
    let limit = text.chars().count() as f64 * share;
    let (mut seen, mut border) = (0_u32, 0);
    for word in words {
        seen = seen.saturating_add(u32::try_from(word.trim_end().chars().count()).unwrap_or(u32::MAX));
        if f64::from(seen) > limit {
            break;
        }
        seen = seen.saturating_add(u32::from(word.ends_with(char::is_whitespace)));
        border += word.len();
    }
    let (heard, unheard) = text.split_at_checked(border).unwrap_or((&text, ""));
    Answer { heard: heard.trim_end().to_owned(), unheard: unheard.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn an_answer_is_parted_between_words() {
        let parted = |text: &str, share| {
            let answer = part(text.to_owned(), share);
            format!("{}|{}", answer.heard, answer.unheard)
        };
        assert_eq!(parted("Once upon a time", None), "Once upon a time|");
        assert_eq!(parted("Once upon a time", Some(0.0)), "|Once upon a time");
        assert_eq!(parted("Once upon a time", Some(0.6)), "Once upon|a time");
        assert_eq!(parted("Once upon a time", Some(1.0)), "Once upon a time|");
        assert_eq!(parted("äöü äöü", Some(0.5)), "äöü|äöü");
        assert_eq!(parted("", Some(0.5)), "|");
    }
}
