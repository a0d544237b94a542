import type { ComputeBackend } from "./compute-backend.ts";

/** What a gradient's bits depend on besides the run itself. Ranks whose fingerprints differ may compute different bits. */
export interface NumericsFingerprint {
  readonly backend: string;
  readonly backendVersion: string;
  readonly node: string;
  /** The model of CPU or GPU; "any" where the backend gives the same bits on all of them. */
  readonly cpu: string;
}

/** WebAssembly fixes the result of every instruction that the portable kernels use; libtensorflow chooses kernels by the processor. */
export const numericsFingerprint = ({
  name,
  device,
  version,
}: Pick<ComputeBackend, "name" | "device" | "version">): NumericsFingerprint => ({
  backend: `${name}-${device.kind}`,
  backendVersion: version,
  node: process.version,
  cpu: name === "portable" ? "any" : device.name,
});
