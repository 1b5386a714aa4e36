//! What can a user choose?

use std::borrow::Cow;
use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::Value;
use opentelemetry::metrics::Meter;
use opentelemetry::trace::Tracer;
use tracing_core::Level;
use tracing_subscriber::filter::Targets;

use crate::content::Content;
use crate::core::{Core, Options, Redaction, Shared, TracePer};
use crate::dialect::Dialect;
use crate::kind::Kind;
use crate::layer::GenAiLayer;
use crate::lifecycle;
use crate::mapping;
use crate::names;
use crate::notice;
use crate::policy::IdKey;
use crate::prices::Prices;
use crate::semconv::{IDS, Key};
use crate::stats::{Counters, Stats};
use crate::tracer::{GenAiTracer, Wrapped};

/// The options of the layer, and where it comes from.
///
/// ```
/// use opentelemetry::trace::TracerProvider;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use tracing_genai::{GenAi, Kind};
/// use tracing_subscriber::prelude::*;
///
/// let provider = SdkTracerProvider::default();
/// let genai = GenAi::new().with_span_name("exchange", Kind::Turn).with_other_spans(true);
/// let handle = genai.handle();
/// let subscriber = tracing_subscriber::registry().with(genai.layer(provider.tracer("my-agent")));
///
/// tracing::subscriber::with_default(subscriber, || {
///     tracing::info_span!("exchange", number = 1).in_scope(|| ());
/// });
/// assert_eq!(handle.stats().spans_closed, 1);
/// ```
#[derive(Debug, Default)]
pub struct GenAi {
    options: Options,
    shared: Arc<Shared>,
}

impl GenAi {
    /// The defaults: every name of the README's first table is recognized wherever it comes from, other spans are not
    /// exported, no content is. Reads no environment variable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The defaults, changed by what the environment says: `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is
    /// [`Content`], `OTEL_SEMCONV_STABILITY_OPT_IN` says which names metrics have. `OTEL_CONSOLE_EXPORT` is read by [`Telemetry::from_env`](crate::Telemetry::from_env) and
    /// [`console_from_env`](crate::console_from_env).
    #[must_use]
    pub fn from_env() -> Self {
        Self::new().with_content(content_from_env()).with_latest_metric_names(latest_from_env())
    }

    /// Exports what people said, or not: transcripts, prompts, answers, tool arguments and results, state. The README lists
    /// the fields and their attributes; wherever they turn up else, on other kinds and spans and on events, they are
    /// exported under their own names. Default: [`Content::Off`].
    #[must_use]
    pub fn with_content(mut self, content: Content) -> Self {
        self.options.content = content;
        self
    }

