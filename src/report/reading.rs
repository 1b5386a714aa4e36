//! What do the spans of one call, or of one turn, say about a fact?

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Value;

use super::span::{self, FinishedSpan, SpanEvent, value_of};
use super::vocabulary::Names;

/// The spans that are one thing, the one that says most about it first.
#[derive(Debug, Clone)]
pub(super) struct Reading<'a>(Vec<&'a FinishedSpan>);

impl<'a> Reading<'a> {
    pub(super) fn of(spans: &[&'a FinishedSpan]) -> Self {
        Self(spans.to_vec())
    }

    pub(super) fn of_all(spans: impl IntoIterator<Item = &'a Arc<FinishedSpan>>) -> Self {
        Self(spans.into_iter().map(AsRef::as_ref).collect())
    }

    pub(super) fn text(&self, names: &[&str]) -> Option<&'a str> {
        self.read(names, span::text)
    }

    pub(super) fn count(&self, names: Names) -> Option<u64> {
        self.read(names, span::count)
    }

    pub(super) fn amount(&self, names: Names) -> Option<f64> {
        self.read(names, span::amount)
    }

    pub(super) fn seconds(&self, names: &[&str]) -> Option<Duration> {
        self.read(names, span::seconds)
    }

    pub(super) fn flag(&self, names: Names) -> Option<bool> {
        self.read(names, span::flag)
    }

    pub(super) fn texts(&self, names: Names) -> Vec<String> {
        self.read(names, |value| Some(span::texts(value)).filter(|texts| !texts.is_empty())).unwrap_or_default()
    }

    /// The span events of all of them.
    pub(super) fn events(&self) -> impl Iterator<Item = &'a SpanEvent> {
        self.0.iter().flat_map(|span| &span.events)
    }

    pub(super) fn spans(&self) -> &[&'a FinishedSpan] {
        &self.0
    }

    /// The first span that has the fact under a name that it can be read by.
    fn read<T>(&self, names: &[&str], read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let mut of_span =
            self.0.iter().flat_map(|span| names.iter().filter_map(|name| value_of(&span.attributes, name)));
        of_span.find_map(read)
    }
}
