//! What is written to the files of security labels; no tested kernel runs SELinux.

use std::fs;
use std::os::fd::AsFd;

use super::*;
use crate::embedded::process_plan::selinux_labels;

const LABEL: &str = "system_u:system_r:container_t:s0:c1,c2";

#[test]
fn the_keyring_is_labelled_while_it_is_made_and_the_program_afterwards() {
    let proc = tempfile::tempdir().expect("a directory");
    let place = |name: &str| proc.path().join("self/attr").join(name);
    fs::create_dir_all(proc.path().join("self/attr")).expect("made");
    for name in ["exec", "keycreate"] {
        fs::write(place(name), "").expect("made");
    }
    let text = |name: &str| fs::read_to_string(place(name)).expect("readable");
    let directory = fs::File::open(proc.path()).expect("opened");
    let files = LabelFiles::open(directory.as_fd(), &selinux_labels(LABEL.to_owned())).expect("both files");
    assert_eq!((text("keycreate"), text("exec")), (String::new(), String::new()), "opening writes nothing");
    let mut seen = None;
    let make = || {
        seen = Some((text("keycreate"), text("exec")));
        Ok(())
    };
    files.around_keyring(make).expect("made");
    assert_eq!(seen, Some((LABEL.to_owned(), String::new())));
    // The kernel takes each write(2) by itself, and an empty line for "as always"; a plain file has one behind the other.
    assert_eq!(text("keycreate"), format!("{LABEL}\n"));
    files.write().expect("written");
    assert_eq!((text("keycreate"), text("exec")), (format!("{LABEL}\n"), LABEL.to_owned()));
}

#[test]
fn a_keyring_that_can_not_be_made_is_told_and_one_without_a_label_is_just_made() {
    let none = LabelFiles::default();
    let mut made = 0;
    let mut make = || {
        made += 1;
        Ok(())
    };
    none.around_keyring(&mut make).expect("made");
    none.write().expect("there is nothing to write");
    assert_eq!(made, 1);
    let failure = || Err(Failure::new(ErrorKind::Internal, "no keyring"));
    assert_eq!(none.around_keyring(failure).expect_err("told").chain(), "no keyring");
}
