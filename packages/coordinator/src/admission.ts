/** Who may join, and whether those who joined may begin: pure functions over what they said. */
import type { WorkerHello, WorkerReady } from "@ringmaster/protocol";
import type { CoordinatorOptions } from "./coordinator-io.ts";

export interface Refusal {
  readonly code: string;
  readonly message: string;
}

/** Why a worker is turned away, or undefined. */
export function refusalOf(hello: WorkerHello, isGathering: boolean, options: CoordinatorOptions): Refusal | undefined {
  const { ranks, configHash, datasetHash } = options;
  if (!isGathering) return { code: "RUN_FULL", message: `the run has its ${ranks} ranks already` };
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
  return undefined;
}

interface ReadyRank {
  readonly rank: number;
  readonly ready: WorkerReady;
}

/**
 * Whether all ranks start from one state.
 * @returns why not; or else, where their numerics differ, a note for the log and the report.
 */
export function agreeOnStart(
  ready: readonly ReadyRank[],
  resume: CoordinatorOptions["resume"],
  isStrict: boolean,
): Refusal | { readonly numericsNote: string | null } {
  const [first] = ready;
  if (!first) return { numericsNote: null };
  for (const other of ready) {
    for (const field of ["layoutHash", "stateHash"] as const) {
      if (other.ready[field] === first.ready[field]) continue;
      const what = field === "layoutHash" ? "models of different shapes" : "different initial states";
      const hashes = `${short(first.ready[field])} and ${short(other.ready[field])}`;
      const ranks = `rank ${first.rank} and rank ${other.rank}`;
      return { code: "STATES_DIFFER", message: `${ranks} start from ${what} (${hashes})` };
    }
  }
  const isSameModel = JSON.stringify(resume?.tensors) === JSON.stringify(first.ready.tensors);
  if (resume && !(isSameModel && resume.layoutHash === first.ready.layoutHash)) {
    const found = "the checkpoint's tensors or buckets are not those of the config's model and optimizer";
    return { code: "CHECKPOINT_MISMATCH", message: `${found}: restore the config that the run was made with` };
  }
  if (new Set(ready.map((each) => each.ready.probeHash)).size === 1) return { numericsNote: null };
  const numericsNote =
    "ranks compute different bits (numerics fingerprints differ): all stay equal, but the hash depends on who computed what";
  return isStrict ? { code: "NUMERICS_DIFFER", message: `numerics is "strict": ${numericsNote}` } : { numericsNote };
}

export const short = (hash: string): string => hash.slice(0, 12);
