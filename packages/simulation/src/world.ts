/**
 * A simulated world: a coordinator, workers, a disk and a network in virtual time, and what goes wrong. The cores are the real ones; what surrounds them is here
 * and in the files that this one puts together.
 */
import type { BucketLayout } from "@ringmaster/collective";
import type { CoordinatorEffect, CoordinatorEnd, RunEvent } from "@ringmaster/coordinator";
import type { Millis, RunConfig } from "@ringmaster/protocol";
import type { WorkerEffect } from "@ringmaster/worker";
import { ClosedRing, KnownTimes } from "./closed-ring.ts";
import { Content, mix } from "./content.ts";
import { CoordinatorNode } from "./coordinator-node.ts";
import { Disk, type JournalContents } from "./disk.ts";
import { headerBytes } from "./event-ring.ts";
import { endOf, type Fault } from "./faults.ts";
import { Invariants } from "./invariants.ts";
import { Network } from "./network.ts";
import { Process } from "./process.ts";
import { Random } from "./random.ts";
import type { RankHandlers, RingPort } from "./ring-port.ts";
import { bytesPerMs, configOf, layoutOf, type WorldSettings } from "./settings.ts";
import { VirtualTime } from "./virtual-time.ts";
import { type WorkerEnd, WorkerNode } from "./worker-node.ts";

/** Something that happens, told before it is carried out. */
export type WorldEvent =
  | { readonly type: "worker"; readonly worker: number; readonly node: WorkerNode; readonly effect: WorkerEffect }
  | { readonly type: "coordinator"; readonly node: CoordinatorNode; readonly effect: CoordinatorEffect }
  | { readonly type: "recorded"; readonly contents: JournalContents }
  | { readonly type: "held"; readonly worker: number; readonly node: WorkerNode; readonly step: number };

export interface WorldOptions {
  readonly settings: WorldSettings;
  readonly faults: readonly Fault[];
  readonly onEvent?: (world: World, event: WorldEvent) => void;
  /** How it should end. Default: FINISHED. */
  readonly ends?: "FINISHED" | "STOPPED" | "SAMPLES_KILL";
  /** Cuts a run short. Default: it goes on to its end, or until nothing moves any more. */
  readonly untilMs?: Millis;
}

export interface WorldOutcome {
  readonly end: CoordinatorEnd | null;
  /** What must not have happened; empty in a good world. */
  readonly violations: readonly string[];
  readonly nowMs: Millis;
  readonly events: number;
  /** Of everything that happened: the same seed gives the same. */
  readonly traceHash: number;
  readonly recoveries: number;
  readonly workerEnds: readonly (WorkerEnd & { readonly worker: number })[];
}

/** Virtual time without any progress, faults aside, that is a deadlock. */
const stillMs = 150_000;
const coordinatorMachine = 0;
const beatMs = 250;

export class World {
  readonly settings: WorldSettings;
  readonly time = new VirtualTime();
  readonly network: Network;
  readonly disk: Disk;
  readonly content: Content;
  readonly config: RunConfig;
  readonly layout: BucketLayout;
  readonly invariants: Invariants;
  /** As they were started. */
  readonly workers: WorkerNode[] = [];
  coordinator: CoordinatorNode | undefined;
  end: CoordinatorEnd | null = null;
  readonly #options: WorldOptions;
  readonly #random: Random;
  readonly #ends: (WorkerEnd & { readonly worker: number })[] = [];
  #ids = 0;
  #processes = 0;
  #trace = 0;
  #progressMs = 0;
  #countedMs = 0;
  #endedMs: Millis | undefined;
  #ring: { readonly generation: number; readonly ring: ClosedRing } | undefined;
  readonly #knownTimes = new KnownTimes();
  #recoveries = 0;

