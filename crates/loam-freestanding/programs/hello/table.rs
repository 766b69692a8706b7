//! A table of two columns: a name and what it is.

use core::fmt::{self, Write};

use crate::ground::text::Text;

const WIDTH: usize = 16;

/// A table on its way into a text.
pub struct Table<'t, 'b> {
    text: &'t mut Text<'b>,
}

impl<'t, 'b> Table<'t, 'b> {
    /// A table at the end of a text.
    pub fn new(text: &'t mut Text<'b>) -> Self {
        Self { text }
    }

    /// A row; in one of several lines the name stands only before the first.
    pub fn row(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{name:WIDTH$}  {value}");
    }

    /// A row whose value is written by a function.
    pub fn row_with(&mut self, name: &str, value: impl FnOnce(&mut Text<'_>)) {
        let _ = write!(self.text, "{name:WIDTH$}  ");
        value(self.text);
        self.text.push(b"\n");
    }
}
