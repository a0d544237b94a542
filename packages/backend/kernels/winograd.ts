// 3 x 3 convolutions without stride in 2.25 times fewer multiplications: F(2 x 2, 3 x 3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
// (2015), after Winograd. A tile of 2 x 2 outputs y follows from a patch d of 4 x 4 inputs and the filter g:
//
//   y = A' [(G g G') * (B' d B)] A        * by element, ' transposed
//
//   B' = 1  0 -1  0      G =  1    0    0      A' = 1  1  1  0
//        0  1  1  0          1/2  1/2  1/2          0  1 -1 -1
//        0 -1  1  0          1/2 -1/2  1/2
//        0  1  0 -1           0    0    1
//
// Over channels the product by element is one product of matrices for each of the 16 elements. The gradient of the filter is the adjoint,
// G' [(A dy A') * (B' d B)] G, summed over tiles. All entries are 0, 1 and 1/2, so little precision is lost.
//
// What is transformed lies in 16 planes, each [tiles or input channels][channels]. Tiles are counted along the rows of each image, image after image. Channels come in
// fours. `patch` is room for 16 pixels.

/** B' d B of tiles `first` to `first + count`; an image's first patch begins `top` and `left` outside it. */
export function winogradInput(
  to: usize, x: usize, height: i32, width: i32, channels: i32, top: i32, left: i32,
  tilesDown: i32, tilesAcross: i32, first: i32, count: i32, patch: usize,
): void {
  const pixel = <usize>channels << 2;
  const rowBytes = <usize>width * pixel;
  const plane = <usize>count * pixel;
  for (let tile = first; tile < first + count; tile++) {
    const row = tile / tilesAcross;
    const x0 = (tile % tilesAcross) * 2 - left;
    const y0 = (row % tilesDown) * 2 - top;
    const image = x + <usize>(row / tilesDown) * <usize>height * rowBytes;
    if (y0 >= 0 && y0 + 4 <= height && x0 >= 0 && x0 + 4 <= width) {
      transformPatch(to, plane, image + <usize>y0 * rowBytes + <usize>x0 * pixel, rowBytes, pixel);
    } else {
      let at = patch;
      for (let dy = 0; dy < 4; dy++) {
        for (let dx = 0; dx < 4; dx++) {
          const iy = y0 + dy, ix = x0 + dx;
          if (iy < 0 || iy >= height || ix < 0 || ix >= width) memory.fill(at, 0, pixel);
          else memory.copy(at, image + <usize>iy * rowBytes + <usize>ix * pixel, pixel);
          at += pixel;
        }
      }
      transformPatch(to, plane, patch, pixel << 2, pixel);
    }
    to += pixel;
  }
}

function transformPatch(to: usize, plane: usize, from: usize, rowBytes: usize, pixel: usize): void {
  const row2 = from + (rowBytes << 1);
  const row = plane << 2;
  transformRow(to, plane, from, row2, pixel, false);
  transformRow(to + row, plane, from + rowBytes, row2, pixel, true);
  transformRow(to + (row << 1), plane, row2, from + rowBytes, pixel, false);
  transformRow(to + row * 3, plane, from + rowBytes, row2 + rowBytes, pixel, false);
}

/** One row of B' d B, from a - b or a + b. */
@inline
function transformRow(to: usize, plane: usize, a: usize, b: usize, pixel: usize, plus: bool): void {
  for (let lane: usize = 0; lane < pixel; lane += 16) {
    const t0 = combined(a, b, plus);
    const t1 = combined(a + pixel, b + pixel, plus);
    const t2 = combined(a + (pixel << 1), b + (pixel << 1), plus);
    const t3 = combined(a + pixel * 3, b + pixel * 3, plus);
    v128.store(to, f32x4.sub(t0, t2));
    v128.store(to + plane, f32x4.add(t1, t2));
    v128.store(to + (plane << 1), f32x4.sub(t2, t1));
    v128.store(to + plane * 3, f32x4.sub(t1, t3));
    a += 16;
    b += 16;
    to += 16;
  }
}

@inline
function combined(a: usize, b: usize, plus: bool): v128 {
  return plus ? f32x4.add(v128.load(a), v128.load(b)) : f32x4.sub(v128.load(a), v128.load(b));
}

/** y = A' m A of the same tiles; outputs beyond the edge are left out. */
export function winogradOutput(
  y: usize, from: usize, height: i32, width: i32, channels: i32, tilesDown: i32, tilesAcross: i32, first: i32, count: i32,
): void {
  const pixel = <usize>channels << 2;
  const rowBytes = <usize>width * pixel;
  const plane = <usize>count * pixel;
  for (let tile = first; tile < first + count; tile++) {
    const row = tile / tilesAcross;
    const x0 = (tile % tilesAcross) * 2;
    const y0 = (row % tilesDown) * 2;
    const at = y + <usize>(row / tilesDown) * <usize>height * rowBytes + <usize>y0 * rowBytes + <usize>x0 * pixel;
    const inX = x0 + 1 < width, inY = y0 + 1 < height;
    for (let lane: usize = 0; lane < pixel; lane += 16) {
      let m = from + lane;
      let y00 = f32x4.splat(0), y01 = y00, y10 = y00, y11 = y00;
      for (let column = 0; column < 4; column++) {
        const m1 = v128.load(m + (plane << 2)), m2 = v128.load(m + (plane << 3));
        const upper = f32x4.add(f32x4.add(v128.load(m), m1), m2);
        const lower = f32x4.sub(f32x4.sub(m1, m2), v128.load(m + plane * 12));
        if (column < 3) {
          y00 = f32x4.add(y00, upper);
          y10 = f32x4.add(y10, lower);
        }
        if (column == 1) {
          y01 = upper;
          y11 = lower;
        } else if (column > 1) {
          y01 = f32x4.sub(y01, upper);
          y11 = f32x4.sub(y11, lower);
        }
        m += plane;
      }
      const to = at + lane;
      v128.store(to, y00);
      if (inX) v128.store(to + pixel, y01);
      if (inY) v128.store(to + rowBytes, y10);
      if (inX && inY) v128.store(to + rowBytes + pixel, y11);
    }
    from += pixel;
  }
}

