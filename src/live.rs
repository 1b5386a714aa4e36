//! Which conversations are live?

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::conversation::Conversation;

/// As many as keep threads apart; a power of two.
const SHARDS: usize = 64;

/// How long nothing may happen in a conversation without a span before it is forgotten.
const IDLE: Duration = Duration::from_secs(600);

/// The same when there is no more room.
const IDLE_WHEN_FULL: Duration = Duration::from_secs(10);

/// How often a shard is looked through when there is no more room.
const SWEEP: Duration = Duration::from_secs(1);

/// Until the next shard is looked through, while there is room.
const STEP: u64 = 600_000_000_000 / SHARDS as u64;

/// Conversations by their id, from any thread. Bounded: what finds no room is not found by its id.
#[derive(Debug)]
pub(crate) struct Live {
    shards: Box<[Mutex<Shard>]>,
    count: AtomicUsize,
    limit: usize,
    created: Instant,
    /// When the next shard is to be looked through, in nanoseconds since `created`.
    due: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    conversations: FxHashMap<Arc<str>, Arc<Conversation>>,
    swept: Option<Instant>,
}

/// What came of an insertion.
#[derive(Debug, Default)]
pub(crate) struct Inserted {
    /// There was no room.
    pub(crate) refused: bool,
    /// Idle conversations that were forgotten to make some.
    pub(crate) evicted: Vec<Arc<Conversation>>,
    /// The conversation that had the id before. It is dropped outside of the lock: its contexts may hold values of the program's.
    pub(crate) displaced: Option<Arc<Conversation>>,
}

impl Live {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            limit,
            created: Instant::now(),
            due: AtomicU64::new(STEP),
        }
    }

    /// The conversation of this id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Conversation>> {
        self.shard(id)?.lock().conversations.get(id).map(Arc::clone)
    }

    /// Makes a conversation known by this id, instead of another one of the same id.
    pub(crate) fn insert(&self, id: &Arc<str>, conversation: &Arc<Conversation>, now: Instant) -> Inserted {
        let Some(shard) = self.shard(id) else { return Inserted::default() };
        self.insert_into(&mut shard.lock(), id, conversation, now)
    }

    /// The same, unless another thread was quicker: then that thread's conversation comes back.
    pub(crate) fn insert_new(
        &self,
        id: &Arc<str>,
        conversation: &Arc<Conversation>,
        now: Instant,
    ) -> Result<Inserted, Arc<Conversation>> {
        let Some(shard) = self.shard(id) else { return Ok(Inserted::default()) };
        let mut shard = shard.lock();
        match shard.conversations.get(id) {
            Some(known) => Err(Arc::clone(known)),
            None => Ok(self.insert_into(&mut shard, id, conversation, now)),
        }
    }

    fn insert_into(
        &self,
        shard: &mut Shard,
        id: &Arc<str>,
        conversation: &Arc<Conversation>,
        now: Instant,
    ) -> Inserted {
        let mut inserted = Inserted::default();
        let is_full = self.count.load(Ordering::Relaxed) >= self.limit;
        if is_full && shard.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP) {
            shard.swept = Some(now);
            inserted.evicted = shard.sweep(now, IDLE_WHEN_FULL);
            self.count.fetch_sub(inserted.evicted.len(), Ordering::Relaxed);
        }
        let is_known = shard.conversations.contains_key(id);
        if is_known || self.count.fetch_add(1, Ordering::Relaxed) < self.limit {
            inserted.displaced = shard.conversations.insert(Arc::clone(id), Arc::clone(conversation));
        } else {
            self.count.fetch_sub(1, Ordering::Relaxed);
            inserted.refused = true;
        }
        inserted
    }

    /// Takes out what is idle in the next shard, if that is due: each shard has its turn once in [`IDLE`]. After a longer rest
    /// one shard is due after the other.
    #[inline]
    pub(crate) fn sweep(&self, now: Instant) -> Option<Vec<Arc<Conversation>>> {
        let elapsed = u64::try_from(now.saturating_duration_since(self.created).as_nanos()).unwrap_or(u64::MAX);
        let due = self.due.load(Ordering::Relaxed);
        if elapsed < due { None } else { self.sweep_next(now, due, elapsed) }
    }

    #[cold]
    fn sweep_next(&self, now: Instant, due: u64, elapsed: u64) -> Option<Vec<Arc<Conversation>>> {
        let behind = elapsed.saturating_sub(STEP * (SHARDS as u64 - 1));
        let next = behind.max(due) / STEP * STEP + STEP;
        // Another thread may be quicker: the shard is its.
        self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        let shard = self.shards.get(usize::try_from(next / STEP).ok()? % SHARDS)?;
        let idle = shard.lock().sweep(now, IDLE);
        self.count.fetch_sub(idle.len(), Ordering::Relaxed);
        Some(idle)
    }

    /// Forgets a conversation, unless another one has its id by now.
    pub(crate) fn remove(&self, id: &str, conversation: &Arc<Conversation>) {
        let Some(shard) = self.shard(id) else { return };
        let mut shard = shard.lock();
        let is_it = shard.conversations.get(id).is_some_and(|known| Arc::ptr_eq(known, conversation));
        if is_it {
            shard.conversations.remove(id);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Conversation>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.lock().conversations.values().map(Arc::clone));
        }
        all
    }

    fn shard(&self, id: &str) -> Option<&Mutex<Shard>> {
        let hash = usize::try_from(FxBuildHasher.hash_one(id) >> (u64::BITS - SHARDS.trailing_zeros())).ok()?;
        self.shards.get(hash)
    }
}

