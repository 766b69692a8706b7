//! Attaching and detaching with the real kernel: what passes, what does not, and what is left.

mod bench;
mod claims;
mod connect;
mod lists;
mod making;
mod options;
mod reach;
mod rules;
mod strangers;
mod undo;
mod upkeep;
