//! What prints?
//!
//! The `opentelemetry-stdout` exporter does, behind an exporter that keeps it from hurting the program: it writes on a
//! thread of its own, prints names raw, and panics when nobody reads.

use std::borrow::Cow;
use std::io::{self, StdoutLock, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter, SpanProcessor};

use crate::console_flag;
use crate::delivery::Delivery;
use crate::notice;
use crate::outside::caught;
use crate::readout;
use crate::stats::Tally;
use crate::variables::Batches;

/// A terminal that is held (Ctrl-S) fills the queue; then spans are dropped, and it is said so. A batch is one span: the one
/// that ends wakes the exporter, and the delay is only what is left when a wake-up is missed.
const BATCHES: Batches = Batches { queue: 8_192, batch: 1, delay: Duration::from_secs(1) };

/// The span processor that prints to the console, if `OTEL_CONSOLE_EXPORT` asks for it; for a tracer provider of your
/// own. [`Telemetry::from_env`](crate::Telemetry::from_env) has it already.
///
/// | `OTEL_CONSOLE_EXPORT`, in any case | |
/// |---|---|
/// | `true`, `1`, `yes`, `on`, `stdout` | every span, in the format of `opentelemetry-stdout` |
/// | unset, empty, `false`, `0`, `no`, `off` | `None` |
/// | anything else | `None`, and one warning on stderr |
///
/// A span is printed as soon as it ends, on a thread of the processor's own; what the program prints itself does not
/// end up in the middle of it. When nobody reads stdout any more (`… | head -1`), one note on stderr says so and
/// nothing more is printed; the program does not notice. Only under `panic = "abort"` may a pipe that is closed at the
/// very moment of a write end the program: the stdout exporter panics then.
///
/// # Panics
///
/// When the operating system gives no thread for it. `Telemetry::from_env` makes an error of that.
///
/// ```
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let mut provider = SdkTracerProvider::builder();
/// if let Some(console) = tracing_genai::console_from_env() {
///     provider = provider.with_span_processor(console);
/// }
/// let provider = provider.build();
/// ```
#[must_use]
pub fn console_from_env() -> Option<impl SpanProcessor + 'static> {
    console_flag::is_on().then(|| delivery(None, &Arc::default()))
}

/// The way of spans to the console, of a program that is this `resource`.
pub(crate) fn delivery(resource: Option<&Resource>, tally: &Arc<Tally>) -> Delivery {
    let mut console = Console::default();
    if let Some(resource) = resource {
        console.set_resource(resource);
    }
    Delivery::new(console, "the console", BATCHES, tally)
}

/// Prints metrics. The stdout exporter of metrics has no way around a panic on a closed pipe and prints names raw.
#[derive(Debug, Default)]
pub(crate) struct MetricsConsole(Outlet);

impl PushMetricExporter for MetricsConsole {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.0.print("metrics", |stdout| stdout.write_all(readout::text(metrics).as_bytes()))
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// Stdout, as long as somebody reads it.
#[derive(Debug, Default)]
struct Outlet {
    closed: AtomicBool,
}

impl Outlet {
    /// Prints as one piece, or says once that `what` is no longer printed.
    fn print(&self, what: &str, print: impl FnOnce(&mut StdoutLock) -> io::Result<()>) -> OTelSdkResult {
        static CLOSED: notice::Once = notice::Once::new();
        if self.closed.load(Ordering::Relaxed) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        // A panic in here would take the worker with it, and all that comes later.
        let printed = caught(|| {
            // Held all the while, so that the program's own lines don't end up in it.
            let mut stdout = io::stdout().lock();
            // The exporter of spans panics on a closed pipe. This line is told about it first.
            writeln!(stdout)?;
            print(&mut stdout)?;
            stdout.flush()
        });
        let why = match printed {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => error.to_string(),
            None => "writing to stdout panicked".into(),
        };
        self.closed.store(true, Ordering::Relaxed);
        CLOSED.say(|| format!("{what} are no longer printed: {why}"));
        Err(OTelSdkError::AlreadyShutdown)
    }
}

#[derive(Debug, Default)]
struct Console {
    stdout: opentelemetry_stdout::SpanExporter,
    outlet: Outlet,
}

impl SpanExporter for Console {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        batch.into_iter().try_for_each(|span| {
            self.outlet.print("spans", |_| {
                self.print(span);
                Ok(())
            })
        })
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.stdout.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.stdout.set_resource(resource);
    }
}

impl Console {
    fn print(&self, span: SpanData) {
        let export = pin!(self.stdout.export(vec![escaped(span)]));
        // It never waits: one poll is all there is to it.
        let _ = export.poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// The span as it may be printed: the exporter writes names and keys as they are, and values escaped.
fn escaped(mut span: SpanData) -> SpanData {
    span.name = escaped_name(span.name);
    escape_keys(&mut span.attributes);
    for event in &mut span.events.events {
        event.name = escaped_name(std::mem::take(&mut event.name));
        escape_keys(&mut event.attributes);
    }
    for link in &mut span.links.links {
        escape_keys(&mut link.attributes);
    }
    span
}

fn escaped_name(name: Cow<'static, str>) -> Cow<'static, str> {
    if name.chars().any(char::is_control) { escaped_text(&name).into() } else { name }
}

fn escape_keys(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        if attribute.key.as_str().chars().any(char::is_control) {
            attribute.key = Key::from(escaped_text(attribute.key.as_str()));
        }
    }
}

fn escaped_text(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::escaped_name;

    #[test]
    fn control_characters_are_not_printed_raw() {
        assert_eq!(escaped_name("chat \u{1b}[31mred\nnext\u{9b}".into()), "chat \\u{1b}[31mred\\nnext\\u{9b}");
        assert_eq!(escaped_name("chat größer".into()), "chat größer");
    }
}
