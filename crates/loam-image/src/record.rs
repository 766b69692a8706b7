//! What the database is told of images and layers: writing.

use loam_model::{Digest, ImageConfig};
use rusqlite::{OptionalExtension, Result, Transaction, params};

use crate::catalog;

/// An image to be recorded.
#[derive(Debug)]
pub(crate) struct NewImage<'a> {
    pub(crate) id: &'a Digest,
    pub(crate) manifest: &'a Digest,
    pub(crate) media_type: &'a str,
    pub(crate) platform: String,
    pub(crate) created: Option<&'a str>,
    pub(crate) config: &'a ImageConfig,
    /// All layers, the lowest first.
    pub(crate) layers: Vec<&'a Digest>,
    pub(crate) name: Option<&'a str>,
}

/// A layer to be recorded.
#[derive(Clone, Debug)]
pub(crate) struct NewLayer {
    pub(crate) diff_id: Digest,
    pub(crate) directory: String,
    pub(crate) size: u64,
    pub(crate) entries: u64,
    pub(crate) blob: Option<Digest>,
    pub(crate) blob_size: u64,
}

/// What is to be deleted from the disk because the database no longer knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dropped {
    /// Layers: diff id and directory.
    pub(crate) layers: Vec<(Digest, String)>,
    /// Blobs that may be without use.
    pub(crate) blobs: Vec<Digest>,
    /// Bytes of the layers.
    pub(crate) bytes: u64,
}

pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Records a layer.
pub(crate) fn layer(transaction: &Transaction<'_>, layer: &NewLayer) -> Result<()> {
    transaction.execute(
        "INSERT INTO layer (diff_id, directory, size, entries, blob, blob_size, added, used)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        params![
            layer.diff_id.to_string(),
            layer.directory,
            number(layer.size),
            number(layer.entries),
            layer.blob.as_ref().map(Digest::to_string),
            number(layer.blob_size),
            now(),
        ],
    )?;
    Ok(())
}

/// Records an image whose layers are all known, and points its name to it. Gives the manifest that it had before, if
/// that was another.
pub(crate) fn image(transaction: &Transaction<'_>, image: &NewImage<'_>) -> Result<Option<Digest>> {
    let id = image.id.to_string();
    let before: Option<Digest> = transaction
        .query_row("SELECT manifest FROM image WHERE id = ?1", [&id], |row| catalog::parsed(row, 0))
        .optional()?;
    let config = serde_json::to_string(image.config)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    transaction.execute(
        "INSERT INTO image (id, manifest, media_type, platform, created, config, added)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET manifest = ?2, media_type = ?3, added = ?7, condemned = 0",
        params![
            id,
            image.manifest.to_string(),
            image.media_type,
            image.platform,
            image.created,
            config,
            now()
        ],
    )?;
    for (position, diff_id) in (0_i64..).zip(&image.layers) {
        transaction.execute(
            "INSERT INTO image_layer (image, position, diff_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![id, position, diff_id.to_string()],
        )?;
    }
    if let Some(name) = image.name {
        point(transaction, name, &id)?;
    }
    Ok(before.filter(|manifest| manifest != image.manifest))
}

/// Notes that an image was pulled again, just as it is recorded. False when it is recorded otherwise, or condemned.
pub(crate) fn pulled_again(
    transaction: &Transaction<'_>,
    image: &str,
    manifest: &Digest,
    media_type: &str,
) -> Result<bool> {
    let update = "UPDATE image SET added = ?4
         WHERE id = ?1 AND manifest = ?2 AND media_type = ?3 AND condemned = 0";
    let updated = transaction.prepare_cached(update)?.execute(params![
        image,
        manifest.to_string(),
        media_type,
        now()
    ])?;
    Ok(updated == 1)
}

/// Points a name to an image.
pub(crate) fn point(transaction: &Transaction<'_>, name: &str, image: &str) -> Result<()> {
    transaction.execute(
        "INSERT INTO image_name (name, image) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET image = ?2",
        [name, image],
    )?;
    transaction.execute("UPDATE image SET condemned = 0 WHERE id = ?1", [image])?;
    Ok(())
}

/// Notes that a container is made from an image. To the hour, so that most containers write nothing for it.
pub(crate) fn used(transaction: &Transaction<'_>, image: &str) -> Result<()> {
    const HOUR: i64 = 3600;
    transaction
        .prepare_cached("UPDATE image SET used = ?2 WHERE id = ?1 AND used < ?2 - ?3")?
        .execute(params![image, now(), HOUR])?;
    Ok(())
}

/// Takes an image that waits for the last of its users out of the database, when there is none any more.
pub(crate) fn drop_condemned(transaction: &Transaction<'_>, image: &str) -> Result<Option<Dropped>> {
    let condemned: Option<bool> = transaction
        .prepare_cached("SELECT condemned FROM image WHERE id = ?1")?
        .query_row([image], |row| row.get(0))
        .optional()?;
    let needed = !catalog::users(transaction, image)?.is_empty()
        || crate::mounts::mount_count(transaction, image)?.is_some();
    if condemned != Some(true) || needed {
        return Ok(None);
    }
    drop_image(transaction, image).map(Some)
}

/// Takes an image that has no names and no snapshots out of the database, with the layers that nothing else has.
pub(crate) fn drop_image(transaction: &Transaction<'_>, image: &str) -> Result<Dropped> {
    let manifest: Digest =
        transaction
            .query_row("SELECT manifest FROM image WHERE id = ?1", [image], |row| catalog::parsed(row, 0))?;
    let mut dropped = Dropped { blobs: vec![manifest], ..Dropped::default() };
    if let Ok(config) = image.parse() {
        dropped.blobs.push(config);
    }
    let mut statement = transaction.prepare(
        "SELECT DISTINCT layer.diff_id, directory, size FROM image_layer AS mine JOIN layer USING (diff_id)
         WHERE image = ?1 AND NOT EXISTS
            (SELECT 1 FROM image_layer AS other WHERE other.diff_id = mine.diff_id AND other.image <> ?1)",
    )?;
    let mut rows = statement.query([image])?;
    while let Some(row) = rows.next()? {
        dropped.layers.push((catalog::parsed(row, 0)?, row.get(1)?));
        dropped.bytes += row.get::<_, i64>(2)?.unsigned_abs();
    }
    transaction.execute("DELETE FROM image_layer WHERE image = ?1", [image])?;
    transaction.execute("DELETE FROM image WHERE id = ?1", [image])?;
    for (diff_id, _) in &dropped.layers {
        transaction.execute("DELETE FROM layer WHERE diff_id = ?1", [diff_id.to_string()])?;
    }
    Ok(dropped)
}
