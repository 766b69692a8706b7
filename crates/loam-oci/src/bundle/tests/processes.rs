//! Further processes.

use std::path::Path;

use loam_model::{IdMapping, ProcessSpec};

use super::{Case, host};
use crate::bundle::process;
use crate::capabilities::from_mask;

#[test]
fn a_further_process_follows_the_container() {
    let mut case = Case { mapping: Some(IdMapping::contiguous(100_000, 65_536)), ..Case::default() };
    case.spec.environment = vec!["A=1".to_owned()];
    let container = case.bundle().config;
    let further = ProcessSpec {
        arguments: vec!["id".to_owned()],
        environment: vec!["A=2".to_owned()],
        terminal: true,
        ..ProcessSpec::default()
    };
    let process = process::further(&container, &further, &host()).expect("a process");
    assert_eq!(process.args().clone().expect("arguments"), ["id"]);
    let environment = process.env().clone().expect("an environment");
    assert!(environment.contains(&"A=2".to_owned()) && environment.contains(&"TERM=xterm".to_owned()));
    assert_eq!((process.cwd().as_path(), process.no_new_privileges()), (Path::new("/"), Some(true)));
    assert_eq!(process.capabilities(), container.process().as_ref().expect("main").capabilities());
    let privileged = ProcessSpec { privileged: true, working_directory: Some("/tmp".to_owned()), ..further };
    let process = process::further(&container, &privileged, &host()).expect("a process");
    assert_eq!((process.cwd().as_path(), process.no_new_privileges()), (Path::new("/tmp"), None));
    let bounding = process.capabilities().clone().and_then(|sets| sets.bounding().clone());
    assert_eq!(bounding, Some(from_mask(u64::MAX)));
    assert!(process::further(&container, &ProcessSpec::default(), &host()).is_err(), "no arguments");
}
