use super::*;

const CONTEXTS: &str = "process = \"system_u:system_r:svirt_lxc_net_t:s0\"\nfile = \"system_u:object_r:svirt_sandbox_file_t:s0\"\n";

fn options(change: impl FnOnce(&mut SelinuxOptions)) -> SelinuxOptions {
    let mut options = SelinuxOptions::default();
    change(&mut options);
    options
}

fn labels(asked: &SelinuxOptions, contexts: &str) -> Option<Labels> {
    let host = Selinux { contexts: contexts.to_owned() };
    let mapping = IdMapping::contiguous(3 * 65_536, 65_536);
    resolve(asked, &ContainerId::from_random([7; 32]), Some(&mapping), Some(&host)).unwrap()
}

fn shown_labels(asked: &SelinuxOptions, contexts: &str) -> String {
    labels(asked, contexts)
        .map_or_else(|| "none".to_owned(), |labels| format!("{} {}", labels.process, labels.files))
}

#[test]
fn a_container_gets_the_policy_s_labels_and_categories_of_its_own() {
    let plain = SelinuxOptions::default();
    assert_eq!(
        shown_labels(&plain, ""),
        "system_u:system_r:container_t:s0:c0,c3 system_u:object_r:container_file_t:s0:c0,c3"
    );
    assert_eq!(
        shown_labels(&plain, CONTEXTS),
        "system_u:system_r:svirt_lxc_net_t:s0:c0,c3 system_u:object_r:svirt_sandbox_file_t:s0:c0,c3"
    );
    // A file that makes no sense is no reason to run unlabelled.
    assert!(shown_labels(&plain, "process = nonsense\nfile\n").contains("container_t"));
}

#[test]
fn each_part_can_be_chosen() {
    let chosen = options(|options| {
        options.user = Some("staff_u".to_owned());
        options.role = Some("staff_r".to_owned());
        options.kind = Some("spc_t".to_owned());
        options.level = Some("s0:c1,c2".to_owned());
        options.file_kind = Some("data_t".to_owned());
    });
    assert_eq!(shown_labels(&chosen, ""), "staff_u:staff_r:spc_t:s0:c1,c2 system_u:object_r:data_t:s0:c1,c2");
    assert_eq!(shown_labels(&options(|options| options.disable = true), ""), "none");
}

#[test]
fn labels_are_refused_where_they_can_not_be_had() {
    let id = ContainerId::from_random([7; 32]);
    let on = Selinux::default();
    let refused =
        |asked: &SelinuxOptions, host| resolve(asked, &id, None, host).expect_err("refused").chain();
    let kind = options(|options| options.kind = Some("spc_t".to_owned()));
    assert_eq!(
        refused(&kind, None),
        "SELinux label `type:spc_t` can't be applied: this kernel does not run SELinux"
    );
    assert_eq!(resolve(&SelinuxOptions::default(), &id, None, None).unwrap(), None);
    assert_eq!(resolve(&options(|options| options.disable = true), &id, None, None).unwrap(), None);
    let bad = options(|options| options.kind = Some("a:b".to_owned()));
    assert_eq!(refused(&bad, Some(&on)), "SELinux type `a:b` contains a colon");
    let bad = options(|options| options.level = Some("s0\nx".to_owned()));
    assert_eq!(refused(&bad, Some(&on)), "SELinux label `s0\\nx` is not a plain name");
}

#[test]
fn the_policy_s_name_is_read_from_the_configuration() {
    let config = "# a comment\nSELINUX=enforcing\nSELINUXTYPE=targeted\n";
    assert_eq!(value_of(config, "SELINUXTYPE").as_deref(), Some("targeted"));
    assert_eq!(value_of(config, "OTHER"), None);
}
