//! Does the environment ask for the console?
//!
//! The doors warn when it does and nothing prints; they need no exporter for that.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::notice;

const VARIABLE: &str = "OTEL_CONSOLE_EXPORT";

/// Whether the variable asks for the console, which is then somebody's to install.
pub(crate) fn is_on() -> bool {
    ASKED_FOR.store(true, Ordering::Relaxed);
    match Choice::from_env() {
        Choice::Off => false,
        Choice::Stdout => true,
        Choice::Unknown(value) => {
            warn_unknown(&value);
            false
        }
    }
}

/// Says once that the variable is on and nothing prints: the provider was made without [`console_from_env`](crate::console_from_env).
pub(crate) fn warn_if_missing() {
    static MISSING: notice::Once = notice::Once::new();
    if ASKED_FOR.load(Ordering::Relaxed) {
        return;
    }
    match Choice::from_env() {
        Choice::Off => {}
        Choice::Stdout => MISSING.say(|| {
            format!(
                "{VARIABLE} is on, but no console is installed: add tracing_genai::console_from_env() to your \
                 tracer provider, or use tracing_genai::Telemetry::from_env()"
            )
        }),
        Choice::Unknown(value) => warn_unknown(&value),
    }
}

/// Whether anybody has called [`console_from_env`](crate::console_from_env).
static ASKED_FOR: AtomicBool = AtomicBool::new(false);

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Off,
    Stdout,
    Unknown(String),
}

impl Choice {
    fn from_env() -> Self {
        env::var_os(VARIABLE).map_or(Self::Off, |value| Self::of(&value.to_string_lossy()))
    }

    fn of(value: &str) -> Self {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "false" | "0" | "no" | "off" => Self::Off,
            "true" | "1" | "yes" | "on" | "stdout" => Self::Stdout,
            _ => Self::Unknown(value.to_owned()),
        }
    }
}

fn warn_unknown(value: &str) {
    static UNKNOWN: notice::Once = notice::Once::new();
    UNKNOWN.say(|| {
        format!("{VARIABLE}={value:?} is not known, nothing is printed: use true, 1, yes, on or stdout, or false, 0, no or off")
    });
}

#[cfg(test)]
mod tests {
    use super::Choice;

    #[test]
    fn the_variable_is_read_in_any_case() {
        for on in ["true", "TRUE", "1", "yes", "On", "stdout", " true "] {
            assert_eq!(Choice::of(on), Choice::Stdout, "{on:?}");
        }
        for off in ["", "false", "0", "No", "OFF"] {
            assert_eq!(Choice::of(off), Choice::Off, "{off:?}");
        }
        for unknown in ["maybe", "tree", "2", "stderr"] {
            assert_eq!(Choice::of(unknown), Choice::Unknown(unknown.into()), "{unknown:?}");
        }
    }
}
