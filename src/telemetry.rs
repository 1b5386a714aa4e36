//! Who sets the providers up?

use std::env;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::resource::{SdkProvidedResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

#[cfg(doc)]
use crate::console::console_from_env;
use crate::delivery::{Delivery, Room, Shared};
#[cfg(feature = "otlp")]
use crate::destination::{self, METRICS, SPANS, Settings, Signal, Unusable};
use crate::genai::{GenAi, Handle};
use crate::layer::GenAiLayer;
use crate::meters::{Meters, Readers, Reading};
#[cfg(feature = "otlp")]
use crate::otlp::{self, Refused};
use crate::outside::caught;
#[cfg(feature = "prometheus")]
use crate::page::Page;
use crate::stats::{Dropped, Stats};
use crate::variables::Asked;
use crate::{console, console_flag, notice};

/// How long a dropped [`Telemetry`] waits for its exporters.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that a program needs which has no OpenTelemetry yet, from the environment. It ends what is open and
/// flushes when it is dropped, so keep it to the end of `main`.
///
/// ```
/// use tracing_subscriber::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let telemetry = tracing_genai::Telemetry::from_env()?;
/// tracing_subscriber::registry().with(telemetry.layer()).init();
///
/// let conversation = tracing::info_span!("conversation", conversation_id = "c-42");
/// let turn = tracing::info_span!(parent: &conversation, "turn");
/// # Ok(())
/// # }
/// ```
///
/// | variable | |
/// |---|---|
/// | `OTEL_SDK_DISABLED` | `true`: nothing is exported, whatever else is said |
/// | `OTEL_TRACES_EXPORTER` | a list of `otlp`, `console` and `none`; default: `otlp` if there is an endpoint, else `none` |
/// | `OTEL_CONSOLE_EXPORT` | prints spans as well, see [`console_from_env`] |
/// | `OTEL_METRICS_EXPORTER` | a list of `otlp`, `console`, `prometheus` (the page of `Telemetry::metrics_page`, feature `prometheus`) and `none`; default: `otlp` if there is an endpoint, else `none` |
/// | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | the resource |
/// | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | the sampler; default `parentbased_always_on` |
/// | `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, `OTEL_SPAN_EVENT_COUNT_LIMIT`, `OTEL_SPAN_LINK_COUNT_LIMIT`, `OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`, `OTEL_LINK_ATTRIBUTE_COUNT_LIMIT` | the SDK's limits; default 128 each, or `OTEL_ATTRIBUTE_COUNT_LIMIT` for attributes |
///
/// With the feature `otlp`, each of these also as `OTEL_EXPORTER_OTLP_TRACES_…` for spans and `OTEL_EXPORTER_OTLP_METRICS_…` for
/// metrics, which come first:
///
/// | variable | |
/// |---|---|
/// | `OTEL_EXPORTER_OTLP_ENDPOINT` | a URL, which turns OTLP on; `/v1/traces` or `/v1/metrics` is appended, but not to the signal's own, nor with gRPC; default `http://localhost:4318`, with gRPC `http://localhost:4317` |
/// | `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf`, `http/json` (feature `otlp-json`), `grpc` (feature `otlp-grpc`); default `http/protobuf` |
/// | `OTEL_EXPORTER_OTLP_HEADERS` | `name=value,…`, values percent-encoded; default: none |
/// | `OTEL_EXPORTER_OTLP_TIMEOUT` | how long one export may take, in milliseconds, with what is tried again: over HTTP the last try begins within it and may take as long once more; default 10,000 |
/// | `OTEL_EXPORTER_OTLP_COMPRESSION` | `gzip`, `zstd`, `none`; default `none` |
/// | `OTEL_EXPORTER_OTLP_INSECURE` | `true`: a gRPC endpoint without `http://` or `https://` has no TLS; default `false` |
///
/// | variable | |
/// |---|---|
/// | `OTEL_BSP_MAX_QUEUE_SIZE` | spans that may wait for OTLP, those that are being sent among them; default 2,048, at most 1,000,000 |
/// | `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` | spans that are sent together; default 512 |
/// | `OTEL_BSP_SCHEDULE_DELAY` | how long a batch that is not full waits, in milliseconds; default 5,000 |
/// | `OTEL_METRIC_EXPORT_INTERVAL` | the time between two exports of metrics, in milliseconds; default 60,000, to the console 10,000 |
/// | `OTEL_METRIC_EXPORT_TIMEOUT` | how long one of them may take over OTLP, in milliseconds, where that is less than OTLP's own timeout |
/// | `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` | `cumulative`, `delta`, `lowmemory`; default `cumulative` |
///
/// An empty variable is one that is not set. `OTEL_PROPAGATORS`, `OTEL_BSP_EXPORT_TIMEOUT`, limits on the length of values,
/// other buckets, exemplars, OTLP's certificates, a log level and configuration files are not honoured: one warning names those
/// that are set.
///
/// Spans and metrics are sent on threads of its own: it works without a runtime, in any of tokio's, and inside
/// `#[tokio::main]`. A receiver that is slow, broken or away costs the program nothing but the spans that find the queue full:
/// [`Stats::otlp`] counts them, and notices on stderr say when the loss begins and when it is over.
///
/// A program that is killed without a shutdown loses the spans that are open, those that ended within the last
/// `OTEL_BSP_SCHEDULE_DELAY` and those that are being sent; and what was measured since the last `OTEL_METRIC_EXPORT_INTERVAL`.
///
/// The endpoint of all signals is one for metrics too, as the specification says, yet many backends take traces alone. So a
/// receiver that answers that it has no place for metrics (404, 405, 415, 501, over gRPC `UNIMPLEMENTED`) is not asked again,
/// and one notice says so; with metrics asked for by name (`OTEL_METRICS_EXPORTER`, `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`) it
/// is asked each time. Any other failure is told once, and when it is over. `OTEL_METRICS_EXPORTER=none` turns them off:
/// then nothing is measured.
///
/// Without any exporter it works and exports nothing. It installs nothing global: neither a subscriber nor a tracer
/// provider nor a propagator.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    deliveries: Vec<Arc<Delivery>>,
    /// None where nobody asks for metrics: then nothing is measured.
    meters: Option<Meters>,
    #[cfg(feature = "prometheus")]
    page: Option<Page>,
    genai: GenAi,
}

