//! Every example runs, and exports the tree that lies beside it.
#![cfg(test)]

mod support;

use expect_test::{ExpectFile, expect_file};
use support::console::{Console, example, stderr, stdout};

/// What an example prints with the console on.
fn console(name: &str, arguments: &[&str]) -> Console {
    let output = example(name).args(arguments).env("OTEL_CONSOLE_EXPORT", "true").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    Console::read(&stdout(&output))
}

fn exports(console: &Console, tree: &ExpectFile) {
    tree.assert_eq(&console.to_string());
    assert_eq!(console.traces(), 1);
}

fn seconds(console: &Console, name: &str, key: &str) -> f64 {
    let span = console.0.iter().find(|span| span.name == name).unwrap();
    number(&span.attributes[key])
}

fn number(printed: &str) -> f64 {
    printed.trim_start_matches("F64(").trim_end_matches(')').parse().unwrap()
}

#[test]
fn voice_agent() {
    exports(&console("voice_agent", &[]), &expect_file!["../examples/voice_agent/tree.txt"]);
}

#[test]
fn voice_agent_prints_only_its_own_lines_unless_asked() {
    let output = example("voice_agent").output().unwrap();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
    let own = |line: &str| ["user:", "agent:", "tool:", "       ("].iter().any(|start| line.starts_with(start));
    assert!(stdout(&output).lines().all(own), "{}", stdout(&output));
}

#[test]
fn existing_setup() {
    exports(&console("existing_setup", &[]), &expect_file!["../examples/existing_setup.tree.txt"]);
}

#[test]
fn state_machine() {
    let console = console("state_machine", &[]);
    expect_file!["../examples/state_machine.tree.txt"].assert_eq(&console.to_string());
    assert_eq!(console.traces(), 2, "each run is one");
    let ends = console.0.iter().filter(|span| span.name.starts_with("invoke_workflow"));
    let reasons: Vec<_> = ends.filter_map(|run| run.attributes.get("voice.end_reason")).collect();
    assert!(reasons[0].contains("completed") && reasons[1].contains("error"), "{reasons:?}");
}

#[test]
fn realtime() {
    let console = console("realtime", &[]);
    exports(&console, &expect_file!["../examples/realtime.tree.txt"]);
    let interrupted = console.0.iter().filter(|span| span.attributes.contains_key("voice.interrupted"));
    assert_eq!(
        interrupted.map(|span| span.name.as_str()).collect::<Vec<_>>(),
        ["turn", "generate_content gpt-realtime"]
    );
}

/// A recording gives one tree, whatever the services know of their parents, and whether the turns are spans or only
/// spoken of.
fn replays(recording: &str, tree: &ExpectFile) {
    let file = format!("examples/recordings/{recording}.jsonl");
    for parents in ["explicit", "entered", "ids"] {
        for turns in ["spans", "events"] {
            let options = [file.as_str(), "--parents", parents, "--turns", turns, "--speed", "20"];
            let console = console("replay", &options);
            exports(&console, tree);
        }
    }
}

#[test]
fn replay_of_two_turns() {
    replays("two-turns", &expect_file!["../examples/recordings/two-turns.tree.txt"]);
}

#[test]
fn replay_of_a_tool_call() {
    replays("tool-call", &expect_file!["../examples/recordings/tool-call.tree.txt"]);
}

#[test]
fn replay_of_a_barge_in() {
    replays("barge-in", &expect_file!["../examples/recordings/barge-in.tree.txt"]);
}

#[test]
fn replay_of_errors() {
    replays("errors", &expect_file!["../examples/recordings/errors.tree.txt"]);
    let console = console("replay", &["examples/recordings/errors.jsonl", "--parents", "ids", "--speed", "20"]);
    for failed in console.0.iter().filter(|span| span.status.starts_with("Error")) {
        assert!(failed.attributes.keys().all(|key| !key.contains("first")), "no byte, no time: {failed:?}");
        assert!(!failed.attributes.contains_key("voice.interrupted"), "an error is no interruption");
    }
    let audio: Vec<_> = console.0.iter().filter_map(|span| span.attributes.get("voice.audio.duration")).collect();
    assert_eq!(audio, ["F64(2.48)", "F64(2.5)"], "each as recorded, and none on a neighbour");
}

