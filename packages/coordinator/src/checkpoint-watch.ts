/**
 * Which state is written as a checkpoint when, and what is said when the disk refuses; pure, so that tables test it.
 *
 *     arrived -> committed -> being written -> saved
 *                   ^              |  failed: after 5 s, 10, 20, 40, 60, 60, ... again
 *                   +--------------+
 *
 * A state that arrived is written only once every rank holds its step: of a step that is not committed there may be another history. One is written at a
 * time, the oldest first. More than 256 MiB do not wait: the oldest are let go. While the disk refuses, the newest that is committed is tried, and older ones
 * are let go for it, the failed one too, for whoever resumes wants the newest. Training goes on meanwhile, whatever the disk does. Only the run's last state has no successor: it is tried until it is on disk, or until somebody gives it up.
 */
import type { Millis } from "@ringmaster/protocol";

const minuteMs = 60_000;
const firstRetryMs = 5_000;
const longestRetryMs = 60_000;

/** Why a state could not be written. */
export interface SaveFailure {
  readonly code: string;
  /** One line. */
  readonly message: string;
  /** Whether the same state may be written later: false where the state itself is wrong, not the disk. */
  readonly isRetryable: boolean;
}

export type CheckpointInput =
  /** The state of this step is here, whole; where there was one of the same step, this one takes its place. */
  | { readonly type: "arrived"; readonly step: number; readonly stateId: string; readonly bytes: number }
  /** Every rank holds this step. */
  | { readonly type: "committed"; readonly step: number }
  /** The world went back to this step: states of later ones are no part of its history. */
  | { readonly type: "rewound"; readonly step: number }
  /** The run is over with this step, as planned or because it was stopped. */
  | { readonly type: "runEnds"; readonly step: number }
  /** The write under way is done: durable, and recorded. */
  | { readonly type: "saved"; readonly step: number }
  /** The write under way failed. */
  | { readonly type: "saveFailed"; readonly step: number; readonly failure: SaveFailure }
  /** The newest checkpoint is damaged: this is the newest step on disk now; 0: the seed. */
  | { readonly type: "lost"; readonly newest: number }
  /** A stop was asked for a second time: do not wait for the last state. */
  | { readonly type: "giveUp" }
  | { readonly type: "tick" };

export type CheckpointEffect =
  /** Write the state of this step; `saved` or `saveFailed` answers. */
  | { readonly type: "write"; readonly step: number }
  /** The state of this step will not be written (again): its bytes may go. */
  | { readonly type: "forget"; readonly step: number }
  /** The checkpoint of this step is on disk: tell the workers. Its bytes may go. */
  | { readonly type: "saved"; readonly step: number }
  /** Tell the user. */
  | { readonly type: "say"; readonly line: string }
  /** So many minutes have passed since the last checkpoint: have one made at the next step. */
  | { readonly type: "planCheckpoint" }
  /** The last state is not on disk and will not be. */
  | { readonly type: "end"; readonly code: "CHECKPOINT_FAILED"; readonly message: string };

export interface CheckpointWatchOptions {
  /** Minutes after a checkpoint in which none was made by steps, after which one is asked for; null: never. */
  readonly everyMinutes: number | null;
  /** Of the newest checkpoint on disk; null: there is none. */
  readonly savedStep: number | null;
  /** The last step known to be committed. */
  readonly committed: number;
  /** By a monotonic clock, as every `now`. */
  readonly now: Millis;
}

interface Arrived {
  readonly step: number;
  readonly stateId: string;
  readonly bytes: number;
}

/** Of the states that wait; two do, whatever their size. */
const mostWaitingBytes = 256 * 2 ** 20;
const leastWaiting = 2;

