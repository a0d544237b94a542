/**
 * What nx runs as `test` of a package and as `e2e` in test/: test files as they were built, each in a process of its own, as one run of TAP on stdout. In the
 * folder of a package, `node ../../scripts/run-tests.mjs [--timeout SECONDS] [FILE ...]` runs these files (default: all of its `.test.ts`), each for so long
 * (default: 120). `TAP_GREP=/PATTERN/ node dist/test/some.test.js` runs a file's tests of that name alone.
 *
 * They run as built because a compiler in every process and every thread that a test starts costs one to four seconds each.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import t from "tap";

const { values, positionals } = parseArgs({
  options: { timeout: { type: "string", default: "120" } },
  allowPositionals: true,
});
const timeout = Number(values.timeout) * 1000;
const env = { ...process.env, TAP_TIMEOUT: values.timeout };

// Each file has a limit; all of them together have none.
t.setTimeout(0);

for (const file of positionals.length > 0 ? positionals : testsIn(existsSync("test") ? "test" : ".")) {
  t.spawn(process.execPath, ["--enable-source-maps", built(file)], { env, timeout }, file);
}

function testsIn(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith(".test.ts"));
  return names.sort().map((name) => join(folder, name));
}

function built(file) {
  if (!file.endsWith(".ts")) return file;
  const path = join("dist", file.replace(/\.ts$/, ".js"));
  if (existsSync(path)) return path;
  throw new Error(`expected ${path}, which ${file} is built to: run npm run build`);
}
