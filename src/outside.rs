//! Who runs code that is not ours?
//!
//! Samplers, span processors and redactors are other people's code. It may panic, and it may trace.

use std::any::Any;
use std::cell::Cell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing_core::Dispatch;
use tracing_core::dispatcher;
use tracing_core::subscriber::NoSubscriber;

/// Calls it, `None` if it panicked. Nothing of ours may be locked meanwhile.
pub(crate) fn call_out<R>(call: impl FnOnce() -> R) -> Option<R> {
    let outer = CALLING_OUT.try_with(|inside| inside.replace(true)).ok()?;
    let result = caught(call);
    let _ = CALLING_OUT.try_with(|inside| inside.set(outer));
    result
}

/// Calls it, `None` if it panicked: the only place that catches panics. It does not mark the thread: what the call traces is the
/// program's.
pub(crate) fn caught<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => Some(result),
        Err(payload) => {
            dispose(payload);
            None
        }
    }
}

/// Drops the payload of a panic. The payload is a value of the program's, and its `Drop` may panic again: the second payload is
/// forgotten, because its `Drop` may panic too.
fn dispose(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(again);
    }
}

/// Drops a value, if there is one, that may hold others of the program's; whether their `Drop` ran through. Nothing of ours may be
/// locked meanwhile.
#[inline]
pub(crate) fn discard<T>(value: Option<T>) -> bool {
    value.is_none_or(|value| call_out(move || drop(value)).is_some())
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
