// Gradients of pooling, of one image [height, width, channels]. An image at a time is set to zeros and added to while it lies in the cache.

/** An output's gradient goes to the first place of its window, row by row, that holds its maximum. */
export function maxPoolGradient(
  dx: usize, dy: usize, x: usize, y: usize,
  height: i32, width: i32, channels: i32, outHeight: i32, outWidth: i32,
  filterHeight: i32, filterWidth: i32, stride: i32, strideWidth: i32, top: i32, left: i32,
): void {
  const rowBytes = <usize>(width * channels) << 2;
  const pixel = <usize>channels << 2;
  memory.fill(dx, 0, <usize>height * rowBytes);
  const squares = filterHeight == 2 && filterWidth == 2 && stride == 2 && strideWidth == 2 && (channels & 3) == 0;
  for (let oy = 0; oy < outHeight; oy++) {
    const y0 = max(0, oy * stride - top);
    const y1 = min(height, oy * stride - top + filterHeight);
    for (let ox = 0; ox < outWidth; ox++) {
      const x0 = max(0, ox * strideWidth - left);
      const x1 = min(width, ox * strideWidth - left + filterWidth);
      const window = <usize>y0 * rowBytes + <usize>x0 * pixel;
      if (squares && y1 - y0 == 2 && x1 - x0 == 2) {
        squareGradient(dx + window, dy, x + window, y, rowBytes, pixel);
        y += pixel;
        dy += pixel;
        continue;
      }
      let c = 0;
      for (; c + 4 <= channels; c += 4) {
        const lane = <usize>c << 2;
        const highest = v128.load(y + lane);
        const gradient = v128.load(dy + lane);
        let open = i32x4.splat(-1);
        let row = window + lane;
        for (let iy = y0; iy < y1; iy++) {
          let at = row;
          for (let ix = x0; ix < x1; ix++) {
            const found = v128.and(open, f32x4.eq(v128.load(x + at), highest));
            v128.store(dx + at, f32x4.add(v128.load(dx + at), v128.and(gradient, found)));
            open = v128.andnot(open, found);
            at += pixel;
          }
          row += rowBytes;
        }
      }
      for (; c < channels; c++) {
        const lane = <usize>c << 2;
        const highest = load<f32>(y + lane);
        let open = true;
        let row = window + lane;
        for (let iy = y0; open && iy < y1; iy++) {
          let at = row;
          for (let ix = x0; open && ix < x1; ix++) {
            if (load<f32>(x + at) == highest) {
              store<f32>(dx + at, load<f32>(dx + at) + load<f32>(dy + lane));
              open = false;
            }
            at += pixel;
          }
          row += rowBytes;
        }
      }
      y += pixel;
      dy += pixel;
    }
  }
}

/** The usual window, 2 x 2, which no other overlaps. */
function squareGradient(dx: usize, dy: usize, x: usize, y: usize, rowBytes: usize, pixel: usize): void {
  for (let lane: usize = 0; lane < pixel; lane += 16) {
    const highest = v128.load(y + lane);
    const gradient = v128.load(dy + lane);
    const above = x + lane;
    const below = above + rowBytes;
    const a = f32x4.eq(v128.load(above), highest);
    const b = f32x4.eq(v128.load(above + pixel), highest);
    const c = f32x4.eq(v128.load(below), highest);
    const d = f32x4.eq(v128.load(below + pixel), highest);
    const ab = v128.or(a, b);
    const to = dx + lane;
    v128.store(to, v128.and(gradient, a));
    v128.store(to + pixel, v128.and(gradient, v128.andnot(b, a)));
    v128.store(to + rowBytes, v128.and(gradient, v128.andnot(c, ab)));
    v128.store(to + rowBytes + pixel, v128.and(gradient, v128.andnot(d, v128.or(ab, c))));
  }
}

/** An output's gradient is shared by the places of its window that lie within the image: the forward pass averages over those alone. */
export function avgPoolGradient(
  dx: usize, dy: usize,
  height: i32, width: i32, channels: i32, outHeight: i32, outWidth: i32,
  filterHeight: i32, filterWidth: i32, stride: i32, strideWidth: i32, top: i32, left: i32,
): void {
  const rowBytes = <usize>(width * channels) << 2;
  const pixel = <usize>channels << 2;
  memory.fill(dx, 0, <usize>height * rowBytes);
  for (let oy = 0; oy < outHeight; oy++) {
    const y0 = max(0, oy * stride - top);
    const y1 = min(height, oy * stride - top + filterHeight);
    for (let ox = 0; ox < outWidth; ox++) {
      const x0 = max(0, ox * strideWidth - left);
      const x1 = min(width, ox * strideWidth - left + filterWidth);
      const places = <f32>((y1 - y0) * (x1 - x0));
      for (let iy = y0; iy < y1; iy++) {
        let at = dx + <usize>iy * rowBytes + <usize>x0 * pixel;
        for (let ix = x0; ix < x1; ix++) {
          addShare(at, dy, channels, places);
          at += pixel;
        }
      }
      dy += pixel;
    }
  }
}

function addShare(to: usize, from: usize, channels: i32, places: f32): void {
  const divisor = f32x4.splat(places);
  while (channels >= 4) {
    v128.store(to, f32x4.add(v128.load(to), f32x4.div(v128.load(from), divisor)));
    to += 16;
    from += 16;
    channels -= 4;
  }
  while (channels > 0) {
    store<f32>(to, load<f32>(to) + load<f32>(from) / places);
    to += 4;
    from += 4;
    channels -= 1;
  }
}
