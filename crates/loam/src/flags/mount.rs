//! `--volume`, `--mount` and `--tmpfs`.

use std::path::{Path, PathBuf};

use loam_model::{MountKind, MountSpec, Propagation, shown};

use super::{Parsed, options, quantity};

/// A bind mount as it is when nothing else is said: with everything below it, ids shifted, no devices, no
/// set-user-id programs.
#[derive(Clone, Debug)]
struct Bind {
    read_only: bool,
    recursive: bool,
    propagation: Propagation,
    idmap: bool,
    exec: bool,
    dev: bool,
    suid: bool,
    relabel: bool,
}

impl Default for Bind {
    fn default() -> Self {
        Self {
            read_only: false,
            recursive: true,
            propagation: Propagation::Private,
            idmap: true,
            exec: true,
            dev: false,
            suid: false,
            relabel: false,
        }
    }
}

impl Bind {
    /// Takes note of an option of `--volume`; says whether it is one.
    fn option(&mut self, key: &str) -> bool {
        match key {
            "ro" | "readonly" => self.read_only = true,
            "rw" => self.read_only = false,
            "rbind" => self.recursive = true,
            "bind" => self.recursive = false,
            "idmap" => self.idmap = true,
            "noidmap" => self.idmap = false,
            "exec" => self.exec = true,
            "noexec" => self.exec = false,
            "dev" => self.dev = true,
            "nodev" => self.dev = false,
            "suid" => self.suid = true,
            "nosuid" => self.suid = false,
            "z" | "Z" => self.relabel = true,
            // Consistency on other systems: nothing to do here.
            "cached" | "delegated" | "consistent" => {}
            key => return self.propagation(key),
        }
        true
    }

    fn propagation(&mut self, key: &str) -> bool {
        self.propagation = match key {
            "private" | "rprivate" => Propagation::Private,
            "slave" | "rslave" => Propagation::Slave,
            "shared" | "rshared" => Propagation::Shared,
            _ => return false,
        };
        true
    }

    fn mount(self, source: PathBuf, target: String) -> MountSpec {
        let Self { read_only, recursive, propagation, idmap, exec, dev, suid, relabel } = self;
        MountSpec {
            target,
            kind: MountKind::Bind { source, recursive, propagation, idmap, exec, dev, suid, relabel },
            read_only,
        }
    }
}

/// Parses `--volume SOURCE:TARGET[:OPTIONS]`. A source that begins with `.` is below the working directory.
pub(super) fn volume(text: &str, working_directory: &Path) -> Parsed<MountSpec> {
    let mut parts = text.splitn(3, ':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        return Err("a volume is SOURCE:TARGET[:OPTIONS]".to_owned());
    };
    let mut bind = Bind::default();
    for (key, value) in options::list(parts.next().unwrap_or("")) {
        if value.is_some() || !bind.option(key) {
            return options::unknown(key);
        }
    }
    Ok(bind.mount(source_path(source, working_directory)?, target_path(target)?))
}

/// Parses `--mount type=bind|tmpfs,KEY=VALUE,…`.
pub(super) fn mount(text: &str, working_directory: &Path) -> Parsed<MountSpec> {
    let kind = options::list(text).find(|(key, _)| *key == "type").and_then(|(_, value)| value);
    match kind {
        Some("bind") => bind_mount(text, working_directory),
        Some("tmpfs") => tmpfs_mount(text),
        Some("volume") | None => Err("only mounts of type=bind and type=tmpfs are known".to_owned()),
        Some(kind) => Err(format!("mounts of type `{}` are not known", shown(kind))),
    }
}