export class CheckpointWatch {
  readonly #everyMs: Millis | null;
  /** Waiting, ascending by step; the one being written is not among them. */
  #waiting: Arrived[] = [];
  #writing: Arrived | undefined;
  #committed: number;
  #savedStep: number | null;
  #lastStep: number | undefined;
  /** Of the last checkpoint, or of asking for one. */
  #countedFromMs: Millis;
  /** Since the last success. */
  #failedTries = 0;
  /** The last failure, and when its state may be written again. */
  #failed: { readonly step: number; readonly failure: SaveFailure; readonly againMs: Millis } | undefined;
  #saidMs: Millis | undefined;
  /** What was said to go on meanwhile when a failure was last told; null: none was since the last success. */
  #failureSaid: "training" | "end" | null = null;

  constructor({ everyMinutes, savedStep, committed, now }: CheckpointWatchOptions) {
    this.#everyMs = everyMinutes === null ? null : everyMinutes * minuteMs;
    this.#savedStep = savedStep;
    this.#committed = committed;
    this.#countedFromMs = now;
  }

  /** Of the newest checkpoint on disk; null: there was none; 0: there is none any more. */
  get savedStep(): number | null {
    return this.#savedStep;
  }

  /** The run's last state could not be written yet, and is tried again. */
  get isRetryingLast(): boolean {
    return this.#lastStep !== undefined && this.#failed?.step === this.#lastStep;
  }

