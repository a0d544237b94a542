import { type DevicePreference, parseDevice } from "@ringmaster/backend";
import type { DataSource } from "@ringmaster/data";
import { describeIssues, expecting, quote } from "@ringmaster/protocol";
import { z } from "zod";
import type { MadeModel } from "./build-model.ts";
import type { ModelInput } from "./model.ts";
import type { OptimizerSpec } from "./optimizer.ts";
import { TrainingError } from "./training-error.ts";

/** What a user writes: `export default defineTraining({...})`. */
export interface TrainingOptions {
  /** Names the run's folder. Default: the config file's name. */
  readonly name?: string;
  /** Of everything random. Default 42. */
  readonly seed?: number;
  readonly data: DataSource;
  /** Makes the model, a tf.layers one or a `functionModel`; called once in each compute thread. It must end in logits: the loss applies softmax itself. */
  readonly model: (input: ModelInput) => MadeModel;
  /** `adam(...)` or `sgd(...)`. */
  readonly optimizer: OptimizerSpec;
  /** Samples of a global batch, over all seats, at most 65,536. */
  readonly batchSize: number;
  readonly epochs: number;
  /** Ends the run after so many steps. Default: none. */
  readonly maxSteps?: number | null;
  /** Fixed shares of every batch, 1 to 1024. Default: the compute threads (CPU) or GPUs that the run starts with, never fewer than 8 samples each. */
  readonly seats?: number | "auto";
  /** Samples held back from the training set, at every epoch's end evaluated in blocks of `blockSize`. Default 1/12 of the training set, 250. */
  readonly validation?: { readonly count?: number; readonly blockSize?: number };
  /** A checkpoint every `everySteps`, or so many minutes after the last (default: at epochs' ends only); the last `keep` stay, and the best. Default 3. */
  readonly checkpoint?: {
    readonly everySteps?: number | null;
    readonly everyMinutes?: number | null;
    readonly keep?: number;
  };
  /** Ranks compare their state's hash every so many steps. Default 100. */
  readonly hashEverySteps?: number;
  /** Parameters reduced together, in bytes. A step is cut where they end, so that one is reduced while the next is computed. Part of what the bits depend on. Default 25 MiB. */
  readonly bucketBytes?: number;
  /** The unit sent over a link, in bytes. Default 256 KiB. */
  readonly segmentBytes?: number;
  /**
   * What a loss or a gradient that is not finite does: end the run ("stop"); leave out that step's update ("skip", ten in a row end the run); or go back to the newest
   * checkpoint and leave the update out when the step comes again ("restore", beyond sixteen such steps the run ends). Default "stop".
   */
  readonly onNotFinite?: "stop" | "skip" | "restore";
  /** `strict` refuses ranks whose numerics fingerprints differ. Default "any". */
  readonly numerics?: "any" | "strict";
  /**
   * Of the convolutions and products of matrices of a training step; all else stays float32. "bfloat16" is refused where the device does not have it; "float16" is
   * emulated on such CPUs, without gain. With "float16" the loss is scaled, and a step whose gradients overflow is left out. Default "float32".
   */
  readonly precision?: "float32" | "bfloat16" | "float16";
  /**
   * "xla": XLA compiles training step and evaluation when the run starts, which takes seconds. It helps steps of many small ops (tens of narrow layers, one compute thread a
   * rank), a little, by doing away with the start of each; convolutions take more than twice as long. float32 on the CPU through libtensorflow only; other bits than
   * "grappler"'s. Default "grappler": TensorFlow's kernels.
   */
  readonly compiler?: "grappler" | "xla";
  /** Default "auto": libtensorflow where it is installed, else "portable" (WebAssembly: several times slower, the same bits on every CPU). */
  readonly backend?: "auto" | "tensorflow" | "portable";
  /** Default "auto": a GPU where libtensorflow sees one, else the CPU. */
  readonly device?: DevicePreference;
}

/** A checked config, defaults filled in but for those that depend on the dataset or the world (null, "auto"). */
export type TrainingDefinition = z.infer<typeof definitionSchema>;

