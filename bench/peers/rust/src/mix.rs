// SPDX-License-Identifier: MIT
//! The numbers of `bench/problems/mix.hpp`.

pub fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// As many steps, each of which needs the one before.
pub fn mixed(mut x: u32, steps: u32) -> u32 {
    for step in 0..steps {
        x = mix(x.wrapping_add(step));
    }
    x
}
