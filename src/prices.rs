//! What did a call cost?

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{error, fmt, fs, io};

use opentelemetry::Value;
use serde::Deserialize;

use crate::fields::Fields;
use crate::semconv::{
    AUDIO_DURATION, CHARACTERS, USAGE_AUDIO_CACHE_READ_INPUT_TOKENS, USAGE_AUDIO_INPUT_TOKENS,
    USAGE_AUDIO_OUTPUT_TOKENS, USAGE_CACHE_READ_INPUT_TOKENS, USAGE_CACHE_WRITE_INPUT_TOKENS, USAGE_INPUT_TOKENS,
    USAGE_OUTPUT_TOKENS,
};
use crate::value;

/// Prices in US dollars, by provider and model, for `GenAi::with_prices`. None are built in: they change, and what you
/// pay is between you and your providers.
///
/// ```
/// use tracing_genai::{Price, Prices};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = r#"
///     [[price]]
///     provider = "openai"
///     model = "gpt-4o*"
///     input = 2.50
///     output = 10
/// "#;
/// let in_code = Prices::new().with(Price::of("openai", "gpt-4o*").with_input(2.5).with_output(10.0));
/// assert_eq!(Prices::from_toml(file)?, in_code);
/// # Ok(())
/// # }
/// ```
///
/// A file is a list of prices: `[[price]]` again and again in TOML, `{"price": [{…}, {…}]}` in JSON. The keys of a price
/// are `model`, and where there is one `provider`, `input`, `output`, `cache_read`, `cache_write`, `audio_input`,
/// `audio_output`, `cached_audio`, `audio_minute` and `million_characters`: what the setters of [`Price`] say. An unknown
/// key is an error, and so is a number that is no price.
///
/// A call is priced by one price: one for its provider before one without a provider, then one for its very model before
/// a pattern, then the pattern that spells more of the name, then the one that was given last. A price without a single
/// number says that the model has none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prices {
    /// In the order in which they are asked.
    prices: Vec<Price>,
}

impl Prices {
    /// No prices.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a price. Of two for the same provider and model the last one counts.
    #[must_use]
    pub fn with(mut self, price: Price) -> Self {
        let price = price.into_lowercase();
        // Before its equals: the last one given counts.
        let place = self.prices.partition_point(|other| other.rank() > price.rank());
        self.prices.insert(place, price);
        self
    }

    /// Reads a file, TOML or JSON by its extension.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is named neither `.toml` nor `.json`, or holds anything but prices.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, PricesError> {
        let path = path.as_ref();
        let extension = path.extension().and_then(OsStr::to_str).map(str::to_lowercase);
        let read = match extension.as_deref() {
            Some("toml") => Self::from_toml,
            Some("json") => Self::from_json,
            _ => return Err(PricesError::Extension(path.into())),
        };
        let text = fs::read_to_string(path).map_err(|error| PricesError::Read(path.into(), error))?;
        read(&text).map_err(|error| match error {
            PricesError::Content(_, why) => PricesError::Content(Some(path.into()), why),
            other => other,
        })
    }

    /// Reads TOML.
    ///
    /// # Errors
    ///
    /// [`PricesError::Content`], when it holds anything but prices.
    pub fn from_toml(text: &str) -> Result<Self, PricesError> {
        toml::from_str(text).map(Self::of).map_err(|error| PricesError::Content(None, error.to_string()))
    }

    /// Reads JSON.
    ///
    /// # Errors
    ///
    /// [`PricesError::Content`], when it holds anything but prices.
    pub fn from_json(text: &str) -> Result<Self, PricesError> {
        serde_json::from_str(text).map(Self::of).map_err(|error| PricesError::Content(None, error.to_string()))
    }

    fn of(file: File) -> Self {
        file.price.into_iter().map(Price).fold(Self::new(), Self::with)
    }

    /// What a call cost, if its model has a price and anything was reported that the price is for.
    #[cfg(test)]
    fn cost(&self, provider: Option<&str>, model: &str, used: &Used) -> Option<f64> {
        self.price_of(provider, model)?.cost(used)
    }

    /// The price of a provider's model, which may say that there is none. A provider is spelled as it is exported.
    pub(crate) fn price_of(&self, provider: Option<&str>, model: &str) -> Option<&Price> {
        let (provider, model) = (provider.map(str::to_lowercase), model.to_lowercase());
        self.prices.iter().find(|price| price.is_for(provider.as_deref(), &model))
    }
}

