//! How do pieces of text become lines that are no wider than a terminal?

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::measure::shown;
use super::{Charset, Waterfall};

/// What a piece of text means; colour only repeats what its words say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Names of conversations and turns.
    Strong,
    /// Lines of the tree, times of day.
    Faint,
    /// Something went wrong.
    Alarm,
    /// The part of a bar in which a call waits for its first token or byte.
    Wait,
    /// The part of a bar in which it streams.
    Stream,
    /// A part of the latency, by its place in the order of parts.
    Part(usize),
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Alarm => colour(AnsiColor::Red),
            Self::Wait => colour(AnsiColor::Yellow),
            Self::Stream => colour(AnsiColor::Green),
            Self::Part(place) => colour(match place {
                0 | 2 => AnsiColor::Blue,
                1 => AnsiColor::Cyan,
                3 | 4 => AnsiColor::Magenta,
                5 => AnsiColor::Yellow,
                6 => AnsiColor::Green,
                7 => AnsiColor::BrightYellow,
                _ => AnsiColor::Red,
            }),
        }
    }
}

/// A text that may be printed, and how wide it is.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    text: String,
    pub(super) width: usize,
    tone: Tone,
}

impl Piece {
    /// Of a text that anyone may have written.
    pub(super) fn new(text: &str, tone: Tone, max: usize, charset: Charset) -> Self {
        let (text, width) = shown(text, max, charset);
        Self { text, width, tone }
    }

    /// Of glyphs that are one column wide each.
    pub(super) fn glyphs(text: String, tone: Tone) -> Self {
        Self { width: text.chars().count(), text, tone }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    fn write(&self, out: &mut String, is_coloured: bool) {
        let style = self.tone.style();
        if is_coloured && style != Style::new() {
            // Writing to a string can't fail.
            let _ = write!(out, "{style}{}{style:#}", self.text);
        } else {
            out.push_str(&self.text);
        }
    }
}

/// Text that grows by whole lines.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) look: &'a Waterfall,
    pub(super) text: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(look: &'a Waterfall) -> Self {
        Self { look, text: String::new() }
    }

    pub(super) fn piece(&self, text: &str, tone: Tone) -> Piece {
        Piece::new(text, tone, self.look.width, self.look.charset)
    }

    /// One line of pieces that are known to fit.
    pub(super) fn line(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            piece.write(&mut self.text, self.look.is_coloured);
        }
        self.end_line();
    }

    /// `head`, then as many of the items as fit, two spaces between them; the others follow on lines of their own, which begin
    /// with `margin` and with spaces up to `indent`. An item that is too wide for that begins further left, and is cut at the
    /// end of its line.
    pub(super) fn flow(&mut self, head: &[Piece], (margin, indent): (&Piece, usize), items: Vec<Piece>) {
        let limit = self.look.width;
        let mut column: usize = head.iter().map(|piece| piece.width).sum();
        for piece in head {
            piece.write(&mut self.text, self.look.is_coloured);
        }
        let mut is_first = column <= indent;
        for item in items {
            let gap = if is_first { 0 } else { 2 };
            if column + gap + item.width > limit {
                self.end_line();
                let fits = indent + item.width <= limit;
                column = if fits { indent } else { margin.width + 3 };
                margin.write(&mut self.text, self.look.is_coloured);
                self.text.extend(std::iter::repeat_n(' ', column.saturating_sub(margin.width)));
            } else {
                self.text.extend(std::iter::repeat_n(' ', gap));
                column += gap;
            }
            let item = Piece::new(&item.text, item.tone, limit.saturating_sub(column), self.look.charset);
            item.write(&mut self.text, self.look.is_coloured);
            column += item.width;
            is_first = false;
        }
        self.end_line();
    }

    /// One line of items, two spaces between them; what is too wide is cut.
    pub(super) fn row(&mut self, items: Vec<Piece>) {
        let mut room = self.look.width;
        for (place, item) in items.into_iter().enumerate() {
            let gap = if place == 0 { 0 } else { 2 };
            // So that an ellipsis fits.
            if room < gap + 4 {
                break;
            }
            room -= gap;
            let item = Piece::new(&item.text, item.tone, room, self.look.charset);
            room -= item.width.min(room);
            self.text.extend(std::iter::repeat_n(' ', gap));
            item.write(&mut self.text, self.look.is_coloured);
        }
        self.end_line();
    }

    fn end_line(&mut self) {
        let end = self.text.trim_end_matches(' ').len();
        self.text.truncate(end);
        self.text.push('\n');
    }
}
