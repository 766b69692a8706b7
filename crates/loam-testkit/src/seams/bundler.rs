//! Bundles that hold little more than the program.

use loam_model::oci_spec::runtime::{Process, ProcessBuilder, Spec, SpecBuilder};
use loam_model::{Bundle, BundleInput, Bundler, ErrorKind, Failure, ProcessSpec, Result};

use super::{Step, World};

fn process(arguments: Vec<String>) -> Result<Process> {
    let built = ProcessBuilder::default().args(arguments).cwd("/").build();
    built.map_err(|error| Failure::new(ErrorKind::Internal, "no process").caused_by(error))
}

impl Bundler for World {
    fn bundle(&self, input: &BundleInput<'_>) -> Result<Bundle> {
        self.call(Step::Bundle, |state| {
            let mut arguments = input.image.entrypoint.clone();
            arguments.extend(input.spec.command.clone().unwrap_or_else(|| input.image.command.clone()));
            let config = SpecBuilder::default().process(process(arguments)?).build();
            Ok(Bundle {
                config: config
                    .map_err(|error| Failure::new(ErrorKind::Internal, "no bundle").caused_by(error))?,
                user: input.spec.user.clone(),
                preparations: Vec::new(),
                warnings: state.warnings.clone(),
            })
        })
    }

    fn process(&self, _container: &Spec, wish: &ProcessSpec) -> Result<Process> {
        process(wish.arguments.clone())
    }

    fn remove_cgroup(&self, cgroup: &str) -> Result<()> {
        self.call(Step::RemoveCgroup, |state| {
            state.cgroups.remove(cgroup);
            Ok(())
        })
    }
}
