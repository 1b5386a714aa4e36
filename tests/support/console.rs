//! Programs that print: run, and what the console shows read back as a tree.
#![allow(unexpected_cfgs, reason = "packages without such features use this too")]

use std::collections::BTreeMap;
use std::env;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;

/// An example of this crate, built, without anything of this process's own OpenTelemetry settings.
pub(crate) fn example(name: &str) -> Command {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--examples"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        // With the features of this test, which are built already.
        for (feature, is_on) in [
            ("otlp", cfg!(feature = "otlp")),
            ("otlp-grpc", cfg!(feature = "otlp-grpc")),
            ("otlp-json", cfg!(feature = "otlp-json")),
        ] {
            if is_on {
                cargo.args(["--features", feature]);
            }
        }
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the examples build");
    });
    let tests = env::current_exe().unwrap();
    let program: PathBuf = tests.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    let mut command = without_settings(Command::new(program));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// This test program again, running only the test of this name, which does something else when [`is_child`].
pub(crate) fn child(test: &str) -> Command {
    let mut command = without_settings(Command::new(env::current_exe().unwrap()));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("TRACING_GENAI_TEST_CHILD", test);
    command
}

/// Whether this process is the [`child`] that is to run this test's program.
pub(crate) fn is_child(test: &str) -> bool {
    env::var("TRACING_GENAI_TEST_CHILD").is_ok_and(|child| child == test)
}

fn without_settings(mut command: Command) -> Command {
    for (variable, _) in env::vars_os().filter(|(variable, _)| variable.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(variable);
    }
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A span as the console shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Printed {
    pub(crate) name: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) parent: Option<String>,
    pub(crate) start: String,
    pub(crate) end: String,
    pub(crate) status: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) events: Vec<Event>,
}

/// An event of a span as the console shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) time: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// What the console shows, in the order in which the spans started.
#[derive(Debug)]
pub(crate) struct Console(pub(crate) Vec<Printed>);

impl Console {
    pub(crate) fn read(stdout: &str) -> Self {
        let mut spans: Vec<Printed> = Vec::new();
        for line in stdout.lines() {
            let value = |label: &str| {
                Some(line.strip_prefix('\t')?.strip_prefix(label)?.trim_start().strip_prefix(": ")?.to_owned())
            };
            if line.starts_with("Span #") {
                spans.push(Printed::default());
            }
            let Some(span) = spans.last_mut() else { continue };
            if let Some(name) = value("Name  ").filter(|_| span.trace_id.is_empty()) {
                span.name = name;
            } else if let Some(id) = value("TraceId") {
                span.trace_id = id;
            } else if let Some(id) = value("SpanId") {
                span.span_id = id;
            } else if let Some(id) = value("ParentSpanId") {
                span.parent = (!id.starts_with("None")).then_some(id);
            } else if let Some(time) = value("Start time") {
                span.start = time;
            } else if let Some(time) = value("End time") {
                span.end = time;
            } else if let Some(status) = value("Status") {
                span.status = status;
            } else if line.starts_with("\tEvent #") {
                span.events.push(Event::default());
            } else if let Some((key, value)) = line.strip_prefix("\t\t ->  ").and_then(|pair| pair.split_once(": ")) {
                let attributes = span.events.last_mut().map_or(&mut span.attributes, |event| &mut event.attributes);
                attributes.insert(key.to_owned(), value.to_owned());
            } else if let Some(event) = span.events.last_mut() {
                if let Some(name) = value("Name") {
                    event.name = name;
                } else if let Some(time) = value("Timestamp") {
                    event.time = time;
                }
            }
        }
        spans.sort_by(|one, other| one.start.cmp(&other.start));
        Self(spans)
    }

    pub(crate) fn traces(&self) -> usize {
        self.0.iter().map(|span| &span.trace_id).collect::<std::collections::HashSet<_>>().len()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, parent: Option<&str>, depth: usize) -> fmt::Result {
        for span in self.0.iter().filter(|span| span.parent.as_deref() == parent) {
            write!(f, "{:indent$}{}", "", span.name, indent = depth * 2)?;
            if span.status.starts_with("Error") {
                f.write_str(" [error]")?;
            }
            f.write_char('\n')?;
            self.write(f, Some(&span.span_id), depth + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None, 0)?;
        for orphan in self.0.iter().filter(|span| {
            span.parent.as_ref().is_some_and(|parent| self.0.iter().all(|other| other.span_id != *parent))
        }) {
            writeln!(f, "? {}", orphan.name)?;
        }
        Ok(())
    }
}
