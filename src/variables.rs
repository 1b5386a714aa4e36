//! What does the environment ask for?
//!
//! OpenTelemetry's own variables, apart from those that say where OTLP goes. Each is honoured or named in a warning.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// What the variables ask for.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    /// Nothing is to be exported, whatever else is said.
    pub(crate) disabled: bool,
    pub(crate) spans: Exporters,
    pub(crate) metrics: Exporters,
    /// Metrics over OTLP are asked for by name, and not only by the endpoint of all signals.
    pub(crate) metrics_by_name: bool,
    pub(crate) batches: Batches,
    pub(crate) readings: Readings,
    pub(crate) limits: Limits,
    pub(crate) sampling: Option<Sampling>,
    /// What is said of the program, the service's name last.
    pub(crate) resource: Vec<(String, String)>,
    /// What is not honoured, and why, a line each.
    pub(crate) warnings: Vec<String>,
}

/// Where the data of one signal goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Exporters {
    pub(crate) otlp: bool,
    pub(crate) console: bool,
    /// A page that Prometheus reads; of metrics alone.
    pub(crate) prometheus: bool,
}

/// When metrics are exported, where that was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Readings {
    pub(crate) interval: Option<Duration>,
    /// How long one export may take.
    pub(crate) timeout: Option<Duration>,
}

/// How spans wait for their exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batches {
    /// How many may wait, those that are being exported among them.
    pub(crate) queue: usize,
    /// How many are exported together.
    pub(crate) batch: usize,
    /// How long the first of a batch waits for others.
    pub(crate) delay: Duration,
}

/// How much a span may hold, where that was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) attributes: Option<u32>,
    pub(crate) events: Option<u32>,
    pub(crate) links: Option<u32>,
    pub(crate) attributes_per_event: Option<u32>,
    pub(crate) attributes_per_link: Option<u32>,
}

/// Which traces are sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampling {
    /// How many of all traces that begin here: 1 is all of them.
    pub(crate) ratio: f64,
    /// Those that begin elsewhere are sampled if they were there.
    pub(crate) follows_parents: bool,
}

/// The variables that the SDK and we don't know what to do with, and what there is instead.
const NOT_HONOURED: &[(&str, &str)] = &[
    ("OTEL_BSP_EXPORT_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT is"),
    ("OTEL_BSP_MAX_CONCURRENT_EXPORTS", "it is always one"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "the SDK has none"),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "the SDK has none"),
    ("OTEL_PROPAGATORS", "nothing global is installed"),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "there are no exemplars"),
    ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "the buckets are fixed"),
    ("OTEL_EXPORTER_PROMETHEUS_HOST", "the program serves the page"),
    ("OTEL_EXPORTER_PROMETHEUS_PORT", "the program serves the page"),
    ("OTEL_LOGS_EXPORTER", "there are no logs"),
    ("OTEL_LOG_LEVEL", "the SDK's log is that of the program"),
    ("OTEL_CONFIG_FILE", "the variables are"),
    ("OTEL_EXPERIMENTAL_CONFIG_FILE", "the variables are"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", CERTIFICATES),
];

const CERTIFICATES: &str = "the operating system's certificates are used";

/// It turns OTLP on for all signals whose variable does not say what is on, as that of the signal does for one.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SPANS_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const METRICS_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";

impl Asked {
    /// Reads the variables; an empty one is one that is not set.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable =
            |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut warnings = Vec::new();

