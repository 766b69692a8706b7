//! What the fuzz target (`fuzz/`) reaches of this crate's parser of strangers' bytes. It is no part of the interface.

use crate::body::Body;
use crate::connection::Address;
use crate::message::{self, FIXED, Message};

/// Reads the message that bytes begin with: its length, and what it says as a failure.
pub fn message(bytes: &[u8]) -> Result<(usize, String), String> {
    let read = || {
        let start = bytes.get(..FIXED).ok_or(crate::BusError::Malformed)?;
        let length = message::length(start)?;
        let whole = bytes.get(..length).ok_or(crate::BusError::Malformed)?;
        let message = Message::parse(whole)?;
        let mut values = message.values();
        while values.text().is_ok() || values.variant_text().is_ok() {}
        let mut values = message.values();
        while values.number().is_ok() || values.flag().is_ok() {}
        Ok((length, message.failure().to_string()))
    };
    read().map_err(|error: crate::BusError| error.to_string())
}

/// A message with texts and a truth value, of one of the four kinds.
pub fn sound(kind: u8, texts: &[&str], flag: bool) -> Vec<u8> {
    let address = Address { name: "org.x", path: "/org/x", interface: "org.x.I" };
    let body = texts.iter().fold(Body::default(), |body, text| body.text(text)).flag(flag);
    let mut bytes = message::call(7, &address, "Do", &body);
    if let Some(place) = bytes.get_mut(1) {
        *place = kind;
    }
    bytes
}