impl Telemetry {
    /// Reads the environment and makes the provider. It connects to nobody yet: a receiver that is away is no error.
    ///
    /// # Errors
    ///
    /// When OTLP is asked for and its endpoint, headers, protocol, timeout or compression can't be used, or when the
    /// operating system gives no thread. Any other variable with an unknown value is no error, and neither is OTLP in a
    /// program that was built without it: a warning on stderr names it, and its default holds.
    pub fn from_env() -> Result<Self, TelemetryError> {
        let asked = Asked::of(variable);
        if !asked.warnings.is_empty() {
            static WARNINGS: notice::Once = notice::Once::new();
            WARNINGS.say(|| asked.warnings.join("\ntracing-genai: "));
        }
        let genai = GenAi::from_env();
        let resource = resource(&asked);
        let mut deliveries = Vec::new();
        if asked.spans.otlp {
            deliveries.extend(otlp_delivery(&resource, &asked, &genai)?);
        }
        if (console_flag::is_on() || asked.spans.console) && !asked.disabled {
            let tally = &genai.counters().console;
            deliveries.push(started(|| console::delivery(Some(&resource), tally)).ok_or(TelemetryError::Console)?);
        }
        let readers = readers(&asked, &resource, &genai)?;
        #[cfg(feature = "prometheus")]
        let (readers, page) = with_page(readers, &asked, &resource)?;
        #[cfg(not(feature = "prometheus"))]
        if asked.metrics.prometheus {
            warn_not_built("prometheus");
        }
        let provider = provider(&asked, resource, &deliveries);
        Ok(Self {
            provider,
            deliveries,
            meters: readers.map(Readers::start),
            #[cfg(feature = "prometheus")]
            page,
            genai,
        }
        .measured())
    }

