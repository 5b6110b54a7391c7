// Feeds broken inputs to all that reads them, with a stand-in for MindSpore Lite, and sees that each is refused with a message
// or does no harm. To be built with the sanitizers (-DDGN_SANITIZE=ON).
//
//   dgn_fuzz COUNT SEED SCRATCH_FOLDER MINDIR ...
//
// The MINDIR files must be whole ones. Prints how many inputs were refused; exit code 1 at the first that should have been and
// was not, or that ended in another way than by a message.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>

#include "arguments.h"
#include "error.h"
#include "files.h"
#include "jobs.h"
#include "mangle.h"
#include "mindir.h"
#include "npy.h"
#include "samples.h"

namespace {

using dgn::Array;
using dgn::Mangler;

enum class Wanted { kRefused, kAccepted, kEither };

struct Input {
  std::string kind;
  Wanted wanted;
  std::function<void()> read;
};

// A decoder of latents of 4 and 3 dimensions, two samples a call; or an inference, two steps a call.
class StandIn : public dgn::Network {
 public:
  explicit StandIn(bool infers) : infers_(infers) {
    if (infers) ports_ = {{"image", {2, 3, 4, 4}}, {"z_app", {2, 4}}, {"z_geo", {2, 3}}, {"noise", {2, 2, 4}}, {"noise", {2, 2, 3}}};
    if (!infers) ports_ = {{"z_app", {2, 4}}, {"z_geo", {2, 3}}};
  }
  const std::vector<dgn::Port> &inputs() const override { return ports_; }
  std::vector<Array> Run(const std::vector<Array> &inputs, double *milliseconds) override {
    *milliseconds = 1;
    if (infers_) return {inputs[1], inputs[2]};
    Array image = dgn::Zeros({2, 3, 4, 4}), displacement = dgn::Zeros({2, 2, 4, 4});
    image.values[0] = inputs[0].values[0];
    return {image, image, displacement};
  }

