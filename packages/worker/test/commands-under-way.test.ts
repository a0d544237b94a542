import t from "tap";
import { CommandsUnderWay } from "../src/commands-under-way.ts";

/** Whether a promise has resolved by now. */
const isResolved = (promise: Promise<void>) =>
  Promise.race([promise.then(() => true), new Promise<boolean>((resolve) => setImmediate(resolve, false))]);

t.test("a command is done once every thread is through with it, and the next one's time begins then", async (t) => {
  const underWay = new CommandsUnderWay(2);
  t.equal(underWay.isIdle, true);
  t.equal(underWay.busyMs(5), 0);
  await underWay.whenIdle();
  t.equal(underWay.begin(10), 1);
  t.equal(underWay.begin(12), 2);
  const idle = underWay.whenIdle();
  underWay.done(0, 20);
  underWay.done(0, 25);
  t.equal(underWay.busyMs(30), 20, "thread 1 is in the first still");
  underWay.done(1, 30);
  t.equal(underWay.busyMs(37), 7);
  t.equal(await isResolved(idle), false);
  underWay.done(1, 40);
  t.equal(await isResolved(idle), true);
  t.equal(underWay.busyMs(50), 0);
  underWay.begin(60);
  t.equal(underWay.busyMs(61), 1);
});

t.test("a thread that has ended is through with everything", async (t) => {
  const underWay = new CommandsUnderWay(2);
  underWay.begin(0);
  underWay.begin(0);
  const idle = underWay.whenIdle();
  underWay.ended(1, 1);
  t.equal(underWay.isIdle, false);
  underWay.done(0, 2);
  underWay.done(0, 3);
  t.equal(await isResolved(idle), true);
});