/// What a model costs, in US dollars.
///
/// A provider is a name as a program gives it (`google`) or as it is exported (`gcp.gen_ai`). `*` in a model's name stands
/// for any text, also for none. Upper and lower case are the same in both.
///
/// Some tokens are part of others: a part without a price of its own costs what the whole costs. All that has a price and
/// was reported adds up, so a model that is billed by the token has no price for a minute.
///
/// A number that is no price (negative, infinite, NaN) is as if it was not given.
#[derive(Debug, Clone, PartialEq)]
pub struct Price(Row);

impl Price {
    /// A price of this provider's models whose name matches `model`.
    #[must_use]
    pub fn of(provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self(Row { provider: Some(provider.into()), model: model.into(), ..Row::default() })
    }

    /// A price of the models whose name matches `model`, whoever provides them.
    #[must_use]
    pub fn of_model(model: impl Into<String>) -> Self {
        Self(Row { model: model.into(), ..Row::default() })
    }

    /// For a million input tokens.
    #[must_use]
    pub fn with_input(mut self, usd: f64) -> Self {
        self.0.input = Usd::of(usd);
        self
    }

    /// For a million output tokens, those of its reasoning among them.
    #[must_use]
    pub fn with_output(mut self, usd: f64) -> Self {
        self.0.output = Usd::of(usd);
        self
    }

    /// For a million of the input tokens that came out of a cache.
    #[must_use]
    pub fn with_cache_read(mut self, usd: f64) -> Self {
        self.0.cache_read = Usd::of(usd);
        self
    }

    /// For a million of the input tokens that were put into a cache.
    #[must_use]
    pub fn with_cache_write(mut self, usd: f64) -> Self {
        self.0.cache_write = Usd::of(usd);
        self
    }

    /// For a million of the input tokens that are audio.
    #[must_use]
    pub fn with_audio_input(mut self, usd: f64) -> Self {
        self.0.audio_input = Usd::of(usd);
        self
    }

    /// For a million of the output tokens that are audio.
    #[must_use]
    pub fn with_audio_output(mut self, usd: f64) -> Self {
        self.0.audio_output = Usd::of(usd);
        self
    }

    /// For a million of the input tokens that are audio and came out of a cache. Otherwise they cost what others out of
    /// the cache cost, or else what other audio costs.
    #[must_use]
    pub fn with_cached_audio(mut self, usd: f64) -> Self {
        self.0.cached_audio = Usd::of(usd);
        self
    }

    /// For a minute of audio, billed by the fraction.
    #[must_use]
    pub fn with_audio_minute(mut self, usd: f64) -> Self {
        self.0.audio_minute = Usd::of(usd);
        self
    }

    /// For a million characters.
    #[must_use]
    pub fn with_million_characters(mut self, usd: f64) -> Self {
        self.0.million_characters = Usd::of(usd);
        self
    }

    /// What this cost, if anything was reported that the price is for.
    pub(crate) fn cost(&self, used: &Used) -> Option<f64> {
        let row = &self.0;
        let cache_read = row.cache_read.or(row.input);
        let audio_input = row.audio_input.or(row.input);
        let cached_audio = row.cached_audio.or(row.cache_read).or(audio_input);
        let (input, output) = (used.input(), used.output());
        let costs = [
            per_million(input.other, row.input),
            per_million(input.cache_read, cache_read),
            per_million(input.cache_write, row.cache_write.or(row.input)),
            per_million(input.audio, audio_input),
            per_million(input.cached_audio, cached_audio),
            per_million(output.other, row.output),
            per_million(output.audio, row.audio_output.or(row.output)),
            per_million(used.characters, row.million_characters),
            per_minute(used.audio_seconds, row.audio_minute),
        ];
        costs.into_iter().flatten().reduce(|sum, cost| sum + cost).filter(|sum| sum.is_finite())
    }

    fn is_for(&self, provider: Option<&str>, model: &str) -> bool {
        let is_provider =
            |own: &str| provider.is_some_and(|provider| provider == own || provider == value::provider(own));
        matches(&self.0.model, model) && self.0.provider.as_deref().is_none_or(is_provider)
    }