        let mut truth = |name: &str| {
            variable(name).is_some_and(|value| {
                if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") {
                    warnings.push(format!("{name}={value:?} is not known, it means false: use true or false"));
                }
                value.eq_ignore_ascii_case("true")
            })
        };
        let disabled = truth("OTEL_SDK_DISABLED");
        // What they are is read with the rest of where OTLP goes.
        for insecure in
            ["OTEL_EXPORTER_OTLP_INSECURE", "OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_METRICS_INSECURE"]
        {
            truth(insecure);
        }

        let is_set = |name: &str| variable(name).is_some();
        let mut exporters = |name: &str, known: &[&str]| {
            let (exporters, unknown) = Exporters::named(&variable(name)?, known);
            warnings.extend(unknown.into_iter().map(|unknown| {
                format!("{name} names {unknown:?}, which is not known: use {} or none", known.join(", "))
            }));
            Some(exporters)
        };
        let spans = exporters("OTEL_TRACES_EXPORTER", &["otlp", "console"]);
        let metrics = exporters("OTEL_METRICS_EXPORTER", &["otlp", "console", "prometheus"]);
        let implied = |own: &str| Exporters { otlp: is_set(own) || is_set(ENDPOINT), ..Exporters::default() };
        let metrics_by_name = metrics.is_some() || is_set(METRICS_ENDPOINT);
        let (spans, metrics) = if disabled {
            (Exporters::default(), Exporters::default())
        } else {
            (spans.unwrap_or(implied(SPANS_ENDPOINT)), metrics.unwrap_or(implied(METRICS_ENDPOINT)))
        };

        let mut number = Numbers { variable: &variable, warnings: &mut warnings };
        let batches = Batches {
            queue: number.within("OTEL_BSP_MAX_QUEUE_SIZE", 1..=1_000_000).unwrap_or(2_048),
            batch: number.within("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=1_000_000).unwrap_or(512),
            delay: number.millis("OTEL_BSP_SCHEDULE_DELAY").unwrap_or(Duration::from_secs(5)),
        };
        let readings = Readings {
            interval: number.millis("OTEL_METRIC_EXPORT_INTERVAL"),
            timeout: number.millis("OTEL_METRIC_EXPORT_TIMEOUT"),
        };
        let any = number.within("OTEL_ATTRIBUTE_COUNT_LIMIT", 0..=u32::MAX);
        let limits = Limits {
            attributes: number.within("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 0..=u32::MAX).or(any),
            events: number.within("OTEL_SPAN_EVENT_COUNT_LIMIT", 0..=u32::MAX),
            links: number.within("OTEL_SPAN_LINK_COUNT_LIMIT", 0..=u32::MAX),
            attributes_per_event: number.within("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", 0..=u32::MAX).or(any),
            attributes_per_link: number.within("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", 0..=u32::MAX).or(any),
        };

        // What they say by this is what holds.
        let is_none = |name: &str| {
            matches!(name, "OTEL_PROPAGATORS" | "OTEL_LOGS_EXPORTER")
                && variable(name).is_some_and(|value| value.eq_ignore_ascii_case("none"))
        };
        let without_effect: Vec<_> = NOT_HONOURED
            .iter()
            .filter(|(name, _)| variable(name).is_some() && !is_none(name))
            .map(|(name, instead)| format!("{name} ({instead})"))
            .collect();
        if !without_effect.is_empty() {
            warnings.push(format!("not honoured: {}", without_effect.join(", ")));
        }
        let sampling = match variable("OTEL_TRACES_SAMPLER") {
            Some(sampler) => sampling(&sampler, variable("OTEL_TRACES_SAMPLER_ARG").as_deref(), &mut warnings),
            None => None,
        };
        let mut resource = Vec::new();
        if let Some(attributes) = variable("OTEL_RESOURCE_ATTRIBUTES") {
            resource = pairs("OTEL_RESOURCE_ATTRIBUTES", &attributes, &mut warnings);
        }
        resource.extend(variable("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name)));
        Self { disabled, spans, metrics, metrics_by_name, batches, readings, limits, sampling, resource, warnings }
    }
}

impl Exporters {
    /// Those of a list, and what is in it that is not known.
    fn named(list: &str, known: &[&str]) -> (Self, Vec<String>) {
        let mut names: Vec<_> = list.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        let is_named = |exporter| known.contains(&exporter) && names.iter().any(|name| name == exporter);
        let exporters =
            Self { otlp: is_named("otlp"), console: is_named("console"), prometheus: is_named("prometheus") };
        names.retain(|name| !matches!(name.as_str(), "none" | "") && !known.contains(&name.as_str()));
        (exporters, names)
    }
}

struct Numbers<'a, V> {
    variable: &'a V,
    warnings: &'a mut Vec<String>,
}

impl<V: Fn(&str) -> Option<String>> Numbers<'_, V> {
    /// The variable's number. One that there can't be is a warning, and none.
    fn within<N>(&mut self, name: &str, range: RangeInclusive<N>) -> Option<N>
    where
        N: FromStr + PartialOrd + std::fmt::Display,
    {
        let value = (self.variable)(name)?;
        let number = value.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = (range.start(), range.end());
            self.warnings.push(format!("{name}={value:?} is no number from {from} to {to}, its default holds"));
        }
        number
    }

    /// The variable's time, up to a day.
    fn millis(&mut self, name: &str) -> Option<Duration> {
        self.within(name, 1..=86_400_000).map(Duration::from_millis)
    }
}

