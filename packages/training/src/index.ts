export { type AdamSpec, adam } from "./adam.ts";
export { buildModel, type MadeModel } from "./build-model.ts";
export { defineTraining, parseDefinition, type TrainingDefinition, type TrainingOptions } from "./definition.ts";
export { dropout, type FunctionModel, functionModel } from "./function-model.ts";
export { type Bucket, createLayout, type RunLayout } from "./layout.ts";
export { type LoadedDefinition, loadDefinition, type Override } from "./load-definition.ts";
export { createMemory, createMemoryMap, type MemoryMap, type MemoryNeeds } from "./memory-map.ts";
export type { Model, ModelInput } from "./model.ts";
export { describeNotFinite } from "./not-finite.ts";
export { type OptimizerSpec, slotNames, updateRange } from "./optimizer.ts";
export { loadOptimizerKernels, type OptimizerKernels } from "./optimizer-kernels.ts";
export { createPredictor, type Predictor, type PredictorOptions } from "./predictor.ts";
export { blockShapes, type EvaluationSplit, type PreparedData, prepareData } from "./prepared-data.ts";
export { createSeatComputer, type SeatComputer, type SeatTiming } from "./seat-computer.ts";
export { type SgdSpec, sgd } from "./sgd.ts";
export {
  hashTensors,
  type StateTensor,
  type StateTensors,
  stateTensors,
  updateStatistics,
  writeInitialState,
} from "./state.ts";
export { readTail, type Tail, tailFields, writePlan } from "./tail.ts";
export { TrainingError } from "./training-error.ts";
