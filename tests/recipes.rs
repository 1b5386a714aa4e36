//! What each recipe's variables send, to a receiver that stands where the backend would.
#![cfg(test)]
#![cfg(all(feature = "otlp", unix))]

mod receiver;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use receiver::{Manner, Receiver, Transport};
use support::console::{example, stderr, stdout};

/// The variables that a recipe's shell block exports, as a shell makes them.
fn variables(recipe: &str) -> BTreeMap<String, String> {
    let page = fs::read_to_string(format!("{}/RECIPES.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let section = page.split("\n## ").find(|section| section.lines().next() == Some(recipe)).unwrap();
    let block = |text: &str| text.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap().to_owned();
    // What stands before all recipes is for each of them.
    let blocks = block(&page) + &block(section);
    let exports: Vec<&str> = blocks.lines().filter(|line| line.starts_with("export ")).collect();
    let keys = "LANGFUSE_PUBLIC_KEY=pk LANGFUSE_SECRET_KEY=sk INSTANCE_ID=1 TOKEN=t HONEYCOMB_API_KEY=hc DD_API_KEY=dd";
    let script = format!("{keys}; {}; env", exports.join("\n"));
    let output = Command::new("sh").args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
    assert_eq!(stderr(&output), "", "{recipe}");
    let exported = stdout(&output);
    let pairs = exported.lines().filter_map(|line| line.split_once('='));
    pairs
        .filter(|(name, _)| name.starts_with("OTEL_"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn every_recipe_has_the_path_and_the_headers_that_its_backend_reads() {
    for (recipe, path, headers) in [
        ("Phoenix", "/v1/traces", &[("x-project-name", "my-agent")][..]),
        ("MLflow", "/v1/traces", &[("x-mlflow-experiment-id", "0")]),
        (
            "Langfuse",
            "/api/public/otel/v1/traces",
            &[("authorization", "Basic cGs6c2s="), ("x-langfuse-ingestion-version", "4")],
        ),
        ("Jaeger", "/v1/traces", &[]),
        ("Grafana Tempo", "/otlp/v1/traces", &[("authorization", "Basic MTp0")]),
        ("Honeycomb", "/v1/traces", &[("x-honeycomb-team", "hc")]),
        ("Datadog", "/v1/traces", &[("dd-api-key", "dd"), ("dd-otlp-source", "llmobs")]),
        ("OpenTelemetry Collector", "/v1/traces", &[]),
    ] {
        let receiver = Receiver::start(Transport::Http, Manner::Well);
        let mut replay = example("replay");
        replay.args(["examples/recordings/tool-call.jsonl", "--speed", "100"]);
        for (name, value) in variables(recipe) {
            // The receiver stands for the host.
            let here = |rest: &str| rest.find('/').map_or("", |at| &rest[at..]).to_owned();
            replay.env(
                name,
                value.split_once("://").map_or(value.clone(), |(_, rest)| receiver.endpoint() + &here(rest)),
            );
        }
        let output = replay.output().unwrap();
        assert_eq!(stderr(&output), "", "{recipe}");
        let requests = receiver.requests();
        assert_eq!(requests.len(), 1, "{recipe}");
        assert_eq!(requests[0].headers[":path"], path, "{recipe}");
        for (name, value) in headers {
            assert_eq!(requests[0].headers[*name], *value, "{recipe}");
        }
        assert_eq!(receiver.spans().len(), 7, "{recipe}");
    }
}
