/** Thirty narrow layers over tiny images, images made up: each op takes a microsecond or two, so starting ops dominates. */
import { adam, defineTraining, syntheticImages, tf } from "ringmaster";

export default defineTraining({
  name: "deep-mlp",
  data: syntheticImages({ imageShape: [8, 8, 1], classes: 10, train: 12_800, test: 500, seed: 1 }),
  batchSize: 128,
  seats: 2,
  epochs: 100,
  validation: { count: 0 },
  optimizer: adam({ learningRate: 1e-3 }),
  model: ({ imageShape, classes }) =>
    tf.sequential({
      layers: [
        tf.layers.flatten({ inputShape: imageShape }),
        ...Array.from({ length: 30 }, () => tf.layers.dense({ units: 32, activation: "relu" })),
        tf.layers.dense({ units: classes }),
      ],
    }),
});
