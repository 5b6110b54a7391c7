// Fuzz test of all code that reads input: arguments, MindIR, .npy and .bin files. A fake network replaces MindSpore
// Lite. Every invalid input must be rejected with a message. Build with the sanitizers (-DDGN_SANITIZE=ON).
//
//   dgn_fuzz COUNT SEED SCRATCH_FOLDER MINDIR ...
//
// The MINDIR files must be valid. Prints the number of rejected inputs by kind. Exit code 1 at the first input that was
// wrongly accepted or rejected, or rejected without a proper message.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>

#include "arguments.h"
#include "error.h"
#include "files.h"
#include "jobs.h"
#include "mindir.h"
#include "mutator.h"
#include "npy.h"
#include "samples.h"

namespace {

using dgn::Array;
using dgn::Mutator;

enum class Expected { kRejected, kAccepted, kEither };

struct Input {
  std::string kind;
  Expected expected;
  std::function<void()> read;
};

// A decoder of latents of 4 and 3 dimensions with a batch of 2, or an inference network of two steps per call.
class FakeNetwork : public dgn::Network {
 public:
  explicit FakeNetwork(bool infers) : infers_(infers) {
    if (infers) {
      inputs_ = {
          {"image", {2, 3, 4, 4}}, {"z_app", {2, 4}}, {"z_geo", {2, 3}}, {"noise", {2, 2, 4}}, {"noise", {2, 2, 3}}};
    } else {
      inputs_ = {{"z_app", {2, 4}}, {"z_geo", {2, 3}}};
    }
  }
  const std::vector<dgn::InputInfo> &inputs() const override { return inputs_; }
  std::vector<Array> Run(const std::vector<Array> &inputs, double *milliseconds) override {
    *milliseconds = 1;
    if (infers_) return {inputs[1], inputs[2]};
    Array image = dgn::Zeros({2, 3, 4, 4}), displacement = dgn::Zeros({2, 2, 4, 4});
    image.values[0] = inputs[0].values[0];
    return {image, image, displacement};
  }

