/** What holds in every world, whatever goes wrong in it. */
import type { CoordinatorEffect, CoordinatorEnd, RunEvent } from "@ringmaster/coordinator";
import type { Millis } from "@ringmaster/protocol";
import { terminatedExitCode, type WorkerEffect } from "@ringmaster/worker";
import type { Content } from "./content.ts";
import type { Disk, JournalContents } from "./disk.ts";
import type { WorldSettings } from "./settings.ts";
import type { VirtualTime } from "./virtual-time.ts";
import type { WorkerEnd, WorkerNode } from "./worker-node.ts";

/** A worker to which nothing has happened for so long has no reason to be left out. */
const healthyMs = 15_000;

/** The world, as far as it is looked at. */
interface WatchedWorld {
  readonly time: Pick<VirtualTime, "nowMs">;
  readonly settings: WorldSettings;
  readonly content: Content;
  readonly disk: Disk;
  readonly workers: readonly WorkerNode[];
  readonly end: CoordinatorEnd | null;
  mayEndWith(code: string): boolean;
}

export class Invariants {
  readonly violations: string[] = [];
  readonly #world: WatchedWorld;
  /** The most steps that were ever committed, and the id of each one's state. */
  #committed = 0;
  readonly #stateIds = new Map<number, string>();
  /** [step]: who has reduced it, and not dropped it since. */
  readonly #holders = new Map<number, Set<WorkerNode>>();
  readonly #troubledMs = new Map<WorkerNode, Millis>();

  constructor(world: WatchedWorld) {
    this.#world = world;
  }

  violate(message: string): void {
    this.violations.push(`at ${this.#world.time.nowMs.toFixed(3)} ms: ${message}`);
  }

  /** Something happens to a worker. */
  troubled(node: WorkerNode): void {
    this.#troubledMs.set(node, this.#world.time.nowMs);
  }

  held(node: WorkerNode, step: number): void {
    const holders = this.#holders.get(step) ?? new Set();
    this.#holders.set(step, holders.add(node));
  }

