import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import { canonicalJson, type NamedTensor, openCheckpoints, type RunRecord } from "../src/index.ts";
import { sealRunRecord } from "../src/run-record.ts";
import { smallCheckpoint } from "./fixtures/small-checkpoint.ts";

const bitsOf = (tensors: readonly NamedTensor[]) =>
  tensors.map(({ name, shape, data }) => [
    name,
    shape,
    Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("hex"),
  ]);

function filesUnder(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString("latin1")]),
  );
}

async function filled(run: string, steps: readonly number[]) {
  const store = openCheckpoints(run);
  for (const step of steps) await store.save(smallCheckpoint(step));
  return store;
}

t.test("a checkpoint comes back bit by bit, from another store too", async (t) => {
  const run = t.testdir();
  const given = smallCheckpoint(1200);
  const saved = await openCheckpoints(run).save(given);
  t.equal(saved.folder, join(run, "checkpoints", "step-00001200"));
  const loaded = await openCheckpoints(run).load(1200);
  t.same(bitsOf(loaded.model), bitsOf(given.model));
  t.same(bitsOf(loaded.optimizer), bitsOf(given.optimizer));
  t.strictSame(loaded.record, saved.record);
  t.match(loaded.record, { ...given.record, format: 1, step: 1200 });
});

t.test("any progress and tensors come back", async (t) => {
  const store = openCheckpoints(t.testdir());
  const json = fc
    .dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true })
    .filter((value) => !JSON.stringify(value).includes("__proto__"));
  const floats = fc.float32Array({ maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(json, floats, floats, async (progress, w, m) => {
      const base = smallCheckpoint(1);
      const model = [{ name: "w", shape: [w.length], data: w }];
      const optimizer = [{ name: "m", shape: [1, m.length], data: m }];
      await store.save({ step: 1, model, optimizer, record: { ...base.record, progress } });
      const loaded = await store.load(1);
      assert.deepStrictEqual(loaded.record.progress, progress);
      assert.deepStrictEqual(bitsOf(loaded.model), bitsOf(model));
      assert.deepStrictEqual(bitsOf(loaded.optimizer), bitsOf(optimizer));
    }),
    { numRuns: 25 },
  );
});

t.test("the same state gives the same files in any run folder, whatever the order of the record's keys", async (t) => {
  const [one, two] = [t.testdir({ one: {}, two: {} })].flatMap((root) => [join(root, "one"), join(root, "two")]);
  const given = smallCheckpoint(7);
  const record = { ...given.record, progress: Object.fromEntries(Object.entries(given.record.progress).reverse()) };
  const first = await openCheckpoints(one ?? "").save(given);
  const second = await openCheckpoints(two ?? "").save({ ...given, record });
  t.same(filesUnder(second.folder), filesUnder(first.folder));
  t.same(Object.keys(filesUnder(first.folder)).sort(), ["model.safetensors", "optimizer.safetensors", "run.json"]);
});

t.test("steps are listed in order of their number; other names are not steps", async (t) => {
  const run = t.testdir();
  const store = openCheckpoints(run);
  t.same(await store.list(), [], "no folder yet");
  t.same(await store.loadNewest(), { checkpoint: null, rejected: [] });
  for (const step of [123_456_789, 0, 20, 3]) await store.save(smallCheckpoint(step));
  for (const name of ["step-12", "step-000000020", "step-0000000x", "notes"]) mkdirSync(join(run, "checkpoints", name));
  t.same(await store.list(), [0, 3, 20, 123_456_789]);
});

t.test("a step that is not there is said with those that are", async (t) => {
  const store = await filled(t.testdir(), [10, 20]);
  await t.rejects(store.load(15), {
    code: "CHECKPOINT_MISSING",
    message: "no checkpoint of step 15: there are 10, 20",
  });
});

