//! Did it fail, and how?

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use opentelemetry::Value;
use opentelemetry::trace::Status;

use crate::semconv::{ERROR_TYPE_OTHER, ERROR_TYPE_PANIC, EXCEPTION_MESSAGE, is_error_text};
use crate::value::{Raw, flag};

/// What `error` and `error_type` said, on a span or on an `ERROR` event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    failed: bool,
    text: Option<String>,
    error_type: Option<Arc<str>>,
}

impl Failure {
    /// The program panicked: what it said is not ours to export.
    pub(crate) fn of_panic() -> Self {
        Self { failed: true, error_type: Some(ERROR_TYPE_PANIC.into()), ..Self::default() }
    }

    /// `error`: a text, a truth value, or a number (a status code). `false` and the empty text are no error.
    pub(crate) fn set_error(&mut self, raw: &Raw<'_>) {
        let flag = flag(raw).ok();
        self.text = raw.as_text().filter(|text| flag.is_none() && !text.is_empty()).map(Into::into);
        self.failed = self.text.is_some() || flag == Some(true);
    }

    /// `error_type`, or `error.type`: an empty one is none.
    pub(crate) fn set_error_type(&mut self, raw: &Raw<'_>) {
        self.error_type = raw.as_text().filter(|text| !text.is_empty()).map(|text| Arc::from(&*text));
    }

    /// The failure that an `ERROR` event tells about: one in any case, described by its message if not by its `error`.
    pub(crate) fn of_event(self, message: Option<&str>) -> Self {
        Self { failed: true, text: self.text.or_else(|| message.map(str::to_owned)), ..self }
    }

    /// Whether it is a panic.
    pub(crate) fn is_panic(&self) -> bool {
        self.failed && self.text.is_none() && self.error_type.as_deref() == Some(ERROR_TYPE_PANIC)
    }

    /// What tells this failure's text from others.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.text.as_deref().map(Mark::of)
    }

    /// Rewrites its text.
    pub(crate) fn rewrite(&mut self, rewrite: impl Fn(&str) -> String) {
        if let Some(text) = &mut self.text {
            *text = rewrite(text);
        }
    }

    /// Whether anything failed.
    pub(crate) fn is_failure(&self) -> bool {
        self.failed || self.error_type.is_some()
    }

    /// The value of `error.type`: what was given, or an `error` that is an identifier, or `_OTHER`.
    pub(crate) fn error_type(&self) -> Arc<str> {
        if let Some(given) = &self.error_type {
            return given.clone();
        }
        match &self.text {
            Some(text) if is_identifier(text) => text.as_str().into(),
            _ => ERROR_TYPE_OTHER.into(),
        }
    }

    /// The status description: the error's text, at most 256 characters.
    pub(crate) fn description(&self) -> String {
        self.text.as_deref().map(|text| text.chars().take(256).collect()).unwrap_or_default()
    }
}

/// The attributes of a span or an event that hold an error's text.
#[derive(Debug, Default)]
pub(crate) struct ErrorTexts {
    /// Fields that hold a `dyn Error`, as tracing-opentelemetry shows it: with its causes as a list beside it.
    chained: Vec<String>,
}

impl ErrorTexts {
    /// Finds the fields of error values by the causes beside them: `supply.chain` alone is no error's.
    pub(crate) fn among<'a>(attributes: &(impl Iterator<Item = (&'a str, &'a Value)> + Clone)) -> Self {
        let chains = attributes.clone().filter(|(_, value)| matches!(value, Value::Array(_)));
        let fields = chains.filter_map(|(name, _)| name.strip_suffix(CHAIN));
        // Where the field itself became something else, `exception.message` tells that there was an error.
        let is_error = |field: &&str| {
            *field == "error" || attributes.clone().any(|(name, _)| name == *field || name == EXCEPTION_MESSAGE)
        };
        Self { chained: fields.filter(is_error).map(str::to_owned).collect() }
    }

    /// Whether the attribute of this name is one.
    pub(crate) fn has(&self, name: &str) -> bool {
        let field = name.strip_suffix(CHAIN).unwrap_or(name);
        is_error_text(name) || self.chained.iter().any(|chained| chained == field)
    }
}

/// What tracing-opentelemetry puts behind the name of a field that holds a `dyn Error`, for its causes.
const CHAIN: &str = ".chain";

/// An error's text, as far as it takes to tell whether another one is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    /// The same text gives the same mark.
    pub(crate) fn of(text: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Errors that a span remembers: the last ones.
const MAX_MARKS: usize = 8;

/// The errors that a span's own `ERROR` events told of, and those that the spans below it failed with.
#[derive(Debug, Default)]
pub(crate) struct Told {
    own: Vec<Mark>,
    below: Vec<Mark>,
}

impl Told {
    /// An `ERROR` event of the span's own says this.
    pub(crate) fn add_own(&mut self, mark: Mark) {
        add(&mut self.own, mark);
    }

    /// Whether a span below failed with this.
    pub(crate) fn has_below(&self, mark: Mark) -> bool {
        self.below.contains(&mark)
    }

    /// What its `ERROR` events told of was none.
    pub(crate) fn take_back(&mut self) {
        self.own.clear();
    }

    /// What the span above is to know once this span has closed: what failed below it, and its own errors if it failed itself.
    pub(crate) fn into_below(self, failed: bool) -> Vec<Mark> {
        let mut marks = self.below;
        for mark in self.own.into_iter().filter(|_| failed) {
            add(&mut marks, mark);
        }
        marks
    }

    /// A span below has closed that says this.
    pub(crate) fn add_below(&mut self, marks: Vec<Mark>) {
        for mark in marks {
            add(&mut self.below, mark);
        }
    }
}

fn add(marks: &mut Vec<Mark>, mark: Mark) {
    if marks.contains(&mark) {
        return;
    }
    if marks.len() == MAX_MARKS {
        marks.remove(0);
    }
    marks.push(mark);
}

/// What `otel.status_code` can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusCode {
    Ok,
    Error,
}

