//! Which lines are a conversation, a turn and a call?

use std::sync::Arc;
use std::time::Duration;

use crate::report::reading::Reading;
use crate::report::role::Role;
use crate::report::{Call, Conversation, FinishedSpan, Timestamp, Turn, vocabulary as names};

use super::line::{Page, Piece, Tone};
use super::rows::{Branch, Limits, Row, branches, chosen};
use super::{amount, bar, facts};

/// Of a turn's calls.
const CALLS: Limits = Limits { first: 30, slowest: 10 };
/// Of a conversation's turns.
const TURNS: Limits = Limits { first: 100, slowest: 10 };
/// How many levels are drawn; what is deeper stands at the last one.
const MAX_LEVELS: usize = 6;

/// Where a block stands in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Others may follow.
    Within,
    Last,
}

pub(super) fn heading(page: &mut Page<'_>, conversation: &Conversation) {
    let name = facts::name(page, conversation);
    page.line(&name);
}

pub(super) fn summary(page: &mut Page<'_>, conversation: &Conversation) {
    let head = facts::name(page, conversation);
    let items = facts::of_conversation(page, conversation);
    let margin = page.piece("", Tone::Plain);
    page.flow(&head, (&margin, 13), items);
}

/// A turn, or a call outside of one.
enum Item<'a> {
    Turn(&'a Turn),
    Call(&'a Call),
}

impl Item<'_> {
    fn start(&self) -> Timestamp {
        match self {
            Self::Turn(turn) => turn.start,
            Self::Call(call) => call.start,
        }
    }

    /// What makes one stand out.
    fn slowness(&self) -> Duration {
        match self {
            Self::Turn(turn) => turn.latency.total.unwrap_or_default(),
            Self::Call(call) => call.duration(),
        }
    }
}

pub(super) fn conversation(page: &mut Page<'_>, conversation: &Conversation) {
    summary(page, conversation);
    let scale = bar::scale(conversation.latency.map_or(Duration::ZERO, |latency| latency.worst));
    let mut items: Vec<Item<'_>> = conversation.turns.iter().map(Item::Turn).collect();
    items.extend(conversation.calls.iter().map(Item::Call));
    items.sort_by_key(Item::start);
    let rows = chosen(items, TURNS, Item::slowness);
    let count = rows.len();
    for (row_place, row) in rows.into_iter().enumerate() {
        let place = if row_place + 1 == count { Place::Last } else { Place::Within };
        match row {
            Row::Shown(Item::Turn(one)) => turn(page, one, scale, place),
            Row::Shown(Item::Call(one)) => call(page, one, place),
            Row::LeftOut(count) => left_out(page, place.branch(page), count, "turns and calls"),
        }
    }
}

impl Place {
    fn branch(self, page: &Page<'_>) -> Piece {
        let glyphs = page.look.charset.glyphs();
        Piece::glyphs(if self == Self::Last { glyphs.last } else { glyphs.branch }.to_owned(), Tone::Faint)
    }

    fn margin(self, page: &Page<'_>) -> Piece {
        let trunk = if self == Self::Last { "   " } else { page.look.charset.glyphs().trunk };
        Piece::glyphs(trunk.to_owned(), Tone::Faint)
    }
}

fn left_out(page: &mut Page<'_>, branch: Piece, count: usize, of_what: &str) {
    let count = amount::count(u64::try_from(count).unwrap_or(u64::MAX));
    let text = page.piece(&format!("{} {count} {of_what} left out", page.look.charset.glyphs().ellipsis), Tone::Faint);
    page.line(&[branch, text]);
}

