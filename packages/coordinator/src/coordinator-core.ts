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
  type Millis,
  maxLeftOut,
  type RunConfig,
  type WorkerDone,
  type WorkerHello,
  type WorkerMessage,
  type WorkerStanding,
} from "@ringmaster/protocol";
import { differenceOf, mismatchOf, numericsNote, refusalOf, settledConfig, short } from "./admission.ts";
import { AnnouncedStates } from "./announced-states.ts";
import { type CheckpointEffect, type CheckpointInput, CheckpointWatch } from "./checkpoint-watch.ts";
import type {
  Connection,
  CoordinatorEffect,
  CoordinatorInput,
  CoordinatorOptions,
  SavedCheckpointFacts,
} from "./coordinator-io.ts";
import { abort, event, forgotten, turnedAway } from "./effects.ts";
import { Evaluations } from "./evaluations.ts";
import { type KnownWorker, KnownWorkers, placeOf } from "./known-workers.ts";
import { LedWorld } from "./led-world.ts";
import { LinkFaults } from "./link-faults.ts";
import { defaultLimits, judge, type LivenessLimits } from "./liveness.ts";
import type { MembershipInput, MembershipRecord } from "./membership.ts";
import { RankSpeeds } from "./rank-speeds.ts";
import { RunPlans } from "./run-plans.ts";
import { SeatCounts, seatsOf } from "./seat-counts.ts";
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
  readonly #seatCounts = new SeatCounts();
  readonly #plans: RunPlans;
  readonly #done = new Map<string, WorkerDone>();
  readonly #startedMs: Millis;
  #phase: Phase = "gathering";
  #config: RunConfig | undefined;
  readonly #world: LedWorld;
  #watch: CheckpointWatch | undefined;
  /** The same for all states of a run. */
  #stateBytes = 0;
  #joined = 0;
  #hasBegun = false;
  #saidNumerics = false;
  #kept = 0;
  #firstBackMs: Millis | undefined;
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
    const { recovered, resume, usedPlans } = options;
    this.#plans = new RunPlans(usedPlans);
    this.#ledger = new StepLedger(recovered?.committed ?? resume?.step ?? 0);
    this.#evaluations = new Evaluations(recovered?.evaluated ?? []);
    this.#world = new LedWorld({
      options,
      workers: this.#workers,
      links: this.#links,
      speeds: this.#speeds,
      plans: this.#plans,
      ledger: this.#ledger,
    });
    // A run that goes on has its config; `configFor` says it whatever the threads are.
    if (recovered) this.#settle(options.configFor(1));
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

  /** Of the checkpoint that members without a state start from; null: they start from the seed. */
  get sourceStep(): number | null {
    return this.#world.sourceStep;
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
      case "sourceLost":
        return this.#sourceLost(input, now);
      case "kept":
        // What the world went back behind is on disk no longer.
        this.#kept = Math.min(input.step, this.#ledger.committed);
        return this.#world.toMembers({ type: "CoordinatorKept", step: this.#kept });
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
        const standing = { ...worker.hello.standing, phase: "regrouping" as const, generation, step, stateId };
        return this.#world.said(worker, standing, false);
      }
      case "WorkerLinkLost":
        return this.#linkLost(worker, message.generation, message.peer, message.message, now);
      case "WorkerSpoiled":
        return this.#spoiled(worker, message);
      case "WorkerLeaving": {
        const leaving = event({ type: "leaving", peer: this.#world.describe(worker), because: message.reason });
        const effects = [leaving, ...this.#world.take({ type: "leaving", worker: worker.id })];
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
    const seats = this.#seatCounts.of(record, worker.id);
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
      effects.push(...this.#world.take(lost(former.id, "it dropped its state", true)));
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
    if (isReturning && this.#world.isMember(worker)) this.#firstBackMs ??= now;
    if (this.#config) return [...effects, ...this.#introduce(worker, this.#config)];
    return [...effects, ...this.#gather()];
  }

  #introduce({ connection, hello }: KnownWorker, config: RunConfig): CoordinatorEffect[] {
    if (connection === undefined) return [];
    const send = (message: CoordinatorMessage): CoordinatorEffect => ({ type: "send", connection, message });
    if (hello.standing.phase === "unprepared") return [send({ type: "CoordinatorStart", config })];
    const savedStep = this.#watch?.savedStep ?? null;
    return [
      ...(this.#plans.newest ? [send(this.#plans.newest)] : []),
      ...(savedStep === null ? [] : [send({ type: "CoordinatorSaved", step: savedStep })]),
      send({ type: "CoordinatorKept", step: this.#kept }),
    ];
  }

  /** Settles the config once as many workers are here as the run begins with. */
  #gather(): CoordinatorEffect[] {
    const workers = this.#workers.connected();
    if (workers.length < this.#options.ranks) return [];
    const members = workers.map(({ hello }) => hello);
    const config = settledConfig(members, this.#options);
    if ("exitCode" in config) return this.#end(config.exitCode, config.code, config.message);
    this.#settle(config);
    return [
      event({ type: "settled", config, members }),
      ...workers.flatMap((worker) => this.#introduce(worker, config)),
    ];
  }

  #settle(config: RunConfig): void {
    this.#config = config;
    this.#phase = "running";
    this.#world.settle(config);
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
      return [...begun, ...note, ...(worker.isLeftOut ? [] : this.#world.said(worker, at, true))];
    }
    // The run begins with those that joined first, in that order.
    if (prepared.length < this.#options.ranks) return [];
    return prepared.flatMap((each) =>
      this.#world.said(each, { ...each.hello.standing, phase: "spare", step: -1 }, true),
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
    const refused = event({ type: "refused", peer: this.#world.describe(worker), code, message });
    this.#workers.disconnect(worker, now);
    // It does not die of a sample.
    worker.bye ??= message;
    return [...refusal, refused, ...this.#lose(worker, message, true, now)];
  }

  // Membership.

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
        effects.push(event({ type: "restored", step, because: this.#world.backBecause }));
      }
      effects.push(...this.#watched({ type: "rewound", step }, now));
      if (!this.#hasBegun) effects.push(...this.#begin(step));
      const hellos = this.#workers.hellosOf(members);
      effects.push(event({ type: "proceeding", generation, step, seating, members: hellos }));
      effects.push(...this.#committed(this.#ledger.proceed(step), now));
    }
    return [...effects, ...this.#world.flushed()];
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
    const plan = this.#plans.committed(reports, this.#config?.seats);
    return plan ? [...effects, ...this.#world.toMembers(plan)] : effects;
  }

  #drifted(differ: Disagreement, now: Millis): CoordinatorEffect[] {
    const named = differ.odd.map(({ worker, hash }) => {
      const known = this.#workers.find(worker);
      return `${known ? this.#world.describe(known) : worker} has ${short(hash)}`;
    });
    const others = differ.agreed === null ? "" : `, the others ${short(differ.agreed)}`;
    const found = `states differ after step ${differ.step}: ${named.join(", ")}${others}`;
    const because = `${found}; going back to ${this.#world.wayBack}${differ.agreed === null ? "" : ", without it"}`;
    const effects: CoordinatorEffect[] = [event({ type: "note", line: because })];
    effects.push(...this.#announced.rewound(differ.step - 1).map(forgotten));
    // The next generation is opened without them, and it is that one that goes back.
    for (const { worker } of differ.agreed === null ? [] : differ.odd) {
      const known = this.#workers.find(worker);
      if (known) effects.push(...this.#dismiss(known, "STATE_DRIFTED", found, now));
    }
    return [...effects, ...this.#world.restore(because)];
  }

  /** All ranks say it alike; the first that does sends all back. */
  #spoiled(
    worker: KnownWorker,
    { generation, step, message }: Extract<WorkerMessage, { type: "WorkerSpoiled" }>,
  ): CoordinatorEffect[] {
    const { record } = this.#world;
    const { leftOut } = this.#world;
    const isNews = !leftOut.includes(step) && leftOut.length < maxLeftOut;
    if (!isNews || record?.generation !== generation || !record.members.includes(worker.id)) return [];
    const because = `${message}; going back to ${this.#world.wayBack}, to leave this update out`;
    return [event({ type: "note", line: because }), ...this.#world.restore(because, step)];
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
      isWanted || savedStep === null ? [] : this.#workers.tell(id, { type: "CoordinatorSaved", step: savedStep });
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
    const { step, folder, pauseMs } = checkpoint;
    return [
      event({ type: "saved", step, folder, pauseMs }),
      ...this.#watched({ type: "saved", step }, now),
      ...this.#announced.passed(step).map(forgotten),
      ...this.#world.saved(checkpoint),
      ...this.#finishWhenDone(),
    ];
  }

  /** Who holds a state keeps it: the world goes back only where nobody holds a newer one than what is left on disk. */
  #sourceLost(
    { step, message, next }: Extract<CoordinatorInput, { type: "sourceLost" }>,
    now: Millis,
  ): CoordinatorEffect[] {
    // Another has taken its place meanwhile.
    if (this.#world.sourceStep !== step) return [];
    const because = `the checkpoint of step ${step} is not usable: ${message}`;
    const unless = this.#world.isRestoring ? "" : ", unless a rank holds a newer state";
    const reopened = this.#world.sourceLost(next, because);
    return [
      event({ type: "note", line: `${because}; going back to ${this.#world.wayBack}${unless}` }),
      ...this.#watched({ type: "lost", newest: next?.step ?? 0 }, now),
      // So that ranks take the states of later steps again, when they come to them.
      ...this.#world.toMembers({ type: "CoordinatorSaved", step: next?.step ?? 0 }),
      ...reopened,
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
        return this.#world.toMembers({ type: "CoordinatorSaved", step: effect.step });
      case "say":
        return [event({ type: "note", line: effect.line })];
      case "planCheckpoint":
        return this.#plans.stopReason === null ? this.#planned("checkpoint") : [];
      case "end":
        return this.#end(1, effect.code, effect.message);
    }
  }

  #planned(change: "stop" | "checkpoint"): CoordinatorEffect[] {
    const plan = this.#plans.make(change);
    return plan ? this.#world.toMembers(plan) : [];
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
      .flatMap(({ id }) => this.#workers.tell(id, { type: "CoordinatorFinish", reason }));
    this.#phase = "ended";
    return first.stopped
      ? [...finish, { type: "end", exitCode: 130, code: "STOPPED", message: this.#plans.stopReason ?? "stopped" }]
      : [...finish, { type: "end", exitCode: 0, code: "FINISHED", message: "the run is over" }];
  }

  #stop(reason: string, now: Millis): CoordinatorEffect[] {
    if (this.#plans.stopReason !== null) return this.#hurry(this.#plans.stopReason, now);
    this.#plans.stops(reason);
    // All is done, and only the disk is waited for: no step will come that a stop could follow.
    if (this.#watch?.isRetryingLast) return this.#hurry(reason, now);
    if (!this.#hasBegun && this.#options.recovered === null)
      return this.#end(130, "STOPPED", `${reason} before the first step: there is nothing to save`);
    const stopping = event({ type: "stopping", reason });
    return [stopping, ...(this.#world.isDeserted ? this.#hurry(reason, now) : this.#planned("stop"))];
  }

  /**
   * A machine or a job that ends asks all its workers to leave: the run is stopped while they still hold it. What only waits for the disk needs no worker, and
   * nobody has said that it should not be waited for.
   */
  #stopWhenAllLeave(reason: string, now: Millis): CoordinatorEffect[] {
    const isStopping = this.#plans.stopReason !== null || this.#watch?.isRetryingLast || this.#ended();
    return this.#world.areAllLeaving && !isStopping ? this.#stop(`all workers leave: ${reason}`, now) : [];
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
    if (isDead || isNamed || !this.#world.isMember(worker))
      return this.#lose(worker, `its process is gone${reason ? `: ${reason}` : ""}`, isDead, now);
    return this.#world.take({ type: "away", worker: worker.id });
  }

  #lose(worker: KnownWorker, because: string, isCertain: boolean, now: Millis): CoordinatorEffect[] {
    const { connection, id } = worker;
    const isMember = this.#world.isMember(worker);
    const peer = this.#world.describe(worker);
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
    effects.push(...this.#world.take(lost(id, `${peer}: ${because}`, isCertain)));
    const { stopReason } = this.#plans;
    if (stopReason !== null && this.#world.isDeserted && !this.#ended()) effects.push(...this.#hurry(stopReason, now));
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
    const told = `${this.#world.describe(worker)}: ${message}`;
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
    this.#links.failed(worker.id, peer, generation, `${this.#world.describe(worker)}: ${message}`, now);
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
    if (this.#ended()) return effects;
    effects.push(...this.#takeIn(now));
    const { record, isAsking } = this.#world;
    if (record && isAsking && this.#firstBackMs !== undefined && now - this.#firstBackMs >= gatherMs)
      for (const id of record.members)
        if (!this.#workers.find(id))
          effects.push(...this.#world.take(lost(id, "it did not come back to the restarted coordinator", false)));
    if (!this.#world.isWaiting) this.#waitingMs = undefined;
    else {
      this.#waitingMs ??= now;
      if (now - this.#waitingMs >= loneMs) effects.push(...this.#world.take({ type: "waited" }));
    }
    if (this.#options.balance === "speed" && record?.kind === "proceeding" && !this.#world.writing) {
      const better = this.#speeds.betterSeating(record, (ids) => this.#world.seat(ids), now);
      if (better !== null) effects.push(...this.#world.take({ type: "reopen", because: better }));
    }
    return effects;
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
      return this.#world.take({ type: "reopen", because: fault.message });
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
      return this.#world.said(worker, { ...worker.hello.standing, phase: "spare", step: -1 }, true);
    });
  }

  // The end.

  #end(exitCode: number, code: string, message: string): CoordinatorEffect[] {
    const toAll = this.#workers.connected().flatMap(({ id }) => this.#workers.tell(id, abort(code, message)));
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
}

const lost = (worker: string, because: string, isCertain: boolean): MembershipInput => ({
  type: "lost",
  worker,
  because,
  isCertain,
});
