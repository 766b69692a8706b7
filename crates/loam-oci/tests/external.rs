//! Runtime programs of others, as they are installed here, on bundles of ours. Needs root.
#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use loam_model::oci_spec::runtime::{LinuxResources, Process};
use loam_model::{
    BundleInput, Bundler, ContainerId, ContainerSpec, CreateRequest, CreatedProcess, ErrorKind, ExecRequest,
    IdMapping, ImageConfig, Namespace, ProcessSpec, ProcessStdio, Result, Runtime, TerminalSize,
};
use loam_oci::{Cgroup, ExecRuntime, OciBundler, finish_process, resolve_user};
use rustix::process::{Pid, WaitOptions};

/// The first program of a name that is installed.
fn installed(name: &str) -> Option<PathBuf> {
    let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    places.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

/// Says by name that a test can't run, and whether it can.
fn can_run(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| installed(program).is_none());
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {test}: needs root");
    } else if let Some(program) = missing {
        println!("skipped: {test}: needs {program}");
    }
    root && missing.is_none()
}

/// A shim has one container, and every child of the process is its; so the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Reaps what runtimes left to this process, as a shim does between calls. The container's own processes must live.
fn reap_orphans() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

/// One container on a busybox root file system.
struct Container {
    _turn: MutexGuard<'static, ()>,
    directory: tempfile::TempDir,
    id: ContainerId,
    cgroup: String,
    runtime: ExecRuntime,
}

impl Container {
    fn new(program: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("a subreaper");
        let directory = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir();
        let directory = directory.expect("a temporary directory");
        let root = directory.path().join("rootfs");
        for name in ["bin", "proc", "sys", "dev", "etc", "tmp"] {
            fs::create_dir_all(root.join(name)).expect("made");
        }
        fs::copy(installed("busybox").expect("asked for"), root.join("bin/busybox")).expect("copied");
        for name in ["sh", "cat", "echo", "id", "sleep", "true", "stty", "grep"] {
            symlink("busybox", root.join("bin").join(name)).expect("linked");
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:7:8::/home:/bin/sh\n")
            .expect("written");
        let mut random = [0; 32];
        File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).expect("random bytes");
        let id = ContainerId::from_random(random);
        let cgroup = format!("/loam-test-external/{id}");
        let runtime = ExecRuntime::new(
            program.into(),
            std::env::var("PATH").ok(),
            id.clone(),
            directory.path().to_owned(),
        );
        Self { _turn: turn, directory, id, cgroup, runtime }
    }

    fn create(
        &mut self,
        spec: &ContainerSpec,
        mapping: Option<&IdMapping>,
        stdio: ProcessStdio,
    ) -> Result<CreatedProcess> {
        let (image, directory) = (ImageConfig::default(), self.directory.path());
        let input = BundleInput {
            id: &self.id,
            spec,
            image: &image,
            directory,
            mapping,
            network: Namespace::New,
            cgroup: &self.cgroup.parse().expect("a place"),
            files: &[],
            init_program: None,
        };
        let bundle = OciBundler::default().bundle(&input)?;
        let mut spec = bundle.config;
        let mut process = spec.process().clone().expect("a process");
        self.finish(&mut process, bundle.user.as_deref())?;
        spec.set_process(Some(process));
        fs::write(directory.join("config.json"), serde_json::to_vec(&spec).expect("plain data"))
            .expect("written");
        let mut heard = None;
        let request = CreateRequest { id: &self.id, bundle: directory, spec: &spec, stdio };
        let created = self.runtime.create(request, &mut |pid| heard = Some(pid))?;
        assert_eq!(heard, Some(created.pid));
        Ok(created)
    }

    fn finish(&self, process: &mut Process, user: Option<&str>) -> Result<()> {
        let root = File::open(self.directory.path().join("rootfs")).expect("there");
        finish_process(process, resolve_user(std::os::fd::AsFd::as_fd(&root), user)?);
        Ok(())
    }

