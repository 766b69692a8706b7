//! How a pull gets on, on standard error: a bar a layer on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use loam_model::{Digest, LayerProgress, PullProgress};

use crate::{human, render};

/// Shows how a pull gets on, as it suits where standard error goes.
pub(crate) fn shown() -> Box<dyn PullProgress> {
    match std::io::stderr().is_terminal() {
        true => Box::new(Bars::default()),
        false => Box::new(Lines::default()),
    }
}

/// Shows nothing but what must be said.
#[derive(Debug)]
pub(crate) struct Quiet;

impl PullProgress for Quiet {
    fn layer(&self, _: &Digest, _: LayerProgress) {}

    fn note(&self, sentence: &str) {
        render::notice(sentence);
    }
}

/// A bar for each layer.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Bars {
    fn bar(&self, blob: &Digest, length: u64) -> ProgressBar {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let bar = self.all.add(ProgressBar::new(length));
            bar.set_style(style("{prefix}  {msg}"));
            bar.set_prefix(blob.short().to_owned());
            bar
        };
        bars.entry(blob.clone()).or_insert_with(make).clone()
    }
}

impl Drop for Bars {
    /// Ends the last bar's line. Bars that have not come to their end clear theirs.
    fn drop(&mut self) {
        let bars = self.bars.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !bars.is_empty() && bars.values().all(ProgressBar::is_finished) {
            render::note("");
        }
    }
}

impl PullProgress for Bars {
    fn layer(&self, blob: &Digest, progress: LayerProgress) {
        match progress {
            LayerProgress::Present => finish(&self.bar(blob, 0), "present"),
            LayerProgress::Started { size } => {
                let bar = self.bar(blob, size);
                bar.set_style(style("{prefix}  {bar:30}  {msg}"));
                bar.set_length(size);
                bar.set_message(amount(0, size));
            }
            LayerProgress::Advanced { bytes } => {
                let bar = self.bar(blob, 0);
                bar.set_position(bytes);
                bar.set_message(amount(bytes, bar.length().unwrap_or(0)));
            }
            LayerProgress::Done => finish(&self.bar(blob, 0), "done"),
        }
    }

    fn note(&self, sentence: &str) {
        // Lost when standard error is: then nobody reads.
        drop(self.all.println(render::notice_line(sentence)));
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("█▌ ")
}

fn finish(bar: &ProgressBar, word: &'static str) {
    bar.set_style(style("{prefix}  {msg}"));
    bar.finish_with_message(word);
}

fn amount(bytes: u64, size: u64) -> String {
    format!("{} of {}", human::bytes(bytes), human::bytes(size))
}

/// A line when a layer begins and when it is there.
#[derive(Default)]
struct Lines {
    sizes: Mutex<HashMap<Digest, u64>>,
}

impl PullProgress for Lines {
    fn layer(&self, blob: &Digest, progress: LayerProgress) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            LayerProgress::Present => render::note(&format!("layer {}: present", blob.short())),
            LayerProgress::Started { size } => drop(sizes.insert(blob.clone(), size)),
            LayerProgress::Advanced { .. } => {}
            LayerProgress::Done => {
                let size =
                    sizes.get(blob).map(|size| format!(", {}", human::bytes(*size))).unwrap_or_default();
                render::note(&format!("layer {}: done{size}", blob.short()));
            }
        }
    }

    fn note(&self, sentence: &str) {
        render::notice(sentence);
    }
}
