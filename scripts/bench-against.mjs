/**
 * `npm run bench:against -- <commit> [--runs N] [-- arguments of ringmaster train]`: whether training became faster or slower since a commit. That commit is
 * cloned and built in a temporary folder; then it and this workspace train in turn, N times each, and a line of JSON tells both medians of images a second
 * and their ratio, ours by the other's. Default: 5 runs of the MNIST example, 250 steps on two ranks.
 */
import { join } from "node:path";
import { listenTo, root } from "./run-process.mjs";
import {
  buildPackages,
  explain,
  installLibtensorflow,
  installPackages,
  requireNode,
  SetupError,
} from "./setup-steps.mjs";
import { temporaryFolder } from "./temporary-folder.mjs";

const example = join("examples", "mnist", "train.config.ts");
const usualArgs = ["--ranks", "2", "--threads", "1", "--seats", "2", "--max-steps", "250"];

const [commit, ...rest] = process.argv.slice(2);
const say = (line) => console.error(line);

try {
  requireNode();
  const { runs, trainArgs } = readArguments();
  await installPackages(say);
  await buildPackages(say);
  await installLibtensorflow();
  const folder = temporaryFolder("ringmaster-against");
  const other = await buildOther(folder);
  const imagesPerSecond = { ours: [], theirs: [] };
  for (let run = 1; run <= runs; run++) {
    imagesPerSecond.theirs.push(await train(other, folder, trainArgs));
    imagesPerSecond.ours.push(await train(root, folder, trainArgs));
    say(`run ${run} of ${runs}: ${imagesPerSecond.theirs.at(-1)} images/s then, ${imagesPerSecond.ours.at(-1)} now`);
  }
  const [value, peerValue] = [median(imagesPerSecond.ours), median(imagesPerSecond.theirs)];
  const line = { bench: "against", work: trainArgs.join(" "), metric: "images/s", value, peer: commit, peerValue };
  console.log(JSON.stringify({ ...line, ratio: value / peerValue, runs }));
} catch (error) {
  process.exitCode = explain(error, "bench:against");
}

function readArguments() {
  const usage = "npm run bench:against -- <commit> [--runs N] [-- arguments of ringmaster train]";
  const end = rest.indexOf("--");
  const own = end < 0 ? rest : rest.slice(0, end);
  const runs = own.length === 0 ? 5 : own[0] === "--runs" && own.length === 2 ? Number(own[1]) : Number.NaN;
  if (commit === undefined || commit.startsWith("-") || !(runs >= 1))
    throw new SetupError(`expected ${usage}`, { exitCode: 2 });
  return { runs, trainArgs: end < 0 ? usualArgs : rest.slice(end + 1) };
}

/** @returns the folder of a built clone. */
async function buildOther(folder) {
  const clone = join(folder, "clone");
  const inClone = { cwd: clone };
  for (const [command, args, options] of [
    ["git", ["clone", "--quiet", "--no-checkout", root, clone], {}],
    ["git", ["checkout", "--quiet", commit], inClone],
    ["npm", ["ci", "--no-progress"], inClone],
    ["npm", ["run", "build"], { ...inClone, env: { ...process.env, NX_DAEMON: "false", NX_TUI: "false" } }],
  ]) {
    say(`${commit}: ${command} ${args[0]}`);
    const { code, lines } = await listenTo(command, args, options);
    if (code !== 0) throw new SetupError(`${command} ${args.join(" ")} ended with exit code ${code}`, { lines });
  }
  return clone;
}

async function train(tree, folder, trainArgs) {
  const runs = join(folder, "runs");
  const cli = join(tree, "packages", "ringmaster", "dist", "src", "cli.js");
  const args = [cli, "train", join(tree, example), "--runs", runs, ...trainArgs, "--json"];
  const { code, lines } = await listenTo(process.execPath, args, { cwd: tree });
  const result = lines.find((line) => line.startsWith("{"));
  if (code !== 0 || result === undefined)
    throw new SetupError(`ringmaster train ended with exit code ${code} in ${tree}`, { lines });
  return Math.round(JSON.parse(result).medianImagesPerSecond);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}
