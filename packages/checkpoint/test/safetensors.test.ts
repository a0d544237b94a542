import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import { CheckpointError, decodeSafetensors, encodeSafetensors, type NamedTensor } from "../src/index.ts";

/** `npm test` makes one with the readers in it, and names it. */
const python = process.env["RINGMASTER_TEST_PYTHON"] || "python3";

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof CheckpointError) return error.code;
    throw error;
  }
  return "no error";
}

/** A file with any header text over any number of data bytes. */
function fileOf(header: string, dataBytes = 0): Uint8Array {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)]);
}

const bitsOf = ({ data }: NamedTensor) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("hex");

const tensor = fc
  .tuple(fc.string({ unit: "grapheme" }), fc.array(fc.nat({ max: 4 }), { maxLength: 4 }))
  .filter(([name]) => name !== "__metadata__" && name.isWellFormed())
  .chain(([name, shape]) => {
    const elements = shape.reduce((product, size) => product * size, 1);
    const words = fc.array(fc.integer({ min: 0, max: 0xffffffff }), { minLength: elements, maxLength: elements });
    return words.map((bits): NamedTensor => ({ name, shape, data: new Float32Array(Uint32Array.from(bits).buffer) }));
  });
const tensors = fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 8 });
const text = fc.string({ unit: "grapheme" }).filter((value) => value.isWellFormed());

t.test("any tensors come back with their order, names, shapes and bits, from any alignment", async () => {
  fc.assert(
    fc.property(tensors, fc.dictionary(text, text), fc.nat({ max: 3 }), (given, metadata, shift) => {
      const file = Buffer.concat(encodeSafetensors(given, metadata));
      const shifted = new Uint8Array(file.length + shift).subarray(shift);
      shifted.set(file);
      const found = decodeSafetensors(shifted);
      const named = ({ name, shape }: NamedTensor) => ({ name, shape });
      assert.deepStrictEqual(found.tensors.map(named), given.map(named));
      assert.deepStrictEqual(found.tensors.map(bitsOf), given.map(bitsOf));
      assert.deepStrictEqual(Object.entries(found.metadata).sort(), Object.entries(metadata).sort());
    }),
    { numRuns: 200 },
  );
});

t.test("the bytes are the format's, padded so that the data starts at a multiple of 64", async (t) => {
  const file = Buffer.concat(
    encodeSafetensors([{ name: "w", shape: [2], data: Float32Array.of(1, -2) }], { b: "2", a: "1" }),
  );
  t.equal(file.readBigUInt64LE(0), 120n);
  t.equal(
    file.subarray(8, 128).toString(),
    '{"__metadata__":{"a":"1","b":"2"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.padEnd(120, " "),
  );
  t.equal(file.subarray(128).toString("hex"), "0000803f000000c0");
});

t.test("names that look like integers, and __proto__, are names like any other", async (t) => {
  const given = ["b", "1", "0", "__proto__", "constructor"].map((name) => ({
    name,
    shape: [0],
    data: new Float32Array(),
  }));
  const found = decodeSafetensors(Buffer.concat(encodeSafetensors(given, JSON.parse('{"__proto__": "x"}'))));
  t.same(
    found.tensors.map(({ name }) => name),
    ["b", "1", "0", "__proto__", "constructor"],
  );
  t.same(Object.keys(found.metadata), ["__proto__"]);
  t.notOk("x" in {}, "no prototype was touched");
});

t.test("encoding copies no tensor, shared memory included", async (t) => {
  const data = new Float32Array(new SharedArrayBuffer(16), 4, 2);
  const [, view] = encodeSafetensors([{ name: "w", shape: [2], data }]);
  t.equal(view?.buffer, data.buffer);
  t.equal(view?.byteOffset, 4);
  t.equal(view?.byteLength, 8);
});

t.test("tensors that no file can hold are refused", async (t) => {
  const data = new Float32Array(2);
  const cases: Record<string, NamedTensor[]> = {
    "a name twice": [
      { name: "w", shape: [2], data },
      { name: "w", shape: [2], data },
    ],
    "the format's own name": [{ name: "__metadata__", shape: [2], data }],
    "half a character": [{ name: "\ud800", shape: [2], data }],
    "a shape of another size": [{ name: "w", shape: [3], data }],
    "a negative size": [{ name: "w", shape: [-1, -2], data }],
    "a fraction": [{ name: "w", shape: [0.5, 4], data }],
    "an overflow": [{ name: "w", shape: [2 ** 40, 2 ** 40], data }],
  };
  for (const [what, given] of Object.entries(cases))
    t.equal(
      codeOf(() => encodeSafetensors(given)),
      "TENSOR_INVALID",
      what,
    );
});