    /// The same with these options, instead of what [`GenAi::from_env`] gives. Begin with that, if the environment is to
    /// have its say; layers that were made before keep what they have, and what is counted is in this one's [`Stats`].
    ///
    /// ```
    /// use tracing_genai::{Dialect, GenAi, Telemetry};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let telemetry = Telemetry::from_env()?.with_options(GenAi::from_env().with_dialect(Dialect::OpenInference));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_options(mut self, options: GenAi) -> Self {
        self.genai = std::mem::take(&mut self.genai).with_options_of(options);
        self.measured()
    }

    /// Its spans are measured where the environment asks for metrics.
    fn measured(mut self) -> Self {
        if let Some(meters) = &self.meters {
            self.genai = std::mem::take(&mut self.genai).with_meter_if_none(|| meters.meter());
        }
        self
    }

    /// What Prometheus is to read at `/metrics`, as [`METRICS_CONTENT_TYPE`](crate::METRICS_CONTENT_TYPE); `None` unless
    /// `OTEL_METRICS_EXPORTER` names `prometheus`. After a shutdown it stays as it was then.
    #[cfg(feature = "prometheus")]
    #[cfg_attr(docsrs, doc(cfg(feature = "prometheus")))]
    #[must_use]
    pub fn metrics_page(&self) -> Option<String> {
        self.page.as_ref().map(Page::text)
    }

    /// The layer for your registry.
    #[must_use]
    pub fn layer(&self) -> GenAiLayer {
        let scope = InstrumentationScope::builder("tracing-genai").with_version(env!("CARGO_PKG_VERSION")).build();
        self.genai.layer(self.provider.tracer_with_scope(scope))
    }

    /// The provider, for spans of your own and to flush: it is the one that the layer's spans go through.
    #[must_use]
    pub fn tracer_provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle().stats()
    }

    /// Reads the same counts, and can be passed around.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.genai.handle()
    }

    /// Ends what is open, marked `voice.incomplete=true`, and flushes and stops the exporters, those of spans and those of
    /// metrics side by side, within `timeout`. Spans that open later are not exported, and counted as dropped; what is
    /// measured later is nowhere. A second call changes nothing and waits for nothing.
    ///
    /// It blocks the thread that it is called on, and needs no runtime.
    ///
    /// # Errors
    ///
    /// When spans were lost in this shutdown, or else the last metrics: an exporter failed or was not done in time. The error says how
    /// many. More spans than the queue holds are ended as the exporter takes them, those that it does not come to are lost. What
    /// was lost before is in the [`Stats`], here and at any time.
    pub fn shutdown(&self, timeout: Duration) -> Result<Stats, TelemetryError> {
        let begun = Instant::now();
        let before: Vec<Dropped> = self.deliveries.iter().map(|delivery| delivery.exports().dropped).collect();
        let mut rooms: Vec<Room<'_>> = self.deliveries.iter().map(|delivery| delivery.room(begun, timeout)).collect();
        let left_open = self.handle().end_all(timeout, &mut || rooms.iter_mut().for_each(Room::wait));
        #[cfg(feature = "prometheus")]
        self.page.iter().for_each(Page::keep);
        // After the spans' end, which is measured.
        let meters = self.meters.as_ref().filter(|meters| meters.stop());
        let (mut lost, mut why) = (0, None);
        for (done, (delivery, before)) in self.deliveries.iter().zip(before).enumerate() {
            // One that hangs leaves the next its part.
            let left = u32::try_from(self.deliveries.len() - done).unwrap_or(1);
            let stopped = delivery.shut_down(timeout.saturating_sub(begun.elapsed()) / left);
            if matches!(stopped, Err(OTelSdkError::AlreadyShutdown)) {
                continue;
            }
            let exports = delivery.exports();
            let spans = exports.dropped.total() - before.total() + exports.queued();
            let is_full = exports.dropped.queue_full > before.queue_full;
            let full = || is_full.then(|| OTelSdkError::InternalFailure("more spans ended than were sent".into()));
            // Without any it is a console that nobody reads any more, which was said when that began.
            let failure = stopped.err().or_else(|| delivery.failure().map(OTelSdkError::InternalFailure)).or_else(full);
            if let Some(failure) = failure.filter(|_| spans > 0) {
                lost += spans;
                why = Some(failure);
            }
        }
        let measured = meters.map_or(Ok(()), |meters| meters.wait(timeout.saturating_sub(begun.elapsed())));
        if left_open > 0 {
            lost += left_open;
            why.get_or_insert(OTelSdkError::Timeout(timeout));
        }
        match (why, measured) {
            (Some(source), _) => Err(TelemetryError::Flush { lost, source }),
            (None, Err(source)) => Err(TelemetryError::Metrics(source)),
            (None, Ok(())) => Ok(self.stats()),
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let Err(error) = self.shutdown(DROP_TIMEOUT) else { return };
        let is_told = matches!(error, TelemetryError::Flush { .. }) && self.deliveries.iter().all(|one| one.has_told());
        if !is_told {
            static FLUSH: notice::Once = notice::Once::new();
            FLUSH.say(|| error.to_string());
        }
    }
}

