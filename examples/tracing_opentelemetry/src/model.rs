//! The model's server, simulated: it answers, and remembers which `traceparent` it was called with.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;

#[derive(Debug, Clone, Default)]
pub(crate) struct Model(Arc<Mutex<Option<String>>>);

impl Model {
    pub(crate) fn router(&self) -> Router {
        let model = self.clone();
        Router::new().route("/", post(async move |headers: HeaderMap| model.complete(&headers)))
    }

    /// What the last call said about its caller.
    pub(crate) fn traceparent(&self) -> Option<String> {
        self.0.lock().ok()?.clone()
    }

    fn complete(&self, headers: &HeaderMap) -> &'static str {
        let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        if let Ok(mut last) = self.0.lock() {
            *last = traceparent.map(str::to_owned);
        }
        "It is noon."
    }
}
