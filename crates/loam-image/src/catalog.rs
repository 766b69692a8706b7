//! What the database knows of images and layers: reading.

use std::collections::HashSet;
use std::str::FromStr;

use loam_model::{Digest, Image, ImageConfig, ImageSummary};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

/// A layer in the store.
#[derive(Clone, Debug)]
pub(crate) struct LayerRow {
    /// Its directory in `layers`.
    pub(crate) directory: String,
}

/// Reads a column as a checked type.
pub(crate) fn parsed<T>(row: &Row<'_>, column: usize) -> Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn size(row: &Row<'_>, column: usize) -> Result<u64> {
    let bytes: i64 = row.get(column)?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

pub(crate) fn layer(connection: &Connection, diff_id: &Digest) -> Result<Option<LayerRow>> {
    connection
        .prepare_cached("SELECT directory FROM layer WHERE diff_id = ?1")?
        .query_row([diff_id.to_string()], |row| Ok(LayerRow { directory: row.get(0)? }))
        .optional()
}

/// Bytes of a layer's files; `None` when there is no such layer.
pub(crate) fn layer_size(connection: &Connection, diff_id: &Digest) -> Result<Option<u64>> {
    connection
        .prepare_cached("SELECT size FROM layer WHERE diff_id = ?1")?
        .query_row([diff_id.to_string()], |row| size(row, 0))
        .optional()
}

/// The directories of an image's layers, the topmost first.
pub(crate) fn directories(connection: &Connection, image: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT directory FROM image_layer JOIN layer USING (diff_id) WHERE image = ?1
         ORDER BY position DESC",
    )?;
    statement.query_map([image], |row| row.get(0))?.collect()
}

/// Whether a directory in `layers` belongs to a layer.
pub(crate) fn knows_directory(connection: &Connection, directory: &str) -> Result<bool> {
    let query =
        "SELECT 1 FROM layer WHERE directory = ?1 UNION SELECT 1 FROM replaced_layer WHERE directory = ?1";
    connection.prepare_cached(query)?.exists([directory])
}

/// Whether there is an image with this id.
pub(crate) fn knows_image(connection: &Connection, id: &Digest) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM image WHERE id = ?1")?.exists([id.to_string()])
}

pub(crate) fn image(connection: &Connection, id: &str) -> Result<Option<Image>> {
    let head = connection
        .prepare_cached("SELECT id, manifest, platform, created, config FROM image WHERE id = ?1")?
        .query_row([id], |row| {
            let config: String = row.get(4)?;
            let config: ImageConfig = serde_json::from_str(&config)
                .map_err(|error| rusqlite::Error::FromSqlConversionFailure(4, Type::Text, Box::new(error)))?;
            Ok(Image {
                id: parsed(row, 0)?,
                manifest: parsed(row, 1)?,
                names: Vec::new(),
                platform: row.get(2)?,
                config,
                layers: Vec::new(),
                created: row.get(3)?,
                size: 0,
            })
        })
        .optional()?;
    let Some(mut image) = head else { return Ok(None) };
    image.names = names(connection, id)?;
    let mut statement = connection.prepare_cached(
        "SELECT layer.diff_id, layer.size FROM image_layer JOIN layer USING (diff_id)
         WHERE image = ?1 ORDER BY position",
    )?;
    let layers = statement.query_map([id], |row| Ok((parsed(row, 0)?, size(row, 1)?)))?;
    let layers: Vec<(Digest, u64)> = layers.collect::<rusqlite::Result<_>>()?;
    // A layer that an image has twice is on disk once.
    let mut seen = HashSet::with_capacity(layers.len());
    let once = layers.iter().filter(|(diff_id, _)| seen.insert(diff_id));
    image.size = once.map(|(_, size)| size).sum();
    image.layers = layers.into_iter().map(|(diff_id, _)| diff_id).collect();
    Ok(Some(image))
}

/// Bytes of an image's layers, each once.
pub(crate) fn layer_bytes(connection: &Connection, image: &str) -> Result<u64> {
    connection
        .prepare_cached(
            "SELECT coalesce(sum(size), 0) FROM layer
             WHERE diff_id IN (SELECT diff_id FROM image_layer WHERE image = ?1)",
        )?
        .query_row([image], |row| size(row, 0))
}

pub(crate) fn names(connection: &Connection, image: &str) -> Result<Vec<String>> {
    let mut statement =
        connection.prepare_cached("SELECT name FROM image_name WHERE image = ?1 ORDER BY name")?;
    statement.query_map([image], |row| row.get(0))?.collect()
}

/// The image with exactly this name.
pub(crate) fn named(connection: &Connection, name: &str) -> Result<Option<String>> {
    connection
        .prepare_cached("SELECT image FROM image_name WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// The image whose manifest, under any name, has this digest.
pub(crate) fn with_manifest(connection: &Connection, manifest: &Digest) -> Result<Option<String>> {
    connection
        .prepare_cached("SELECT id FROM image WHERE manifest = ?1")?
        .query_row([manifest.to_string()], |row| row.get(0))
        .optional()
}

/// Up to two images whose id begins so.
pub(crate) fn with_prefix(connection: &Connection, algorithm: &str, digits: &str) -> Result<Vec<String>> {
    // `g` comes after every hexadecimal digit.
    let (from, to) = (format!("{algorithm}:{digits}"), format!("{algorithm}:{digits}g"));
    let mut statement =
        connection.prepare_cached("SELECT id FROM image WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 2")?;
    statement.query_map([from, to], |row| row.get(0))?.collect()
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<ImageSummary>> {
    let mut statement = connection.prepare_cached(
        "SELECT image.id, image_name.name, manifest, platform, created,
            (SELECT coalesce(sum(size), 0) FROM layer
             WHERE diff_id IN (SELECT diff_id FROM image_layer WHERE image = image.id))
         FROM image LEFT JOIN image_name ON image_name.image = image.id
         ORDER BY created DESC NULLS LAST, added DESC, image_name.name",
    )?;
    let rows = statement.query_map(params![], |row| {
        Ok(ImageSummary {
            id: parsed(row, 0)?,
            name: row.get(1)?,
            manifest: parsed(row, 2)?,
            platform: row.get(3)?,
            created: row.get(4)?,
            size: size(row, 5)?,
        })
    })?;
    rows.collect()
}

/// The containers that have a snapshot of an image.
pub(crate) fn users(connection: &Connection, image: &str) -> Result<Vec<String>> {
    let mut statement =
        connection.prepare_cached("SELECT container FROM snapshot WHERE image = ?1 ORDER BY container")?;
    statement.query_map([image], |row| row.get(0))?.collect()
}
