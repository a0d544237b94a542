/** Schedules that broke designs like this one, or might: each is a test of its own. Times are virtual. */
import type { RunEvent } from "@ringmaster/coordinator";
import t from "tap";
import type { Fault, World, WorldEvent, WorldSettings } from "../src/index.ts";
import { heldMs, moments, play, steady } from "./fixtures/play.ts";

const good = { violations: [], code: "FINISHED" };

/** With four, a rank may be no neighbour of one that dies, and hold what they do not. */
const four = { ...steady, ranks: 4, seats: 4 };

type Performed = Extract<WorldEvent, { type: "worker" }>;

/** What a rank holds when it is asked, by generation. */
function standings() {
  const held = new Map<number, Map<number, number>>();
  const watch = (event: WorldEvent) => {
    if (event.type !== "worker" || event.effect.type !== "send" || event.effect.message.type !== "WorkerRegrouped")
      return;
    const { generation, step } = event.effect.message;
    const first = held.get(generation) ?? new Map<number, number>();
    held.set(generation, first);
    if (!first.has(event.worker)) first.set(event.worker, step);
  };
  return { watch, of: (generation: number) => [...(held.get(generation)?.values() ?? [])] };
}

t.test("a peer that dies at any moment of a reduction costs no step, whoever holds it by then", async (t) => {
  const { first, last } = heldMs(four, 3);
  let divided = 0;
  for (const atMs of moments(first - 5, last + 1, 60)) {
    const { watch, of } = standings();
    const { violations, end } = play({
      settings: four,
      faults: [{ atMs, kind: "kill", worker: 1, restartMs: null }],
      onEvent: (_, event) => watch(event),
    });
    t.same({ violations, code: end?.code }, good, `killed at ${atMs} ms`);
    if (new Set(of(2)).size > 1) divided++;
  }
  t.ok(divided > 0, "in some of them one survivor holds the step and the other does not");
});

for (const kind of ["opened", "proceeding"] as const) {
  t.test(`a coordinator killed between recording "${kind}" and telling anybody is asked nothing twice`, async (t) => {
    const { violations, end, world } = play({
      settings: steady,
      faults: [{ atMs: 400, kind: "kill", worker: 2, restartMs: null }],
      onEvent: killCoordinatorOnce(
        (event) =>
          event.type === "recorded" && event.contents.record?.kind === kind && event.contents.record.generation === 2,
      ),
    });
    t.same({ violations, code: end?.code }, good);
    t.equal(world.coordinator?.epoch, 2);
  });

  t.test(`a coordinator killed when one rank has heard of "${kind}" and the others have not`, async (t) => {
    const word = kind === "opened" ? "CoordinatorRegroup" : "CoordinatorProceed";
    let told = 0;
    const { violations, end, world } = play({
      settings: steady,
      faults: [{ atMs: 400, kind: "kill", worker: 2, restartMs: null }],
      onEvent: killCoordinatorOnce((event) => {
        const isWord =
          event.type === "coordinator" && event.effect.type === "send" && event.effect.message.type === word;
        if (isWord && event.effect.message.generation === 2) told++;
        return told === 2;
      }),
    });
    t.same({ violations, code: end?.code }, good);
    t.equal(world.coordinator?.epoch, 2);
  });
}

t.test(
  "a stop takes effect at one step on all ranks while the coordinator that planned it stands still for ten",
  async (t) => {
    const settings = { ...steady, steps: 60 };
    let isAsked = false;
    const doneMs: number[] = [];
    const { violations, end, world, shown } = play({
      settings,
      ends: "STOPPED",
      onEvent: (world, event) => {
        if (event.type === "held" && event.step === 10 && !isAsked) {
          isAsked = true;
          world.coordinator?.stop("Ctrl-C");
          // The plan is on its way, and nothing else comes for more than ten steps.
          world.apply({ atMs: world.time.nowMs, kind: "pauseCoordinator", forMs: 700, replaceMs: null });
        }
        if (event.type === "worker" && event.effect.type === "send" && event.effect.message.type === "WorkerDone")
          doneMs.push(world.time.nowMs);
      },
    });
    t.same({ violations, code: end?.code }, { violations: [], code: "STOPPED" });
    t.equal(doneMs.length, 3);
    t.ok(shown.length < 20, "the ranks did not wait for the coordinator");
    t.same(
      [...new Set(world.workers.map(({ core }) => core.progress.step))],
      [shown.length],
      "all stopped after the same step",
    );
  },
);

