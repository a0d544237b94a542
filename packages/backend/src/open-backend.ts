import { cpus } from "node:os";
import { BackendError } from "./backend-error.ts";
import type { ComputeBackend, Device } from "./compute-backend.ts";
import { type NumericsFingerprint, numericsFingerprint } from "./fingerprint.ts";
import { chooseDevice } from "./libtensorflow/choose-device.ts";
import { type DevicePreference, wantsGpu } from "./libtensorflow/device-preference.ts";
import { findLibtensorflow } from "./libtensorflow/location.ts";

/** "auto": libtensorflow where it is installed, else the portable backend. */
export type BackendPreference = "auto" | ComputeBackend["name"];

export interface BackendOptions {
  /** Default "auto". */
  readonly backend?: BackendPreference;
  /** Default "auto": a GPU where libtensorflow can use one, else the CPU. */
  readonly device?: DevicePreference;
}

/** What "auto" comes to on this machine; threads that are given it open the same. */
export interface SettledBackend {
  readonly backend: ComputeBackend["name"];
  readonly device: "cpu" | `gpu:${number}`;
  readonly deviceName: Device;
  readonly reason: string;
}

/**
 * @throws BackendError LIBTENSORFLOW_MISSING, LIBTENSORFLOW_DAMAGED: a damaged libtensorflow is no missing one; DEVICE_UNAVAILABLE when a GPU is asked for
 * that cannot be used. Each says why and what to do.
 */
export function settleBackend({ backend = "auto", device = "auto" }: BackendOptions = {}): SettledBackend {
  const cpu: Device = { kind: "cpu", name: cpus()[0]?.model.trim() || "CPU" };
  const isMissing = (["cpu", "cuda"] as const).every((build) => findLibtensorflow(build).state === "missing");
  if (!wantsGpu(device) && (backend === "portable" || (backend === "auto" && isMissing))) {
    const missing = `libtensorflow is not in ${findLibtensorflow().folder}: computing with the portable backend (WebAssembly), several times slower; "npx ringmaster setup" fetches it`;
    const reason = backend === "portable" ? "the portable backend is asked for" : missing;
    return { backend: "portable", device: "cpu", deviceName: cpu, reason };
  }
  const { gpu, reason } = chooseDevice(device);
  if (gpu === null) return { backend: "tensorflow", device: "cpu", deviceName: cpu, reason };
  return { backend: "tensorflow", device: `gpu:${gpu.number}`, deviceName: { kind: "gpu", name: gpu.name }, reason };
}

let opening: Promise<ComputeBackend> | undefined;

/**
 * Makes a compute backend the backend of tfjs in this thread; later calls return the same. In a process that starts compute threads, the main thread loads
 * libtensorflow first (`loadBackend`).
 * @throws BackendError as `settleBackend`; DEVICE_UNAVAILABLE also when this thread already works on something else.
 */
export async function openBackend(options: BackendOptions = {}): Promise<ComputeBackend> {
  opening ??= open(settleBackend(options)).catch((error: unknown) => {
    opening = undefined;
    throw error;
  });
  const found = await opening;
  const { backend = "auto", device = "auto" } = options;
  const other = backend !== "auto" && backend !== found.name;
  if (other || (wantsGpu(device) && found.device.kind !== "gpu")) {
    const asked = other ? `the ${backend} backend` : "a GPU";
    const here = `this thread was opened on the ${found.device.kind.toUpperCase()} with the ${found.name} backend`;
    throw new BackendError("DEVICE_UNAVAILABLE", `expected ${asked}, ${here}; ask for the same wherever it is opened`);
  }
  return found;
}

/** Each backend's part of tfjs is loaded only where it computes. */
async function open({ backend, device }: SettledBackend): Promise<ComputeBackend> {
  if (backend === "tensorflow") {
    const { openTensorflowBackend } = await import("./tensorflow/tensorflow-backend.ts");
    return openTensorflowBackend(device);
  }
  const { openPortableBackend } = await import("./portable/portable-backend.ts");
  return openPortableBackend();
}

/**
 * What a process does in its main thread before its compute threads open a backend: only there do libtensorflow's log settings take effect.
 * @returns the fingerprint of what they will compute
 */
export async function loadBackend({ backend, device, deviceName }: SettledBackend): Promise<NumericsFingerprint> {
  const version =
    backend === "tensorflow"
      ? (await import("./tensorflow/load-libtensorflow.ts")).loadLibtensorflow(device).c.TF_Version()
      : (await import("@tensorflow/tfjs-backend-wasm")).version_wasm;
  return numericsFingerprint({ name: backend, device: deviceName, version });
}
