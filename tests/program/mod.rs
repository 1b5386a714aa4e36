//! Programs: what they do, as it is generated, and how it is run for real.

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;
use proptest::prelude::*;
use tracing::field::Empty;
use tracing::span::EnteredSpan;
use tracing::{Dispatch, Span, info, info_span};
use tracing_genai::GenAi;
use tracing_subscriber::prelude::*;

use crate::support::Backend;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Kind {
    Conversation,
    Turn,
    Llm,
    Tool,
    Agent,
    Workflow,
    Step,
    Realtime,
    Retrieval,
    Embeddings,
    #[default]
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speaking {
    UserStarted,
    UserStopped,
    BotStarted,
    BotStopped,
    FalseInterruption,
}

/// Where a speaking event is heard: in the span of this label, or by nothing but the id.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    In(usize),
    By(String),
}

/// What a program does. A span is known by its label, the number of the step that opened it.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Open {
        label: usize,
        kind: Kind,
        thread: usize,
        parent: Option<usize>,
        root: bool,
        id: Option<String>,
        number: Option<i64>,
    },
    Close(usize),
    Enter {
        thread: usize,
        label: usize,
    },
    Exit {
        thread: usize,
    },
    End(usize),
    Hear {
        place: Place,
        speaking: Speaking,
    },
}

/// An action whose spans are still to be chosen among those that are held when it is done.
#[derive(Debug, Clone)]
enum Draft {
    Open { kind: Kind, thread: usize, parent: Option<usize>, root: bool, id: Option<usize>, number: Option<i64> },
    Close(usize),
    Enter(usize, usize),
    Exit(usize),
    End(usize),
    HearIn(usize, Speaking),
    HearBy(usize, Speaking),
}

/// Random opens, closes, enters, moves between three threads, records and events, in up to five conversations.
pub(crate) fn programs() -> impl Strategy<Value = Vec<Action>> {
    let kinds = prop_oneof![
        2 => Just(Kind::Conversation), 4 => Just(Kind::Turn), 4 => Just(Kind::Llm), 2 => Just(Kind::Tool),
        1 => Just(Kind::Agent), 1 => Just(Kind::Workflow), 1 => Just(Kind::Step), 1 => Just(Kind::Realtime),
        1 => Just(Kind::Retrieval), 1 => Just(Kind::Embeddings), 1 => Just(Kind::Other)
    ];
    let speaking = || {
        use Speaking::{BotStarted, BotStopped, FalseInterruption, UserStarted, UserStopped};
        prop_oneof![Just(UserStarted), Just(UserStopped), Just(BotStarted), Just(BotStopped), Just(FalseInterruption)]
    };
    let open = (kinds, 0..3_usize, prop::option::of(0..8_usize), any::<bool>(), prop::option::of(0..5_usize))
        .prop_flat_map(|open| (Just(open), prop::option::weighted(0.2, 1..4_i64)))
        .prop_map(|((kind, thread, parent, root, id), number)| {
            let number = number.filter(|_| kind != Kind::Conversation);
            Draft::Open { kind, thread, parent, root: root && parent.is_none(), id, number }
        });
    let draft = prop_oneof![
        8 => open,
        4 => (0..8_usize).prop_map(Draft::Close),
        2 => (0..3_usize, 0..8_usize).prop_map(|(thread, span)| Draft::Enter(thread, span)),
        2 => (0..3_usize).prop_map(Draft::Exit),
        1 => (0..8_usize).prop_map(Draft::End),
        2 => (0..8_usize, speaking()).prop_map(|(span, speaking)| Draft::HearIn(span, speaking)),
        2 => (0..5_usize, speaking()).prop_map(|(id, speaking)| Draft::HearBy(id, speaking)),
    ];
    prop::collection::vec(draft, 1..40).prop_map(|drafts| actions(&drafts))
}

/// Chooses the spans, and closes at the end what was left open.
fn actions(drafts: &[Draft]) -> Vec<Action> {
    let id = |id: usize| format!("c-{id}");
    let (mut held, mut entered, mut actions) = (Vec::new(), [const { Vec::new() }; 3], Vec::new());
    for (label, draft) in drafts.iter().cloned().enumerate() {
        let nth = |n: usize| held.get(n.checked_rem(held.len())?).copied();
        let action = match draft {
            Draft::Open { kind, thread, parent, root, id: named, number } => {
                let parent = parent.and_then(nth);
                held.push(label);
                Some(Action::Open { label, kind, thread, parent, root, id: named.map(id), number })
            }
            Draft::Close(n) => nth(n).inspect(|label| held.retain(|other| other != label)).map(Action::Close),
            // The registry does not make a span current that is entered again.
            Draft::Enter(thread, n) => nth(n).filter(|label| !entered[thread].contains(label)).map(|label| {
                entered[thread].push(label);
                Action::Enter { thread, label }
            }),
            Draft::Exit(thread) => entered[thread].pop().map(|_| Action::Exit { thread }),
            Draft::End(n) => nth(n).map(Action::End),
            Draft::HearIn(n, speaking) => nth(n).map(|label| Action::Hear { place: Place::In(label), speaking }),
            Draft::HearBy(n, speaking) => Some(Action::Hear { place: Place::By(id(n)), speaking }),
        };
        actions.extend(action);
    }
    for (thread, stack) in entered.iter().enumerate() {
        actions.extend(stack.iter().map(|_| Action::Exit { thread }));
    }
    actions.extend(held.into_iter().rev().map(Action::Close));
    actions
}