  handle(input: CheckpointInput, now: Millis): CheckpointEffect[] {
    switch (input.type) {
      case "arrived":
        return [...this.#arrived(input), ...this.#writeNext(now)];
      case "committed":
        this.#committed = Math.max(this.#committed, input.step);
        return this.#writeNext(now);
      case "rewound":
        return this.#rewound(input.step);
      case "runEnds":
        return [...this.#runEnds(input.step, now), ...this.#writeNext(now)];
      case "saved":
        return input.step === this.#writing?.step ? this.#saved(this.#writing, now) : [];
      case "saveFailed":
        return input.step === this.#writing?.step ? this.#saveFailed(this.#writing, input.failure, now) : [];
      case "lost":
        this.#savedStep = input.newest;
        return [];
      case "giveUp":
        return this.#giveUp();
      case "tick":
        return [...this.#planByMinutes(now), ...this.#writeNext(now)];
    }
  }

  #arrived({ step, stateId, bytes }: Arrived): CheckpointEffect[] {
    const isKnown = (other: Arrived | undefined) => other?.step === step && other.stateId === stateId;
    // The same state from another rank, or again after a reconnect: the one that is here will do.
    if (isKnown(this.#writing) || this.#waiting.some(isKnown)) return [];
    if (this.#savedStep !== null && step <= this.#savedStep) return [{ type: "forget", step }];
    this.#waiting = [...this.#waiting.filter((each) => each.step !== step), { step, stateId, bytes }];
    this.#waiting.sort((a, b) => a.step - b.step);
    const most = Math.max(leastWaiting, Math.floor(mostWaitingBytes / Math.max(1, bytes)));
    const tooMany = this.#waiting.slice(0, Math.max(0, this.#waiting.length - most));
    return this.#letGo((each) => tooMany.includes(each));
  }

  #rewound(step: number): CheckpointEffect[] {
    this.#committed = Math.min(this.#committed, step);
    if (this.#lastStep !== undefined && this.#lastStep > step) this.#lastStep = undefined;
    return this.#letGo((each) => each.step > step);
  }

  #runEnds(step: number, now: Millis): CheckpointEffect[] {
    this.#lastStep = step;
    if (this.#failed?.step !== step) return [];
    const { failure } = this.#failed;
    return failure.isRetryable ? this.#say(describe(step, failure), now) : [this.#end(step, failure)];
  }

  #writeNext(now: Millis): CheckpointEffect[] {
    if (this.#writing) return [];
    const isCommitted = ({ step }: Arrived) => step <= this.#committed;
    const isRefused = this.#failedTries > 0;
    const next = isRefused ? this.#waiting.findLast(isCommitted) : this.#waiting.find(isCommitted);
    if (!next) return [];
    const older = isRefused ? this.#letGo(({ step }) => step < next.step) : [];
    if (next.step === this.#failed?.step && now < this.#failed.againMs) return older;
    this.#waiting = this.#waiting.filter((each) => each !== next);
    this.#writing = next;
    return [...older, { type: "write", step: next.step }];
  }

  #saved({ step }: Arrived, now: Millis): CheckpointEffect[] {
    const tries = `${this.#failedTries} failed ${this.#failedTries === 1 ? "try" : "tries"}`;
    const line = `checkpoints work again after ${tries}: step ${step} is on disk`;
    const again: CheckpointEffect[] = this.#failureSaid === null ? [] : [{ type: "say", line }];
    this.#writing = undefined;
    this.#savedStep = step;
    this.#countedFromMs = now;
    this.#failedTries = 0;
    this.#failed = undefined;
    this.#failureSaid = null;
    return [{ type: "saved", step }, ...again, ...this.#letGo((each) => each.step <= step), ...this.#writeNext(now)];
  }

  #saveFailed(state: Arrived, failure: SaveFailure, now: Millis): CheckpointEffect[] {
    const { step } = state;
    this.#writing = undefined;
    this.#failedTries++;
    const delayMs = Math.min(firstRetryMs * 2 ** (this.#failedTries - 1), longestRetryMs);
    this.#failed = { step, failure, againMs: now + delayMs };
    if (!failure.isRetryable) {
      const forgotten: CheckpointEffect = { type: "forget", step };
      if (step === this.#lastStep) return [forgotten, this.#end(step, failure)];
      return [forgotten, ...this.#say(describe(step, failure), now), ...this.#writeNext(now)];
    }
    this.#waiting = [...this.#waiting, state].sort((a, b) => a.step - b.step);
    return [...this.#say(describe(step, failure), now), ...this.#writeNext(now)];
  }

  #giveUp(): CheckpointEffect[] {
    const step = this.#lastStep;
    if (step === undefined || (this.#savedStep !== null && this.#savedStep >= step)) return [];
    return [this.#end(step, this.#failed?.failure)];
  }

  #planByMinutes(now: Millis): CheckpointEffect[] {
    if (this.#everyMs === null || this.#lastStep !== undefined) return [];
    // One that is being written is about to be the last checkpoint.
    if (this.#writing || now - this.#countedFromMs < this.#everyMs) return [];
    this.#countedFromMs = now;
    return [{ type: "planCheckpoint" }];
  }

  #letGo(which: (state: Arrived) => boolean): CheckpointEffect[] {
    const gone = this.#waiting.filter(which);
    this.#waiting = this.#waiting.filter((state) => !gone.includes(state));
    return gone.map(({ step }) => ({ type: "forget", step }));
  }

  /** That it failed: once a minute at most, but that the run's end waits for the disk at once. */
  #say(what: string, now: Millis): CheckpointEffect[] {
    const waiting = this.#failed?.step === this.#lastStep ? "end" : "training";
    const isNews = waiting === "end" && this.#failureSaid !== "end";
    if (!isNews && this.#saidMs !== undefined && now - this.#saidMs < minuteMs) return [];
    this.#saidMs = now;
    this.#failureSaid = waiting;
    const tries = this.#failedTries === 1 ? "" : ` (${this.#failedTries} tries)`;
    const next =
      waiting === "end"
        ? "the run is over and this is its last state: it is tried again until it is on disk; ask for a stop once more to end without it"
        : "training goes on, and so do the tries";
    return [{ type: "say", line: `${what}${tries}; ${next}` }];
  }

  #end(step: number, failure: SaveFailure | undefined): CheckpointEffect {
    const why = failure ? describe(step, failure) : `the state of step ${step} was not on disk yet`;
    const left = !this.#savedStep ? "there is no checkpoint" : `the newest checkpoint is of step ${this.#savedStep}`;
    return { type: "end", code: "CHECKPOINT_FAILED", message: `${why}; ${left}` };
  }
}

function describe(step: number, { code, message }: SaveFailure): string {
  return `the checkpoint of step ${step} could not be written: ${message} [${code}]`;
}
