//! How do spans and metrics go over OTLP?
//!
//! The exporters are told all that [`Settings`] says. What they read themselves says the same, or less.

use std::error::Error;
use std::future::Future;
use std::iter::successors;
use std::time::Duration;
use std::{io, thread};

use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, MetricExporterBuilder, SpanExporter, SpanExporterBuilder, WithExportConfig,
    WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::SpanData;
use reqwest::blocking::Client;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect::Policy;

use crate::destination::{Protocol, Settings};
use crate::outside::caught;

/// The operating system or a library refused something that the exporter needs.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl From<ExporterBuildError> for Refused {
    fn from(error: ExporterBuildError) -> Self {
        Self(error.to_string())
    }
}

impl From<reqwest::Error> for Refused {
    fn from(error: reqwest::Error) -> Self {
        // By itself it says no more than "builder error".
        let reasons = successors(error.source(), |&reason| reason.source());
        Self(reasons.fold(error.to_string(), |text, reason| format!("{text}: {reason}")))
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// An exporter to the receiver. Whether the program has a runtime makes no difference to it.
#[derive(Debug)]
pub(crate) struct Exporter<E> {
    exporter: E,
    #[cfg(feature = "otlp-grpc")]
    reactor: Option<grpc::Reactor>,
}

/// Makes an exporter of this builder: the two signals' builders share traits, but not how they begin and end. It connects
/// to nobody yet.
macro_rules! exporter {
    ($builder:expr, $settings:expr) => {
        match $settings.protocol {
            Protocol::HttpProtobuf => {
                let builder = http($builder.with_http(), $settings, opentelemetry_otlp::Protocol::HttpBinary)?;
                Ok::<_, Refused>(Exporter::of(builder.build()?))
            }
            #[cfg(feature = "otlp-json")]
            Protocol::HttpJson => {
                let builder = http($builder.with_http(), $settings, opentelemetry_otlp::Protocol::HttpJson)?;
                Ok::<_, Refused>(Exporter::of(builder.build()?))
            }
            #[cfg(feature = "otlp-grpc")]
            Protocol::Grpc => {
                let reactor = grpc::Reactor::start($settings.timeout)?;
                let exporter = reactor.entered(|| grpc::told($builder.with_tonic(), $settings).build())?;
                Ok(Exporter { exporter, reactor: Some(reactor) })
            }
            #[cfg(not(all(feature = "otlp-json", feature = "otlp-grpc")))]
            _ => Err(Refused("the program was built without its protocol".into())),
        }
    };
}

/// The exporter of spans.
pub(crate) fn spans(settings: &Settings, resource: &Resource) -> Result<Exporter<SpanExporter>, Refused> {
    let mut exporter = exporter!(SpanExporterBuilder::default(), settings)?;
    opentelemetry_sdk::trace::SpanExporter::set_resource(&mut exporter, resource);
    Ok(exporter)
}

/// The exporter of metrics.
pub(crate) fn metrics(settings: &Settings, temporality: Temporality) -> Result<Exporter<MetricExporter>, Refused> {
    exporter!(MetricExporterBuilder::default().with_temporality(temporality), settings)
}

/// This builder, told where and how over HTTP.
fn http<B>(builder: B, settings: &Settings, protocol: opentelemetry_otlp::Protocol) -> Result<B, Refused>
where
    B: WithExportConfig + WithHttpConfig,
{
    let (timeout, is_plain) = (settings.timeout, settings.endpoint.scheme() == "http");
    let client = move || {
        // A redirected POST becomes a GET, and its answer would pass for a receipt.
        let client = Client::builder().timeout(timeout).redirect(Policy::none());
        // Without https there is no need for certificates, and there may be none.
        if is_plain { client.tls_certs_only([]) } else { client }.build()
    };
    // A blocking client must not be made on a runtime's thread.
    let client = thread::Builder::new().spawn(move || caught(client))?.join().ok().flatten();
    let client = client.ok_or_else(|| Refused("the HTTP client panicked when it was made".into()))??;
    // They are decoded, and will be once more.
    let header =
        |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.replace('%', "%25")));
    let builder = builder
        .with_http_client(client)
        .with_headers(settings.headers.iter().filter_map(header).collect())
        .with_endpoint(settings.endpoint.as_str())
        .with_protocol(protocol)
        .with_timeout(settings.timeout);
    Ok(match settings.compression {
        Some(compression) => builder.with_compression(compression),
        None => builder,
    })
}

