//! What does a conversation know of its turns?
//!
//! One lock a conversation: none waits for another. Nothing is called from in here; what has to be done outside, the
//! start and the end of a turn that the speaking events made, comes back as a value.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::clock::Anchor;
use crate::inherited::{Inherited, with_id, with_turn_number};
use crate::kind::Kind;
use crate::ongoing::{Body, Cut, Ended, Hook, MadeSpan, MadeTurn, Service, Turn};
use crate::outside::discard;
use crate::semconv::Key;
use crate::totals::Totals;
use crate::turn::{At, Exchange, Heard};
use crate::words::Words;

/// Closed turns that a late service may still name by their number.
const RECENT_TURNS: usize = 8;

/// Room for turns that is kept though it is empty.
const SPARE_TURNS: usize = 16;

/// A turn of one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TurnKey(u64);

/// One conversation, with a span or without.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// The clock of its turns.
    pub(crate) anchor: Anchor,
    state: Mutex<State>,
}

/// What is known of it, under its lock. [`speech`](crate::speech) has the rules of its exchanges.
#[derive(Debug, Default)]
pub(crate) struct State {
    id: Option<Arc<str>>,
    pub(crate) span: Option<Hook>,
    inherited: Inherited,
    /// The program opens its own turns.
    pub(crate) own_turns: bool,
    /// The last turn's number.
    number: i64,
    next_key: u64,
    /// The turn that was opened last.
    pub(crate) open: Option<TurnKey>,
    /// Boxed, because most conversations have few turns and a table has room for more.
    pub(crate) turns: FxHashMap<TurnKey, Box<Turn>>,
    /// The turn of each number that was opened last.
    numbers: FxHashMap<i64, TurnKey>,
    recent: VecDeque<TurnKey>,
    /// The exchange that is going on, while it is no turn's.
    pub(crate) exchange: Exchange,
    /// The turn that the exchange that is going on belongs to.
    pub(crate) owner: Option<TurnKey>,
    /// Moments of the exchange that is going on, while it waits for a turn.
    pub(crate) moments: Vec<(Key, At)>,
    pub(crate) cut: Option<Cut<TurnKey>>,
    /// When the agent was cut off outside of turns.
    pub(crate) cut_off: Option<At>,
    /// The user was heard, or transcribed.
    pub(crate) user_spoke: bool,
    /// When the agent first spoke, before the user did.
    pub(crate) greeted: Option<At>,
    /// When something happened in it last.
    touched: At,
    /// It has ended: nothing that is heard of it makes a turn any more.
    closed: bool,
    pub(crate) totals: Totals,
    /// What was said in its turns, if a dialect wants to know.
    words: Option<Box<Words>>,
    /// The turn before.
    last: Option<SpanContext>,
}

/// What a service finds in a conversation.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) turn: Option<TurnKey>,
    pub(crate) inherited: Inherited,
    pub(crate) on: On,
}

/// What it hangs on.
#[derive(Debug)]
pub(crate) enum On {
    /// A span that is there.
    Hook(Hook),
    /// A made turn, whose span the caller is to start.
    Made(MadeTurn),
    /// A made turn, whose span another thread is starting; and the conversation's span.
    Starting(Option<Hook>),
    /// Nothing: the conversation has no span, and no turn is open.
    Nothing,
}

/// What is to be done outside of the lock after a moment.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Made turns that can be exported now.
    pub(crate) finish: Vec<TurnKey>,
    /// Moments to show, each on its span.
    pub(crate) moments: Vec<(Context, Key, At)>,
    /// Open spans that were not cut off after all.
    pub(crate) retracted: Vec<u64>,
}

/// How a service ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    /// Its turn had been interrupted while it was open.
    pub(crate) interrupted: bool,
    /// It was the last one in a made turn that had ended: that can be exported now.
    pub(crate) finish: Option<TurnKey>,
}

impl Conversation {
    pub(crate) fn new(anchor: Anchor, id: Option<Arc<str>>, inherited: Inherited) -> Arc<Self> {
        let state = State { id, inherited, ..State::default() };
        Arc::new(Self { anchor, state: Mutex::new(state) })
    }

    pub(crate) fn id(&self) -> Option<Arc<str>> {
        self.state.lock().id.clone()
    }

