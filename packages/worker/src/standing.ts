/**
 * Where a worker stands in its run, and what each word of the coordinator makes of that; pure, so that a model checker runs it beside membership.ts, its
 * counterpart.
 *
 *     unprepared -> spare -> regrouping -> stepping -> done
 *                     ^          ^ |          |          |
 *                     |          +-+----------+----------+   a newer generation that it is a member of
 *                     +------------+----------+----------+   a newer record that it is not in: its state is dropped
 *
 * A state never enters a world from outside: a spare holds none. What a member holds counts until it holds another: a copy that fails leaves it as it was.
 * Only a load gives up what is held at once, for the coordinator asks for one where it has something better on disk, or where that must not be gone on from.
 */
import { seedStateId, type WorkerStanding } from "@ringmaster/protocol";

export interface Standing extends Readonly<WorkerStanding> {
  /** It has been asked to leave, and goes with the next generation that does not seat it. */
  readonly isLeaving: boolean;
}

export const newStanding: Standing = {
  phase: "unprepared",
  epoch: 0,
  generation: 0,
  step: -1,
  stateId: seedStateId,
  linksUp: true,
  isLeaving: false,
};

/** The state after a step. */
interface Held {
  readonly step: number;
  readonly stateId: string;
}

export type StandingInput =
  | { readonly type: "welcome"; readonly epoch: number }
  /** Its compute threads are ready. */
  | { readonly type: "prepared" }
  | { readonly type: "regroup"; readonly generation: number; readonly isMember: boolean }
  | ({ readonly type: "fetch"; readonly generation: number } & Held)
  | { readonly type: "load"; readonly generation: number }
  /** A state that was copied or loaded lies in memory. */
  | ({ readonly type: "got"; readonly generation: number } & Held)
  | ({ readonly type: "proceed"; readonly generation: number; readonly isSeated: boolean } & Held)
  /** Its ring has reduced the next step, which makes this state. */
  | { readonly type: "held"; readonly stateId: string }
  /** The run's last step is held, and all that was due after it is done. */
  | { readonly type: "finished" }
  | { readonly type: "linkLost"; readonly generation: number }
  | { readonly type: "leaving" };

export type Verdict =
  | "none"
  /** This coordinator has been replaced. */
  | "hangUp"
  /** Cut the ring, and let the compute threads come to rest; then answer. */
  | "stop"
  /** Say what is held. */
  | "answer"
  | "copy"
  | "load"
  /** Open the generation's ring and go on from what is held. */
  | "proceed"
  /** What it holds counts no longer: come back under a new id. */
  | "drop"
  /** It was asked to leave, and may. */
  | "go";

export interface StandingOutcome {
  readonly standing: Standing;
  readonly verdict: Verdict;
  /** Why, where the verdict is not what is expected in a quiet run; else empty. */
  readonly reason: string;
}

export function nextStanding(standing: Standing, input: StandingInput): StandingOutcome {
  const { phase, epoch, generation } = standing;
  const isRegrouping = (of: number) => phase === "regrouping" && generation === of;
  switch (input.type) {
    case "welcome":
      return input.epoch < epoch
        ? outcome(standing, "hangUp", `expected a coordinator of epoch ${epoch} or later, found one of ${input.epoch}`)
        : outcome({ ...standing, epoch: input.epoch });
    case "prepared":
      return outcome(phase === "unprepared" ? { ...standing, phase: "spare" } : standing);
    case "regroup":
      return regrouped(standing, input.generation, input.isMember);
    case "fetch":
      if (!isRegrouping(input.generation)) return outcome(standing);
      return outcome(standing, holds(standing, input) ? "answer" : "copy");
    case "load":
      return isRegrouping(input.generation) ? outcome({ ...standing, ...nothing }, "load") : outcome(standing);
    case "got":
      if (!isRegrouping(input.generation)) return outcome(standing);
      return outcome({ ...standing, step: input.step, stateId: input.stateId }, "answer");
    case "proceed":
      return proceeded(standing, input);
    case "held":
      if (phase !== "stepping") return outcome(standing);
      return outcome({ ...standing, step: standing.step + 1, stateId: input.stateId });
    case "finished":
      return outcome(phase === "stepping" ? { ...standing, phase: "done" } : standing);
    case "linkLost": {
      const isOwn = input.generation === generation && (phase === "stepping" || phase === "done");
      return outcome(isOwn ? { ...standing, linksUp: false } : standing);
    }
    case "leaving":
      return outcome({ ...standing, isLeaving: true });
  }
}

function regrouped(standing: Standing, generation: number, isMember: boolean): StandingOutcome {
  const { phase } = standing;
  if (generation < standing.generation || phase === "unprepared") return outcome(standing);
  if (!isMember) return left(standing, generation);
  if (generation > standing.generation) {
    const held = phase === "spare" ? nothing : {};
    return outcome({ ...standing, ...held, phase: "regrouping", generation, linksUp: true }, "stop");
  }
  // Once it proceeds, the word that opened its generation is old. A repeat undoes nothing: a copy under way goes on.
  return outcome(standing, phase === "regrouping" ? "answer" : "none");
}

function proceeded(standing: Standing, input: Extract<StandingInput, { type: "proceed" }>): StandingOutcome {
  const { phase, generation } = standing;
  if (input.generation < generation || phase === "unprepared") return outcome(standing);
  if (!input.isSeated) return left(standing, input.generation);
  // Where it is not at what the coordinator thinks, it says where it stands when it is asked, and is sent what it lacks.
  const isReady = phase === "regrouping" && generation === input.generation && holds(standing, input);
  return isReady ? outcome({ ...standing, phase: "stepping", linksUp: true }, "proceed") : outcome(standing);
}

/** A record without it. */
function left(standing: Standing, generation: number): StandingOutcome {
  if (standing.phase === "spare") return outcome(standing);
  if (standing.isLeaving) return outcome(standing, "go", `generation ${generation} goes on without this rank`);
  return outcome(dropped(standing, generation), "drop", `generation ${generation} was opened without this rank`);
}

/** The highest generation that it has heard of stays: its next is higher. */
function dropped(standing: Standing, generation: number): Standing {
  return { ...standing, ...nothing, phase: "spare", generation, linksUp: true };
}

const nothing = { step: -1, stateId: seedStateId } as const;

const holds = ({ step, stateId }: Standing, wanted: Held): boolean =>
  step === wanted.step && stateId === wanted.stateId;

function outcome(standing: Standing, verdict: Verdict = "none", reason = ""): StandingOutcome {
  return { standing, verdict, reason };
}
