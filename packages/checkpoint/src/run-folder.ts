/** A run's folder: `RUNS/NAME/`, with `config.json` (the resolved config) and `checkpoints/`. Who writes the other files brings their names. */
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { flushFolder, makeFolders, writeFileAtomically } from "./atomic.ts";
import { canonicalJson, isPlainObject } from "./canonical-json.ts";
import { CheckpointError, systemCode, unreadable, unwritable } from "./checkpoint-error.ts";

const CONFIG_FILE = "config.json";
// One plain name: no separators, no leading dot or dash, nothing that a shell or another file system would read otherwise.
const RUN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/**
 * Makes the folder of a new run, `runsDir` included where it is missing.
 *
 * @returns the run folder's path
 * @throws CheckpointError `RUN_EXISTS`, `RUN_NAME_INVALID`, `UNWRITABLE`
 */
export async function createRunFolder(runsDir: string, name: string): Promise<string> {
  checkRunName(name);
  const runFolder = join(runsDir, name);
  try {
    await makeFolders(runsDir);
    await mkdir(runFolder);
    await mkdir(join(runFolder, "checkpoints"));
    await flushFolder(runFolder);
    await flushFolder(runsDir);
  } catch (error) {
    if (systemCode(error) === "EEXIST" && error instanceof Error && "path" in error && error.path === runFolder) {
      throw new CheckpointError(
        "RUN_EXISTS",
        `a run named ${name} is already at ${runFolder}: choose another name with --name, or go on with it by \`ringmaster resume ${runFolder}\``,
        { cause: error },
      );
    }
    throw unwritable("create", runFolder, error);
  }
  return runFolder;
}

/**
 * The first of base, base-2, base-3 … that is free. Another process may take it first: then createRunFolder says `RUN_EXISTS`.
 *
 * @throws CheckpointError `RUN_NAME_INVALID`, `UNREADABLE`
 */
export async function nextRunName(runsDir: string, base: string): Promise<string> {
  checkRunName(base);
  const entries = await readdir(runsDir).catch((error) => {
    if (systemCode(error) === "ENOENT") return [];
    throw unreadable(runsDir, error);
  });
  const taken = new Set(entries);
  if (!taken.has(base)) return base;
  let number = 2;
  while (taken.has(`${base}-${number}`)) number++;
  return `${base}-${number}`;
}

/**
 * Writes `config.json` (canonical, atomically).
 *
 * @throws CheckpointError `JSON_INVALID`, `UNWRITABLE`
 */
export async function writeConfig(runFolder: string, config: Readonly<Record<string, unknown>>): Promise<void> {
  await writeFileAtomically(join(runFolder, CONFIG_FILE), new TextEncoder().encode(canonicalJson(config)));
}

/**
 * Reads `config.json`; what is in the object, its reader checks.
 *
 * @throws CheckpointError `CONFIG_MISSING`, `CONFIG_INVALID`, `UNREADABLE`
 */
export async function readConfig(runFolder: string): Promise<Record<string, unknown>> {
  const path = join(runFolder, CONFIG_FILE);
  const text = await readFile(path, "utf8").catch((error) => {
    if (systemCode(error) === "ENOENT") {
      throw new CheckpointError(
        "CONFIG_MISSING",
        `${path} is not there: ${runFolder} is no run folder; give the path of one`,
      );
    }
    throw unreadable(path, error);
  });
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    throw new CheckpointError(
      "CONFIG_INVALID",
      `expected JSON in ${path}, found text that is none (${problem}): repair it or restore it from a copy`,
      {
        cause: error,
      },
    );
  }
  if (isPlainObject(config)) return config;
  const found = config === null ? "null" : Array.isArray(config) ? "an array" : `a ${typeof config}`;
  throw new CheckpointError(
    "CONFIG_INVALID",
    `expected a JSON object in ${path}, found ${found}: repair it or restore it from a copy`,
  );
}

function checkRunName(name: string): void {
  if (RUN_NAME.test(name)) return;
  throw new CheckpointError(
    "RUN_NAME_INVALID",
    `expected a run's name of 1 to 100 letters, digits, ".", "_" or "-", the first a letter or digit, found ${JSON.stringify(name)}: choose another with --name, and the folder around it with --runs`,
  );
}
