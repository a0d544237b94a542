import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";

async function startSupervised(t: Test) {
  const child = fork(fileURLToPath(new URL("./fixtures/supervised.js", import.meta.url)));
  t.teardown(() => child.kill("SIGKILL"));
  t.same(await once(child, "message"), ["ready", undefined]);
  return child;
}

t.test("a supervised process leaves Ctrl-C to its supervisor and takes SIGTERM for a request to stop", async (t) => {
  const child = await startSupervised(t);
  child.kill("SIGINT");
  child.kill("SIGTERM");
  const [heard] = await once(child, "message");
  t.equal(heard, "stopped by SIGTERM");
});

t.test("a second SIGTERM ends it at once", async (t) => {
  const child = await startSupervised(t);
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await once(child, "message");
  // Signals within a moment are one.
  await delay(400);
  child.kill("SIGTERM");
  t.same(await exited, [143, null]);
});

t.test("it hears its supervisor's reason to stop, and when the supervisor is gone", async (t) => {
  const child = await startSupervised(t);
  const exited = once(child, "exit");
  child.send({ type: "stop", reason: "enough" });
  const [heard] = await once(child, "message");
  t.equal(heard, "enough");
  child.disconnect();
  t.same(await exited, [9, null]);
});