/// The way of spans over OTLP, if the program was built with it.
#[cfg(feature = "otlp")]
fn otlp_delivery(resource: &Resource, asked: &Asked, genai: &GenAi) -> Result<Option<Arc<Delivery>>, TelemetryError> {
    let Some(settings) = settings(SPANS)? else { return Ok(None) };
    let exporter = otlp::spans(&settings, resource)?;
    let tally = &genai.counters().otlp;
    let delivery = started(|| Delivery::new(exporter, RECEIVER, asked.batches, tally));
    delivery.map(Some).ok_or_else(|| TelemetryError::Otlp("it got no thread".into()))
}

#[cfg(not(feature = "otlp"))]
#[expect(clippy::unnecessary_wraps, reason = "it is the signature of the one that can fail")]
fn otlp_delivery(_: &Resource, _: &Asked, _: &GenAi) -> Result<Option<Arc<Delivery>>, TelemetryError> {
    warn_not_built("otlp");
    Ok(None)
}

/// What notices call it.
#[cfg(feature = "otlp")]
const RECEIVER: &str = "the OTLP receiver";

/// Where OTLP goes, unless the program was built without its protocol.
#[cfg(feature = "otlp")]
fn settings(signal: Signal) -> Result<Option<Settings>, TelemetryError> {
    let settings = Settings::of(signal, variable)?;
    let missing = settings.missing_feature();
    if let Some(feature) = missing {
        warn_not_built(feature);
    }
    Ok(missing.is_none().then_some(settings))
}

/// The ways of metrics that are pushed.
fn readers(asked: &Asked, resource: &Resource, genai: &GenAi) -> Result<Option<Readers>, TelemetryError> {
    let mut readers = None;
    // First: when they stop one after the other, it does not wait for a receiver.
    if asked.metrics.console {
        // The specification's interval for consoles.
        let interval = asked.readings.interval.unwrap_or(Duration::from_secs(10));
        let reading = Reading { to: "the console", interval, is_implied: false };
        let uncounted = Arc::default();
        readers = Some(Readers::of(resource.clone()).and(console::MetricsConsole::default(), reading, &uncounted));
    }
    if asked.metrics.otlp {
        readers = with_otlp(readers, asked, resource, genai)?;
    }
    Ok(readers)
}

#[cfg(feature = "otlp")]
fn with_otlp(
    readers: Option<Readers>,
    asked: &Asked,
    resource: &Resource,
    genai: &GenAi,
) -> Result<Option<Readers>, TelemetryError> {
    let temporality = destination::temporality(variable)?;
    let Some(settings) = settings(METRICS)? else { return Ok(readers) };
    let exporter = otlp::metrics(&settings.within(asked.readings.timeout), temporality)?;
    let interval = asked.readings.interval.unwrap_or(Duration::from_secs(60));
    let reading = Reading { to: RECEIVER, interval, is_implied: !asked.metrics_by_name };
    let readers = readers.unwrap_or_else(|| Readers::of(resource.clone()));
    Ok(Some(readers.and(exporter, reading, &genai.counters().metrics)))
}

#[cfg(not(feature = "otlp"))]
#[expect(clippy::unnecessary_wraps, reason = "it is the signature of the one that can fail")]
fn with_otlp(readers: Option<Readers>, _: &Asked, _: &Resource, _: &GenAi) -> Result<Option<Readers>, TelemetryError> {
    warn_not_built("otlp");
    Ok(readers)
}

#[cfg(feature = "prometheus")]
fn with_page(
    readers: Option<Readers>,
    asked: &Asked,
    resource: &Resource,
) -> Result<(Option<Readers>, Option<Page>), TelemetryError> {
    if !asked.metrics.prometheus {
        return Ok((readers, None));
    }
    let (page, reader) = Page::new().map_err(|error| TelemetryError::Prometheus(error.to_string()))?;
    let readers = readers.unwrap_or_else(|| Readers::of(resource.clone()));
    Ok((Some(readers.and_reader(reader)), Some(page)))
}

