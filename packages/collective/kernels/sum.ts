// SIMD sums over shared memory, in AssemblyScript (built by `nx kernels`, never by tsc).
//
// Addresses are bytes, lengths are floats. Loops count floats instead of comparing end addresses: a buffer may end at the very end of a
// 4 GiB memory, where an end address wraps to 0. Each float is one IEEE addition, so the bits do not depend on where the vector body ends.

/** dst += src */
export function add(dst: usize, src: usize, n: u32): void {
  while (n >= 16) {
    v128.store(dst, f32x4.add(v128.load(dst), v128.load(src)));
    v128.store(dst, f32x4.add(v128.load(dst, 16), v128.load(src, 16)), 16);
    v128.store(dst, f32x4.add(v128.load(dst, 32), v128.load(src, 32)), 32);
    v128.store(dst, f32x4.add(v128.load(dst, 48), v128.load(src, 48)), 48);
    dst += 64;
    src += 64;
    n -= 16;
  }
  while (n > 0) {
    store<f32>(dst, load<f32>(dst) + load<f32>(src));
    dst += 4;
    src += 4;
    n -= 1;
  }
}

/** out = a + b; out may be a or b, but must not overlap them otherwise */
export function sum(out: usize, a: usize, b: usize, n: u32): void {
  while (n >= 16) {
    v128.store(out, f32x4.add(v128.load(a), v128.load(b)));
    v128.store(out, f32x4.add(v128.load(a, 16), v128.load(b, 16)), 16);
    v128.store(out, f32x4.add(v128.load(a, 32), v128.load(b, 32)), 32);
    v128.store(out, f32x4.add(v128.load(a, 48), v128.load(b, 48)), 48);
    out += 64;
    a += 64;
    b += 64;
    n -= 16;
  }
  while (n > 0) {
    store<f32>(out, load<f32>(a) + load<f32>(b));
    out += 4;
    a += 4;
    b += 4;
    n -= 1;
  }
}

/** dst = src */
export function copy(dst: usize, src: usize, n: u32): void {
  memory.copy(dst, src, (<usize>n) << 2);
}
