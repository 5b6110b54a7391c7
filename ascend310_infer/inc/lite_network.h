// A MindIR file on MindSpore Lite.
#ifndef DGN_LITE_NETWORK_H_
#define DGN_LITE_NETWORK_H_

#include <memory>

#include "arguments.h"
#include "network.h"

namespace dgn {

// The network of --mindir_path on the device that the arguments name.
// Throws UserError if the file is none that this Lite can read, RunFailed if the device is not there or refuses.
std::unique_ptr<Network> OpenLite(const Arguments &arguments);

}  // namespace dgn

#endif  // DGN_LITE_NETWORK_H_
