import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import t from "tap";
import { displayWidth, type ProgressState, renderProgress } from "../src/index.ts";

const STATE: ProgressState = {
  epoch: 2,
  epochs: 5,
  step: 123,
  steps: 2345,
  loss: 0.1234,
  accuracy: 0.9612,
  imagesPerSecond: 3586,
  etaSeconds: 65,
  world: "2 ranks x 1 thread",
  device: "CPU AMD EPYC",
};

const AT: [number, string][] = [
  [
    Number.POSITIVE_INFINITY,
    "epoch 2/5  step  123/2345  loss 0.1234  acc 96.12%  3,586 img/s  ETA 1m 05s  2 ranks x 1 thread, CPU AMD EPYC",
  ],
  [
    140,
    "epoch 2/5  step  123/2345  [=                   ]  loss 0.1234  acc 96.12%  3,586 img/s  ETA 1m 05s  2 ranks x 1 thread, CPU AMD EPYC",
  ],
  [
    125,
    "epoch 2/5  step  123/2345  [          ]  loss 0.1234  acc 96.12%  3,586 img/s  ETA 1m 05s  2 ranks x 1 thread, CPU AMD EPYC",
  ],
  [100, "epoch 2/5  step  123/2345  loss 0.1234  acc 96.12%  3,586 img/s  ETA 1m 05s  CPU AMD EPYC"],
  [80, "epoch 2/5  step  123/2345  loss 0.1234  acc 96.12%  3,586 img/s  ETA 1m 05s  CPU"],
  [75, "e2/5  step  123/2345  loss 0.1234  acc 96.12%  3,586 img/s  ETA 1m 05s  CPU"],
  [70, "e2/5  step  123/2345  loss 0.1234  acc 96.12%  ETA 1m 05s  CPU"],
  [60, "e2/5  step  123/2345  loss 0.1234  ETA 1m 05s  CPU"],
  [46, "step  123/2345  loss 0.1234  ETA 1m 05s  CPU"],
  [40, "step  123/2345  loss 0.1234  CPU"],
  [30, " 123/2345  loss 0.1234  CPU"],
  [20, " 123/2345  0.1234"],
  [10, " 123/2345"],
  [4, " 123"],
  [0, ""],
];
for (const [columns, expected] of AT) {
  t.test(`what matters least gives way first, at ${columns} columns`, async (t) => {
    t.equal(renderProgress(STATE, columns), expected);
  });
}

t.test("what is not known yet is not shown", async (t) => {
  const line = renderProgress({ epoch: 1, epochs: 5, step: 0, steps: 10, device: "GPU H100" }, 80);
  t.equal(line, "epoch 1/5  step  0/10  [                    ]  GPU H100");
});

t.test("a loss that is not a number is said, not hidden", async (t) => {
  t.match(renderProgress({ ...STATE, loss: Number.NaN }, 40), /loss NaN/);
});

t.test("the bar is full at the end, and not before", async (t) => {
  t.match(renderProgress({ ...STATE, step: 2344 }, 140), /\[={19} \]/);
  t.match(renderProgress({ ...STATE, step: 2345 }, 140), /\[={20}\]/);
  t.match(renderProgress({ ...STATE, step: 2345 }, 140, { unicode: true }), /━{20}/);
});

t.test("colour adds escape codes and nothing else", async (t) => {
  const painted = renderProgress(STATE, 100, { colour: true });
  t.ok(painted.includes("\x1b["));
  t.equal(stripVTControlCharacters(painted), renderProgress(STATE, 100));
});

t.test("property: a rendered line never exceeds its columns, never breaks, and is plain without colour", async (t) => {
  const number = fc.oneof(fc.double(), fc.constant(undefined));
  const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.string({ unit: "binary" }), fc.constant("\x1b[2J猫\n🐈"));
  const state = fc.record({
    epoch: fc.nat(),
    epochs: fc.nat(),
    step: fc.nat(),
    steps: fc.nat(),
    loss: number,
    accuracy: number,
    imagesPerSecond: number,
    etaSeconds: number,
    world: text,
    device: text,
  });
  fc.assert(
    fc.property(state, fc.nat(200), fc.boolean(), fc.boolean(), (state, columns, colour, unicode) => {
      const line = renderProgress(state, columns, { colour, unicode });
      const controls = colour ? /[\r\n]/ : /\p{Cc}/u;
      return displayWidth(line) <= columns && !controls.test(line);
    }),
    { numRuns: 500 },
  );
  t.pass("holds");
});
