//! Bundles that hold little more than the program. Of what makes no sense, only a missing program is refused.

use loam_model::oci_spec::runtime::{Process, ProcessBuilder, Spec, SpecBuilder};
use loam_model::{
    Bundle, BundleInput, Bundler, CgroupPlace, ContainerId, ErrorKind, Failure, ProcessSpec, Result,
};

use super::{Step, World};

fn process(arguments: Vec<String>) -> Result<Process> {
    if arguments.is_empty() {
        return Err(Failure::new(ErrorKind::Invalid, "no program"));
    }
    let built = ProcessBuilder::default().args(arguments).cwd("/").build();
    built.map_err(|error| Failure::new(ErrorKind::Internal, "no process").caused_by(error))
}

impl Bundler for World {
    fn bundle(&self, input: &BundleInput<'_>) -> Result<Bundle> {
        self.call(Step::Bundle, |state| {
            let (spec, image) = (input.spec, input.image);
            let (mut arguments, default) = match &spec.entrypoint {
                Some(entrypoint) => (entrypoint.clone(), Vec::new()),
                None => (image.entrypoint.clone(), image.command.clone()),
            };
            arguments.extend(spec.command.clone().unwrap_or(default));
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

    fn process(&self, _container: &Spec, spec: &ProcessSpec) -> Result<Process> {
        process(spec.arguments.clone())
    }

    fn cgroup(&self, id: &ContainerId) -> Result<CgroupPlace> {
        Ok(CgroupPlace::Path(format!("/loam-{id}")))
    }

    fn remove_cgroup(&self, cgroup: &CgroupPlace) -> Result<()> {
        self.call(Step::RemoveCgroup, |state| {
            state.cgroups.remove(&cgroup.to_string());
            Ok(())
        })
    }
}
