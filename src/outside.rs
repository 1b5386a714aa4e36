//! Who runs code that is not ours?
//!
//! Samplers, span processors and redactors are other people's code. It may panic, and it may trace.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing_core::Dispatch;
use tracing_core::dispatcher;
use tracing_core::subscriber::NoSubscriber;

/// Calls it, `None` if it panicked. Nothing of ours may be locked meanwhile.
pub(crate) fn call_out<R>(call: impl FnOnce() -> R) -> Option<R> {
    let outer = CALLING_OUT.try_with(|inside| inside.replace(true)).ok()?;
    let result = catch_unwind(AssertUnwindSafe(call));
    let _ = CALLING_OUT.try_with(|inside| inside.set(outer));
    result.ok()
}

/// Calls it without `tracing`: what it opens, closes and logs is nobody's. A registry that is about to close a span can't close
/// another one: that one, and what it hangs on, would stay open for ever.
pub(crate) fn quietly<R>(call: impl FnOnce() -> R) -> R {
    // Where `tracing` is kept out already, it can't be kept out once more.
    if dispatcher::get_default(Dispatch::is::<NoSubscriber>) {
        return call();
    }
    dispatcher::with_default(&Dispatch::none(), call)
}

/// Whether this thread is inside someone else's code that we called. Spans and events from in there are not ours:
/// a processor that traces would be called for its own spans for ever.
pub(crate) fn is_calling_out() -> bool {
    CALLING_OUT.try_with(Cell::get).unwrap_or(true)
}

thread_local! {
    static CALLING_OUT: Cell<bool> = const { Cell::new(false) };
}
