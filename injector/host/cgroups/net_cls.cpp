#include "injector/host/cgroups/net_cls.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <set>

#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/change/records.hpp"
#include "injector/system/mounts.hpp"
#include "injector/system/read_file.hpp"

namespace squall::net_cls {
namespace {

// No qdisc is likely to have this handle: whoever shapes by class (cls_cgroup) finds no such class.
constexpr std::uint32_t own_major = 0x5371'0000;

std::string class_file(const std::string& folder) {
  return folder + "/net_cls.classid";
}

std::uint32_t class_of(const std::string& folder) {
  const auto text = read_file(class_file(folder));
  return text ? static_cast<std::uint32_t>(std::strtoul(text->c_str(), nullptr, 10)) : 0;
}

std::string members_file(const std::string& folder) {
  return folder + "/cgroup.procs";
}

// Until 5.15 the kernel stopped telling sockets' v2 cgroups for good, and for the whole host, once a class id
// was used (8520e224f547 "bpf, cgroups: Fix cgroup v2 fallback on v1/v2 mixed mode").
bool would_harm_v2() {
  utsname kernel{};
  int major = 0, minor = 0;
  if (::uname(&kernel) != 0 || std::sscanf(kernel.release, "%d.%d", &major, &minor) != 2) return true;
  const auto mounts = read_mounts();
  return std::pair{major, minor} < std::pair{5, 15} &&
         std::any_of(mounts.begin(), mounts.end(), [](auto& mount) { return mount.type == "cgroup2"; });
}

// Of every group: its class id and its folder.
using Classes = std::multimap<std::uint32_t, std::string>;
Classes all_classes(const cgroup::Hierarchy& hierarchy) {
  Classes out;
  std::error_code error;
  out.emplace(class_of(hierarchy.point), hierarchy.point);
  for (std::filesystem::recursive_directory_iterator it{hierarchy.point, error}, end; !error && it != end;
       it.increment(error))
    if (it->is_directory(error)) out.emplace(class_of(it->path()), it->path());
  return out;
}

bool among(const std::vector<Process>& processes, pid_t pid) {
  return std::any_of(processes.begin(), processes.end(), [&](auto& process) { return process.pid == pid; });
}

// Who has a class id but is not among the processes.
std::set<pid_t> others_of(std::uint32_t id, const Classes& classes, const std::vector<Process>& processes) {
  std::set<pid_t> out;
  for (auto [one, end] = classes.equal_range(id); one != end; ++one)
    for (auto pid : cgroup::processes({"", one->second}))
      if (!among(processes, pid)) out.insert(pid);
  return out;
}

// Those that faults of this process have made or are to make.
std::vector<std::shared_ptr<OwnGroup>> known_groups(const std::shared_ptr<OwnGroup>& another = nullptr) {
  static std::vector<std::weak_ptr<OwnGroup>> groups;
  if (another) groups.push_back(another);
  std::erase_if(groups, [](auto& one) { return one.expired(); });
  std::vector<std::shared_ptr<OwnGroup>> out;
  for (auto& one : groups)
    out.push_back(one.lock());
  return out;
}

std::uint32_t fresh_class(const Classes& classes) {
  std::random_device random;
  const auto known = known_groups();
  for (;;) {
    const auto id = own_major | static_cast<std::uint32_t>(1 + random() % 0xfffe);
    if (!classes.contains(id) &&
        std::none_of(known.begin(), known.end(), [&](auto& one) { return one->class_id() == id; }))
      return id;
  }
}

std::shared_ptr<OwnGroup> known_group(const Process& process, const cgroup::Group& now) {
  for (auto& group : known_groups()) {
    const auto& members = group->members();
    const bool to_come =
        group->parent() == now && std::any_of(members.begin(), members.end(), [&](auto& member) {
          return member.pid == process.pid && member.start_ticks == process.start_ticks;
        });
    if (to_come || group->group() == now) return group;
  }
  return nullptr;
}

// "sq1a2b3c4d1", as a session names what it makes.
bool made_by_squall(const cgroup::Group& group) {
  const auto name = group.path.substr(group.path.rfind('/') + 1);
  return name.size() > 9 && name.starts_with("sq") &&
         name.find_first_not_of("0123456789abcdef", 2) == std::string::npos;
}

// The undo could not put each thread back where it was.
bool threads_apart(const cgroup::Hierarchy& hierarchy, const Process& process, const cgroup::Group& group) {
  const auto threads = entries(fmt::format("/proc/{}/task", process.pid));
  return std::any_of(threads.begin(), threads.end(), [&](auto& thread) {
    const auto text = read_file(thread / "cgroup");
    const auto its = text ? cgroup::group_of(hierarchy, *text) : std::nullopt;
    return its && *its != group;
  });
}

std::string move(pid_t pid, const std::string& folder) {
  try {
    write_file(members_file(folder), std::to_string(pid), fmt::format("move {} to {}", pid, folder));
  } catch (const std::system_error& error) {
    if (error.code().value() != ESRCH) return error.what();  // else it has ended
  }
  return "";
}

}  // namespace

tl::expected<cgroup::Hierarchy, std::string> hierarchy() {
  auto out = cgroup::net_cls_hierarchy();
  if (out && would_harm_v2())
    return tl::unexpected<std::string>(
        "a Linux before 5.15 forgets the v2 cgroups of all sockets for good once net_cls is used");
  return out;
}

OwnGroup::OwnGroup(cgroup::Group parent, const std::string& name, std::uint32_t class_id)
    : parent_(std::move(parent)),
      own_{(parent_.is_root() ? "" : parent_.path) + "/" + name, parent_.folder + "/" + name},
      class_id_(class_id),
      born_with_(class_of(parent_.folder)) {}

void OwnGroup::take_in() {
  const auto& folder = own_.folder;
  if (::mkdir(folder.c_str(), 0755) != 0) throw std::runtime_error(std::strerror(errno));
  write_file(class_file(folder), std::to_string(class_id_),
             fmt::format("write {} to {}", class_id_, class_file(folder)));
  const auto there = cgroup::processes(parent_);
  for (auto& member : members_) {
    if (!is_alive(member)) continue;
    if (std::find(there.begin(), there.end(), member.pid) == there.end())
      throw std::runtime_error(
          fmt::format("{} is not in {} any more: somebody has moved it", member.to_string(), parent_.path));
    if (const auto why = move(member.pid, folder); !why.empty()) throw std::runtime_error(why);
  }
  if (cgroup::processes(own_).empty()) throw std::runtime_error("all of them have ended");
}

void OwnGroup::enter() {
  if (users_ == 0) try {
      take_in();
    } catch (const std::exception&) {
      find_undo_verb("cgroup.class")->carry_out(inverse().with);
      throw;
    }
  ++users_;
}

Undone OwnGroup::leave() {
  if (users_ > 0 && --users_ > 0) return {UndoOutcome::already, "", ""};  // another fault needs it
  return find_undo_verb("cgroup.class")->carry_out(inverse().with);
}

Inverse OwnGroup::inverse() const {
  return {
      "cgroup.class",
      {{"folder", own_.folder}, {"parent", parent_.folder}, {"class", class_id_}, {"born_with", born_with_}}};
}

namespace {

// Goes from process to process and gathers what each is known by.
class Recogniser {
 public:
  Recogniser(const std::vector<Process>& processes, const std::string& name, cgroup::Hierarchy mounted)
      : processes_(processes), name_(name), mounted_(std::move(mounted)), classes_(all_classes(mounted_)) {}

