/**
 * Optimizer steps over flat float32 buffers in the shared memory (AssemblyScript, WebAssembly SIMD).
 *
 * A step's result must not depend on how many threads or ranks share its work, so an element's bits may not depend on where a range is
 * cut. Each step is therefore written once, over four lanes. A range's last one to three elements go through the same code, one at a time
 * in lane 0, the other lanes being zeros that are never stored. Neither WebAssembly nor Binaryen contracts a multiply and an add into a
 * fused one, or reorders float arithmetic, so what is written here is what every machine computes. (WebAssembly leaves the bits of a NaN
 * open: a non-finite gradient has to be caught before it comes here.)
 *
 * The formulas are those of torch.optim (PyTorch 2.13, one tensor at a time), operation by operation. Pointers are byte offsets, multiples
 * of 4; n counts floats. Loops count down instead of comparing pointers, because a range that ends with a 4 GiB memory ends at offset 0.
 */

@inline
function read(at: usize, one: bool): v128 {
  return one ? v128.load32_zero(at) : v128.load(at);
}

@inline
function write(at: usize, lanes: v128, one: bool): void {
  if (one) v128.store32_lane(at, lanes, 0);
  else v128.store(at, lanes);
}

/** The gradient's sum over samples, made a mean, plus the L2 penalty's gradient. */
@inline
function meanGradient(W: v128, g: usize, one: bool, scale: v128, weightDecay: v128): v128 {
  return f32x4.add(f32x4.mul(read(g, one), scale), f32x4.mul(W, weightDecay));
}

@inline
function adamLanes(
  w: usize,
  g: usize,
  m: usize,
  v: usize,
  one: bool,
  scale: v128,
  weightDecay: v128,
  lerpFromM: v128,
  lerpCoefficient: v128,
  beta2: v128,
  oneMinusBeta2: v128,
  stepSize: v128,
  correction2: v128,
  epsilon: v128,
): void {
  const W = read(w, one);
  const G = meanGradient(W, g, one, scale, weightDecay);
  const M0 = read(m, one);
  const M = f32x4.add(v128.bitselect(M0, G, lerpFromM), f32x4.mul(lerpCoefficient, f32x4.sub(G, M0)));
  const V = f32x4.add(f32x4.mul(read(v, one), beta2), f32x4.mul(f32x4.mul(oneMinusBeta2, G), G));
  const denominator = f32x4.add(f32x4.div(f32x4.sqrt(V), correction2), epsilon);
  write(m, M, one);
  write(v, V, one);
  write(w, f32x4.sub(W, f32x4.div(f32x4.mul(stepSize, M), denominator)), one);
}

/**
 * One Adam step. `oneMinusBeta1` and `oneMinusBeta2` are passed because they are rounded once, from float64; `stepSize` is
 * learningRate / (1 - beta1^t), `correction2` is sqrt(1 - beta2^t).
 */
export function adam(
  w: usize,
  g: usize,
  m: usize,
  v: usize,
  n: u32,
  scale: f32,
  weightDecay: f32,
  oneMinusBeta1: f32,
  beta2: f32,
  oneMinusBeta2: f32,
  stepSize: f32,
  correction2: f32,
  epsilon: f32,
): void {
  // torch.lerp starts from the nearer end, so that beta1 = 0 gives the gradient itself.
  const fromM = oneMinusBeta1 < 0.5;
  const S = f32x4.splat(scale);
  const D = f32x4.splat(weightDecay);
  const L = i32x4.splat(fromM ? -1 : 0);
  const C = f32x4.splat(fromM ? oneMinusBeta1 : oneMinusBeta1 - 1);
  const B2 = f32x4.splat(beta2);
  const O2 = f32x4.splat(oneMinusBeta2);
  const R = f32x4.splat(stepSize);
  const K = f32x4.splat(correction2);
  const E = f32x4.splat(epsilon);
  for (; n >= 4; n -= 4, w += 16, g += 16, m += 16, v += 16) adamLanes(w, g, m, v, false, S, D, L, C, B2, O2, R, K, E);
  for (; n > 0; n -= 1, w += 4, g += 4, m += 4, v += 4) adamLanes(w, g, m, v, true, S, D, L, C, B2, O2, R, K, E);
}

@inline
function sgdLanes(w: usize, g: usize, one: bool, scale: v128, weightDecay: v128, learningRate: v128): void {
  const W = read(w, one);
  const G = meanGradient(W, g, one, scale, weightDecay);
  write(w, f32x4.sub(W, f32x4.mul(learningRate, G)), one);
}

/** One step of gradient descent without momentum. */
export function sgd(w: usize, g: usize, n: u32, scale: f32, weightDecay: f32, learningRate: f32): void {
  const S = f32x4.splat(scale);
  const D = f32x4.splat(weightDecay);
  const R = f32x4.splat(learningRate);
  for (; n >= 4; n -= 4, w += 16, g += 16) sgdLanes(w, g, false, S, D, R);
  for (; n > 0; n -= 1, w += 4, g += 4) sgdLanes(w, g, true, S, D, R);
}

@inline
function sgdMomentumLanes(
  w: usize,
  g: usize,
  b: usize,
  one: bool,
  scale: v128,
  weightDecay: v128,
  learningRate: v128,
  momentum: v128,
  nesterov: bool,
): void {
  const W = read(w, one);
  const G = meanGradient(W, g, one, scale, weightDecay);
  const B = f32x4.add(f32x4.mul(read(b, one), momentum), G);
  write(b, B, one);
  const update = nesterov ? f32x4.add(G, f32x4.mul(B, momentum)) : B;
  write(w, f32x4.sub(W, f32x4.mul(learningRate, update)), one);
}

/** One step with momentum (dampening 0). A buffer of zeros makes the first step's buffer the gradient, as torch.optim.SGD has it. */
export function sgdMomentum(
  w: usize,
  g: usize,
  b: usize,
  n: u32,
  scale: f32,
  weightDecay: f32,
  learningRate: f32,
  momentum: f32,
  nesterov: bool,
): void {
  const S = f32x4.splat(scale);
  const D = f32x4.splat(weightDecay);
  const R = f32x4.splat(learningRate);
  const P = f32x4.splat(momentum);
  for (; n >= 4; n -= 4, w += 16, g += 16, b += 16) sgdMomentumLanes(w, g, b, false, S, D, R, P, nesterov);
  for (; n > 0; n -= 1, w += 4, g += 4, b += 4) sgdMomentumLanes(w, g, b, true, S, D, R, P, nesterov);
}

/** Whether n floats are all finite: without its sign, one that is not is at least 0x7f800000, and the greatest is found without a branch. */
export function allFinite(values: usize, n: usize): bool {
  const magnitude = i32x4.splat(0x7fffffff);
  let a = i32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (; n >= 16; n -= 16, values += 64) {
    a = i32x4.max_s(a, v128.and(v128.load(values), magnitude));
    b = i32x4.max_s(b, v128.and(v128.load(values, 16), magnitude));
    c = i32x4.max_s(c, v128.and(v128.load(values, 32), magnitude));
    d = i32x4.max_s(d, v128.and(v128.load(values, 48), magnitude));
  }
  let greatest = 0;
  for (; n > 0; n--, values += 4) greatest = max(greatest, load<i32>(values) & 0x7fffffff);
  a = i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d));
  greatest = max(greatest, max(i32x4.extract_lane(a, 0), i32x4.extract_lane(a, 1)));
  greatest = max(greatest, max(i32x4.extract_lane(a, 2), i32x4.extract_lane(a, 3)));
  return greatest < 0x7f800000;
}
