/** SimpleCNN as in simple-cnn.config.ts, but an epoch is one step: the end of an epoch is said at once, so that every step can be timed from outside. */
import { defineTraining, syntheticImages } from "ringmaster";
import simpleCnn from "./simple-cnn.config.ts";

export default defineTraining({
  ...simpleCnn,
  name: "faults",
  data: syntheticImages({ imageShape: [32, 32, 3], classes: 10, train: 128, test: 16, seed: 1 }),
  epochs: 1_000_000,
  checkpoint: { everySteps: 500 },
});
