//! Finished spans as conversations, turns and calls, and as text.
#![cfg(test)]

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect, expect_file};
use opentelemetry::Value;
use opentelemetry::trace::{SpanId, Status, TraceId};
use proptest::prelude::*;
use tracing_genai::report::{
    self, Call, Conversation, EndReason, FinishedSpan, LatencyPart, OtlpReport, Owner, Report, SpanEvent, Timestamp,
    Waterfall,
};
use unicode_width::UnicodeWidthStr;

/// Noon of some day, in nanoseconds.
const NOON: u64 = 1_795_262_400_000_000_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// So many milliseconds after noon.
fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_nanos(NOON + ms * 1_000_000)
}

/// A span of one trace, from so many milliseconds after noon to so many.
fn span(name: &str, (id, parent): (u64, u64), (start, end): (u64, u64), attributes: &[(&str, Value)]) -> FinishedSpan {
    FinishedSpan {
        trace_id: TraceId::from(7),
        span_id: SpanId::from(id),
        parent_id: (parent != 0).then(|| SpanId::from(parent)),
        name: name.to_owned(),
        start: at(start),
        end: at(end),
        attributes: attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        ..FinishedSpan::default()
    }
}

fn event(name: &str, time: u64) -> SpanEvent {
    SpanEvent { name: name.to_owned(), time: at(time), attributes: Vec::new() }
}

/// The one conversation that these spans are.
#[track_caller]
fn conversation(spans: impl IntoIterator<Item = FinishedSpan>) -> Conversation {
    let mut report = Report::of(spans);
    assert_eq!((report.conversations.len(), report.unrelated.len()), (1, 0));
    report.conversations.remove(0)
}

/// A turn of this crate that is answered, one that is cut off, and a greeting before them.
fn voice_agent() -> Vec<FinishedSpan> {
    let message = |role: &str, text: &str| -> Value {
        format!(r#"[{{"role":"{role}","parts":[{{"type":"text","content":"{text}"}}]}}]"#).into()
    };
    let id = ("gen_ai.conversation.id", Value::from("c-42"));
    let llm = [("gen_ai.operation.name", Value::from("chat")), ("gen_ai.request.model", "gpt-4o".into())];
    let tts = [("gen_ai.operation.name", Value::from("text_to_speech")), ("gen_ai.request.model", "sonic".into())];
    let with = |some: &[(&'static str, Value)], more: &[(&'static str, Value)]| [some, more].concat();
    let turn = |number: i64, reason: &'static str, more: &[(&'static str, Value)]| {
        let own: [(&str, Value); 4] = [
            id.clone(),
            ("gen_ai.operation.name", "invoke_agent".into()),
            ("voice.turn.number", number.into()),
            ("voice.end_reason", reason.into()),
        ];
        with(&own, more)
    };
    let latency = [
        ("voice.user_to_agent_latency", Value::from(0.84)),
        ("voice.latency.endpointing", 0.2.into()),
        ("voice.latency.llm", 0.41.into()),
        ("voice.latency.synthesis", 0.23.into()),
    ];
    let greeting = [("gen_ai.input.messages", message("user", "Hello!"))];
    let stt = [
        ("gen_ai.operation.name", Value::from("speech_to_text")),
        ("gen_ai.provider.name", "deepgram".into()),
        ("gen_ai.request.model", "nova-3".into()),
        ("voice.audio.duration", 2.2.into()),
        ("gen_ai.output.messages", message("assistant", "What time is it?")),
    ];
    let answered = [
        ("gen_ai.provider.name", Value::from("openai")),
        ("gen_ai.response.time_to_first_chunk", 0.31.into()),
        ("gen_ai.usage.input_tokens", 120.into()),
        ("gen_ai.usage.output_tokens", 42.into()),
        ("voice.cost", 0.0021.into()),
        ("gen_ai.response.finish_reasons", Value::Array(vec![opentelemetry::StringValue::from("stop")].into())),
    ];
    let spoken = |text| {
        with(
            &tts,
            &[
                ("gen_ai.provider.name", "cartesia".into()),
                ("voice.time_to_first_byte", 0.14.into()),
                ("voice.characters", 42.into()),
                ("voice.audio.duration", 2.0.into()),
                ("gen_ai.input.messages", message("user", text)),
            ],
        )
    };
    let mut first = span("turn", (3, 1), (1_000, 4_210), &turn(1, "completed", &latency));
    first.events =
        [("user.started", 1_000), ("user.stopped", 1_800), ("agent.started", 2_640), ("agent.stopped", 4_210)]
            .map(|(who, time)| event(&format!("voice.{who}_speaking"), time))
            .into();
    let mut second = span("turn", (7, 1), (4_210, 6_000), &turn(2, "interrupted", &[]));
    second.events = vec![
        event("voice.user.stopped_speaking", 4_500),
        event("voice.agent.started_speaking", 5_000),
        event("voice.interrupted", 6_000),
    ];
    let mut failed = span("chat gpt-4o", (8, 7), (4_500, 4_700), &with(&llm, &[("error.type", "429".into())]));
    failed.status = Status::error("rate limited: too many requests");
    vec![
        span("text_to_speech sonic", (2, 1), (0, 900), &with(&tts, &greeting)),
        span("speech_to_text nova-3", (4, 3), (1_000, 2_000), &stt),
        span("chat gpt-4o", (5, 3), (2_000, 2_900), &with(&llm, &answered)),
        span("text_to_speech sonic", (6, 3), (2_500, 3_600), &spoken("It is noon.")),
        first,
        failed,
        span("text_to_speech sonic", (9, 7), (4_800, 5_900), &spoken("Once upon a time there was")),
        second,
        span("conversation", (1, 0), (0, 12_400), &[id.clone(), ("gen_ai.agent.name", "concierge".into())]),
    ]
}

