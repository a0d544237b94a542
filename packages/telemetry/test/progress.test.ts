import t from "tap";
import { createProgress, type ProgressOptions, type ProgressState } from "../src/index.ts";

const UTF8 = { LANG: "C.UTF-8" };
const ESCAPE = "\x1b";

function state(step: number): ProgressState {
  return { epoch: 1 + Math.floor(step / 100), epochs: 2, step, steps: 200, loss: 1 / step, device: "CPU" };
}

/** A progress on a clock that the test sets. */
function progressOn(options: Partial<ProgressOptions> & { isTTY: boolean }) {
  const written: string[] = [];
  const clock = { ms: 1_000 };
  const stream = { write: (text: string) => written.push(text) };
  const progress = createProgress({ stream, columns: 50, now: () => clock.ms, env: { NO_COLOR: "1" }, ...options });
  return { progress, written, clock };
}

t.test("on a terminal the line is redrawn in place, at most every 100 ms", async (t) => {
  const { progress, written, clock } = progressOn({ isTTY: true });
  for (let step = 1; step <= 50; step += 1) {
    progress.update(state(step));
    clock.ms += 10;
  }
  t.equal(written.length, 5);
  t.equal(written[1], "\repoch 1/2  step  11/200  loss 0.0909  CPU\x1b[K");
  t.notOk(
    written.some((text) => text.includes("\n")),
    "never a second line",
  );
});

t.test("a line printed meanwhile stands above the progress", async (t) => {
  const { progress, written } = progressOn({ isTTY: true });
  progress.log("before");
  progress.update(state(1));
  progress.log("worker 2 joined");
  t.same(written, [
    "before\n",
    "\repoch 1/2  step   1/200  loss 1.0000  CPU\x1b[K",
    "\r\x1b[Kworker 2 joined\n\repoch 1/2  step   1/200  loss 1.0000  CPU\x1b[K",
  ]);
});

t.test("done leaves the newest state standing, and what comes later prints below", async (t) => {
  const { progress, written } = progressOn({ isTTY: true });
  progress.update(state(1));
  progress.update(state(2)); // Too soon to be drawn.
  progress.done();
  progress.done();
  progress.update(state(3));
  progress.epochEnd(state(3));
  progress.log("bye");
  t.same(written.slice(1), ["\repoch 1/2  step   2/200  loss 0.5000  CPU\x1b[K\n", "bye\n"]);
});

t.test("an epoch's end is drawn at once", async (t) => {
  const { progress, written } = progressOn({ isTTY: true });
  progress.update(state(99));
  progress.epochEnd(state(100));
  t.match(written[1], /step 100\/200/);
});

t.test("the cursor is never hidden, so there is none to restore after kill -9", async (t) => {
  const { progress, written, clock } = progressOn({ isTTY: true, env: UTF8 });
  for (let step = 1; step <= 20; step += 1, clock.ms += 100) progress.update(state(step));
  progress.log("x");
  progress.done();
  t.notOk(written.join("").includes(`${ESCAPE}[?`));
});

t.test("a resized window is asked for its width, and its last column stays free", async (t) => {
  let columns = 50;
  const { progress, written, clock } = progressOn({ isTTY: true, columns: () => columns });
  progress.update(state(1));
  columns = 11;
  clock.ms += 100;
  progress.update(state(2));
  t.equal(written[1], "\r  2/200\x1b[K");
});

t.test("colour on a terminal, unless NO_COLOR is set", async (t) => {
  const colourful = progressOn({ isTTY: true, env: UTF8 });
  const sober = progressOn({ isTTY: true, env: { ...UTF8, NO_COLOR: "1" } });
  for (const { progress } of [colourful, sober]) {
    progress.update(state(1));
    progress.log("\x1b[31mred\x1b[0m");
  }
  t.match(colourful.written[0], `${ESCAPE}[1mloss`);
  t.match(colourful.written[1], "\x1b[31mred");
  t.equal(sober.written.join("").replaceAll(`${ESCAPE}[K`, "").includes(ESCAPE), false);
});

for (const [where, options] of [
  ["without a terminal", { isTTY: false, env: UTF8 }],
  ["on a dumb terminal", { isTTY: true, env: { ...UTF8, TERM: "dumb" } }],
] as const) {
  t.test(`${where}: a plain line at most every 5 s and at each epoch's end, no escape code`, async (t) => {
    const { progress, written, clock } = progressOn(options);
    for (let step = 1; step <= 100; step += 1, clock.ms += 70) progress.update(state(step));
    progress.epochEnd(state(100));
    progress.epochEnd(state(100)); // The same again says nothing new.
    progress.log("\x1b[31mvalidation\x1b[0m 96 %\r");
    progress.update({ ...state(101), device: "CPU \x1b[2J" });
    progress.done();
    progress.done();
    t.same(written, [
      "epoch 1/2  step   1/200  loss 1.0000  CPU\n",
      "epoch 1/2  step  73/200  loss 0.0137  CPU\n",
      "epoch 2/2  step 100/200  loss 0.0100  CPU\n",
      "validation 96 %\n",
      "epoch 2/2  step 101/200  loss 0.0099  CPU\n",
    ]);
    t.notMatch(written.join(""), ESCAPE);
    t.notMatch(written.join(""), "\r");
  });
}