    /// Takes out of content and of error texts what must not leave the process: `redact(field, text)` gives the text that
    /// may. It is called for each string, also those inside of JSON, with the name of the field that the string is in, where
    /// the span or the event ends, on the thread that ends it, with nothing of ours locked. Spans that it opens are not exported, and
    /// while a span ends, or under a wrapped tracer, nobody hears what it traces. A text that it panics on is left out and counted in [`Stats::redactions_failed`]. [`redact`](crate::redact) has redactors for the usual cases.
    /// Default: nothing is taken out.
    ///
    /// ```
    /// use tracing_genai::{Content, GenAi, redact};
    ///
    /// let genai = GenAi::new().with_content(Content::Spans).with_redaction(|field, text| match field {
    ///     "state" => "[state]".into(),
    ///     _ => redact::all(text),
    /// });
    /// ```
    #[must_use]
    pub fn with_redaction<R>(mut self, redact: R) -> Self
    where
        R: for<'t> Fn(&str, &'t str) -> Cow<'t, str> + Send + Sync + 'static,
    {
        self.options.redaction = Some(Redaction(Arc::new(redact)));
        self
    }

    /// The longest string of content, in bytes: a longer one is cut on a character, and ends with `…[truncated]`. It
    /// holds for each string inside of JSON by itself. Default: 32,768.
    #[must_use]
    pub fn with_max_content_len(mut self, bytes: usize) -> Self {
        self.options.max_content_len = bytes;
        self
    }

    /// Exports audio, images and documents that are in the content itself, as base64. Without it their type and size are
    /// exported; a link to one always is. Default: `false`.
    #[must_use]
    pub fn with_binary_content(mut self, export: bool) -> Self {
        self.options.binary_content = export;
        self
    }

    /// Takes the messages of events of these targets, and of the modules below them, for content: a library may log what
    /// people said. Default: none.
    #[must_use]
    pub fn with_content_targets<T: Into<String>>(mut self, targets: impl IntoIterator<Item = T>) -> Self {
        self.options.content_targets.extend(targets.into_iter().map(Into::into));
        self
    }

    /// Says the same in a backend's or a peer's own words as well. May be called several times. Default: none.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.options.dialects = self.options.dialects.with(dialect);
        self
    }

    /// Measures, with the instruments that the README lists: durations, tokens, times to first token and byte, latency and its
    /// parts, audio, characters, cost, turns, interruptions, active conversations. Recorded when a span closes, whether it is
    /// sampled or not. Default: nothing is measured.
    #[must_use]
    pub fn with_meter(mut self, meter: Meter) -> Self {
        self.options.meter = Some(meter);
        self
    }

    /// Uses the conventions' newest names for the metrics of model calls, `gen_ai.client.inference.*`, which few dashboards
    /// know yet. [`GenAi::from_env`] turns it on where `OTEL_SEMCONV_STABILITY_OPT_IN` holds
    /// `gen_ai_latest_experimental`. Default: `false`.
    #[must_use]
    pub fn with_latest_metric_names(mut self, latest: bool) -> Self {
        self.options.latest_metrics = latest;
        self
    }

    /// Puts these fields on all metrics too, where spans have them, but on the count of active conversations; they are
    /// inherited like those of [`GenAi::with_inherited`], so that cost can be told by feature or by campaign. Each of their
    /// values makes series of its own. Conversation, session and user ids are on no metric, named here or not. Default: none.
    #[must_use]
    pub fn with_metric_attributes<F: Into<String>>(self, fields: impl IntoIterator<Item = F>) -> Self {
        let is_id = |field: &String| mapping::keys_of(field).any(|key| IDS.has(key));
        let fields: Vec<String> = fields.into_iter().map(Into::into).collect();
        let mut this = self.with_inherited(fields.iter().cloned());
        for field in fields.iter().filter(|field| !is_id(field)) {
            // As an attribute where a kind has one for it, and under its own name elsewhere.
            for key in mapping::keys_of(field).chain(names::reserved(field).map(Key::of)) {
                if !IDS.has(key) && !this.options.metric_attributes.contains(&key) {
                    this.options.metric_attributes.push(key);
                }
            }
        }
        this
    }

    /// How many values of one attribute metrics tell apart: models, tools, agents, numbers too. Those that come later are
    /// `_OTHER`, and counted in [`Stats::names_over_limit`]. Operations and end reasons, which are few, stay as they are.
    /// Default: 200.
    #[must_use]
    pub fn with_max_metric_names(mut self, names: usize) -> Self {
        self.options.max_metric_names = names;
        self
    }

    /// Gives calls their cost, `voice.cost` in US dollars, where the program does not record one; turns and conversations
    /// have the sum as `voice.usage.cost`. A model without a price has none, and is counted in
    /// [`Stats::calls_without_price`]. Default: no prices.
    ///
    /// ```
    /// use tracing_genai::{GenAi, Price, Prices};
    ///
    /// let prices = Prices::new().with(Price::of("openai", "gpt-4o*").with_input(2.5).with_output(10.0));
    /// let genai = GenAi::new().with_prices(prices);
    /// ```
    #[must_use]
    pub fn with_prices(mut self, prices: Prices) -> Self {
        self.options.prices = Some(Arc::new(prices));
        self
    }

    /// Puts an attribute on every exported span, from its start. A span's own field of that name wins, and the last call for
    /// a name; one with a name of content is exported with content alone. Default: none.
    ///
    /// ```
    /// use tracing_genai::GenAi;
    ///
    /// let genai = GenAi::new().with_attribute("deployment.environment", "staging");
    /// ```
    #[must_use]
    pub fn with_attribute(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let key = Key::of(name);
        self.options.attributes.retain(|(known, _)| *known != key);
        self.options.attributes.push((key, value.into()));
        self
    }

    /// Puts these fields on all spans below the one that they are recorded on, besides the ids that are inherited anyway:
    /// what a conversation says about itself (a campaign, a customer) is on its turns and services too. A span that gives
    /// the field itself wins. Content is not inherited. Default: none.
    ///
    /// ```
    /// use tracing_genai::GenAi;
    ///
    /// let genai = GenAi::new().with_inherited(["campaign", "agent_version"]);
    /// ```
    #[must_use]
    pub fn with_inherited<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        for field in fields.into_iter().map(Into::into) {
            mapping::keys_of(&field).for_each(|key| self.options.inherited.keys.insert(key));
            // The second door has room for it from now on.
            let _ = names::reserved(&field);
            self.options.inherited.names.push(field);
        }
        self
    }

    /// Exports no field of a span, an event or a link that neither the README's tables nor an option names: what leaves can
    /// be read there, and a field that somebody adds tomorrow does not. Refused fields are counted in
    /// [`Refused::unknown`](crate::Stats::refused). Content and error texts have switches of their own, which hold as ever.
    ///
    /// A field of the tables counts on its own kinds, and everywhere when it is spelled as its attribute; on events those of the
    /// tables of events, the ids, `error` and `error_type` do. Names count that [`with_known_fields`](Self::with_known_fields),
    /// [`with_inherited`](Self::with_inherited), [`with_metric_attributes`](Self::with_metric_attributes),
    /// [`with_attribute`](Self::with_attribute) and [`with_baggage`](Self::with_baggage) say. An event keeps its name if it is
    /// one of the tables or a `name:`; any other one is called `event`, since its message is text of the program's. Through the
    /// wrapped tracer this holds for spans that are not recognized too, and for what that layer adds by itself (places in
    /// the code, threads, busy and idle times). Default: `false`.
    ///
    /// ```
    /// use tracing_genai::GenAi;
    ///
    /// let genai = GenAi::new().with_only_known_fields(true).with_known_fields(["plan"]);
    /// ```
    #[must_use]
    pub fn with_only_known_fields(mut self, only: bool) -> Self {
        self.options.only_known = only;
        self
    }

    /// Lets these fields leave as well where [`with_only_known_fields`](Self::with_only_known_fields) holds the others back: on
    /// every span, event and link, under their own names. Content is content all the same. Default: none.
    #[must_use]
    pub fn with_known_fields<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.options.known.extend(fields.into_iter().map(Into::into));
        self
    }

    /// Exports the ids of conversations, sessions and users as a keyed hash: the first 32 hexadecimal digits of their
    /// HMAC-SHA-256 with this key. It holds wherever an id is exported (spans, events, links, baggage, the dialects' names for
    /// it), and is the same in every process with the same key, so spans still find their conversation and each other; who
    /// has the key finds a user by `printf %s "$ID" | openssl dgst -sha256 -hmac "$KEY"`. Take 32 random bytes and keep them
    /// from those who read the traces: with the key, ids that are few or short can be guessed. The names that count as
    /// ids are those of the README; an id in a text, or in a field of another name, is left as it is. Default: ids as they are.
    ///
    /// ```
    /// use tracing_genai::GenAi;
    ///
    /// let genai = GenAi::new().with_hashed_ids(b"32 random bytes, from a secret store");
    /// ```
    #[must_use]
    pub fn with_hashed_ids(mut self, key: impl AsRef<[u8]>) -> Self {
        self.options.id_key = Some(IdKey::new(key.as_ref()));
        self
    }

    /// Exports events of this level and above it. HTTP clients log dozens of events at `DEBUG` and `TRACE`, with bodies of
    /// requests in them, and they would be events of the span that makes the request. The README's events (moments,
    /// `evaluation`, `retry`) count at any level, and an `ERROR` is always exported. Default: [`Level::INFO`].
    ///
    /// ```
    /// use tracing::Level;
    /// use tracing_genai::GenAi;
    ///
    /// let genai = GenAi::new().with_event_level(Level::DEBUG);
    /// ```
    #[must_use]
    pub fn with_event_level(mut self, level: Level) -> Self {
        self.options.event_level = level;
        self
    }

    /// Recognizes spans of this name as `kind`, besides the names that are recognized anyway, or instead of what the
    /// name stands for otherwise. The last call for a name counts. By default, no names are added.
    #[must_use]
    pub fn with_span_name(mut self, name: impl Into<String>, kind: Kind) -> Self {
        self.options.names.insert(name.into(), Some(kind));
        self
    }

    /// Does not recognize spans of this name. The last call for a name counts. By default, no name is left out.
    #[must_use]
    pub fn without_span_name(mut self, name: impl Into<String>) -> Self {
        self.options.names.insert(name.into(), None);
        self
    }

    /// Recognizes only spans whose target and level these [`Targets`] enable: other programs use names like `turn`,
    /// `agent` or `step` too. By default, spans of every target are recognized.
    #[must_use]
    pub fn with_targets(mut self, targets: Targets) -> Self {
        self.options.targets = Some(targets);
        self
    }

    /// Exports the spans that are not recognized as well, under their own names and with their fields as they are
    /// (but no content), so that they stand in the hierarchy where they stand in the program. Default: `false`.
    #[must_use]
    pub fn with_other_spans(mut self, export: bool) -> Self {
        self.options.other_spans = export;
        self
    }

    /// Exports the text of an `error` field as the status description, at most 256 characters of it. Error texts may
    /// quote what people said; `false` leaves them out, on spans and on events, and keeps `error.type`: the fields `error`, `err`,
    /// `error.message`, `exception.message` and their like, a `dyn Error` under any name with its causes, `otel.status_description`,
    /// and the messages of `ERROR` events. Default: `true`.
    #[must_use]
    pub fn with_error_text(mut self, export: bool) -> Self {
        self.options.error_text = export;
        self
    }

    /// Puts these entries of the W3C baggage on spans, as attributes of their own names: each span takes what the
    /// OpenTelemetry context holds that it hangs on, and passes it on to all below. A field of the same name wins. An entry
    /// with a name of content is content. By default, no baggage is exported: it may come from anywhere.
    #[must_use]
    pub fn with_baggage(mut self, entries: impl IntoIterator<Item = &'static str>) -> Self {
        self.options.baggage = entries.into_iter().map(Key::of).collect();
        self
    }

    /// One trace for each conversation, or for each turn. Default: [`TracePer::Conversation`].
    #[must_use]
    pub fn with_trace_per(mut self, trace_per: TracePer) -> Self {
        self.options.trace_per = trace_per;
        self
    }

    /// How many conversations can be found by their `conversation_id` at a time. One more than that is exported as ever,
    /// but only spans below it belong to it; [`Stats::conversations_over_limit`] counts those. Default: 100,000.
    #[must_use]
    pub fn with_max_conversations(mut self, conversations: usize) -> Self {
        self.options.max_conversations = conversations;
        self
    }

    /// Where what becomes of exported spans is counted.
    pub(crate) fn counters(&self) -> &Counters {
        self.shared.counters()
    }

    /// Measures with this meter, if nobody chose another one.
    pub(crate) fn with_meter_if_none(mut self, meter: impl FnOnce() -> Meter) -> Self {
        self.options.meter.get_or_insert_with(meter);
        self
    }

    /// The options of another one, counted where this one counts.
    pub(crate) fn with_options_of(self, other: Self) -> Self {
        Self { options: other.options, shared: self.shared }
    }

    /// Reads what the layers of these options count, and shuts them down: before or after they are made.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// The layer, for any OpenTelemetry tracer. Called twice, it gives two layers that count together.
    #[must_use]
    pub fn layer<T>(&self, tracer: T) -> GenAiLayer
    where
        T: Tracer + Send + Sync + 'static,
        T::Span: Send + Sync + 'static,
    {
        GenAiLayer::new(Core::new(self.options.clone(), &self.shared, Box::new(tracer)))
    }

    /// The tracer around your own, for a `tracing_opentelemetry` layer that you have.
    ///
    /// ```
    /// use opentelemetry::trace::TracerProvider;
    /// use opentelemetry_sdk::trace::SdkTracerProvider;
    /// use tracing_genai::GenAi;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let provider = SdkTracerProvider::default();
    /// let tracer = GenAi::from_env().tracer(provider.tracer("my-agent"));
    /// let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
    /// ```
    #[must_use]
    pub fn tracer<T>(&self, tracer: T) -> GenAiTracer<T>
    where
        T: Tracer + Send + Sync + 'static,
        T::Span: Send + Sync + 'static,
    {
        let tracer = Arc::new(tracer);
        let core = Core::new(self.options.clone(), &self.shared, Box::new(Wrapped(Arc::clone(&tracer))));
        GenAiTracer::new(&tracer, core)
    }
}

