//! Limits, read back from the kernel and felt.

mod devices;
mod kernel;
mod memory;
mod processes;
mod processor;
mod refusals;
mod statistics;
