import t from "tap";
import tf from "#tfjs";
import { libtensorflowVersion, loadBackend, numericsFingerprint, openBackend, settleBackend } from "../src/index.ts";

// Whatever this machine has.
process.env["CUDA_VISIBLE_DEVICES"] = "";

t.test("a GPU that cannot be used is refused with the reason, not replaced", async (t) => {
  const expected = {
    name: "BackendError",
    code: "DEVICE_UNAVAILABLE",
    message: /^device "gpu" cannot be used: .+; .+/,
  };
  await t.rejects(openBackend({ backend: "tensorflow", device: "gpu" }), expected);
  t.not(tf.getBackend(), "tensorflow", "tfjs keeps its backend");
});

t.test("the backend is opened once a thread, by calls at the same time too", async (t) => {
  const [one, other] = await Promise.all([openBackend({ backend: "tensorflow", device: "cpu" }), openBackend()]);
  t.equal(one, other);
  t.equal(await openBackend({ device: "auto" }), one);
  t.equal(tf.getBackend(), "tensorflow");
  await t.rejects(openBackend({ backend: "tensorflow", device: "gpu" }), {
    code: "DEVICE_UNAVAILABLE",
    message: /opened on the CPU/,
  });
});

t.test("the device and the fingerprint say what computes", async (t) => {
  const backend = await openBackend({ backend: "tensorflow", device: "cpu" });
  t.equal(backend.device.kind, "cpu");
  t.not(backend.device.name, "");
  t.equal(backend.version, libtensorflowVersion);
  t.same(await loadBackend(settleBackend({ backend: "tensorflow", device: "cpu" })), numericsFingerprint(backend));
  t.same(numericsFingerprint(backend), {
    backend: "tensorflow-cpu",
    backendVersion: libtensorflowVersion,
    node: process.version,
    cpu: backend.device.name,
  });
});
