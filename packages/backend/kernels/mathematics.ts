// exp, log, sine and cosine in float64 without tables: static data would lie in memory that is another module's. Correct to some 1e-15, whatever the engine.

const ln2High: f64 = 6.93147180369123816490e-01;
const ln2Low: f64 = 1.90821492927058770002e-10;

export function exp(x: f64): f64 {
  if (x != x) return x;
  if (x < -745.0) return 0;
  if (x > 709.0) return Infinity;
  const k = nearest<f64>(x * 1.4426950408889634);
  const r = (x - k * ln2High) - k * ln2Low;
  let sum: f64 = 1;
  for (let i = 14; i > 0; i--) sum = 1.0 + (sum * r) / <f64>i;
  // In two steps: 2^k alone may be too small to be a normal number.
  const half = <i64>k >> 1;
  return sum * power2(half) * power2(<i64>k - half);
}

function power2(k: i64): f64 {
  return reinterpret<f64>((k + 1023) << 52);
}

/** Of a positive normal number. */
export function log(x: f64): f64 {
  let bits = reinterpret<i64>(x);
  // m in [sqrt(1/2), sqrt(2))
  const k = (bits - 0x3fe6a09e667f3bcd) >> 52;
  const m = reinterpret<f64>(bits - (k << 52));
  const s = (m - 1.0) / (m + 1.0);
  const square = s * s;
  let sum: f64 = 1.0 / 23.0;
  for (let i = 21; i > 0; i -= 2) sum = sum * square + 1.0 / <f64>i;
  return <f64>k * ln2High + (2.0 * s * sum + <f64>k * ln2Low);
}

const halfPiHigh: f64 = 1.57079632673412561417e+00;
const halfPiLow: f64 = 6.07710050650619224932e-11;

/** Of an angle in [0, 8]. */
export function sine(x: f64): f64 {
  return quadrant(x, 0);
}

export function cosine(x: f64): f64 {
  return quadrant(x, 1);
}

function quadrant(x: f64, ahead: i32): f64 {
  const q = nearest<f64>(x * 0.6366197723675814);
  const r = (x - q * halfPiHigh) - q * halfPiLow;
  const square = r * r;
  const turn = (<i32>q + ahead) & 3;
  let sum: f64 = 1;
  if (turn & 1) {
    for (let i = 16; i > 0; i -= 2) sum = 1.0 - (sum * square) / <f64>(i * (i - 1));
  } else {
    for (let i = 17; i > 1; i -= 2) sum = 1.0 - (sum * square) / <f64>(i * (i - 1));
    sum *= r;
  }
  return turn & 2 ? -sum : sum;
}