/// The SDK reads the variables too, but takes a ratio that there can't be, and falls back without a word that anybody could
/// see: its log has no subscriber yet.
fn sampling(sampler: &str, arg: Option<&str>, warnings: &mut Vec<String>) -> Option<Sampling> {
    let name = sampler.to_ascii_lowercase();
    let (root, follows_parents) = name.strip_prefix("parentbased_").map_or((name.as_str(), false), |root| (root, true));
    let ratio = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => {
            let ratio = arg.and_then(|arg| arg.parse().ok()).filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.unwrap_or_else(|| {
                warnings.push(format!(
                    "OTEL_TRACES_SAMPLER_ARG={:?} is no ratio from 0 to 1, every trace is sampled",
                    arg.unwrap_or_default()
                ));
                1.0
            })
        }
        _ => {
            warnings.push(format!("OTEL_TRACES_SAMPLER={sampler:?} is not known, every trace is sampled"));
            return None;
        }
    };
    Some(Sampling { ratio, follows_parents })
}

/// The entries of a list, decoded. The SDK does not decode them, and lets this list's service name win over the other.
fn pairs(name: &str, list: &str, warnings: &mut Vec<String>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (place, entry) in list.split_terminator(',').enumerate() {
        let text = |encoded: &str| String::from_utf8(decoded(encoded)).unwrap_or_else(|_| encoded.to_owned());
        match entry.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some((key, value)) if !key.is_empty() => pairs.push((text(key), text(value))),
            _ => warnings.push(format!("{name}: entry {} is no name=value and is left out", place + 1)),
        }
    }
    pairs
}

