/** The stream of `../keyed-random.ts` from TensorFlow's own stateless ops, fed with where each draw starts. */
import type tf from "#tfjs";
import type { Compiler, RandomKey } from "../compute-backend.ts";
import { type Distribution, drawStart, philoxLanes, type StepDraws } from "../keyed-random.ts";
import { attributeKinds, type OpAttribute } from "../libtensorflow/attributes.ts";
import type { Binding } from "../libtensorflow/binding.ts";
import { dataTypes } from "../libtensorflow/dtypes.ts";
import { drawUnderXla } from "./xla-draws.ts";

const philox = 1;
const ops = { uniform: "StatelessRandomUniformV2", normal: "StatelessRandomNormalV2" } as const;
const type = (name: string, value: number): OpAttribute => ({ name, type: attributeKinds.type, value });

interface Draw {
  readonly elementsPerSample: number;
  readonly counter: number;
  /** Holds the elements to drop; undefined where no seat ever has to drop any. */
  readonly dropped: number | undefined;
}

/** The draws of one execution of a body, in its order. What they start from can be fed anew, for an execution that was captured. */
export class KeyedDraws implements StepDraws {
  readonly #binding: Binding;
  readonly #makeTensor: (id: number, shape: readonly number[]) => tf.Tensor;
  readonly #key: number;
  readonly #random: RandomKey;
  readonly #compiler: Compiler;
  readonly #draws: Draw[] = [];
  /** What no tensor of tfjs owns: fed ids, and those that a draw makes on its way. */
  readonly #feeds: number[] = [];
  readonly #passing: number[] = [];

  constructor(
    binding: Binding,
    makeTensor: (id: number, shape: readonly number[]) => tf.Tensor,
    random: RandomKey,
    compiler: Compiler,
  ) {
    this.#binding = binding;
    this.#makeTensor = makeTensor;
    this.#random = random;
    this.#compiler = compiler;
    this.#key = this.#feed([1], dataTypes.uint64, bytesOf([drawStart(random, 0, 1).key]));
  }

  /** Ids to be fed at each call of a captured function. */
  get feeds(): readonly number[] {
    return this.#feeds;
  }

  draw(distribution: Distribution, shape: readonly number[]): tf.Tensor {
    const [samples = 1, ...rest] = shape;
    const elementsPerSample = rest.reduce((product, size) => product * size, 1);
    const start = drawStart(this.#random, this.#draws.length, elementsPerSample);
    const aligned = elementsPerSample % philoxLanes === 0;
    const counter = this.#feed([2], dataTypes.uint64, bytesOf(start.counter));
    const dropped = aligned ? undefined : this.#feed([1], dataTypes.int32, bytesOf32(start.dropped));
    this.#draws.push({ elementsPerSample, counter, dropped });

    const elements = samples * elementsPerSample;
    const float = type("T", dataTypes.float);
    // Whole groups of lanes, of which normal numbers are made in pairs.
    const drawn = aligned ? shape : [philoxLanes * Math.ceil((elements + philoxLanes - 1) / philoxLanes)];
    const numbers =
      this.#compiler === "xla"
        ? this.#drawUnderXla(distribution, drawn, counter)
        : this.#execute(
            ops[distribution],
            [type("dtype", dataTypes.float), type("Tshape", dataTypes.int32)],
            [this.#constant(drawn), this.#key, counter, this.#constant(philox)],
          );
    if (dropped === undefined) return this.#makeTensor(numbers, shape);
    const sliced = this.#pass(
      this.#execute("Slice", [float, type("Index", dataTypes.int32)], [numbers, dropped, this.#constant([elements])]),
    );
    this.#pass(numbers);
    const reshaped = this.#execute(
      "Reshape",
      [float, type("Tshape", dataTypes.int32)],
      [sliced, this.#constant(shape)],
    );
    return this.#makeTensor(reshaped, shape);
  }

  /** Writes where the draws of another call start. `view`: the memory of a feed. */
  refeed(random: RandomKey, view: (feed: number) => DataView): void {
    view(this.#key).setBigUint64(0, drawStart(random, 0, 1).key, true);
    this.#draws.forEach(({ elementsPerSample, counter, dropped }, index) => {
      const start = drawStart(random, index, elementsPerSample);
      start.counter.forEach((word, at) => {
        view(counter).setBigUint64(8 * at, word, true);
      });
      if (dropped !== undefined) view(dropped).setInt32(0, start.dropped, true);
    });
  }

  /** Frees what the draws made on their way, once the execution is over. */
  release(): void {
    for (const id of this.#passing.splice(0)) this.#binding.deleteTensor(id);
  }

  /** Frees the feeds too: the draws are not used again. */
  dispose(): void {
    this.release();
    for (const id of this.#feeds.splice(0)) this.#binding.deleteTensor(id);
  }

  #drawUnderXla(distribution: Distribution, shape: readonly number[], counter: number): number {
    const drawn = drawUnderXla(
      {
        run: (name, attributes, inputs) => this.#pass(this.#execute(name, [...attributes], [...inputs])),
        integers: (value) => this.#constant(value),
        float: (value) => this.#pass(this.#binding.createRaw([], dataTypes.float, bytesOfFloat(value))),
      },
      distribution,
      shape.reduce((product, size) => product * size, 1),
      { key: this.#key, counter, algorithm: philox },
    );
    return this.#execute(
      "Reshape",
      [type("T", dataTypes.float), type("Tshape", dataTypes.int32)],
      [drawn, this.#constant(shape)],
    );
  }

  #feed(shape: readonly number[], dtype: number, bytes: Uint8Array): number {
    const id = this.#binding.createRaw(shape, dtype, bytes);
    this.#feeds.push(id);
    return id;
  }

  #constant(value: number | readonly number[]): number {
    const values = Int32Array.from(typeof value === "number" ? [value] : value);
    const shape = typeof value === "number" ? [] : [values.length];
    return this.#pass(this.#binding.createRaw(shape, dataTypes.int32, new Uint8Array(values.buffer)));
  }

  #pass(id: number): number {
    this.#passing.push(id);
    return id;
  }

  #execute(name: string, attributes: OpAttribute[], inputs: number[]): number {
    return this.#binding.executeOp(name, attributes, inputs, 1)[0]?.id ?? -1;
  }
}

const bytesOf = (words: readonly bigint[]): Uint8Array => new Uint8Array(BigUint64Array.from(words).buffer);
const bytesOfFloat = (value: number): Uint8Array => new Uint8Array(Float32Array.of(value).buffer);
const bytesOf32 = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer);
