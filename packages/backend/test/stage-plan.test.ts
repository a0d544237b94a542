import fc from "fast-check";
import t from "tap";
import { planStages, type RecordedOp } from "../src/tensorflow/stage-plan.ts";

/** Ids 0..9 are fed, 10..19 constants; each op makes one or two ids from earlier ones. */
const fed = Array.from({ length: 10 }, (_, id) => id);
interface TestOp extends RecordedOp {
  readonly isRepeated: boolean;
}
const programs = fc
  .array(
    fc.record({ picks: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }), two: fc.boolean(), again: fc.boolean() }),
    {
      minLength: 1,
      maxLength: 25,
    },
  )
  .map((steps) => {
    const ids = Array.from({ length: 20 }, (_, id) => id);
    return steps.map(({ picks, two, again }): TestOp => {
      const inputs = picks.map((pick) => ids[pick % ids.length] ?? 0);
      const outputs = two ? [ids.length, ids.length + 1] : [ids.length];
      ids.push(...outputs);
      return { inputs, outputs, isRepeated: again };
    });
  });
const cuts = programs.chain((ops) => {
  const last = Math.max(...ops.flatMap(({ outputs }) => outputs));
  return fc.record({
    ops: fc.constant(ops),
    results: fc.array(fc.array(fc.integer({ min: 0, max: last }), { maxLength: 4 }), { minLength: 1, maxLength: 5 }),
  });
});
const isRepeated = (op: TestOp) => op.isRepeated;

t.test(
  "stages run one after another hand over every result, read nothing that is not there, and keep nothing",
  async () => {
    fc.assert(
      fc.property(cuts, ({ ops, results }) => {
        const there = new Set<number>();
        planStages({ ops, fed, results, isRepeated }).forEach((stage, index) => {
          const known = new Set<number>(stage.inputs);
          for (const id of stage.inputs) if (!fed.includes(id) && !there.has(id)) throw new Error(`input ${id}`);
          for (const op of stage.ops) {
            for (const id of op.inputs) if (!known.has(id) && (id < 10 || id >= 20)) throw new Error(`operand ${id}`);
            for (const id of op.outputs) known.add(id);
          }
          for (const id of stage.outputs) {
            if (!known.has(id) && (id < 10 || id >= 20)) throw new Error(`output ${id}`);
            if (there.has(id)) throw new Error(`${id} is there already`);
            there.add(id);
          }
          for (const id of results[index] ?? [])
            if (!there.has(id) && !fed.includes(id)) throw new Error(`result ${id}`);
          for (const id of stage.releases) if (!there.delete(id)) throw new Error(`released ${id} twice`);
        });
        return there.size === 0;
      }),
    );
  },
);

t.test("an op is in one stage, unless it says that it is computed again; what nobody needs is in none", async () => {
  fc.assert(
    fc.property(cuts, ({ ops, results }) => {
      const stages = planStages({ ops, fed, results, isRepeated });
      const needed = new Set(results.flat());
      for (const op of [...ops].reverse())
        if (op.outputs.some((id) => needed.has(id))) for (const id of op.inputs) needed.add(id);
      return ops.every((op) => {
        const times = stages.filter((stage) => stage.ops.includes(op)).length;
        if (!op.outputs.some((id) => needed.has(id))) return times === 0;
        return op.isRepeated ? times >= 1 : times === 1;
      });
    }),
  );
});

t.test("a value that only a repeated op reads crosses, its result does not", async (t) => {
  const pool = { inputs: [20], outputs: [21], isRepeated: true };
  const ops: TestOp[] = [
    { inputs: [0], outputs: [20], isRepeated: false },
    pool,
    { inputs: [21], outputs: [22], isRepeated: false },
    { inputs: [20, 21, 1], outputs: [23], isRepeated: false },
  ];
  const [first, second] = planStages({ ops, fed, results: [[22], [23]], isRepeated });
  t.same(first?.outputs, [22, 20]);
  t.same(second?.ops, [pool, ops[3]]);
  t.same(second?.inputs, [20, 1]);
  t.same(first?.releases, [22]);
  t.same(second?.releases, [23, 20]);
});
