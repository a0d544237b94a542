import * as tf from "@tensorflow/tfjs";
import t from "tap";
import { libtensorflowWheel, loadLibtensorflow, numericsFingerprint, openTensorflowBackend } from "../src/index.ts";

// The wheel that Ringmaster installs is built for the CPU alone: on no machine does it see a GPU.
t.test("a GPU that libtensorflow does not see is refused, not replaced", async (t) => {
  const expected = {
    name: "BackendError",
    code: "DEVICE_UNAVAILABLE",
    message: /expected a GPU, .*sees only: .*CPU.*doctor/,
  };
  await t.rejects(openTensorflowBackend("gpu"), expected);
  t.not(tf.getBackend(), "tensorflow", "tfjs keeps its backend");
});

t.test("the backend is opened once a thread, by calls at the same time too", async (t) => {
  const [one, other] = await Promise.all([openTensorflowBackend("cpu"), openTensorflowBackend()]);
  t.equal(one, other);
  t.equal(await openTensorflowBackend("auto"), one);
  t.equal(tf.getBackend(), "tensorflow");
  await t.rejects(openTensorflowBackend("gpu"), { code: "DEVICE_UNAVAILABLE", message: /opened on the CPU/ });
});

t.test("the device and the fingerprint say what computes", async (t) => {
  const backend = await openTensorflowBackend("cpu");
  t.equal(backend.device.kind, "cpu");
  t.not(backend.device.name, "");
  t.equal(backend.version, libtensorflowWheel.version);
  t.equal(loadLibtensorflow().version, libtensorflowWheel.version);
  t.same(numericsFingerprint(backend), {
    backend: "tensorflow-cpu",
    backendVersion: libtensorflowWheel.version,
    node: process.version,
    cpu: backend.device.name,
  });
});