  // What is wrong; "" where nothing is.
  std::string add(const Process& process) {
    const auto now = cgroup::group_of(mounted_, process.pid);
    if (!now)
      return fmt::format("the net_cls group of {} is not below {}", process.to_string(), mounted_.point);
    if (auto group = known_group(process, *now)) {
      if (std::find(out_.own.begin(), out_.own.end(), group) == out_.own.end())
        out_.own.push_back(std::move(group));
      return "";
    }
    if (made_by_squall(*now))
      return fmt::format(
          "{} is in {}, which another session of Squall has made: wait for its end, or squall undo",
          process.to_string(), now->folder);
    if (const auto id = class_of(now->folder); id && others_of(id, classes_, processes_).empty()) {
      out_.class_ids.push_back(id);
      return "";
    }
    if (threads_apart(mounted_, process, *now))
      return fmt::format("the threads of {} are in different net_cls groups", process.to_string());
    auto& group = fresh_[*now];
    if (!group) out_.own.push_back(group = std::make_shared<OwnGroup>(*now, name_, fresh_class(classes_)));
    group->add(process);
    return "";
  }

  Recognition done() {
    for (auto& [parent, group] : fresh_)
      known_groups(group);
    std::set<pid_t> others;
    for (auto& group : out_.own) {
      out_.class_ids.push_back(group->class_id());
      others.merge(others_of(group->class_id(), classes_, processes_));
      for (auto& member : group->members())
        if (is_alive(member) && !among(processes_, member.pid)) others.insert(member.pid);
    }
    for (auto pid : others)
      if (auto process = read_process(pid)) out_.others.push_back(*process);
    std::sort(out_.class_ids.begin(), out_.class_ids.end());
    out_.class_ids.erase(std::unique(out_.class_ids.begin(), out_.class_ids.end()), out_.class_ids.end());
    return std::move(out_);
  }