const CONTENT: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";

fn latest_from_env() -> bool {
    let opt_in = env::var_os("OTEL_SEMCONV_STABILITY_OPT_IN").unwrap_or_default();
    opt_in.to_string_lossy().split(',').any(|name| name.trim().eq_ignore_ascii_case("gen_ai_latest_experimental"))
}

fn content_from_env() -> Content {
    static UNKNOWN: notice::Once = notice::Once::new();
    let Some(value) = env::var_os(CONTENT) else { return Content::Off };
    let value = value.to_string_lossy();
    Content::of(&value).unwrap_or_else(|| {
        UNKNOWN.say(|| {
            format!("{CONTENT}={value:?} is not known, no content is exported: use SPAN_ONLY or true, or NO_CONTENT or false")
        });
        Content::Off
    })
}

#[cfg(feature = "tracing-opentelemetry")]
impl GenAi {
    /// A `tracing_opentelemetry` layer on the wrapped tracer, ready to install: for programs that want what it does with all
    /// other spans too.
    ///
    /// ```
    /// use opentelemetry::trace::TracerProvider;
    /// use opentelemetry_sdk::trace::SdkTracerProvider;
    /// use tracing_genai::GenAi;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let provider = SdkTracerProvider::default();
    /// let layer = GenAi::from_env().opentelemetry_layer(provider.tracer("my-agent"));
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// ```
    #[must_use]
    pub fn opentelemetry_layer<S, T>(&self, tracer: T) -> tracing_opentelemetry::OpenTelemetryLayer<S, GenAiTracer<T>>
    where
        S: tracing_core::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
        T: Tracer + Send + Sync + 'static,
        T::Span: Send + Sync + 'static,
    {
        tracing_opentelemetry::layer().with_tracer(self.tracer(tracer))
    }
}

