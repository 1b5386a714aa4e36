//! How large is what goes over the wire? `SCALE.md` computes with these numbers:
//!
//! ```text
//! cargo test --features otlp --test wire -- --nocapture
//! ```
#![cfg(test)]
#![cfg(feature = "otlp")]

mod receiver;
mod support;

use std::fs;

use receiver::{Manner, Receiver, Transport};
use support::console::{example, stderr};

/// Bytes of bodies, spans and turns.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sent {
    bytes: usize,
    spans: usize,
    turns: usize,
}

/// What the four recordings send. Each is a process of its own, which sends one request: small batches, as an agent's are.
fn sent(content: bool, compression: &str) -> Sent {
    let mut sum = Sent::default();
    for recording in ["two-turns", "tool-call", "barge-in", "errors"] {
        let receiver = Receiver::start(Transport::Http, Manner::Well);
        let output = example("replay")
            .args([&format!("examples/recordings/{recording}.jsonl"), "--speed", "50"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint())
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
            .env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", content.to_string())
            .output()
            .unwrap();
        assert_eq!(stderr(&output), "");
        sum.bytes += receiver
            .requests()
            .iter()
            .map(|request| request.headers["content-length"].parse::<usize>().unwrap())
            .sum::<usize>();
        sum.spans += receiver.spans().len();
        sum.turns += receiver.spans().iter().filter(|span| span.name == "turn").count();
    }
    sum
}

#[test]
fn spans_are_as_large_as_the_page_says() {
    let page = fs::read_to_string(format!("{}/SCALE.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut wrong = Vec::new();
    println!("\n| content | compression | bytes a span | bytes a turn |\n|---|---|---|---|");
    for (content, on) in [(false, "off"), (true, "on")] {
        for compression in ["none", "gzip"] {
            let Sent { bytes, spans, turns } = sent(content, compression);
            assert_eq!((spans, turns), (39, 7));
            let measured = [bytes / spans, bytes / turns];
            let start = format!("| {on} | {compression} |");
            println!("{start} {} | {} |", measured[0], measured[1]);
            let row = page.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default();
            let said: Vec<usize> = row.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
            let is_near = |(said, measured): (&usize, &usize)| said.abs_diff(*measured) * 10 <= *measured;
            if said.len() != 2 || !said.iter().zip(&measured).all(is_near) {
                wrong.push(format!("{start} {said:?} and not {measured:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
