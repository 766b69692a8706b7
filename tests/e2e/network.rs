//! The default network, published ports, none and host.

use loam_tests::{Host, until};

/// A web server in the small image that answers with a word.
const SERVER: &str = "mkdir -p /www && echo served > /www/index.html && exec httpd -f -p 80 -h /www";

fn fetch(host: &Host, url: &str) -> Option<String> {
    let ran = host.sh(&format!("curl --silent --fail --globoff --max-time 2 '{url}'"));
    (ran.code == 0).then(|| ran.stdout.trim().to_owned())
}

fn address(host: &Host, container: &str, family: char) -> String {
    let line =
        format!("ip -{family} addr show dev eth0 scope global | grep -o 'inet6\\? [^/ ]*' | cut -d' ' -f2");
    host.loam(&["exec", container, "sh", "-c", &line]).ok().to_owned()
}

#[test]
fn a_published_port_answers_on_every_address_of_the_host() {
    let host = Host::with_small_image();
    host.sh("ip link add outer type dummy 2>/dev/null || ip link add outer type bridge; ip addr add 192.0.2.1/24 dev outer; ip link set outer up").ok();
    host.start(&["--name", "web", "-p", "8080:80", "small", "sh", "-c", SERVER]);
    for url in ["http://127.0.0.1:8080/", "http://192.0.2.1:8080/"] {
        until(url, || fetch(&host, url).filter(|page| page == "served"));
    }
    assert_eq!(fetch(&host, &format!("http://{}/", address(&host, "web", '4'))).as_deref(), Some("served"));
    assert_eq!(fetch(&host, &format!("http://[{}]/", address(&host, "web", '6'))).as_deref(), Some("served"));
    host.loam(&["rm", "-f", "web"]).ok();
    assert_eq!(fetch(&host, "http://127.0.0.1:8080/"), None);
    host.finish();
}

#[test]
fn containers_reach_each_other_and_the_host_s_address() {
    let host = Host::with_small_image();
    host.start(&["--name", "web", "-p", "8080:80", "small", "sh", "-c", SERVER]);
    until("the server listens", || fetch(&host, "http://127.0.0.1:8080/"));
    let (v4, v6) = (address(&host, "web", '4'), address(&host, "web", '6'));
    for url in [format!("http://{v4}/"), format!("http://[{v6}]/")] {
        assert_eq!(host.loam(&["run", "--rm", "small", "wget", "-q", "-O", "-", &url]).ok(), "served");
    }
    let gateway = host.loam(&["run", "--rm", "small", "sh", "-c", "ip route | grep default | cut -d' ' -f3"]);
    let through = format!("http://{}:8080/", gateway.ok());
    assert_eq!(host.loam(&["run", "--rm", "small", "wget", "-q", "-O", "-", &through]).ok(), "served");
    host.finish();
}

#[test]
fn udp_ports_are_published_too() {
    let host = Host::with_small_image();
    // Debian's busybox has no UDP server; the host's Python, mounted into the container, is one.
    let server = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 53)); print(s.recv(99), flush=True)";
    let mounts = ["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro"];
    let command = ["--name", "u", "-p", "127.0.0.1:5353:53/udp", "small", "/usr/bin/python3", "-c", server];
    host.start(&[mounts.as_slice(), &command].concat());
    until("the datagram arrives", || {
        host.sh("printf datagram | timeout 1 python3 -c 'import socket,sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(sys.stdin.buffer.read(), (\"127.0.0.1\", 5353))'");
        host.loam(&["logs", "u"]).stdout.contains("datagram").then_some(())
    });
    host.finish();
}

#[test]
fn outgoing_traffic_is_masqueraded() {
    let host = Host::with_small_image();
    // A neighbour of the host's that knows no way back to the containers.
    let set_up = "unshare --net sh -c 'ip link set lo up; echo ready; exec sleep 1000' > /tmp/beyond.$$ 2>/dev/null & beyond=$!; \
                  while ! grep -q ready /tmp/beyond.$$; do sleep 0.01; done; rm /tmp/beyond.$$; \
                  ip link add to-beyond type veth peer name near netns $beyond && ip addr add 198.51.100.1/24 dev to-beyond && ip link set to-beyond up && \
                  nsenter --target $beyond --net sh -c 'ip addr add 198.51.100.2/24 dev near; ip link set near up' && echo $beyond";
    let beyond = host.sh(set_up).ok().to_owned();
    let ran = host.loam(&["run", "--rm", "small", "ping", "-c", "1", "-W", "3", "198.51.100.2"]);
    host.sh(&format!("kill {beyond}; ip link del to-beyond; true")).ok();
    assert_eq!(ran.code, 0, "{ran:?}");
    host.finish();
}

