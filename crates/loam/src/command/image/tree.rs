//! `loam image tree`: the layers of images, with their sizes and what they share.

use clap::Args;
use loam_model::{Image, LayerDetail, escaped};
use serde::Serialize;

use super::super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::wiring::Wiring;
use crate::{human, output};

/// The flags of `image tree`.
#[derive(Args, Debug)]
pub(crate) struct Tree {
    #[command(flatten)]
    format: FormatFlag,
    /// Names or ids; all images when there are none
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// An image and its layers, the lowest first.
#[derive(Serialize)]
struct Stack {
    #[serde(flatten)]
    image: Image,
    stack: Vec<LayerDetail>,
}

impl Tree {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let store = wiring.images()?;
        let mut names = self.images;
        if names.is_empty() {
            for image in store.list()? {
                let id = image.id.to_string();
                if !names.contains(&id) {
                    names.push(id);
                }
            }
        }
        let mut stacks = Vec::new();
        for name in &names {
            let image = store.resolve(name)?;
            let stack = wiring.upkeep()?.layers(&image.id)?;
            stacks.push(Stack { image, stack });
        }
        if self.format.is_json() {
            output::print_json(&stacks)?;
        } else {
            output::print(&stacks.iter().map(draw).collect::<String>())?;
        }
        Ok(Exit::SUCCESS)
    }
}

/// A paragraph: the image, and below it a line for each layer, the topmost first.
fn draw(stack: &Stack) -> String {
    let names = stack.image.names.join(", ");
    let name = if names.is_empty() { "<none>".to_owned() } else { escaped(&names).into_owned() };
    let own: u64 = stack.stack.iter().filter(|layer| layer.images == 1).map(|layer| layer.size).sum();
    let mut text = format!(
        "{name}  {}  {}, of which {} its own\n",
        stack.image.id.short(),
        human::bytes(stack.image.size),
        human::bytes(own)
    );
    for (index, layer) in stack.stack.iter().enumerate().rev() {
        let branch = if index == 0 { "└─" } else { "├─" };
        let shared = match layer.images {
            0 | 1 => String::new(),
            2 => ", shared with 1 other image".to_owned(),
            count => format!(", shared with {} other images", count - 1),
        };
        let line = format!(
            "{branch} {}  {:>10}  {} files{shared}\n",
            layer.diff_id.short(),
            human::bytes(layer.size),
            layer.entries
        );
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_hang_below_their_image() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64)).parse().expect("a digest");
        let layer = |digit, size, images| LayerDetail { diff_id: digest(digit), size, entries: 12, images };
        let image = Image {
            id: digest("a"),
            manifest: digest("b"),
            names: vec!["mine:1".to_owned(), "mine:2".to_owned()],
            platform: "linux/amd64".to_owned(),
            config: loam_model::ImageConfig::default(),
            layers: vec![digest("1"), digest("2"), digest("3")],
            created: None,
            size: 3 << 20,
        };
        let stack = vec![layer("1", 2 << 20, 3), layer("2", 1 << 19, 2), layer("3", 1 << 19, 1)];
        insta::assert_snapshot!(draw(&Stack { image, stack }), @r"
        mine:1, mine:2  aaaaaaaaaaaa  3.0 MiB, of which 512.0 KiB its own
        ├─ 333333333333   512.0 KiB  12 files
        ├─ 222222222222   512.0 KiB  12 files, shared with 1 other image
        └─ 111111111111     2.0 MiB  12 files, shared with 2 other images
        ");
    }
}
