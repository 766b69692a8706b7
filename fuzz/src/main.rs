//! The program that libFuzzer drives. Its main function is libFuzzer's, so it is told by the environment what to do:
//! `LOAM_FUZZ_TARGET` names the target, and `LOAM_FUZZ_WRITE` a directory into which the seeds and the dictionaries of all
//! targets are written instead, while their names are printed.
#![no_main]

use std::process::exit;
use std::sync::OnceLock;

use loam_fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: prepare(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(bytes);
    }
});

#[expect(
    clippy::exit,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the main function, which could return, is libFuzzer's"
)]
fn prepare() {
    if let Some(directory) = std::env::var_os("LOAM_FUZZ_WRITE") {
        match loam_fuzz::write_seeds(directory.as_ref()) {
            Ok(()) => {
                println!("{}", loam_fuzz::TARGETS.map(|target| target.name).join("\n"));
                exit(0);
            }
            Err(error) => {
                eprintln!("the seeds can't be written into `{}`: {error}", directory.display());
                exit(2);
            }
        }
    }
    let name = std::env::var("LOAM_FUZZ_TARGET").unwrap_or_default();
    match loam_fuzz::TARGETS.iter().find(|target| target.name == name) {
        Some(target) => drop(TARGET.set(target)),
        None => {
            eprintln!("`LOAM_FUZZ_TARGET` is `{name}`, which is no target");
            exit(2);
        }
    }
}
