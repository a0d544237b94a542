// Philox 4x32-10 (Salmon et al., SC 2011), and numbers made of it as TensorFlow makes them: StatelessRandomUniformV2 and StatelessRandomNormalV2 with alg = 1
// (tensorflow/core/lib/random/philox_random.h, random_distributions.h; Apache-2.0). Group i of four 32-bit numbers is made from counter + i.

import { cosine, log, sine } from "./mathematics";

@inline
const multiplierA: u64 = 0xd2511f53;
@inline
const multiplierB: u64 = 0xcd9e8d57;
const weylA: u32 = 0x9e3779b9;
const weylB: u32 = 0xbb67ae85;

/** Four words at `to`. */
@inline
function group(to: usize, key: u64, counter: u64, stream: u64): void {
  let k0 = <u32>key, k1 = <u32>(key >> 32);
  let c0 = <u32>counter, c1 = <u32>(counter >> 32), c2 = <u32>stream, c3 = <u32>(stream >> 32);
  for (let round = 0; round < 10; round++) {
    const a = multiplierA * <u64>c0;
    const b = multiplierB * <u64>c2;
    c0 = <u32>(b >> 32) ^ c1 ^ k0;
    c2 = <u32>(a >> 32) ^ c3 ^ k1;
    c1 = <u32>b;
    c3 = <u32>a;
    k0 += weylA;
    k1 += weylB;
  }
  store<u32>(to, c0);
  store<u32>(to, c1, 4);
  store<u32>(to, c2, 8);
  store<u32>(to, c3, 12);
}

/** 23 random bits as the fraction of a float in [1, 2), less 1. */
@inline
function unit(bits: u32): f32 {
  return reinterpret<f32>((bits & 0x7fffff) | 0x3f800000) - 1.0;
}

/** Uniform in [0, 1): `groups` groups of four floats at `to`, 16 bytes each. */
export function uniforms(to: usize, groups: u32, key: u64, counter: u64, stream: u64): void {
  const fraction = i32x4.splat(0x7fffff), one = i32x4.splat(0x3f800000);
  for (let i: u32 = 0; i < groups; i++) {
    group(to, key, counter, stream);
    v128.store(to, f32x4.sub(v128.or(v128.and(v128.load(to), fraction), one), one));
    counter += 1;
    to += 16;
  }
}

/** Standard normal (Box and Muller, 1958), in the same places. */
export function normals(to: usize, groups: u32, key: u64, counter: u64, stream: u64): void {
  for (let i: u32 = 0; i < groups; i++) {
    group(to, key, counter, stream);
    pair(to);
    pair(to + 8);
    counter += 1;
    to += 16;
  }
}

// A literal in an expression that ends in <f32> is taken for an f32.
const twoPi: f64 = 6.283185307179586;

function pair(at: usize): void {
  const uniform: f32 = max<f32>(unit(load<u32>(at)), 1.0e-7);
  const angle = <f32>(twoPi * <f64>unit(load<u32>(at, 4)));
  const radius = sqrt<f32>(<f32>(-2.0 * <f64><f32>log(<f64>uniform)));
  store<f32>(at, <f32>sine(<f64>angle) * radius);
  store<f32>(at, <f32>cosine(<f64>angle) * radius, 4);
}
