//! A proxy for HTTP that leads everywhere to one server, and remembers what it was asked for.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::listener::{Connections, Listener, lock};

/// A proxy on a port of its own at 127.0.0.1 (RFC 9110, section 9.3.6, and RFC 9112, section 3.2.2). It ends, with all
/// its connections, when it is dropped.
pub struct Proxy {
    listener: Listener,
    asked: Arc<Mutex<Vec<String>>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proxy").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts a proxy that connects to `target` (`host:port`), whatever host it is asked for.
    pub fn start(target: &str) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (target, heads) = (target.to_owned(), Arc::clone(&asked));
        let listener = Listener::start(move |client, connections| {
            // A peer that hangs up is nothing to report.
            let _ended = serve(client, &target, &heads, connections);
        });
        Self { listener, asked }
    }

    /// `http://127.0.0.1:PORT`, as it stands in a variable.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// The heads of what it was asked for: the first line, and the login for the proxy if there was one.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

/// Leads one connection to the server: as a tunnel, or with the requests' lines as a server wants them.
fn serve(
    client: &TcpStream,
    target: &str,
    asked: &Mutex<Vec<String>>,
    connections: &Connections,
) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    connections.end_with_us(&server);
    let (back, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let mut reader = BufReader::new(client);
    let mut answering = None;
    loop {
        let (mut line, mut head, mut login) = (String::new(), String::new(), String::new());
        if reader.read_line(&mut line)? == 0 {
            break;
        }
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                break;
            }
            match header.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("proxy-authorization") => {
                    login = format!(" ({})", value.trim());
                }
                _ => head.push_str(&header),
            }
        }
        lock(asked).push(format!("{}{login}", line.trim()));
        if line.starts_with("CONNECT ") {
            to_client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            let answers = answer(back, to_client);
            let mut to_server = server;
            relay(&mut reader, &mut to_server);
            let _closed = to_server.shutdown(Shutdown::Both);
            let _ended = answers.join();
            return Ok(());
        }
        if answering.is_none() {
            answering = Some(answer(back.try_clone()?, to_client.try_clone()?));
        }
        // `GET http://host/path HTTP/1.1`; requests with a body are not sent this way.
        let after = line.split_once("://").map_or("", |(_, rest)| rest);
        let path = after.find('/').map_or("/ HTTP/1.1\r\n", |slash| &after[slash..]);
        let method = line.split(' ').next().unwrap_or_default();
        (&server).write_all(format!("{method} {path}{head}\r\n").as_bytes())?;
    }
    let _closed = server.shutdown(Shutdown::Both);
    if let Some(answering) = answering {
        let _ended = answering.join();
    }
    Ok(())
}

fn answer(mut from: TcpStream, mut to: TcpStream) -> JoinHandle<()> {
    std::thread::spawn(move || {
        relay(&mut from, &mut to);
        let _closed = to.shutdown(Shutdown::Both);
    })
}

fn relay(from: &mut dyn Read, to: &mut dyn Write) {
    // Whoever hangs up ends it.
    let _ended = io::copy(from, to);
}
