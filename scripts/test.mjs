/**
 * `npm test`: sets up what is missing, then runs every check, the cheap ones first, each though an earlier one failed. The last line
 * is `N passed, N failed`, with `, N skipped` if any were. `--debian` fetches Debian's Fashion-MNIST too and
 * `--readers` Python's safetensors; CI=true in the environment does both.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkEndToEnd, checkPackageTests, checkScripts, checkTool, verdict } from "./checks.mjs";
import { root } from "./run-process.mjs";
import {
  buildPackages,
  installDebianDataset,
  installLibtensorflow,
  installPackages,
  installPythonReaders,
  requireNode,
  SetupError,
} from "./setup-steps.mjs";
import { summarise } from "./summary.mjs";

const wants = (flag) => process.env.CI === "true" || process.argv.includes(flag);
const sources = ["packages", "test", "scripts", "examples"].filter((folder) => existsSync(join(root, folder)));

const rows = [];
const startedMs = performance.now();
const say = (line) => console.log(`[${((performance.now() - startedMs) / 1000).toFixed(0).padStart(4)} s] ${line}`);

async function check(name, run) {
  say(name);
  const found = await run();
  rows.push(...found);
  if (found.some((row) => row.failed > 0)) say(`${name}: FAILED, see below`);
}

/** A set-up step is no check, but one that fails counts as a failure. @returns whether it went well. */
async function setUp(name, run) {
  try {
    await run();
    return true;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    rows.push(verdict(`set-up: ${name}`, false, 0, [...error.lines, error.message]));
    say(`${name}: ${error.message}`);
    return false;
  }
}

/** `tsc -b` checks the types of sources and tests. */
async function checkTypes() {
  const beganMs = performance.now();
  const seconds = () => (performance.now() - beganMs) / 1000;
  try {
    await buildPackages(say, { everything: true });
    return [verdict("types (build)", true, seconds(), [])];
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    return [verdict("types (build)", false, seconds(), [...error.lines, error.message])];
  }
}

const isReady = await setUp("npm packages", async () => {
  requireNode();
  await installPackages(say);
});
if (isReady) {
  await check("format and lint", () => checkTool(say, "format and lint", "biome", ["ci", "--colors=off", "."]));
  await check("dependency rules", () =>
    checkTool(say, "dependency rules", "depcruise", ["--config", ".dependency-cruiser.cjs", ...sources]),
  );
  await check("unused files, exports and dependencies", () =>
    checkTool(say, "unused files, exports", "knip", ["--no-progress", "--no-config-hints"]),
  );
  await check("types (build)", checkTypes);
  await setUp("libtensorflow", installLibtensorflow);
  await setUp("Fashion-MNIST", () => installDebianDataset(say, { wanted: wants("--debian") }));
  await setUp("Python's safetensors", () => installPythonReaders(say, { wanted: wants("--readers") }));
  await check("tests of scripts", () => checkScripts(say));
  await check("tests of packages", () => checkPackageTests(say));
  await check("end-to-end tests", () => checkEndToEnd(say));
}

const { lines, isGood } = summarise(rows);
for (const line of lines) console.log(line);
process.exitCode = isGood ? 0 : 1;
