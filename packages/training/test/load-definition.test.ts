import { createHash } from "node:crypto";
import { join } from "node:path";
import { openBackend } from "@ringmaster/backend";
import t from "tap";
import { buildModel, loadDefinition } from "../src/index.ts";

const body = (rest = "") => `{
  data: { kind: "none", describe: "nothing", load: async () => { throw new Error("not called") } },
  model: (input) => { throw new Error("not called") },
  optimizer: { kind: "sgd", learningRate: 0.1, momentum: 0.9, nesterov: false, weightDecay: 0 },
  batchSize: 32,
  epochs: 2,
  ${rest}
}`;

t.test("a TypeScript or JavaScript module is loaded, named and hashed", async (t) => {
  const typed = `interface Sized { batchSize: number }\nconst config: Sized & Record<string, unknown> = ${body()};\nexport default config;\n`;
  const plain = `export default ${body("name: 'mine'")}`;
  const folder = t.testdir({
    "mnist.config.ts": typed,
    "plain.mjs": plain,
    "old.cjs": `module.exports = ${body()}`,
    "awaits.mts": `const epochs = await Promise.resolve(7);\nexport default ${body("epochs")}`,
  });
  const loaded = await loadDefinition(join(folder, "mnist.config.ts"));
  t.equal(loaded.path, join(folder, "mnist.config.ts"));
  t.equal(loaded.defaultName, "mnist");
  t.equal(loaded.hash, createHash("sha256").update(typed).digest("hex"));
  t.match(loaded.definition, { batchSize: 32, name: null, optimizer: { kind: "sgd" } });
  const other = await loadDefinition(join(folder, "plain.mjs"));
  t.equal(other.definition.name, "mine");
  t.equal(other.defaultName, "plain");
  t.not(other.hash, loaded.hash);
  t.equal((await loadDefinition(join(folder, "old.cjs"))).definition.batchSize, 32);
  t.equal((await loadDefinition(join(folder, "awaits.mts"))).definition.epochs, 7);
});

t.test("a config may import its neighbours, and is read anew each time", async (t) => {
  const folder = t.testdir({
    "sizes.ts": "export const batchSize: number = 48;",
    "config.ts": `import { batchSize } from "./sizes.ts";\nexport default { ...${body()}, batchSize };`,
  });
  const path = join(folder, "config.ts");
  t.equal((await loadDefinition(path)).definition.batchSize, 48);
  t.testdir({ "config.ts": `export default ${body("seed: 5")}` });
  const again = await loadDefinition(path);
  t.equal(again.definition.batchSize, 32);
  t.equal(again.definition.seed, 5);
});

t.test("a config's tfjs is this process's: its model can be trained here", async (t) => {
  await openBackend({ backend: "tensorflow", device: "cpu" });
  const model = `({ imageShape, classes }) => tf.sequential({
    layers: [tf.layers.flatten({ inputShape: imageShape }), tf.layers.dense({ units: classes })],
  })`;
  const text = `import { tf } from "@ringmaster/backend";\nexport default { ...${body()}, model: ${model} };`;
  const { definition } = await loadDefinition(join(t.testdir({ "config.ts": text }), "config.ts"));
  const { parameters } = buildModel(definition.model, { imageShape: [4, 4, 1], classes: 3 }, 1);
  t.same(
    parameters.map(({ name }) => name),
    ["dense/kernel", "dense/bias"],
  );
});

