// SPDX-License-Identifier: MIT
//! Times one problem, checks the result, and prints the run as Google Benchmark's JSON has it.

use crate::watch::memory;
use std::time::{Duration, Instant};

/// What a run has found: seconds of one iteration, or figures of its own.
pub struct Figures {
    pub seconds: f64,
    pub counters: Vec<(&'static str, f64)>,
}

impl Figures {
    pub fn time(elapsed: Duration) -> Figures {
        Figures { seconds: elapsed.as_secs_f64(), counters: Vec::new() }
    }
    pub fn with(mut self, name: &'static str, value: f64) -> Figures {
        self.counters.push((name, value));
        self
    }
    /// How much a run does; the scripts put only equal amounts side by side.
    pub fn work(self, operations: i64) -> Figures {
        self.with("work", operations as f64)
    }
    /// The same, where the operations a second are the answer.
    pub fn items(self, operations: i64) -> Figures {
        let rate = operations as f64 / self.seconds;
        self.work(operations).with("items_per_second", rate)
    }
    pub fn percentiles(mut self, mut microseconds: Vec<f64>) -> Figures {
        microseconds.sort_by(f64::total_cmp);
        let names = [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p99_9_us", 0.999)];
        for (name, share) in names {
            let place = (share * (microseconds.len() - 1) as f64) as usize;
            self = self.with(name, microseconds[place]);
        }
        self
    }
}

/// A benchmark by its name: question/peer or question/peer/parameter.
pub struct Benchmark {
    pub name: String,
    pub iterations: u32,
    pub run: Box<dyn Fn(&Options) -> Figures>,
}

pub struct Options {
    /// Which round this is: each keeps runs of one thread on another CPU.
    pub round: usize,
    /// Whether runs of fork and join report the peak of the process's memory.
    pub rss: bool,
}

/// Ends the program if something has not been done as it should.
pub fn expect(correct: bool) {
    if !correct {
        eprintln!("wrong result");
        std::process::exit(1);
    }
}

impl Benchmark {
    /// One that does its work once.
    pub fn once(name: String, run: impl Fn(&Options) -> Figures + 'static) -> Benchmark {
        Benchmark { name, iterations: 1, run: Box::new(run) }
    }
    pub fn json(&self, options: &Options) -> String {
        let figures = (self.run)(options);
        let name = format!("{}/iterations:{}/manual_time", self.name, self.iterations);
        let milliseconds = figures.seconds * 1e3;
        let mut text = format!(
            "{{\"name\": \"{name}\", \"run_name\": \"{name}\", \"run_type\": \"iteration\", \
             \"repetitions\": 1, \"repetition_index\": {}, \"threads\": 1, \"iterations\": {}, \
             \"real_time\": {milliseconds:e}, \"cpu_time\": 0.0, \"time_unit\": \"ms\"",
            options.round, self.iterations
        );
        for (counter, value) in &figures.counters {
            text += &format!(", \"{counter}\": {value:e}");
        }
        text + "}"
    }
}

/// A problem of fork and join, as `bench/measure.hpp` has it.
pub trait Problem: Send + Sync {
    type Output: Send;
    const NAME: &'static str;
    const ITERATIONS: u32 = 1;
    /// How many operations a run has, as the C++ problem says it.
    const WORK: i64;
    fn new() -> Self;
    /// Before each run, not timed, where the run will be.
    fn reset(&mut self) {}
    /// What is timed.
    fn run(&mut self) -> Self::Output;
    fn correct(&self, result: Self::Output) -> bool;
    /// How much memory its data takes.
    fn bytes(&self) -> usize {
        0
    }
}

/// Keeps this thread, and those that it starts, on one of its CPUs.
fn pin(round: usize) {
    // Safety: a CPU set is a plain array of bits, for which zero is a value.
    unsafe {
        let mut usable: libc::cpu_set_t = std::mem::zeroed();
        let size = std::mem::size_of_val(&usable);
        libc::sched_getaffinity(0, size, &mut usable);
        let cpus: Vec<usize> =
            (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &usable)).collect();
        let mut only: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpus[round % cpus.len()], &mut only);
        libc::sched_setaffinity(0, size, &only);
    }
}

fn measure<P: Problem>(threads: usize, options: &Options) -> Figures {
    let mut problem = P::new();
    // On a thread of its own, so that what is pinned ends with the run.
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                if threads == 1 {
                    pin(options.round);
                }
                // Threads that wait run stolen work on their stacks, and deep trees need more than
                // the usual 2 MiB.
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .stack_size(256 << 20)
                    .build()
                    .unwrap();
                let mut time_once = || {
                    pool.install(|| problem.reset());
                    let start = Instant::now();
                    let result = pool.install(|| problem.run());
                    let elapsed = start.elapsed();
                    expect(problem.correct(result));
                    elapsed
                };
                if P::ITERATIONS > 1 {
                    time_once();
                }
                let total: Duration = (0..P::ITERATIONS).map(|_| time_once()).sum();
                let figures = Figures::time(total / P::ITERATIONS).work(P::WORK);
                if options.rss {
                    figures.with("rss_mb", (memory("VmHWM:") - problem.bytes() as f64) / 1e6)
                } else {
                    figures
                }
            })
            .join()
            .unwrap()
    })
}

/// A problem by rayon with one and with two threads.
pub fn add<P: Problem + 'static>(to: &mut Vec<Benchmark>) {
    for threads in [1, 2] {
        to.push(Benchmark {
            name: format!("{}/rayon/{threads}", P::NAME),
            iterations: P::ITERATIONS,
            run: Box::new(move |options| measure::<P>(threads, options)),
        });
    }
}
