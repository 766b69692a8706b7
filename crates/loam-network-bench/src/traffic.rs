//! TCP between namespaces: a server that swallows streams and echoes bytes, and the client's side of both. Bytes go round
//! on one processor, so that no other one has to be woken up; streams go from one to another, so that sending and receiving
//! go on at once.

mod processor;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::Shutdown;

use self::processor::{Pinned, Processors};
use crate::measure::{Samples, milliseconds};

/// How long a connection may take to come about, and how long an answer may take.
const LIMIT: Duration = Duration::from_secs(3);
/// The first byte of a connection that streams.
const STREAM: u8 = b's';
/// The first byte of a connection that is echoed.
const ECHO: u8 = b'e';
/// How much is written at once.
const CHUNK: usize = 128 << 10;

/// A server that ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one in the network namespace of the calling thread, on all addresses.
    pub(crate) fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            .or_else(|_| TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, port)))?;
        let accepting = listener.try_clone()?;
        let processors = Processors::of_this_thread();
        let thread = std::thread::spawn(move || {
            processors.first();
            while let Ok((stream, _)) = accepting.accept() {
                // A client that went away is the client's to tell.
                let _told_by_the_client = serve(stream, processors).is_err();
                processors.first();
            }
        });
        Ok(Self { listener, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the thread that accepts (shutdown(2) on a listening socket).
        let stopped = rustix::net::shutdown(&self.listener, Shutdown::Both).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| stopped) {
            let _ended_either_way = thread.join().is_ok();
        }
    }
}

fn serve(mut stream: TcpStream, processors: Processors) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut mode = [0];
    stream.read_exact(&mut mode)?;
    if mode[0] == STREAM {
        processors.last();
    }
    let mut buffer = vec![0; CHUNK];
    let mut taken = 0_u64;
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        taken += length as u64;
        if mode[0] == ECHO {
            stream.write_all(&buffer[..length])?;
        }
    }
    if mode[0] == STREAM {
        stream.write_all(&taken.to_be_bytes())?;
    }
    Ok(())
}

fn connect(address: SocketAddr, mode: u8) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(&[mode])?;
    Ok(stream)
}

/// Streams for a length of time; gives gigabits in a second, counted from the connection until the server has
/// everything.
pub(crate) fn stream(address: SocketAddr, length: Duration) -> io::Result<f64> {
    let _pinned = Pinned::to_the_first();
    let mut stream = connect(address, STREAM)?;
    let chunk = vec![0; CHUNK];
    let begun = Instant::now();
    while begun.elapsed() < length {
        stream.write_all(&chunk)?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut taken = [0; 8];
    stream.read_exact(&mut taken)?;
    let seconds = begun.elapsed().as_secs_f64();
    // A few gigabytes are exact in 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 bytes")]
    let bits = u64::from_be_bytes(taken) as f64 * 8.0;
    Ok(bits / seconds / 1e9)
}

/// Sends a byte and waits for it, so many times; gives microseconds.
pub(crate) fn round_trips(address: SocketAddr, count: usize) -> io::Result<Samples> {
    let _pinned = Pinned::to_the_first();
    let mut stream = connect(address, ECHO)?;
    let mut times = Samples::default();
    for _ in 0..count {
        let begun = Instant::now();
        stream.write_all(&[1])?;
        stream.read_exact(&mut [0])?;
        times.push(milliseconds(begun.elapsed()) * 1000.0);
    }
    Ok(times)
}

/// Connects, sends a byte, waits for it and closes, so many times; gives microseconds. A published port costs most
/// here: the way of a connection is looked up with its first packet.
pub(crate) fn connections(address: SocketAddr, count: usize) -> io::Result<Samples> {
    let _pinned = Pinned::to_the_first();
    let mut times = Samples::default();
    for _ in 0..count {
        let begun = Instant::now();
        let mut stream = connect(address, ECHO)?;
        stream.write_all(&[1])?;
        stream.read_exact(&mut [0])?;
        times.push(milliseconds(begun.elapsed()) * 1000.0);
    }
    Ok(times)
}

/// An address and a port.
pub(crate) fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_echoes_are_measured_and_the_server_ends() {
        let server = Server::start(0).expect("a free port");
        let address = at(Ipv4Addr::LOCALHOST.into(), server.listener.local_addr().expect("bound").port());
        assert!(stream(address, Duration::from_millis(20)).expect("it streams") > 0.0);
        assert_eq!(round_trips(address, 5).expect("it echoes").values().len(), 5);
        assert_eq!(connections(address, 5).expect("it accepts").values().len(), 5);
        drop(server);
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}
