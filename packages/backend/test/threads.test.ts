import { once } from "node:events";
import { Worker } from "node:worker_threads";
import t from "tap";
import { loadLibtensorflow } from "../src/tensorflow/load-libtensorflow.ts";
import { gradientHashes } from "./fixtures/gradient-thread.ts";

const entry = new URL("./fixtures/gradient-thread.js", import.meta.url);

t.test("one captured gradient has the same bits in the main thread and in threads that compute at once", async (t) => {
  loadLibtensorflow("cpu");
  const threads = Array.from({ length: 3 }, () => new Worker(entry));
  t.same(await Promise.all(threads.map(async (thread) => (await once(thread, "message"))[0])), [
    "ready",
    "ready",
    "ready",
  ]);
  const answers = threads.map(async (thread) => (await once(thread, "message"))[0]);
  for (const thread of threads) thread.postMessage("compute");
  const own = await gradientHashes();
  for (const [index, found] of (await Promise.all(answers)).entries()) t.same(found, own, `thread ${index}`);
  t.equal(new Set(own).size, 6, "a step is the same whenever it is computed, and differs from the others");
  await Promise.all(threads.map((thread) => thread.terminate()));
});
