import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import tf from "#tfjs";
import { openBackend } from "../src/index.ts";

/** From now on the peak is counted anew (proc(5), clear_refs). */
const forgetPeak = () => writeFileSync("/proc/self/clear_refs", "5");
const peakBytes = () => 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);

t.test("preparing a program computes none of its values", async (t) => {
  const backend = await openBackend({ backend: "tensorflow", device: "cpu" });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const side = 4096;
  forgetPeak();
  const before = peakBytes();
  const program = backend.prepare({
    memory,
    feeds: [{ byteOffset: 64, shape: [1, side], dtype: "float32" }],
    body([row]) {
      let square = tf.mul(row as tf.Tensor, tf.ones([side, 1]));
      for (let times = 0; times < 4; times++) square = tf.relu(square);
      return [tf.sum(square)];
    },
  });
  const grown = peakBytes() - before;
  t.ok(grown < side * side * 4, `${grown} bytes; one value of the program has ${side * side * 4}`);
  t.equal(program.eagerBecause, null);
  program.dispose();
});
