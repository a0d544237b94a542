/** Whole runs in any order of events, with whatever faults: they end well, and every step is committed once, in order. */
import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { SimulatedWorld } from "./fixtures/simulated-world.ts";

const steps = 20;
const faults = ["kill", "disconnect", "link", "leave", "join", "restart"] as const;
type Fault = (typeof faults)[number];

/** One turn: who has it, by index into whoever is there, and what happens. */
const turn = fc.record({ who: fc.nat(7), what: fc.nat(11) });
const schedule = fc.record({
  ranks: fc.integer({ min: 1, max: 4 }),
  turns: fc.array(turn, { minLength: 20, maxLength: 300 }),
  faults: fc.array(fc.record({ at: fc.nat(150), who: fc.nat(7), fault: fc.constantFrom<Fault>(...faults) }), {
    maxLength: 5,
  }),
});

function suffer(world: SimulatedWorld, fault: Fault, who: number): void {
  const rank = world.ranks[who % Math.max(1, world.ranks.length)];
  if (fault === "join") return world.newRank();
  if (fault === "restart") return world.restart(who % 4);
  if (!rank) return;
  if (fault === "kill") {
    world.kill(rank);
    // Whoever runs the workers starts another.
    return world.newRank();
  }
  if (fault === "disconnect") return world.disconnect(rank);
  if (fault === "link") return world.loseLink(rank);
  world.leave(rank);
  world.newRank();
}

function take(world: SimulatedWorld, { who, what }: { who: number; what: number }): void {
  const rank = world.ranks[who % Math.max(1, world.ranks.length)];
  if (what === 0) return void world.flush();
  if (what === 1) return void world.receiveState();
  if (what === 2) return void world.save();
  if (what === 3) return world.tick(50);
  if (!rank) return;
  if (what === 4) return void world.dial(rank);
  if (what < 7) return void world.deliverToCore(rank);
  if (what < 9) return void world.deliverToRank(rank);
  world.work(rank);
}

/** From here on nothing fails, and everybody has turns until the run ends. */
function settle(world: SimulatedWorld): void {
  for (let round = 0; round < 2000 && !world.end; round++) {
    world.flush();
    world.receiveState();
    world.save();
    for (const rank of [...world.ranks]) {
      world.dial(rank);
      while (world.deliverToCore(rank));
      while (world.deliverToRank(rank));
      world.work(rank);
    }
    world.tick(50);
  }
}

const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

t.test(
  "a run ends well whatever happens to its workers, links and coordinators, each step committed once",
  async (t) => {
    fc.assert(
      fc.property(schedule, ({ ranks, turns, faults }) => {
        const world = new SimulatedWorld(ranks, steps);
        for (const [index, each] of turns.entries()) {
          for (const { at, who, fault } of faults) if (at === index && !world.end) suffer(world, fault, who);
          take(world, each);
        }
        settle(world);
        // Where all were asked to leave at one time, the run is stopped in order.
        const mayStop = faults.some(({ fault }) => fault === "leave");
        assert.match(world.end?.code ?? "it did not end", mayStop ? /^(FINISHED|STOPPED)$/ : /^FINISHED$/);
        assert.deepEqual(world.committed, upTo(world.end?.code === "FINISHED" ? steps : world.committed.length));
      }),
      { numRuns: 600 },
    );
    t.pass();
  },
);

t.test("a stop ends a run whatever happens meanwhile, with all that was committed on disk", async (t) => {
  fc.assert(
    fc.property(schedule, fc.nat(150), ({ ranks, turns, faults }, stopAt) => {
      const world = new SimulatedWorld(ranks, steps);
      for (const [index, each] of turns.entries()) {
        for (const { at, who, fault } of faults) if (at === index && !world.end) suffer(world, fault, who);
        if (index === stopAt && !world.end) world.stop();
        take(world, each);
      }
      // A coordinator that dies may take a stop with it; and one may come too late.
      const isForgotten = faults.some(({ at, fault }) => fault === "restart" && at > stopAt);
      const isEarly = world.ranks.every(({ step }) => step < steps - 2) && turns.length > stopAt && !isForgotten;
      settle(world);
      assert.match(world.end?.code ?? "it did not end", isEarly ? /^STOPPED$/ : /^(STOPPED|FINISHED)$/);
      assert.deepEqual(world.committed, upTo(world.committed.length));
    }),
    { numRuns: 600 },
  );
  t.pass();
});