/** Types carry the user through a config; the values are checked when the config is loaded. */
export const defineTraining = (options: TrainingOptions): TrainingOptions => options;

const int = (minimum: number, maximum: number) => z.int().min(minimum).max(maximum);
const aFunction = <Value>(what: string) => z.custom<Value>((value) => typeof value === "function", expecting(what));

const adamSchema = z.strictObject({
  kind: z.literal("adam"),
  learningRate: z.number().positive(),
  beta1: z.number().min(0).lt(1),
  beta2: z.number().min(0).lt(1),
  // As adam() checks it: 0 in float32 would make NaN of a parameter that never had a gradient.
  epsilon: z.number().refine((value) => Math.fround(value) > 0, expecting("a number above 0 in float32")),
  weightDecay: z.number().min(0),
});
const sgdSchema = z
  .strictObject({
    kind: z.literal("sgd"),
    learningRate: z.number().positive(),
    momentum: z.number().min(0).lt(1),
    nesterov: z.boolean(),
    weightDecay: z.number().min(0),
  })
  .refine(({ nesterov, momentum }) => !nesterov || momentum > 0, {
    path: ["nesterov"],
    error: "expected false, or a momentum above 0 beside it, found true beside momentum 0",
  });

function notAnOptimizer({ input }: { readonly input?: unknown }): string {
  const kind: unknown = typeof input === "object" && input !== null ? Reflect.get(input, "kind") : undefined;
  return `expected adam(...) or sgd(...), found ${quote(kind ?? input)}`;
}

const definitionSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/)
    .nullable()
    .default(null),
  seed: int(0, 2 ** 32 - 1).default(42),
  data: z.custom<DataSource>(
    (value) => typeof value === "object" && value !== null && typeof Reflect.get(value, "load") === "function",
    expecting("a data source, such as mnist()"),
  ),
  model: aFunction<TrainingOptions["model"]>("a function that returns a tf.LayersModel"),
  optimizer: z.discriminatedUnion("kind", [adamSchema, sgdSchema], { error: notAnOptimizer }),
  batchSize: int(1, 65_536),
  epochs: int(1, 1_000_000),
  maxSteps: int(1, 2 ** 32 - 1)
    .nullable()
    .default(null),
  seats: z
    .union([z.literal("auto"), int(1, 1024)], expecting('"auto" or a whole number from 1 to 1024'))
    .default("auto"),
  validation: z
    .strictObject({
      count: int(0, 2 ** 31)
        .nullable()
        .default(null),
      blockSize: int(1, 4096).default(250),
    })
    .prefault({}),
  checkpoint: z
    .strictObject({
      everySteps: int(1, 2 ** 32 - 1)
        .nullable()
        .default(null),
      everyMinutes: z.number().positive().nullable().default(null),
      keep: int(1, 10_000).default(3),
    })
    .prefault({}),
  hashEverySteps: int(1, 2 ** 32 - 1).default(100),
  bucketBytes: int(4096, 2 ** 30).default(25 * 2 ** 20),
  segmentBytes: int(64, 262_144).multipleOf(64).default(262_144),
  onNotFinite: z.enum(["stop", "skip", "restore"]).default("stop"),
  numerics: z.enum(["any", "strict"]).default("any"),
  precision: z.enum(["float32", "bfloat16", "float16"]).default("float32"),
  compiler: z.enum(["grappler", "xla"]).default("grappler"),
  backend: z.enum(["auto", "tensorflow", "portable"]).default("auto"),
  device: z
    .custom<DevicePreference>((value) => typeof value === "string" && parseDevice(value) !== undefined, {
      error: ({ input }) => `expected "auto" or "cpu" or "gpu" or "gpu:1", found ${quote(input)}`,
    })
    .default("auto"),
});

/**
 * Checks what a config module exports.
 * @throws TrainingError CONFIG_INVALID: for each field its path, what was expected and what was found.
 */
export function parseDefinition(exported: unknown, where: string): TrainingDefinition {
  const parsed = definitionSchema.safeParse(exported, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw new TrainingError("CONFIG_INVALID", `${where}: ${describeIssues(parsed.error, exported).join("; ")}`);
}
