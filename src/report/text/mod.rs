//! How does a conversation look in a terminal?
//!
//! Words and `[!]` carry the meaning, colour only repeats it. In a call's bar `░` waits for the first token or byte and `█`
//! streams; bars have the turn's scale, waits one for all turns of the conversation. Nothing that a span says can do more
//! than be read: names and texts are escaped, measured and cut.

mod amount;
mod bar;
mod block;
mod facts;
mod line;
mod measure;
mod rows;

use std::fmt;
use std::time::Duration;

use super::latency::LatencyPart;
use super::{Call, Conversation, FinishedSpan, Timestamp, Turn};
use line::Page;

/// Writes conversations, turns and calls as text: what [`Display`](fmt::Display) of them does, with a choice of width,
/// characters and colour.
///
/// Each text ends with a line break and has no line that is wider than the width. Of many turns or calls it has the first and
/// the slowest, and says how many it left out. The default is 100 columns, box-drawing characters, no colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waterfall {
    width: usize,
    charset: Charset,
    is_coloured: bool,
}

impl Default for Waterfall {
    fn default() -> Self {
        Self { width: 100, charset: Charset::Unicode, is_coloured: false }
    }
}

impl Waterfall {
    /// 100 columns, box-drawing characters, no colour.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many columns a line may have: at least 60, at most 400. The default is 100.
    #[must_use]
    pub fn with_width(self, width: usize) -> Self {
        Self { width: width.clamp(60, 400), ..self }
    }

    /// Nothing but ASCII, for terminals and files that have no other characters; others in names and texts are escaped. The
    /// default is `false`.
    #[must_use]
    pub fn with_ascii(self, is_ascii: bool) -> Self {
        Self { charset: if is_ascii { Charset::Ascii } else { Charset::Unicode }, ..self }
    }

    /// Colour, as ANSI escape sequences; each is ended on its line. The default is `false`.
    #[must_use]
    pub fn with_colour(self, is_coloured: bool) -> Self {
        Self { is_coloured, ..self }
    }

    /// The conversation's line, and below it its turns and what was done outside of them.
    #[must_use]
    pub fn conversation(&self, conversation: &Conversation) -> String {
        let mut page = Page::new(self);
        block::conversation(&mut page, conversation);
        page.text
    }

    /// Which conversation the blocks after it are of, while it goes on: its id and its agent.
    #[must_use]
    pub fn heading(&self, conversation: &Conversation) -> String {
        let mut page = Page::new(self);
        block::heading(&mut page, conversation);
        page.text
    }

    /// The conversation's own line: how long, how many turns, latencies, what it used. A long one is several lines.
    #[must_use]
    pub fn summary(&self, conversation: &Conversation) -> String {
        let mut page = Page::new(self);
        block::summary(&mut page, conversation);
        page.text
    }

    /// A turn and its calls. Its wait is drawn on this scale ([`scale`](Self::scale)).
    #[must_use]
    pub fn turn(&self, turn: &Turn, scale: Duration) -> String {
        let mut page = Page::new(self);
        block::turn(&mut page, turn, scale, block::Place::Within);
        page.text
    }

    /// A call outside of turns, with those below it.
    #[must_use]
    pub fn call(&self, call: &Call) -> String {
        let mut page = Page::new(self);
        block::call(&mut page, call, block::Place::Within);
        page.text
    }

    /// One line on one span, of whatever sort: its name, how long after its turn's start it began, where that is known, what
    /// it took and used, its turn and its conversation.
    #[must_use]
    pub fn span(&self, span: &FinishedSpan, turn_start: Option<Timestamp>) -> String {
        let mut page = Page::new(self);
        block::span(&mut page, span, turn_start);
        page.text
    }

    /// The scale that latencies up to `longest` are drawn on: half a second, doubled until it fits.
    #[must_use]
    pub fn scale(longest: Duration) -> Duration {
        bar::scale(longest)
    }

    /// How wide a call's bar is.
    fn bar_columns(&self) -> usize {
        (self.width.saturating_sub(50) / 3).clamp(8, 40)
    }

    /// How wide the bar of a wait is.
    fn wait_columns(&self) -> usize {
        (self.width / 2).clamp(20, 60)
    }

    /// How wide the column of names may be.
    fn name_columns(&self) -> usize {
        self.width * 2 / 5
    }
}

/// As [`Waterfall::new`] writes it.
impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Waterfall::new().conversation(self))
    }
}

/// As [`Waterfall::new`] writes it, on a scale of its own.
impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.latency.total.unwrap_or_default();
        f.write_str(&Waterfall::new().turn(self, bar::scale(longest)))
    }
}

/// As [`Waterfall::new`] writes it.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Waterfall::new().call(self))
    }
}

/// The characters that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charset {
    Unicode,
    Ascii,
}

/// What lines and bars are made of.
struct Glyphs {
    branch: &'static str,
    last: &'static str,
    trunk: &'static str,
    left: &'static str,
    right: &'static str,
    wait: char,
    stream: char,
    arrow: &'static str,
    dot: &'static str,
    ellipsis: &'static str,
}

impl Charset {
    fn glyphs(self) -> &'static Glyphs {
        match self {
            Self::Unicode => &Glyphs {
                branch: "├─ ",
                last: "└─ ",
                trunk: "│  ",
                left: "▕",
                right: "▏",
                wait: '░',
                stream: '█',
                arrow: "→",
                dot: " · ",
                ellipsis: "…",
            },
            Self::Ascii => &Glyphs {
                branch: "|- ",
                last: "`- ",
                trunk: "|  ",
                left: "|",
                right: "|",
                wait: '.',
                stream: '#',
                arrow: "->",
                dot: " - ",
                ellipsis: "...",
            },
        }
    }

    /// What a part of the latency is drawn with; in ASCII a letter of its name.
    fn fill(self, part: LatencyPart) -> char {
        use LatencyPart::{
            Aggregation, Endpointing, Llm, Playout, Synthesis, Tool, ToolCall, Transcription, TurnDetection,
        };
        let (block, letter) = match part {
            Endpointing => ('░', 'e'),
            Transcription => ('▒', 't'),
            TurnDetection => ('▁', 'd'),
            Llm => ('▓', 'm'),
            ToolCall => ('▚', 'c'),
            Tool => ('▞', 'x'),
            Aggregation => ('▄', 'a'),
            Synthesis => ('█', 's'),
            Playout => ('▀', 'p'),
        };
        if self == Self::Unicode { block } else { letter }
    }
}
