// Sums over the rows of a rows x columns matrix, and batch normalisation, which is made of them.
//
// A sum runs over blocks of rows in float32 and adds up the blocks in float64: it costs what a plain float32 sum costs and is as good as float64's for
// millions of rows. `scratch` holds what the functions say, in floats; its doubles come first.

const rowBlock: u32 = 128;

/** out[c] = sum of x[r][c], times `factor`; scratch: 3 x columns. */
export function columnSums(out: usize, x: usize, rows: u32, columns: u32, factor: f64, scratch: usize): void {
  const totals = scratch;
  const part = scratch + (<usize>columns << 3);
  memory.fill(totals, 0, <usize>columns << 3);
  while (rows > 0) {
    const count = min(rowBlock, rows);
    memory.fill(part, 0, <usize>columns << 2);
    addRows(part, x, count, columns);
    addTotals(totals, part, columns);
    x += <usize>count * columns << 2;
    rows -= count;
  }
  for (let c: usize = 0; c < columns; c++) store<f32>(out + (c << 2), <f32>(load<f64>(totals + (c << 3)) * factor));
}

function addRows(part: usize, x: usize, rows: u32, columns: u32): void {
  const rowBytes = <usize>columns << 2;
  let c: u32 = 0;
  for (; c + 16 <= columns; c += 16) {
    let a = v128.load(part), b = v128.load(part, 16), d = v128.load(part, 32), e = v128.load(part, 48);
    let at = x + (<usize>c << 2);
    for (let row: u32 = 0; row < rows; row++) {
      a = f32x4.add(a, v128.load(at));
      b = f32x4.add(b, v128.load(at, 16));
      d = f32x4.add(d, v128.load(at, 32));
      e = f32x4.add(e, v128.load(at, 48));
      at += rowBytes;
    }
    v128.store(part, a);
    v128.store(part, b, 16);
    v128.store(part, d, 32);
    v128.store(part, e, 48);
    part += 64;
  }
  for (; c < columns; c++) {
    let sum: f32 = load<f32>(part);
    let at = x + (<usize>c << 2);
    for (let row: u32 = 0; row < rows; row++) {
      sum += load<f32>(at);
      at += rowBytes;
    }
    store<f32>(part, sum);
    part += 4;
  }
}

function addTotals(totals: usize, part: usize, columns: u32): void {
  for (let c: usize = 0; c < columns; c++) {
    const at = totals + (c << 3);
    store<f64>(at, load<f64>(at) + <f64>load<f32>(part + (c << 2)));
  }
}

/** out[c] = sum of (a[r][c] - centre[c]) * (b[r][c] - centreB[c]), centreB being `centre` where `both`, else 0; scratch: 3 x columns. */
function centredProducts(out: usize, a: usize, b: usize, centre: usize, both: bool, rows: u32, columns: u32, scratch: usize): void {
  const totals = scratch;
  const part = scratch + (<usize>columns << 3);
  const rowBytes = <usize>columns << 2;
  memory.fill(totals, 0, <usize>columns << 3);
  while (rows > 0) {
    const count = min(rowBlock, rows);
    let c: u32 = 0;
    for (; c + 4 <= columns; c += 4) {
      const lane = <usize>c << 2;
      const middle = v128.load(centre + lane);
      const middleB = both ? middle : f32x4.splat(0);
      let sum = f32x4.splat(0);
      let atA = a + lane, atB = b + lane;
      for (let row: u32 = 0; row < count; row++) {
        sum = f32x4.add(sum, f32x4.mul(f32x4.sub(v128.load(atA), middle), f32x4.sub(v128.load(atB), middleB)));
        atA += rowBytes;
        atB += rowBytes;
      }
      v128.store(part + lane, sum);
    }
    for (; c < columns; c++) {
      const lane = <usize>c << 2;
      const middle = load<f32>(centre + lane);
      const middleB: f32 = both ? middle : 0;
      let sum: f32 = 0;
      let atA = a + lane, atB = b + lane;
      for (let row: u32 = 0; row < count; row++) {
        sum += (load<f32>(atA) - middle) * (load<f32>(atB) - middleB);
        atA += rowBytes;
        atB += rowBytes;
      }
      store<f32>(part + lane, sum);
    }
    addTotals(totals, part, columns);
    a += <usize>count * rowBytes;
    b += <usize>count * rowBytes;
    rows -= count;
  }
  for (let c: usize = 0; c < columns; c++) store<f32>(out + (c << 2), <f32>load<f64>(totals + (c << 3)));
}

