//! Which spans are open?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::clock::Anchor;
use crate::conversation::{Conversation, TurnKey};
use crate::failure::{Failure, Mark, Told};
use crate::fields::{Fields, Plan};
use crate::inherited::Inherited;
use crate::kind::Kind;
use crate::totals::{Parts, Totals};

/// An exported span between its opening and its close.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    /// What it is; `None` for a span that is not ours and exported all the same.
    pub(crate) kind: Option<Kind>,
    /// What the nearest recognized span is, from here up.
    pub(crate) ours: Option<Kind>,
    /// The id of that one.
    pub(crate) ours_id: Option<u64>,
    /// The call that it is an attempt at.
    pub(crate) attempt_of: Option<u64>,
    /// What is counted of what is below it.
    pub(crate) below: Below,
    /// The name that `tracing` knows it by.
    pub(crate) span_name: &'static str,
    pub(crate) plan: Arc<Plan>,
    /// Holds the OpenTelemetry span; attached while the span is entered.
    pub(crate) context: Context,
    /// The exported span that it hangs on.
    pub(crate) parent: Option<u64>,
    pub(crate) fields: Fields,
    /// What the spans below take over.
    pub(crate) inherited: Inherited,
    /// The conversation that it is in, or is.
    pub(crate) conversation: Option<Arc<Conversation>>,
    /// The turn that it is in, or is.
    pub(crate) turn: Option<TurnKey>,
    pub(crate) anchor: Anchor,
    pub(crate) opened: Instant,
    /// Where it starts, which is earlier when its start was back-dated.
    pub(crate) started: Instant,
    pub(crate) first_chunk: Option<Duration>,
    /// When it reported a finish reason.
    pub(crate) finished: Option<Instant>,
    /// What the first `ERROR` event in it said, or a panic.
    pub(crate) failure: Option<Failure>,
    /// The errors that it and the spans below it told of, if there were any.
    pub(crate) told: Option<Box<Told>>,
    /// The value of [`Core::told_late`](crate::core::Core::told_late) up to which the span has inherited everything.
    pub(crate) told_late: u64,
    /// It opened while a panic was going on: that panic is none of its own.
    pub(crate) during_panic: bool,
    /// The first span of its trace: it has no parent, here or in another process.
    pub(crate) is_root: bool,
}

impl OpenSpan {
    /// An `ERROR` event in it says that this failed. One failure is one error: what a span below failed with is no failure of
    /// this one.
    pub(crate) fn fail(&mut self, failure: Failure, mark: Option<Mark>) {
        if self.told.is_none() && mark.is_none() {
            self.failure.get_or_insert(failure);
            return;
        }
        let told = self.told.get_or_insert_default();
        if let Some(mark) = mark {
            if told.has_below(mark) {
                return;
            }
            told.add_own(mark);
        }
        let is_told = |known: &Failure| known.mark().is_some_and(|mark| told.has_below(mark));
        if self.failure.as_ref().is_none_or(is_told) {
            self.failure = Some(failure);
        }
    }

    /// `error = false` takes back what an `ERROR` event said before. A panic is none.
    pub(crate) fn take_back_failure(&mut self) {
        self.failure = self.failure.take().filter(Failure::is_panic);
        if let Some(told) = &mut self.told {
            told.take_back();
        }
    }
}

/// What a span is told by those below it.
#[derive(Debug, Default)]
pub(crate) struct Below {
    /// What the attempts at a call used.
    pub(crate) attempts: Totals,
    /// And which tokens these were, if that is measured.
    pub(crate) parts: Option<Box<Parts>>,
    /// How many attempts at a call were spans below it.
    pub(crate) tries: i64,
    /// How often a call said that it tries again.
    pub(crate) retries: i64,
    /// The next step's number in a workflow.
    pub(crate) next_step: i64,
    /// Something below reported what it used.
    pub(crate) used: bool,
    /// Something failed in a workflow.
    pub(crate) failed: bool,
}

impl Below {
    /// An attempt at a call used this.
    pub(crate) fn add(&mut self, used: &Totals, parts: Option<Box<Parts>>) {
        self.attempts.add(used);
        match (&mut self.parts, parts) {
            (Some(known), Some(parts)) => known.add(&parts),
            (None, parts) => self.parts = parts,
            (Some(_), None) => {}
        }
    }
}

/// The open spans of one layer, by the id that `tracing` gave them.
///
/// Not in the registry's extensions: another layer of ours on the same registry has spans of its own, and a table is
/// found without a look into the registry for each span that is not ours.
#[derive(Debug)]
pub(crate) struct OpenSpans {
    shards: Box<[Shard]>,
    /// How many spans got an id of ours, because they have none of their own in OpenTelemetry.
    without_id: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    /// Boxed, because a record is large and its table moves what it holds.
    spans: Mutex<FxHashMap<u64, Box<OpenSpan>>>,
    /// How many there are, written under the lock. Whoever knows a span's id has seen it open, and its count too: where
    /// there is none, a span that is not ours needs no lock.
    count: AtomicUsize,
}