fn bind_mount(text: &str, working_directory: &Path) -> Parsed<MountSpec> {
    let (mut source, mut target, mut bind) = (None, None, Bind::default());
    for (key, value) in options::list(text) {
        match key {
            "type" => {}
            "source" | "src" => source = Some(source_path(options::needed(key, value)?, working_directory)?),
            "target" | "destination" | "dst" => target = Some(target_path(options::needed(key, value)?)?),
            "readonly" | "ro" => bind.read_only = options::switch(key, value)?,
            "rw" => bind.read_only = !options::switch(key, value)?,
            "bind-nonrecursive" => bind.recursive = !options::switch(key, value)?,
            "bind-recursive" => bind.recursive = recursive(options::needed(key, value)?)?,
            "idmap" => bind.idmap = options::switch(key, value)?,
            "bind-propagation" => {
                if !bind.propagation(options::needed(key, value)?) {
                    return Err("bind-propagation is one of private, slave, shared, or these with r before"
                        .to_owned());
                }
            }
            "consistency" => {}
            key if value.is_none() && bind.option(key) => {}
            key => return options::unknown(key),
        }
    }
    let source = source.ok_or("a bind mount needs source=PATH")?;
    Ok(bind.mount(source, target.ok_or("a mount needs target=PATH")?))
}

fn recursive(value: &str) -> Parsed<bool> {
    match value {
        "enabled" | "writable" | "readonly" => Ok(true),
        "disabled" => Ok(false),
        _ => Err("bind-recursive is enabled or disabled".to_owned()),
    }
}

fn tmpfs_mount(text: &str) -> Parsed<MountSpec> {
    let (mut target, mut tmpfs) = (None, Tmpfs { exec: true, ..Tmpfs::default() });
    for (key, value) in options::list(text) {
        match key {
            "type" => {}
            "target" | "destination" | "dst" => target = Some(target_path(options::needed(key, value)?)?),
            "tmpfs-size" => tmpfs.size = Some(quantity::size(options::needed(key, value)?)?),
            "tmpfs-mode" => tmpfs.mode = Some(mode(options::needed(key, value)?)?),
            "readonly" | "ro" => tmpfs.read_only = options::switch(key, value)?,
            key => tmpfs.option(key, value)?,
        }
    }
    Ok(tmpfs.mount(target.ok_or("a mount needs target=PATH")?))
}

/// Parses `--tmpfs TARGET[:OPTIONS]`. As with Docker, programs can be run from it only with `exec`.
pub(super) fn tmpfs(text: &str) -> Parsed<MountSpec> {
    let (target, list) = text.split_once(':').unwrap_or((text, ""));
    let mut tmpfs = Tmpfs::default();
    for (key, value) in options::list(list) {
        tmpfs.option(key, value)?;
    }
    Ok(tmpfs.mount(target_path(target)?))
}

#[derive(Clone, Debug, Default)]
struct Tmpfs {
    size: Option<u64>,
    mode: Option<u32>,
    exec: bool,
    read_only: bool,
}

impl Tmpfs {
    fn option(&mut self, key: &str, value: Option<&str>) -> Parsed<()> {
        match (key, value) {
            ("size", value) => self.size = Some(quantity::size(options::needed(key, value)?)?),
            ("mode", value) => self.mode = Some(mode(options::needed(key, value)?)?),
            ("exec", None) => self.exec = true,
            ("noexec", None) => self.exec = false,
            ("ro", None) => self.read_only = true,
            ("rw", None) => self.read_only = false,
            // Always so.
            ("nosuid" | "nodev", None) => {}
            (key, _) => return options::unknown(key),
        }
        Ok(())
    }

    fn mount(self, target: String) -> MountSpec {
        let Self { size, mode, exec, read_only } = self;
        MountSpec { target, kind: MountKind::Tmpfs { size, mode, exec }, read_only }
    }
}

fn mode(text: &str) -> Parsed<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| "a mode is an octal number such as 1777".to_owned())
}

fn source_path(text: &str, working_directory: &Path) -> Parsed<PathBuf> {
    if text.starts_with('/') {
        return Ok(PathBuf::from(text));
    }
    if text == "." || text == ".." || text.starts_with("./") || text.starts_with("../") {
        return Ok(working_directory.join(text));
    }
    let text = shown(text);
    Err(format!("the source `{text}` is not a path: begin it with `/` or `./` (there are no named volumes)"))
}