/// A value without its percent-encoding; as it is where that is none.
pub(crate) fn decoded(value: &str) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Asked, Batches, Exporters, Limits, Readings, Sampling};

    fn asked(variables: &[(&str, &str)]) -> Asked {
        let value =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        Asked::of(value)
    }

    #[test]
    fn nothing_is_asked_for_by_default() {
        let batches = Batches { queue: 2_048, batch: 512, delay: Duration::from_secs(5) };
        let nothing = Asked {
            disabled: false,
            spans: Exporters::default(),
            metrics: Exporters::default(),
            metrics_by_name: false,
            batches,
            readings: Readings::default(),
            limits: Limits::default(),
            sampling: None,
            resource: vec![],
            warnings: vec![],
        };
        assert_eq!(asked(&[]), nothing);
        let empty =
            ["OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_PROPAGATORS"];
        assert_eq!(asked(&empty.map(|name| (name, " "))), nothing);
    }

    #[test]
    fn the_exporters_are_those_that_are_named_or_otlp_where_there_is_an_endpoint() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        let named = |exporters| [("OTEL_TRACES_EXPORTER", exporters), endpoint];
        for (variables, otlp, console) in [
            (&[endpoint][..], true, false),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://x")], true, false),
            (&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://x")], false, false),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], true, false),
            (&[("OTEL_TRACES_EXPORTER", "OTLP, console")], true, true),
            (&named("console"), false, true),
            (&named("none"), false, false),
            (&named("none,"), false, false),
        ] {
            let asked = asked(variables);
            assert_eq!(asked.spans, Exporters { otlp, console, prometheus: false }, "{variables:?}");
            assert!(asked.warnings.is_empty(), "{:?}", asked.warnings);
        }
        let zipkin = asked(&named("zipkin"));
        assert!(!zipkin.spans.otlp && zipkin.warnings[0].contains("zipkin"), "{:?}", zipkin.warnings);
    }

    #[test]
    fn metrics_have_exporters_of_their_own() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://localhost:4318/v1/metrics");
        let named = |exporters| ("OTEL_METRICS_EXPORTER", exporters);
        for (variables, exporters, by_name) in [
            (&[endpoint][..], "otlp", false),
            (&[own], "otlp", true),
            (&[own, endpoint, ("OTEL_TRACES_EXPORTER", "none")], "otlp", true),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://x")], "", false),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], "", false),
            (&[named("otlp")], "otlp", true),
            (&[named("none"), endpoint, own], "", true),
            (&[named("Console,prometheus"), endpoint], "console prometheus", true),
            (&[named("otlp, console,prometheus ,none")], "otlp console prometheus", true),
            (&[named("otlp"), ("OTEL_SDK_DISABLED", "true")], "", true),
        ] {
            let asked = asked(variables);
            let is = |name| exporters.split(' ').any(|exporter| exporter == name);
            let metrics = Exporters { otlp: is("otlp"), console: is("console"), prometheus: is("prometheus") };
            assert_eq!((asked.metrics, asked.metrics_by_name), (metrics, by_name), "{variables:?}");
            assert!(asked.warnings.is_empty(), "{:?}", asked.warnings);
        }
        assert_eq!(
            asked(&[named("otlp,statsd")]).warnings,
            ["OTEL_METRICS_EXPORTER names \"statsd\", which is not known: use otlp, console, prometheus or none"]
        );
        assert!(asked(&[("OTEL_TRACES_EXPORTER", "prometheus")]).warnings[0].contains("prometheus"));
    }

    #[test]
    fn numbers_are_taken_or_named() {
        let asked = asked(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"),
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "64"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "32"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1500"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "never"),
        ]);
        assert_eq!(asked.batches, Batches { queue: 16, batch: 512, delay: Duration::from_secs(5) });
        assert_eq!((asked.limits.attributes, asked.limits.attributes_per_event), (Some(32), Some(64)));
        assert_eq!(asked.limits.links, None);
        assert_eq!(asked.readings, Readings { interval: Some(Duration::from_millis(1_500)), timeout: None });
        let named: Vec<_> = asked.warnings.iter().map(|warning| warning.split('=').next().unwrap()).collect();
        let expected = [
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            "OTEL_BSP_SCHEDULE_DELAY",
            "OTEL_METRIC_EXPORT_TIMEOUT",
            "OTEL_SPAN_LINK_COUNT_LIMIT",
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn what_is_not_honoured_is_one_warning() {
        let asked_for = asked(&[
            ("OTEL_BSP_EXPORT_TIMEOUT", "1000"),
            ("OTEL_PROPAGATORS", "tracecontext,baggage"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100"),
        ]);
        assert_eq!(
            asked_for.warnings,
            ["not honoured: OTEL_BSP_EXPORT_TIMEOUT (OTEL_EXPORTER_OTLP_TIMEOUT is), \
              OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT (the SDK has none), OTEL_PROPAGATORS (nothing global is installed)"]
        );
        assert!(asked(&[("OTEL_PROPAGATORS", "none"), ("OTEL_LOGS_EXPORTER", "none")]).warnings.is_empty());
        for (name, _) in super::NOT_HONOURED {
            let warnings = asked(&[(name, "1")]).warnings;
            assert!(warnings.len() == 1 && warnings[0].contains(name), "{name}: {warnings:?}");
        }
    }

    #[test]
    fn only_true_disables() {
        for (value, disabled, warnings) in [("true", true, 0), ("TRUE", true, 0), ("false", false, 0), ("1", false, 1)]
        {
            let asked = asked(&[("OTEL_SDK_DISABLED", value)]);
            assert_eq!((asked.disabled, asked.warnings.len()), (disabled, warnings), "{value}");
        }
        for insecure in ["OTEL_EXPORTER_OTLP_INSECURE", "OTEL_EXPORTER_OTLP_METRICS_INSECURE"] {
            assert!(asked(&[(insecure, "True")]).warnings.is_empty());
            let warning = format!("{insecure}=\"yes\" is not known, it means false: use true or false");
            assert_eq!(asked(&[(insecure, "yes")]).warnings, [warning]);
        }
    }

    #[test]
    fn a_sampler_that_the_sdk_does_not_have_is_named() {
        let warnings = |variables: &[(&str, &str)]| asked(variables).warnings.len();
        assert_eq!(warnings(&[("OTEL_TRACES_SAMPLER", "always_off")]), 0);
        assert_eq!(warnings(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")]), 0);
        for (sampler, arg) in
            [("sometimes", ""), ("traceidratio", ""), ("parentbased_traceidratio", "many"), ("xray", "")]
        {
            assert_eq!(warnings(&[("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", arg)]), 1, "{sampler}");
        }
    }

    #[test]
    fn the_sampler_is_read_in_any_case() {
        for (sampler, arg, ratio, follows_parents) in [
            (" ALWAYS_ON ", "", 1.0, false),
            ("parentbased_Always_Off", "", 0.0, true),
            ("ParentBased_TraceIdRatio", " 0.25 ", 0.25, true),
            ("traceidratio", "-0.25", 1.0, false),
            ("traceidratio", "nan", 1.0, false),
        ] {
            let asked = asked(&[("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", arg)]);
            assert_eq!(asked.sampling, Some(Sampling { ratio, follows_parents }), "{sampler} {arg}");
        }
    }

    #[test]
    fn the_resource_is_decoded_and_the_service_has_the_name_of_its_own_variable() {
        let asked = asked(&[
            ("OTEL_SERVICE_NAME", " own "),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=all, a%2Cb = c%3Dd%C3%A9 ,broken,=x,percent=100%,latin=%E9,empty=,",
            ),
        ]);
        let expected = [
            ("service.name", "all"),
            ("a,b", "c=dé"),
            ("percent", "100%"),
            ("latin", "%E9"),
            ("empty", ""),
            ("service.name", "own"),
        ];
        assert_eq!(asked.resource, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(
            asked.warnings,
            [3, 4].map(|entry| format!("OTEL_RESOURCE_ATTRIBUTES: entry {entry} is no name=value and is left out"))
        );
    }
}
