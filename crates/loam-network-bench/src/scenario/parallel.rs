//! Several callers at once.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use loam_cni::CniResult;
use loam_network::CallError;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::worker::Ground;

/// How many containers each caller has, at least.
const LEAST: usize = 3;

/// How it went.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Together {
    pub(crate) adds_per_second: Option<f64>,
    pub(crate) dels_per_second: Option<f64>,
    pub(crate) calls: usize,
    pub(crate) errors: usize,
    pub(crate) first_error: Option<String>,
}

impl Together {
    fn failed(&mut self, message: String) {
        self.errors += 1;
        self.first_error.get_or_insert(message);
    }
}

/// Attaches containers by so many callers at once, then detaches all of them the same way.
pub(crate) fn together(ground: &mut Ground, callers: usize) -> Result<Together, String> {
    let each = (ground.plan.rounds / 4).max(LEAST);
    let mut shares = Vec::new();
    for _ in 0..callers {
        let share: Result<Vec<Container>, String> = (0..each).map(|_| ground.container()).collect();
        shares.push(share?);
    }
    let mut together = Together { calls: callers * each, ..Together::default() };
    let (added, took) = at_once(&shares, |container| ground.chain.add(&container.endpoint));
    let mut addresses = BTreeSet::new();
    let mut results: Vec<Option<CniResult>> = Vec::new();
    for (container, outcome) in shares.iter().flatten().zip(added) {
        match outcome {
            Ok(result) => {
                if let Err(lie) = container.verify(&result) {
                    together.failed(lie);
                }
                for ip in result.ips.iter().filter(|ip| !addresses.insert(ip.address)) {
                    together.failed(format!("two attachments got address `{}`", ip.address));
                }
                results.push(Some(result));
            }
            Err(error) => {
                together.failed(error.to_string());
                results.push(None);
            }
        }
    }
    together.adds_per_second = rate(results.iter().flatten().count(), took);
    let pairs: Vec<Vec<(&Container, &Option<CniResult>)>> = {
        let mut results = results.iter();
        shares.iter().map(|share| share.iter().zip(results.by_ref().take(share.len())).collect()).collect()
    };
    let (removed, took) =
        at_once(&pairs, |(container, result)| ground.chain.del(&container.endpoint, result.as_ref()));
    let good = removed.iter().filter(|outcome| outcome.is_ok()).count();
    removed.into_iter().filter_map(Result::err).for_each(|error| together.failed(error.to_string()));
    together.dels_per_second = rate(good, took);
    Ok(together)
}

/// Does something with each thing of each share, the shares at the same time.
fn at_once<T: Sync, R: Send>(
    shares: &[Vec<T>],
    call: impl Fn(&T) -> Result<R, CallError> + Sync,
) -> (Vec<Result<R, CallError>>, Duration) {
    let barrier = Barrier::new(shares.len() + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .iter()
            .map(|share| {
                scope.spawn(|| {
                    barrier.wait();
                    share.iter().map(&call).collect::<Vec<_>>()
                })
            })
            .collect();
        barrier.wait();
        let begun = Instant::now();
        let mut outcomes = Vec::new();
        for thread in threads {
            outcomes.extend(thread.join().unwrap_or_default());
        }
        (outcomes, begun.elapsed())
    })
}

#[expect(clippy::cast_precision_loss, reason = "a few dozen calls")]
fn rate(count: usize, took: Duration) -> Option<f64> {
    (count > 0).then(|| count as f64 / took.as_secs_f64())
}
