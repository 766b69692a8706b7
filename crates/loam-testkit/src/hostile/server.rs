//! The server: a thread for each connection, a log of all requests.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Answer;
use super::answer::Piece;
use super::listener::{Connections, Listener, lock};

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 22;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How many requests came before.
    pub number: usize,
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// A server on a port of its own at 127.0.0.1. It ends, with all its connections, when it is dropped.
pub struct Server {
    listener: Listener,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("host", &self.host()).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server that answers each request as the function says.
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let log = Arc::clone(&requests);
        let listener = Listener::start(move |stream, connections| {
            // A peer that hangs up is nothing to report.
            let _ended = serve(stream, &handler, &log, connections);
        });
        Self { listener, requests }
    }

    /// `127.0.0.1:PORT`, as it stands in a reference.
    pub fn host(&self) -> String {
        self.listener.address().to_string()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }

    /// The paths of the requests so far.
    pub fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }
}

fn serve(
    stream: &TcpStream,
    handler: &dyn Fn(&Request) -> Answer,
    requests: &Mutex<Vec<Request>>,
    connections: &Connections,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(first) = reader.fill_buf()?.first() {
        if *first == TLS_HANDSHAKE {
            return writer.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
        let request = read(&mut reader)?;
        let request = {
            let mut requests = lock(requests);
            let request = Request { number: requests.len(), ..request };
            requests.push(request.clone());
            request
        };
        let answer = handler(&request);
        if !send(&answer, stream, connections)? {
            return Ok(());
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if value("transfer-encoding").is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked")) {
        read_chunks(reader, &mut body)?;
    } else {
        let length = value("content-length").and_then(|value| value.parse().ok()).unwrap_or(0_u64);
        reader.take(length).read_to_end(&mut body)?;
    }
    Ok(Request { method, path, headers, body, number: 0 })
}

/// Reads a body in chunks (RFC 9112, section 7.1).
fn read_chunks(reader: &mut BufReader<&TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
        reader.by_ref().take(length).read_to_end(body)?;
        line.clear();
        reader.read_line(&mut line)?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// Sends an answer; false when the connection is not to be used any more.
fn send(answer: &Answer, mut stream: &TcpStream, connections: &Connections) -> io::Result<bool> {
    stream.write_all(&answer.head())?;
    for piece in &answer.pieces {
        match piece {
            Piece::Bytes(bytes) => answer.write(bytes, &mut stream)?,
            Piece::Forever(bytes) => loop {
                answer.write(bytes, &mut stream)?;
            },
            Piece::Pause(time) => wait(stream, connections, Some(*time))?,
            Piece::Silence => wait(stream, connections, None)?,
            Piece::HangUp => return Ok(false),
        }
    }
    answer.finish(&mut stream)?;
    Ok(!answer.ends_connection())
}

/// Waits for a time, or until the peer or the server hangs up.
fn wait(stream: &TcpStream, connections: &Connections, time: Option<Duration>) -> io::Result<()> {
    stream.set_read_timeout(time)?;
    let mut byte = [0];
    // Peeking waits without taking bytes of a next request.
    let peeked = stream.peek(&mut byte);
    stream.set_read_timeout(None)?;
    match peeked {
        Ok(0) => Err(io::ErrorKind::ConnectionAborted.into()),
        _ if connections.is_stopped() => Err(io::ErrorKind::ConnectionAborted.into()),
        _ => Ok(()),
    }
}
