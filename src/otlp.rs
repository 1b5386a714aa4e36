//! Where and how do spans go over OTLP?
//!
//! What the variables say is worked out first, by [`Settings::of`]; the exporter is then told all of it, and nothing is
//! left to what it reads itself, for it falls back without a word. The headers alone it takes from the environment.

use std::time::Duration;
use std::{io, thread};

use opentelemetry_otlp::{Compression, ExporterBuildError, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use reqwest::Url;
use reqwest::blocking::Client;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect::Policy;

/// What the variables say about the way to the receiver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    endpoint: Url,
    protocol: Protocol,
    timeout: Duration,
    compression: Option<Compression>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    HttpProtobuf,
    HttpJson,
    Grpc,
}

impl Settings {
    /// Reads the variables, those of the spans before those of all signals.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Unusable> {
        let variable =
            |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));

        let protocol = match first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]) {
            Some((name, value)) => protocol(&value).ok_or_else(|| {
                let reason = "it is none of http/protobuf, http/json and grpc";
                Unusable { variable: name, value, reason: reason.into() }
            })?,
            None => Protocol::HttpProtobuf,
        };
        let insecure = first(["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"])
            .is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        let endpoint = match first([TRACES_ENDPOINT, "OTEL_EXPORTER_OTLP_ENDPOINT"]) {
            Some((name, value)) => endpoint(&value, protocol, name == TRACES_ENDPOINT, insecure)
                .map_err(|reason| Unusable { variable: name, value: without_secrets(&value), reason })?,
            None => default_endpoint(protocol).map_err(|reason| Unusable {
                variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
                value: String::new(),
                reason,
            })?,
        };
        let timeout = match first(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]) {
            Some((name, value)) => timeout(&value).ok_or_else(|| {
                let reason = "it is no number of milliseconds from 1 to 86400000";
                Unusable { variable: name, value, reason: reason.into() }
            })?,
            None => Duration::from_secs(10),
        };
        let compression = match first(["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"]) {
            Some((name, value)) => compression(&value).map_err(|reason| Unusable { variable: name, value, reason })?,
            None => None,
        };
        if let Some((name, value)) = first(["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]) {
            headers(&value).map_err(|reason| Unusable { variable: name, value: "…".into(), reason })?;
        }
        Ok(Self { endpoint, protocol, timeout, compression })
    }

    /// The feature that the program would have to be built with.
    pub(crate) fn missing_feature(&self) -> Option<&'static str> {
        let (feature, is_there) = match self.protocol {
            Protocol::HttpProtobuf => ("otlp", true),
            Protocol::HttpJson => ("otlp-json", cfg!(feature = "otlp-json")),
            Protocol::Grpc => ("otlp-grpc", cfg!(feature = "otlp-grpc")),
        };
        (!is_there).then_some(feature)
    }
}

/// A variable's value that nothing can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unusable {
    pub(crate) variable: &'static str,
    /// As it may be shown: without what may be a secret.
    pub(crate) value: String,
    pub(crate) reason: String,
}

const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

fn protocol(value: &str) -> Option<Protocol> {
    match value.to_ascii_lowercase().as_str() {
        "http/protobuf" => Some(Protocol::HttpProtobuf),
        "http/json" => Some(Protocol::HttpJson),
        "grpc" => Some(Protocol::Grpc),
        _ => None,
    }
}

/// The full URL: what is said for all signals gets the spans' path, except with gRPC, which has none.
fn endpoint(value: &str, protocol: Protocol, of_traces: bool, insecure: bool) -> Result<Url, String> {
    let has_scheme = value.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['/', '?', '#']));
    let mut url = match (protocol, has_scheme) {
        (Protocol::Grpc, false) => Url::parse(&format!("{}://{value}", if insecure { "http" } else { "https" })),
        _ => Url::parse(value),
    }
    .map_err(|error| format!("it is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it does not begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a name or password in it is not sent: put it into OTEL_EXPORTER_OTLP_HEADERS".into());
    }
    if protocol != Protocol::Grpc && !of_traces {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

fn default_endpoint(protocol: Protocol) -> Result<Url, String> {
    let port = if protocol == Protocol::Grpc { 4317 } else { 4318 };
    endpoint(&format!("http://localhost:{port}"), protocol, false, false)
}

fn timeout(value: &str) -> Option<Duration> {
    // More than a day is no timeout, and clocks overflow.
    value.parse().ok().filter(|millis| (1..=86_400_000).contains(millis)).map(Duration::from_millis)
}

fn compression(value: &str) -> Result<Option<Compression>, String> {
    match value.to_ascii_lowercase().as_str() {
        "none" => Ok(None),
        "gzip" => Ok(Some(Compression::Gzip)),
        "zstd" => Ok(Some(Compression::Zstd)),
        _ => Err("it is none of gzip, zstd and none".into()),
    }
}

/// Whether each entry is a header. Of one that is not, only the place is told: anything in it may be a secret.
fn headers(value: &str) -> Result<(), String> {
    for (place, entry) in value.split_terminator(',').enumerate() {
        let place = place + 1;
        let Some((name, value)) = entry.split_once('=') else {
            return Err(format!("entry {place} is no name=value"));
        };
        let name = name.trim().parse::<HeaderName>().map_err(|_| format!("entry {place} has no header's name"))?;
        if value.trim().is_empty() {
            return Err(format!("entry {place}, {name}, has no value"));
        }
        if HeaderValue::from_bytes(&decoded(value.trim())).is_err() {
            return Err(format!("entry {place}, {name}, has a value that no header can have"));
        }
    }
    Ok(())
}

/// A value without its percent-encoding; as it is where that is none.
fn decoded(value: &str) -> Vec<u8> {
    let mut bytes = value.bytes();
    let mut decoded = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        let hex = |digit: Option<u8>| char::from(digit?).to_digit(16);
        match byte {
            b'%' => match (hex(bytes.next()), hex(bytes.next())) {
                (Some(high), Some(low)) => decoded.extend(u8::try_from(high * 16 + low)),
                _ => return value.into(),
            },
            _ => decoded.push(byte),
        }
    }
    decoded
}

