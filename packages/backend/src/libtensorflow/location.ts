import { existsSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { BackendError } from "../backend-error.ts";

/** The build of libtensorflow that Ringmaster runs on, as a pip requirement with the wheel's SHA-256. */
export const libtensorflowWheel = {
  package: "tensorflow-cpu",
  version: "2.21.0",
  pythonVersion: "3.12",
  platform: "manylinux_2_27_x86_64",
  sha256: "dcc8afd32930e42d5296b6ee19078b773706830af4ea97fbe503b9f5e0f820cb",
  wheelBytes: 274_000_871,
} as const;

/** The files taken from the wheel. The framework must be loaded first: the other needs its symbols. */
export const libraryFiles = { framework: "libtensorflow_framework.so.2", cc: "libtensorflow_cc.so.2" } as const;

/** Written last by the installer; without it a folder is not an installation. */
export const receiptFile = "installed.json";

/** Per-user cache outside any clone: `$RINGMASTER_CACHE`, else `$XDG_CACHE_HOME/ringmaster`, else `~/.cache/ringmaster`. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env["RINGMASTER_CACHE"]) return env["RINGMASTER_CACHE"];
  return join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "ringmaster");
}

export function libtensorflowFolder(env: NodeJS.ProcessEnv = process.env): string {
  const { package: name, version } = libtensorflowWheel;
  return join(cacheFolder(env), `${name}-${version}-linux-x64`);
}

export type LibtensorflowState =
  | { readonly state: "installed"; readonly folder: string }
  | { readonly state: "missing"; readonly folder: string }
  | { readonly state: "damaged"; readonly folder: string; readonly reason: string };

/** Whether libtensorflow is in the cache, judged by the installer's receipt and the sizes of the libraries. */
export function findLibtensorflow(env: NodeJS.ProcessEnv = process.env): LibtensorflowState {
  const folder = libtensorflowFolder(env);
  const receipt = join(folder, receiptFile);
  if (!existsSync(receipt)) return { state: "missing", folder };
  let sizes: unknown;
  try {
    sizes = JSON.parse(readFileSync(receipt, "utf8"));
  } catch (error) {
    return { state: "damaged", folder, reason: `${receipt} is not JSON (${(error as Error).message})` };
  }
  for (const file of Object.values(libraryFiles)) {
    const path = join(folder, file);
    const expected = typeof sizes === "object" && sizes !== null ? Reflect.get(sizes, file) : undefined;
    const found = existsSync(path) ? statSync(path).size : "no file";
    if (expected !== found) {
      return { state: "damaged", folder, reason: `${path}: expected ${String(expected)} bytes, found ${found}` };
    }
  }
  return { state: "installed", folder };
}

/** The folder of the installed libraries. @throws BackendError LIBTENSORFLOW_MISSING or LIBTENSORFLOW_DAMAGED, naming the command that mends it. */
export function requireLibtensorflow(env: NodeJS.ProcessEnv = process.env): string {
  const found = findLibtensorflow(env);
  if (found.state === "installed") return found.folder;
  const size = `${Math.round(libtensorflowWheel.wheelBytes / 1e6)} MB, once for this user`;
  if (found.state === "missing") {
    throw new BackendError(
      "LIBTENSORFLOW_MISSING",
      `libtensorflow ${libtensorflowWheel.version} is not in ${found.folder}; run "npx ringmaster setup" to fetch it (${size})`,
    );
  }
  throw new BackendError(
    "LIBTENSORFLOW_DAMAGED",
    `libtensorflow is damaged: ${found.reason}; run "npx ringmaster setup" to fetch it again (${size})`,
  );
}
