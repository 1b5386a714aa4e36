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
    /// The first of our open spans in a trace.
    first: Mutex<FxHashMap<TraceId, u64>>,
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

    /// One of our spans opens; whether it is the first one in its trace.
    pub(crate) fn begin(&self, trace: TraceId, ours: u64) -> bool {
        *self.first.lock().entry(trace).or_insert(ours) == ours
    }

    /// The first one in its trace ends.
    pub(crate) fn end(&self, trace: TraceId) {
        self.first.lock().remove(&trace);
    }

    /// The first of our spans in this trace: an OpenTelemetry-native span that nobody told us about is below that one.
    pub(crate) fn first(&self, trace: TraceId) -> Option<u64> {
        self.first.lock().get(&trace).copied()
    }
}
