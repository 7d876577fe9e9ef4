// disk.latency, disk.error, files.latency and files.error: operations in a folder are slow, or fail.
#include <array>
#include <cerrno>

#include "injector/faults/files/folder_fault.hpp"

namespace squall {

namespace faults {

enum class Errno : int {
  io = EIO,
  no_space = ENOSPC,
  quota = EDQUOT,
  read_only = EROFS,
  interrupted = EINTR,
  again = EAGAIN,
  memory = ENOMEM,
  device = ENXIO,
  remote_io = EREMOTEIO,
  timed_out = ETIMEDOUT,
  stale = ESTALE
};

struct FolderLatency {
  std::optional<Duration> read, write, flush;
  Duration jitter;
  Percent share{100};
};

struct FolderError {
  Errno error = Errno::io;
  std::vector<overlay::Kind> operations{overlay::Kind::read, overlay::Kind::write, overlay::Kind::flush};
  Percent share{100};
};

}  // namespace faults

template <>
struct EnumNames<faults::Errno> {
  using E = faults::Errno;
  static constexpr std::array<std::pair<std::string_view, E>, 11> names{{{"EIO", E::io},
                                                                         {"ENOSPC", E::no_space},
                                                                         {"EDQUOT", E::quota},
                                                                         {"EROFS", E::read_only},
                                                                         {"EINTR", E::interrupted},
                                                                         {"EAGAIN", E::again},
                                                                         {"ENOMEM", E::memory},
                                                                         {"ENXIO", E::device},
                                                                         {"EREMOTEIO", E::remote_io},
                                                                         {"ETIMEDOUT", E::timed_out},
                                                                         {"ESTALE", E::stale}}};
};

template <>
struct EnumNames<overlay::Kind> {
  using K = overlay::Kind;
  static constexpr std::array<std::pair<std::string_view, K>, 3> names{
      {{"read", K::read}, {"write", K::write}, {"flush", K::flush}}};
};

template <>
struct Describe<faults::FolderLatency> {
  static const Object<faults::FolderLatency>& object() {
    using faults::FolderLatency;
    constexpr Duration least{100'000}, most{60'000'000'000};
    static const auto schema =
        Object<FolderLatency>{"makes operations in a folder take longer"}
            .optional("read", &FolderLatency::read, "how much longer each read takes")
            .between(&FolderLatency::read, least, most)
            .optional("write", &FolderLatency::write, "how much longer each write takes")
            .between(&FolderLatency::write, least, most)
            .optional("flush", &FolderLatency::flush, "how much longer each fsync and fdatasync takes")
            .between(&FolderLatency::flush, least, most)
            .optional("jitter", &FolderLatency::jitter, "up to so much more or less, evenly spread", "0")
            .between(&FolderLatency::jitter, Duration{}, most)
            .optional("share", &FolderLatency::share, "of the operations, picked by the seed", "100%")
            .between(&FolderLatency::share, Percent{0.01}, Percent{100})
            .rule([](const FolderLatency& with, const Value& value, Diagnostics& diagnostics) {
              if (!with.read && !with.write && !with.flush)
                diagnostics.error(value.place, "expected at least one of read, write, flush, got none");
            });
    return schema;
  }
};

template <>
struct Describe<faults::FolderError> {
  static const Object<faults::FolderError>& object() {
    using faults::FolderError;
    static const auto schema =
        Object<FolderError>{"makes operations in a folder fail"}
            .optional("error", &FolderError::error, "the errno", "EIO")
            .optional("operations", &FolderError::operations, "which of read, write, flush", "all of them")
            .optional("share", &FolderError::share, "of the operations, picked by the seed", "100%")
            .between(&FolderError::share, Percent{0.01}, Percent{100});
    return schema;
  }
};

namespace faults {
namespace {

std::unique_ptr<Fault> prepare_latency(const Value& value, const TargetSpec& on, const Setting& setting,
                                       Diagnostics& diagnostics) {
  FolderLatency with;
  if (!Describe<FolderLatency>::object().decode(value, with, diagnostics)) return nullptr;
  FolderRules rules;
  std::size_t kind = 0;
  for (auto& delay : {with.read, with.write, with.flush})
    rules.delay_ns[kind++] = delay ? delay->ns : 0;
  rules.jitter_ns = with.jitter.ns;
  rules.share = with.share.fraction();
  return make_folder_fault(rules, on, setting, diagnostics);
}

std::unique_ptr<Fault> prepare_error(const Value& value, const TargetSpec& on, const Setting& setting,
                                     Diagnostics& diagnostics) {
  FolderError with;
  if (!Describe<FolderError>::object().decode(value, with, diagnostics)) return nullptr;
  FolderRules rules;
  rules.error = static_cast<int>(with.error);
  rules.error_name = enum_text(with.error);
  for (const auto kind : with.operations)
    rules.fails[static_cast<std::size_t>(kind)] = true;
  rules.share = with.share.fraction();
  return make_folder_fault(rules, on, setting, diagnostics);
}

FaultType latency(std::string_view name, std::string_view sentence) {
  auto out = folder_fault_type(name, sentence);
  out.parameters = &Describe<FolderLatency>::object();
  out.examples = {"flush=50ms --on path=/var/lib/storage --for 30s",
                  "read=20ms jitter=5ms share=10% --on path=/var/lib/storage --for 30s"};
  out.prepare = prepare_latency;
  return out;
}

FaultType error(std::string_view name, std::string_view sentence) {
  auto out = folder_fault_type(name, sentence);
  out.parameters = &Describe<FolderError>::object();
  out.examples = {"share=1% --on path=/var/lib/storage --for 30s"};
  out.prepare = prepare_error;
  return out;
}

}  // namespace

extern const FaultType disk_latency, disk_error, files_latency, files_error;
const FaultType disk_latency = latency(
    "disk.latency",
    "makes reads, writes or flushes of a folder take longer, as a failing disk or a dead cache would");
const FaultType disk_error =
    error("disk.error", "makes reads, writes or flushes of a folder fail, as a broken disk would");
const FaultType files_latency = latency(
    "files.latency", "makes reads, writes or flushes of a folder's files take longer, whatever they lie on");
const FaultType files_error =
    error("files.error", "makes reads, writes or flushes of a folder's files fail, whatever they lie on");

}  // namespace faults
}  // namespace squall
