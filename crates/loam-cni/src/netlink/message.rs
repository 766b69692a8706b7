//! Messages from the kernel, and what they say of a request's success (netlink(7)).

use rustix::io::Errno;

use super::attribute::{attributes, text};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
/// The text of an extended answer (`NLMSGERR_ATTR_MSG`).
const ATTRIBUTE_MESSAGE: u16 = 1;

/// The kernel's refusal of one request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{errno}{}", explanation.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The kernel's explanation, if it gave one.
    pub explanation: Option<String>,
}

/// One message from the kernel.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

impl Message<'_> {
    /// What the message says about the success of its request; `None` when it is no such answer.
    pub(crate) fn verdict(&self) -> Option<Result<(), Refusal>> {
        if self.kind != NLMSG_ERROR && self.kind != NLMSG_DONE {
            return None;
        }
        let code = self.payload.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
        if code == 0 {
            return Some(Ok(()));
        }
        let explanation = (self.flags & NLM_F_ACK_TLVS != 0).then(|| self.explanation()).flatten();
        Some(Err(Refusal { errno: Errno::from_raw_os_error(code.saturating_neg()), explanation }))
    }

    fn explanation(&self) -> Option<String> {
        let skipped = match self.kind {
            NLMSG_DONE => 4,
            _ if self.flags & NLM_F_CAPPED != 0 => 4 + 16,
            _ => {
                let request = u32::from_ne_bytes(self.payload.get(4..8)?.try_into().ok()?);
                4 + usize::try_from(request).ok()?.next_multiple_of(4)
            }
        };
        let found = attributes(self.payload.get(skipped..)?).find(|(kind, _)| *kind == ATTRIBUTE_MESSAGE);
        found.map(|(_, value)| text(value))
    }
}

/// The messages in what was received.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
        let word = |range: std::ops::Range<usize>| {
            rest.get(range).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes)
        };
        let sequence = u32::from_ne_bytes(rest.get(8..12)?.try_into().ok()?);
        let message =
            Message { kind: word(4..6)?, flags: word(6..8)?, sequence, payload: rest.get(16..length)? };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_refusal_is_read() {
        // NLMSG_ERROR, -EEXIST, capped, with the text "nope".
        let mut bytes = vec![0u8; 16];
        bytes[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_CAPPED | NLM_F_ACK_TLVS).to_ne_bytes());
        bytes[8..12].copy_from_slice(&7u32.to_ne_bytes());
        bytes.extend_from_slice(&(-17i32).to_ne_bytes());
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&[9, 0, 1, 0, b'n', b'o', b'p', b'e', 0, 0, 0, 0]);
        let length = u32::try_from(bytes.len()).expect("short");
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        let read: Vec<_> = messages(&bytes).map(|message| (message.sequence, message.verdict())).collect();
        let refusal = Refusal { errno: Errno::EXIST, explanation: Some("nope".into()) };
        assert_eq!(read, [(7, Some(Err(refusal)))]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                let _verdict = message.verdict();
            }
        }
    }
}