 private:
  bool infers_;
  std::vector<dgn::InputInfo> inputs_;
};

std::string Values(size_t count, float value = 0.5f) {
  const std::vector<float> values(count, value);
  return std::string(reinterpret_cast<const char *>(values.data()), count * sizeof(float));
}

std::string Npy(const dgn::Shape &shape, float value = 0.5f) {
  return dgn::MakeNpyHeader(shape) + Values(dgn::ElementCount(shape, "a seed"), value);
}

std::string Replaced(std::string text, const std::string &from, const std::string &to) {
  return text.replace(text.find(from), from.size(), to);
}

dgn::Shape Prepended(int64_t first, dgn::Shape shape) {
  shape.insert(shape.begin(), first);
  return shape;
}

// A file of samples of a shape, valid or mutated.
struct SampleFile {
  std::string kind, name, bytes;
  Expected expected;
};

SampleFile MakeSampleFile(Mutator *mutator, const dgn::Shape &shape) {
  const size_t count = dgn::ElementCount(shape, "a seed");
  const std::string npy = Npy(shape), raw = Values(count);
  dgn::Shape other = shape;
  other.back() += 1 + static_cast<int64_t>(mutator->Below(5));
  const float bad =
      mutator->Below(2) ? std::numeric_limits<float>::quiet_NaN() : -std::numeric_limits<float>::infinity();
  const Expected no = Expected::kRejected;
  switch (mutator->Below(16)) {
    case 0: return {"npy, truncated", "a.npy", mutator->Truncated(npy), no};
    case 1: return {"npy, extended", "a.npy", mutator->Extended(npy), no};
    case 2: return {"npy, wrong size", "a.npy", Npy(other), no};
    case 3: return {"npy, too many dimensions", "a.npy", Npy(Prepended(1, Prepended(1, shape))), no};
    case 4: {
      const char *types[] = {"<f8", ">f4", "<i4", "|u1", "<U4", "|O", "<c8"};
      return {"npy, wrong type", "a.npy", Replaced(npy, "<f4", types[mutator->Below(7)]), no};
    }
    case 5: return {"npy, Fortran order", "a.npy", Replaced(npy, "False,", "True, "), no};
    case 6: return {"npy, not finite", "a.npy", Npy(shape, bad), no};
    case 7: return {"npy, no samples", "a.npy", Npy(Prepended(0, shape)), no};
    case 8: return {"npy, mutated", "a.npy", mutator->Changed(npy), Expected::kEither};
    case 9: return {"npy, random bytes", "a.npy", mutator->RandomBytes(mutator->Below(200)), no};
    case 10: return {"bin, wrong size", "a.bin", raw + mutator->RandomBytes(1 + mutator->Below(raw.size() - 1)), no};
    case 11: return {"bin, not finite", "a.bin", Values(count, bad), no};
    case 12: return {"bin, empty", "a.bin", "", no};
    case 13: return {"npy, text after the header", "a.npy", Replaced(npy, "} ", "}0"), no};
    case 14: return {"npy, shape without comma", "a.npy", Replaced(Npy({4}), "(4,)", "(4) "), no};
    default: return {"bin, valid", "a.bin", raw, Expected::kAccepted};
  }
}

// A job whose input folder contains a sample file that may be invalid.
Input MakeJob(Mutator *mutator, const std::string &scratch) {
  const bool infers = mutator->Below(2) == 1;
  const SampleFile file = MakeSampleFile(mutator, infers ? dgn::Shape{3, 4, 4} : dgn::Shape{4});
  const std::string folder = scratch + (infers ? "/images" : "/latents"), place = folder + (infers ? "" : "/z_app");
  dgn::MakeFolder(place);
  for (const char *name : {"/a.npy", "/a.bin"}) std::remove((place + name).c_str());
  dgn::WriteFile(place + "/" + file.name, file.bytes);
  if (!infers) {
    dgn::MakeFolder(folder + "/z_geo");
    dgn::WriteFile(folder + "/z_geo/a.npy", Npy({3}));
  }
  return {file.kind, file.expected, [=] {
            dgn::Arguments arguments;
            arguments.job = infers ? "infer" : "reconstruct";
            arguments.input_path = folder;
            arguments.output_path = scratch + "/out";
            arguments.steps = 3;
            FakeNetwork network(infers);
            dgn::RunJob(arguments, &network);
          }};
}

Input MakeMindIr(Mutator *mutator, const std::vector<std::string> &seeds) {
  const std::string &seed = seeds[mutator->Below(seeds.size())];
  std::string kind, bytes;
  Expected expected = Expected::kRejected;
  switch (mutator->Below(5)) {
    case 0:
      kind = "MindIR, truncated";
      bytes = mutator->Truncated(seed);
      expected = Expected::kEither;  // valid if cut between two fields
      break;
    case 1:
      kind = "MindIR, random bytes";
      bytes = mutator->RandomBytes(mutator->Below(3000));
      break;
    case 2:
      kind = "MindIR, text";
      bytes = "name: decoder\nversion: 1\n" + std::string(mutator->Below(500), 'x');
      break;
    case 3:
      kind = "MindIR, npy";
      bytes = Npy({static_cast<int64_t>(mutator->Below(500))});
      break;
    default:
      kind = "MindIR, mutated";
      bytes = mutator->Changed(seed);
      expected = Expected::kEither;
      break;
  }
  return {kind, expected, [bytes] { dgn::InspectMindIr(bytes, "decoder.mindir"); }};
}

Input MakeArguments(Mutator *mutator) {
  const std::vector<std::string> words = {
      "--mindir_path", "a.mindir", "--job", "infer", "traverse", "recombine", "--input_path", "in", "--batch", "1",
      "-1", "99999999999999999999", "--gamma", "nan", "1e400", "0.5", "--dimensions", "1,2", ",", "1,,2",
      "--device_type", "CPU", "GPU", "--device_id=0", "--rows=0", "--seed", "", "=", "--", "--=", "--job=infer",
      "--unknown=1", "--descent_steps", "--steps", "0", "--second_path=", "--format=png"};
  std::vector<std::string> line;
  if (mutator->Below(2) == 0) line = {"--mindir_path", "a.mindir", "--input_path", "in", "--batch", "2"};
  for (size_t count = mutator->Below(9); count > 0; --count) line.push_back(words[mutator->Below(words.size())]);
  if (mutator->Below(4) == 0 && !line.empty()) {
    const std::string changed = mutator->Changed("--mindir_path=a.mindir");
    line[mutator->Below(line.size())] = changed.c_str();  // up to the first NUL byte, as the system passes it
  }
  return {"arguments", Expected::kEither, [line] { dgn::ParseArguments(line); }};
}

Input MakeInput(Mutator *mutator, long k, const std::string &scratch, const std::vector<std::string> &seeds) {
  if (k % 4 < 2) return MakeJob(mutator, scratch);
  return k % 4 == 2 ? MakeMindIr(mutator, seeds) : MakeArguments(mutator);
}

struct Result {
  bool rejected = false;
  int code = 0;
  std::string message;
};

Result Read(const Input &input) {
  Result result;
  try {
    input.read();
  } catch (const dgn::Error &error) {
    result.rejected = true;
    result.code = error.exit_code();
    result.message = error.what();
  }
  return result;
}

bool AsExpected(const Result &result, Expected expected) {
  if (!result.rejected) return expected != Expected::kRejected;
  const bool has_message = result.message.size() > 12 && (result.code == 1 || result.code == 2);
  return has_message && expected != Expected::kAccepted;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 5) {
    std::fprintf(stderr, "dgn_fuzz COUNT SEED SCRATCH_FOLDER MINDIR ...\n");
    return 2;
  }
  std::vector<std::string> seeds;
  for (int k = 4; k < argc; ++k) {
    seeds.push_back(dgn::ReadFile(argv[k], 1 << 26));
    dgn::InspectMindIr(seeds.back(), argv[k]);
  }
  if (std::freopen("/dev/null", "w", stdout) == nullptr) return 1;  // the output of the jobs
  Mutator mutator(std::strtoull(argv[2], nullptr, 10));
  const long count = std::strtol(argv[1], nullptr, 10);
  std::map<std::string, std::pair<long, long>> counts;  // by kind: rejected, accepted
  for (long k = 0; k < count; ++k) {
    const Input input = MakeInput(&mutator, k, argv[3], seeds);
    const Result result = Read(input);
    ++(result.rejected ? counts[input.kind].first : counts[input.kind].second);
    if (!AsExpected(result, input.expected)) {
      std::fprintf(stderr, "input %ld (%s) was %s: %s\n", k, input.kind.c_str(),
                   result.rejected ? "rejected" : "accepted", result.message.c_str());
      return 1;
    }
  }
  long rejected = 0;
  for (const auto &kind : counts) {
    std::fprintf(stderr, "%-40s rejected %5ld accepted %5ld\n", kind.first.c_str(), kind.second.first,
                 kind.second.second);
    rejected += kind.second.first;
  }
  std::fprintf(stderr, "%ld inputs, %ld rejected\n", count, rejected);
  return 0;
}
