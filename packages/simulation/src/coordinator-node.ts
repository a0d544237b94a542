/** A coordinator process of a simulated world: the real state machine, over simulated connections and a simulated disk. */
import {
  type CheckpointFacts,
  type Connection,
  CoordinatorCore,
  type CoordinatorEffect,
  type CoordinatorEnd,
  type CoordinatorInput,
  type CoordinatorOptions,
  loadedStateId,
  mostPlans,
  type RunEvent,
  shellTiming,
} from "@ringmaster/coordinator";
import type { RunConfig, WorkerMessage } from "@ringmaster/protocol";
import type { Disk, JournalContents, StoredCheckpoint } from "./disk.ts";
import { type ControlTraffic, controlBytes, coordinatorAddress } from "./messages.ts";
import type { End, Network } from "./network.ts";
import type { Process } from "./process.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface CoordinatorNodeOptions {
  readonly process: Process;
  readonly time: VirtualTime;
  readonly network: Network;
  readonly disk: Disk;
  readonly ranks: number;
  readonly config: RunConfig;
  readonly stateBytes: number;
  readonly checkpointMs: number;
  readonly isRecovery: boolean;
  readonly beats: boolean;
  readonly samplesOf: NonNullable<CoordinatorOptions["samplesOf"]>;
  /** Whether the process of a worker of this machine is dead. */
  readonly isDeadHere: (host: string, pid: number) => boolean;
  readonly onEffect: (node: CoordinatorNode, effect: CoordinatorEffect) => void;
  readonly onRecorded: (contents: JournalContents) => void;
  readonly onEvent: (event: RunEvent) => void;
  readonly onEnd: (end: CoordinatorEnd) => void;
}

const { heartbeatMs, tickMs, farewellMs, journalRetryMs } = shellTiming;
const metricsFlushMs = 200;
const leaseMs = 1000;

type Facts = StoredCheckpoint["facts"];

export class CoordinatorNode {
  readonly process: Process;
  readonly core: CoordinatorCore;
  readonly epoch: number;
  readonly #options: CoordinatorNodeOptions;
  readonly #ends = new Map<Connection, End<ControlTraffic>>();
  readonly #hosts = new Map<Connection, { readonly host: string; readonly pid: number }>();
  readonly #incoming = new Map<Connection, { readonly facts: Facts | null }>();
  readonly #states = new Map<number, StoredCheckpoint>();
  #connections = 0;
  #kept = 0;
  #unflushed: Extract<RunEvent, { type: "committed" | "evaluated" }>[] = [];
  readonly #jobs: (() => void)[] = [];
  #isBusy = false;
  #isOver = false;

