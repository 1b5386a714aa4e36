//! Where do the variables say that OTLP goes, and how?
//!
//! All of it is worked out here and told to the exporter: what it reads by itself, it replaces by a default without a word
//! when it can't be used.

use std::time::Duration;

use opentelemetry_otlp::Compression;
use opentelemetry_sdk::metrics::Temporality;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::variables::decoded;

/// What is sent, and its variables: those of the signal itself, which come first, and those of all signals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signal {
    path: &'static str,
    endpoint: [&'static str; 2],
    protocol: [&'static str; 2],
    insecure: [&'static str; 2],
    headers: [&'static str; 2],
    timeout: [&'static str; 2],
    compression: [&'static str; 2],
}

macro_rules! variables {
    ($signal:literal, $what:literal) => {
        [concat!("OTEL_EXPORTER_OTLP_", $signal, "_", $what), concat!("OTEL_EXPORTER_OTLP_", $what)]
    };
}

macro_rules! signal {
    ($signal:literal, $path:literal) => {
        Signal {
            path: $path,
            endpoint: variables!($signal, "ENDPOINT"),
            protocol: variables!($signal, "PROTOCOL"),
            insecure: variables!($signal, "INSECURE"),
            headers: variables!($signal, "HEADERS"),
            timeout: variables!($signal, "TIMEOUT"),
            compression: variables!($signal, "COMPRESSION"),
        }
    };
}

pub(crate) const SPANS: Signal = signal!("TRACES", "/v1/traces");
pub(crate) const METRICS: Signal = signal!("METRICS", "/v1/metrics");

/// What the variables say about the way to the receiver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) endpoint: Url,
    pub(crate) protocol: Protocol,
    /// Marked as secrets, so that no text shows them.
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) compression: Option<Compression>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    HttpProtobuf,
    HttpJson,
    Grpc,
}

impl Settings {
    /// Reads the variables of this signal.
    pub(crate) fn of(signal: Signal, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Unusable> {
        let said = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, given(&variable, name)?)));

        let protocol = match said(signal.protocol) {
            Some((name, value)) => protocol(&value).ok_or_else(|| {
                let reason = "it is none of http/protobuf, http/json and grpc";
                Unusable { variable: name, value, reason: reason.into() }
            })?,
            None => Protocol::HttpProtobuf,
        };
        let insecure = said(signal.insecure).is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        let [own, of_all] = signal.endpoint;
        let endpoint = match said(signal.endpoint) {
            Some((name, value)) => {
                let path = (name == of_all).then_some(signal.path);
                endpoint(&value, protocol, path, insecure).map_err(|reason| Unusable {
                    variable: name,
                    value: without_secrets(&value),
                    reason,
                })?
            }
            None => default_endpoint(protocol, signal.path).map_err(|reason| Unusable {
                variable: own,
                value: String::new(),
                reason,
            })?,
        };
        let timeout = match said(signal.timeout) {
            Some((name, value)) => timeout(&value).ok_or_else(|| {
                let reason = "it is no number of milliseconds from 1 to 86400000";
                Unusable { variable: name, value, reason: reason.into() }
            })?,
            None => Duration::from_secs(10),
        };
        let compression = match said(signal.compression) {
            Some((name, value)) => compression(&value).map_err(|reason| Unusable { variable: name, value, reason })?,
            None => None,
        };
        let headers = match said(signal.headers) {
            Some((name, value)) => {
                headers(&value).map_err(|reason| Unusable { variable: name, value: "…".into(), reason })?
            }
            None => HeaderMap::new(),
        };
        Ok(Self { endpoint, protocol, headers, timeout, compression })
    }

    /// The same, with exports that take no longer than this.
    pub(crate) fn within(self, timeout: Option<Duration>) -> Self {
        Self { timeout: timeout.map_or(self.timeout, |most| most.min(self.timeout)), ..self }
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

/// Whether metrics are what was measured since the start or since the last export.
pub(crate) fn temporality(variable: impl Fn(&str) -> Option<String>) -> Result<Temporality, Unusable> {
    let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let Some(value) = given(&variable, name) else { return Ok(Temporality::Cumulative) };
    value.parse().map_err(|()| {
        let reason = "it is none of cumulative, delta and lowmemory";
        Unusable { variable: name, value, reason: reason.into() }
    })
}

/// A variable's value; an empty one is none.
fn given(variable: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A variable's value that nothing can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unusable {
    pub(crate) variable: &'static str,
    /// As it may be shown: without what may be a secret.
    pub(crate) value: String,
    pub(crate) reason: String,
}

fn protocol(value: &str) -> Option<Protocol> {
    match value.to_ascii_lowercase().as_str() {
        "http/protobuf" => Some(Protocol::HttpProtobuf),
        "http/json" => Some(Protocol::HttpJson),
        "grpc" => Some(Protocol::Grpc),
        _ => None,
    }
}

/// The full URL: with the signal's path where it is said for all signals, except with gRPC, which has none.
fn endpoint(value: &str, protocol: Protocol, path: Option<&str>, insecure: bool) -> Result<Url, String> {
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
    if let Some(path) = path.filter(|_| protocol != Protocol::Grpc) {
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

fn default_endpoint(protocol: Protocol, path: &str) -> Result<Url, String> {
    let port = if protocol == Protocol::Grpc { 4317 } else { 4318 };
    endpoint(&format!("http://localhost:{port}"), protocol, Some(path), false)
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

/// Each entry as a header. Of one that is none, only the place is told: anything in it may be a secret.
fn headers(value: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (place, entry) in value.split_terminator(',').enumerate() {
        let place = place + 1;
        let Some((name, value)) = entry.split_once('=') else {
            return Err(format!("entry {place} is no name=value"));
        };
        let name = name.trim().parse::<HeaderName>().map_err(|_| format!("entry {place} has no header's name"))?;
        if value.trim().is_empty() {
            return Err(format!("entry {place}, {name}, has no value"));
        }
        // What is not ASCII the exporters would leave out without a word.
        let header = HeaderValue::from_bytes(&decoded(value.trim())).ok();
        let Some(mut header) = header.filter(|header| header.to_str().is_ok()) else {
            return Err(format!("entry {place}, {name}, has a value that no header can have"));
        };
        header.set_sensitive(true);
        headers.insert(name, header);
    }
    Ok(headers)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_otlp::Compression;
    use opentelemetry_sdk::metrics::Temporality;

    use super::{METRICS, Protocol, SPANS, Settings, Signal, Unusable};

    fn of(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
    }

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Unusable> {
        Settings::of(SPANS, of(variables))
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
    fn each_signal_has_its_variables_and_its_path() {
        let both = [(ENDPOINT, "http://x/base"), ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "7"), (OF_TRACES, "http://y")];
        let said = |signal: Signal| {
            let settings = Settings::of(signal, of(&both)).unwrap();
            (settings.endpoint.to_string(), settings.timeout.as_millis())
        };
        assert_eq!(said(SPANS), ("http://y/".into(), 10_000));
        assert_eq!(said(METRICS), ("http://x/base/v1/metrics".into(), 7));
        let within = |millis| settings(&[]).unwrap().within(millis).timeout.as_millis();
        assert_eq!(
            [None, Some(5), Some(30_000)].map(|most| within(most.map(Duration::from_millis))),
            [10_000, 5, 10_000]
        );
    }

    #[test]
    fn metrics_are_cumulative_unless_it_is_said_otherwise() {
        let temporality =
            |value| super::temporality(of(&[("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", value)]));
        assert_eq!(temporality(""), Ok(Temporality::Cumulative));
        assert_eq!(temporality("Delta"), Ok(Temporality::Delta));
        assert_eq!(temporality("LOWMEMORY"), Ok(Temporality::LowMemory));
        assert!(temporality("both").unwrap_err().reason.contains("cumulative"));
    }

    #[test]
    fn the_variables_of_the_signal_come_first() {
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
        for variables in
            [&[(HEADERS, "a=hunter%32")][..], &[("OTEL_EXPORTER_OTLP_TRACES_HEADERS", " "), (HEADERS, "a=hunter2")]]
        {
            let settings = settings(variables).unwrap();
            assert_eq!(settings.headers["a"], "hunter2");
            assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
        }
        for (bad, reason) in [
            ("Bearer hunter2", "entry 1 is no name=value"),
            ("a=b,Authorization: Basic hunter2==", "entry 2 has no header's name"),
            ("authorization=Bearer%0Ahunter2", "entry 1, authorization, has a value"),
            ("a=hunter2%C3%A4", "entry 1, a, has a value"),
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
