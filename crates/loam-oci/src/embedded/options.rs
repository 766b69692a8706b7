//! The options of a mount (runtime specification, config.md, "Linux mount options").

use loam_sys::MountPropagation;

/// `MOUNT_ATTR_…` of mount_setattr(2).
pub(super) mod attribute {
    pub(in crate::embedded) const READ_ONLY: u64 = 0x1;
    pub(in crate::embedded) const NO_SUID: u64 = 0x2;
    pub(in crate::embedded) const NO_DEV: u64 = 0x4;
    pub(in crate::embedded) const NO_EXEC: u64 = 0x8;
    pub(in crate::embedded) const ACCESS_TIME: u64 = 0x70;
    pub(in crate::embedded) const NO_ACCESS_TIME: u64 = 0x10;
    pub(in crate::embedded) const STRICT_ACCESS_TIME: u64 = 0x20;
    pub(in crate::embedded) const NO_DIRECTORY_ACCESS_TIME: u64 = 0x80;
    pub(in crate::embedded) const NO_SYMLINK_FOLLOW: u64 = 0x20_0000;
}
use attribute as a;

/// Attributes to set and to clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) set: u64,
    pub(super) clear: u64,
}

impl Attributes {
    fn set(&mut self, bits: u64, among: u64) {
        self.set = self.set & !among | bits;
        self.clear = self.clear & !bits | among & a::ACCESS_TIME;
    }

    fn clear(&mut self, bits: u64) {
        self.set &= !bits;
        self.clear |= bits;
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(self) -> bool {
        self.set == 0 && self.clear == 0
    }
}

/// The options of one mount, sorted by who takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MountOptions {
    /// Attributes of the mount itself.
    pub(super) here: Attributes,
    /// Attributes of the mount and of all below it.
    pub(super) below: Attributes,
    /// `bind` (false) or `rbind` (true).
    pub(super) bind: Option<bool>,
    /// `idmap` (false) or `ridmap` (true).
    pub(super) idmap: Option<bool>,
    /// The propagation, and whether for all below too.
    pub(super) propagation: Option<(MountPropagation, bool)>,
    /// What the file system takes: a key, perhaps a value.
    pub(super) data: Vec<(String, Option<String>)>,
}

/// An option, the attribute, and among which attributes it is a choice (0: it is a switch). `None` as the attribute
/// clears the choice.
const SET: [(&str, u64, u64); 9] = [
    ("ro", a::READ_ONLY, a::READ_ONLY),
    ("nosuid", a::NO_SUID, a::NO_SUID),
    ("nodev", a::NO_DEV, a::NO_DEV),
    ("noexec", a::NO_EXEC, a::NO_EXEC),
    ("noatime", a::NO_ACCESS_TIME, a::ACCESS_TIME),
    ("strictatime", a::STRICT_ACCESS_TIME, a::ACCESS_TIME),
    ("relatime", 0, a::ACCESS_TIME),
    ("nodiratime", a::NO_DIRECTORY_ACCESS_TIME, a::NO_DIRECTORY_ACCESS_TIME),
    ("nosymfollow", a::NO_SYMLINK_FOLLOW, a::NO_SYMLINK_FOLLOW),
];

const CLEAR: [(&str, u64); 7] = [
    ("rw", a::READ_ONLY),
    ("suid", a::NO_SUID),
    ("dev", a::NO_DEV),
    ("exec", a::NO_EXEC),
    ("diratime", a::NO_DIRECTORY_ACCESS_TIME),
    ("symfollow", a::NO_SYMLINK_FOLLOW),
    // These two take back a choice of the access time and leave the kernel's default.
    ("atime", 0),
];

/// Sorts the options of a mount.
pub(super) fn parse(options: &[String]) -> MountOptions {
    let mut parsed = MountOptions::default();
    for option in options {
        if !parsed.take_keyword(option) && !parsed.take_attribute(option) {
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (option.as_str(), None),
            };
            parsed.data.push((key.to_owned(), value));
        }
    }
    parsed
}

impl MountOptions {
    fn take_keyword(&mut self, option: &str) -> bool {
        match option {
            "defaults" | "" | "async" | "nomand" | "silent" | "loud" | "norelatime" | "nostrictatime"
            | "noiversion" | "nolazytime" => {}
            "bind" => self.bind = self.bind.or(Some(false)),
            "rbind" => self.bind = Some(true),
            "idmap" => self.idmap = Some(false),
            "ridmap" => self.idmap = Some(true),
            _ => match propagation(option) {
                Some(propagation) => self.propagation = Some(propagation),
                None => return false,
            },
        }
        true
    }

    fn take_attribute(&mut self, option: &str) -> bool {
        // `relatime` and its like begin with an `r` of their own, so the plain names come first.
        if attribute_of(&mut self.here, option) {
            return true;
        }
        option.strip_prefix('r').is_some_and(|plain| attribute_of(&mut self.below, plain))
    }
}

fn attribute_of(attributes: &mut Attributes, option: &str) -> bool {
    if let Some(&(_, bits, among)) = SET.iter().find(|(name, ..)| *name == option) {
        attributes.set(bits, among);
    } else if let Some(&(_, bits)) = CLEAR.iter().find(|(name, _)| *name == option) {
        attributes.clear(bits);
    } else {
        return false;
    }
    true
}

/// Reads the name of a propagation, with an `r` before it when it is for all mounts below.
pub(super) fn propagation(name: &str) -> Option<(MountPropagation, bool)> {
    let (plain, recursive) = name.strip_prefix('r').map_or((name, false), |plain| (plain, true));
    let propagation = match plain {
        "private" => MountPropagation::Private,
        "slave" => MountPropagation::Slave,
        "shared" => MountPropagation::Shared,
        "unbindable" => MountPropagation::Unbindable,
        _ => return None,
    };
    Some((propagation, recursive))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> MountOptions {
        parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_file_system_gets_what_the_mount_does_not_take() {
        let parsed = options("nosuid,strictatime,mode=755,size=65536k,newinstance");
        assert_eq!(parsed.here.set, a::NO_SUID | a::STRICT_ACCESS_TIME);
        let keys: Vec<_> = parsed.data.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(keys, [("mode", Some("755")), ("size", Some("65536k")), ("newinstance", None)]);
    }

    #[test]
    fn an_r_means_all_mounts_below() {
        let parsed = options("rbind,rro,rnosuid,rslave,relatime");
        assert_eq!(parsed.bind, Some(true));
        assert_eq!(parsed.below.set, a::READ_ONLY | a::NO_SUID);
        assert_eq!(parsed.here, Attributes { set: 0, clear: a::ACCESS_TIME });
        assert_eq!(parsed.propagation, Some((MountPropagation::Slave, true)));
    }

    #[test]
    fn the_last_of_opposites_wins() {
        assert_eq!(options("ro,rw").here, Attributes { set: 0, clear: a::READ_ONLY });
        assert_eq!(options("rw,ro").here, Attributes { set: a::READ_ONLY, clear: 0 });
        assert_eq!(options("noatime,strictatime").here.set, a::STRICT_ACCESS_TIME);
    }
}
