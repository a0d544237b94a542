/**
 * Who trains, as a state machine without I/O or clock: what the coordinator records, whom it tells, and who copies which state from whom.
 *
 * Theory of operation
 *
 * There is one way in which the world changes. The coordinator records `opened(generation, members)`: every member stops, cuts its links, and says which step
 * it holds. The newest step that a member holds is s*: who is behind copies its state from one that is not. Once all members hold s*, the coordinator
 * records `proceeding(generation, seating, s*)`, and they step on. A death, a hang, a link that fails, a worker that joins or leaves, and another seating
 * are all the same; and as the bits do not depend on the seating, none of them has to fall on a particular step.
 *
 * Nothing that is committed is lost. A step is committed when all ranks of its generation hold it, so whoever of them is left holds it too, and s* is not
 * older. Where nobody is left, the newest recorded checkpoint counts; where there is none, the seed. One that turns out damaged while it is loaded is given up
 * for the one before it, in the next generation: what members still say in this one may be that they have loaded it.
 *
 * Records are flushed before anyone is told: `writing` is one that is on its way, and nothing is decided until it has arrived. A restarted coordinator finds
 * the newest record and asks (`isAsking`): nothing has happened if all members step in that record's generation with all links up; else it opens the next.
 * It opens no world without any earlier member before it knows them dead or has waited long enough: they may be alive, and cut off from it alone.
 *
 * Membership is by worker id in the newest record. A worker that is not in it drops its state and comes back under a new id, as a spare without a state;
 * so a state never enters a world from outside. Whoever returns and is not *at* the newest record (its generation and its kind) is sent it again.
 */
import { seedStateId, type WorkerStanding } from "@ringmaster/protocol";

export type MembershipRecord =
  | { readonly kind: "opened"; readonly generation: number; readonly members: readonly string[] }
  | {
      readonly kind: "proceeding";
      readonly generation: number;
      /** Worker ids in the order of ranks; all are seated. */
      readonly members: readonly string[];
      /** [seats]: the rank that sits on each seat. */
      readonly seating: readonly number[];
      readonly step: number;
      readonly stateId: string;
    };

/** A prepared worker that is known to live. */
export interface Candidate {
  readonly worker: string;
  readonly standing: WorkerStanding;
  readonly isLeaving: boolean;
  /** Whether it can be told something now. */
  readonly isConnected: boolean;
}

/** Where a state is taken from that no member holds: the seed's has step 0 and `seedStateId`. */
export interface LoadSource {
  readonly kind: "seed" | "checkpoint";
  readonly step: number;
  readonly stateId: string;
}

export const theSeed: LoadSource = { kind: "seed", step: 0, stateId: seedStateId };

export const loadSourceOf = (checkpoint: { readonly step: number; readonly stateId: string } | null): LoadSource =>
  checkpoint === null ? theSeed : { kind: "checkpoint", step: checkpoint.step, stateId: checkpoint.stateId };

export interface World {
  /** The newest record; null before the first. */
  readonly record: MembershipRecord | null;
  readonly writing: MembershipRecord | null;
  /** The highest generation that was recorded or that a worker has stated. */
  readonly usedGeneration: number;
  /** The newest recorded checkpoint, or the seed. */
  readonly source: LoadSource;
  /** In the order in which they came. */
  readonly candidates: readonly Candidate[];
  /** Members of the newest record that are judged lost; true: no state is lost with them, for they are known to be dead, or to have held none. */
  readonly lost: ReadonlyMap<string, boolean>;
  /** Who has been told the newest record. */
  readonly told: ReadonlySet<string>;
  /** Who has been told what to copy or load in this generation. */
  readonly asked: ReadonlySet<string>;
  /** Why the next generation is to be opened, if it is. */
  readonly cause: string | null;
  /** After a restart: members have yet to say where they stand. */
  readonly isAsking: boolean;
  /** The wait for earlier members is over. */
  readonly hasWaited: boolean;
  /** What members hold is not to be trusted: they go back to the source. */
  readonly isRestoring: boolean;
}

