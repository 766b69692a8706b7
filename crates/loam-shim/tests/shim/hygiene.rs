//! What the shim has and shows.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use loam_model::{Bundler, CgroupPlace, ContainerId, Supervisor};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};

use crate::fixture::{Fixture, needs_root, wait_until};

#[test]
fn the_shim_has_only_the_descriptors_and_environment_it_needs() {
    needs_root!();
    // A descriptor that whoever launches forgot to mark.
    let leak = rustix::fs::open("/etc/passwd", OFlags::RDONLY, Mode::empty()).unwrap();
    let mut running = Fixture::new("sleep 1000").create();
    running.shim().start().unwrap();
    drop(leak);
    let process = format!("/proc/{}", running.shim_pid());
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for entry in std::fs::read_dir(format!("{process}/fd")).unwrap() {
        let target = std::fs::read_link(entry.unwrap().path()).unwrap().display().to_string();
        let kind = target.split([':', '[']).next().unwrap().to_owned();
        let known = ["/dev/null", "socket", "anon_inode", "pipe", "mnt"].contains(&kind.as_str());
        assert!(
            known
                || Some(Path::new(&target)) == running.fixture.launch.log.as_deref()
                || target.starts_with("/sys/fs/cgroup"),
            "{target}"
        );
        *kinds.entry(kind).or_default() += 1;
    }
    println!("{kinds:?}");
    assert_eq!((kinds["/dev/null"], kinds["socket"], kinds["pipe"], kinds["mnt"]), (3, 2, 2, 1));
    let environment = std::fs::read_to_string(format!("{process}/environ")).unwrap();
    assert!(environment.starts_with("PATH=") && environment.matches('=').count() == 1, "{environment:?}");
    assert_eq!(std::fs::read_to_string(format!("{process}/comm")).unwrap(), "loam-shim\n");
}

#[test]
fn the_program_of_a_running_shim_can_not_be_written() {
    needs_root!();
    let mut running = Fixture::new("sleep 1000").create();
    running.shim().start().unwrap();
    let path = format!("/proc/{}/exe", running.shim_pid());
    let handle = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let refusal = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).unwrap_err();
    assert!([Errno::ROFS, Errno::TXTBSY].contains(&refusal), "{refusal}");
    running.shim().shut_down().unwrap();
    running.disconnect();
    // When it runs no more it is still on a read-only mount.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
    wait_until("it is not busy", || {
        let refusal = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).unwrap_err();
        refusal == Errno::ROFS
    });
}

#[test]
fn nonsense_is_answered_and_the_shim_lives_on() {
    needs_root!();
    let mut running = Fixture::new("sleep 1000").create();
    running.shim().start().unwrap();
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let socket = socket.unwrap();
    let path = running.fixture.directory().join("shim.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let directory = rustix::fs::open(running.fixture.directory(), OFlags::PATH, Mode::empty()).unwrap();
    let short = format!("/proc/self/fd/{}/shim.sock", std::os::fd::AsRawFd::as_raw_fd(&directory));
    rustix::net::connect(&socket, &SocketAddrUnix::new(short).unwrap()).unwrap();
    for nonsense in
        ["{", "\"no_such_request\"", "{\"wait\":{\"target\":{\"exec\":-1}}}", "\"keep\"x", "\"begin_create\""]
    {
        rustix::net::send(&socket, nonsense.as_bytes(), SendFlags::NOSIGNAL).unwrap();
        let mut answer = [0; 4096];
        let length = rustix::net::recv(&socket, &mut answer, rustix::net::RecvFlags::empty()).unwrap().0;
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("{\"failed\":"), "{nonsense}: {answer}");
    }
    drop(socket);
    assert!(running.shim().status().unwrap().pid.is_some());
}

#[test]
fn clients_that_come_and_go_leave_nothing_in_the_shim() {
    needs_root!();
    let mut running = Fixture::new("sleep 1000").create();
    running.shim().start().unwrap();
    let descriptors = format!("/proc/{}/fd", running.shim_pid());
    let count = || std::fs::read_dir(&descriptors).unwrap().count();
    let before = count();
    for _ in 0..200 {
        let (streams, out, err) = crate::fixture::outputs();
        let mut client = running.connect().unwrap();
        client.attach(streams, loam_model::OnStall::Block).unwrap();
        drop((client, out, err));
    }
    running.shim().status().unwrap();
    wait_until("all are let go", || count() == before);
}

#[test]
fn the_memory_of_an_idle_shim_is_small() {
    needs_root!();
    let mut running = Fixture::new("sleep 1000").create();
    running.shim().start().unwrap();
    running.shim().status().unwrap();
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", running.shim_pid())).unwrap();
    let figure = |name: &str| {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    println!("idle shim: {} kB in proportion, {} kB its own", figure("Pss:"), figure("Private_Dirty:"));
    // What no other shim shares is what counts when there are many.
    assert!(figure("Private_Dirty:") < 1024, "{rollup}");
}

#[test]
fn a_shim_that_does_not_answer_can_be_killed() {
    needs_root!();
    let mut running = Fixture::new("sleep 1000").create();
    running.shim().start().unwrap();
    let shim = Pid::from_raw(running.shim_pid()).unwrap();
    let main = loam_sys::open_process(Pid::from_raw(running.pid).unwrap()).unwrap();
    rustix::process::kill_process(shim, Signal::STOP).unwrap();
    // The connection from the launch does not say who the shim is.
    running.shim().kill().unwrap_err();
    running.connect().unwrap().kill().unwrap();
    assert!(running.connect().is_none());
    running.disconnect();
    let cgroup = CgroupPlace::Path(format!("/loam-shim-{}", running.fixture.launch.id));
    loam_oci::OciBundler::default().remove_cgroup(&cgroup).unwrap();
    wait_until("its container is gone", || {
        let sent = loam_sys::send_signal(main.as_fd(), Signal::CONT.as_raw());
        sent.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::SRCH))
    });
}

#[test]
fn nobody_answers_for_a_container_that_never_was() {
    let base = tempfile::tempdir().unwrap();
    let supervisor = loam_shim::ShimSupervisor::new("/no/shim".into(), base.path().to_owned());
    let id: ContainerId = "0".repeat(64).parse().unwrap();
    assert!(supervisor.connect(&id).unwrap().is_none());
    assert!(supervisor.exit_record(&id).unwrap().is_none());
    let launch = Fixture::new("true").launch;
    let failure = supervisor.launch(&launch).err().unwrap();
    assert!(failure.to_string().contains("/no/shim"), "{failure:?}");
}
