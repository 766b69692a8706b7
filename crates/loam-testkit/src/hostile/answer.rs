//! What the server sends back, piece by piece.

use std::io::{self, Write};
use std::time::Duration;

/// One thing that is done while answering.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// Sends bytes.
    Bytes(Vec<u8>),
    /// Sends these bytes again and again until the peer hangs up.
    Forever(Vec<u8>),
    /// Sends nothing for a while.
    Pause(Duration),
    /// Sends nothing until the peer hangs up.
    Silence,
    /// Hangs up.
    HangUp,
}

/// How the length of the body is said.
#[derive(Clone, Copy, Debug)]
enum Length {
    True,
    Said(u64),
    Chunked,
}

/// An answer: a status, headers, and a body that need not be what the headers say.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    length: Length,
    pub(crate) pieces: Vec<Piece>,
}

impl Answer {
    /// An answer with this status and nothing in it.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), length: Length::True, pieces: Vec::new() }
    }

    /// Hangs up without a word.
    pub fn none() -> Self {
        Self::new(0).hang_up()
    }

    /// A refusal as the distribution specification has it, with a code such as `MANIFEST_UNKNOWN`.
    pub fn refusal(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        Self::new(status).header("Content-Type", "application/json").body(body.to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends bytes.
    #[must_use]
    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Piece::Bytes(bytes.into()))
    }

    /// Then sends these bytes again and again.
    #[must_use]
    pub fn forever(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Piece::Forever(bytes.into()))
    }

    /// Then waits.
    #[must_use]
    pub fn pause(self, time: Duration) -> Self {
        self.then(Piece::Pause(time))
    }

    /// Then sends nothing more, and keeps the connection.
    #[must_use]
    pub fn silence(self) -> Self {
        self.then(Piece::Silence)
    }

    /// Then hangs up.
    #[must_use]
    pub fn hang_up(self) -> Self {
        self.then(Piece::HangUp)
    }

    /// Says another length than the body has.
    #[must_use]
    pub fn says_length(mut self, length: u64) -> Self {
        self.length = Length::Said(length);
        self
    }

    /// Sends the body in chunks, without saying its length.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.length = Length::Chunked;
        self
    }

    fn then(mut self, piece: Piece) -> Self {
        self.pieces.push(piece);
        self
    }

    /// Whether the connection can't serve another request after this.
    pub(crate) fn ends_connection(&self) -> bool {
        matches!(self.length, Length::Said(_))
            || self.pieces.iter().any(|piece| !matches!(piece, Piece::Bytes(_) | Piece::Pause(_)))
    }

    /// The status line and the headers; nothing for an answer without a word.
    pub(crate) fn head(&self) -> Vec<u8> {
        if self.status == 0 {
            return Vec::new();
        }
        let mut head = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let sum = self
            .pieces
            .iter()
            .map(|piece| if let Piece::Bytes(bytes) = piece { bytes.len() as u64 } else { 0 });
        match self.length {
            Length::True => head.push_str(&format!("Content-Length: {}\r\n", sum.sum::<u64>())),
            Length::Said(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
            Length::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Writes bytes of the body in the way that the head announced.
    pub(crate) fn write(&self, bytes: &[u8], to: &mut dyn Write) -> io::Result<()> {
        match self.length {
            Length::Chunked if bytes.is_empty() => Ok(()),
            Length::Chunked => {
                write!(to, "{:x}\r\n", bytes.len())?;
                to.write_all(bytes)?;
                to.write_all(b"\r\n")
            }
            _ => to.write_all(bytes),
        }
    }

    /// Writes the end of the body.
    pub(crate) fn finish(&self, to: &mut dyn Write) -> io::Result<()> {
        if matches!(self.length, Length::Chunked) { to.write_all(b"0\r\n\r\n") } else { Ok(()) }
    }
}
