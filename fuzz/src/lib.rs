//! Fuzz targets: for each parser of what comes from strangers by way of an image, a network or another program, a function that takes any bytes and
//! panics when a promise is broken.
//!
//! | target | what it feeds | what must hold, beside that nothing panics, hangs or fills the memory |
//! |---|---|---|
//! | [`archive`](targets::archive) | the tar reader: ustar, V7, GNU, PAX, sparse files | as many bytes come as are said; reading and passing over find the same members |
//! | [`unpack`](targets::unpack) | unpacking into a directory | nothing outside is changed, no more is taken than was free, a record gives the same bytes |
//! | [`compression`](targets::compression) | gzip and zstd | members are one stream, what is cut is an error, sizes of reads don't matter |
//! | [`documents`](targets::documents) | indexes, manifests, configurations, platforms | what is chosen was offered |
//! | [`image_files`](targets::image_files) | layouts, archives of `docker save` | no member reaches beyond the archive |
//! | [`names`](targets::names) | references, digests, sources | a whole name is read as itself, and fits into a URL |
//! | [`answers`](targets::answers) | headers and bodies of registries and credential helpers | addresses stay on the registry, numbers fit |
//! | [`leases`](targets::leases) | packets of DHCP servers, and a client that hears them | addresses can be used, each message is answered once at most |
//! | [`plugins`](targets::plugins) | answers of CNI plugins and external networkers, lists of plugins, tables of iptables | a result of the newest version is written as it was read, a list reads as itself |
//! | [`bus`](targets::bus) | messages over D-Bus | no message is longer than two mebibytes |
//! | [`settings`](targets::settings) | `registries.conf`, `hosts.toml`, `auth.json`, `config.json` | no message quotes a secret |
//!
//! And every refusal is a sentence that is fit for a terminal ([`sentence`]).
//!
//! The seeds are made by code ([`Target::seeds`]); the tests of this crate run every target on its seeds, without libFuzzer
//! and on any toolchain. `./x fuzz` builds `src/main.rs` and lets libFuzzer go on from there.

mod checksums;
mod sentence;
mod shape;
pub mod targets;

use std::fs;
use std::io;
use std::path::Path;

pub use targets::TARGETS;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Panics when these bytes break a promise.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that the inputs are made of, for libFuzzer to put in.
    pub words: &'static [&'static str],
}

/// Writes the seeds of all targets, `DIRECTORY/TARGET/seeds/NUMBER`, and their dictionaries, `DIRECTORY/TARGET/words`.
pub fn write_seeds(directory: &Path) -> io::Result<()> {
    for target in &TARGETS {
        let place = directory.join(target.name);
        fs::create_dir_all(place.join("seeds"))?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(place.join("seeds").join(number.to_string()), seed)?;
        }
        // The form of AFL's dictionaries: a word a line in quotes, bytes in hexadecimal.
        let hex = |word: &str| word.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        let lines: String = target.words.iter().map(|word| format!("\"{}\"\n", hex(word))).collect();
        fs::write(place.join("words"), lines)?;
    }
    Ok(())
}
