import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { CheckpointError, openCheckpoints } from "../src/index.ts";
import { smallCheckpoint } from "./fixtures/small-checkpoint.ts";

const FILES = ["model.safetensors", "optimizer.safetensors", "run.json"] as const;
const FOUND = new Set(["CHECKPOINT_CORRUPT", "CHECKPOINT_FORMAT_UNSUPPORTED"]);

/** Puts each variant of each file on disk in turn and returns those with which the checkpoint still loads. */
async function undetected(run: string, variantsOf: (bytes: Buffer) => Iterable<[what: string, bytes: Uint8Array]>) {
  const store = openCheckpoints(run);
  const { folder } = await store.save(smallCheckpoint(3));
  const seen: string[] = [];
  let tried = 0;
  for (const file of FILES) {
    const path = join(folder, file);
    const original = readFileSync(path);
    for (const [what, bytes] of variantsOf(original)) {
      writeFileSync(path, bytes);
      tried++;
      const code = await store.load(3).then(
        () => "loaded",
        (error) => (error instanceof CheckpointError ? error.code : String(error)),
      );
      if (!FOUND.has(code)) seen.push(`${file} ${what}: ${code}`);
    }
    writeFileSync(path, original);
  }
  await store.load(3);
  return { seen, tried };
}

t.test("a single flipped bit in any byte of any file is detected", async (t) => {
  const { seen, tried } = await undetected(t.testdir(), function* (bytes) {
    for (let at = 0; at < bytes.length; at++) {
      // One bit a byte, another one in each neighbour: every bit of a byte has its turn in every eight.
      const flipped = Buffer.from(bytes);
      flipped[at] = (bytes[at] ?? 0) ^ (1 << ((at * 3 + 5) % 8));
      yield [`with byte ${at} flipped`, flipped];
    }
  });
  t.same(seen, []);
  t.ok(tried > 1000, `${tried} flips`);
});

t.test("a file cut at any byte, or grown by one, is detected", async (t) => {
  const { seen, tried } = await undetected(t.testdir(), function* (bytes) {
    for (let end = 0; end < bytes.length; end++) yield [`cut at ${end}`, bytes.subarray(0, end)];
    for (const more of ["\0", " ", "\n"])
      yield [`grown by ${JSON.stringify(more)}`, Buffer.concat([bytes, Buffer.from(more)])];
  });
  t.same(seen, []);
  t.ok(tried > 1000, `${tried} cuts`);
});

t.test("values that mean the same but are written otherwise are detected in run.json", async (t) => {
  const { seen } = await undetected(t.testdir(), function* (bytes) {
    const text = bytes.toString();
    if (!text.startsWith("{\n")) return;
    yield ["as one line", Buffer.from(JSON.stringify(JSON.parse(text)))];
    yield ["with a key twice", Buffer.from(text.replace('"seed": 42', '"seed": 41,\n  "seed": 42'))];
    yield ["with an escape", Buffer.from(text.replace('"sgd"', '"s\\u0067d"'))];
  });
  t.same(seen, []);
});

t.test("nothing that is read leaves a trace in the folder", async (t) => {
  const run = t.testdir();
  await undetected(run, () => []);
  t.same(readdirSync(join(run, "checkpoints", "step-00000003")).sort(), [...FILES]);
});
