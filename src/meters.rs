//! What becomes of what was measured?
//!
//! The SDK's periodic reader collects it and hands it to an exporter, on a thread of its own. The exporter stands inside one
//! that knows what came through, says it once when nothing does, and keeps a panic from taking the reader's thread with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider, Temporality};
use parking_lot::{Condvar, Mutex};

use crate::delivery::without_panics;
use crate::notice;
use crate::stats::Attempts;

/// Where the data of meters will go.
#[derive(Debug)]
pub(crate) struct Readers {
    provider: MeterProviderBuilder,
    watches: Vec<Arc<Watch>>,
}

/// How metrics go to one exporter.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What notices call the receiver.
    pub(crate) to: &'static str,
    pub(crate) interval: Duration,
    /// Nobody asked for it by name: a receiver that takes no metrics is not asked again.
    pub(crate) is_implied: bool,
}

impl Readers {
    pub(crate) fn of(resource: Resource) -> Self {
        Self { provider: SdkMeterProvider::builder().with_resource(resource), watches: Vec::new() }
    }

    /// And to this exporter. One that says `AlreadyShutdown` has told why by itself.
    pub(crate) fn and<E>(mut self, exporter: E, reading: Reading, attempts: &Arc<Attempts>) -> Self
    where
        E: PushMetricExporter,
    {
        let interval = reading.interval;
        let watch = Arc::new(Watch {
            reading,
            attempts: Arc::clone(attempts),
            state: Mutex::default(),
            stopped: Condvar::new(),
        });
        self.watches.push(Arc::clone(&watch));
        let reader = PeriodicReader::builder(Watched { exporter, watch }).with_interval(interval).build();
        Self { provider: self.provider.with_reader(reader), ..self }
    }

    /// And to a reader that asks for it by itself.
    #[cfg(feature = "prometheus")]
    pub(crate) fn and_reader(self, reader: opentelemetry_prometheus::PrometheusExporter) -> Self {
        Self { provider: self.provider.with_reader(reader), ..self }
    }

    pub(crate) fn start(self) -> Meters {
        Meters { provider: self.provider.build(), watches: self.watches, is_stopped: AtomicBool::new(false) }
    }
}

/// Meters whose data is exported.
#[derive(Debug)]
pub(crate) struct Meters {
    provider: SdkMeterProvider,
    watches: Vec<Arc<Watch>>,
    is_stopped: AtomicBool,
}

impl Meters {
    pub(crate) fn meter(&self) -> Meter {
        let scope = InstrumentationScope::builder("tracing-genai").with_version(env!("CARGO_PKG_VERSION")).build();
        self.provider.meter_with_scope(scope)
    }

    /// Begins to export what was measured since the last time and to stop, and waits for nothing: the readers know no
    /// timeout but their own. Whether this call was the first one.
    pub(crate) fn stop(&self) -> bool {
        if self.is_stopped.swap(true, Ordering::AcqRel) {
            return false;
        }
        let provider = self.provider.clone();
        let stop = move || drop(provider.shutdown());
        if thread::Builder::new().name("tracing-genai.metrics".into()).spawn(stop).is_err() {
            self.watches.iter().for_each(|watch| watch.stop(Some("there is no thread to stop it".into())));
        }
        true
    }

    /// Waits until they have stopped. The error is that of the last export.
    pub(crate) fn wait(&self, timeout: Duration) -> OTelSdkResult {
        let deadline = Instant::now().checked_add(timeout);
        self.watches.iter().try_for_each(|watch| watch.wait(deadline, timeout))
    }
}

/// What is known of the way to one exporter.
#[derive(Debug)]
struct Watch {
    reading: Reading,
    attempts: Arc<Attempts>,
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Why the last export failed.
    failure: Option<String>,
    /// It is not asked any more.
    has_given_up: bool,
    has_stopped: bool,
}

impl Watch {
    fn settle(&self, exported: OTelSdkResult) -> OTelSdkResult {
        let why = match exported {
            Ok(()) => {
                self.attempts.succeeded();
                if self.state.lock().failure.take().is_some() {
                    notice::say(&format!("metrics reach {} again", self.reading.to));
                }
                return Ok(());
            }
            Err(OTelSdkError::AlreadyShutdown) => return Ok(()),
            Err(OTelSdkError::InternalFailure(ref why)) => why.clone(),
            Err(ref other) => other.to_string(),
        };
        self.attempts.failed();
        if self.reading.is_implied && takes_none(&why) {
            self.state.lock().has_given_up = true;
            notice::say(&format!(
                "{} takes no metrics, and is sent no more of them ({why}): OTEL_METRICS_EXPORTER=none says so from the start",
                self.reading.to
            ));
            return Ok(());
        }
        if self.state.lock().failure.replace(why.clone()).is_none() {
            notice::say(&format!("metrics do not reach {}: {why}", self.reading.to));
        }
        exported
    }

