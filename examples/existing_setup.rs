//! A program with a log, a filter and a tracer provider of its own gets its voice spans exported by one more layer:
//! `OTEL_CONSOLE_EXPORT=true cargo run --example existing_setup`.
//!
//! ```text
//! conversation
//! └─ turn
//!    ├─ speech_to_text nova-3
//!    ├─ chat gpt-4o               hangs on the turn: the `http_request` in between is not exported
//!    └─ text_to_speech sonic-2
//! ```
//!
//! The log on stderr shows the same spans as ever, `http_request` among them, and takes its level from `RUST_LOG`.

use std::error::Error;
use std::io;
use std::thread::sleep;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::field::Empty;
use tracing::{info, info_span};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let resource = Resource::builder().with_service_name("existing-setup").build();
    let mut provider = SdkTracerProvider::builder().with_resource(resource);
    if let Some(console) = tracing_genai::console_from_env() {
        provider = provider.with_span_processor(console);
    }
    let provider = provider.build();

    // The filter is the log's own: a quiet log must not cost spans.
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    tracing_subscriber::registry()
        .with(fmt::layer().with_writer(io::stderr).with_filter(filter))
        .with(tracing_genai::layer(provider.tracer("existing-setup")))
        .init();

    converse();
    provider.shutdown()?;
    Ok(())
}

fn converse() {
    let _conversation = info_span!("conversation", conversation_id = "c-7").entered();
    let _turn = info_span!("turn").entered();

    let stt = info_span!("stt", provider = "deepgram", model = "nova-3", is_final = Empty);
    stt.in_scope(|| {
        sleep(Duration::from_millis(30));
        stt.record("is_final", true);
    });
    drop(stt);

    let request = info_span!("http_request", path = "/v1/chat/completions").entered();
    let llm = info_span!("llm", provider = "openai", model = "gpt-4o", input_tokens = Empty, output_tokens = Empty);
    llm.in_scope(|| {
        sleep(Duration::from_millis(20));
        info!("first_token");
        sleep(Duration::from_millis(20));
        llm.record("input_tokens", 24);
        llm.record("output_tokens", 12);
    });
    drop(llm);
    drop(request);

    info_span!("tts", provider = "cartesia", model = "sonic-2", text = "It is noon.").in_scope(|| {
        sleep(Duration::from_millis(20));
        info!("first_audio");
    });
}
