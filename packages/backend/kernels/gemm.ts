// Products of matrices in float32, C = op(A) op(B) or C += op(A) op(B).
//
// The usual blocking (Goto and van de Geijn, 2008): a block of op(B), depth x columns, and one of op(A), rows x depth, are packed into panels that the
// innermost loop reads from front to back. That loop keeps a tile of 4 rows x 8 columns of C in eight registers: with two for B and one for A it
// stays within the sixteen of x86, and engines spill nothing. Sums run over the depth in order, one multiplication and one addition each, in
// blocks of `depthBlock`, so a result depends on the inputs alone.
//
// Addresses are bytes; rows, columns, depth and leading dimensions (lda, ldb, ldc) are floats.

const tileRows: u32 = 4;
const tileColumns: u32 = 8;
const depthBlock: u32 = 256;
const rowBlock: u32 = 128;
const columnBlock: u32 = 512;

const packedA: usize = <usize>rowBlock * depthBlock * 4;
const packedB: usize = <usize>columnBlock * depthBlock * 4;

/** Bytes of scratch memory that `gemm` needs. */
export function gemmScratch(): usize {
  return packedA + packedB + <usize>tileRows * tileColumns * 4;
}

/**
 * op(A) is rows x depth: A itself, or with `transposeA` the transpose of what lies at `a`; op(B), depth x columns, likewise.
 * C is overwritten, or added to where `accumulate` is true.
 */
export function gemm(
  transposeA: bool, transposeB: bool,
  rows: u32, columns: u32, depth: u32,
  a: usize, lda: u32, b: usize, ldb: u32, c: usize, ldc: u32,
  accumulate: bool, scratch: usize,
): void {
  const panelsA = scratch;
  const panelsB = panelsA + packedA;
  const edge = panelsB + packedB;
  for (let column: u32 = 0; column < columns; column += columnBlock) {
    const width = min(columnBlock, columns - column);
    for (let k: u32 = 0; k < depth; k += depthBlock) {
      const deep = min(depthBlock, depth - k);
      const add = accumulate || k > 0;
      if (transposeB) packTransposed8(panelsB, b + ((<usize>column * ldb + k) << 2), ldb, width, deep);
      else pack8(panelsB, b + ((<usize>k * ldb + column) << 2), ldb, width, deep);
      for (let row: u32 = 0; row < rows; row += rowBlock) {
        const height = min(rowBlock, rows - row);
        if (transposeA) pack4(panelsA, a + ((<usize>k * lda + row) << 2), lda, height, deep);
        else packTransposed4(panelsA, a + ((<usize>row * lda + k) << 2), lda, height, deep);
        block(height, width, deep, panelsA, panelsB, c + ((<usize>row * ldc + column) << 2), ldc, add, edge);
      }
    }
  }
}

/** One packed block of A times one packed block of B. */
function block(rows: u32, columns: u32, depth: u32, a: usize, b: usize, c: usize, ldc: u32, add: bool, edge: usize): void {
  const rowBytes = <usize>ldc << 2;
  for (let column: u32 = 0; column < columns; column += tileColumns) {
    const panelB = b + ((<usize>column * depth) << 2);
    for (let row: u32 = 0; row < rows; row += tileRows) {
      const panelA = a + ((<usize>row * depth) << 2);
      const at = c + <usize>row * rowBytes + (<usize>column << 2);
      if (rows - row >= tileRows && columns - column >= tileColumns) {
        tile(depth, panelA, panelB, at, rowBytes, add);
      } else {
        tile(depth, panelA, panelB, edge, tileColumns << 2, false);
        copyTile(min(tileRows, rows - row), min(tileColumns, columns - column), edge, at, rowBytes, add);
      }
    }
  }
}

function tile(depth: u32, a: usize, b: usize, c: usize, rowBytes: usize, add: bool): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  // Not unrolled: engines do better with this than with any body of two or four steps (measured).
  while (depth > 0) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    const a0 = v128.load32_splat(a);
    c00 = f32x4.add(c00, f32x4.mul(a0, b0));
    c01 = f32x4.add(c01, f32x4.mul(a0, b1));
    const a1 = v128.load32_splat(a, 4);
    c10 = f32x4.add(c10, f32x4.mul(a1, b0));
    c11 = f32x4.add(c11, f32x4.mul(a1, b1));
    const a2 = v128.load32_splat(a, 8);
    c20 = f32x4.add(c20, f32x4.mul(a2, b0));
    c21 = f32x4.add(c21, f32x4.mul(a2, b1));
    const a3 = v128.load32_splat(a, 12);
    c30 = f32x4.add(c30, f32x4.mul(a3, b0));
    c31 = f32x4.add(c31, f32x4.mul(a3, b1));
    a += 16;
    b += 32;
    depth -= 1;
  }
  if (add) {
    let at = c;
    c00 = f32x4.add(v128.load(at), c00);
    c01 = f32x4.add(v128.load(at, 16), c01);
    at += rowBytes;
    c10 = f32x4.add(v128.load(at), c10);
    c11 = f32x4.add(v128.load(at, 16), c11);
    at += rowBytes;
    c20 = f32x4.add(v128.load(at), c20);
    c21 = f32x4.add(v128.load(at, 16), c21);
    at += rowBytes;
    c30 = f32x4.add(v128.load(at), c30);
    c31 = f32x4.add(v128.load(at, 16), c31);
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  c += rowBytes;
  v128.store(c, c10);
  v128.store(c, c11, 16);
  c += rowBytes;
  v128.store(c, c20);
  v128.store(c, c21, 16);
  c += rowBytes;
  v128.store(c, c30);
  v128.store(c, c31, 16);
}

