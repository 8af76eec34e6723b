// SPDX-License-Identifier: MIT
//! Counting what has happened, and what the process has used.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

#[repr(align(128))]
struct Slot(AtomicI64);

#[allow(clippy::declare_interior_mutable_const)]
const ZERO: Slot = Slot(AtomicI64::new(0));
/// More slots than threads ever run at once; a slot is used again only after its thread has ended.
static SLOTS: [Slot; 64] = [ZERO; 64];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: &'static AtomicI64 = &SLOTS[NEXT.fetch_add(1, Relaxed) % SLOTS.len()].0;
}

/// Counts by thread, so that counting costs little, as `bench/tally.hpp` does.
pub fn count() {
    MINE.with(|mine| mine.store(mine.load(Relaxed) + 1, Relaxed));
}

pub fn counted() -> i64 {
    SLOTS.iter().map(|slot| slot.0.load(Relaxed)).sum()
}

/// Waits by short sleeps, so that the watcher takes no CPU from the workers.
pub fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// CPU time in seconds, of `libc::RUSAGE_SELF` or `libc::RUSAGE_THREAD`.
pub fn cpu_seconds(who: libc::c_int) -> f64 {
    // Safety: the structure holds numbers only, for which zero is a value.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut usage);
        usage
    };
    let of = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// A size that /proc/self/status gives, in bytes.
pub fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
    line.trim_end_matches("kB").trim().parse::<f64>().unwrap_or(0.0) * 1024.0
}