/// An endpoint as it may be shown: without a name and password, and without its query.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // Whatever stands before an @ may be part of a password.
    let (hidden, shown) = rest.rsplit_once('@').map_or(("", rest), |(_, shown)| ("…@", shown));
    let shown = shown.split_once(['?', '#']).map_or(shown, |(before, _)| before);
    let colon = if rest.len() < url.len() { "://" } else { "" };
    format!("{scheme}{colon}{hidden}{shown}")
}

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
        Self(error.to_string())
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// An exporter to the receiver. Whether the program has a runtime makes no difference to it.
#[derive(Debug)]
pub(crate) struct Exporter {
    exporter: opentelemetry_otlp::SpanExporter,
    #[cfg(feature = "otlp-grpc")]
    reactor: Option<grpc::Reactor>,
}

impl Exporter {
    /// Makes it, and connects to nobody yet.
    pub(crate) fn new(settings: &Settings, resource: &Resource) -> Result<Self, Refused> {
        let mut exporter = match settings.protocol {
            Protocol::HttpProtobuf => http(settings, opentelemetry_otlp::Protocol::HttpBinary)?,
            #[cfg(feature = "otlp-json")]
            Protocol::HttpJson => http(settings, opentelemetry_otlp::Protocol::HttpJson)?,
            #[cfg(feature = "otlp-grpc")]
            Protocol::Grpc => grpc::exporter(settings)?,
            #[cfg(not(all(feature = "otlp-json", feature = "otlp-grpc")))]
            _ => return Err(Refused("the program was built without its protocol".into())),
        };
        exporter.set_resource(resource);
        Ok(exporter)
    }
}

fn http(settings: &Settings, protocol: opentelemetry_otlp::Protocol) -> Result<Exporter, Refused> {
    let (timeout, is_plain) = (settings.timeout, settings.endpoint.scheme() == "http");
    let client = move || {
        // A redirected POST becomes a GET, and its answer would pass for a receipt.
        let client = Client::builder().timeout(timeout).redirect(Policy::none());
        // Without https there is no need for certificates, and there may be none.
        if is_plain { client.tls_certs_only([]) } else { client }.build()
    };
    // A blocking client must not be made on a runtime's thread.
    let client = thread::Builder::new().spawn(client)?.join();
    let client = client.map_err(|_| Refused("the HTTP client panicked when it was made".into()))??;
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(settings.endpoint.as_str())
        .with_protocol(protocol)
        .with_timeout(settings.timeout);
    if let Some(compression) = settings.compression {
        exporter = exporter.with_compression(compression);
    }
    Ok(Exporter {
        exporter: exporter.build()?,
        #[cfg(feature = "otlp-grpc")]
        reactor: None,
    })
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        #[cfg(feature = "otlp-grpc")]
        if let Some(reactor) = &self.reactor {
            return reactor.export(&self.exporter, batch).await;
        }
        self.exporter.export(batch).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(feature = "otlp-grpc")]
mod grpc {
    use std::sync::mpsc;
    use std::time::Duration;
    use std::{io, thread};

    use opentelemetry::Context;
    use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
    use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
    use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    use tokio::runtime::{Builder, Handle};
    use tokio::sync::oneshot;
    use tokio::time;

    use super::{Exporter, Refused, Settings};

