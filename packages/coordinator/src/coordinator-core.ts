/**
 * The coordinator's decisions as a state machine without I/O: who is admitted, what is recorded, when a step is committed, and how a run ends.
 *
 *     gathering -> running -> ended
 *
 * While it gathers, the config is not settled: the number of seats may follow from the workers that the run begins with. From then on everything that
 * concerns who trains is decided by membership.ts. Workers step without asking; the coordinator hears what they hold.
 */
import {
  type CoordinatorMessage,
  type CoordinatorPlan,
  type Millis,
  maxErrorChars,
  maxLeftOut,
  planWord,
  type RunConfig,
  shorten,
  type WorkerDone,
  type WorkerHello,
  type WorkerMessage,
  type WorkerStanding,
} from "@ringmaster/protocol";
import { differenceOf, mismatchOf, numericsNote, refusalOf, short } from "./admission.ts";
import { AnnouncedStates } from "./announced-states.ts";
import { type CheckpointEffect, type CheckpointInput, CheckpointWatch } from "./checkpoint-watch.ts";
import { CoordinatorError } from "./coordinator-error.ts";
import type {
  Connection,
  CoordinatorEffect,
  CoordinatorInput,
  CoordinatorOptions,
  ResumePoint,
  RunEvent,
  SavedCheckpointFacts,
} from "./coordinator-io.ts";
import { Evaluations } from "./evaluations.ts";
import { type KnownWorker, KnownWorkers, placeOf } from "./known-workers.ts";
import { LinkFaults } from "./link-faults.ts";
import { defaultLimits, judge, type LivenessLimits } from "./liveness.ts";
import {
  type MembershipEffect,
  type MembershipInput,
  type MembershipRecord,
  newWorld,
  nextWorld,
  theSeed,
  type World,
} from "./membership.ts";
import { RankSpeeds } from "./rank-speeds.ts";
import { type Disagreement, StateAgreement } from "./state-agreement.ts";
import { StepLedger, type StepReport } from "./step-ledger.ts";
import { SuspectSamples } from "./suspect-samples.ts";

type Phase = "gathering" | "running" | "ended";

/** Connections beyond this are refused: a world has 1,024 ranks at most. */
const mostWorkers = 4096;

export class CoordinatorCore {
  readonly #options: CoordinatorOptions;
  readonly #limits: LivenessLimits;
  readonly #workers = new KnownWorkers();
  readonly #ledger: StepLedger;
  readonly #agreement = new StateAgreement();
  readonly #announced = new AnnouncedStates(this.#agreement);
  readonly #evaluations: Evaluations;
  readonly #links = new LinkFaults();
  readonly #speeds = new RankSpeeds();
  readonly #suspects = new SuspectSamples();
  readonly #done = new Map<string, WorkerDone>();
  readonly #startedMs: Millis;
  #phase: Phase = "gathering";
  #config: RunConfig | undefined;
  #world: World;
  #watch: CheckpointWatch | undefined;
  /** The newest checkpoint, from which members without a state start. */
  #source: Pick<ResumePoint, "step" | "stateId" | "progress" | "totalBytes"> | null;
  /** See `RunProgress`. */
  readonly #leftOut: number[];
  /** The same for all states of a run. */
  #stateBytes = 0;
  #joined = 0;
  #hasBegun = false;
  #saidNumerics = false;
  /** The newest; `after`: the step after which it took effect. */
  #plan: { readonly planId: number; readonly change: "stop" | "checkpoint"; after: number | null } | undefined;
  #plans = 0;
  #kept = 0;
  #stopReason: string | null = null;
  /** Why the world is going back, where that is known before it does. */
  #backBecause: string | undefined;
  #firstBackMs: Millis | undefined;
  /** Of the newest record: the seats of each member. */
  #counted: { readonly record: MembershipRecord; readonly seats: ReadonlyMap<string, number> } | undefined;
  /** Since when it is for earlier members to answer. */
  #waitingMs: Millis | undefined;
  /** Where the newest generation that proceeded began. */
  #proceeded: { readonly generation: number; readonly step: number } | undefined;
  #tickedMs: Millis;
  /** States of uncommitted and just committed steps: [step, stateId]. */
  readonly #stateIds = new Map<number, string>();

  constructor(options: CoordinatorOptions) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#startedMs = options.now;
    this.#tickedMs = options.now;
    this.#source = options.resume;
    this.#leftOut = [...(options.resume?.progress.leftOut ?? [])];
    const { recovered, resume, usedGeneration } = options;
    this.#ledger = new StepLedger(recovered?.committed ?? resume?.step ?? 0);
    this.#evaluations = new Evaluations(recovered?.evaluated ?? []);
    const source = resume ? { kind: "checkpoint" as const, step: resume.step, stateId: resume.stateId } : theSeed;
    this.#world = newWorld({ record: recovered?.record ?? null, usedGeneration, source });
    // A run that goes on has its config; `configFor` says it whatever the threads are.
    if (recovered) this.#settle(options.configFor(1));
    // What was recorded as a checkpoint cannot be read: ranks work their boundary again, and with it make it anew.
    if (recovered?.record && recovered.recordedStep > (resume?.step ?? 0))
      this.#world = { ...this.#world, cause: `the checkpoint of step ${recovered.recordedStep} cannot be read` };
    if (recovered?.record?.kind === "proceeding") {
      this.#ledger.proceed(recovered.record.step);
      this.#proceeded = recovered.record;
    }
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Steps that are committed. */
  get committed(): number {
    return this.#ledger.committed;
  }

  get record(): MembershipRecord | null {
    return this.#world.record;
  }