pub(super) fn turn(page: &mut Page<'_>, turn: &Turn, scale: Duration, place: Place) {
    let (branch, margin) = (place.branch(page), place.margin(page));
    let head = vec![branch, page.piece(&format!("turn {}", turn.number), Tone::Strong), page.piece("  ", Tone::Plain)];
    let indent = head.iter().map(|piece| piece.width).sum();
    let items = facts::of_turn(page, turn);
    page.flow(&head, (&margin, indent), items);
    waits(page, turn, scale, &margin);
    content(page, turn, &margin);
    if let Some(failure) = turn.failure.as_ref().filter(|_| turn.calls.iter().all(|call| call.failures() == 0)) {
        let text = page.piece(&format!("[!] {}", facts::failed(failure)), Tone::Alarm);
        page.flow(std::slice::from_ref(&margin), (&margin, 3), vec![text]);
    }
    let all = branches(&turn.calls);
    let start = turn.calls.iter().map(|call| call.start).min().map_or(turn.start, |start| start.min(turn.start));
    let last = turn.calls.iter().map(|call| call.end).max();
    let end = last.max(turn.end).unwrap_or(start);
    calls(page, all, bar::Window { start, end }, &margin);
}

/// A call that stands for itself: its bar is drawn over its own time.
pub(super) fn call(page: &mut Page<'_>, call: &Call, place: Place) {
    let mut end = call.end;
    call.walk(&mut |below| end = end.max(below.end));
    let window = bar::Window { start: call.start, end };
    let branch = Branch { call, follows: vec![place == Place::Within] };
    let mut all = vec![branch.clone()];
    all.extend(branches(&call.calls).into_iter().map(|below| Branch {
        call: below.call,
        follows: branch.follows.iter().copied().chain(below.follows).collect(),
    }));
    let margin = Piece::glyphs(String::new(), Tone::Plain);
    calls(page, all, window, &margin);
}

/// What the user waited for, each part with its owner.
fn waits(page: &mut Page<'_>, turn: &Turn, scale: Duration, margin: &Piece) {
    if turn.latency.total.is_none() && turn.latency.parts.is_empty() {
        return;
    }
    let (charset, columns) = (page.look.charset, page.look.wait_columns());
    let mut head = vec![margin.clone(), page.piece("waits ", Tone::Plain)];
    head.extend(bar::of_latency(&turn.latency, scale, columns, charset));
    let mut items = vec![page.piece(&format!("of {}", amount::time(scale)), Tone::Faint)];
    items.extend(turn.latency.parts.iter().map(|wait| {
        let fill = charset.fill(wait.part);
        let text = format!("{fill} {} {} ({})", wait.part, amount::time(wait.duration), wait.owner);
        page.piece(&text, Tone::Part(bar::place(wait.part)))
    }));
    page.flow(&head, (margin, margin.width + 6), items);
}

/// What was said, one line each; what was not heard in brackets.
fn content(page: &mut Page<'_>, turn: &Turn, margin: &Piece) {
    let glyphs = page.look.charset;
    let room = page.look.width - margin.width - 7;
    if let Some(user) = &turn.user {
        let text = Piece::new(user, Tone::Plain, room, glyphs);
        page.line(&[margin.clone(), page.piece("user   ", Tone::Faint), text]);
    }
    let Some(agent) = &turn.agent else { return };
    // The brackets stay on the line however long the texts are.
    let unheard_room = if agent.unheard.is_empty() { 0 } else { (room / 3).max(10) };
    let heard = Piece::new(&agent.heard, Tone::Plain, room - unheard_room, glyphs);
    let mut line = vec![margin.clone(), page.piece("agent  ", Tone::Faint), heard];
    if unheard_room > 0 {
        let left = room - line.last().map_or(0, |heard| heard.width);
        let open = if agent.heard.is_empty() { "[" } else { " [" };
        line.push(page.piece(open, Tone::Alarm));
        line.push(Piece::new(&agent.unheard, Tone::Faint, left.saturating_sub(3), glyphs));
        line.push(page.piece("]", Tone::Alarm));
    }
    page.line(&line);
}

