/** A run over commands that were started by hand, as over several machines: who is let in, who is not, and that nobody who is not disturbs it. */
import { createHash } from "node:crypto";
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type ByHand, startByHand, startWorker } from "./harness/by-hand.ts";
import { holdOpen, knock, noise, sayInside, writeRaw } from "./harness/hostile.ts";
import { checkCode, checkNoStackTrace, start, succeed } from "./harness/ringmaster.ts";
import { checkpoint, learning, smallConfig, workspace } from "./harness/run-files.ts";
import { set, upTo } from "./harness/runs.ts";

const runs = workspace(t);
const steps = 60;
const length = [...set("epochs", 100), ...upTo(steps), "--seats", "2"];
const coordinatorArgs = (name: string, ...more: string[]) => ["--runs", runs, "--name", name, ...length, ...more];

t.before(() => succeed(t, ["train", smallConfig, "--runs", runs, "--name", "reference", "--ranks", "1", ...length]));

/** All have ended well, and the run learnt what it learns on one rank. */
async function endsUndisturbed(t: Test, { coordinator, workers }: ByHand, name: string): Promise<void> {
  const ends = await Promise.all([coordinator, ...workers].map((launch) => launch.ended));
  for (const ended of ends) {
    checkCode(t, ended, 0);
    checkNoStackTrace(t, ended);
  }
  t.same(checkpoint(join(runs, name), steps), checkpoint(join(runs, "reference"), steps), "the same bits");
  t.same(learning(join(runs, name)), learning(join(runs, "reference")), "the same metrics in the same order");
}

t.test("the command that a coordinator prints starts a worker", async (t) => {
  const coordinator = start(t, [
    "coordinator",
    smallConfig,
    "--ranks",
    "1",
    "--port",
    "0",
    ...coordinatorArgs("printed"),
  ]);
  const [, token = "", args = ""] = await coordinator.line(/RINGMASTER_TOKEN=(\S+) npx ringmaster (worker .*)$/);
  const worker = start(t, args.trim().split(" "), { env: { RINGMASTER_TOKEN: token } });
  await endsUndisturbed(t, { coordinator, workers: [worker], url: "", token }, "printed");
});

t.test("a coordinator and two workers, each started by hand, train the bits of one rank", async (t) => {
  const hands = await startByHand(t, smallConfig, { ranks: 2, args: coordinatorArgs("by-hand") });
  for (const launch of [hands.coordinator, ...hands.workers]) {
    for (const { command } of launch.processes())
      t.notOk(command.join(" ").includes(hands.token), "on no command line");
  }
  await endsUndisturbed(t, hands, "by-hand");

  // The run's secret is for those who were given it, not for whoever may read its files.
  const files = readdirSync(join(runs, "by-hand"), { recursive: true, withFileTypes: true }).filter((file) =>
    file.isFile(),
  );
  for (const file of files) {
    t.notOk(readFileSync(join(file.parentPath, file.name)).includes(hands.token), `not in ${file.name}`);
  }
});

t.test("a worker whose config file differs is refused with both hashes, and the right ones train", async (t) => {
  const other = join(runs, "other.config.ts");
  writeFileSync(other, `${readFileSync(smallConfig, "utf8")}\n// Nearly the same.\n`);
  const hashOf = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex").slice(0, 12);
  const hands = await startByHand(t, smallConfig, { ranks: 2, workers: 1, args: coordinatorArgs("differs") });
  await hands.coordinator.line(/^worker 1 of 2 joined/);
  const { code, stderr } = await startWorker(t, other, hands).ended;
  t.equal(code, 1);
  t.match(stderr, /CONFIG_DIFFERS/);
  for (const file of [smallConfig, other]) {
    t.match(stderr, new RegExp(hashOf(file)), "the worker names the hash");
    t.match(hands.coordinator.stderr(), new RegExp(`refused .*${hashOf(file)}`), "the coordinator names the hash");
  }
  const copy = join(runs, "copy.config.ts");
  copyFileSync(smallConfig, copy);
  const right = startWorker(t, copy, hands);
  await endsUndisturbed(t, { ...hands, workers: [...hands.workers, right] }, "differs");
});

t.test("a worker more than there are seats waits as a spare, and the run goes on", async (t) => {
  const endless = ["--runs", runs, "--name", "full", ...set("epochs", 1_000_000), "--seats", "2"];
  const { coordinator, workers, ...door } = await startByHand(t, smallConfig, { ranks: 2, args: endless });
  await coordinator.line(/: preparing/);
  const spare = startWorker(t, smallConfig, door);
  await coordinator.line(/^another worker joined/);
  await coordinator.line(/^epoch /);
  coordinator.interrupt();
  checkCode(t, await coordinator.ended, 130);
  for (const worker of [...workers, spare]) checkCode(t, await worker.ended, 0);
  t.notMatch(spare.stderr(), /seated/, "it had nothing to do");
});

t.test("hostile peers do not disturb a run", async (t) => {
  const hands = await startByHand(t, smallConfig, { ranks: 2, workers: 1, args: coordinatorArgs("hostile") });
  const { coordinator } = hands;
  await coordinator.line(/^worker 1 of 2 joined/);

  // The same before the run begins and while it steps.
  const attack = async (t: Test) => {
    const idle = holdOpen(hands);
    const statuses = await Promise.all([
      knock(hands, undefined),
      knock(hands, `${hands.token}x`),
      knock(hands, ""),
      knock(hands, hands.token, "/elsewhere"),
    ]);
    t.same(statuses, [401, 401, 401, 404], "no token, no entry");
    t.notMatch(await writeRaw(hands, noise(4096)), /101 Switching/, "noise on a bare socket");
    t.match(await writeRaw(hands, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"), /^HTTP\/1\.1 426/);
    t.match(await sayInside(hands, noise(100)), /^(4000|100[23]) .*\w/, "noise from one who knows the token");
    t.match(await sayInside(hands, "hello"), /^(4000|1003) .*\w/, "text from one who knows the token");
    t.match(await sayInside(hands, new Uint8Array(9 * 2 ** 20)), /^(4000|1009|1006)/, "a message that is too large");
    t.match(await sayInside(hands, Uint8Array.of(0x81, 0xa4, 0x74, 0x79, 0x70, 0x65, 0xa1, 0x78)), /^4000 .*\w/);
    idle.close();
  };
  await attack(t);
  const second = startWorker(t, smallConfig, hands);
  await coordinator.line(/step +1\//);
  await attack(t);
  t.match(coordinator.stderr(), /refused .*: wrong token/, "it is said who was refused, and why");
  await endsUndisturbed(t, { ...hands, workers: [...hands.workers, second] }, "hostile");
});