    /// Gives it the id that it lacks; whether it lacked one.
    pub(crate) fn name(&self, id: &Arc<str>) -> bool {
        let mut state = self.state.lock();
        let lacked = state.id.is_none();
        if lacked {
            state.id = Some(Arc::clone(id));
            state.inherited = with_id(&state.inherited, id);
        }
        lacked
    }

    /// Its span's id in `tracing`.
    pub(crate) fn span(&self) -> Option<u64> {
        self.state.lock().span.as_ref()?.span
    }

    /// Gives it its span.
    pub(crate) fn set_span(&self, hook: Hook) {
        let displaced = self.state.lock().span.replace(hook);
        discard(displaced);
    }

    /// Whether it has a span of its own.
    pub(crate) fn has_span(&self) -> bool {
        self.state.lock().span.is_some()
    }

    /// What its spans take over now.
    pub(crate) fn set_inherited(&self, inherited: Inherited) {
        self.state.lock().inherited = inherited;
    }

    /// What the services of a turn take over now.
    pub(crate) fn set_turn_inherited(&self, turn: TurnKey, inherited: Inherited) {
        if let Some(turn) = self.state.lock().turns.get_mut(&turn) {
            turn.inherited = inherited;
        }
    }

    /// What a span of this turn takes over now, nearest first.
    pub(crate) fn inherited(&self, turn: Option<TurnKey>) -> [Inherited; 2] {
        let state = self.state.lock();
        let turn = turn.and_then(|turn| state.turns.get(&turn)).map(|turn| turn.inherited.clone());
        [turn.unwrap_or_default(), state.inherited.clone()]
    }

    /// The conversation itself, for a turn.
    pub(crate) fn itself(&self) -> Joined {
        self.state.lock().itself()
    }

    /// The turn before.
    pub(crate) fn last_turn(&self) -> Option<SpanContext> {
        self.state.lock().last.clone()
    }

    /// What a service joins: the turn of this number, open or among the last few; else the open turn; else the
    /// conversation. The turn is held until [`Self::let_go`].
    pub(crate) fn join(&self, number: Option<i64>) -> Joined {
        let mut state = self.state.lock();
        let numbered = number.and_then(|number| state.numbers.get(&number).copied());
        let open = state.open.filter(|open| state.turns.get(open).is_some_and(|turn| turn.ended.is_none()));
        match numbered.or(open) {
            Some(key) => state.hang_on(key),
            None => state.itself(),
        }
    }

    /// The span of a made turn has started, or is lost.
    pub(crate) fn set_made_span(&self, turn: TurnKey, span: MadeSpan) {
        let last = match &span {
            MadeSpan::Started(started) => Some(started.hook.context.span().span_context().clone()),
            MadeSpan::Unstarted | MadeSpan::Starting | MadeSpan::Lost => None,
        };
        let mut state = self.state.lock();
        state.last = last.or(state.last.take());
        if let Some(turn) = state.turns.get_mut(&turn) {
            turn.body = Body::Made(span);
        }
    }

    /// The span of a made turn.
    pub(crate) fn made_span(&self, turn: TurnKey) -> Option<MadeSpan> {
        self.state.lock().turns.get(&turn)?.made_span().cloned()
    }

    /// The number that the next turn has when it is given this one, or none.
    pub(crate) fn next_number(&self, given: Option<i64>) -> i64 {
        let mut state = self.state.lock();
        state.number = given.unwrap_or(state.number.saturating_add(1));
        state.number
    }

    /// The program opens a turn. The turn before ends now, if it had not; a made turn that nothing hangs on yet was
    /// only the announcement of this one. Comes back with a made turn that can be exported now.
    pub(crate) fn open_turn(
        &self,
        hook: Hook,
        number: Option<i64>,
        started: At,
        inherited: Inherited,
    ) -> (TurnKey, Effects) {
        let mut state = self.state.lock();
        state.own_turns = true;
        state.touch(started);
        let gone = state.drop_announcement();
        state.drop_unanswered();
        let mut effects = Effects::default();
        let holds = |cut: &Cut<TurnKey>| cut.turn.and_then(|turn| state.turns.get(&turn)).is_some_and(|turn| turn.held);
        if state.cut.as_ref().is_some_and(holds) {
            state.confirm_cut(&mut effects);
        }
        effects.finish.extend(state.open.and_then(|open| state.end(open, started)));
        let last = hook.context.span().span_context().clone();
        let key = state.insert(Turn { number, ..Turn::new(Body::Own(hook), started, inherited) });
        if let Some(number) = number {
            state.numbers.insert(number, key);
        }
        state.last = Some(last);
        if state.owner.is_none() && state.exchange.has_user() {
            state.give_exchange(key, &mut effects);
        }
        drop(state);
        discard(gone);
        (key, effects)
    }