 private:
  bool infers_;
  std::vector<dgn::Port> ports_;
};

std::string Numbers(size_t count, float value = 0.5f) {
  const std::vector<float> numbers(count, value);
  return std::string(reinterpret_cast<const char *>(numbers.data()), count * sizeof(float));
}

std::string Npy(const dgn::Shape &shape, float value = 0.5f) { return dgn::NpyHeaderOf(shape) + Numbers(dgn::Count(shape, "a seed"), value); }

std::string Replaced(std::string text, const std::string &old, const std::string &fresh) { return text.replace(text.find(old), old.size(), fresh); }

dgn::Shape Before(int64_t first, dgn::Shape shape) {
  shape.insert(shape.begin(), first);
  return shape;
}

// A file that is broken (or not) and how.
struct BrokenFile {
  std::string kind, name, bytes;
  Wanted wanted;
};

BrokenFile Break(Mangler *mangler, const dgn::Shape &shape) {
  const size_t count = dgn::Count(shape, "a seed");
  const std::string whole = Npy(shape), raw = Numbers(count);
  dgn::Shape other = shape;
  other.back() += 1 + static_cast<int64_t>(mangler->Below(5));
  const float bad = mangler->Below(2) ? std::numeric_limits<float>::quiet_NaN() : -std::numeric_limits<float>::infinity();
  switch (mangler->Below(14)) {
    case 0: return {"npy cut", "a.npy", mangler->Cut(whole), Wanted::kRefused};
    case 1: return {"npy too long", "a.npy", mangler->Grown(whole), Wanted::kRefused};
    case 2: return {"npy of another size", "a.npy", Npy(other), Wanted::kRefused};
    case 3: return {"npy of too many dimensions", "a.npy", Npy(Before(1, Before(1, shape))), Wanted::kRefused};
    case 4: {
      const char *types[] = {"<f8", ">f4", "<i4", "|u1", "<U4", "|O", "<c8"};
      return {"npy of another type", "a.npy", Replaced(whole, "<f4", types[mangler->Below(7)]), Wanted::kRefused};
    }
    case 5: return {"npy in columns", "a.npy", Replaced(whole, "False,", "True, "), Wanted::kRefused};
    case 6: return {"npy with NaN", "a.npy", Npy(shape, bad), Wanted::kRefused};
    case 7: return {"npy of no sample", "a.npy", Npy(Before(0, shape)), Wanted::kRefused};
    case 8: return {"npy changed", "a.npy", mangler->Changed(whole), Wanted::kEither};
    case 9: return {"noise as npy", "a.npy", mangler->Noise(mangler->Below(200)), Wanted::kRefused};
    case 10: return {"bin of another size", "a.bin", raw + mangler->Noise(1 + mangler->Below(raw.size() - 1)), Wanted::kRefused};
    case 11: return {"bin with NaN", "a.bin", Numbers(count, bad), Wanted::kRefused};
    case 12: return {"bin, empty", "a.bin", "", Wanted::kRefused};
    default: return {"bin, whole", "a.bin", raw, Wanted::kAccepted};
  }
}

// A job on folders of which one holds a broken file.
Input BrokenJob(Mangler *mangler, const std::string &scratch) {
  const bool infers = mangler->Below(2) == 1;
  const std::string folder = scratch + "/job";
  std::filesystem::remove_all(folder);
  const BrokenFile file = Break(mangler, infers ? dgn::Shape{3, 4, 4} : dgn::Shape{4});
  const std::string place = folder + (infers ? "" : "/z_app");
  dgn::MakeFolder(place);
  dgn::WriteFile(place + "/" + file.name, file.bytes);
  if (!infers) {
    dgn::MakeFolder(folder + "/z_geo");
    dgn::WriteFile(folder + "/z_geo/a.npy", Npy({3}));
  }
  return {file.kind, file.wanted, [=] {
            dgn::Arguments arguments;
            arguments.job = infers ? "infer" : "reconstruct";
            arguments.input_path = folder;
            arguments.output_path = scratch + "/out";
            arguments.steps = 3;
            StandIn network(infers);
            dgn::RunJob(arguments, &network);
          }};
}

Input BrokenMindIr(Mangler *mangler, const std::vector<std::string> &wholes) {
  const std::string &whole = wholes[mangler->Below(wholes.size())];
  std::string bytes;
  Wanted wanted = Wanted::kRefused;
  std::string kind;
  switch (mangler->Below(5)) {
    case 0: kind = "MindIR cut"; bytes = mangler->Cut(whole); wanted = Wanted::kEither; break;  // between two fields it is whole
    case 1: kind = "noise as MindIR"; bytes = mangler->Noise(mangler->Below(3000)); break;
    case 2: kind = "text as MindIR"; bytes = "name: decoder\nversion: 1\n" + std::string(mangler->Below(500), 'x'); break;
    case 3: kind = "npy as MindIR"; bytes = Npy({static_cast<int64_t>(mangler->Below(500))}); break;
    default: kind = "MindIR changed"; bytes = mangler->Changed(whole); wanted = Wanted::kEither; break;
  }
  return {kind, wanted, [bytes] { dgn::InspectMindIr(bytes, "decoder.mindir"); }};
}

Input BrokenArguments(Mangler *mangler) {
  const std::vector<std::string> words = {"--mindir_path", "a.mindir", "--job", "infer", "traverse", "recombine", "--input_path", "in", "--batch", "1",
                                          "-1", "99999999999999999999", "--gamma", "nan", "1e400", "0.5", "--dimensions", "1,2", ",", "1,,2",
                                          "--device_type", "CPU", "GPU", "--device_id=0", "--rows=0", "--seed", "", "=", "--", "--=", "--job=infer",
                                          "--unknown=1", "--settle", "--steps", "0", "--second_path=", "--format=png"};
  std::vector<std::string> line;
  if (mangler->Below(2) == 0) line = {"--mindir_path", "a.mindir", "--input_path", "in", "--batch", "2"};
  for (size_t count = mangler->Below(9); count > 0; --count) line.push_back(words[mangler->Below(words.size())]);
  if (mangler->Below(4) == 0 && !line.empty()) line[mangler->Below(line.size())] = mangler->Changed("--mindir_path=a.mindir");
  return {"arguments", Wanted::kEither, [line] { dgn::ParseArguments(line); }};
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 5) {
    std::fprintf(stderr, "dgn_fuzz COUNT SEED SCRATCH_FOLDER MINDIR ...\n");
    return 2;
  }
  const std::string scratch = argv[3];
  std::vector<std::string> wholes;
  for (int k = 4; k < argc; ++k) {
    wholes.push_back(dgn::ReadFile(argv[k], 1 << 26));
    dgn::InspectMindIr(wholes.back(), argv[k]);
  }
  if (std::freopen("/dev/null", "w", stdout) == nullptr) return 1;  // what the jobs print
  Mangler mangler(std::strtoull(argv[2], nullptr, 10));
  const long count = std::strtol(argv[1], nullptr, 10);
  std::map<std::string, std::pair<long, long>> seen;  // by kind: refused, accepted
  for (long k = 0; k < count; ++k) {
    const Input input = k % 4 < 2 ? BrokenJob(&mangler, scratch) : k % 4 == 2 ? BrokenMindIr(&mangler, wholes) : BrokenArguments(&mangler);
    bool refused = false;
    std::string message;
    int code = 0;
    try {
      input.read();
    } catch (const dgn::Error &error) {
      refused = true;
      message = error.what();
      code = error.exit_code();
    }
    (refused ? seen[input.kind].first : seen[input.kind].second) += 1;
    const bool clear = message.size() > 12 && (code == 1 || code == 2);
    if ((refused && !clear) || (refused && input.wanted == Wanted::kAccepted) || (!refused && input.wanted == Wanted::kRefused)) {
      std::fprintf(stderr, "input %ld, %s, was %s: %s\n", k, input.kind.c_str(), refused ? "refused" : "accepted", message.c_str());
      return 1;
    }
  }
  long refused = 0;
  for (const auto &[kind, counts] : seen) {
    std::fprintf(stderr, "%-40s refused %5ld accepted %5ld\n", kind.c_str(), counts.first, counts.second);
    refused += counts.first;
  }
  std::fprintf(stderr, "%ld inputs, %ld refused\n", count, refused);
  return 0;
}
