// SPDX-License-Identifier: MIT
//! Flat work by tokio's multi-threaded runtime: the questions of `bench/throughput.cpp` and those
//! beside it, with the same numbers. A job is a spawned future that does not wait.

use crate::measure::{expect, Benchmark, Figures, Options};
use crate::watch::{count, counted, cpu_seconds, memory, wait_until};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, Notify};

const WORKERS: usize = 2;

pub fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_time().build().unwrap()
}

fn throughput(producers: usize, options: &Options) -> Figures {
    const JOBS: i64 = 2_000_000;
    let runtime = runtime(WORKERS);
    let submit_all = |jobs: i64| {
        let before = counted();
        let ready = Barrier::new(producers + 1);
        let start = std::thread::scope(|scope| {
            for _ in 0..producers {
                scope.spawn(|| {
                    ready.wait();
                    for _ in 0..jobs / producers as i64 {
                        runtime.spawn(async { count() });
                    }
                });
            }
            ready.wait();
            Instant::now()
        });
        wait_until(|| counted() - before >= jobs);
        start.elapsed()
    };
    submit_all(JOBS / 10); // to warm up, as everywhere
    let before = counted();
    let cpu = cpu_seconds(libc::RUSAGE_SELF);
    let figures = Figures::time(submit_all(JOBS))
        .with("cpu_ns_per_job", (cpu_seconds(libc::RUSAGE_SELF) - cpu) * 1e9 / JOBS as f64)
        .items(JOBS);
    expect(counted() - before == JOBS);
    if options.rss {
        figures.with("rss_mb", memory("VmHWM:") / 1e6)
    } else {
        figures
    }
}

/// A job starts 10,000 empty ones and then itself again, a hundred times.
fn inside(workers: usize) -> Figures {
    const MANY: i64 = 10_000;
    const TIMES: i64 = 100;
    fn again(on: Handle, left: i64) {
        for _ in 0..MANY {
            on.spawn(async { count() });
        }
        if left > 1 {
            let next = on.clone();
            on.spawn(async move { again(next, left - 1) });
        }
    }
    let runtime = runtime(workers);
    let do_all = |times: i64| {
        let before = counted();
        let start = Instant::now();
        let on = runtime.handle().clone();
        runtime.spawn(async move { again(on, times) });
        wait_until(|| counted() - before >= MANY * times);
        let elapsed = start.elapsed();
        expect(counted() - before == MANY * times);
        elapsed
    };
    do_all(TIMES / 10);
    Figures::time(do_all(TIMES)).items(MANY * TIMES)
}

/// Each job starts the next.
fn relay() -> Figures {
    const HOPS: i64 = 200_000;
    fn hop(on: Handle, left: i64) {
        count();
        if left > 1 {
            let next = on.clone();
            on.spawn(async move { hop(next, left - 1) });
        }
    }
    let runtime = runtime(WORKERS);
    let do_all = |hops: i64| {
        let before = counted();
        let start = Instant::now();
        let on = runtime.handle().clone();
        runtime.spawn(async move { hop(on, hops) });
        wait_until(|| counted() - before >= hops);
        let elapsed = start.elapsed();
        expect(counted() - before == hops);
        elapsed
    };
    do_all(HOPS / 10);
    Figures::time(do_all(HOPS)).items(HOPS)
}

fn round_trip() -> Figures {
    const TRIPS: i64 = 10_000;
    let runtime = runtime(WORKERS);
    let mut times = Vec::with_capacity(TRIPS as usize);
    let mut do_all = |trips: i64| {
        times.clear();
        let mut sum = 0;
        let start = Instant::now();
        for i in 0..trips {
            let before = Instant::now();
            sum += runtime.block_on(runtime.spawn(async move { i })).unwrap();
            times.push(before.elapsed().as_secs_f64() * 1e6);
        }
        let elapsed = start.elapsed();
        expect(sum == trips * (trips - 1) / 2);
        elapsed
    };
    do_all(TRIPS / 10);
    let figures = Figures::time(do_all(TRIPS));
    figures.percentiles(times).work(TRIPS)
}

fn wake_up() -> Figures {
    const SAMPLES: i64 = 1_000;
    let runtime = runtime(WORKERS);
    let mut times = Vec::with_capacity(SAMPLES as usize);
    let origin = Instant::now();
    let started = Arc::new(AtomicU64::new(0));
    let mut sum = Duration::ZERO;
    for _ in 0..SAMPLES {
        std::thread::sleep(Duration::from_millis(1)); // until all workers sleep
        started.store(0, Relaxed);
        let mine = started.clone();
        let before = origin.elapsed();
        runtime.spawn(async move { mine.store(origin.elapsed().as_nanos() as u64, Relaxed) });
        while started.load(Relaxed) == 0 {
            std::thread::yield_now();
        }
        let latency = Duration::from_nanos(started.load(Relaxed)).saturating_sub(before);
        times.push(latency.as_secs_f64() * 1e6);
        sum += latency;
    }
    Figures::time(sum).percentiles(times).work(SAMPLES)
}

fn idle_cpu() -> Figures {
    let of_others = || cpu_seconds(libc::RUSAGE_SELF) - cpu_seconds(libc::RUSAGE_THREAD);
    let runtime = runtime(WORKERS);
    runtime.block_on(runtime.spawn(async {})).unwrap();
    std::thread::sleep(Duration::from_millis(10));
    let cpu = of_others();
    std::thread::sleep(Duration::from_millis(500));
    let used = (of_others() - cpu).max(0.0);
    Figures { seconds: used.max(1e-9), counters: vec![("cpu_us_per_s", used * 1e6 / 0.5)] }
}

