//! What the text that names a user means, given the text of `passwd` and `group`.

use std::collections::HashSet;

use super::{ResolvedUser, UserError};

/// The highest id, as the runtime specification's numbers and the kernel's signed ones share it.
const MAX_ID: u32 = i32::MAX.cast_unsigned();
/// More lines than any list of accounts has.
const MAX_LINES: usize = 1_000_000;
/// The most supplementary groups that the kernel takes (NGROUPS_MAX).
const MAX_GROUPS: usize = 65_536;

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Account<'a> {
    Number(u32),
    Name(&'a str),
}

/// `user`, `uid`, `user:group` and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestedUser<'a> {
    user: Account<'a>,
    group: Option<Account<'a>>,
}

/// A line of `passwd`.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    /// A text of digits is a number or wrong; it is never a name, which an image could give to any id.
    fn parse(text: &'a str, whole: &str) -> Result<Self, UserError> {
        let invalid = |rule| UserError::Invalid { text: whole.to_owned(), rule };
        if text.is_empty() {
            return Err(invalid("a name or number is missing"));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().ok().filter(|&number| number <= MAX_ID);
            return number.map(Self::Number).ok_or_else(|| invalid("numbers go up to 2147483647"));
        }
        if text.starts_with(['-', '+']) || text.contains(|c: char| c.is_control() || c == ':') {
            return Err(invalid("it is neither a name nor a number"));
        }
        Ok(Self::Name(text))
    }
}

impl<'a> RequestedUser<'a> {
    /// Reads the text; an empty one is root, and so is the user of `:group`.
    pub(super) fn parse(text: &'a str) -> Result<Self, UserError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(Account::parse(group, text)?)),
            None => (text, None),
        };
        let user = if user.is_empty() { Account::Number(0) } else { Account::parse(user, text)? };
        Ok(Self { user, group })
    }

    /// Whether `group` has a say.
    pub(super) fn needs_groups(&self) -> bool {
        !matches!(self.group, Some(Account::Number(_)))
    }

    /// Looks user and group up.
    pub(super) fn look_up(&self, passwd: &[u8], group: &[u8]) -> Result<ResolvedUser, UserError> {
        let passwd = lines(passwd, "/etc/passwd")?;
        let groups = lines(group, "/etc/group")?;
        let entry = passwd.iter().filter_map(|line| entry(line)).find(|entry| match self.user {
            Account::Number(uid) => entry.uid == uid,
            Account::Name(name) => entry.name == name,
        });
        let uid = match (&self.user, &entry) {
            (Account::Number(uid), _) => *uid,
            (Account::Name(_), Some(entry)) => entry.uid,
            (Account::Name(name), None) => return Err(UserError::NoUser { name: (*name).to_owned() }),
        };
        let home = entry.as_ref().map(|entry| entry.home).filter(|home| is_plain_path(home)).unwrap_or("/");
        let (gid, additional_gids) = match &self.group {
            Some(Account::Number(gid)) => (*gid, Vec::new()),
            Some(Account::Name(name)) => {
                let found = groups.iter().filter_map(|line| group_line(line)).find(|found| found.0 == *name);
                (found.ok_or_else(|| UserError::NoGroup { name: (*name).to_owned() })?.1, Vec::new())
            }
            None => match &entry {
                Some(entry) => (entry.gid, memberships(&groups, entry)),
                None => (0, Vec::new()),
            },
        };
        Ok(ResolvedUser { uid, gid, additional_gids, home: home.to_owned() })
    }
}

/// The groups that list a user, in order, each once, without the primary one.
fn memberships(groups: &[&str], user: &Entry<'_>) -> Vec<u32> {
    let mut gids = Vec::new();
    let mut seen = HashSet::from([user.gid]);
    for line in groups {
        if gids.len() == MAX_GROUPS {
            break;
        }
        let Some((_, gid, members)) = group_line(line) else { continue };
        let listed = members.split(',').any(|member| member == user.name);
        if listed && seen.insert(gid) {
            gids.push(gid);
        }
    }
    gids
}

/// The lines of a file; what is not UTF-8 names nobody that can be asked for.
fn lines<'a>(content: &'a [u8], path: &'static str) -> Result<Vec<&'a str>, UserError> {
    let lines: Vec<&[u8]> = content.split(|&byte| byte == b'\n').take(MAX_LINES + 1).collect();
    if lines.len() > MAX_LINES {
        return Err(UserError::TooLong { path });
    }
    Ok(lines.into_iter().filter_map(|line| std::str::from_utf8(line).ok()).collect())
}

/// `name:password:uid:gid:comment:home:shell`; `None` for anything else.
fn entry(line: &str) -> Option<Entry<'_>> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let (uid, gid) = (id(fields.next()?)?, id(fields.next()?)?);
    let home = fields.nth(1).unwrap_or_default();
    (!name.is_empty()).then_some(Entry { name, uid, gid, home })
}

