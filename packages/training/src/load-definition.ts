import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { types } from "node:util";
import { cacheFolder } from "@ringmaster/backend";
import { createJiti } from "jiti";
import { parseDefinition, type TrainingDefinition } from "./definition.ts";
import { TrainingError } from "./training-error.ts";

export interface LoadedDefinition {
  readonly definition: TrainingDefinition;
  /** Absolute. */
  readonly path: string;
  /** The run's name if the config gives none. */
  readonly defaultName: string;
  /** SHA-256 of the config module's text. */
  readonly hash: string;
}

export interface Override {
  /** Dotted path to a field, e.g. "optimizer.learningRate". */
  readonly path: string;
  readonly value: unknown;
}

/**
 * Loads a config module, TypeScript or JavaScript, and checks it. Functions do not travel between threads, so each thread loads it itself.
 * @throws TrainingError CONFIG_MISSING, CONFIG_BROKEN (it does not parse, or throws while it is loaded), CONFIG_INVALID
 */
export async function loadDefinition(file: string, overrides: readonly Override[] = []): Promise<LoadedDefinition> {
  const path = resolve(file);
  const found = !existsSync(path) ? "nothing" : statSync(path).isDirectory() ? "a folder" : undefined;
  if (found) throw new TrainingError("CONFIG_MISSING", `expected a config file, found ${found} at ${path}`);
  const text = readFileSync(path);
  // The user's `ringmaster` must be this very one: a second instance would have a second tfjs with another backend.
  const jiti = createJiti(import.meta.url, {
    nativeModules: ["ringmaster", "@tensorflow/tfjs"],
    // Every thread of every rank loads it; without a cache each would load a compiler first.
    fsCache: join(cacheFolder(), "configs"),
    moduleCache: false,
  });
  let exported: unknown;
  try {
    exported = await jiti.import(path, { default: true });
  } catch (error) {
    throw new TrainingError("CONFIG_BROKEN", `${path}: could not be loaded: ${inOneLine(error)}`, { cause: error });
  }
  checkHasDefault(exported, path);
  const isObject = typeof exported === "object" && exported !== null;
  const changed = isObject ? overrides.reduce<unknown>(applyOverride, exported) : exported;
  return {
    definition: parseDefinition(changed, file),
    path,
    defaultName: basename(path).replace(/(\.config)?\.[cm]?[jt]s$/, "") || "run",
    hash: createHash("sha256").update(text).digest("hex"),
  };
}

function applyOverride(target: unknown, { path, value }: Override): unknown {
  const [field = "", ...rest] = path.split(".");
  const object = typeof target === "object" && target !== null ? target : {};
  const inner = rest.length === 0 ? value : applyOverride(Reflect.get(object, field), { path: rest.join("."), value });
  return { ...object, [field]: inner };
}

/** jiti hands over the module itself where it exports no default. */
function checkHasDefault(exported: unknown, path: string): void {
  if (typeof exported !== "object" || exported === null) return;
  if (!types.isModuleNamespaceObject(exported) && Reflect.get(exported, "__esModule") !== true) return;
  const names = Object.keys(exported).filter((name) => name !== "__esModule");
  const found = names.length === 0 ? "no exports" : `only: ${names.join(", ")}`;
  const expected = "a default export (export default defineTraining({ ... }))";
  throw new TrainingError("CONFIG_INVALID", `${path}: expected ${expected}, found ${found}`);
}

/** An error's first line, and of a parser's the second too: the place. */
function inOneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  return lines.slice(0, text.includes("ParseError") ? 2 : 1).join(" ") || "unknown error";
}
