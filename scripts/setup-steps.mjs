import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { handOver, listenTo, root } from "./run-process.mjs";

/**
 * What a fresh clone needs before anything runs: npm packages, the build, libtensorflow. Each step knows by itself whether it is done
 * and says so in a word. Only Node's built-ins, for this runs before there are packages.
 */

/** A set-up that cannot go on. The message is one line that says what to do; `lines` is what the failing tool said. */
export class SetupError extends Error {
  constructor(message, { lines = [], exitCode = 1 } = {}) {
    super(message);
    this.name = "SetupError";
    this.lines = lines;
    this.exitCode = exitCode;
  }
}

/** For a program's end: the tool's words, then the one line. @returns the exit code. */
export function explain(error, program) {
  if (!(error instanceof SetupError)) throw error;
  for (const line of error.lines) console.error(line);
  console.error(`${program}: ${error.message}`);
  return error.exitCode;
}

const leastNode = [20, 19];
const commandLine = join("packages", "ringmaster", "dist", "src", "cli.js");

export function requireNode(version = process.versions.node) {
  const [major, minor] = version.split(".").map(Number);
  if (major > leastNode[0] || (major === leastNode[0] && minor >= leastNode[1])) return;
  throw new SetupError(
    `expected Node ${leastNode.join(".")} or newer, found ${version}: install it from https://nodejs.org`,
  );
}

/** `npm ci`, unless node_modules is whole and not older than package-lock.json. npm writes its own copy of the lock file last. */
export async function installPackages(say) {
  const installed = modifiedMs("node_modules/.package-lock.json");
  if (installed >= modifiedMs("package-lock.json")) return say("npm packages: already here");
  await requirePip();
  say("npm packages: npm ci (about half a minute)");
  const { code, seconds, lines } = await listenTo(
    "npm",
    ["ci", "--no-progress", "--fetch-retry-mintimeout=1000"],
    working(say, "npm ci"),
  );
  if (code === 127) throw new SetupError("expected npm next to node, found no such command: reinstall Node with npm");
  if (code !== 0) {
    const unreachable = lines.some((line) => /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH)\b/.test(line));
    const advice = unreachable
      ? "no network: npm could not reach its registry; check the connection or set a proxy, and run this again"
      : `npm ci ended with exit code ${code}; its output is above`;
    throw new SetupError(advice, { lines: unreachable ? [] : lines.slice(0, 20) });
  }
  say(`npm packages: installed in ${seconds.toFixed(1)} s`);
}

/** `nx build` of the command line and so of every package, unless nothing changed since; or, asked for `everything`, of what tests them too, always. */
export async function buildPackages(say, { everything = false } = {}) {
  const inputs = fingerprintOfInputs();
  if (!everything && inputs === lastBuild() && everyPackageIsBuilt()) return say("build: already done");
  const what = everything ? [] : ["--projects=ringmaster"];
  say(`build: nx ${["run-many", "-t", "build", ...what].join(" ")}`);
  const args = ["run-many", "-t", "build", ...what, "--output-style=static", "--parallel=2"];
  const { code, seconds, lines } = await listenTo("nx", args, working(say, "build"));
  if (code !== 0)
    throw new SetupError(`the build failed (nx ended with exit code ${code}); its output is above`, { lines });
  mkdirSync(dirname(buildStamp), { recursive: true });
  writeFileSync(buildStamp, inputs);
  say(`build: done in ${seconds.toFixed(1)} s`);
}

/** libtensorflow, into the user's cache, through pip. Ringmaster's own command knows whether it is there, and shows the download. */
export async function installLibtensorflow() {
  const code = await ringmaster(["setup"]);
  if (code === 130)
    throw new SetupError("stopped while libtensorflow was being installed; nothing half done stays behind", {
      exitCode: code,
    });
  if (code !== 0)
    throw new SetupError("libtensorflow could not be installed: the line above says why", { exitCode: code });
}

/** Runs Ringmaster's command line, as built, on this terminal. */
export function ringmaster(args) {
  if (!existsSync(join(root, commandLine)))
    throw new SetupError(`expected ${commandLine}, found no such file: build first`);
  return handOver(process.execPath, [commandLine, ...args]);
}

