#include "arguments.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>

#include "error.h"

namespace dgn {
namespace {

using Parser = std::function<void(const std::string &value)>;

// Former names of options. They are still accepted.
const std::map<std::string, std::string> kFormerNames = {{"settle", "descent_steps"}};

std::string Joined(const std::vector<std::string> &words) {
  std::string text;
  for (size_t k = 0; k < words.size(); ++k) text += (k ? ", " : "") + words[k];
  return text;
}

int64_t ParseInteger(const std::string &name, const std::string &text, int64_t low, int64_t high) {
  const bool digits = !text.empty() && text.size() <= 18 &&
                      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  const int64_t value = digits ? std::strtoll(text.c_str(), nullptr, 10) : -1;
  if (!digits || value < low || value > high) {
    throw UserError("--" + name + " is '" + text + "'; it must be an integer from " + std::to_string(low) + " to " +
                    std::to_string(high));
  }
  return value;
}

Parser Path(const std::string &name, std::string *target) {
  return [=](const std::string &value) {
    if (value.empty()) throw UserError("--" + name + " is empty");
    *target = value;
  };
}

Parser Choice(const std::string &name, std::string *target, const std::vector<std::string> &choices) {
  return [=](const std::string &value) {
    if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
      throw UserError("--" + name + " is '" + value + "'; it must be one of " + Joined(choices));
    }
    *target = value;
  };
}

Parser Integer(const std::string &name, int64_t *target, int64_t low, int64_t high) {
  return [=](const std::string &value) { *target = ParseInteger(name, value, low, high); };
}

Parser Gamma(double *target) {
  return [=](const std::string &value) {
    char *end = nullptr;
    *target = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0' || !(*target > 0 && *target < 1000)) {
      throw UserError("--gamma is '" + value + "'; it must be above 0 and below 1000");
    }
  };
}

Parser Dimensions(std::vector<int64_t> *target) {
  return [=](const std::string &value) {
    target->clear();
    for (size_t first = 0; first <= value.size();) {
      const size_t comma = std::min(value.find(',', first), value.size());
      target->push_back(ParseInteger("dimensions", value.substr(first, comma - first), 0, 1000000));
      first = comma + 1;
    }
  };
}

std::map<std::string, Parser> MakeParsers(Arguments *a) {
  return {
      {"mindir_path", Path("mindir_path", &a->mindir_path)},
      {"job", Choice("job", &a->job, {"reconstruct", "traverse", "recombine", "infer", "encode"})},
      {"input_path", Path("input_path", &a->input_path)},
      {"second_path", Path("second_path", &a->second_path)},
      {"start_path", Path("start_path", &a->start_path)},
      {"output_path", Path("output_path", &a->output_path)},
      {"device_type", Choice("device_type", &a->device_type, {"Ascend310", "Ascend", "CPU"})},
      {"device_id", Integer("device_id", &a->device_id, 0, 1023)},
      {"batch", Integer("batch", &a->batch, 1, 4096)},
      {"threads", Integer("threads", &a->threads, 0, 1024)},
      {"warmup", Integer("warmup", &a->warmup, 0, 1000)},
      {"limit", Integer("limit", &a->limit, 0, 1000000000)},
      {"format", Choice("format", &a->format, {"npy", "bin"})},
      {"group", Choice("group", &a->group, {"z_app", "z_geo", "z"})},
      {"gamma", Gamma(&a->gamma)},
      {"positions", Integer("positions", &a->positions, 2, 1001)},
      {"rows", Integer("rows", &a->rows, 1, 100000)},
      {"dimensions", Dimensions(&a->dimensions)},
      {"pairs", Choice("pairs", &a->pairs, {"grid", "aligned"})},
      {"steps", Integer("steps", &a->steps, 0, 1000000)},
      {"descent_steps", Integer("descent_steps", &a->descent_steps, 0, 1000000)},
      {"seed", Integer("seed", &a->seed, 0, 4294967295)},
  };
}

// Length of the common prefix of two words.
size_t CommonPrefix(const std::string &a, const std::string &b) {
  size_t length = 0;
  while (length < std::min(a.size(), b.size()) && a[length] == b[length]) ++length;
  return length;
}

// A hint at the option with the longest common prefix.
std::string Suggestion(const std::string &word, const std::map<std::string, Parser> &known) {
  const auto best = std::max_element(known.begin(), known.end(), [&word](const auto &a, const auto &b) {
    return CommonPrefix(word, a.first) < CommonPrefix(word, b.first);
  });
  return CommonPrefix(word, best->first) >= 2 ? "; did you mean --" + best->first + "?" : "; --help lists the options";
}