impl<E> Exporter<E> {
    fn of(exporter: E) -> Self {
        Self {
            exporter,
            #[cfg(feature = "otlp-grpc")]
            reactor: None,
        }
    }

    /// Exports where the exporter finds what it needs.
    async fn run(&self, export: impl Future<Output = OTelSdkResult> + Send) -> OTelSdkResult {
        #[cfg(feature = "otlp-grpc")]
        if let Some(reactor) = &self.reactor {
            return reactor.run(export).await;
        }
        export.await
    }
}

impl opentelemetry_sdk::trace::SpanExporter for Exporter<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.run(self.exporter.export(batch)).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl PushMetricExporter for Exporter<MetricExporter> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.run(self.exporter.export(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(feature = "otlp-grpc")]
mod grpc {
    use std::future::Future;
    use std::sync::mpsc;
    use std::time::Duration;
    use std::{io, thread};

    use opentelemetry::Context;
    use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
    use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
    use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
    use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
    use tokio::runtime::{Builder, Handle};
    use tokio::sync::oneshot;
    use tokio::time;

    use super::Settings;

    /// This builder, told where and how over gRPC.
    pub(super) fn told<B: WithExportConfig + WithTonicConfig>(builder: B, settings: &Settings) -> B {
        let mut builder = builder
            .with_endpoint(settings.endpoint.as_str())
            .with_metadata(MetadataMap::from_headers(settings.headers.clone()))
            .with_timeout(settings.timeout);
        if settings.endpoint.scheme() == "https" {
            builder = builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
        }
        match settings.compression {
            Some(compression) => builder.with_compression(compression),
            None => builder,
        }
    }

    /// A runtime of our own on one thread: the program may have none, may block in it, and may stop it before us. It
    /// ends when this is dropped.
    #[derive(Debug)]
    pub(super) struct Reactor {
        runtime: Handle,
        timeout: Duration,
        /// The thread waits for it to be dropped.
        _running: oneshot::Sender<()>,
    }

    impl Reactor {
        pub(super) fn start(timeout: Duration) -> io::Result<Self> {
            let (running, stopped) = oneshot::channel();
            let (started, runtime) = mpsc::channel();
            // Made on its thread: a runtime must not be dropped on another one's thread.
            thread::Builder::new().name("tracing-genai.grpc".into()).spawn(move || {
                // What the connection traces would be exported, and be traced.
                let _suppressed = Context::enter_telemetry_suppressed_scope();
                let runtime = Builder::new_current_thread().enable_all().build();
                let _ =
                    started.send(runtime.as_ref().map(|runtime| runtime.handle().clone()).map_err(ToString::to_string));
                if let Ok(runtime) = runtime {
                    let _ = runtime.block_on(stopped);
                }
            })?;
            let runtime = runtime.recv().map_err(io::Error::other)?.map_err(io::Error::other)?;
            Ok(Self { runtime, timeout, _running: running })
        }

        /// Calls it inside of the runtime.
        pub(super) fn entered<R>(&self, call: impl FnOnce() -> R) -> R {
            let _entered = self.runtime.enter();
            call()
        }

        /// Exports, or gives up: a connection that is being made has no timeout of its own.
        pub(super) async fn run(&self, export: impl Future<Output = OTelSdkResult> + Send) -> OTelSdkResult {
            let export = self.entered(|| time::timeout(self.timeout, export));
            export.await.unwrap_or(Err(OTelSdkError::Timeout(self.timeout)))
        }
    }
}
