//! Pulls that are killed at each of their steps, and whose machine loses its power then: what was reported is whole, and
//! nothing half made is used.

use loam_tests::{Host, Need, needs, program};

/// What changes something on the disk, or waits for it: a pull is killed before the Nth of these of one of its threads.
const STEPS: &str = "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,ftruncate,fsync,fdatasync,syncfs,\
                     pwrite64,sendmsg,execve,setxattr,fsetxattr";

/// The state directory on a file system whose own memory a power cut takes: what has not been synced is in no copy of the
/// file that it lies in.
struct Machine {
    host: Host,
}

impl Machine {
    fn new() -> Self {
        let host = Host::new();
        let disk = "truncate -s 256M disk && mkfs.ext4 -q -F disk && mkdir mounted after";
        // The journal is written when something is synced, and not meanwhile.
        let mount = "mount -o loop,commit=3600 disk mounted";
        host.sh(&format!("cd {} && {disk} && {mount}", host.scratch().display())).ok();
        Self { host }
    }

    /// A shell's line that runs `loam` with the state directory in one of the two mounts.
    fn loam(&self, place: &str, arguments: &str) -> String {
        let scratch = self.host.scratch();
        let run = self.host.run_directory();
        format!(
            "{} --root {}/{place}/state --run {} {arguments}",
            program("loam"),
            scratch.display(),
            run.display()
        )
    }

    /// Pulls, to be killed at a step; whether it came to its end all the same.
    fn pull_until(&self, step: usize) -> bool {
        self.host
            .sh(&format!("cd {}/mounted && rm -rf state && sync -f .", self.host.scratch().display()))
            .ok();
        let trace =
            format!("strace -f -qq -o /dev/null -e trace={STEPS} -e inject={STEPS}:signal=KILL:when={step}");
        let pulled = self.host.sh(&format!("{trace} {}", self.loam("mounted", &pull())));
        pulled.code == 0
    }

    /// What the disk has now, as after a power cut.
    fn cut_power(&self) {
        let scratch = self.host.scratch();
        let copy = "cp --sparse=always disk copy && mount -o loop copy after";
        self.host.sh(&format!("cd {} && {copy}", scratch.display())).ok();
    }

    fn power_is_back(&self) {
        self.host.sh(&format!("cd {} && umount after && rm copy", self.host.scratch().display())).ok();
    }

    /// Whatever has happened: images that are there are whole, the pull can be had, and nothing is left of the first.
    fn is_sound(&self, place: &str, step: usize, reported: bool) {
        let at = |what: &str| format!("{place}, step {step}: {what}");
        let there = self.host.sh(&self.loam(place, "images -q"));
        assert_eq!(there.code, 0, "{}: {there:?}", at("images"));
        assert!(!reported || !there.stdout.is_empty(), "{}", at("the image that was reported is gone"));
        for when in ["what was left", "pulled again"] {
            let check = self.host.sh(&self.loam(place, "system check"));
            assert_eq!(check.code, 0, "{}: {check:?}", at(when));
            let pulled = self.host.sh(&self.loam(place, &pull()));
            assert_eq!(pulled.code, 0, "{}: {pulled:?}", at(when));
        }
        let files = format!(
            "cd {}/{place}/state && find staging trash layer-locks leases -mindepth 1; ls layers | wc -l",
            self.host.scratch().display()
        );
        assert_eq!(self.host.sh(&files).stdout.trim(), "1", "{}", at("only the layer of the image is left"));
    }
}

fn pull() -> String {
    format!("pull --quiet oci:{}", loam_testkit::images::small().display())
}

#[test]
fn a_pull_that_is_killed_at_any_step_or_loses_power_there_does_no_harm() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let machine = Machine::new();
    let mut step = 1;
    loop {
        let reported = machine.pull_until(step);
        machine.cut_power();
        machine.is_sound("after", step, reported);
        machine.power_is_back();
        machine.is_sound("mounted", step, reported);
        if reported {
            break;
        }
        step += 1;
    }
    assert!(step > 20, "a pull has more than {step} steps");
    let scratch = machine.host.scratch();
    machine.host.sh(&format!("cd {} && umount mounted", scratch.display())).ok();
    machine.host.finish();
}
