import fc from "fast-check";
import t from "tap";
import { createThroughput } from "../src/index.ts";

t.test("nothing is known before a step was measured", async (t) => {
  const throughput = createThroughput();
  t.equal(throughput.imagesPerSecond(), undefined);
  t.equal(throughput.secondsFor(10), undefined);
  throughput.step(64, 1_000); // Without a start before it: only the clock.
  t.equal(throughput.imagesPerSecond(), undefined);
  throughput.step(64, 1_500);
  t.equal(throughput.imagesPerSecond(), 128);
});

t.test("steady steps give their rate and the time for the rest", async (t) => {
  const throughput = createThroughput();
  throughput.start(0);
  for (let k = 1; k <= 3; k += 1) throughput.step(100, k * 250);
  t.equal(throughput.imagesPerSecond(), 400);
  t.equal(throughput.secondsFor(8), 2);
  t.equal(throughput.secondsFor(0), 0);
});

t.test("a pause between a step and the next start does not count", async (t) => {
  const throughput = createThroughput();
  throughput.start(0);
  throughput.step(100, 1_000);
  throughput.start(61_000); // A validation of a minute.
  throughput.step(100, 62_000);
  t.equal(throughput.imagesPerSecond(), 100);
});

t.test("long steps: the last 20 count, so a slow start is forgotten after 20", async (t) => {
  const throughput = createThroughput();
  throughput.start(0);
  throughput.step(10, 60_000); // The first step builds its graph.
  for (let k = 1; k <= 19; k += 1) throughput.step(10, 60_000 + k * 1_000);
  t.equal(throughput.imagesPerSecond(), (20 * 10) / (60 + 19));
  throughput.step(10, 80_000);
  t.equal(throughput.imagesPerSecond(), 10);
});

t.test("short steps: the last 5 seconds count, also beyond 20 steps", async (t) => {
  const throughput = createThroughput();
  throughput.start(0);
  for (let k = 1; k <= 100; k += 1) throughput.step(1, k * 100); // 10 s at 10 images/s
  for (let k = 101; k <= 125; k += 1) throughput.step(3, k * 100); // 2.5 s at 30 images/s
  t.equal(throughput.imagesPerSecond(), 20, "half of the window is new");
});

t.test("a clock that stands still gives no infinite rate", async (t) => {
  const throughput = createThroughput();
  throughput.start(5);
  throughput.step(10, 5);
  t.equal(throughput.imagesPerSecond(), undefined);
});

t.test("property: the rate is that of the steps in the window, whatever came before", async (t) => {
  const steps = fc.array(
    fc.record({ images: fc.integer({ min: 1, max: 512 }), ms: fc.integer({ min: 1, max: 900 }) }),
    {
      minLength: 1,
      maxLength: 200,
    },
  );
  fc.assert(
    fc.property(steps, fc.nat(3_000), (all, warmUp) => {
      const throughput = createThroughput();
      const whole = [...Array.from({ length: warmUp }, () => ({ images: 7, ms: 1 })), ...all];
      throughput.start(0);
      let now = 0;
      for (const { images, ms } of whole) {
        now += ms;
        throughput.step(images, now);
      }
      let from = whole.length;
      let ms = 0;
      while (from > 0 && (whole.length - from < 20 || ms < 5_000)) ms += whole[--from]?.ms ?? 0;
      const images = whole.slice(from).reduce((total, step) => total + step.images, 0);
      const found = throughput.imagesPerSecond() ?? Number.NaN;
      return Math.abs(found - (images / ms) * 1_000) < 1e-6 * found;
    }),
    { numRuns: 50 },
  );
  t.pass("holds");
});
