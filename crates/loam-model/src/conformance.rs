//! What every implementation of a seam must pass, fakes included: one suite for each seam that has one, as functions that
//! take what is tested and fail as tests do. Behind the feature `conformance`, for tests only.

pub mod network;
