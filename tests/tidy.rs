//! The rules of the code that a compiler does not know.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Who may name whom, from the outside in. A module that is not named by another here may not be used by it.
const MAY_NAME: &[(&str, &[&str])] = &[
    (
        "lib",
        &[
            "console",
            "content",
            "core",
            "dialect",
            "ext",
            "genai",
            "kind",
            "layer",
            "prices",
            "recorder",
            "stats",
            "telemetry",
            "tracer",
        ],
    ),
    (
        "telemetry",
        &[
            "console",
            "console_flag",
            "delivery",
            "destination",
            "genai",
            "layer",
            "meters",
            "notice",
            "otlp",
            "outside",
            "page",
            "stats",
            "variables",
        ],
    ),
    ("page", &[]),
    ("recorder", &["report", "semconv"]),
    ("meters", &["delivery", "notice", "stats"]),
    ("otlp", &["destination", "outside"]),
    ("destination", &["variables"]),
    ("ext", &["layer", "thread_context"]),
    (
        "genai",
        &[
            "content",
            "core",
            "dialect",
            "kind",
            "layer",
            "lifecycle",
            "mapping",
            "names",
            "notice",
            "policy",
            "prices",
            "semconv",
            "stats",
            "tracer",
        ],
    ),
    (
        "layer",
        &[
            "beside",
            "core",
            "event",
            "fields",
            "happen",
            "home",
            "kind",
            "lifecycle",
            "notice",
            "open",
            "outside",
            "panicking",
            "semconv",
            "span",
            "thread_context",
            "value",
            "visit",
        ],
    ),
    (
        "tracer",
        &[
            "above",
            "beside",
            "clock",
            "core",
            "event",
            "fields",
            "finish",
            "happen",
            "home",
            "kind",
            "lifecycle",
            "lost",
            "mapping",
            "names",
            "outside",
            "panicking",
            "scopes",
            "semconv",
            "span",
            "turn",
            "value",
        ],
    ),
    ("lost", &["outside"]),
    ("above", &["debug_text", "event", "names", "semconv", "value"]),
    ("beside", &["notice", "outside"]),
    ("happen", &["core", "event", "finish", "home", "kind", "lifecycle", "made", "semconv", "span", "turn"]),
    (
        "lifecycle",
        &[
            "clock",
            "conversation",
            "core",
            "event",
            "failure",
            "fields",
            "finish",
            "home",
            "inherited",
            "kind",
            "made",
            "mapping",
            "ongoing",
            "open",
            "outside",
            "prices",
            "semconv",
            "span",
            "totals",
            "turn",
            "value",
        ],
    ),
    (
        "home",
        &[
            "clock",
            "content",
            "conversation",
            "core",
            "fields",
            "inherited",
            "kind",
            "live",
            "made",
            "ongoing",
            "open",
            "outside",
            "placement",
            "semconv",
            "span",
            "thread_context",
            "traceparent",
            "value",
        ],
    ),
    (
        "made",
        &[
            "conversation",
            "core",
            "failure",
            "fields",
            "finish",
            "inherited",
            "kind",
            "ongoing",
            "semconv",
            "span",
            "totals",
            "turn",
        ],
    ),
    (
        "finish",
        &[
            "clock",
            "content",
            "conversation",
            "core",
            "dialect",
            "event",
            "failure",
            "fields",
            "instruments",
            "kind",
            "mapping",
            "semconv",
            "span",
            "totals",
            "value",
            "words",
        ],
    ),
    (
        "core",
        &[
            "console_flag",
            "content",
            "dialect",
            "fields",
            "inherited",
            "instruments",
            "kind",
            "live",
            "metrics",
            "open",
            "outside",
            "policy",
            "prices",
            "semconv",
            "span",
            "stats",
            "value",
        ],
    ),
    ("console", &["console_flag", "delivery", "notice", "outside", "readout", "stats", "variables"]),
    ("console_flag", &["notice"]),
    ("readout", &[]),
    ("delivery", &["notice", "outside", "stats", "variables"]),
    ("span", &["dialect", "fields", "kind", "mapping", "outside", "semconv", "stats"]),
    ("metrics", &["instruments", "kind", "outside", "semconv", "stats"]),
    ("instruments", &["fields", "kind", "mapping", "semconv", "totals", "turn"]),
    ("live", &["conversation"]),
    ("open", &["clock", "conversation", "failure", "fields", "inherited", "kind", "totals"]),
    ("speech", &["conversation", "ongoing", "semconv", "turn"]),
    ("conversation", &["clock", "inherited", "kind", "ongoing", "outside", "semconv", "totals", "turn", "words"]),
    ("ongoing", &["inherited", "kind", "semconv", "totals", "turn", "words"]),
    ("stats", &["value"]),
    ("visit", &["outside", "value"]),
    ("names", &["content", "event", "fields", "json", "kind", "mapping", "policy", "semconv", "value"]),
    // Pure from here on.
    ("report", &["kind", "semconv", "turn", "words"]),
    ("event", &["content", "debug_text", "failure", "kind", "mapping", "policy", "semconv", "value"]),
    ("inherited", &["fields", "semconv"]),
    ("turn", &["kind", "semconv"]),
    ("placement", &[]),
    ("prices", &["fields", "semconv", "value"]),
    ("dialect", &["content", "fields", "json", "kind", "mapping", "semconv", "totals", "words"]),
    ("totals", &["fields", "semconv"]),
    ("words", &["content", "fields", "json", "kind", "semconv"]),
    ("fields", &["content", "failure", "kind", "mapping", "policy", "semconv", "value"]),
    ("policy", &["content", "mapping", "semconv"]),
    ("mapping", &["content", "kind", "semconv", "value"]),
    ("failure", &["semconv", "value"]),
    ("value", &["debug_text"]),
    ("debug_text", &[]),
    ("content", &["json", "kind", "messages", "parts", "semconv"]),
    ("messages", &["json", "parts", "stream"]),
    ("stream", &["json"]),
    ("parts", &["json"]),
    ("json", &[]),
    ("kind", &[]),
    ("semconv", &[]),
    ("redact", &[]),
    ("traceparent", &[]),
    ("variables", &[]),
    ("clock", &[]),
    ("notice", &[]),
    ("thread_context", &["outside"]),
    ("outside", &[]),
    ("panicking", &[]),
    ("scopes", &[]),
];

