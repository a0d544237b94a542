/**
 * A worker as a state machine without I/O or clock: its connection, its part in the world (standing.ts), and its loop (training-loop.ts).
 *
 *     hello -> ready -> regroup -> [copy | load] -> proceed -> loop -> done
 *                          ^------------------------------------'
 *
 * A regrouping may come at any moment. Answers to what it has cut off come late, and are passed over; what cannot be explained so ends the worker, for its
 * shell is broken then. What a rank has said of its steps it keeps until the coordinator has it on disk, and says again over every new connection.
 */
import {
  type CoordinatorFetch,
  type CoordinatorLoad,
  type CoordinatorMessage,
  type CoordinatorProceed,
  type CoordinatorRegroup,
  maxErrorChars,
  protocolVersion,
  type RunConfig,
  type RunProgress,
  shorten,
  type WorkerMessage,
  type WorkerReady,
} from "@ringmaster/protocol";
import { runLength } from "./due.ts";
import { type KeptMessage, Outbox } from "./outbox.ts";
import { Plans } from "./plans.ts";
import { initialProgress, seedProgress } from "./progress.ts";
import {
  newStanding,
  nextStanding,
  type Standing,
  type StandingInput,
  type StandingOutcome,
  type Verdict,
} from "./standing.ts";
import { type LoopEffect, type LoopInput, TrainingLoop } from "./training-loop.ts";
import type { WorkerEffect, WorkerEvent, WorkerIdentity, WorkerInput } from "./worker-io.ts";

type Input<Type extends WorkerInput["type"]> = Extract<WorkerInput, { type: Type }>;

/** Exit code of a process that was asked to end (128 + SIGTERM). */
export const terminatedExitCode = 143;
const stopped = 130;

export class WorkerCore {
  readonly #identity: WorkerIdentity;
  #standing: Standing = newStanding;
  #isEnded = false;
  #workerId = "";
  #isConnected = false;
  #wasConnected = false;
  #config: RunConfig | undefined;
  #ready: WorkerReady | undefined;
  #leavingBecause = "";
  /** Said again to a coordinator that may not have heard it. */
  #linkLost: Extract<WorkerMessage, { type: "WorkerLinkLost" }> | undefined;
  #spoiled: Extract<WorkerMessage, { type: "WorkerSpoiled" }> | undefined;
  readonly #outbox = new Outbox();

  // The generation.
  #members: readonly string[] = [];
  #peers: CoordinatorProceed["peers"] = [];
  #rank = -1;
  #isQuiet = true;
  /** What came before this rank was quiet. */
  #early: CoordinatorFetch | CoordinatorLoad | CoordinatorProceed | undefined;
  #getting: CoordinatorFetch | CoordinatorLoad | undefined;

  readonly #plans = new Plans();
  /** Once it is prepared. */
  #loop: TrainingLoop | undefined;

  constructor(identity: WorkerIdentity) {
    this.#identity = identity;
  }

  get phase(): Standing["phase"] | "ended" {
    return this.#isEnded ? "ended" : this.#standing.phase;
  }

  get standing(): Standing {
    return this.#standing;
  }

  get progress(): RunProgress {
    return this.#loop?.progress ?? initialProgress;
  }