/// As many as keep threads apart; a power of two.
const SHARDS: u64 = 64;

impl OpenSpans {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect(), without_id: AtomicU64::new(0) }
    }

    /// The id of the span in this context: OpenTelemetry's own, which is random. A tracer that does nothing gives its spans no id,
    /// or their parent's: each of them gets one of the smallest numbers.
    pub(crate) fn id_of(&self, context: &Context, parent: &Context) -> u64 {
        let id = |context: &Context| u64::from_be_bytes(context.span().span_context().span_id().to_bytes());
        match id(context) {
            own if own != 0 && own != id(parent) => own,
            _ => self.without_id.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    /// Keeps a span. Comes back with one that had the same id, to be dropped outside: its context may hold values of the program's.
    pub(crate) fn insert(&self, id: u64, span: Box<OpenSpan>) -> Option<Box<OpenSpan>> {
        let shard = self.shards.get(place(id))?;
        let mut spans = shard.spans.lock();
        let displaced = spans.insert(id, span);
        shard.count.store(spans.len(), Ordering::Relaxed);
        displaced
    }

    pub(crate) fn remove(&self, id: u64) -> Option<Box<OpenSpan>> {
        let shard = self.shard(id)?;
        let mut spans = shard.spans.lock();
        let span = spans.remove(&id);
        shard.count.store(spans.len(), Ordering::Relaxed);
        span
    }

    /// Whether a span of this id is open.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.shard(id).is_some_and(|shard| shard.spans.lock().contains_key(&id))
    }

    /// Looks at an open span, or changes it. Nothing may be called out to meanwhile: its shard is locked.
    pub(crate) fn with<R>(&self, id: u64, look: impl FnOnce(&mut OpenSpan) -> R) -> Option<R> {
        self.shard(id)?.spans.lock().get_mut(&id).map(|span| look(span))
    }

    /// All open spans, children before the spans they hang on.
    pub(crate) fn ids(&self) -> Vec<u64> {
        let mut spans: Vec<(Instant, u64, Option<u64>)> = Vec::new();
        for shard in &self.shards {
            spans.extend(shard.spans.lock().iter().map(|(id, span)| (span.opened, *id, span.parent)));
        }
        spans.sort_unstable_by(|one, other| other.cmp(one));
        children_first(&spans)
    }

    /// Where it may be, if it is open.
    #[inline]
    fn shard(&self, id: u64) -> Option<&Shard> {
        self.shards.get(place(id)).filter(|shard| shard.count.load(Ordering::Relaxed) > 0)
    }
}

/// Ids in this order, but a span that others hang on only after those: a coarse clock gives parent and child one time.
fn children_first(spans: &[(Instant, u64, Option<u64>)]) -> Vec<u64> {
    let parents: FxHashMap<u64, Option<u64>> = spans.iter().map(|(_, id, parent)| (*id, *parent)).collect();
    let mut children: FxHashMap<u64, usize> = FxHashMap::default();
    for parent in parents.values().flatten().filter(|parent| parents.contains_key(parent)) {
        *children.entry(*parent).or_default() += 1;
    }
    let mut ids = Vec::with_capacity(spans.len());
    for (_, id, _) in spans {
        let mut next = (!children.contains_key(id)).then_some(*id);
        while let Some(id) = next {
            ids.push(id);
            // A parent follows the last of its children.
            next = parents.get(&id).copied().flatten().filter(|parent| {
                let Some(count) = children.get_mut(parent) else { return false };
                *count -= 1;
                *count == 0
            });
        }
    }
    ids
}

/// The registry counts ids up from small numbers: the multiplication spreads them.
#[inline]
fn place(id: u64) -> usize {
    let spread = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - SHARDS.trailing_zeros());
    usize::try_from(spread).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::children_first;

    #[test]
    fn children_end_before_what_they_hang_on_whatever_the_clock_says() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        for (spans, order) in [
            (vec![], vec![]),
            (vec![(later, 2, Some(1)), (now, 1, None)], vec![2, 1]),
            // One reading of the clock for all, and the parent has the larger id.
            (vec![(now, 9, None), (now, 5, Some(9)), (now, 4, Some(5)), (now, 3, Some(9))], vec![4, 5, 3, 9]),
            // A back-dated parent is another matter: this is when they opened. One that is not open any more counts for none.
            (vec![(later, 1, None), (now, 7, Some(1)), (now, 6, Some(100))], vec![7, 1, 6]),
        ] {
            assert_eq!(children_first(&spans), order, "{spans:?}");
        }
    }
}
