//! What is known of a turn while it goes on?

use opentelemetry::Context;

use crate::inherited::Inherited;
use crate::kind::Kind;
use crate::semconv::{Key, Keys};
use crate::totals::Totals;
use crate::turn::{At, Call, EndReason, Exchange, Latency};
use crate::words::Words;

/// Calls that explain the latency of one turn; a turn that makes more is no longer somebody waiting.
const MAX_CALLS: usize = 1_024;

/// Moments that are kept until there is a span to show them on: as many as the SDK keeps.
pub(crate) const MAX_MOMENTS: usize = 128;

/// An exported span that others can hang on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hook {
    pub(crate) context: Context,
    /// Its id in `tracing`; a made turn has its conversation's.
    pub(crate) span: Option<u64>,
    /// The value of [`Core::told_late`](crate::core::Core::told_late) up to which it has inherited everything.
    pub(crate) told_late: u64,
}

/// One turn of a conversation.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) number: Option<i64>,
    pub(crate) body: Body,
    pub(crate) inherited: Inherited,
    pub(crate) started: At,
    pub(crate) ended: Option<At>,
    pub(crate) exchange: Exchange,
    pub(crate) calls: Vec<(u64, Call)>,
    pub(crate) totals: Totals,
    /// What was said in it, if a dialect wants to know.
    pub(crate) words: Option<Box<Words>>,
    /// What the program said.
    pub(crate) interrupted: Option<bool>,
    /// When it was cut off, by what the program said.
    pub(crate) cut: Option<At>,
    /// It was cut off, which may still be taken back: it is not exported yet.
    pub(crate) held: bool,
    /// What is to be shown on its span, if speaking events made it.
    pub(crate) moments: Vec<(Key, At)>,
    pub(crate) hung_up: bool,
    pub(crate) closed: bool,
    /// Services that are open in it, or are about to open: while there is one, an ended turn is not exported.
    pub(crate) members: usize,
}

/// What a turn is made of.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// The program's own span.
    Own(Hook),
    /// Made of speaking events.
    Made(MadeSpan),
}

/// The exported span of a turn that speaking events made.
#[derive(Debug, Clone)]
pub(crate) enum MadeSpan {
    /// It starts when the first service hangs on the turn, or when the turn ends.
    Unstarted,
    /// The thread that found it unstarted is calling the tracer.
    Starting,
    Started(Started),
    /// The tracer panicked.
    Lost,
}

/// A span that has started.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    pub(crate) hook: Hook,
    /// The attributes that it was started with.
    pub(crate) sent: Keys,
}

/// What the span of a turn that speaking events made starts with.
#[derive(Debug, Clone)]
pub(crate) struct MadeTurn {
    pub(crate) inherited: Inherited,
    pub(crate) started: At,
    pub(crate) conversation: Option<Hook>,
}

/// A turn at its end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) at: At,
    pub(crate) reason: EndReason,
    pub(crate) interrupted: bool,
    /// The user was heard to cut it off.
    pub(crate) by_user: bool,
    pub(crate) latency: Option<Latency>,
    pub(crate) totals: Totals,
    /// What is to be shown on its span, if it is one that speaking events made.
    pub(crate) moments: Vec<(Key, At)>,
    /// Its span is still to be ended, and may be still to be started, if it is one that speaking events made.
    pub(crate) made: Option<(MadeTurn, MadeSpan)>,
}

impl Turn {
    pub(crate) fn new(body: Body, started: At, inherited: Inherited) -> Self {
        Self {
            number: None,
            body,
            inherited,
            started,
            ended: None,
            exchange: Exchange::default(),
            calls: Vec::new(),
            totals: Totals::default(),
            words: None,
            interrupted: None,
            cut: None,
            held: false,
            moments: Vec::new(),
            hung_up: false,
            closed: false,
            members: 0,
        }
    }