  worker(node: WorkerNode, effect: WorkerEffect): void {
    const { content } = this.#world;
    switch (effect.type) {
      case "snapshot":
      case "offer":
        if (node.compute.state !== content.stateAfter(effect.progress.step))
          this.violate(`${node.process.name} has a wrong state of step ${effect.progress.step} (${effect.type})`);
        return;
      case "drop":
        for (const holders of this.#holders.values()) holders.delete(node);
        return;
      case "send":
        if (effect.message.type === "WorkerFailed")
          this.violate(`${node.process.name} fails: ${effect.message.code} ${effect.message.message}`);
        return;
      case "end":
        if (effect.exitCode === 1 && this.#world.end?.exitCode === 0)
          this.violate(`${node.process.name} ends with ${effect.code}: ${effect.message}`);
        return;
      default:
        return;
    }
  }

  coordinator(effect: CoordinatorEffect): void {
    if (effect.type !== "send") return;
    const { message } = effect;
    if (message.type === "CoordinatorLoad" && message.step < this.#committed) {
      const holder = this.#world.workers.find(
        (node) => this.#isHealthy(node) && node.core.standing.step >= this.#committed,
      );
      if (holder)
        this.violate(
          `step ${this.#committed} is committed and ${holder.process.name} holds it, but all go back to step ${message.step}`,
        );
    }
  }

  event(event: RunEvent): void {
    if (event.type === "restored") {
      this.#committed = Math.min(this.#committed, event.step);
      for (const step of this.#stateIds.keys()) if (step > event.step) this.#stateIds.delete(step);
    }
    if (event.type === "note" && event.line.includes("differ")) this.violate(event.line);
    if (event.type !== "committed") return;
    const { step, stateId, tail } = event;
    const known = this.#stateIds.get(step);
    if (known !== undefined && known !== stateId)
      this.violate(`step ${step} is committed with two states, ${known} and ${stateId}`);
    this.#stateIds.set(step, stateId);
    this.#committed = Math.max(this.#committed, step);
    const { content } = this.#world;
    const expected = content.tailOf(content.stateAfter(step - 1), step - 1);
    for (const field of ["loss", "correct", "samples"] as const)
      if (tail[field] !== expected[field])
        this.violate(`step ${step} is committed with ${field} ${tail[field]}, expected ${expected[field]}`);
    if (tail.receipt.some((limb, index) => limb !== expected.receipt[index]))
      this.violate(`step ${step} has a wrong receipt`);
  }

  recorded({ record }: JournalContents): void {
    if (record?.kind !== "proceeding" || record.step >= this.#committed) return;
    const holder = this.#world.workers.find(
      (node) => this.#isHealthy(node) && node.core.standing.step >= this.#committed,
    );
    if (holder)
      this.violate(
        `step ${this.#committed} is committed, but generation ${record.generation} proceeds from ${record.step}`,
      );
    this.#committed = record.step;
    for (const step of this.#stateIds.keys()) if (step > record.step) this.#stateIds.delete(step);
  }

  checkEnd(ends: readonly (WorkerEnd & { readonly worker: number })[]): void {
    const { end, workers, settings } = this.#world;
    if (!end) return;
    if (!this.#world.mayEndWith(end.code)) return this.violate(`the run ends with ${end.code}: ${end.message}`);
    // One that slept through the end looks for a coordinator until its patience is over.
    for (const node of workers)
      if (node.process.isAlive && node.line?.end)
        this.violate(`${node.process.name} has not ended, ${node.core.phase} after the run's end`);
    const right = [0, end.exitCode, terminatedExitCode];
    const wrong = ends.find(({ exitCode }) => !right.includes(exitCode));
    if (wrong) this.violate(`worker ${wrong.worker} ended with ${wrong.code}: ${wrong.message}`);
    const there = new Set(
      ends.flatMap(({ worker, exitCode }) => (exitCode === terminatedExitCode ? [] : (workers[worker] ?? []))),
    );
    if (end.code === "FINISHED") this.#checkDisk(settings.steps, there);
    if (end.code === "STOPPED" && this.#committed > 0) this.#checkDisk(this.#committed, there);
  }

  /** @param there workers that were there at the end */
  #checkDisk(steps: number, there: ReadonlySet<WorkerNode>): void {
    const { disk, settings, content } = this.#world;
    const last = disk.checkpoints.get(steps);
    if (!last) this.violate(`there is no checkpoint of step ${steps}`);
    else if (last.state !== content.stateAfter(steps)) this.violate("the last state is not that of an undisturbed run");
    const shown = disk.metrics.steps.map(({ step }) => step);
    if (shown.some((step, index) => step <= (shown[index - 1] ?? 0)))
      return this.violate(`the metrics have the steps ${shown.join(", ")}, expected each once and in order`);
    const late = disk.metrics.evaluated.find(({ step, after }) => after > step);
    if (late)
      return this.violate(`the ${late.split} after step ${late.step} stands behind the row of step ${late.after}`);
    const missing = Array.from({ length: steps }, (_, index) => index + 1).filter((step) => !shown.includes(step));
    // What a coordinator heard and did not write before it died is lost with those who told it.
    const untold = missing.find((step) => [...(this.#holders.get(step) ?? [])].some((node) => there.has(node)));
    if (untold !== undefined)
      return this.violate(`the metrics lack step ${untold} of ${steps}, of which a rank could tell`);
    if (missing.length > 0) return;
    // Each sample of an epoch is in one step's batch, once.
    const { stepsPerEpoch } = content.sampler;
    for (let epoch = 0; epoch < Math.floor(steps / stepsPerEpoch); epoch++) {
      const inEpoch = disk.metrics.steps.slice(epoch * stepsPerEpoch, (epoch + 1) * stepsPerEpoch);
      const samples = inEpoch.reduce((sum, { tail }) => sum + tail.samples, 0);
      if (samples !== settings.datasetSize)
        this.violate(`epoch ${epoch} worked ${samples} samples of ${settings.datasetSize}`);
    }
  }

  #isHealthy(node: WorkerNode): boolean {
    const { nowMs } = this.#world.time;
    return node.process.isRunning && nowMs - (this.#troubledMs.get(node) ?? Number.NEGATIVE_INFINITY) > healthyMs;
  }
}