// The current name of an option, with a note on standard error if it was given by a former one.
std::string CurrentName(const std::string &name) {
  const auto former = kFormerNames.find(name);
  if (former == kFormerNames.end()) return name;
  std::fprintf(stderr, "dgn_infer: note: --%s is now --%s\n", name.c_str(), former->second.c_str());
  return former->second;
}

void CheckRequired(const Arguments &a) {
  if (a.mindir_path.empty()) throw UserError("--mindir_path is required: a file written by `python -m dgn export`");
  if (a.input_path.empty() && a.job != "traverse") throw UserError("--input_path is required: a folder, see --help");
  if (a.job == "recombine" && a.second_path.empty()) {
    throw UserError("--second_path is required: the folder with the geometry latents");
  }
  if (a.job == "infer" && a.steps + a.descent_steps == 0) {
    throw UserError("--steps and --descent_steps are both 0; inference needs at least one step");
  }
}

}  // namespace

std::string Usage() {
  return R"(Deformable generator networks on MindSpore Lite.

  dgn_infer --mindir_path FILE --job JOB --input_path FOLDER [options]

Jobs:
  reconstruct   decode latents in FOLDER/z_app and FOLDER/z_geo with equal file names (one-group models: FOLDER/z)
                -> image/ appearance/ displacement/, one array and one PNG file per sample
  traverse      vary single dimensions of --group from -gamma to gamma: --dimensions, by default the --rows dimensions
                with the largest effect on the image; the other group is 0, or that of the first sample of --input_path
                -> traversal.png, traversal.npy, dimensions.txt
  recombine     decode appearance latents of --input_path with geometry latents of --second_path: all pairs
                (--pairs grid), or those of the same name (--pairs aligned; in order if the names differ)
                -> image/ ..., recombination.png
  infer         infer latents of images (channels, height, width) in [0, 1] by Langevin dynamics; FILE is
                inference_lite.mindir -> z_app/ z_geo/, the input of the other jobs
  encode        infer latents of images in one pass of the encoder; FILE is encoder.mindir.
                Its output can be the --start_path of infer

Arrays are float32, either .npy or .bin (values only). A file holds one sample or several. Files are in natural order
(x_2 before x_10). Latents of several folders belong together by name.

  --mindir_path FILE     decoder.mindir, or for infer inference_lite.mindir, for encode encoder.mindir
  --output_path FOLDER   (default: result)
  --format npy|bin       format of the written arrays (default: npy)
  --device_type TYPE     Ascend310, Ascend or CPU (default: Ascend310)
  --device_id N          (default: 0)
  --batch N              samples per call, if the file has a free batch dimension (default: 1)
  --threads N            CPU threads; 0: one per core (default: 0)
  --limit N              use the first N samples of a folder; 0: all (default: 0)
  --warmup N             untimed calls before the timing starts (default: 3)
  --group NAME           traverse: z_app, z_geo or z (default: z_app)
  --gamma G              traverse: range of a dimension (default: 3)
  --positions N          traverse: positions from -gamma to gamma (default: 11)
  --rows N               traverse: number of dimensions (default: 6)
  --dimensions A,B,..    traverse: these dimensions
  --pairs grid|aligned   recombine: all pairs, or one of each sample (default: grid)
  --steps N              infer: Langevin steps with noise, rounded up to whole calls (default: 300)
  --descent_steps N      infer: subsequent steps without noise, rounded up to whole calls (default: 0)
  --seed N               infer: seed of the noise (default: 1)
  --start_path FOLDER    infer: initial latents, in the layout of reconstruct (default: 0, the prior mean)

Exit codes: 0 success, 1 failure, 2 invalid input.
)";
}

Arguments ParseArguments(const std::vector<std::string> &words) {
  Arguments arguments;
  const std::map<std::string, Parser> parsers = MakeParsers(&arguments);
  for (size_t k = 0; k < words.size(); ++k) {
    if (words[k] == "--help" || words[k] == "-h") {
      arguments.help = true;
      return arguments;
    }
    if (words[k].compare(0, 2, "--") != 0) throw UserError("'" + words[k] + "' is not an option; --help lists them");
    const size_t equals = words[k].find('=');
    const std::string name = CurrentName(words[k].substr(2, equals == std::string::npos ? equals : equals - 2));
    const auto parser = parsers.find(name);
    if (parser == parsers.end()) throw UserError("unknown option --" + name + Suggestion(name, parsers));
    if (equals == std::string::npos && k + 1 == words.size()) throw UserError("--" + name + " needs a value");
    parser->second(equals == std::string::npos ? words[++k] : words[k].substr(equals + 1));
  }
  CheckRequired(arguments);
  return arguments;
}

}  // namespace dgn