/// How a span ends, worked out once: what `otel.status_code` says, else what its own fields say, else what an `ERROR` event
/// in it, or a panic, said.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What a status said, which wins.
    pub(crate) code: Option<StatusCode>,
    pub(crate) description: Option<String>,
    pub(crate) failure: Option<Failure>,
}

impl Outcome {
    /// Whether the span ends with status Error.
    pub(crate) fn has_failed(&self) -> bool {
        match self.code {
            Some(code) => code == StatusCode::Error,
            None => self.failure.is_some(),
        }
    }

    /// Its `error.type`, if it ends with status Error.
    pub(crate) fn error_type(&self) -> Option<Arc<str>> {
        let failure = self.failure.as_ref();
        self.has_failed().then(|| failure.map_or_else(|| ERROR_TYPE_OTHER.into(), Failure::error_type))
    }

    /// The texts that it failed with.
    pub(crate) fn marks(&self) -> impl Iterator<Item = Mark> {
        let described = self.description.as_deref().filter(|text| !text.is_empty()).map(Mark::of);
        described.into_iter().chain(self.failure.as_ref().and_then(Failure::mark))
    }

    /// Rewrites its texts.
    pub(crate) fn rewrite(&mut self, rewrite: impl Fn(&str) -> String) {
        if let Some(failure) = &mut self.failure {
            failure.rewrite(&rewrite);
        }
        if let Some(description) = self.description.as_mut().filter(|text| !text.is_empty()) {
            *description = rewrite(description);
        }
    }

    /// The status that it ends with.
    pub(crate) fn status(&self, error_text: bool) -> Status {
        let description = match (&self.description, &self.failure) {
            _ if !error_text => String::new(),
            (Some(given), _) => given.clone(),
            (None, Some(failure)) => failure.description(),
            (None, None) => String::new(),
        };
        match self.code {
            Some(StatusCode::Ok) => Status::Ok,
            _ if self.has_failed() => Status::error(description),
            _ => Status::Unset,
        }
    }
}

/// One word of at most 64 characters.
fn is_identifier(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':'))
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use crate::value::Raw;

    fn failure(error: Option<Raw<'_>>, error_type: Option<&str>) -> Failure {
        let mut failure = Failure::default();
        if let Some(error) = error {
            failure.set_error(&error);
        }
        if let Some(error_type) = error_type {
            failure.set_error_type(&Raw::Text(error_type.into()));
        }
        failure
    }

    #[test]
    fn the_type_is_what_was_given_or_an_identifier_or_other() {
        let long = "x".repeat(65);
        for (error, error_type, expected, description) in [
            (Some(Raw::Text("timeout".into())), None, "timeout", "timeout"),
            (
                Some(Raw::Text("io::ErrorKind::TimedOut".into())),
                None,
                "io::ErrorKind::TimedOut",
                "io::ErrorKind::TimedOut",
            ),
            (Some(Raw::Text("the line is dead".into())), None, "_OTHER", "the line is dead"),
            (Some(Raw::Text("the line is dead".into())), Some("hangup"), "hangup", "the line is dead"),
            (Some(Raw::Text(long.as_str().into())), None, "_OTHER", long.as_str()),
            (Some(Raw::Int(429)), None, "429", "429"),
            (Some(Raw::Bool(true)), None, "_OTHER", ""),
            (None, Some("cancelled"), "cancelled", ""),
        ] {
            let failure = failure(error, error_type);
            assert!(failure.is_failure());
            assert_eq!(&*failure.error_type(), expected);
            assert_eq!(failure.description(), description);
        }
    }

    #[test]
    fn false_and_nothing_are_no_error() {
        assert!(!failure(None, None).is_failure());
        assert!(!failure(Some(Raw::Bool(false)), None).is_failure());
        assert!(!failure(Some(Raw::Text("".into())), Some("")).is_failure());
    }

    #[test]
    fn the_last_word_counts() {
        let mut failure = failure(Some(Raw::Text("timeout".into())), None);
        failure.set_error(&Raw::Bool(false));
        assert!(!failure.is_failure());
    }

    #[test]
    fn an_error_event_is_a_failure_whatever_it_says() {
        let of_event = failure(Some(Raw::Bool(false)), None).of_event(Some("the line is dead"));
        assert!(of_event.is_failure());
        assert_eq!((&*of_event.error_type(), of_event.description().as_str()), ("_OTHER", "the line is dead"));
        let of_event = failure(Some(Raw::Text("timeout".into())), None).of_event(Some("the line is dead"));
        assert_eq!((&*of_event.error_type(), of_event.description().as_str()), ("timeout", "timeout"));
    }

    #[test]
    fn a_description_is_cut_on_a_character() {
        let text = "ü".repeat(300);
        assert_eq!(failure(Some(Raw::Text(text.into())), None).description(), "ü".repeat(256));
    }
}