/// Reads what the layers of one [`GenAi`] have counted, and ends what they have open.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Ends every open span, each marked `voice.incomplete=true`, children first. The tracer provider is not flushed:
    /// it is yours. Spans that open later are exported as ever; a second call ends those.
    ///
    /// A span processor that blocks can't hold this up for longer than `timeout` and one span; what is open then stays
    /// open, and the [`Stats`] that come back say how much that is.
    ///
    /// A tracer provider whose queue is shorter than the number of open spans drops the rest: see
    /// [`shutdown_with_flush`](Self::shutdown_with_flush).
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn shutdown(&self, timeout: Duration) -> Stats {
        self.end_all(timeout, &mut || ());
        self.stats()
    }

    /// The same for any number of open spans: calls `flush` after every 512 of them and at the end, so that a batch processor has
    /// room for the next ones. Its queue holds 2,048 by default, and says only in a log what it drops. A `flush` is let to
    /// its end, whatever the timeout.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use opentelemetry_sdk::trace::SdkTracerProvider;
    /// use tracing_genai::GenAi;
    ///
    /// let provider = SdkTracerProvider::default();
    /// let genai = GenAi::from_env();
    /// let stats = genai.handle().shutdown_with_flush(Duration::from_secs(5), || {
    ///     let _ = provider.force_flush();
    /// });
    /// assert_eq!(stats.spans_open(), 0);
    /// ```
    pub fn shutdown_with_flush(&self, timeout: Duration, mut flush: impl FnMut()) -> Stats {
        const FLUSH_EVERY: usize = 512;
        let mut ended = 0_usize;
        self.end_all(timeout, &mut || {
            if ended > 0 && ended % FLUSH_EVERY == 0 {
                flush();
            }
            ended += 1;
        });
        flush();
        self.stats()
    }

    /// Ends all spans, each when `make_room` has returned; how many sampled ones are left open.
    pub(crate) fn end_all(&self, timeout: Duration, make_room: &mut dyn FnMut()) -> u64 {
        let deadline = Instant::now().checked_add(timeout);
        self.shared.cores().iter().map(|core| lifecycle::shut_down(core, deadline, make_room)).sum()
    }
}
