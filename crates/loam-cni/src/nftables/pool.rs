//! Keeping sockets open.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use super::socket::{NftablesError, NftablesSocket};

/// Sockets that are kept open between uses.
///
/// When a socket of netfilter is closed, the kernel first waits for the end of what was removed shortly before,
/// which takes a grace period of ten milliseconds and more. Kept open, it waits for nothing until the process ends.
/// A pool must be used in one network namespace only.
#[derive(Clone, Debug, Default)]
pub struct SocketPool {
    sockets: Arc<Mutex<Vec<NftablesSocket>>>,
}

impl SocketPool {
    /// Takes a socket out, or opens one; it goes back when it is dropped.
    pub(crate) fn take(&self) -> Result<PooledSocket, NftablesError> {
        let kept = self.sockets.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let socket = Some(kept.map_or_else(NftablesSocket::open, Ok)?);
        Ok(PooledSocket { socket, pool: self.clone() })
    }
}

/// A socket that goes back into its pool.
#[derive(Debug)]
pub(crate) struct PooledSocket {
    socket: Option<NftablesSocket>,
    pool: SocketPool,
}

impl Deref for PooledSocket {
    type Target = NftablesSocket;
    fn deref(&self) -> &NftablesSocket {
        self.socket.as_ref().expect("the socket is there until the drop")
    }
}

impl DerefMut for PooledSocket {
    fn deref_mut(&mut self) -> &mut NftablesSocket {
        self.socket.as_mut().expect("the socket is there until the drop")
    }
}

impl Drop for PooledSocket {
    fn drop(&mut self) {
        let mut sockets = self.pool.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.extend(self.socket.take());
    }
}
