// A MindIR file run by MindSpore Lite.
#ifndef DGN_LITE_NETWORK_H_
#define DGN_LITE_NETWORK_H_

#include <memory>

#include "arguments.h"
#include "network.h"

namespace dgn {

// Loads --mindir_path on the device given by the arguments.
// Throws UserError if this MindSpore Lite cannot read the file, RunFailed if the device is missing or loading fails.
std::unique_ptr<Network> OpenLite(const Arguments &arguments);

}  // namespace dgn

#endif  // DGN_LITE_NETWORK_H_
