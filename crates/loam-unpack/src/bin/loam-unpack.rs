//! The `loam-unpack` program: unpacks one layer, confined. It is run by programs that pull images, not by people.

use std::process::ExitCode;

fn main() -> ExitCode {
    loam_sys::end_at_panic();
    loam_unpack::serve_unpacker()
}