#[test]
fn replay_knows_what_it_costs() {
    let prices = ["--prices", "examples/prices.toml", "--dialect", "mlflow", "--speed", "20"];
    let console = console("replay", &[&["examples/recordings/two-turns.jsonl"], &prices[..]].concat());
    // Twice 42 tokens in, of which 7 are from the cache, and 11 out.
    let cost = 2.0 * (35.0 * 0.15 + 7.0 * 0.08 + 11.0 * 0.60) / 1e6;
    assert!((seconds(&console, "conversation", "voice.usage.cost") - cost).abs() < 1e-12);
    let told = console.0.iter().filter(|span| span.attributes.contains_key("mlflow.llm.cost"));
    assert_eq!(told.count(), 2, "the model calls: speech has no price there");
}

#[test]
fn replay_at_the_recorded_speed_has_the_recorded_latency() {
    // Computed by hand from the recording's own times: the user's stop is 200 ms before its event.
    let recorded = [
        ("voice.user_to_agent_latency", 0.931, 0.781),
        ("voice.latency.endpointing", 0.2, 0.2),
        ("voice.latency.transcription", 0.170_567, 0.087_841),
        ("voice.latency.turn_detection", 0.181_902, 0.216_578),
        ("voice.latency.llm", 0.241_686, 0.153_987),
        ("voice.latency.aggregation", 0.060_250, 0.045_511),
        ("voice.latency.synthesis", 0.074_225, 0.075_736),
        ("voice.latency.playout", 0.002_370, 0.001_347),
    ];
    let replay = || console("replay", &["examples/recordings/two-turns.jsonl", "--parents", "ids"]);
    // A machine that is busy with something else wakes a task late: not three times.
    let is_in_time = |console: &Console| {
        let tokens = [("chat gpt-4o-mini", 0.241_686), ("chat gpt-4o-mini-2024-07-18", 0.153_987)];
        let tokens = tokens
            .into_iter()
            .all(|(name, first)| (seconds(console, name, "gen_ai.response.time_to_first_chunk") - first).abs() < 0.005);
        let mut turns = console.0.iter().filter(|span| span.name == "turn").zip([0, 1]);
        let parts = turns.all(|(turn, index)| {
            let as_recorded = |(key, first, second): (&str, f64, f64)| {
                // 2 ms on a quiet machine; the tests run side by side.
                (number(&turn.attributes[key]) - [first, second][index]).abs() < 0.010
            };
            recorded.into_iter().all(as_recorded)
        });
        tokens && parts
    };
    let mut console = replay();
    for _ in 0..2 {
        if !is_in_time(&console) {
            console = replay();
        }
    }
    assert!(is_in_time(&console), "{console:#?}");
    let chat = console.0.iter().find(|span| span.name == "chat gpt-4o-mini").unwrap();
    assert_eq!(chat.attributes["gen_ai.usage.input_tokens"], "I64(42)");
    assert_eq!(chat.attributes["gen_ai.usage.output_tokens"], "I64(11)");

    let turns: Vec<_> = console.0.iter().filter(|span| span.name == "turn").collect();
    assert_eq!(turns.len(), 2);
    for turn in turns {
        let parts = turn.attributes.iter().filter(|(key, _)| key.starts_with("voice.latency."));
        let sum: f64 = parts.map(|(_, value)| number(value)).sum();
        assert!((sum - number(&turn.attributes["voice.user_to_agent_latency"])).abs() < 1e-12);
    }
}

#[test]
fn replay_says_what_is_wrong_with_its_options() {
    for (arguments, complaint) in [
        (&[][..], "no file"),
        (&["nowhere.jsonl"], "nowhere.jsonl"),
        (&["examples/recordings/two-turns.jsonl", "--speed", "0"], "no speed"),
        (&["examples/recordings/two-turns.jsonl", "--parents", "none"], "no such option"),
        (&["examples/recordings/two-turns.jsonl", "--prices", "nowhere.toml"], "nowhere.toml"),
    ] {
        let output = example("replay").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(complaint), "{}", stderr(&output));
    }
}
