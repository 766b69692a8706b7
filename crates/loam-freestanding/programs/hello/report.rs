//! The report: all that the container sees, as a table of two columns.

use core::fmt::Write;

use crate::ground::call;
use crate::ground::start::Strings;
use crate::ground::text::{Shown, Text, until_zero};
use crate::table::Table;
use crate::{cgroup, identity, mounts, network};

/// What a report takes at most; a longer one is cut.
pub const SIZE: usize = 48 * 1024;

/// Writes the report. `client` is who asked, when somebody did over the network.
pub fn write(text: &mut Text<'_>, environment: Strings, client: Option<&[u8]>) {
    let _ = writeln!(text, "Hello from Loam! This is what the container sees:\n");
    let mut table = Table::new(text);
    let names = call::names();
    table.row("host name", format_args!("{}", Shown(until_zero(&names.node))));
    table.row(
        "kernel",
        format_args!(
            "{} {} on {}",
            Shown(until_zero(&names.system)),
            Shown(until_zero(&names.release)),
            Shown(until_zero(&names.machine))
        ),
    );
    table.row("process id", format_args!("{}", call::pid()));
    identity::write(&mut table);
    cgroup::write(&mut table);
    network::write(&mut table);
    mounts::write(&mut table);
    table.row_with("environment", |text| {
        for (at, entry) in environment.enumerate() {
            let name = entry.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
            let _ = write!(text, "{}{}", if at == 0 { "" } else { " " }, Shown(name));
        }
    });
    if let Some(client) = client {
        table.row("asked by", format_args!("{}", Shown(client)));
    }
}
