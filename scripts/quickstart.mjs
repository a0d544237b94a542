/**
 * `npm run quickstart`: from a fresh clone to a model being trained on two ranks. Further arguments go to `ringmaster train`:
 * `npm run quickstart -- --max-steps 20`.
 */
import {
  buildPackages,
  explain,
  installLibtensorflow,
  installPackages,
  requireNode,
  ringmaster,
} from "./setup-steps.mjs";

const example = "examples/mnist/train.config.ts";
const steps = 4;
const at = (step) => (line) => console.log(`[${step}/${steps}] ${line}`);

try {
  requireNode();
  await installPackages(at(1));
  await buildPackages(at(2));
  at(3)("libtensorflow: ringmaster setup");
  await installLibtensorflow();
  const args = ["train", example, "--ranks", "2", ...process.argv.slice(2)];
  at(4)(`training: ringmaster ${args.join(" ")}`);
  process.exitCode = await ringmaster(args);
} catch (error) {
  process.exitCode = explain(error, "quickstart");
}