    /// The greater one is asked first.
    fn rank(&self) -> (bool, bool, usize) {
        let stars = self.0.model.matches('*').count();
        (self.0.provider.is_some(), stars == 0, self.0.model.len().saturating_sub(stars))
    }

    /// Whether there is a single number.
    pub(crate) fn is_given(&self) -> bool {
        let row = &self.0;
        [
            row.input,
            row.output,
            row.cache_read,
            row.cache_write,
            row.audio_input,
            row.audio_output,
            row.cached_audio,
            row.audio_minute,
            row.million_characters,
        ]
        .iter()
        .any(Option::is_some)
    }

    fn into_lowercase(self) -> Self {
        let Self(row) = self;
        Self(Row {
            provider: row.provider.map(|provider| provider.to_lowercase()),
            model: row.model.to_lowercase(),
            ..row
        })
    }
}

/// What a call reported that it used: OpenTelemetry's counts, where a part is counted in its whole, too.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Used {
    pub(crate) input_tokens: Option<u64>,
    /// Those of the input that came out of a cache.
    pub(crate) cache_read: Option<u64>,
    /// Those of the input that were put into a cache.
    pub(crate) cache_write: Option<u64>,
    /// Those of the input that are audio.
    pub(crate) audio_input: Option<u64>,
    /// Those of the audio that came out of a cache: they are in both.
    pub(crate) cached_audio: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    /// Those of the output that are audio.
    pub(crate) audio_output: Option<u64>,
    pub(crate) audio_seconds: Option<f64>,
    pub(crate) characters: Option<u64>,
}

impl Used {
    /// What a call's fields report.
    pub(crate) fn of(fields: &Fields) -> Self {
        let count = |key| match fields.get(key) {
            Some(Value::I64(count)) => u64::try_from(*count).ok(),
            _ => None,
        };
        let audio_seconds = match fields.get(AUDIO_DURATION) {
            Some(Value::F64(seconds)) => Some(*seconds),
            _ => None,
        };
        Self {
            input_tokens: count(USAGE_INPUT_TOKENS),
            cache_read: count(USAGE_CACHE_READ_INPUT_TOKENS),
            cache_write: count(USAGE_CACHE_WRITE_INPUT_TOKENS),
            audio_input: count(USAGE_AUDIO_INPUT_TOKENS),
            cached_audio: count(USAGE_AUDIO_CACHE_READ_INPUT_TOKENS),
            output_tokens: count(USAGE_OUTPUT_TOKENS),
            audio_output: count(USAGE_AUDIO_OUTPUT_TOKENS),
            audio_seconds,
            characters: count(CHARACTERS),
        }
    }

    /// The input, each token once. A part that is more than its whole is believed, the whole is then the part.
    fn input(&self) -> Input {
        let cached_audio = self.cached_audio.unwrap_or_default();
        let cache_read = self.cache_read.unwrap_or_default().max(cached_audio);
        let audio = self.audio_input.unwrap_or_default().max(cached_audio);
        let cache_write = self.cache_write.unwrap_or_default();
        let parts = (cache_read - cached_audio).saturating_add(cache_write).saturating_add(audio);

        // Where nobody says how much of the audio came out of the cache, what exceeds the whole did: it is in both.
        let both = match (self.input_tokens, self.cached_audio) {
            (Some(whole), None) => parts.saturating_sub(whole).min(cache_read).min(audio),
            _ => cached_audio,
        };
        Input {
            other: self.input_tokens.map(|whole| whole.saturating_sub(parts)),
            cache_read: self.cache_read.map(|_| cache_read - both),
            cache_write: self.cache_write,
            audio: self.audio_input.map(|_| audio - both),
            cached_audio: (both > 0).then_some(both).or(self.cached_audio),
        }
    }

    fn output(&self) -> Output {
        let audio = self.audio_output.unwrap_or_default();
        Output { other: self.output_tokens.map(|whole| whole.saturating_sub(audio)), audio: self.audio_output }
    }
}

/// Input tokens by their price.
#[derive(Debug, PartialEq)]
struct Input {
    other: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    audio: Option<u64>,
    cached_audio: Option<u64>,
}

/// Output tokens by their price.
#[derive(Debug, PartialEq)]
struct Output {
    other: Option<u64>,
    audio: Option<u64>,
}

/// A file of prices.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    price: Vec<Row>,
}