    fn stop(&self, failure: Option<String>) {
        let mut state = self.state.lock();
        state.has_stopped = true;
        state.failure = failure.or(state.failure.take());
        self.stopped.notify_all();
    }

    fn wait(&self, deadline: Option<Instant>, timeout: Duration) -> OTelSdkResult {
        let mut state = self.state.lock();
        while !state.has_stopped {
            match deadline {
                Some(deadline) if self.stopped.wait_until(&mut state, deadline).timed_out() => {
                    return Err(OTelSdkError::Timeout(timeout));
                }
                Some(_) => {}
                None => self.stopped.wait(&mut state),
            }
        }
        state.failure.clone().map_or(Ok(()), |why| Err(OTelSdkError::InternalFailure(why)))
    }
}

/// Whether this is what a receiver says that has no place for metrics, as those of traces alone do. The exporter tells no
/// more than this text.
fn takes_none(why: &str) -> bool {
    let answers =
        ["status code: 404", "status code: 405", "status code: 415", "status code: 501", "code: Unimplemented"];
    answers.into_iter().any(|answer| why.contains(answer))
}

/// An exporter that is watched.
#[derive(Debug)]
struct Watched<E> {
    exporter: E,
    watch: Arc<Watch>,
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        if self.watch.state.lock().has_given_up {
            return Ok(());
        }
        let exported = without_panics(async { self.exporter.export(metrics).await }).await;
        self.watch.settle(exported)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let stopped = self.exporter.shutdown_with_timeout(timeout);
        // The reader calls it when all is exported.
        self.watch.stop(None);
        stopped
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
    use opentelemetry_sdk::metrics::Temporality;
    use opentelemetry_sdk::metrics::data::ResourceMetrics;
    use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

    use super::{Attempts, Meters, Readers, Reading};

    /// Does with the nth export what a test says.
    struct Given {
        exports: AtomicU64,
        export: fn(u64) -> OTelSdkResult,
    }

    impl PushMetricExporter for Given {
        async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
            (self.export)(self.exports.fetch_add(1, Ordering::Relaxed))
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

    /// One measurement on its way to this exporter.
    fn measured(is_implied: bool, export: fn(u64) -> OTelSdkResult) -> (Meters, Arc<Attempts>) {
        let attempts = Arc::new(Attempts::default());
        let exporter = Given { exports: AtomicU64::new(0), export };
        let reading = Reading { to: "a test", interval: Duration::from_secs(600), is_implied };
        let meters = Readers::of(Resource::builder().build()).and(exporter, reading, &attempts).start();
        meters.meter().u64_counter("turns").build().add(1, &[]);
        (meters, attempts)
    }

    fn failed(why: &str) -> OTelSdkResult {
        Err(OTelSdkError::InternalFailure(why.into()))
    }

    #[test]
    fn a_failure_or_a_panic_is_not_the_end_and_the_last_export_decides() {
        let (meters, attempts) = measured(false, |nth| match nth {
            0 => panic!("its own"),
            1 => failed("HTTP export failed with status code: 404"),
            _ => Ok(()),
        });
        assert!(meters.provider.force_flush().is_err());
        assert!(meters.provider.force_flush().is_err());
        assert!(meters.stop());
        meters.wait(Duration::from_secs(10)).unwrap();
        assert!(!meters.stop());
        assert_eq!(attempts.read(), (1, 2));

        let (meters, attempts) = measured(false, |_| failed("not now"));
        meters.stop();
        assert!(meters.wait(Duration::from_secs(10)).unwrap_err().to_string().contains("not now"));
        assert_eq!(attempts.read(), (0, 1));
    }

    #[test]
    fn a_receiver_that_takes_none_is_asked_once_when_nobody_named_it() {
        for takes_none in [(|_| failed("HTTP export failed with status code: 415")) as fn(u64) -> OTelSdkResult, |_| {
            failed("TonicMetricsClient export failed with gRPC code: Unimplemented")
        }] {
            let (meters, attempts) = measured(true, takes_none);
            meters.provider.force_flush().unwrap();
            meters.provider.force_flush().unwrap();
            meters.stop();
            meters.wait(Duration::from_secs(10)).unwrap();
            assert_eq!(attempts.read(), (0, 1));
        }
        let (meters, attempts) = measured(true, |_| failed("HTTP export failed with status code: 503"));
        assert!(meters.provider.force_flush().is_err());
        assert!(meters.provider.force_flush().is_err());
        assert_eq!(attempts.read(), (0, 2));
    }

    #[test]
    fn waiting_ends_with_the_timeout() {
        let (meters, _) = measured(false, |_| {
            thread::sleep(Duration::from_secs(3));
            Ok(())
        });
        let begun = Instant::now();
        meters.stop();
        assert!(matches!(meters.wait(Duration::from_millis(100)), Err(OTelSdkError::Timeout(_))));
        drop(meters);
        assert!((Duration::from_millis(100)..Duration::from_secs(2)).contains(&begun.elapsed()));
    }
}
