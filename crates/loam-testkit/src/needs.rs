//! What a test needs of whoever runs it.

/// Whether this process is root; says by name what is skipped otherwise.
#[expect(clippy::print_stdout, reason = "a test that can't run says so by name")]
pub fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: {test}: needs root");
    }
    is_root
}
