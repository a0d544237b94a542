// The portable backend's kernels over the memory of tfjs's wasm backend, in AssemblyScript (built by `nx kernels`, never by tsc). No static data and no
// allocation: the memory is another module's. Addresses are bytes.
export { columnSums, batchNorm, batchNormGradient } from "./columns";
export { addPatches, patches, turnFilter } from "./convolution";
export { softmaxCrossEntropy } from "./cross-entropy";
export { depthwiseFilterGradient, depthwiseInputGradient } from "./depthwise";
export { addBias, compare, reluGradient } from "./elementwise";
export { gemm, gemmScratch } from "./gemm";
export { normals, uniforms } from "./philox";
export { avgPoolGradient, maxPoolGradient } from "./pooling";
export { winogradFilter, winogradFilterGradient, winogradGradient, winogradInput, winogradOutput } from "./winograd";
