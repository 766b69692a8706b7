//! The engine against simulated seams: life cycle, crashes, and several commands at once.

mod bench;
mod concurrency;
mod crash;
mod life;
mod logs;
mod networks;
mod processes;
mod recovery;
mod refusals;
mod views;
mod waiting;
