//! Log lines that join the trace: each carries the ids of the exported span that it is written in.
//!
//! `OTEL_CONSOLE_EXPORT=true cargo run --example log_lines` prints the spans on stdout, and on stderr the log:
//!
//! ```text
//!  INFO ready
//! trace_id=7d7e4cdd58e3c3c8f43e7cb5dd680aa7 span_id=95116b9eed732a42  INFO conversation{conversation_id="c-7"}: a user is there
//! ```
//!
//! While a span is entered its OpenTelemetry context is attached to the thread; the format takes the ids from there, and
//! needs nothing of this crate. Where logs go over OTLP too, `opentelemetry-appender-tracing` does the same.

use std::error::Error;
use std::io;
use std::{fmt, thread};

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Subscriber, info, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

/// Writes the ids before what another format writes.
struct WithIds<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let context = Context::current();
        let span = context.span();
        let ids = span.span_context();
        if ids.is_valid() {
            write!(writer, "trace_id={} span_id={} ", ids.trace_id(), ids.span_id())?;
        }
        self.0.format_event(ctx, writer, event)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = tracing_genai::Telemetry::from_env()?;
    let log = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .event_format(WithIds(format().without_time().with_target(false)))
        .with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(log).with(telemetry.layer()).init();

    info!("ready");
    let conversation = info_span!("conversation", conversation_id = "c-7").entered();
    info!("a user is there");
    let turn = info_span!("turn").entered();
    info!("the user wants the time");
    info_span!("llm", provider = "openai", model = "gpt-4o").in_scope(|| {
        info!("asking the model");
        // A span that is not exported: the line belongs to the one around it.
        info_span!("http_request").in_scope(|| info!("connecting"));
    });
    let tts = info_span!("tts", provider = "cartesia", model = "sonic-2");
    thread::scope(|scope| {
        scope.spawn(|| tts.in_scope(|| info!("speaking")));
    });
    drop(tts);
    drop(turn);
    drop(conversation);
    Ok(())
}
