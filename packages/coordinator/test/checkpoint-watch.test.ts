import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import {
  type CheckpointEffect,
  type CheckpointInput,
  CheckpointWatch,
  type CheckpointWatchOptions,
  type SaveFailure,
} from "../src/checkpoint-watch.ts";

const full: SaveFailure = { code: "DISK_FULL", message: "the disk is full: free some space", isRetryable: true };
const wrong: SaveFailure = { code: "RECORD_INVALID", message: "expected seats", isRetryable: false };
const second = 1_000;
const minute = 60_000;

/** Two of them may wait. */
const bytes = 2 ** 27;
const arrived = (step: number, stateId = `id-${step}`): CheckpointInput => ({ type: "arrived", step, stateId, bytes });
const committed = (step: number): CheckpointInput => ({ type: "committed", step });
const saved = (step: number): CheckpointInput => ({ type: "saved", step });
const failed = (step: number, failure = full): CheckpointInput => ({ type: "saveFailed", step, failure });
const runEnds = (step: number): CheckpointInput => ({ type: "runEnds", step });
const rewound = (step: number): CheckpointInput => ({ type: "rewound", step });
const lost = (newest: number): CheckpointInput => ({ type: "lost", newest });
const tick: CheckpointInput = { type: "tick" };
const giveUp: CheckpointInput = { type: "giveUp" };

/** An effect as a word or two, to be read in a table. */
function brief(effect: CheckpointEffect): string {
  if (effect.type === "say") return `say ${effect.line}`;
  if (effect.type === "end") return `end ${effect.message}`;
  return "step" in effect ? `${effect.type} ${effect.step}` : effect.type;
}

const options: CheckpointWatchOptions = { everyMinutes: null, savedStep: null, committed: 0, now: 0 };

/** Inputs with the time since the first in milliseconds, and what each brings about: texts whole, or patterns. */
type Turn = [atMs: number, input: CheckpointInput, effects: (string | RegExp)[]];

