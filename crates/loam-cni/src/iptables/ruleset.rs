//! What a table holds, as `iptables-save` tells it, and a change, as `iptables-restore` takes it.

use std::collections::BTreeMap;

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its chains, and the policies of those that the kernel begins with.
    chains: BTreeMap<String, Option<String>>,
    /// Its rules, as `-A CHAIN …`.
    rules: Vec<String>,
}

impl Table {
    /// Reads what `iptables-save` says of a table.
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let mut table = Self::default();
        let mut inside = false;
        for line in text.lines() {
            match line.as_bytes().first() {
                Some(b'*') => inside = &line[1..] == name,
                Some(b':') if inside => {
                    let mut words = line[1..].split_whitespace();
                    let chain = words.next().unwrap_or_default().to_owned();
                    let policy = words.next().filter(|policy| *policy != "-").map(str::to_owned);
                    table.chains.insert(chain, policy);
                }
                Some(b'-') if inside => table.rules.push(line.trim_end().to_owned()),
                _ => {}
            }
        }
        table
    }

    /// Whether there is a chain.
    pub fn has_chain(&self, chain: &str) -> bool {
        self.chains.contains_key(chain)
    }

    /// What becomes of packets that no rule of a chain decides over.
    pub fn policy(&self, chain: &str) -> Option<&str> {
        self.chains.get(chain)?.as_deref()
    }

    /// The rules of a chain, as `-A CHAIN …`.
    pub fn rules<'a>(&'a self, chain: &'a str) -> impl Iterator<Item = &'a str> {
        let of_chain = |rule: &&String| rule.split(' ').nth(1) == Some(chain);
        self.rules.iter().filter(of_chain).map(String::as_str)
    }

    /// The rules of all chains that lead to a chain.
    pub fn leading_to<'a>(&'a self, chain: &'a str) -> impl Iterator<Item = &'a str> {
        let leads = move |rule: &&String| {
            let mut words = words(rule);
            words.any(|word| word == "-j" || word == "-g") && words.next() == Some(chain)
        };
        self.rules.iter().filter(leads).map(String::as_str)
    }

    /// Whether a chain has a rule that leads to another.
    pub fn leads(&self, from: &str, to: &str) -> bool {
        self.leading_to(to).any(|rule| rule.split(' ').nth(1) == Some(from))
    }

    /// Finds a rule in a chain: as it was told, whatever the order of its words.
    pub fn find<'a>(&'a self, chain: &'a str, rule: &Rule) -> Option<&'a str> {
        let wanted = rule.sorted();
        self.rules(chain).find(|found| {
            let mut found: Vec<String> = words(found).skip(2).map(unquoted).collect();
            found.sort_unstable();
            found == wanted
        })
    }

    /// Whether a chain has a rule.
    pub fn has(&self, chain: &str, rule: &Rule) -> bool {
        self.find(chain, rule).is_some()
    }
}

/// The words of a rule; one in quotes is one.
fn words(rule: &str) -> impl Iterator<Item = &str> {
    let mut rest = rule;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let mut quoted = false;
        let mut escaped = false;
        let end = rest.bytes().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                b' ' => return !quoted,
                _ => {}
            }
            false
        });
        let (word, left) = rest.split_at(end.unwrap_or(rest.len()));
        rest = left;
        (!word.is_empty()).then_some(word)
    })
}

/// A word without its quotes.
fn unquoted(word: &str) -> String {
    let Some(inner) = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) else {
        return word.to_owned();
    };
    let mut escaped = false;
    let keep = |character: &char| {
        escaped = *character == '\\' && !escaped;
        !escaped
    };
    inner.chars().filter(keep).collect()
}

/// A rule: its words, without the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    words: Vec<String>,
}

impl Rule {
    /// A rule of these words.
    pub fn new(words: &[&str]) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// Adds words.
    #[must_use]
    pub fn and<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.words.extend(words.into_iter().map(str::to_owned));
        self
    }

    fn sorted(&self) -> Vec<String> {
        let mut words = self.words.clone();
        words.sort_unstable();
        words
    }

    /// The rule as a line has it: each word that isn't plain in quotes.
    fn to_line(&self) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,!+=@%".contains(&byte);
        let quote = |word: &String| {
            if !word.is_empty() && word.bytes().all(plain) {
                return word.clone();
            }
            // A line's end would end the rule; nothing that a rule says has one.
            let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r', '\0'], " ");
            format!("\"{word}\"")
        };
        self.words.iter().map(quote).collect::<Vec<_>>().join(" ")
    }
}

/// Changes of a table that are made together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    chains: Vec<String>,
    lines: Vec<String>,
}

impl Change {
    /// Makes a chain, or empties it.
    pub fn fresh_chain(&mut self, chain: &str) -> &mut Self {
        self.chains.push(format!(":{chain} - [0:0]"));
        self
    }