/// One price as a file spells it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    provider: Option<String>,
    model: String,
    input: Option<Usd>,
    output: Option<Usd>,
    cache_read: Option<Usd>,
    cache_write: Option<Usd>,
    audio_input: Option<Usd>,
    audio_output: Option<Usd>,
    cached_audio: Option<Usd>,
    audio_minute: Option<Usd>,
    million_characters: Option<Usd>,
}

/// US dollars: finite and not negative.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
struct Usd(f64);

impl Usd {
    fn of(usd: f64) -> Option<Self> {
        (usd.is_finite() && usd >= 0.0).then_some(Self(usd))
    }
}

impl TryFrom<f64> for Usd {
    type Error = String;

    fn try_from(usd: f64) -> Result<Self, Self::Error> {
        Self::of(usd).ok_or_else(|| format!("{usd} is no price, which is a number from 0"))
    }
}

/// Why there are no [`Prices`].
#[derive(Debug)]
#[non_exhaustive]
pub enum PricesError {
    /// The file can't be read.
    Read(PathBuf, io::Error),
    /// The file is named neither `.toml` nor `.json`.
    Extension(PathBuf),
    /// The text of a file, or text that was given, holds something else than prices: where, and what.
    Content(Option<PathBuf>, String),
}

impl fmt::Display for PricesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "prices can't be read from {}: {error}", path.display()),
            Self::Extension(path) => write!(f, "prices are in .toml or .json files, not in {}", path.display()),
            Self::Content(Some(path), why) => write!(f, "{}: {}", path.display(), why.trim_end()),
            Self::Content(None, why) => f.write_str(why.trim_end()),
        }
    }
}

impl error::Error for PricesError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Read(_, error) => Some(error),
            Self::Extension(_) | Self::Content(..) => None,
        }
    }
}

/// Whether a name is what a pattern says, where each `*` is any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, others)) = pattern.split_once('*') else { return pattern == name };
    let (middle, last) = others.rsplit_once('*').unwrap_or(("", others));
    let inner = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    // The earliest place of each piece leaves the most for those after it.
    let rest = inner.and_then(|inner| middle.split('*').try_fold(inner, |rest, piece| Some(rest.split_once(piece)?.1)));
    rest.is_some()
}

#[expect(clippy::cast_precision_loss, reason = "what is beyond 53 bits costs the same")]
fn per_million(count: Option<u64>, price: Option<Usd>) -> Option<f64> {
    Some(count? as f64 * price?.0 / 1e6)
}

