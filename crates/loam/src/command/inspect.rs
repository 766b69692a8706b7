//! `loam inspect`.

use clap::{Args, ValueEnum};
use loam_engine::{ContainerDetail, Engine};
use loam_model::{ErrorKind, Failure};
use serde::Serialize;

use super::image::{ImageDetail, image_detail};
use super::{Outcome, each};
use crate::output;
use crate::wiring::Wiring;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
}

/// What was found.
#[derive(Serialize)]
#[serde(untagged)]
enum Detail {
    Container(Box<ContainerDetail>),
    Image(Box<ImageDetail>),
}

/// The flags of `inspect`.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Look only for things of this kind
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Kind>,
    /// Names or ids of containers, or of images
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Inspect {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        let mut found = Vec::new();
        let exit = each(&self.names, |name| {
            found.push(detail(engine, self.kind, name)?);
            Ok(())
        })?;
        output::print_json(&found)?;
        Ok(exit)
    }
}

fn detail(engine: &Engine, kind: Option<Kind>, name: &str) -> Result<Detail, Failure> {
    let container = || engine.inspect(name).map(|detail| Detail::Container(Box::new(detail)));
    let image = || image_detail(engine.images(), name).map(|detail| Detail::Image(Box::new(detail)));
    let is_missing = |result: &Result<Detail, Failure>| matches!(result, Err(failure) if failure.kind() == ErrorKind::NotFound);
    match kind {
        Some(Kind::Container) => container(),
        Some(Kind::Image) => image(),
        None => match container() {
            found if !is_missing(&found) => found,
            _ => match image() {
                found if !is_missing(&found) => found,
                _ => Err(neither(name)),
            },
        },
    }
}

fn neither(name: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("no container or image `{name}`"))
}
