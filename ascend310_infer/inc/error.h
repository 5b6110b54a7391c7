// The two errors that end the program with a message and an exit code.
#ifndef DGN_ERROR_H_
#define DGN_ERROR_H_

#include <stdexcept>
#include <string>

namespace dgn {

class Error : public std::runtime_error {
 public:
  Error(const std::string &message, int exit_code) : std::runtime_error(message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// Invalid arguments or input files: exit code 2.
struct UserError : Error {
  explicit UserError(const std::string &message) : Error(message, 2) {}
};

// A failure of the device, the runtime or the disk: exit code 1.
struct RunFailed : Error {
  explicit RunFailed(const std::string &message) : Error(message, 1) {}
};

}  // namespace dgn

#endif  // DGN_ERROR_H_
