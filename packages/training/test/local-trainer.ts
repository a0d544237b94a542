/** S seats in one thread, without any network: what the tests of this package train with. */
import { openTensorflowBackend } from "@ringmaster/backend";
import { type ImageDataset, type Normalisation, pixelTable } from "@ringmaster/data";
import type * as tf from "@tensorflow/tfjs";
import {
  buildModel,
  createLayout,
  createMemory,
  createMemoryMap,
  createSeatComputer,
  hashTensors,
  loadOptimizerKernels,
  type ModelInput,
  type OptimizerSpec,
  prepareData,
  readTail,
  slotNames,
  stateTensors,
  tailFields,
  updateRange,
  updateStatistics,
  writeInitialState,
} from "../src/index.ts";

export interface LocalTrainerOptions {
  readonly dataset: ImageDataset;
  readonly model: (input: ModelInput) => tf.LayersModel;
  readonly optimizer: OptimizerSpec;
  readonly seats: number;
  readonly batchSize: number;
  readonly seed?: number;
  readonly validation?: number;
  readonly normalisation?: Normalisation;
}

export async function createLocalTrainer(options: LocalTrainerOptions) {
  const { dataset, optimizer, seats, batchSize, seed = 7, validation = 0 } = options;
  const backend = await openTensorflowBackend("cpu");
  const input: ModelInput = { imageShape: [...dataset.imageShape], classes: dataset.classNames.length };
  const model = buildModel(options.model, input, seed);
  const layout = createLayout({ ...model, seats, bucketBytes: 65_536 });
  const prepared = prepareData(dataset, { seed, batchSize, seats, validation: { count: validation, blockSize: 16 } });
  const data = options.normalisation ? { ...prepared, table: pixelTable(options.normalisation) } : prepared;
  const imageFloats = dataset.imageShape.reduce((a, b) => a * b, 1);
  const needs = {
    layout,
    slots: slotNames(optimizer).length,
    localSeats: seats,
    threads: 1,
    batch: batchSize + 16,
    imageFloats,
  };
  const map = createMemoryMap(needs);
  const memory = createMemory(map);
  const kernels = loadOptimizerKernels(memory);
  const tensors = stateTensors(memory, map, layout, optimizer);
  writeInitialState(tensors, model);
  const thread = map.threads[0];
  if (!thread) throw new Error("a map without a thread");
  const computer = createSeatComputer({ backend, model, layout, memory, map, thread }, data, seed);
  const flat = (offset: number) => new Float32Array(memory.buffer, offset, layout.seatFloats);
  const reduced = flat(map.reduced[0]);

  const gradients = (step: number) => {
    reduced.fill(0);
    map.seats.forEach((buffer, seat) => {
      computer.train(step, seat, buffer, false);
      flat(buffer).forEach((value, i) => {
        reduced[i] = (reduced[i] ?? 0) + value;
      });
    });
    return readTail(reduced.subarray(layout.tailStart, layout.tailStart + tailFields));
  };

  return {
    backend,
    layout,
    tensors,
    computer,
    map,
    data,
    flat,
    reduced,
    gradients,
    hash: () => hashTensors([...tensors.model, ...tensors.optimizer]),
    /** One whole step; the tail's sums. */
    step(step: number) {
      const tail = gradients(step);
      const buffers = { parameters: map.parameters, gradients: map.reduced[0], slots: map.slots };
      const range = { start: 0, end: layout.parameterFloats, step: step + 1, samples: tail.samples };
      updateRange(kernels, optimizer, { ...buffers, ...range });
      updateStatistics(memory, map, layout, computer.rewrites, map.reduced[0], tail.samples);
      return tail;
    },
  };
}
