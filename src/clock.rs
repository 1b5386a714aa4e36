//! When was that, for the rest of the world?

use std::time::{Duration, Instant, SystemTime};

/// One moment on both clocks. Every time in a trace comes from its root's anchor and the monotonic clock: two readings
/// of the wall clock would let a parent end nanoseconds before its child.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anchor {
    instant: Instant,
    wall: SystemTime,
}

impl Anchor {
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// Nanoseconds from the anchor to this moment, negative for one that was earlier.
    #[inline]
    pub(crate) fn at(&self, at: Instant) -> i64 {
        let nanos = |distance: Duration| i64::try_from(distance.as_nanos()).unwrap_or(i64::MAX);
        match at.checked_duration_since(self.instant) {
            Some(later) => nanos(later),
            None => -nanos(self.instant.duration_since(at)),
        }
    }

    /// The moment that is so many nanoseconds from the anchor.
    #[inline]
    pub(crate) fn wall_at(&self, at: i64) -> SystemTime {
        let distance = Duration::from_nanos(at.unsigned_abs());
        let moment = if at < 0 { self.wall.checked_sub(distance) } else { self.wall.checked_add(distance) };
        moment.unwrap_or(self.wall)
    }

    /// The same, on the monotonic clock.
    pub(crate) fn instant_at(&self, at: i64) -> Instant {
        let distance = Duration::from_nanos(at.unsigned_abs());
        let moment = if at < 0 { self.instant.checked_sub(distance) } else { self.instant.checked_add(distance) };
        moment.unwrap_or(self.instant)
    }

    #[inline]
    pub(crate) fn wall(&self, at: Instant) -> SystemTime {
        self.wall_at(self.at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::Anchor;
    use std::time::Duration;

    #[test]
    fn distances_are_the_same_on_both_clocks() {
        let anchor = Anchor::now();
        for distance in [0, 1, 999_999_999].map(Duration::from_nanos) {
            assert_eq!(anchor.wall(anchor.instant + distance), anchor.wall + distance);
            let earlier = anchor.instant.checked_sub(distance).expect("the machine has run for a second");
            assert_eq!(anchor.wall(earlier), anchor.wall - distance);
        }
    }
}