t.test("a checkpoint by minutes is taken at one step on all ranks while the coordinator stands still", async (t) => {
  const settings = {
    ...steady,
    steps: 60,
    checkpointEverySteps: null,
    checkpointEveryMinutes: 0.01,
    datasetSize: 6400,
  };
  const taken = new Map<number, number>();
  let isPaused = false;
  const { violations, end, world } = play({
    settings,
    onEvent: (world, event) => {
      const { effect } = event.type === "worker" || event.type === "coordinator" ? event : { effect: undefined };
      if (effect?.type === "snapshot") taken.set(effect.progress.step, (taken.get(effect.progress.step) ?? 0) + 1);
      const isPlan = effect?.type === "send" && effect.message.type === "CoordinatorPlan";
      if (!isPlan || isPaused) return;
      isPaused = true;
      world.time.after(0, () => world.apply({ atMs: 0, kind: "pauseCoordinator", forMs: 700, replaceMs: null }));
    },
  });
  t.same({ violations, code: end?.code }, good);
  t.ok(taken.size > 1, "one besides the last");
  t.ok(
    [...taken.values()].every((count) => count === 3),
    "by every rank",
  );
  t.same([...world.disk.checkpoints.keys()].at(-1), 60);
});

t.test(
  "the only holder of the newest step dies while the others copy it: they go back to the step before, and on",
  async (t) => {
    const { first, last } = heldMs(four, 3);
    let lonely = 0;
    for (const atMs of moments(first - 5, last + 1, 60)) {
      let isKilled = false;
      const { violations, end } = play({
        settings: four,
        faults: [{ atMs, kind: "kill", worker: 1, restartMs: null }],
        onEvent: (world, event) => {
          if (event.type !== "worker" || event.effect.type !== "copy" || isKilled || event.effect.from.length > 1)
            return;
          const [holder] = event.effect.from;
          if (event.effect.generation < 2) return;
          isKilled = true;
          lonely++;
          world.workers.find(({ pid }) => pid === holder?.port)?.process.kill();
        },
      });
      t.same({ violations, code: end?.code }, good, `killed at ${atMs} ms`);
    }
    t.ok(lonely > 0);
  },
);

t.test("a joiner that is the only survivor goes on from the state that it has copied", async (t) => {
  const settings = { ...steady, ranks: 2, checkpointEverySteps: null, steps: 30, datasetSize: 3000 };
  let isKilled = false;
  const restored: string[] = [];
  const { violations, end } = play({
    settings,
    faults: [{ atMs: 400, kind: "join" }],
    onEvent: (world, event) => {
      if (event.type === "coordinator" && event.effect.type === "event" && event.effect.event.type === "restored")
        restored.push(event.effect.event.because);
      if (event.type !== "held" || event.worker !== 2 || isKilled) return;
      isKilled = true;
      for (const worker of [0, 1]) world.workers[worker]?.process.kill();
    },
  });
  t.same({ violations, code: end?.code }, good);
  t.ok(isKilled, "the joiner held a step");
  t.same(restored, []);
});