    /// Somebody starts or stops to speak.
    pub(crate) fn hear(&self, heard: Heard) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if !state.closed {
            state.hear(heard, &mut effects);
        }
        effects
    }

    /// The program says that a turn was cut off, or a service in it, or one outside of turns.
    pub(crate) fn cut_off(&self, turn: Option<TurnKey>, kind: Kind, at: At) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if let (Some(turn), Kind::Turn) = (turn.and_then(|turn| state.turns.get_mut(&turn)), kind) {
            turn.interrupted = Some(true);
        }
        state.cut_off(turn, at, None, &mut effects);
        state.show_cut(at, &mut effects);
        effects
    }

    /// The last interruption was none: what was cut off goes on.
    pub(crate) fn retract(&self, at: At) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if !state.closed {
            state.touch(at);
            state.retract(at, &mut effects);
        }
        effects
    }

    /// When the agent first spoke, if the user had not spoken before.
    pub(crate) fn greeted(&self) -> Option<At> {
        self.state.lock().greeted
    }

    /// A service opens in this turn.
    pub(crate) fn enter(&self, turn: TurnKey, span: u64, kind: Kind, at: At) {
        let mut state = self.state.lock();
        state.touch(at);
        if let Some(turn) = state.turns.get_mut(&turn) {
            turn.enter(span, kind, at);
        }
    }

    /// A service's first token or byte.
    pub(crate) fn first_chunk(&self, turn: TurnKey, span: u64, at: At) {
        let mut state = self.state.lock();
        if let Some(call) = state.turns.get_mut(&turn).and_then(|turn| turn.call(span)) {
            call.first.get_or_insert(at);
        }
    }

    /// A service closes in this turn, or in none.
    pub(crate) fn leave(&self, turn: Option<TurnKey>, service: &Service, used: &Totals) -> Left {
        let mut state = self.state.lock();
        state.touch(service.ended);
        state.totals.add(used);
        state.user_spoke |= service.kind == Kind::Stt;
        let interrupted = state.cut_off.is_some_and(|cut| service.goes_on(cut));
        let Some(key) = turn else { return Left { interrupted, finish: None } };
        let left = Left { interrupted: false, finish: None };
        let Some(turn) = state.turns.get_mut(&key) else { return left };
        turn.leave(service, used);
        let interrupted = turn.cuts_off(service);
        let (finish, gone) = state.settle(key);
        drop(state);
        discard(gone);
        Left { interrupted, finish }
    }

    /// A service that joined this turn has opened, or could not. Comes back with a made turn that can be exported now.
    pub(crate) fn let_go(&self, key: TurnKey) -> Option<TurnKey> {
        let mut state = self.state.lock();
        if let Some(turn) = state.turns.get_mut(&key) {
            turn.members = turn.members.saturating_sub(1);
        }
        let (finish, gone) = state.settle(key);
        drop(state);
        discard(gone);
        finish
    }

    /// The end of a turn is said, or its interruption, before it closes.
    pub(crate) fn say(&self, key: TurnKey, interrupted: Option<bool>, ended: bool, at: At) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let Some(turn) = state.turns.get_mut(&key) else { return effects };
        turn.interrupted = interrupted.or(turn.interrupted);
        if ended {
            turn.ended.get_or_insert(at.max(turn.started));
        }
        if interrupted == Some(true) && turn.cut.is_none() {
            state.cut_off(Some(key), at, None, &mut effects);
        }
        effects
    }

    /// A turn closes: the program's own, or a made one that is to be exported.
    pub(crate) fn close_turn(&self, key: TurnKey, at: At, failed: bool) -> Option<Ended> {
        let mut state = self.state.lock();
        state.touch(at);
        let made = state.made_end(key);
        let ended = state.turns.get_mut(&key).filter(|turn| !turn.closed)?.close(at, failed, made);
        if state.owner == Some(key) {
            state.drop_unanswered();
        }
        if let Some(cut) = state.cut.as_mut().filter(|cut| cut.turn == Some(key)) {
            cut.is_counted |= ended.interrupted;
        }
        state.totals.turns += 1;
        state.totals.interruptions += i64::from(ended.interrupted);
        state.open = state.open.filter(|open| *open != key);
        state.recent.push_back(key);
        let gone = state.forget_old();
        drop(state);
        discard(gone);
        Some(ended)
    }

    /// The conversation closes: what is open in it was hung up on. Comes back with the made turn among it, if that can be
    /// exported now.
    pub(crate) fn close(&self, at: At) -> (Effects, Option<TurnKey>) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        state.closed = true;
        state.confirm_cut(&mut effects);
        state.show_outside(&mut effects);
        for turn in state.turns.values_mut().filter(|turn| turn.ended.is_none() && !turn.closed) {
            turn.hung_up = turn.exchange.end().is_none();
        }
        let made = state.open.filter(|open| state.turns.get(open).is_some_and(|turn| turn.is_made()));
        let made = made.and_then(|made| state.end(made, at));
        (effects, made)
    }

    /// Turns that speaking events made and whose exported spans are open.
    pub(crate) fn unfinished(&self) -> u64 {
        let is_unfinished = |turn: &Turn| turn.is_made() && turn.number.is_some() && !turn.closed;
        self.state.lock().turns.values().filter(|turn| is_unfinished(turn)).count() as u64
    }

    /// What its services used so far, and the turns that began, those that are still open included.
    pub(crate) fn totals(&self) -> Totals {
        let state = self.state.lock();
        let mut totals = state.totals;
        for turn in state.turns.values().filter(|turn| !turn.closed) {
            totals.turns += 1;
            totals.interruptions += i64::from(turn.is_interrupted());
        }
        totals
    }

    /// A service said something in this turn, or in none.
    pub(crate) fn add_words(&self, turn: Option<TurnKey>, words: Words, max_len: usize) {
        let mut state = self.state.lock();
        match turn {
            Some(turn) => {
                if let Some(turn) = state.turns.get_mut(&turn) {
                    turn.words.get_or_insert_default().add(words, max_len);
                }
            }
            None => state.words.get_or_insert_default().follow(&words),
        }
    }

    /// A turn ends in which this was said, besides what its services said. Comes back with all of it.
    pub(crate) fn end_words(&self, turn: Option<TurnKey>, words: Words) -> Words {
        let mut state = self.state.lock();
        let inside = turn.and_then(|turn| state.turns.get_mut(&turn)?.words.take());
        let words = words.or(inside.map(|inside| *inside).unwrap_or_default());
        state.words.get_or_insert_default().follow(&words);
        words
    }

    /// What was said in its turns so far.
    pub(crate) fn words(&self) -> Words {
        self.state.lock().words.as_deref().cloned().unwrap_or_default()
    }

    /// Since when nothing happens in it, if it could be forgotten: it has no span, and nothing of the program's is open.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        let is_open = |turn: &Turn| turn.members > 0 || !(turn.closed || turn.is_made());
        let is_idle = state.span.is_none() && !state.turns.values().any(|turn| is_open(turn));
        is_idle.then(|| self.anchor.instant_at(state.touched))
    }
}

