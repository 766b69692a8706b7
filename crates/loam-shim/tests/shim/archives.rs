//! Files out of and into containers.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use loam_model::{ArchiveDirection, ErrorKind, Supervisor};
use tar::{Archive, Builder, EntryType, Header};

use crate::fixture::{Fixture, Running, needs_root, wait_until};

/// Name, then owner, mode, kind and contents.
type Listing = BTreeMap<String, (u64, u32, EntryType, String)>;

fn copy_out(fixture: &Fixture, path: &str, pid: Option<i32>) -> loam_model::Result<Listing> {
    let mut bytes = Vec::new();
    let request = fixture.archive(path, ArchiveDirection::Out, pid);
    fixture.supervisor.archive_out(&request, None, &mut bytes)?;
    let mut listing = Listing::new();
    for entry in Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let header = entry.header().clone();
        let mut text = entry.link_name().unwrap().map(|link| link.display().to_string()).unwrap_or_default();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes));
        listing.insert(name, (header.uid().unwrap(), header.mode().unwrap(), header.entry_type(), text));
    }
    Ok(listing)
}

fn copy_in(fixture: &Fixture, path: &str, pid: Option<i32>, owner: u64) -> loam_model::Result<()> {
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(0o750);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(0);
    builder.append_data(&mut header, "new", std::io::empty()).unwrap();
    header.set_entry_type(EntryType::Regular);
    header.set_size(5);
    builder.append_data(&mut header, "new/file", &b"hello"[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    let request = fixture.archive(path, ArchiveDirection::In, pid);
    fixture.supervisor.archive_in(&request, None, &mut bytes.as_slice())
}

fn started(script: &str) -> Running {
    let mut running = Fixture::new(script).create();
    running.shim().start().unwrap();
    running
}

#[test]
fn files_go_in_and_out_of_a_container_that_does_not_run() {
    needs_root!();
    let fixture = Fixture::new("true");
    copy_in(&fixture, "/tmp", None, 1000).unwrap();
    let upper = fixture.base.path().join("snap/upper/tmp/new/file");
    let status = std::fs::metadata(upper).unwrap();
    assert_eq!((status.uid(), status.mode() & 0o7777), (1000, 0o750));
    let listing = copy_out(&fixture, "/tmp/new", None).unwrap();
    assert_eq!(listing.keys().collect::<Vec<_>>(), ["new/", "new/file"]);
    assert_eq!(listing["new/file"], (1000, 0o750, EntryType::Regular, "hello".to_owned()));
    let whole = copy_out(&fixture, "/", None).unwrap();
    assert_eq!(whole["bin/sh"].3, "busybox");
    assert_eq!(whole["etc/passwd"].0, 0);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&fixture.base.path().display().to_string()));
    // And it can still be started.
    let mut running = fixture.create();
    running.shim().start().unwrap();
}

#[test]
fn files_go_in_and_out_of_a_running_container() {
    needs_root!();
    let running = started("mkdir /dev/shm/d; echo secret > /dev/shm/d/f; sleep 1000");
    let inside = format!("/proc/{}/root/dev/shm/d/f", running.pid);
    wait_until("the file is there", || std::fs::read_to_string(&inside).is_ok_and(|text| !text.is_empty()));
    let fixture = &running.fixture;
    let pid = Some(running.pid);
    // What is on a mount of the container's is seen.
    let listing = copy_out(fixture, "/dev/shm/d", pid).unwrap();
    assert_eq!(listing["d/f"], (0, 0o644, EntryType::Regular, "secret\n".to_owned()));
    copy_in(fixture, "/dev/shm/d", pid, 0).unwrap();
    copy_in(fixture, "/etc", pid, 1000).unwrap();
    let listing = copy_out(fixture, "/etc/new/file", pid).unwrap();
    assert_eq!(listing["file"], (1000, 0o750, EntryType::Regular, "hello".to_owned()));
    // The kernel's views are no files.
    let views = copy_out(fixture, "/proc", pid).unwrap();
    assert_eq!(views.keys().collect::<Vec<_>>(), ["proc/"]);
}

