//! What is worth a word on a line?

use crate::kind::Kind;
use crate::report::{Call, Conversation, EndReason, Failure, Turn, Usage};

use super::amount;
use super::line::{Page, Piece, Tone};

/// What there is to say of a call beside its name, its duration and its bar.
pub(super) fn of_call(page: &Page<'_>, call: &Call) -> Vec<Piece> {
    let plain = |text: &str| page.piece(text, Tone::Plain);
    let alarm = |text: &str| page.piece(&format!("[!] {text}"), Tone::Alarm);
    let mut facts = Vec::new();
    facts.extend(call.failure.as_ref().map(|failure| alarm(&failed(failure))));
    if call.is_interrupted {
        facts.push(alarm("interrupted"));
    }
    let first = if matches!(call.kind, Some(Kind::Stt | Kind::Tts)) { "first byte" } else { "first token" };
    facts.extend(call.time_to_first.map(|wait| plain(&format!("{first} {}", amount::time(wait)))));
    facts.extend(of_usage(page, &call.usage));
    if !call.finish_reasons.is_empty() {
        facts.push(plain(&call.finish_reasons.join(", ")));
    }
    facts.extend(call.attempt.filter(|attempt| *attempt > 1).map(|attempt| plain(&format!("attempt {attempt}"))));
    facts.extend(call.oddities.iter().map(|oddity| alarm(&oddity.to_string())));
    facts
}

pub(super) fn of_usage(page: &Page<'_>, usage: &Usage) -> Vec<Piece> {
    let arrow = page.look.charset.glyphs().arrow;
    let tokens = match (usage.input_tokens, usage.output_tokens) {
        (Some(input), Some(output)) => Some(format!("{}{arrow}{} tokens", amount::count(input), amount::count(output))),
        (Some(input), None) => Some(format!("{} in", amount::counted(input, "token", "tokens"))),
        (None, Some(output)) => Some(format!("{} out", amount::counted(output, "token", "tokens"))),
        (None, None) => None,
    };
    let facts = [
        tokens,
        usage.characters.map(|count| amount::counted(count, "character", "characters")),
        usage.audio.map(|audio| format!("{} audio", amount::time(audio))),
        usage.cost.map(amount::cost),
    ];
    facts.into_iter().flatten().map(|fact| page.piece(&fact, Tone::Plain)).collect()
}

/// The type and the message of a failure, as far as they are known.
pub(super) fn failed(failure: &Failure) -> String {
    match (&failure.error_type, &failure.message) {
        // Many a message begins with the type, without the package that it is in.
        (Some(kind), Some(message)) if !message.contains(kind.rsplit(['.', ':']).next().unwrap_or(kind)) => {
            format!("{kind}: {message}")
        }
        (_, Some(text)) | (Some(text), None) => text.clone(),
        (None, None) => "failed".to_owned(),
    }
}

pub(super) fn of_turn(page: &Page<'_>, turn: &Turn) -> Vec<Piece> {
    let mut facts = vec![page.piece(&turn.start.time_of_day(), Tone::Faint)];
    facts.extend(turn.duration().map(|duration| page.piece(&amount::time(duration), Tone::Plain)));
    facts.extend(
        turn.latency.total.map(|total| page.piece(&format!("answered in {}", amount::time(total)), Tone::Strong)),
    );
    facts.push(ended(page, turn));
    if turn.errors > 0 {
        facts.push(page.piece(&format!("[!] {} failed", amount::counted(turn.errors, "call", "calls")), Tone::Alarm));
    }
    facts
}

fn ended(page: &Page<'_>, turn: &Turn) -> Piece {
    match turn.end_reason {
        None => page.piece("open", Tone::Plain),
        Some(EndReason::Completed) => page.piece("completed", Tone::Plain),
        Some(EndReason::SessionClosed) => page.piece("session closed", Tone::Plain),
        Some(EndReason::Error) => page.piece("[!] ended by an error", Tone::Alarm),
        Some(EndReason::Interrupted) => {
            let by = if turn.interruption_source.is_none() { " by the user" } else { "" };
            let at = turn.moments.interrupted.map(|at| format!(" at {}", amount::time(at.since(turn.start))));
            let source = turn.interruption_source.as_ref().map(|source| format!(" ({source})"));
            let text = format!("[!] interrupted{by}{}{}", at.unwrap_or_default(), source.unwrap_or_default());
            page.piece(&text, Tone::Alarm)
        }
    }
}

/// What a conversation is called: by its id, by its agent, or by the trace that it is in.
pub(super) fn name(page: &Page<'_>, conversation: &Conversation) -> Vec<Piece> {
    let dot = page.look.charset.glyphs().dot;
    let mut named: Vec<&str> =
        [&conversation.id, &conversation.agent].into_iter().flatten().map(String::as_str).collect();
    if named.is_empty() {
        named.extend(conversation.session_id.as_deref());
    }
    let trace = conversation.calls.first().map(|call| &call.span);
    let trace = trace.or_else(|| conversation.turns.first().and_then(|turn| turn.spans.first()));
    let trace = trace.map(|span| format!("of trace {}", span.trace_id));
    let text = if named.is_empty() { trace.unwrap_or_default() } else { named.join(dot) };
    vec![
        page.piece("conversation ", Tone::Plain),
        Piece::new(&text, Tone::Strong, page.look.width - 20, page.look.charset),
    ]
}

pub(super) fn of_conversation(page: &Page<'_>, conversation: &Conversation) -> Vec<Piece> {
    let plain = |text: &str| page.piece(text, Tone::Plain);
    let mut facts = vec![plain(&conversation.duration().map_or_else(|| "open".to_owned(), amount::time))];
    let turns = u64::try_from(conversation.turns.len()).unwrap_or(u64::MAX);
    if turns > 0 {
        facts.push(plain(&amount::counted(turns, "turn", "turns")));
    }
    if conversation.interruptions > 0 {
        facts.push(plain(&format!("{} interrupted", amount::count(conversation.interruptions))));
    }
    if conversation.errors > 0 {
        facts.push(
            page.piece(&format!("[!] {} failed", amount::counted(conversation.errors, "call", "calls")), Tone::Alarm),
        );
    }
    facts.extend(conversation.greeting_latency.map(|wait| plain(&format!("greeted in {}", amount::time(wait)))));
    if let Some(latency) = conversation.latency {
        facts.push(plain(&format!("p50 {}", amount::time(latency.p50))));
        if latency.turns >= 20 {
            facts.push(plain(&format!("p95 {}", amount::time(latency.p95))));
        }
        let turn = conversation.worst_turn().map(|turn| format!(" (turn {})", turn.number)).unwrap_or_default();
        if latency.turns > 1 {
            facts.push(plain(&format!("worst {}{turn}", amount::time(latency.worst))));
        }
    }
    facts.extend(of_usage(page, &conversation.usage));
    facts
}
