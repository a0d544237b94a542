import { join } from "node:path";
import { listenTo, root } from "./run-process.mjs";

export const exampleConfig = join(root, "examples", "mnist", "train.config.ts");
export const exampleSteps = 20;

/**
 * Trains the MNIST example for a few steps on a backend, with fixed seats so that every machine with the same numerics ends with the same bits.
 * `command` and `args` are a command line up to Ringmaster's own arguments. @returns `{ hash, seconds, lines }`; `hash` is undefined
 * where training failed, and `lines` says why.
 */
export async function trainExample(
  command,
  args,
  { config = exampleConfig, runs, cwd = root, env = process.env, backend },
) {
  const shape = ["--seats", "2", "--threads", "2", "--max-steps", String(exampleSteps)];
  const options = [...shape, "--backend", backend, "--runs", runs, "--json"];
  const { code, seconds, lines } = await listenTo(command, [...args, "train", config, ...options], { cwd, env });
  const result = lines.find((line) => line.startsWith("{") && line.includes('"parametersHash"'));
  return { hash: code === 0 && result ? JSON.parse(result).parametersHash : undefined, seconds, lines };
}
