import t from "tap";
import { createLayout, createMemory, createMemoryMap, describeNotFinite } from "../src/index.ts";

/** Small buckets and sizes that leave gaps, so that tensors do not lie back to back. */
const layout = createLayout({
  parameters: [
    { name: "conv2d/kernel", shape: [3, 3, 1, 5] },
    { name: "conv2d/bias", shape: [5] },
    { name: "conv2d_1/kernel", shape: [40, 30] },
    { name: "dense/kernel", shape: [7, 10] },
    { name: "dense/bias", shape: [10] },
  ],
  statistics: [{ name: "batch_normalization/moving_mean", shape: [3] }],
  classes: 10,
  seats: 2,
  bucketBytes: 4096,
});
const map = createMemoryMap({ layout, slots: 2, threads: 1, batch: 8, imageFloats: 16 });

/** A rank's memory as a healthy step leaves it: `spoil` one float of a tensor, the last where no index is given. */
function rank() {
  const memory = createMemory(map);
  new Float32Array(memory.buffer).fill(1);
  const spoil = (buffer: number, name: string, value = Number.NaN, index?: number) => {
    const placed = layout.parameters.find((each) => each.name === name);
    if (!placed) throw new Error(`no parameter ${name}`);
    new Float32Array(memory.buffer, buffer + 4 * placed.offset, placed.size)[index ?? placed.size - 1] = value;
  };
  const describe = (round = 0) => describeNotFinite(memory, map, layout, map.reduced[round] ?? 0);
  return { memory, spoil, describe };
}

t.test("where all is finite there is nothing to name, however large the numbers", async (t) => {
  const { spoil, describe } = rank();
  t.equal(describe(), null);
  spoil(map.parameters, "dense/kernel", -3.4e38);
  spoil(map.reduced[0], "dense/kernel", 1e-45);
  t.equal(describe(), null);
});

for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
  t.test(`one ${value} anywhere in a tensor is found`, async (t) => {
    for (const { name, size } of layout.parameters)
      for (const index of [0, size >> 1, size - 1]) {
        const { spoil, describe } = rank();
        spoil(map.reduced[0], name, value, index);
        t.equal(describe(), `the gradients of ${name} are not finite`);
        spoil(map.parameters, name, value, index);
        t.equal(describe(), `the parameters ${name} are not finite`);
      }
  });
}

/** Tensors that are not finite, not in the model's order, and how they are listed. */
const lists: [string[], string][] = [
  [["dense/bias", "conv2d/bias"], "conv2d/bias and dense/bias"],
  [["dense/kernel", "conv2d_1/kernel", "conv2d/bias"], "conv2d/bias, conv2d_1/kernel and dense/kernel"],
  [
    ["dense/bias", "dense/kernel", "conv2d_1/kernel", "conv2d/bias"],
    "conv2d/bias, conv2d_1/kernel and dense/kernel (and 1 more)",
  ],
  [layout.parameters.map(({ name }) => name).reverse(), "conv2d/kernel, conv2d/bias and conv2d_1/kernel (and 2 more)"],
];
for (const [names, list] of lists) {
  t.test(`${names.length} tensors are named in the model's order, three at most`, async (t) => {
    const { spoil, describe } = rank();
    for (const name of names) spoil(map.reduced[0], name);
    t.equal(describe(), `the gradients of ${list} are not finite`);
    for (const name of names) spoil(map.parameters, name);
    t.equal(describe(), `the parameters ${list} are not finite`);
  });
}

t.test("parameters that are not finite are named alone: they explain the gradients", async (t) => {
  const { spoil, describe } = rank();
  for (const { name } of layout.parameters) spoil(map.reduced[0], name);
  spoil(map.parameters, "dense/kernel");
  t.equal(describe(), "the parameters dense/kernel are not finite");
});

t.test("only the given round's gradients are looked at", async (t) => {
  const { spoil, describe } = rank();
  spoil(map.reduced[1], "conv2d/bias");
  t.equal(describe(0), null);
  t.equal(describe(1), "the gradients of conv2d/bias are not finite");
});

t.test("what is no parameter and no gradient of one is not named", async (t) => {
  const { memory, describe } = rank();
  const everything = new Float32Array(memory.buffer);
  const kept = [map.parameters, ...map.reduced].flatMap((buffer) =>
    layout.parameters.map(({ offset, size }) => ({ start: buffer / 4 + offset, end: buffer / 4 + offset + size })),
  );
  everything.fill(Number.NaN);
  for (const { start, end } of kept) everything.fill(0, start, end);
  t.equal(describe(0), null);
  t.equal(describe(1), null);
});