 private:
  const std::vector<Process>& processes_;
  const std::string& name_;
  const cgroup::Hierarchy mounted_;
  const Classes classes_;
  std::map<cgroup::Group, std::shared_ptr<OwnGroup>> fresh_;
  Recognition out_;
};

}  // namespace

tl::expected<Recognition, std::string> recognise(const std::vector<Process>& processes,
                                                 const std::string& name) {
  auto mounted = hierarchy();
  if (!mounted) return tl::unexpected(mounted.error());
  Recogniser recogniser{processes, name, std::move(*mounted)};
  for (auto& process : processes)
    if (auto wrong = recogniser.add(process); !wrong.empty()) return tl::unexpected(std::move(wrong));
  return recogniser.done();
}

void enter(Transaction& transaction, std::shared_ptr<OwnGroup> group) {
  std::vector<std::string> names;
  for (auto& member : group->members())
    names.push_back(member.to_string());
  Change change;
  change.what = fmt::format("move {} to a net_cls group of our own, {}, with the class id {:#x}",
                            fmt::join(names, ", "), group->group().folder, group->class_id());
  change.inverse = group->inverse();
  change.act = [group] { group->enter(); };
  change.release = [group] { return group->leave(); };
  transaction.add(std::move(change));
}

}  // namespace squall::net_cls

namespace squall::undo {
namespace {

std::string describe(const boost::json::object& with) {
  return fmt::format("move whoever is in {} back to {} and remove it", text_of(with, "folder"),
                     text_of(with, "parent"));
}

// Some fork while they are moved: their children come in the next round.
std::string move_all(const std::string& from, const std::string& to) {
  for (int round = 0; round < 50; ++round) {
    const auto there = cgroup::processes({"", from});
    if (there.empty()) return "";
    for (auto pid : there)
      if (auto why = net_cls::move(pid, to); !why.empty()) return why;
  }
  return fmt::format("processes appear in {} quicker than they are moved", from);
}

Undone carry_out(const boost::json::object& with) {
  const auto folder = text_of(with, "folder"), parent = text_of(with, "parent");
  const auto by_hand = fmt::format(
      "for p in $(cat {0}/cgroup.procs); do echo $p > {1}/cgroup.procs; done; rmdir {0}", folder, parent);
  if (!std::filesystem::exists(folder)) {
    // A group outlives those below it: with both out of sight the hierarchy is.
    if (std::filesystem::exists(parent)) return {UndoOutcome::already, "", ""};
    return {UndoOutcome::failed,
            fmt::format("{} cannot be seen: net_cls is not mounted there any more", parent), by_hand};
  }
  if (const auto now = net_cls::class_of(folder);
      now != number_of(with, "class") && now != number_of(with, "born_with"))
    return {UndoOutcome::conflict,
            fmt::format("the class id of {} is {:#x}: somebody has changed it", folder, now), by_hand};
  if (auto why = move_all(folder, parent); !why.empty()) return {UndoOutcome::failed, why, by_hand};
  if (::rmdir(folder.c_str()) == 0 || errno == ENOENT) return {};
  if (std::any_of(std::filesystem::directory_iterator{folder}, {},
                  [](auto& entry) { return entry.is_directory(); }))
    return {UndoOutcome::conflict, fmt::format("{} stays: others have made groups in it", folder),
            fmt::format("once those are gone: rmdir {}", folder)};
  return {UndoOutcome::failed, fmt::format("remove {}: {}", folder, std::strerror(errno)), by_hand};
}

}  // namespace

extern const UndoVerb cgroup_class;
const UndoVerb cgroup_class{"cgroup.class", describe, carry_out, {"cgroup"}};

}  // namespace squall::undo
