//! How does Prometheus read the metrics?

use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::error::OTelSdkError;
use prometheus::{Registry, TextEncoder};

/// The metrics of one program, as a page in Prometheus's text format.
#[derive(Debug)]
pub(crate) struct Page(Registry);

impl Page {
    /// The page, and what fills it.
    pub(crate) fn new() -> Result<(Self, PrometheusExporter), OTelSdkError> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
        Ok((Self(registry), reader))
    }

    /// What is measured up to now.
    pub(crate) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0.gather()).unwrap_or_default()
    }
}
