import { stripVTControlCharacters } from "node:util";
import t from "tap";
import { displayWidth, type FinalReport, renderFinalReport } from "../src/index.ts";

const ESCAPE = "\x1b";

const REPORT: FinalReport = {
  name: "mnist-cnn",
  steps: 2345,
  epochs: 1,
  seconds: 192.4,
  imagesPerSecond: 3586.2,
  validation: [{ epoch: 1, loss: 0.0812, accuracy: 0.9741 }],
  classNames: ["cat", "dog"],
  parametersHash: "5e1f".repeat(16),
  reproduce: "ringmaster train examples/mnist/train.ts --ranks 1 --seats 2",
  world: "2 ranks x 1 thread, CPU AMD EPYC",
  runFolder: "runs/mnist-cnn",
};
const TESTED: FinalReport = {
  ...REPORT,
  test: { loss: 0.4, accuracy: 0.85, confusion: { classes: 2, counts: [8, 2, 1, 9] } },
  fingerprintNote:
    "the hash holds for this CPU model, Node 20 and libtensorflow 2.21; elsewhere bits may round otherwise",
};

t.test("without a test set: what came out and how to get it again", async (t) => {
  t.equal(
    renderFinalReport(REPORT),
    [
      "mnist-cnn: training finished",
      "============================",
      "trained     1 epoch, 2,345 steps in 3m 12s (3,586 images/s)",
      "on          2 ranks x 1 thread, CPU AMD EPYC",
      "run folder  runs/mnist-cnn",
      "",
      "Validation",
      "+-------+--------+------------+",
      "| epoch |   loss | accuracy   |",
      "+-------+--------+------------+",
      "|     1 | 0.0812 |   97.41% * |",
      "+-------+--------+------------+",
      "* the highest accuracy.",
      "",
      "The same result again",
      "Hash of the trained parameters. The command below, on one rank, gives the same",
      "hash:",
      `  ${"5e1f".repeat(16)}`,
      "  ringmaster train examples/mnist/train.ts --ranks 1 --seats 2",
    ].join("\n"),
  );
});

t.test("how long checkpoints kept training waiting", async (t) => {
  t.match(
    renderFinalReport({ ...REPORT, checkpointPause: 0.0012 }),
    "\ncheckpoints  stood in training's way for 0.12% of the time\n",
  );
});

t.test("with a test set: its scores, the matrix and the note", async (t) => {
  const text = renderFinalReport(TESTED);
  t.match(text, "85.00% of 20 samples that training never saw were classified right; loss 0.4000.");
  t.match(text, "| cat              |    0.8889 | 0.8000 | 0.8421 |      10 |");
  t.match(text, "cat   [8]   2");
  t.match(text, /\nNote: the hash holds for this CPU model.*\n {6}\w/);
});

t.test("of many validations the last ten and the best are shown", async (t) => {
  const validation = Array.from({ length: 30 }, (_, k) => ({ epoch: k + 1, loss: 1, accuracy: k === 4 ? 0.9 : 0.5 }));
  const text = renderFinalReport({ ...REPORT, validation });
  const epochs = [...text.matchAll(/^\| +(\d+) \|/gm)].map(([, epoch]) => Number(epoch));
  t.same(epochs, [5, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30]);
  t.match(text, /90\.00% \*/);
  t.match(text, "* the highest accuracy. 19 more results in metrics.jsonl.");
});

t.test("an accuracy that is NaN is never the best", async (t) => {
  const validation = [Number.NaN, 0.5, Number.NaN].map((accuracy, k) => ({ epoch: k + 1, loss: 1, accuracy }));
  t.match(renderFinalReport({ ...REPORT, validation }), /50\.00% \*/);
});

t.test("a run that never validated has no such section", async (t) => {
  t.notMatch(renderFinalReport({ ...REPORT, validation: [] }), "Validation");
});

t.test("lines fit the columns, but for what is there to be copied; colour adds only escape codes", async (t) => {
  for (const columns of [60, 80, 120]) {
    const text = renderFinalReport(TESTED, { columns });
    t.notOk(text.includes(ESCAPE));
    const long = text.split("\n").filter((line) => displayWidth(line) > columns);
    const copied = [TESTED.parametersHash, TESTED.reproduce].map((line) => `  ${line}`);
    t.same(
      long,
      copied.filter((line) => line.length > columns),
    );
  }
  const painted = renderFinalReport(REPORT, { colour: true });
  t.ok(painted.includes(ESCAPE));
  t.equal(stripVTControlCharacters(painted), renderFinalReport(REPORT));
});
