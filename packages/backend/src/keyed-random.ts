/**
 * Random numbers inside a captured step, keyed by (seed, step, slot in the global batch).
 *
 * StatelessRandomUniformV2 and StatelessRandomNormalV2 with Philox (alg = 1) are counter based: element i of a draw is made from counter + floor(i / 4), lane
 * i mod 4 (Salmon et al., SC 2011). A seat that works the samples [first, end) of a global batch therefore gets exactly its slice of the whole
 * batch's numbers by starting at counter floor(first * e / 4), e elements a sample, and dropping the first (first * e) mod 4 elements. The key is
 * (seed, step); the counter's high word is the number of the draw within the model, so that two layers never share numbers.
 */
import { attributeKinds } from "./libtensorflow/attributes.ts";
import { dataTypes } from "./libtensorflow/dtypes.ts";

const philox = 1;
const lanes = 4;

/** Where draws get their tensors from; the backend implements it during a capture. */
export interface RandomHost {
  /** A tensor that is fed anew at each call of the captured function. */
  input(shape: readonly number[], dtype: number): number;
  constant(values: Int32Array, shape: readonly number[]): number;
  execute(name: string, attributes: { name: string; type: number; value: number }[], inputs: number[]): number;
}

interface Draw {
  readonly elementsPerSample: number;
  readonly counter: number;
  /** Input that holds the elements to drop; undefined where no seat ever has to drop any. */
  readonly dropped: number | undefined;
}

/** The draws of one captured function, in the order in which the model makes them. */
export class KeyedDraws {
  readonly key: number;
  readonly draws: Draw[] = [];
  readonly #host: RandomHost;

  constructor(host: RandomHost) {
    this.#host = host;
    this.key = host.input([1], dataTypes.uint64);
  }

  /** The id of a float32 tensor of numbers for `shape`, whose first dimension is the seat's samples. */
  draw(op: "StatelessRandomUniformV2" | "StatelessRandomNormalV2", shape: readonly number[]): number {
    const host = this.#host;
    const [samples = 1, ...rest] = shape;
    const elementsPerSample = rest.reduce((product, size) => product * size, 1);
    const aligned = elementsPerSample % lanes === 0;
    const counter = host.input([2], dataTypes.uint64);
    const dropped = aligned ? undefined : host.input([1], dataTypes.int32);
    this.draws.push({ elementsPerSample, counter, dropped });

    const elements = samples * elementsPerSample;
    const drawn = aligned ? shape : [elements + lanes - 1];
    const shapeId = host.constant(Int32Array.from(drawn), [drawn.length]);
    const attributes = [
      { name: "dtype", type: attributeKinds.type, value: dataTypes.float },
      { name: "Tshape", type: attributeKinds.type, value: dataTypes.int32 },
    ];
    const numbers = host.execute(op, attributes, [
      shapeId,
      this.key,
      counter,
      host.constant(Int32Array.of(philox), []),
    ]);
    if (dropped === undefined) return numbers;
    const sliced = host.execute(
      "Slice",
      [
        { name: "T", type: attributeKinds.type, value: dataTypes.float },
        { name: "Index", type: attributeKinds.type, value: dataTypes.int32 },
      ],
      [numbers, dropped, host.constant(Int32Array.of(elements), [1])],
    );
    return host.execute(
      "Reshape",
      [
        { name: "T", type: attributeKinds.type, value: dataTypes.float },
        { name: "Tshape", type: attributeKinds.type, value: dataTypes.int32 },
      ],
      [sliced, host.constant(Int32Array.from(shape), [shape.length])],
    );
  }

  /** Writes the fed values for one call into the inputs' memory. */
  feed(bytesOf: (input: number) => DataView, seed: number, step: number, firstSlot: number): void {
    bytesOf(this.key).setBigUint64(0, (BigInt(seed) << 32n) | BigInt(step >>> 0), true);
    this.draws.forEach(({ elementsPerSample, counter, dropped }, index) => {
      const first = firstSlot * elementsPerSample;
      const view = bytesOf(counter);
      view.setBigUint64(0, BigInt(Math.floor(first / lanes)), true);
      view.setBigUint64(8, BigInt(index), true);
      if (dropped !== undefined) bytesOf(dropped).setInt32(0, first % lanes, true);
    });
  }
}
