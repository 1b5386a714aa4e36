//! What did its fields say?
//!
//! A typed record, one attribute a key, the last value wins. Sampler keys are the exception: once a span has started
//! with one, or was given one late, it stays.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::trace::SpanKind;
use opentelemetry::{KeyValue, Value};

use crate::content::{Piece, Slot};
use crate::failure::{ErrorTexts, Failure, Outcome, StatusCode};
use crate::kind::Kind;
use crate::mapping::{self, Control, Meaning, Measure};
use crate::policy::Policy;
use crate::semconv::{CHARACTERS, IN_NAME, Key, Keys, SAMPLED, TOOL_COUNT, is_standard};
use crate::value::{Raw, Refusal, Rule, ago, flag};

/// What the fields of one callsite mean, by their index.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    fields: Vec<(Key, Meaning)>,
}

impl Plan {
    pub(crate) fn new(kind: Option<Kind>, names: impl Iterator<Item = &'static str>) -> Self {
        Self { fields: names.map(|name| (Key::of(name), mapping::meaning(kind, name))).collect() }
    }

    /// What a value of the field at `index` says. Nothing of the span is needed or changed for it.
    #[inline]
    pub(crate) fn read(&self, index: usize, raw: Raw<'_>, policy: &Policy) -> Said {
        let Some((own, meaning)) = self.fields.get(index) else { return Said::Nothing };
        if let Meaning::Attribute { key, rule } = meaning {
            if let Some(value) = rule.as_is(&raw) {
                return Said::Attribute(*key, Some(value));
            }
        }
        Said::of(*own, *meaning, raw, policy)
    }
}

/// What one recorded value says.
#[derive(Debug)]
pub(crate) enum Said {
    /// An attribute, or that there is none.
    Attribute(Key, Option<Value>),
    /// The text of a `dyn Error`, under its field's own name.
    ErrorText(Key, String),
    /// What people said: a count of it, as long as nobody gives that, and itself if it is asked for.
    Content(Option<(Key, i64)>, Option<Piece>),
    /// A value that its field can't have, and what is kept of it.
    Refused(Refusal, Option<(Key, Value)>),
    /// Something for the span itself.
    Control(Control, Raw<'static>),
    /// The span started earlier than it opened.
    StartedAgo(Duration),
    /// An attribute of a name that the program makes up as it runs.
    MadeUp(KeyValue),
    /// Nothing that is exported.
    Nothing,
}

impl Said {
    /// What a value of a field says that means this, as far as it may leave.
    #[inline]
    pub(crate) fn of(own: Key, meaning: Meaning, raw: Raw<'_>, policy: &Policy) -> Self {
        let kept = |raw| kept(own, raw).filter(|_| policy.admits(own.name()));
        let raw = match meaning {
            Meaning::Own => raw,
            Meaning::Attribute { .. } | Meaning::Control(_) | Meaning::Content(..) => match raw.unwrapped() {
                Some(raw) => raw,
                None => return Self::Nothing,
            },
        };
        match meaning {
            Meaning::Attribute { key, rule } => match rule.read(&raw) {
                Ok(value) if rule == Rule::Id => {
                    Self::Attribute(key, value.map(|value| policy.value(key.name(), value)))
                }
                Ok(value) => Self::Attribute(key, value),
                // An id that is too long would be so under any name.
                Err(refusal) if rule == Rule::Id => Self::Refused(refusal, None),
                Err(refusal) => Self::Refused(refusal, kept(raw)),
            },
            Meaning::Control(Control::StartedAgo) => match ago(&raw) {
                Ok(ago) => Self::StartedAgo(ago),
                Err(refusal) => Self::Refused(refusal, kept(raw)),
            },
            Meaning::Control(control) => Self::Control(control, raw_owned(raw)),
            Meaning::Content(slot, measure) => {
                let counted = match measure {
                    Measure::Nothing => None,
                    Measure::Characters => Some((CHARACTERS, characters(&raw))),
                    Measure::Tools => tools(&raw).map(|count| (TOOL_COUNT, count)),
                };
                Self::Content(counted, policy.content.then(|| piece(slot, own.name(), &raw)))
            }
            Meaning::Own => match raw {
                Raw::Huge(_) => Self::Refused(Refusal::OutOfRange, kept(raw)),
                Raw::Error(text) if policy.admits(own.name()) => Self::ErrorText(own, text),
                _ => Self::own(own, raw.into_recorded(), policy),
            },
        }
    }