/**
 * y = (x - mean) * inverse * scale + offset by channel, with the batch's mean, its inverse standard deviation 1 / sqrt(variance + epsilon), and its variance
 * corrected by n / (n - 1); scratch: 4 x channels.
 */
export function batchNorm(
  y: usize, mean: usize, corrected: usize, inverse: usize,
  x: usize, scale: usize, offset: usize, rows: u32, channels: u32, epsilon: f64, scratch: usize,
): void {
  columnSums(mean, x, rows, channels, 1.0 / <f64>rows, scratch);
  centredProducts(corrected, x, x, mean, true, rows, channels, scratch);
  const factor = scratch;
  for (let c: usize = 0; c < channels; c++) {
    const at = c << 2;
    const squares = <f64>load<f32>(corrected + at);
    const deviation = 1.0 / sqrt<f64>(squares / <f64>rows + epsilon);
    store<f32>(corrected + at, <f32>(squares / <f64>max<u32>(rows - 1, 1)));
    store<f32>(inverse + at, <f32>deviation);
    store<f32>(factor + at, <f32>(deviation * <f64>load<f32>(scale + at)));
  }
  for (let row: u32 = 0; row < rows; row++) {
    let c: u32 = 0;
    for (; c + 4 <= channels; c += 4) {
      const at = <usize>c << 2;
      const centred = f32x4.sub(v128.load(x + at), v128.load(mean + at));
      v128.store(y + at, f32x4.add(f32x4.mul(centred, v128.load(factor + at)), v128.load(offset + at)));
    }
    for (; c < channels; c++) {
      const at = <usize>c << 2;
      store<f32>(y + at, (load<f32>(x + at) - load<f32>(mean + at)) * load<f32>(factor + at) + load<f32>(offset + at));
    }
    x += <usize>channels << 2;
    y += <usize>channels << 2;
  }
}

/**
 * Through the batch's moments (Ioffe and Szegedy, 2015): dx = scale * inverse * (dy - doffset / n - (x - mean) * inverse * dscale / n);
 * scratch: 3 x channels.
 */
export function batchNormGradient(
  dx: usize, dscale: usize, doffset: usize,
  dy: usize, x: usize, scale: usize, mean: usize, inverse: usize, rows: u32, channels: u32, scratch: usize,
): void {
  columnSums(doffset, dy, rows, channels, 1.0, scratch);
  centredProducts(dscale, x, dy, mean, false, rows, channels, scratch);
  const factor = scratch;
  const share = factor + (<usize>channels << 2);
  const slope = share + (<usize>channels << 2);
  for (let c: usize = 0; c < channels; c++) {
    const at = c << 2;
    const deviation = <f64>load<f32>(inverse + at);
    const dscaled = <f64>load<f32>(dscale + at) * deviation;
    store<f32>(dscale + at, <f32>dscaled);
    store<f32>(factor + at, <f32>(deviation * <f64>load<f32>(scale + at)));
    store<f32>(share + at, <f32>(<f64>load<f32>(doffset + at) / <f64>rows));
    store<f32>(slope + at, <f32>(deviation * dscaled / <f64>rows));
  }
  for (let row: u32 = 0; row < rows; row++) {
    let c: u32 = 0;
    for (; c + 4 <= channels; c += 4) {
      const at = <usize>c << 2;
      const along = f32x4.mul(f32x4.sub(v128.load(x + at), v128.load(mean + at)), v128.load(slope + at));
      const left = f32x4.sub(f32x4.sub(v128.load(dy + at), v128.load(share + at)), along);
      v128.store(dx + at, f32x4.mul(left, v128.load(factor + at)));
    }
    for (; c < channels; c++) {
      const at = <usize>c << 2;
      const along = (load<f32>(x + at) - load<f32>(mean + at)) * load<f32>(slope + at);
      store<f32>(dx + at, (load<f32>(dy + at) - load<f32>(share + at) - along) * load<f32>(factor + at));
    }
    x += <usize>channels << 2;
    dy += <usize>channels << 2;
    dx += <usize>channels << 2;
  }
}