/// Spans that Pipecat and LiveKit Agents exported themselves.
fn recorded(name: &str) -> OtlpReport {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp_json").join(name).with_extension("jsonl");
    report::from_otlp_json(BufReader::new(File::open(path).unwrap()))
}

/// `02:17:07Z` as `HH:MM:SSZ`.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| word.len() == 9 && word.ends_with('Z') && word.matches(':').count() == 2;
    text.split_inclusive(' ').map(|word| if is_time(word.trim_end()) { "HH:MM:SSZ " } else { word }).collect()
}

#[test]
fn recordings_of_others_are_conversations_turns_and_calls() {
    for name in ["pipecat-b2", "pipecat-g", "livekit-b", "livekit-c"] {
        let recorded = recorded(name);
        assert_eq!((recorded.bad_lines, recorded.report.unrelated.len()), (vec![], 0));
        let [conversation] = recorded.report.conversations.as_slice() else { panic!("{name}: one conversation") };
        assert_eq!(conversation.to_string(), Waterfall::new().conversation(conversation));
        for width in [80, 100] {
            let text = Waterfall::new().with_width(width).conversation(conversation);
            expect_file![format!("./otlp_json/{name}.{width}.txt")].assert_eq(&without_times(&text));
        }
    }
}

#[test]
fn the_parts_of_a_latency_that_pipecat_and_livekit_report_sum_to_it() {
    for (name, latencies) in [
        ("pipecat-b2", vec![713_u64]),
        ("pipecat-g", vec![776]),
        ("livekit-b", vec![813, 609]),
        ("livekit-c", vec![1_121]),
    ] {
        let report = recorded(name).report;
        let turns = &report.conversations[0].turns;
        let totals: Vec<u128> = turns.iter().map(|turn| turn.latency.total.unwrap().as_millis()).collect();
        assert_eq!(totals, latencies.into_iter().map(u128::from).collect::<Vec<_>>(), "{name}");
        for turn in turns {
            let parts: Duration = turn.latency.parts.iter().map(|wait| wait.duration).sum();
            assert!(parts.abs_diff(turn.latency.total.unwrap()) < ms(1), "{turn}");
        }
    }
}

#[test]
fn a_hang_up_is_no_interruption_whatever_pipecat_calls_it() {
    let report = recorded("pipecat-g").report;
    let turn = &report.conversations[0].turns[0];
    assert_eq!((turn.end_reason, turn.errors), (Some(EndReason::SessionClosed), 1));
}

