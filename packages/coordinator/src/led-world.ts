/**
 * The world as the coordinator leads it: the state machine of membership.ts, and what its effects are to workers of flesh: which connection they are on, where
 * their rings listen, how they share the seats, and from which checkpoint they load.
 */
import type { CoordinatorMessage, RunConfig, WorkerStanding } from "@ringmaster/protocol";
import type { CoordinatorEffect, CoordinatorOptions, SavedCheckpointFacts, SourceFacts } from "./coordinator-io.ts";
import { event, wordOf } from "./effects.ts";
import { type KnownWorker, type KnownWorkers, placeOf } from "./known-workers.ts";
import type { LinkFaults } from "./link-faults.ts";
import {
  loadSourceOf,
  type MembershipEffect,
  type MembershipInput,
  type MembershipRecord,
  newWorld,
  nextWorld,
  theSeed,
  type World,
} from "./membership.ts";
import type { RankSpeeds } from "./rank-speeds.ts";
import type { RunPlans } from "./run-plans.ts";
import type { StepLedger } from "./step-ledger.ts";

export interface LedWorldParts {
  readonly options: CoordinatorOptions;
  readonly workers: KnownWorkers;
  readonly links: LinkFaults;
  readonly speeds: RankSpeeds;
  readonly plans: RunPlans;
  readonly ledger: StepLedger;
}

export class LedWorld {
  readonly #parts: LedWorldParts;
  #world: World;
  #seats = 1;
  /** The newest checkpoint, from which members without a state start; null: they start from the seed. */
  #source: SourceFacts | null;
  /** See `RunProgress`. */
  readonly #leftOut: number[];
  /** Why the world is going back, where that is known before it does. */
  #backBecause: string | null = null;

  constructor(parts: LedWorldParts) {
    this.#parts = parts;
    const { recovered, resume, usedGeneration } = parts.options;
    this.#source = resume;
    this.#leftOut = [...(resume?.progress.leftOut ?? [])];
    const world = newWorld({ record: recovered?.record ?? null, usedGeneration, source: loadSourceOf(resume) });
    // What was recorded as a checkpoint cannot be read: ranks work their boundary again, and with it make it anew.
    const isUnreadable = recovered?.record && recovered.recordedStep > (resume?.step ?? 0);
    const cause = isUnreadable ? `the checkpoint of step ${recovered.recordedStep} cannot be read` : null;
    this.#world = { ...world, cause };
  }

  /** The config is settled. */
  settle({ seats }: RunConfig): void {
    this.#seats = seats;
  }

  get record(): MembershipRecord | null {
    return this.#world.record;
  }

  /** A record that is being written. */
  get writing(): MembershipRecord | null {
    return this.#world.writing;
  }

  /** After a restart: members have yet to say where they stand. */
  get isAsking(): boolean {
    return this.#world.isAsking;
  }

  get isRestoring(): boolean {
    return this.#world.isRestoring;
  }

  /** Whether nothing can be decided before an earlier member has answered: it may hold what nobody else does. */
  get isWaiting(): boolean {
    const { isAsking, lost, writing } = this.#world;
    return isAsking || (lost.size > 0 && writing === null);
  }

  /** All workers are judged lost: nobody is there to be waited for. */
  get isDeserted(): boolean {
    const { record, isAsking } = this.#world;
    return record !== null && !isAsking && this.#parts.workers.all().length === 0;
  }

  get areAllLeaving(): boolean {
    const { candidates, record } = this.#world;
    return record !== null && candidates.every(({ isLeaving }) => isLeaving);
  }

  get sourceStep(): number | null {
    return this.#source?.step ?? null;
  }

  get leftOut(): readonly number[] {
    return this.#leftOut;
  }

  /** Where a world begins that cannot go on from what it holds. */
  get wayBack(): string {
    return this.#source === null ? "the beginning" : `the checkpoint of step ${this.#source.step}`;
  }

  get backBecause(): string {
    return this.#backBecause ?? "nobody holds a newer state";
  }

