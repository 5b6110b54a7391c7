#include "arguments.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>

#include "error.h"

namespace dgn {
namespace {

using Reader = std::function<void(const std::string &value)>;

std::string Joined(const std::vector<std::string> &words) {
  std::string text;
  for (size_t k = 0; k < words.size(); ++k) text += (k ? ", " : "") + words[k];
  return text;
}

int64_t WholeNumber(const std::string &name, const std::string &text, int64_t low, int64_t high) {
  const bool digits = !text.empty() && text.size() <= 18 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  const int64_t value = digits ? std::strtoll(text.c_str(), nullptr, 10) : -1;
  if (!digits || value < low || value > high) {
    throw UserError("--" + name + " is '" + text + "'; it must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

Reader Path(const std::string &name, std::string *target) {
  return [=](const std::string &value) {
    if (value.empty()) throw UserError("--" + name + " is empty");
    *target = value;
  };
}

Reader Choice(const std::string &name, std::string *target, const std::vector<std::string> &choices) {
  return [=](const std::string &value) {
    if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
      throw UserError("--" + name + " is '" + value + "'; it must be one of " + Joined(choices));
    }
    *target = value;
  };
}

Reader Number(const std::string &name, int64_t *target, int64_t low, int64_t high) {
  return [=](const std::string &value) { *target = WholeNumber(name, value, low, high); };
}

Reader Reach(double *target) {
  return [=](const std::string &value) {
    char *end = nullptr;
    *target = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0' || !(*target > 0 && *target < 1000)) {
      throw UserError("--gamma is '" + value + "'; it must be above 0 and below 1000");
    }
  };
}

Reader Dimensions(std::vector<int64_t> *target) {
  return [=](const std::string &value) {
    target->clear();
    for (size_t first = 0; first <= value.size();) {
      const size_t comma = std::min(value.find(',', first), value.size());
      target->push_back(WholeNumber("dimensions", value.substr(first, comma - first), 0, 1000000));
      first = comma + 1;
    }
  };
}

std::map<std::string, Reader> Readers(Arguments *a) {
  return {
      {"mindir_path", Path("mindir_path", &a->mindir_path)},
      {"job", Choice("job", &a->job, {"reconstruct", "traverse", "recombine", "infer"})},
      {"input_path", Path("input_path", &a->input_path)},
      {"second_path", Path("second_path", &a->second_path)},
      {"start_path", Path("start_path", &a->start_path)},
      {"output_path", Path("output_path", &a->output_path)},
      {"device_type", Choice("device_type", &a->device_type, {"Ascend310", "Ascend", "CPU"})},
      {"device_id", Number("device_id", &a->device_id, 0, 1023)},
      {"batch", Number("batch", &a->batch, 1, 4096)},
      {"threads", Number("threads", &a->threads, 0, 1024)},
      {"warmup", Number("warmup", &a->warmup, 0, 1000)},
      {"limit", Number("limit", &a->limit, 0, 1000000000)},
      {"format", Choice("format", &a->format, {"npy", "bin"})},
      {"group", Choice("group", &a->group, {"z_app", "z_geo", "z"})},
      {"gamma", Reach(&a->gamma)},
      {"positions", Number("positions", &a->positions, 2, 1001)},
      {"rows", Number("rows", &a->rows, 1, 100000)},
      {"dimensions", Dimensions(&a->dimensions)},
      {"pairs", Choice("pairs", &a->pairs, {"grid", "aligned"})},
      {"steps", Number("steps", &a->steps, 0, 1000000)},
      {"settle", Number("settle", &a->settle, 0, 1000000)},
      {"seed", Number("seed", &a->seed, 0, 4294967295)},
  };
}

// How many letters two words share at their beginning: enough to guess what was meant.
size_t SharedStart(const std::string &a, const std::string &b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())), b.begin()).first - a.begin());
}

