//! What becomes of the exchanges and moments that a conversation hears?
//!
//! Under the conversation's lock: what is to be done outside of it is put into an [`Effects`].

use crate::conversation::{Effects, State, TurnKey};
use crate::ongoing::{Body, Cut, MAX_MOMENTS};
use crate::semconv::{INTERRUPTED, INTERRUPTION_RETRACTED, Key};
use crate::turn::{At, Exchange, Heard, Speaking};

impl State {
    /// Somebody starts or stops to speak.
    pub(crate) fn hear(&mut self, heard: Heard, effects: &mut Effects) {
        let Heard { speaking, at, .. } = heard;
        self.touch(at);
        match speaking {
            Speaking::BotStarted if !self.user_spoke => {
                self.greeted.get_or_insert(at);
            }
            Speaking::UserStarted | Speaking::UserStopped if !self.user_spoke => {
                self.user_spoke = true;
                self.greeted = self.greeted.filter(|greeted| *greeted <= at);
            }
            _ => {}
        }
        let next = match self.owner.and_then(|owner| self.turns.get_mut(&owner)) {
            Some(turn) => turn.exchange.hear(heard),
            None => self.exchange.hear(heard),
        };
        let is_bots = matches!(speaking, Speaking::BotStarted | Speaking::BotStopped);
        if let Some(next) = next {
            self.begin_exchange(next, effects);
        } else if let Some(resumes) = self.cut.as_mut().filter(|_| is_bots).and_then(|cut| cut.resumes.as_mut()) {
            // If the interruption is none, the agent is where it is now.
            let _ = resumes.hear(heard);
        }
        if self.owner.is_none() && self.exchange.has_user() {
            self.place_exchange(effects);
        }
        self.show(speaking.key(), at, effects);
    }

    /// The user speaks after the agent has spoken: a made turn ends, and the interruption before this one holds.
    fn begin_exchange(&mut self, next: Exchange, effects: &mut Effects) {
        let owner = self.owner.filter(|owner| self.turns.contains_key(owner));
        let over = owner.and_then(|owner| self.turns.get(&owner)).map_or(self.exchange, |turn| turn.exchange);
        match over.interrupted {
            None => self.confirm_cut(effects),
            Some(at) => {
                self.cut_off(owner, at, Some(over.uninterrupted()), effects);
                self.show_cut(at, effects);
            }
        }
        match owner {
            Some(owner) => self.end_exchange(owner, effects),
            None => self.show_outside(effects),
        }
        self.owner = None;
        self.exchange = next;
    }

    /// The exchange of this turn is over: a made turn is, too.
    fn end_exchange(&mut self, key: TurnKey, effects: &mut Effects) {
        let Some(turn) = self.turns.get_mut(&key).filter(|turn| turn.is_made() && !turn.closed) else { return };
        let Some(end) = turn.exchange.end() else { return };
        // One that had ended before, because the program opened a turn, does not go on in any case.
        turn.held = turn.ended.is_none() && turn.exchange.interrupted.is_some();
        turn.ended.get_or_insert(end.max(turn.started));
        if turn.is_ready() {
            effects.finish.push(key);
        } else {
            // The next turn's number comes after this one's.
            self.made(key);
        }
    }

    /// Whether this interruption is known already: one is told by the speaking events, by the program, or by both.
    fn is_cut(&self, turn: Option<TurnKey>, by_speaking: bool) -> bool {
        let same = |cut: &Cut<TurnKey>| cut.turn == turn && !(by_speaking && cut.resumes.is_some());
        self.cut.as_ref().is_some_and(same)
    }

    /// The agent is cut off in this turn, or outside of turns. With the exchange that goes on if it was not, where the
    /// speaking events say so.
    pub(crate) fn cut_off(&mut self, turn: Option<TurnKey>, at: At, resumes: Option<Exchange>, effects: &mut Effects) {
        let is_known = self.is_cut(turn, resumes.is_some());
        if let Some(cut) = self.cut.as_mut().filter(|_| is_known) {
            cut.resumes = cut.resumes.or(resumes);
        } else {
            self.confirm_cut(effects);
            let is_counted = turn.is_none();
            self.totals.interruptions += i64::from(is_counted);
            self.cut = Some(Cut { turn, resumes, is_counted, is_shown: false });
        }
        match turn {
            Some(turn) => {
                if let Some(turn) = self.turns.get_mut(&turn) {
                    turn.cut.get_or_insert(at);
                }
            }
            None => self.cut_off = Some(at),
        }
    }

