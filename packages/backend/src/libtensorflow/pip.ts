/** Wheels fetched by pip, which knows the user's index, proxies and certificates, and checks their SHA-256. Python unpacks them. */
import { spawn } from "node:child_process";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BackendError } from "../backend-error.ts";
import type { Wheel } from "./wheels.ts";

/** libtensorflow needs no Python at run time; a version is named because its wheels are made for one. */
const pythonVersion = "3.12";
const platforms = ["manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010"];

/** libtensorflow, NVIDIA's libraries, and of its compiler what turns PTX into a GPU's code; no headers, no Python. */
const taken =
  /^tensorflow\/libtensorflow_(?:framework|cc)\.so\.2$|^nvidia\/\w+\/lib\/[^/]+\.so[.0-9]*$|^nvidia\/cuda_nvcc\/(?:bin|nvvm)\//;

export interface PipOptions {
  /** Let pip draw its own progress bar on this process's terminal. Default false. */
  readonly inheritTerminal?: boolean;
}

/** Sizes of files, by their names in a folder. */
export type FileSizes = Readonly<Record<string, number>>;

/**
 * Fetches a wheel and unpacks into `folder` what is needed of it, by its name in the wheel less `strip`. Everything temporary lies in the folder too.
 * @throws BackendError SETUP_FAILED with what pip said.
 */
export async function fetchWheel(folder: string, wheel: Wheel, strip: string, options: PipOptions): Promise<FileSizes> {
  const temporary = join(folder, "wheel");
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary);
  const requirements = join(temporary, "requirements.txt");
  await writeFile(requirements, `${wheel.package}==${wheel.version} --hash=sha256:${wheel.sha256}\n`);
  const what = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--python-version", pythonVersion];
  const where = ["--dest", temporary, "--requirement", requirements, "--no-cache-dir"];
  const tags = platforms.flatMap((platform) => ["--platform", `${platform}_x86_64`]);
  const pip = ["-m", "pip", "download", "--disable-pip-version-check"];
  await run([...pip, ...what, ...tags, ...where], temporary, options.inheritTerminal === true);
  const file = (await readdir(temporary)).find((name) => name.endsWith(".whl"));
  if (file === undefined)
    throw new BackendError(
      "SETUP_FAILED",
      `pip fetched no wheel of ${wheel.package} ${wheel.version}; run the command again`,
    );
  const sizes = await unpack(join(temporary, file), folder, strip);
  await rm(temporary, { recursive: true });
  return sizes;
}

/** Programs among the files must stay executable. */
const unpackScript = `
import json, os, re, shutil, sys, zipfile
wheel, folder, taken, strip = sys.argv[1:]
sizes = {}
with zipfile.ZipFile(wheel) as archive:
    for entry in archive.infolist():
        if entry.is_dir() or not re.search(taken, entry.filename):
            continue
        name = entry.filename[len(strip):] if entry.filename.startswith(strip) else entry.filename
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with archive.open(entry) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 22)
        os.chmod(path, 0o755 if "/bin/" in name else 0o644)
        sizes[name] = entry.file_size
print(json.dumps(sizes))
`;

async function unpack(wheel: string, folder: string, strip: string): Promise<FileSizes> {
  const pattern = taken.source.replaceAll("\\/", "/");
  const printed = await run(["-c", unpackScript, wheel, folder, pattern, strip], folder, false);
  return JSON.parse(printed) as Record<string, number>;
}

/** Runs Python to its end. @returns what it printed; its last words become the error's. */
function run(args: readonly string[], temporary: string, inheritTerminal: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("python3", args, {
      stdio: ["ignore", inheritTerminal ? "inherit" : "pipe", "pipe"],
      env: { ...process.env, TMPDIR: temporary },
    });
    let printed = "";
    let said = "";
    const listen = (data: Buffer) => {
      said = (said + data.toString()).slice(-2000);
    };
    child.stdout?.on("data", (data: Buffer) => {
      printed += data.toString();
      listen(data);
    });
    child.stderr?.on("data", listen);
    child.once("error", (error) => {
      const advice = "install Python 3 with pip (Debian: apt-get install python3-pip) and run the command again";
      reject(new BackendError("SETUP_FAILED", `could not run python3 (${error.message}); ${advice}`));
    });
    child.once("close", (code, signal) => {
      if (code === 0) return resolve(printed);
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
      reject(new BackendError("SETUP_FAILED", `python3 ${args.slice(0, 3).join(" ")} ${how}: ${lastLine}`));
    });
  });
}
