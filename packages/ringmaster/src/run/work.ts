/** Runs this machine's part of a run: one rank, in this process. */
import {
  type Device,
  type DevicePreference,
  loadLibtensorflow,
  type NumericsFingerprint,
  numericsFingerprint,
  openTensorflowBackend,
} from "@ringmaster/backend";
import type { ImageDataset } from "@ringmaster/data";
import type { LoadedDefinition } from "@ringmaster/training";
import type { ControlLink } from "@ringmaster/transport";
import { runWorker, type WorkerEnd, type WorkerLog } from "@ringmaster/worker";

export interface OpenedDevice {
  readonly device: Device;
  readonly fingerprint: NumericsFingerprint;
}

/**
 * Opens libtensorflow in the main thread, where its log settings take effect, and sees what would train.
 * @throws BackendError LIBTENSORFLOW_MISSING, LIBTENSORFLOW_DAMAGED, DEVICE_UNAVAILABLE
 */
export async function openDevice(preference: DevicePreference): Promise<OpenedDevice> {
  loadLibtensorflow();
  const backend = await openTensorflowBackend(preference);
  return { device: backend.device, fingerprint: numericsFingerprint(backend) };
}

export interface WorkOptions {
  readonly link: ControlLink;
  readonly loaded: LoadedDefinition;
  readonly dataset: ImageDataset;
  readonly opened: OpenedDevice;
  readonly threads: number;
  readonly token: string;
  /** Where peers reach this rank; undefined in a world of one process. */
  readonly ringHost: string | undefined;
  readonly log: WorkerLog;
  readonly signal: AbortSignal;
}

export const work = ({ loaded, opened, ...options }: WorkOptions): Promise<WorkerEnd> =>
  runWorker({ ...options, ...opened, configPath: loaded.path, configHash: loaded.hash });