for (const [when, isIt] of [
  ["as soon as it has copied it", ({ effect }: Performed) => effect.type === "log" && effect.event === "copied"],
  ["once it is seated", ({ effect }: Performed) => effect.type === "openRing"],
] as const)
  t.test(
    `a joiner's holder and the coordinator die together, ${when}: the joiner knows of every step that led to its state`,
    async (t) => {
      const settings = { ...steady, ranks: 1, steps: 60 };
      let isStruck = false;
      const { violations, end, shown } = play({
        settings,
        faults: [{ atMs: 500, kind: "join" }],
        onEvent: (world, event) => {
          if (isStruck || event.type !== "worker" || event.worker !== 1 || !isIt(event)) return;
          isStruck = true;
          t.ok(
            (world.disk.metrics.steps.at(-1)?.step ?? 0) < (world.coordinator?.core.committed ?? 0),
            "not all is on disk",
          );
          world.apply({ atMs: world.time.nowMs, kind: "kill", worker: 0, restartMs: null });
          world.apply({ atMs: world.time.nowMs, kind: "killCoordinator", restartMs: 1000 });
        },
      });
      t.same({ violations, code: end?.code }, good);
      t.ok(isStruck);
      t.same(
        shown,
        Array.from({ length: settings.steps }, (_, index) => index + 1),
      );
    },
  );

t.test("a worker that wakes up in an old generation and goes on sending disturbs nobody, and joins anew", async (t) => {
  const settings = { ...steady, steps: 400, datasetSize: 12_800 };
  for (const atMs of moments(400, 440, 12)) {
    const { violations, end, world } = play({ settings, faults: [{ atMs, kind: "pause", worker: 1, forMs: 6000 }] });
    t.same({ violations, code: end?.code }, good, `paused at ${atMs} ms`);
    t.equal(world.workers[1]?.core.progress.step, 400, "it is back, and did the last step with the others");
  }
});

t.test(
  "a coordinator that is cut off from all but a spare opens no world with it, and finds the others as they were",
  async (t) => {
    const settings = { ...steady, steps: 1200, datasetSize: 38_400 };
    const joinsMs = 400;
    const opened: (readonly string[])[] = [];
    const { violations, end, shown } = play({
      settings,
      faults: [
        { atMs: joinsMs, kind: "join" },
        { atMs: 2000, kind: "cutOff", workers: [0, 1, 2], forMs: 20_000 },
      ],
      onEvent: (_, event) => {
        if (event.type === "recorded" && event.contents.record?.kind === "opened")
          opened.push(event.contents.record.members);
      },
    });
    t.same({ violations, code: end?.code }, good);
    t.equal(shown.length, 1200);
    const [first = []] = opened;
    for (const members of opened)
      t.ok(
        members.some((id) => first.includes(id)),
        "every world has an earlier member",
      );
  },
);

/** What the coordinator tells of a run whose ranks 1 and 2 cannot reach each other for a while, though both reach it. */
function playParted(settings: WorldSettings, forMs: number) {
  const told: RunEvent[] = [];
  const { violations, end, nowMs } = play({
    settings,
    faults: [{ atMs: 500, kind: "part", workers: [1, 2], forMs }],
    onEvent: (_, event) => {
      if (event.type === "coordinator" && event.effect.type === "event") told.push(event.effect.event);
    },
  });
  const worlds = told.flatMap((event) =>
    event.type === "proceeding" ? [event.members.map(({ workerId }) => workerId)] : [],
  );
  const lost = told.flatMap((event) => (event.type === "lost" ? [event.because] : []));
  return { violations, end, nowMs, worlds, lost };
}

t.test("two of four that cannot reach each other are seated apart, and nobody is left out", async (t) => {
  const { violations, end, worlds, lost } = playParted({ ...four, steps: 300, datasetSize: 9600 }, 60_000);
  t.same({ violations, code: end?.code }, good);
  t.same(lost, []);
  const [first = [], last = []] = [worlds.at(0), worlds.at(-1)];
  t.same([...last].sort(), [...first].sort());
  const places = [first[1], first[2]].map((id) => last.indexOf(id ?? ""));
  t.equal(Math.abs((places[0] ?? 0) - (places[1] ?? 0)), 2, "they sit across from each other");
});

