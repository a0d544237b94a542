/**
 * A rank's loop as a state machine without I/O.
 *
 * Between two steps lies a boundary: the step is held, the optimizer has run, and what is due is done in a fixed order: validation, hash, checkpoint, test.
 * A validation is a round of the ring like a step, so every rank works through the same boundary and needs no word from the coordinator.
 *
 *     joining -> preparing -> ready -> stepping -> (boundary -> stepping)* -> finishing -> ended
 */
import type {
  CoordinatorMessage,
  RunConfig,
  RunProgress,
  WorkerEvaluated,
  WorkerMessage,
  WorkerReady,
} from "@ringmaster/protocol";
import type { Tail } from "@ringmaster/training";
import { type Due, dueAfter, type RunLength, runLength } from "./due.ts";
import { initialLossScale, lowestLossScale } from "./loss-scale.ts";
import { afterStep, afterValidation, initialProgress } from "./progress.ts";

type Start = Extract<CoordinatorMessage, { type: "CoordinatorStart" }>;
type Evaluation = WorkerEvaluated["evaluation"];

export interface StepTiming {
  readonly dataMs: number;
  readonly computeMs: number;
  readonly communicationMs: number;
  readonly optimizerMs: number;
}

export type WorkerInput =
  | { readonly type: "coordinator"; readonly message: CoordinatorMessage }
  /** Compute threads, state and ring are in place. */
  | {
      readonly type: "prepared";
      readonly stepsPerEpoch: number;
      readonly ready: Omit<WorkerReady, "type" | "generation" | "stepsPerEpoch" | "totalSteps">;
    }
  /** The reduced tail of the step under way is here. */
  | {
      readonly type: "stepHeld";
      readonly tail: Tail;
      readonly expected: Pick<Tail, "samples" | "receipt">;
      readonly timing: StepTiming;
      readonly memoryBytes: number;
    }
  | { readonly type: "evaluationHeld"; readonly evaluation: Evaluation }
  /** The optimizer has run. */
  | { readonly type: "updated" }
  | { readonly type: "hashed"; readonly hash: string }
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  | { readonly type: "coordinatorLost"; readonly message: string }
  /** SIGTERM, or the supervisor is gone. */
  | { readonly type: "terminate"; readonly reason: string };

export interface Update {
  readonly optimizerStep: number;
  readonly samples: number;
  /** What the gradients' losses were multiplied by. */
  readonly lossScale: number;
}

export type WorkerEffect =
  | { readonly type: "send"; readonly message: WorkerMessage }
  | { readonly type: "prepare"; readonly start: Start }
  /** `update` first, if there is one; then compute step `step` in the next round. */
  | {
      readonly type: "step";
      readonly step: number;
      readonly plan: boolean;
      readonly lossScale: number;
      readonly update: Update | null;
    }
  | { readonly type: "update"; readonly update: Update }
  | { readonly type: "evaluate"; readonly split: "validation" | "test" }
  | { readonly type: "hash" }
  /** Copy the state and send it to the coordinator while training goes on. */
  | { readonly type: "uploadState"; readonly progress: RunProgress }
  | { readonly type: "end"; readonly exitCode: number; readonly code: string; readonly message: string };

type Phase = "joining" | "preparing" | "ready" | "stepping" | "finishing" | "ended";

/** What answers something that this core asked for comes in one phase only. */
const answeredIn: Readonly<Partial<Record<WorkerInput["type"], Phase>>> = {
  prepared: "preparing",
  stepHeld: "stepping",
  updated: "stepping",
  hashed: "stepping",
  evaluationHeld: "stepping",
};

type Task = "hash" | "validation" | "checkpoint" | "test";

export class WorkerCore {
  #phase: Phase = "joining";
  #start: Start | undefined;
  #length: RunLength = { stepsPerEpoch: 1, totalSteps: 1 };
  #progress: RunProgress = initialProgress;
  #planPending = false;
  /** Whether the step under way was given the pending plan. */
  #planSent = false;
  #tasks: Task[] = [];
  #isLast = false;

  get phase(): Phase {
    return this.#phase;
  }

  /** Steps done. */
  get stepsDone(): number {
    return this.#progress.step;
  }

  get progress(): RunProgress {
    return this.#progress;
  }

