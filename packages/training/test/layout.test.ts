import fc from "fast-check";
import t from "tap";
import {
  createLayout,
  createMemory,
  createMemoryMap,
  type MemoryMap,
  type RunLayout,
  tailFields,
} from "../src/index.ts";

const shapes = (prefix: string, minLength: number) =>
  fc
    .array(fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 3 }), { minLength, maxLength: 12 })
    .map((all) => all.map((shape, index) => ({ name: `${prefix}${index}`, shape })));
const options = fc.record({
  parameters: shapes("p", 1),
  statistics: shapes("s", 0),
  classes: fc.integer({ min: 1, max: 100 }),
  seats: fc.integer({ min: 1, max: 64 }),
  bucketBytes: fc.integer({ min: 4096, max: 200_000 }),
});
type Options = Parameters<typeof createLayout>[0];
const holds = (name: string, property: (layout: RunLayout, from: Options) => boolean) =>
  t.test(name, async (t) => {
    t.doesNotThrow(() => fc.assert(fc.property(options, (from) => property(createLayout(from), from))));
  });
const lastStepBucket = ({ buckets, stepBuckets }: RunLayout) => buckets[stepBuckets.at(-1) ?? -1];

holds("every part starts at a multiple of 16 floats, and the model's order and shapes are kept", (layout, from) => {
  const placed = [...layout.parameters, ...layout.statistics];
  const given = [...from.parameters, ...from.statistics];
  return (
    [
      ...placed.map(({ offset }) => offset),
      ...layout.buckets.map(({ start }) => start),
      layout.tailStart,
      layout.seatFloats,
    ].every((floats) => floats % 16 === 0) &&
    placed.every(
      ({ name, shape, size }, index) =>
        name === given[index]?.name && shape === given[index]?.shape && size === shape.reduce((a, b) => a * b, 1),
    )
  );
});

holds(
  "parameters lie from the model's end to its beginning without overlap, with less than 16 floats of gap",
  ({ parameters, parameterFloats }) =>
    parameters.at(-1)?.offset === 0 &&
    parameters.every(({ offset, size }, index) => {
      const next = parameters[index - 1]?.offset ?? parameterFloats;
      return next >= offset + size && next < offset + size + 16;
    }),
);

holds("each bucket of a step is handed over by one stage, in order; a run of one seat has one stage", (layout) => {
  const isInOrder = layout.stages.flat().join() === layout.stepBuckets.join();
  return isInOrder && layout.stages.length === (layout.seats === 1 ? 1 : layout.stepBuckets.length);
});

holds("the step's buckets cover parameters, tail and statistics, back to back, none empty", (layout) => {
  const step = layout.stepBuckets.map((index) => layout.buckets[index] ?? { start: -1, length: 0 });
  let end = 0;
  const backToBack = step.every(({ start, length }) => {
    const follows = start === end && length > 0;
    end = start + length;
    return follows;
  });
  return backToBack && end === layout.tailStart + tailFields + layout.statisticFloats;
});

holds(
  "no parameter lies in two buckets, and a bucket but the last is as large as asked and one parameter larger at most",
  (layout, { bucketBytes }) =>
    layout.stepBuckets.slice(0, -1).every((index) => {
      const { start, length } = layout.buckets[index] ?? { start: 0, length: 0 };
      const inside = layout.parameters.filter(({ offset }) => offset >= start && offset < start + length);
      const last = inside.at(-1);
      return (
        last !== undefined &&
        last.offset + last.size <= start + length &&
        length >= bucketBytes / 4 &&
        last.offset - start < bucketBytes / 4
      );
    }),
);

holds("the tail lies in the last bucket of a step, after all parameters", (layout) => {
  const last = lastStepBucket(layout);
  return (
    layout.tailStart === layout.parameterFloats &&
    last !== undefined &&
    last.start <= layout.tailStart &&
    last.start + last.length >= layout.tailStart + tailFields
  );
});

holds(
  "the evaluation's bucket is the last, overlaps no other, and has room for a confusion matrix",
  (layout, { classes }) => {
    const evaluation = layout.buckets[layout.evaluationBucket];
    const last = lastStepBucket(layout);
    return (
      evaluation !== undefined &&
      last !== undefined &&
      layout.evaluationBucket === layout.buckets.length - 1 &&
      !layout.stepBuckets.includes(layout.evaluationBucket) &&
      evaluation.start >= last.start + last.length &&
      evaluation.length === 2 + classes * classes &&
      evaluation.start + evaluation.length <= layout.seatFloats
    );
  },
);

holds("the same model gives the same layout and hash", (layout, from) => {
  const again = createLayout(structuredClone(from));
  return JSON.stringify(again) === JSON.stringify(layout);
});

