//! `loam images`.

use std::collections::HashSet;

use clap::Args;
use jiff::Timestamp;
use loam_model::ImageSummary;

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::flags::{ImageFilter, ImagePattern};
use crate::table::Table;
use crate::wiring::Wiring;
use crate::{human, output};

/// The flags of `images`.
#[derive(Args, Debug)]
pub(crate) struct Images {
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Only those with dangling=true|false, or with reference=NAME as NAME below; of several of one kind one suffices
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<ImageFilter>,
    #[command(flatten)]
    format: FormatFlag,
    /// Only those of this name, with or without its host, path and tag; `*` and `?` stand for anything but `/`
    name: Option<ImagePattern>,
}

impl Images {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let mut images = wiring.images()?.list()?;
        images.retain(|image| {
            let is_named =
                |pattern: &ImagePattern| image.name.as_deref().is_some_and(|name| pattern.accepts(name));
            self.name.as_ref().is_none_or(is_named) && ImageFilter::accept(&self.filters, image)
        });
        if self.format.is_json() {
            output::print_json(&images)?;
        } else if self.quiet {
            output::print(&ids(&images, self.no_trunc))?;
        } else {
            output::print(&table(&images, Timestamp::now(), self.no_trunc))?;
        }
        Ok(Exit::SUCCESS)
    }
}

fn id(image: &ImageSummary, full: bool) -> String {
    if full { image.id.to_string() } else { image.id.short().to_owned() }
}

/// Each image's id once, on a line of its own.
fn ids(images: &[ImageSummary], full: bool) -> String {
    let mut seen = HashSet::new();
    let new = images.iter().filter(|image| seen.insert(&image.id));
    new.map(|image| id(image, full) + "\n").collect()
}

fn table(images: &[ImageSummary], now: Timestamp, full: bool) -> String {
    let mut table = Table::new(&["NAME", "IMAGE ID", "PLATFORM", "CREATED", "SIZE"]);
    for image in images {
        table.row([
            image.name.clone().unwrap_or_else(|| "<none>".to_owned()),
            id(image, full),
            image.platform.clone(),
            image.created.as_deref().map_or_else(|| "unknown".to_owned(), |time| human::ago(time, now)),
            human::bytes(image.size),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(digit: &str, name: Option<&str>) -> ImageSummary {
        let id = format!("sha256:{}", digit.repeat(64));
        ImageSummary {
            id: id.parse().expect("a digest"),
            name: name.map(str::to_owned),
            manifest: id.parse().expect("a digest"),
            platform: "linux/amd64".to_owned(),
            created: name.map(|_| "2026-01-01T00:00:00Z".to_owned()),
            size: 4_400_000,
        }
    }

    #[test]
    fn a_line_for_each_name() {
        let images = [
            image("a", Some("docker.io/library/debian:latest")),
            image("a", Some("mine:1")),
            image("b", None),
        ];
        let now = "2026-01-31T12:00:00Z".parse().expect("a time");
        insta::assert_snapshot!(table(&images, now, false), @r"
        NAME                             IMAGE ID      PLATFORM     CREATED      SIZE
        docker.io/library/debian:latest  aaaaaaaaaaaa  linux/amd64  1 month ago  4.1 MiB
        mine:1                           aaaaaaaaaaaa  linux/amd64  1 month ago  4.1 MiB
        <none>                           bbbbbbbbbbbb  linux/amd64  unknown      4.1 MiB
        ");
        assert_eq!(ids(&images, false), "aaaaaaaaaaaa\nbbbbbbbbbbbb\n");
    }
}
