//! What does a user have to be told?
//!
//! Said on stderr, for the program's own log may not be set up yet, and once, for a warning on each span is noise.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// A warning that is given once in the life of the process.
#[derive(Debug)]
pub(crate) struct Once(AtomicBool);

impl Once {
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Says `text`, if it was not said before.
    pub(crate) fn say(&self, text: impl FnOnce() -> String) {
        if !self.0.swap(true, Ordering::Relaxed) {
            say(&text());
        }
    }
}

/// Says `text`. A closed stderr is nobody's loss.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "tracing-genai: {text}");
}
