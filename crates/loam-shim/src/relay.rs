//! Streams between a container's processes and attached clients.
//!
//! Nothing here waits: the loop polls what [`Output`] and [`Input`] are interested in and lets them work when it is
//! ready. What a client or a process does not take yet is kept (at most one piece of [`PIECE`] bytes each), and
//! nothing more is read meanwhile: so memory is bounded, and the one that writes is held back by its pipe.

mod descriptor;
mod input;
mod output;

pub(crate) use descriptor::Pollable;
pub(crate) use input::Input;
pub(crate) use output::{Output, STALL_LIMIT};

/// How much is read at once: what a pipe holds.
pub(crate) const PIECE: usize = 64 * 1024;

/// Room for one piece, there only while output flows.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    pub(crate) fn get(&mut self) -> &mut [u8] {
        self.0.resize(PIECE, 0);
        &mut self.0
    }

    pub(crate) fn is_held(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn release(&mut self) {
        self.0 = Vec::new();
    }
}
