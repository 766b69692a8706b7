//! Whose something is: one interface of one container, in one network.

use serde::Deserialize;

/// One attachment, as the list that a GC gets has it (`cni.dev/valid-attachments`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Attachment {
    /// The container's id.
    #[serde(rename = "containerID", alias = "containerId")]
    pub container_id: String,
    /// The interface's name.
    pub ifname: String,
}

impl Attachment {
    /// Whose it is.
    pub fn owner(&self) -> Owner<'_> {
        Owner { container: &self.container_id, interface: &self.ifname }
    }
}

/// The owner of something: an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The container's id.
    pub container: &'a str,
    /// The interface's name in the container.
    pub interface: &'a str,
}

/// The attachments of a network that a GC keeps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ValidAttachments(Vec<Attachment>);

impl ValidAttachments {
    /// Whether one is kept.
    pub fn contains(&self, owner: &Owner<'_>) -> bool {
        self.owners().any(|known| known == *owner)
    }

    /// All that are kept.
    pub fn owners(&self) -> impl Iterator<Item = Owner<'_>> {
        self.0.iter().map(Attachment::owner)
    }
}