/// Threads with spans of their own entered.
pub(crate) struct Threads(Vec<mpsc::Sender<(Job, mpsc::Sender<()>)>>);

type Job = Box<dyn FnOnce(&mut Vec<EnteredSpan>) + Send>;

impl Threads {
    pub(crate) fn start() -> Self {
        let thread = |_| {
            let (jobs, todo) = mpsc::channel::<(Job, mpsc::Sender<()>)>();
            thread::spawn(move || {
                let mut entered = Vec::new();
                for (job, done) in todo {
                    job(&mut entered);
                    done.send(()).unwrap();
                }
            });
            jobs
        };
        Self((0..3).map(thread).collect())
    }

    fn run(&self, thread: usize, dispatch: &Dispatch, job: impl FnOnce(&mut Vec<EnteredSpan>) + Send + 'static) {
        let dispatch = dispatch.clone();
        let (done, wait) = mpsc::channel();
        let job: Job = Box::new(move |entered| tracing::dispatcher::with_default(&dispatch, || job(entered)));
        self.0[thread].send((job, done)).unwrap();
        wait.recv().unwrap();
    }

    /// Runs a program, and gives what it exports.
    pub(crate) fn export(&self, actions: &[Action]) -> Vec<SpanData> {
        let backend = Backend::default();
        let genai = GenAi::new();
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(genai.layer(backend.tracer())));
        let mut spans: HashMap<usize, Span> = HashMap::new();
        for action in actions.iter().cloned() {
            match action {
                Action::Open { label, thread, parent, .. } => {
                    let parent = parent.map(|parent| spans[&parent].clone());
                    let (sender, opened) = mpsc::channel();
                    self.run(thread, &dispatch, move |_| sender.send(open(&action, parent)).unwrap());
                    spans.insert(label, opened.recv().unwrap());
                }
                // The registry closes the parent with the thread's own dispatcher.
                Action::Close(label) => {
                    let span = spans.remove(&label);
                    self.run(label % 3, &dispatch, move |_| drop(span));
                }
                Action::Enter { thread, label } => {
                    let span = spans[&label].clone();
                    self.run(thread, &dispatch, move |entered| entered.push(span.entered()));
                }
                Action::Exit { thread } => self.run(thread, &dispatch, |entered| drop(entered.pop())),
                Action::End(label) => drop(spans[&label].record("end_reason", "completed")),
                Action::Hear { place, speaking } => {
                    let span = if let Place::In(label) = &place { Some(spans[label].clone()) } else { None };
                    self.run(0, &dispatch, move |_| hear(&place, span, speaking));
                }
            }
        }
        genai.handle().shutdown(Duration::from_secs(5));
        backend.exported().spans
    }
}

fn open(action: &Action, parent: Option<Span>) -> Span {
    let Action::Open { label, kind, root, id, number, .. } = action else { return Span::none() };
    macro_rules! open {
        ($name:literal) => {
            open!($name, label = *label, conversation_id = id.as_deref(), turn_number = *number, end_reason = Empty)
        };
        ($name:literal, $($field:tt)+) => {
            match parent {
                Some(parent) => info_span!(parent: &parent, $name, $($field)+),
                None if *root => info_span!(parent: None, $name, $($field)+),
                None => info_span!($name, $($field)+),
            }
        };
    }
    match kind {
        Kind::Conversation => open!("conversation"),
        Kind::Turn => open!("turn"),
        Kind::Llm => open!("llm"),
        Kind::Tool => open!("tool"),
        Kind::Agent => open!("agent"),
        Kind::Workflow => open!("workflow"),
        Kind::Step => open!("step"),
        Kind::Realtime => open!("realtime"),
        Kind::Retrieval => open!("retrieval"),
        Kind::Embeddings => open!("embeddings"),
        Kind::Other => open!("not_ours"),
    }
}

fn hear(place: &Place, span: Option<Span>, speaking: Speaking) {
    let event = match speaking {
        Speaking::UserStarted => "user_started_speaking",
        Speaking::UserStopped => "user_stopped_speaking",
        Speaking::BotStarted => "bot_started_speaking",
        Speaking::BotStopped => "bot_stopped_speaking",
        Speaking::FalseInterruption => "false_interruption",
    };
    match (place, span) {
        (Place::By(id), _) => info!(parent: None, conversation_id = id.as_str(), "{event}"),
        (Place::In(_), Some(span)) => info!(parent: &span, "{event}"),
        (Place::In(_), None) => {}
    }
}
