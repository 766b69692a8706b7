//! The values of a call, as bytes ("Marshaling").

/// A value in a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text, `s`.
    Text(String),
    /// A truth value, `b`.
    Flag(bool),
    /// A number, `t`.
    Number(u64),
    /// A list of shorter numbers, `au`.
    Numbers(Vec<u32>),
    /// A list of bytes, `ay`.
    Bytes(Vec<u8>),
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Flag(_) => "b",
            Self::Number(_) => "t",
            Self::Numbers(_) => "au",
            Self::Bytes(_) => "ay",
        }
    }
}

/// Bytes with values aligned to their sizes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub(crate) fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        self.align(8);
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).expect("no text of ours has gigabytes"));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    pub(crate) fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).expect("no signature of ours is long"));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    /// An array: its length in bytes, padding that does not count, its elements.
    pub(crate) fn array(&mut self, alignment: usize, write: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        write(self);
        let length = u32::try_from(self.0.len() - start).expect("no array of ours has gigabytes");
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Text(text) => self.text(text),
            Value::Flag(flag) => self.number(u32::from(*flag)),
            Value::Number(number) => self.long(*number),
            Value::Numbers(list) => self.array(4, |writer| list.iter().for_each(|one| writer.number(*one))),
            Value::Bytes(bytes) => self.array(1, |writer| writer.0.extend(bytes)),
        }
    }
}

/// The values of a call, with their types.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub(crate) signature: String,
    pub(crate) writer: Writer,
}

impl Body {
    /// Adds a text, `s`.
    pub fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.writer.text(text);
        self
    }

    /// Adds a truth value, `b`.
    pub fn flag(mut self, flag: bool) -> Self {
        self.signature.push('b');
        self.writer.number(u32::from(flag));
        self
    }

    /// Adds a list of names with values, `a(sv)`.
    pub fn properties(mut self, properties: &[(String, Value)]) -> Self {
        self.signature.push_str("a(sv)");
        self.writer.array(8, |writer| {
            for (name, value) in properties {
                writer.align(8);
                writer.text(name);
                writer.variant(value);
            }
        });
        self
    }

    /// Adds a list of structures that has none; `structure` is the signature of one, such as `(sv)`.
    pub fn no_structures(mut self, structure: &str) -> Self {
        self.signature.push('a');
        self.signature.push_str(structure);
        self.writer.array(8, |_| {});
        self
    }
}
