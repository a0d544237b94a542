import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import t from "tap";
import { DataError, type DataErrorCode, readIdx } from "../src/index.ts";
import { idxBytes } from "./fixtures/idx-bytes.ts";

const small = idxBytes([2, 3], [1, 2, 3, 4, 5, 6]);
// Incompressible and longer than a few pieces of inflated output.
const noise = Uint8Array.from({ length: 900_000 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 13);
const large = idxBytes([900, 1000], noise);

t.test("an IDX file reads the same plain and gzipped, whatever it is called", async (t) => {
  const dir = t.testdir({ plain: large, "zipped.gz": gzipSync(large), "zipped-unnamed": gzipSync(large) });
  for (const name of ["plain", "zipped.gz", "zipped-unnamed"]) {
    const { dims, data } = await readIdx(join(dir, name));
    t.same(dims, [900, 1000], name);
    t.ok(Buffer.from(noise).equals(data), name);
    t.ok(data.buffer instanceof SharedArrayBuffer, "shared");
  }
});

t.test("one to four dimensions are read, none with a 0 among them is not data", async (t) => {
  for (const dims of [[7], [2, 3], [2, 3, 4], [2, 1, 3, 2], [0, 28, 28]]) {
    const count = dims.reduce((a, b) => a * b, 1);
    const bytes = idxBytes(dims, noise.subarray(0, count));
    const dir = t.testdir({ plain: bytes, zipped: gzipSync(bytes) });
    for (const name of ["plain", "zipped"]) {
      const idx = await readIdx(join(dir, name));
      t.same(idx.dims, dims);
      t.same([...idx.data], [...noise.subarray(0, count)]);
    }
  }
});

const flipped = Buffer.from(gzipSync(large));
flipped.writeUInt8(flipped.readUInt8(flipped.length - 6) ^ 1, flipped.length - 6);

const refused: readonly (readonly [what: string, bytes: Buffer, code: DataErrorCode, says: RegExp])[] = [
  ["an empty file", Buffer.alloc(0), "IDX_TRUNCATED", /expected at least 4 bytes in .*found 0/],
  ["a file that ends in its header", small.subarray(0, 9), "IDX_TRUNCATED", /header of 12 bytes .*found 9/],
  ["a file one byte short", small.subarray(0, -1), "IDX_TRUNCATED", /18 bytes \(header and 2 x 3 elements\).*found 17/],
  ["a file one byte long", Buffer.concat([small, Buffer.alloc(1)]), "IDX_TRAILING", /18 bytes .*found 19/],
  ["text", Buffer.from("<!DOCTYPE html><html></html>"), "IDX_BAD_MAGIC", /found 3c21444f: not an IDX file/],
  ["elements of another type", Buffer.from([0, 0, 13, 1, 0, 0, 0, 0]), "IDX_BAD_MAGIC", /found 00000d01/],
  ["no dimensions", Buffer.from([0, 0, 8, 0, 1]), "IDX_BAD_MAGIC", /found 00000800/],
  ["five dimensions", idxBytes([1, 1, 1, 1, 1], [1]), "IDX_BAD_MAGIC", /found 00000805/],
  ["dimensions beyond any memory", idxBytes([0xffffffff, 0xffffffff, 0xffffffff], []), "IDX_TOO_LARGE", /4294967295 x/],
  ["one byte more than 2^31 promised", idxBytes([0x80000001], []), "IDX_TOO_LARGE", /at most 2147483648/],
  ["2 GiB promised and none there", idxBytes([0x80000000], []), "IDX_TRUNCATED", /found 8/],
  ["gzip: 2 GiB promised and none there", gzipSync(idxBytes([0x80000000], [])), "IDX_TRUNCATED", /found 8/],
  ["gzip: one byte short inside", gzipSync(large.subarray(0, -1)), "IDX_TRUNCATED", /900012 bytes .*found 900011/],
  [
    "gzip: a stream that stops",
    gzipSync(large).subarray(0, -2000),
    "IDX_TRUNCATED",
    /900012 inflated bytes .*found a stream that stops after [0-9]{6}/,
  ],
  ["gzip: stops in its own header", gzipSync(large).subarray(0, 5), "IDX_TRUNCATED", /a whole gzip stream .*after 0/],
  ["gzip: trailing bytes inside", gzipSync(Buffer.concat([small, Buffer.alloc(9)])), "IDX_TRAILING", /18 bytes/],
  ["gzip: a bomb", gzipSync(Buffer.concat([small, Buffer.alloc(2 ** 25)])), "IDX_TRAILING", /found [0-9]{5,6} or more/],
  ["gzip: a wrong checksum", flipped, "IDX_BAD_GZIP", /incorrect data check/],
  ["gzip: of text", gzipSync("not IDX at all, not in the least"), "IDX_BAD_MAGIC", /not an IDX file/],
  ["gzip: not really", Buffer.from([0x1f, 0x8b, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]), "IDX_BAD_GZIP", /unknown compression/],
];

for (const [what, bytes, code, says] of refused) {
  t.test(`refused with ${code}: ${what}`, async (t) => {
    const path = join(t.testdir({ file: bytes }), "file");
    const error = await readIdx(path).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    t.ok(error instanceof DataError, String(error));
    t.match(error, { code, message: says });
    t.ok(
      error instanceof Error && error.message.includes(path) && !error.message.includes("\n"),
      "one line, naming the file",
    );
  });
}

t.test("what is not there or not a file is refused by name", async (t) => {
  const dir = t.testdir({ folder: {} });
  await t.rejects(readIdx(join(dir, "absent")), { code: "FILE_MISSING", message: /absent/ });
  await t.rejects(readIdx(join(dir, "folder")), { code: "FILE_UNREADABLE", message: /folder/ });
});

t.test("a file cut or flipped anywhere gives its data or a DataError, never anything else", async (t) => {
  const path = join(t.testdir({ file: "" }), "file");
  const { writeFile } = await import("node:fs/promises");
  const whole = [small, gzipSync(small)];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...whole),
      fc.nat(60),
      fc.nat(60),
      fc.integer({ min: 1, max: 255 }),
      async (file, cut, at, flip) => {
        const bytes = Buffer.from(file.subarray(0, Math.max(0, file.length - (cut % 20))));
        if (at < bytes.length) bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at);
        await writeFile(path, bytes);
        try {
          const { dims, data } = await readIdx(path);
          return dims.reduce((a, b) => a * b, 1) === data.length;
        } catch (error) {
          return error instanceof DataError;
        }
      },
    ),
    { numRuns: 300 },
  );
});