t.test("files that are not sound are refused with a coded error", async (t) => {
  const w = (fields: string) => `{"w":{${fields}}}`;
  const whole = '"dtype":"F32","shape":[1],"data_offsets":[0,4]';
  const two = (a: string, b: string) =>
    `{"a":{"dtype":"F32","shape":[1],"data_offsets":${a}},"b":{"dtype":"F32","shape":[1],"data_offsets":${b}}}`;
  const tooLong = Buffer.alloc(16);
  tooLong.writeBigUInt64LE(100_000_001n);
  const longest = Buffer.alloc(16, 0xff);
  const cases: [what: string, file: Uint8Array, code: string][] = [
    ["no bytes", Buffer.alloc(0), "SAFETENSORS_MALFORMED"],
    ["a length cut short", Buffer.alloc(7), "SAFETENSORS_MALFORMED"],
    ["no header", Buffer.alloc(8), "SAFETENSORS_MALFORMED"],
    ["a header beyond the bound", tooLong, "SAFETENSORS_HEADER_TOO_LARGE"],
    ["a header of 2^64 - 1 bytes", longest, "SAFETENSORS_HEADER_TOO_LARGE"],
    ["a header beyond the end", fileOf("{}").subarray(0, 9), "SAFETENSORS_MALFORMED"],
    ["no JSON", fileOf("hello"), "SAFETENSORS_MALFORMED"],
    ["an array", fileOf("[]"), "SAFETENSORS_MALFORMED"],
    ["a leading space", fileOf(" {}"), "SAFETENSORS_MALFORMED"],
    ["a byte order mark", fileOf("\ufeff{}"), "SAFETENSORS_MALFORMED"],
    [
      "not UTF-8",
      Buffer.concat([fileOf('{"x').subarray(0, 8), Buffer.from([0x7b, 0x22, 0xff])]),
      "SAFETENSORS_MALFORMED",
    ],
    ["something after the object", fileOf("{} x"), "SAFETENSORS_MALFORMED"],
    ["an unclosed object", fileOf(`{"w":{${whole}}`, 4), "SAFETENSORS_MALFORMED"],
    ["an unclosed string", fileOf('{"w'), "SAFETENSORS_MALFORMED"],
    ["a string that ends in a backslash", fileOf('{"w\\'), "SAFETENSORS_MALFORMED"],
    ["a trailing comma", fileOf(`{"w":{${whole}},}`, 4), "SAFETENSORS_MALFORMED"],
    ["a raw line break in a name", fileOf(`{"w\n":{${whole}}}`, 4), "SAFETENSORS_MALFORMED"],
    ["half a character in a name", fileOf(`{"\\ud800":{${whole}}}`, 4), "SAFETENSORS_MALFORMED"],
    ["a tensor twice", fileOf(`{"w":{${whole}},"w":{${whole}}}`, 4), "SAFETENSORS_MALFORMED"],
    ["a tensor twice, once escaped", fileOf(`{"w":{${whole}},"\\u0077":{${whole}}}`, 4), "SAFETENSORS_MALFORMED"],
    ["a field twice", fileOf(w(`${whole},"dtype":"F32"`), 4), "SAFETENSORS_MALFORMED"],
    ["an unknown field", fileOf(w(`${whole},"strides":[1]`), 4), "SAFETENSORS_MALFORMED"],
    ["no dtype", fileOf(w('"shape":[1],"data_offsets":[0,4]'), 4), "SAFETENSORS_MALFORMED"],
    ["no shape", fileOf(w('"dtype":"F32","data_offsets":[0,4]'), 4), "SAFETENSORS_MALFORMED"],
    ["no offsets", fileOf(w('"dtype":"F32","shape":[1]'), 4), "SAFETENSORS_MALFORMED"],
    ["three offsets", fileOf(w('"dtype":"F32","shape":[1],"data_offsets":[0,4,8]'), 4), "SAFETENSORS_MALFORMED"],
    ["offsets backwards", fileOf(w('"dtype":"F32","shape":[1],"data_offsets":[4,0]'), 4), "SAFETENSORS_MALFORMED"],
    ["a negative number", fileOf(w('"dtype":"F32","shape":[-1],"data_offsets":[0,4]'), 4), "SAFETENSORS_MALFORMED"],
    ["a fraction", fileOf(w('"dtype":"F32","shape":[1.0],"data_offsets":[0,4]'), 4), "SAFETENSORS_MALFORMED"],
    ["a leading zero", fileOf(w('"dtype":"F32","shape":[01],"data_offsets":[0,4]'), 4), "SAFETENSORS_MALFORMED"],
    ["null", fileOf('{"w":null}'), "SAFETENSORS_MALFORMED"],
    ["too deep", fileOf(w('"dtype":"F32","shape":[[1]],"data_offsets":[0,4]'), 4), "SAFETENSORS_MALFORMED"],
    ["very deep", fileOf(`{"w":${"[".repeat(1_000_000)}`), "SAFETENSORS_MALFORMED"],
    [
      "a shape that overflows",
      fileOf(w(`"dtype":"F32","shape":[${2 ** 40},${2 ** 40}],"data_offsets":[0,4]`), 4),
      "SAFETENSORS_MALFORMED",
    ],
    [
      "a shape of another size",
      fileOf(w('"dtype":"F32","shape":[2],"data_offsets":[0,4]'), 4),
      "SAFETENSORS_MALFORMED",
    ],
    ["data cut short", fileOf(w(whole), 3), "SAFETENSORS_MALFORMED"],
    ["data too long", fileOf(w(whole), 5), "SAFETENSORS_MALFORMED"],
    ["data without tensors", fileOf("{}", 4), "SAFETENSORS_MALFORMED"],
    ["overlapping tensors", fileOf(two("[0,4]", "[0,4]"), 4), "SAFETENSORS_MALFORMED"],
    ["a gap between tensors", fileOf(two("[0,4]", "[8,12]"), 12), "SAFETENSORS_MALFORMED"],
    ["metadata that is no object", fileOf('{"__metadata__":"x"}'), "SAFETENSORS_MALFORMED"],
    ["metadata that is no string", fileOf('{"__metadata__":{"x":1}}'), "SAFETENSORS_MALFORMED"],
    ["another dtype", fileOf(w('"dtype":"BF16","shape":[2],"data_offsets":[0,4]'), 4), "SAFETENSORS_DTYPE_UNSUPPORTED"],
  ];
  for (const [what, file, code] of cases)
    t.equal(
      codeOf(() => decodeSafetensors(file)),
      code,
      what,
    );
  t.equal(decodeSafetensors(fileOf(w(whole), 4)).tensors.length, 1, "the sound one beside them is read");
});

