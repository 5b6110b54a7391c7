#include "lite_network.h"

#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "error.h"
#include "files.h"
#include "include/api/context.h"
#include "include/api/model.h"
#include "mindir.h"

#ifndef DGN_MINDIR_VERSION
#define DGN_MINDIR_VERSION \
  0  // newest MindIR version of this MindSpore Lite; 0: unknown, MindSpore Lite checks it itself
#endif

namespace dgn {
namespace {

namespace ms = mindspore;

constexpr uint64_t kMaxFileSize = uint64_t{1} << 31;  // limit of Protocol Buffers

constexpr std::array<int, 5> kSignals = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
std::string crash_message;  // global, since a signal handler has no other access to it

void HandleCrash(int) {
  const ssize_t written = write(STDERR_FILENO, crash_message.data(), crash_message.size());
  static_cast<void>(written);
  _exit(1);
}

// During its lifetime, a crash of the runtime ends the program with a message and exit code 1. The handler has a stack
// of its own, because the runtime may have exhausted that of the main thread.
class CrashGuard {
 public:
  explicit CrashGuard(const std::string &action) {
    crash_message =
        "dgn_infer: MindSpore Lite crashed while " + action + "; the file may be damaged: export it again\n";
    static std::array<char, 1 << 16> stack;
    stack_t alternate = {};
    alternate.ss_sp = stack.data();
    alternate.ss_size = stack.size();
    sigaltstack(&alternate, nullptr);
    struct sigaction handler = {};
    handler.sa_handler = HandleCrash;
    handler.sa_flags = SA_ONSTACK;
    for (size_t k = 0; k < kSignals.size(); ++k) sigaction(kSignals[k], &handler, &previous_[k]);
  }
  ~CrashGuard() {
    for (size_t k = 0; k < kSignals.size(); ++k) sigaction(kSignals[k], &previous_[k], nullptr);
  }
  CrashGuard(const CrashGuard &) = delete;
  CrashGuard &operator=(const CrashGuard &) = delete;

 private:
  std::array<struct sigaction, kSignals.size()> previous_{};
};

// Calls the runtime and converts its exceptions and crashes to error messages with exit code 1.
template <typename Call>
auto Guarded(const std::string &action, Call call) -> decltype(call()) {
  const CrashGuard guard(action);
  try {
    return call();
  } catch (const RunFailed &) {
    throw;
  } catch (const std::bad_alloc &) {
    throw;  // main says that the memory does not suffice
  } catch (const std::exception &error) {
    throw RunFailed("MindSpore Lite failed while " + action + ": " + error.what());
  }
}

std::string Reason(const ms::Status &status) {
  return status.ToString() + " (set GLOG_v=2 in the environment for the messages of MindSpore Lite)";
}

bool OnCpu(const Arguments &arguments) { return arguments.device_type == "CPU"; }

// A free batch dimension is a frequent cause of failures on Ascend.
std::string ShapeHint(const Arguments &arguments) {
  if (OnCpu(arguments)) return "";
  return "; MindSpore Lite on Ascend needs fixed shapes: `python -m dgn export RUN --batch N`";
}

// Checks the requirements of an Ascend device, since the runtime's own message does not name what is missing.
void CheckAscend(const std::string &type) {
  const std::string alternative = "; or use --device_type CPU";
  if (dlopen("libascendcl.so", RTLD_LAZY | RTLD_GLOBAL) == nullptr) {
    throw RunFailed("--device_type " + type + " needs CANN, whose library libascendcl.so was not found (" + dlerror() +
                    "): install CANN and run `source set_env.sh` in its folder" + alternative);
  }
  if (access("/dev/davinci_manager", F_OK) != 0) {
    throw RunFailed("--device_type " + type + " needs an Ascend device, and there is no /dev/davinci_manager: " +
                    "install driver and firmware" + alternative);
  }
}

std::shared_ptr<ms::Context> MakeContext(const Arguments &arguments) {
  auto context = std::make_shared<ms::Context>();
  if (OnCpu(arguments)) {
    const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
    context->SetThreadNum(static_cast<int32_t>(arguments.threads ? arguments.threads : cores));
    auto cpu = std::make_shared<ms::CPUDeviceInfo>();
    cpu->SetEnableFP16(false);
    context->MutableDeviceInfo().push_back(cpu);
  } else {
    CheckAscend(arguments.device_type);
    auto ascend = std::make_shared<ms::AscendDeviceInfo>();
    ascend->SetDeviceID(static_cast<uint32_t>(arguments.device_id));
    ascend->SetPrecisionMode("preferred_fp32");  // the default is float16
    context->MutableDeviceInfo().push_back(ascend);
  }
  return context;
}

void CheckFile(const std::string &path) {
  const MindIr info = InspectMindIr(ReadFile(path, kMaxFileSize), path);
  const std::string supported = std::to_string(DGN_MINDIR_VERSION);
  if (DGN_MINDIR_VERSION != 0 && info.version > DGN_MINDIR_VERSION) {
    throw UserError(path + " has MindIR version " + std::to_string(info.version) + " (MindSpore " + info.producer +
                    "); this MindSpore Lite reads version " + supported +
                    ": export with `python -m dgn export RUN --mindir-version " + supported +
                    "`, or build with a newer MindSpore Lite (MSLITE_HOME)");
  }
}

class LiteNetwork : public Network {
 public:
  explicit LiteNetwork(const Arguments &arguments) {
    const std::string &path = arguments.mindir_path;
    CheckFile(path);
    const auto context = MakeContext(arguments);
    const auto status = Guarded("loading " + path, [&] { return model_.Build(path, ms::kMindIR, context); });
    if (!status.IsOk()) {
      throw RunFailed("MindSpore Lite cannot load " + path + " on " + arguments.device_type + ": " + Reason(status) +
                      ShapeHint(arguments));
    }
    if (!ReadInputs(arguments.batch)) return;
    const auto resized = Guarded("setting the input shapes of " + path, [&] {
      std::vector<Shape> shapes;
      for (const InputInfo &input : inputs_) shapes.push_back(input.shape);
      return model_.Resize(model_.GetInputs(), shapes);
    });
    if (!resized.IsOk()) {
      throw RunFailed(path + " does not accept batches of " + std::to_string(arguments.batch) + ": " + Reason(resized) +
                      ShapeHint(arguments));
    }
  }