const changes: Record<string, (from: Options) => Options> = {
  "one seat more": (from) => ({ ...from, seats: from.seats + 1 }),
  "one class more": (from) => ({ ...from, classes: from.classes + 1 }),
  "a parameter's name": (from) => ({
    ...from,
    parameters: [{ name: "other", shape: from.parameters[0]?.shape ?? [] }, ...from.parameters.slice(1)],
  }),
  "a parameter's shape": (from) => ({
    ...from,
    parameters: [
      { name: from.parameters[0]?.name ?? "", shape: [...(from.parameters[0]?.shape ?? []), 1] },
      ...from.parameters.slice(1),
    ],
  }),
  "one parameter more": (from) => ({ ...from, parameters: [...from.parameters, { name: "more", shape: [1] }] }),
  "one statistic more": (from) => ({ ...from, statistics: [...from.statistics, { name: "more", shape: [1] }] }),
  "a parameter that is a statistic": (from) => ({
    ...from,
    parameters: from.parameters.slice(0, -1),
    statistics: [...from.parameters.slice(-1), ...from.statistics],
  }),
  "the order of the parameters": (from) => ({
    ...from,
    parameters: [...from.parameters.slice(1), ...from.parameters.slice(0, 1)],
  }),
};
for (const [name, change] of Object.entries(changes)) {
  holds(`another hash: ${name}`, (layout, from) => {
    const changed = change(from);
    return JSON.stringify(changed) === JSON.stringify(from) || createLayout(changed).hash !== layout.hash;
  });
}

t.test("bucketBytes enters the hash where it cuts otherwise", async (t) => {
  const from = {
    parameters: [1, 2, 3].map((index) => ({ name: `p${index}`, shape: [1024] })),
    statistics: [],
    classes: 2,
    seats: 2,
  };
  const [small, large, larger] = [4096, 2 ** 20, 2 ** 21].map((bucketBytes) => createLayout({ ...from, bucketBytes }));
  t.equal(small?.stepBuckets.length, 3);
  t.equal(large?.stepBuckets.length, 1);
  t.not(small?.hash, large?.hash);
  t.equal(large?.hash, larger?.hash, "the same cuts are the same layout");
});

const needs = fc.record({
  layout: options.map(createLayout),
  slots: fc.integer({ min: 0, max: 3 }),
  threads: fc.integer({ min: 1, max: 4 }),
  batch: fc.integer({ min: 1, max: 300 }),
  imageFloats: fc.integer({ min: 1, max: 3000 }),
});
type Needs = Parameters<typeof createMemoryMap>[0];

function regions(map: MemoryMap, { layout, batch, imageFloats }: Needs): (readonly [start: number, floats: number])[] {
  return [
    [map.parameters, layout.parameterFloats],
    [map.statistics, layout.statisticFloats],
    ...map.slots.map((start) => [start, layout.parameterFloats] as const),
    ...map.reduced.map((start) => [start, layout.seatFloats] as const),
    ...map.seats.map((start) => [start, layout.seatFloats] as const),
    ...map.threads.flatMap(({ images, labels, scratch }) => [
      [images, batch * imageFloats] as const,
      [labels, batch] as const,
      [scratch, batch + 32] as const,
    ]),
  ];
}

t.test("nothing in a rank's memory overlaps; all is aligned, and address 0 is nobody's", async (t) => {
  const fits = fc.property(needs, (each) => {
    const map = createMemoryMap(each);
    const sorted = regions(map, each).sort(([a], [b]) => a - b);
    return (
      map.slots.length === each.slots &&
      map.seats.length === each.layout.seats &&
      map.threads.length === each.threads &&
      map.bytes % 65_536 === 0 &&
      sorted.every(([start, floats], index) => {
        const end = sorted[index + 1]?.[0] ?? map.bytes;
        return start % 64 === 0 && start >= 64 && start + 4 * floats <= end;
      })
    );
  });
  t.doesNotThrow(() => fc.assert(fits));
});

const rank = (floats: number, seats = 64) => ({
  layout: createLayout({
    parameters: [{ name: "p", shape: [floats] }],
    statistics: [],
    classes: 2,
    seats,
    bucketBytes: 2 ** 22,
  }),
  slots: 2,
  threads: 2,
  batch: 32,
  imageFloats: 784,
});

t.test("a rank has room for every seat of the run, or for as many as fit", async (t) => {
  t.equal(createMemoryMap(rank(10_000_000, 100)).seats.length, 100);
  const few = createMemoryMap(rank(10_000_000, 110));
  t.equal(few.seats.length, 102);
  t.ok(few.bytes <= 2 ** 32 && few.bytes + 4 * 10_000_000 > 2 ** 32);
  t.equal(createMemoryMap(rank(178_000_000, 4)).seats.length, 1);
});

t.test("a run of which a rank can hold no seat is refused, saying what it needs and what to change", async (t) => {
  t.throws(() => createMemoryMap(rank(180_000_000)), {
    name: "TrainingError",
    code: "OUT_OF_MEMORY",
    message:
      /^a rank can hold 4096 MiB, this one needs 41\d\d MiB for one seat of 180000000 parameters and 2 threads' batches of 32; use fewer threads, smaller batches or a smaller model$/,
  });
});

t.test("the memory is shared, as large as its map and full of zeros", async (t) => {
  const map = createMemoryMap(rank(1000));
  const { buffer } = createMemory(map);
  t.ok(buffer instanceof SharedArrayBuffer);
  t.equal(buffer.byteLength, map.bytes);
  t.ok(new Uint32Array(buffer).every((word) => word === 0));
});