/// `name:password:gid:member,member`: the name, the id, the members.
fn group_line(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let (name, _password, gid) = (fields.next()?, fields.next()?, id(fields.next()?)?);
    (!name.is_empty()).then(|| (name, gid, fields.next().unwrap_or_default()))
}

fn id(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&number| number <= MAX_ID)
}

/// Whether a home can go into the environment and into files of lines.
fn is_plain_path(home: &str) -> bool {
    home.starts_with('/') && !home.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
broken
wrap:x:4294967296:0::/wrap:/bin/sh
4294967296:x:0:0::/trick:/bin/sh
app:x:1000:1001:App,,,:/home/app:/bin/bash
nohome:x:7:7:::
evil:x:8:8::/r\u{1b}x:/bin/sh
root:x:5:5::/second:/bin/sh
";
    const GROUP: &str = "\
root:x:0:
adm:x:4:app,root
app:x:1001:app
wheel:x:10:root,adm,app
wheel2:x:10:app
docker:x:999:
";

    fn look_up(text: &str) -> Result<ResolvedUser, UserError> {
        RequestedUser::parse(text)?.look_up(PASSWD.as_bytes(), GROUP.as_bytes())
    }

    #[test]
    fn texts_and_what_they_mean() {
        let table: &[(&str, (u32, u32, &[u32], &str))] = &[
            ("", (0, 0, &[4, 10], "/root")),
            ("root", (0, 0, &[4, 10], "/root")),
            ("0", (0, 0, &[4, 10], "/root")),
            ("00", (0, 0, &[4, 10], "/root")),
            ("app", (1000, 1001, &[4, 10], "/home/app")),
            ("1000", (1000, 1001, &[4, 10], "/home/app")),
            ("app:docker", (1000, 999, &[], "/home/app")),
            ("app:42", (1000, 42, &[], "/home/app")),
            ("1000:1000", (1000, 1000, &[], "/home/app")),
            ("12345", (12345, 0, &[], "/")),
            ("12345:adm", (12345, 4, &[], "/")),
            (":2", (0, 2, &[], "/root")),
            ("nohome", (7, 7, &[], "/")),
            ("evil", (8, 8, &[], "/")),
            ("2147483647", (2_147_483_647, 0, &[], "/")),
        ];
        for (text, expected) in table {
            let user = look_up(text).expect(text);
            assert_eq!((user.uid, user.gid, &*user.additional_gids, &*user.home), *expected, "{text}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_and_unknown_names_are_refused() {
        for text in [
            "4294967296",
            "2147483648",
            "-1",
            "+1",
            "0x0",
            "nobody",
            "app:",
            "app:nogroup",
            "1000:99999999999",
            "wrap",
            "a\nb",
            "app:docker:x",
            "99999999999999999999999",
            ":",
        ] {
            assert!(look_up(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_endless_list_is_refused() {
        let many = "x\n".repeat(MAX_LINES + 1);
        let error =
            RequestedUser::parse("1").expect("valid").look_up(many.as_bytes(), b"").expect_err("too long");
        assert!(matches!(error, UserError::TooLong { .. }));
    }

    #[test]
    fn only_as_many_groups_as_the_kernel_takes_are_kept() {
        let group: String = (1..=MAX_GROUPS + 10).map(|gid| format!("g:x:{gid}:root\n").repeat(2)).collect();
        let user = RequestedUser::parse("root")
            .expect("valid")
            .look_up(PASSWD.as_bytes(), group.as_bytes())
            .expect("root");
        assert_eq!(user.additional_gids.len(), MAX_GROUPS);
        assert_eq!(user.additional_gids.last().copied(), u32::try_from(MAX_GROUPS).ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text in ".{0,20}", passwd in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(user) = RequestedUser::parse(&text) {
                let _any_answer = user.look_up(&passwd, &passwd);
            }
        }

        #[test]
        fn digits_never_become_another_number(number in 0u64..=u64::MAX, uid in 0u32..10) {
            let text = number.to_string();
            let passwd = format!("{text}:x:{uid}:{uid}::/:\n");
            let answer = RequestedUser::parse(&text).and_then(|user| user.look_up(passwd.as_bytes(), b""));
            match answer {
                Ok(user) => prop_assert_eq!(u64::from(user.uid), number),
                Err(_) => prop_assert!(number > u64::from(MAX_ID)),
            }
        }

        #[test]
        fn an_entry_is_found_again(name in "[a-z_][a-z0-9_-]{0,10}", uid in 0u32..=MAX_ID, gid in 0u32..=MAX_ID) {
            let passwd = format!("{name}:x:{uid}:{gid}:c:/h/{name}:/bin/sh\n");
            let group = format!("g:x:77:other,{name}\n");
            let user = RequestedUser::parse(&name).expect("a name").look_up(passwd.as_bytes(), group.as_bytes()).expect("found");
            prop_assert_eq!((user.uid, user.gid), (uid, gid));
            prop_assert_eq!(user.home, format!("/h/{name}"));
            let expected: &[u32] = if gid == 77 { &[] } else { &[77] };
            prop_assert_eq!(user.additional_gids.as_slice(), expected);
        }
    }
}