  const std::vector<InputInfo> &inputs() const override { return inputs_; }

  std::vector<Array> Run(const std::vector<Array> &inputs, double *milliseconds) override {
    return Guarded("running the model", [&] { return Predict(inputs, milliseconds); });
  }

 private:
  // Reads names and shapes of the inputs and sets free dimensions to `batch`. Returns whether there were any.
  bool ReadInputs(int64_t batch) {
    bool has_free = false;
    for (const ms::MSTensor &tensor : Guarded("reading the inputs", [this] { return model_.GetInputs(); })) {
      InputInfo input{tensor.Name(), tensor.Shape()};
      if (tensor.DataType() != ms::DataType::kNumberTypeFloat32) {
        throw UserError("the input " + input.name + " of the model is not float32");
      }
      for (int64_t &dimension : input.shape) {
        if (dimension == -1) {
          dimension = batch;
          has_free = true;
        }
      }
      inputs_.push_back(input);
    }
    if (inputs_.empty()) throw UserError("the model has no inputs");
    return has_free;
  }

  std::vector<Array> Predict(const std::vector<Array> &inputs, double *milliseconds) {
    std::vector<ms::MSTensor> tensors = model_.GetInputs(), outputs;
    for (size_t k = 0; k < tensors.size(); ++k) {
      const size_t bytes = inputs[k].values.size() * sizeof(float);
      void *target = tensors[k].DataSize() == bytes ? tensors[k].MutableData() : nullptr;
      if (target == nullptr) {
        throw RunFailed("MindSpore Lite has no buffer of " + std::to_string(bytes) + " bytes for the input " +
                        inputs_[k].name);
      }
      std::memcpy(target, inputs[k].values.data(), bytes);
    }
    const auto start = std::chrono::steady_clock::now();
    const auto status = model_.Predict(tensors, &outputs);
    *milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    if (!status.IsOk()) throw RunFailed("MindSpore Lite cannot run the model: " + Reason(status));
    std::vector<Array> arrays;
    for (const ms::MSTensor &output : outputs) arrays.push_back(ToArray(output));
    return arrays;
  }

  static Array ToArray(const ms::MSTensor &tensor) {
    const Shape shape = tensor.Shape();
    const uint64_t bytes = ElementCount(shape, "an output") * sizeof(float);
    const auto data = tensor.Data();
    if (tensor.DataType() != ms::DataType::kNumberTypeFloat32 || tensor.DataSize() != bytes || data == nullptr) {
      throw RunFailed("an output of the shape " + ShapeText(shape) + " is not float32, or not in host memory");
    }
    Array array = Zeros(shape);
    std::memcpy(array.values.data(), data.get(), bytes);
    return array;
  }

  ms::Model model_;
  std::vector<InputInfo> inputs_;
};

}  // namespace

std::unique_ptr<Network> OpenLite(const Arguments &arguments) { return std::make_unique<LiteNetwork>(arguments); }

}  // namespace dgn
