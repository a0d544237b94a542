// In the place of tfjs-node's TensorBoard messages, and so of google-protobuf: Ringmaster writes no summaries through tfjs.
export {};
