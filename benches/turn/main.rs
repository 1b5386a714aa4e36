//! What does one voice turn cost?
//!
//! A turn of four spans (turn, stt, llm, tts) below an open conversation, entered, with ten values recorded and two
//! moments marked on the way, through everything that could carry it. The subjects take turns in one run, and the
//! fastest round of each counts:
//!
//! ```text
//! cargo bench --bench turn
//! ```
//!
//! Only the ratios of one run mean anything: machines are shared, and their speed changes by the minute. Instructions
//! stay the same; the difference of two counts leaves the set-up out:
//!
//! ```text
//! turn=$(cargo bench --bench turn --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
//! for count in 1000 2000; do
//!     TURN_ONLY=genai TURN_COUNT=$count valgrind --tool=callgrind --callgrind-out-file=/tmp/turn.$count $turn
//! done
//! ```
//!
//! Reading a clock is a system call under valgrind: it counts fewer instructions there than it takes time outside.
//!
//! The programs are written as one would write them. Names, providers and ids are strings that are known at run time,
//! numbers are signed (tracing-opentelemetry exports unsigned ones as text), the time to the first token is taken by
//! hand where no layer does it. All of them export the same `gen_ai.*` and `voice.*` attributes, or the differences are
//! printed. Exported spans are dropped at their end. Without `--bench`, as `cargo test` calls it, one short round runs.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod export;
mod programs;
mod sdk;
mod subjects;

use std::env;

use crate::export::{compare_exports, dropping};
use crate::subjects::{OTHER, SUBJECTS, Subject};

fn main() -> Result<(), String> {
    if let Ok(name) = env::var("TURN_ONLY") {
        return only(&name);
    }
    let (rounds, turns) = if env::args().any(|arg| arg == "--bench") { (100, 200) } else { (1, 10) };
    compare_exports();

    let measured = fastest(SUBJECTS, rounds, turns);
    let [hand, registry, sdk, genai, metrics, wrapped] =
        ["hand", "registry", "sdk", "genai", "genai-metrics", "wrapped"].map(|name| nanos(&measured, name));
    let floor = registry + sdk;
    println!("one turn of four spans, the fastest of {rounds} rounds of {turns} turns\n");
    println!("  {:<44} {:>10} {:>9} {:>9}", "", "ns a turn*", "by hand", "floor");
    let rows = SUBJECTS.iter().zip(&measured).map(|(subject, (_, nanos))| (subject.what, *nanos));
    for (what, nanos) in rows.chain([("the floor: registry + SDK by hand", floor)]) {
        println!("  {what:<44} {nanos:>10.0} {:>9.3} {:>9.3}", nanos / hand, nanos / floor);
    }
    println!("\n  tracing-genai: {:.3} of by hand, {:.3} of the floor", genai / hand, genai / floor);
    println!("  the wrapped tracer: {:.3} of by hand", wrapped / hand);
    println!("  metrics: {:.3} of the turn without them", metrics / genai - 1.0);

    let measured = fastest(OTHER, rounds, turns * 20);
    let [registry, genai, theirs, wrapped] =
        ["other-registry", "other-genai", "other-theirs", "other-wrapped"].map(|name| nanos(&measured, name));
    println!("\na span that is not ours, two fields, entered once\n");
    println!("  {:<44} {registry:>10.1} ns*", "the registry alone");
    println!("  {:<44} {genai:>10.1} ns*", "with tracing-genai");
    println!("  {:<44} {:>10.1} ns* {:>8.3}", "more", genai - registry, genai / registry);
    println!("  {:<44} {theirs:>10.1} ns*", "tracing-opentelemetry");
    println!("  {:<44} {wrapped:>10.1} ns* {:>8.3}", "the same on the wrapped tracer", wrapped / theirs);
    println!("\n* means nothing by itself: compare within one run, machines are shared");
    Ok(())
}

/// One subject, for valgrind to count.
fn only(name: &str) -> Result<(), String> {
    let subject = SUBJECTS.iter().chain(OTHER).find(|subject| subject.name == name);
    let subject = subject.ok_or_else(|| format!("TURN_ONLY={name}: no such subject"))?;
    let turns = match env::var("TURN_COUNT") {
        Ok(count) => count.parse().map_err(|error| format!("TURN_COUNT={count}: {error}"))?,
        Err(_) => 2_000,
    };
    (subject.run)(&dropping(), turns);
    Ok(())
}

/// The nanoseconds of one turn, in each subject's fastest round.
fn fastest(subjects: &[Subject], rounds: u32, turns: u32) -> Vec<(&'static str, f64)> {
    let mut measured: Vec<_> = subjects.iter().map(|subject| (subject.name, f64::INFINITY)).collect();
    for _ in 0..rounds {
        for (subject, (_, least)) in subjects.iter().zip(&mut measured) {
            let took = (subject.run)(&dropping(), turns);
            *least = least.min(took.as_secs_f64() * 1e9 / f64::from(turns));
        }
    }
    measured
}

fn nanos(measured: &[(&'static str, f64)], wanted: &str) -> f64 {
    measured.iter().find(|(name, _)| *name == wanted).map_or(f64::NAN, |(_, nanos)| *nanos)
}