/** A tile that reaches beyond C was computed aside; what lies within C is copied. */
function copyTile(rows: u32, columns: u32, from: usize, to: usize, rowBytes: usize, add: bool): void {
  for (let row: u32 = 0; row < rows; row++) {
    for (let column: usize = 0; column < columns; column++) {
      const value = load<f32>(from + (column << 2));
      const at = to + (column << 2);
      store<f32>(at, add ? load<f32>(at) + value : value);
    }
    from += tileColumns << 2;
    to += rowBytes;
  }
}

/** Panels of 8 columns of a depth x columns matrix, each depth x 8, missing columns as zeros. */
function pack8(to: usize, from: usize, ld: u32, columns: u32, depth: u32): void {
  const rowBytes = <usize>ld << 2;
  let column: u32 = 0;
  for (; column + 8 <= columns; column += 8) {
    let at = from + (<usize>column << 2);
    for (let k: u32 = 0; k < depth; k++) {
      v128.store(to, v128.load(at));
      v128.store(to, v128.load(at, 16), 16);
      at += rowBytes;
      to += 32;
    }
  }
  if (column < columns) packEdge(to, from + (<usize>column << 2), 4, rowBytes, columns - column, 8, depth);
}

/** The same of the transpose of a columns x depth matrix. */
function packTransposed8(to: usize, from: usize, ld: u32, columns: u32, depth: u32): void {
  const rowBytes = <usize>ld << 2;
  let column: u32 = 0;
  for (; column + 8 <= columns; column += 8) {
    const at = from + <usize>column * rowBytes;
    transpose4(to, 32, at, rowBytes, depth);
    transpose4(to + 16, 32, at + (rowBytes << 2), rowBytes, depth);
    to += <usize>depth << 5;
  }
  if (column < columns) packEdge(to, from + <usize>column * rowBytes, rowBytes, 4, columns - column, 8, depth);
}

/** Panels of 4 rows of op(A), each depth x 4, of a matrix that lies as depth x rows. */
export function pack4(to: usize, from: usize, ld: u32, rows: u32, depth: u32): void {
  const rowBytes = <usize>ld << 2;
  let row: u32 = 0;
  // Four panels at once: one cache line of the source.
  for (; row + 16 <= rows; row += 16) {
    let at = from + (<usize>row << 2);
    const panel = <usize>depth << 4;
    for (let k: u32 = 0; k < depth; k++) {
      v128.store(to, v128.load(at));
      v128.store(to + panel, v128.load(at, 16));
      v128.store(to + (panel << 1), v128.load(at, 32));
      v128.store(to + panel * 3, v128.load(at, 48));
      at += rowBytes;
      to += 16;
    }
    to += panel * 3;
  }
  for (; row + 4 <= rows; row += 4) {
    let at = from + (<usize>row << 2);
    for (let k: u32 = 0; k < depth; k++) {
      v128.store(to, v128.load(at));
      at += rowBytes;
      to += 16;
    }
  }
  if (row < rows) packEdge(to, from + (<usize>row << 2), 4, rowBytes, rows - row, 4, depth);
}

/** The same of a matrix that lies as rows x depth. */
function packTransposed4(to: usize, from: usize, ld: u32, rows: u32, depth: u32): void {
  const rowBytes = <usize>ld << 2;
  let row: u32 = 0;
  for (; row + 4 <= rows; row += 4) {
    transpose4(to, 16, from + <usize>row * rowBytes, rowBytes, depth);
    to += <usize>depth << 4;
  }
  if (row < rows) packEdge(to, from + <usize>row * rowBytes, rowBytes, 4, rows - row, 4, depth);
}

/** to[k][0..3] = from[0..3][k] */
function transpose4(to: usize, toBytes: usize, from: usize, rowBytes: usize, depth: u32): void {
  let r0 = from, r1 = from + rowBytes, r2 = r1 + rowBytes, r3 = r2 + rowBytes;
  while (depth >= 4) {
    const a = v128.load(r0), b = v128.load(r1), c = v128.load(r2), d = v128.load(r3);
    const ab0 = v128.shuffle<f32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const cd0 = v128.shuffle<f32>(c, d, 0, 4, 1, 5), cd1 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<f32>(ab0, cd0, 0, 1, 4, 5));
    to += toBytes;
    v128.store(to, v128.shuffle<f32>(ab0, cd0, 2, 3, 6, 7));
    to += toBytes;
    v128.store(to, v128.shuffle<f32>(ab1, cd1, 0, 1, 4, 5));
    to += toBytes;
    v128.store(to, v128.shuffle<f32>(ab1, cd1, 2, 3, 6, 7));
    to += toBytes;
    r0 += 16;
    r1 += 16;
    r2 += 16;
    r3 += 16;
    depth -= 4;
  }
  while (depth > 0) {
    store<f32>(to, load<f32>(r0));
    store<f32>(to, load<f32>(r1), 4);
    store<f32>(to, load<f32>(r2), 8);
    store<f32>(to, load<f32>(r3), 12);
    to += toBytes;
    r0 += 4;
    r1 += 4;
    r2 += 4;
    r3 += 4;
    depth -= 1;
  }
}

/** The last panel: `lanes` of `panel` lanes, a lane's next lying `laneBytes` on and the next depth `depthBytes` on; the rest zeros. */
function packEdge(to: usize, from: usize, laneBytes: usize, depthBytes: usize, lanes: u32, panel: u32, depth: u32): void {
  for (let k: u32 = 0; k < depth; k++) {
    let at = from;
    for (let lane: u32 = 0; lane < panel; lane++) {
      store<f32>(to, lane < lanes ? load<f32>(at) : 0);
      at += laneBytes;
      to += 4;
    }
    from += depthBytes;
  }
}
