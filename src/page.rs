//! How does Prometheus read the metrics?

use std::sync::OnceLock;

use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::error::OTelSdkError;
use prometheus::{Registry, TextEncoder};

/// The metrics of one program, as a page in Prometheus's text format.
#[derive(Debug)]
pub(crate) struct Page {
    registry: Registry,
    last: OnceLock<String>,
}

impl Page {
    /// The page, and what fills it.
    pub(crate) fn new() -> Result<(Self, PrometheusExporter), OTelSdkError> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
        Ok((Self { registry, last: OnceLock::new() }, reader))
    }

    /// What is measured up to now.
    pub(crate) fn text(&self) -> String {
        self.last.get().cloned().unwrap_or_else(|| self.gathered())
    }

    /// Stays as it is: its reader is about to stop.
    pub(crate) fn keep(&self) {
        self.last.get_or_init(|| self.gathered());
    }

    fn gathered(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
