//! Where Loam's own programs are.

use std::path::PathBuf;

/// A program of Loam's that another package than the test's builds: where `./x test` has built all of them, else where cargo
/// puts programs, beside the directory of the test itself.
pub fn own_program(name: &str) -> PathBuf {
    let built = std::env::var_os("LOAM_PROGRAMS").map_or_else(
        || {
            let test = std::env::current_exe().expect("the test program has a path");
            test.ancestors().nth(2).expect("cargo's directory").to_owned()
        },
        PathBuf::from,
    );
    let program = built.join(name);
    assert!(program.exists(), "`{}` is missing: `cargo build -p {name}` builds it", program.display());
    program
}
