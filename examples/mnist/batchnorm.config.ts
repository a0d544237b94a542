import { adam, defineTraining, mnist, tf } from "ringmaster";

export default defineTraining({
  name: "mnist-batchnorm",
  data: mnist(),
  batchSize: 128,
  epochs: 3,
  validation: { count: 5000 },
  optimizer: adam({ learningRate: 1e-3 }),
  model: ({ imageShape, classes }) =>
    tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: imageShape, filters: 32, kernelSize: 3, padding: "same" }),
        tf.layers.batchNormalization(),
        tf.layers.activation({ activation: "relu" }),
        tf.layers.maxPooling2d({ poolSize: 2 }),
        tf.layers.conv2d({ filters: 64, kernelSize: 3, padding: "same" }),
        tf.layers.batchNormalization(),
        tf.layers.activation({ activation: "relu" }),
        tf.layers.maxPooling2d({ poolSize: 2 }),
        tf.layers.flatten(),
        tf.layers.dropout({ rate: 0.25 }),
        tf.layers.dense({ units: 512, activation: "relu" }),
        tf.layers.dense({ units: classes }),
      ],
    }),
});
