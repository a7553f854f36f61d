//! The bytes of all hot tails together: one bound, shared fairly.
//!
//! A table may take rows while its own tail is no larger than what is left of the bound ("dynamic thresholds",
//! Choudhury and Hahne, 1998). So one table alone gets half of it, `n` full ones get an `n + 1`-th each, and a table
//! that is calm is let in while others flood.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub(crate) struct HotBytes {
    max: usize,
    total: AtomicUsize,
    /// Wakes appends that wait, of all tables.
    pub(crate) room: Notify,
}

impl HotBytes {
    pub(crate) fn new(max: usize) -> Self {
        let (total, room) = (AtomicUsize::new(0), Notify::new());
        Self { max, total, room }
    }

    /// A tail has changed its size.
    pub(crate) fn changed(&self, before: usize, after: usize) {
        if after >= before {
            self.total.fetch_add(after - before, Ordering::AcqRel);
        } else {
            self.total.fetch_sub(before - after, Ordering::AcqRel);
        }
    }

    /// Whether a table whose tail has `own` bytes may take more.
    pub(crate) fn admits(&self, own: usize) -> bool {
        let total = self.total.load(Ordering::Acquire);
        total < self.max && own <= self.max - total
    }

    /// Whether large tails are to be flushed before their time. A table that is not let in implies this: its own bytes
    /// are among the total, so `own > max - total` means `total > max / 2`.
    pub(crate) fn is_pressed(&self) -> bool {
        self.total.load(Ordering::Acquire) > self.max / 2
    }

    /// Whether tables may soon be pressed.
    pub(crate) fn is_filling(&self) -> bool {
        self.total.load(Ordering::Acquire) > self.max / 8 * 3
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn who_waits_is_helped_and_who_is_calm_is_let_in(
            tails in prop::collection::vec(0usize..400, 1..20), max in 1usize..1_000,
        ) {
            let hot = HotBytes::new(max);
            let mut own = vec![0; tails.len()];
            for (table, bytes) in tails.iter().enumerate().cycle().take(200) {
                if hot.admits(own[table]) {
                    hot.changed(own[table], own[table] + bytes);
                    own[table] += bytes;
                } else {
                    prop_assert!(hot.is_pressed());
                }
            }
            let total: usize = own.iter().sum();
            prop_assert_eq!(hot.admits(0), total < max);
            // No table takes rows when it has more than its share, so it exceeds that by one append at most.
            prop_assert!(own.iter().zip(&tails).all(|(own, bytes)| *own <= max / 2 + bytes));
            for bytes in own {
                hot.changed(bytes, 0);
            }
            prop_assert!(!hot.is_pressed() && hot.admits(max));
        }
    }
}
