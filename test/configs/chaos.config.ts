import { defineTraining, syntheticImages } from "ringmaster";
import small from "./small.config.ts";

/** The small config with longer epochs, so that a run that is harmed again and again does more than write checkpoints: 41 steps of 48 and one of 3. */
export default defineTraining({
  ...small,
  name: "chaos",
  data: syntheticImages({ imageShape: [12, 12, 1], classes: 4, train: 2011, test: 60, seed: 1 }),
  epochs: 1_000_000,
  checkpoint: { everySteps: 100 },
  hashEverySteps: 10,
});
