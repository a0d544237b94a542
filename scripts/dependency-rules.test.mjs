/**
 * Every rule of .dependency-cruiser.cjs, shown to bite: a small workspace in which all is well, and for each rule one file more that breaks it.
 */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { cruise } from "dependency-cruiser";
import t from "tap";

const { forbidden, options } = createRequire(import.meta.url)("../.dependency-cruiser.cjs");

const names = forbidden
  .map(({ name }) => /^(.*)-depends-downwards$/.exec(name)?.[1])
  .filter((name) => name !== undefined);
const packageNamed = (name) => (name === "ringmaster" ? name : `@ringmaster/${name}`);

const allowed = (name) => {
  const { pathNot } = forbidden.find((rule) => rule.name === `${name}-depends-downwards`).to;
  return names.filter((other) => other !== name && new RegExp(pathNot).test(`packages/${other}/src`));
};

/** Files that must not be, with the rule that forbids each. */
const violations = [
  ["every-package-has-its-place", "packages/newcomer/src/index.ts", 'import "node:fs";'],
  ["packages-through-their-entry", "packages/worker/src/deep.ts", 'import "../../data/src/inner.ts";'],
  ["packages-through-their-entry", "packages/worker/test/deep.ts", 'import "../../data/src/inner.ts";'],
  ["packages-through-their-entry", "test/deep.ts", 'import "../packages/data/src/inner.ts";'],
  ["packages-by-name", "packages/worker/src/relative.ts", 'import "../../data/src/index.ts";'],
  ["packages-by-name", "test/relative.ts", 'import "../packages/data/src/index.ts";'],
  ["no-cycles", "packages/data/src/egg.ts", 'import "./hen.ts";'],
  ["no-cycles", "packages/data/src/hen.ts", 'import type {} from "./egg.ts";'],
  ["no-orphans", "packages/data/src/alone.ts", "export const alone = 1;"],
  ["sources-never-import-tests", "packages/data/src/tested.ts", 'import "../test/data.test.ts";'],
  ["sources-need-no-dev-dependencies", "packages/data/src/checked.ts", 'import "fast-check";'],
  ["everything-is-declared", "packages/data/src/undeclared.ts", 'import "undeclared";'],
  ["everything-resolves", "packages/data/src/lost.ts", 'import "./nowhere.ts";'],
  ["everything-resolves", "packages/worker/src/behind-the-entry.ts", 'import "@ringmaster/data/src/inner.ts";'],
  ["tfjs-through-backend", "packages/backend/src/slow.ts", 'import "@tensorflow/tfjs";'],
  ["examples-know-the-public-api-only", "examples/inside.config.ts", 'import "@ringmaster/worker";'],
  ["ringmaster-depends-downwards", "packages/ringmaster/src/upwards.ts", 'import "../../newcomer/src/index.ts";'],
];
for (const name of names.filter((name) => name !== "ringmaster")) {
  const above = names.filter((other) => other !== name && !allowed(name).includes(other));
  for (const other of above) {
    const text = `import type {} from "${packageNamed(other)}";`;
    violations.push([`${name}-depends-downwards`, `packages/${name}/src/takes-${other}.ts`, text]);
  }
}

const write = (folder, file, text) => {
  mkdirSync(dirname(join(folder, file)), { recursive: true });
  writeFileSync(join(folder, file), text);
};
const writeJson = (folder, file, value) => write(folder, file, JSON.stringify(value));

/** A workspace with every package, each importing all that it may. */
function layOut(folder) {
  writeJson(folder, "package.json", {
    name: "workspace",
    workspaces: ["packages/*"],
    devDependencies: { "fast-check": "1", tap: "1" },
  });
  for (const library of ["@tensorflow/tfjs", "fast-check", "tap", "undeclared", "zod"]) {
    writeJson(folder, `node_modules/${library}/package.json`, { name: library, main: "index.js" });
    write(folder, `node_modules/${library}/index.js`, "");
  }
  for (const name of names) {
    const base = `packages/${name}`;
    const exported = { ".": { "@ringmaster/source": "./src/index.ts", default: "./dist/src/index.js" } };
    const dependencies = Object.fromEntries([
      ["zod", "1"],
      ["@tensorflow/tfjs", "1"],
      ...names.map((other) => [packageNamed(other), "1"]),
    ]);
    writeJson(folder, `${base}/package.json`, {
      name: packageNamed(name),
      type: "module",
      exports: exported,
      dependencies,
    });
    const lower = allowed(name).map((other) => `import "${packageNamed(other)}";`);
    write(folder, `${base}/src/index.ts`, ['import "zod";', 'export * from "./inner.ts";', ...lower].join("\n"));
    write(folder, `${base}/src/inner.ts`, "export const inner = 1;");
    write(
      folder,
      `${base}/test/${name}.test.ts`,
      'import "tap";\nimport "fast-check";\nimport { inner } from "../src/inner.ts";',
    );
    const link = join(folder, "node_modules", packageNamed(name));
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(folder, base), link);
  }
  write(folder, "packages/ringmaster/src/cli.ts", 'import "./index.ts";');
  write(folder, "examples/good.config.ts", 'import "ringmaster";');
  write(folder, "test/run.test.ts", 'import "tap";\nimport "ringmaster";\nimport "@ringmaster/worker";');
}

async function brokenRules(folder) {
  const ruleSet = { forbidden };
  const { output } = await cruise(["packages", "test", "examples"], {
    ...options,
    ruleSet,
    validate: true,
    baseDir: folder,
  });
  return output.summary.violations.map(({ rule, from, cycle = [] }) => ({
    rule: rule.name,
    files: [from, ...cycle.map(({ name }) => name)],
  }));
}

t.test("what may be imported passes", async (t) => {
  const folder = t.testdir();
  layOut(folder);
  t.same(await brokenRules(folder), []);
});

t.test("every rule bites", async (t) => {
  const folder = t.testdir();
  layOut(folder);
  for (const [, file, text] of violations) write(folder, file, text);
  const broken = await brokenRules(folder);
  for (const [name, file, text] of violations) {
    t.ok(
      broken.some(({ rule, files }) => rule === name && files.includes(file)),
      `${name}: ${file}: ${text}`,
    );
  }
  t.same(
    forbidden.map(({ name }) => name).filter((rule) => !violations.some(([name]) => name === rule)),
    [],
    "no rule without a violation",
  );
});
