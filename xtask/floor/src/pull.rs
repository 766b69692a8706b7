//! One pass over an image's layers, one after the other on one processor. Each step contains those before it, so that what
//! one of them takes is a difference: `inflate` reads the layers of an OCI layout and inflates them; `hash` takes the digests
//! of what is read and of what comes out; `files` makes the files as well, a directory for each layer.

mod files;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use flate2::bufread::MultiGzDecoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Bytes that are read at once.
const BUFFER: usize = 128 << 10;

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Inflate,
    Hash,
    Files,
}

impl FromStr for Step {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "inflate" => Ok(Self::Inflate),
            "hash" => Ok(Self::Hash),
            "files" => Ok(Self::Files),
            _ => bail!("`{text}` is none of inflate, hash, files"),
        }
    }
}

/// Does it with the image of this tag.
pub(crate) fn pull(step: Step, layout: &Path, tag: &str, target: &Path) -> Result<()> {
    rustix::process::umask(rustix::fs::Mode::empty());
    for (number, (path, media_type)) in layers(layout, tag)?.into_iter().enumerate() {
        let blob = Hashed::new(File::open(path)?, step);
        let blob = BufReader::with_capacity(BUFFER, blob);
        let inflated: Box<dyn Read> = if media_type.ends_with("gzip") {
            Box::new(MultiGzDecoder::new(blob))
        } else if media_type.ends_with("zstd") {
            Box::new(zstd::Decoder::with_buffer(blob)?)
        } else {
            Box::new(blob)
        };
        let mut tar = BufReader::with_capacity(BUFFER, Hashed::new(inflated, step));
        if step == Step::Files {
            files::make(&mut tar, &target.join(number.to_string()))?;
        }
        io::copy(&mut tar, &mut io::sink())?;
        tar.into_inner().finish();
    }
    Ok(())
}

/// The layers' blobs and media types, the lowest first.
fn layers(layout: &Path, tag: &str) -> Result<Vec<(PathBuf, String)>> {
    let read = |path: PathBuf| -> Result<Value> {
        let text = std::fs::read(&path).with_context(|| format!("`{}` can't be read", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    };
    let blob = |descriptor: &Value| -> Result<PathBuf> {
        let digest = descriptor["digest"].as_str().context("a descriptor has a digest")?;
        Ok(layout.join("blobs").join(digest.replace(':', "/")))
    };
    let index = read(layout.join("index.json"))?;
    let is_it = |one: &&Value| one["annotations"]["org.opencontainers.image.ref.name"] == tag;
    let manifest = index["manifests"].as_array().and_then(|all| all.iter().find(is_it));
    let manifest = read(blob(manifest.with_context(|| format!("the layout has no `{tag}`"))?)?)?;
    let layers = manifest["layers"].as_array().context("a manifest has layers")?;
    layers
        .iter()
        .map(|layer| Ok((blob(layer)?, layer["mediaType"].as_str().unwrap_or_default().to_owned())))
        .collect()
}

/// A reader whose bytes are hashed, if that is part of the step.
struct Hashed<R> {
    reader: R,
    hash: Option<Sha256>,
}

impl<R: Read> Hashed<R> {
    fn new(reader: R, step: Step) -> Self {
        Self { reader, hash: (step >= Step::Hash).then(Sha256::new) }
    }

    fn finish(self) {
        if let Some(hash) = self.hash {
            // Nobody wants it; but without the last block it would be no digest.
            std::hint::black_box(hash.finalize());
        }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..count]);
        }
        Ok(count)
    }
}
