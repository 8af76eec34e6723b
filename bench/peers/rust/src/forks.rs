// SPDX-License-Identifier: MIT
//! Recursions: fib36, skynet and nqueens12, in the pieces of `bench/problems`.

use crate::measure::Problem;
use rayon::join;

pub struct Fib;

fn fib(n: i32) -> i64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = join(|| fib(n - 1), || fib(n - 2));
    a + b
}

impl Problem for Fib {
    type Output = i64;
    const NAME: &'static str = "fib36";
    const WORK: i64 = 24_157_816;
    fn new() -> Fib {
        Fib
    }
    fn run(&mut self) -> i64 {
        fib(36)
    }
    fn correct(&self, result: i64) -> bool {
        result == 14_930_352
    }
}

pub struct Skynet;

const LEAVES: i64 = 100_000_000;

fn skynet(first: i64, size: i64) -> i64 {
    if size == 1 {
        first
    } else {
        children(first, size / 10, 10)
    }
}

/// So many children of `size` leaves, by halves.
fn children(first: i64, size: i64, count: i64) -> i64 {
    if count == 1 {
        return skynet(first, size);
    }
    let half = count / 2;
    let (a, b) = join(
        || children(first, size, half),
        || children(first + half * size, size, count - half),
    );
    a + b
}

impl Problem for Skynet {
    type Output = i64;
    const NAME: &'static str = "skynet";
    const WORK: i64 = LEAVES;
    fn new() -> Skynet {
        Skynet
    }
    fn run(&mut self) -> i64 {
        skynet(0, LEAVES)
    }
    fn correct(&self, result: i64) -> bool {
        result == LEAVES / 2 * (LEAVES - 1)
    }
}

pub struct Queens;

const SIZE: usize = 12;
/// The column of the queen of each row.
type Board = [i8; SIZE];

/// Not inlined, as everywhere.
#[inline(never)]
fn legal(board: &Board, rows: usize) -> bool {
    for i in 0..rows {
        let p = i32::from(board[i]);
        for j in i + 1..rows {
            let q = i32::from(board[j]);
            let apart = (j - i) as i32;
            if q == p || q == p - apart || q == p + apart {
                return false;
            }
        }
    }
    true
}

fn queens(board: &Board, rows: usize) -> i32 {
    if rows == SIZE {
        return 1;
    }
    let mut columns = [0; SIZE];
    let mut count = 0;
    let mut with = *board;
    for column in 0..SIZE as i8 {
        with[rows] = column;
        if legal(&with, rows + 1) {
            columns[count] = column;
            count += 1;
        }
    }
    if count == 0 {
        return 0;
    }
    squares(board, rows, &columns[..count])
}

/// What comes of the legal squares of the next row, by halves.
fn squares(board: &Board, rows: usize, columns: &[i8]) -> i32 {
    if let [column] = columns {
        let mut with = *board;
        with[rows] = *column;
        return queens(&with, rows + 1);
    }
    let (first, second) = columns.split_at(columns.len() / 2);
    let (a, b) = join(|| squares(board, rows, first), || squares(board, rows, second));
    a + b
}

impl Problem for Queens {
    type Output = i32;
    const NAME: &'static str = "nqueens12";
    const WORK: i64 = 856_188;
    fn new() -> Queens {
        Queens
    }
    fn run(&mut self) -> i32 {
        queens(&[0; SIZE], 0)
    }
    fn correct(&self, result: i32) -> bool {
        result == 14_200
    }
}
