/** Runs this machine's part of a run: one rank, in this process. */
import {
  type BackendOptions,
  type Device,
  hasFloat16,
  loadBackend,
  type NumericsFingerprint,
  openBackend,
  type Precision,
  type SettledBackend,
  settleBackend,
} from "@ringmaster/backend";
import type { ImageDataset } from "@ringmaster/data";
import type { LoadedDefinition } from "@ringmaster/training";
import type { ControlLink } from "@ringmaster/transport";
import { runWorker, type WorkerEnd, type WorkerLog } from "@ringmaster/worker";

export interface OpenedDevice {
  readonly device: Device;
  readonly fingerprint: NumericsFingerprint;
  /** For the compute threads. */
  readonly computeOn: SettledBackend;
}

/**
 * Settles what trains in this process, and sees that it loads.
 * @param say is told why it is what it is
 * @throws BackendError LIBTENSORFLOW_MISSING, LIBTENSORFLOW_DAMAGED, DEVICE_UNAVAILABLE
 */
export async function openDevice(wanted: Wanted, say: (line: string) => void): Promise<OpenedDevice> {
  const computeOn = settleBackend(wanted);
  const { deviceName } = computeOn;
  for (const note of notesOf(computeOn, wanted.precision)) say(note);
  const fingerprint = await loadBackend(computeOn);
  // A GPU that TensorFlow does not see is better known before a run has its folder. On the CPU a context here would only take memory.
  if (deviceName.kind === "gpu") await openBackend(computeOn);
  return { device: deviceName, fingerprint, computeOn };
}

export type Wanted = BackendOptions & { readonly precision?: Precision };

/** What a user would not expect of what trains. */
export function notesOf({ backend, deviceName, reason }: SettledBackend, precision: Precision = "float32"): string[] {
  if (deviceName.kind === "gpu") return [`${deviceName.name}: ${reason}`];
  if (backend === "portable") return [reason];
  const isEmulated = precision === "float16" && !hasFloat16();
  const emulated =
    "float16 is emulated on this CPU: operands of convolutions and products are rounded to it, which is no faster than float32";
  return isEmulated ? [emulated] : [];
}

export interface WorkOptions {
  /** Dials the coordinator, again after a loss. */
  readonly connect: (signal: AbortSignal) => Promise<ControlLink>;
  readonly loaded: LoadedDefinition;
  readonly dataset: ImageDataset;
  readonly opened: OpenedDevice;
  readonly threads: number;
  readonly token: string;
  /** Where peers reach this rank; undefined in a world of one process. */
  readonly ringHost: string | undefined;
  readonly log: WorkerLog;
  /** Aborted on SIGTERM: it leaves. */
  readonly signal: AbortSignal;
  /** Aborted when its supervisor is gone: it ends. */
  readonly orphaned?: AbortSignal;
  /** See `WorkerOptions`. */
  readonly patienceMs?: number;
  /** It is prepared and was admitted. */
  readonly onJoined: () => void;
}

export const work = ({ loaded, opened, ...options }: WorkOptions): Promise<WorkerEnd> =>
  runWorker({ ...options, ...opened, configPath: loaded.path, configHash: loaded.hash });
