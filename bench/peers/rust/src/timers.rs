// SPDX-License-Identifier: MIT
//! 200,000 sleeping tasks of tokio: the sleepers of `bench/timers.cpp`. Its timers are exact to a
//! millisecond.

use crate::jobs::runtime;
use crate::measure::{expect, Benchmark, Figures};
use crate::mix::mix;
use crate::watch::{count, counted, wait_until};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const COUNT: i64 = 200_000;

static WAITING: AtomicI64 = AtomicI64::new(0);
static AS_EXPECTED: AtomicI64 = AtomicI64::new(0);

/// Counts how a sleeper has ended, also if it is cancelled.
struct End {
    fires: bool,
    fired: bool,
}
impl Drop for End {
    fn drop(&mut self) {
        if self.fires == self.fired {
            AS_EXPECTED.fetch_add(1, Relaxed);
        }
        count();
    }
}

/// Deadlines are near, to fire, or far, to be cancelled.
fn sleepers(fires: bool) -> Figures {
    let (ahead, range) =
        if fires { (Duration::from_secs(5), 10_000) } else { (Duration::from_secs(3600), 1_000_000_000) };
    let runtime = runtime(2);
    let before = counted();
    WAITING.store(0, Relaxed);
    AS_EXPECTED.store(0, Relaxed);
    let arming = Instant::now();
    let first = arming + ahead;
    let mut tasks = Vec::with_capacity(COUNT as usize);
    for i in 0..COUNT {
        let until = first + Duration::from_micros(u64::from(mix(i as u32) % range));
        tasks.push(runtime.spawn(async move {
            let mut end = End { fires, fired: false };
            WAITING.fetch_add(1, Relaxed);
            tokio::time::sleep_until(until.into()).await;
            end.fired = true;
        }));
    }
    while WAITING.load(Relaxed) < COUNT {
        std::thread::sleep(Duration::from_millis(1));
    }
    let armed = arming.elapsed();
    let start = if fires {
        if Instant::now() > first {
            eprintln!("arming took too long for this machine");
            std::process::exit(3);
        }
        std::thread::sleep(first - Instant::now());
        first
    } else {
        let start = Instant::now();
        tasks.iter().for_each(|task| task.abort());
        start
    };
    wait_until(|| counted() - before >= COUNT);
    let figures = Figures::time(start.elapsed()).items(COUNT);
    expect(counted() - before == COUNT && AS_EXPECTED.load(Relaxed) == COUNT);
    figures.with("arm_s", armed.as_secs_f64())
}

pub fn add(to: &mut Vec<Benchmark>) {
    to.push(Benchmark::once("sleeper_fire/tokio".into(), |_| sleepers(true)));
    to.push(Benchmark::once("sleeper_cancel/tokio".into(), |_| sleepers(false)));
}