/** A dy A' of the same tiles; the gradient beyond the edge is 0. */
export function winogradGradient(
  to: usize, dy: usize, height: i32, width: i32, channels: i32, tilesDown: i32, tilesAcross: i32, first: i32, count: i32,
): void {
  const pixel = <usize>channels << 2;
  const rowBytes = <usize>width * pixel;
  const plane = <usize>count * pixel;
  const zero = f32x4.splat(0);
  for (let tile = first; tile < first + count; tile++) {
    const row = tile / tilesAcross;
    const x0 = (tile % tilesAcross) * 2;
    const y0 = (row % tilesDown) * 2;
    const at = dy + <usize>(row / tilesDown) * <usize>height * rowBytes + <usize>y0 * rowBytes + <usize>x0 * pixel;
    const inX = x0 + 1 < width, inY = y0 + 1 < height;
    for (let lane: usize = 0; lane < pixel; lane += 16) {
      const from = at + lane;
      const g00 = v128.load(from);
      const g01 = inX ? v128.load(from + pixel) : zero;
      const g10 = inY ? v128.load(from + rowBytes) : zero;
      const g11 = inX && inY ? v128.load(from + rowBytes + pixel) : zero;
      const out = to + lane;
      spread(out, plane, g00, g01);
      spread(out + (plane << 2), plane, f32x4.add(g00, g10), f32x4.add(g01, g11));
      spread(out + (plane << 3), plane, f32x4.sub(g00, g10), f32x4.sub(g01, g11));
      spread(out + plane * 12, plane, f32x4.neg(g10), f32x4.neg(g11));
    }
    to += pixel;
  }
}

@inline
function spread(to: usize, plane: usize, a: v128, b: v128): void {
  v128.store(to, a);
  v128.store(to + plane, f32x4.add(a, b));
  v128.store(to + (plane << 1), f32x4.sub(a, b));
  v128.store(to + plane * 3, f32x4.neg(b));
}

/** G g G' for each of `pairs` pairs of channels. */
export function winogradFilter(to: usize, filter: usize, pairs: u32): void {
  const plane = <usize>pairs << 2;
  const half = f32x4.splat(0.5);
  for (let lane: usize = 0; lane < plane; lane += 16) {
    for (let row: usize = 0; row < 4; row++) {
      const a = filterRow(filter + lane, plane, row, half);
      const b = filterRow(filter + lane + plane, plane, row, half);
      const c = filterRow(filter + lane + (plane << 1), plane, row, half);
      const out = to + lane + row * (plane << 2);
      const sum = f32x4.add(a, c);
      v128.store(out, a);
      v128.store(out + plane, f32x4.mul(half, f32x4.add(sum, b)));
      v128.store(out + (plane << 1), f32x4.mul(half, f32x4.sub(sum, b)));
      v128.store(out + plane * 3, c);
    }
  }
}

/** Element `row` of G times a column of the filter. */
@inline
function filterRow(column: usize, plane: usize, row: usize, half: v128): v128 {
  const down = plane * 3;
  if (row == 0) return v128.load(column);
  if (row == 3) return v128.load(column + (down << 1));
  const middle = v128.load(column + down);
  const sum = f32x4.add(v128.load(column), v128.load(column + (down << 1)));
  return f32x4.mul(half, row == 1 ? f32x4.add(sum, middle) : f32x4.sub(sum, middle));
}

/** dw = G' s G */
export function winogradFilterGradient(dw: usize, from: usize, pairs: u32): void {
  const plane = <usize>pairs << 2;
  const half = f32x4.splat(0.5);
  for (let lane: usize = 0; lane < plane; lane += 16) {
    for (let row: usize = 0; row < 3; row++) {
      const a = gradientRow(from + lane, plane, row, half);
      const b = gradientRow(from + lane + plane, plane, row, half);
      const c = gradientRow(from + lane + (plane << 1), plane, row, half);
      const d = gradientRow(from + lane + plane * 3, plane, row, half);
      const out = dw + lane + row * (plane * 3);
      const middle = f32x4.mul(half, f32x4.add(b, c));
      v128.store(out, f32x4.add(a, middle));
      v128.store(out + plane, f32x4.mul(half, f32x4.sub(b, c)));
      v128.store(out + (plane << 1), f32x4.add(middle, d));
    }
  }
}

/** Element `row` of G' times a column. */
@inline
function gradientRow(column: usize, plane: usize, row: usize, half: v128): v128 {
  const b = v128.load(column + (plane << 2)), c = v128.load(column + (plane << 3));
  if (row == 1) return f32x4.mul(half, f32x4.sub(b, c));
  const middle = f32x4.mul(half, f32x4.add(b, c));
  return row == 0 ? f32x4.add(v128.load(column), middle) : f32x4.add(middle, v128.load(column + plane * 12));
}
