//! What calls of one kind took.

use crate::measure::{Cost, Samples};

/// The samples of one row, and why there are no more.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) wall: Samples,
    pub(super) cpu: Samples,
    pub(super) failure: Option<String>,
}

impl Figures {
    pub(super) fn push(&mut self, cost: Cost) {
        self.wall.push(cost.wall);
        self.cpu.push(cost.cpu);
    }
}