#[test]
fn a_process_that_only_has_the_main_process_s_id_is_refused() {
    needs_root!();
    let running = started("sleep 1000");
    let mut request = running.fixture.archive("/etc", ArchiveDirection::Out, Some(running.pid));
    let right = request.start_time.unwrap();
    for wrong in [None, Some(0), Some(right + 1)] {
        request.start_time = wrong;
        let failure = running.fixture.supervisor.archive_out(&request, None, &mut Vec::new()).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Conflict);
        assert!(failure.to_string().ends_with("is not running any more"), "{failure}");
    }
    request.start_time = Some(right);
    running.fixture.supervisor.archive_out(&request, None, &mut Vec::new()).unwrap();
}

#[test]
fn what_can_not_be_copied_is_said() {
    needs_root!();
    let fixture = Fixture::new("true");
    let failure = copy_out(&fixture, "/no/such", None).unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::NotFound);
    assert_eq!(failure.to_string(), "`/no/such` does not exist in the container");
    assert_eq!(copy_in(&fixture, "/no/such", None, 0).unwrap_err().kind(), ErrorKind::NotFound);
    let failure = copy_in(&fixture, "/etc/passwd", None, 0).unwrap_err();
    assert_eq!(failure.to_string(), "`/etc/passwd` is not a directory of the container");
    let failure = copy_in(&fixture, "/tmp", None, 70_000).unwrap_err();
    assert!(failure.to_string().contains("70000"), "{failure}");
    assert_eq!(copy_out(&fixture, "/etc", Some(i32::MAX)).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn links_of_the_container_lead_nowhere_on_the_host() {
    needs_root!();
    let canary = tempfile::tempdir().unwrap();
    std::fs::write(canary.path().join("secret"), "of the host").unwrap();
    let place = canary.path().display();
    let script = format!(
        "ln -s {place} /tmp/l; ln -s /proc/1/root{place} /tmp/m; ln -s ../../../../..{place} /tmp/n; sleep 1000"
    );
    let running = started(&script);
    let last = format!("/proc/{}/root/tmp/n", running.pid);
    wait_until("the links are there", || Path::new(&last).symlink_metadata().is_ok());
    for link in ["l", "m", "n"] {
        for path in [format!("/tmp/{link}/secret"), format!("/tmp/{link}/.")] {
            assert!(copy_out(&running.fixture, &path, Some(running.pid)).is_err(), "{path}");
        }
        let path = format!("/tmp/{link}");
        assert!(copy_in(&running.fixture, &path, Some(running.pid), 0).is_err(), "{path}");
    }
    assert_eq!(std::fs::read_dir(canary.path()).unwrap().count(), 1);
}

#[test]
fn a_container_that_swaps_links_while_it_is_copied_gains_nothing() {
    needs_root!();
    let canary = tempfile::tempdir().unwrap();
    std::fs::write(canary.path().join("secret"), "of the host").unwrap();
    let place = canary.path().display();
    // A directory and a link to the host's path change places all the time.
    let script = format!(
        "cd /tmp; mkdir real; echo mine > real/secret; ln -s {place} link; touch ready; \
         while true; do mv real x; mv link real; mv real link; mv x real; done"
    );
    let running = started(&script);
    let ready = format!("/proc/{}/root/tmp/ready", running.pid);
    wait_until("the swapping has begun", || Path::new(&ready).exists());
    let mut seen = 0;
    for _ in 0..60 {
        for path in ["/tmp/real", "/tmp/real/secret"] {
            if let Ok(listing) = copy_out(&running.fixture, path, Some(running.pid)) {
                assert!(listing.values().all(|(.., text)| !text.contains("of the host")), "{listing:?}");
                seen += 1;
            }
        }
        match copy_in(&running.fixture, "/tmp/real", Some(running.pid), 0) {
            Ok(()) | Err(_) => {}
        }
    }
    println!("{seen} of 120 copies met the directory");
    assert_eq!(std::fs::read_dir(canary.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(canary.path().join("secret")).unwrap(), "of the host");
}