t.test("any bytes at all are either read or refused with a coded error", async (t) => {
  const sound = Buffer.concat(encodeSafetensors([{ name: "w", shape: [2], data: Float32Array.of(1, 2) }]));
  const outcomes = new Set<string>();
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { maxLength: 3 }), (edits) => {
      const file = Buffer.from(sound);
      for (const [at, byte] of edits) file[at] = byte;
      outcomes.add(codeOf(() => decodeSafetensors(file)));
    }),
    { numRuns: 1000 },
  );
  t.ok(outcomes.has("no error") && outcomes.has("SAFETENSORS_MALFORMED"), [...outcomes].join(", "));
});

function pythonHasSafetensors(): boolean {
  try {
    execFileSync(python, ["-c", "import safetensors, numpy"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const skip = pythonHasSafetensors() ? false : "needs Python's own library: pip install safetensors numpy";
t.test("Python's safetensors reads what is written here, and the other way round", { skip }, async (t) => {
  const folder = mkdtempSync(join(t.testdir(), "python-"));
  const ours = join(folder, "ours.safetensors");
  const theirs = join(folder, "theirs.safetensors");
  const given: NamedTensor[] = [
    { name: "conv/kernel", shape: [2, 1, 3], data: Float32Array.from([1, -0, Number.NaN, 1e-45, 3.5, -Infinity]) },
    { name: "0", shape: [], data: Float32Array.of(7) },
    { name: "größe", shape: [0, 5], data: new Float32Array() },
  ];
  writeFileSync(ours, Buffer.concat(encodeSafetensors(given, { step: "1200" })));
  // Reads ours with the reference implementation, writes the same tensors again, and says what it saw.
  const script = `
import sys
from safetensors import safe_open
from safetensors.numpy import save_file
with safe_open(sys.argv[1], framework="numpy") as f:
    tensors = {name: f.get_tensor(name) for name in f.keys()}
    print(f.metadata(), sorted((name, str(a.dtype), a.shape, a.tobytes().hex()) for name, a in tensors.items()))
    save_file(tensors, sys.argv[2], metadata=f.metadata())
`;
  const seen = execFileSync(python, ["-c", script, ours, theirs], { encoding: "utf8" }).trim();
  t.equal(
    seen,
    `{'step': '1200'} [('0', 'float32', (), '0000e040'), ('conv/kernel', 'float32', (2, 1, 3), '${bitsOf({ name: "", shape: [], data: given[0]?.data ?? new Float32Array() })}'), ('größe', 'float32', (0, 5), '')]`,
  );
  const found = decodeSafetensors(readFileSync(theirs));
  const byName = (list: readonly NamedTensor[]) =>
    list.map((one) => [one.name, one.shape, bitsOf(one)]).sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1));
  t.same(byName(found.tensors), byName(given));
  t.same(found.metadata, { step: "1200" });
});
