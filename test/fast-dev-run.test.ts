/** The quickest look at whether everything runs, and what comes out of a command for a person and for a program. */
import { join } from "node:path";
import t, { type Test } from "tap";
import { succeed } from "./harness/ringmaster.ts";
import { checkpointFolder, exampleConfig, learning, newestCheckpoint, sha256, workspace } from "./harness/run-files.ts";

const example = exampleConfig("train.config.ts");
const modelHash = (run: string) => sha256(join(checkpointFolder(run, newestCheckpoint(run)), "model.safetensors"));

/** Where nobody looks at a terminal there is nothing for one. */
function checkPlain(t: Test, { stdout, stderr }: { stdout: string; stderr: string }): void {
  t.notOk(stdout.includes("\u001b") || stderr.includes("\u001b"), "no escape codes");
  t.notOk(stdout.includes("\r") || stderr.includes("\r"), "no carriage returns");
}

for (const ranks of ["1", "2"]) {
  t.test(`--fast-dev-run with --ranks ${ranks} does a little of everything`, async (t) => {
    const runs = workspace(t);
    const ended = await succeed(t, ["train", example, "--runs", runs, "--ranks", ranks, "--fast-dev-run"]);
    const run = join(runs, "mnist");
    const kinds = learning(run).map(({ type, split, step }) => [split ?? type, step]);
    t.same(kinds, [
      ["step", 1],
      ["step", 2],
      ["step", 3],
      ["validation", 3],
      ["test", 3],
    ]);
    t.equal(newestCheckpoint(run), 3);
    t.match(ended.stdout, new RegExp(modelHash(run)), "the report has the hash of the trained parameters");
    checkPlain(t, ended);
  });

  t.test(
    `--json with --ranks ${ranks} prints one object and nothing else, and its command gives the same hash`,
    async (t) => {
      const runs = workspace(t);
      const args = ["train", example, "--runs", runs, "--ranks", ranks, "--fast-dev-run", "--json", "--set", "seed=5"];
      const ended = await succeed(t, args);
      checkPlain(t, ended);
      const lines = ended.stdout.split("\n");
      t.equal(lines.length, 2, "one line");
      t.equal(lines[1], "");
      const result: unknown = JSON.parse(lines[0] ?? "");
      const hash = modelHash(join(runs, "mnist"));
      t.match(result, { name: "mnist", steps: 3, exitCode: 0, parametersHash: hash, reproduce: String });
      t.match(result, { test: { loss: Number, accuracy: Number } });

      const [, again = ""] = /^npx ringmaster (.*)$/.exec(String(Reflect.get(Object(result), "reproduce"))) ?? [];
      const elsewhere = workspace(t);
      await succeed(t, again.split(" "), { cwd: elsewhere });
      t.equal(modelHash(join(elsewhere, "runs", "mnist")), hash, "the command that was printed reproduces it");
    },
  );
}
