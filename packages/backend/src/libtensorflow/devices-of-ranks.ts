import { BackendError } from "../backend-error.ts";
import { type DeviceFacts, findGpuObstacle, usableGpus } from "./choose-device.ts";
import { type DevicePreference, wantsGpu } from "./device-preference.ts";

export interface DevicesOfRanks {
  /** One a rank. */
  readonly devices: readonly DevicePreference[];
  /** Why ranks are not given the GPUs that are here; null where nothing needs saying. */
  readonly reason: string | null;
}

/**
 * Shares one machine's GPUs out among its ranks: one process a GPU. With "auto" and fewer GPUs than ranks all compute on the CPU, so that they compute the
 * same bits.
 * @throws BackendError DEVICE_UNAVAILABLE: GPUs are asked for and there are fewer than ranks, or all ranks ask for the same.
 */
export function devicesOfRanks(preference: DevicePreference, ranks: number, facts: DeviceFacts): DevicesOfRanks {
  const all = (device: DevicePreference, reason: string | null): DevicesOfRanks => ({
    devices: Array.from({ length: ranks }, () => device),
    reason,
  });
  if (ranks === 1 || preference === "cpu") return all(preference, null);
  const gpus = findGpuObstacle(facts) === null ? usableGpus(facts) : [];
  // What stands in the way is said by whoever opens the device.
  if (gpus.length === 0) return all(preference, null);
  const enough = preference === "auto" || preference === "gpu" ? gpus.length : 1;
  if (ranks <= enough)
    return { devices: gpus.slice(0, ranks).map(({ number }): DevicePreference => `gpu:${number}`), reason: null };
  const found = `${ranks} ranks, of which each needs a GPU of its own, and ${enough === 1 ? "one GPU" : `${enough} GPUs`}`;
  const next = `--ranks ${enough} trains on a GPU each`;
  if (!wantsGpu(preference)) return all("cpu", `${found}: all compute on the CPU (${next})`);
  throw new BackendError("DEVICE_UNAVAILABLE", `device "${preference}": found ${found}; ${next}`);
}
