//! Which calls of many have a line?

use crate::report::Call;

/// The first of many have a line, and as many of the slowest of the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) first: usize,
    pub(super) slowest: usize,
}

/// What a block has a line for, or how many it has none for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row<T> {
    Shown(T),
    LeftOut(usize),
}

/// The first and the slowest, in their order, and how many are left out between them.
pub(super) fn chosen<T>(all: Vec<T>, limits: Limits, duration: impl Fn(&T) -> std::time::Duration) -> Vec<Row<T>> {
    let mut slowest: Vec<usize> = (limits.first.min(all.len())..all.len()).collect();
    // A single line that says "1 left out" might as well be the one.
    if slowest.len() > limits.slowest + 1 {
        slowest.sort_by_key(|place| std::cmp::Reverse(all.get(*place).map(&duration)));
        slowest.truncate(limits.slowest);
        slowest.sort_unstable();
    }
    let mut slowest = slowest.into_iter().peekable();
    let mut rows = Vec::new();
    for (place, item) in all.into_iter().enumerate() {
        if place < limits.first || slowest.next_if_eq(&place).is_some() {
            rows.push(Row::Shown(item));
        } else if let Some(Row::LeftOut(count)) = rows.last_mut() {
            *count += 1;
        } else {
            rows.push(Row::LeftOut(1));
        }
    }
    rows
}

/// A call and where its line hangs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branch<'a> {
    pub(super) call: &'a Call,
    /// For each level above it whether another call follows there; then whether one follows it.
    pub(super) follows: Vec<bool>,
}

/// All calls, each before those below it.
pub(super) fn branches(calls: &[Call]) -> Vec<Branch<'_>> {
    let mut all = Vec::new();
    add(calls, &[], &mut all);
    all
}

/// Calls are no deeper than the model allows.
fn add<'a>(calls: &'a [Call], above: &[bool], all: &mut Vec<Branch<'a>>) {
    for (place, call) in calls.iter().enumerate() {
        let mut follows = above.to_vec();
        follows.push(place + 1 < calls.len());
        all.push(Branch { call, follows: follows.clone() });
        add(&call.calls, &follows, all);
    }
}

#[cfg(test)]
mod tests {
    use super::Row::{LeftOut, Shown};
    use super::{Limits, chosen};
    use std::time::Duration;

    #[test]
    fn of_many_the_first_and_the_slowest_have_a_line() {
        let limits = Limits { first: 2, slowest: 2 };
        let chosen = |all: &[u64]| chosen(all.to_vec(), limits, |ms| Duration::from_millis(*ms));
        assert_eq!(chosen(&[1, 2, 9, 3, 4, 8, 5]), [Shown(1), Shown(2), Shown(9), LeftOut(2), Shown(8), LeftOut(1)]);
        assert_eq!(chosen(&[1, 2, 3, 4, 5]), [1, 2, 3, 4, 5].map(Shown));
        assert_eq!(chosen(&[]), []);
        let many: Vec<u64> = (0..10_000).collect();
        assert_eq!(chosen(&many), [Shown(0), Shown(1), LeftOut(9_996), Shown(9_998), Shown(9_999)]);
    }
}