    /// The last interruption can't be taken back any more.
    pub(crate) fn confirm_cut(&mut self, effects: &mut Effects) {
        let Some(key) = self.cut.take().and_then(|cut| cut.turn) else { return };
        let Some(turn) = self.turns.get_mut(&key).filter(|turn| turn.held) else { return };
        turn.held = false;
        effects.finish.extend(turn.is_ready().then_some(key));
    }

    /// The last interruption was none. What was heard since then is of the exchange that it cut off.
    pub(crate) fn retract(&mut self, at: At, effects: &mut Effects) {
        if let Some(cut) = self.cut.take() {
            self.totals.interruptions -= i64::from(cut.is_counted);
            match cut.turn {
                Some(key) => self.resume_turn(key, cut.resumes, at, effects),
                None => self.resume_outside(cut.resumes, at, effects),
            }
        }
        self.show(INTERRUPTION_RETRACTED, at, effects);
    }

    fn resume_outside(&mut self, exchange: Option<Exchange>, at: At, effects: &mut Effects) {
        self.cut_off = None;
        if let Some(exchange) = exchange.filter(|_| self.withdraw_exchange(at, effects)) {
            self.show_outside(effects);
            self.exchange = exchange;
        }
    }

    fn resume_turn(&mut self, key: TurnKey, exchange: Option<Exchange>, at: At, effects: &mut Effects) {
        let Some(turn) = self.turns.get_mut(&key) else { return };
        let is_over = turn.closed || (turn.ended.is_some() && !turn.held);
        effects.retracted = turn.retract();
        let Some(exchange) = exchange else { return };
        turn.exchange = exchange;
        if is_over || !self.withdraw_exchange(at, effects) {
            return;
        }
        if let Some(turn) = self.turns.get_mut(&key) {
            turn.ended = None;
        }
        (self.open, self.owner) = (Some(key), Some(key));
        for (moment, at) in std::mem::take(&mut self.moments) {
            self.show_on(Some(key), moment, at, effects);
        }
    }

    /// Takes back the exchange that an interruption began, but for its moments; whether that is possible. A made turn that
    /// services hang on stays, and ends.
    fn withdraw_exchange(&mut self, at: At, effects: &mut Effects) -> bool {
        let Some(owner) = self.owner else {
            self.exchange = Exchange::default();
            return true;
        };
        let Some(turn) = self.turns.get_mut(&owner).filter(|turn| turn.is_made()) else { return false };
        self.owner = None;
        if turn.number.is_some() {
            effects.finish.extend(self.end(owner, at));
            return true;
        }
        self.moments = std::mem::take(&mut turn.moments);
        self.remove(owner);
        self.open = self.open.filter(|open| *open != owner);
        true
    }

    /// Shows the last interruption, once.
    pub(crate) fn show_cut(&mut self, at: At, effects: &mut Effects) {
        if let Some(cut) = self.cut.as_mut().filter(|cut| !cut.is_shown) {
            cut.is_shown = true;
            let turn = cut.turn;
            self.show_on(turn, INTERRUPTED, at, effects);
        }
    }

    /// Shows a moment that was just heard where its exchange is: in its turn, in the one that it waits for, else in the
    /// turn that is open.
    fn show(&mut self, moment: Key, at: At, effects: &mut Effects) {
        let is_open = |turn: &TurnKey| self.turns.get(turn).is_some_and(|turn| !turn.closed);
        let owner = self.owner.filter(is_open);
        let open =
            self.open.filter(is_open).filter(|open| self.turns.get(open).is_some_and(|turn| turn.ended.is_none()));
        if self.owner.is_none() && self.exchange.has_user() {
            if self.moments.len() < MAX_MOMENTS {
                self.moments.push((moment, at));
            }
        } else {
            self.show_on(owner.or(open), moment, at, effects);
        }
    }

    /// Shows a moment in a turn, or in the conversation. A made turn keeps it until its span ends.
    pub(crate) fn show_on(&mut self, turn: Option<TurnKey>, moment: Key, at: At, effects: &mut Effects) {
        let turn = turn.and_then(|turn| self.turns.get_mut(&turn)).filter(|turn| !turn.closed);
        let hook = match turn {
            Some(turn) => match &turn.body {
                Body::Own(hook) => Some(hook),
                Body::Made(_) => {
                    if turn.moments.len() < MAX_MOMENTS {
                        turn.moments.push((moment, at));
                    }
                    None
                }
            },
            None => self.span.as_ref(),
        };
        effects.moments.extend(hook.map(|hook| (hook.context.clone(), moment, at)));
    }

    /// The moments of an exchange that no turn has taken are the conversation's.
    pub(crate) fn show_outside(&mut self, effects: &mut Effects) {
        for (moment, at) in std::mem::take(&mut self.moments) {
            self.show_on(None, moment, at, effects);
        }
    }
}
