//! Does it take longer to find a conversation by its id when there are many?
//!
//! A service that knows nothing but a `conversation_id` is opened and closed, with 10 conversations live and with
//! 100,000, in turns and in one run; the fastest round of each counts:
//!
//! ```text
//! cargo bench --bench lookup
//! ```
//!
//! Asked for are ten of the live ones, so that the table's cost shows; then all of them one after the other, which adds
//! what the memory of a hundred thousand conversations costs that are not in a cache. Without `--bench`, as
//! `cargo test` calls it, one short round runs.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::env;
use std::time::Instant;

use opentelemetry::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use tracing::{Dispatch, info_span};
use tracing_genai::GenAi;
use tracing_subscriber::prelude::*;

const FEW: usize = 10;

fn main() {
    let (rounds, many) = if env::args().any(|arg| arg == "--bench") { (50, 100_000) } else { (1, 1_000) };
    let (few, many) = (Crowd::of(FEW), Crowd::of(many));
    let (mut few_ns, mut same_ns, mut all_ns) = (f64::MAX, f64::MAX, f64::MAX);
    for _ in 0..rounds {
        few_ns = few_ns.min(few.look_up(FEW));
        same_ns = same_ns.min(many.look_up(FEW));
        all_ns = all_ns.min(many.look_up(many.ids.len()));
    }
    println!("a service that is found by its conversation's id, opened and closed (absolute times mean nothing)\n");
    println!("  {FEW} live                             {few_ns:>6.0} ns");
    println!("  {} live, asked for ten of them   {same_ns:>6.0} ns  {:.3}", many.ids.len(), same_ns / few_ns);
    println!("  {} live, asked for all           {all_ns:>6.0} ns  {:.3}", many.ids.len(), all_ns / few_ns);
}

/// Conversations that are live at once.
struct Crowd {
    dispatch: Dispatch,
    ids: Vec<String>,
    _conversations: Vec<tracing::Span>,
}

impl Crowd {
    fn of(count: usize) -> Self {
        let provider = SdkTracerProvider::builder().with_span_processor(Dropping).build();
        let layer = GenAi::new().layer(provider.tracer("lookup"));
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
        let ids: Vec<_> = (0..count).map(|n| format!("conversation-{n}")).collect();
        let open = |id: &String| info_span!("conversation", conversation_id = id.as_str());
        let conversations = tracing::dispatcher::with_default(&dispatch, || ids.iter().map(open).collect());
        Self { dispatch, ids, _conversations: conversations }
    }

    /// Nanoseconds a service, over so many of the conversations.
    fn look_up(&self, conversations: usize) -> f64 {
        const SERVICES: u32 = 20_000;
        tracing::dispatcher::with_default(&self.dispatch, || {
            let begun = Instant::now();
            let ids = self.ids.iter().take(conversations).cycle();
            ids.take(SERVICES as usize).for_each(|id| drop(info_span!("llm", conversation_id = id.as_str())));
            begun.elapsed().as_secs_f64() * 1e9 / f64::from(SERVICES)
        })
    }
}

/// Takes what is exported, and nothing else.
#[derive(Debug)]
struct Dropping;

impl SpanProcessor for Dropping {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
        Ok(())
    }
}
