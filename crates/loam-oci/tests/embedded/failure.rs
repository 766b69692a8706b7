//! Whatever step fails, nothing is left behind.

use loam_model::Runtime;
use loam_oci::Step;
use serde_json::json;

use crate::Test;
use crate::bundle::Bundle;

pub(crate) const TESTS: &[Test] = &[
    ("failure::every_step_of_a_creation", every_step_of_a_creation),
    ("failure::every_step_of_an_exec", every_step_of_an_exec),
    ("failure::the_process_is_killed", the_process_is_killed),
];

fn bundle(with_user: bool) -> Bundle {
    let hook = json!([{"path": "/bin/true"}]);
    let bundle = Bundle::new(&["sh", "-c", "echo ready; sleep 1000"])
        .set("/hooks", json!({"createRuntime": hook}))
        .mount(json!({"destination": "/etc", "source": "/etc", "options": ["rbind", "ro"]}));
    if with_user { bundle.with_user_namespace() } else { bundle }
}

fn every_step_of_a_creation() {
    for with_user in [false, true] {
        for step in Step::ALL {
            let bundle = bundle(with_user);
            let before = descriptors();
            let failure = match bundle.create_failing(Some(step)) {
                Err(failure) => failure,
                Ok(mut container) => {
                    let failure =
                        container.runtime.start().expect_err("the step fails the start at the latest");
                    container.delete();
                    failure
                }
            };
            assert!(failure.to_string().contains(&format!("`{step:?}`")), "{step:?}: {failure:?}");
            bundle.check_gone();
            assert_eq!(descriptors(), before, "{step:?}: descriptors are left open");
            // And it works as soon as nothing is in the way.
            let mut container = bundle.create().unwrap();
            container.start();
            container.process.wait_for_line("ready");
            container.delete();
        }
    }
}

fn every_step_of_an_exec() {
    for with_user in [false, true] {
        let bundle = bundle(with_user);
        let mut container = bundle.create().unwrap();
        container.start();
        container.process.wait_for_line("ready");
        let before = descriptors();
        for step in
            [Step::CgroupJoin, Step::Session, Step::Terminal, Step::Identity, Step::Lookup, Step::Start]
        {
            container.runtime.fail_at(Some(step));
            let failure = container.exec(|process| process["args"] = json!(["true"])).unwrap_err();
            assert!(failure.to_string().contains(&format!("`{step:?}`")), "{step:?}: {failure:?}");
            container.runtime.fail_at(None);
            assert_eq!(container.exec(|process| process["args"] = json!(["true"])).unwrap().code, 0);
        }
        assert_eq!(descriptors(), before, "descriptors are left open");
        container.delete();
    }
}

fn the_process_is_killed() {
    // By the one who is told of the namespaces, at once.
    let bundle = bundle(true);
    let spec = serde_json::from_value(bundle.config.clone()).unwrap();
    let mut runtime = loam_oci::EmbeddedRuntime::new(bundle.path().join("cache"));
    let id = "0".repeat(64).parse().unwrap();
    let null = || std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let stdio = loam_model::ProcessStdio::Descriptors { stdin: null(), stdout: null(), stderr: null() };
    let request = loam_model::CreateRequest { id: &id, bundle: bundle.path(), spec: &spec, stdio };
    let kill = &mut |pid| {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    runtime.create(request, kill).expect_err("the process was killed");
    bundle.check_gone();
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