/** Debian's package of Fashion-MNIST, which one test of files reads. Missing, that test skips itself, and this says how to have it. */
export async function installDebianDataset(say, { wanted }) {
  const name = "dataset-fashion-mnist";
  if (existsSync("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")) return say(`${name}: already here`);
  const without = (why) => say(`${name}: ${why}; the test of its files will be skipped`);
  if (!wanted) return without('not here (as root on Debian or Ubuntu: "npm test -- --debian")');
  if (process.getuid?.() !== 0) return without(`not here, and only root may "apt-get install ${name}"`);
  for (const args of [["update"], ["install", "--yes", "--no-install-recommends", name]]) {
    say(`${name}: apt-get ${args.join(" ")}`);
    const { code, lines } = await listenTo("apt-get", args, working(say, "apt-get"));
    if (code === 127) return without("this system has no apt-get");
    if (code !== 0)
      return without(
        `apt-get ${args[0]} failed (${lines.filter((line) => line.startsWith("E:"))[0] ?? `exit code ${code}`})`,
      );
  }
  say(`${name}: installed`);
}

const readersPython = join(root, "node_modules", ".cache", "ringmaster", "python", "bin", "python");

/** Python's own safetensors, which one test reads checkpoints with, in an environment of its own. Missing, that test skips itself. */
export async function installPythonReaders(say, { wanted }) {
  const name = "Python's safetensors";
  if (!existsSync(readersPython) && !wanted)
    return say(`${name}: not here ("npm test -- --readers" fetches it); its test will be skipped`);
  if (!existsSync(readersPython)) {
    const folder = dirname(dirname(readersPython));
    for (const [command, args] of [
      ["python3", ["-m", "venv", folder]],
      [readersPython, ["-m", "pip", "install", "--quiet", "safetensors==0.8.0", "numpy"]],
    ]) {
      const { code, lines } = await listenTo(command, args, working(say, name));
      if (code === 0) continue;
      rmSync(folder, { recursive: true, force: true });
      return say(`${name}: could not be installed (${lines.at(-1) ?? `exit code ${code}`}); its test will be skipped`);
    }
  }
  process.env.RINGMASTER_TEST_PYTHON = readersPython;
  say(`${name}: here`);
}

/** Python is needed for pip alone, which fetches libtensorflow; better said before a minute of other work. */
async function requirePip() {
  const { code } = await listenTo("python3", ["-m", "pip", "--version"]);
  if (code === 0) return;
  const found = code === 127 ? "no python3" : "a python3 without pip";
  throw new SetupError(
    `expected Python 3 with pip, found ${found}: install it (Debian, Ubuntu: apt-get install python3-pip)`,
  );
}

const working = (say, what) => ({ onSilence: (seconds) => say(`${what}: still working (${seconds.toFixed(0)} s)`) });

const modifiedMs = (path) => statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? Number.NEGATIVE_INFINITY;

/** In node_modules, so that it goes when npm ci starts afresh. */
const buildStamp = join(root, "node_modules", ".cache", "ringmaster", "build");

const lastBuild = () => (existsSync(buildStamp) ? readFileSync(buildStamp, "utf8") : undefined);

const packageFolders = () =>
  readdirSync(join(root, "packages"))
    .map((name) => join(root, "packages", name))
    .filter((folder) => existsSync(join(folder, "package.json")));

/** Name, size and time of every file that the build reads. */
function fingerprintOfInputs() {
  const hash = createHash("sha256");
  const add = (path) => {
    const { size, mtimeMs } = statSync(path);
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  };
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isFile()) add(path);
      else if (entry.isDirectory() && !["dist", "node_modules", ".tap"].includes(entry.name)) walk(path);
    }
  };
  for (const file of ["package-lock.json", "tsconfig.base.json", "nx.json"]) add(join(root, file));
  for (const folder of packageFolders()) walk(folder);
  return hash.update(process.version).digest("hex");
}

const everyPackageIsBuilt = () =>
  packageFolders().every((folder) => {
    const parts = ["src", "kernels", "vendor"].filter((part) => existsSync(join(folder, part)));
    return (
      existsSync(join(folder, "dist", "src", "index.js")) &&
      parts.every((part) => existsSync(join(folder, "dist", part)))
    );
  });
