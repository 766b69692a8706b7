//! The mounts.

use core::fmt::Write;

use crate::ground::call;
use crate::ground::text::Shown;
use crate::proc_text::{MountLine, mount_line};
use crate::table::Table;

/// Writes these rows.
pub fn write(table: &mut Table<'_, '_>) {
    let mut buffer = [0; 32768];
    let content = call::read_file(c"/proc/self/mountinfo", &mut buffer).unwrap_or(b"");
    let mounts = || content.split(|byte| *byte == b'\n').filter_map(mount_line);
    table.row("mounts", format_args!("{}", mounts().count()));
    for MountLine { target, kind, read_only } in mounts() {
        table.row_with("", |text| {
            let _ = write!(text, "{}: {}", Shown(target), Shown(kind));
            if read_only {
                text.push(b", read-only");
            }
        });
    }
}
