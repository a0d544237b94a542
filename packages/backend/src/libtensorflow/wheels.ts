/**
 * The builds of libtensorflow that Ringmaster runs on, as wheels with their SHA-256.
 *
 * The CUDA build is TensorFlow's own wheel, made with CUDA 12.5.1 and cuDNN 9 for GPUs of compute capability 6.0 and later, beside NVIDIA's libraries.
 * Of those its metadata (`tensorflow[and-cuda]`) gives ranges only; these are the ones of one CUDA release, 12.8, with the cuDNN that NVIDIA documents for
 * every GPU from Maxwell to Blackwell. The layout is site-packages', where libtensorflow's run path (`$ORIGIN/../nvidia/cudnn/lib` and so on) finds them.
 */
export type LibtensorflowBuild = "cpu" | "cuda";

export const libtensorflowVersion = "2.21.0";

export interface Wheel {
  readonly package: string;
  readonly version: string;
  readonly sha256: string;
  readonly bytes: number;
  /** Of the files that are taken from it. */
  readonly unpackedBytes: number;
}

export interface Build {
  readonly title: string;
  /** Its folder in the cache. */
  readonly folder: string;
  /** What is left out of the names of a wheel's files. */
  readonly strip: string;
  /** Where libtensorflow's own libraries lie in the folder. */
  readonly libraries: string;
  readonly wheels: readonly Wheel[];
  /** Further names of its folders: the link and what it points to. */
  readonly links: Readonly<Record<string, string>>;
  /** What `ringmaster setup` is told to install it. */
  readonly command: string;
}

const tensorflow = { version: libtensorflowVersion } as const;

const nvidia = (name: string, version: string, bytes: number, unpackedBytes: number, sha256: string): Wheel => ({
  package: `nvidia-${name}-cu12`,
  version,
  bytes,
  unpackedBytes,
  sha256,
});

export const builds: Readonly<Record<LibtensorflowBuild, Build>> = {
  cpu: {
    title: `libtensorflow ${libtensorflowVersion}`,
    folder: `tensorflow-cpu-${libtensorflowVersion}-linux-x64`,
    strip: "tensorflow/",
    libraries: ".",
    links: {},
    command: "npx ringmaster setup",
    wheels: [
      {
        ...tensorflow,
        package: "tensorflow-cpu",
        sha256: "dcc8afd32930e42d5296b6ee19078b773706830af4ea97fbe503b9f5e0f820cb",
        bytes: 274_000_871,
        unpackedBytes: 850_000_000,
      },
    ],
  },
  cuda: {
    title: `libtensorflow ${libtensorflowVersion} for CUDA`,
    folder: `tensorflow-cuda-${libtensorflowVersion}-linux-x64`,
    strip: "",
    libraries: "tensorflow",
    // cuDNN looks for the run-time compiler in ../../nvrtc/lib, which is not where NVIDIA's wheel puts it.
    links: { "nvidia/nvrtc": "cuda_nvrtc" },
    command: "npx ringmaster setup --gpu",
    wheels: [
      {
        ...tensorflow,
        package: "tensorflow",
        sha256: "b3b95643c4e70eb925839938fb35cbe142f317ec84af6844ee61513713bb13c0",
        bytes: 572_611_111,
        unpackedBytes: 1_259_021_080,
      },
      nvidia(
        "cublas",
        "12.8.4.1",
        594_346_921,
        868_914_192,
        "8ac4e771d5a348c551b2a426eda6193c19aa630236b418086020df5ba9667142",
      ),
      nvidia(
        "cuda-cupti",
        "12.8.90",
        10_248_621,
        41_311_976,
        "ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182",
      ),
      nvidia(
        "cuda-nvcc",
        "12.8.93",
        40_128_098,
        96_679_293,
        "2d6dc36fb7cb5ac9c0b8825bc13d193c35487a315664007287d0126531238011",
      ),
      nvidia(
        "cuda-nvrtc",
        "12.8.93",
        88_040_029,
        222_102_104,
        "a7756528852ef889772a84c6cd89d41dfa74667e24cca16bb31f8f061e3e9994",
      ),
      nvidia(
        "cuda-runtime",
        "12.8.90",
        954_765,
        728_800,
        "adade8dcbd0edf427b7204d480d6066d33902cab2a4707dcfc48a2d0fd44ab90",
      ),
      nvidia(
        "cudnn",
        "9.10.2.21",
        706_758_467,
        1_053_232_960,
        "949452be657fa16687d0930933f032835951ef0892b37d2d53824d1a84dc97a8",
      ),
      nvidia(
        "cufft",
        "11.3.3.83",
        193_118_695,
        281_026_488,
        "4d2dd21ec0b88cf61b62e6b43564355e5222e4a3fb394cac0db101f2dd0d4f74",
      ),
      nvidia(
        "curand",
        "10.3.9.90",
        63_619_976,
        136_749_240,
        "b32331d4f4df5d6eefa0554c565b626c7216f87a06a4f56fab27c3b68a830ec9",
      ),
      nvidia(
        "cusolver",
        "11.7.3.90",
        267_506_905,
        404_797_448,
        "4376c11ad263152bd50ea295c05370360776f8c3427b30991df774f9fb26c450",
      ),
      nvidia(
        "cusparse",
        "12.5.8.93",
        288_216_466,
        387_990_224,
        "1ec05d76bbbd8b61b06a80e1eaf8cf4959c3d4ce8e711b65ebd0443bb0ebb13b",
      ),
      nvidia(
        "nccl",
        "2.27.7",
        322_546_339,
        430_126_192,
        "de5ba5562f08029a19cb1cd659404b18411ed0d6c90ac5f52f30bf99ad5809aa",
      ),
      nvidia(
        "nvjitlink",
        "12.8.93",
        39_254_836,
        94_101_392,
        "81ff63371a7ebd6e6451970684f916be2eab07321b73c9d244dc2b4da7f73b88",
      ),
    ],
  },
};

export const downloadBytes = ({ wheels }: Build): number => wheels.reduce((sum, { bytes }) => sum + bytes, 0);

/** "274 MB", "5.3 GB". */
export const sizeText = (bytes: number): string =>
  bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
