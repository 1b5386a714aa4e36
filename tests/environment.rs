//! What OpenTelemetry's variables do: each is honoured or named.
#![cfg(test)]

mod support;

#[cfg(not(feature = "otlp"))]
use std::io::{self, Write};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, Span, Tracer, TracerProvider};
use support::console::{Console, child, is_child, stderr, stdout};
use tracing::{info, info_span};
use tracing_genai::Telemetry;
use tracing_subscriber::prelude::*;

/// A turn with an llm call below it, by the environment, and what was counted.
fn a_turn() {
    let telemetry = Telemetry::from_env().unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    tracing::subscriber::with_default(subscriber, || {
        let _turn = info_span!("turn").entered();
        info_span!("llm", model = "m", input_tokens = 7).in_scope(|| {
            info!("one");
            info!("other");
        });
    });
    let stats = telemetry.shutdown(Duration::from_secs(5)).unwrap();
    assert_eq!((stats.console.queued(), stats.otlp.ended), (0, 0));
    println!("\nprinted {} of {}", stats.console.exported, stats.console.ended);
}

/// What it prints, what it counts as printed, and what it warns of, with these variables.
fn with(test: &str, variables: &[(&str, &str)]) -> (Console, String, String) {
    let output = child(test).envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let said = stdout(&output);
    let counted = said.lines().find(|line| line.starts_with("printed ")).unwrap().to_owned();
    (Console::read(&said), counted, stderr(&output))
}

#[test]
fn the_exporters_are_chosen() {
    const TEST: &str = "the_exporters_are_chosen";
    if is_child(TEST) {
        return a_turn();
    }
    for (variables, spans) in [
        (&[][..], 0),
        (&[("OTEL_TRACES_EXPORTER", "console")], 2),
        (&[("OTEL_TRACES_EXPORTER", "none")], 0),
        (&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_CONSOLE_EXPORT", "true")], 2),
        (&[("OTEL_TRACES_EXPORTER", "console"), ("OTEL_CONSOLE_EXPORT", "true")], 2),
        (&[("OTEL_TRACES_EXPORTER", "console"), ("OTEL_SDK_DISABLED", "true")], 0),
        (&[("OTEL_CONSOLE_EXPORT", "true"), ("OTEL_SDK_DISABLED", "TRUE")], 0),
    ] {
        let (console, counted, warned) = with(TEST, variables);
        assert_eq!(console.0.len(), spans, "{variables:?}");
        assert_eq!(counted, format!("printed {spans} of {spans}"));
        assert_eq!(warned, "", "{variables:?}");
    }
}

#[test]
fn metrics_are_printed_when_they_are_asked_for() {
    const TEST: &str = "metrics_are_printed_when_they_are_asked_for";
    if is_child(TEST) {
        return a_turn();
    }
    let printed = |variables: &[(&str, &str)]| {
        let output = child(TEST).envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stderr(&output), "", "{variables:?}");
        stdout(&output).lines().skip_while(|line| *line != "Metrics").map(str::to_owned).collect::<Vec<_>>()
    };
    for variables in [
        &[][..],
        &[("OTEL_CONSOLE_EXPORT", "true")],
        &[("OTEL_METRICS_EXPORTER", "none")],
        &[("OTEL_METRICS_EXPORTER", "console"), ("OTEL_SDK_DISABLED", "true")],
    ] {
        assert!(printed(variables).is_empty(), "{variables:?}");
    }
    let metrics = printed(&[("OTEL_METRICS_EXPORTER", "console")]);
    let turns = metrics.iter().position(|line| line == "\tvoice.turns ({turn})").unwrap();
    assert_eq!(metrics[turns + 1], "\t\t{voice.end_reason=completed} 1");
    assert!(metrics.iter().all(|line| !line.starts_with("Span #")));
}

