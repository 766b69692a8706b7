//! A way to a server that breaks: a relay that cuts connections after a number of bytes.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::listener::Listener;

/// A relay on a port of its own at 127.0.0.1. It ends, with all its connections, when it is dropped.
pub struct Cutter {
    listener: Listener,
    /// How many more connections are cut.
    left: Arc<AtomicUsize>,
}

impl fmt::Debug for Cutter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cutter").field("host", &self.host()).finish_non_exhaustive()
    }
}

impl Cutter {
    /// Relays to `target` (`host:port`), and cuts the first `times` connections over which `after` bytes have gone in
    /// one direction.
    pub fn start(target: &str, after: u64, times: usize) -> Self {
        let left = Arc::new(AtomicUsize::new(times));
        let (target, cuts) = (target.to_owned(), Arc::clone(&left));
        let listener = Listener::start(move |client, connections| {
            let Ok(server) = TcpStream::connect(&target) else { return };
            connections.end_with_us(&server);
            std::thread::scope(|scope| {
                scope.spawn(|| relay(client, &server, after, &cuts));
                relay(&server, client, after, &cuts);
            });
        });
        Self { listener, left }
    }

    /// `127.0.0.1:PORT`, as it stands in a reference.
    pub fn host(&self) -> String {
        self.listener.address().to_string()
    }

    /// How many connections are still to be cut.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }
}

/// Hands bytes on until somebody hangs up, or a connection is to be cut.
fn relay(mut from: &TcpStream, mut to: &TcpStream, after: u64, left: &AtomicUsize) {
    let (mut buffer, mut gone) = (vec![0; 16 * 1024], 0_u64);
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
        gone += count as u64;
        let cut = |left: usize| left.checked_sub(1);
        if gone >= after && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, cut).is_ok() {
            break;
        }
    }
    let _closed = from.shutdown(Shutdown::Both);
    let _closed = to.shutdown(Shutdown::Both);
}
