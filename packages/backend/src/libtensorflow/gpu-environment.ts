/**
 * What TensorFlow reads from the environment, when it first needs it, and offers no field of its configuration for.
 *
 * `TF_DETERMINISTIC_OPS=1` makes every kernel on a GPU give the same bits each time, and an op without such a kernel an error. Whoever wants speed and not bits
 * sets it to 0 before starting.
 */
export function prepareGpuEnvironment(env: NodeJS.ProcessEnv = process.env): { readonly isDeterministic: boolean } {
  env["TF_DETERMINISTIC_OPS"] ??= "1";
  return { isDeterministic: !["", "0", "false"].includes(env["TF_DETERMINISTIC_OPS"].toLowerCase()) };
}
