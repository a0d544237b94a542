/**
 * What a seated rank does between two regroupings, as a state machine without I/O.
 *
 *     ring open -> boundary -> step -> held -> [update] -> boundary -> step -> ... -> finished
 *
 * Between two steps lies a boundary: the step is held, the optimizer has run, and what is due is done in a fixed order: validation, hash, checkpoint, test.
 * A validation is a round of the ring like a step, so every rank works through the same boundary and needs no word from the coordinator.
 *
 * When a regrouping cuts the loop off, what counts is the step that is held, with its progress as it was before its boundary: from there all ranks, those that
 * copied the state too, work that boundary once more. The optimizer alone is not cut off: it was told to run when the step was held, and comes to its end.
 */
import { nextStateId, type PlanEffect, type RunConfig, type RunProgress, seedStateId } from "@ringmaster/protocol";
import { boundaryAfter, type RunLength, type Task } from "./due.ts";
import { judgeStep, type StepFault } from "./judge-step.ts";
import type { KeptMessage } from "./outbox.ts";
import type { Plans } from "./plans.ts";
import { afterStep, afterValidation, seedProgress } from "./progress.ts";
import type { OptimizerUpdate, WorkerEffect, WorkerInput } from "./worker-io.ts";

type Input<Type extends WorkerInput["type"]> = Extract<WorkerInput, { type: Type }>;
export type LoopInput =
  | Input<"ringOpen">
  | Input<"stepHeld">
  | Input<"updated">
  | Input<"hashed">
  | Input<"evaluationHeld">;
type Awaited = LoopInput["type"];

export type LoopEffect =
  | Extract<WorkerEffect, { type: "step" | "update" | "evaluate" | "hash" | "snapshot" }>
  /** There is a snapshot for the writer to send. */
  | { readonly type: "upload" }
  /** The next step is held, under this name. */
  | { readonly type: "held"; readonly stateId: string }
  /** Said to the coordinator, and kept until it has it on disk. */
  | { readonly type: "keep"; readonly message: KeptMessage }
  /** Everything is done: no step follows. */
  | { readonly type: "finished" }
  /** The run has to go back for the step under way; nothing follows in this generation. */
  | { readonly type: "spoiled"; readonly step: number; readonly message: string }
  /** Every rank would find the same. */
  | { readonly type: "fault"; readonly fault: StepFault };

export class TrainingLoop {
  readonly #config: RunConfig;
  readonly #length: RunLength;
  readonly #plans: Plans;
  #generation = 0;
  #stateId = seedStateId;
  #progress: RunProgress;
  /** Of the state that is held, before its boundary. */
  #held: RunProgress;
  #awaited: Awaited | null = null;
  #isUpdating = false;
  #tasks: readonly Task[] = [];
  #isLast = false;
  #stateHash = "";
  /** Of the newest checkpoint that is known to be on disk. */
  #savedStep = -1;

  constructor(config: RunConfig, length: RunLength, plans: Plans) {
    this.#config = config;
    this.#length = length;
    this.#plans = plans;
    this.#progress = this.#held = seedProgress(config.precision);
  }

  get progress(): RunProgress {
    return this.#progress;
  }

  get awaited(): Awaited | null {
    return this.#awaited;
  }