  take(input: MembershipInput): CoordinatorEffect[] {
    const before = this.#world;
    const { world, effects } = nextWorld(before, input, {
      firstRanks: this.#parts.options.ranks,
      seats: this.#seats,
      order: (ids) => this.#parts.links.order(ids),
      seat: (ids) => this.seat(ids),
    });
    const isBack = before.isAsking && !world.isAsking && world.cause === null && world.writing === null;
    this.#world = world;
    return [...(isBack ? this.#back() : []), ...effects.flatMap((effect) => this.#perform(effect))];
  }

  said({ id }: KnownWorker, standing: WorkerStanding, isHello: boolean): CoordinatorEffect[] {
    return this.take({ type: "said", worker: id, standing, isHello });
  }

  /** The record that was being written is flushed. */
  flushed(): CoordinatorEffect[] {
    if (this.#world.writing?.kind === "proceeding") this.#backBecause = null;
    return this.take({ type: "flushed" });
  }

  saved(checkpoint: SavedCheckpointFacts): CoordinatorEffect[] {
    this.#source = checkpoint;
    const { step, stateId } = checkpoint;
    return this.take({ type: "checkpoint", step, stateId });
  }

  /** The checkpoint that was to be loaded is damaged. */
  sourceLost(next: SourceFacts | null, because: string): CoordinatorEffect[] {
    this.#source = next;
    this.#backBecause = because;
    return this.take({ type: "sourceLost", source: loadSourceOf(next), because });
  }

  /** What members hold must not be gone on from. @param without a step whose update is left out from now on */
  restore(because: string, without?: number): CoordinatorEffect[] {
    if (without !== undefined) this.#leftOut.push(without);
    this.#backBecause = because;
    return this.take({ type: "restore", because });
  }

  /** After a restart: nothing has happened meanwhile. */
  #back(): CoordinatorEffect[] {
    const { record } = this.#world;
    if (record?.kind !== "proceeding") return [];
    const { generation, seating, members } = record;
    const step = this.#parts.ledger.committed;
    return [event({ type: "proceeding", generation, step, seating, members: this.#parts.workers.hellosOf(members) })];
  }

  #perform(effect: MembershipEffect): CoordinatorEffect[] {
    const { workers } = this.#parts;
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
          const ring = workers.find(id)?.hello.ring;
          return ring ? [{ position: members.indexOf(id), ...ring }] : [];
        });
        return workers.tell(effect.worker, { type: "CoordinatorFetch", generation, step, stateId, from });
      }
      case "load":
        return this.#load(effect.worker, effect.generation);
      case "diverged": {
        const line = `${effect.workers.length} ranks hold step ${effect.step} in different states: all go back to the last checkpoint`;
        return [event({ type: "note", line }), ...this.restore(line)];
      }
    }
  }

  /** A plan takes effect only once all members have it, those that join too. */
  #tell(id: string, record: MembershipRecord): CoordinatorEffect[] {
    const { workers, plans } = this.#parts;
    // After a restart not all of them may be back; then another generation follows.
    if (record.kind === "proceeding" && !record.members.every((each) => workers.find(each))) return [];
    return [...workers.tell(id, wordOf(record, workers)), ...(plans.newest ? workers.tell(id, plans.newest) : [])];
  }

  #load(id: string, generation: number): CoordinatorEffect[] {
    const { workers, plans } = this.#parts;
    plans.loads();
    const load = { type: "CoordinatorLoad" as const, generation, leftOut: [...this.#leftOut] };
    if (this.#source === null) {
      const { step, stateId } = theSeed;
      return workers.tell(id, { ...load, step, stateId, source: { kind: "seed" } });
    }
    const { step, stateId, totalBytes, progress } = this.#source;
    const connection = workers.find(id)?.connection;
    if (connection === undefined) return [];
    return [
      ...workers.tell(id, { ...load, step, stateId, source: { kind: "checkpoint", totalBytes, progress } }),
      { type: "sendState", connection, generation, step },
    ];
  }

  /** [seats]: who sits where, by index; null where they cannot hold all seats. */
  seat(ids: readonly string[]): readonly number[] | null {
    const { options, workers, speeds } = this.#parts;
    // After a restart, until one of them says again that it leaves.
    if (ids.length > this.#seats) return null;
    const seated = ids.map((id) => {
      const worker = workers.find(id);
      return { id, threads: worker?.hello.threads ?? 1, capacity: worker?.ready?.seatCapacity ?? 1 };
    });
    return speeds.seat(this.#seats, seated, options.balance ?? "threads");
  }

  // Who is in it.

  isMember({ id }: KnownWorker): boolean {
    const { record, writing } = this.#world;
    return record?.members.includes(id) === true || writing?.members.includes(id) === true;
  }

  toMembers(message: CoordinatorMessage): CoordinatorEffect[] {
    return (this.#world.record?.members ?? []).flatMap((id) => this.#parts.workers.tell(id, message));
  }

  describe(worker: KnownWorker): string {
    const { record } = this.#world;
    const rank = record?.kind === "proceeding" ? record.members.indexOf(worker.id) : -1;
    return rank < 0
      ? `the worker on ${placeOf(worker)}`
      : `rank ${rank} (pid ${worker.hello.pid} on ${worker.hello.host})`;
  }
}