#[test]
fn three_spans_of_livekit_for_a_call_are_one_call() {
    let report = recorded("livekit-c").report;
    let turn = &report.conversations[0].turns[0];
    let model = turn.calls.iter().find(|call| call.name == "llm_node").unwrap();
    assert_eq!(
        model.same.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(),
        ["llm_request", "llm_request_run"]
    );
    assert_eq!(
        (model.usage.input_tokens, model.finish_reasons.as_slice()),
        (Some(42), ["tool_call".to_owned()].as_slice())
    );
    assert_eq!((turn.usage.input_tokens, turn.usage.cache_read_tokens), (Some(84), Some(14)));
}

#[track_caller]
fn check(text: &str, expected: &Expect) {
    assert!(text.lines().all(|line| !line.ends_with(' ')));
    expected.assert_eq(text);
}

#[test]
fn a_conversation_of_this_crate_as_text() {
    let conversation = conversation(voice_agent());
    check(
        &Waterfall::new().with_width(80).conversation(&conversation),
        &expect![[r#"
            conversation c-42 · concierge  12.40 s  2 turns  1 interrupted
                         [!] 1 call failed  p50 840 ms  120→42 tokens  84 characters
                         6.20 s audio  $0.0021
            ├─ text_to_speech sonic   900 ms ▕██████████▏
            ├─ turn 1  12:00:01Z  3.21 s  answered in 840 ms  completed
            │  waits ▕░░░░░░░░▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓██████████      ▏  of 1.00 s
            │        ░ endpointing 200 ms (setting)  ▓ llm 410 ms (openai gpt-4o)
            │        █ synthesis 230 ms (cartesia sonic)
            │  user   What time is it?
            │  agent  It is noon.
            │  ├─ speech_to_text nova-3   1.00 s ▕███       ▏ 2.20 s audio
            │  ├─ chat gpt-4o             900 ms ▕   ░██    ▏ first token 310 ms
            │  │                                              120→42 tokens  $0.0021  stop
            │  └─ text_to_speech sonic    1.10 s ▕     ░██  ▏ first byte 140 ms
            │                                                 42 characters  2.00 s audio
            └─ turn 2  12:00:04Z  1.79 s  [!] interrupted by the user at 1.79 s
                       [!] 1 call failed
               agent  Once upon a [time there was]
               ├─ chat gpt-4o            200 ms ▕  █       ▏
               │     [!] 429: rate limited: too many requests
               └─ text_to_speech sonic   1.10 s ▕   ░█████ ▏ first byte 140 ms
                                                             42 characters  2.00 s audio
        "#]],
    );
    check(
        &Waterfall::new().with_ascii(true).conversation(&conversation),
        &expect![[r#"
            conversation c-42 - concierge  12.40 s  2 turns  1 interrupted  [!] 1 call failed  p50 840 ms
                         120->42 tokens  84 characters  6.20 s audio  $0.0021
            |- text_to_speech sonic   900 ms |################|
            |- turn 1  12:00:01Z  3.21 s  answered in 840 ms  completed
            |  waits |eeeeeeeeeemmmmmmmmmmmmmmmmmmmmmsssssssssss        |  of 1.00 s
            |        e endpointing 200 ms (setting)  m llm 410 ms (openai gpt-4o)
            |        s synthesis 230 ms (cartesia sonic)
            |  user   What time is it?
            |  agent  It is noon.
            |  |- speech_to_text nova-3   1.00 s |#####           | 2.20 s audio
            |  |- chat gpt-4o             900 ms |     ..##       | first token 310 ms  120->42 tokens  $0.0021
            |  |                                                    stop
            |  `- text_to_speech sonic    1.10 s |       .#####   | first byte 140 ms  42 characters
            |                                                       2.00 s audio
            `- turn 2  12:00:04Z  1.79 s  [!] interrupted by the user at 1.79 s  [!] 1 call failed
               agent  Once upon a [time there was]
               |- chat gpt-4o            200 ms |   #            | [!] 429: rate limited: too many requests
               `- text_to_speech sonic   1.10 s |     ..######## | first byte 140 ms  42 characters
                                                                   2.00 s audio
        "#]],
    );
}

#[test]
fn a_part_of_the_latency_has_an_owner() {
    let conversation = conversation(voice_agent());
    let owners: Vec<(LatencyPart, String)> =
        conversation.turns[0].latency.parts.iter().map(|wait| (wait.part, wait.owner.to_string())).collect();
    assert_eq!(
        owners,
        [
            (LatencyPart::Endpointing, "setting".to_owned()),
            (LatencyPart::Llm, "openai gpt-4o".to_owned()),
            (LatencyPart::Synthesis, "cartesia sonic".to_owned()),
        ]
    );
    let longest = conversation.turns[0].latency.longest().unwrap();
    assert!(matches!(longest.owner, Owner::Service { .. }));
}

#[test]
fn the_model_knows_what_was_exported_and_nothing_else() {
    let conversation = conversation(voice_agent());
    assert_eq!(conversation.id.as_deref(), Some("c-42"));
    assert_eq!((conversation.interruptions, conversation.errors), (1, 1));
    assert_eq!(conversation.latency.map(|latency| (latency.turns, latency.worst)), Some((1, ms(840))));
    let [one, two] = conversation.turns.as_slice() else { panic!("two turns") };
    assert_eq!(one.moments.agent_started, Some(at(2_640)));
    assert_eq!(one.user.as_deref(), Some("What time is it?"));
    assert_eq!((two.latency.total, two.usage.input_tokens, two.user.as_deref()), (None, None, None));
    let answer = two.agent.as_ref().unwrap();
    assert_eq!((answer.heard.as_str(), answer.unheard.as_str()), ("Once upon a", "time there was"));
    assert_eq!(conversation.calls.iter().map(Call::label).collect::<Vec<_>>(), ["text_to_speech sonic"]);
}

#[test]
fn one_line_tells_a_span() {
    let lines: String = voice_agent().iter().map(|span| Waterfall::new().span(span, Some(at(1_000)))).collect();
    check(
        &lines,
        &expect![[r#"
        text_to_speech sonic  +0 ms  900 ms
        speech_to_text nova-3  +0 ms  1.00 s  2.20 s audio
        chat gpt-4o  +1.00 s  900 ms  first token 310 ms  120→42 tokens  $0.0021  stop
        text_to_speech sonic  +1.50 s  1.10 s  first byte 140 ms  42 characters  2.00 s audio
        turn  +0 ms  3.21 s  turn 1  c-42
        chat gpt-4o  +3.50 s  200 ms  [!] 429: rate limited: too many requests
        text_to_speech sonic  +3.80 s  1.10 s  first byte 140 ms  42 characters  2.00 s audio
        turn  +3.21 s  1.79 s  turn 2  c-42
        conversation  +0 ms  12.40 s  c-42
    "#]],
    );
}

#[test]
fn a_turn_that_goes_on_has_its_calls() {
    let mut spans = voice_agent();
    spans.retain(|span| !matches!(span.name.as_str(), "turn" | "conversation"));
    for span in &mut spans[1..4] {
        span.attributes.push(("voice.turn.number".into(), 1.into()));
        span.attributes.push(("gen_ai.conversation.id".into(), "c-42".into()));
    }
    let conversation = conversation(spans);
    assert_eq!((conversation.id.as_deref(), conversation.end), (Some("c-42"), None));
    let [turn] = conversation.turns.as_slice() else { panic!("one turn") };
    assert_eq!((turn.number, turn.end, turn.end_reason, turn.calls.len()), (1, None, None, 3));
    assert!(turn.calls.iter().all(|call| call.oddities.is_empty()));
    assert!(conversation.to_string().contains("orphan: its parent 0000000000000007 is not here"), "{conversation}");
}

#[test]
fn turns_in_traces_of_their_own_belong_to_the_conversation_that_they_name() {
    let mut spans = voice_agent();
    for span in &mut spans {
        let is_of_second = matches!(span.span_id.to_string().trim_start_matches('0'), "7" | "8" | "9");
        if is_of_second {
            span.trace_id = TraceId::from(8);
        }
        if span.span_id == SpanId::from(7) {
            span.parent_id = None;
        }
    }
    assert_eq!(conversation(spans).turns.len(), 2);
}

#[test]
fn a_session_of_livekit_whose_span_has_not_ended_is_open() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/otlp_json/livekit-b.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains(r#""name":"agent_session""#)).collect();
    let report = report::from_otlp_json(lines.join("\n").as_bytes()).report;
    let [conversation] = report.conversations.as_slice() else { panic!("one conversation") };
    assert_eq!(
        (conversation.turns.len(), conversation.end, conversation.interruptions),
        (2, None, 1),
        "{conversation}"
    );
}

#[test]
fn twenty_thousand_turns_in_traces_of_their_own_are_one_conversation() {
    let id = [("gen_ai.conversation.id", Value::from("c-42"))];
    let turns = (1..20_001).flat_map(|place: u64| {
        let spans = [span("turn", (1, 0), (place, place + 1), &id), span("chat", (2, 1), (place, place + 1), &[])];
        spans.map(|span| FinishedSpan { trace_id: TraceId::from(u128::from(place)), ..span })
    });
    let one = conversation(turns);
    assert_eq!(one.turns.len(), 20_000);
    assert!(one.to_string().lines().count() < 500);
}

#[test]
fn two_runs_of_one_id_are_two_conversations() {
    let mut spans = voice_agent();
    let later = voice_agent().into_iter().map(|mut span| {
        span.trace_id = TraceId::from(9);
        span.start = span.start.after(ms(100_000));
        span.end = span.end.after(ms(100_000));
        span
    });
    spans.extend(later);
    spans.reverse();
    let report = Report::of(spans);
    assert_eq!(report.conversations.iter().map(|one| one.turns.len()).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(
        report.conversations[0].to_string().lines().count(),
        report.conversations[1].to_string().lines().count()
    );
}

#[test]
fn of_ten_thousand_calls_the_first_and_the_slowest_have_a_line() {
    let call = |place: u64| span("llm", (place + 2, 1), (place, place + 1 + u64::from(place == 5_000) * 99), &[]);
    let mut spans: Vec<FinishedSpan> = (0..10_000).map(call).collect();
    spans.push(span("turn", (1, 0), (0, 10_000), &[]));
    let text = conversation(spans).to_string();
    assert!(text.contains("100 ms") && text.lines().count() < 60, "{text}");
    assert!(text.contains(" calls left out"), "{text}");
}

#[test]
fn deep_nesting_is_bounded() {
    let mut spans: Vec<FinishedSpan> =
        (0..100_000).map(|depth| span("llm", (depth + 2, depth + 1), (depth, 100_000), &[])).collect();
    spans.push(span("turn", (1, 0), (0, 100_000), &[]));
    let conversation = conversation(spans);
    assert_eq!(spans_in(&conversation), 100_001);
    assert!(conversation.to_string().lines().count() < 100);
}

#[test]
fn bad_lines_are_left_out_and_told() {
    let good = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"6DADB646aa8adb64a8d88e58dded9e85","spanId":"1c3701ace87e3e73","name":"chat","kind":"SPAN_KIND_CLIENT",
         "startTimeUnixNano":1795226966549493504,"endTimeUnixNano":"1795226967549493504","status":{"code":"STATUS_CODE_ERROR"},
         "attributes":[{"key":"gen_ai.usage.input_tokens","value":{"intValue":"42"}},
                       {"key":"gen_ai.usage.output_tokens","value":{"intValue":7}},
                       {"key":"odd","value":{"kvlistValue":{"values":[]}}},{"key":"none"}]},
        {"traceId":"6dadb646aa8adb64a8d88e58dded9e85","spanId":"short","name":"chat"},
        {"traceId":"6dadb646aa8adb64a8d88e58dded9e85","spanId":"1c3701ace87e3e74","name":7}]}]}]}"#
        .replace('\n', "");
    let text = format!("\u{feff}{good}\r\n\nnot json\n{{\"resourceMetrics\":[]}}\n{{\"spans\":[]}}\n[1]\n{good}");
    let read = report::from_otlp_json(text.as_bytes());
    let lines: Vec<u64> = read.bad_lines.iter().map(|bad| bad.line).collect();
    assert_eq!((lines, read.bad), (vec![1, 1, 3, 5, 6, 7, 7], 7));
    assert_eq!(read.report.repeated, 1);
    let call = &read.report.conversations[0].calls[0];
    assert_eq!((call.usage.input_tokens, call.usage.output_tokens), (Some(42), Some(7)));
    assert!(call.failure.is_some() && call.duration() == Duration::from_secs(1));
    check(
        &(read.bad_lines[1..4].iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n"),
        &expect![[r#"
        line 1: a span: invalid type: integer `7`, expected a string
        line 3: expected ident at line 1 column 2
        line 5: no resourceSpans
    "#]],
    );
}

#[test]
fn a_reader_that_fails_ends_it() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("unplugged"))
        }
    }
    let read = report::from_otlp_json(BufReader::new(Broken));
    assert_eq!(read.bad_lines.iter().map(ToString::to_string).collect::<Vec<_>>(), ["line 1: unplugged"]);
}

#[test]
fn an_answer_that_livekit_began_too_early_is_of_the_same_turn_and_a_greeting_of_none() {
    let heard = [("lk.e2e_latency", Value::from(0.5))];
    let said = |id: &'static str| [("lk.speech_id", Value::from(id))];
    let one = conversation([
        span("agent_session", (1, 0), (0, 20_000), &[]),
        span("agent_turn", (2, 1), (0, 900), &said("hello")),
        span("user_turn", (3, 1), (1_000, 3_000), &[]),
        span("agent_turn", (4, 1), (1_500, 2_000), &said("too early")),
        span("agent_turn", (5, 1), (2_900, 5_000), &[said("answer"), heard].concat()),
        span("agent_turn", (6, 1), (9_000, 9_500), &said("still there?")),
        span("user_turn", (7, 1), (10_000, 11_000), &[]),
    ]);
    let spans: Vec<Vec<u64>> = one
        .turns
        .iter()
        .map(|turn| turn.spans.iter().map(|span| u64::from_be_bytes(span.span_id.to_bytes())).collect())
        .collect();
    assert_eq!(spans, [vec![3, 4, 5], vec![6], vec![7]]);
    assert_eq!(one.calls.iter().map(|call| call.start).collect::<Vec<_>>(), [at(0)]);
    assert_eq!(one.turns.iter().map(|turn| turn.number).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_failure_that_goes_up_is_one_and_one_that_an_attempt_made_good_is_none() {
    let failed = |name: &str, ids, times| FinishedSpan { status: Status::error("429"), ..span(name, ids, times, &[]) };
    let one = conversation([
        span("turn", (1, 0), (0, 100), &[]),
        failed("agent", (2, 1), (0, 50)),
        failed("llm", (3, 2), (0, 40)),
        span("llm", (4, 1), (50, 100), &[]),
        failed("llm", (5, 4), (50, 60)),
        span("llm", (6, 4), (60, 100), &[("gen_ai.usage.input_tokens", 5.into())]),
    ]);
    assert_eq!((one.errors, one.usage.input_tokens), (1, Some(5)));
}

#[test]
fn spans_that_have_to_do_with_no_conversation_are_apart() {
    let report = Report::of([span("GET /", (1, 0), (0, 9), &[]), span("select", (2, 1), (1, 5), &[])]);
    assert_eq!((report.conversations.len(), report.unrelated.len()), (0, 2));
}

/// How many spans a conversation has a place for.
fn spans_in(conversation: &Conversation) -> usize {
    let mut rest: Vec<&Call> = conversation.calls.iter().collect();
    rest.extend(conversation.turns.iter().flat_map(|turn| &turn.calls));
    let mut count = conversation.spans.len() + conversation.turns.iter().map(|turn| turn.spans.len()).sum::<usize>();
    while let Some(call) = rest.pop() {
        count += 1 + call.same.len();
        rest.extend(&call.calls);
    }
    count
}

/// Whether a text does nothing to a terminal, and keeps within its width.
#[track_caller]
fn assert_harmless(text: &str, width: usize) {
    for line in text.lines() {
        assert!(line.width() <= width, "{} columns: {line}", line.width());
        let bad = |c: char| {
            c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!line.contains(bad), "{line:?}");
    }
}

/// Without the sequences that colour it; each line must end what it began.
#[track_caller]
fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    for line in text.split_inclusive('\n') {
        let mut is_coloured = false;
        let mut parts = line.split("\u{1b}[");
        plain.push_str(parts.next().unwrap());
        for part in parts {
            let (code, rest) = part.split_once('m').unwrap();
            assert!(code.chars().all(|c| c.is_ascii_digit() || c == ';'), "{code:?}");
            is_coloured = code != "0";
            plain.push_str(rest);
        }
        assert!(!is_coloured, "{line:?}");
    }
    plain
}

#[test]
fn hostile_texts_change_nothing() {
    let long = "A".repeat(1_000_000);
    let zalgo = format!("z{}", "\u{337}".repeat(10_000));
    for hostile in [
        "\u{1b}[2J\u{1b}[31m",
        "\u{1b}]0;title\u{7}",
        "\u{9b}31m",
        "a\r\nb\nc\td",
        "\u{0}\u{8}\u{7f}",
        "\u{202e}gnp.exe",
        "\u{2066}\u{2067}\u{2069}",
        "\u{200f}\u{200e}\u{61c}",
        "\u{200b}\u{feff}\u{2060}",
        "שלום עולם",
        "مرحبا",
        "東京都渋谷区",
        "👩‍👩‍👧‍👦👍🏽🇫🇷",
        "\u{301}\u{301}",
        "<script>alert(1)</script>",
        "</script>",
        "{\"a\":",
        "%s%n",
        "\u{e0041}\u{fff9}",
        "\u{2028}\u{2029}",
        "",
        " ",
        "│├─▕█",
        &zalgo,
        &long,
    ] {
        let mut spans = voice_agent();
        for span in &mut spans {
            if !matches!(span.name.as_str(), "turn" | "conversation") {
                span.name = format!("{hostile}{}", span.name);
            }
            for (_, value) in &mut span.attributes {
                if let Value::String(text) = value {
                    *value = text
                        .as_str()
                        .replace("c-42", hostile)
                        .replace("gpt-4o", hostile)
                        .replace("noon", hostile)
                        .into();
                }
            }
            if matches!(span.status, Status::Error { .. }) {
                span.status = Status::error(hostile.to_owned());
            }
        }
        let conversation = &Report::of(spans.clone()).conversations[0];
        for width in [60, 133] {
            let look = Waterfall::new().with_width(width);
            let plain = look.conversation(conversation);
            assert_harmless(&plain, width);
            let coloured = look.clone().with_colour(true).conversation(conversation);
            let coloured = without_colour(&coloured);
            assert!(coloured.lines().map(str::trim_end).eq(plain.lines()), "{coloured}");
            let ascii = look.clone().with_ascii(true).conversation(conversation);
            assert_harmless(&ascii, width);
            assert!(ascii.is_ascii(), "{ascii}");
            for span in &spans {
                assert_harmless(&look.span(span, None), width);
            }
        }
    }
}

fn any_span() -> impl Strategy<Value = FinishedSpan> {
    let names = [
        "conversation",
        "turn",
        "stt",
        "llm",
        "tts",
        "chat x",
        "agent_session",
        "user_turn",
        "agent_turn",
        "llm_node",
        "llm_request",
        "llm_request_run",
        "user_speaking",
        "eou_wait",
        "function_tool",
        "GET /",
    ];
    let ids = (1_u64..3, 1_u64..12, 0_u64..14);
    let attributes = proptest::collection::vec((0_usize..10, -2_i64..6), 0..5);
    (ids, 0..names.len(), (0_u64..5_000, 0_u64..5_000), attributes, any::<bool>()).prop_map(
        move |((trace, id, parent), name, times, attributes, failed)| {
            let keys = [
                ("gen_ai.conversation.id", true),
                ("conversation.id", true),
                ("voice.turn.number", false),
                ("metrics.ttfb", false),
                ("voice.user_to_agent_latency", false),
                ("voice.latency.llm", false),
                ("turn.duration_seconds", false),
                ("turn.was_interrupted", true),
                ("gen_ai.operation.name", true),
                ("voice.end_reason", true),
            ];
            let attributes = attributes.iter().map(|(key, number)| {
                let (key, is_text) = keys[*key];
                (key, if is_text { Value::from(format!("c{number}")) } else { (*number).into() })
            });
            let mut span = span(names[name], (id, parent), times, &attributes.collect::<Vec<_>>());
            span.trace_id = TraceId::from(u128::from(trace));
            if failed {
                span.status = Status::error("failed");
            }
            span
        },
    )
}

proptest! {
    #[test]
    fn no_span_is_lost_and_nothing_panics(spans in proptest::collection::vec(any_span(), 0..40), width in 60_usize..140) {
        let report = Report::of(spans.clone());
        let placed: usize = report.conversations.iter().map(spans_in).sum();
        prop_assert_eq!(placed + report.unrelated.len() + usize::try_from(report.repeated).unwrap(), spans.len());
        for conversation in &report.conversations {
            assert_harmless(&Waterfall::new().with_width(width).conversation(conversation), width);
        }
    }
}
