//! How long is each piece of a bar?

use std::time::Duration;

use crate::report::latency::{Latency, LatencyPart};
use crate::report::{Call, Timestamp};

use super::line::{Piece, Tone};
use super::{Charset, Waterfall};

/// The time that the bars of a block are drawn over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

impl Window {
    /// The column that a time falls in.
    fn column(self, time: Timestamp, columns: usize) -> usize {
        share(time.since(self.start), self.end.since(self.start), columns)
    }
}

/// How many of so many columns a part of a whole fills, rounded to the nearest.
fn share(part: Duration, whole: Duration, columns: usize) -> usize {
    let (part, whole) = (part.min(whole).as_nanos(), whole.as_nanos());
    let columns = u128::try_from(columns).unwrap_or(0);
    (part * columns * 2 + whole).checked_div(whole * 2).and_then(|column| usize::try_from(column).ok()).unwrap_or(0)
}

/// A call's bar: where it waited for its first token or byte, and where it streamed. It is never empty.
pub(super) fn of_call(call: &Call, window: Window, look: &Waterfall) -> Vec<Piece> {
    let glyphs = look.charset.glyphs();
    let columns = look.bar_columns();
    let start = window.column(call.start, columns).min(columns.saturating_sub(1));
    let end = window.column(call.end, columns).clamp(start + 1, columns.max(start + 1));
    let first = call.first().map_or(start, |first| window.column(first.min(call.end), columns).clamp(start, end));
    // A wait is seen, and so is what came after it, as long as there is room for both.
    let has_both = end - start > 1 && call.time_to_first.is_some_and(|wait| !wait.is_zero() && wait < call.duration());
    let first = if has_both { first.clamp(start + 1, end - 1) } else { first };
    let run = |glyph: char, columns: usize, tone| Piece::glyphs(std::iter::repeat_n(glyph, columns).collect(), tone);
    vec![
        Piece::glyphs(glyphs.left.to_owned(), Tone::Faint),
        run(' ', start, Tone::Plain),
        run(glyphs.wait, first - start, Tone::Wait),
        run(glyphs.stream, end - first, if call.failure.is_some() { Tone::Alarm } else { Tone::Stream }),
        run(' ', columns - end.min(columns), Tone::Plain),
        Piece::glyphs(glyphs.right.to_owned(), Tone::Faint),
    ]
}

/// The parts of a latency, one after the other, on a scale that all turns of the conversation have.
pub(super) fn of_latency(latency: &Latency, scale: Duration, columns: usize, charset: Charset) -> Vec<Piece> {
    let glyphs = charset.glyphs();
    let mut bar = vec![Piece::glyphs(glyphs.left.to_owned(), Tone::Faint)];
    let (mut sum, mut filled) = (Duration::ZERO, 0);
    for wait in &latency.parts {
        sum = sum.saturating_add(wait.duration);
        let end = share(sum, scale, columns);
        let run = std::iter::repeat_n(charset.fill(wait.part), end - filled).collect();
        bar.push(Piece::glyphs(run, Tone::Part(place(wait.part))));
        filled = end;
    }
    if latency.parts.is_empty() {
        filled = share(latency.total.unwrap_or_default(), scale, columns);
        bar.push(Piece::glyphs(std::iter::repeat_n(glyphs.wait, filled).collect(), Tone::Wait));
    }
    bar.push(Piece::glyphs(std::iter::repeat_n(' ', columns - filled).collect(), Tone::Plain));
    bar.push(Piece::glyphs(glyphs.right.to_owned(), Tone::Faint));
    bar
}

pub(super) fn place(part: LatencyPart) -> usize {
    LatencyPart::ALL.iter().position(|other| *other == part).unwrap_or_default()
}

/// The scale for latencies up to this one: half a second, doubled until it fits.
pub(super) fn scale(longest: Duration) -> Duration {
    let mut scale = Duration::from_millis(500);
    while scale < longest && scale < Duration::from_secs(1 << 40) {
        scale *= 2;
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::{scale, share};
    use std::time::Duration;

    #[test]
    fn a_share_is_never_more_than_the_whole() {
        let ms = Duration::from_millis;
        assert_eq!(share(ms(250), ms(1000), 20), 5);
        assert_eq!(share(ms(2000), ms(1000), 20), 20);
        assert_eq!(share(ms(0), ms(0), 20), 0);
        assert_eq!(share(Duration::MAX, Duration::MAX, 20), 20);
    }

    #[test]
    fn a_scale_is_half_a_second_doubled_until_the_longest_fits() {
        for (longest, expected) in [(0, 500), (500, 500), (501, 1000), (1_200, 2000), (9_000, 16_000)] {
            assert_eq!(scale(Duration::from_millis(longest)), Duration::from_millis(expected));
        }
        assert!(scale(Duration::MAX) > Duration::from_secs(1));
    }
}
