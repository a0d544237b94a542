/**
 * What a person asks for, in a config's `device` and in `--device`: "auto" takes a GPU where one can be used, else the CPU; "gpu" is the first GPU or
 * an error; "gpu:1" is the second of those that `CUDA_VISIBLE_DEVICES` leaves, or an error.
 */
export type DevicePreference = "auto" | "cpu" | "gpu" | `gpu:${number}`;

/** `run-config.ts` of the protocol has it too. */
const devicePattern = /^(?:auto|cpu|gpu(?::(?:0|[1-9]\d{0,2}))?)$/;

/** undefined: `text` names no device. */
export function parseDevice(text: string): DevicePreference | undefined {
  return isDevice(text) ? text : undefined;
}

const isDevice = (text: string): text is DevicePreference => devicePattern.test(text);

/** Whether nothing but a GPU will do. */
export const wantsGpu = (preference: DevicePreference): boolean => preference.startsWith("gpu");

/** The number in "gpu:1"; null where any GPU will do. */
export function gpuNumber(preference: DevicePreference): number | null {
  const [, digits] = preference.split(":");
  return digits === undefined ? null : Number(digits);
}