/// The contexts of its span and of its turns may hold the last references to values of the program's.
impl Drop for Conversation {
    fn drop(&mut self) {
        discard(Some(mem::take(self.state.get_mut())));
    }
}

impl State {
    /// Something happened in it. A late event tells of an earlier moment than what was heard before.
    pub(crate) fn touch(&mut self, at: At) {
        self.touched = self.touched.max(at);
    }

    fn itself(&self) -> Joined {
        let on = self.span.clone().map_or(On::Nothing, On::Hook);
        Joined { turn: None, inherited: self.inherited.clone(), on }
    }

    fn insert(&mut self, turn: Turn) -> TurnKey {
        let key = TurnKey(self.next_key);
        self.next_key += 1;
        self.turns.insert(key, Box::new(turn));
        self.open = Some(key);
        key
    }

    /// Takes a turn out of the table, which shrinks when most of its turns have gone.
    pub(crate) fn remove(&mut self, key: TurnKey) -> Option<Box<Turn>> {
        let turn = self.turns.remove(&key)?;
        if let Some(number) = turn.number.filter(|number| self.numbers.get(number) == Some(&key)) {
            self.numbers.remove(&number);
        }
        if self.turns.len().max(SPARE_TURNS) < self.turns.capacity() / 4 {
            self.turns.shrink_to(self.turns.len() * 2);
            self.numbers.shrink_to(self.turns.len() * 2);
        }
        Some(turn)
    }

