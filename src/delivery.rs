//! What becomes of a span that has ended?
//!
//! The SDK's batch processor hands it to the exporter on a thread of its own, and tells only at the end how many it
//! dropped. Before it stands a queue that counts at once, behind it an exporter that counts what came through.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use parking_lot::Mutex;

use crate::notice;
use crate::outside::caught;
use crate::stats::{Exports, Loss, Tally};
use crate::variables::Batches;

/// The way of spans to one exporter. Nothing of it waits on the thread that ends a span.
#[derive(Debug)]
pub(crate) struct Delivery {
    batches: BatchSpanProcessor,
    watch: Arc<Watch>,
}

impl Delivery {
    /// Starts the exporter's thread, and panics when the operating system gives none.
    ///
    /// `to` is what notices call the receiver. An exporter that says `AlreadyShutdown` has told why by itself: its
    /// spans are counted as lost and nobody is told.
    pub(crate) fn new<E>(exporter: E, to: &'static str, batches: Batches, tally: &Arc<Tally>) -> Self
    where
        E: SpanExporter + 'static,
    {
        let watch = Arc::new(Watch {
            to,
            room: batches.queue as u64,
            tally: Arc::clone(tally),
            waiting: AtomicU64::new(0),
            told_of: AtomicU8::new(WELL),
            told: AtomicBool::new(false),
            calm: Mutex::new(None),
            failure: Mutex::new(None),
            late: notice::Once::new(),
        });
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(batches.queue)
            .with_max_export_batch_size(batches.batch)
            .with_scheduled_delay(batches.delay)
            .build();
        let counted = Counted { exporter, watch: Arc::clone(&watch) };
        Self { batches: BatchSpanProcessor::builder(counted).with_batch_config(config).build(), watch }
    }

    pub(crate) fn exports(&self) -> Exports {
        self.watch.tally.exports()
    }

    /// Waits for room in the queue, for a shutdown that has begun and may take so long.
    pub(crate) fn room(&self, begun: Instant, timeout: Duration) -> Room<'_> {
        Room {
            watch: &self.watch,
            deadline: begun.checked_add(timeout),
            patience: timeout / 2,
            settled: 0,
            since: begun,
        }
    }

    /// Exports what waits and stops. The second call and all later ones say `AlreadyShutdown`.
    pub(crate) fn shut_down(&self, timeout: Duration) -> OTelSdkResult {
        if self.watch.waiting.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED != 0 {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        let stopped = self.batches.shutdown_with_timeout(timeout);
        // What still waits will not be sent, or not for the program to know.
        let exports = self.exports();
        let is_told = self.watch.end(exports.dropped.total() + exports.queued(), "it is shut down", SHUT);
        self.watch.told.store(is_told, Ordering::Relaxed);
        stopped
    }

    /// Whether the shutdown said how many spans were lost, if any were.
    pub(crate) fn has_told(&self) -> bool {
        let exports = self.exports();
        exports.dropped.total() + exports.queued() == 0 || self.watch.told.load(Ordering::Relaxed)
    }

    /// What the exporter said when it failed last.
    pub(crate) fn failure(&self) -> Option<String> {
        self.watch.failure.lock().clone()
    }
}

/// Room for one more span in a queue that is being emptied.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    watch: &'a Watch,
    deadline: Option<Instant>,
    /// How long nothing may leave the queue. An export that takes longer than half of the shutdown is the last one of it.
    patience: Duration,
    settled: u64,
    since: Instant,
}

impl Room<'_> {
    /// Waits for it; in vain if it takes too long, or nothing leaves the queue any more.
    pub(crate) fn wait(&mut self) {
        const POLL: Duration = Duration::from_millis(1);
        while self.watch.is_full() && self.may_come() {
            thread::sleep(POLL);
        }
    }

    fn may_come(&mut self) -> bool {
        let now = Instant::now();
        let settled = self.watch.tally.settled();
        if settled != self.settled {
            (self.settled, self.since) = (settled, now);
        }
        now.saturating_duration_since(self.since) < self.patience && self.deadline.is_none_or(|deadline| now < deadline)
    }
}