const saysFull = /^say the checkpoint of step \d+ could not be written: the disk is full: .* \[DISK_FULL\]/;
const cases: [behaviour: string, turns: Turn[], options?: Partial<CheckpointWatchOptions>][] = [
  [
    "a state waits until its step is committed",
    [
      [0, arrived(5), []],
      [1, committed(4), []],
      [2, committed(5), ["write 5"]],
    ],
  ],
  [
    "a state of a committed step is written at once",
    [
      [0, committed(5), []],
      [0, arrived(5), ["write 5"]],
    ],
  ],
  [
    "one is written at a time",
    [
      [0, committed(9), []],
      [0, arrived(5), ["write 5"]],
      [0, arrived(9), []],
      [1, saved(5), ["saved 5", "write 9"]],
      [2, saved(9), ["saved 9"]],
    ],
  ],
  [
    "those that wait are written in order",
    [
      [0, committed(9), []],
      [0, arrived(3), ["write 3"]],
      [0, arrived(5), []],
      [0, arrived(9), []],
      [1, saved(3), ["saved 3", "write 5"]],
      [2, saved(5), ["saved 5", "write 9"]],
    ],
  ],
  [
    "of more than may wait the oldest go",
    [
      [0, committed(9), []],
      [0, arrived(3), ["write 3"]],
      [0, arrived(5), []],
      [0, arrived(7), []],
      [0, arrived(9), ["forget 5"]],
      [1, saved(3), ["saved 3", "write 7"]],
    ],
  ],
  [
    "one that is not committed takes no place",
    [
      [0, committed(5), []],
      [0, arrived(3), ["write 3"]],
      [0, arrived(5), []],
      [0, arrived(6), []],
      [1, saved(3), ["saved 3", "write 5"]],
      [2, committed(6), []],
      [3, saved(5), ["saved 5", "write 6"]],
    ],
  ],
  [
    "the same state from another rank is written once",
    [
      [0, committed(5), []],
      [0, arrived(5), ["write 5"]],
      [1, arrived(5), []],
      [2, saved(5), ["saved 5"]],
      [3, arrived(5), ["forget 5"]],
    ],
  ],
  [
    "what is older than the checkpoint on disk is not written",
    [
      [0, arrived(8), ["forget 8"]],
      [0, arrived(3), ["forget 3"]],
    ],
    { savedStep: 8, committed: 8 },
  ],
  [
    "what is known to be committed at the start is written",
    [[0, arrived(8), ["write 8"]]],
    { savedStep: 4, committed: 8 },
  ],
  [
    "the world went back: later states are let go, and the new history's wait for their own commit",
    [
      [0, committed(4), []],
      [0, arrived(5, "old"), []],
      [1, rewound(4), ["forget 5"]],
      [2, arrived(5, "new"), []],
      [3, committed(5), ["write 5"]],
    ],
  ],
  [
    "the world went back behind what was committed",
    [
      [0, committed(6), []],
      [1, rewound(3), []],
      [2, arrived(5), []],
      [3, committed(5), ["write 5"]],
    ],
  ],
  [
    "another history's state of the same step takes the place of the former",
    [
      [0, arrived(5, "old"), []],
      [1, arrived(5, "new"), []],
      [2, committed(5), ["write 5"]],
    ],
  ],
  [
    "an answer to what was not asked changes nothing",
    [
      [0, saved(3), []],
      [0, failed(3), []],
      [0, committed(5), []],
      [0, arrived(5), ["write 5"]],
      [1, failed(4), []],
      [2, saved(5), ["saved 5"]],
    ],
  ],
  [
    "a failed state is tried again after 5, 10, 20, 40, 60, 60 s, said once a minute, and that it works again",
    [
      [0, committed(5), []],
      [0, arrived(5), ["write 5"]],
      [0, failed(5), [/^say .*\[DISK_FULL\]; training goes on, and so do the tries$/]],
      [5 * second - 1, tick, []],
      [5 * second, tick, ["write 5"]],
      [5 * second, failed(5), []],
      [15 * second - 1, tick, []],
      [15 * second, tick, ["write 5"]],
      [15 * second, failed(5), []],
      [35 * second, tick, ["write 5"]],
      [35 * second, failed(5), []],
      [75 * second - 1, tick, []],
      [75 * second, tick, ["write 5"]],
      [75 * second, failed(5), [/^say .* \(5 tries\); training goes on/]],
      [135 * second - 1, tick, []],
      [135 * second, tick, ["write 5"]],
      [135 * second, failed(5), [/ \(6 tries\); /]],
      [195 * second, tick, ["write 5"]],
      [196 * second, saved(5), ["saved 5", "say checkpoints work again after 6 failed tries: step 5 is on disk"]],
      [300 * second, tick, []],
    ],
  ],
  [
    "a newer state takes the failed one's place and is tried at once",
    [
      [0, committed(9), []],
      [0, arrived(5), ["write 5"]],
      [0, failed(5), [saysFull]],
      [1, arrived(9), ["forget 5", "write 9"]],
      [2, saved(9), ["saved 9", "say checkpoints work again after 1 failed try: step 9 is on disk"]],
    ],
  ],
  [
    "a newer state that came during the write takes the failed one's place",
    [
      [0, committed(9), []],
      [0, arrived(5), ["write 5"]],
      [0, arrived(9), []],
      [1, failed(5), [saysFull, "forget 5", "write 9"]],
    ],
  ],
  [
    "a newer state that is not committed leaves the failed one its tries",
    [
      [0, committed(5), []],
      [0, arrived(5), ["write 5"]],
      [0, failed(5), [saysFull]],
      [1, arrived(6), []],
      [5 * second, tick, ["write 5"]],
    ],
  ],
  [
    "a disk that fails and works in turn is said once a minute",
    [
      [0, committed(9), []],
      [0, arrived(5), ["write 5"]],
      [0, failed(5), [saysFull]],
      [5 * second, tick, ["write 5"]],
      [5 * second, saved(5), ["saved 5", /^say checkpoints work again/]],
      [6 * second, arrived(6), ["write 6"]],
      [6 * second, failed(6), []],
      [11 * second, tick, ["write 6"]],
      [11 * second, saved(6), ["saved 6"]],
      [minute, arrived(7), ["write 7"]],
      [minute, failed(7), [saysFull]],
    ],
  ],
  [
    "a state that is wrong in itself is not tried again",
    [
      [0, committed(5), []],
      [0, arrived(5), ["write 5"]],
      [0, failed(5, wrong), ["forget 5", /^say .*expected seats \[RECORD_INVALID\]; training goes on/]],
      [9 * second, tick, []],
    ],
  ],
  [
    "the last state is tried until it works, and that the end waits for it is said at once",
    [
      [0, committed(9), []],
      [0, arrived(5), ["write 5"]],
      [0, failed(5), [saysFull]],
      [1, runEnds(9), []],
      [1, arrived(9), ["forget 5", "write 9"]],
      [2, failed(9), [/^say .*step 9 .*\(2 tries\); the run is over and this is its last state.*stop once more/]],
      [2 + 10 * second, tick, ["write 9"]],
      [2 + 10 * second, failed(9), []],
      [minute, tick, ["write 9"]],
      [minute, saved(9), ["saved 9", /work again after 3 failed tries/]],
      [minute, giveUp, []],
    ],
  ],
  [
    "that the end waits is said when the end is known after the failure",
    [
      [0, committed(9), []],
      [0, arrived(9), ["write 9"]],
      [0, failed(9), [/training goes on/]],
      [1, runEnds(9), [/the run is over/]],
      [1, giveUp, [/^end .*step 9 .*\[DISK_FULL\]; there is no checkpoint$/]],
    ],
  ],
  [
    "the last state is given up when a stop is asked again",
    [
      [0, committed(9), []],
      [0, runEnds(9), []],
      [0, arrived(9), ["write 9"]],
      [0, failed(9), [saysFull]],
      [1, giveUp, [/^end the checkpoint of step 9 could not be written: .*; the newest checkpoint is of step 4$/]],
    ],
    { savedStep: 4 },
  ],
  [
    "a disk that never answers does not keep the run from its end either",
    [
      [0, committed(9), []],
      [0, runEnds(9), []],
      [0, arrived(9), ["write 9"]],
      [1, giveUp, ["end the state of step 9 was not on disk yet; there is no checkpoint"]],
    ],
  ],
  [
    "a last state that is wrong in itself ends the run",
    [
      [0, committed(9), []],
      [0, runEnds(9), []],
      [0, arrived(9), ["write 9"]],
      [0, failed(9, wrong), ["forget 9", /^end .*\[RECORD_INVALID\]; there is no checkpoint/]],
    ],
  ],
  [
    "so it does when the end is known later",
    [
      [0, committed(9), []],
      [0, arrived(9), ["write 9"]],
      [0, failed(9, wrong), ["forget 9", /^say/]],
      [0, runEnds(9), [/^end .*\[RECORD_INVALID\]/]],
    ],
  ],
  [
    "before the end there is nothing to give up",
    [
      [0, committed(5), []],
      [0, arrived(5), ["write 5"]],
      [0, giveUp, []],
    ],
  ],
  [
    "a world that went back behind its end goes on",
    [
      [0, runEnds(9), []],
      [1, rewound(8), []],
      [1, giveUp, []],
    ],
  ],
  [
    "by minutes a checkpoint is asked for so long after the last",
    [
      [minute, tick, []],
      [2 * minute, tick, ["planCheckpoint"]],
      [3 * minute, tick, []],
      [3 * minute, committed(5), []],
      [3 * minute, arrived(5), ["write 5"]],
      [3.5 * minute, saved(5), ["saved 5"]],
      [5 * minute, tick, []],
      [5.5 * minute, tick, ["planCheckpoint"]],
    ],
    { everyMinutes: 2 },
  ],
  [
    "one that is never made is asked for again",
    [
      [2 * minute, tick, ["planCheckpoint"]],
      [3.9 * minute, tick, []],
      [4 * minute, tick, ["planCheckpoint"]],
    ],
    { everyMinutes: 2 },
  ],
  [
    "none is asked for while one is written, nor once the run is over",
    [
      [0, committed(5), []],
      [0, arrived(5), ["write 5"]],
      [3 * minute, tick, []],
      [3 * minute, saved(5), ["saved 5"]],
      [3 * minute, runEnds(6), []],
      [9 * minute, tick, []],
    ],
    { everyMinutes: 2 },
  ],
  ["without minutes none is asked for", [[1e9, tick, []]]],
  [
    "what was on disk and is damaged is written again",
    [
      [0, committed(9), []],
      [1, arrived(9), ["forget 9"]],
      [2, lost(5), []],
      [3, arrived(5), ["forget 5"]],
      [4, arrived(9), ["write 9"]],
    ],
    { savedStep: 9 },
  ],
  [
    "where all that was on disk is damaged, it is said that there is no checkpoint",
    [
      [0, committed(5), []],
      [1, lost(0), []],
      [2, runEnds(5), []],
      [3, giveUp, [/there is no checkpoint$/]],
    ],
    { savedStep: 4 },
  ],
];