    /// One member less in this turn: whether it can be exported, and itself if it was kept for that member alone.
    fn settle(&mut self, key: TurnKey) -> (Option<TurnKey>, Option<Box<Turn>>) {
        let Some(turn) = self.turns.get(&key) else { return (None, None) };
        let finish = turn.is_ready().then_some(key);
        let is_gone = turn.closed && turn.members == 0 && !self.recent.contains(&key);
        (finish, if is_gone { self.remove(key) } else { None })
    }

    /// A service hangs on this turn: from now on it is a turn, with a number.
    fn hang_on(&mut self, key: TurnKey) -> Joined {
        let made = self.made(key);
        let conversation = || self.span.clone();
        let Some(turn) = self.turns.get_mut(&key) else { return self.itself() };
        turn.members += 1;
        let on = match &mut turn.body {
            Body::Own(hook) => On::Hook(hook.clone()),
            Body::Made(MadeSpan::Started(started)) => On::Hook(started.hook.clone()),
            Body::Made(MadeSpan::Starting) => On::Starting(conversation()),
            Body::Made(MadeSpan::Lost) => conversation().map_or(On::Nothing, On::Hook),
            Body::Made(span @ MadeSpan::Unstarted) => {
                *span = MadeSpan::Starting;
                made.map_or(On::Nothing, On::Made)
            }
        };
        Joined { turn: Some(key), inherited: turn.inherited.clone(), on }
    }

    /// What the span of a made turn starts with, the number that it gets at last included.
    pub(crate) fn made(&mut self, key: TurnKey) -> Option<MadeTurn> {
        let turn = self.turns.get_mut(&key).filter(|turn| turn.is_made())?;
        let number = *turn.number.get_or_insert_with(|| {
            self.number = self.number.saturating_add(1);
            self.numbers.insert(self.number, key);
            self.number
        });
        turn.inherited = with_turn_number(&self.inherited, number);
        Some(MadeTurn { inherited: turn.inherited.clone(), started: turn.started, conversation: self.span.clone() })
    }

    /// What the span of a made turn ends with, and itself, which is the caller's to start if nobody has.
    fn made_end(&mut self, key: TurnKey) -> Option<(MadeTurn, MadeSpan)> {
        let made = self.made(key)?;
        let Body::Made(span) = &mut self.turns.get_mut(&key)?.body else { return None };
        let ending = span.clone();
        if matches!(ending, MadeSpan::Unstarted) {
            *span = MadeSpan::Starting;
        }
        Some((made, ending))
    }

    /// A made turn that nobody hangs on and the program's own turn follows was no turn.
    fn drop_announcement(&mut self) -> Option<Box<Turn>> {
        let open = self.open?;
        self.turns.get(&open).filter(|turn| turn.is_made() && turn.number.is_none())?;
        let mut turn = self.remove(open)?;
        self.open = None;
        if self.owner == Some(open) {
            self.owner = None;
            self.exchange = mem::take(&mut turn.exchange);
            self.moments = mem::take(&mut turn.moments);
        }
        Some(turn)
    }

    /// Nobody waits any more for an answer in a turn that has closed, or that another one follows: what is heard next is
    /// the next one's.
    fn drop_unanswered(&mut self) {
        let is_unanswered = |turn: &Turn| turn.exchange.bot_started.is_none();
        if self.owner.is_some_and(|owner| self.turns.get(&owner).is_none_or(|turn| is_unanswered(turn))) {
            self.owner = None;
        }
    }

