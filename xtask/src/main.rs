//! Developers' tasks. `./x` makes sure of a toolchain and hands over to this program.

mod bench;
mod demo;
mod fixtures;
mod fuzz;
mod lint;
mod packages;
mod programs;
mod shell;
mod test;
mod tiers;
mod vm;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: ./x TASK

  demo       builds the release programs and runs the main job, with a sentence before each step
  test       passes all the tests: unit, and as root end to end, on this machine and, for what it lacks, on an emulated one
             ./x test [--host] [FILTER]; with FILTER, the tests whose names contain it
  vm-test    runs the end-to-end tests in an emulated machine
             ./x vm-test [--kernel 6.12|6.1] [--flavour bare|systemd|v1] [FILTER], or --all
  vm-shell   opens a prompt in such a machine, with the built programs
  lint       checks formatting and lints
  fuzz       feeds the parsers of what comes from strangers with inputs that libFuzzer makes up
             ./x fuzz [--seconds N] [TARGET…]
  fixtures   makes the images that tests and benchmarks run, with other people's tools
  bench      measures Loam beside the engines on this machine; ./x bench --help tells more
  build      builds the release programs and prints where they are
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        None => ("help", &[][..]),
        Some((task, rest)) => (task.as_str(), rest),
    };
    match task {
        "demo" => demo::demo(rest),
        "test" => test::test(rest),
        "vm-test" => vm::test(rest),
        "vm-shell" => vm::shell(rest),
        "lint" => lint::lint(rest),
        "fuzz" => fuzz::fuzz(rest),
        "fixtures" => fixtures::fixtures(rest),
        "bench" => bench::bench(rest),
        // The part of a benchmark that runs inside an engine's namespaces; not for people.
        "bench-runner" => bench::runner::serve(),
        "build" => programs::build_release(rest),
        "help" | "--help" | "-h" => shell::print(USAGE),
        other => bail!("`{other}` is not a task\n{USAGE}"),
    }
}