for (const [behaviour, turns, changes] of cases)
  t.test(behaviour, async (t) => {
    const watch = new CheckpointWatch({ ...options, ...changes });
    for (const [atMs, input, expected] of turns) {
      const effects = watch.handle(input, atMs).map(brief);
      const isSame =
        effects.length === expected.length && expected.every((each, i) => isAsExpected(effects[i] ?? "", each));
      t.ok(isSame, `${input.type} at ${atMs} ms: ${effects.join(", ") || "nothing"}`, { expected, effects });
    }
  });

function isAsExpected(effect: string, expected: string | RegExp): boolean {
  return typeof expected === "string" ? effect === expected : expected.test(effect);
}

t.test("it says what is on disk", async (t) => {
  const watch = new CheckpointWatch({ ...options, savedStep: 4 });
  t.equal(watch.savedStep, 4);
  for (const input of [committed(5), arrived(5), saved(5)]) watch.handle(input, 0);
  t.equal(watch.savedStep, 5);
});

t.test(
  "whatever the disk does: one write at a time, of committed steps, ever newer on disk, nothing kept for good",
  async (t) => {
    const act = fc.constantFrom("step", "state", "lag", "answer", "fail", "rewind", "wait");
    fc.assert(
      fc.property(fc.array(act, { maxLength: 120 }), (acts) => {
        const watch = new CheckpointWatch({ ...options, everyMinutes: 1 });
        const here = new Set<number>();
        let [now, held, done, onDisk] = [0, 0, 0, 0];
        let writing: number | undefined;
        let saidMs = Number.NEGATIVE_INFINITY;
        const feed = (input: CheckpointInput) => {
          for (const effect of watch.handle(input, now)) {
            if (effect.type === "write") {
              assert.equal(writing, undefined);
              assert.ok(effect.step <= done && effect.step > onDisk && here.has(effect.step));
              writing = effect.step;
            } else if (effect.type === "forget") assert.ok(here.delete(effect.step));
            else if (effect.type === "saved") {
              assert.ok(here.delete(effect.step));
              onDisk = effect.step;
            } else if (effect.type === "say" && effect.line.includes("could not")) {
              assert.ok(now - saidMs >= minute);
              saidMs = now;
            }
          }
        };
        const answer = (type: "saved" | "saveFailed") => {
          const step = writing;
          if (step === undefined) return;
          writing = undefined;
          feed(type === "saved" ? saved(step) : failed(step));
        };
        for (const what of acts) {
          if (what === "step") held++;
          else if (what === "lag" && done < held) feed(committed(++done));
          else if (what === "state" && held > 0 && !here.has(held)) {
            here.add(held);
            feed(arrived(held));
          } else if (what === "answer") answer("saved");
          else if (what === "fail") answer("saveFailed");
          else if (what === "rewind") {
            held = done;
            feed(rewound(done));
          } else if (what === "wait") {
            now += 7 * second;
            feed(tick);
          }
          assert.ok(here.size <= 2 + (held - done), "what is written, one that waits, those not committed yet");
        }
        while (done < held) feed(committed(++done));
        for (let tries = 0; tries < 3; tries++) {
          now += minute;
          feed(tick);
          answer("saved");
        }
        assert.equal(here.size, 0);
      }),
      { numRuns: 1_000 },
    );
    t.pass("holds");
  },
);
