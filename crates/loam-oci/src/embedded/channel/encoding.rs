//! Messages as bytes: a letter, then fields with zeros between them.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use loam_model::{ErrorKind, Failure};

use super::Message;
use crate::{CgroupMount, CgroupVersion};

/// The longest text of a failure, in bytes.
const MAX_TEXT: usize = 4 * 1024;

/// A message as bytes, and the descriptor that comes along.
pub(super) fn encode(message: &Message) -> (Vec<u8>, &Option<OwnedFd>) {
    let bytes = match message {
        Message::Mapped => b"m".to_vec(),
        Message::Hooks => b"h".to_vec(),
        Message::HooksDone => b"d".to_vec(),
        Message::Start => b"s".to_vec(),
        Message::Ready(terminal) => return (b"r".to_vec(), terminal),
        Message::Joined { pid, mounts } => {
            let mut fields = vec![format!("j{pid}")];
            for mount in mounts {
                fields.extend([
                    if mount.version == CgroupVersion::V2 { "2" } else { "1" }.to_owned(),
                    mount.source.to_string_lossy().into_owned(),
                    mount.target.clone(),
                    mount.options.clone(),
                    mount.links.join("/"),
                ]);
            }
            fields.join("\0").into_bytes()
        }
        Message::Failed(failure) => {
            let mut cause = failure.chain();
            let message = failure.to_string();
            cause.drain(..(message.len() + 2).min(cause.len()));
            let text = [cut(&message), cut(&cause), cut(failure.hint_text().unwrap_or_default())].join("\0");
            let mut bytes = vec![b'f', number(failure.kind())];
            bytes.extend(text.into_bytes());
            bytes
        }
    };
    (bytes, &None)
}

/// The message that these bytes are; `None` when they are none.
pub(super) fn decode(bytes: &[u8], descriptor: Option<OwnedFd>) -> Option<Message> {
    let (tag, rest) = bytes.split_first()?;
    Some(match tag {
        b'm' => Message::Mapped,
        b'h' => Message::Hooks,
        b'd' => Message::HooksDone,
        b's' => Message::Start,
        b'r' => Message::Ready(descriptor),
        b'j' => {
            let text = std::str::from_utf8(rest).ok()?;
            let fields: Vec<&str> = text.split('\0').collect();
            let (pid, mounts) = fields.split_first()?;
            Message::Joined { pid: pid.parse().ok()?, mounts: mounts.chunks(5).filter_map(mount).collect() }
        }
        b'f' => {
            let (&kind, text) = rest.split_first()?;
            let text = String::from_utf8_lossy(text);
            let mut parts = text.split('\0');
            let mut failure = Failure::new(kind_of(kind), parts.next()?);
            if let Some(cause) = parts.next().filter(|cause| !cause.is_empty()) {
                failure = failure.caused_by(cause);
            }
            if let Some(hint) = parts.next().filter(|hint| !hint.is_empty()) {
                failure = failure.hint(hint);
            }
            Message::Failed(failure)
        }
        _ => return None,
    })
}

fn mount(fields: &[&str]) -> Option<CgroupMount> {
    let [version, source, target, options, links] = fields else { return None };
    Some(CgroupMount {
        version: if *version == "2" { CgroupVersion::V2 } else { CgroupVersion::V1 },
        source: PathBuf::from(source),
        target: (*target).to_owned(),
        options: (*options).to_owned(),
        links: links.split('/').filter(|link| !link.is_empty()).map(str::to_owned).collect(),
    })
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(MAX_TEXT / 4).collect()
}

/// The kinds in the order of their numbers on the socket.
const KINDS: [ErrorKind; 11] = [
    ErrorKind::Internal,
    ErrorKind::NotFound,
    ErrorKind::AlreadyExists,
    ErrorKind::Invalid,
    ErrorKind::Conflict,
    ErrorKind::Exhausted,
    ErrorKind::Unavailable,
    ErrorKind::Denied,
    ErrorKind::Unsupported,
    ErrorKind::CommandNotFound,
    ErrorKind::CommandNotExecutable,
];

fn number(kind: ErrorKind) -> u8 {
    KINDS.iter().position(|&known| known == kind).and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
}

fn kind_of(number: u8) -> ErrorKind {
    KINDS.get(usize::from(number)).copied().unwrap_or(ErrorKind::Internal)
}