t.test("a record that breaks its schema is refused before anything is written", async (t) => {
  const run = t.testdir();
  const store = openCheckpoints(run);
  const { record, ...rest } = smallCheckpoint(1);
  const cases: [what: string, record: Partial<RunRecord>, code: string][] = [
    ["no seats", { seats: 0 }, "RECORD_INVALID"],
    ["a seed that is no integer", { seed: 0.5 }, "RECORD_INVALID"],
    ["an empty hash", { layoutHash: "" }, "RECORD_INVALID"],
    ["a key that zod would drop", { progress: JSON.parse('{"__proto__": 1}') }, "JSON_INVALID"],
    ["NaN in progress", { progress: { lossSum: Number.NaN } }, "JSON_INVALID"],
  ];
  for (const [what, change, code] of cases) {
    await t.rejects(store.save({ ...rest, record: { ...record, ...change } }), { code }, what);
  }
  await t.rejects(store.save({ ...rest, record, step: -1 }), { code: "RECORD_INVALID" });
  t.same(readdirSync(run), []);
});

t.test("damage names the file, what was expected and found, and what to do", async (t) => {
  const run = t.testdir();
  const store = openCheckpoints(run);
  const model = (folder: string) => join(folder, "model.safetensors");
  const cases: [what: string, damage: (folder: string) => void, message: RegExp][] = [
    [
      "a file gone",
      (at) => rmSync(join(at, "optimizer.safetensors")),
      /optimizer\.safetensors is damaged: expected a file, found none; resume from/,
    ],
    ["the record gone", (at) => rmSync(join(at, "run.json")), /run\.json is damaged: expected a file, found none/],
    [
      "a file cut",
      (at) => truncateSync(model(at), 100),
      /model\.safetensors is damaged: expected \d+ bytes, found 100/,
    ],
    [
      "other bytes",
      (at) => writeFileSync(model(at), readFileSync(model(at)).fill(0, 0, 8)),
      /expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}/,
    ],
    ["no JSON", (at) => writeFileSync(join(at, "run.json"), "{"), /run\.json is damaged: expected JSON/],
    ["no UTF-8", (at) => writeFileSync(join(at, "run.json"), Buffer.of(0xff)), /run\.json is damaged: expected UTF-8/],
    ["a record without fields", (at) => writeFileSync(join(at, "run.json"), "{}\n"), /run\.json is damaged: format: /],
  ];
  for (const [what, damage, message] of cases) {
    const { folder } = await store.save(smallCheckpoint(5));
    damage(folder);
    await t.rejects(store.load(5), { code: "CHECKPOINT_CORRUPT", message }, what);
  }
});

t.test("another checkpoint's folder under this step's name is damage", async (t) => {
  const run = t.testdir();
  const store = await filled(run, [1]);
  renameSync(join(run, "checkpoints", "step-00000001"), join(run, "checkpoints", "step-00000002"));
  await t.rejects(store.load(2), { code: "CHECKPOINT_CORRUPT", message: /expected step 2, found 1/ });
});

t.test("another format is said to be one, not damage", async (t) => {
  const store = openCheckpoints(t.testdir());
  const { folder, record } = await store.save(smallCheckpoint(1));
  writeFileSync(join(folder, "run.json"), canonicalJson({ ...record, format: 2 }));
  await t.rejects(store.load(1), {
    code: "CHECKPOINT_FORMAT_UNSUPPORTED",
    message: /run\.json: expected format 1, found 2/,
  });
});

