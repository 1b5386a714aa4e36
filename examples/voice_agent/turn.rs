//! What travels through the agent: a turn, and the work to do for it.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::Span;

/// One exchange. Whoever works for it has a clone: its span to open others below, and the news that it has ended.
#[derive(Clone)]
pub(crate) struct Turn {
    pub(crate) span: Span,
    ended: Arc<watch::Sender<bool>>,
}

/// What one service hands to the next: a stream, and the turn that it belongs to.
pub(crate) struct Work<T> {
    pub(crate) turn: Turn,
    pub(crate) stream: mpsc::Receiver<T>,
}

impl Turn {
    pub(crate) fn new(span: Span) -> Self {
        Self { span, ended: Arc::new(watch::Sender::new(false)) }
    }

    /// The answer was heard to its end.
    pub(crate) fn complete(&self) {
        if !self.ended.send_replace(true) {
            self.span.record("end_reason", "completed");
        }
    }

    /// The user talks over it: everyone who works for the turn stops.
    pub(crate) fn interrupt(&self) {
        if !self.ended.send_replace(true) {
            self.span.record("interrupted", true);
            self.span.record("interruption_source", "user");
            self.span.record("end_reason", "interrupted");
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Does the work, or drops it when the turn ends first.
    pub(crate) async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => None,
            done = work => Some(done),
        }
    }
}
