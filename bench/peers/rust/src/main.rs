// SPDX-License-Identifier: MIT
//! rayon and tokio on the questions of `bench/`, for `bench/external.py`.
//!
//!     peers --list                         the names of what there is
//!     peers --compiler                     what has compiled this
//!     peers [--rss] --round N NAME...      does these once and prints their runs as a JSON list

mod forks;
mod jobs;
mod loops;
mod matmul;
mod measure;
mod mix;
mod timers;
mod uts;
mod watch;

use measure::{add, Benchmark, Options};

fn all() -> Vec<Benchmark> {
    let mut all = Vec::new();
    add::<forks::Fib>(&mut all);
    add::<forks::Skynet>(&mut all);
    add::<forks::Queens>(&mut all);
    add::<matmul::Matmul<1024>>(&mut all);
    add::<matmul::Matmul<2048>>(&mut all);
    add::<uts::Uts<uts::T1>>(&mut all);
    add::<uts::Uts<uts::T3>>(&mut all);
    add::<loops::Looping<loops::Tiny>>(&mut all);
    add::<loops::Looping<loops::Uneven>>(&mut all);
    add::<loops::Looping<loops::Coarse>>(&mut all);
    add::<loops::Sort>(&mut all);
    add::<loops::Reduce>(&mut all);
    jobs::add(&mut all);
    timers::add(&mut all);
    all
}

fn usage() -> ! {
    eprintln!("usage: peers --list | --compiler | [--rss] --round N NAME...");
    std::process::exit(2)
}

fn main() {
    let all = all();
    let mut options = Options { round: 0, rss: false };
    let mut runs = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => return all.iter().for_each(|each| println!("{}", each.name)),
            "--compiler" => return println!("{}", env!("PEERS_COMPILER")),
            "--rss" => options.rss = true,
            "--round" => match arguments.next().and_then(|round| round.parse().ok()) {
                Some(round) => options.round = round,
                None => usage(),
            },
            name => match all.iter().find(|each| each.name == name) {
                Some(each) => runs.push(each.json(&options)),
                None => usage(),
            },
        }
    }
    if runs.is_empty() {
        usage();
    }
    println!("[{}]", runs.join(",\n "));
}