  constructor(options: WorldOptions) {
    const { settings } = options;
    this.#options = options;
    this.settings = settings;
    this.#random = new Random(settings.seed);
    const { latencyMs, gbit, networkJitter, flushMs } = settings;
    const speed = { latencyMs, bytesPerMs: bytesPerMs(gbit), jitter: networkJitter };
    this.network = new Network(this.time, this.#random.fork(1), speed);
    this.disk = new Disk(this.time, this.#random.fork(2), flushMs);
    this.content = new Content(settings);
    this.config = configOf(settings);
    this.layout = layoutOf(settings);
    this.invariants = new Invariants(this);
    this.startCoordinator(false);
    for (let rank = 0; rank < settings.ranks; rank++) this.startWorker();
    if (settings.isLarge) this.#beat();
    for (const fault of options.faults) this.time.at(fault.atMs, () => this.apply(fault));
  }

  /** Whether the faults may end the run like this. */
  mayEndWith(code: string): boolean {
    if (code === (this.#options.ends ?? "FINISHED")) return true;
    const count = (kind: Fault["kind"]) => this.#options.faults.filter((fault) => fault.kind === kind).length;
    // Two deaths at one step look as if a sample had caused them.
    if (code === "SAMPLES_KILL") return count("kill") > 1;
    // All that are left have been asked to go.
    return code === "STOPPED" && count("leave") > 0;
  }

  run(): WorldOutcome {
    const quietMs = endOf(this.#options.faults);
    const { untilMs = Number.POSITIVE_INFINITY } = this.#options;
    while (this.time.nowMs < untilMs && this.time.advance()) {
      if (this.invariants.violations.length > 0) break;
      const { nowMs } = this.time;
      if (this.#endedMs !== undefined) {
        if (this.#isEmpty() || nowMs - this.#endedMs > 15_000) break;
      } else if (nowMs > quietMs && nowMs - Math.max(this.#progressMs, quietMs) > stillMs) {
        this.invariants.violate(`nothing has moved for ${stillMs / 1000} s`);
      } else if (nowMs > quietMs && nowMs >= this.#countedMs) this.#keepWorkers();
    }
    if (this.#endedMs !== undefined && this.invariants.violations.length === 0) this.invariants.checkEnd(this.#ends);
    return {
      end: this.end,
      violations: this.invariants.violations,
      nowMs: this.time.nowMs,
      events: this.time.events,
      traceHash: this.#trace,
      recoveries: this.#recoveries,
      workerEnds: this.#ends,
    };
  }

  startCoordinator(isRecovery: boolean): void {
    if (this.end) return;
    const { settings, time, network, disk, config, content } = this;
    const process = new Process(time, `coordinator ${++this.#processes}`, coordinatorMachine);
    const stateBytes = settings.modelBytes * 3;
    this.coordinator = new CoordinatorNode({
      ...{ process, time, network, disk, config, stateBytes, isRecovery },
      ranks: settings.ranks,
      checkpointMs: 10 + stateBytes / 500_000,
      beats: !settings.isLarge,
      samplesOf: (step, seat) => {
        const { first, end } = content.sampler.seatSlots(step, seat);
        return [...content.sampler.batch(step).subarray(first, end)];
      },
      isDeadHere: (host, pid) => {
        const node = this.workers.find((each) => each.pid === pid);
        return host === `machine-${coordinatorMachine}` && node !== undefined && !node.process.isAlive;
      },
      onEffect: (node, effect) => {
        if (effect.type !== "send" || effect.message.type !== "CoordinatorHeartbeat") this.#note(process, effect);
        this.invariants.coordinator(effect);
        this.#options.onEvent?.(this, { type: "coordinator", node, effect });
      },
      onRecorded: (contents) => {
        this.#progressMs = time.nowMs;
        this.invariants.recorded(contents);
        this.#options.onEvent?.(this, { type: "recorded", contents });
      },
      onEvent: (event) => this.#runEvent(event),
      onEnd: (end) => {
        if (end.code === "REPLACED") return;
        this.end ??= end;
        this.#endedMs ??= time.nowMs;
      },
    });
  }

  startWorker(): WorkerNode {
    const { settings, time, network, content, config, layout } = this;
    const index = this.workers.length;
    const pid = ++this.#processes;
    const machine = settings.isLocal ? coordinatorMachine : 1 + index;
    const process = new Process(time, `worker ${index}`, machine);
    const node = new WorkerNode({
      ...{ process, pid, time, network, content, settings, config, layout },
      random: this.#random.fork(1000 + index),
      newId: () => uuidOf(++this.#ids),
      enterRing: settings.isLarge ? (...ring) => this.#enterRing(...ring) : undefined,
      onEffect: (of, effect) => {
        this.#note(process, effect);
        this.invariants.worker(of, effect);
        this.#options.onEvent?.(this, { type: "worker", worker: index, node: of, effect });
      },
      onHeld: (of, step) => {
        this.invariants.held(of, step);
        this.#options.onEvent?.(this, { type: "held", worker: index, node: of, step });
      },
      onWrong: (message) => this.invariants.violate(message),
      onEnd: (_, end) => {
        this.#ends.push({ worker: index, ...end });
      },
    });
    this.workers.push(node);
    return node;
  }

  apply(fault: Fault): void {
    const { time, network, disk } = this;
    this.#trace = mix(this.#trace, fault.kind.length);
    switch (fault.kind) {
      case "kill": {
        this.#trouble(fault.worker)?.process.kill();
        if (fault.restartMs !== null) time.after(fault.restartMs, () => this.end ?? this.startWorker());
        return;
      }
      case "pause": {
        const node = this.#trouble(fault.worker);
        node?.process.pause();
        time.after(fault.forMs, () => {
          this.#trouble(fault.worker);
          node?.process.wake();
        });
        return;
      }
      case "killCoordinator": {
        const victim = this.coordinator;
        victim?.process.kill();
        time.after(fault.restartMs, () => {
          if (this.coordinator === victim) this.startCoordinator(true);
        });
        return;
      }
      case "pauseCoordinator": {
        const victim = this.coordinator;
        victim?.process.pause();
        for (const worker of this.workers.keys()) this.#trouble(worker);
        // Its lease has run out only if it sleeps so long.
        if (fault.replaceMs !== null && fault.replaceMs < fault.forMs)
          time.after(fault.replaceMs, () => {
            if (this.coordinator === victim) this.startCoordinator(true);
          });
        time.after(fault.forMs, () => victim?.process.wake());
        return;
      }
      case "breakControl": {
        const node = this.#trouble(fault.worker);
        const coordinator = this.coordinator;
        if (!node || !coordinator) return;
        return network.cut(coordinator.process, node.process, (process) =>
          process === node.process ? fault.workerMs : fault.coordinatorMs,
        );
      }
      case "breakLink": {
        const [a, b] = fault.workers.map((worker) => this.#trouble(worker));
        if (a && this.settings.isLarge) this.#ring?.ring.breakLink(a);
        if (a && b) network.cut(a.process, b.process, () => fault.hearMs);
        return;
      }
      case "cutOff":
        return this.#block(fault.workers, fault.forMs, () => coordinatorMachine);
      case "part":
        return this.#block([fault.workers[0]], fault.forMs, () => this.workers[fault.workers[1]]?.process.machine);
      case "leave":
        this.#trouble(fault.worker)?.terminate("SIGTERM");
        return;
      case "join":
        this.startWorker();
        return;
      case "fullDisk":
        disk.isFull = true;
        time.after(fault.forMs, () => {
          disk.isFull = false;
        });
        return;
      case "tearCheckpoint": {
        const newest = disk.newest();
        if (newest) newest.isTorn = true;
        return;
      }
    }
  }

  #enterRing(generation: number, rank: number, seating: readonly number[], handlers: RankHandlers): RingPort {
    const { time, content, layout, settings } = this;
    const { latencyMs, gbit, segmentBytes } = settings;
    if (this.#ring?.generation !== generation) {
      const plan = { latencyMs, bytesPerMs: bytesPerMs(gbit), segmentFloats: segmentBytes / 4, headerBytes };
      const world = Math.max(...seating) + 1;
      const ring = new ClosedRing({ time, content, layout, plan, seating, world, known: this.#knownTimes });
      this.#ring = { generation, ring };
    }
    return this.#ring.ring.enter(rank, handlers);
  }

  /** Heartbeats of large worlds: heard at once, without a message each. */
  #beat(): void {
    const { coordinator } = this;
    if (coordinator?.process.isRunning) {
      const byPid = new Map(this.workers.map((node) => [node.pid, node]));
      coordinator.hearBeats((pid) => {
        const node = byPid.get(pid);
        if (!node?.process.isRunning) return undefined;
        node.line?.hearBeat();
        return node.heartbeat();
      });
    }
    if (!this.#isOver()) this.time.after(beatMs, () => this.#beat());
  }

  #block(workers: readonly number[], forMs: Millis, other: () => number | undefined): void {
    const machine = other();
    if (machine === undefined) return;
    for (const worker of workers) {
      const node = this.#trouble(worker);
      if (!node) continue;
      this.network.block(machine, node.process.machine);
      this.time.after(forMs, () => {
        this.#trouble(worker);
        this.network.unblock(machine, node.process.machine);
      });
    }
  }

  #trouble(worker: number): WorkerNode | undefined {
    const node = this.workers[worker];
    if (node) this.invariants.troubled(node);
    return node;
  }

  /** After the last fault somebody starts workers where none is left, or fewer than the run begins with. */
  #keepWorkers(): void {
    this.#countedMs = this.time.nowMs + 100;
    if (this.end) return;
    const wanted = this.disk.journal.record === null ? this.settings.ranks : 1;
    const alive = this.workers.filter(({ process }) => process.isAlive).length;
    for (let count = alive; count < wanted; count++) this.startWorker();
  }

  #isOver(): boolean {
    return this.#endedMs !== undefined && this.#isEmpty();
  }

  #isEmpty(): boolean {
    return this.workers.every(({ process }) => !process.isAlive);
  }

  #runEvent(event: RunEvent): void {
    if (event.type === "committed") this.#progressMs = this.time.nowMs;
    if (event.type === "regrouping") this.#recoveries++;
    this.invariants.event(event);
  }

  #note(process: Process, effect: WorkerEffect | CoordinatorEffect): void {
    const what = effect.type === "send" ? effect.message.type : effect.type;
    this.#trace = mix(mix(this.#trace, this.time.nowMs * 1024), mix(wordOf(process.name), wordOf(what)));
  }
}

const words = new Map<string, number>();

function wordOf(text: string): number {
  const known = words.get(text);
  if (known !== undefined) return known;
  let word = 17;
  for (let i = 0; i < text.length; i++) word = mix(word, text.charCodeAt(i));
  words.set(text, word);
  return word;
}

const uuidOf = (count: number): string => `00000000-0000-4000-8000-${count.toString(16).padStart(12, "0")}`;
