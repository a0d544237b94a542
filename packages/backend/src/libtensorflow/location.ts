import { existsSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type Build, builds, downloadBytes, type LibtensorflowBuild, sizeText } from "./wheels.ts";

/** libtensorflow's own libraries. The framework must be loaded first: the other needs its symbols. */
export const libraryFiles = { framework: "libtensorflow_framework.so.2", cc: "libtensorflow_cc.so.2" } as const;

/** Written last by the installer; without it a folder is not an installation. It has the size of every library. */
export const receiptFile = "installed.json";

/** Per-user cache outside any clone: `$RINGMASTER_CACHE`, else `$XDG_CACHE_HOME/ringmaster`, else `~/.cache/ringmaster`. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env["RINGMASTER_CACHE"]) return env["RINGMASTER_CACHE"];
  return join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "ringmaster");
}

export type LibtensorflowState =
  | {
      readonly state: "installed";
      readonly folder: string;
      /** Where `libtensorflow_cc.so.2` lies. */
      readonly libraries: string;
    }
  | { readonly state: "missing"; readonly folder: string }
  | { readonly state: "damaged"; readonly folder: string; readonly reason: string };

/** Whether a build is in the cache, judged by the installer's receipt and the sizes of the libraries. */
export const findLibtensorflow = (
  build: LibtensorflowBuild = "cpu",
  env: NodeJS.ProcessEnv = process.env,
): LibtensorflowState => findBuild(builds[build], env);

export function findBuild(build: Build, env: NodeJS.ProcessEnv = process.env): LibtensorflowState {
  const folder = join(cacheFolder(env), build.folder);
  const receipt = join(folder, receiptFile);
  if (!existsSync(receipt)) return { state: "missing", folder };
  let written: unknown;
  try {
    written = JSON.parse(readFileSync(receipt, "utf8"));
  } catch (error) {
    return { state: "damaged", folder, reason: `${receipt} is not JSON (${(error as Error).message})` };
  }
  const sizes = new Map(
    Object.values(libraryFiles).map((file): [string, unknown] => [join(build.libraries, file), undefined]),
  );
  const entries = typeof written === "object" && written !== null ? Object.entries(written) : [];
  for (const [file, bytes] of entries) if (file.includes(".so")) sizes.set(file, bytes);
  for (const [file, expected] of sizes) {
    const path = join(folder, file);
    const found = existsSync(path) ? statSync(path).size : "no file";
    if (expected !== found) {
      return { state: "damaged", folder, reason: `${path}: expected ${String(expected)} bytes, found ${found}` };
    }
  }
  return { state: "installed", folder, libraries: join(folder, build.libraries) };
}

/** What is said of a build that cannot be loaded: what was found, and the command that mends it. */
export function explainAbsence(
  build: LibtensorflowBuild,
  found: Exclude<LibtensorflowState, { readonly state: "installed" }>,
): { readonly found: string; readonly next: string } {
  const { title, command } = builds[build];
  const size = `${sizeText(downloadBytes(builds[build]))}, once for this user`;
  return found.state === "missing"
    ? { found: `${title} is not in ${found.folder}`, next: `run "${command}" to fetch it (${size})` }
    : { found: `${title} is damaged: ${found.reason}`, next: `run "${command}" to fetch it again (${size})` };
}
