/** A program on the portable backend: its body runs anew at each call, between two copies. */
import tf from "#tfjs";
import { BackendError } from "../backend-error.ts";
import type { Feed, PreparedProgram, Program, ProgramCall, RandomKey } from "../compute-backend.ts";
import { withDraws } from "../keyed-random.ts";
import { failedBody } from "../ops/failed-body.ts";
import { size } from "./kernel-registry.ts";
import { KeyedDraws } from "./keyed-draws.ts";
import type { WasmHeap } from "./wasm-backend.ts";

/** Runs the body once, on what the memory holds, so that what is wrong with it shows here. */
export function prepareEagerProgram(heap: WasmHeap, program: Program): PreparedProgram {
  const stages = program.stages?.length ?? 1;
  const ops = countOps(() => execute(heap, program, { seed: 0, step: 0, firstSlot: 0 }, () => {}));
  let disposed = false;
  return {
    ops,
    eagerBecause: null,
    run({ outputs, random, onStage }: ProgramCall) {
      if (disposed) throw new BackendError("OP_FAILED", "expected a program to run, found one that was disposed");
      execute(heap, program, random, (tensors) => {
        copyOut(heap, program.memory, tensors, outputs);
      });
      for (let stage = 0; stage < stages; stage += 1) onStage?.(stage);
    },
    dispose() {
      disposed = true;
    },
  };
}

/** Runs the body on what the memory holds; variables are what they were afterwards. `take` sees the outputs while they live. */
function execute(
  heap: WasmHeap,
  { memory, feeds, body }: Program,
  random: RandomKey,
  take: (outputs: readonly tf.Tensor[]) => void,
): void {
  const before = feeds.map(({ variable }) => variable?.clone());
  try {
    tf.tidy(() => {
      const fed = feeds.map((feed) => feedTensor(heap, memory, feed));
      take(withDraws(new KeyedDraws(heap, random), () => body(fed)));
    });
  } catch (cause) {
    throw failedBody(cause, (reason) => {
      const message = `a program failed in the portable backend: ${reason}`;
      return new BackendError("OP_FAILED", message, { cause });
    });
  } finally {
    feeds.forEach(({ variable }, i) => {
      const value = before[i];
      if (!variable || !value) return;
      variable.assign(value);
      value.dispose();
    });
  }
}

/**
 * A variable gets a new tensor at each call and is not overwritten in place: XNNPACK keeps filters that it has packed by the tensor's id, and would
 * compute with the old values.
 */
function feedTensor(heap: WasmHeap, memory: WebAssembly.Memory, feed: Feed): tf.Tensor {
  const { byteOffset, shape, dtype, variable } = feed;
  const info = heap.output(shape, dtype);
  heap.bytes.set(new Uint8Array(memory.buffer, byteOffset, size(shape) * 4), heap.addressOf(info));
  const tensor = tf.engine().makeTensorFromTensorInfo(info);
  if (!variable) return tensor;
  variable.assign(tensor);
  return variable;
}

function copyOut(
  heap: WasmHeap,
  memory: WebAssembly.Memory,
  tensors: readonly tf.Tensor[],
  outputs: readonly number[],
): void {
  if (tensors.length !== outputs.length) {
    const found = `${outputs.length} places for the ${tensors.length} outputs of the body`;
    throw new BackendError("OP_FAILED", `expected a place for each output of a program, found ${found}`);
  }
  tensors.forEach((tensor, i) => {
    if (tensor.isDisposed || !heap.has(tensor)) {
      const advice = "hand back tensors of this backend that were neither disposed of nor made inside a tf.tidy";
      throw new BackendError("TENSOR_UNKNOWN", `output ${i} of a program is no live tensor; ${advice}`);
    }
    if (tensor.dtype !== "float32" && tensor.dtype !== "int32") {
      const advice = "cast it in the program's body";
      throw new BackendError(
        "OP_FAILED",
        `expected float32 or int32 for output ${i}, found ${tensor.dtype}; ${advice}`,
      );
    }
    const start = heap.addressOf(tensor);
    new Uint8Array(memory.buffer, outputs[i], tensor.size * 4).set(heap.bytes.subarray(start, start + tensor.size * 4));
  });
}

function countOps(body: () => void): number {
  const engine = tf.engine();
  const { runKernel } = engine;
  let ops = 0;
  engine.runKernel = (...args) => {
    ops += 1;
    return runKernel.apply(engine, args) as never;
  };
  try {
    body();
  } finally {
    engine.runKernel = runKernel;
  }
  return ops;
}
