import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readdirSync, renameSync, rmSync, watch } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import t from "tap";
import { openCheckpoints } from "../src/index.ts";
import { deadPid } from "./fixtures/dead-pid.ts";
import { smallCheckpoint } from "./fixtures/small-checkpoint.ts";

const dead = deadPid();

/** What a dead writer can leave behind: step 10 is durable, step 20 was being written, replaced or deleted. */
const crashes: [where: string, leave: (at: (name: string) => string) => void, newest: number][] = [
  [
    "before its first file",
    (at) => {
      rmSync(at("step-00000020"), { recursive: true });
      mkdirSync(at(`.step-00000020.tmp-${dead}-0`));
    },
    10,
  ],
  [
    "between two files",
    (at) => {
      cpSync(at("step-00000020"), at(`.step-00000020.tmp-${dead}-0`), { recursive: true });
      rmSync(join(at(`.step-00000020.tmp-${dead}-0`), "run.json"));
      rmSync(at("step-00000020"), { recursive: true });
    },
    10,
  ],
  ["before the rename", (at) => renameSync(at("step-00000020"), at(`.step-00000020.tmp-${dead}-0`)), 10],
  [
    "after setting the former one aside",
    (at) => {
      cpSync(at("step-00000020"), at(`.step-00000020.tmp-${dead}-0`), { recursive: true });
      renameSync(at("step-00000020"), at(`.step-00000020.old-${dead}-1`));
    },
    20,
  ],
  [
    "before removing the former one",
    (at) => cpSync(at("step-00000020"), at(`.step-00000020.old-${dead}-1`), { recursive: true }),
    20,
  ],
  [
    "while deleting",
    (at) => {
      renameSync(at("step-00000020"), at(`.step-00000020.gone-${dead}-0`));
      rmSync(join(at(`.step-00000020.gone-${dead}-0`), "model.safetensors"));
    },
    10,
  ],
];

for (const [where, leave, newest] of crashes) {
  t.test(`a writer that died ${where} costs no durable checkpoint, and the next save cleans up`, async (t) => {
    const run = t.testdir();
    const writer = openCheckpoints(run);
    for (const step of [10, 20]) await writer.save(smallCheckpoint(step));
    leave((name) => join(run, "checkpoints", name));
    const store = openCheckpoints(run);
    const { checkpoint, rejected } = await store.loadNewest();
    t.equal(checkpoint?.step, newest);
    t.same(rejected, []);
    await store.save(smallCheckpoint(30));
    const names = readdirSync(join(run, "checkpoints"));
    t.same(
      names.filter((name) => !name.startsWith("step-")),
      [],
    );
    t.equal((await store.loadNewest()).checkpoint?.step, 30);
  });
}

t.test("a folder written by other means and left half done is passed over", async (t) => {
  const run = t.testdir();
  const store = openCheckpoints(run);
  await store.save(smallCheckpoint(10));
  mkdirSync(join(run, "checkpoints", "step-00000020"));
  const { checkpoint, rejected } = await store.loadNewest();
  t.equal(checkpoint?.step, 10);
  t.match(rejected, [{ step: 20, reason: /run\.json is damaged: expected a file, found none/ }]);
});

/**
 * Starts a writer, kills it when a name that starts so appears or goes in its folder, and returns the last step that it called durable. A kill that follows
 * a line of its output would always come too early: the writer is then about to write, not writing.
 */
async function killWriter(run: string, prefix: string): Promise<{ durable: number; seen: boolean }> {
  const script = fileURLToPath(new URL("./fixtures/saves-until-killed.js", import.meta.url));
  const writer = spawn(process.execPath, [script, run], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(writer, "exit");
  let durable = 0;
  let seen = false;
  const watcher = watch(join(run, "checkpoints"), (_event, name) => {
    if (!name?.startsWith(prefix)) return;
    seen = true;
    writer.kill("SIGKILL");
  });
  for await (const line of createInterface({ input: writer.stdout })) {
    durable = Number(line);
    if (durable === 50) writer.kill("SIGKILL");
  }
  await exited;
  watcher.close();
  return { durable, seen };
}

t.test("a writer killed at any moment never costs a checkpoint that it called durable", async (t) => {
  const root = t.testdir();
  const moments = {
    "while it writes": ".step-00000004.tmp-",
    "when a new one is in place": "step-00000004",
    "while it replaces": ".step-00000004.old-",
    "while it deletes": ".step-00000002.gone-",
  };
  const kills = Object.entries(moments).map(async ([when, prefix]) => {
    const run = join(root, when);
    mkdirSync(join(run, "checkpoints"), { recursive: true });
    const { durable, seen } = await killWriter(run, prefix);
    t.ok(seen, `${when}: ${prefix} was seen`);
    const { checkpoint, rejected } = await openCheckpoints(run).loadNewest();
    t.ok((checkpoint?.step ?? 0) >= durable, `${when}: step ${checkpoint?.step} of ${durable}`);
    t.same(rejected, [], when);
  });
  await Promise.all(kills);
});
