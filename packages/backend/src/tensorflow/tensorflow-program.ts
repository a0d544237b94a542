/**
 * A program on libtensorflow: its body is recorded once and captured, or, where it reads values, runs op by op at each call.
 */
import tf from "#tfjs";
import { BackendError } from "../backend-error.ts";
import type { PreparedProgram, Program, ProgramCall } from "../compute-backend.ts";
import { withDraws } from "../keyed-random.ts";
import { dims } from "../libtensorflow/attributes.ts";
import { type Binding, newTrace, type Trace, ValueNeeded } from "../libtensorflow/binding.ts";
import type { CApi, Pointer } from "../libtensorflow/c-api.ts";
import { callConfig } from "../libtensorflow/config-proto.ts";
import { dataTypes, elementBytes } from "../libtensorflow/dtypes.ts";
import { ShapeGraph } from "../libtensorflow/shape-graph.ts";
import { failedBody } from "../ops/failed-body.ts";
import { buildFunction, type CapturedFunction } from "./capture.ts";
import { KeyedDraws } from "./keyed-draws.ts";
import { addressOfMemory } from "./shared-memory.ts";
import { notCaptured, notCompiled } from "./xla.ts";

/** What tfjs-node keeps private of its backend and Ringmaster needs: the way from a tensor to its id and back, and to its values. */
export interface BackendInternals {
  read(dataId: object): Promise<tf.BackendValues>;
  getInputTensorIds(tensors: readonly tf.Tensor[]): number[];
  createOutputTensor(metadata: { id: number; shape: number[]; dtype: number }): tf.Tensor;
}

export interface Host {
  readonly c: CApi;
  readonly context: Pointer;
  readonly binding: Binding;
  readonly internals: BackendInternals;
  /** Whether float16 is made of rounded operands: `half-operands.ts`. */
  readonly emulatesFloat16: boolean;
}

/** A feed as tfjs sees it: a tensor over the shared memory, fed without a copy. */
interface FedTensor {
  readonly id: number;
  readonly handle: Pointer;
  readonly tensor: tf.Tensor;
}

function feedTensors({ c, binding, internals }: Host, { memory, feeds }: Program): FedTensor[] {
  const base = addressOfMemory(c, memory);
  return feeds.map(({ byteOffset, shape, dtype }) => {
    const type = dtype === "float32" ? dataTypes.float : dataTypes.int32;
    const bytes = shape.reduce((product, size) => product * size, elementBytes(type) ?? 0);
    const data = c.TF_NewTensor(type, dims(shape), shape.length, base + BigInt(byteOffset), bytes, c.keep, null);
    const handle = c.TFE_NewTensorHandle(data, c.status);
    c.TF_DeleteTensor(data);
    c.check("a tensor over shared memory");
    const id = binding.adopt(handle);
    return { id, handle, tensor: internals.createOutputTensor({ id, shape: [...shape], dtype: type }) };
  });
}

/** Runs the body on the fed tensors; variables are what they were afterwards. `use` sees the outputs while they live. */
function runBody(
  { internals }: Host,
  { feeds, body }: Program,
  fed: readonly FedTensor[],
  draws: KeyedDraws,
  use: (outputIds: number[]) => void,
): void {
  const variables = feeds.flatMap(({ variable }, index) =>
    variable ? [{ variable, before: variable.clone(), now: fed[index]?.tensor as tf.Tensor }] : [],
  );
  for (const { variable, now } of variables) variable.assign(now);
  try {
    tf.tidy(() => {
      const inputs = feeds.map(({ variable }, index) => variable ?? (fed[index]?.tensor as tf.Tensor));
      const outputs = withDraws(draws, () => calling(body, inputs));
      const disposed = outputs.find(({ isDisposed }) => isDisposed);
      if (disposed) {
        const advice = "hand back tensors that were neither disposed of nor made inside a tf.tidy";
        throw new BackendError("TENSOR_UNKNOWN", `a program names tensor ${disposed.id}, which is disposed; ${advice}`);
      }
      use(internals.getInputTensorIds(outputs));
    });
  } finally {
    for (const { variable, before } of variables) {
      variable.assign(before);
      before.dispose();
    }
    draws.release();
  }
}

function calling(body: Program["body"], inputs: readonly tf.Tensor[]): readonly tf.Tensor[] {
  try {
    return body(inputs);
  } catch (error) {
    throw failedBody(error, (reason) => {
      const message = `a program failed in the tensorflow backend: ${reason}`;
      return new BackendError("OP_FAILED", message, { cause: error });
    });
  }
}

/**
 * Reads that nobody waits for, as in `x.data().then(log)`: where no value is there yet, the promise stays open instead of being rejected, which would end
 * the thread. That a value was asked for is in the trace.
 */
function readsStayOpen(internals: BackendInternals): () => void {
  const { read } = internals;
  internals.read = async (dataId) => {
    try {
      return await read.call(internals, dataId);
    } catch (error) {
      if (error instanceof ValueNeeded) return new Promise(() => {});
      throw error;
    }
  };
  return () => {
    internals.read = read;
  };
}

