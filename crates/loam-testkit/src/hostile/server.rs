//! The server: a thread for each connection, a log of all requests.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Answer;
use super::answer::Piece;

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

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    stopped: AtomicBool,
    requests: Mutex<Vec<Request>>,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

/// A server on a port of its own at 127.0.0.1. It ends, with all its connections, when it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server that answers each request as the function says.
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on the loopback interface");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            stopped: AtomicBool::new(false),
            requests: Mutex::default(),
            connections: Mutex::default(),
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared, listener: Some(thread) }
    }

    /// `127.0.0.1:PORT`, as it stands in a reference.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// The paths of the requests so far.
    pub fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener; it looks at the flag first.
        let _woken = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ended = listener.join();
        }
        let connections = std::mem::take(&mut *lock(&self.shared.connections));
        for (stream, thread) in connections {
            let _closed = stream.shutdown(Shutdown::Both);
            let _ended = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(copy) = stream.try_clone() else { continue };
        let thread = std::thread::spawn({
            let shared = Arc::clone(shared);
            move || {
                // A peer that hangs up is nothing to report.
                let _ended = serve(&stream, &shared);
                let _closed = stream.shutdown(Shutdown::Both);
            }
        });
        lock(&shared.connections).push((copy, thread));
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(first) = reader.fill_buf()?.first() {
        if *first == TLS_HANDSHAKE {
            return writer.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
        let request = read(&mut reader)?;
        let request = {
            let mut requests = lock(&shared.requests);
            let request = Request { number: requests.len(), ..request };
            requests.push(request.clone());
            request
        };
        let answer = (shared.handler)(&request);
        if !send(&answer, stream, shared)? {
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
fn send(answer: &Answer, mut stream: &TcpStream, shared: &Shared) -> io::Result<bool> {
    stream.write_all(&answer.head())?;
    for piece in &answer.pieces {
        match piece {
            Piece::Bytes(bytes) => answer.write(bytes, &mut stream)?,
            Piece::Forever(bytes) => loop {
                answer.write(bytes, &mut stream)?;
            },
            Piece::Pause(time) => wait(stream, shared, Some(*time))?,
            Piece::Silence => wait(stream, shared, None)?,
            Piece::HangUp => return Ok(false),
        }
    }
    answer.finish(&mut stream)?;
    Ok(!answer.ends_connection())
}

/// Waits for a time, or until the peer or the server hangs up.
fn wait(stream: &TcpStream, shared: &Shared, time: Option<Duration>) -> io::Result<()> {
    stream.set_read_timeout(time)?;
    let mut byte = [0];
    // Peeking waits without taking bytes of a next request.
    let peeked = stream.peek(&mut byte);
    stream.set_read_timeout(None)?;
    match peeked {
        Ok(0) => Err(io::ErrorKind::ConnectionAborted.into()),
        _ if shared.stopped.load(Ordering::SeqCst) => Err(io::ErrorKind::ConnectionAborted.into()),
        _ => Ok(()),
    }
}
