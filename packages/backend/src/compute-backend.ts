/**
 * Where tensors are computed, as the rest of Ringmaster sees it. Each thread opens one backend (`open-backend.ts`), which becomes the backend of tfjs in
 * that thread. Two implementations: `tensorflow/` (libtensorflow, captured steps) and `portable/` (WebAssembly). `packages/training/test/fixtures/compliance` holds both to one behaviour.
 */
import type tf from "#tfjs";

export interface Device {
  readonly kind: "cpu" | "gpu";
  /** What a person recognises: the CPU's model, or the GPU's name. */
  readonly name: string;
}

/** Of a program's convolutions and products of matrices; what goes in and comes out is float32. */
export type Precision = "float32" | "bfloat16" | "float16";

/**
 * Who makes machine code of a program. `grappler`: TensorFlow's kernels (oneDNN), after Grappler's rewriting. `xla`: XLA compiles each stage as a whole, which takes
 * seconds; docs/decisions/0010 says what for.
 */
export type Compiler = "grappler" | "xla";

/** A tensor that lies in shared memory and is read anew at each call. */
export interface Feed {
  /** In the program's memory, a multiple of 64. */
  readonly byteOffset: number;
  readonly shape: readonly number[];
  readonly dtype: "float32" | "int32";
  /** What the body reads it through; without one the body is handed a tensor. */
  readonly variable?: tf.Variable;
}

/** A function of tensors in shared memory, whose results go to shared memory. */
export interface Program {
  readonly memory: WebAssembly.Memory;
  readonly feeds: readonly Feed[];
  /**
   * Computes the outputs with tfjs. `fed` has a tensor for each feed, in order (its variable, where it has one). It may run once, at `prepare`, or at each call,
   * and leaves every variable as it found it. Random numbers are drawn with `keyedUniform` and `keyedNormal` only.
   */
  readonly body: (fed: readonly tf.Tensor[]) => readonly tf.Tensor[];
  /** Default float32. */
  readonly precision?: Precision;
  /** Default grappler. */
  readonly compiler?: Compiler;
  /** Indices of outputs that are handed over together, in the order of handing over; each output in one stage. Default: all in one. */
  readonly stages?: readonly (readonly number[])[];
}

/** What keyed random numbers follow from, besides the number of the draw within the body. */
export interface RandomKey {
  readonly seed: number;
  readonly step: number;
  /** Slot in the global batch of the first sample. */
  readonly firstSlot: number;
}

export interface ProgramCall {
  /** For each output, the byte offset in the program's memory that it is written to, a multiple of 4. */
  readonly outputs: readonly number[];
  readonly random: RandomKey;
  /** Called in order as soon as a stage's outputs are written. */
  readonly onStage?: (stage: number) => void;
}

export interface PreparedProgram {
  /** Ops that one call executes. */
  readonly ops: number;
  /** Why the program runs op by op on a backend that captures; null where it does what the backend does best. */
  readonly eagerBecause: string | null;
  /** @throws BackendError OP_FAILED, also once the program was disposed. */
  run(call: ProgramCall): void;
  /** Frees what the program holds; calling it again does nothing. */
  dispose(): void;
}

export interface ComputeBackend {
  readonly name: "tensorflow" | "portable";
  readonly device: Device;
  /** Of the library behind it, e.g. "2.21.0". */
  readonly version: string;
  /**
   * @throws BackendError PRECISION_UNSUPPORTED where the device would compute in another precision and say nothing; COMPILER_UNSUPPORTED where the program's compiler
   * is not there, or cannot compile it.
   */
  prepare(program: Program): PreparedProgram;
  /** Live tensors (native handles, or tensors in WebAssembly's memory), for tests of leaks. */
  tensorCount(): number;
}
