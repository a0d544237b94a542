import { type CApi, loadCApi } from "../libtensorflow/c-api.ts";
import { type ChosenDevice, chooseDevice } from "../libtensorflow/choose-device.ts";
import type { DevicePreference } from "../libtensorflow/device-preference.ts";
import { prepareGpuEnvironment } from "../libtensorflow/gpu-environment.ts";

/**
 * Loads the build of libtensorflow for a device into the process and into this thread.
 * @throws BackendError DEVICE_UNAVAILABLE, LIBTENSORFLOW_MISSING, LIBTENSORFLOW_DAMAGED
 */
export function loadLibtensorflow(preference: DevicePreference): { readonly c: CApi; readonly chosen: ChosenDevice } {
  const chosen = chooseDevice(preference);
  if (chosen.gpu !== null) prepareGpuEnvironment();
  return { c: loadCApi(chosen.libraries), chosen };
}
