/** What `soak` and `demo:survive` share: a built workspace, the end-to-end tests' harness, and nothing left behind, however it ends. */
import { join } from "node:path";
import { root } from "./run-process.mjs";
import { buildPackages, explain, installLibtensorflow, installPackages, requireNode } from "./setup-steps.mjs";

export const chaosConfig = join(root, "test", "configs", "chaos.config.ts");

/** A module of the built harness. */
export const harness = (name) => import(join(root, "test", "dist", "harness", `${name}.js`));

/** Says a line with the seconds since the start, in so many places. */
export function sayWithSeconds(places) {
  const startedMs = performance.now();
  return (line) => console.log(`[${((performance.now() - startedMs) / 1000).toFixed(0).padStart(places)} s] ${line}`);
}

/**
 * Sets up what is missing, and runs `main` to its exit code. `owner` is what the harness takes for a test; what it has to clean up is cleaned up by `cleanUp`, and when
 * this process ends.
 */
export async function runHarnessed(name, say, main) {
  const cleanups = [];
  const owner = { teardown: (clean) => cleanups.push(clean) };
  const cleanUp = async () => {
    for (const clean of cleanups.splice(0).reverse()) await clean();
  };
  for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143 })) {
    process.once(signal, () => cleanUp().finally(() => process.exit(code)));
  }
  try {
    requireNode();
    await installPackages(say);
    await buildPackages(say, { everything: true });
    await installLibtensorflow();
    process.exitCode = await main(owner, cleanUp);
  } catch (error) {
    process.exitCode = explain(error, name);
  } finally {
    await cleanUp();
  }
}
