//! The store's tables.

use loam_state::Schema;

/// The image store's part of the state database.
pub const SCHEMA: Schema =
    Schema { component: "images", versions: &[FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH, SEVENTH] };

const FIRST: &str = "
-- An image, by the digest of its configuration. `config` is what containers are made from, as JSON of the model's
-- `ImageConfig`, so that starting a container reads no blob. A condemned image goes with its last snapshot.
CREATE TABLE image (
    id TEXT PRIMARY KEY,
    manifest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    platform TEXT NOT NULL,
    created TEXT,
    config TEXT NOT NULL,
    added INTEGER NOT NULL,
    condemned INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX image_by_manifest ON image (manifest);

CREATE TABLE image_name (
    name TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES image (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_name_by_image ON image_name (image);

-- An unpacked layer, by its diff id: `layers/DIRECTORY/diff`. `blob` is what it was unpacked from; `blob_kept` says
-- whether that is in `blobs`, too. Size in bytes of the files, `entries` for the limit on inodes.
CREATE TABLE layer (
    diff_id TEXT PRIMARY KEY,
    directory TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    blob TEXT,
    blob_size INTEGER,
    blob_kept INTEGER NOT NULL DEFAULT 0,
    added INTEGER NOT NULL,
    used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE image_layer (
    image TEXT NOT NULL REFERENCES image (id),
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL REFERENCES layer (diff_id),
    PRIMARY KEY (image, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_layer_by_layer ON image_layer (diff_id);

-- A container's view. The quota columns: bytes allowed, whether the layers count, and the project id that the file
-- system counts under.
CREATE TABLE snapshot (
    container TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES image (id),
    ephemeral INTEGER NOT NULL,
    quota INTEGER,
    quota_counts_layers INTEGER NOT NULL DEFAULT 0,
    project INTEGER UNIQUE
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_by_image ON snapshot (image);

-- What garbage collection leaves alone until a time, in seconds since the epoch.
CREATE TABLE image_lease (
    holder TEXT NOT NULL,
    diff_id TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (holder, diff_id)
) STRICT, WITHOUT ROWID;
";

const SECOND: &str = "
-- What enforces a snapshot's `quota`, in the model's words.
ALTER TABLE snapshot ADD COLUMN mechanism TEXT;

-- Where the search for a free project id goes on, so that one that was just given back rests for a while: file systems
-- may count what was deleted a moment longer.
CREATE TABLE project_cursor (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    next INTEGER NOT NULL
) STRICT;
";

const THIRD: &str = "
-- When a container was last made from an image, in seconds since the epoch, to the hour; `added` when never. A pinned image
-- is not pruned.
ALTER TABLE image ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE image ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
";

const FOURTH: &str = "
-- What a layer came to when it was packed for a push: the diff id of the archive, which may be another than the layer's,
-- and the blob. Only what saves work: a layer whose row is gone is packed again.
CREATE TABLE packed_layer (
    layer TEXT PRIMARY KEY REFERENCES layer (diff_id) ON DELETE CASCADE,
    diff_id TEXT NOT NULL,
    blob TEXT NOT NULL,
    blob_size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

const FIFTH: &str = "
-- Whether a blob is kept, its file says.
ALTER TABLE layer DROP COLUMN blob_kept;

-- Images that a running process has pulled, until a time in seconds since the epoch; see `lease`. The table of this name
-- before was never used.
DROP TABLE image_lease;
CREATE TABLE image_lease (
    holder TEXT NOT NULL,
    image TEXT NOT NULL REFERENCES image (id) ON DELETE CASCADE,
    until INTEGER NOT NULL,
    PRIMARY KEY (holder, image)
) STRICT, WITHOUT ROWID;

-- An image that is mounted for people, and how often. The row is there before the mount.
CREATE TABLE image_mount (
    image TEXT PRIMARY KEY REFERENCES image (id),
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a repair has put another directory in the place of, and who stood on it then: containers, and mounted images by
-- their ids. It is deleted when none of them does any more.
CREATE TABLE replaced_layer (
    directory TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE replaced_layer_user (
    directory TEXT NOT NULL REFERENCES replaced_layer (directory) ON DELETE CASCADE,
    user TEXT NOT NULL,
    PRIMARY KEY (directory, user)
) STRICT, WITHOUT ROWID;
";

const SIXTH: &str = "
-- What walking the files of a snapshot that nothing counts came to, when it began, in milliseconds since the epoch, and how
-- many it took; see `snapshot::usage`. A snapshot with a `mechanism` and no `quota` is counted and not limited.
CREATE TABLE walked_snapshot (
    container TEXT PRIMARY KEY REFERENCES snapshot (container) ON DELETE CASCADE,
    bytes INTEGER NOT NULL,
    began INTEGER NOT NULL,
    took INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

const SEVENTH: &str = "
-- Snapshots whose limit is being changed: there before the file system is told, and gone with the change of `snapshot.quota`.
-- One that a process left when it died says that the file system may have another limit than the row; see `upkeep::limit`.
CREATE TABLE changing_limit (
    container TEXT PRIMARY KEY REFERENCES snapshot (container) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
";
