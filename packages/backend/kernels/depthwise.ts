// Gradients of depthwise convolution. Output channel q of `multiplier` of input channel c is channel c * multiplier + q; the filter is
// [filterHeight, filterWidth, channels, multiplier], that is [filterHeight, filterWidth, output channels].

/** One image's part of the gradient of the input. */
export function depthwiseInputGradient(
  dx: usize, dy: usize, filter: usize,
  height: i32, width: i32, channels: i32, multiplier: i32, outHeight: i32, outWidth: i32,
  filterHeight: i32, filterWidth: i32, stride: i32, strideWidth: i32, dilation: i32, dilationWidth: i32, top: i32, left: i32,
): void {
  const outChannels = channels * multiplier;
  memory.fill(dx, 0, <usize>(height * width * channels) << 2);
  for (let oy = 0; oy < outHeight; oy++) {
    for (let ox = 0; ox < outWidth; ox++) {
      let w = filter;
      for (let fy = 0; fy < filterHeight; fy++) {
        const y = oy * stride - top + fy * dilation;
        for (let fx = 0; fx < filterWidth; fx++) {
          const x = ox * strideWidth - left + fx * dilationWidth;
          if (y >= 0 && y < height && x >= 0 && x < width) {
            addProducts(dx + (<usize>((y * width + x) * channels) << 2), dy, w, channels, multiplier);
          }
          w += <usize>outChannels << 2;
        }
      }
      dy += <usize>outChannels << 2;
    }
  }
}

function addProducts(to: usize, a: usize, b: usize, channels: i32, multiplier: i32): void {
  if (multiplier == 1) {
    while (channels >= 4) {
      v128.store(to, f32x4.add(v128.load(to), f32x4.mul(v128.load(a), v128.load(b))));
      to += 16;
      a += 16;
      b += 16;
      channels -= 4;
    }
  }
  while (channels > 0) {
    let sum: f32 = load<f32>(to);
    for (let q = 0; q < multiplier; q++) {
      sum += load<f32>(a) * load<f32>(b);
      a += 4;
      b += 4;
    }
    store<f32>(to, sum);
    to += 4;
    channels -= 1;
  }
}

/** Adds one image's part to the gradient of the filter, which the caller has set to zeros. */
export function depthwiseFilterGradient(
  dw: usize, x: usize, dy: usize,
  height: i32, width: i32, channels: i32, multiplier: i32, outHeight: i32, outWidth: i32,
  filterHeight: i32, filterWidth: i32, stride: i32, strideWidth: i32, dilation: i32, dilationWidth: i32, top: i32, left: i32,
): void {
  const outChannels = channels * multiplier;
  const outPixel = <usize>outChannels << 2;
  const inPixel = <usize>channels << 2;
  const step = <usize>strideWidth * inPixel;
  for (let fy = 0; fy < filterHeight; fy++) {
    const y0 = fy * dilation - top;
    const firstY = firstInside(y0, stride);
    const endY = min(outHeight, firstInside(y0 - height, stride));
    for (let fx = 0; fx < filterWidth; fx++) {
      const x0 = fx * dilationWidth - left;
      const firstX = firstInside(x0, strideWidth);
      const across = min(outWidth, firstInside(x0 - width, strideWidth)) - firstX;
      const a = x + <usize>(x0 + firstX * strideWidth) * inPixel;
      const b = dy + <usize>firstX * outPixel;
      let o = 0;
      if (multiplier == 1) {
        for (; o + 16 <= channels; o += 16) {
          const lane = <usize>o << 2;
          let s0 = v128.load(dw), s1 = v128.load(dw, 16), s2 = v128.load(dw, 32), s3 = v128.load(dw, 48);
          for (let oy = firstY; oy < endY; oy++) {
            let p = a + lane + <usize>((y0 + oy * stride) * width) * inPixel;
            let q = b + lane + <usize>(oy * outWidth) * outPixel;
            for (let i = 0; i < across; i++) {
              s0 = f32x4.add(s0, f32x4.mul(v128.load(p), v128.load(q)));
              s1 = f32x4.add(s1, f32x4.mul(v128.load(p, 16), v128.load(q, 16)));
              s2 = f32x4.add(s2, f32x4.mul(v128.load(p, 32), v128.load(q, 32)));
              s3 = f32x4.add(s3, f32x4.mul(v128.load(p, 48), v128.load(q, 48)));
              p += step;
              q += outPixel;
            }
          }
          v128.store(dw, s0);
          v128.store(dw, s1, 16);
          v128.store(dw, s2, 32);
          v128.store(dw, s3, 48);
          dw += 64;
        }
      }
      for (; o < outChannels; o++) {
        let sum: f32 = load<f32>(dw);
        for (let oy = firstY; oy < endY; oy++) {
          let p = a + (<usize>(o / multiplier) << 2) + <usize>((y0 + oy * stride) * width) * inPixel;
          let q = b + (<usize>o << 2) + <usize>(oy * outWidth) * outPixel;
          for (let i = 0; i < across; i++) {
            sum += load<f32>(p) * load<f32>(q);
            p += step;
            q += outPixel;
          }
        }
        store<f32>(dw, sum);
        dw += 4;
      }
    }
  }
}

/** The first position o, from 0 on, with o * stride + offset >= 0. */
function firstInside(offset: i32, stride: i32): i32 {
  return offset >= 0 ? 0 : (stride - 1 - offset) / stride;
}
