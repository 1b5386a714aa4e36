//! Who does what a recording says: a thread that keeps the time, the conversation and the turns, and a task for each
//! span of a service.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{Instrument, Span};

use crate::Complaint;
use crate::recording::{Action, Fields, Recording, What};
use crate::spans;

/// How a service's span finds its parent.
#[derive(Clone, Copy)]
pub(crate) enum Parents {
    Explicit,
    Entered,
    Ids,
}

/// Does everything at its time, on the thread that it is called on, which must be a runtime's. Gives back the tasks of
/// the services, which are about to end.
pub(crate) fn play(recording: Recording, parents: Parents) -> Result<JoinSet<()>, Complaint> {
    let begun = Instant::now();
    let mut player = Player { parents, open: HashMap::new(), conversation_id: None, tasks: JoinSet::new() };
    for Action { at, span, what } in recording.actions {
        sleep(at.saturating_sub(begun.elapsed()));
        player.act(span, what).ok_or_else(|| Complaint("a service has gone".into()))?;
    }
    Ok(player.tasks)
}

struct Player {
    parents: Parents,
    open: HashMap<String, Open>,
    conversation_id: Option<serde_json::Value>,
    tasks: JoinSet<()>,
}

/// A span that is open, and the service that works in it, if one does.
struct Open {
    span: Span,
    service: Option<mpsc::UnboundedSender<Step>>,
}

/// Something that a service is to do. It says when it is done, so that nothing overtakes it at any speed.
struct Step {
    what: What,
    done: oneshot::Sender<()>,
}

impl Player {
    fn act(&mut self, name: String, what: What) -> Option<()> {
        match what {
            What::Open { name: kind, parent, fields } => {
                let parent = parent.and_then(|parent| Some(self.open.get(&parent)?.span.clone()));
                let open = if matches!(kind.as_str(), "conversation" | "turn") {
                    self.conversation_id = fields.get("conversation_id").cloned().or(self.conversation_id.take());
                    Open { span: spans::open(&kind, parent.as_ref(), &fields), service: None }
                } else {
                    self.start_service(kind, parent, fields)?
                };
                self.open.insert(name, open);
            }
            What::Close => {
                // Its handle here goes first: the service's is the last one, and closes the span.
                let Open { span, service } = self.open.remove(&name)?;
                drop(span);
                if let Some(service) = service {
                    tell(&service, What::Close)?;
                }
            }
            what => match self.open.get(&name)? {
                Open { service: Some(service), .. } => tell(service, what)?,
                Open { service: None, span } => do_in(span, &what),
            },
        }
        Some(())
    }

    fn start_service(&mut self, kind: String, parent: Option<Span>, mut fields: Fields) -> Option<Open> {
        let (sender, steps) = mpsc::unbounded_channel();
        let (opened, span) = oneshot::channel();
        match self.parents {
            Parents::Explicit => self.tasks.spawn(service(kind, parent, fields, opened, steps)),
            Parents::Entered => {
                let entered = parent.unwrap_or_else(Span::none);
                self.tasks.spawn(service(kind, None, fields, opened, steps).instrument(entered))
            }
            Parents::Ids => {
                fields.extend(self.conversation_id.clone().map(|id| ("conversation_id".into(), id)));
                self.tasks.spawn(service(kind, None, fields, opened, steps))
            }
        };
        Some(Open { span: span.blocking_recv().ok()?, service: Some(sender) })
    }
}

fn tell(service: &mpsc::UnboundedSender<Step>, what: What) -> Option<()> {
    let (done, wait) = oneshot::channel();
    service.send(Step { what, done }).ok()?;
    wait.blocking_recv().ok()
}

/// One call of a service: its span lives here.
async fn service(
    kind: String,
    parent: Option<Span>,
    fields: Fields,
    opened: oneshot::Sender<Span>,
    mut steps: mpsc::UnboundedReceiver<Step>,
) {
    let span = spans::open(&kind, parent.as_ref(), &fields);
    drop(parent);
    // It fails when the player is gone, and then no step follows either.
    let _ = opened.send(span.clone());
    while let Some(Step { what, done }) = steps.recv().await {
        do_in(&span, &what);
        if matches!(what, What::Close) {
            drop(span);
            let _ = done.send(());
            return;
        }
        let _ = done.send(());
    }
}

fn do_in(span: &Span, what: &What) {
    match what {
        What::Record(fields) => spans::record(span, fields),
        What::Event { event, ms_ago } => spans::event(span, event, *ms_ago),
        What::Open { .. } | What::Close => {}
    }
}