#[test]
fn the_newest_names_are_opted_in_to_among_others() {
    const TEST: &str = "the_newest_names_are_opted_in_to_among_others";
    if is_child(TEST) {
        return a_turn();
    }
    for (opt_in, name) in [
        ("", "gen_ai.client.operation.duration"),
        ("http,database/dup", "gen_ai.client.operation.duration"),
        ("gen_ai_latest", "gen_ai.client.operation.duration"),
        ("gen_ai_latest_experimental", "gen_ai.client.inference.duration"),
        ("http/dup, Gen_AI_Latest_Experimental ,", "gen_ai.client.inference.duration"),
    ] {
        let variables = [("OTEL_METRICS_EXPORTER", "console"), ("OTEL_SEMCONV_STABILITY_OPT_IN", opt_in)];
        let output = child(TEST).envs(variables).output().unwrap();
        assert!(stdout(&output).contains(&format!("\t{name} (s)")), "{opt_in}: {}", stdout(&output));
    }
}

#[test]
fn limits_are_kept() {
    const TEST: &str = "limits_are_kept";
    if is_child(TEST) {
        return a_turn();
    }
    let limited = |limit: &str| {
        let (console, _, warned) = with(TEST, &[("OTEL_TRACES_EXPORTER", "console"), (limit, "1")]);
        assert_eq!(warned, "");
        let llm = console.0.into_iter().find(|span| span.name == "chat m").unwrap();
        (llm.attributes.len(), llm.events.len(), llm.events[0].attributes.len())
    };
    let (attributes, _, of_event) = limited("OTEL_SPAN_EVENT_COUNT_LIMIT");
    assert!(attributes > 2 && of_event == 2);
    assert_eq!(limited("OTEL_SPAN_EVENT_COUNT_LIMIT"), (attributes, 1, 2));
    assert_eq!(limited("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"), (1, 2, 2));
    assert_eq!(limited("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"), (attributes, 2, 1));
    assert_eq!(limited("OTEL_ATTRIBUTE_COUNT_LIMIT"), (1, 2, 1));
}

