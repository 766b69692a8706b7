//! What is measured, a module each. They run in a worker; what they give is put into the report by [`crate::bench`].

pub(crate) mod data_path;
pub(crate) mod growth;
pub(crate) mod kills;
pub(crate) mod latency;
pub(crate) mod leftovers;
pub(crate) mod parallel;
pub(crate) mod promises;
pub(crate) mod rules;
