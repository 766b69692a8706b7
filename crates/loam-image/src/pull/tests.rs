//! Whole pulls from a source that can lie.

mod apart;
mod damage;
mod imports;
mod lies;
mod pulls;
mod slow;
mod snapshots;
mod stacked;
mod there;

use loam_model::{Image, ImageSource, PullOptions, Result};

use crate::LayerStore;
use crate::fixture::{Heard, Liar, Tar};

fn pull(store: &LayerStore, liar: &Liar, name: &str) -> Result<Image> {
    store.pull_from(liar, &ImageSource::Registry(name.to_owned()), &PullOptions::default(), &Heard::default())
}

fn layer(path: &str, data: &[u8]) -> Vec<u8> {
    Tar::default().directory("./", 0o755).file(path, data).end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

/// The lines of the table of layers.
fn layer_count(store: &LayerStore) -> i64 {
    store
        .database
        .read(|connection| connection.query_row("SELECT count(*) FROM layer", [], |row| row.get(0)))
        .expect("counts")
}
