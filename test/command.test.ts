/** The command as the README gives it: `npx ringmaster`. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import t from "tap";

const repository = fileURLToPath(new URL("..", import.meta.url));
const run = promisify(execFile);

t.test("npx ringmaster is this repository's command line", async (t) => {
  const { stdout } = await run("npx", ["ringmaster", "--version"], { cwd: repository });
  t.match(stdout, /^\d+\.\d+\.\d+$/m);
});

t.test("its help names every command that the README does", async (t) => {
  const { stdout } = await run("npx", ["ringmaster", "--help"], { cwd: repository });
  for (const command of [
    "train",
    "resume",
    "evaluate",
    "predict",
    "coordinator",
    "worker",
    "doctor",
    "setup",
    "bench",
  ]) {
    t.match(stdout, new RegExp(`^  ${command}\\b`, "m"), command);
  }
});
