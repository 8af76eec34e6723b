// SPDX-License-Identifier: MIT
//! The trees of `bench/problems/uts.hpp`; a node's children are forked by halves.

use crate::measure::Problem;
use rayon::join;
use std::marker::PhantomData;

type Digest = [u32; 5];

/// SHA-1 of one block of big-endian words (FIPS 180-4).
fn sha1<const WORDS: usize>(message: [u32; WORDS]) -> Digest {
    let mut w = [0u32; 16];
    w[..WORDS].copy_from_slice(&message);
    w[WORDS] = 0x8000_0000;
    w[15] = WORDS as u32 * 32;
    const START: Digest = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let [mut a, mut b, mut c, mut d, mut e] = START;
    for t in 0..80 {
        if t >= 16 {
            w[t % 16] =
                (w[(t - 3) % 16] ^ w[(t - 8) % 16] ^ w[(t - 14) % 16] ^ w[t % 16]).rotate_left(1);
        }
        let mixed = match t {
            0..=19 => ((b & c) | (!b & d)).wrapping_add(0x5a82_7999),
            20..=39 => (b ^ c ^ d).wrapping_add(0x6ed9_eba1),
            40..=59 => ((b & c) | (b & d) | (c & d)).wrapping_add(0x8f1b_bcdc),
            _ => (b ^ c ^ d).wrapping_add(0xca62_c1d6),
        };
        let next =
            a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(w[t % 16]);
        e = d;
        d = c;
        c = b.rotate_left(30);
        b = a;
        a = next;
    }
    let [p, q, r, s, t] = START;
    [
        p.wrapping_add(a),
        q.wrapping_add(b),
        r.wrapping_add(c),
        s.wrapping_add(d),
        t.wrapping_add(e),
    ]
}

#[derive(Clone, Copy)]
pub struct Node {
    digest: Digest,
    depth: u32,
}

impl Node {
    fn child(&self, number: u32) -> Node {
        let d = self.digest;
        Node { digest: sha1([d[0], d[1], d[2], d[3], d[4], number]), depth: self.depth + 1 }
    }
    /// The node's random number, 0 to 1.
    fn chance(&self) -> f64 {
        f64::from(self.digest[4] & 0x7fff_ffff) / 2_147_483_648.0
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Count {
    nodes: u32,
    leaves: u32,
    depth: u32,
}

pub trait Tree: Send + Sync {
    const NAME: &'static str;
    const SEED: u32;
    const EXPECTED: Count;
    fn children(node: &Node) -> u32;
}

pub struct T1;
impl Tree for T1 {
    const NAME: &'static str = "uts_t1";
    const SEED: u32 = 19;
    const EXPECTED: Count = Count { nodes: 4_130_071, leaves: 3_305_118, depth: 10 };
    fn children(node: &Node) -> u32 {
        if node.depth >= 10 {
            return 0;
        }
        let scale = (1.0f64 - 1.0 / (1.0 + 4.0)).ln();
        ((1.0 - node.chance()).ln() / scale).floor().min(100.0) as u32
    }
}

pub struct T3;
impl Tree for T3 {
    const NAME: &'static str = "uts_t3";
    const SEED: u32 = 42;
    const EXPECTED: Count = Count { nodes: 4_112_897, leaves: 3_599_034, depth: 1572 };
    fn children(node: &Node) -> u32 {
        match node.depth {
            0 => 2000,
            _ if node.chance() < 0.124_875 => 8,
            _ => 0,
        }
    }
}

fn search<T: Tree>(node: &Node) -> Count {
    match T::children(node) {
        0 => Count { nodes: 1, leaves: 1, depth: node.depth },
        count => {
            let mut total = children::<T>(node, 0, count);
            total.nodes += 1;
            total
        }
    }
}

fn children<T: Tree>(node: &Node, first: u32, count: u32) -> Count {
    if count == 1 {
        return search::<T>(&node.child(first));
    }
    let half = count / 2;
    let (a, b) = join(
        || children::<T>(node, first, half),
        || children::<T>(node, first + half, count - half),
    );
    Count {
        nodes: a.nodes + b.nodes,
        leaves: a.leaves + b.leaves,
        depth: a.depth.max(b.depth),
    }
}

pub struct Uts<T>(PhantomData<T>);

impl<T: Tree> Problem for Uts<T> {
    type Output = Count;
    const NAME: &'static str = T::NAME;
    const WORK: i64 = T::EXPECTED.nodes as i64;
    fn new() -> Uts<T> {
        Uts(PhantomData)
    }
    fn run(&mut self) -> Count {
        search::<T>(&Node { digest: sha1([0, 0, 0, 0, T::SEED]), depth: 0 })
    }
    fn correct(&self, result: Count) -> bool {
        result == T::EXPECTED
    }
}
