//! Which spans of this process have ended?

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::report::{Conversation, FinishedSpan, Percentiles, Report, SpanEvent, Timestamp};
use crate::semconv::CONVERSATION_ID;

/// A span processor that keeps what has ended, and gives it back as conversations, turns and calls: for tests, and for
/// programs that look at themselves.
///
/// Clones are the same recorder. It is bounded: when there are more conversations, or more spans, than it keeps, the
/// conversations that began first leave, whole; of a single one that is too long its first spans do. Both are counted. A trace
/// without a conversation counts as one. The defaults are 1,000 conversations and 50,000 spans.
///
/// ```
/// use opentelemetry::trace::TracerProvider;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use tracing_genai::Recorder;
/// use tracing_subscriber::prelude::*;
///
/// let recorder = Recorder::new();
/// let provider = SdkTracerProvider::builder().with_span_processor(recorder.clone()).build();
/// let subscriber = tracing_subscriber::registry().with(tracing_genai::layer(provider.tracer("agent")));
/// tracing::subscriber::with_default(subscriber, || {
///     let _conversation = tracing::info_span!("conversation", conversation_id = "c-42").entered();
///     let _turn = tracing::info_span!("turn").entered();
///     tracing::info_span!("llm", model = "gpt-4o", input_tokens = 120, output_tokens = 42).in_scope(|| ());
/// });
/// let conversations = recorder.conversations();
/// let [turn] = conversations[0].turns.as_slice() else { panic!("one turn") };
/// assert_eq!(turn.calls[0].name, "chat gpt-4o", "{}", conversations[0]);
/// assert_eq!(turn.usage.output_tokens, Some(42));
/// ```
#[derive(Clone, Default)]
pub struct Recorder {
    shared: Arc<Mutex<Kept>>,
}

/// What a [`Recorder`] no longer has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forgotten {
    /// Conversations that left whole.
    pub conversations: u64,
    /// Spans that left, those of such conversations among them.
    pub spans: u64,
}

impl Recorder {
    /// One that keeps 1,000 conversations and 50,000 spans.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many conversations it keeps, at least one; for its clones too. The default is 1,000.
    #[must_use]
    pub fn with_max_conversations(self, conversations: usize) -> Self {
        self.shared.lock().max_conversations = conversations.max(1);
        self
    }

    /// How many spans it keeps, at least one; for its clones too. The default is 50,000.
    #[must_use]
    pub fn with_max_spans(self, spans: usize) -> Self {
        self.shared.lock().max_spans = spans.max(1);
        self
    }

    /// The conversations, in the order in which they began. What has not ended yet is not in them, but what ended in it is.
    #[must_use]
    pub fn conversations(&self) -> Vec<Conversation> {
        self.report().conversations
    }

    /// The latencies of all turns; `None` where no turn has one.
    #[must_use]
    pub fn latency(&self) -> Option<Percentiles> {
        self.report().latency()
    }

    /// All that is kept, assembled now.
    #[must_use]
    pub fn report(&self) -> Report {
        let (spans, service) = self.shared.lock().all();
        Report::of(spans.iter().map(|span| finished(span, service.as_deref())))
    }

    /// What left because there was too much.
    #[must_use]
    pub fn forgotten(&self) -> Forgotten {
        self.shared.lock().forgotten
    }

    /// Forgets all spans; they don't count as forgotten.
    pub fn clear(&self) {
        let kept = {
            let mut kept = self.shared.lock();
            let empty = Kept { service: kept.service.clone(), forgotten: kept.forgotten, ..kept.emptied() };
            std::mem::replace(&mut *kept, empty)
        };
        drop(kept);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (conversations, spans, forgotten) = {
            let kept = self.shared.lock();
            (kept.groups.len(), kept.spans, kept.forgotten)
        };
        f.debug_struct("Recorder")
            .field("conversations", &conversations)
            .field("spans", &spans)
            .field("forgotten", &forgotten)
            .finish()
    }
}

impl SpanProcessor for Recorder {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        // What leaves is dropped after the lock.
        let left = self.shared.lock().keep(Arc::new(span));
        drop(left);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        let service = resource.get(&opentelemetry::Key::from_static_str("service.name"));
        self.shared.lock().service = service.map(|name| Arc::from(name.to_string()));
    }
}

/// The spans of one conversation, or of a trace without one.
#[derive(Debug, Default)]
struct Kin {
    id: Option<String>,
    traces: Vec<TraceId>,
    spans: VecDeque<Arc<SpanData>>,
}

