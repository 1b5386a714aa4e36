//! Programs that send to a receiver.
#![allow(dead_code, reason = "each test crate uses its part")]

use std::process::{Command, Output};

use crate::receiver::{Receiver, Transport};
use crate::support::console::{child, stderr, stdout};

pub(crate) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
pub(crate) const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

/// The protocols of this build, and what they need.
pub(crate) const PROTOCOLS: &[(&str, Transport)] = &[
    ("http/protobuf", Transport::Http),
    #[cfg(feature = "otlp-json")]
    ("http/json", Transport::Http),
    #[cfg(feature = "otlp-grpc")]
    ("grpc", Transport::Grpc),
];

/// This test program again, sending to this receiver.
pub(crate) fn sending(test: &str, receiver: &Receiver, protocol: &str) -> Command {
    let mut child = child(test);
    child.env(ENDPOINT, receiver.endpoint()).env(PROTOCOL, protocol);
    child
}

#[track_caller]
pub(crate) fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
}
