//! Both sides in this process, each with a thread and an exporter of its own.

#[path = "../../../tests/support/mod.rs"]
mod support;

use std::io;
use std::thread::{self, JoinHandle};

use expect_test::expect;
use opentelemetry::Value;
use support::{Backend, Exported, attributes};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::{agent, gateway, subscriber};

/// Runs in a thread of its own, traced to this backend.
fn traced<F, T>(backend: Backend, run: impl FnOnce() -> F + Send + 'static) -> JoinHandle<T>
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    thread::spawn(move || {
        let _guard = tracing::subscriber::set_default(subscriber(backend.tracer()));
        runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run())
    })
}

/// What the gateway and the agent export.
fn exported() -> (Exported, Exported) {
    let (gateway, agent) = (Backend::default(), Backend::default());
    let (listening, url) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let agents = traced(agent.clone(), async || {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        listening.send(format!("http://{}", listener.local_addr()?)).unwrap();
        let until = async { stopped.await.unwrap_or_default() };
        agent::serve(listener, until).await
    });
    let gateways = traced(gateway.clone(), async || gateway::converse(&url.await.unwrap()).await);
    let said = gateways.join().unwrap().unwrap();
    stop.send(()).unwrap();
    let served: io::Result<()> = agents.join().unwrap();
    served.unwrap();
    assert_eq!(said[1], ("And on Sunday?", "From nine to five.".to_owned()));
    (gateway.exported(), agent.exported())
}

#[test]
fn two_processes_export_one_trace() {
    let (gateway, agent) = exported();
    expect![[r#"
        conversation
          turn
            speech_to_text nova-3
            text_to_speech sonic-2
          turn
            speech_to_text nova-3
            text_to_speech sonic-2
    "#]]
    .assert_eq(&gateway.to_string());
    expect![[r#"
        ? invoke_agent concierge
          chat gpt-4o
        ? invoke_agent concierge
          chat gpt-4o
    "#]]
    .assert_eq(&agent.to_string());

    let turns: Vec<_> = gateway.spans.iter().filter(|span| span.name == "turn").map(attributes).collect();
    for (number, turn) in (1..).zip(&turns) {
        assert_eq!(turn["voice.turn.number"], Value::I64(number));
    }
    let mut spans = gateway.spans;
    spans.extend(agent.spans);
    spans.sort_by_key(|span| span.start_time);
    let both = Exported { spans, stats: agent.stats };
    expect![[r#"
        conversation
          turn
            speech_to_text nova-3
            invoke_agent concierge
              chat gpt-4o
            text_to_speech sonic-2
          turn
            speech_to_text nova-3
            invoke_agent concierge
              chat gpt-4o
            text_to_speech sonic-2
    "#]]
    .assert_eq(&both.to_string());
    assert_eq!(both.traces(), 1);
}

#[test]
fn every_span_says_whose_conversation_and_which_turn_it_is_in() {
    let (gateway, agent) = exported();
    for span in gateway.spans.iter().chain(&agent.spans) {
        let attributes = attributes(span);
        assert_eq!(attributes["tenant"], "acme".into(), "{}", span.name);
        assert_eq!(attributes["gen_ai.conversation.id"], "c-42".into(), "{}", span.name);
        assert!(!attributes.contains_key("conversation.id"), "only what was chosen: {}", span.name);
    }
    let numbers = agent.spans.iter().map(|span| attributes(span).remove("voice.turn.number"));
    let expected = [1, 1, 2, 2].map(|number| Some(Value::I64(number)));
    assert_eq!(numbers.collect::<Vec<_>>(), expected);
}
