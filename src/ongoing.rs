//! What is known of a turn while it goes on?

use opentelemetry::Context;

use crate::inherited::Inherited;
use crate::kind::Kind;
use crate::semconv::Keys;
use crate::totals::Totals;
use crate::turn::{At, Call, EndReason, Exchange, Latency};
use crate::words::Words;

/// Calls that explain the latency of one turn; a turn that makes more is no longer somebody waiting.
const MAX_CALLS: usize = 1_024;

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
    pub(crate) fn leave(&mut self, span: u64, ended: At, used: &Totals) {
        self.members = self.members.saturating_sub(1);
        self.totals.add(used);
        if let Some(call) = self.call(span) {
            call.ended = Some(ended);
        }
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

    /// A made turn is exported when it has ended and nothing is open in it any more.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_made() && self.ended.is_some() && self.members == 0 && !self.closed
    }
}
