/**
 * `npm run demo:survive`: a run on three ranks loses a worker, then its coordinator, then a fourth worker joins; it ends with the hash of a run that nobody
 * disturbed. About a minute, with data that is made up.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { chaosConfig as config, harness, runHarnessed, sayWithSeconds } from "./harnessed.mjs";
import { root } from "./run-process.mjs";

const say = sayWithSeconds(3);
await runHarnessed("demo:survive", say, demonstrate);

async function demonstrate(owner) {
  const { startSupervisedWorld } = await harness("chaos-world");
  const { succeed } = await harness("ringmaster");
  const { newestCheckpoint, checkpointFolder, sha256 } = await harness("run-files");
  const { until } = await harness("waiting");
  mkdirSync(join(root, "test", "runs"), { recursive: true });
  const runs = mkdtempSync(join(root, "test", "runs", "demo-"));
  owner.teardown(() => rmSync(runs, { recursive: true, force: true }));

  const args = ["--seats", "4"];
  say("ringmaster train on 3 ranks, 4 seats");
  const world = await startSupervisedWorld(owner, { config, runs, name: "harmed", ranks: 3, args });
  const { watch } = world;
  /** @returns the world, once it is this large, with or without whom it must be, and has stepped. */
  const onwards = async (what, isIt) => {
    const pids = await until(what, () => isIt(watch.world()) && watch.world());
    const before = watch.step();
    const step = await until("steps to go on", () => watch.step() > before && watch.step());
    say(`  step ${step} on ${pids.length} ranks (pids ${pids.join(", ")})`);
    return pids;
  };
  const before = await onwards("three ranks", (pids) => pids.length === 3);

  const [victim] = before;
  say(`kill -9 ${victim}, a rank: the others take its seats and do the step once more`);
  process.kill(victim, "SIGKILL");
  await until("a loss", () => watch.of("lost").length > 0);
  say(`  ${watch.of("lost").at(-1).message}`);
  await onwards("a world without it", (pids) => pids.length > 0 && !pids.includes(victim));
  say("  its supervisor starts another in its place");
  const whole = await onwards("three ranks again", (pids) => pids.length === 3 && !pids.includes(victim));

  const coordinator = world.coordinator();
  say(`kill -9 ${coordinator}, the coordinator: workers step on, the next goes on from its journal`);
  process.kill(coordinator, "SIGKILL");
  const successor = await until("another coordinator", () => {
    const pid = world.coordinator();
    return pid !== undefined && pid !== coordinator && pid;
  });
  say(`  pid ${successor} leads now`);
  const after = await onwards("three ranks", (pids) => pids.length === 3);
  say(`  the same workers: ${String(after) === String(whole) ? "yes" : "no"}`);

  say("a fourth worker joins: it copies the state from another and takes a seat over");
  await world.join();
  await onwards("four ranks", (pids) => pids.length === 4);

  say("Ctrl-C: the last step is saved");
  const [led] = await world.stop();
  if (led.code !== 130) throw new Error(`expected exit code 130, found ${led.code}: ${led.stderr}`);
  const step = newestCheckpoint(world.run);
  say(`once more to step ${step}, on one rank that nobody disturbs`);
  const calm = ["train", config, "--runs", runs, "--name", "undisturbed", "--ranks", "1", "--max-steps", String(step)];
  await succeed(owner, [...calm, ...args]);
  const hashes = [world.run, join(runs, "undisturbed")].map((run) =>
    sha256(join(checkpointFolder(run, step), "model.safetensors")),
  );
  for (const [index, hash] of hashes.entries()) say(`${hash} ${index === 0 ? "disturbed" : "undisturbed"}`);
  const isEqual = new Set(hashes).size === 1;
  say(isEqual ? "equal, bit for bit" : "NOT EQUAL");
  return isEqual ? 0 : 1;
}
