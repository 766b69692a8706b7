//! What the kernel says of a process in one line.

use rustix::process::Pid;

/// Some of proc(5)'s `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 3: a letter. `Z` and `X` are processes that have ended.
    pub state: char,
    /// Field 4: the id of the parent.
    pub parent: i32,
    /// Field 22: when it was started, in clock ticks after the boot. Together with the id it names a process for good.
    pub start_time: u64,
}

impl Stat {
    /// Reads the line of a `stat` file; `None` when it is not one.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(line);
        // The name, in parentheses, may contain anything.
        let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let start_time = fields.nth(17)?.parse().ok()?;
        Some(Self { state, parent, start_time })
    }

    /// Whether the process has ended and only waits for its parent to ask how.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// What `/proc/PID/stat` says; `None` when there is no such process.
pub fn process_stat(pid: Pid) -> Option<Stat> {
    Stat::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// When a process was started, in clock ticks after the boot, unless it has ended.
pub fn start_time(pid: Pid) -> Option<u64> {
    process_stat(pid).filter(|stat| !stat.has_ended()).map(|stat| stat.start_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_past_any_name() {
        let fields = "2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 777 20";
        let line = format!("5 (a) S (b) S {fields}");
        assert_eq!(Stat::parse(line.as_bytes()), Some(Stat { state: 'S', parent: 2, start_time: 777 }));
        assert!(Stat::parse(format!("5 (a) Z {fields}").as_bytes()).unwrap().has_ended());
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b"5 (a) S 1"), None);
    }

    #[test]
    fn a_process_that_has_ended_has_no_start_time() {
        let own = process_stat(rustix::process::getpid()).unwrap();
        assert!(own.parent > 0 && own.start_time > 0);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let flags = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), flags).unwrap();
        assert_eq!(start_time(pid), None);
        assert!(process_stat(pid).is_some());
        child.wait().unwrap();
        assert_eq!(process_stat(pid), None);
    }
}
