//! Which OpenTelemetry context is this thread in?
//!
//! OpenTelemetry keeps the contexts of a thread in thread-local storage and panics where that is gone. No other module touches
//! it on a thread of the program's: in a destructor of thread-local storage, a thread is in no context and none is attached.

use std::cell::{Cell, RefCell};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use opentelemetry::{Context, ContextGuard};

use crate::outside::{caught, discard};

/// Looks at the context that this thread is in. A layer that is gone has none attached: its spans are nobody's parents.
pub(crate) fn current<R>(look: impl FnOnce(&Context) -> R) -> Option<R> {
    on_thread(|_| Context::map_current(look))
}

/// The contexts that one layer has attached, on any thread. When the layer goes they are detached: on its own thread at once, on
/// another one as soon as a layer of ours has something to do there.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    is_gone: Arc<AtomicBool>,
}

impl Attached {
    /// This thread enters a span.
    pub(crate) fn attach(&self, span: u64, context: Context) {
        on_thread(|thread| {
            let guard = context.attach();
            let mut layers = thread.layers.borrow_mut();
            match layers.iter_mut().find(|layer| layer.is_of(self)) {
                Some(layer) => layer.spans.push((span, guard)),
                None => layers.push(OfLayer { is_gone: Arc::clone(&self.is_gone), spans: vec![(span, guard)] }),
            }
        });
    }

    /// This thread leaves a span; whether its context was attached.
    pub(crate) fn detach(&self, span: u64) -> bool {
        let take = |thread: &Thread| {
            let mut layers = thread.layers.borrow_mut();
            let layer = layers.iter_mut().find(|layer| layer.is_of(self))?;
            let index = layer.spans.iter().rposition(|(entered, _)| *entered == span)?;
            Some(layer.spans.remove(index).1)
        };
        // What was attached before becomes current again, and the last reference to a context drops values of the program's.
        let guard = on_thread(take).flatten();
        let was_attached = guard.is_some();
        discard(guard);
        was_attached
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.is_gone.store(true, Ordering::Release);
        GONE.fetch_add(1, Ordering::Release);
        on_thread(|_| ());
    }
}

/// How many layers are gone.
static GONE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Thread = Thread::new();
}

/// What our layers have attached to one thread.
struct Thread {
    /// Whether OpenTelemetry's storage was there when this was made. It outlives this one: destructors run in the reverse order of
    /// first use.
    has_storage: bool,
    /// How many layers were gone when this thread detached their contexts last.
    gone: Cell<usize>,
    layers: RefCell<Vec<OfLayer>>,
}

struct OfLayer {
    is_gone: Arc<AtomicBool>,
    spans: Vec<(u64, ContextGuard)>,
}

impl OfLayer {
    fn is_of(&self, attached: &Attached) -> bool {
        Arc::ptr_eq(&self.is_gone, &attached.is_gone)
    }
}

impl Thread {
    fn new() -> Self {
        // Panics when the thread's first of our spans opens in a destructor that runs after OpenTelemetry's.
        let has_storage = caught(|| Context::map_current(|_| ())).is_some();
        Self { has_storage, gone: Cell::new(GONE.load(Ordering::Acquire)), layers: RefCell::default() }
    }

    /// Detaches the contexts of layers that are gone.
    #[inline]
    fn sweep(&self) {
        let gone = GONE.load(Ordering::Acquire);
        if self.gone.replace(gone) != gone {
            self.detach_gone();
        }
    }

    #[cold]
    fn detach_gone(&self) {
        let is_gone = |layer: &OfLayer| layer.is_gone.load(Ordering::Acquire);
        let (gone, others) = self.layers.take().into_iter().partition(is_gone);
        self.layers.replace(others);
        for (_, guard) in Vec::into_iter(gone).flat_map(|layer| layer.spans) {
            discard(Some(guard));
        }
    }
}

impl Drop for Thread {
    /// A thread may end inside of a span. The guards are forgotten: what is attached goes with OpenTelemetry's storage.
    fn drop(&mut self) {
        let guards = self.layers.take().into_iter().flat_map(|layer| layer.spans);
        guards.for_each(|(_, guard)| mem::forget(guard));
    }
}

/// Does it where OpenTelemetry's storage is there, and nothing where it is gone.
fn on_thread<R>(act: impl FnOnce(&Thread) -> R) -> Option<R> {
    let with_storage = |thread: &Thread| {
        thread.sweep();
        // Where destructors run in another order, the storage may be gone all the same.
        caught(|| act(thread))
    };
    THREAD.try_with(|thread| if thread.has_storage { with_storage(thread) } else { None }).ok().flatten()
}