export interface MembershipRules {
  /** Workers with which the run begins. */
  readonly firstRanks: number;
  readonly seats: number;
  /** Workers in the order of ranks: neighbours have links. */
  readonly order: (workers: readonly string[]) => readonly string[];
  /** [seats]: who sits where, by index into `workers`; null where they cannot hold all seats. */
  readonly seat: (workers: readonly string[]) => readonly number[] | null;
}

export type MembershipInput =
  /** A prepared worker says where it stands; `isHello`: over a new connection, so that what it was told before may not have arrived. */
  | { readonly type: "said"; readonly worker: string; readonly standing: WorkerStanding; readonly isHello: boolean }
  /** Its connection is gone; it may come back. */
  | { readonly type: "away"; readonly worker: string }
  /** It is judged lost; `isCertain`: its process is known to be dead. */
  | { readonly type: "lost"; readonly worker: string; readonly because: string; readonly isCertain: boolean }
  | { readonly type: "leaving"; readonly worker: string }
  /** A link has failed, or other seats are wanted. */
  | { readonly type: "reopen"; readonly because: string }
  /** Members' states have drifted apart, or must not be gone on from: back to the source. */
  | { readonly type: "restore"; readonly because: string }
  /** The record that was being written is flushed. */
  | { readonly type: "flushed" }
  | { readonly type: "checkpoint"; readonly step: number; readonly stateId: string }
  /** What was to be loaded cannot be: `source` takes its place, which is older. */
  | { readonly type: "sourceLost"; readonly source: LoadSource; readonly because: string }
  /** Earlier members had long enough to answer. */
  | { readonly type: "waited" };

export type MembershipEffect =
  | { readonly type: "record"; readonly record: MembershipRecord; readonly because: string }
  | { readonly type: "tell"; readonly worker: string; readonly record: MembershipRecord }
  | {
      readonly type: "fetch";
      readonly worker: string;
      readonly generation: number;
      readonly from: readonly string[];
      readonly step: number;
      readonly stateId: string;
    }
  | { readonly type: "load"; readonly worker: string; readonly generation: number; readonly source: LoadSource }
  /** Members hold one step in two states; all go back to the source. */
  | { readonly type: "diverged"; readonly step: number; readonly workers: readonly string[] };

/** @param found what the journal holds, for a restart; a fresh run begins without a record. */
export function newWorld(found: {
  readonly record: MembershipRecord | null;
  readonly usedGeneration: number;
  readonly source: LoadSource;
}): World {
  return {
    ...found,
    writing: null,
    candidates: [],
    lost: new Map(),
    told: new Set(),
    asked: new Set(),
    cause: null,
    isAsking: found.record !== null,
    hasWaited: false,
    isRestoring: false,
  };
}

export interface Outcome {
  readonly world: World;
  readonly effects: readonly MembershipEffect[];
}

/** Takes an input in; pure. */
export function nextWorld(world: World, input: MembershipInput, rules: MembershipRules): Outcome {
  return settle(taken(world, input), rules);
}

function taken(world: World, input: MembershipInput): World {
  switch (input.type) {
    case "said":
      return heard(world, input.worker, input.standing, input.isHello);
    case "away":
      return {
        ...changed(world, input.worker, { isConnected: false }),
        told: without(world.told, input.worker),
        asked: without(world.asked, input.worker),
      };
    case "lost": {
      const { worker, because, isCertain } = input;
      const candidates = world.candidates.filter((each) => each.worker !== worker);
      if (!newest(world)?.members.includes(worker)) return { ...world, candidates };
      const before = world.candidates.find((each) => each.worker === worker);
      const isHarmless = isCertain || world.lost.get(worker) === true || (before !== undefined && !mayHold(before));
      const lost = new Map(world.lost).set(worker, isHarmless);
      return { ...world, candidates, lost, cause: because };
    }
    case "leaving":
      return changed(world, input.worker, { isLeaving: true });
    case "reopen":
      return reopened(world, input.because);
    case "restore":
      return newest(world) === null ? world : { ...world, cause: input.because, isRestoring: true };
    case "flushed":
      if (world.writing === null) return world;
      return { ...world, record: world.writing, writing: null, told: new Set(), asked: new Set() };
    case "checkpoint":
      // Who is loading an older one is asked again.
      return {
        ...world,
        source: { kind: "checkpoint", step: input.step, stateId: input.stateId },
        asked: new Set(),
      };
    case "sourceLost":
      return reopened({ ...world, source: input.source }, input.because);
    case "waited":
      return isWaiting(world) ? { ...world, hasWaited: true } : world;
  }
}

