/** A worker process of a simulated world: the real state machine, over simulated connections, compute threads and memory. It decides nothing, as the real shell. */
import { type BucketLayout, parityOf } from "@ringmaster/collective";
import type { PeerState, RunConfig, WorkerHeartbeat } from "@ringmaster/protocol";
import { WorkerCore, type WorkerEffect, type WorkerInput } from "@ringmaster/worker";
import { type Reduced, SimulatedCompute } from "./compute.ts";
import { type Content, hashOf, type Tail } from "./content.ts";
import { EventRing, type PlaceSum } from "./event-ring.ts";
import type { ControlTraffic } from "./messages.ts";
import type { Network } from "./network.ts";
import { PeerLinks } from "./peer-links.ts";
import type { Process } from "./process.ts";
import type { Random } from "./random.ts";
import type { RankHandlers, RingPort } from "./ring-port.ts";
import { seatCapacity, type WorldSettings } from "./settings.ts";
import { SnapshotUploads } from "./snapshot-uploads.ts";
import type { VirtualTime } from "./virtual-time.ts";
import { WorkerLine } from "./worker-line.ts";

type Effect<Type extends WorkerEffect["type"]> = Extract<WorkerEffect, { type: Type }>;

export interface WorkerNodeOptions {
  readonly process: Process;
  readonly pid: number;
  readonly time: VirtualTime;
  readonly network: Network;
  readonly random: Random;
  readonly content: Content;
  readonly settings: WorldSettings;
  readonly config: RunConfig;
  readonly layout: BucketLayout;
  /** Uuids, none twice. */
  readonly newId: () => string;
  /** For worlds whose reductions advance in closed form. */
  readonly enterRing:
    | ((generation: number, rank: number, seating: readonly number[], handlers: RankHandlers) => RingPort)
    | undefined;
  readonly onEffect: (node: WorkerNode, effect: WorkerEffect) => void;
  readonly onHeld: (node: WorkerNode, step: number) => void;
  readonly onWrong: (message: string) => void;
  readonly onEnd: (node: WorkerNode, end: WorkerEnd) => void;
}

export interface WorkerEnd {
  readonly exitCode: number;
  readonly code: string;
  readonly message: string;
}

const farewellMs = 100;

interface Round {
  readonly number: number;
  readonly purpose:
    | { readonly kind: "step"; readonly step: number }
    | { readonly kind: "evaluation"; readonly split: "validation" | "test" };
  readonly buckets: readonly number[];
  lastSeatMs: number;
}

interface Seated {
  readonly generation: number;
  readonly ring: RingPort | undefined;
  rounds: number;
}

export class WorkerNode {
  readonly process: Process;
  readonly core: WorkerCore;
  readonly compute: SimulatedCompute;
  readonly pid: number;
  readonly #options: WorkerNodeOptions;
  readonly #links: PeerLinks;
  readonly #uploads: SnapshotUploads;
  readonly #config: RunConfig;
  #line: WorkerLine | undefined;
  #id: string;
  #seated: Seated | undefined;
  #opening: RingPort | undefined;
  #round: Round | undefined;
  #stepParity: 0 | 1 = 0;
  #work = 0;
  #incoming:
    | { readonly generation: number; readonly step: number; state: number | undefined; onWhole?: () => void }
    | undefined;
  #hasEnded = false;

