//! Which span did a panic happen in?
//!
//! While a panic unwinds, spans are left and closed from the inside out: the first one is the one that it happened in.

use std::cell::Cell;
use std::thread;

/// A span is left or closed. While a panic is going on, `mark` is called for the first one; it says whether it took it.
pub(crate) fn watch(door: usize, mark: impl FnOnce() -> bool) {
    let marked = MARKED_BY.try_with(Cell::get).unwrap_or_default();
    let marked = match (thread::panicking(), marked) {
        (false, None) => return,
        // The panic that it was marked with is over.
        (false, Some(_)) => None,
        (true, Some(by)) if by == door => return,
        (true, _) => mark().then_some(door),
    };
    let _ = MARKED_BY.try_with(|by| by.set(marked));
}

/// A span opens: the last panic is over, unless it still goes on.
pub(crate) fn is_over() {
    if !thread::panicking() {
        let _ = MARKED_BY.try_with(|by| by.set(None));
    }
}

thread_local! {
    /// The door that has marked a span with the panic that is going on.
    static MARKED_BY: Cell<Option<usize>> = const { Cell::new(None) };
}