    fn exec(
        &mut self,
        arguments: &[&str],
        user: Option<&str>,
        stdio: ProcessStdio,
    ) -> Result<CreatedProcess> {
        let text = fs::read(self.directory.path().join("config.json")).expect("there");
        let spec = serde_json::from_slice(&text).expect("written by us");
        let terminal = matches!(stdio, ProcessStdio::Terminal(_));
        let further = ProcessSpec { arguments: words(arguments), terminal, ..ProcessSpec::default() };
        let mut process = OciBundler::default().process(&spec, &further)?;
        self.finish(&mut process, user)?;
        self.runtime.exec(ExecRequest { process: &process, stdio })
    }

    fn gone(&mut self) {
        self.runtime.delete().expect("deleted");
        self.runtime.delete().expect("a second deletion has nothing to do");
        assert_eq!(Cgroup::open(&self.cgroup).expect_err("gone").kind(), ErrorKind::NotFound);
        let left: Vec<_> =
            fs::read_dir(self.directory.path()).expect("there").flatten().map(|e| e.file_name()).collect();
        assert!(left.iter().all(|name| name == "rootfs" || name == "config.json"), "{left:?}");
    }
}

impl Drop for Container {
    /// Leaves nothing behind of a test that failed.
    fn drop(&mut self) {
        let _failed_already = self.runtime.delete();
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn running(arguments: &[&str]) -> ContainerSpec {
    ContainerSpec { command: Some(words(arguments)), ..ContainerSpec::default() }
}

/// Streams whose output can be read here.
fn streams() -> (ProcessStdio, File) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let stdin: OwnedFd = File::open("/dev/null").expect("there").into();
    let stderr = writer.try_clone().expect("copied");
    (ProcessStdio::Descriptors { stdin, stdout: writer, stderr }, reader.into())
}

fn text(mut reader: File) -> String {
    let mut bytes = Vec::new();
    // The end of a terminal is an error.
    let _end = reader.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The exit code of a child, 128 and more for signals. Others that end meanwhile are reaped, too: a container's first
/// process goes after all that came in by exec, and what a runtime leaves of those is this process's to reap.
fn code(process: &CreatedProcess) -> i32 {
    let pid = Pid::from_raw(process.pid).expect("positive");
    loop {
        let ended = rustix::process::wait(WaitOptions::empty()).expect("our child").expect("ended");
        let (child, status) = ended;
        if child == pid {
            return status
                .exit_status()
                .or(status.terminating_signal().map(|signal| 128 + signal))
                .expect("ended");
        }
    }
}

fn a_whole_life(program: &str, mapping: Option<&IdMapping>) {
    let mut container = Container::new(program);
    let (stdio, output) = streams();
    let script = "id -u; grep -E '^(Seccomp|NoNewPrivs|CapBnd):' /proc/self/status; cat </dev/null; echo $HOME $HOSTNAME; sleep 1000";
    let main = container.create(&running(&["sh", "-c", script]), mapping, stdio).expect("created");
    container.runtime.start().expect("started");

    let (stdio, further) = streams();
    let process = container.exec(&["id"], Some("app"), stdio).expect("run");
    assert_eq!(code(&process), 0);
    assert_eq!(text(further), "uid=7(app) gid=8\n");

    let stats = container.runtime.stats().expect("figures");
    assert!(stats.pids >= 1 && stats.memory_usage > 0, "{stats:?}");
    assert_eq!(stats.pids_limit, Some(4096));
    let limits: LinuxResources = serde_json::from_str(r#"{"pids":{"limit":99}}"#).expect("valid");
    container.runtime.update(&limits).expect("updated");
    assert_eq!(container.runtime.stats().expect("figures").pids_limit, Some(99));
    container.runtime.pause().expect("paused");
    container.runtime.resume().expect("resumed");
    container.runtime.signal(9, false).expect("signalled");
    assert_eq!(code(&main), 128 + 9);
    let late = container.runtime.signal(15, false).expect_err("it has ended");
    assert_eq!(late.kind(), ErrorKind::Conflict, "{late:?}");
    container.gone();
    let output = text(output);
    assert_eq!(output.lines().next(), Some("0"), "{output}");
    assert!(output.contains("CapBnd:\t00000000a80425fb"), "{output}");
    assert!(output.contains("NoNewPrivs:\t1") && output.contains("Seccomp:\t2"), "{output}");
    assert!(output.contains("/root "), "{output}");
}

#[test]
fn runc_lives() {
    if can_run("runc_lives", &["runc", "busybox"]) {
        a_whole_life("runc", None);
    }
}

#[test]
fn runc_lives_with_ids_of_its_own() {
    if can_run("runc_lives_with_ids_of_its_own", &["runc", "busybox"]) {
        a_whole_life("runc", Some(&IdMapping::contiguous(100_000, 65_536)));
    }
}

#[test]
fn crun_lives() {
    if can_run("crun_lives", &["crun", "busybox"]) {
        a_whole_life("crun", None);
    }
}

#[test]
fn crun_lives_with_ids_of_its_own() {
    if can_run("crun_lives_with_ids_of_its_own", &["crun", "busybox"]) {
        a_whole_life("crun", Some(&IdMapping::contiguous(100_000, 65_536)));
    }
}

fn a_terminal(program: &str) {
    let mut container = Container::new(program);
    let size = TerminalSize { rows: 33, columns: 99 };
    let terminal = ContainerSpec { terminal: true, ..running(&["sh", "-c", "stty size; sleep 1000"]) };
    let main = container.create(&terminal, None, ProcessStdio::Terminal(size)).expect("created");
    container.runtime.start().expect("started");
    // crun runs the program before anybody can set the size.
    let script = "i=0; until stty size 2>&1 | grep '^33' || [ $i = 9999 ]; do i=$((i+1)); done";
    let process = container.exec(&["sh", "-c", script], None, ProcessStdio::Terminal(size)).expect("run");
    let output = text(process.terminal.as_ref().expect("a master").try_clone().expect("copied").into());
    assert_eq!(output, "33 99\r\n");
    assert_eq!(code(&process), 0);
    container.runtime.signal(9, true).expect("signalled");
    assert_eq!(code(&main), 128 + 9);
    let output = text(main.terminal.expect("a master").into());
    assert_eq!(output, "33 99\r\n");
    container.gone();
}

#[test]
fn runc_hands_over_terminals() {
    if can_run("runc_hands_over_terminals", &["runc", "busybox"]) {
        a_terminal("runc");
    }
}

#[test]
fn crun_hands_over_terminals() {
    if can_run("crun_hands_over_terminals", &["crun", "busybox"]) {
        a_terminal("crun");
    }
}

fn wrong_commands(program: &str) {
    let table = [
        ("/nope", ErrorKind::CommandNotFound),
        ("nope", ErrorKind::CommandNotFound),
        ("/etc/passwd", ErrorKind::CommandNotExecutable),
        ("/etc", ErrorKind::CommandNotExecutable),
    ];
    for (command, kind) in table {
        let mut container = Container::new(program);
        let failure = container
            .create(&running(&[command]), None, streams().0)
            .map(drop)
            .and_then(|()| container.runtime.start())
            .expect_err(command);
        assert_eq!(failure.kind(), kind, "{failure:?}");
        container.gone();
    }
    reap_orphans();
    let mut container = Container::new(program);
    let main = container.create(&running(&["sleep", "1000"]), None, streams().0).expect("created");
    container.runtime.start().expect("started");
    for (command, kind) in table {
        let failure = container.exec(&[command], None, streams().0).expect_err(command);
        assert_eq!(failure.kind(), kind, "{failure:?}");
    }
    reap_orphans();
    container.runtime.delete().expect("deleted while it runs");
    assert_eq!(code(&main), 128 + 9);
    container.gone();
}

#[test]
fn runc_tells_what_is_wrong_with_a_command() {
    if can_run("runc_tells_what_is_wrong_with_a_command", &["runc", "busybox"]) {
        wrong_commands("runc");
    }
}

#[test]
fn crun_tells_what_is_wrong_with_a_command() {
    if can_run("crun_tells_what_is_wrong_with_a_command", &["crun", "busybox"]) {
        wrong_commands("crun");
    }
}

#[test]
fn an_unknown_runtime_is_one_sentence() {
    if can_run("an_unknown_runtime_is_one_sentence", &["busybox"]) {
        let mut container = Container::new("no-such-runtime");
        let failure = container.create(&running(&["true"]), None, streams().0).expect_err("unknown");
        assert_eq!(failure.kind(), ErrorKind::NotFound);
        assert!(failure.to_string().starts_with("unknown runtime `no-such-runtime`: "), "{failure}");
        container.gone();
    }
}