#[test]
fn none_has_loopback_only_and_host_has_the_host_s() {
    let host = Host::with_small_image();
    let links = |network: &str| {
        let ran = host.loam(&[
            "run",
            "--rm",
            "--network",
            network,
            "small",
            "sh",
            "-c",
            "ip -o link | cut -d: -f2 | cut -d@ -f1 | tr -d '\\n'",
        ]);
        ran.ok().trim().to_owned()
    };
    assert_eq!(links("none"), "lo");
    let up = host.loam(&[
        "run",
        "--rm",
        "--network",
        "none",
        "small",
        "sh",
        "-c",
        "ping -c 1 127.0.0.1 >/dev/null && echo up",
    ]);
    assert_eq!(up.ok(), "up");
    host.sh("ip link add marker type bridge").ok();
    assert!(links("host").contains("marker"));
    host.loam(&["run", "--rm", "--network", "nowhere", "small", "true"]).refused(125, "nowhere");
    host.loam(&["run", "--rm", "--network", "none", "-p", "80:80", "small", "true"]).refused(125, "port");
    host.finish();
}

#[test]
fn a_taken_port_is_named_and_works_again_when_free() {
    let host = Host::with_small_image();
    host.start(&["--name", "first", "-p", "8080:80", "small", "sleep", "1000"]);
    host.loam(&["run", "--rm", "--name", "second", "-p", "8080:80", "small", "true"]).refused(125, "8080");
    assert_eq!(host.loam(&["ps", "-a", "--format", "json"]).stdout.matches("second").count(), 0);
    host.loam(&["rm", "-f", "first"]).ok();
    host.loam(&["run", "--rm", "--name", "second", "-p", "8080:80", "small", "true"]).ok();
    let mut other = host
        .command("python3")
        .args(["-c", "import socket; s=socket.socket(); s.bind(('0.0.0.0', 8080)); s.listen(); input()"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    until("it listens", || host.sh("grep -q ':1F90 .* 0A ' /proc/net/tcp").code.eq(&0).then_some(()));
    host.loam(&["run", "--rm", "-p", "8080:80", "small", "true"]).refused(125, "8080");
    drop(other.stdin.take());
    other.wait().unwrap();
    host.loam(&["run", "--rm", "-p", "8080:80", "small", "true"]).ok();
    host.finish();
}

#[test]
fn names_and_resolvers_are_written() {
    let host = Host::with_small_image();
    let ran = host.loam(&[
        "run",
        "--rm",
        "--hostname",
        "me",
        "small",
        "sh",
        "-c",
        "cat /etc/hosts /etc/hostname; ls -l /etc/resolv.conf",
    ]);
    assert!(ran.ok().contains("localhost") && ran.stdout.contains("me"), "{ran:?}");
    host.finish();
}

#[test]
fn the_rules_of_others_are_left_alone() {
    let host = Host::with_small_image();
    host.sh(
        "nft add table inet theirs && nft 'add chain inet theirs c { type filter hook forward priority 0; }'",
    )
    .ok();
    host.start(&["--name", "w", "-p", "8080:80", "small", "sh", "-c", SERVER]);
    host.loam(&["rm", "-f", "w"]).ok();
    let rules = host.sh("nft list ruleset").stdout;
    assert!(rules.contains("table inet theirs"), "{rules}");
    assert!(!rules.contains("8080"), "{rules}");
    // A firewall manager that flushes everything does no lasting harm.
    host.sh("nft flush ruleset").ok();
    host.start(&["--name", "x", "-p", "8081:80", "small", "sh", "-c", SERVER]);
    until("it answers", || fetch(&host, "http://127.0.0.1:8081/"));
    host.finish();
}

#[test]
fn loopback_of_the_host_is_not_open_to_neighbours() {
    let host = Host::with_small_image();
    host.start(&["--name", "w", "-p", "127.0.0.1:8080:80", "small", "sh", "-c", SERVER]);
    until("it answers", || fetch(&host, "http://127.0.0.1:8080/"));
    // A container that sends to the host's 127.0.0.1 through its gateway gets no answer.
    let line = "gw=$(ip route | grep default | cut -d' ' -f3); ip addr del 127.0.0.1/8 dev lo; \
                ip route add 127.0.0.1/32 via $gw dev eth0; wget -q -T 2 -O - http://127.0.0.1:8080/ && echo reached";
    let ran = host.loam(&["run", "--rm", "--cap-add", "NET_ADMIN", "small", "sh", "-c", line]);
    assert!(!ran.stdout.contains("reached"), "{ran:?}");
    host.finish();
}