impl Shard {
    /// Takes out those in which nothing has happened for so long.
    fn sweep(&mut self, now: Instant, idle: Duration) -> Vec<Arc<Conversation>> {
        let is_idle =
            |known: &Conversation| known.idle_since().is_some_and(|since| now.saturating_duration_since(since) >= idle);
        let mut evicted = Vec::new();
        self.conversations.retain(|_, known| {
            let keep = !is_idle(known);
            if !keep {
                evicted.push(Arc::clone(known));
            }
            keep
        });
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::{IDLE, Live, SHARDS};
    use crate::clock::Anchor;
    use crate::conversation::Conversation;
    use crate::inherited::Inherited;
    use crate::turn::{Heard, Speaking};
    use std::sync::Arc;
    use std::time::Instant;

    fn conversation(id: &str) -> (Arc<str>, Arc<Conversation>) {
        let id: Arc<str> = id.into();
        (Arc::clone(&id), Conversation::new(Anchor::now(), Some(id), Inherited::default()))
    }

    #[test]
    fn the_last_one_of_an_id_is_found_and_only_it_can_be_forgotten() {
        let live = Live::new(10);
        let (id, one) = conversation("c-1");
        let (_, other) = conversation("c-1");
        live.insert(&id, &one, Instant::now());
        live.insert(&id, &other, Instant::now());
        live.remove(&id, &one);
        assert!(Arc::ptr_eq(&live.get("c-1").unwrap(), &other));
        live.remove(&id, &other);
        assert!(live.get("c-1").is_none());
    }

    #[test]
    fn what_finds_no_room_is_refused_until_something_idle_makes_some() {
        let live = Live::new(2);
        let now = Instant::now();
        for id in ["a", "b", "c"] {
            let (id, conversation) = conversation(id);
            conversation.set_span(crate::ongoing::Hook::default());
            assert_eq!(live.insert(&id, &conversation, now).refused, &*id == "c");
        }
        assert_eq!(live.all().len(), 2);
    }

    #[test]
    fn what_is_idle_is_forgotten_after_a_while() {
        let live = Live::new(10);
        let now = Instant::now();
        let (id, one) = conversation("c-1");
        live.insert(&id, &one, now);
        assert!(live.sweep(now).is_none(), "nothing is due");
        let swept = |at: Instant| (0..2 * SHARDS).filter_map(|_| live.sweep(at)).flatten().count();
        assert_eq!(swept(now + IDLE / 2), 0);
        assert_eq!(swept(now + IDLE * 2), 1, "in whatever shard it is");
        assert!(live.get("c-1").is_none());
        live.insert(&id, &one, now + IDLE * 3);
        assert!(live.get("c-1").is_some(), "and known again");
        let shards = (0..2 * SHARDS).filter(|_| live.sweep(now + IDLE * 100).is_some()).count();
        assert_eq!(shards, SHARDS, "after a long rest each of them once");
    }

    #[test]
    fn an_event_of_an_earlier_moment_ages_no_conversation() {
        let (_, conversation) = conversation("c-1");
        let before = conversation.idle_since();
        let _ = conversation.hear(Heard { speaking: Speaking::BotStarted, at: -3_600_000_000_000, reported: 0 });
        assert_eq!(conversation.idle_since(), before);
    }
}
