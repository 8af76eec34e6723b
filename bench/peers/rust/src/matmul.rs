// SPDX-License-Identifier: MIT
//! The product of `bench/problems/matmul.hpp`: the largest extent is halved down to blocks of 64.

use crate::measure::Problem;
use crate::mix::mix;
use rayon::join;

const LEAF: usize = 64;

/// A block of the result, which no other one overlaps, of a matrix with so many columns.
#[derive(Clone, Copy)]
struct Output(*mut f32);
// Safety: blocks that are written at the same time do not overlap, see `multiply`.
unsafe impl Send for Output {}
unsafe impl Sync for Output {}

impl Output {
    fn at(self, offset: usize) -> Output {
        // Safety: offsets lead to blocks of the same matrix.
        Output(unsafe { self.0.add(offset) })
    }
}

#[derive(Clone, Copy)]
struct Extents {
    rows: usize,
    columns: usize,
    terms: usize,
}

/// c += a b, where a and b begin with the first element of their blocks.
fn multiply<const N: usize>(a: &[f32], b: &[f32], c: Output, n: Extents) {
    if n.rows >= n.columns && n.rows >= n.terms && n.rows > LEAF {
        let half = n.rows / 2;
        let part = Extents { rows: half, ..n };
        join(
            || multiply::<N>(a, b, c, part),
            || multiply::<N>(&a[half * N..], b, c.at(half * N), part),
        );
    } else if n.columns >= n.terms && n.columns > LEAF {
        let half = n.columns / 2;
        let part = Extents { columns: half, ..n };
        join(
            || multiply::<N>(a, b, c, part),
            || multiply::<N>(a, &b[half..], c.at(half), part),
        );
    } else if n.terms > LEAF {
        let half = n.terms / 2;
        let part = Extents { terms: half, ..n };
        multiply::<N>(a, b, c, part);
        multiply::<N>(&a[half..], &b[half * N..], c, part);
    } else {
        multiply_leaf::<N>(a, b, c);
    }
}

/// Four rows and eight columns of the result at a time, which stay in registers.
#[inline(never)]
fn multiply_leaf<const N: usize>(a: &[f32], b: &[f32], c: Output) {
    const HEIGHT: usize = 4;
    const WIDTH: usize = 8;
    // Safety: a block has LEAF rows of N elements, of which LEAF belong to it; the last row may end
    // with them.
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.0);
    for i in (0..LEAF).step_by(HEIGHT) {
        for j in (0..LEAF).step_by(WIDTH) {
            let mut sums = [[0f32; WIDTH]; HEIGHT];
            for k in 0..LEAF {
                for y in 0..HEIGHT {
                    for x in 0..WIDTH {
                        unsafe {
                            sums[y][x] += *a.add((i + y) * N + k) * *b.add(k * N + j + x);
                        }
                    }
                }
            }
            for y in 0..HEIGHT {
                for x in 0..WIDTH {
                    unsafe { *c.add((i + y) * N + j + x) += sums[y][x] };
                }
            }
        }
    }
}

pub struct Matmul<const N: usize> {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    probe: Vec<i64>,
}

/// Small whole numbers, so that every sum is exact in whatever order.
fn small(i: usize) -> f32 {
    (mix(i as u32) % 5) as f32 - 2.0
}

fn times(matrix: &[f32], vector: &[i64]) -> Vec<i64> {
    let row = |row: &[f32]| row.iter().zip(vector).map(|(&m, &v)| m as i64 * v).sum();
    matrix.chunks(vector.len()).map(row).collect()
}

impl<const N: usize> Problem for Matmul<N> {
    type Output = ();
    const NAME: &'static str = if N == 1024 { "matmul1024" } else { "matmul2048" };
    const ITERATIONS: u32 = if N == 1024 { 3 } else { 1 };
    const WORK: i64 = (N * N * N) as i64;
    fn new() -> Matmul<N> {
        Matmul {
            a: (0..N * N).map(|i| small(2 * i)).collect(),
            b: (0..N * N).map(|i| small(2 * i + 1)).collect(),
            c: vec![0.0; N * N],
            probe: (0..N as u32).map(|i| 1 + i64::from(mix(i) % 1000)).collect(),
        }
    }
    fn reset(&mut self) {
        self.c.fill(0.0);
    }
    fn run(&mut self) {
        let all = Extents { rows: N, columns: N, terms: N };
        multiply::<N>(&self.a, &self.b, Output(self.c.as_mut_ptr()), all);
    }
    fn correct(&self, _: ()) -> bool {
        times(&self.c, &self.probe) == times(&self.a, &times(&self.b, &self.probe))
    }
    fn bytes(&self) -> usize {
        3 * N * N * 4
    }
}
