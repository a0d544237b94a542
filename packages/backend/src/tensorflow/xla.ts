/** What XLA (`_XlaMustCompile` on the call of a captured function) compiles, and how it says that it cannot. */
import { BackendError } from "../backend-error.ts";
import type { Device, Program } from "../compute-backend.ts";

const advice = 'set compiler to "grappler"';

/** @throws BackendError COMPILER_UNSUPPORTED on a GPU, PRECISION_UNSUPPORTED: the other precisions are rewrites of Grappler's, which do nothing under XLA. */
export function requireXla({ precision = "float32" }: Program, device: Device): void {
  if (device.kind !== "cpu") {
    throw new BackendError(
      "COMPILER_UNSUPPORTED",
      `compiler "xla" is for the CPU, this thread computes on ${device.name}; ${advice}, or train on the CPU`,
    );
  }
  if (precision !== "float32") {
    throw new BackendError(
      "PRECISION_UNSUPPORTED",
      `compiler "xla" computes in float32, found precision "${precision}"; ${advice}, or precision to "float32"`,
    );
  }
}

/** What a program that cannot be captured says. */
export const notCaptured = (readBy: string | undefined): BackendError =>
  new BackendError(
    "COMPILER_UNSUPPORTED",
    `compiler "xla" needs a step that can be captured; a result of ${readBy} is read into JavaScript inside it: compute with tensors only, or ${advice}`,
  );

/** The first call compiles, so its failure is XLA's. Where TensorFlow names ops, the rest of its many lines says no more. */
export function notCompiled(cause: unknown): BackendError {
  const message = cause instanceof Error ? cause.message : String(cause);
  const ops = [...new Set([...message.matchAll(/No registered '(\w+)' OpKernel/g)].map(([, op]) => op))];
  const found = ops.length > 0 ? `XLA has no ${ops.join(", ")}` : `XLA says: ${message.split("\n", 1)[0]}`;
  return new BackendError(
    "COMPILER_UNSUPPORTED",
    `compiler "xla" needs a step of ops that XLA can compile; ${found}; ${advice}`,
    { cause },
  );
}
