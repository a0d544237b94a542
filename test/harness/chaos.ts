/**
 * Harms a run again and again while it trains. No fault waits for a time: each waits until the run has got over the one before, which is when the world
 * consists of processes that live and steps have gone on since.
 */
import { type Deck, type FaultName, type Random, schedule, seeded, strike } from "./chaos-faults.ts";
import type { ChaosWorld } from "./chaos-world.ts";
import { checkpointSteps } from "./run-files.ts";
import { until } from "./waiting.ts";

export interface Chaos {
  readonly seed: number;
  readonly deck: Deck;
  readonly faults: number;
  readonly say: (line: string) => void;
  /** Ends it early. */
  readonly isOver?: () => boolean;
}

/** @returns the faults that struck, and a step that was on disk after the last of them. */
export async function disturb(world: ChaosWorld, chaos: Chaos): Promise<{ struck: FaultName[]; step: number }> {
  const { seed, deck, faults, say, isOver = () => false } = chaos;
  const random = seeded(seed);
  const planned = schedule(random, deck, faults);
  say(`seed ${seed}: ${planned.join("; ")}`);
  const struck: FaultName[] = [];
  let step = await goneOn(world);
  for (const name of planned) {
    if (isOver()) break;
    await canLoseOne(world);
    const done = await strike(name, world, random as Random);
    struck.push(name);
    step = await goneOn(world);
    say(`${struck.length} of ${faults}: ${name} (${done}); step ${step} on ${world.watch.world().length} ranks`);
  }
  return { struck, step };
}

/**
 * Rows are written in batches, so the first new one may tell of steps from before; those of the second batch are new.
 * @returns the last step on disk
 */
async function goneOn(world: ChaosWorld): Promise<number> {
  let before = world.watch.step();
  for (let batch = 0; batch < 2; batch++) {
    before = await until("steps to go on", async () => {
      await world.mend();
      const step = world.watch.step();
      const living = world.workers();
      const isWhole = world.watch.world().every((pid) => living.includes(pid));
      return step !== before && isWhole && step;
    });
  }
  return before;
}

/** Two ranks, so that one is left that has the state. */
async function canLoseOne(world: ChaosWorld): Promise<void> {
  await until("two ranks", async () => {
    await world.mend();
    return world.watch.world().length > 1;
  });
}

/** The newest step that both runs have a checkpoint of. */
export function commonCheckpoint(run: string, other: string): number {
  const others = checkpointSteps(other);
  const step = checkpointSteps(run).findLast((each) => others.includes(each));
  if (step === undefined) throw new Error(`${run} and ${other} have no checkpoint of the same step`);
  return step;
}
