//! Who sets the providers up?

use std::env;
use std::fmt;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::console::console_from_env;
use crate::genai::{GenAi, Handle};
use crate::layer::GenAiLayer;
use crate::notice;
use crate::stats::Stats;

/// How long a dropped [`Telemetry`] waits for its exporters.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that a program needs which has no OpenTelemetry yet, from the environment. It ends what is open and
/// flushes when it is dropped, so keep it to the end of `main`.
///
/// ```
/// use tracing_subscriber::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let telemetry = tracing_genai::Telemetry::from_env()?;
/// tracing_subscriber::registry().with(telemetry.layer()).init();
///
/// let conversation = tracing::info_span!("conversation", conversation_id = "c-42");
/// let turn = tracing::info_span!(parent: &conversation, "turn");
/// # Ok(())
/// # }
/// ```
///
/// | variable | |
/// |---|---|
/// | `OTEL_CONSOLE_EXPORT` | prints spans, see [`console_from_env`] |
/// | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | the resource |
/// | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | the sampler; default `parentbased_always_on` |
/// | `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, `OTEL_SPAN_EVENT_COUNT_LIMIT`, `OTEL_SPAN_LINK_COUNT_LIMIT` | the SDK's limits; default 128 each |
///
/// Without any exporter it works and exports nothing. It installs nothing global: neither a subscriber nor a tracer
/// provider nor a propagator.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    genai: GenAi,
}

impl Telemetry {
    /// Reads the environment and makes the provider.
    ///
    /// # Errors
    ///
    /// When the console is asked for and the operating system gives no thread for it. A variable with an unknown value
    /// is no error: one warning on stderr names it, and its default holds.
    pub fn from_env() -> Result<Self, TelemetryError> {
        if let Some(warning) =
            sampler_warning(variable("OTEL_TRACES_SAMPLER").as_deref(), variable("OTEL_TRACES_SAMPLER_ARG").as_deref())
        {
            static SAMPLER: notice::Once = notice::Once::new();
            SAMPLER.say(|| warning);
        }
        let mut provider = SdkTracerProvider::builder();
        // The SDK panics when it gets no thread.
        if let Some(console) = catch_unwind(console_from_env).map_err(|_| TelemetryError::Console)? {
            provider = provider.with_span_processor(console);
        }
        Ok(Self { provider: provider.build(), genai: GenAi::from_env() })
    }

    /// The same with these options, instead of what [`GenAi::from_env`] gives. Begin with that, if the environment is to
    /// have its say; layers that were made before keep what they have.
    ///
    /// ```
    /// use tracing_genai::{Dialect, GenAi, Telemetry};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let telemetry = Telemetry::from_env()?.with_options(GenAi::from_env().with_dialect(Dialect::OpenInference));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_options(mut self, options: GenAi) -> Self {
        self.genai = options;
        self
    }

    /// The layer for your registry.
    #[must_use]
    pub fn layer(&self) -> GenAiLayer {
        let scope = InstrumentationScope::builder("tracing-genai").with_version(env!("CARGO_PKG_VERSION")).build();
        self.genai.layer(self.provider.tracer_with_scope(scope))
    }

    /// The provider, for spans of your own and to flush: it is the one that the layer's spans go through.
    #[must_use]
    pub fn tracer_provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle().stats()
    }

    /// Reads the same counts, and can be passed around.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.genai.handle()
    }

    /// Ends what is open, marked `voice.incomplete=true`, and flushes and stops the exporters, within `timeout`.
    /// Spans that open later are not exported. A second call changes nothing.
    ///
    /// It blocks the thread that it is called on, and needs no runtime.
    ///
    /// # Errors
    ///
    /// When an exporter failed or was not done in time.
    pub fn shutdown(&self, timeout: Duration) -> Result<Stats, TelemetryError> {
        let begun = Instant::now();
        let stats = self.handle().shutdown(timeout);
        match self.provider.shutdown_with_timeout(timeout.saturating_sub(begun.elapsed())) {
            Ok(()) | Err(OTelSdkError::AlreadyShutdown) => Ok(stats),
            Err(error) => Err(TelemetryError::Flush(error)),
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown(DROP_TIMEOUT) {
            static FLUSH: notice::Once = notice::Once::new();
            FLUSH.say(|| error.to_string());
        }
    }
}

/// What can go wrong in [`Telemetry`].
#[derive(Debug)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The console got no thread from the operating system.
    Console,
    /// An exporter failed or was not done in time when it was to flush.
    Flush(OTelSdkError),
}

impl fmt::Display for TelemetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Console => f.write_str("the console exporter could not start its thread"),
            Self::Flush(error) => write!(f, "spans may be lost, the exporters did not flush: {error}"),
        }
    }
}

impl std::error::Error for TelemetryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Console => None,
            Self::Flush(error) => Some(error),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The SDK falls back without a word that anybody could see: its log has no subscriber yet.
fn sampler_warning(sampler: Option<&str>, arg: Option<&str>) -> Option<String> {
    let sampler = sampler?;
    match sampler {
        "always_on" | "always_off" | "parentbased_always_on" | "parentbased_always_off" => None,
        "traceidratio" | "parentbased_traceidratio" => {
            let is_ratio =
                arg.as_ref().is_some_and(|arg| arg.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)));
            (!is_ratio).then(|| {
                format!(
                    "OTEL_TRACES_SAMPLER_ARG={:?} is no ratio from 0 to 1, every trace is sampled",
                    arg.unwrap_or_default()
                )
            })
        }
        _ => Some(format!("OTEL_TRACES_SAMPLER={sampler:?} is not known, every trace is sampled")),
    }
}

#[cfg(test)]
mod tests {
    use super::sampler_warning;

    #[test]
    fn a_sampler_that_the_sdk_does_not_have_is_named() {
        let warning = |sampler: &str, arg: Option<&str>| sampler_warning(Some(sampler), arg);
        assert_eq!(sampler_warning(None, None), None);
        assert_eq!(warning("always_off", None), None);
        assert_eq!(warning("traceidratio", Some("0.25")), None);
        for (sampler, arg) in
            [("sometimes", None), ("traceidratio", None), ("parentbased_traceidratio", Some("many")), ("xray", None)]
        {
            assert!(warning(sampler, arg).is_some(), "{sampler}");
        }
    }
}
