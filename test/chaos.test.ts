/**
 * Real processes of real runs are killed, stopped, sent away, cut off and joined, again and again while they train. Afterwards the run has the bytes and the
 * books of one that nobody disturbed.
 */
import { join } from "node:path";
import t from "tap";
import { commonCheckpoint, disturb } from "./harness/chaos.ts";
import { anyFault, type FaultName, supervisedFault } from "./harness/chaos-faults.ts";
import { checkLedger } from "./harness/chaos-ledger.ts";
import { canCutLinks } from "./harness/chaos-links.ts";
import { type ChaosWorld, startSupervisedWorld, startWorldByHand } from "./harness/chaos-world.ts";
import { checkCode, checkNoStackTrace, succeed } from "./harness/ringmaster.ts";
import { chaosConfig, checkpoint, learning, newestCheckpoint, workspace } from "./harness/run-files.ts";
import { set, upTo } from "./harness/runs.ts";
import { until } from "./harness/waiting.ts";

const seed = Number(process.env["CHAOS_SEED"] ?? 14);
const trainSamples = 2011;
const runs = workspace(t);
const args = set("checkpoint.keep", 20);
const options = { config: chaosConfig, runs, ranks: 3, args };

const worlds = [
  {
    name: "by-hand",
    title: "started by hand, with spares",
    faults: 30,
    deck: anyFault,
    begin: (name: string) => startWorldByHand(t, { ...options, name }, 5),
  },
  {
    name: "supervised",
    title: "under ringmaster train",
    faults: 20,
    deck: supervisedFault,
    begin: (name: string) => startSupervisedWorld(t, { ...options, name }),
  },
];

const links = await canCutLinks();
if (!links) t.comment("connections of other processes cannot be cut here (ss --kill, as root): links of the ring stay");

const ended: { readonly name: string; readonly struckUntil: number }[] = [];
const struck: FaultName[] = [];
for (const { name, title, faults, deck, begin } of worlds) {
  t.test(`a run ${title} outlives ${faults} faults`, async (t) => {
    const world: ChaosWorld = await begin(name);
    const { "cut a link of the ring": cuts = 0, ...others } = deck;
    const cut = links ? { "cut a link of the ring": cuts } : {};
    const outcome = await disturb(world, { seed, deck: { ...others, ...cut }, faults, say: (line) => t.comment(line) });
    struck.push(...outcome.struck);
    await until("a checkpoint after the last fault", () => newestCheckpoint(world.run) > outcome.step);
    const [led, ...workers] = await world.stop();
    if (led) checkCode(t, led, 130);
    for (const worker of workers) checkCode(t, worker, 0);
    for (const each of led ? [led, ...workers] : []) checkNoStackTrace(t, each);
    const lost = world.watch.of("restored").length;
    const all = outcome.struck.filter((each) => each === "kill all workers").length;
    t.ok(lost <= all, "no step was lost but where every worker died", { lost, all });
    const steps = checkLedger(t, world.run, trainSamples);
    t.equal(newestCheckpoint(world.run), steps, "its last step is saved");
    ended.push({ name, struckUntil: outcome.step });
  });
}

t.test("and each has the bytes and the metrics of a run that nobody disturbed", async (t) => {
  t.ok(struck.length >= 50, `${struck.length} faults`);
  const most = Math.max(...ended.map(({ name }) => newestCheckpoint(join(runs, name))));
  const calm = ["--ranks", "1", "--threads", "2", "--seats", "4", ...set("checkpoint.keep", 10_000)];
  const where = ["--runs", runs, "--name", "undisturbed"];
  await succeed(t, ["train", chaosConfig, ...where, ...calm, ...upTo(most)], { mostMs: 200_000 });
  const undisturbed = join(runs, "undisturbed");
  const learnt = learning(undisturbed);
  for (const { name, struckUntil } of ended) {
    const run = join(runs, name);
    const step = commonCheckpoint(run, undisturbed);
    t.ok(step >= struckUntil, `${name}: they have a checkpoint in common after the last fault`);
    t.same(checkpoint(run, step), checkpoint(undisturbed, step), `${name}: the files of step ${step}`);
    const upToStep = (rows: typeof learnt) =>
      rows.filter((row) => Number(row["step"]) <= step && row["split"] !== "test");
    t.same(upToStep(learning(run)), upToStep(learnt), `${name}: its metrics`);
  }
});
