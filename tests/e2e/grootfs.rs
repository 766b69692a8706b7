//! The GrootFS door: what GrootFS's own tests ask of a replacement, a file for each subject.

mod clean;
mod contents;
mod create;
mod garden;
mod limits;
mod registry;
mod store;
