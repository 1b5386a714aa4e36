//! The programs of the other tests, through a `tracing_opentelemetry` layer on the wrapped tracer.
#![cfg(test)]
#![allow(clippy::duplicate_mod, reason = "each of the files brings the support module along")]

#[path = "content.rs"]
mod content;
#[path = "events.rs"]
mod events;
#[path = "fields.rs"]
mod fields;
#[path = "foreign.rs"]
mod foreign;
#[path = "inferred_turns.rs"]
mod inferred_turns;
#[path = "kinds.rs"]
mod kinds;
#[path = "libraries.rs"]
mod libraries;
#[path = "metrics.rs"]
mod metrics;
#[path = "privacy.rs"]
mod privacy;
#[path = "tree.rs"]
mod tree;
#[path = "turns.rs"]
mod turns;