#[test]
fn limits_of_links_are_kept() {
    const TEST: &str = "limits_of_links_are_kept";
    if is_child(TEST) {
        let telemetry = Telemetry::from_env().unwrap();
        let attributes = vec![KeyValue::new("one", 1), KeyValue::new("other", 2)];
        let tracer = telemetry.tracer_provider().tracer("its own");
        let link = || Link::new(tracer.start("other").span_context().clone(), attributes.clone(), 0);
        drop(tracer.span_builder("own").with_links(vec![link(), link()]).start(&tracer));
        return;
    }
    let limited = |limit: &str, most: &str| {
        let output = child(TEST).env("OTEL_TRACES_EXPORTER", "console").env(limit, most).output().unwrap();
        assert_eq!(stderr(&output), "");
        let printed = stdout(&output);
        let links = printed.lines().filter(|line| line.starts_with("\tLink #")).count();
        (links, printed.matches(": I64(").count())
    };
    assert_eq!(limited("OTEL_SPAN_LINK_COUNT_LIMIT", "9"), (2, 4));
    assert_eq!(limited("OTEL_SPAN_LINK_COUNT_LIMIT", "1"), (1, 2));
    assert_eq!(limited("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "1"), (2, 2));
    assert_eq!(limited("OTEL_ATTRIBUTE_COUNT_LIMIT", "1"), (2, 2));
}

#[test]
fn the_sampler_is_the_one_that_is_said_or_every_trace_is_sampled() {
    const TEST: &str = "the_sampler_is_the_one_that_is_said_or_every_trace_is_sampled";
    if is_child(TEST) {
        return a_turn();
    }
    for (sampler, arg, spans, warnings) in [
        (" always_off ", "", 0, 0),
        ("Always_Off", "", 0, 0),
        ("parentbased_always_off", "", 0, 0),
        ("traceidratio", " 0 ", 0, 0),
        ("parentbased_traceidratio", "0.0", 0, 0),
        ("traceidratio", "1", 2, 0),
        ("traceidratio", "-0.5", 2, 1),
        ("parentbased_traceidratio", "NaN", 2, 1),
        ("traceidratio", "", 2, 1),
        ("sometimes", "0", 2, 1),
    ] {
        let exporter = ("OTEL_TRACES_EXPORTER", "console");
        let (_, counted, warned) =
            with(TEST, &[exporter, ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", arg)]);
        assert_eq!(counted, format!("printed {spans} of {spans}"), "{sampler} {arg}");
        assert_eq!(warned.matches("every trace is sampled").count(), warnings, "{sampler} {arg}: {warned}");
    }
}

#[test]
fn the_resource_is_what_the_variables_say() {
    const TEST: &str = "the_resource_is_what_the_variables_say";
    if is_child(TEST) {
        return a_turn();
    }
    let resource = |name: &str, attributes: &str| {
        let output = child(TEST)
            .envs([("OTEL_TRACES_EXPORTER", "console"), ("OTEL_METRICS_EXPORTER", "console")])
            .env("OTEL_SERVICE_NAME", name)
            .env("OTEL_RESOURCE_ATTRIBUTES", attributes)
            .output()
            .unwrap();
        let printed = stdout(&output);
        let of_resource = |name: &str| {
            let lines = printed.lines().filter_map(|line| line.trim_start().strip_prefix("->  "));
            lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned).next()
        };
        (of_resource("service.name"), of_resource("deployment.region"), stderr(&output))
    };
    let text = |text: &str| Some(format!("String(Owned({text:?}))"));
    let attributes = "service.name=of%20all,deployment.region= a%2Cb%3D%C3%A9 ";
    assert_eq!(resource("of its own", attributes), (text("of its own"), text("a,b=é"), String::new()));
    assert_eq!(resource("", attributes), (text("of all"), text("a,b=é"), String::new()));
    let (name, region, warned) = resource("", "deployment.region=here,there");
    assert!(name.unwrap().contains("unknown_service") && region == text("here"));
    assert_eq!(warned, "tracing-genai: OTEL_RESOURCE_ATTRIBUTES: entry 2 is no name=value and is left out\n");
}

#[test]
fn what_is_not_honoured_is_named_once() {
    const TEST: &str = "what_is_not_honoured_is_named_once";
    if is_child(TEST) {
        a_turn();
        return a_turn();
    }
    let (_, _, warned) = with(
        TEST,
        &[
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "30000"),
            ("OTEL_METRICS_EXPORTER", "statsd"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1m"),
        ],
    );
    assert_eq!(
        warned,
        "tracing-genai: OTEL_TRACES_EXPORTER names \"zipkin\", which is not known: use otlp, console or none\n\
         tracing-genai: OTEL_METRICS_EXPORTER names \"statsd\", which is not known: use otlp, console, prometheus or none\n\
         tracing-genai: OTEL_BSP_MAX_QUEUE_SIZE=\"0\" is no number from 1 to 1000000, its default holds\n\
         tracing-genai: OTEL_METRIC_EXPORT_INTERVAL=\"1m\" is no number from 1 to 86400000, its default holds\n\
         tracing-genai: not honoured: OTEL_BSP_EXPORT_TIMEOUT (OTEL_EXPORTER_OTLP_TIMEOUT is), OTEL_PROPAGATORS (nothing \
         global is installed)\n"
    );
}

#[cfg(not(feature = "otlp"))]
#[test]
fn otlp_that_was_not_built_is_one_warning() {
    const TEST: &str = "otlp_that_was_not_built_is_one_warning";
    if is_child(TEST) {
        a_turn();
        return a_turn();
    }
    for asking in [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
    ] {
        let (_, _, warned) = with(TEST, &[asking]);
        assert_eq!(
            warned,
            "tracing-genai: the environment asks for OTLP, but nothing is sent: build with the feature `otlp` of \
             tracing-genai\n"
        );
    }
    // Not `eprintln!`, which is seen of failed tests only.
    let _ = writeln!(
        io::stderr(),
        "\nSKIPPED: what goes over OTLP is tested by cargo test --all-features, and .ci/rotel\n"
    );
}