  handle(input: CoordinatorInput, now: Millis): CoordinatorEffect[] {
    if (this.#phase === "ended") return [];
    switch (input.type) {
      case "message":
        return this.#hear(input.connection, input.message, now);
      case "malformed":
        return this.#malformed(input.connection, input.code, input.message, now);
      case "closed":
        return this.#closed(input.connection, input.reason, input.isDead, now);
      case "recorded":
        return this.#recorded(now);
      case "stateArrived":
        return this.#stateArrived(input.step, input.stateId, now);
      case "saved":
        return this.#saved(input.checkpoint, now);
      case "saveFailed":
        return this.#watched({ type: "saveFailed", step: input.step, failure: input.failure }, now);
      case "kept":
        // What the world went back behind is on disk no longer.
        this.#kept = Math.min(input.step, this.#ledger.committed);
        return this.#toMembers({ type: "CoordinatorKept", step: this.#kept });
      case "stop":
        return this.#stop(input.reason, now);
      case "replaced":
        return this.#replaced(input.message);
      case "failed":
        return this.#end(1, input.code, input.message);
      case "tick":
        return this.#tick(now);
    }
  }

  #hear(connection: Connection, message: WorkerMessage, now: Millis): CoordinatorEffect[] {
    const worker = this.#workers.on(connection);
    if (worker) worker.heardMs = now;
    if (message.type === "WorkerHello") return this.#hello(connection, message, now);
    if (!worker)
      return message.type === "WorkerHeartbeat"
        ? []
        : this.#malformed(connection, "UNEXPECTED_MESSAGE", `a ${message.type} before its WorkerHello`, now);
    switch (message.type) {
      case "WorkerHeartbeat":
        worker.busyMs = message.busyMs;
        return [];
      case "WorkerReady":
        if (worker.ready) return this.#malformed(connection, "UNEXPECTED_MESSAGE", "a second WorkerReady", now);
        worker.ready = message;
        return this.#ready(worker, now);
      case "WorkerRegrouped": {
        const { generation, step, stateId } = message;
        return this.#said(
          worker,
          { ...worker.hello.standing, phase: "regrouping", generation, step, stateId },
          false,
          now,
        );
      }
      case "WorkerLinkLost":
        return this.#linkLost(worker, message.generation, message.peer, message.message, now);
      case "WorkerSpoiled":
        return this.#spoiled(worker, message, now);
      case "WorkerLeaving": {
        const leaving = event({ type: "leaving", peer: this.#describe(worker), because: message.reason });
        const effects = [leaving, ...this.#membership({ type: "leaving", worker: worker.id }, now)];
        return [...effects, ...this.#stopWhenAllLeave(message.reason, now)];
      }
      case "WorkerBye":
        worker.bye = message.reason;
        return [];
      case "WorkerFailed":
        return this.#failed(worker, message, now);
      default:
        return this.#heardOfTraining(worker, message, now);
    }
  }

  /** What only members of the newest record may say: what a worker that was dropped still delivers is passed over. */
  #heardOfTraining(
    worker: KnownWorker,
    message: Extract<
      WorkerMessage,
      { type: "WorkerHeld" | "WorkerEvaluated" | "WorkerStateHash" | "WorkerState" | "WorkerDone" }
    >,
    now: Millis,
  ): CoordinatorEffect[] {
    const { record } = this.#world;
    const seats = this.#seatsOf(worker.id);
    const isMember = seats !== undefined;
    if (this.#isVoid(message)) return [];
    const isPresent = isMember && record?.kind === "proceeding" && message.generation === record.generation;
    switch (message.type) {
      case "WorkerHeld":
        if (!isMember || !record || message.generation > record.generation) return [];
        if (isPresent) this.#speeds.add(worker.id, seats, message.timing.computeMs);
        if (message.step > this.#ledger.committed) this.#stateIds.set(message.step, message.stateId);
        return this.#committed(this.#ledger.held(worker.id, message, record.members.length), now);
      case "WorkerEvaluated":
        return isMember ? this.#evaluations.add(message, this.#ledger.committed).map(event) : [];
      case "WorkerStateHash": {
        if (!isPresent) return [];
        const { step, hash } = message;
        const differ = this.#agreement.report(worker.id, step, hash, record.members.length);
        if (differ) return this.#drifted(differ, now);
        const { verdict, stateId } = this.#announced.compared(step);
        return this.#judged(verdict, step, stateId, now);
      }
      case "WorkerState":
        return this.#state(worker, message, isMember);
      case "WorkerDone":
        if (!isPresent) return [];
        this.#done.set(worker.id, message);
        return [...this.#watched({ type: "runEnds", step: message.step }, now), ...this.#finishWhenDone()];
    }
  }

  /** Of a step after the one that the world has proceeded from since: that attempt is over. */
  #isVoid({ generation, step }: { readonly generation: number; readonly step: number }): boolean {
    const proceeded = this.#proceeded;
    return proceeded !== undefined && generation < proceeded.generation && step > proceeded.step;
  }

  // Admission.

  #hello(connection: Connection, hello: WorkerHello, now: Millis): CoordinatorEffect[] {
    const refuse = (code: string, message: string): CoordinatorEffect[] => [
      ...turnedAway(connection, code, message),
      event({ type: "refused", peer: `${hello.host} (pid ${hello.pid})`, code, message }),
    ];
    const refusal = refusalOf(hello, this.#options);
    if (refusal) return refuse(refusal.code, refusal.message);
    const isNew = this.#workers.find(hello.workerId) === undefined;
    if (isNew && this.#workers.all().length >= mostWorkers)
      return refuse("TOO_MANY_WORKERS", `the run has ${mostWorkers} workers already`);
    const effects: CoordinatorEffect[] = [];
    const former = this.#workers.on(connection);
    if (former && former.id !== hello.workerId) {
      this.#workers.forget(former);
      effects.push(...this.#membership(lost(former.id, "it dropped its state", true), now));
    } else if (former) return this.#malformed(connection, "UNEXPECTED_MESSAGE", "a second WorkerHello", now);
    const { worker, left } = this.#workers.greet(connection, hello, now);
    if (left !== undefined) effects.push({ type: "close", connection: left, reason: "it has another connection" });
    effects.push({ type: "send", connection, message: { type: "CoordinatorWelcome", epoch: this.#options.epoch } });
    const isReturning = hello.standing.phase !== "unprepared";
    if (isNew && !isReturning) {
      this.#joined++;
      const isFirst = !this.#hasBegun && this.#options.recovered === null && this.#joined <= this.#options.ranks;
      const ranks = isFirst ? this.#options.ranks : null;
      effects.push(event({ type: "joined", hello, joined: this.#joined, ranks }));
    }
    if (isReturning && this.#isMember(worker)) this.#firstBackMs ??= now;
    if (this.#config) return [...effects, ...this.#introduce(worker, this.#config)];
    return [...effects, ...this.#gather()];
  }

  #introduce({ connection, hello }: KnownWorker, config: RunConfig): CoordinatorEffect[] {
    if (connection === undefined) return [];
    const send = (message: CoordinatorMessage): CoordinatorEffect => ({ type: "send", connection, message });
    if (hello.standing.phase === "unprepared") return [send({ type: "CoordinatorStart", config })];
    const savedStep = this.#watch?.savedStep ?? null;
    return [
      ...(this.#plan ? [send(planned(this.#plan))] : []),
      ...(savedStep === null ? [] : [send({ type: "CoordinatorSaved", step: savedStep })]),
      send({ type: "CoordinatorKept", step: this.#kept }),
    ];
  }

  /** Settles the config once as many workers are here as the run begins with. */
  #gather(): CoordinatorEffect[] {
    const workers = this.#workers.connected();
    if (workers.length < this.#options.ranks) return [];
    let config: RunConfig;
    try {
      config = this.#options.configFor(workers.reduce((sum, { hello }) => sum + hello.threads, 0));
      if (this.#options.ranks > config.seats) {
        const advice = `use --seats ${this.#options.ranks} or more (for a new run), or fewer ranks`;
        const found = `${this.#options.ranks} ranks cannot sit on ${config.seats} seats`;
        throw new CoordinatorError("MORE_RANKS_THAN_SEATS", `${found}: ${advice}`);
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const code = error instanceof CoordinatorError ? error.code : "CONFIG_INVALID";
      return this.#end(2, code, error.message);
    }
    const fingerprints = new Set(workers.map(({ hello }) => JSON.stringify(hello.fingerprint)));
    if (config.numerics === "strict" && fingerprints.size > 1) {
      const found = [...fingerprints].join(" and ");
      return this.#end(1, "NUMERICS_DIFFER", `numerics is "strict" and the ranks' fingerprints differ: ${found}`);
    }
    this.#settle(config);
    const settled = event({ type: "settled", config, members: workers.map(({ hello }) => hello) });
    return [settled, ...workers.flatMap((worker) => this.#introduce(worker, config))];
  }

  #settle(config: RunConfig): void {
    this.#config = config;
    this.#phase = "running";
    this.#watch = new CheckpointWatch({
      everyMinutes: config.checkpoint.everyMinutes,
      savedStep: this.#options.resume?.step ?? null,
      committed: this.#ledger.committed,
      now: this.#startedMs,
    });
  }

  #ready(worker: KnownWorker, now: Millis): CoordinatorEffect[] {
    const { ready } = worker;
    if (!ready || !this.#config)
      return this.#malformed(worker.connection ?? -1, "UNEXPECTED_MESSAGE", "a WorkerReady before its start", now);
    const mismatch = mismatchOf(ready, this.#options.resume);
    if (mismatch) return this.#end(1, mismatch.code, mismatch.message);
    const prepared = this.#workers.all().filter((each) => each.ready);
    const first = prepared.find((each) => each.ready && each !== worker);
    const differs =
      first?.ready && differenceOf({ name: placeOf(first), ready: first.ready }, { name: placeOf(worker), ready });
    if (differs) return this.#turnAway(worker, differs.code, differs.message, now);
    const isMixed = first?.ready !== undefined && first.ready.probeHash !== ready.probeHash;
    if (isMixed && this.#config.numerics === "strict")
      return this.#turnAway(worker, "NUMERICS_DIFFER", `numerics is "strict": ${numericsNote}`, now);
    const standing = worker.hello.standing;
    const isSpare = standing.phase === "unprepared" || standing.phase === "spare";
    const at: WorkerStanding = isSpare ? { ...standing, phase: "spare", step: -1 } : standing;
    // What members hold can be shown from here on; of a run that was under way nothing is lost meanwhile.
    const begun = this.#options.recovered?.record && !this.#hasBegun ? this.#begin(this.#ledger.committed) : [];
    const note = isMixed && this.#hasBegun && !this.#saidNumerics ? [this.#noteOnNumerics()] : [];
    if (this.#world.record !== null || this.#world.writing !== null) {
      worker.isLeftOut = isSpare && this.#links.isLeftOut(worker, now);
      return [...begun, ...note, ...(worker.isLeftOut ? [] : this.#said(worker, at, true, now))];
    }
    // The run begins with those that joined first, in that order.
    if (prepared.length < this.#options.ranks) return [];
    return prepared.flatMap((each) =>
      this.#said(each, { ...each.hello.standing, phase: "spare", step: -1 }, true, now),
    );
  }

  #noteOnNumerics(): CoordinatorEffect {
    this.#saidNumerics = true;
    return event({ type: "note", line: `note: ${numericsNote}` });
  }

  /** A worker that cannot be in this run; before the run has begun, one that it was to begin with ends it. */
  #turnAway(worker: KnownWorker, code: string, message: string, now: Millis): CoordinatorEffect[] {
    if (!this.#hasBegun) return this.#end(1, code, message);
    return this.#dismiss(worker, code, message, now);
  }

  /** Ends a worker's part in the run. */
  #dismiss(worker: KnownWorker, code: string, message: string, now: Millis): CoordinatorEffect[] {
    const { connection } = worker;
    const refusal = connection === undefined ? [] : turnedAway(connection, code, message);
    const refused = event({ type: "refused", peer: this.#describe(worker), code, message });
    this.#workers.disconnect(worker, now);
    // It does not die of a sample.
    worker.bye ??= message;
    return [...refusal, refused, ...this.#lose(worker, message, true, now)];
  }

  // Membership.

  #said(worker: KnownWorker, standing: WorkerStanding, isHello: boolean, now: Millis): CoordinatorEffect[] {
    return this.#membership({ type: "said", worker: worker.id, standing, isHello }, now);
  }

  #membership(input: MembershipInput, now: Millis): CoordinatorEffect[] {
    const { world, effects } = nextWorld(this.#world, input, {
      firstRanks: this.#options.ranks,
      seats: this.#config?.seats ?? 1,
      order: (ids) => this.#links.order(ids),
      seat: (ids) => this.#seat(ids),
    });
    const isBack = this.#world.isAsking && !world.isAsking && world.cause === null && world.writing === null;
    this.#world = world;
    return [...(isBack ? this.#back() : []), ...effects.flatMap((effect) => this.#perform(effect, now))];
  }

  /** After a restart: nothing has happened meanwhile. */
  #back(): CoordinatorEffect[] {
    const { record } = this.#world;
    if (record?.kind !== "proceeding") return [];
    const { generation, seating, members } = record;
    const hellos = members.flatMap((id) => this.#workers.find(id)?.hello ?? []);
    const step = this.#ledger.committed;
    return [event({ type: "proceeding", generation, step, seating, members: hellos })];
  }

  #perform(effect: MembershipEffect, now: Millis): CoordinatorEffect[] {
    switch (effect.type) {
      case "record": {
        const { record, because } = effect;
        const write: CoordinatorEffect = { type: "record", record, usedGeneration: this.#world.usedGeneration };
        if (record.kind === "proceeding") return [write];
        const { generation, members } = record;
        return [write, event({ type: "regrouping", generation, members: members.length, because })];
      }
      case "tell":
        return this.#tell(effect.worker, effect.record);
      case "fetch": {
        const { generation, step, stateId } = effect;
        const members = this.#world.record?.members ?? [];
        const from = effect.from.flatMap((id) => {
          const ring = this.#workers.find(id)?.hello.ring;
          return ring ? [{ position: members.indexOf(id), ...ring }] : [];
        });
        return this.#toWorker(effect.worker, { type: "CoordinatorFetch", generation, step, stateId, from });
      }
      case "load":
        return this.#load(effect.worker, effect.generation);
      case "diverged": {
        const line = `${effect.workers.length} ranks hold step ${effect.step} in different states: all go back to the last checkpoint`;
        return [event({ type: "note", line }), ...this.#restoreTo(line, now)];
      }
    }
  }

  /** A plan takes effect only once all members have it, those that join too. */
  #tell(id: string, record: MembershipRecord): CoordinatorEffect[] {
    // After a restart not all of them may be back; then another generation follows.
    if (record.kind === "proceeding" && !record.members.every((each) => this.#workers.find(each))) return [];
    return [
      ...this.#toWorker(id, this.#messageOf(record)),
      ...(this.#plan ? this.#toWorker(id, planned(this.#plan)) : []),
    ];
  }

  #load(id: string, generation: number): CoordinatorEffect[] {
    // A state that is loaded knows of no plan: it is pending again.
    if (this.#plan) this.#plan.after = null;
    const source = this.#source;
    if (source === null) {
      const { step, stateId } = theSeed;
      return this.#toWorker(id, {
        ...{ type: "CoordinatorLoad", generation, step, stateId, leftOut: [...this.#leftOut] },
        source: { kind: "seed" },
      });
    }
    const { step, stateId, totalBytes, progress } = source;
    const connection = this.#workers.find(id)?.connection;
    if (connection === undefined) return [];
    return [
      ...this.#toWorker(id, {
        type: "CoordinatorLoad",
        generation,
        step,
        stateId,
        source: { kind: "checkpoint", totalBytes, progress },
        leftOut: [...this.#leftOut],
      }),
      { type: "sendState", connection, generation, step },
    ];
  }

  #messageOf(record: MembershipRecord): CoordinatorMessage {
    if (record.kind === "opened") {
      const { generation, members } = record;
      return { type: "CoordinatorRegroup", generation, members: [...members] };
    }
    const { generation, step, stateId, seating, members } = record;
    const peers = members.map((workerId) => {
      const ring = this.#workers.find(workerId)?.hello.ring ?? { host: "localhost", port: 0 };
      return { workerId, host: ring.host, port: ring.port };
    });
    return { type: "CoordinatorProceed", generation, step, stateId, seating: [...seating], peers };
  }

  #seat(ids: readonly string[]) {
    const { balance = "threads" } = this.#options;
    const seats = this.#config?.seats ?? 1;
    // After a restart, until one of them says again that it leaves.
    if (ids.length > seats) return null;
    return this.#speeds.seat(
      seats,
      ids.map((id) => {
        const worker = this.#workers.find(id);
        return { id, threads: worker?.hello.threads ?? 1, capacity: worker?.ready?.seatCapacity ?? 1 };
      }),
      balance,
    );
  }

  #recorded(now: Millis): CoordinatorEffect[] {
    const { writing } = this.#world;
    const effects: CoordinatorEffect[] = [];
    if (writing?.kind === "proceeding") {
      const { generation, step, seating, members } = writing;
      this.#done.clear();
      this.#proceeded = { generation, step };
      this.#agreement.proceed(step);
      effects.push(...this.#announced.rewound(step).map(forgotten));
      const isBack = step < this.#ledger.committed;
      if (isBack) {
        this.#ledger.restore(step);
        this.#evaluations.restore(step);
        this.#kept = Math.min(this.#kept, step);
        effects.push(event({ type: "restored", step, because: this.#backBecause ?? "nobody holds a newer state" }));
      }
      this.#backBecause = undefined;
      effects.push(...this.#watched({ type: "rewound", step }, now));
      if (!this.#hasBegun) effects.push(...this.#begin(step));
      const hellos = members.flatMap((id) => this.#workers.find(id)?.hello ?? []);
      effects.push(event({ type: "proceeding", generation, step, seating, members: hellos }));
      effects.push(...this.#committed(this.#ledger.proceed(step), now));
    }
    return [...effects, ...this.#membership({ type: "flushed" }, now)];
  }

  #begin(firstStep: number): CoordinatorEffect[] {
    this.#hasBegun = true;
    const readies = this.#workers.all().flatMap(({ ready }) => ready ?? []);
    const [first] = readies;
    if (!first) return [];
    const isMixed = new Set(readies.map(({ probeHash }) => probeHash)).size > 1;
    this.#saidNumerics = isMixed;
    const eagerBecause = readies.map((each) => each.eagerBecause).find((reason) => reason !== null) ?? null;
    const { stepsPerEpoch, totalSteps } = first;
    const note = isMixed ? numericsNote : null;
    return [event({ type: "began", firstStep, stepsPerEpoch, totalSteps, numericsNote: note, eagerBecause })];
  }

  // Steps.

  #committed(reports: readonly StepReport[], now: Millis): CoordinatorEffect[] {
    const effects = reports.flatMap((report): CoordinatorEffect[] => [
      event({ type: "committed", ...report }),
      ...this.#evaluations.upTo(report.step).map(event),
      ...this.#watched({ type: "committed", step: report.step }, now),
    ]);
    for (const { step } of reports) this.#stateIds.delete(step - 1000);
    if (reports.length > 0) this.#suspects.passed(this.#ledger.committed);
    const seats = this.#config?.seats;
    const words = this.#plan && seats !== undefined ? seats * planWord(this.#plan.planId) : null;
    const inEffect = reports.find(({ tail }) => tail.plan === words);
    if (this.#plan && this.#plan.after === null && inEffect) {
      this.#plan.after = inEffect.step;
      if (this.#stopReason !== null && this.#plan.change !== "stop") effects.push(...this.#planned("stop"));
    }
    return effects;
  }

  #drifted(differ: Disagreement, now: Millis): CoordinatorEffect[] {
    const named = differ.odd.map(({ worker, hash }) => {
      const known = this.#workers.find(worker);
      return `${known ? this.#describe(known) : worker} has ${short(hash)}`;
    });
    const others = differ.agreed === null ? "" : `, the others ${short(differ.agreed)}`;
    const found = `states differ after step ${differ.step}: ${named.join(", ")}${others}`;
    const because = `${found}; going back to ${this.#wayBack}${differ.agreed === null ? "" : ", without it"}`;
    const effects: CoordinatorEffect[] = [event({ type: "note", line: because })];
    effects.push(...this.#announced.rewound(differ.step - 1).map(forgotten));
    // The next generation is opened without them, and it is that one that goes back.
    for (const { worker } of differ.agreed === null ? [] : differ.odd) {
      const known = this.#workers.find(worker);
      if (known) effects.push(...this.#dismiss(known, "STATE_DRIFTED", found, now));
    }
    return [...effects, ...this.#restoreTo(because, now)];
  }

  /** All ranks say it alike; the first that does sends all back. */
  #spoiled(
    worker: KnownWorker,
    { generation, step, message }: Extract<WorkerMessage, { type: "WorkerSpoiled" }>,
    now: Millis,
  ): CoordinatorEffect[] {
    const { record } = this.#world;
    const isNews = !this.#leftOut.includes(step) && this.#leftOut.length < maxLeftOut;
    if (!isNews || record?.generation !== generation || !record.members.includes(worker.id)) return [];
    this.#leftOut.push(step);
    const because = `${message}; going back to ${this.#wayBack}, to leave this update out`;
    return [event({ type: "note", line: because }), ...this.#restoreTo(because, now)];
  }

  /** Where a world begins that cannot go on from what it holds. */
  get #wayBack(): string {
    return this.#source === null ? "the beginning" : `the checkpoint of step ${this.#source.step}`;
  }

  #restoreTo(because: string, now: Millis): CoordinatorEffect[] {
    this.#backBecause = because;
    return this.#membership({ type: "restore", because }, now);
  }

  #state(
    { connection, ready, id }: KnownWorker,
    message: Extract<WorkerMessage, { type: "WorkerState" }>,
    isMember: boolean,
  ): CoordinatorEffect[] {
    const { step, stateId, stateHash, totalBytes, progress, pauseMs } = message;
    if (connection === undefined || !ready || !this.#config) return [];
    const savedStep = this.#watch?.savedStep ?? null;
    const agreed = this.#agreement.agreedOn(step);
    const isKnownState = (this.#stateIds.get(step) ?? stateId) === stateId;
    const isNewer = savedStep === null || step > savedStep;
    const isRight = (agreed ?? stateHash) === stateHash && isKnownState && !this.#world.isRestoring;
    const isWanted = isMember && isNewer && isRight;
    if (isWanted) this.#announced.announce(step, stateId, stateHash);
    this.#stateBytes = totalBytes;
    const { layoutHash, tensors } = ready;
    const facts = { step, stateId, progress, layoutHash, stateHash, tensors, config: this.#config, pauseMs };
    const answer =
      isWanted || savedStep === null ? [] : this.#toWorker(id, { type: "CoordinatorSaved", step: savedStep });
    return [{ type: "receiveState", connection, totalBytes, facts: isWanted ? facts : null }, ...answer];
  }

  #stateArrived(step: number, stateId: string, now: Millis): CoordinatorEffect[] {
    const verdict = this.#world.isRestoring ? "forget" : this.#announced.arrived(step, stateId);
    return this.#judged(verdict, step, stateId, now);
  }

  #judged(verdict: "write" | "forget" | "wait", step: number, stateId: string, now: Millis): CoordinatorEffect[] {
    if (verdict === "wait") return [];
    return verdict === "write"
      ? this.#watched({ type: "arrived", step, stateId, bytes: this.#stateBytes }, now)
      : [forgotten(step)];
  }

  #saved(checkpoint: SavedCheckpointFacts, now: Millis): CoordinatorEffect[] {
    const { step, stateId, folder, pauseMs } = checkpoint;
    this.#source = checkpoint;
    return [
      event({ type: "saved", step, folder, pauseMs }),
      ...this.#watched({ type: "saved", step }, now),
      ...this.#announced.passed(step).map(forgotten),
      ...this.#membership({ type: "checkpoint", step, stateId }, now),
      ...this.#finishWhenDone(),
    ];
  }

  #watched(input: CheckpointInput, now: Millis): CoordinatorEffect[] {
    return (this.#watch?.handle(input, now) ?? []).flatMap((effect) => this.#checkpointing(effect));
  }

  #checkpointing(effect: CheckpointEffect): CoordinatorEffect[] {
    switch (effect.type) {
      case "write":
        return [{ type: "writeCheckpoint", step: effect.step }];
      case "forget":
        return [{ type: "forgetState", step: effect.step }];
      case "saved":
        return this.#toMembers({ type: "CoordinatorSaved", step: effect.step });
      case "say":
        return [event({ type: "note", line: effect.line })];
      case "planCheckpoint":
        return this.#stopReason === null ? this.#planned("checkpoint") : [];
      case "end":
        return this.#end(1, effect.code, effect.message);
    }
  }

  /** One at a time: a rank has one plan. A stop is planned as soon as the plan before it took effect. */
  #planned(change: "stop" | "checkpoint"): CoordinatorEffect[] {
    if (this.#plan?.after === null) return [];
    this.#plan = { planId: this.#options.usedPlans + ++this.#plans, change, after: null };
    return this.#toMembers(planned(this.#plan));
  }

  /** All ranks have done everything and the last state is on disk: the last step is committed. */
  #finishWhenDone(): CoordinatorEffect[] {
    const { record } = this.#world;
    if (record?.kind !== "proceeding") return [];
    const done = record.members.flatMap((id) => this.#done.get(id) ?? []);
    const [first] = done;
    if (!first || done.length < record.members.length || this.#watch?.savedStep !== first.step) return [];
    const reason = first.stopped ? "stopped" : "the run is over";
    const finish = this.#workers
      .connected()
      .flatMap(({ id }) => this.#toWorker(id, { type: "CoordinatorFinish", reason }));
    this.#phase = "ended";
    return first.stopped
      ? [...finish, { type: "end", exitCode: 130, code: "STOPPED", message: this.#stopReason ?? "stopped" }]
      : [...finish, { type: "end", exitCode: 0, code: "FINISHED", message: "the run is over" }];
  }

  #stop(reason: string, now: Millis): CoordinatorEffect[] {
    if (this.#stopReason !== null) return this.#hurry(this.#stopReason, now);
    this.#stopReason = reason;
    // All is done, and only the disk is waited for: no step will come that a stop could follow.
    if (this.#watch?.isRetryingLast) return this.#hurry(reason, now);
    if (!this.#hasBegun && this.#options.recovered === null)
      return this.#end(130, "STOPPED", `${reason} before the first step: there is nothing to save`);
    const stopping = event({ type: "stopping", reason });
    return [stopping, ...(this.#isDeserted ? this.#hurry(reason, now) : this.#planned("stop"))];
  }

  /** All workers are judged lost: a stop has nobody to wait for. */
  get #isDeserted(): boolean {
    const { record, isAsking } = this.#world;
    return record !== null && !isAsking && this.#workers.all().length === 0;
  }

  /** A machine or a job that ends asks all its workers to leave: the run is stopped while they still hold it. */
  #stopWhenAllLeave(reason: string, now: Millis): CoordinatorEffect[] {
    const { candidates, record } = this.#world;
    const isAlone = record !== null && candidates.every(({ isLeaving }) => isLeaving);
    return isAlone && this.#stopReason === null && !this.#ended()
      ? this.#stop(`all workers leave: ${reason}`, now)
      : [];
  }

  /** Asked to stop a second time, it waits neither for the disk nor for the step under way: it may be that nobody works it. */
  #hurry(reason: string, now: Millis): CoordinatorEffect[] {
    const effects = this.#watched({ type: "giveUp" }, now);
    if (this.#ended()) return effects;
    const { committed } = this.#ledger;
    const savedStep = this.#watch?.savedStep ?? 0;
    if (savedStep >= committed) return [...effects, ...this.#end(130, "STOPPED", reason)];
    const missing = `steps ${savedStep + 1} to ${committed} are in no checkpoint`;
    return [...effects, ...this.#end(1, "STOPPED_UNSAVED", `${reason}: ended at once, so ${missing}`)];
  }

  // What goes wrong.

  #closed(connection: Connection, reason: string, isDead: boolean, now: Millis): CoordinatorEffect[] {
    const worker = this.#workers.on(connection);
    if (!worker) return [];
    this.#workers.disconnect(worker, now);
    if (worker.bye !== undefined) return this.#lose(worker, `it left: ${worker.bye}`, true, now);
    const isNamed = this.#links.names(worker.id, this.#world.record?.generation ?? 0);
    if (isDead || isNamed || !this.#isMember(worker))
      return this.#lose(worker, `its process is gone${reason ? `: ${reason}` : ""}`, isDead, now);
    return this.#membership({ type: "away", worker: worker.id }, now);
  }

  #isMember({ id }: KnownWorker): boolean {
    const { record, writing } = this.#world;
    return record?.members.includes(id) === true || writing?.members.includes(id) === true;
  }

  #lose(worker: KnownWorker, because: string, isCertain: boolean, now: Millis): CoordinatorEffect[] {
    const { connection, id } = worker;
    const isMember = this.#isMember(worker);
    const peer = this.#describe(worker);
    const effects: CoordinatorEffect[] = [];
    // One that is stopped finds its connection closed when it wakes up.
    if (connection !== undefined) effects.push({ type: "close", connection, reason: "LOST" });
    const { record } = this.#world;
    if (isMember) effects.push(event({ type: "lost", workerId: id, peer, because }));
    else if (!this.#hasBegun) effects.push(event({ type: "left", peer: placeOf(worker), message: because }));
    const isSuspicious = worker.bye === undefined && record?.kind === "proceeding";
    const suspect = isSuspicious
      ? this.#suspects.lost(record.generation, this.#ledger.committed, seatsOf(record, id), isCertain)
      : null;
    this.#workers.forget(worker);
    this.#speeds.forget(id);
    this.#links.forget(id);
    if (suspect !== null) return [...effects, ...this.#poisoned(suspect)];
    effects.push(...this.#membership(lost(id, `${peer}: ${because}`, isCertain), now));
    if (this.#stopReason !== null && this.#isDeserted && !this.#ended())
      effects.push(...this.#hurry(this.#stopReason, now));
    return effects;
  }

  #poisoned({ step, seat }: { readonly step: number; readonly seat: number }): CoordinatorEffect[] {
    const ids = this.#options.samplesOf?.(step, seat) ?? [];
    const listed = ids.length > 20 ? `${ids.slice(0, 20).join(", ")} and ${ids.length - 20} more` : ids.join(", ");
    const found = `one rank after another died while it worked seat ${seat} of step ${step + 1}`;
    const advice = "one of its samples may kill whoever computes it: look at them, or at the workers' memory";
    return this.#end(1, "SAMPLES_KILL", `${found}, whose samples are ${listed}; ${advice}`);
  }

  #failed(
    worker: KnownWorker,
    { code, message, concerns }: { code: string; message: string; concerns: "run" | "worker" },
    now: Millis,
  ): CoordinatorEffect[] {
    const told = `${this.#describe(worker)}: ${message}`;
    // While the config is not settled, a worker's failure is its own; until the run has begun it is that of all.
    if (this.#phase === "gathering") {
      worker.bye = message;
      return [];
    }
    if (!this.#hasBegun || concerns === "run") return this.#end(1, code, told);
    worker.bye = message;
    return this.#lose(worker, `${message} [${code}]`, true, now);
  }

  #linkLost(
    worker: KnownWorker,
    generation: number,
    peer: string | null,
    message: string,
    now: Millis,
  ): CoordinatorEffect[] {
    const { record } = this.#world;
    if (generation !== record?.generation || !record.members.includes(worker.id)) return [];
    const neighbour = peer === null ? undefined : this.#workers.find(peer);
    // Its process is gone and its link too: there is nothing to wait for.
    if (neighbour && neighbour.connection === undefined)
      return this.#lose(neighbour, "its connections are lost", false, now);
    this.#links.failed(worker.id, peer, generation, `${this.#describe(worker)}: ${message}`, now);
    return [];
  }

  #malformed(connection: Connection, code: string, message: string, now: Millis): CoordinatorEffect[] {
    const worker = this.#workers.on(connection);
    if (worker) return this.#dismiss(worker, code, `it sent ${message}`, now);
    return [
      ...turnedAway(connection, code, message),
      event({ type: "refused", peer: `connection ${connection}`, code, message }),
    ];
  }

  #tick(now: Millis): CoordinatorEffect[] {
    const { silenceMs, gatherMs, loneMs, blameMs } = this.#limits;
    const late = now - this.#tickedMs > silenceMs / 2;
    this.#tickedMs = now;
    const effects = this.#watched({ type: "tick" }, now);
    if (late) {
      // It did not run itself, so what was said meanwhile may wait to be read: it judges nobody.
      for (const worker of this.#workers.all()) {
        worker.heardMs = now;
        if (worker.awayMs !== undefined) worker.awayMs = now;
      }
      return effects;
    }
    const limits = this.#limits;
    const longestStepMs = this.#speeds.longestStepMs();
    for (const worker of this.#workers.all()) {
      const because = judge(worker, now, longestStepMs, limits);
      if (because !== null) effects.push(...this.#lose(worker, because, false, now));
      if (this.#ended()) return effects;
    }
    const broken = this.#links.due(this.#world.record?.generation ?? 0, now, blameMs);
    if (broken) effects.push(...this.#broken(broken, now));
    effects.push(...this.#takeIn(now));
    const { record, isAsking } = this.#world;
    if (record && isAsking && this.#firstBackMs !== undefined && now - this.#firstBackMs >= gatherMs)
      for (const id of record.members)
        if (!this.#workers.find(id))
          effects.push(...this.#membership(lost(id, "it did not come back to the restarted coordinator", false), now));
    if (!this.#isWaiting()) this.#waitingMs = undefined;
    else {
      this.#waitingMs ??= now;
      if (now - this.#waitingMs >= loneMs) effects.push(...this.#membership({ type: "waited" }, now));
    }
    if (this.#options.balance === "speed" && record?.kind === "proceeding" && !this.#world.writing) {
      const better = this.#speeds.betterSeating(record, (ids) => this.#seat(ids), now);
      if (better !== null) effects.push(...this.#membership({ type: "reopen", because: better }, now));
    }
    return effects;
  }

  /** Whether nothing can be decided before an earlier member has answered: it may hold what nobody else does. */
  #isWaiting(): boolean {
    const { isAsking, lost, writing } = this.#world;
    return isAsking || (lost.size > 0 && writing === null);
  }

  #ended(): boolean {
    return this.#phase === "ended";
  }

  #broken(
    fault: {
      readonly between: readonly [string, string | null];
      readonly message: string;
      readonly isRepeated: boolean;
    },
    now: Millis,
  ): CoordinatorEffect[] {
    const [reporter, peer] = fault.between;
    const other = peer === null ? undefined : this.#workers.find(peer);
    const first = this.#workers.find(reporter);
    const { members = [], generation = 0 } = this.#world.record ?? {};
    // Twice between two that are alive, and they cannot reach each other.
    if (!fault.isRepeated || !first || !other || this.#links.seatApart(reporter, other.id, members))
      return this.#membership({ type: "reopen", because: fault.message }, now);
    const worse = this.#links.worseOf(first, other, generation);
    const forMs = this.#links.leaveOut(worse, now);
    const found = `its link failed in two generations running: ${fault.message}`;
    return this.#lose(worse, `${found}; it is not taken in again for ${Math.round(forMs / 1000)} s`, false, now);
  }

  /** Takes those in that were left out for long enough, or that nobody else can stand in for. */
  #takeIn(now: Millis): CoordinatorEffect[] {
    const isDeserted = this.#world.record?.members.every((id) => !this.#workers.find(id)) ?? false;
    return this.#workers.connected().flatMap((worker) => {
      if (!worker.isLeftOut || (!isDeserted && this.#links.isLeftOut(worker, now))) return [];
      worker.isLeftOut = false;
      return this.#said(worker, { ...worker.hello.standing, phase: "spare", step: -1 }, true, now);
    });
  }

  // The end.

  #end(exitCode: number, code: string, message: string): CoordinatorEffect[] {
    const toAll = this.#workers.connected().flatMap(({ id }) => this.#toWorker(id, abort(code, message)));
    this.#phase = "ended";
    return [...toAll, { type: "end", exitCode, code, message }];
  }

  /** The workers are another coordinator's now: they look for it. */
  #replaced(message: string): CoordinatorEffect[] {
    this.#phase = "ended";
    const left = this.#workers
      .connected()
      .flatMap(({ connection }): CoordinatorEffect[] =>
        connection === undefined ? [] : [{ type: "close", connection, reason: "REPLACED" }],
      );
    return [...left, { type: "end", exitCode: 1, code: "REPLACED", message }];
  }

  // Words.

  #toWorker(id: string, message: CoordinatorMessage): CoordinatorEffect[] {
    const connection = this.#workers.find(id)?.connection;
    return connection === undefined ? [] : [{ type: "send", connection, message }];
  }

  #toMembers(message: CoordinatorMessage): CoordinatorEffect[] {
    return (this.#world.record?.members ?? []).flatMap((id) => this.#toWorker(id, message));
  }

  /** How many seats a member of the newest record has; undefined: it is none. Asked by every rank at every step. */
  #seatsOf(id: string): number | undefined {
    const { record } = this.#world;
    if (record === null) return undefined;
    if (this.#counted?.record !== record) {
      const seats = new Map(record.members.map((member) => [member, 0]));
      for (const rank of record.kind === "proceeding" ? record.seating : []) {
        const member = record.members[rank] ?? "";
        seats.set(member, (seats.get(member) ?? 0) + 1);
      }
      this.#counted = { record, seats };
    }
    return this.#counted.seats.get(id);
  }

  #describe(worker: KnownWorker): string {
    const { record } = this.#world;
    const rank = record?.kind === "proceeding" ? record.members.indexOf(worker.id) : -1;
    return rank < 0
      ? `the worker on ${placeOf(worker)}`
      : `rank ${rank} (pid ${worker.hello.pid} on ${worker.hello.host})`;
  }
}

const event = (shown: RunEvent): CoordinatorEffect => ({ type: "event", event: shown });

const forgotten = (step: number): CoordinatorEffect => ({ type: "forgetState", step });

const planned = ({ planId, change }: Omit<CoordinatorPlan, "type">): CoordinatorMessage => ({
  type: "CoordinatorPlan",
  planId,
  change,
});

const lost = (worker: string, because: string, isCertain: boolean): MembershipInput => ({
  type: "lost",
  worker,
  because,
  isCertain,
});

function seatsOf(record: MembershipRecord, id: string): number[] {
  if (record.kind !== "proceeding") return [];
  const rank = record.members.indexOf(id);
  return record.seating.flatMap((owner, seat) => (owner === rank ? [seat] : []));
}

const turnedAway = (connection: Connection, code: string, message: string): CoordinatorEffect[] => [
  { type: "send", connection, message: abort(code, message) },
  { type: "close", connection, reason: code },
];

const abort = (code: string, message: string): CoordinatorMessage => ({
  type: "CoordinatorAbort",
  code,
  message: shorten(message, maxErrorChars),
});
