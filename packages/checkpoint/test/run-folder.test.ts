import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { createRunFolder, nextRunName, openCheckpoints, readConfig, writeConfig } from "../src/index.ts";

t.test("a run folder is made with its checkpoints, the folder around it too", async (t) => {
  const runs = join(t.testdir(), "deep", "runs");
  const run = await createRunFolder(runs, "mnist");
  t.equal(run, join(runs, "mnist"));
  t.same(readdirSync(run), ["checkpoints"]);
  t.same(await openCheckpoints(run).list(), []);
});

t.test("a name that is taken is said so, with both ways out", async (t) => {
  const runs = t.testdir();
  await createRunFolder(runs, "mnist");
  await t.rejects(createRunFolder(runs, "mnist"), {
    code: "RUN_EXISTS",
    message: /a run named mnist is already at .*--name.*`ringmaster resume .*mnist`/,
  });
});

t.test("the next name is the first that is free", async (t) => {
  const runs = t.testdir();
  t.equal(await nextRunName(join(runs, "not-there"), "mnist"), "mnist");
  for (const expected of ["mnist", "mnist-2", "mnist-3"]) {
    t.equal(await nextRunName(runs, "mnist"), expected);
    await createRunFolder(runs, expected);
  }
});

t.test("names that are not one plain folder name are refused", async (t) => {
  const runs = t.testdir({ runs: {} });
  const names = ["", ".", "..", "../x", "a/b", "/x", "a\\b", "-x", ".x", "a b", "a\0", "a\n", "ü", "x".repeat(101)];
  for (const name of names) {
    await t.rejects(createRunFolder(join(runs, "runs"), name), { code: "RUN_NAME_INVALID" }, JSON.stringify(name));
    await t.rejects(nextRunName(join(runs, "runs"), name), { code: "RUN_NAME_INVALID" }, JSON.stringify(name));
  }
  t.same(readdirSync(runs), ["runs"]);
  t.same(readdirSync(join(runs, "runs")), []);
});

t.test("runs cannot be made below a file, or in a file system that takes none", async (t) => {
  const folder = t.testdir({ file: "a file" });
  await t.rejects(createRunFolder(join(folder, "file"), "mnist"), { code: "UNWRITABLE", message: /--runs/ });
  await t.rejects(createRunFolder(join(folder, "file", "runs"), "mnist"), { code: "UNWRITABLE", message: /ENOTDIR/ });
  await t.rejects(nextRunName(join(folder, "file"), "mnist"), { code: "UNREADABLE", message: /ENOTDIR/ });
  await t.rejects(createRunFolder("/proc/deep/runs", "mnist"), { code: "UNWRITABLE", message: /ENOENT/ });
});

t.test("a config comes back, and its file is canonical", async (t) => {
  const run = t.testdir();
  await writeConfig(run, { seats: 4, batch: { size: 64, drop: false } });
  t.equal(
    readFileSync(join(run, "config.json"), "utf8"),
    '{\n  "batch": {\n    "drop": false,\n    "size": 64\n  },\n  "seats": 4\n}\n',
  );
  t.strictSame(await readConfig(run), { batch: { drop: false, size: 64 }, seats: 4 });
  await t.rejects(writeConfig(run, { f: () => 1 }), { code: "JSON_INVALID", message: /\$\.f/ });
  await t.rejects(writeConfig(join(run, "config.json"), {}), { code: "UNWRITABLE" });
});

t.test("a config that cannot be read is said so with its path", async (t) => {
  const run = t.testdir();
  await t.rejects(readConfig(run), { code: "CONFIG_MISSING", message: /config\.json is not there/ });
  for (const text of ["", "{", "[]", "null", "3", '{"a": 1}}']) {
    writeFileSync(join(run, "config.json"), text);
    await t.rejects(readConfig(run), { code: "CONFIG_INVALID", message: /config\.json/ }, JSON.stringify(text));
  }
  const other = t.testdir({});
  mkdirSync(join(other, "config.json"));
  await t.rejects(readConfig(other), { code: "UNREADABLE", message: /EISDIR/ });
});
