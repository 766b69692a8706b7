//! Attaching and detaching with the real kernel: what passes, what does not, and what is left.

mod bench;
mod claims;
mod lists;
mod reach;
mod rules;
mod undo;