std::string Nearest(const std::string &word, const std::map<std::string, Reader> &known) {
  const auto best = std::max_element(known.begin(), known.end(), [&word](const auto &a, const auto &b) {
    return SharedStart(word, a.first) < SharedStart(word, b.first);
  });
  return SharedStart(word, best->first) >= 2 ? "; did you mean --" + best->first + "?" : "; --help lists the options";
}

void CheckComplete(const Arguments &a) {
  if (a.mindir_path.empty()) throw UserError("--mindir_path is missing: the file that `python -m dgn export` wrote");
  if (a.input_path.empty() && a.job != "traverse") throw UserError("--input_path is missing: a folder, see --help");
  if (a.job == "recombine" && a.second_path.empty()) throw UserError("--second_path is missing: the latents whose geometry is taken");
  if (a.job == "infer" && a.steps + a.settle == 0) throw UserError("--steps and --settle are both 0: nothing is left to infer");
}

}  // namespace

std::string Usage() {
  return R"(Deformable generator networks on MindSpore Lite.

  dgn_infer --mindir_path FILE --job JOB --input_path FOLDER [options]

Jobs:
  reconstruct   decodes latents: FOLDER/z_app and FOLDER/z_geo (a plain model: FOLDER/z), files of the same names in both
                -> image/ appearance/ displacement/, an array and a PNG a sample
  traverse      one dimension after the other of --group from -gamma to gamma, the strongest --rows of them or --dimensions
                -> traversal.png, traversal.npy, dimensions.txt; the other group is 0, or that of the first sample of --input_path
  recombine     appearance latents of --input_path with geometry latents of --second_path: every one with every one (--pairs grid)
                or the first with the first (aligned) -> image/ ..., recombination.png
  infer         latents of images in FOLDER, (channels, height, width) in [0, 1], by the file inference_lite.mindir
                -> z_app/ z_geo/, which the other jobs take

Arrays are float32: .npy, or .bin (the numbers alone); a file holds one sample or several one after the other.

  --mindir_path FILE     decoder.mindir, or inference_lite.mindir to infer
  --output_path FOLDER   (result)
  --format npy|bin       of the arrays that are written (npy)
  --device_type TYPE     Ascend310, Ascend or CPU (Ascend310)
  --device_id N          (0)
  --batch N              samples of a call, where the file leaves it free (1)
  --threads N            on CPU; 0: one a core (0)
  --limit N              the first so many samples of a folder; 0: all (0)
  --warmup N             calls before the timing begins (3)
  --group NAME           traverse: z_app, z_geo or z (z_app)
  --gamma G              traverse: (3)
  --positions N          traverse: pictures in a row (11)
  --rows N               traverse: (6)
  --dimensions A,B,..    traverse: these, in place of the strongest
  --pairs grid|aligned   recombine: (grid)
  --steps N              infer: Langevin steps with noise, at least (300)
  --settle N             infer: steps without noise after them, at least (0)
  --seed N               infer: of the noise (1)
  --start_path FOLDER    infer: latents to begin with, as of reconstruct (default: 0, the prior's mean)

Exit code: 0 done, 1 failed, 2 the input is wrong.
)";
}

Arguments ParseArguments(const std::vector<std::string> &words) {
  Arguments arguments;
  const std::map<std::string, Reader> readers = Readers(&arguments);
  for (size_t k = 0; k < words.size(); ++k) {
    if (words[k] == "--help" || words[k] == "-h") {
      arguments.help = true;
      return arguments;
    }
    if (words[k].compare(0, 2, "--") != 0) throw UserError("'" + words[k] + "' is not an option; --help lists them");
    const size_t equals = words[k].find('=');
    const std::string name = words[k].substr(2, equals == std::string::npos ? equals : equals - 2);
    const auto reader = readers.find(name);
    if (reader == readers.end()) throw UserError("there is no option --" + name + Nearest(name, readers));
    if (equals == std::string::npos && k + 1 == words.size()) throw UserError("--" + name + " needs a value");
    reader->second(equals == std::string::npos ? words[++k] : words[k].substr(equals + 1));
  }
  CheckComplete(arguments);
  return arguments;
}

}  // namespace dgn
