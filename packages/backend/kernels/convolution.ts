// What convolutions need besides products of matrices: patches of an image as rows of a matrix, and back. Images are [height, width, channels].
//
// A row of the patch matrix is one output position: filterHeight x filterWidth x channels floats, zeros where the filter hangs over the edge.

/** Rows `first` to `first + count` of the patch matrix of one image, positions counted along the output's rows. */
export function patches(
  to: usize, image: usize,
  height: i32, width: i32, channels: i32, outWidth: i32,
  filterHeight: i32, filterWidth: i32, stride: i32, strideWidth: i32, dilation: i32, dilationWidth: i32, top: i32, left: i32,
  first: i32, count: i32,
): void {
  const pixel = <usize>channels << 2;
  const filterRow = <usize>filterWidth * pixel;
  for (let position = first; position < first + count; position++) {
    const y0 = (position / outWidth) * stride - top;
    const x0 = (position % outWidth) * strideWidth - left;
    for (let fy = 0; fy < filterHeight; fy++) {
      const y = y0 + fy * dilation;
      if (y < 0 || y >= height) {
        memory.fill(to, 0, filterRow);
        to += filterRow;
      } else if (dilationWidth == 1 && x0 >= 0 && x0 + filterWidth <= width) {
        copyFloats(to, image + <usize>(y * width + x0) * pixel, filterRow);
        to += filterRow;
      } else {
        for (let fx = 0; fx < filterWidth; fx++) {
          const x = x0 + fx * dilationWidth;
          if (x < 0 || x >= width) memory.fill(to, 0, pixel);
          else copyFloats(to, image + <usize>(y * width + x) * pixel, pixel);
          to += pixel;
        }
      }
    }
  }
}

/** The transpose of `patches`: adds each row's floats to where they come from. */
export function addPatches(
  image: usize, from: usize,
  height: i32, width: i32, channels: i32, outWidth: i32,
  filterHeight: i32, filterWidth: i32, stride: i32, strideWidth: i32, dilation: i32, dilationWidth: i32, top: i32, left: i32,
  first: i32, count: i32,
): void {
  const pixel = <usize>channels << 2;
  const filterRow = <usize>filterWidth * pixel;
  for (let position = first; position < first + count; position++) {
    const y0 = (position / outWidth) * stride - top;
    const x0 = (position % outWidth) * strideWidth - left;
    for (let fy = 0; fy < filterHeight; fy++) {
      const y = y0 + fy * dilation;
      if (dilationWidth == 1 && y >= 0 && y < height && x0 >= 0 && x0 + filterWidth <= width) {
        addFloats(image + <usize>(y * width + x0) * pixel, from, filterRow);
      } else {
        for (let fx = 0; fx < filterWidth; fx++) {
          const x = x0 + fx * dilationWidth;
          if (y >= 0 && y < height && x >= 0 && x < width) {
            addFloats(image + <usize>(y * width + x) * pixel, from + <usize>fx * pixel, pixel);
          }
        }
      }
      from += filterRow;
    }
  }
}

/** memory.copy costs a call, which short rows do not repay. */
function copyFloats(to: usize, from: usize, bytes: usize): void {
  while (bytes >= 16) {
    v128.store(to, v128.load(from));
    to += 16;
    from += 16;
    bytes -= 16;
  }
  while (bytes > 0) {
    store<f32>(to, load<f32>(from));
    to += 4;
    from += 4;
    bytes -= 4;
  }
}

function addFloats(to: usize, from: usize, bytes: usize): void {
  while (bytes >= 16) {
    v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
    to += 16;
    from += 16;
    bytes -= 16;
  }
  while (bytes > 0) {
    store<f32>(to, load<f32>(to) + load<f32>(from));
    to += 4;
    from += 4;
    bytes -= 4;
  }
}

/** to[fy][fx][o][i] = from[height - 1 - fy][width - 1 - fx][i][o]: the filter that carries an output's gradient back to its input. */
export function turnFilter(to: usize, from: usize, filterHeight: u32, filterWidth: u32, inChannels: u32, outChannels: u32): void {
  const taps = filterHeight * filterWidth;
  const tapBytes = <usize>(inChannels * outChannels) << 2;
  const rowBytes = <usize>outChannels << 2;
  for (let tap: u32 = 0; tap < taps; tap++) {
    const source = from + <usize>(taps - 1 - tap) * tapBytes;
    for (let o: u32 = 0; o < outChannels; o++) {
      let at = source + (<usize>o << 2);
      for (let i: u32 = 0; i < inChannels; i++) {
        store<f32>(to, load<f32>(at));
        at += rowBytes;
        to += 4;
      }
    }
  }
}
