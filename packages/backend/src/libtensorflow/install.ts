import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BackendError } from "../backend-error.ts";
import { findLibtensorflow, libraryFiles, libtensorflowFolder, libtensorflowWheel, receiptFile } from "./location.ts";

export interface InstallOptions {
  /** Where a person follows along, one line at a time. */
  readonly log: (line: string) => void;
  /** Let pip draw its own progress bar on this process's terminal. Default false. */
  readonly inheritTerminal?: boolean;
}

/**
 * Fetches libtensorflow through pip into the user's cache, checks the wheel's SHA-256 and unpacks its two libraries. Does nothing when they are
 * there. The folder appears whole or not at all; a download that was cut off leaves nothing behind.
 *
 * @returns the folder of the libraries.
 * @throws BackendError PLATFORM_UNSUPPORTED, or SETUP_FAILED with what pip said.
 */
export async function installLibtensorflow(options: InstallOptions): Promise<string> {
  const found = findLibtensorflow();
  if (found.state === "installed") {
    options.log(`libtensorflow ${libtensorflowWheel.version}: already in ${found.folder}`);
    return found.folder;
  }
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new BackendError(
      "PLATFORM_UNSUPPORTED",
      `libtensorflow comes for linux x64; this machine is ${process.platform} ${process.arch}`,
    );
  }
  const target = libtensorflowFolder();
  await mkdir(dirname(target), { recursive: true });
  const work = await mkdtemp(`${target}.tmp-`);
  const removeWork = () => rm(work, { recursive: true, force: true });
  try {
    const megabytes = Math.round(libtensorflowWheel.wheelBytes / 1e6);
    options.log(`libtensorflow ${libtensorflowWheel.version}: fetching ${megabytes} MB with pip`);
    const wheel = await download(work, options);
    options.log("libtensorflow: checksum right; unpacking 850 MB");
    await unpack(wheel, work, options);
    await rm(wheel);
    const sizes: Record<string, number> = {};
    for (const file of Object.values(libraryFiles)) sizes[file] = (await stat(join(work, file))).size;
    await writeFile(join(work, receiptFile), JSON.stringify({ ...libtensorflowWheel, ...sizes }));
    await rm(target, { recursive: true, force: true });
    await rename(work, target);
  } catch (error) {
    await removeWork();
    if (error instanceof BackendError) throw error;
    throw new BackendError(
      "SETUP_FAILED",
      `could not install libtensorflow into ${target}: ${(error as Error).message}`,
    );
  }
  options.log(`libtensorflow ${libtensorflowWheel.version}: ready in ${target}`);
  return target;
}

async function download(work: string, options: InstallOptions): Promise<string> {
  const { package: name, version, sha256, pythonVersion, platform } = libtensorflowWheel;
  const requirements = join(work, "requirements.txt");
  await writeFile(requirements, `${name}==${version} --hash=sha256:${sha256}\n`);
  const what = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--python-version", pythonVersion];
  const where = ["--platform", platform, "--dest", work, "--requirement", requirements, "--no-cache-dir"];
  await run("python3", ["-m", "pip", "download", "--disable-pip-version-check", ...what, ...where], options);
  await rm(requirements);
  return join(work, `${name.replace("-", "_")}-${version}-cp312-cp312-${platform}.whl`);
}

async function unpack(wheel: string, work: string, options: InstallOptions): Promise<void> {
  const script = `
import shutil, sys, zipfile
wheel, work, names = sys.argv[1], sys.argv[2], sys.argv[3:]
with zipfile.ZipFile(wheel) as archive:
    for name in names:
        with archive.open("tensorflow/" + name) as source, open(work + "/" + name, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 22)
`;
  await run("python3", ["-c", script, wheel, work, ...Object.values(libraryFiles)], options);
}

/** Runs a tool to its end; its last words become the error's. */
function run(command: string, args: readonly string[], options: InstallOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", options.inheritTerminal ? "inherit" : "pipe", "pipe"] });
    let said = "";
    const listen = (data: Buffer) => {
      said = (said + data.toString()).slice(-2000);
    };
    child.stdout?.on("data", listen);
    child.stderr?.on("data", listen);
    child.once("error", (error) => {
      const advice = "install Python 3 with pip (Debian: apt-get install python3-pip) and run the command again";
      reject(new BackendError("SETUP_FAILED", `could not run ${command} (${error.message}); ${advice}`));
    });
    child.once("close", (code, signal) => {
      if (code === 0) return resolve();
      if (/NewConnectionError|Temporary failure in name resolution|Network is unreachable/.test(said)) {
        return reject(
          new BackendError(
            "SETUP_FAILED",
            "no network: pip could not reach its package index; connect and run the command again",
          ),
        );
      }
      const lastLine = said.trim().split("\n").at(-1) ?? "";
      const how = signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
      reject(new BackendError("SETUP_FAILED", `${command} ${args.slice(0, 3).join(" ")} ${how}: ${lastLine}`));
    });
  });
}