const reopened = (world: World, because: string): World =>
  newest(world) === null ? world : { ...world, cause: world.cause ?? because };

function heard(world: World, worker: string, standing: WorkerStanding, isHello: boolean): World {
  // As long as nothing is recorded without it, whoever comes back is still a member.
  if (world.lost.has(worker) && !isHello) return world;
  const before = world.candidates.find((each) => each.worker === worker);
  const candidate = { worker, standing, isLeaving: before?.isLeaving ?? false, isConnected: true };
  const candidates = before
    ? world.candidates.map((each) => (each.worker === worker ? candidate : each))
    : [...world.candidates, candidate];
  const usedGeneration = Math.max(world.usedGeneration, standing.generation);
  // It may have been told to proceed while it was loading a second time: it is told again, which a rank that steps ignores.
  const { record } = world;
  const isBehind = record?.kind === "proceeding" && record.generation === standing.generation && !isStepping(standing);
  if (!isHello)
    return { ...world, candidates, usedGeneration, told: isBehind ? without(world.told, worker) : world.told };
  const lost = new Map(world.lost);
  lost.delete(worker);
  const isInformed = isAt(standing, record, worker);
  // That a link has failed may be lost with the connection over which it was said.
  const isCut = newest(world)?.generation === standing.generation && isStepping(standing) && !standing.linksUp;
  return {
    ...world,
    candidates,
    usedGeneration,
    lost,
    cause: isCut ? (world.cause ?? "a link has failed") : world.cause,
    told: isInformed ? new Set(world.told).add(worker) : without(world.told, worker),
    asked: without(world.asked, worker),
  };
}

/** Whether a worker has nothing to learn from the record. */
function isAt(standing: WorkerStanding, record: MembershipRecord | null, worker: string): boolean {
  if (record === null) return true;
  if (!record.members.includes(worker)) return standing.phase === "spare";
  if (standing.generation !== record.generation) return false;
  return record.kind === "opened" ? standing.phase === "regrouping" : isStepping(standing);
}

const isStepping = ({ phase }: WorkerStanding): boolean => phase === "stepping" || phase === "done";

/** A member of which nothing is known may hold a state. */
const mayHold = (candidate: Candidate | undefined): boolean =>
  candidate === undefined || (candidate.standing.phase !== "spare" && candidate.standing.step >= 0);

/** Whether it is for earlier members to answer, as they may hold a state that nobody else does. */
const isWaiting = ({ isAsking, lost, writing }: World): boolean => isAsking || (lost.size > 0 && writing === null);

/** Everything that follows from what is known now. */
function settle(world: World, rules: MembershipRules): Outcome {
  if (world.writing !== null) return { world, effects: [] };
  const asked = world.isAsking ? answered(world) : world;
  if (asked.isAsking) return tellRecord(asked);
  const because = becauseToOpen(asked, rules);
  const opened = because === null ? undefined : open(asked, rules, because);
  if (opened) return opened;
  const { world: informed, effects: told } = tellRecord(asked);
  if (informed.record?.kind !== "opened" || because !== null) return { world: informed, effects: told };
  const { world: agreed, effects } = agree(informed, informed.record, rules);
  return { world: agreed, effects: [...told, ...effects] };
}