  handle(input: WorkerInput): WorkerEffect[] {
    if (this.#isEnded) return [];
    switch (input.type) {
      case "connected":
        return this.#connected(input.workerId);
      case "disconnected":
        if (!this.#isConnected) return [];
        this.#isConnected = false;
        return [this.#log("disconnected", input.message)];
      case "coordinator":
        return this.#hear(input.message);
      case "prepared":
        return this.#prepared(input);
      case "quiet":
        return this.#quiet(input);
      case "copied":
      case "loaded":
        return this.#got(input);
      case "copyFailed":
        return this.#copyFailed(input);
      case "linkLost":
        return this.#lostLink(input);
      case "ringOpen":
      case "stepHeld":
      case "updated":
      case "evaluationHeld":
      case "hashed":
        return this.#answered(input);
      case "failed":
        return this.#fail(input.concerns, input.code, input.message);
      case "terminate":
        return this.#terminate(input.reason);
      case "orphaned":
        return this.#leave(input.reason);
      case "patienceOver": {
        const { step } = this.#standing;
        const held = step < 0 ? "it held no state" : `it held step ${step}`;
        return this.#end(1, "COORDINATOR_LOST", `${input.message}; ${held}`);
      }
    }
  }

  // The connection.

  #connected(workerId: string): WorkerEffect[] {
    const isAgain = this.#wasConnected && !this.#isConnected;
    this.#workerId = workerId;
    this.#isConnected = true;
    this.#wasConnected = true;
    const { isLeaving, phase, ...standing } = this.#standing;
    return [
      ...(isAgain ? [this.#log("reconnected", "connected with a coordinator again")] : []),
      ...this.#say({
        type: "WorkerHello",
        protocol: protocolVersion,
        workerId,
        ...this.#identity,
        standing: { phase, ...standing },
      }),
      ...(this.#ready ? this.#say(this.#ready) : []),
      ...(isLeaving ? this.#say({ type: "WorkerLeaving", reason: this.#leavingBecause }) : []),
      ...(this.#linkLost ? this.#say(this.#linkLost) : []),
      ...(this.#spoiled ? this.#say(this.#spoiled) : []),
      ...this.#outbox.all().flatMap((message) => this.#say(message)),
      ...(phase === "done" ? this.#sayDone() : []),
      ...this.#upload(),
    ];
  }

  #hear(message: CoordinatorMessage): WorkerEffect[] {
    switch (message.type) {
      case "CoordinatorWelcome": {
        // What a coordinator before this one had on disk it may not have: it says so itself.
        if (message.epoch > this.#standing.epoch) this.#loop?.saved(-1);
        const { verdict, reason } = this.#stand({ type: "welcome", epoch: message.epoch });
        if (verdict !== "hangUp") return [];
        this.#isConnected = false;
        return [{ type: "hangUp", reason }];
      }
      case "CoordinatorStart":
        // One that is prepared, or prepares already, crosses with the coordinator's second word of it.
        if (this.#config) return [];
        this.#config = message.config;
        return [{ type: "prepare", config: message.config }];
      case "CoordinatorRegroup":
        return this.#regroup(message);
      case "CoordinatorFetch":
      case "CoordinatorLoad":
      case "CoordinatorProceed":
        return this.#agree(message);
      case "CoordinatorPlan":
        this.#plans.hear(message);
        return [];
      case "CoordinatorSaved":
        this.#loop?.saved(message.step);
        return [{ type: "saved", step: message.step }];
      case "CoordinatorKept":
        this.#outbox.kept(message.step);
        return [];
      case "CoordinatorFinish":
        return this.#end(0, "FINISHED", message.reason);
      case "CoordinatorAbort":
        return this.#end(message.code === "STOPPED" ? stopped : 1, message.code, message.message);
      case "CoordinatorHeartbeat":
        return [];
    }
  }

  #prepared({ stepsPerEpoch, ready }: Input<"prepared">): WorkerEffect[] {
    if (!this.#config || this.#ready) return this.#unexpected("prepared");
    const length = runLength(this.#config, stepsPerEpoch);
    this.#loop = new TrainingLoop(this.#config, length, this.#plans);
    this.#ready = { type: "WorkerReady", ...length, ...ready };
    this.#stand({ type: "prepared" });
    return this.#say(this.#ready);
  }

  #terminate(reason: string): WorkerEffect[] {
    const { phase, isLeaving } = this.#standing;
    if (phase === "unprepared" || phase === "spare") return this.#leave(reason);
    if (isLeaving) return [];
    this.#leavingBecause = reason;
    this.#stand({ type: "leaving" });
    return [
      this.#log("leaving", `leaves as soon as others have its seats: ${reason}`),
      ...this.#say({ type: "WorkerLeaving", reason }),
    ];
  }

  // The world.

  #regroup({ generation, members }: CoordinatorRegroup): WorkerEffect[] {
    const before = this.#standing;
    const isMember = members.includes(this.#workerId);
    const { verdict, reason } = this.#stand({ type: "regroup", generation, isMember });
    switch (verdict) {
      case "stop":
        this.#cut();
        this.#members = members;
        this.#isQuiet = false;
        return [
          this.#log("stopped", `stopped for generation ${generation}, ${before.phase} before`),
          { type: "stop", generation },
          // Before this rank's answer, and so before the steps count as committed whose evaluations a dead rank 0 may not have said.
          ...this.#outbox.evaluations().flatMap((message) => this.#say(message)),
        ];
      case "answer":
        return this.#isQuiet ? this.#answer() : [];
      default:
        return this.#leftOut(verdict, reason);
    }
  }

  /** What the members of an open generation are told once all have answered. */
  #agree(message: CoordinatorFetch | CoordinatorLoad | CoordinatorProceed): WorkerEffect[] {
    const { phase, generation } = this.#standing;
    // After a reconnect the hello was the answer, and this rank may not have come to rest yet.
    if (phase === "regrouping" && generation === message.generation && !this.#isQuiet) {
      this.#early = message;
      return [];
    }
    if (message.type === "CoordinatorFetch") return this.#fetch(message);
    return message.type === "CoordinatorLoad" ? this.#load(message) : this.#proceed(message);
  }

  #fetch(message: CoordinatorFetch): WorkerEffect[] {
    const { generation, step, stateId, from } = message;
    const { verdict } = this.#stand({ type: "fetch", generation, step, stateId });
    if (verdict === "answer") return this.#answer();
    if (verdict !== "copy" || this.#isGetting("CoordinatorFetch", step, stateId)) return [];
    this.#getting = message;
    const position = this.#members.indexOf(this.#workerId);
    return [{ type: "copy", generation, step, stateId, from, position }];
  }

  #load(message: CoordinatorLoad): WorkerEffect[] {
    const { generation, step, stateId, source } = message;
    const isChecked = source.kind === "seed" ? step === 0 : source.progress.step === step;
    if (!isChecked) {
      const found = `expected the progress of step ${step}, found that of ${source.kind === "seed" ? "the seed" : `step ${source.progress.step}`}`;
      return this.#fail("run", "STATE_MALFORMED", found);
    }
    if (this.#stand({ type: "load", generation }).verdict !== "load") return [];
    if (source.kind === "seed" && this.#isGetting("CoordinatorLoad", step, stateId)) return [];
    this.#getting = message;
    return [{ type: "load", generation, step, stateId, source }];
  }

  #got(input: Input<"copied"> | Input<"loaded">): WorkerEffect[] {
    const { generation, step, stateId } = input;
    const getting = this.#getting;
    const wanted = input.type === "copied" ? "CoordinatorFetch" : "CoordinatorLoad";
    if (!getting || getting.generation !== generation || !this.#isGetting(wanted, step, stateId))
      return this.#isLate(generation) ? [] : this.#unexpected(input.type);
    this.#getting = undefined;
    this.#linkLost = undefined;
    if (input.type === "copied") {
      this.#trained.take(stateId, input.progress, input.effect);
      this.#outbox.adopt(input.history);
    } else if (getting.type === "CoordinatorLoad") this.#tookIn(getting);
    this.#stand({ type: "got", generation, step, stateId });
    const from = input.type === "copied" ? "copied from a peer" : "loaded";
    return [this.#log(input.type, `the state of step ${step} is ${from}`), ...this.#answer(), ...this.#offer()];
  }

  #tookIn({ step, stateId, source, leftOut }: CoordinatorLoad): void {
    const isSeed = source.kind === "seed";
    const progress = isSeed ? seedProgress(this.#settled.precision) : source.progress;
    this.#trained.take(stateId, { ...progress, leftOut }, null);
    if (!isSeed) this.#trained.saved(step);
  }

  #copyFailed({ generation, peer, message }: Input<"copyFailed">): WorkerEffect[] {
    if (this.#getting?.type !== "CoordinatorFetch" || this.#getting.generation !== generation)
      return this.#isLate(generation) ? [] : this.#unexpected("copyFailed");
    this.#getting = undefined;
    return this.#sayLinkLost(peer === null ? null : (this.#members[peer] ?? null), message);
  }

  #quiet({ generation }: Input<"quiet">): WorkerEffect[] {
    if (this.#isQuiet || generation !== this.#standing.generation)
      return this.#isLate(generation) ? [] : this.#unexpected("quiet");
    this.#isQuiet = true;
    this.#trained.quiet();
    const early = this.#early;
    this.#early = undefined;
    return [...this.#answer(), ...this.#offer(), ...(early ? this.#agree(early) : [])];
  }

  #answer(): WorkerEffect[] {
    const { generation, step, stateId } = this.#standing;
    return this.#say({ type: "WorkerRegrouped", generation, step, stateId });
  }

  #offer(): WorkerEffect[] {
    const { generation, step, stateId } = this.#standing;
    if (step < 0) return [];
    return [
      { type: "offer", generation, step, stateId, ...this.#trained.state, history: this.#outbox.historyOf(step) },
    ];
  }

  #proceed({ generation, step, stateId, seating, peers }: CoordinatorProceed): WorkerEffect[] {
    const rank = peers.findIndex(({ workerId }) => workerId === this.#workerId);
    const { verdict, reason } = this.#stand({ type: "proceed", generation, isSeated: rank >= 0, step, stateId });
    if (verdict !== "proceed") return this.#leftOut(verdict, reason);
    const seats = seating.flatMap((owner, seat) => (owner === rank ? [seat] : []));
    this.#rank = rank;
    this.#peers = peers;
    this.#trained.proceed(generation);
    this.#outbox.rewind(step);
    return [
      this.#log("seated", `seated as rank ${rank} of ${peers.length} on seats ${seats.join(", ")}`),
      { type: "rewind", step },
      ...this.#upload(),
      { type: "openRing", generation, rank, seating, peers, seats },
    ];
  }

  #lostLink({ generation, peer, message }: Input<"linkLost">): WorkerEffect[] {
    if (this.#isLate(generation) || !this.#standing.linksUp) return [];
    this.#stand({ type: "linkLost", generation });
    if (this.#standing.linksUp) return this.#unexpected("linkLost");
    return this.#sayLinkLost(peer === null ? null : (this.#peers[peer]?.workerId ?? null), message);
  }

  #sayLinkLost(peer: string | null, cause: string): WorkerEffect[] {
    const message = shorten(cause, maxErrorChars);
    this.#linkLost = { type: "WorkerLinkLost", generation: this.#standing.generation, peer, message };
    return [this.#log("link-lost", message), ...this.#say(this.#linkLost)];
  }

  /** Of a record without this rank. */
  #leftOut(verdict: Verdict, reason: string): WorkerEffect[] {
    if (verdict === "go") return this.#leave(this.#leavingBecause);
    if (verdict !== "drop") return [];
    this.#cut();
    this.#outbox.clear();
    this.#plans.clear();
    return [this.#log("dropped", reason), { type: "drop" }];
  }

  /** What the loop was at is over. */
  #cut(): void {
    this.#rank = -1;
    this.#loop?.cut();
    this.#early = undefined;
    this.#getting = undefined;
    this.#linkLost = undefined;
    this.#spoiled = undefined;
  }

  // The loop.

  #answered(input: LoopInput): WorkerEffect[] {
    const effects = this.#loop?.answer(input);
    if (effects) return this.#carryOn(effects);
    return input.type !== "updated" && this.#isLate(input.generation) ? [] : this.#unexpected(input.type);
  }

  #carryOn(effects: readonly LoopEffect[]): WorkerEffect[] {
    return effects.flatMap((effect) => {
      switch (effect.type) {
        case "held":
          this.#stand(effect);
          return [];
        case "keep":
          return this.#keep(effect.message);
        case "upload":
          return this.#upload();
        case "finished":
          // The last step has no successor that would commit it: the coordinator says when all have it.
          this.#stand(effect);
          return this.#sayDone();
        case "spoiled": {
          const { step, message } = effect;
          const { generation } = this.#standing;
          this.#spoiled = { type: "WorkerSpoiled", generation, step, message: shorten(message, maxErrorChars) };
          return this.#say(this.#spoiled);
        }
        case "fault":
          return this.#fail("run", effect.fault.code, effect.fault.message);
        default:
          return [effect];
      }
    });
  }

  // What all of it is made of.

  #stand(input: StandingInput): StandingOutcome {
    const outcome = nextStanding(this.#standing, input);
    this.#standing = outcome.standing;
    return outcome;
  }

  /** Whether an answer belongs to what a regrouping or a drop has cut off since. */
  #isLate(generation: number): boolean {
    const { phase, generation: own } = this.#standing;
    return generation < own || (generation === own && phase === "spare" && own > 0);
  }

  #isGetting(type: "CoordinatorFetch" | "CoordinatorLoad", step: number, stateId: string): boolean {
    const getting = this.#getting;
    return getting?.type === type && getting.step === step && getting.stateId === stateId;
  }

  #sayDone(): WorkerEffect[] {
    const { generation, step } = this.#standing;
    return this.#say({ type: "WorkerDone", generation, step, stopped: this.#trained.isStopped });
  }

  #upload(): WorkerEffect[] {
    if (this.#rank !== 0 || !this.#isConnected) return [];
    return [{ type: "upload", generation: this.#standing.generation }];
  }

  /** Says it, and keeps it until it is on disk. */
  #keep(message: KeptMessage): WorkerEffect[] {
    const isFull = this.#outbox.add(message);
    const full = "without a coordinator too many steps have passed: what was said of the oldest is let go";
    const isRankZeros = message.type === "WorkerEvaluated";
    return [
      ...(isFull ? [this.#log("outbox-full", full)] : []),
      ...(isRankZeros && this.#rank !== 0 ? [] : this.#say(message)),
    ];
  }

  /** Without a connection nothing is said: what matters is said again with the next. */
  #say(message: WorkerMessage): WorkerEffect[] {
    return this.#isConnected ? [{ type: "send", message }] : [];
  }

  #log(event: WorkerEvent, message: string): WorkerEffect {
    const { generation, step } = this.#standing;
    return { type: "log", event, generation, step, message };
  }

  #unexpected(what: WorkerInput["type"]): WorkerEffect[] {
    const { phase, generation } = this.#standing;
    const message = `a ${what} while ${phase} in generation ${generation}, expected ${this.#loop?.awaited ?? "none"}`;
    return this.#fail("worker", "UNEXPECTED_INPUT", message);
  }

  #fail(concerns: "run" | "worker", code: string, message: string): WorkerEffect[] {
    return [...this.#say({ type: "WorkerFailed", concerns, code, message }), ...this.#end(1, code, message)];
  }

  #leave(reason: string): WorkerEffect[] {
    return [...this.#say({ type: "WorkerBye", reason }), ...this.#end(terminatedExitCode, "TERMINATED", reason)];
  }

  #end(exitCode: number, code: string, message: string): WorkerEffect[] {
    this.#isEnded = true;
    return [{ type: "end", exitCode, code, message }];
  }

  get #settled(): RunConfig {
    if (!this.#config) throw new Error("a worker without a start has no config");
    return this.#config;
  }

  get #trained(): TrainingLoop {
    if (!this.#loop) throw new Error("a worker has a part in a world only once it is prepared");
    return this.#loop;
  }
}