/// Values in, values out: no clock, no lock, no tracer, no `tracing`.
const PURE: &[&str] = &[
    "report",
    "event",
    "inherited",
    "totals",
    "turn",
    "placement",
    "fields",
    "policy",
    "mapping",
    "failure",
    "value",
    "content",
    "debug_text",
    "dialect",
    "words",
    "messages",
    "stream",
    "parts",
    "json",
    "kind",
    "redact",
    "semconv",
    "traceparent",
    "variables",
];

/// Each file of `src`, and the module that it is or, in a folder, is part of.
fn files() -> Vec<(String, PathBuf)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut folders) = (Vec::new(), vec![src.clone()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let module = path.strip_prefix(&src).unwrap().iter().next().unwrap().to_str().unwrap();
            files.push((module.trim_end_matches(".rs").to_owned(), path.clone()));
        }
    }
    files.sort();
    files
}

/// A file without its tests and comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap().lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// The code of each module; a folder is one.
fn sources() -> BTreeMap<String, String> {
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    for (module, path) in files() {
        sources.entry(module).or_default().push_str(&code(&path));
    }
    sources
}

/// The modules of this crate that a source names: `crate::x`, `crate::{x, …}`, and in `lib` the `pub use`s.
fn named(module: &str, source: &str, modules: &BTreeSet<&str>) -> BTreeSet<String> {
    let marker = if module == "lib" { "pub use " } else { "crate::" };
    let mut found = BTreeSet::new();
    for rest in source.split(marker).skip(1) {
        let names = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
        let several = rest.starts_with('{');
        for name in names.split(',').take(if several { usize::MAX } else { 1 }) {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if modules.contains(name.as_str()) && name != module {
                found.insert(name);
            }
        }
    }
    found
}

#[test]
fn modules_name_only_what_the_table_allows() {
    let sources = sources();
    let table: BTreeMap<_, _> =
        MAY_NAME.iter().map(|(module, may)| (*module, may.iter().copied().collect::<BTreeSet<_>>())).collect();
    let modules: BTreeSet<&str> = sources.keys().map(String::as_str).collect();
    assert_eq!(modules, table.keys().copied().collect(), "every file of src has its line in the table");
    for (above, (module, may)) in MAY_NAME.iter().enumerate() {
        for other in *may {
            let below = MAY_NAME.iter().position(|(module, _)| module == other);
            assert!(below.is_some_and(|below| below > above), "{module} names {other}, which is not further down");
        }
    }
    for (module, source) in &sources {
        let named = named(module, source, &modules);
        let allowed = &table[module.as_str()];
        for other in &named {
            assert!(allowed.contains(other.as_str()), "{module} names {other}");
        }
        for other in allowed {
            assert!(named.contains(*other), "{module} no longer names {other}: shorten the table");
        }
    }
}

