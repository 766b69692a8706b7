//! Attaching and detaching with the real kernel: what passes, what does not, and what is left.

mod bench;
mod claims;
mod cloud_foundry;
mod conformance;
mod connect;
mod lists;
mod making;
mod networker;
mod options;
mod own_subnets;
mod publication;
mod reach;
mod rules;
mod strangers;
mod undo;
mod upkeep;
