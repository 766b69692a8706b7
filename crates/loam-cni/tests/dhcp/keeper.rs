//! The keeper that ADD starts: one for all, with nothing of its caller's, and followed by another when it is killed.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use loam_testkit::lab::{Sandbox, eventually};
use serde_json::{Value, json};

use crate::lab::{PROGRAM, address};
use crate::server::{with_dnsmasq, with_udhcpd};

#[test]
fn one_that_was_killed_is_followed_by_one_that_goes_on() {
    with_dnsmasq("keeper::one_that_was_killed_is_followed_by_one_that_goes_on", &[], |lab, server| {
        let (one, two) = (Sandbox::new(), Sandbox::new());
        let result = lab.add("one", &one).expect("leased");
        lab.add("two", &two).expect("leased");
        lab.kill_keeper();
        two.end();
        lab.check("one", &one, &result).expect("it is held still");
        // The other one's interface is gone, and nobody holds it any more.
        assert_eq!(lab.records().len(), 1, "{}", lab.log());
        lab.kill_keeper();
        lab.del("one", Some(&one.path())).expect("given back");
        eventually("the server has it back", || server.said("DHCPRELEASE") == 1);
        lab.ends_clean();
    });
}

#[test]
fn one_that_goes_on_renews() {
    with_udhcpd("keeper::one_that_goes_on_renews", 8, |lab, _server| {
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        lab.kill_keeper();
        lab.check("one", &container, &result).expect("it is held still");
        eventually("it was renewed", || lab.log().contains("lease renewed"));
        // One that comes too late says so, and takes the link down.
        lab.kill_keeper();
        let text = fs::read_to_string(&lab.records()[0]).expect("readable");
        let mut record: Value = serde_json::from_str(&text).expect("JSON");
        record["since"] = json!(0);
        fs::write(&lab.records()[0], record.to_string()).expect("writable");
        lab.check("one", &container, &result).expect_err("it is over");
        let link = container.command(&["ip", "-o", "link", "show", "dev", "eth0"]);
        assert!(link.contains("state DOWN"), "{link}");
        lab.del("one", Some(&container.path())).expect("given back");
        lab.ends_clean();
    });
}

#[test]
fn one_serves_callers_that_come_at_once_and_has_nothing_of_theirs() {
    with_dnsmasq(
        "keeper::one_serves_callers_that_come_at_once_and_has_nothing_of_theirs",
        &[],
        |lab, _server| {
            let containers: Vec<Sandbox> = (0..6).map(|_| Sandbox::new()).collect();
            let config = lab.config(&json!({}));
            let callers: Vec<_> = containers
                .iter()
                .enumerate()
                .map(|(number, container)| {
                    lab.spawn(Path::new(PROGRAM), "ADD", &format!("c{number}"), &container.path(), &config)
                })
                .collect();
            let mut addresses: Vec<String> = callers
                .into_iter()
                .map(|caller| {
                    let output = caller.wait_with_output().expect("it ends");
                    address(&serde_json::from_slice(&output.stdout).expect("a result"))
                })
                .collect();
            addresses.sort();
            addresses.dedup();
            assert_eq!(addresses.len(), 6, "{addresses:?}");

            let keeper = lab.keeper().expect("it listens").as_raw_nonzero();
            let process = format!("/proc/{keeper}");
            let namespaces = fs::read_dir(format!("{process}/fd")).expect("it lives").map(|entry| {
                let path = entry.expect("readable").path();
                fs::read_link(path).map(|target| target.display().to_string()).unwrap_or_default()
            });
            let mut open: Vec<String> = namespaces.collect();
            open.sort();
            // The namespaces of its leases are its own business; a name that is not there was closed meanwhile.
            open.retain(|target| !target.starts_with("net:[") && !target.is_empty());
            let of_its_own = |target: &String| {
                ["/dev/null", "socket:[", "anon_inode:[signalfd]", "anon_inode:inotify"]
                    .iter()
                    .any(|own| target.starts_with(own))
                    || target.ends_with("dhcp.sock.leases/lock")
            };
            assert!(open.iter().all(of_its_own), "{open:?}");
            let stat = fs::read_to_string(format!("{process}/stat")).expect("it lives");
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            assert_eq!(fields[3], keeper.to_string(), "a session of its own: {stat}");
            assert_eq!(fs::read_link(format!("{process}/cwd")).expect("it lives"), Path::new("/"));

            for (number, container) in containers.iter().enumerate() {
                lab.del(&format!("c{number}"), Some(&container.path())).expect("given back");
            }
            lab.ends_clean();
        },
    );
}

#[test]
fn a_container_s_next_life_gets_a_lease_of_its_own() {
    with_dnsmasq("keeper::a_container_s_next_life_gets_a_lease_of_its_own", &[], |lab, server| {
        let first = Sandbox::new();
        let before = address(&lab.add("one", &first).expect("leased"));
        // Without DEL: the plugin's caller has crashed.
        first.end();
        let second = Sandbox::new();
        let result = lab.add("one", &second).expect("leased");
        // The server knows the client, and was asked.
        assert_eq!((address(&result), server.said("DHCPACK")), (before, 2));
        lab.check("one", &second, &result).expect("held");
        lab.del("one", Some(&second.path())).expect("given back");
        lab.ends_clean();
    });
}

#[test]
fn what_is_no_request_is_refused_and_harms_nobody() {
    with_dnsmasq("keeper::what_is_no_request_is_refused_and_harms_nobody", &[], |lab, _server| {
        let container = Sandbox::new();
        let result = lab.add("one", &container).expect("leased");
        let ask = |request: &[u8]| {
            let mut stream = UnixStream::connect(lab.socket()).expect("it listens");
            // It may hang up before all was said.
            drop(stream.write_all(request));
            let mut answer = String::new();
            drop(stream.read_to_string(&mut answer));
            answer
        };
        assert!(ask(b"hello\n").contains("does not understand"), "{}", ask(b"hello\n"));
        assert!(ask(b"{\"loam-dhcp\":9,\"do\":\"status\"}\n").contains("version 1 of its protocol, not 9"));
        assert_eq!(ask(b"{\"loam-dhcp\":1,\"do\":\"status\"}\n"), "\"done\"\n");
        let take = r#"{"loam-dhcp":1,"do":"take","attachment":{"container":"x","network":"n","interface":"eth0"},"namespace":"/x","options":[],"patience":1}"#;
        assert!(ask(format!("{take}\n").as_bytes()).contains("came without its namespace"));
        assert_eq!(ask(&vec![b'x'; 5 << 20]), "");
        lab.check("one", &container, &result).expect("it is held still");
        lab.del("one", Some(&container.path())).expect("given back");
        lab.ends_clean();
    });
}
