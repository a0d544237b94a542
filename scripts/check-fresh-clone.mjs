/**
 * `npm run check:fresh-clone`: what a newcomer sees. Clones this repository's last commit into a temporary folder, with an empty home and so
 * with empty caches, runs the quickstart there, says how long it took, and removes everything. Further arguments go to the quickstart.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newcomersEnvironment } from "./newcomers-environment.mjs";
import { handOver, listenTo, root } from "./run-process.mjs";

const folder = mkdtempSync(join(tmpdir(), "fresh-clone-"));
const [home, clone] = [join(folder, "home"), join(folder, "clone")];
const timed = async (name, run) => {
  const startedMs = performance.now();
  const code = await run();
  console.log(`fresh clone: ${name}: exit code ${code} after ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  return code;
};

try {
  mkdirSync(home);
  const { lines: changes } = await listenTo("git", ["status", "--porcelain"]);
  if (changes.length > 0)
    console.log(`fresh clone: ${changes.length} changed files are not committed and so not in the clone`);
  const env = { ...newcomersEnvironment({ keepCaches: false }), HOME: home };
  const code = await timed("git clone", () => handOver("git", ["clone", "--quiet", root, clone], { env }));
  process.exitCode =
    code ||
    (await timed("quickstart", () =>
      handOver("npm", ["run", "quickstart", "--", ...process.argv.slice(2)], { cwd: clone, env }),
    ));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