  constructor(options: WorkerNodeOptions) {
    this.#options = options;
    const { process, time, random, content, settings, config, network, pid, newId } = options;
    this.process = process;
    this.pid = pid;
    this.#id = newId();
    this.#config = config;
    this.#uploads = new SnapshotUploads(settings.modelBytes * 3);
    const host = `machine-${process.machine}`;
    this.#links = new PeerLinks({ process, network, address: `${host}:${pid}`, stateBytes: settings.modelBytes * 3 });
    this.compute = new SimulatedCompute(
      { process, time, random, content, settings, onWrong: options.onWrong },
      {
        expected: (seat, bucketsMs) => this.#seated?.ring?.expected(seat, bucketsMs),
        bucketReady: (seat, bucket) => this.#bucketReady(seat, bucket),
        seatReady: (seat) => this.#seatReady(seat),
        folded: () => this.#roundHeld(),
        updated: () => this.#input({ type: "updated" }),
      },
    );
    this.core = new WorkerCore({
      configHash: config.name,
      datasetHash: config.name,
      device: { kind: "cpu", name: "simulated" },
      fingerprint: { backend: "simulated", backendVersion: "1", node: "20", cpu: "simulated" },
      threads: settings.threads,
      host,
      pid,
      ring: { host, port: pid },
    });
    process.after(settings.startMs, () => {
      this.#line = new WorkerLine({
        process,
        time,
        network,
        beats: !settings.isLarge,
        busyMs: () => this.compute.busyMs,
        up: () => this.#input({ type: "connected", workerId: this.#id }),
        heard: (message) => this.#receive(message),
        down: (message) => {
          this.#uploads.disconnected();
          this.#input({ type: "disconnected", message });
        },
        over: (message) => this.#input({ type: "patienceOver", message }),
      });
    });
  }

  get line(): WorkerLine | undefined {
    return this.#line;
  }

  heartbeat(): WorkerHeartbeat {
    return { type: "WorkerHeartbeat", sentAtMs: this.#options.time.nowMs, busyMs: this.compute.busyMs };
  }

  /** SIGTERM. */
  terminate(reason: string): void {
    this.process.receive(() => this.#input({ type: "terminate", reason }));
  }

  #receive(message: ControlTraffic): void {
    if (message.type === "state") {
      const { generation, step, state } = message;
      if (this.#incoming?.generation !== generation || this.#incoming.step !== step) return;
      this.#incoming.state = state;
      this.#incoming.onWhole?.();
      return;
    }
    if (message.type === "CoordinatorLoad" && message.source.kind === "checkpoint")
      this.#incoming = { generation: message.generation, step: message.step, state: undefined };
    // Only a coordinator is at the other end.
    this.#input({ type: "coordinator", message: message as Extract<WorkerInput, { type: "coordinator" }>["message"] });
  }

  #input(input: WorkerInput): void {
    if (this.#hasEnded) return;
    for (const effect of this.core.handle(input)) {
      if (!this.process.isAlive) return;
      this.#options.onEffect(this, effect);
      if (!this.process.isAlive) return;
      this.#perform(effect);
    }
  }

  #perform(effect: WorkerEffect): void {
    switch (effect.type) {
      case "send":
        return this.#line?.send(effect.message);
      case "prepare":
        return this.process.after(this.#options.settings.prepareMs, () => this.#prepared());
      case "stop":
        return this.#stop(effect.generation);
      case "copy":
        return this.#copy(effect);
      case "load":
        return this.#load(effect);
      case "offer": {
        const { generation, step, stateId, progress, effect: plan, history } = effect;
        const peer: PeerState = { type: "PeerState", generation, step, stateId, progress, effect: plan };
        return this.#links.offer({ peer, history, state: () => this.compute.state });
      }
      case "rewind":
        return this.#uploads.rewind(effect.step);
      case "openRing":
        return this.#openRing(effect);
      case "step": {
        const { step, tag, plan, update } = effect;
        const done = update && { ...update, parity: this.#stepParity };
        const parity = this.#openRound(this.#stepBuckets, { kind: "step", step });
        this.#stepParity = parity;
        return this.compute.step(done, { step, tag, plan, foldInto: this.#seated?.ring ? null : parity });
      }
      case "update":
        return this.compute.step({ ...effect.update, parity: this.#stepParity }, null);
      case "evaluate": {
        const { split } = effect;
        const parity = this.#openRound([this.#evaluationBucket], { kind: "evaluation", split });
        return this.compute.evaluate(split, this.#seated?.ring ? null : parity);
      }
      case "hash": {
        const { generation, progress } = effect;
        const hash = hashOf(this.compute.state, JSON.stringify(progress));
        return this.#input({ type: "hashed", generation, hash });
      }
      case "snapshot":
        return this.#uploads.take(this.compute.state, effect);
      case "upload":
        return this.#uploads.send(this.#line?.end, effect.generation);
      case "saved":
        return this.#uploads.saved(effect.step);
      case "drop":
        this.#cut();
        this.#uploads.rewind(-1);
        this.#id = this.#options.newId();
        return this.#input({ type: "connected", workerId: this.#id });
      case "hangUp":
        return this.#line?.hangUp(effect.reason);
      case "log":
        return;
      case "end":
        return this.#end(effect);
    }
  }

  #prepared(): void {
    const { content, settings } = this.#options;
    const seedHash = `${content.seedState}`.padStart(64, "0");
    this.#input({
      type: "prepared",
      stepsPerEpoch: content.sampler.stepsPerEpoch,
      ready: {
        layoutHash: "1".padStart(64, "0"),
        seedHash,
        probeHash: "2".padStart(64, "0"),
        eagerBecause: null,
        seatCapacity: seatCapacity(settings),
        tensors: { model: [{ name: "weights", shape: [2] }], optimizer: [] },
      },
    });
  }

  // Between generations.

  /** @returns whether what began now still counts */
  #carryOut(): () => boolean {
    const work = ++this.#work;
    this.#links.cancel();
    return () => work === this.#work && !this.#hasEnded;
  }

  #cut(): void {
    this.#carryOut();
    this.#opening?.cut();
    this.#opening = undefined;
    this.#seated?.ring?.cut();
    this.#seated = undefined;
    this.#round = undefined;
    this.#links.offer(undefined);
  }

  #stop(generation: number): void {
    this.#cut();
    const counts = this.#carryOut();
    this.compute.whenIdle(() =>
      this.process.after(0, () => {
        if (counts()) this.#input({ type: "quiet", generation });
      }),
    );
  }

  #copy({ generation, step, stateId, from, position }: Effect<"copy">): void {
    this.#links.offer(undefined);
    const counts = this.#carryOut();
    this.#links.copy({ generation, step, stateId, position }, from, (copied, lastAsked) => {
      if (!counts()) return;
      if (!copied)
        return this.#input({
          type: "copyFailed",
          generation,
          peer: lastAsked < 0 ? null : lastAsked,
          message: "no peer gave it",
        });
      this.compute.state = copied.state;
      const { peer, history } = copied;
      const { progress, effect } = peer;
      this.#input({ type: "copied", generation, step, stateId, progress, effect, history });
    });
  }

  #load({ generation, step, stateId, source }: Effect<"load">): void {
    this.#links.offer(undefined);
    const counts = this.#carryOut();
    const loaded = () => {
      if (counts()) this.#input({ type: "loaded", generation, step, stateId });
    };
    if (source.kind === "seed") return this.compute.initialise(loaded);
    const incoming = this.#incoming;
    const whole = () => {
      if (incoming?.state === undefined || !counts()) return;
      this.compute.state = incoming.state;
      this.#incoming = undefined;
      loaded();
    };
    if (!incoming) return;
    if (incoming.state === undefined) incoming.onWhole = whole;
    else this.process.after(0, whole);
  }

  #openRing(effect: Effect<"openRing">): void {
    const { generation, rank, seating, peers, seats } = effect;
    const { settings, content, layout, random, enterRing } = this.#options;
    this.#links.offer(undefined);
    const counts = this.#carryOut();
    this.compute.takeSeats(seats);
    const opened = (ring: RingPort | undefined) => {
      this.#opening = undefined;
      this.#seated = { generation, ring, rounds: 0 };
      this.#input({ type: "ringOpen", generation });
    };
    const lost = (peer: number | null, message: string) => {
      if (counts()) this.#input({ type: "linkLost", generation, peer, message });
    };
    if (peers.length === 1) return this.process.after(0, () => counts() && opened(undefined));
    if (enterRing) {
      const held = (round: number, reduced: Reduced) => this.#closedHeld(round, reduced);
      const stands = (ring: RingPort) => {
        if (counts()) opened(ring);
      };
      this.#opening = enterRing(generation, rank, seating, { node: this, opened: stands, held, lost });
      return;
    }
    const world = peers.length;
    const peerOf = (side: "previous" | "next") =>
      side === "previous" ? (rank + world - 1) % world : (rank + 1) % world;
    let isOpen = false;
    const failed = (side: "previous" | "next", message: string) => {
      ring.cut();
      lost(peerOf(side), message);
    };
    const ring = new EventRing({
      ...{
        process: this.process,
        random,
        sumMs: settings.sumMs,
        content,
        compute: this.compute,
        layout,
        rank,
        seating,
      },
      segmentFloats: settings.segmentBytes / 4,
      onHeld: (_, sums, tail) => this.#ringHeld(sums, tail),
      onFault: (side, message) => {
        if (isOpen) return lost(peerOf(side), message);
        if (!counts()) return;
        this.#links.cancel();
        failed(side, message);
      },
      onWrong: (message) => this.#options.onWrong(`${this.process.name}: ${message}`),
    });
    this.#opening = ring;
    const { host, port } = peers[peerOf("previous")] ?? { host: "", port: 0 };
    this.#links.openRing({
      ...{ generation, rank, world },
      previousAddress: `${host}:${port}`,
      stood: (side, end) => ring.connect(side, end),
      done: (failure) => {
        if (!counts()) return ring.cut();
        if (failure) return failed(failure.side, failure.message);
        isOpen = true;
        opened(ring);
      },
    });
  }

  // Rounds.

  get #evaluationBucket(): number {
    return this.#options.layout.buckets.length - 1;
  }

  get #stepBuckets(): readonly number[] {
    return Array.from({ length: this.#evaluationBucket }, (_, bucket) => bucket);
  }

  #openRound(buckets: readonly number[], purpose: Round["purpose"]): 0 | 1 {
    const seated = this.#seated;
    if (!seated) throw new Error("a round needs a seated rank");
    const number = seated.rounds++;
    this.#round = { number, buckets, purpose, lastSeatMs: this.#options.time.nowMs };
    seated.ring?.open(number, buckets);
    return parityOf(number);
  }

  #bucketReady(seat: number, bucket: number): void {
    if (this.#round) this.#seated?.ring?.ready(this.#round.number, bucket, seat);
  }

  #seatReady(seat: number): void {
    const last = this.#round?.buckets.at(-1);
    if (!this.#round || last === undefined) return;
    this.#round.lastSeatMs = this.#options.time.nowMs;
    this.#bucketReady(seat, last);
  }

  #ringHeld(sums: readonly PlaceSum[], tail: Tail): void {
    const round = this.#round;
    if (!round) return;
    const { content, onWrong } = this.#options;
    const { purpose, buckets } = round;
    const steps = this.core.progress.step;
    const folds =
      purpose.kind === "step"
        ? content.foldsOf(purpose.step, this.#stepBuckets)
        : content.evaluationFoldsOf(steps, purpose.split, this.#evaluationBucket);
    const wrong = sums.find(({ bucket, chunk, value }) => folds.get(bucket)?.[chunk] !== value);
    if (wrong) {
      const { bucket, chunk, segment } = wrong;
      onWrong(
        `${this.process.name} holds a wrong sum in bucket ${bucket}, chunk ${chunk}, segment ${segment} of ${JSON.stringify(purpose)}, buckets ${buckets}`,
      );
    }
    const whole =
      purpose.kind === "step"
        ? content.gradients(content.stateAfter(purpose.step), purpose.step)
        : content.evaluations(steps, purpose.split);
    const sum = wrong ? -1 : content.reduce(whole);
    this.compute.reduced[parityOf(round.number)] = { sum, tail };
    this.#roundHeld();
  }

  /** In closed form it holds what all seats gave. */
  #closedHeld(number: number, reduced: Reduced): void {
    if (this.#round?.number !== number) return;
    this.compute.reduced[parityOf(number)] = reduced;
    this.#roundHeld();
  }

  #roundHeld(): void {
    const round = this.#round;
    const seated = this.#seated;
    if (!round || !seated || this.#hasEnded) return;
    const { generation } = seated;
    const { content, time } = this.#options;
    const { sum, tail } = this.compute.reduced[parityOf(round.number)];
    if (round.purpose.kind === "evaluation") {
      const { split } = round.purpose;
      const samples = this.#config.validation.count || 100;
      const right = sum % (samples + 1);
      const confusion = [right, samples - right, 0, 0];
      return this.#input({
        type: "evaluationHeld",
        generation,
        evaluation: { split, loss: sum % 1000, samples, confusion, classes: 2 },
      });
    }
    const { step } = round.purpose;
    const computeMs = this.compute.takeTiming();
    this.#options.onHeld(this, step + 1);
    this.#input({
      type: "stepHeld",
      generation,
      tail,
      expected: content.expected(step),
      timing: { dataMs: 0, computeMs, communicationMs: time.nowMs - round.lastSeatMs, optimizerMs: 0 },
      memoryBytes: 0,
      notFinite: null,
    });
  }

  #end({ exitCode, code, message }: WorkerEnd): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#work++;
    this.#links.cancel();
    this.#links.offer(undefined);
    this.#opening?.cut();
    if (exitCode === 0) this.#seated?.ring?.close();
    else this.#seated?.ring?.cut();
    this.#line?.close(message);
    this.#options.onEnd(this, { exitCode, code, message });
    // What its neighbours still need leaves first.
    if (exitCode === 0) this.process.after(farewellMs, () => this.process.exit());
    else this.process.exit();
  }
}
