//! What calls of one kind took.

use crate::measure::{Cost, Samples};

/// The samples of one row.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) wall: Samples,
    pub(super) cpu: Samples,
}

impl Figures {
    pub(super) fn push(&mut self, cost: Cost) {
        self.wall.push(cost.wall);
        self.cpu.push(cost.cpu);
    }
}
