//! `loam create`.

use clap::Args;

use super::Outcome;
use crate::exit::Exit;
use crate::flags::ContainerFlags;
use crate::id_file::IdFile;
use crate::wiring::Wiring;
use crate::{image_source, output, render};

/// The flags of `create`.
#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    container: ContainerFlags,
}

impl Create {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let flags = &self.container;
        let mut spec = flags.spec()?;
        let engine = wiring.engine()?;
        let image = image_source::obtain(wiring, flags)?;
        flags.complete(&mut spec, &image.config)?;
        image_source::name_in_spec(&mut spec, &image);
        let id_file = flags.cidfile.as_deref().map(IdFile::reserve).transpose()?;
        let created = engine.create_from(&spec, &image)?;
        for sentence in &created.warnings {
            render::warning(sentence);
        }
        if let Some(file) = id_file {
            file.write(created.id.as_str())?;
        }
        output::print_line(created.id.as_str())?;
        Ok(Exit::SUCCESS)
    }
}
