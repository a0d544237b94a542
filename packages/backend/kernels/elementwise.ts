// Float by float, `n` floats.

/** dx = dy where y > 0, else 0 */
export function reluGradient(dx: usize, dy: usize, y: usize, n: u32): void {
  const zero = f32x4.splat(0);
  while (n >= 4) {
    v128.store(dx, v128.and(v128.load(dy), f32x4.gt(v128.load(y), zero)));
    dx += 16;
    dy += 16;
    y += 16;
    n -= 4;
  }
  while (n > 0) {
    store<f32>(dx, load<f32>(y) > 0 ? load<f32>(dy) : 0);
    dx += 4;
    dy += 4;
    y += 4;
    n -= 1;
  }
}

/** out[r][c] = x[r][c] + bias[c], not below 0 where `relu`; out may be x. */
export function addBias(out: usize, x: usize, bias: usize, rows: u32, columns: u32, relu: bool): void {
  const zero = f32x4.splat(0);
  for (let row: u32 = 0; row < rows; row++) {
    let at = bias;
    let left = columns;
    while (left >= 4) {
      let sum = f32x4.add(v128.load(x), v128.load(at));
      // Not max: of a NaN that takes either operand.
      if (relu) sum = v128.andnot(sum, f32x4.lt(sum, zero));
      v128.store(out, sum);
      out += 16;
      x += 16;
      at += 16;
      left -= 4;
    }
    while (left > 0) {
      const sum = load<f32>(x) + load<f32>(at);
      store<f32>(out, relu && sum < 0 ? 0 : sum);
      out += 4;
      x += 4;
      at += 4;
      left -= 1;
    }
  }
}

/** out[i] = x[i] >= bound (0), > (1), <= (2), < (3), a byte each */
export function compare(relation: u32, out: usize, x: usize, bound: f32, n: u32): void {
  const bounds = f32x4.splat(bound);
  const one = i8x16.splat(1);
  while (n >= 16) {
    const a = compared(relation, v128.load(x), bounds), b = compared(relation, v128.load(x, 16), bounds);
    const c = compared(relation, v128.load(x, 32), bounds), d = compared(relation, v128.load(x, 48), bounds);
    const bytes = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
    v128.store(out, v128.and(bytes, one));
    x += 64;
    out += 16;
    n -= 16;
  }
  while (n > 0) {
    store<u8>(out, <u8>(i32x4.extract_lane(compared(relation, v128.load32_splat(x), bounds), 0) & 1));
    x += 4;
    out += 1;
    n -= 1;
  }
}

function compared(relation: u32, x: v128, bounds: v128): v128 {
  if (relation == 0) return f32x4.ge(x, bounds);
  if (relation == 1) return f32x4.gt(x, bounds);
  if (relation == 2) return f32x4.le(x, bounds);
  return f32x4.lt(x, bounds);
}