/// What a recorder keeps: conversations by when they were first seen.
#[derive(Debug)]
struct Kept {
    groups: BTreeMap<u64, Kin>,
    by_id: FxHashMap<String, u64>,
    by_trace: FxHashMap<TraceId, u64>,
    next: u64,
    spans: usize,
    max_conversations: usize,
    max_spans: usize,
    forgotten: Forgotten,
    service: Option<Arc<str>>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            groups: BTreeMap::new(),
            by_id: FxHashMap::default(),
            by_trace: FxHashMap::default(),
            next: 0,
            spans: 0,
            max_conversations: 1_000,
            max_spans: 50_000,
            forgotten: Forgotten::default(),
            service: None,
        }
    }
}

impl Kept {
    fn emptied(&self) -> Self {
        Self { max_conversations: self.max_conversations, max_spans: self.max_spans, ..Self::default() }
    }

    fn all(&self) -> (Vec<Arc<SpanData>>, Option<Arc<str>>) {
        (self.groups.values().flat_map(|kin| &kin.spans).map(Arc::clone).collect(), self.service.clone())
    }

    /// Takes a span in; what had to leave for it comes out.
    fn keep(&mut self, span: Arc<SpanData>) -> Vec<Arc<SpanData>> {
        let group = self.group_of(&span);
        if let Some(kin) = self.groups.get_mut(&group) {
            kin.spans.push_back(span);
            self.spans += 1;
        }
        let mut left = Vec::new();
        while self.groups.len() > self.max_conversations || self.spans > self.max_spans {
            let Some(oldest) = self.groups.keys().find(|place| **place != group).copied() else {
                let first = self.groups.get_mut(&group).and_then(|kin| kin.spans.pop_front());
                let Some(first) = first else { break };
                self.spans -= 1;
                self.forgotten.spans += 1;
                left.push(first);
                continue;
            };
            left.extend(self.forget(oldest));
        }
        left
    }

    /// By the conversation's id; else, and where the trace is known, by the trace.
    fn group_of(&mut self, span: &SpanData) -> u64 {
        let trace = span.span_context.trace_id();
        let key = CONVERSATION_ID.name();
        let id = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        let id = id.and_then(|attribute| match &attribute.value {
            Value::String(id) => Some(id.as_str()),
            _ => None,
        });
        let of_trace = self.by_trace.get(&trace).copied();
        let of_id = id.and_then(|id| self.by_id.get(id).copied());
        let unnamed = of_trace.filter(|place| self.groups.get(place).is_some_and(|kin| kin.id.is_none()));
        let group = match (of_id, unnamed.or(of_trace.filter(|_| id.is_none()))) {
            (Some(group), _) | (None, Some(group)) => group,
            (None, None) => {
                self.next += 1;
                self.groups.insert(self.next, Kin::default());
                self.next
            }
        };
        if of_trace.is_none() || unnamed.is_some() {
            self.by_trace.insert(trace, group);
        }
        if let (Some(id), None) = (id, of_id) {
            self.by_id.insert(id.to_owned(), group);
        }
        if let Some(kin) = self.groups.get_mut(&group) {
            if of_trace != Some(group) {
                kin.traces.push(trace);
            }
            if kin.id.is_none() {
                kin.id = id.map(str::to_owned);
            }
        }
        group
    }

    fn forget(&mut self, place: u64) -> VecDeque<Arc<SpanData>> {
        let Some(kin) = self.groups.remove(&place) else { return VecDeque::new() };
        for trace in kin.traces {
            if self.by_trace.get(&trace) == Some(&place) {
                self.by_trace.remove(&trace);
            }
        }
        if let Some(id) = kin.id {
            self.by_id.remove(&id);
        }
        self.spans -= kin.spans.len().min(self.spans);
        self.forgotten.conversations += 1;
        self.forgotten.spans += u64::try_from(kin.spans.len()).unwrap_or(u64::MAX);
        kin.spans
    }
}

/// A span of the SDK as plain values.
pub(crate) fn finished(span: &SpanData, service: Option<&str>) -> FinishedSpan {
    let attributes = |attributes: &[opentelemetry::KeyValue]| {
        attributes.iter().map(|attribute| (attribute.key.to_string(), attribute.value.clone())).collect()
    };
    let events = span.events.iter().map(|event| SpanEvent {
        name: event.name.to_string(),
        time: event.timestamp.into(),
        attributes: attributes(&event.attributes),
    });
    FinishedSpan {
        trace_id: span.span_context.trace_id(),
        span_id: span.span_context.span_id(),
        parent_id: Some(span.parent_span_id).filter(|parent| *parent != SpanId::INVALID),
        name: span.name.to_string(),
        start: span.start_time.into(),
        end: span.end_time.into(),
        attributes: attributes(&span.attributes),
        events: events.collect(),
        status: span.status.clone(),
        service: service.map(str::to_owned),
    }
}

/// To the nanosecond; the epoch for times before it.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let nanos = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self::from_unix_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
