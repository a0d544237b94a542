/** The model that the benchmarks train: SimpleCNN on 32 x 32 x 3, 64 samples a seat on two seats, images made up. */
import { adam, defineTraining, syntheticImages, tf } from "ringmaster";

export default defineTraining({
  name: "simple-cnn",
  data: syntheticImages({ imageShape: [32, 32, 3], classes: 10, train: 12_800, test: 500, seed: 1 }),
  batchSize: 128,
  seats: 2,
  epochs: 100,
  validation: { count: 0 },
  optimizer: adam({ learningRate: 1e-3 }),
  model: ({ imageShape, classes }) =>
    tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: imageShape, filters: 32, kernelSize: 3, padding: "same", activation: "relu" }),
        tf.layers.maxPooling2d({ poolSize: 2 }),
        tf.layers.conv2d({ filters: 64, kernelSize: 3, padding: "same", activation: "relu" }),
        tf.layers.maxPooling2d({ poolSize: 2 }),
        tf.layers.flatten(),
        tf.layers.dropout({ rate: 0.25 }),
        tf.layers.dense({ units: 512, activation: "relu" }),
        tf.layers.dense({ units: classes }),
      ],
    }),
});