fn warn_not_built(feature: &'static str) {
    static OTLP: notice::Once = notice::Once::new();
    static GRPC: notice::Once = notice::Once::new();
    static JSON: notice::Once = notice::Once::new();
    static PROMETHEUS: notice::Once = notice::Once::new();
    let (once, what) = match feature {
        "otlp-grpc" => (&GRPC, "OTLP over gRPC, but nothing is sent that way"),
        "otlp-json" => (&JSON, "OTLP as JSON, but nothing is sent that way"),
        "prometheus" => (&PROMETHEUS, "a page for Prometheus, but there is none"),
        _ => (&OTLP, "OTLP, but nothing is sent"),
    };
    once.say(|| format!("the environment asks for {what}: build with the feature `{feature}` of tracing-genai"));
}

/// A delivery, unless there is no thread for it: the SDK panics then.
fn started(start: impl FnOnce() -> Delivery) -> Option<Arc<Delivery>> {
    caught(start).map(Arc::new)
}

/// What the SDK knows of the program, and what the variables say.
fn resource(asked: &Asked) -> Resource {
    let attributes = asked.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_detectors(&[Box::new(SdkProvidedResourceDetector), Box::new(TelemetryResourceDetector)])
        .with_attributes(attributes)
        .build()
}

fn provider(asked: &Asked, resource: Resource, deliveries: &[Arc<Delivery>]) -> SdkTracerProvider {
    let mut provider = SdkTracerProvider::builder().with_resource(resource);
    if let Some(sampling) = asked.sampling {
        let root = Sampler::TraceIdRatioBased(sampling.ratio);
        let follows = sampling.follows_parents;
        provider = provider.with_sampler(if follows { Sampler::ParentBased(Box::new(root)) } else { root });
    }
    if asked.disabled {
        provider = provider.with_sampler(Sampler::AlwaysOff);
    }
    let limits = &asked.limits;
    if let Some(attributes) = limits.attributes {
        provider = provider.with_max_attributes_per_span(attributes);
    }
    if let Some(events) = limits.events {
        provider = provider.with_max_events_per_span(events);
    }
    if let Some(links) = limits.links {
        provider = provider.with_max_links_per_span(links);
    }
    if let Some(attributes) = limits.attributes_per_event {
        provider = provider.with_max_attributes_per_event(attributes);
    }
    if let Some(attributes) = limits.attributes_per_link {
        provider = provider.with_max_attributes_per_link(attributes);
    }
    for delivery in deliveries {
        provider = provider.with_span_processor(Shared(Arc::clone(delivery)));
    }
    provider.build()
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// What can go wrong in [`Telemetry`].
#[derive(Debug)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The console got no thread from the operating system.
    Console,
    /// A variable that says where or how OTLP goes has a value that can't be used.
    #[non_exhaustive]
    Variable {
        /// Its name.
        name: &'static str,
        /// Its value, without what may be a secret: of headers nothing is told.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The OTLP exporter could not be started.
    Otlp(String),
    /// The metrics' page could not be made.
    Prometheus(String),
    /// The last metrics did not get out in the shutdown: an exporter failed, or was not done in time.
    Metrics(OTelSdkError),
    /// Spans were lost in the shutdown: an exporter failed, or was not done in time.
    #[non_exhaustive]
    Flush {
        /// How many, of all exporters.
        lost: u64,
        /// What an exporter said.
        source: OTelSdkError,
    },
}

#[cfg(feature = "otlp")]
impl From<Unusable> for TelemetryError {
    fn from(Unusable { variable, value, reason }: Unusable) -> Self {
        Self::Variable { name: variable, value, reason }
    }
}

#[cfg(feature = "otlp")]
impl From<Refused> for TelemetryError {
    fn from(Refused(reason): Refused) -> Self {
        Self::Otlp(reason)
    }
}

impl fmt::Display for TelemetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Console => f.write_str("the console exporter could not start its thread"),
            Self::Variable { name, value, reason } => write!(f, "{name}={value:?} can't be used: {reason}"),
            Self::Prometheus(reason) => write!(f, "the metrics' page could not be made: {reason}"),
            Self::Otlp(reason) => write!(f, "the OTLP exporter could not start: {reason}"),
            Self::Metrics(source) => write!(f, "the last metrics were not exported before the shutdown: {source}"),
            Self::Flush { lost, source } => write!(f, "{lost} spans were not exported before the shutdown: {source}"),
        }
    }
}

impl std::error::Error for TelemetryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Console | Self::Variable { .. } | Self::Otlp(_) | Self::Prometheus(_) => None,
            Self::Flush { source, .. } | Self::Metrics(source) => Some(source),
        }
    }
}
