//! `loam inspect`.

use clap::{Args, ValueEnum};
use loam_engine::Engine;
use loam_model::{ErrorKind, Failure};
use serde_json::Value;

use super::image::image_detail;
use super::{Outcome, each};
use crate::output;
use crate::wiring::Wiring;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
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

fn detail(engine: &Engine, kind: Option<Kind>, name: &str) -> Result<Value, Failure> {
    let container = || engine.inspect(name).and_then(|detail| to_value(&detail));
    match kind {
        Some(Kind::Container) => container(),
        Some(Kind::Image) => image_detail(engine.images(), name),
        None => match container() {
            Err(failure) if failure.kind() == ErrorKind::NotFound => {
                match image_detail(engine.images(), name) {
                    Err(image) if image.kind() == ErrorKind::NotFound => Err(neither(name)),
                    result => result,
                }
            }
            result => result,
        },
    }
}

fn neither(name: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("no container or image `{name}`"))
}

/// A value as JSON.
pub(super) fn to_value(value: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| {
        Failure::new(ErrorKind::Internal, "the answer can't be written as JSON").caused_by(error)
    })
}
