import { once } from "node:events";
import { Worker } from "node:worker_threads";
import t from "tap";
import { barrierBytes, createBarrier } from "../src/barrier.ts";

const barrierUrl = new URL("../src/barrier.js", import.meta.url).href;

const startThread = (body: string, workerData: object) =>
  new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
     import(${JSON.stringify(barrierUrl)}).then(({ createBarrier }) => { ${body} });`,
    { eval: true, workerData },
  );

/** Each thread counts its rounds in shared memory; behind the barrier all counts are the same, or someone passed too early. */
const countRounds = `
  const { barrierBuffer, countBuffer, threads, thread, rounds } = workerData;
  const barrier = createBarrier(barrierBuffer, threads);
  const counts = new Int32Array(countBuffer);
  let early = 0;
  for (let round = 1; round <= rounds; round++) {
    Atomics.add(counts, thread, 1);
    barrier.wait();
    for (let other = 0; other < threads; other++) if (Atomics.load(counts, other) !== round) early++;
    barrier.wait();
  }
  parentPort.postMessage(early);`;

for (const { threads, phase } of [
  { threads: 2, phase: 0 },
  { threads: 4, phase: 0 },
  { threads: 3, phase: 2 ** 31 - 100 },
])
  t.test(`${threads} threads pass a barrier together, round after round, from phase ${phase}`, async (t) => {
    const rounds = 500;
    const barrierBuffer = new SharedArrayBuffer(barrierBytes);
    // As after many steps: the count of phases overflows and does no harm.
    new Int32Array(barrierBuffer)[1] = phase;
    const countBuffer = new SharedArrayBuffer(4 * threads);
    const workers = Array.from({ length: threads }, (_, thread) =>
      startThread(countRounds, { barrierBuffer, countBuffer, threads, thread, rounds }),
    );
    const early = await Promise.all(workers.map(async (worker) => (await once(worker, "message"))[0]));
    t.same(early, new Array(threads).fill(0));
    t.same([...new Int32Array(countBuffer)], new Array(threads).fill(rounds));
  });

t.test("one thread never waits", async (t) => {
  const barrier = createBarrier(new SharedArrayBuffer(barrierBytes), 1);
  for (let round = 0; round < 3; round++) barrier.wait();
  t.pass();
});

t.test(
  "those that wait for a thread that has failed leave with an error, and so does whoever comes later",
  async (t) => {
    const threads = 3;
    const barrierBuffer = new SharedArrayBuffer(barrierBytes);
    const startWaiting = () =>
      startThread(
        `parentPort.postMessage("waits");
       try { createBarrier(workerData.barrierBuffer, 3).wait(); } catch ({ name, code }) { parentPort.postMessage({ name, code }); }`,
        { barrierBuffer },
      );
    const left = { name: "WorkerError", code: "BARRIER_ABORTED" };
    const heard = async (worker: Worker) => (await once(worker, "message"))[0];
    const waiting = [startWaiting(), startWaiting()];
    t.same(await Promise.all(waiting.map(heard)), ["waits", "waits"]);
    // Asleep, on the way to it, or not there yet: all leave.
    const leaving = waiting.map(heard);
    const barrier = createBarrier(barrierBuffer, threads);
    barrier.abort();
    t.same(await Promise.all(leaving), [left, left]);
    t.throws(() => barrier.wait(), left);
    t.throws(() => createBarrier(barrierBuffer, 1).wait(), left);
  },
);

t.test("a thread that waits in vain can be ended", async (t) => {
  const barrierBuffer = new SharedArrayBuffer(barrierBytes);
  const worker = startThread("parentPort.postMessage(0); createBarrier(workerData.barrierBuffer, 2).wait();", {
    barrierBuffer,
  });
  await once(worker, "message");
  t.type(await worker.terminate(), "number");
});