export function prepareProgram(host: Host, program: Program): PreparedProgram {
  const { c, context, binding, internals } = host;
  const { compiler = "grappler" } = program;
  const makeTensor = (id: number, shape: readonly number[]) =>
    internals.createOutputTensor({ id, shape: [...shape], dtype: dataTypes.float });
  const fed = feedTensors(host, program);
  const newDraws = () => new KeyedDraws(binding, makeTensor, { seed: 0, step: 0, firstSlot: 0 }, compiler);
  let draws = newDraws();
  let captured: CapturedFunction | undefined;
  let trace = newTrace(new ShapeGraph(c));
  record(trace);
  if (trace.readBy !== undefined) {
    draws.dispose();
    draws = newDraws();
    trace = newTrace(undefined);
    record(trace);
  }
  const base = addressOfMemory(c, program.memory);
  let disposed = false;
  if (compiler === "xla") compile();
  const steps = captured ? runCaptured(captured) : runEagerly();
  return {
    ops: captured?.ops ?? trace.ops.length,
    eagerBecause: captured ? null : `a result of ${trace.readBy} is read into JavaScript inside the step`,
    run(call) {
      // Its feeds' memory is gone: writing there would corrupt the process.
      if (disposed) throw new BackendError("OP_FAILED", "expected a program to run, found one that was disposed");
      steps(call);
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      captured?.dispose();
      release();
    },
  };

  /** Runs the body; leaves what it did in the trace, and in `captured` unless it read values. */
  function record(trace: Trace): void {
    binding.trace = trace;
    const restoreReads = readsStayOpen(internals);
    try {
      runBody(host, program, fed, draws, (outputs) => {
        if (trace.readBy !== undefined) return;
        const inputs = [...fed.map(({ id }) => id), ...draws.feeds];
        const stages = program.stages ?? [outputs.map((_, index) => index)];
        const { precision = "float32" } = program;
        const roundsOperands = precision === "float16" && host.emulatesFloat16;
        const config = callConfig(roundsOperands ? "float32" : precision);
        const options = { config, compiler, roundsOperands };
        captured = buildFunction(c, context, binding, trace, { inputs, outputs, stages }, options);
      });
    } catch (error) {
      if (error instanceof ValueNeeded) return;
      release();
      throw error;
    } finally {
      restoreReads();
      binding.trace = undefined;
      trace.shapes?.dispose();
      for (const handle of trace.deleted.values()) c.TFE_DeleteTensorHandle(handle);
    }
  }

  /** XLA compiles at the first call, which therefore happens here, on what the memory holds, and not in the middle of a run. */
  function compile(): void {
    try {
      if (!captured) throw notCaptured(trace.readBy);
      captured.run(fedHandles(), () => {}, undefined);
    } catch (error) {
      captured?.dispose();
      release();
      throw captured ? notCompiled(error) : error;
    }
  }

  function fedHandles(): Pointer[] {
    return [...fed.map(({ handle }) => handle), ...draws.feeds.map((id) => binding.handleOf(id, "random feed"))];
  }

  function runCaptured(steps: CapturedFunction) {
    const handles = fedHandles();
    const views = new Map(draws.feeds.map((id) => [id, memoryOfHandle(c, binding.handleOf(id, "random feed"))]));
    return ({ outputs, random, onStage }: ProgramCall) => {
      draws.refeed(random, (feed) => views.get(feed) as DataView);
      const read = (output: number, data: Pointer, bytes: number) =>
        c.copy(base + BigInt(outputs[output] ?? 0), data, bytes);
      steps.run(handles, read, onStage);
    };
  }

  function runEagerly() {
    if (program.precision !== undefined && program.precision !== "float32") {
      throw new BackendError(
        "PRECISION_UNSUPPORTED",
        `${program.precision} needs a step that can be captured; a result of ${trace.readBy} is read into JavaScript inside it: compute with tensors only, or train in float32`,
      );
    }
    draws.dispose();
    return ({ outputs, random, onStage }: ProgramCall) => {
      const drawn = new KeyedDraws(binding, makeTensor, random, "grappler");
      runBody(host, program, fed, drawn, (ids) => {
        ids.forEach((id, output) => {
          const tensor = c.TFE_TensorHandleResolve(binding.handleOf(id, "output"), c.status);
          c.check("an output");
          c.copy(base + BigInt(outputs[output] ?? 0), c.TF_TensorData(tensor), c.TF_TensorByteSize(tensor));
          c.TF_DeleteTensor(tensor);
        });
      });
      drawn.dispose();
      program.stages?.forEach((_, stage) => {
        onStage?.(stage);
      });
    };
  }

  function release(): void {
    draws.dispose();
    for (const { tensor } of fed) tensor.dispose();
  }
}

/** The memory that an eager CPU tensor's handle shares; it lives as long as the handle. */
function memoryOfHandle(c: CApi, handle: Pointer): DataView {
  const tensor = c.TFE_TensorHandleResolve(handle, c.status);
  c.check("a fed tensor");
  const view = new DataView(c.view(c.TF_TensorData(tensor), c.TF_TensorByteSize(tensor)));
  c.TF_DeleteTensor(tensor);
  return view;
}