/** After a restart: whether members have said enough to go on, and with what. */
function answered(world: World): World {
  const members = membersIn(world);
  const isWaiting = members.some(({ worker, candidate }) => !candidate?.isConnected && !world.lost.has(worker));
  if (isWaiting && !world.hasWaited) return world;
  const { record } = world;
  const isSound = (candidate: Candidate | undefined) =>
    candidate &&
    isStepping(candidate.standing) &&
    isAt(candidate.standing, record, candidate.worker) &&
    candidate.standing.linksUp;
  const nothingHappened = record?.kind === "proceeding" && members.every(({ candidate }) => isSound(candidate));
  const cause = nothingHappened ? world.cause : (world.cause ?? "the coordinator was away");
  const silent = members
    .filter(({ candidate }) => !candidate)
    .map(({ worker }) => [worker, world.lost.get(worker) ?? false] as const);
  const hasWaited = world.hasWaited && !nothingHappened;
  return { ...world, isAsking: false, hasWaited, cause, lost: new Map([...world.lost, ...silent]) };
}

function membersIn({ record, candidates }: World) {
  const known = new Map(candidates.map((each) => [each.worker, each]));
  return (record?.members ?? []).map((worker) => ({ worker, candidate: known.get(worker) }));
}

/** Why the next generation is to be opened now, or null. */
function becauseToOpen(world: World, rules: MembershipRules): string | null {
  const { record, lost, cause } = world;
  const spares = sparesOf(world);
  if (record === null) return spares.length >= rules.firstRanks ? "the run begins" : null;
  if (cause !== null || lost.size > 0) return cause ?? "a worker is lost";
  if (record.kind === "opened") return null;
  const leaving = membersIn(world).filter(({ candidate }) => candidate?.isLeaving === true).length;
  if (leaving > 0 && record.members.length - leaving + spares.length > 0) return "a worker leaves";
  return spares.length > 0 && record.members.length < rules.seats ? "a worker joins" : null;
}

/** Records the next generation, if there is anyone to be in it. */
function open(world: World, rules: MembershipRules, because: string): Outcome | undefined {
  const survivors = membersIn(world).filter(({ worker }) => !world.lost.has(worker));
  const isUncertain = [...world.lost.values()].includes(false);
  if (isUncertain && !survivors.some(({ candidate }) => mayHold(candidate)) && !world.hasWaited) return undefined;
  const staying = survivors.filter(({ candidate }) => candidate?.isLeaving !== true).length;
  const joining = sparesOf(world).slice(0, Math.max(0, rules.seats - staying));
  const members = [...survivors, ...joining].map(({ worker }) => worker);
  if (members.length === 0) return undefined;
  return write(world, { kind: "opened", generation: world.usedGeneration + 1, members }, because);
}

/** Prepared workers that may be taken in, in the order in which they came. */
function sparesOf({ record, candidates }: World): Candidate[] {
  const members = new Set(record?.members);
  return candidates.filter(
    ({ worker, standing, isConnected, isLeaving }) =>
      standing.phase === "spare" && isConnected && !isLeaving && !members.has(worker),
  );
}

function write(world: World, record: MembershipRecord, because: string): Outcome {
  const usedGeneration = Math.max(world.usedGeneration, record.generation);
  // What led to a record is answered by it; what comes up while it is written leads to the next.
  const written = {
    ...world,
    writing: record,
    usedGeneration,
    cause: null,
    lost: new Map<string, boolean>(),
    hasWaited: false,
    isRestoring: world.isRestoring && record.kind === "opened",
  };
  return { world: written, effects: [{ type: "record", record, because }] };
}

function tellRecord(world: World): Outcome {
  const { record } = world;
  if (record === null) return { world, effects: [] };
  const open = world.candidates.filter(({ worker, isConnected }) => isConnected && !world.told.has(worker));
  const effects = open
    .filter(({ worker, standing }) => record.members.includes(worker) || standing.phase !== "spare")
    .map(({ worker }): MembershipEffect => ({ type: "tell", worker, record }));
  return { world: { ...world, told: new Set([...world.told, ...open.map(({ worker }) => worker)]) }, effects };
}

