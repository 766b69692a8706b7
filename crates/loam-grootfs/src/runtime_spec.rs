//! What `create` prints: the part of a runtime specification that Garden puts into its bundle (OCI runtime specification,
//! config.md), with the members and the order of the Go types.

use std::path::Path;

use loam_model::RootfsPlan;
use serde::Serialize;

use crate::error::GrootfsError;

/// The longest options of a mount that the kernel takes, in bytes: they have to fit into a page with what ends them.
const LONGEST_OPTIONS: usize = 4095;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Specification<'a> {
    oci_version: &'a str,
    process: Process<'a>,
    root: Root<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<Mount>,
}

#[derive(Serialize)]
struct Process<'a> {
    user: User,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    env: &'a [String],
    cwd: &'a str,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Serialize)]
struct Root<'a> {
    path: &'a Path,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    r#type: &'static str,
    source: &'static str,
    options: Vec<String>,
}

/// The line for a root file system at a path, with the image's environment; an overlay that is not mounted yet is
/// described.
pub(crate) fn line(rootfs: &Path, environment: &[String], overlay: Option<&str>) -> String {
    let overlay = overlay.map(|options| Mount {
        destination: "/",
        r#type: "overlay",
        source: "overlay",
        options: vec![options.to_owned()],
    });
    let specification = Specification {
        oci_version: "",
        process: Process { user: User { uid: 0, gid: 0 }, env: environment, cwd: "" },
        root: Root { path: rootfs },
        mounts: overlay.into_iter().collect(),
    };
    serde_json::to_string(&specification).unwrap_or_default()
}

/// The options of an overlay of a plan's directories, as one text.
pub(crate) fn overlay_options(plan: &RootfsPlan) -> Result<String, GrootfsError> {
    let text = |path: &Path| -> Result<String, GrootfsError> {
        match path.to_str() {
            Some(text) if !text.contains([',', ':', '\\']) => Ok(text.to_owned()),
            _ => Err(GrootfsError::said(format!("`{}` can't be part of a mount's options", path.display()))),
        }
    };
    let lower = plan.lower.iter().map(|path| text(path)).collect::<Result<Vec<_>, _>>()?;
    let mut options = format!("lowerdir={}", lower.join(":"));
    if let (Some(upper), Some(work)) = (&plan.upper, &plan.work) {
        options += &format!(",upperdir={},workdir={}", text(upper)?, text(work)?);
    }
    if options.len() > LONGEST_OPTIONS {
        let what = format!(
            "the image has too many layers for the options of a mount: {} bytes where {LONGEST_OPTIONS} are \
             allowed",
            options.len()
        );
        return Err(GrootfsError::said(what));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_grootfs() {
        let mounted = line(Path::new("/s/images/a/rootfs"), &["PATH=/bin".to_owned()], None);
        insta::assert_snapshot!(mounted, @r#"{"ociVersion":"","process":{"user":{"uid":0,"gid":0},"env":["PATH=/bin"],"cwd":""},"root":{"path":"/s/images/a/rootfs"}}"#);
        let plan = RootfsPlan {
            lower: vec!["/s/b".into(), "/s/a".into()],
            upper: Some("/s/u".into()),
            work: Some("/s/w".into()),
            disk: None,
            limit: None,
            mapping: None,
            volatile: false,
        };
        let options = overlay_options(&plan).expect("short");
        let described = line(Path::new("/s/r"), &[], Some(&options));
        insta::assert_snapshot!(described, @r#"{"ociVersion":"","process":{"user":{"uid":0,"gid":0},"cwd":""},"root":{"path":"/s/r"},"mounts":[{"destination":"/","type":"overlay","source":"overlay","options":["lowerdir=/s/b:/s/a,upperdir=/s/u,workdir=/s/w"]}]}"#);
        let many = RootfsPlan { lower: vec![format!("/{}", "x".repeat(100)).into(); 50], ..plan.clone() };
        assert!(overlay_options(&many).is_err());
        assert!(overlay_options(&RootfsPlan { lower: vec!["/a:b".into()], ..plan }).is_err());
    }
}
