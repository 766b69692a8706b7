//! Fetching damaged layers again.
//!
//! A layer's blob is not kept, but its digest is, and names of images say which repositories had it. What comes from there
//! is unpacked and verified as in a pull, and the new directory takes the place of the old one in the database. Whoever
//! has the old one mounted goes on with it: it is kept, as a replaced layer, until none of the containers and mounts is
//! there any more that were there at the time.

use std::collections::BTreeSet;
use std::fs::File;

use loam_model::{
    ContainerId, Digest, ErrorKind, Failure, LayerState, PullProgress, RegistryOptions, RepairedLayer, Result,
};
use loam_registry::{ClientOptions, Notes, Reference};
use loam_state::Durability;
use loam_unpack::Reassembled;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::check::compare;
use crate::catalog::{self, parsed};
use crate::document::Descriptor;
use crate::error::failed;
use crate::pull::{Held, NeededLayer, with_notes};
use crate::record::NewLayer;
use crate::source::Registry;
use crate::staging::{open_directory, report};
use crate::{LayerStore, names};

/// What is known of a layer.
struct Known {
    directory: String,
    /// Blobs that give the layer: digests and sizes.
    blobs: Vec<(Digest, u64)>,
    /// The names of the images that have it.
    names: Vec<String>,
    /// The layers of one of these images up to this one, the lowest first.
    stack: Vec<Digest>,
}

impl LayerStore {
    /// Repairs layers, those first that others stand on.
    pub(super) fn repair_layers(
        &self,
        layers: &[Digest],
        options: &RegistryOptions,
        progress: &dyn PullProgress,
        heard: &mut dyn FnMut(&Digest, Result<RepairedLayer>) -> Result<()>,
    ) -> Result<()> {
        let mut ordered = Vec::with_capacity(layers.len());
        for layer in layers {
            let known = self.database.read(|connection| known(connection, layer))?;
            ordered.push((known.as_ref().map_or(0, |known| known.stack.len()), layer, known));
        }
        ordered.sort_by_key(|(height, ..)| *height);
        for (_, layer, known) in ordered {
            let repaired = match known {
                None => Err(Failure::new(ErrorKind::NotFound, format!("layer `{}` is gone", layer.short()))),
                Some(known) => {
                    with_notes(progress, |notes| self.repair_layer(layer, &known, options, notes, progress))
                }
            };
            heard(layer, repaired)?;
        }
        Ok(())
    }

    fn repair_layer(
        &self,
        layer: &Digest,
        known: &Known,
        options: &RegistryOptions,
        notes: Notes,
        progress: &dyn PullProgress,
    ) -> Result<RepairedLayer> {
        self.database.require_space()?;
        let mut failures = Vec::new();
        for place in places(&known.names) {
            let given = ClientOptions {
                insecure: options.insecure,
                credentials_file: options.credentials_file.clone(),
                ..self.config.registries.clone()
            };
            let registry = Registry::new(
                self.runtime()?,
                Some(&self.places),
                place.clone(),
                given,
                Notes::clone(&notes),
            )?;
            for (digest, size) in &known.blobs {
                let needed = NeededLayer {
                    diff_id: layer.clone(),
                    blob: descriptor(digest, *size),
                    contents: Some(layer.clone()),
                    base: None,
                };
                match self.fetch_again(&registry, &needed, progress) {
                    Ok(held) => return self.exchange(layer, known, held, place.name()),
                    Err(failure) => failures.push(failure),
                }
            }
        }
        Err(Failure::join(failures).unwrap_or_else(|| {
            Failure::new(ErrorKind::NotFound, "no registry is known that has it")
                .hint("remove the image and fetch it again from where it came from")
        }))
    }

    /// Puts the new directory in the place of the old one.
    fn exchange(
        &self,
        layer: &Digest,
        known: &Known,
        mut held: Held,
        source: String,
    ) -> Result<RepairedLayer> {
        let gone = || Failure::new(ErrorKind::Conflict, "it was removed or repaired meanwhile");
        if !self.settle(&known.stack, &mut held)? {
            return Err(gone());
        }
        let mut new = held.layers.remove(layer).ok_or_else(gone)?;
        new.publish()?;
        held.disk.sync()?;
        self.look_again(layer, new.record())?;
        let record = new.record().clone();
        let users = self
            .database
            .write(Durability::Synced, |transaction| swap(transaction, &known.directory, &record))?;
        let Some(users) = users else { return Err(gone()) };
        new.keep();
        if users.containers.is_empty() && users.mounts.is_empty() {
            self.places.discard(&self.places.layer(&known.directory))?;
        }
        Ok(RepairedLayer { source, containers: users.containers, mounts: users.mounts })
    }

    /// Holds what is on the disk now against the diff id, as the check that found the damage does.
    fn look_again(&self, layer: &Digest, new: &NewLayer) -> Result<()> {
        let unread = |error| failed("what was fetched can't be read again", error);
        let record = match File::open(self.places.split(&new.directory)) {
            Ok(record) => record,
            // Its archive can't be put together again: what came was verified as it came.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unread(error)),
        };
        let files = open_directory(&self.places.diff(&new.directory)).map_err(unread)?;
        match compare(Reassembled::new(record, files).map_err(unread)?, layer) {
            LayerState::Damaged { cause } => {
                let what = format!("what was fetched is damaged, too: {cause}");
                Err(Failure::new(ErrorKind::Internal, what).hint("look after the disk"))
            }
            LayerState::Whole | LayerState::Unverifiable => Ok(()),
        }
    }