fn target_path(text: &str) -> Parsed<String> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(format!("the target `{}` is not an absolute path", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> &'static Path {
        Path::new("/home/me")
    }

    fn bind(source: &str, target: &str, change: impl FnOnce(&mut Bind)) -> MountSpec {
        let mut bind = Bind::default();
        change(&mut bind);
        bind.mount(source.into(), target.to_owned())
    }

    fn in_memory(target: &str, tmpfs: Tmpfs) -> MountSpec {
        tmpfs.mount(target.to_owned())
    }

    #[test]
    fn volumes_are_bind_mounts() {
        for (text, expected) in [
            ("/a:/b", bind("/a", "/b", |_| {})),
            ("/a:/b:ro", bind("/a", "/b", |b| b.read_only = true)),
            ("./a:/b", bind("/home/me/./a", "/b", |_| {})),
            (
                "/a:/b:ro,rslave,z",
                bind("/a", "/b", |b| {
                    b.read_only = true;
                    b.propagation = Propagation::Slave;
                    b.relabel = true;
                }),
            ),
            (
                "/a:/b:shared",
                bind("/a", "/b", |b| {
                    b.propagation = Propagation::Shared;
                }),
            ),
            (
                "/a:/b:noidmap,suid,dev,noexec",
                bind("/a", "/b", |b| {
                    b.idmap = false;
                    b.suid = true;
                    b.dev = true;
                    b.exec = false;
                }),
            ),
        ] {
            assert_eq!(volume(text, here()), Ok(expected), "{text}");
        }
        for text in ["/a", "/a:b", "data:/b", "/a:/b:wet", ":/b", "/a:/b:ro=1", ""] {
            assert!(volume(text, here()).is_err(), "{text}");
        }
    }

    #[test]
    fn mounts_name_their_parts() {
        for (text, expected) in [
            ("type=bind,src=/a,dst=/b", bind("/a", "/b", |_| {})),
            ("type=bind,source=/a,target=/b,readonly", bind("/a", "/b", |b| b.read_only = true)),
            ("type=bind,source=/a,destination=/b,ro=false", bind("/a", "/b", |_| {})),
            (
                "type=bind,src=/a,dst=/b,bind-propagation=rshared",
                bind("/a", "/b", |b| {
                    b.propagation = Propagation::Shared;
                }),
            ),
            ("type=bind,src=/a,dst=/b,Z", bind("/a", "/b", |b| b.relabel = true)),
            ("type=bind,src=/a,dst=/b,bind-nonrecursive=true", bind("/a", "/b", |b| b.recursive = false)),
            ("type=tmpfs,dst=/t", in_memory("/t", Tmpfs { exec: true, ..Tmpfs::default() })),
            (
                "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=0700",
                in_memory(
                    "/t",
                    Tmpfs { size: Some(1 << 20), mode: Some(0o700), exec: true, read_only: false },
                ),
            ),
        ] {
            assert_eq!(mount(text, here()), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("src=/a,dst=/b", "only mounts of type=bind and type=tmpfs are known"),
            ("type=npipe,dst=/b", "mounts of type `npipe` are not known"),
            ("type=bind,dst=/b", "a bind mount needs source=PATH"),
            ("type=bind,src=/a", "a mount needs target=PATH"),
            ("type=bind,src,dst=/b", "the option `src` needs a value"),
            ("type=bind,src=/a,dst=/b,x=1", "the option `x` is not known"),
            ("type=tmpfs,dst=/b,tmpfs-mode=9", "a mode is an octal number such as 1777"),
            ("type=bind,src=/a,dst=/b,ro=perhaps", "the option `ro` is true or false"),
        ] {
            assert_eq!(mount(text, here()), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn tmpfs_takes_the_usual_options() {
        assert_eq!(tmpfs("/run"), Ok(in_memory("/run", Tmpfs::default())));
        let expected = Tmpfs { size: Some(64 << 20), mode: Some(0o1777), exec: true, read_only: false };
        assert_eq!(tmpfs("/run:rw,exec,nosuid,size=64m,mode=1777"), Ok(in_memory("/run", expected)));
        for text in ["run", "/run:uid=1", "/run:size", "/run:size=x"] {
            assert!(tmpfs(text).is_err(), "{text}");
        }
    }
}
