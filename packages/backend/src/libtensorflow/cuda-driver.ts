/** What NVIDIA's driver library, libcuda.so.1, says of the GPUs that this process may use. It counts as TensorFlow does: `CUDA_VISIBLE_DEVICES` and all. */
import koffi from "koffi";

export interface Gpu {
  readonly name: string;
  /** Compute capability, e.g. "9.0". */
  readonly capability: string;
  readonly memoryBytes: number;
}

export type CudaAnswer =
  | {
      readonly state: "ready";
      /** Newest CUDA that the driver knows, e.g. "12.4". */
      readonly cuda: string;
      /** In the order of their numbers. */
      readonly gpus: readonly Gpu[];
    }
  /** The library could not be loaded. */
  | { readonly state: "absent"; readonly reason: string }
  /** The library is there and gave an error, e.g. 100, CUDA_ERROR_NO_DEVICE. */
  | { readonly state: "refused"; readonly error: number; readonly reason: string };

const attributes = { major: 75, minor: 76 } as const;

/** @param file Default: wherever the system has it. */
export function askCudaDriver(file = "libcuda.so.1"): CudaAnswer {
  if (process.platform !== "linux") return { state: "absent", reason: `not on ${process.platform}` };
  const reason = pin(file);
  return reason === null ? ask(koffi.load(file)) : { state: "absent", reason };
}

/** Loads a library for good: koffi closes what it loaded when a thread ends, and the driver has threads of its own by then. @returns why it does not load. */
function pin(file: string): string | null {
  const [lazy, noDelete] = [0x1, 0x1000];
  const libc = koffi.load("libc.so.6");
  const dlopen = libc.func("void *dlopen(const char *path, int flags)");
  // Looked up before: a look-up clears the error.
  const dlerror = libc.func("const char *dlerror()");
  return dlopen(file, lazy | noDelete) ? null : String(dlerror());
}

function ask(library: ReturnType<typeof koffi.load>): CudaAnswer {
  const call = (signature: string) => library.func(signature) as (...args: unknown[]) => number;
  const init = call("int cuInit(unsigned int flags)");
  const driverVersion = call("int cuDriverGetVersion(_Out_ int *version)");
  const count = call("int cuDeviceGetCount(_Out_ int *count)");
  const name = call("int cuDeviceGetName(_Out_ char *name, int length, int device)");
  const memory = call("int cuDeviceTotalMem_v2(_Out_ size_t *bytes, int device)");
  const attribute = call("int cuDeviceGetAttribute(_Out_ int *value, int attribute, int device)");
  const errorName = call("int cuGetErrorName(int error, _Out_ const char **name)");

  const out = [0];
  const read = (error: number): number => {
    if (error !== 0) throw new CudaError(error);
    return Number(out[0]);
  };
  try {
    read(init(0));
    const version = read(driverVersion(out));
    const gpus = Array.from({ length: read(count(out)) }, (_, device): Gpu => {
      const text = Buffer.alloc(256);
      read(name(text, text.length, device));
      const [major, minor] = [attributes.major, attributes.minor].map((each) => read(attribute(out, each, device)));
      return {
        name: text.toString("latin1").replace(/\0.*$/s, ""),
        capability: `${major}.${minor}`,
        memoryBytes: read(memory(out, device)),
      };
    });
    return { state: "ready", cuda: `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`, gpus };
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    const text: [string | null] = [null];
    errorName(error.number, text);
    return { state: "refused", error: error.number, reason: text[0] ?? `CUDA error ${error.number}` };
  }
}

class CudaError extends Error {
  readonly number: number;

  constructor(number: number) {
    super();
    this.number = number;
  }
}
