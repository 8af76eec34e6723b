// SPDX-License-Identifier: MIT
//! Loops, the sum of squares and the sort, by rayon's own parallel iterators.

use crate::measure::Problem;
use crate::mix::{mix, mixed};
use rayon::prelude::*;

/// What the loops have in common: body i writes element i, which is checked.
pub trait Loop: Send + Sync {
    const NAME: &'static str;
    const ITERATIONS: u32;
    const SIZE: usize;
    fn body(i: usize) -> u32;
}

pub struct Tiny;
impl Loop for Tiny {
    const NAME: &'static str = "for_tiny";
    const ITERATIONS: u32 = 10;
    const SIZE: usize = 10_000_000;
    fn body(i: usize) -> u32 {
        mix(i as u32) | 1
    }
}

pub struct Uneven;
impl Loop for Uneven {
    const NAME: &'static str = "for_uneven";
    const ITERATIONS: u32 = 5;
    const SIZE: usize = 1_000;
    fn body(i: usize) -> u32 {
        let x = 3000 + i as u32;
        mixed(x, 1_000_000 / (1 + mix(x) % 1000))
    }
}

pub struct Coarse;
impl Loop for Coarse {
    const NAME: &'static str = "for_coarse";
    const ITERATIONS: u32 = 1;
    const SIZE: usize = 64;
    #[inline(never)]
    fn body(i: usize) -> u32 {
        mixed(i as u32, 4_000_000)
    }
}

pub struct Looping<L> {
    values: Vec<u32>,
    expected: Vec<u32>,
    of: std::marker::PhantomData<L>,
}

impl<L: Loop> Problem for Looping<L> {
    type Output = ();
    const NAME: &'static str = L::NAME;
    const ITERATIONS: u32 = L::ITERATIONS;
    const WORK: i64 = L::SIZE as i64;
    fn new() -> Looping<L> {
        Looping {
            values: vec![0; L::SIZE],
            expected: (0..L::SIZE).map(L::body).collect(),
            of: std::marker::PhantomData,
        }
    }
    fn reset(&mut self) {
        self.values.fill(0);
    }
    fn run(&mut self) {
        self.values.par_iter_mut().enumerate().for_each(|(i, value)| *value = L::body(i));
    }
    fn correct(&self, _: ()) -> bool {
        self.values == self.expected
    }
    fn bytes(&self) -> usize {
        2 * L::SIZE * 4
    }
}

/// How many numbers are summed up and sorted.
const SIZE: i64 = 10_000_000;

pub struct Reduce {
    values: Vec<u32>,
    expected: u64,
}

fn square(x: u32) -> u64 {
    u64::from(x).wrapping_mul(u64::from(x))
}

impl Problem for Reduce {
    type Output = u64;
    const NAME: &'static str = "reduce";
    const ITERATIONS: u32 = 10;
    const WORK: i64 = SIZE;
    fn new() -> Reduce {
        let values: Vec<u32> = (0..SIZE as u32).map(mix).collect();
        let expected = values.iter().fold(0u64, |sum, &x| sum.wrapping_add(square(x)));
        Reduce { values, expected }
    }
    fn run(&mut self) -> u64 {
        self.values
            .par_iter()
            .fold(|| 0u64, |sum, &x| sum.wrapping_add(square(x)))
            .reduce(|| 0u64, u64::wrapping_add)
    }
    fn correct(&self, result: u64) -> bool {
        result == self.expected
    }
    fn bytes(&self) -> usize {
        self.values.len() * 4
    }
}

pub struct Sort {
    values: Vec<u32>,
}

impl Problem for Sort {
    type Output = ();
    const NAME: &'static str = "sort";
    const WORK: i64 = SIZE;
    fn new() -> Sort {
        Sort { values: vec![0; SIZE as usize] }
    }
    fn reset(&mut self) {
        for (i, value) in self.values.iter_mut().enumerate() {
            *value = mix(i as u32);
        }
    }
    fn run(&mut self) {
        self.values.par_sort_unstable();
    }
    fn correct(&self, _: ()) -> bool {
        let sum = |of: &mut dyn Iterator<Item = u32>| {
            of.fold(0u64, |sum, x| sum.wrapping_add(u64::from(mix(x))))
        };
        let as_made = sum(&mut (0..self.values.len() as u32).map(mix));
        sum(&mut self.values.iter().copied()) == as_made
            && self.values.windows(2).all(|pair| pair[0] <= pair[1])
    }
    fn bytes(&self) -> usize {
        self.values.len() * 4
    }
}