  constructor(options: CoordinatorNodeOptions) {
    this.#options = options;
    this.process = options.process;
    const { process, time, network, disk, isRecovery, ranks, config, samplesOf, beats } = options;
    this.epoch = disk.open();
    const { record, usedGeneration, checkpoint } = disk.journal;
    const newest = disk.newest();
    const { metrics } = disk;
    const committed = metrics.steps.at(-1)?.step ?? 0;
    // The numbers of this coordinator's plans are used before anyone hears of one.
    disk.usedPlans += mostPlans;
    this.core = new CoordinatorCore({
      ranks,
      configHash: config.name,
      datasetHash: config.name,
      configFor: () => config,
      epoch: this.epoch,
      usedGeneration,
      usedPlans: disk.usedPlans - mostPlans,
      recovered: isRecovery
        ? { record, committed, recordedStep: checkpoint?.step ?? 0, evaluated: metrics.evaluated }
        : null,
      resume: newest && {
        ...this.#sourceOf(newest.facts, checkpoint),
        layoutHash: newest.facts.layoutHash,
        tensors: newest.facts.tensors,
      },
      samplesOf,
      now: time.nowMs,
    });
    network.listen<"worker", ControlTraffic>(process, coordinatorAddress, (_, dial) => this.#accept(dial.accept()));
    if (beats) process.every(heartbeatMs, () => this.#beat());
    process.every(tickMs, () => this.#tick());
    process.every(metricsFlushMs, () => this.#flushMetrics());
    process.every(leaseMs, () => this.#keepLease());
  }

  #sourceOf(facts: CheckpointFacts, recorded: JournalContents["checkpoint"]) {
    const { step, progress } = facts;
    return { step, stateId: loadedStateId(facts, recorded), progress, totalBytes: this.#options.stateBytes };
  }

  /** Ctrl-C. */
  stop(reason: string): void {
    this.process.receive(() => this.#input({ type: "stop", reason }));
  }

  /** For heartbeats without messages. */
  hearBeats(beatOf: (pid: number) => WorkerMessage | undefined): void {
    for (const [connection, { pid }] of [...this.#hosts]) {
      const message = beatOf(pid);
      if (message) this.#input({ type: "message", connection, message });
    }
  }

  #accept(end: End<ControlTraffic>): void {
    if (this.#isOver) return end.close("over");
    const connection = this.#connections++;
    this.#ends.set(connection, end);
    end.listen({
      message: (message) => this.#receive(connection, message),
      closed: (reason) => {
        const known = this.#hosts.get(connection);
        this.#forget(connection);
        const isDead = known !== undefined && this.#options.isDeadHere(known.host, known.pid);
        this.#input({ type: "closed", connection, reason, isDead });
        if (this.#isOver && this.#ends.size === 0) this.process.exit();
      },
    });
  }

  #receive(connection: Connection, message: ControlTraffic): void {
    if (message.type === "state") return this.#stateArrived(connection, message.step, message.state);
    if (!isWorkers(message)) throw new Error(`a ${message.type} came to the coordinator`);
    if (message.type === "WorkerHello") this.#hosts.set(connection, { host: message.host, pid: message.pid });
    this.#input({ type: "message", connection, message });
  }

  #stateArrived(connection: Connection, step: number, state: number): void {
    const incoming = this.#incoming.get(connection);
    if (!incoming)
      return this.#input({
        type: "malformed",
        connection,
        code: "UNEXPECTED_MESSAGE",
        message: "a state that was not announced",
      });
    this.#incoming.delete(connection);
    const { facts } = incoming;
    if (!facts) return;
    this.#states.set(step, { facts, state, isTorn: false });
    this.#input({ type: "stateArrived", step, stateId: facts.stateId });
  }

  #beat(): void {
    if (this.#isOver) return;
    for (const end of this.#ends.values())
      end.send({ type: "CoordinatorHeartbeat", sentAtMs: this.#options.time.nowMs }, 30);
  }

  #tick(): void {
    if (this.#isOver) return;
    const kept = this.#options.disk.metrics.steps.at(-1)?.step ?? 0;
    if (kept !== this.#kept) {
      this.#kept = kept;
      this.#input({ type: "kept", step: kept });
    }
    this.#input({ type: "tick" });
  }

  #keepLease(): void {
    if (this.#isOver || this.#options.disk.isOwner(this.epoch)) return;
    this.#input({ type: "replaced", message: "another coordinator has taken over" });
  }

  #flushMetrics(): void {
    const { disk } = this.#options;
    if (disk.isFull || !disk.isOwner(this.epoch)) return;
    for (const event of this.#unflushed.splice(0))
      if (event.type === "committed") disk.metrics.steps.push(event);
      else {
        const after = disk.metrics.steps.at(-1)?.step ?? 0;
        disk.metrics.evaluated.push({ step: event.step, split: event.evaluation.split, after });
      }
  }

  #input(input: CoordinatorInput): void {
    for (const effect of this.core.handle(input, this.#options.time.nowMs)) this.#perform(effect);
  }

  #perform(effect: CoordinatorEffect): void {
    this.#options.onEffect(this, effect);
    if (!this.process.isAlive) return;
    switch (effect.type) {
      case "send":
        return this.#ends.get(effect.connection)?.send(effect.message, controlBytes);
      case "sendState": {
        const { generation, step } = effect;
        const stored = this.#options.disk.checkpoints.get(step);
        if (!stored || stored.isTorn) return this.#afterOther(() => this.#fallBack(step));
        return this.#ends
          .get(effect.connection)
          ?.sendBulk(() => ({ type: "state", generation, step, state: stored.state }), this.#options.stateBytes);
      }
      case "close": {
        const end = this.#ends.get(effect.connection);
        this.#forget(effect.connection);
        return end?.close(effect.reason);
      }
      case "record":
        return this.#write({ record: effect.record, usedGeneration: effect.usedGeneration }, () => this.#recorded());
      case "receiveState":
        if (this.#incoming.has(effect.connection))
          return this.#input({
            type: "malformed",
            connection: effect.connection,
            code: "STATE_MALFORMED",
            message: "a state was announced after part of the one before",
          });
        this.#incoming.set(effect.connection, { facts: effect.facts });
        return;
      case "writeCheckpoint":
        return this.#afterOther(() => this.#save(effect.step));
      case "forgetState":
        this.#states.delete(effect.step);
        return;
      case "event":
        return this.#event(effect.event);
      case "end":
        return this.#end(effect);
    }
  }

  #event(event: RunEvent): void {
    if (event.type === "committed" || event.type === "evaluated") this.#unflushed.push(event);
    if (event.type === "restored") {
      const { disk } = this.#options;
      this.#unflushed = this.#unflushed.filter(({ step }) => step <= event.step);
      const isOfRun = ({ step }: { readonly step: number }) => step <= event.step;
      disk.metrics = {
        steps: disk.metrics.steps.filter(isOfRun),
        evaluated: disk.metrics.evaluated.filter(isOfRun),
      };
    }
    this.#options.onEvent(event);
  }

  #forget(connection: Connection): void {
    this.#ends.delete(connection);
    this.#hosts.delete(connection);
    this.#incoming.delete(connection);
  }

  /** Tries until it is in the journal, or the run another coordinator's. */
  #write(change: Partial<JournalContents>, written: () => void): void {
    const { disk } = this.#options;
    disk.writeJournal(this.process, this.epoch, change, (result) => {
      if (this.#isOver) return;
      if (result === "fenced") return this.#input({ type: "replaced", message: "another coordinator has taken over" });
      if (result === "full") return this.process.after(journalRetryMs, () => this.#write(change, written));
      written();
    });
  }

  #recorded(): void {
    this.#options.onRecorded(this.#options.disk.journal);
    // A word may be cut off right here.
    if (this.process.isAlive) this.#input({ type: "recorded" });
  }

  /** Checkpoints are written and given up one after another. */
  #afterOther(job: () => void): void {
    this.#jobs.push(job);
    this.#nextJob();
  }

  #nextJob(): void {
    if (this.#isBusy) return;
    const job = this.#jobs.shift();
    this.#isBusy = job !== undefined;
    job?.();
  }

  #over(input?: CoordinatorInput): void {
    this.#isBusy = false;
    if (input) this.#input(input);
    this.#nextJob();
  }

  #save(step: number): void {
    const state = this.#states.get(step);
    if (!state) {
      const failure = { code: "STATE_GONE", message: "its bytes are here no longer", isRetryable: false };
      return this.#over({ type: "saveFailed", step, failure });
    }
    const { disk } = this.#options;
    const { stateId, stateHash, progress, pauseMs } = state.facts;
    const failed = (result: "full" | "fenced") => {
      if (result === "fenced") return this.#over({ type: "replaced", message: "another coordinator has taken over" });
      const failure = { code: "ENOSPC", message: "no space left", isRetryable: true };
      this.#over({ type: "saveFailed", step, failure });
    };
    // Who goes on from it finds the metrics of all steps before.
    this.#flushMetrics();
    disk.writeCheckpoint(this.process, { ...state }, this.#options.checkpointMs, (result) => {
      if (result !== "written") return failed(result);
      disk.writeJournal(this.process, this.epoch, { checkpoint: { step, stateId, stateHash } }, (recorded) => {
        if (recorded !== "written") return failed(recorded);
        this.#states.delete(step);
        const totalBytes = this.#options.stateBytes;
        const checkpoint = { step, stateId, progress, totalBytes, folder: `step-${step}`, pauseMs };
        this.#over({ type: "saved", checkpoint });
      });
    });
  }

  #fallBack(step: number): void {
    if (this.core.sourceStep !== step) return this.#over();
    const { disk } = this.#options;
    const facts = disk.newest(step)?.facts;
    const next = facts && this.#sourceOf(facts, null);
    const checkpoint = next ? { step: next.step, stateId: next.stateId, stateHash: facts.stateHash } : null;
    this.#write({ checkpoint }, () =>
      this.#over({ type: "sourceLost", step, message: "it is torn", next: next ?? null }),
    );
  }

  #end({ exitCode, code, message }: CoordinatorEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#flushMetrics();
    this.#options.onEnd({ exitCode, code, message });
    if (this.#ends.size === 0) return this.process.exit();
    this.process.after(farewellMs, () => {
      for (const end of this.#ends.values()) end.close(code);
      this.process.exit();
    });
  }
}

const isWorkers = (message: ControlTraffic): message is WorkerMessage => message.type.startsWith("Worker");
