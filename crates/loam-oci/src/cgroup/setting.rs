//! One value for one file of a cgroup: what limits are translated into before anything is written.

/// A value for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The controller that has the file.
    pub(crate) controller: String,
    /// The file's name.
    pub(crate) file: String,
    /// What is written, without a line end.
    pub(crate) value: String,
    /// What happens where the file does not exist.
    pub(crate) missing: Missing,
}

/// What happens when a setting's file does not exist on this kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Setting it fails.
    Refuse,
    /// The setting changes nothing that the kernel without it would not do anyhow.
    Ignore,
    /// The value goes into another file.
    Instead(String, String),
}

impl Setting {
    /// A setting that must work.
    pub(crate) fn new(controller: &str, file: impl Into<String>, value: impl ToString) -> Self {
        Self {
            controller: controller.to_owned(),
            file: file.into(),
            value: value.to_string(),
            missing: Missing::Refuse,
        }
    }

    /// A setting that may be left out where its file does not exist.
    pub(crate) fn or_ignore(mut self) -> Self {
        self.missing = Missing::Ignore;
        self
    }

    /// A setting that goes into another file where its own does not exist.
    pub(crate) fn or_instead(mut self, file: &str, value: impl ToString) -> Self {
        self.missing = Missing::Instead(file.to_owned(), value.to_string());
        self
    }
}

/// `max` for what the runtime specification writes as a negative number.
pub(crate) fn number_or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}
