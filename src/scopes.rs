//! Which of our spans is above a span that is not ours?
//!
//! The second door is told nothing but a parent's OpenTelemetry context. Its own spans it finds by their span id; what else
//! may lie in between is remembered here.

use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry::trace::TraceId;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

#[derive(Debug, Default)]
pub(crate) struct Scopes {
    /// Open spans of the program's own that are below one of ours: which one that is.
    others: Mutex<FxHashMap<u64, u64>>,
    /// How many of them there are: most programs that ask have none.
    count: AtomicUsize,
    /// Those of our open spans in a trace that hang on none of ours.
    tops: Mutex<FxHashMap<TraceId, Vec<u64>>>,
}

impl Scopes {
    /// A span of the program's own opens below one of ours.
    pub(crate) fn enter(&self, other: u64, ours: u64) {
        if self.others.lock().insert(other, ours).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It ends.
    pub(crate) fn leave(&self, other: u64) {
        if self.others.lock().remove(&other).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The one of our spans that this one is below.
    pub(crate) fn above(&self, other: u64) -> Option<u64> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.others.lock().get(&other).copied()
    }

    /// One of our spans opens, and hangs on another one or not; whether it is a top one in its trace.
    pub(crate) fn begin(&self, trace: TraceId, ours: u64, hangs: bool) -> bool {
        let mut traces = self.tops.lock();
        if hangs && traces.contains_key(&trace) {
            return false;
        }
        traces.entry(trace).or_default().push(ours);
        true
    }

    /// A top one in its trace ends.
    pub(crate) fn end(&self, trace: TraceId, ours: u64) {
        let mut traces = self.tops.lock();
        let Some(tops) = traces.get_mut(&trace) else { return };
        tops.retain(|top| *top != ours);
        if tops.is_empty() {
            traces.remove(&trace);
        }
    }

    /// The top one in this trace, if there is no other: an OpenTelemetry-native span that nobody told us about is below that one.
    pub(crate) fn top(&self, trace: TraceId) -> Option<u64> {
        match self.tops.lock().get(&trace).map(Vec::as_slice) {
            Some([top]) => Some(*top),
            _ => None,
        }
    }
}