t.test("overrides replace fields by their path, and the config's own object is left alone", async (t) => {
  const folder = t.testdir({
    "config.ts": `export default Object.freeze(${body("validation: Object.freeze({ count: 10, blockSize: 20 })")})`,
  });
  const load = (...overrides: [string, unknown][]) =>
    loadDefinition(
      join(folder, "config.ts"),
      overrides.map(([path, value]) => ({ path, value })),
    );
  const { definition } = await load(
    ["batchSize", 64],
    ["optimizer.learningRate", 0.5],
    ["validation.blockSize", 30],
    ["checkpoint.everySteps", 7],
    ["checkpoint.everyMinutes", 2.5],
    ["onNotFinite", "skip"],
    ["epochs", 3],
    ["epochs", 4],
  );
  t.match(definition, {
    batchSize: 64,
    epochs: 4,
    optimizer: { kind: "sgd", learningRate: 0.5, momentum: 0.9 },
    validation: { count: 10, blockSize: 30 },
    checkpoint: { everySteps: 7, everyMinutes: 2.5, keep: 3 },
    onNotFinite: "skip",
  });
  const refused: [string, unknown, RegExp][] = [
    ["optimizer.lr", 1, /optimizer: expected no other fields, found also "lr"/],
    ["batch", 1, /the whole: expected no other fields, found also "batch"/],
    ["optimizer.learningRate", "fast", /optimizer\.learningRate: expected a number, found "fast"/],
    ["checkpoint.everyMinutes", -1, /checkpoint\.everyMinutes: expected a number above 0, found -1/],
    ["onNotFinite", true, /onNotFinite: expected "stop" or "skip" or "restore", found true/],
    ["seats.count", 3, /seats: expected "auto" or a whole number/],
    ["", 3, /the whole: expected no other fields/],
    ["optimizer.__proto__.momentum", 3, /optimizer: expected no other fields, found also "__proto__"/],
  ];
  for (const [path, value, message] of refused)
    await t.rejects(load([path, value]), { code: "CONFIG_INVALID", message });
});

const broken: Record<string, { text: string; code: string; message: RegExp }> = {
  "a syntax error": {
    text: "export default {\n  batchSize: 32,,\n};",
    code: "CONFIG_BROKEN",
    message: /config\.ts: could not be loaded: .*Unexpected token.*2:16/,
  },
  "a module that throws": {
    text: 'throw new RangeError("no such thing\\nsecond line");',
    code: "CONFIG_BROKEN",
    message: /config\.ts: could not be loaded: no such thing$/,
  },
  "a module that throws no error": {
    text: "throw undefined;",
    code: "CONFIG_BROKEN",
    message: /could not be loaded: undefined$/,
  },
  "a module that rejects": {
    text: 'await Promise.reject(new Error("later")); export default {}',
    code: "CONFIG_BROKEN",
    message: /could not be loaded: later$/,
  },
  "an import that is not there": {
    text: `import "./nowhere.ts"; export default ${body()}`,
    code: "CONFIG_BROKEN",
    message: /could not be loaded: Cannot find module '\.\/nowhere\.ts'/,
  },
  "no default export": {
    text: `export const config = ${body()};`,
    code: "CONFIG_INVALID",
    message: /expected a default export \(export default defineTraining\(\{ \.\.\. \}\)\), found only: config$/,
  },
  "an empty module": {
    text: "",
    code: "CONFIG_INVALID",
    message: /data: expected a data source, such as mnist\(\), found nothing; /,
  },
  "a default export that is no object": {
    text: "export default 7",
    code: "CONFIG_INVALID",
    message: /the whole: expected an object, found 7/,
  },
  "a default export that is no training": {
    text: "export default { epochs: 3 }",
    code: "CONFIG_INVALID",
    message:
      /data: expected a data source.*; model: expected a function.*; optimizer: .*; batchSize: expected a number, found nothing$/,
  },
};
for (const [name, { text, code, message }] of Object.entries(broken)) {
  t.test(`a config that cannot be used: ${name}`, async (t) => {
    const path = join(t.testdir({ "config.ts": text }), "config.ts");
    for (const overrides of [[], [{ path: "seed", value: 1 }]])
      await t.rejects(loadDefinition(path, overrides), { name: "TrainingError", code, message });
  });
}

t.test("a config that is not there, or is a folder", async (t) => {
  const folder = t.testdir({ inner: {} });
  await t.rejects(loadDefinition(join(folder, "none.ts")), {
    code: "CONFIG_MISSING",
    message: `expected a config file, found nothing at ${join(folder, "none.ts")}`,
  });
  await t.rejects(loadDefinition(join(folder, "inner")), {
    code: "CONFIG_MISSING",
    message: `expected a config file, found a folder at ${join(folder, "inner")}`,
  });
});
