/** Who may join, and whether those who joined can work together: pure functions over what they said. */
import type { RunConfig, WorkerHello, WorkerReady } from "@ringmaster/protocol";
import { CoordinatorError } from "./coordinator-error.ts";
import type { CoordinatorOptions } from "./coordinator-io.ts";

export interface Refusal {
  readonly code: string;
  readonly message: string;
}

/** The next generation is higher than any that was stated, and it must fit 32 bits for as long as the run lasts. After a lost journal it begins at the seconds since 1970. */
const highestGeneration = 0xf000_0000;

/** Why a worker is turned away, or undefined. */
export function refusalOf(hello: WorkerHello, options: CoordinatorOptions): Refusal | undefined {
  const { ranks, configHash, datasetHash } = options;
  if (hello.configHash !== configHash) {
    const found = `this worker's config file has hash ${short(hello.configHash)}, the coordinator's ${short(configHash)}`;
    return { code: "CONFIG_DIFFERS", message: `${found}: copy one to the other` };
  }
  if (hello.datasetHash !== datasetHash) {
    const found = `this worker's dataset has hash ${short(hello.datasetHash)}, the coordinator's ${short(datasetHash)}`;
    return { code: "DATASET_DIFFERS", message: `${found}: use the same files` };
  }
  if (ranks > 1 && hello.ring.port === 0) {
    return { code: "NO_RING", message: "a worker of several ranks must listen for its neighbour" };
  }
  const { generation } = hello.standing;
  if (generation > highestGeneration) {
    const expected = `expected a generation of at most ${highestGeneration}, found ${generation}`;
    return { code: "GENERATION_TOO_HIGH", message: `${expected}: start this worker anew` };
  }
  return undefined;
}

/** The config of a run that begins with these workers, or why it cannot begin with them. */
export function settledConfig(
  hellos: readonly WorkerHello[],
  { ranks, configFor }: Pick<CoordinatorOptions, "ranks" | "configFor">,
): RunConfig | (Refusal & { readonly exitCode: number }) {
  let config: RunConfig;
  try {
    config = configFor(hellos.reduce((sum, { threads }) => sum + threads, 0));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const code = error instanceof CoordinatorError ? error.code : "CONFIG_INVALID";
    return { exitCode: 2, code, message: error.message };
  }
  if (ranks > config.seats) {
    const advice = `use --seats ${ranks} or more (for a new run), or fewer ranks`;
    const message = `${ranks} ranks cannot sit on ${config.seats} seats: ${advice}`;
    return { exitCode: 2, code: "MORE_RANKS_THAN_SEATS", message };
  }
  const fingerprints = new Set(hellos.map(({ fingerprint }) => JSON.stringify(fingerprint)));
  if (config.numerics === "strict" && fingerprints.size > 1) {
    const found = `the ranks' fingerprints differ: ${[...fingerprints].join(" and ")}`;
    return { exitCode: 1, code: "NUMERICS_DIFFER", message: `numerics is "strict" and ${found}` };
  }
  return config;
}

export interface Prepared {
  /** For the message where they differ. */
  readonly name: string;
  readonly ready: WorkerReady;
}

/** Why these two cannot be in one world, or undefined. */
export function differenceOf(first: Prepared, other: Prepared): Refusal | undefined {
  for (const field of ["layoutHash", "seedHash"] as const) {
    if (other.ready[field] === first.ready[field]) continue;
    const what = field === "layoutHash" ? "models of different shapes" : "different initial states";
    const hashes = `${short(first.ready[field])} and ${short(other.ready[field])}`;
    return { code: "STATES_DIFFER", message: `${first.name} and ${other.name} start from ${what} (${hashes})` };
  }
  return undefined;
}

/** Why the run's checkpoint is not of this model, or undefined. */
export function mismatchOf(ready: WorkerReady, resume: CoordinatorOptions["resume"]): Refusal | undefined {
  const isSameModel = JSON.stringify(resume?.tensors) === JSON.stringify(ready.tensors);
  if (!resume || (isSameModel && resume.layoutHash === ready.layoutHash)) return undefined;
  const found = "the checkpoint's tensors or buckets are not those of the config's model and optimizer";
  return { code: "CHECKPOINT_MISMATCH", message: `${found}: restore the config that the run was made with` };
}

/** For the log and the report, where ranks compute different bits. */
export const numericsNote =
  "ranks compute different bits (numerics fingerprints differ): all stay equal, but the hash depends on who computed what";

export const short = (hash: string): string => hash.slice(0, 12);