    pub(super) fn exporter(settings: &Settings) -> Result<Exporter, Refused> {
        let reactor = Reactor::start(settings.timeout)?;
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(settings.endpoint.as_str())
            .with_timeout(settings.timeout);
        if settings.endpoint.scheme() == "https" {
            exporter = exporter.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
        }
        if let Some(compression) = settings.compression {
            exporter = exporter.with_compression(compression);
        }
        let entered = reactor.runtime.enter();
        let exporter = exporter.build()?;
        drop(entered);
        Ok(Exporter { exporter, reactor: Some(reactor) })
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
        fn start(timeout: Duration) -> io::Result<Self> {
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

        /// Exports, or gives up: a connection that is being made has no timeout of its own.
        pub(super) async fn export(
            &self,
            exporter: &opentelemetry_otlp::SpanExporter,
            batch: Vec<SpanData>,
        ) -> OTelSdkResult {
            let export = {
                let _entered = self.runtime.enter();
                time::timeout(self.timeout, exporter.export(batch))
            };
            export.await.unwrap_or(Err(OTelSdkError::Timeout(self.timeout)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_otlp::Compression;

    use super::{Protocol, Settings, Unusable};

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Unusable> {
        let value =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        Settings::of(value)
    }

    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
    const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

    #[test]
    fn the_defaults_are_those_of_the_specification() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.endpoint.as_str(), "http://localhost:4318/v1/traces");
        assert_eq!(settings.protocol, Protocol::HttpProtobuf);
        assert_eq!(settings.timeout, Duration::from_secs(10));
        assert_eq!(settings.compression, None);
    }

    #[test]
    fn the_endpoint_of_all_signals_gets_the_path_of_the_spans() {
        let grpc = (PROTOCOL, "grpc");
        for (variables, endpoint) in [
            (&[(ENDPOINT, "http://x:1")][..], "http://x:1/v1/traces"),
            (&[(ENDPOINT, " http://x:1/ ")], "http://x:1/v1/traces"),
            (&[(ENDPOINT, "https://x/api/public/otel")], "https://x/api/public/otel/v1/traces"),
            (&[(ENDPOINT, "http://x/a?key=b")], "http://x/a/v1/traces?key=b"),
            (&[(OF_TRACES, "http://x:1/in"), (ENDPOINT, "http://y")], "http://x:1/in"),
            (&[(OF_TRACES, ""), (ENDPOINT, "http://y")], "http://y/v1/traces"),
            (&[grpc], "http://localhost:4317/"),
            (&[grpc, (ENDPOINT, "http://x:1")], "http://x:1/"),
            (&[grpc, (ENDPOINT, "x:1")], "https://x:1/"),
            (&[grpc, (ENDPOINT, "x:1"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")], "http://x:1/"),
        ] {
            assert_eq!(settings(variables).unwrap().endpoint.as_str(), endpoint, "{variables:?}");
        }
    }

    #[test]
    fn the_variables_of_the_spans_come_first() {
        let settings = settings(&[
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "HTTP/JSON"),
            (PROTOCOL, "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "never"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b"),
            (HEADERS, "broken"),
        ])
        .unwrap();
        assert_eq!(settings.protocol, Protocol::HttpJson);
        assert_eq!(settings.timeout, Duration::from_millis(250));
        assert_eq!(settings.compression, None);
        let gzip = super::compression("GZIP");
        assert_eq!(gzip, Ok(Some(Compression::Gzip)));
    }

    #[test]
    fn what_nothing_can_be_made_of_is_named() {
        for (variable, value, reason) in [
            (ENDPOINT, "localhost:4318", "http://"),
            (ENDPOINT, "ftp://x", "http://"),
            (ENDPOINT, "http://", "host"),
            (ENDPOINT, "http://x:99999", "port"),
            (ENDPOINT, "nowhere", "no URL"),
            (OF_TRACES, "http://[::1", "no URL"),
            (PROTOCOL, "http", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", "milliseconds"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli", "gzip"),
        ] {
            let unusable = settings(&[(variable, value)]).unwrap_err();
            assert_eq!((unusable.variable, unusable.value.as_str()), (variable, value));
            assert!(unusable.reason.contains(reason), "{unusable:?}");
        }
    }

    #[test]
    fn headers_are_headers_and_an_error_tells_no_secret() {
        for good in ["a=b", "authorization=Basic%20abc==, x-y = z ,", "percent=100%"] {
            assert!(settings(&[(HEADERS, good)]).is_ok(), "{good}");
        }
        for (bad, reason) in [
            ("Bearer hunter2", "entry 1 is no name=value"),
            ("a=b,Authorization: Basic hunter2==", "entry 2 has no header's name"),
            ("authorization=Bearer%0Ahunter2", "entry 1, authorization, has a value"),
            ("a=b,x-api-key=", "entry 2, x-api-key, has no value"),
            ("=hunter2", "entry 1 has no header's name"),
        ] {
            let unusable = settings(&[(HEADERS, bad)]).unwrap_err();
            assert!(unusable.reason.starts_with(reason), "{unusable:?}");
            assert!(!format!("{unusable:?}").contains("hunter2"), "{unusable:?}");
        }
        for secret in [
            "http://me:hunter2@x",
            "http://me:hunter2?@x",
            "http://me:@hunter2@x/",
            "ftp://me:hunter2@x/",
            "me:hunter2@x:1",
            "ftp://x?key=hunter2",
            "ftp://x?key=hunter2@",
        ] {
            let unusable = settings(&[(ENDPOINT, secret)]).unwrap_err();
            assert!(!format!("{unusable:?}").contains("hunter2"), "{unusable:?}");
        }
    }
}
