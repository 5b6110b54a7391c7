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
#define DGN_MINDIR_VERSION 0  // the newest MindIR that this Lite reads; 0: not known, Lite itself will say
#endif

namespace dgn {
namespace {

namespace ms = mindspore;

constexpr uint64_t kLargestFile = uint64_t{1} << 31;  // what Protocol Buffers can hold

// While this lives, a crash of the runtime ends the program with a message and exit code 1.
class CrashGuard {
 public:
  explicit CrashGuard(const std::string &doing) {
    message_ = "dgn_infer: MindSpore Lite crashed while " + doing + "; the file may be damaged: export it again\n";
    struct sigaction action = {};
    action.sa_handler = [](int) {
      [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, message_.data(), message_.size());
      _exit(1);
    };
    for (size_t k = 0; k < kSignals.size(); ++k) sigaction(kSignals[k], &action, &before_[k]);
  }
  ~CrashGuard() {
    for (size_t k = 0; k < kSignals.size(); ++k) sigaction(kSignals[k], &before_[k], nullptr);
  }
  CrashGuard(const CrashGuard &) = delete;
  CrashGuard &operator=(const CrashGuard &) = delete;

 private:
  static constexpr std::array<int, 5> kSignals = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  inline static std::string message_;
  std::array<struct sigaction, kSignals.size()> before_{};
};

// Calls the runtime: its exceptions and crashes become messages.
template <typename Call>
ms::Status Guarded(const std::string &doing, Call call) {
  const CrashGuard guard(doing);
  try {
    return call();
  } catch (const std::exception &error) {
    throw RunFailed("MindSpore Lite failed while " + doing + ": " + error.what());
  }
}

std::string Reason(const ms::Status &status) {
  return status.ToString() + " (GLOG_v=2 in the environment shows what MindSpore Lite says of it)";
}

// What an Ascend device needs is looked for first, because the runtime's own message does not say what is missing.
void CheckAscend(const std::string &type) {
  const std::string otherwise = "; or run on --device_type CPU";
  if (dlopen("libascendcl.so", RTLD_LAZY | RTLD_GLOBAL) == nullptr) {
    throw RunFailed("--device_type " + type + " needs CANN, and its library libascendcl.so is not found (" + dlerror() +
                    "): install CANN and run `source set_env.sh` of its folder" + otherwise);
  }
  if (access("/dev/davinci_manager", F_OK) != 0) {
    throw RunFailed("--device_type " + type + " needs an Ascend device, and /dev/davinci_manager is not there: install driver and firmware" + otherwise);
  }
}

std::shared_ptr<ms::Context> MakeContext(const Arguments &arguments) {
  auto context = std::make_shared<ms::Context>();
  if (arguments.device_type == "CPU") {
    const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
    context->SetThreadNum(static_cast<int32_t>(arguments.threads ? arguments.threads : cores));
    auto cpu = std::make_shared<ms::CPUDeviceInfo>();
    cpu->SetEnableFP16(false);
    context->MutableDeviceInfo().push_back(cpu);
  } else {
    CheckAscend(arguments.device_type);
    auto ascend = std::make_shared<ms::AscendDeviceInfo>();
    ascend->SetDeviceID(static_cast<uint32_t>(arguments.device_id));
    ascend->SetPrecisionMode("preferred_fp32");  // 16 bits are the default
    context->MutableDeviceInfo().push_back(ascend);
  }
  return context;
}

void CheckFile(const std::string &path) {
  const MindIr told = InspectMindIr(ReadFile(path, kLargestFile), path);
  if (DGN_MINDIR_VERSION != 0 && told.version > DGN_MINDIR_VERSION) {
    throw UserError(path + " is MindIR of version " + std::to_string(told.version) + " (MindSpore " + told.producer +
                    "); this MindSpore Lite reads version " + std::to_string(DGN_MINDIR_VERSION) + ": write it with `python -m dgn export RUN --mindir-version " +
                    std::to_string(DGN_MINDIR_VERSION) + "`, or build with a MindSpore Lite of the same version as MindSpore (MSLITE_HOME)");
  }
}

class LiteNetwork : public Network {
 public:
  explicit LiteNetwork(const Arguments &arguments) {
    const std::string &path = arguments.mindir_path;
    CheckFile(path);
    const auto context = MakeContext(arguments);
    const auto status = Guarded("loading " + path, [&] { return model_.Build(path, ms::kMindIR, context); });
    if (!status.IsOk()) throw RunFailed("MindSpore Lite cannot load " + path + " on " + arguments.device_type + ": " + Reason(status));
    if (ReadPorts(arguments.batch)) {
      const auto resized = Guarded("setting the shapes of " + path, [&] {
        std::vector<Shape> shapes;
        for (const Port &port : ports_) shapes.push_back(port.shape);
        return model_.Resize(model_.GetInputs(), shapes);
      });
      if (!resized.IsOk()) throw RunFailed(path + " does not take batches of " + std::to_string(arguments.batch) + ": " + Reason(resized));
    }
  }

  const std::vector<Port> &inputs() const override { return ports_; }

  std::vector<Array> Run(const std::vector<Array> &inputs, double *milliseconds) override {
    std::vector<ms::MSTensor> given = model_.GetInputs(), outputs;
    for (size_t k = 0; k < given.size(); ++k) {
      const size_t bytes = inputs[k].values.size() * sizeof(float);
      void *target = given[k].DataSize() == bytes ? given[k].MutableData() : nullptr;
      if (target == nullptr) throw RunFailed("MindSpore Lite gives no room of " + std::to_string(bytes) + " bytes for the input " + ports_[k].name);
      std::memcpy(target, inputs[k].values.data(), bytes);
    }
    const auto start = std::chrono::steady_clock::now();
    const auto status = Guarded("running the model", [&] { return model_.Predict(given, &outputs); });
    *milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    if (!status.IsOk()) throw RunFailed("MindSpore Lite cannot run the model: " + Reason(status));
    std::vector<Array> found;
    for (const ms::MSTensor &output : outputs) found.push_back(ToArray(output));
    return found;
  }

 private:
  // Names and shapes of the inputs, free dimensions of samples set; whether there were any.
  bool ReadPorts(int64_t batch) {
    bool free = false;
    for (const ms::MSTensor &tensor : model_.GetInputs()) {
      Port port{tensor.Name(), tensor.Shape()};
      if (tensor.DataType() != ms::DataType::kNumberTypeFloat32) throw UserError("the input " + port.name + " of the model is not of float32");
      for (int64_t &dimension : port.shape) {
        if (dimension == -1) {
          dimension = batch;
          free = true;
        }
      }
      ports_.push_back(port);
    }
    if (ports_.empty()) throw UserError("the model has no inputs");
    return free;
  }

  static Array ToArray(const ms::MSTensor &tensor) {
    Array array = Zeros(tensor.Shape());
    const size_t bytes = array.values.size() * sizeof(float);
    const auto data = tensor.Data();
    if (tensor.DataType() != ms::DataType::kNumberTypeFloat32 || tensor.DataSize() != bytes || data == nullptr) {
      throw RunFailed("an output of the model of the shape " + Text(array.shape) + " is not of float32, or its data are not on this machine");
    }
    std::memcpy(array.values.data(), data.get(), bytes);
    return array;
  }

  ms::Model model_;
  std::vector<Port> ports_;
};

}  // namespace

std::unique_ptr<Network> OpenLite(const Arguments &arguments) { return std::make_unique<LiteNetwork>(arguments); }

}  // namespace dgn
