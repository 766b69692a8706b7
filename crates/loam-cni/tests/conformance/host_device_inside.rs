//! `host-device`: what a container does to the link that it was lent does not choose what the link is called on the host.

use loam_testkit::lab::inside;
use serde_json::{Value, json};

use crate::lab::{CONTAINER, Lab, Way};

const LINK: &str = "ip link add up0 address 0e:00:00:00:00:01 type veth peer name far0; ip link set up0 up";

fn config() -> Value {
    json!({ "cniVersion": "1.1.0", "name": "net", "type": "host-device", "device": "up0" })
}

fn each_way(test: impl Fn(&Lab, &dyn Fn(&str, &Value) -> Value)) {
    for way in [Way::Function, Way::Program] {
        let lab = Lab::new(way);
        lab.host_script(LINK);
        let path = lab.container.path().display().to_string();
        let call =
            |verb: &str, config: &Value| lab.call(verb, CONTAINER, &path, "", config).expect("it succeeds");
        test(&lab, &call);
        assert_eq!(
            lab.host_script("ls {DIR}/state/devices /run/loam/cni/devices 2>/dev/null | grep one || true"),
            ""
        );
    }
}

/// The names of the host's links.
fn links(lab: &Lab) -> String {
    lab.host_script("ip -o link show type veth | cut -d: -f2 | cut -d@ -f1 | sort | xargs")
        .trim_end()
        .to_owned()
}

#[test]
fn the_alias_that_a_container_gives_is_not_believed() {
    inside("host_device_inside::the_alias_that_a_container_gives_is_not_believed", || {
        each_way(|lab, call| {
            for alias in ["lo9", "", "far0"] {
                call("ADD", &config());
                assert_eq!(links(lab), "far0");
                lab.container_script(&format!("ip link set eth0 alias '{alias}'"));
                call("DEL", &config());
                assert_eq!(links(lab), "far0 up0", "{alias}");
            }
        });
    });
}

#[test]
fn another_link_in_its_place_stays_where_it_is() {
    inside("host_device_inside::another_link_in_its_place_stays_where_it_is", || {
        each_way(|lab, call| {
            call("ADD", &config());
            // The device has another name now, and its own is that of another link, which claims to be from the host.
            lab.container_script(
                "ip link set eth0 down; ip link set eth0 name mine
                 ip link add eth0 type veth peer name eth1; ip link set eth0 alias up0",
            );
            call("DEL", &config());
            assert_eq!(links(lab), "far0 up0");
            let link = lab.host_script("ip -o link show up0");
            assert!(link.contains("0e:00:00:00:00:01"), "{link}");
            let inside = lab.container_script("ip -o link show eth0");
            assert!(inside.contains("alias up0"), "{inside}");
        });
    });
}

#[test]
fn what_has_come_back_by_itself_is_given_its_name_by_a_collection() {
    inside("host_device_inside::what_has_come_back_by_itself_is_given_its_name_by_a_collection", || {
        each_way(|lab, call| {
            call("ADD", &config());
            // As the kernel does with hardware when the container's namespace ends.
            let host = lab.host.path().display().to_string();
            let host = host.split('/').nth(2).expect("a process").to_owned();
            lab.container_script(&format!("ip link set eth0 netns {host}"));
            assert_eq!(links(lab), "eth0 far0");
            let mut config = config();
            config["cni.dev/valid-attachments"] = json!([{ "containerID": CONTAINER, "ifname": "eth0" }]);
            lab.call("GC", "", "", "", &config).expect("collected");
            assert_eq!(links(lab), "eth0 far0", "it is lent still");
            config["cni.dev/valid-attachments"] = json!([]);
            lab.call("GC", "", "", "", &config).expect("collected");
            assert_eq!(links(lab), "far0 up0");
        });
    });
}
