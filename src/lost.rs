//! What is above a span that could not be started?
//!
//! A sampler or a span processor panicked, and the layer above the second door needs a span all the same. The spans below hang on
//! what is above it, and are sampled as if that were their parent.

use std::cell::RefCell;

use opentelemetry::baggage::{BaggageExt, BaggageMetadata, KeyValueMetadata};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, Key, StringValue};

use crate::outside::call_out;

/// Stands for a span that could not be started.
#[derive(Debug)]
pub(crate) struct Lost {
    /// Its parent's: what hangs on it hangs on that one.
    span_context: SpanContext,
    /// The context above, if there is no parent. A sampler takes this span for a parent that was not sampled.
    above: Option<Context>,
}

impl Lost {
    pub(crate) fn below(parent: &Context) -> Self {
        let span_context = parent.span().span_context().clone();
        let is_root = !span_context.is_valid();
        Self { span_context, above: is_root.then(|| above(parent).unwrap_or_else(|| parent.clone())) }
    }

    pub(crate) fn span_context(&self) -> &SpanContext {
        &self.span_context
    }

    /// Tells [`above`], which has asked the span in a context.
    pub(crate) fn answer(&self) {
        let _ = ANSWER.try_with(|answer| answer.replace(self.above.clone()));
    }
}

thread_local! {
    static ANSWER: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// The context above a lost span without a parent, if the span in this context is one: with the baggage of this context. A
/// `Context` hides the type of its span, so we call a method of the span and see whether a [`Lost`] answers.
pub(crate) fn above(context: &Context) -> Option<Context> {
    if !context.has_active_span() || context.span().span_context().is_valid() {
        return None;
    }
    let _ = ANSWER.try_with(RefCell::take);
    call_out(|| context.span().is_recording());
    let above = ANSWER.try_with(RefCell::take).ok().flatten()?;
    let baggage = context.baggage();
    let entry = |(key, (value, metadata)): (&Key, &(StringValue, BaggageMetadata))| {
        KeyValueMetadata::new(key.clone(), value.clone(), metadata.clone())
    };
    Some(if baggage.is_empty() { above } else { above.with_baggage(baggage.iter().map(entry).collect::<Vec<_>>()) })
}