    /// What a field says that means nothing but itself.
    #[inline]
    pub(crate) fn own(own: Key, value: Value, policy: &Policy) -> Self {
        if !policy.admits(own.name()) {
            return Self::Refused(Refusal::Unknown, None);
        }
        Self::Attribute(own, Some(policy.value(own.name(), value)))
    }

    /// Whether it says that nothing failed.
    pub(crate) fn denies_failure(&self) -> bool {
        matches!(self, Self::Control(Control::Error, raw) if flag(raw) == Ok(false))
    }

    /// Whether it gives an attribute that `wanted` picks.
    pub(crate) fn gives(&self, wanted: impl Fn(Key) -> bool) -> bool {
        matches!(self, Self::Attribute(key, _) if wanted(*key))
    }
}

/// Everything that a span's fields said.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    attributes: Vec<Attribute>,
    /// Those of the table that are there.
    held: Keys,
    /// Those of the table that the span's own fields gave at some time.
    given: Keys,
    started: bool,
    /// Something that the exported name may hold came after the start.
    renamed: bool,
    rare: Option<Box<Rare>>,
}

/// Room for what a span is given besides its own fields.
const ASSUMED: usize = 6;

#[derive(Debug)]
struct Attribute {
    key: Key,
    value: Value,
    /// Already on the exported span.
    sent: bool,
    /// Counted or inherited, not given by this span's own fields.
    assumed: bool,
}

/// What few spans say.
#[derive(Debug, Default)]
struct Rare {
    failure: Failure,
    content: Vec<Piece>,
    name: Option<String>,
    span_kind: Option<SpanKind>,
    status: Option<StatusCode>,
    status_description: Option<String>,
    /// Attributes that hold the text of a `dyn Error`.
    errors: Vec<Key>,
    /// What OpenTelemetry's statuses said, the last one last: that it failed, and why if they said so.
    statuses: Vec<String>,
    /// Attributes of names that the program makes up as it runs.
    made_up: Vec<KeyValue>,
    started_ago: Option<Duration>,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

/// The last statuses of a span: an event may take its own back.
const MAX_STATUSES: usize = 4;

/// As many as the SDK keeps on a span by default.
const MAX_MADE_UP: usize = 128;

impl Fields {
    pub(crate) fn with_capacity(fields: usize) -> Self {
        Self { attributes: Vec::with_capacity(fields + ASSUMED), ..Self::default() }
    }

    /// Takes one value in, or says why not.
    #[inline]
    pub(crate) fn apply(&mut self, said: Said) -> Result<(), Refusal> {
        match said {
            Said::Attribute(key, Some(value)) => self.set(key, value),
            Said::Attribute(key, None) => self.take_back(key),
            Said::ErrorText(key, text) => {
                self.rare().errors.push(key);
                self.set(key, text.into())
            }
            Said::Content(counted, piece) => {
                if let Some((key, count)) = counted {
                    self.count(key, count);
                }
                if let Some(piece) = piece {
                    self.say(piece);
                }
                Ok(())
            }
            Said::Refused(refusal, kept) => {
                if let Some((key, value)) = kept {
                    self.put(key, value);
                }
                Err(refusal)
            }
            Said::Control(control, raw) => self.control(control, &raw),
            Said::StartedAgo(_) if self.started => Err(Refusal::TooLate),
            Said::StartedAgo(ago) => {
                self.rare().started_ago = Some(ago);
                Ok(())
            }
            Said::MadeUp(attribute) => self.make_up(attribute),
            Said::Nothing => Ok(()),
        }
    }

    /// Gives an attribute, unless a sampler key is given another value.
    #[inline]
    pub(crate) fn set(&mut self, key: Key, value: Value) -> Result<(), Refusal> {
        if self.is_fixed(key) {
            return if self.get(key) == Some(&value) { Ok(()) } else { Err(Refusal::AlreadyGiven) };
        }
        self.put(key, value);
        Ok(())
    }

    /// Gives an attribute another value, whoever gave the one before.
    pub(crate) fn replace(&mut self, key: Key, value: Value) {
        self.put(key, value);
    }

    /// Takes an attribute out, if it is there and not on the exported span yet.
    pub(crate) fn take(&mut self, key: Key) -> Option<Value> {
        if !self.has(key) {
            return None;
        }
        let place = self.attributes.iter().position(|attribute| attribute.key == key && !attribute.sent)?;
        self.held.remove(key);
        Some(self.attributes.remove(place).value)
    }

    /// An attribute that holds as long as the span's own fields give none.
    #[inline]
    pub(crate) fn assume(&mut self, key: Key, value: Value) {
        if !self.has(key) {
            self.renamed |= self.started && IN_NAME.has(key);
            self.add(key, value, true);
        }
    }

