/** The `tensorflow` backend: libtensorflow, whose programs are captured once and then run as one op a stage. */
import { cpus } from "node:os";
import tf from "#tfjs";
import { NodeJSKernelBackend } from "#tfjs-node-kernels";
import { BackendError } from "../backend-error.ts";
import type { ComputeBackend, Device, Precision } from "../compute-backend.ts";
import { hasFloat16 } from "../cpu-features.ts";
import { createBinding } from "../libtensorflow/binding.ts";
import type { CApi, Pointer } from "../libtensorflow/c-api.ts";
import type { ChosenDevice } from "../libtensorflow/choose-device.ts";
import { contextConfig } from "../libtensorflow/config-proto.ts";
import type { DevicePreference } from "../libtensorflow/device-preference.ts";
import { registerGradients } from "../ops/gradients.ts";
import { registerKernels } from "./kernels/register-kernels.ts";
import { loadLibtensorflow } from "./load-libtensorflow.ts";
import { requirePrecision } from "./require-precision.ts";
import { type BackendInternals, type Host, prepareProgram } from "./tensorflow-program.ts";
import { requireXla } from "./xla.ts";

/** One TensorFlow context in this thread, with one intra-op and one inter-op thread. @throws BackendError DEVICE_UNAVAILABLE */
export async function openTensorflowBackend(preference: DevicePreference): Promise<ComputeBackend> {
  const { c, chosen } = loadLibtensorflow(preference);
  const context = newContext(c, chosen);
  const device = openedDevice(c, context, chosen);
  const binding = createBinding(c, context, device.kind === "gpu");
  const backend = new NodeJSKernelBackend(
    binding as unknown as NodeJSKernelBackend["binding"],
    "@tensorflow/tfjs-node-gpu",
  );
  tf.registerBackend("tensorflow", () => backend, 3);
  registerKernels("tensorflow", device.kind);
  registerGradients();
  await tf.setBackend("tensorflow");
  await tf.ready();
  const host: Host = {
    c,
    context,
    binding,
    internals: backend as unknown as BackendInternals,
    emulatesFloat16: device.kind === "cpu" && !hasFloat16(),
  };
  /** Precisions that the device is known to have. */
  const had = new Set<Precision>(["float32"]);
  return {
    name: "tensorflow",
    device,
    version: c.TF_Version(),
    tensorCount: () => binding.handles.size,
    prepare(program) {
      const { precision = "float32" } = program;
      if (program.compiler === "xla") requireXla(program, device);
      if (!had.has(precision)) requirePrecision(host, device, precision);
      had.add(precision);
      return prepareProgram(host, program);
    },
  };
}

function newContext(c: CApi, { gpu }: ChosenDevice): Pointer {
  const options = c.TFE_NewContextOptions();
  const config = contextConfig(gpu?.number ?? null);
  c.TFE_ContextOptionsSetConfig(options, config, config.length, c.status);
  c.check("TensorFlow's configuration");
  const context = c.TFE_NewContext(options, c.status);
  c.check("TensorFlow's context");
  c.TFE_DeleteContextOptions(options);
  return context;
}

/** A GPU that was chosen is seen by TensorFlow too, or nothing trains. */
function openedDevice(c: CApi, context: Pointer, { gpu }: ChosenDevice): Device {
  if (gpu === null) return { kind: "cpu", name: cpus()[0]?.model.trim() || "CPU" };
  const list = c.TFE_ContextListDevices(context, c.status);
  c.check("TensorFlow's devices");
  const types = Array.from({ length: c.TF_DeviceListCount(list) }, (_, index) =>
    c.TF_DeviceListType(list, index, c.status),
  );
  c.TF_DeleteDeviceList(list);
  if (types.includes("GPU")) return { kind: "gpu", name: gpu.name };
  const advice = "TF_CPP_MIN_LOG_LEVEL=0 in the environment shows TensorFlow's reason; --device cpu trains without it";
  throw new BackendError(
    "DEVICE_UNAVAILABLE",
    `expected gpu:${gpu.number} (${gpu.name}), libtensorflow ${c.TF_Version()} sees only: ${types.join(", ")}; ${advice}`,
  );
}