t.test("tensors that were written wrongly are refused although their checksum is right", async (t) => {
  const store = openCheckpoints(t.testdir());
  const { folder, record } = await store.save(smallCheckpoint(1));
  writeFileSync(join(folder, "model.safetensors"), "");
  const { recordSha256, ...unsealed } = record;
  const empty = { sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", bytes: 0 };
  const lying = sealRunRecord({ ...unsealed, files: { ...record.files, model: empty } });
  t.not(lying.recordSha256, recordSha256);
  writeFileSync(join(folder, "run.json"), canonicalJson(lying));
  await t.rejects(store.load(1), {
    code: "CHECKPOINT_CORRUPT",
    message: /its checksum is right, but not a sound safetensors file/,
  });
});

t.test("the newest good one is loaded, and those passed over are named with the reason", async (t) => {
  const run = t.testdir();
  const store = await filled(run, [10, 20, 30, 40]);
  rmSync(join(run, "checkpoints", "step-00000040", "run.json"));
  truncateSync(join(run, "checkpoints", "step-00000030", "model.safetensors"), 7);
  const { checkpoint, rejected } = await store.loadNewest();
  t.equal(checkpoint?.step, 20);
  t.match(rejected, [
    { step: 40, reason: /run\.json is damaged: expected a file, found none/ },
    { step: 30, reason: /model\.safetensors is damaged: expected \d+ bytes, found 7/ },
  ]);
});

t.test("the newest before a step is loaded, whatever the later ones are", async (t) => {
  const run = t.testdir();
  const store = await filled(run, [10, 20, 30, 40]);
  truncateSync(join(run, "checkpoints", "step-00000020", "model.safetensors"));
  const { checkpoint, rejected } = await store.loadNewest(30);
  t.equal(checkpoint?.step, 10);
  t.match(rejected, [{ step: 20 }]);
  t.same(await store.loadNewest(10), { checkpoint: null, rejected: [] });
});

t.test("where none is good, none is returned and all are named", async (t) => {
  const run = t.testdir();
  const store = await filled(run, [1, 2]);
  for (const step of [1, 2]) rmSync(join(run, "checkpoints", `step-0000000${step}`, "model.safetensors"));
  const { checkpoint, rejected } = await store.loadNewest();
  t.equal(checkpoint, null);
  t.same(
    rejected.map(({ step }) => step),
    [2, 1],
  );
});

t.test("a damaged checkpoint is replaced when its step is saved again", async (t) => {
  const run = t.testdir();
  const store = await filled(run, [1, 2]);
  truncateSync(join(run, "checkpoints", "step-00000002", "optimizer.safetensors"));
  await store.save(smallCheckpoint(2));
  t.equal((await store.loadNewest()).checkpoint?.step, 2);
  t.same(readdirSync(join(run, "checkpoints")).sort(), ["step-00000001", "step-00000002"]);
});

t.test("retention keeps the last and the named ones", async (t) => {
  const store = await filled(t.testdir(), [10, 20, 30, 40, 50]);
  t.same(await store.retain({ last: 2, alsoKeep: [20, 999] }), { removed: [10, 30], problem: null });
  t.same(await store.list(), [20, 40, 50]);
  t.same(await store.retain({ last: 5 }), { removed: [], problem: null });
  t.same(await store.retain({ last: 1 }), { removed: [20, 40], problem: null });
  t.same(await store.list(), [50]);
});

t.test("retention of none, or of a part, is refused", async (t) => {
  const store = await filled(t.testdir(), [1]);
  for (const last of [0, -1, 1.5, Number.NaN]) await t.rejects(store.retain({ last }), { code: "RETENTION_INVALID" });
  t.same(await store.list(), [1]);
});

t.test("nothing is deleted for the sake of newer checkpoints that are damaged", async (t) => {
  const run = t.testdir();
  await filled(run, [10, 20, 30, 40]);
  for (const step of [30, 40]) truncateSync(join(run, "checkpoints", `step-000000${step}`, "run.json"));
  const store = openCheckpoints(run);
  t.same(await store.retain({ last: 2 }), { removed: [], problem: null });
  t.same(
    await store.retain({ last: 2, alsoKeep: [20] }),
    { removed: [10], problem: null },
    "what is older than a good kept one may go",
  );
  t.equal((await store.loadNewest()).checkpoint?.step, 20);
});

t.test("a run folder that cannot be written is said so, and reading it is too", async (t) => {
  const run = join(t.testdir({ file: "a file" }), "file");
  await t.rejects(openCheckpoints(run).save(smallCheckpoint(1)), { code: "UNWRITABLE", message: /ENOTDIR.*--runs/ });
  await t.rejects(openCheckpoints(run).list(), { code: "UNREADABLE", message: /ENOTDIR/ });
  await t.rejects(openCheckpoints("/proc/self").save(smallCheckpoint(1)), { code: "UNWRITABLE" });
});
