//! A way to a server that breaks: a relay that cuts connections after a number of bytes.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

struct Shared {
    target: String,
    /// After so many bytes from the client, or to it, a connection is cut.
    after: u64,
    /// How many more are cut.
    left: AtomicUsize,
    stopped: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A relay on a port of its own at 127.0.0.1. It ends, with all its connections, when it is dropped.
pub struct Cutter {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl fmt::Debug for Cutter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cutter").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Cutter {
    /// Relays to `target` (`host:port`), and cuts the first `times` connections over which `after` bytes have gone in
    /// one direction.
    pub fn start(target: &str, after: u64, times: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            after,
            left: AtomicUsize::new(times),
            stopped: AtomicBool::new(false),
            streams: Mutex::default(),
            threads: Mutex::default(),
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

    /// How many connections are still to be cut.
    pub fn left(&self) -> usize {
        self.shared.left.load(Ordering::SeqCst)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener; it looks at the flag first.
        let _woken = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ended = listener.join();
        }
        for stream in std::mem::take(&mut *lock(&self.shared.streams)) {
            let _closed = stream.shutdown(Shutdown::Both);
        }
        for thread in std::mem::take(&mut *lock(&self.shared.threads)) {
            let _ended = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(&shared.target) else { continue };
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            let thread = std::thread::spawn({
                let shared = Arc::clone(shared);
                move || relay(from, to, &shared)
            });
            lock(&shared.threads).push(thread);
        }
        lock(&shared.streams).extend([client, server]);
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let (mut buffer, mut gone) = (vec![0; 16 * 1024], 0_u64);
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
        gone += count as u64;
        let cut = |left: usize| left.checked_sub(1);
        if gone >= shared.after && shared.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, cut).is_ok() {
            break;
        }
    }
    let _closed = from.shutdown(Shutdown::Both);
    let _closed = to.shutdown(Shutdown::Both);
}