t.test("of three, one is left out for longer each time, and is back once they reach each other", async (t) => {
  const { violations, end, worlds, lost } = playParted({ ...steady, steps: 3000, datasetSize: 96_000 }, 100_000);
  t.same({ violations, code: end?.code }, good);
  t.same(
    lost.map((because) => /not taken in again for (\d+) s$/.exec(because)?.[1]),
    ["20", "40"],
  );
  t.equal(worlds.at(-1)?.length, 3);
});

t.test("a coordinator that sleeps beyond its lease and wakes is fenced, and its workers are the other's", async (t) => {
  const settings = { ...steady, steps: 400, datasetSize: 12_800 };
  // Workers hang up on a coordinator that says nothing for five seconds: those that it wakes to may still be connected with it, or no longer.
  for (const forMs of [3300, 3900, 4500, 6000]) {
    let replaced = 0;
    const { violations, end, world } = play({
      settings,
      faults: [
        { atMs: 500, kind: "pauseCoordinator", forMs, replaceMs: 3200 },
        { atMs: 600, kind: "kill", worker: 2, restartMs: null },
      ],
      onEvent: (_, event) => {
        if (event.type === "coordinator" && event.effect.type === "end" && event.effect.code === "REPLACED") replaced++;
      },
    });
    t.same({ violations, code: end?.code }, good, `it sleeps for ${forMs} ms`);
    t.equal(replaced, 1);
    t.equal(world.coordinator?.epoch, 2);
  }
});

t.test("the rank that writes a checkpoint dies over it: another writes the same one", async (t) => {
  let isTaken = false;
  let isKilled = false;
  const { violations, end, world } = play({
    settings: steady,
    onEvent: (world, event) => {
      if (event.type !== "worker" || isKilled) return;
      if (event.effect.type === "snapshot") isTaken = true;
      if (event.effect.type !== "upload" || !isTaken) return;
      isKilled = true;
      // What it sends is on its way, but not all of it.
      world.time.after(0, () => event.node.process.kill());
    },
  });
  t.same({ violations, code: end?.code }, good);
  t.ok(isKilled);
  t.ok(world.disk.checkpoints.has(4), "the checkpoint that it died over is there");
});

t.test("a last checkpoint that is damaged while no coordinator runs is written again", async (t) => {
  const settings = { ...steady, steps: 4, checkpointEverySteps: null };
  let isAsleep = false;
  let isKilled = false;
  const { violations, end } = play({
    settings,
    onEvent: (world, event) => {
      if (event.type === "worker" && event.worker === 2 && event.effect.type === "evaluate" && !isAsleep) {
        isAsleep = true;
        world.apply({ atMs: 0, kind: "pause", worker: 2, forMs: 6000 });
      }
      const isSaved =
        event.type === "coordinator" && event.effect.type === "event" && event.effect.event.type === "saved";
      if (!isSaved || isKilled) return;
      isKilled = true;
      world.time.after(5, () => {
        world.apply({ atMs: 0, kind: "killCoordinator", restartMs: 1000 });
        const last = world.disk.checkpoints.get(4);
        if (last) last.isTorn = true;
      });
    },
  });
  t.same({ violations, code: end?.code }, good);
});

