import { some } from "../../ops/kernel-inputs.ts";
import { float, type ReplaceKernel } from "./kernel-registry.ts";

export function registerRelu(replace: ReplaceKernel): void {
  replace(
    "ReluGrad",
    () =>
      ({ dy, y }, _attrs, backend) =>
        backend.executeSingleOutput("ReluGrad", [float], [some(dy), some(y)]),
  );
}