fn per_minute(seconds: Option<f64>, price: Option<Usd>) -> Option<f64> {
    let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
    Some(seconds * price?.0 / 60.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Price, Prices, PricesError, Usd, Used, matches};

    fn is_close(one: Option<f64>, other: Option<f64>) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => (one - other).abs() <= 1e-12 * one.abs().max(other.abs()),
            (one, other) => one == other,
        }
    }

    #[test]
    fn a_star_is_any_text_and_everything_else_is_itself() {
        for (pattern, name, is_match) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o*", "gpt-4o", true),
            ("gpt-4o*", "gpt-4o-mini", true),
            ("gpt-4o*", "my-gpt-4o", false),
            ("*gpt-4o", "openai/gpt-4o", true),
            ("*gpt-4o", "openai/gpt-4o-mini", false),
            ("gpt-*-mini", "gpt-4o-mini", true),
            ("gpt-*-mini", "gpt-mini", false),
            ("gpt-*-*-mini", "gpt-4-o-mini", true),
            ("gpt-*-*-mini", "gpt-4o-mini", false),
            ("*4o*mini*", "openai/gpt-4o-mini-2024", true),
            ("*mini*4o*", "openai/gpt-4o-mini-2024", false),
            ("a*ab", "ab", false),
            ("a**b", "ab", true),
            ("*", "", true),
            ("", "", true),
            ("", "gpt-4o", false),
            ("sonic.?[x]", "sonic.?[x]", true),
            ("sonic.", "sonicx", false),
        ] {
            assert_eq!(matches(pattern, name), is_match, "{pattern} {name}");
        }
    }

    #[test]
    fn the_most_specific_price_counts_wherever_it_stands() {
        let rows = [
            ("", "*", 1.0),
            ("", "gpt-4o", 2.0),
            ("", "gpt-4o-mini*", 3.0),
            ("openai", "gpt-*", 4.0),
            ("openai", "gpt-4o*", 5.0),
            ("openai", "gpt-4o-mini", 6.0),
            ("Google", "gemini*", 7.0),
        ];
        let price = |(provider, model, usd): (&str, &str, f64)| {
            let price = if provider.is_empty() { Price::of_model(model) } else { Price::of(provider, model) };
            price.with_input(usd)
        };
        let forward = rows.into_iter().map(price).fold(Prices::new(), Prices::with);
        let backward = rows.into_iter().rev().map(price).fold(Prices::new(), Prices::with);
        let used = Used { input_tokens: Some(1_000_000), ..Used::default() };
        for (provider, model, usd) in [
            (Some("openai"), "gpt-4o-mini", 6.0),
            (Some("openai"), "gpt-4o-mini-2024", 5.0),
            (Some("openai"), "gpt-4o", 5.0),
            (Some("openai"), "gpt-4.1", 4.0),
            (Some("openai"), "o3", 1.0),
            (Some("OpenAI"), "GPT-4.1", 4.0),
            (Some("groq"), "gpt-4o", 2.0),
            (None, "gpt-4o-mini", 3.0),
            (None, "sonic", 1.0),
            (Some("gcp.gen_ai"), "gemini-2.5-flash", 7.0),
            (Some("google"), "gemini-2.5-flash", 7.0),
            (Some("gcp.vertex_ai"), "gemini-2.5-flash", 1.0),
        ] {
            assert_eq!(forward.cost(provider, model, &used), Some(usd), "{provider:?} {model}");
            assert_eq!(backward.cost(provider, model, &used), Some(usd), "{provider:?} {model}");
        }
    }

    #[test]
    fn of_two_prices_for_the_same_the_last_one_counts() {
        let prices = Prices::new()
            .with(Price::of("openai", "gpt-4o").with_input(1.0))
            .with(Price::of("OpenAI", "GPT-4o").with_input(2.0));
        let used = Used { input_tokens: Some(500_000), ..Used::default() };
        assert_eq!(prices.cost(Some("openai"), "gpt-4o", &used), Some(1.0));
    }

    #[test]
    fn a_price_without_a_number_is_none() {
        let prices = Prices::new().with(Price::of_model("*").with_input(1.0)).with(Price::of_model("preview"));
        assert!(!prices.price_of(None, "preview").is_some_and(Price::is_given));
        assert!(prices.price_of(None, "stable").is_some_and(Price::is_given));
        assert!(Prices::new().price_of(Some("openai"), "gpt-4o").is_none());
        for usd in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(
                !Prices::new()
                    .with(Price::of_model("*").with_input(usd))
                    .price_of(None, "gpt-4o")
                    .is_some_and(Price::is_given),
                "{usd}"
            );
        }
        let free = Prices::new().with(Price::of_model("*").with_input(0.0));
        assert!(free.price_of(None, "llama").is_some_and(Price::is_given));
    }

    #[test]
    fn each_token_is_paid_once() {
        let flat = Price::of_model("*").with_input(4.0).with_output(10.0);
        let cached = flat.clone().with_cache_read(1.0).with_cache_write(5.0);
        let audio = cached.clone().with_audio_input(40.0).with_audio_output(80.0);
        let all = audio.clone().with_cached_audio(2.0);
        let million = |count: u64| Some(count * 1_000_000);
        let none = Used::default();
        let text = Used { input_tokens: million(10), output_tokens: million(2), ..none };
        let read = Used { cache_read: million(4), cache_write: million(1), ..text };
        let heard = Used { audio_input: million(3), audio_output: million(1), ..read };
        let both = Used { cached_audio: million(2), ..heard };
        for (what, price, used, usd) in [
            ("nothing", &all, none, None),
            ("text", &flat, text, Some(40.0 + 20.0)),
            ("parts cost what the whole costs", &flat, both, Some(40.0 + 20.0)),
            ("a cache that has prices", &cached, read, Some(5.0 * 4.0 + 4.0 * 1.0 + 1.0 * 5.0 + 20.0)),
            ("and one that nobody used", &cached, text, Some(40.0 + 20.0)),
            ("audio", &audio, heard, Some(2.0 * 4.0 + 4.0 * 1.0 + 5.0 + 3.0 * 40.0 + 10.0 + 80.0)),
            ("cached audio", &all, both, Some(4.0 * 4.0 + 2.0 * 1.0 + 5.0 + 40.0 + 2.0 * 2.0 + 10.0 + 80.0)),
            ("cached audio costs what is cached", &audio, both, Some(4.0 * 4.0 + 4.0 * 1.0 + 5.0 + 40.0 + 90.0)),
            (
                "else what is audio",
                &flat.clone().with_audio_input(40.0),
                both,
                Some((4.0 + 2.0 + 1.0) * 4.0 + 3.0 * 40.0 + 20.0),
            ),
            (
                "audio and cache that exceed the whole overlap",
                &all,
                Used { input_tokens: million(10), cache_read: million(8), audio_input: million(5), ..none },
                Some(5.0 * 1.0 + 2.0 * 40.0 + 3.0 * 2.0),
            ),
            (
                "cached audio alone is cached, and audio",
                &all,
                Used { input_tokens: million(10), cached_audio: million(4), ..none },
                Some(6.0 * 4.0 + 4.0 * 2.0),
            ),
            (
                "a part that exceeds its whole is believed",
                &cached,
                Used { input_tokens: million(1), cache_read: million(9), ..none },
                Some(9.0),
            ),
            ("a part without its whole", &cached, Used { cache_read: million(9), ..none }, Some(9.0)),
            ("spoken output without its whole", &audio, Used { audio_output: million(1), ..none }, Some(80.0)),
        ] {
            assert!(is_close(price.cost(&used), usd), "{what}: {:?}, not {usd:?}", price.cost(&used));
        }
    }

    #[test]
    fn minutes_and_characters_are_paid_by_the_fraction() {
        let stt = Price::of("deepgram", "nova-3*").with_audio_minute(0.006);
        let tts = Price::of("cartesia", "sonic*").with_million_characters(30.0);
        let used = Used { audio_seconds: Some(2.5), characters: Some(11), ..Used::default() };
        assert!(is_close(stt.cost(&used), Some(0.000_25)));
        assert!(is_close(tts.cost(&used), Some(0.000_33)));
        assert!(is_close(stt.clone().with_million_characters(30.0).cost(&used), Some(0.000_58)));
        assert_eq!(stt.cost(&Used { characters: Some(11), ..Used::default() }), None);
        assert_eq!(stt.cost(&Used { audio_seconds: Some(0.0), ..Used::default() }), Some(0.0));
        for seconds in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(stt.cost(&Used { audio_seconds: Some(seconds), ..Used::default() }), None);
        }
        let dear = Price::of_model("*").with_audio_minute(f64::MAX);
        assert_eq!(dear.cost(&Used { audio_seconds: Some(f64::MAX), ..Used::default() }), None);
    }

    #[test]
    fn toml_json_and_code_say_the_same() {
        let toml = r#"
            [[price]]
            provider = "openai"
            model = "gpt-realtime*"
            input = 4
            output = 16.0
            cache_read = 0.4
            cache_write = 5
            audio_input = 32
            audio_output = 64
            cached_audio = 0.40

            [[price]]
            model = "whisper*"
            audio_minute = 0.006
            million_characters = 0
        "#;
        let json = r#"{"price": [
            {"provider": "openai", "model": "gpt-realtime*", "input": 4, "output": 16.0, "cache_read": 0.4,
             "cache_write": 5, "audio_input": 32, "audio_output": 64, "cached_audio": 0.40},
            {"model": "whisper*", "audio_minute": 0.006, "million_characters": 0}
        ]}"#;
        let realtime = Price::of("openai", "gpt-realtime*")
            .with_input(4.0)
            .with_output(16.0)
            .with_cache_read(0.4)
            .with_cache_write(5.0)
            .with_audio_input(32.0)
            .with_audio_output(64.0)
            .with_cached_audio(0.4);
        let whisper = Price::of_model("whisper*").with_audio_minute(0.006).with_million_characters(0.0);
        let code = Prices::new().with(realtime).with(whisper);
        assert_eq!(Prices::from_toml(toml).unwrap(), code);
        assert_eq!(Prices::from_json(json).unwrap(), code);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_place() {
        for (line, place) in [
            ("input = -2", "line 3, column 9: -2 is no price"),
            ("input = nan", "line 3, column 9: NaN is no price"),
            ("input = inf", "line 3, column 9: inf is no price"),
            ("input = \"2.50\"", "line 3, column 9: invalid type: string"),
            ("inputs = 2", "line 3, column 1: unknown field `inputs`"),
            ("model = \"b\"", "line 3, column 1: duplicate key"),
            ("input = 2 output = 3", "line 3, column 18: "),
            ("[[prices]]", "line 3, column 3: unknown field `prices`"),
            ("[[price]]", "line 3, column 1: missing field `model`"),
        ] {
            let error = Prices::from_toml(&format!("[[price]]\nmodel = \"a\"\n{line}\n")).unwrap_err();
            assert!(one_line(&error).contains(place), "{line}: {}", one_line(&error));
        }
        for (row, place) in [
            ("\"input\": -2", "-2 is no price, which is a number from 0 at line 2 column"),
            ("\"input\": 1e999", "number out of range at line 2 column"),
            ("\"input\": null, \"inputs\": 2", "unknown field `inputs`"),
            ("\"input\": \"2.50\"", "invalid type: string \"2.50\", expected f64 at line 2 column"),
        ] {
            let error = Prices::from_json(&format!("{{\"price\": [{{\"model\": \"a\",\n{row}}}]}}")).unwrap_err();
            assert!(one_line(&error).contains(place), "{row}: {}", one_line(&error));
        }
        assert!(one_line(&Prices::from_toml("").unwrap_err()).contains("missing field `price`"));
        assert!(one_line(&Prices::from_json("[]").unwrap_err()).contains("line 1 column"));
    }

    /// The message without TOML's picture of the line.
    fn one_line(error: &PricesError) -> String {
        let text = error.to_string();
        let mut lines = text.lines().filter(|line| !line.contains('|'));
        let (first, rest) = (lines.next().unwrap(), lines.collect::<Vec<_>>());
        if rest.is_empty() { first.to_owned() } else { format!("{first}: {}", rest.join(" ")) }
    }

    #[test]
    fn a_file_is_read_by_its_extension_and_named_in_errors() {
        let directory = std::env::temp_dir().join(format!("tracing-genai-prices-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(directory.join(name), text).unwrap();
            Prices::from_file(directory.join(name))
        };
        let prices = Prices::new().with(Price::of_model("a").with_input(2.0));
        assert_eq!(write("prices.toml", "[[price]]\nmodel = \"a\"\ninput = 2").unwrap(), prices);
        assert_eq!(write("prices.JSON", r#"{"price": [{"model": "a", "input": 2}]}"#).unwrap(), prices);
        assert!(matches!(write("prices.yaml", "").unwrap_err(), PricesError::Extension(_)));
        let error = write("broken.toml", "[[price]]\nmodel = 1").unwrap_err().to_string();
        assert!(error.contains("broken.toml: ") && error.contains("line 2, column 9"), "{error}");
        let error = Prices::from_file(directory.join("none.toml")).unwrap_err();
        assert!(matches!(error, PricesError::Read(..)) && error.to_string().contains("none.toml"), "{error}");
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_example_file_is_a_table_of_prices() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/prices.toml");
        assert!(!Prices::from_file(path).unwrap().prices.is_empty());
    }

    fn count() -> impl Strategy<Value = Option<u64>> {
        prop::option::of(prop_oneof![0..2_000_u64, 0..1_u64 << 50, Just(u64::MAX), any::<u64>()])
    }

    fn uses() -> impl Strategy<Value = Used> {
        let tokens = (count(), count(), count(), count(), count(), count(), count());
        (tokens, count(), prop::option::of(0.0..1e6_f64)).prop_map(|(tokens, characters, audio_seconds)| {
            let (input_tokens, cache_read, cache_write, audio_input, cached_audio, output_tokens, audio_output) =
                tokens;
            Used {
                input_tokens,
                cache_read,
                cache_write,
                audio_input,
                cached_audio,
                output_tokens,
                audio_output,
                audio_seconds,
                characters,
            }
        })
    }

    fn prices() -> impl Strategy<Value = Price> {
        prop::array::uniform9(prop::option::of(prop_oneof![Just(0.0), 0.0..1_000.0_f64])).prop_map(|usd| {
            let mut price = Price::of_model("*");
            let row = &mut price.0;
            let places = [
                &mut row.input,
                &mut row.output,
                &mut row.cache_read,
                &mut row.cache_write,
                &mut row.audio_input,
                &mut row.audio_output,
                &mut row.cached_audio,
                &mut row.audio_minute,
                &mut row.million_characters,
            ];
            for (place, usd) in places.into_iter().zip(usd) {
                *place = usd.and_then(Usd::of);
            }
            price
        })
    }

    /// More of it, where it was reported.
    fn more(count: Option<u64>, by: u32) -> Option<u64> {
        count.map(|count| count.saturating_add(by.into()))
    }

    proptest! {
        #[test]
        fn a_cost_is_finite_and_not_negative(price in prices(), used in uses()) {
            if let Some(cost) = price.cost(&used) {
                prop_assert!(cost.is_finite() && cost >= 0.0);
            }
        }

        #[test]
        fn more_costs_no_less(price in prices(), used in uses(), by in 0..1_000_000_u32) {
            // With one token more, one that was cached audio may be one of each: that must not be cheaper.
            let mut price = price;
            let audio = price.0.audio_input.or(price.0.input);
            price.0.cached_audio = price.0.cached_audio.zip(audio).and_then(|(cached, audio)| Usd::of(cached.0.min(audio.0)));
            let Some(cost) = price.cost(&used) else { return Ok(()) };
            for greater in [
                Used { input_tokens: more(used.input_tokens, by), ..used },
                Used { output_tokens: more(used.output_tokens, by), ..used },
                Used { characters: more(used.characters, by), ..used },
                Used { audio_seconds: used.audio_seconds.map(|seconds| seconds + f64::from(by)), ..used },
            ] {
                let dearer = price.cost(&greater).unwrap();
                prop_assert!(dearer >= cost * (1.0 - 1e-12), "{dearer} < {cost}: {greater:?}");
            }
        }

        #[test]
        fn a_price_that_is_raised_makes_nothing_cheaper(price in prices(), used in uses(), by in 0.0..100.0_f64) {
            let Some(cost) = price.cost(&used) else { return Ok(()) };
            let raised = |usd: Option<Usd>| usd.map(|usd| Usd(usd.0 + by));
            let row = price.0.clone();
            for dearer in [
                super::Row { input: raised(row.input), ..row.clone() },
                super::Row { output: raised(row.output), ..row.clone() },
                super::Row { cache_read: raised(row.cache_read), ..row.clone() },
                super::Row { audio_input: raised(row.audio_input), ..row.clone() },
                super::Row { audio_minute: raised(row.audio_minute), ..row.clone() },
                super::Row { million_characters: raised(row.million_characters), ..row.clone() },
            ] {
                prop_assert!(Price(dearer).cost(&used).unwrap() >= cost);
            }
        }

        #[test]
        fn parts_at_the_price_of_their_whole_cost_what_the_whole_costs(
            usd in 0.0..1_000.0_f64,
            whole in 0..1_000_000_000_u64,
            percents in prop::array::uniform4(0..=100_u64),
        ) {
            let mut left = whole;
            let mut part = |percent: u64| {
                let part = left * percent / 100;
                left -= part;
                part
            };
            let [read, write, audio, both] = percents.map(&mut part);
            let flat = Price::of_model("*").with_input(usd);
            let input_tokens = Some(whole);
            let used = Used {
                input_tokens,
                cache_read: Some(read + both),
                cache_write: Some(write),
                audio_input: Some(audio + both),
                cached_audio: Some(both),
                ..Used::default()
            };
            let expected = flat.cost(&Used { input_tokens, ..Used::default() });
            prop_assert!(is_close(flat.cost(&used), expected));
            let untold = Used { cached_audio: None, ..used };
            prop_assert!(is_close(flat.cost(&untold), expected));
        }

        #[test]
        fn a_pattern_made_of_a_name_matches_it(name in "[a-z0-9.-]{0,12}", cuts in prop::collection::vec((0..13_usize, 0..13_usize), 0..3)) {
            let mut pattern = name.clone();
            for (from, to) in cuts {
                let (from, to) = (from.min(to).min(pattern.len()), to.max(from).min(pattern.len()));
                pattern.replace_range(from..to, "*");
            }
            prop_assert!(matches(&pattern, &name), "{pattern} {name}");
        }
    }
}
