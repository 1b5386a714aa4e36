//! How do `tracing`'s values reach us?

use std::error::Error;
use std::fmt::Debug;
use std::io::Write;
use std::str::from_utf8;

use tracing_core::Event;
use tracing_core::field::{Field, Visit};

use crate::outside::caught;
use crate::value::Raw;

/// Hands every value of a span or an event to `take`, in its own type. The program's `Debug` and `Display` code runs in
/// here, so nothing of ours may be locked meanwhile.
pub(crate) fn visitor(take: impl FnMut(&Field, Raw<'_>)) -> impl Visit {
    Visitor(take, |format: Format<'_>| Some(format()))
}

/// The same for a span that opens: a value that panics is left out, and `panicked` is told. The registry has tied the span
/// to its parent by now; if the panic went on, neither of them would ever close.
pub(crate) fn opening_visitor(panicked: impl Fn(), take: impl FnMut(&Field, Raw<'_>)) -> impl Visit {
    Visitor(take, move |format: Format<'_>| {
        let text = caught(format);
        if text.is_none() {
            panicked();
        }
        text
    })
}

/// The longest message that [`has_message`] reads.
const LONGEST: usize = 32;

/// Whether an event has a short message that `is_wanted`. Nothing else of the event is read, and of a longer one no more than
/// its beginning.
pub(crate) fn has_message(event: &Event<'_>, is_wanted: impl Fn(&str) -> bool) -> bool {
    let mut short = Short { is_wanted, found: false };
    event.record(&mut short);
    short.found
}

struct Short<F> {
    is_wanted: F,
    found: bool,
}

impl<F: Fn(&str) -> bool> Visit for Short<F> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != "message" {
            return;
        }
        let mut buffer = [0; LONGEST];
        let mut rest = buffer.as_mut_slice();
        if write!(rest, "{value:?}").is_err() {
            return;
        }
        let len = LONGEST - rest.len();
        let message = buffer.get(..len).and_then(|message| from_utf8(message).ok());
        self.found = message.is_some_and(&self.is_wanted);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.found |= field.name() == "message" && (self.is_wanted)(value);
    }
}

/// What the program's code makes of a value.
type Format<'a> = &'a dyn Fn() -> String;

struct Visitor<F, T>(F, T);

impl<F: FnMut(&Field, Raw<'_>), T: Fn(Format<'_>) -> Option<String>> Visit for Visitor<F, T> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0(field, Raw::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0(field, Raw::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0(field, i64::try_from(value).map_or_else(|_| Raw::Huge(value.to_string()), Raw::Int));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.0(field, i64::try_from(value).map_or_else(|_| Raw::Huge(value.to_string()), Raw::Int));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.0(field, i64::try_from(value).map_or_else(|_| Raw::Huge(value.to_string()), Raw::Int));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0(field, Raw::Float(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0(field, Raw::Text(value.into()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        if let Some(text) = self.1(&|| value.to_string()) {
            self.0(field, Raw::Error(text));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if let Some(text) = self.1(&|| format!("{value:?}")) {
            self.0(field, Raw::Formatted(text.into()));
        }
    }
}