  /** What a peer needs beside the tensors to do as this rank does. */
  get state(): { readonly progress: RunProgress; readonly effect: PlanEffect | null } {
    return { progress: this.#held, effect: this.#plans.effect };
  }

  /** The run ended before its last step. */
  get isStopped(): boolean {
    return this.#progress.step < this.#length.totalSteps;
  }

  /** What is on disk, as the coordinator has it: one that finds a checkpoint damaged has less than the one before it. */
  saved(step: number): void {
    this.#savedStep = step;
  }

  /** Another state lies in memory. */
  take(stateId: string, progress: RunProgress, effect: PlanEffect | null): void {
    this.#stateId = stateId;
    this.#progress = this.#held = progress;
    this.#plans.adopt(effect);
  }

  /** A ring is about to be opened, to go on from what is held. */
  proceed(generation: number): void {
    this.#generation = generation;
    this.#progress = this.#held;
    this.#awaited = "ringOpen";
  }

  /** The ring is cut. What was asked for is not awaited any more. */
  cut(): void {
    this.#awaited = null;
    this.#tasks = [];
  }

  /** The compute threads are at rest. */
  quiet(): void {
    this.#isUpdating = false;
  }

  /** @returns null where nothing of the kind was asked for */
  answer(input: LoopInput): readonly LoopEffect[] | null {
    if (input.type === "updated") return this.#updated();
    if (this.#awaited !== input.type || this.#generation !== input.generation) return null;
    this.#awaited = null;
    switch (input.type) {
      case "ringOpen":
        this.#setBoundary();
        return this.#nextTask();
      case "stepHeld":
        return this.#stepHeld(input);
      case "evaluationHeld":
        return this.#evaluationHeld(input);
      case "hashed":
        this.#stateHash = input.hash;
        return [this.#keep({ type: "WorkerStateHash", ...this.#now(), hash: input.hash }), ...this.#nextTask()];
    }
  }

  #stepHeld(input: Input<"stepHeld">): readonly LoopEffect[] {
    const { tail, timing, memoryBytes } = input;
    const before = this.#progress;
    const use = judgeStep(input, before, this.#config);
    if (typeof use !== "string")
      return "goBack" in use
        ? [{ type: "spoiled", step: before.step, message: use.goBack }]
        : [{ type: "fault", fault: use }];
    const { precision, seats } = this.#config;
    this.#progress = this.#held = afterStep(before, tail, use, this.#length.stepsPerEpoch, precision);
    this.#stateId = nextStateId(this.#stateId, this.#generation);
    this.#plans.held(this.#progress.step, tail.plan, seats);
    const stateId = this.#stateId;
    const said = { ...this.#now(), stateId, tail: { ...tail, receipt: [...tail.receipt] }, timing, memoryBytes };
    const held: LoopEffect[] = [{ type: "held", stateId }, this.#keep({ type: "WorkerHeld", ...said })];
    const { scale } = before.lossScale;
    const update: OptimizerUpdate | null =
      use === "update"
        ? { optimizerStep: this.#progress.optimizerSteps, samples: tail.samples, lossScale: scale }
        : null;
    this.#setBoundary();
    // Most steps have nothing after them: one command updates and computes the next.
    if (this.#tasks.length === 0 && !this.#isLast) return [...held, this.#step(update)];
    if (update === null) return [...held, ...this.#nextTask()];
    this.#isUpdating = true;
    this.#awaited = "updated";
    return [...held, { type: "update", update }];
  }

  #updated(): readonly LoopEffect[] | null {
    if (!this.#isUpdating) return null;
    this.#isUpdating = false;
    if (this.#awaited !== "updated") return [];
    this.#awaited = null;
    return this.#nextTask();
  }

  #setBoundary(): void {
    const { tasks, isLast } = boundaryAfter(this.#progress, this.#plans.effect, this.#config, this.#length);
    this.#tasks = tasks;
    this.#isLast = isLast;
  }

  /** The next thing that is due at this boundary, or else the next step. */
  #nextTask(): readonly LoopEffect[] {
    const [task, ...rest] = this.#tasks;
    this.#tasks = rest;
    switch (task) {
      case "hash":
        this.#awaited = "hashed";
        return [{ type: "hash", generation: this.#generation, progress: this.#progress }];
      case "validation":
      case "test":
        this.#awaited = "evaluationHeld";
        return [{ type: "evaluate", split: task }];
      case "checkpoint":
        return [...this.#snapshot(), ...this.#nextTask()];
      default:
        return this.#isLast ? [{ type: "finished" }] : [this.#step(null)];
    }
  }

  /** Every rank takes it, for one to write: should that one die, another has the same. */
  #snapshot(): readonly LoopEffect[] {
    if (this.#progress.step <= this.#savedStep) return [];
    const stateHash = this.#stateHash;
    return [{ type: "snapshot", progress: this.#progress, stateId: this.#stateId, stateHash }, { type: "upload" }];
  }

  #evaluationHeld({ evaluation }: Input<"evaluationHeld">): readonly LoopEffect[] {
    const { step } = this.#progress;
    if (evaluation.split === "validation") {
      if (!Number.isFinite(evaluation.loss)) {
        const message = `validation after step ${step}: the loss is ${evaluation.loss}`;
        return [{ type: "fault", fault: { code: "LOSS_NOT_FINITE", message } }];
      }
      this.#progress = afterValidation(this.#progress, evaluation);
    }
    return [this.#keep({ type: "WorkerEvaluated", ...this.#now(), evaluation }), ...this.#nextTask()];
  }

  #step(update: OptimizerUpdate | null): LoopEffect {
    this.#awaited = "stepHeld";
    this.#isUpdating = update !== null;
    const { step, lossScale } = this.#progress;
    const tag = `${this.#stateId}/${step}`;
    return { type: "step", step, tag, plan: this.#plans.give(), lossScale: lossScale.scale, update };
  }

  #keep(message: KeptMessage): LoopEffect {
    return { type: "keep", message };
  }

  #now() {
    return { generation: this.#generation, step: this.#progress.step };
  }
}
