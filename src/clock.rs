//! When was that, for the rest of the world?

use std::time::{Instant, SystemTime};

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

    pub(crate) fn instant(&self) -> Instant {
        self.instant
    }

    pub(crate) fn wall(&self, at: Instant) -> SystemTime {
        let moment = match at.checked_duration_since(self.instant) {
            Some(later) => self.wall.checked_add(later),
            None => self.wall.checked_sub(self.instant.duration_since(at)),
        };
        moment.unwrap_or(self.wall)
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
