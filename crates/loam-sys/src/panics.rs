//! What a panic does to a program.

/// Lets the first panic of any thread end the process, after its message. A release is built so; the programs of the tests
/// share their libraries with the tests, whose panics unwind, and do it by this.
pub fn end_at_panic() {
    if cfg!(panic = "unwind") {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            tell(panic);
            std::process::abort();
        }));
    }
}
