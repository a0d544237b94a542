/** The command as the README gives it: `npx ringmaster`. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import t from "tap";
import { workspaceFolder } from "./harness/workspace-folder.ts";

const run = promisify(execFile);

t.test("npx ringmaster is this repository's command line", async (t) => {
  const { stdout } = await run("npx", ["ringmaster", "--version"], { cwd: workspaceFolder });
  t.match(stdout, /^\d+\.\d+\.\d+$/m);
});

t.test("its help names every command that the README does", async (t) => {
  const { stdout } = await run("npx", ["ringmaster", "--help"], { cwd: workspaceFolder });
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