    /// Ends a turn that is still going on. Comes back with it if it is a made one that can be exported now.
    pub(crate) fn end(&mut self, key: TurnKey, at: At) -> Option<TurnKey> {
        let turn = self.turns.get_mut(&key)?;
        if turn.ended.is_none() {
            let ended = turn.exchange.end().filter(|_| turn.is_made());
            turn.ended = Some(ended.unwrap_or(at).max(turn.started));
        }
        turn.is_ready().then_some(key)
    }

    /// Gives the exchange that is nobody's to the turn that waits for one, or makes a turn of it.
    pub(crate) fn place_exchange(&mut self, effects: &mut Effects) {
        if self.own_turns {
            let waits = |turn: &Turn| turn.ended.is_none() && turn.exchange == Exchange::default();
            if let Some(open) = self.open.filter(|open| self.turns.get(open).is_some_and(|turn| waits(turn))) {
                self.give_exchange(open, effects);
            }
        } else if let Some(started) = self.exchange.user_started {
            let made = Turn::new(Body::Made(MadeSpan::Unstarted), started, self.inherited.clone());
            let key = self.insert(made);
            self.give_exchange(key, effects);
        }
    }

    pub(crate) fn give_exchange(&mut self, key: TurnKey, effects: &mut Effects) {
        let Some(turn) = self.turns.get_mut(&key) else { return };
        turn.exchange = mem::take(&mut self.exchange);
        self.owner = Some(key);
        for (moment, at) in mem::take(&mut self.moments) {
            self.show_on(Some(key), moment, at, effects);
        }
    }

    /// Keeps the last few closed turns, and those that services are still open in. What is forgotten is to be dropped
    /// outside of the lock: its context may hold values of the program's.
    fn forget_old(&mut self) -> Option<Box<Turn>> {
        if self.recent.len() <= RECENT_TURNS {
            return None;
        }
        let oldest = self.recent.pop_front()?;
        let turn = self.turns.get(&oldest)?;
        let is_in_use = turn.members > 0;
        if self.owner == Some(oldest) {
            self.owner = None;
            self.exchange = turn.exchange.without_user();
        }
        if is_in_use { None } else { self.remove(oldest) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Conversation, Hook, TurnKey};
    use crate::clock::Anchor;
    use crate::inherited::Inherited;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn with_turns(turns: i64) -> (Arc<Conversation>, Vec<TurnKey>) {
        let conversation = Conversation::new(Anchor::now(), None, Inherited::default());
        let open = |number| conversation.open_turn(Hook::default(), Some(number), number, Inherited::default()).0;
        let turns = (1..=turns).map(open).collect();
        (conversation, turns)
    }

    /// The shortest of some times that it takes to find turns by their number.
    fn find(turns: i64) -> Duration {
        let (conversation, _) = with_turns(turns);
        let find = || {
            let start = Instant::now();
            for number in 1..=10 {
                assert!(conversation.join(Some(turns * number / 10)).turn.is_some());
            }
            start.elapsed()
        };
        (0..20).map(|_| find()).min().unwrap()
    }

    #[test]
    fn a_turn_is_found_by_its_number_among_many_as_among_few() {
        let (few, many) = (find(10), find(10_000));
        assert!(many < few * 50, "{few:?} {many:?}");
    }

    #[test]
    fn the_last_turn_of_a_number_is_found_by_it_and_none_that_is_forgotten() {
        let (conversation, first) = with_turns(1);
        let again = conversation.open_turn(Hook::default(), Some(1), 2, Inherited::default()).0;
        assert_eq!(conversation.join(Some(1)).turn, Some(again));
        for turn in [again, first[0]] {
            conversation.let_go(turn);
            conversation.close_turn(turn, 3, false);
        }
        for number in 2..=20 {
            let other = conversation.open_turn(Hook::default(), Some(number), number, Inherited::default()).0;
            conversation.close_turn(other, number, false);
        }
        assert_eq!(conversation.join(Some(1)).turn, None);
    }

    #[test]
    fn closed_turns_leave_no_room_behind() {
        let (conversation, turns) = with_turns(10_000);
        for turn in turns {
            conversation.close_turn(turn, 10_001, false);
        }
        let state = conversation.state.lock();
        assert!(state.turns.capacity() < 100, "{}", state.turns.capacity());
        assert!(state.numbers.capacity() < 100, "{}", state.numbers.capacity());
        drop(state);
    }
}
