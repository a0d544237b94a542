/**
 * What is done to a run: kills, stops, requests to leave, cut connections, joins. A schedule follows from a seed; whom a fault hits is drawn when it strikes,
 * from the same seed and those who live then.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { cutBetween } from "./chaos-links.ts";
import type { ChaosWorld } from "./chaos-world.ts";
import { signal } from "./processes.ts";
import { until } from "./waiting.ts";

/** Draws a whole number below `below`. */
export type Random = (below: number) => number;

/** mulberry32 (Tommy Ettinger, public domain). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** @returns what was done to whom, in words. */
type Fault = (world: ChaosWorld, random: Random) => Promise<string>;

const pick = <Item>(random: Random, items: readonly Item[]): Item => {
  const item = items[random(items.length)];
  if (item === undefined) throw new Error("there is nobody to harm");
  return item;
};

/** A rank, not a spare. */
const rank = (world: ChaosWorld, random: Random): number => {
  const living = world.workers();
  return pick(
    random,
    world.watch.world().filter((pid) => living.includes(pid)),
  );
};

const theCoordinator = (world: ChaosWorld): Promise<number> => until("a coordinator", () => world.coordinator());

const faults = {
  async "kill a rank"(world, random) {
    const pid = rank(world, random);
    signal(pid, "SIGKILL");
    return `rank with pid ${pid}`;
  },
  async "kill a worker"(world, random) {
    const pid = pick(random, world.workers());
    signal(pid, "SIGKILL");
    return `pid ${pid}`;
  },
  async "kill two workers"(world, random) {
    const first = pick(random, world.workers());
    const second = pick(
      random,
      world.workers().filter((pid) => pid !== first),
    );
    for (const pid of [first, second]) signal(pid, "SIGKILL");
    return `pids ${first} and ${second}`;
  },
  async "kill all workers"(world) {
    const all = world.workers();
    for (const pid of all) signal(pid, "SIGKILL");
    return `pids ${all.join(", ")}`;
  },
  async "kill the coordinator"(world) {
    const pid = await theCoordinator(world);
    signal(pid, "SIGKILL");
    return `pid ${pid}`;
  },
  async "kill the coordinator and a rank"(world, random) {
    const pids = [await theCoordinator(world), rank(world, random)];
    for (const pid of pids) signal(pid, "SIGKILL");
    return `pids ${pids.join(" and ")}`;
  },
  async "stop a rank until it is dropped"(world, random) {
    const pid = rank(world, random);
    signal(pid, "SIGSTOP");
    try {
      await until(`a world without pid ${pid}`, async () => {
        await world.mend();
        return !world.watch.world().includes(pid);
      });
    } finally {
      signal(pid, "SIGCONT");
    }
    return `pid ${pid}`;
  },
  async "stop a worker for a moment"(world, random) {
    const pid = pick(random, world.workers());
    const ms = 50 + random(900);
    signal(pid, "SIGSTOP");
    await sleep(ms);
    signal(pid, "SIGCONT");
    return `pid ${pid} for ${ms} ms`;
  },
  async "stop the coordinator for a moment"(world, random) {
    const pid = await theCoordinator(world);
    const ms = 200 + random(1500);
    signal(pid, "SIGSTOP");
    await sleep(ms);
    signal(pid, "SIGCONT");
    return `pid ${pid} for ${ms} ms`;
  },
  async "ask a worker to leave"(world, random) {
    const pid = pick(random, world.workers());
    signal(pid, "SIGTERM");
    // One that is still starting hears it late; it may not be here any more when the run ends.
    await until(`the end of pid ${pid}`, async () => {
      await world.mend();
      return !world.workers().includes(pid);
    });
    return `pid ${pid}`;
  },
  async "let a worker join"(world) {
    await world.join();
    return `pid ${world.workers().at(-1)}`;
  },
  async "cut a worker off its coordinator"(world, random) {
    const pid = pick(random, world.workers());
    const isCut = world.cutControl(pid) || cutBetween(await theCoordinator(world), pid) > 0;
    return isCut ? `pid ${pid}` : `pid ${pid} was not connected`;
  },
  async "cut all workers off their coordinator"(world) {
    const coordinator = await theCoordinator(world);
    const cut = world.workers().filter((pid) => world.cutControl(pid) || cutBetween(coordinator, pid) > 0);
    return `pids ${cut.join(", ")}`;
  },
  async "cut a link of the ring"(world, random) {
    const ranks = world.watch.world();
    const index = random(ranks.length);
    const pair = [ranks[index] ?? 0, ranks[(index + 1) % ranks.length] ?? 0] as const;
    return `${cutBetween(...pair)} connections between pids ${pair.join(" and ")}`;
  },
} as const satisfies Readonly<Record<string, Fault>>;

export type FaultName = keyof typeof faults;

/** How often each fault occurs in a deck; decks are shuffled one by one, so that every fault occurs early. */
export type Deck = Readonly<Partial<Record<FaultName, number>>>;

/** Where every process is started by hand. */
export const anyFault: Deck = {
  "kill a rank": 4,
  "kill a worker": 2,
  "kill two workers": 1,
  "kill all workers": 1,
  "kill the coordinator": 3,
  "kill the coordinator and a rank": 1,
  "stop a rank until it is dropped": 1,
  "stop a worker for a moment": 1,
  "stop the coordinator for a moment": 1,
  "ask a worker to leave": 2,
  "cut a worker off its coordinator": 2,
  "cut all workers off their coordinator": 1,
  "cut a link of the ring": 3,
  "let a worker join": 1,
};

/** Under a supervisor, which gives up what dies too often, and does not start again who left. */
export const supervisedFault: Deck = {
  "kill a rank": 4,
  "kill the coordinator": 2,
  "kill the coordinator and a rank": 1,
  "stop a rank until it is dropped": 1,
  "stop a worker for a moment": 1,
  "stop the coordinator for a moment": 1,
  "let a worker join": 2,
  "cut a link of the ring": 2,
};

export function schedule(random: Random, deck: Deck, count: number): FaultName[] {
  const names = (Object.keys(faults) as FaultName[]).flatMap((name) => Array<FaultName>(deck[name] ?? 0).fill(name));
  const drawn: FaultName[] = [];
  while (drawn.length < count && names.length > 0) {
    const left = [...names];
    while (left.length > 0) drawn.push(...left.splice(random(left.length), 1));
  }
  return drawn.slice(0, count);
}

export const strike = (name: FaultName, world: ChaosWorld, random: Random): Promise<string> =>
  faults[name](world, random);