    /// A service opens in it.
    pub(crate) fn enter(&mut self, span: u64, kind: Kind, at: At) {
        self.members += 1;
        let explains = matches!(kind, Kind::Stt | Kind::Llm | Kind::Tts | Kind::Tool | Kind::Realtime);
        if explains && !self.closed && self.calls.len() < MAX_CALLS {
            self.calls.push((span, Call { kind, started: at, first: None, ended: None }));
        }
    }

    /// A service closes in it.
    pub(crate) fn leave(&mut self, service: &Service, used: &Totals) {
        self.members = self.members.saturating_sub(1);
        self.totals.add(used);
        if let Some(call) = self.call(service.span) {
            call.ended = Some(service.ended);
        }
    }

    /// Whether this service, which closes now, was cut off with it.
    pub(crate) fn cuts_off(&self, service: &Service) -> bool {
        let cut = self.exchange.interrupted.or(self.cut).or(self.ended);
        self.is_interrupted() && cut.is_some_and(|cut| service.goes_on(cut))
    }

    /// The last interruption was none. Comes back with the open spans that may say that they were cut off.
    pub(crate) fn retract(&mut self) -> Vec<u64> {
        (self.interrupted, self.cut, self.held) = (None, None, false);
        let own = match &self.body {
            Body::Own(hook) => hook.span,
            Body::Made(_) => None,
        };
        let open = self.calls.iter().filter(|(_, call)| call.ended.is_none()).map(|(span, _)| *span);
        open.chain(own).collect()
    }

    /// It closes, or is exported: what is known of it now is what is said of it.
    pub(crate) fn close(&mut self, at: At, failed: bool, made: Option<(MadeTurn, MadeSpan)>) -> Ended {
        self.closed = true;
        let calls = std::mem::take(&mut self.calls);
        let interrupted = self.is_interrupted();
        Ended {
            at: *self.ended.get_or_insert(at.max(self.started)),
            reason: EndReason::of(interrupted, failed || self.totals.errors > 0, self.hung_up),
            interrupted,
            by_user: self.exchange.interrupted.is_some(),
            latency: self.exchange.user_stopped.and_then(|_| self.latency(&calls)),
            totals: self.totals,
            moments: std::mem::take(&mut self.moments),
            made,
        }
    }

    fn latency(&self, calls: &[(u64, Call)]) -> Option<Latency> {
        let calls: Vec<Call> = calls.iter().map(|(_, call)| *call).collect();
        Latency::of(&self.exchange, &calls)
    }

    pub(crate) fn call(&mut self, span: u64) -> Option<&mut Call> {
        self.calls.iter_mut().rev().find(|(id, _)| *id == span).map(|(_, call)| call)
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.unwrap_or(self.exchange.interrupted.is_some())
    }

    /// Its span, if speaking events made it.
    pub(crate) fn made_span(&self) -> Option<&MadeSpan> {
        match &self.body {
            Body::Made(span) => Some(span),
            Body::Own(_) => None,
        }
    }

    /// Whether speaking events made it.
    pub(crate) fn is_made(&self) -> bool {
        matches!(self.body, Body::Made(_))
    }

    /// A made turn is exported when it has ended for good and nothing is open in it any more.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_made() && self.ended.is_some() && self.members == 0 && !self.closed && !self.held
    }
}

/// A service that closes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    pub(crate) span: u64,
    pub(crate) kind: Kind,
    pub(crate) started: At,
    /// When it reported a finish reason.
    pub(crate) finished: Option<At>,
    pub(crate) ended: At,
}

impl Service {
    /// Whether it was open at this moment, and not done.
    pub(crate) fn goes_on(&self, at: At) -> bool {
        self.started <= at && self.finished.is_none_or(|finished| at < finished)
    }
}

/// The last interruption, as long as it may be taken back.
#[derive(Debug)]
pub(crate) struct Cut<T> {
    /// The turn that was cut off; `None` outside of turns.
    pub(crate) turn: Option<T>,
    /// The exchange that goes on if there was no interruption; `None` as long as only the program said that there was one.
    pub(crate) resumes: Option<Exchange>,
    /// The conversation has counted it.
    pub(crate) is_counted: bool,
    pub(crate) is_shown: bool,
}