  handle(input: WorkerInput): WorkerEffect[] {
    if (this.#phase === "ended") return [];
    const phase = answeredIn[input.type] ?? this.#phase;
    if (phase !== this.#phase)
      return this.#fail("UNEXPECTED_INPUT", `${input.type} while ${this.#phase}, expected while ${phase}`);
    switch (input.type) {
      case "coordinator":
        return this.#hear(input.message);
      case "prepared":
        return this.#prepared(input);
      case "stepHeld":
        return this.#stepHeld(input);
      case "updated":
        return this.#tasks.length > 0 || this.#isLast ? this.#nextTask() : [];
      case "hashed":
        return [this.#send({ type: "WorkerStateHash", ...this.#now(), hash: input.hash }), ...this.#nextTask()];
      case "evaluationHeld":
        return this.#evaluationHeld(input.evaluation);
      case "failed":
        return this.#fail(input.code, input.message);
      case "coordinatorLost":
        return this.#end(1, "COORDINATOR_LOST", input.message);
      case "terminate":
        return [this.#send({ type: "WorkerBye", reason: input.reason }), ...this.#end(143, "TERMINATED", input.reason)];
    }
  }

  #hear(message: CoordinatorMessage): WorkerEffect[] {
    switch (message.type) {
      case "CoordinatorStart":
        if (this.#phase !== "joining")
          return this.#fail("UNEXPECTED_MESSAGE", `a CoordinatorStart while ${this.#phase}`);
        this.#phase = "preparing";
        this.#start = message;
        this.#progress =
          message.source.kind === "state"
            ? message.source.progress
            : { ...initialProgress, lossScale: initialLossScale(message.config.precision) };
        return [{ type: "prepare", start: message }];
      case "CoordinatorBegin":
        if (this.#phase !== "ready") return this.#fail("UNEXPECTED_MESSAGE", `a CoordinatorBegin while ${this.#phase}`);
        if (message.firstStep !== this.#progress.step) {
          return this.#fail(
            "WRONG_STEP",
            `asked to begin with step ${message.firstStep}, this rank's state is of step ${this.#progress.step}`,
          );
        }
        this.#phase = "stepping";
        return this.#progress.step >= this.#length.totalSteps ? this.#finish() : [this.#step(null)];
      case "CoordinatorPlan":
        if (message.change === "stop") this.#planPending = true;
        return [];
      case "CoordinatorFinish":
        return this.#end(0, "FINISHED", message.reason);
      case "CoordinatorAbort":
        return this.#end(message.code === "STOPPED" ? 130 : 1, message.code, message.message);
      case "CoordinatorSaved":
      case "CoordinatorHeartbeat":
        return [];
    }
  }

  #prepared({ stepsPerEpoch, ready }: Extract<WorkerInput, { type: "prepared" }>): WorkerEffect[] {
    this.#phase = "ready";
    this.#length = runLength(this.#config, stepsPerEpoch);
    return [this.#send({ type: "WorkerReady", generation: this.#generation, ...this.#length, ...ready })];
  }

  #stepHeld({ tail, expected, timing, memoryBytes }: Extract<WorkerInput, { type: "stepHeld" }>): WorkerEffect[] {
    const step = this.#progress.step;
    const right =
      tail.samples === expected.samples && tail.receipt.every((limb, index) => limb === expected.receipt[index]);
    if (!right) {
      const found = `${tail.samples} samples with receipt ${tail.receipt.join(".")}`;
      const wanted = `${expected.samples} samples with receipt ${expected.receipt.join(".")}`;
      return this.#fail(
        "RECEIPT_WRONG",
        `step ${step}: a sample was left out, used twice or stale: expected ${wanted}, found ${found}`,
      );
    }
    if (!Number.isFinite(tail.loss)) {
      const advice = "lower the learning rate, or look for bad values in the data; the last checkpoint is good";
      return this.#fail("LOSS_NOT_FINITE", `step ${step}: the loss is ${tail.loss}: ${advice}`);
    }
    const { scale } = this.#progress.lossScale;
    if (tail.overflowed > 0 && scale <= lowestLossScale) {
      const advice = "lower the learning rate, or train in bfloat16 or float32; the last checkpoint is good";
      return this.#fail(
        "GRADIENT_NOT_FINITE",
        `step ${step}: the gradient is not finite, at the smallest loss scale: ${advice}`,
      );
    }
    this.#progress = afterStep(this.#progress, tail, this.#length.stepsPerEpoch, this.#config.precision);
    const done = this.#progress.step;
    const stopped = this.#planSent && tail.plan === this.#config.seats;
    const due = dueAfter(done, this.#config, this.#length);
    this.#tasks = tasksOf(due, stopped);
    this.#isLast = due.end || stopped;
    const { loss, correct, samples, plan, overflowed } = tail;
    const held = this.#send({
      type: "WorkerHeld",
      ...this.#now(),
      tail: { loss, correct, samples, plan, overflowed },
      timing,
      memoryBytes,
    });
    const update = overflowed > 0 ? null : { optimizerStep: this.#progress.optimizerSteps, samples, lossScale: scale };
    if (this.#tasks.length === 0 && !this.#isLast) return [held, this.#step(update)];
    return update === null ? [held, ...this.#nextTask()] : [held, { type: "update", update }];
  }

  /** The next thing that is due at this boundary, or else the next step. */
  #nextTask(): WorkerEffect[] {
    const task = this.#tasks.shift();
    switch (task) {
      case "hash":
        return [{ type: "hash" }];
      case "validation":
        return [{ type: "evaluate", split: "validation" }];
      case "test":
        return [{ type: "evaluate", split: "test" }];
      case "checkpoint":
        // Every rank holds the same state; one sends it.
        return this.#start?.rank === 0
          ? [{ type: "uploadState", progress: this.#progress }, ...this.#nextTask()]
          : this.#nextTask();
      case undefined:
        return this.#isLast ? this.#finish() : [this.#step(null)];
    }
  }

  #evaluationHeld(evaluation: Evaluation): WorkerEffect[] {
    if (evaluation.split === "validation") {
      if (!Number.isFinite(evaluation.loss)) {
        return this.#fail(
          "LOSS_NOT_FINITE",
          `validation after step ${this.#progress.step}: the loss is ${evaluation.loss}`,
        );
      }
      this.#progress = afterValidation(this.#progress, evaluation);
    }
    const said = this.#start?.rank === 0 ? [this.#send({ type: "WorkerEvaluated", ...this.#now(), evaluation })] : [];
    return [...said, ...this.#nextTask()];
  }

  #step(update: Update | null): WorkerEffect {
    this.#planSent = this.#planPending;
    const { step, lossScale } = this.#progress;
    return { type: "step", step, plan: this.#planPending, lossScale: lossScale.scale, update };
  }

  /** The last step has no successor that would commit it: the coordinator says when all have it. */
  #finish(): WorkerEffect[] {
    this.#phase = "finishing";
    const stopped = this.#progress.step < this.#length.totalSteps;
    return [this.#send({ type: "WorkerDone", ...this.#now(), stopped })];
  }

  #fail(code: string, message: string): WorkerEffect[] {
    return [
      this.#send({ type: "WorkerFailed", generation: this.#generation, code, message }),
      ...this.#end(1, code, message),
    ];
  }

  #end(exitCode: number, code: string, message: string): WorkerEffect[] {
    this.#phase = "ended";
    return [{ type: "end", exitCode, code, message }];
  }

  #send(message: WorkerMessage): WorkerEffect {
    return { type: "send", message };
  }

  #now() {
    return { generation: this.#generation, step: this.#progress.step };
  }

  get #generation(): number {
    return this.#start?.generation ?? 0;
  }

  get #config(): RunConfig {
    if (this.#start === undefined) throw new Error("a worker without a start has no config");
    return this.#start.config;
  }
}

function tasksOf(due: Due, stopped: boolean): Task[] {
  const tasks: Task[] = [];
  if (due.validation) tasks.push("validation");
  // A checkpoint is recorded under the hash of what it holds, so the hash comes after what changes the state.
  if (due.hash || stopped) tasks.push("hash");
  if (due.checkpoint || stopped) tasks.push("checkpoint");
  // A run that was stopped goes on another day; its test set is evaluated when it ends.
  if (due.end) tasks.push("test");
  return tasks;
}
