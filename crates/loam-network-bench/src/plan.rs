//! How much is measured.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// ADD, CHECK and DEL, one at a time.
    Latency,
    /// ADD with more and more attachments present.
    Growth,
    /// Several callers at once.
    Parallel,
    /// What is there after DEL that was not there before ADD.
    Leftovers,
    /// The same after a caller was killed within ADD.
    Kills,
    /// Throughput and latency of connections.
    DataPath,
    /// Rules on what containers may reach.
    Rules,
    /// What the specification says of calls that are repeated, come late, or find something broken. Comes last: it
    /// breaks things.
    Promises,
}

/// A word that names no scenario.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no scenario; there are {names}", names = Scenario::ALL.map(Scenario::name).join(", "))]
pub struct UnknownScenario(String);

impl Scenario {
    /// All, in the order of measuring.
    pub const ALL: [Scenario; 8] = [
        Scenario::Latency,
        Scenario::Growth,
        Scenario::Parallel,
        Scenario::Leftovers,
        Scenario::Kills,
        Scenario::DataPath,
        Scenario::Rules,
        Scenario::Promises,
    ];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Latency => "latency",
            Scenario::Growth => "growth",
            Scenario::Parallel => "parallel",
            Scenario::Leftovers => "leftovers",
            Scenario::Kills => "kills",
            Scenario::DataPath => "data-path",
            Scenario::Rules => "rules",
            Scenario::Promises => "promises",
        }
    }
}

impl std::str::FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(word: &str) -> Result<Self, UnknownScenario> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == word);
        found.ok_or_else(|| UnknownScenario(word.to_owned()))
    }
}

/// How much is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is measured.
    pub scenarios: Vec<Scenario>,
    /// How often each verb is measured, warm-up not counted; also how often a caller is killed.
    pub rounds: usize,
    /// How many attachments growth goes up to. A bridge has at most 1,023 ports.
    pub attachments: usize,
    /// How many callers there are at most at once.
    pub parallel: usize,
    /// How long a plugin's program may take before it is ended and counts as hanging.
    pub time_limit: Duration,
    /// How long attachments are added for growth before it ends short of its number.
    pub growth_limit: Duration,
    /// How long a stream of the data path runs.
    pub stream: Duration,
    /// What the points at which callers are killed follow from.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            scenarios: Scenario::ALL.to_vec(),
            rounds: 20,
            attachments: 1000,
            parallel: 8,
            time_limit: Duration::from_secs(30),
            growth_limit: Duration::from_secs(120),
            stream: Duration::from_millis(300),
            seed: 1,
        }
    }
}

impl Plan {
    /// Whether a scenario is wanted.
    pub fn wants(&self, scenario: Scenario) -> bool {
        self.scenarios.contains(&scenario)
    }

    /// The numbers of attachments that are present when growth is measured: four to a decade, ending at the last.
    pub(crate) fn growth_steps(&self) -> Vec<usize> {
        let mut steps = Vec::new();
        let mut decade = 1;
        while decade <= self.attachments {
            steps.extend(
                [1, 2, 3, 5].map(|step| step * decade).into_iter().filter(|step| *step <= self.attachments),
            );
            decade *= 10;
        }
        if steps.last().is_some_and(|last| *last < self.attachments) {
            steps.push(self.attachments);
        }
        steps
    }

    /// The numbers of callers: powers of two, ending at the last.
    pub(crate) fn callers(&self) -> Vec<usize> {
        let powers = std::iter::successors(Some(1), |callers| Some(callers * 2));
        let mut callers: Vec<usize> = powers.take_while(|callers| *callers < self.parallel).collect();
        callers.push(self.parallel.max(1));
        callers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_geometrically_and_end_at_the_last() {
        let steps = |attachments| Plan { attachments, ..Plan::default() }.growth_steps();
        assert_eq!(steps(1), [1]);
        assert_eq!(steps(7), [1, 2, 3, 5, 7]);
        assert_eq!(steps(100), [1, 2, 3, 5, 10, 20, 30, 50, 100]);
        assert_eq!(steps(1000).last(), Some(&1000));
        let callers = |parallel| Plan { parallel, ..Plan::default() }.callers();
        assert_eq!(callers(1), [1]);
        assert_eq!(callers(8), [1, 2, 4, 8]);
        assert_eq!(callers(6), [1, 2, 4, 6]);
    }

    #[test]
    fn scenarios_have_names_that_are_read_back() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.name().parse::<Scenario>().ok(), Some(scenario));
        }
        let error = "speed".parse::<Scenario>().expect_err("no scenario");
        assert_eq!(
            error.to_string(),
            "`speed` is no scenario; there are latency, growth, parallel, leftovers, kills, data-path, rules, promises"
        );
    }
}