for (const { left, torn, wayBack } of [
  { left: 4, torn: 8, wayBack: "the checkpoint of step 4" },
  { left: 0, torn: 4, wayBack: "the beginning" },
])
  t.test(`all die at once, and what they go back to is damaged: they start from ${wayBack}`, async (t) => {
    const told: RunEvent[] = [];
    let isTorn = false;
    // All in one epoch: checkpoints of the steps 4, 8 and 12.
    const settings = { ...steady, datasetSize: 640 };
    const { violations, end, world, shown } = play({
      settings,
      onEvent: (world, event) => {
        if (event.type === "coordinator" && event.effect.type === "event") told.push(event.effect.event);
        if (event.type !== "held" || event.step !== torn + 2 || isTorn) return;
        isTorn = true;
        // The step before is committed by then.
        world.time.after(5, () => {
          world.apply({ atMs: 0, kind: "tearCheckpoint" });
          for (const worker of [0, 1, 2]) world.apply({ atMs: 0, kind: "kill", worker, restartMs: 100 });
        });
      },
    });
    t.same({ violations, code: end?.code }, good);
    t.equal(world.coordinator?.epoch, 1, "the coordinator lived through it");
    const lines = told.flatMap((event) => (event.type === "note" ? [event.line] : []));
    t.same(lines, [
      `the checkpoint of step ${torn} is not usable: it is torn; going back to ${wayBack}, unless a rank holds a newer state`,
    ]);
    t.match(
      told.filter(({ type }) => type === "restored"),
      [{ step: left, because: `the checkpoint of step ${torn} is not usable: it is torn` }],
    );
    t.same(
      shown,
      Array.from({ length: settings.steps }, (_, index) => index + 1),
      "each step is shown once",
    );
    for (const [step, { isTorn, state }] of world.disk.checkpoints)
      t.same(
        { isTorn, state },
        { isTorn: false, state: world.content.stateAfter(step) },
        `step ${step} is there again`,
      );
  });

t.test("a sample that kills every heir of its seat ends the run, with the samples named", async (t) => {
  const settings = { ...steady, isLocal: true, ranks: 4, seats: 4 };
  const { violations, end, world } = play({
    settings,
    ends: "SAMPLES_KILL",
    onEvent: (world, event) => {
      if (event.type !== "worker" || event.effect.type !== "step" || event.effect.step !== 3) return;
      const { node } = event;
      world.time.after(5, () => {
        if (node.compute.seats.includes(2)) node.process.kill();
      });
    },
  });
  t.same({ violations, code: end?.code }, { violations: [], code: "SAMPLES_KILL" });
  const { first, end: last } = world.content.sampler.seatSlots(3, 2);
  const ids = [...world.content.sampler.batch(3).subarray(first, last)];
  t.match(end?.message, `seat 2 of step 4, whose samples are ${ids.slice(0, 20).join(", ")}`);
});

t.test(
  "a leaver that is asked to go at any moment of a reduction goes on forwarding until it is not needed",
  async (t) => {
    const { first, last } = heldMs(steady, 3);
    for (const atMs of moments(first - 6, last + 2, 30)) {
      const { violations, end, workerEnds } = play({ settings: steady, faults: [{ atMs, kind: "leave", worker: 1 }] });
      t.same({ violations, code: end?.code }, good, `asked at ${atMs} ms`);
      t.match(
        workerEnds.find(({ worker }) => worker === 1),
        { exitCode: /0|143/ },
      );
    }
  },
);

t.test(
  "all are asked to leave while the last state waits for the disk: it is written once there is room",
  async (t) => {
    const settings = { ...steady, ranks: 1 };
    const { last } = heldMs(settings, settings.steps);
    for (const atMs of moments(last - 20, last + 400, 30)) {
      const faults: Fault[] = [
        { atMs: last - 100, kind: "fullDisk", forMs: 10_000 },
        { atMs, kind: "leave", worker: 0 },
      ];
      t.same(play({ settings, faults }).violations, [], `asked at ${atMs} ms`);
    }
  },
);

t.test("a death at any moment of the run's last step loses nothing", async (t) => {
  const { first, last } = heldMs(steady, steady.steps);
  for (const worker of [0, 1])
    for (const atMs of moments(first - 6, last + 40, 50)) {
      const { violations, end } = play({
        settings: steady,
        faults: [{ atMs, kind: "kill", worker, restartMs: null }],
      });
      t.same({ violations, code: end?.code }, good, `worker ${worker} killed at ${atMs} ms`);
    }
});

/** Kills the coordinator when first this happens; a second later another one is started. */
function killCoordinatorOnce(isIt: (event: WorldEvent) => boolean) {
  let isKilled = false;
  return (world: World, event: WorldEvent) => {
    if (isKilled || !isIt(event)) return;
    isKilled = true;
    world.apply({ atMs: world.time.nowMs, kind: "killCoordinator", restartMs: 1000 });
  };
}
