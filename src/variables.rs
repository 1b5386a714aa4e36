//! What does the environment ask for?
//!
//! OpenTelemetry's own variables, apart from those that say where OTLP goes. Each is honoured or named in a warning.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// What the variables ask for.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are what may be on or off, one by one")]
pub(crate) struct Asked {
    /// Nothing is to be exported, whatever else is said.
    pub(crate) disabled: bool,
    /// Spans are to be sent over OTLP.
    pub(crate) otlp: bool,
    /// Spans are to be printed.
    pub(crate) console: bool,
    /// Metrics are to be a page for Prometheus.
    pub(crate) prometheus: bool,
    pub(crate) batches: Batches,
    pub(crate) limits: Limits,
    /// What is not honoured, and why, a line each.
    pub(crate) warnings: Vec<String>,
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

/// The variables that the SDK and we don't know what to do with, and what there is instead.
const NOT_HONOURED: &[(&str, &str)] = &[
    ("OTEL_BSP_EXPORT_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT is"),
    ("OTEL_BSP_MAX_CONCURRENT_EXPORTS", "it is always one"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "the SDK has none"),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "the SDK has none"),
    ("OTEL_PROPAGATORS", "nothing global is installed"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", CERTIFICATES),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", CERTIFICATES),
];

const CERTIFICATES: &str = "the operating system's certificates are used";

/// Any of these turns OTLP on, unless `OTEL_TRACES_EXPORTER` says what is on.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

impl Asked {
    /// Reads the variables; an empty one is one that is not set.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable =
            |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut warnings = Vec::new();

        let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| {
            if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") {
                warnings.push(format!("OTEL_SDK_DISABLED={value:?} is not known, it means false: use true or false"));
            }
            value.eq_ignore_ascii_case("true")
        });

        let (mut otlp, mut console) = (false, false);
        if let Some(exporters) = variable("OTEL_TRACES_EXPORTER") {
            for exporter in exporters.split(',').map(|name| name.trim().to_ascii_lowercase()) {
                match exporter.as_str() {
                    "otlp" => otlp = true,
                    "console" => console = true,
                    "none" | "" => {}
                    unknown => warnings.push(format!(
                        "OTEL_TRACES_EXPORTER names {unknown:?}, which is not known: use otlp, console or none"
                    )),
                }
            }
        } else {
            otlp = ENDPOINTS.iter().any(|name| variable(name).is_some());
        }

        let mut number = Numbers { variable: &variable, warnings: &mut warnings };
        let batches = Batches {
            queue: number.within("OTEL_BSP_MAX_QUEUE_SIZE", 1..=1_000_000).unwrap_or(2_048),
            batch: number.within("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=1_000_000).unwrap_or(512),
            delay: number
                .within("OTEL_BSP_SCHEDULE_DELAY", 1..=86_400_000)
                .map_or(Duration::from_secs(5), Duration::from_millis),
        };
        let any = number.within("OTEL_ATTRIBUTE_COUNT_LIMIT", 0..=u32::MAX);
        let limits = Limits {
            attributes: number.within("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 0..=u32::MAX).or(any),
            events: number.within("OTEL_SPAN_EVENT_COUNT_LIMIT", 0..=u32::MAX),
            links: number.within("OTEL_SPAN_LINK_COUNT_LIMIT", 0..=u32::MAX),
            attributes_per_event: number.within("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", 0..=u32::MAX).or(any),
            attributes_per_link: number.within("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", 0..=u32::MAX).or(any),
        };

        let mut prometheus = false;
        for exporter in variable("OTEL_METRICS_EXPORTER").unwrap_or_default().split(',').map(str::trim) {
            match exporter.to_ascii_lowercase().as_str() {
                "prometheus" => prometheus = true,
                "none" | "" => {}
                other => warnings.push(format!(
                    "OTEL_METRICS_EXPORTER names {other:?}, which is not built in: use prometheus or none, or a meter of \
                     your own with GenAi::with_meter"
                )),
            }
        }

        let is_none = |name: &str| name == "OTEL_PROPAGATORS" && variable(name).is_some_and(|value| value == "none");
        let without_effect: Vec<_> = NOT_HONOURED
            .iter()
            .filter(|(name, _)| variable(name).is_some() && !is_none(name))
            .map(|(name, instead)| format!("{name} ({instead})"))
            .collect();
        if !without_effect.is_empty() {
            warnings.push(format!("not honoured: {}", without_effect.join(", ")));
        }
        warnings.extend(sampler(
            variable("OTEL_TRACES_SAMPLER").as_deref(),
            variable("OTEL_TRACES_SAMPLER_ARG").as_deref(),
        ));
        Self { disabled, otlp, console, prometheus, batches, limits, warnings }
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
}

/// The SDK falls back without a word that anybody could see: its log has no subscriber yet.
fn sampler(sampler: Option<&str>, arg: Option<&str>) -> Option<String> {
    let sampler = sampler?;
    match sampler {
        "always_on" | "always_off" | "parentbased_always_on" | "parentbased_always_off" => None,
        "traceidratio" | "parentbased_traceidratio" => {
            let is_ratio =
                arg.as_ref().is_some_and(|arg| arg.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)));
            (!is_ratio).then(|| {
                format!(
                    "OTEL_TRACES_SAMPLER_ARG={:?} is no ratio from 0 to 1, every trace is sampled",
                    arg.unwrap_or_default()
                )
            })
        }
        _ => Some(format!("OTEL_TRACES_SAMPLER={sampler:?} is not known, every trace is sampled")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Asked, Batches, Limits};

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
            otlp: false,
            console: false,
            prometheus: false,
            batches,
            limits: Limits::default(),
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
            assert_eq!((asked.otlp, asked.console), (otlp, console), "{variables:?}");
            assert!(asked.warnings.is_empty(), "{:?}", asked.warnings);
        }
        let zipkin = asked(&named("zipkin"));
        assert!(!zipkin.otlp && zipkin.warnings[0].contains("zipkin"), "{:?}", zipkin.warnings);
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
        ]);
        assert_eq!(asked.batches, Batches { queue: 16, batch: 512, delay: Duration::from_secs(5) });
        assert_eq!((asked.limits.attributes, asked.limits.attributes_per_event), (Some(32), Some(64)));
        assert_eq!(asked.limits.links, None);
        let named: Vec<_> = asked.warnings.iter().map(|warning| warning.split('=').next().unwrap()).collect();
        assert_eq!(named, ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_SPAN_LINK_COUNT_LIMIT"]);
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
        assert!(asked(&[("OTEL_PROPAGATORS", "none")]).warnings.is_empty());
    }

    #[test]
    fn only_true_disables() {
        for (value, disabled, warnings) in [("true", true, 0), ("TRUE", true, 0), ("false", false, 0), ("1", false, 1)]
        {
            let asked = asked(&[("OTEL_SDK_DISABLED", value)]);
            assert_eq!((asked.disabled, asked.warnings.len()), (disabled, warnings), "{value}");
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
}