    /// Deletes replaced layers that nobody stands on any more. Failures are left for the next time.
    pub(crate) fn sweep_replaced(&self) {
        let is_empty = self.database.read(|connection| {
            connection.prepare_cached("SELECT 1 FROM replaced_layer")?.exists([]).map(|some| !some)
        });
        if is_empty.unwrap_or(true) {
            return;
        }
        // A crash after this leaves directories without a row to the next sweep.
        match self.database.write(Durability::Unsynced, forget_replaced) {
            Ok(directories) => {
                for directory in directories {
                    report(&directory, self.places.discard(&self.places.layer(&directory)));
                }
            }
            Err(failure) => report("replaced layers", Err(failure)),
        }
    }
}

/// Who stood on a layer when it was replaced.
struct Users {
    containers: Vec<ContainerId>,
    mounts: Vec<Digest>,
}

/// The repositories that may have the layers of images with these names. Names without a registry, and those that images
/// from other places get, say of none.
fn places(known: &[String]) -> Vec<Reference> {
    let mut seen = BTreeSet::new();
    let named = known.iter().filter(|name| names::has_registry(name));
    let parsed = named.filter_map(|name| names::reference(name).ok());
    parsed.filter(|place| place.domain() != "localhost" && seen.insert(place.name())).collect()
}

fn descriptor(digest: &Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: None,
        digest: digest.clone(),
        size,
        platform: None,
        annotations: None,
        urls: None,
    }
}

fn known(connection: &Connection, layer: &Digest) -> rusqlite::Result<Option<Known>> {
    let id = layer.to_string();
    let blob = |row: &rusqlite::Row<'_>, at: usize| -> rusqlite::Result<Option<(Digest, u64)>> {
        match row.get::<_, Option<String>>(at)? {
            None => Ok(None),
            Some(_) => Ok(Some((parsed(row, at)?, row.get::<_, i64>(at + 1)?.unsigned_abs()))),
        }
    };
    // What it was packed into for a push gives the same layer when its archive was put together again.
    let row = connection
        .prepare(
            "SELECT directory, layer.blob, layer.blob_size, packed.blob, packed.blob_size FROM layer
             LEFT JOIN packed_layer AS packed
                ON packed.layer = layer.diff_id AND packed.diff_id = layer.diff_id
             WHERE layer.diff_id = ?1",
        )?
        .query_row([&id], |row| Ok((row.get::<_, String>(0)?, blob(row, 1)?, blob(row, 3)?)))
        .optional()?;
    let Some((directory, came, packed)) = row else { return Ok(None) };
    let names = connection
        .prepare(
            "SELECT DISTINCT name FROM image_name JOIN image_layer USING (image) WHERE diff_id = ?1
             ORDER BY name",
        )?
        .query_map([&id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let lowest: Option<(String, i64)> = connection
        .prepare(
            "SELECT image, position FROM image_layer WHERE diff_id = ?1 ORDER BY position, image LIMIT 1",
        )?
        .query_row([&id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((image, position)) = lowest else { return Ok(None) };
    let stack = connection
        .prepare("SELECT diff_id FROM image_layer WHERE image = ?1 AND position <= ?2 ORDER BY position")?
        .query_map(params![image, position], |row| parsed(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(Known { directory, blobs: came.into_iter().chain(packed).collect(), names, stack }))
}

/// Puts a new directory in the place of an old one, and takes note of who stands on that; `None` when it is no longer the
/// layer's.
fn swap(transaction: &Transaction<'_>, old: &str, new: &NewLayer) -> rusqlite::Result<Option<Users>> {
    let id = new.diff_id.to_string();
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let changed = transaction.execute(
        "UPDATE layer SET directory = ?3, size = ?4, entries = ?5 WHERE diff_id = ?1 AND directory = ?2",
        params![id, old, new.directory, number(new.size), number(new.entries)],
    )?;
    if changed == 0 {
        return Ok(None);
    }
    let containers: Vec<ContainerId> = transaction
        .prepare(
            "SELECT DISTINCT container FROM snapshot JOIN image_layer USING (image) WHERE diff_id = ?1
             ORDER BY container",
        )?
        .query_map([&id], |row| parsed(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    let mounts: Vec<Digest> = transaction
        .prepare(
            "SELECT DISTINCT image FROM image_mount JOIN image_layer USING (image) WHERE diff_id = ?1
             ORDER BY image",
        )?
        .query_map([&id], |row| catalog::parsed(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    let users = containers.iter().map(ToString::to_string).chain(mounts.iter().map(ToString::to_string));
    for (number, user) in users.enumerate() {
        if number == 0 {
            transaction.execute("INSERT INTO replaced_layer (directory) VALUES (?1)", [old])?;
        }
        let query = "INSERT INTO replaced_layer_user (directory, user) VALUES (?1, ?2)";
        transaction.execute(query, [old, &user])?;
    }
    Ok(Some(Users { containers, mounts }))
}

/// Forgets users that are gone, and replaced layers without any; gives the directories of those.
fn forget_replaced(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<String>> {
    transaction.execute(
        "DELETE FROM replaced_layer_user
         WHERE user NOT IN (SELECT container FROM snapshot) AND user NOT IN (SELECT image FROM image_mount)",
        [],
    )?;
    transaction
        .prepare(
            "DELETE FROM replaced_layer WHERE directory NOT IN (SELECT directory FROM replaced_layer_user)
             RETURNING directory",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}