    /// The value of an attribute.
    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&Value> {
        self.find(key).map(|attribute| &attribute.value)
    }

    /// Whether an attribute is there.
    #[inline]
    pub(crate) fn has(&self, key: Key) -> bool {
        self.held.has(key) || (!Keys::can_have(key) && self.find(key).is_some())
    }

    /// The value of an attribute, if the span's own fields gave it.
    #[inline]
    pub(crate) fn own(&self, key: Key) -> Option<&Value> {
        self.find(key).filter(|attribute| !attribute.assumed).map(|attribute| &attribute.value)
    }

    /// The text of an attribute.
    #[inline]
    pub(crate) fn text(&self, key: Key) -> Option<&str> {
        match self.get(key) {
            Some(Value::String(text)) => Some(text.as_str()),
            _ => None,
        }
    }

    /// An attribute in seconds, as the time that it is.
    pub(crate) fn duration(&self, key: Key) -> Option<Duration> {
        match self.get(key) {
            Some(Value::F64(seconds)) => Duration::try_from_secs_f64(*seconds).ok(),
            _ => None,
        }
    }

    /// Whether one of these attributes is there.
    #[inline]
    pub(crate) fn has_any(&self, wanted: &Keys) -> bool {
        self.held.meets(wanted)
    }

    /// Whether the span's own fields may have given one of these.
    pub(crate) fn may_give(&self, wanted: &Keys) -> bool {
        self.given.meets(wanted)
    }

    /// The attributes that `wanted` picks and the span's own fields gave.
    pub(crate) fn given(&self, wanted: impl Fn(Key) -> bool) -> impl Iterator<Item = (Key, &Value)> {
        self.attributes
            .iter()
            .filter(move |attribute| !attribute.assumed && wanted(attribute.key))
            .map(|attribute| (attribute.key, &attribute.value))
    }

    /// The sampler's attributes, for the span's start, after those that it has anyway. From here on they stay as they are.
    pub(crate) fn start(&mut self, mut at_start: Vec<KeyValue>) -> Vec<KeyValue> {
        self.started = true;
        // Room for what the close adds, unless the door made some: the SDK keeps this very vector.
        if at_start.capacity() == 0 {
            at_start.reserve_exact(self.attributes.len() + 8);
        }
        for attribute in self.attributes.iter_mut().filter(|attribute| SAMPLED.has(attribute.key)) {
            attribute.sent = true;
            at_start.push(KeyValue::new(attribute.key, attribute.value.clone()));
        }
        at_start
    }

    /// The attributes that the span was started with.
    pub(crate) fn sent(&self) -> Keys {
        let mut sent = Keys::default();
        for attribute in self.attributes.iter().filter(|attribute| attribute.sent) {
            sent.insert(attribute.key);
        }
        sent
    }

    /// Brings the fields of a span that was started with these attributes to where they were after its start.
    pub(crate) fn resume(&mut self, sent: &Keys) {
        self.started = true;
        for attribute in self.attributes.iter_mut().filter(|attribute| sent.has(attribute.key)) {
            attribute.sent = true;
        }
    }

    /// Everything that is not on the exported span yet, once; and what is there of names that the program made up.
    pub(crate) fn finish(&mut self) -> (impl Iterator<Item = KeyValue> + use<>, Option<Vec<KeyValue>>) {
        self.held = Keys::default();
        let unsent = |attribute: Attribute| (!attribute.sent).then(|| KeyValue::new(attribute.key, attribute.value));
        let made_up = self.rare.as_mut().map(|rare| std::mem::take(&mut rare.made_up));
        (std::mem::take(&mut self.attributes).into_iter().filter_map(unsent), made_up)
    }

    /// Whether the exported name may be another one than at the start.
    #[inline]
    pub(crate) fn is_renamed(&self) -> bool {
        self.renamed
    }

    /// How the span ends in which this event, or a panic, said that something failed.
    pub(crate) fn outcome(&self, event: Option<Failure>) -> Outcome {
        let Some(rare) = &self.rare else { return Outcome { failure: event, ..Outcome::default() } };
        let given = || rare.statuses.iter().rfind(|status| !status.is_empty()).cloned();
        Outcome {
            // Who describes an error has one.
            code: rare.status.or((!rare.statuses.is_empty()).then_some(StatusCode::Error)),
            description: rare.status_description.clone().or_else(given),
            failure: Some(rare.failure.clone()).filter(Failure::is_failure).or(event),
        }
    }