    /// Makes a chain unless the table has it.
    pub fn ensure_chain(&mut self, table: &Table, chain: &str) -> &mut Self {
        if !table.has_chain(chain) {
            self.fresh_chain(chain);
        }
        self
    }

    /// Adds a rule at the end of a chain.
    pub fn append(&mut self, chain: &str, rule: &Rule) -> &mut Self {
        self.lines.push(format!("-A {chain} {}", rule.to_line()));
        self
    }

    /// Adds a rule at the start of a chain.
    pub fn prepend(&mut self, chain: &str, rule: &Rule) -> &mut Self {
        self.lines.push(format!("-I {chain} 1 {}", rule.to_line()));
        self
    }

    /// Removes a rule as [`Table`] told it.
    pub fn remove(&mut self, rule: &str) -> &mut Self {
        self.lines.push(rule.replacen("-A ", "-D ", 1));
        self
    }

    /// Removes a chain, and what leads to it.
    pub fn remove_chain(&mut self, table: &Table, chain: &str) -> &mut Self {
        if table.has_chain(chain) {
            for rule in table.leading_to(chain) {
                self.remove(rule);
            }
            self.fresh_chain(chain);
            self.lines.push(format!("-X {chain}"));
        }
        self
    }

    /// Makes a chain, and what leads to it, what they were in an earlier table.
    pub fn put_back(&mut self, table: &Table, before: &Table, chain: &str) -> &mut Self {
        if !before.has_chain(chain) {
            return self.remove_chain(table, chain);
        }
        for rule in table.leading_to(chain) {
            self.remove(rule);
        }
        self.fresh_chain(chain);
        self.lines.extend(before.rules(chain).chain(before.leading_to(chain)).map(str::to_owned));
        self
    }

    /// The input of `iptables-restore`; `None` when nothing is to be changed.
    pub(super) fn to_text(&self, table: &str) -> Option<String> {
        if self.chains.is_empty() && self.lines.is_empty() {
            return None;
        }
        let mut text = format!("*{table}\n");
        for line in self.chains.iter().chain(&self.lines) {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("COMMIT\n");
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"# Generated
*mangle
:FORWARD DROP [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [5:6]
:CNI-FORWARD - [0:0]
-A FORWARD -m comment --comment "CNI \"x\" rules" -j CNI-FORWARD
-A CNI-FORWARD -s 10.0.0.2/32 -j ACCEPT
COMMIT
"#;

    #[test]
    fn a_table_is_read() {
        let table = Table::parse("filter", SAVED);
        assert_eq!((table.policy("FORWARD"), table.policy("CNI-FORWARD")), (Some("DROP"), None));
        assert!(table.has_chain("CNI-FORWARD") && !table.has_chain("CNI"));
        assert!(table.leads("FORWARD", "CNI-FORWARD") && !table.leads("FORWARD", "CNI-FORWARD-2"));
        let comment = Rule::new(&["-j", "CNI-FORWARD", "-m", "comment", "--comment", "CNI \"x\" rules"]);
        assert!(table.has("FORWARD", &comment));
        assert!(!table.has("FORWARD", &comment.clone().and(["-i", "x"])));
        assert!(table.has("CNI-FORWARD", &Rule::new(&["-s", "10.0.0.2/32", "-j", "ACCEPT"])));
    }

    #[test]
    fn a_change_is_written() {
        let table = Table::parse("filter", SAVED);
        let mut change = Change::default();
        assert_eq!(change.to_text("filter"), None);
        change.ensure_chain(&table, "CNI-FORWARD").ensure_chain(&table, "NEW");
        change
            .append("NEW", &Rule::new(&["-m", "comment", "--comment", "a \"b\" \\ c\nCOMMIT", "-j", "DROP"]));
        change.remove_chain(&table, "CNI-FORWARD").remove_chain(&table, "NOWHERE");
        let expected = concat!(
            "*filter\n:NEW - [0:0]\n:CNI-FORWARD - [0:0]\n",
            "-A NEW -m comment --comment \"a \\\"b\\\" \\\\ c COMMIT\" -j DROP\n",
            "-D FORWARD -m comment --comment \"CNI \\\"x\\\" rules\" -j CNI-FORWARD\n",
            "-X CNI-FORWARD\nCOMMIT\n"
        );
        assert_eq!(change.to_text("filter").as_deref(), Some(expected));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String, rule: String) {
            let table = Table::parse("filter", &text);
            let _found = table.has("FORWARD", &Rule::new(&[&rule]));
            let _words: Vec<String> = words(&rule).map(unquoted).collect();
        }

        #[test]
        fn a_word_stays_one_word(word in "[^\n\r\0]+") {
            let line = Rule::new(&[&word]).to_line();
            let read: Vec<String> = words(&line).map(unquoted).collect();
            proptest::prop_assert_eq!(read, [word]);
        }
    }
}
