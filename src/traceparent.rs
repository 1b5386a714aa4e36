//! Is this a W3C trace parent?

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The remote span that a `traceparent` and a `tracestate` header name, if the first is valid to the letter of
/// [W3C Trace Context](https://www.w3.org/TR/trace-context/): the SDK's own extractor takes short ids.
/// A `tracestate` that is not valid counts as absent, as the standard asks.
pub(crate) fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    let mut parts = traceparent.splitn(5, '-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = TraceId::from_hex(hex(parts.next()?, 32)?).ok()?;
    let span_id = SpanId::from_hex(hex(parts.next()?, 16)?).ok()?;
    let flags = u8::from_str_radix(hex(parts.next()?, 2)?, 16).ok()?;
    let more = parts.next().is_some();
    if version == "ff" || (version == "00" && more) {
        return None;
    }
    let state = tracestate.and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    // Flags other than "sampled" are not ours to pass on.
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    Some(SpanContext::new(trace_id, span_id, flags, true, state)).filter(SpanContext::is_valid)
}

/// `text`, if it is exactly so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<&str> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == digits && is_hex).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::parse;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_one_is_taken_whole() {
        let remote = parse(VALID, Some("vendor=1")).expect("valid");
        assert_eq!(remote.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(remote.span_id().to_string(), "00f067aa0ba902b7");
        assert!(remote.is_sampled() && remote.is_remote());
        assert_eq!(remote.trace_state().get("vendor"), Some("1"));
        assert!(!parse(&VALID.replace("-01", "-00"), None).expect("valid").is_sampled());
    }

    #[test]
    fn a_later_version_may_say_more() {
        assert!(parse(&VALID.replacen("00", "01", 1), None).is_some());
        assert!(parse(&format!("{}-more", VALID.replacen("00", "cc", 1)), None).is_some());
    }

    #[test]
    fn anything_else_is_none() {
        for invalid in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(parse(invalid, None).is_none(), "{invalid:?}");
        }
    }

    #[test]
    fn a_bad_trace_state_is_left_out() {
        let remote = parse(VALID, Some("no equals sign")).expect("valid");
        assert_eq!(remote.trace_state().header(), "");
    }
}
