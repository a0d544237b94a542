/** Runs this machine's part of a run: one rank, in this process. */
import {
  type DevicePreference,
  loadLibtensorflow,
  numericsFingerprint,
  openTensorflowBackend,
} from "@ringmaster/backend";
import type { ImageDataset } from "@ringmaster/data";
import type { LoadedDefinition } from "@ringmaster/training";
import type { ControlLink } from "@ringmaster/transport";
import { runWorker, type WorkerEnd, type WorkerLog } from "@ringmaster/worker";

export interface WorkOptions {
  readonly link: ControlLink;
  readonly loaded: LoadedDefinition;
  readonly dataset: ImageDataset;
  readonly threads: number;
  readonly token: string;
  readonly ringHost: string | undefined;
  readonly log: WorkerLog;
  readonly signal: AbortSignal;
}

/** Opens libtensorflow in the main thread, where its log settings take effect, and works. */
export async function work({ loaded, dataset, ...options }: WorkOptions): Promise<WorkerEnd> {
  loadLibtensorflow();
  const backend = await openTensorflowBackend(loaded.definition.device as DevicePreference);
  return runWorker({
    ...options,
    configPath: loaded.path,
    configHash: loaded.hash,
    dataset,
    device: backend.device,
    fingerprint: numericsFingerprint(backend, "float32"),
  });
}

/** The one worker of a single-node run, in the coordinator's own process: it ends when the coordinator says so. */
export function startInProcessWorker(options: Omit<WorkOptions, "signal" | "ringHost">): {
  readonly ended: Promise<unknown>;
} {
  const ended = work({ ...options, ringHost: undefined, signal: new AbortController().signal });
  // A worker that cannot start hangs up, and the coordinator ends the run with its reason.
  return {
    ended: ended.catch((error: unknown) => options.link.close(error instanceof Error ? error.message : String(error))),
  };
}