    /// Rewrites the texts that say what went wrong.
    pub(crate) fn rewrite_errors(&mut self, rewrite: impl Fn(&str) -> String) {
        let is_error_text = self.error_texts();
        for attribute in self.attributes.iter_mut().filter(|attribute| is_error_text(attribute.key.name())) {
            attribute.value = rewrite(&attribute.value.as_str()).into();
        }
        let made_up = self.rare.iter_mut().flat_map(|rare| &mut rare.made_up);
        for attribute in made_up.filter(|attribute| is_error_text(attribute.key.as_str())) {
            attribute.value = rewrite(&attribute.value.as_str()).into();
        }
    }

    /// Leaves out the texts that say what went wrong; that it failed, and how it is called, stays.
    pub(crate) fn drop_error_texts(&mut self) {
        let is_error_text = self.error_texts();
        self.attributes.retain(|attribute| !is_error_text(attribute.key.name()));
        if let Some(rare) = &mut self.rare {
            rare.made_up.retain(|attribute| !is_error_text(attribute.key.as_str()));
        }
    }

    /// Which attributes hold an error's text.
    fn error_texts(&self) -> impl Fn(&str) -> bool + use<> {
        let errors: Vec<Key> = self.rare.iter().flat_map(|rare| &rare.errors).copied().collect();
        let made_up = self.rare.iter().flat_map(|rare| &rare.made_up);
        let made_up = made_up.map(|attribute| (attribute.key.as_str(), &attribute.value));
        let attributes = self.attributes.iter().map(|attribute| (attribute.key.name(), &attribute.value));
        let texts = ErrorTexts::among(&attributes.chain(made_up));
        move |name| errors.iter().any(|key| key.name() == name) || texts.has(name)
    }

    /// A status of OpenTelemetry's says that it failed, and why if the text is not empty.
    pub(crate) fn add_error_status(&mut self, text: String) {
        let statuses = &mut self.rare().statuses;
        if statuses.len() == MAX_STATUSES {
            statuses.remove(0);
        }
        statuses.push(text);
    }

    /// Takes the last one of this text back.
    pub(crate) fn take_back_error_status(&mut self, text: &str) {
        let Some(rare) = &mut self.rare else { return };
        if let Some(last) = rare.statuses.iter().rposition(|status| status == text) {
            rare.statuses.remove(last);
        }
    }

