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
    span.attributes[key].trim_start_matches("F64(").trim_end_matches(')').parse().unwrap()
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
fn replay_of_two_turns() {
    for parents in ["explicit", "entered"] {
        let console = console("replay", &["examples/recordings/two-turns.jsonl", "--parents", parents]);
        exports(&console, &expect_file!["../examples/recordings/two-turns.tree.txt"]);
        for (name, recorded) in [("chat gpt-4o-mini", 0.241_686), ("chat gpt-4o-mini-2024-07-18", 0.153_987)] {
            let first = seconds(&console, name, "gen_ai.response.time_to_first_chunk");
            assert!((first - recorded).abs() < 0.005, "{name}: {first}");
        }
        let chat = console.0.iter().find(|span| span.name == "chat gpt-4o-mini").unwrap();
        assert_eq!(chat.attributes["gen_ai.usage.input_tokens"], "I64(42)");
        assert_eq!(chat.attributes["gen_ai.usage.output_tokens"], "I64(11)");
    }
}

#[test]
fn replay_of_a_tool_call() {
    for parents in ["explicit", "entered"] {
        let console =
            console("replay", &["examples/recordings/tool-call.jsonl", "--parents", parents, "--speed", "20"]);
        exports(&console, &expect_file!["../examples/recordings/tool-call.tree.txt"]);
    }
}

#[test]
fn replay_says_what_is_wrong_with_its_options() {
    for (arguments, complaint) in [
        (&[][..], "no file"),
        (&["nowhere.jsonl"], "nowhere.jsonl"),
        (&["examples/recordings/two-turns.jsonl", "--speed", "0"], "no speed"),
        (&["examples/recordings/two-turns.jsonl", "--parents", "none"], "no such option"),
    ] {
        let output = example("replay").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(complaint), "{}", stderr(&output));
    }
}
