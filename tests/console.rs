//! What the console shows, and that it never hurts.
#![cfg(test)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use support::console::{Console, child, example, is_child, stderr, stdout};
use tracing::info_span;
use tracing_genai::Telemetry;
use tracing_subscriber::prelude::*;

const ON: &str = "OTEL_CONSOLE_EXPORT";

/// A turn with an llm call below it, by the environment.
fn from_env() {
    let telemetry = Telemetry::from_env().unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    tracing::subscriber::with_default(subscriber, || {
        let _turn = info_span!("turn").entered();
        info_span!("llm", model = "a\u{1b}[31mb\nc").in_scope(|| ());
    });
}

/// The same with a provider of the program's own that nobody told about the console.
fn without_console() {
    let provider = SdkTracerProvider::default();
    let subscriber = tracing_subscriber::registry().with(tracing_genai::layer(provider.tracer("test")));
    tracing::subscriber::with_default(subscriber, || {
        info_span!("turn").in_scope(|| ());
        info_span!("llm").in_scope(|| ());
    });
}

#[test]
fn it_prints_when_it_is_on() {
    if is_child("it_prints_when_it_is_on") {
        return from_env();
    }
    for on in ["true", "STDOUT"] {
        let output =
            child("it_prints_when_it_is_on").env(ON, on).env("OTEL_SERVICE_NAME", "my-agent").output().unwrap();
        let console = Console::read(&stdout(&output));
        assert_eq!(console.to_string(), "turn\n  chat a\\u{1b}[31mb\\nc\n");
        assert_eq!(console.traces(), 1);
        assert!(stdout(&output).contains("my-agent"));
        assert!(!stdout(&output).contains('\u{1b}'), "nothing raw reaches the terminal");
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn it_prints_nothing_when_it_is_off() {
    if is_child("it_prints_nothing_when_it_is_off") {
        return from_env();
    }
    for off in [None, Some(""), Some("false"), Some("OFF")] {
        let mut child = child("it_prints_nothing_when_it_is_off");
        if let Some(off) = off {
            child.env(ON, off);
        }
        let output = child.output().unwrap();
        assert!(!stdout(&output).contains("Span"), "{off:?}");
        assert_eq!(stderr(&output), "", "{off:?}");
    }
}

#[test]
fn an_unknown_value_is_one_warning() {
    if is_child("an_unknown_value_is_one_warning") {
        from_env();
        from_env();
        return without_console();
    }
    let output = child("an_unknown_value_is_one_warning").env(ON, "maybe").output().unwrap();
    assert!(output.status.success());
    assert!(!stdout(&output).contains("Span"));
    assert_eq!(
        stderr(&output),
        "tracing-genai: OTEL_CONSOLE_EXPORT=\"maybe\" is not known, nothing is printed: use true, 1, yes, on or stdout, \
         or false, 0, no or off\n"
    );
}

#[test]
fn a_console_that_nobody_installed_is_one_warning() {
    if is_child("a_console_that_nobody_installed_is_one_warning") {
        without_console();
        return without_console();
    }
    let output = child("a_console_that_nobody_installed_is_one_warning").env(ON, "true").output().unwrap();
    let warning = stderr(&output);
    assert_eq!(warning.lines().count(), 1, "{warning}");
    assert!(warning.contains("OTEL_CONSOLE_EXPORT") && warning.contains("console_from_env"), "{warning}");
    let output = child("a_console_that_nobody_installed_is_one_warning").output().unwrap();
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_sampler_of_the_environment_decides() {
    if is_child("a_sampler_of_the_environment_decides") {
        return from_env();
    }
    let run = |sampler| {
        let mut child = child("a_sampler_of_the_environment_decides");
        child.env(ON, "1").env("OTEL_TRACES_SAMPLER", sampler).output().unwrap()
    };
    assert_eq!(Console::read(&stdout(&run("always_off"))).0.len(), 0);
    let unknown = run("sometimes");
    assert_eq!(Console::read(&stdout(&unknown)).0.len(), 2);
    assert_eq!(stderr(&unknown).lines().count(), 1, "{}", stderr(&unknown));
}

#[test]
fn what_is_open_when_telemetry_is_dropped_is_printed_as_incomplete() {
    if is_child("what_is_open_when_telemetry_is_dropped_is_printed_as_incomplete") {
        let telemetry = Telemetry::from_env().unwrap();
        let subscriber = tracing_subscriber::registry().with(telemetry.layer());
        return tracing::subscriber::with_default(subscriber, || {
            let turn = info_span!("turn");
            let stats = telemetry.shutdown(Duration::from_secs(5)).unwrap();
            assert_eq!(stats.spans_open(), 0);
            assert_eq!(telemetry.shutdown(Duration::from_secs(5)).unwrap(), stats);
            drop(telemetry);
            drop(turn);
        });
    }
    let output =
        child("what_is_open_when_telemetry_is_dropped_is_printed_as_incomplete").env(ON, "on").output().unwrap();
    let console = Console::read(&stdout(&output));
    assert_eq!(console.to_string(), "turn\n");
    assert_eq!(console.0[0].attributes["voice.incomplete"], "Bool(true)");
    assert_eq!(stderr(&output), "");
}

#[test]
fn it_works_on_a_current_thread_runtime() {
    if is_child("it_works_on_a_current_thread_runtime") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        return runtime.block_on(async { from_env() });
    }
    let output = child("it_works_on_a_current_thread_runtime").env(ON, "true").output().unwrap();
    assert_eq!(Console::read(&stdout(&output)).0.len(), 2);
}

#[test]
fn a_span_is_printed_within_100_ms_of_its_end() {
    let mut program = example("voice_agent").env(ON, "true").stdout(Stdio::piped()).spawn().unwrap();
    let mut delays = Vec::new();
    for line in BufReader::new(program.stdout.take().unwrap()).lines() {
        if let Some(end) = line.unwrap().strip_prefix("\tEnd time     : ") {
            delays.push((seconds_of_today() - seconds_of_day(end)).rem_euclid(86_400.0));
        }
    }
    assert!(program.wait().unwrap().success());
    delays.sort_by(f64::total_cmp);
    assert!(delays.len() > 10, "{delays:?}");
    // The machine may be busy with other tests: half of them must be far quicker, and none may wait for a timer.
    assert!(delays[delays.len() / 2] < 0.1, "{delays:?}");
    assert!(delays[delays.len() - 1] < 0.9, "{delays:?}");
}

fn seconds_of_today() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() % 86_400.0
}

/// `2026-11-21 04:02:10.123456`
fn seconds_of_day(time: &str) -> f64 {
    let clock: Vec<f64> = time.split(' ').nth(1).unwrap().split(':').map(|part| part.parse().unwrap()).collect();
    clock[0] * 3_600.0 + clock[1] * 60.0 + clock[2]
}

#[test]
fn a_pipe_that_closes_after_the_first_line_changes_nothing_for_the_program() {
    let mut program =
        example("voice_agent").env(ON, "true").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(1, program.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let status = program.wait().unwrap();
    let mut said = String::new();
    program.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success(), "{said}");
    let notes: Vec<_> = said.lines().filter(|line| line.starts_with("tracing-genai:")).collect();
    assert_eq!(notes.len(), 1, "{said}");
    assert!(notes[0].contains("no longer printed"), "{said}");
}

#[test]
fn a_pipe_that_is_closed_from_the_start_changes_nothing_for_the_program() {
    for (name, variable, value) in [
        ("existing_setup", ON, "true"),
        ("realtime", ON, "true"),
        ("state_machine", ON, "true"),
        ("voice_agent", "OTEL_METRICS_EXPORTER", "console"),
    ] {
        let mut program =
            example(name).env(variable, value).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(program.stdout.take());
        let status = program.wait().unwrap();
        let mut said = String::new();
        program.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(status.success(), "{said}");
        assert_eq!(said.matches("no longer printed").count(), 1, "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn what_waits_for_a_closed_pipe_at_the_end_is_no_second_note() {
    let test = "what_waits_for_a_closed_pipe_at_the_end_is_no_second_note";
    if is_child(test) {
        let telemetry = Telemetry::from_env().unwrap();
        println!("ready");
        // Until the pipe is closed.
        thread::sleep(Duration::from_millis(300));
        let subscriber = tracing_subscriber::registry().with(telemetry.layer());
        tracing::subscriber::with_default(subscriber, || (0..3).for_each(|_| drop(info_span!("llm"))));
        return;
    }
    let mut program = child(test).env(ON, "true").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("ready")));
    let said = program.wait_with_output().unwrap().stderr;
    let notes = String::from_utf8_lossy(&said).lines().filter(|line| line.starts_with("tracing-genai:")).count();
    assert_eq!(notes, 1, "{}", String::from_utf8_lossy(&said));
}
