//! `loam-cni`: the built-in CNI plugins as a program, see [`loam_cni::program`].

use std::process::ExitCode;

use loam_cni::program::{Call, run};
use loam_cni::{Host, LeaseKeeping};

fn main() -> ExitCode {
    loam_sys::end_at_panic();
    if loam_sys::keep_ended_children().is_err() {
        return ExitCode::FAILURE;
    }
    let leases = LeaseKeeping { program: std::env::current_exe().ok(), ..LeaseKeeping::default() };
    let host = Host { leases, ..Host::default() };
    let call = Call {
        arguments: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        variable: |name: &str| std::env::var(name).ok(),
        host: &host,
    };
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    run(&call, &mut input.lock(), &mut output.lock(), &mut errors.lock())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}
