import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
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
  if (!existsSync(path)) throw new TrainingError("CONFIG_MISSING", `expected a config file, found nothing at ${path}`);
  const text = readFileSync(path);
  // The user's `ringmaster` must be this very one: a second instance would have a second tfjs with another backend.
  const jiti = createJiti(import.meta.url, {
    nativeModules: ["ringmaster", "@tensorflow/tfjs"],
    fsCache: false,
    moduleCache: false,
  });
  let exported: unknown;
  try {
    exported = await jiti.import(path, { default: true });
  } catch (error) {
    throw new TrainingError("CONFIG_BROKEN", `${path}: could not be loaded: ${firstLine(error)}`, { cause: error });
  }
  const changed = overrides.reduce(applyOverride, exported);
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

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n").find((line) => line.trim() !== "") ?? "unknown error";
}