fn calls(page: &mut Page<'_>, all: Vec<Branch<'_>>, window: bar::Window, margin: &Piece) {
    let rows = chosen(all, CALLS, |branch| branch.call.duration());
    let names: Vec<usize> = rows.iter().filter_map(|row| name_width(page, row, margin)).collect();
    let column = names.into_iter().max().unwrap_or_default().min(page.look.name_columns());
    let last = rows.len().saturating_sub(1);
    for (place, row) in rows.into_iter().enumerate() {
        match row {
            Row::Shown(branch) => row_of(page, &branch, window, (margin, column)),
            Row::LeftOut(count) => {
                let glyphs = page.look.charset.glyphs();
                let branch = if place == last { glyphs.last } else { glyphs.branch };
                let branch = Piece::glyphs(format!("{}{branch}", margin.as_str()), Tone::Faint);
                left_out(page, branch, count, "calls");
            }
        }
    }
}

fn name_width(page: &Page<'_>, row: &Row<Branch<'_>>, margin: &Piece) -> Option<usize> {
    let Row::Shown(branch) = row else { return None };
    let levels = branch.follows.len().min(MAX_LEVELS);
    Some(margin.width + levels * 3 + page.piece(&branch.call.label(), Tone::Plain).width)
}

/// One call: its name, how long it took, its bar, and what else there is to say.
fn row_of(page: &mut Page<'_>, branch: &Branch<'_>, window: bar::Window, (margin, column): (&Piece, usize)) {
    let (charset, call) = (page.look.charset, branch.call);
    let glyphs = charset.glyphs();
    let levels = branch.follows.iter().take(MAX_LEVELS);
    let trunks: String = levels.clone().map(|follows| if *follows { glyphs.trunk } else { "   " }).collect();
    let above = branch.follows.len().min(MAX_LEVELS).saturating_sub(1);
    let stem: String = levels.take(above).map(|follows| if *follows { glyphs.trunk } else { "   " }).collect();
    let end = if branch.follows.last().copied().unwrap_or_default() { glyphs.branch } else { glyphs.last };
    let stem = Piece::glyphs(format!("{}{stem}{end}", margin.as_str()), Tone::Faint);
    // What is written below it hangs on its own calls.
    let trunks = Piece::glyphs(format!("{}{trunks}", margin.as_str()), Tone::Faint);

    let tone = if call.failure.is_some() { Tone::Alarm } else { Tone::Plain };
    let name = Piece::new(&call.label(), tone, column.saturating_sub(stem.width).max(8), charset);
    let pad = column.saturating_sub(stem.width + name.width);
    let mut head =
        vec![stem, name, page.piece(&format!("{:pad$} {:>8} ", "", amount::time(call.duration())), Tone::Plain)];
    head.extend(bar::of_call(call, window, page.look));
    head.push(page.piece(" ", Tone::Plain));
    let width: usize = head.iter().map(|piece| piece.width).sum();
    let items = facts::of_call(page, call);
    let indent = if page.look.width.saturating_sub(width) >= 24 { width } else { trunks.width + 3 };
    page.flow(&head, (&trunks, indent), items);
}

pub(super) fn span(page: &mut Page<'_>, span: &FinishedSpan, turn_start: Option<Timestamp>) {
    let kind = match Role::of(span) {
        Role::Call(kind) => kind,
        _ => None,
    };
    let reading = Reading::of(&[span]);
    let (turn, id) = (reading.count(names::TURN_NUMBER), reading.text(names::CONVERSATION_ID));
    let Some(call) = Call::of(vec![Arc::new(span.clone())], kind, Vec::new()) else { return };
    let mut items = vec![page.piece(&call.label(), Tone::Strong)];
    items.extend(
        turn_start.map(|start| page.piece(&format!("+{}", amount::time(call.start.since(start))), Tone::Plain)),
    );
    items.push(page.piece(&amount::time(call.duration()), Tone::Plain));
    items.extend(facts::of_call(page, &call));
    let said_of_turn = |text: String| page.piece(&text, Tone::Faint);
    items.extend(turn.map(|number| said_of_turn(format!("turn {number}"))));
    items.extend(id.map(|id| said_of_turn(id.to_owned())));
    page.row(items);
}
