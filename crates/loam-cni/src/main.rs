//! `loam-cni`: the built-in CNI plugins as a program, see [`loam_cni::program`].

use std::process::ExitCode;

use loam_cni::Host;
use loam_cni::program::{Call, run};

fn main() -> ExitCode {
    loam_sys::end_at_panic();
    let host = Host::default();
    let call = Call {
        arguments: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        variable: |name: &str| std::env::var(name).ok(),
        host: &host,
    };
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    run(&call, &mut input.lock(), &mut output.lock(), &mut errors.lock())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}
