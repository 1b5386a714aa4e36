//! The program as it is run: a gateway that starts its agent.
#![cfg(test)]

#[allow(dead_code, reason = "the crate's own tests use the rest")]
#[path = "../../../tests/support/console.rs"]
mod console;

use std::process::{Command, Output};

use console::{Console, stderr, stdout};
use expect_test::expect;

fn run(console: &str) -> Output {
    let output =
        Command::new(env!("CARGO_BIN_EXE_propagation-example")).env("OTEL_CONSOLE_EXPORT", console).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

#[test]
fn the_gateway_prints_what_both_export() {
    let printed = Console::read(&stdout(&run("true")));
    expect![[r#"
        conversation
          turn
            speech_to_text nova-3
            invoke_agent concierge
              chat gpt-4o
            text_to_speech sonic-2
          turn
            speech_to_text nova-3
            invoke_agent concierge
              chat gpt-4o
            text_to_speech sonic-2
    "#]]
    .assert_eq(&printed.to_string());
    assert_eq!(printed.traces(), 1);
}

#[test]
fn without_being_asked_it_prints_only_what_is_said() {
    expect![[r#"
        user: Are you open today?
        agent: From nine to five.
        user: And on Sunday?
        agent: From nine to five.
    "#]]
    .assert_eq(&stdout(&run("")));
}