#[test]
fn pure_modules_see_no_clock_lock_tracer_or_tracing() {
    let sources = sources();
    for module in PURE {
        for outside in [
            "tracing_core",
            "tracing_subscriber",
            "Instant",
            "SystemTime",
            "Mutex",
            "RwLock",
            "Tracer",
            "opentelemetry_sdk",
        ] {
            assert!(!sources[*module].contains(outside), "{module} names {outside}");
        }
    }
}

#[test]
fn only_semconv_holds_attribute_names() {
    for (module, path) in files() {
        // What fields may be called is in the mapping's table and in the list of content; `vocabulary` holds what others say.
        let file = path.file_stem().unwrap().to_str().unwrap();
        if matches!(file, "semconv" | "mapping" | "content" | "kind" | "vocabulary") {
            continue;
        }
        let source = code(&path);
        for prefix in
            ["\"gen_ai.", "\"voice.", "\"server.", "\"session.", "\"error.", "\"llm.", "\"langfuse.", "\"metrics."]
        {
            assert!(!source.contains(prefix), "{module} spells an attribute: {prefix}…");
        }
    }
}

/// A policy or a query that names an attribute which is called something else finds nothing, and nobody is told.
#[test]
fn pages_and_configurations_name_attributes_that_there_are() {
    let names: BTreeSet<String> = sources()["semconv"]
        .split('"')
        .map(str::to_owned)
        .filter(|name| name.starts_with("voice.") || name.starts_with("gen_ai."))
        .collect();
    let is_known =
        |name: &str| names.contains(name) || names.iter().any(|known| known.starts_with(&format!("{name}.")));
    for page in ["RECIPES.md", "SCALE.md", "examples/collector/gateway.yaml"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_' || c == '.'));
        let words = words.map(|word| word.trim_start_matches("span.").trim_end_matches('.'));
        let found: Vec<&str> = words.filter(|word| word.starts_with("voice.") || word.starts_with("gen_ai.")).collect();
        assert!(!found.is_empty(), "{page}");
        for name in found {
            assert!(is_known(name), "{page} names {name}");
        }
    }
}

#[test]
fn only_span_starts_and_ends_spans() {
    for (module, source) in sources() {
        // The wrapped tracer hands on what is not ours.
        let is_span = matches!(module.as_str(), "span" | "tracer");
        for call in ["build_with_context(", ".end_with_timestamp(", ".set_attributes(", ".add_event_with_timestamp("] {
            assert!(is_span || !source.contains(call), "{module} calls {call}…)");
        }
    }
}

#[test]
fn only_outside_catches_panics() {
    for (module, source) in sources() {
        assert!(module == "outside" || !source.contains("catch_unwind"), "{module} may drop a payload that panics");
    }
}

#[test]
fn every_module_begins_with_the_question_it_answers() {
    for (module, path) in files().into_iter().filter(|(module, _)| module != "lib") {
        let text = fs::read_to_string(path).unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("//! ") && first.ends_with('?'), "{module}: {first}");
    }
}

/// `1.85` or `1.85.0` as numbers.
fn version(text: &str) -> Vec<u32> {
    text.split('.').take(2).map(|part| part.parse().unwrap()).collect()
}

#[test]
fn no_dependency_asks_for_a_newer_rust_than_the_crate_says() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--all-features", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let own = packages.iter().find(|package| package["name"] == "tracing-genai").unwrap();
    let newest = version(own["rust_version"].as_str().unwrap());

    let (mut todo, mut seen) = (vec![&own["id"]], Vec::new());
    while let Some(id) = todo.pop() {
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        let node = nodes.iter().find(|node| node["id"] == *id).unwrap();
        let needed =
            |dependency: &&Value| dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev");
        let dependencies = node["deps"].as_array().unwrap().iter().filter(needed).map(|dependency| &dependency["pkg"]);
        todo.extend(dependencies);
    }
    assert!(seen.len() > 10);
    for package in packages.iter().filter(|package| seen.contains(&&package["id"])) {
        let asked = package["rust_version"].as_str().map(version).unwrap_or_default();
        assert!(asked <= newest, "{} asks for {asked:?}", package["name"]);
    }
}