/// A job every 200 microseconds.
fn paced() -> Figures {
    const JOBS: i64 = 2_000;
    let runtime = runtime(WORKERS);
    runtime.block_on(runtime.spawn(async {})).unwrap();
    let before = counted();
    let cpu = cpu_seconds(libc::RUSAGE_SELF);
    let mut next = Instant::now();
    for _ in 0..JOBS {
        next += Duration::from_micros(200);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        runtime.spawn(async { count() });
    }
    wait_until(|| counted() - before >= JOBS);
    let used = cpu_seconds(libc::RUSAGE_SELF) - cpu;
    Figures { seconds: used.max(1e-9), counters: Vec::new() }
        .with("cpu_ns_per_job", used * 1e9 / JOBS as f64)
        .work(JOBS)
}

fn ping_pong() -> Figures {
    const TRIPS: i64 = 20_000;
    let runtime = runtime(WORKERS);
    let do_all = |trips: i64| {
        let start = Instant::now();
        let (to, mut asked) = mpsc::channel::<i64>(1);
        let (fro, mut answered) = mpsc::channel::<i64>(1);
        let answering = runtime.spawn(async move {
            for _ in 0..trips {
                let got = asked.recv().await.unwrap();
                fro.send(got).await.unwrap();
            }
        });
        let asking = runtime.spawn(async move {
            let mut last = 0;
            for i in 1..=trips {
                to.send(i).await.unwrap();
                last = answered.recv().await.unwrap();
            }
            last
        });
        let last = runtime.block_on(asking).unwrap();
        runtime.block_on(answering).unwrap();
        let elapsed = start.elapsed();
        expect(last == trips);
        elapsed
    };
    do_all(TRIPS / 10);
    Figures::time(do_all(TRIPS)).items(TRIPS)
}

fn fan_out(workers: usize) -> Figures {
    const WIDTH: i64 = 1_000;
    const ROUNDS: i64 = 200;
    let runtime = runtime(workers);
    let do_all = |rounds: i64| {
        let before = counted();
        let start = Instant::now();
        let all = runtime.spawn(async move {
            let mut children = Vec::with_capacity(WIDTH as usize);
            for _ in 0..rounds {
                children.extend((0..WIDTH).map(|_| tokio::spawn(async { count() })));
                for child in children.drain(..) {
                    child.await.unwrap();
                }
            }
        });
        runtime.block_on(all).unwrap();
        let elapsed = start.elapsed();
        expect(counted() - before == rounds * WIDTH);
        elapsed
    };
    do_all(ROUNDS / 10);
    Figures::time(do_all(ROUNDS)).items(ROUNDS * WIDTH)
}

/// Counts the end of a task that is cancelled.
struct Counting;
impl Drop for Counting {
    fn drop(&mut self) {
        count();
    }
}

/// Tasks that wait for what never comes; returns when all wait.
fn start_waiting(runtime: &Runtime, number: i64) -> Vec<tokio::task::JoinHandle<()>> {
    let never = Arc::new(Notify::new());
    let waiting = Arc::new(AtomicI64::new(0));
    let tasks = (0..number)
        .map(|_| {
            let (never, waiting) = (never.clone(), waiting.clone());
            runtime.spawn(async move {
                let _counting = Counting;
                waiting.fetch_add(1, Relaxed);
                never.notified().await;
            })
        })
        .collect();
    while waiting.load(Relaxed) != number {
        std::thread::sleep(Duration::from_millis(1));
    }
    tasks
}

fn cancel_waiting() -> Figures {
    const TASKS: i64 = 100_000;
    let runtime = runtime(WORKERS);
    let before = counted();
    let tasks = start_waiting(&runtime, TASKS);
    let start = Instant::now();
    for task in &tasks {
        task.abort();
    }
    wait_until(|| counted() - before >= TASKS);
    let figures = Figures::time(start.elapsed()).items(TASKS);
    expect(counted() - before == TASKS);
    figures
}

fn waiting_task() -> Figures {
    const TASKS: i64 = 10_000;
    let runtime = runtime(WORKERS);
    let before = memory("VmRSS:");
    let tasks = start_waiting(&runtime, TASKS);
    let grown = memory("VmRSS:") - before;
    tasks.iter().for_each(|task| task.abort());
    Figures::time(Duration::from_nanos(1))
        .with("bytes_per_task", grown / TASKS as f64)
        .work(TASKS)
}

pub fn add(to: &mut Vec<Benchmark>) {
    let mut once = |question: &str, run: fn() -> Figures| {
        to.push(Benchmark::once(format!("{question}/tokio"), move |_| run()));
    };
    once("relay", relay);
    once("round_trip", round_trip);
    once("wake_up", wake_up);
    once("idle_cpu", idle_cpu);
    once("paced", paced);
    once("ping_pong", ping_pong);
    once("cancel_waiting", cancel_waiting);
    once("waiting_task", waiting_task);
    for producers in [1, 2, 4, 8] {
        let name = format!("throughput/tokio/{producers}");
        to.push(Benchmark::once(name, move |options| throughput(producers, options)));
    }
    for workers in [1, 2, 4] {
        to.push(Benchmark::once(format!("inside/tokio/{workers}"), move |_| inside(workers)));
        to.push(Benchmark::once(format!("fan_out/tokio/{workers}"), move |_| fan_out(workers)));
    }
}
