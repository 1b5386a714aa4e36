//! How does Prometheus read the metrics?

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

/// The metrics of one program, as a page in Prometheus's text format.
#[derive(Debug)]
pub(crate) struct Page {
    registry: Registry,
    pub(crate) meters: SdkMeterProvider,
}

impl Page {
    pub(crate) fn new(resource: Resource) -> Result<Self, OTelSdkError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
        let meters = SdkMeterProvider::builder().with_resource(resource).with_reader(exporter).build();
        Ok(Self { registry, meters })
    }

    /// What is measured up to now.
    pub(crate) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
