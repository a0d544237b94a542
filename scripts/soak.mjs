/**
 * `npm run soak [-- --kills N --minutes M --seed S]`: rounds of a run each, whose processes are killed, stopped, cut off and joined until so many faults have
 * struck or so many minutes are over, whichever comes first. Each round ends with the hashes of its checkpoint and of an undisturbed run's, which must be
 * equal. One that fails leaves its folder, and says its seed. Default: 200 faults, 30 minutes, a seed of the clock's.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chaosConfig as config, harness, runHarnessed, sayWithSeconds } from "./harnessed.mjs";
import { root } from "./run-process.mjs";

const faultsInRound = 50;
const workers = 5;
const trainSamples = 2011;

const { values } = parseArgs({
  options: { kills: { type: "string" }, minutes: { type: "string" }, seed: { type: "string" } },
});
const kills = Number(values.kills ?? 200);
const minutes = Number(values.minutes ?? 30);
const firstSeed = Number(values.seed ?? Date.now() % 2 ** 31);
for (const [name, value] of Object.entries({ kills, minutes, seed: firstSeed })) {
  if (Number.isFinite(value) && value >= 0) continue;
  console.error(`soak: expected a number as --${name}, found ${values[name]}`);
  process.exit(2);
}

const say = sayWithSeconds(5);
const startedMs = performance.now();
const isOver = () => performance.now() - startedMs > minutes * 60_000;

await runHarnessed("soak", say, soak);

async function soak(owner, cleanUp) {
  let struck = 0;
  for (let seed = firstSeed; struck < kills && !isOver(); seed++) {
    mkdirSync(join(root, "test", "runs"), { recursive: true });
    const folder = mkdtempSync(join(root, "test", "runs", "soak-"));
    try {
      struck += await round(owner, folder, seed, Math.min(faultsInRound, kills - struck));
    } catch (error) {
      console.error(error);
      say(`FAILED with --seed ${seed}; what the run left is in ${folder}`);
      return 1;
    } finally {
      await cleanUp();
    }
    rmSync(folder, { recursive: true, force: true });
  }
  say(`${struck} faults, and every hash was that of an undisturbed run`);
  return 0;
}

/** @returns how many faults struck. */
async function round(owner, folder, seed, faults) {
  const { disturb } = await harness("chaos");
  const { anyFault } = await harness("chaos-faults");
  const { checkLedger } = await harness("chaos-ledger");
  const { canCutLinks } = await harness("chaos-links");
  const { startWorldByHand } = await harness("chaos-world");
  const { succeed } = await harness("ringmaster");
  const { checkpoint, checkpointFolder, newestCheckpoint, sha256 } = await harness("run-files");
  const deck = (await canCutLinks()) ? anyFault : { ...anyFault, "cut a link of the ring": 0 };
  const options = { config, runs: folder, name: "harmed", ranks: 3, args: [] };
  const world = await startWorldByHand(owner, options, workers);
  const { struck } = await disturb(world, { seed, deck, faults, say, isOver });
  const [led] = await world.stop();
  assert.equal(led.code, 130, led.stderr);
  const steps = checkLedger(
    { same: (found, wanted, what) => assert.deepEqual(found, wanted, what) },
    world.run,
    trainSamples,
  );
  const step = newestCheckpoint(world.run);
  assert.equal(step, steps, "the last step is saved");

  say(`${steps} steps, each once with its own samples; now undisturbed to step ${step}`);
  const calm = ["--runs", folder, "--name", "undisturbed", "--ranks", "1", "--seats", "4", "--max-steps", String(step)];
  await succeed(owner, ["train", config, ...calm], { mostMs: 3_600_000 });
  const undisturbed = join(folder, "undisturbed");
  for (const [run, what] of [
    [world.run, `after ${struck.length} faults`],
    [undisturbed, "undisturbed"],
  ]) {
    say(`${sha256(join(checkpointFolder(run, step), "model.safetensors"))} ${what}`);
  }
  assert.deepEqual(checkpoint(world.run, step), checkpoint(undisturbed, step));
  return struck.length;
}