impl SpanProcessor for Delivery {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.watch.has_room() {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.shut_down(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// A delivery that a tracer provider shares with [`Telemetry`](crate::Telemetry). Its exporter has its resource already.
#[derive(Debug)]
pub(crate) struct Shared(pub(crate) Arc<Delivery>);

impl SpanProcessor for Shared {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
}

/// Stands in [`Watch::waiting`] beside the number when nothing is taken in any more.
const CLOSED: u64 = 1 << 63;

/// How long no span may be lost until it is said that the loss is over.
const CALM: Duration = Duration::from_secs(1);

/// It was said that spans are lost, or that this is over, or nothing is said any more: what is lost after the shutdown was told
/// by it.
const LOSING: u8 = 1;
const WELL: u8 = 0;
const SHUT: u8 = 2;

/// What is known of one delivery on both sides of the batch processor.
#[derive(Debug)]
struct Watch {
    to: &'static str,
    room: u64,
    tally: Arc<Tally>,
    /// How many spans wait or are being exported. The processor's own queue is as long: it never finds that one full.
    waiting: AtomicU64,
    /// What was said last of the loss of spans.
    told_of: AtomicU8,
    /// Whether the shutdown said how many were lost.
    told: AtomicBool,
    /// While spans are lost: how many were, and since when it has not been more.
    calm: Mutex<Option<(u64, Instant)>>,
    failure: Mutex<Option<String>>,
    late: notice::Once,
}

impl Watch {
    /// Takes a span in that has ended, or counts why not.
    fn has_room(&self) -> bool {
        self.tally.ended();
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        if waiting < self.room {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        if waiting & CLOSED == 0 {
            self.tally.dropped(Loss::QueueFull, 1);
            self.begin(|| format!("{} of them wait already", self.room));
        } else {
            self.tally.dropped(Loss::AfterShutdown, 1);
            self.late.say(|| format!("a span that ended after the shutdown is not sent to {}", self.to));
        }
        false
    }

    /// Whether one more span finds no room.
    fn is_full(&self) -> bool {
        let waiting = self.waiting.load(Ordering::Acquire);
        waiting & CLOSED == 0 && waiting >= self.room
    }

    /// Lets spans out that were exported or not.
    fn settle(&self, spans: u64, exported: &OTelSdkResult) {
        match exported {
            Ok(()) => self.tally.exported(spans),
            Err(_) => self.tally.dropped(Loss::ExportFailed, spans),
        }
        self.waiting.fetch_sub(spans, Ordering::AcqRel);
        match exported {
            Ok(()) => self.look_for_calm(),
            Err(OTelSdkError::AlreadyShutdown) => {}
            Err(error) => {
                let why = match error {
                    OTelSdkError::InternalFailure(why) => why.clone(),
                    other => other.to_string(),
                };
                self.begin(|| why.clone());
                *self.failure.lock() = Some(why);
            }
        }
    }

    fn begin(&self, why: impl FnOnce() -> String) {
        let is_new = || self.told_of.compare_exchange(WELL, LOSING, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if self.told_of.load(Ordering::Relaxed) == WELL && is_new() {
            notice::say(&format!("spans are lost on their way to {}: {}", self.to, why()));
        }
    }

    /// One export came through. When the next ones do too and no span is lost meanwhile, it is over.
    fn look_for_calm(&self) {
        if self.told_of.load(Ordering::Relaxed) != LOSING {
            return;
        }
        let lost = self.tally.exports().dropped.total();
        let mut calm = self.calm.lock();
        match *calm {
            Some((before, since)) if before == lost => {
                if since.elapsed() >= CALM {
                    *calm = None;
                    drop(calm);
                    self.end(lost, "they arrive again", WELL);
                }
            }
            _ => *calm = Some((lost, Instant::now())),
        }
    }

    /// Says that the loss is over, if it was said that it began; whether it did.
    fn end(&self, lost: u64, why: &str, then: u8) -> bool {
        let unless_shut = |told_of| (told_of != SHUT).then_some(then);
        let is_told = self.told_of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, unless_shut) == Ok(LOSING);
        if is_told {
            notice::say(&format!("{lost} spans were lost on their way to {}: {why}", self.to));
        }
        is_told
    }
}

/// An exporter whose every batch is counted, and whose panics are failures: one would take the processor's thread with
/// it, and all later spans.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    watch: Arc<Watch>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let exported = without_panics(async { self.exporter.export(batch).await }).await;
        self.watch.settle(spans, &exported);
        match exported {
            Err(OTelSdkError::AlreadyShutdown) => Ok(()),
            exported => exported,
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Exports; a panic is a failure.
pub(crate) async fn without_panics(export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
    let mut export = pin!(export);
    poll_fn(|context| {
        caught(|| export.as_mut().poll(context))
            .unwrap_or_else(|| Poll::Ready(Err(OTelSdkError::InternalFailure("the exporter panicked".into()))))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;
    use std::time::Duration;

    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};

    use super::{Batches, Delivery, Shared};
    use crate::stats::Dropped;

    /// Does with a batch what a test says, and counts what it was given.
    #[derive(Debug, Clone)]
    struct Given {
        spans: Arc<AtomicU64>,
        export: fn(u64) -> OTelSdkResult,
    }

    impl SpanExporter for Given {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            let before = self.spans.fetch_add(batch.len() as u64, Ordering::Relaxed);
            (self.export)(before)
        }
    }

    fn delivery(
        queue: usize,
        batch: usize,
        export: fn(u64) -> OTelSdkResult,
    ) -> (Arc<Delivery>, SdkTracerProvider, Given) {
        let given = Given { spans: Arc::default(), export };
        let batches = Batches { queue, batch, delay: Duration::from_millis(1) };
        let delivery = Arc::new(Delivery::new(given.clone(), "a test", batches, &Arc::default()));
        let provider = SdkTracerProvider::builder().with_span_processor(Shared(Arc::clone(&delivery))).build();
        (delivery, provider, given)
    }

    #[test]
    fn spans_of_eight_threads_add_up_at_any_time() {
        let (delivery, provider, given) = delivery(64, 16, |_| {
            thread::sleep(Duration::from_micros(50));
            Ok(())
        });
        let tracer = provider.tracer("test");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..2_000).for_each(|_| drop(tracer.start("span"))))).collect();
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let exports = delivery.exports();
                    assert!(exports.ended >= exports.exported + exports.dropped.total(), "{exports:?}");
                    assert!(exports.queued() <= 64 + 8, "and those that the threads are about to add: {exports:?}");
                }
            });
            for thread in threads {
                thread.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        delivery.shut_down(Duration::from_secs(10)).unwrap();
        let exports = delivery.exports();
        assert_eq!((exports.ended, exports.queued()), (16_000, 0));
        assert_eq!(exports.exported, given.spans.load(Ordering::Relaxed));
        assert!(exports.dropped.queue_full > 0 && exports.exported >= 64, "{exports:?}");
    }

    #[test]
    fn an_exporter_that_panics_or_fails_loses_its_batch_and_not_the_next() {
        let (delivery, provider, _) = delivery(64, 1, |before| match before {
            0 => panic!("its own"),
            1 => Err(OTelSdkError::InternalFailure("not now".into())),
            2 => Err(OTelSdkError::AlreadyShutdown),
            _ => Ok(()),
        });
        for _ in 0..4 {
            drop(provider.tracer("test").start("span"));
        }
        delivery.shut_down(Duration::from_secs(10)).unwrap();
        assert!(matches!(delivery.shut_down(Duration::from_secs(10)), Err(OTelSdkError::AlreadyShutdown)));
        drop(provider.tracer("test").start("span"));
        let exports = delivery.exports();
        assert_eq!((exports.ended, exports.exported), (5, 1));
        assert_eq!(exports.dropped, Dropped { queue_full: 0, export_failed: 3, after_shutdown: 1 });
        assert_eq!(delivery.failure().as_deref(), Some("not now"));
    }
}
