//! What programs answer that attach containers, CNI plugins and external networkers, which are anybody's; what is in the
//! lists that call them; and what others have put into the tables of iptables.

use loam_cni::protocol::Version;
use loam_cni::{CniError, CniResult};
use loam_network::fuzzing;
use serde_json::Value;

use super::{seed, selected};
use crate::{Target, sentence};

/// The target. The first byte says what the rest is.
pub const TARGET: Target = Target { name: "plugins", run, seeds, words: WORDS };

const WORDS: &[&str] = &[
    "{\"cniVersion\":\"1.1.0\",",
    "\"cniVersion\":\"0.2.0\"",
    "\"interfaces\":[{\"name\":\"eth0\",\"mac\":\"02:00:00:00:00:01\",\"sandbox\":\"/proc/1/ns/net\"}]",
    "\"ips\":[{\"address\":\"10.1.0.2/16\",\"gateway\":\"10.1.0.1\",\"interface\":0}]",
    "\"ip4\":{\"ip\":\"10.1.0.2/16\"}",
    "\"ip6\":{\"ip\":\"fd00::2/64\",\"gateway\":\"fd00::1\"}",
    "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.1.0.1\"}]",
    "\"dns\":{\"nameservers\":[\"10.0.0.53\"],\"search\":[\"a.b\"]}",
    "\"version\":\"4\"",
    "{\"code\":7,\"msg\":\"no\",\"details\":\"why\"}",
    "\"supportedVersions\":[\"0.4.0\"]",
    "\"properties\":{\"garden.network.container-ip\":\"10.0.0.2\"}",
    "\"garden.network.mapped-ports\":\"[{\\\"HostPort\\\":1,\\\"ContainerPort\\\":2}]\"",
    "\"dns_servers\":[\"10.0.0.53\"]",
    "\"search_domains\":[\"a\"]",
    "{\"host_port\":1}",
    "\"plugins\":[{\"type\":\"bridge\"}]",
    "\"type\":\"external-networker\",\"program\":\"/p\"",
    "\"loam\":{\"subnetPerContainer\":true}",
    "\"disableCheck\":\"true\"",
    "\\u001b[2J",
    "*nat\n:X - [0:0]\n-A X -j Y\nCOMMIT\n",
    "-m comment --comment \"a \\\"b\\\"\"",
];

fn run(bytes: &[u8]) {
    let Some((how, rest)) = selected(bytes) else { return };
    let json = || serde_json::from_slice::<Value>(rest).ok();
    match how % 6 {
        0 => match loam_cni::fuzzing::add(0, rest, b"") {
            Ok(result) => written(&result),
            Err(error) => refused(error),
        },
        1 => {
            let (stdout, stderr) = rest.split_at(rest.len() / 2);
            refused(loam_cni::fuzzing::add(1, stdout, stderr).expect_err("it failed"));
            loam_cni::fuzzing::add(1, rest, b"").map_err(refused).expect_err("it failed");
        }
        2 => {
            for code in [0, 1] {
                if let Err(error) = loam_cni::fuzzing::versions(code, rest) {
                    refused(error);
                }
            }
        }
        3 => told(fuzzing::up(json().as_ref())),
        4 => told(fuzzing::net_in(json().as_ref()).map(|port| assert!(port > 0))),
        _ => lists_and_tables(&String::from_utf8_lossy(rest)),
    }
}

fn refused(error: CniError) {
    sentence::check(&fuzzing::failure(error));
}

fn told<T>(read: Result<T, String>) {
    if let Err(reason) = read {
        sentence::check_text(&reason);
    }
}

/// A result of the newest version says everything, so that it is read back as it was.
fn written(result: &CniResult) {
    for version in Version::ALL {
        match result.to_value(version) {
            Ok(value) => {
                let back = CniResult::parse(&value, version).expect("we wrote it");
                assert!(version != Version::NEWEST || back == *result, "{value}");
            }
            Err(error) => refused(error),
        }
    }
}

fn lists_and_tables(text: &str) {
    match fuzzing::list(text) {
        Ok(list) => assert_eq!(fuzzing::list(&list.1).as_ref(), Ok(&list), "it reads as itself"),
        // What is wrong with a file of the administrator's is quoted; the command escapes it.
        Err(reason) => assert!(!reason.is_empty()),
    }
    let (count, all_found) = loam_cni::fuzzing::table(text, "X");
    assert!(count <= 2 * text.lines().count(), "{count}");
    assert!(all_found, "a rule is not found by its own words: {text:?}");
}

fn seeds() -> Vec<Vec<u8>> {
    let newest = r#"{"cniVersion":"1.1.0","interfaces":[{"name":"br0"},{"name":"eth0","mac":"02:00:00:00:00:01","mtu":1400,
        "sandbox":"/proc/1/ns/net"}],"ips":[{"address":"10.1.0.2/16","gateway":"10.1.0.1","interface":1},
        {"address":"fd00::2/64","interface":-1}],"routes":[{"dst":"0.0.0.0/0","mtu":9,"table":0,"scope":253}],"dns":{"search":["a"]}}"#;
    let old = r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.2/16","gateway":"10.1.0.1","routes":[{"dst":"10.0.0.0/8"}]},
        "ip6":{"ip":"fd00::2/64"},"dns":{"nameservers":["10.0.0.53"]}}"#;
    let between = r#"{"cniVersion":"0.4.0","interfaces":[],"ips":[{"version":"4","address":"10.1.0.2/16"}]}"#;
    let up = r#"{"Properties":{"garden.network.container-ip":"10.0.0.2","garden.network.mapped-ports":
        "[{\"HostPort\":8080,\"ContainerPort\":80}]","a":null},"dns_servers":["10.0.0.53"],"search_domains":["a.b"]}"#;
    let list = r#"{"cniVersion":"1.1.0","name":"n","disableCheck":"true","plugins":[{"type":"bridge","bridge":"br0",
        "ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/16"}]]}},{"type":"portmap","capabilities":{"portMappings":true}}]}"#;
    let garden = r#"{"name":"g","cniVersion":"1.0.0","loam":{"subnetPerContainer":true},
        "plugins":[{"type":"bridge","ipam":{"ranges":[[{"subnet":"10.254.0.0/22"}]]}}]}"#;
    let networker =
        r#"{"name":"c","plugins":[{"type":"external-networker","program":"/p","arguments":["a"]}]}"#;
    let table = "*nat\n:PREROUTING ACCEPT [0:0]\n:X - [0:0]\n-A PREROUTING -m comment --comment \"a b\" -j X\n\
                 -A X -d 10.5.0.2/32 -j ACCEPT\nCOMMIT\n";
    vec![
        seed(0, newest),
        seed(0, old),
        seed(0, between),
        seed(0, "null"),
        seed(1, r#"{"code":7,"msg":"no","details":"why"}"#),
        seed(1, "it says on standard error what is wrong, \u{1b}[2J, and more of it on the other half"),
        seed(2, r#"{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.1.0"]}"#),
        seed(2, r#"{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}"#),
        seed(3, up),
        seed(4, r#"{"host_port":8080,"container_port":80}"#),
        seed(5, list),
        seed(5, garden),
        seed(5, networker),
        seed(5, table),
    ]
}