/** In an open generation: who copies what; and once all hold the same, on with it. */
function agree(world: World, record: Extract<MembershipRecord, { kind: "opened" }>, rules: MembershipRules): Outcome {
  const members = membersIn(world).flatMap(({ candidate }) => candidate ?? []);
  const hasAnswered = ({ standing, isConnected }: Candidate) =>
    isConnected && standing.phase === "regrouping" && standing.generation === record.generation;
  if (members.length < record.members.length || !members.every(hasAnswered)) return { world, effects: [] };
  const top = Math.max(...members.map(({ standing }) => standing.step));
  const holders = members.filter(({ standing }) => standing.step === top);
  const stateId = holders[0]?.standing.stateId ?? "";
  const isDivided = top >= 0 && holders.some(({ standing }) => standing.stateId !== stateId);
  const { source } = world;
  const isRestoring = world.isRestoring || isDivided;
  const isLoaded = isRestoring || top < 0 || top < source.step;
  const goal = isLoaded ? source : { step: top, stateId };
  // A state that is not to be trusted goes by the same id as what it is to be replaced by.
  const isThere = ({ worker, standing }: Candidate) =>
    standing.step === goal.step && standing.stateId === goal.stateId && (!isRestoring || world.asked.has(worker));
  const behind = members.filter((each) => !isThere(each));
  if (behind.length === 0) {
    const staying = members.filter(({ isLeaving }) => !isLeaving);
    // Whoever leaves goes on as long as there is nobody else.
    const isAlone = staying.length === 0 && sparesOf(world).length === 0;
    const seated = rules.order((isAlone ? members : staying).map(({ worker }) => worker));
    const seating = seated.length === 0 ? null : rules.seat(seated);
    const { generation } = record;
    if (seating !== null)
      return write(world, { kind: "proceeding", generation, members: seated, seating, ...goalOf(goal) }, "all hold it");
    // Nobody stays, or those who do cannot hold all seats: with more workers it may work.
    const more = sparesOf(world).length > 0 ? open(world, rules, "more workers are needed") : undefined;
    return more ?? { world, effects: [] };
  }
  const asking = behind.filter(({ worker }) => !world.asked.has(worker));
  const { generation } = record;
  const from = holders.map(({ worker }) => worker);
  const effects = asking.map(
    ({ worker }): MembershipEffect =>
      isLoaded
        ? { type: "load", worker, generation, source }
        : { type: "fetch", worker, generation, from, ...goalOf(goal) },
  );
  const asked = new Set([...world.asked, ...asking.map(({ worker }) => worker)]);
  const diverged: MembershipEffect[] =
    isDivided && !world.isRestoring ? [{ type: "diverged", step: top, workers: from }] : [];
  if (!isLoaded) return { world: { ...world, asked }, effects };
  // Whoever is asked to load gives up what it holds at once.
  const emptied = asking.reduce(
    (from, each) => changed(from, each.worker, { standing: { ...each.standing, ...nothing } }),
    world,
  );
  return { world: { ...emptied, asked, isRestoring }, effects: [...diverged, ...effects] };
}

const nothing = { step: -1, stateId: seedStateId } as const;

const goalOf = ({ step, stateId }: { step: number; stateId: string }) => ({ step, stateId });

/** The newest record, flushed or not. */
const newest = ({ record, writing }: World): MembershipRecord | null => writing ?? record;

function changed(world: World, worker: string, change: Partial<Candidate>): World {
  const candidates = world.candidates.map((each) => (each.worker === worker ? { ...each, ...change } : each));
  return { ...world, candidates };
}

function without(set: ReadonlySet<string>, worker: string): ReadonlySet<string> {
  const rest = new Set(set);
  rest.delete(worker);
  return rest;
}