    /// What people said, once.
    pub(crate) fn take_content(&mut self) -> Vec<Piece> {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.content)).unwrap_or_default()
    }

    /// `otel.name`
    pub(crate) fn name(&self) -> Option<&str> {
        self.rare.as_ref()?.name.as_deref()
    }

    /// `otel.kind`
    pub(crate) fn span_kind(&self) -> Option<SpanKind> {
        self.rare.as_ref()?.span_kind.clone()
    }

    /// `started_ms_ago`
    pub(crate) fn started_ago(&self) -> Duration {
        self.rare.as_ref().and_then(|rare| rare.started_ago).unwrap_or_default()
    }

    /// `traceparent` and `tracestate`
    pub(crate) fn remote_parent(&self) -> Option<(&str, Option<&str>)> {
        let rare = self.rare.as_ref()?;
        Some((rare.traceparent.as_deref()?, rare.tracestate.as_deref()))
    }

    /// A sampler key stays as it is once a sampler saw it, or the span's own fields gave it late.
    #[inline]
    fn is_fixed(&self, key: Key) -> bool {
        let is_fixed = |attribute: &Attribute| attribute.sent || !attribute.assumed;
        self.started && SAMPLED.has(key) && self.find(key).is_some_and(is_fixed)
    }

    fn make_up(&mut self, attribute: KeyValue) -> Result<(), Refusal> {
        let made_up = &mut self.rare().made_up;
        let is_full = made_up.len() >= MAX_MADE_UP;
        match made_up.iter_mut().find(|known| known.key == attribute.key) {
            Some(known) => known.value = attribute.value,
            None if is_full => return Err(Refusal::OutOfRange),
            None => made_up.push(attribute),
        }
        Ok(())
    }

    /// Counts what a content field holds; a given number stays.
    fn count(&mut self, key: Key, count: i64) {
        if self.own(key).is_none() {
            self.remove(key);
            self.add(key, Value::I64(count), true);
        }
    }

    /// The last word for a place counts; no text takes back what was said.
    fn say(&mut self, piece: Piece) {
        let content = &mut self.rare().content;
        content.retain(|known| known.slot != piece.slot || (piece.slot == Slot::Own && known.field != piece.field));
        if !piece.text.is_empty() {
            content.push(piece);
        }
    }

    #[inline]
    fn put(&mut self, key: Key, value: Value) {
        self.renamed |= self.started && IN_NAME.has(key);
        self.given.insert(key);
        if !self.has(key) {
            return self.add(key, value, false);
        }
        if let Some(attribute) = self.attributes.iter_mut().find(|attribute| attribute.key == key) {
            attribute.value = value;
            attribute.assumed = false;
        }
    }

    #[inline]
    fn find(&self, key: Key) -> Option<&Attribute> {
        if Keys::can_have(key) && !self.held.has(key) {
            return None;
        }
        self.attributes.iter().find(|attribute| attribute.key == key)
    }

    #[inline]
    fn add(&mut self, key: Key, value: Value, assumed: bool) {
        self.held.insert(key);
        self.attributes.push(Attribute { key, value, sent: false, assumed });
    }

    fn remove(&mut self, key: Key) {
        self.held.remove(key);
        self.attributes.retain(|attribute| attribute.key != key);
    }

    fn take_back(&mut self, key: Key) -> Result<(), Refusal> {
        if self.is_fixed(key) {
            return Err(Refusal::AlreadyGiven);
        }
        self.renamed |= self.started && IN_NAME.has(key);
        self.remove(key);
        Ok(())
    }

    fn control(&mut self, control: Control, raw: &Raw<'_>) -> Result<(), Refusal> {
        let text = || raw.as_text().map(Cow::into_owned).ok_or(Refusal::WrongType);
        match control {
            Control::Error => self.rare().failure.set_error(raw),
            Control::ErrorType => self.rare().failure.set_error_type(raw),
            Control::Name => {
                self.renamed |= self.started;
                self.rare().name = Some(text()?);
            }
            Control::StatusCode => self.rare().status = Some(status_code(&text()?)?),
            Control::StatusDescription => {
                let rare = self.rare();
                rare.status_description = Some(text()?);
                rare.status = Some(StatusCode::Error);
            }
            // The SDK takes these three when the span starts and never again.
            Control::SpanKind | Control::TraceParent | Control::TraceState if self.started => {
                return Err(Refusal::TooLate);
            }
            Control::SpanKind => self.rare().span_kind = Some(span_kind(&text()?)?),
            Control::TraceParent => self.rare().traceparent = Some(text()?),
            Control::TraceState => self.rare().tracestate = Some(text()?),
            Control::StartedAgo => {}
        }
        Ok(())
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// What is kept of a refused value: itself under its field's own name, if that is not a name of the conventions.
fn kept(own: Key, raw: Raw<'_>) -> Option<(Key, Value)> {
    (!is_standard(own.name())).then(|| (own, raw.into_recorded()))
}

fn piece(slot: Slot, field: &'static str, raw: &Raw<'_>) -> Piece {
    let text = raw.as_text().map_or_else(|| (*raw == Raw::Bool(true)).to_string(), Cow::into_owned);
    Piece { slot, field, text }
}

fn raw_owned(raw: Raw<'_>) -> Raw<'static> {
    match raw {
        Raw::Bool(flag) => Raw::Bool(flag),
        Raw::Int(number) => Raw::Int(number),
        Raw::Huge(digits) => Raw::Huge(digits),
        Raw::Float(number) => Raw::Float(number),
        Raw::Text(text) | Raw::Formatted(text) => Raw::Text(text.into_owned().into()),
        Raw::Error(text) => Raw::Error(text),
    }
}

fn characters(raw: &Raw<'_>) -> i64 {
    let count = raw.as_text().map_or(0, |text| text.chars().count());
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn tools(raw: &Raw<'_>) -> Option<i64> {
    let tools: Vec<serde_json::Value> = serde_json::from_str(&raw.as_text()?).ok()?;
    i64::try_from(tools.len()).ok()
}

fn status_code(text: &str) -> Result<StatusCode, Refusal> {
    match text.to_ascii_lowercase().as_str() {
        "ok" => Ok(StatusCode::Ok),
        "error" => Ok(StatusCode::Error),
        _ => Err(Refusal::OutOfRange),
    }
}

fn span_kind(text: &str) -> Result<SpanKind, Refusal> {
    match text.to_ascii_lowercase().as_str() {
        "client" => Ok(SpanKind::Client),
        "server" => Ok(SpanKind::Server),
        "producer" => Ok(SpanKind::Producer),
        "consumer" => Ok(SpanKind::Consumer),
        "internal" => Ok(SpanKind::Internal),
        _ => Err(Refusal::OutOfRange),
    }
}
