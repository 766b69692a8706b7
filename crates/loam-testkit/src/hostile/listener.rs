//! A port with a thread for each connection, for everything here that listens.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A port of its own at 127.0.0.1. It ends, with all its connections, when it is dropped.
pub(super) struct Listener {
    address: SocketAddr,
    connections: Arc<Connections>,
    thread: Option<JoinHandle<()>>,
}

/// What is to be ended with the listener.
#[derive(Default)]
pub(super) struct Connections {
    stopped: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Connections {
    /// Whether the listener is being dropped.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Sees to it that a stream ends with the listener.
    pub(super) fn end_with_us(&self, stream: &TcpStream) {
        if let Ok(copy) = stream.try_clone() {
            lock(&self.streams).push(copy);
        }
        if self.is_stopped() {
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Listener {
    /// Listens, and runs the function for each connection, which is closed after it.
    pub(super) fn start(serve: impl Fn(&TcpStream, &Connections) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port of the loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::<Connections>::default();
        let (serve, shared) = (Arc::new(serve), Arc::clone(&connections));
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.is_stopped() {
                    return;
                }
                shared.end_with_us(&stream);
                let (serve, connections) = (Arc::clone(&serve), Arc::clone(&shared));
                let thread = std::thread::spawn(move || {
                    serve(&stream, &connections);
                    let _closed = stream.shutdown(Shutdown::Both);
                });
                lock(&shared.threads).push(thread);
            }
        });
        Self { address, connections, thread: Some(thread) }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.connections.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener; it looks at the flag first.
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
        for stream in std::mem::take(&mut *lock(&self.connections.streams)) {
            let _closed = stream.shutdown(Shutdown::Both);
        }
        for thread in std::mem::take(&mut *lock(&self.connections.threads)) {
            let _ended = thread.join();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
