//! Dropsonde's envelopes (dropsonde-protocol, events/envelope.proto and metric.proto), as far as a figure needs them: five
//! fields in protocol buffers' wire format, which is less than a library for it.

/// `Envelope.EventType.ValueMetric`.
const VALUE_METRIC: u64 = 6;
/// Wire types.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;

/// An envelope with one figure; `timestamp` is in nanoseconds since the epoch.
pub(crate) fn envelope(origin: &str, timestamp: u64, name: &str, value: f64, unit: &str) -> Vec<u8> {
    let mut metric = Vec::new();
    text(&mut metric, 1, name);
    tag(&mut metric, 2, FIXED_64);
    metric.extend(value.to_le_bytes());
    text(&mut metric, 3, unit);

    let mut envelope = Vec::new();
    text(&mut envelope, 1, origin);
    tag(&mut envelope, 2, VARINT);
    varint(&mut envelope, VALUE_METRIC);
    tag(&mut envelope, 6, VARINT);
    varint(&mut envelope, timestamp);
    bytes(&mut envelope, 9, &metric);
    envelope
}

fn tag(message: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(message, field << 3 | wire_type);
}

fn text(message: &mut Vec<u8>, field: u64, value: &str) {
    bytes(message, field, value.as_bytes());
}

fn bytes(message: &mut Vec<u8>, field: u64, value: &[u8]) {
    tag(message, field, BYTES);
    varint(message, value.len() as u64);
    message.extend(value);
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn varint(message: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            message.push(low & 0x7f);
            return;
        }
        message.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_has_its_fields() {
        let found = envelope("grootfs", 300, "UnpackTime", 1.5, "nanos");
        let expected = [
            &b"\x0a\x07grootfs\x10\x06\x30\xac\x02\x4a\x1c"[..],
            b"\x0a\x0aUnpackTime\x11\x00\x00\x00\x00\x00\x00\xf8\x3f\x1a\x05nanos",
        ]
        .concat();
        assert_eq!(found, expected);
    }
}
