/**
 * `npm run check:node-versions`: fetches each Node that Ringmaster supports (npm's packages of Node itself) into a temporary folder, runs
 * the backend's tests and trains the MNIST example for a few steps on each, on libtensorflow and on the portable backend, and compares
 * the hashes of the trained parameters.
 * Arguments are other versions: `npm run check:node-versions -- 20.19.0 25`.
 */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exampleSteps, trainExample } from "./example-run.mjs";
import { newcomersEnvironment } from "./newcomers-environment.mjs";
import { listenTo, root } from "./run-process.mjs";
import { buildPackages, explain, installLibtensorflow, installPackages, SetupError } from "./setup-steps.mjs";
import { TapOutput } from "./tap-output.mjs";
import { temporaryFolder } from "./temporary-folder.mjs";

const versions = process.argv.length > 2 ? process.argv.slice(2) : ["20", "22", "24", "26"];
const backendFolder = join(root, "packages", "backend");
const backends = ["tensorflow", "portable"];
const env = newcomersEnvironment({ keepCaches: true });

try {
  await installPackages(console.log);
  await buildPackages(console.log, { everything: true });
  await installLibtensorflow();
  const folder = temporaryFolder("node-versions");
  const rows = [];
  for (const version of versions) rows.push(await check(version, join(folder, version)));

  console.log(`\nNode       backend's tests          backend     ${exampleSteps} steps   hash of the parameters`);
  for (const { node, passed, failed, trained } of rows) {
    trained.forEach(({ backend, hash, seconds }, index) => {
      const row = index === 0 ? [node, `${passed} passed, ${failed} failed`] : ["", ""];
      const time = hash ? `${seconds.toFixed(1)} s` : "failed";
      console.log(`${row[0].padEnd(11)}${row[1].padEnd(25)}${backend.padEnd(12)}${time.padEnd(11)}${hash ?? "none"}`);
    });
  }
  const hashes = backends.map((_, index) => new Set(rows.map(({ trained }) => trained[index].hash)));
  const ranToTheirEnd =
    !hashes.some((each) => each.has(undefined)) && rows.every((row) => row.passed > 0 && row.failed === 0);
  const isGood = ranToTheirEnd && hashes.every((each) => each.size === 1);
  const fault = ranToTheirEnd ? "the hashes differ" : "a test or a run failed";
  console.log(`\n${isGood ? `on each backend the same parameters on all ${rows.length}` : fault}`);
  process.exitCode = isGood ? 0 : 1;
} catch (error) {
  process.exitCode = explain(error, "check:node-versions");
}

async function check(version, folder) {
  const program = await install(version, folder);
  const node = (await listenTo(program, ["--version"], { env })).lines[0] ?? version;
  const { passed, failed } = await runTests(program, node);
  const cli = join(root, "packages", "ringmaster", "dist", "src", "cli.js");
  const trained = [];
  for (const backend of backends) {
    const { hash, seconds, lines } = await trainExample(program, [cli], { runs: join(folder, "runs"), env, backend });
    console.log(`${node}: trained ${exampleSteps} steps on ${backend}: ${hash ?? lines.slice(-5).join("\n")}`);
    trained.push({ backend, hash, seconds });
  }
  return { node, passed, failed, trained };
}

/** @returns the path of that version's program. */
async function install(version, folder) {
  const name = `node-${process.platform}-${process.arch}`;
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true }));
  const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund", `${name}@${version}`];
  const { code, lines } = await listenTo("npm", args, { cwd: folder, env });
  if (code !== 0) throw new SetupError(`npm could not install ${name}@${version}; its output is above`, { lines });
  return join(folder, "node_modules", name, "bin", "node");
}

/** Each built test is a program that prints TAP. A file that did not run to its end counts as a failure. */
async function runTests(program, node) {
  const tap = new TapOutput();
  let broken = 0;
  const files = readdirSync(join(backendFolder, "dist", "test")).filter((name) => name.endsWith(".test.js"));
  for (const file of files) {
    const before = tap.counts;
    const { code, lines } = await listenTo(program, [join("dist", "test", file)], {
      cwd: backendFolder,
      env,
      onLine: (line) => tap.read(line),
    });
    const failures = (tap.counts?.failed ?? 0) - (before?.failed ?? 0);
    if ((code !== 0 || tap.counts === before) && failures === 0) {
      broken += 1;
      console.log(`${node}: ${file} did not run to its end:\n${lines.slice(-10).join("\n")}`);
    }
  }
  for (const { name, details } of tap.failures) console.log(`${node}: not ok: ${name}\n${details.join("\n")}`);
  const { passed = 0, failed = 0 } = tap.counts ?? {};
  console.log(`${node}: backend's tests: ${passed} passed, ${failed + broken} failed`);
  return { passed, failed: failed + broken };
}
