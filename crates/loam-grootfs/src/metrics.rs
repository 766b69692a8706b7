//! Figures for Cloud Foundry's metron agent, one datagram each. What can't be sent is lost: no command fails for it.

use std::net::UdpSocket;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loam_model::StoreUsage;

use crate::dropsonde::envelope;

const ORIGIN: &str = "grootfs";

/// Where figures go.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Option<UdpSocket>);

impl Metrics {
    /// Sends to `HOST:PORT`, or nowhere.
    pub(crate) fn to(endpoint: Option<&str>) -> Self {
        let Some(endpoint) = endpoint else { return Self(None) };
        let socket = UdpSocket::bind("0.0.0.0:0").or_else(|_| UdpSocket::bind("[::]:0"));
        let connected = socket.and_then(|socket| socket.connect(endpoint).map(|()| socket));
        if let Err(error) = &connected {
            tracing::error!(endpoint, %error, "metrics.connecting-failed");
        }
        Self(connected.ok())
    }

    /// A time that something took.
    pub(crate) fn duration(&self, name: &str, took: Duration) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a figure of a hundred days is right to a nanosecond"
        )]
        self.send(name, took.as_nanos() as f64, "nanos");
    }

    /// A number of bytes.
    pub(crate) fn bytes(&self, name: &str, bytes: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a figure of nine petabytes is right to a byte")]
        self.send(name, bytes as f64, "bytes");
    }

    /// What a store holds.
    pub(crate) fn store(&self, usage: &StoreUsage) {
        self.bytes("UnusedLayersSize", usage.reclaimable_bytes);
        self.bytes("UsedLayersSize", usage.layer_bytes.saturating_sub(usage.reclaimable_bytes));
        self.bytes("DownloadedLayersSizeInBytes", usage.layer_bytes);
        self.bytes("CommittedQuotaInBytes", usage.limit_bytes);
    }

    /// Whether anybody listens, so that nothing is asked for nobody.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    fn send(&self, name: &str, value: f64, unit: &str) {
        let Some(socket) = &self.0 else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        if let Err(error) = socket.send(&envelope(ORIGIN, nanoseconds, name, value, unit)) {
            tracing::error!(name, %error, "metrics.sending-failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_datagrams_and_nobody_is_missed() {
        let listener = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address").to_string();
        Metrics::to(Some(&address)).bytes("UsedLayersSize", 5);
        let mut datagram = [0; 200];
        let length = listener.recv(&mut datagram).expect("a datagram");
        let text = String::from_utf8_lossy(&datagram[..length]);
        assert!(text.contains("grootfs") && text.contains("UsedLayersSize") && text.ends_with("bytes"));
        Metrics::to(None).bytes("x", 5);
        Metrics::to(Some("no such host")).bytes("x", 5);
    }
}
