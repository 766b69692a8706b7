use super::*;

fn host(profiles: &[&str], parser: bool) -> AppArmor {
    AppArmor {
        profiles: Some(profiles.iter().map(|&name| name.to_owned()).collect()),
        parser: parser.then(|| "/sbin/apparmor_parser".into()),
        may_load: true,
    }
}

fn refusal(asked: &str, host: Option<&AppArmor>) -> String {
    resolve(Some(asked), host).expect_err("refused").chain()
}

#[test]
fn the_kernel_s_list_is_read() {
    let text = "docker-default (enforce)\n/usr/bin/man (complain)\nodd (name) (enforce)\n";
    assert_eq!(names(text), ["docker-default", "/usr/bin/man", "odd (name)"]);
    assert!(names("").is_empty());
}

#[test]
fn the_default_is_applied_where_it_can_be() {
    let applied = |host: Option<&AppArmor>| resolve(None, host).expect("never refused");
    let revision = profile::revision();
    assert_eq!(applied(None), None);
    assert_eq!(applied(Some(&host(&[DEFAULT_PROFILE, &revision], false))).as_deref(), Some(DEFAULT_PROFILE));
    assert_eq!(applied(Some(&host(&[], true))).as_deref(), Some(DEFAULT_PROFILE));
    assert_eq!(applied(Some(&host(&[], false))), None);
    assert_eq!(applied(Some(&AppArmor { may_load: false, ..host(&[], true) })), None);
    assert_eq!(applied(Some(&AppArmor { profiles: None, ..host(&[], true) })), None);
}

#[test]
fn an_older_revision_is_replaced() {
    let older = [DEFAULT_PROFILE, "loam-default//revision-0"];
    assert_eq!(host(&older, true).default_profile(), DefaultProfile::Loadable);
    assert_eq!(host(&older, false).default_profile(), DefaultProfile::NoParser);
}

#[test]
fn what_is_asked_for_is_had_or_refused() {
    let has = host(&["mine"], true);
    assert_eq!(resolve(Some("mine"), Some(&has)).unwrap().as_deref(), Some("mine"));
    assert_eq!(resolve(Some(UNCONFINED), None).unwrap(), None);
    assert_eq!(resolve(Some(DEFAULT_PROFILE), Some(&has)).unwrap().as_deref(), Some(DEFAULT_PROFILE));
    let prefix = |name: &str| format!("AppArmor profile `{name}` can't be applied: ");
    assert_eq!(refusal("x", None), prefix("x") + "this kernel does not run AppArmor");
    assert_eq!(refusal("x", Some(&has)), prefix("x") + "it is not loaded");
    let without = host(&[], false);
    let why = "it is not loaded, and `apparmor_parser` is not installed";
    assert_eq!(refusal(DEFAULT_PROFILE, Some(&without)), prefix(DEFAULT_PROFILE) + why);
    assert_eq!(refusal("a b", Some(&has)), "AppArmor profile `a b` is not a plain name");
    // Where the kernel does not say what it has, it decides itself when the container is made.
    let hidden = AppArmor { profiles: None, ..AppArmor::default() };
    assert_eq!(resolve(Some("x"), Some(&hidden)).unwrap().as_deref(), Some("x"));
}

#[test]
fn a_parser_that_fails_is_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let parser = directory.path().join("parser");
    let script = |text: &str| {
        fs::write(&parser, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&parser, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    let taken = directory.path().join("taken");
    script(&format!("cat >{}", taken.display()));
    load(&parser, &profile::text()).unwrap();
    assert_eq!(fs::read_to_string(&taken).unwrap(), profile::text());
    script("echo 'syntax error, line 1' >&2; exit 1");
    let failure = load(&parser, "x").unwrap_err().to_string();
    assert_eq!(failure, format!("`{}` failed: syntax error, line 1", parser.display()));
}
