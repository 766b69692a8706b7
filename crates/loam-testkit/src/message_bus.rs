//! A D-Bus on a socket of a test's own, with services that the test makes up.
//!
//! It shares no code with Loam's client: what it reads and writes is the wire format of the D-Bus specification ("Message
//! Format"), as far as calls with texts and answers with texts, a flag or a variant need it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

/// The length of a header's part that is always there.
const FIXED: usize = 16;

/// Codes of the header's fields.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SENDER: u8 = 7;
    pub(super) const SIGNATURE: u8 = 8;
}

/// A call that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number, which the answer names.
    pub serial: u32,
    /// The name on the bus that it is for.
    pub destination: String,
    /// The object.
    pub path: String,
    /// The interface.
    pub interface: String,
    /// The method.
    pub member: String,
    /// The types of its values.
    pub signature: String,
    /// Its values.
    pub body: Vec<u8>,
}

impl Call {
    fn read(stream: &mut impl Read) -> Option<Self> {
        let mut bytes = vec![0; FIXED];
        // A client that has heard enough is gone.
        stream.read_exact(&mut bytes).ok()?;
        assert_eq!((bytes[0], bytes[1], bytes[3]), (b'l', 1, 1), "a call, little endian, of version 1");
        let (body, serial, fields) = (number(&bytes, 4), number(&bytes, 8), number(&bytes, 12));
        let start = (FIXED + fields).next_multiple_of(8);
        bytes.resize(start + body, 0);
        stream.read_exact(&mut bytes[FIXED..]).expect("the rest");
        let mut call = Self {
            serial: u32::try_from(serial).expect("it had 32 bits"),
            destination: String::new(),
            path: String::new(),
            interface: String::new(),
            member: String::new(),
            signature: String::new(),
            body: bytes[start..].to_vec(),
        };
        let mut at = FIXED;
        while at < FIXED + fields {
            at = call.field(&bytes, at.next_multiple_of(8));
        }
        Some(call)
    }

    /// Reads the field at a place; gives the place behind it.
    fn field(&mut self, bytes: &[u8], at: usize) -> usize {
        let kind = &bytes[at + 1..at + 4];
        let (start, length) = match kind {
            b"\x01s\0" | b"\x01o\0" => (at + 8, number(bytes, at + 4)),
            b"\x01g\0" => (at + 5, usize::from(bytes[at + 4])),
            other => panic!("a field of type {other:?}"),
        };
        let text = std::str::from_utf8(&bytes[start..start + length]).expect("text").to_owned();
        assert_eq!(bytes[start + length], 0, "a text ends with a zero");
        match bytes[at] {
            field::PATH => self.path = text,
            field::INTERFACE => self.interface = text,
            field::MEMBER => self.member = text,
            field::DESTINATION => self.destination = text,
            field::SIGNATURE => self.signature = text,
            other => panic!("a field with code {other}"),
        }
        start + length + 1
    }
}

fn number(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes[at..at + 4].try_into().expect("four bytes");
    usize::try_from(u32::from_le_bytes(bytes)).expect("it fits")
}

/// Serves one client on a new socket; `answer` gives the messages for a call. Gives the calls when the client is gone.
pub fn serve(
    socket: &Path,
    answer: impl Fn(&Call) -> Vec<Vec<u8>> + Send + 'static,
) -> JoinHandle<Vec<Call>> {
    let listener = UnixListener::bind(socket).expect("bound");
    std::thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let mut client = BufReader::new(client);
        greet(&mut client);
        let mut calls = Vec::new();
        while let Some(call) = Call::read(&mut client) {
            for bytes in answer(&call) {
                // A client that has heard enough is gone.
                client.get_mut().write_all(&bytes).ok();
            }
            calls.push(call);
        }
        calls
    })
}

/// The bus's part of "EXTERNAL": whoever says that he is who he is, is let in.
fn greet(client: &mut BufReader<UnixStream>) {
    let mut line = String::new();
    client.read_line(&mut line).expect("a line");
    let user = rustix::process::geteuid().as_raw().to_string();
    let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
    assert_eq!(line, format!("\0AUTH EXTERNAL {user}\r\n"));
    client.get_mut().write_all(b"OK 0123\r\n").expect("written");
    line.clear();
    client.read_line(&mut line).expect("a line");
    assert_eq!(line, "BEGIN\r\n");
}

/// A message in the making.
#[derive(Clone, Debug)]
pub struct Reply {
    kind: u8,
    fields: Vec<u8>,
    signature: String,
    body: Vec<u8>,
}

impl Reply {
    fn new(kind: u8) -> Self {
        Self { kind, fields: Vec::new(), signature: String::new(), body: Vec::new() }
    }

    /// An answer to a call.
    pub fn answer(serial: u32) -> Self {
        Self::new(2).answering(serial)
    }

    /// A refusal of a call.
    pub fn failure(serial: u32, name: &str, sentence: &str) -> Self {
        Self::new(3).answering(serial).named(field::ERROR_NAME, name).text(sentence)
    }

    /// A signal of an object, from a connection.
    pub fn signal(sender: &str, path: &str, interface: &str, member: &str) -> Self {
        let named = Self::new(4).named(field::PATH, path).named(field::INTERFACE, interface);
        named.named(field::MEMBER, member).named(field::SENDER, sender)
    }

    /// Says that it answers a call.
    pub fn answering(mut self, serial: u32) -> Self {
        self.field(field::REPLY_SERIAL, b'u');
        self.fields.extend(serial.to_le_bytes());
        self
    }

    /// Adds a text.
    pub fn text(mut self, value: &str) -> Self {
        self.signature.push('s');
        text(&mut self.body, value);
        self
    }

    /// Adds a number of 32 bits.
    pub fn number(mut self, value: u32) -> Self {
        self.signature.push('u');
        align(&mut self.body, 4);
        self.body.extend(value.to_le_bytes());
        self
    }

    /// Adds a truth value.
    pub fn flag(mut self, value: bool) -> Self {
        self = self.number(value.into());
        self.signature.pop();
        self.signature.push('b');
        self
    }

    /// Adds a variant that holds a text.
    pub fn variant(mut self, value: &str) -> Self {
        self.signature.push('v');
        self.body.extend([1, b's', 0]);
        text(&mut self.body, value);
        self
    }

    /// The message.
    pub fn bytes(mut self) -> Vec<u8> {
        if !self.signature.is_empty() {
            self.field(field::SIGNATURE, b'g');
            self.fields.push(u8::try_from(self.signature.len()).expect("short"));
            self.fields.extend(self.signature.bytes().chain([0]));
        }
        let mut bytes = vec![b'l', self.kind, 0, 1];
        for number in [self.body.len(), 1, self.fields.len()] {
            bytes.extend(u32::try_from(number).expect("short").to_le_bytes());
        }
        bytes.extend(self.fields);
        align(&mut bytes, 8);
        bytes.extend(self.body);
        bytes
    }

    fn field(&mut self, code: u8, kind: u8) {
        align(&mut self.fields, 8);
        self.fields.extend([code, 1, kind, 0]);
    }

    fn named(mut self, code: u8, name: &str) -> Self {
        self.field(code, b's');
        text(&mut self.fields, name);
        self
    }
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    align(bytes, 4);
    bytes.extend(u32::try_from(text.len()).expect("short").to_le_bytes());
    bytes.extend(text.bytes());
    bytes.push(0);
}
