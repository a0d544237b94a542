import t from "tap";
import { advantage, benchLine, bestOf, median } from "../src/bench/bench-line.ts";
import { optimizerWorks } from "../src/bench/bench-optimizer.ts";
import { chooseWorks } from "../src/bench/choose-works.ts";
import { compare } from "../src/bench/compare.ts";
import { batchOf, canRun, stepMetrics, stepWorks, trainArgs } from "../src/bench/step-works.ts";

const named = (...names: string[]) => names.map((work) => ({ work }));

t.test("--work chooses the works whose name contains it, all without it", async (t) => {
  const works = named("a/float32/1-core", "a/float32/1-core/portable", "b/float32/2-cores");
  const chosen = (key?: string) => chooseWorks(works, key).map(({ work }) => work);
  t.same(chosen(), ["a/float32/1-core", "a/float32/1-core/portable", "b/float32/2-cores"]);
  t.same(chosen("1-core"), ["a/float32/1-core", "a/float32/1-core/portable"]);
  t.same(chosen("b/"), ["b/float32/2-cores"]);
});

t.test("--work that matches nothing is refused with the works that there are", async (t) => {
  t.throws(() => chooseWorks(named("one", "two"), "three"), {
    code: "BAD_OPTION",
    message: /found three; there are: one, two$/,
  });
});

t.test("a ratio above 1 says that we win, whichever way the metric is good", async (t) => {
  t.equal(advantage("more", 300, 100), 3);
  t.equal(advantage("more", 100, 400), 0.25);
  t.equal(advantage("less", 350, 700), 2);
  t.equal(advantage("less", 6, 3), 0.5);
});

t.test("the best of several peers is the one that is hardest to beat", async (t) => {
  const peers = [
    { peer: "slow", value: 10 },
    { peer: "fast", value: 20 },
    { peer: "middling", value: 15 },
  ];
  t.equal(bestOf("more", peers).peer, "fast");
  t.equal(bestOf("less", peers).peer, "slow");
});

t.test("a line has the median of each run's ratio, not the ratio of medians", async (t) => {
  const figure = { bench: "step", work: "w", metric: "images/s", better: "more" } as const;
  const peers = [100, 10, 50].map((value) => ({ peer: "them", value }));
  t.same(benchLine(figure, [100, 40, 100], peers), {
    bench: "step",
    work: "w",
    metric: "images/s",
    value: 100,
    peer: "them",
    peerValue: 50,
    ratio: 2,
    runs: 3,
  });
  t.match(benchLine({ ...figure, better: "less" }, [100, 40, 100], peers), { ratio: 0.5 });
  t.same(
    Object.keys(benchLine(figure, [1], [])),
    ["bench", "work", "metric", "value", "runs"],
    "nobody to compare with",
  );
});

t.test("a median is the middle, or the mean of both middles", async (t) => {
  t.equal(median([10, 9, 100]), 10);
  t.equal(median([4, 1, 3, 2]), 2.5);
});

t.test("ours and the peer are measured in turn, and each run is told", async (t) => {
  const order: string[] = [];
  const told: string[] = [];
  const take = async (who: string) => order.push(who);
  const line = await compare(
    {
      bench: "b",
      work: "w",
      metric: "ms",
      better: "less",
      ours: () => take("ours"),
      peer: async () => ({ peer: "them", value: await take("theirs") }),
    },
    { runs: 2, onProgress: (said) => told.push(said) },
  );
  t.same(order, ["ours", "theirs", "ours", "theirs"]);
  t.match(line, { value: 2, peer: "them", peerValue: 3, runs: 2 });
  t.same(told, ["w, run 1 of 2: 1.00 ms (them: 2.00)", "w, run 2 of 2: 3.00 ms (them: 4.00)"]);
});

t.test("no two works share a name, and a name says what is trained", async (t) => {
  for (const works of [stepWorks, optimizerWorks]) t.equal(new Set(works.map(({ work }) => work)).size, works.length);
  for (const { work, metric = "images/s", ours } of stepWorks) {
    const { model, precision, cores } = ours;
    const said = `${model}/${precision}/${cores}-core${cores === 1 ? "" : "s"}`;
    t.ok(metric === "images/s" ? `${work}/`.startsWith(`${said}/`) : work.startsWith(`${model}/`), work);
    t.equal(batchOf(ours), 64 * cores, "64 samples a core");
  }
});

t.test("a training becomes the options of a run on the CPU, by the backend that it names", async (t) => {
  const training = { model: "simple-cnn", precision: "float32", cores: 2 } as const;
  const line = (...args: Parameters<typeof trainArgs>) => trainArgs(...args).join(" ");
  t.equal(
    line(training, 20),
    '--ranks 1 --threads 2 --seats 2 --backend tensorflow --device cpu --max-steps 20 --set batchSize=128 --set precision="float32"',
  );
  t.match(line({ ...training, ranks: 2 }, 20), "--ranks 2 --threads 1 --seats 2");
  t.match(line({ ...training, backend: "portable" }, 20), "--backend portable");
  t.match(line({ ...training, set: { compiler: "xla" } }, 20), '--set compiler="xla"');
});

t.test("memory is that of a process with one compute thread, and less of it is better", async (t) => {
  const [memory] = chooseWorks(stepWorks, "memory");
  t.match(memory, { metric: "peak MiB", peer: { budget: 700 } });
  t.match(memory && trainArgs(memory.ours, 2).join(" "), "--ranks 2 --threads 1 --seats 2");
  t.equal(stepMetrics["peak MiB"].better, "less");
  t.equal(stepMetrics["images/s"].better, "more");
});

t.test("bfloat16 is measured only where the CPU has it", async (t) => {
  const training = (precision: "float32" | "bfloat16") => ({ model: "mlp", precision, cores: 1 }) as const;
  t.ok(canRun(training("float32"), []));
  t.notOk(canRun(training("bfloat16"), ["avx2", "avx512f"]));
  t.ok(canRun(training("bfloat16"), ["avx512_bf16"]));
  t.ok(canRun(training("bfloat16"), ["amx_bf16"]));
});
