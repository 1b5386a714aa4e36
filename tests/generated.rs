//! Ten thousand generated programs, and a naive model of where their spans belong: they must agree.
#![cfg(test)]

mod model;
mod program;
mod support;

use std::collections::{HashMap, HashSet};

use model::{Model, Node};
use opentelemetry::Value;
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;
use program::{Action, Kind, Threads, programs};
use proptest::prelude::*;
use support::attributes;

#[test]
fn the_layer_agrees_with_the_model() {
    let threads = Threads::start();
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(actions in programs())| check(&actions, &threads)?);
}

fn check(actions: &[Action], threads: &Threads) -> Result<(), TestCaseError> {
    let model = Model::run(actions);
    let expected: Vec<&Node> = model.nodes.iter().filter(|node| node.kind != Kind::Other).collect();
    let distinct: HashSet<_> = expected.iter().map(|node| expected_name(&model, node)).collect();
    // Two turns that events made in conversations of one id, one after the other, have one name here.
    prop_assume!(distinct.len() == expected.len());

    let spans = threads.export(actions);
    let names: HashMap<SpanId, String> =
        spans.iter().map(|span| (span.span_context.span_id(), name(span, &spans))).collect();
    let exported: HashMap<&str, &SpanData> =
        spans.iter().map(|span| (names[&span.span_context.span_id()].as_str(), span)).collect();
    prop_assert_eq!(exported.keys().map(ToString::to_string).collect::<HashSet<_>>(), distinct);
    for node in expected {
        let name = expected_name(&model, node);
        let span = exported[name.as_str()];
        let attributes = attributes(span);
        let parent = node.parent.map(|parent| &model.nodes[parent]);
        prop_assert_eq!(
            names.get(&span.parent_span_id).cloned(),
            parent.map(|parent| expected_name(&model, parent)),
            "parent of {}",
            name
        );
        prop_assert_eq!(
            attributes.get("voice.turn.number").cloned(),
            node.number.map(Value::I64),
            "number of {}",
            name
        );
        // An id that was learned later may have come to a span that was open.
        if let Some(id) = &node.id {
            prop_assert_eq!(attributes["gen_ai.conversation.id"].to_string(), id.clone(), "conversation of {}", name);
        }
        if let Some(parent) = parent {
            let parent_span = exported[expected_name(&model, parent).as_str()];
            prop_assert_eq!(parent_span.span_context.trace_id(), span.span_context.trace_id());
            let holds = is_above(&model, node.above, node.parent) && !parent.ended_early;
            prop_assert!(!holds || parent_span.end_time >= span.end_time, "{} outlives its parent", name);
        }
        prop_assert!(span.end_time >= span.start_time);
    }
    Ok(())
}

fn is_above(model: &Model, from: Option<usize>, node: Option<usize>) -> bool {
    from.is_some_and(|above| from == node || is_above(model, model.nodes[above].above, node))
}

/// A span is known by its label; a turn that speaking events made, by its number and its parent.
fn name(span: &SpanData, spans: &[SpanData]) -> String {
    let attributes = attributes(span);
    let parent = || spans.iter().find(|other| other.span_context.span_id() == span.parent_span_id);
    attributes.get("label").map_or_else(
        || made_name(attributes.get("voice.turn.number"), parent().map(|parent| name(parent, spans)).as_deref()),
        ToString::to_string,
    )
}

fn expected_name(model: &Model, node: &Node) -> String {
    let parent = || node.parent.map(|parent| expected_name(model, &model.nodes[parent]));
    node.label
        .map_or_else(|| made_name(node.number.map(Value::I64).as_ref(), parent().as_deref()), |label| label.to_string())
}

fn made_name(number: Option<&Value>, parent: Option<&str>) -> String {
    format!("made {number:?} below {parent:?}")
}
